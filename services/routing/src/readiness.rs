//! What the cells of this process say of themselves, as one component.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use trunkline_domain::vocabulary::Cell;
use trunkline_runtime::health::Component;
use trunkline_runtime::host::owner::Idle;

/// The readiness of all cells: a cell that is not ready speaks for all, else one that stands by. Cheap to clone; clones
/// are the same.
#[derive(Clone)]
pub(crate) struct Readiness(Arc<Shared>);

struct Shared {
    component: Component,
    cells: Mutex<BTreeMap<Cell, State>>,
}

enum State {
    /// It does not serve, and could not; why not.
    NotReady(String),
    /// It does not serve, and could at any moment; why it does not.
    StandsBy(String),
    Owned,
}

impl Readiness {
    /// None of the cells has said anything yet.
    pub(crate) fn new(component: Component, cells: impl Iterator<Item = Cell>) -> Self {
        let starting = |cell| (cell, State::NotReady("starting".to_owned()));
        let cells = Mutex::new(cells.map(starting).collect());
        Self(Arc::new(Shared { component, cells }))
    }

    /// The cell is owned here and decided on.
    pub(crate) fn owned(&self, cell: Cell) {
        self.say(cell, State::Owned);
    }

    /// The cell is not owned here, or not yet decided on.
    pub(crate) fn not_ready(&self, cell: Cell, reason: String) {
        self.say(cell, State::NotReady(reason));
    }

    /// The cell is not owned here.
    pub(crate) fn idle(&self, cell: Cell, idle: Idle) {
        match idle {
            Idle::NotReady(reason) => self.not_ready(cell, reason),
            Idle::OwnedElsewhere { .. } => self.say(cell, State::StandsBy(format!("stands by: {idle}"))),
        }
    }

    fn say(&self, cell: Cell, state: State) {
        // Held while the component is told, so that the last word of two cells is the last one told.
        let mut cells = self.0.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.insert(cell, state);
        let mut reasons = cells.values().filter_map(|state| match state {
            State::NotReady(reason) => Some(reason),
            State::StandsBy(_) | State::Owned => None,
        });
        let mut remarks = cells.values().filter_map(|state| match state {
            State::StandsBy(remark) => Some(remark),
            State::NotReady(_) | State::Owned => None,
        });
        match (reasons.next(), remarks.next()) {
            (Some(reason), _) => self.0.component.not_ready(reason),
            (None, Some(remark)) => self.0.component.ready_with(remark),
            (None, None) => self.0.component.ready(),
        }
    }
}

#[cfg(test)]
mod tests {
    use trunkline_runtime::health::Health;

    use super::*;

    #[test]
    fn one_cell_that_is_not_ready_speaks_for_all_and_then_one_that_stands_by() {
        let health = Health::new();
        let readiness = Readiness::new(health.component("routing"), (0..2).map(Cell));
        let elsewhere = || Idle::OwnedElsewhere { resource: "routing/1".to_owned(), owner: None };
        readiness.owned(Cell(0));
        assert!(!health.ready(), "the other has not spoken");
        readiness.not_ready(Cell(1), "folds the logs of routing/1".to_owned());
        readiness.owned(Cell(0));
        assert_eq!(health.reasons()[0].1, "folds the logs of routing/1", "not overwritten");
        readiness.idle(Cell(1), elsewhere());
        assert!(health.ready());
        assert_eq!(health.remarks()[0].1, "stands by: another node has routing/1");
        readiness.owned(Cell(1));
        assert!(health.ready() && health.remarks().is_empty());
    }
}
