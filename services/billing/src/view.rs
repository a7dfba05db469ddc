//! What is answered from: the ledger of all cells, the terms, and which cells are behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trunkline_domain::billing::{Ledger, Terms};
use trunkline_domain::facts::{BillingFact, Delivered};
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::Cell;
use trunkline_runtime::health::Component;

/// The fold of the billing log of every cell, and of the directory log.
///
/// Only records that count are folded, and the ledger takes an item's id once: an owner that begins again folds its
/// log again over what is here, and nothing changes.
pub(crate) struct View {
    /// Of all cells.
    pub ledger: Ledger,
    /// As far as the owner who read the directory last.
    pub terms: Terms,
    /// Why a cell is not caught up; absent when it is.
    behind: BTreeMap<Cell, String>,
    component: Component,
}

/// A view shared by the owners and those who read it.
#[derive(Clone)]
pub(crate) struct SharedView(Arc<Mutex<View>>);

impl SharedView {
    /// An empty view of `cell_count` cells, all behind.
    pub fn new(component: Component, cell_count: u32) -> Self {
        let behind = (0..cell_count).map(|cell| (Cell(cell), "starting".to_owned())).collect();
        let view = View { ledger: Ledger::default(), terms: Terms::default(), behind, component };
        Self(Arc::new(Mutex::new(view)))
    }

    /// The view, alone, for the time of one record or one answer.
    pub fn lock(&self) -> MutexGuard<'_, View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View {
    /// Takes a record of the billing log into account.
    pub fn fold(&mut self, delivered: &Delivered<BillingFact>) {
        delivered.outcome.facts.iter().for_each(|event| self.ledger.fold(event));
    }

    /// A cell is behind, and why.
    pub fn fell_behind(&mut self, cell: Cell, reason: impl Into<String>) {
        self.behind.insert(cell, reason.into());
        self.tell();
    }

    /// A cell has everything that was there when its owner began.
    pub fn caught_up(&mut self, cell: Cell) {
        self.behind.remove(&cell);
        self.tell();
    }

    /// The first cell that is behind, with the reason.
    pub fn behind(&self) -> Option<(Cell, &str)> {
        self.behind.first_key_value().map(|(cell, reason)| (*cell, reason.as_str()))
    }

    fn tell(&self) {
        match self.behind() {
            None => self.component.ready(),
            Some((cell, reason)) => self.component.not_ready(format!("cell {cell}: {reason}")),
        }
    }
}
