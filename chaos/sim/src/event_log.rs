//! The logs: each partition keeps what arrives, in the order it arrives, whoever sent it.
//!
//! It fences nobody. Which record counts is for the reader to say, by the real rules
//! ([`trunkline_runtime::event_log::FenceState`]).

use std::collections::BTreeMap;

use trunkline_domain::vocabulary::{Cell, LogName, Position};

use crate::message::Kept;

/// The partitions.
#[derive(Debug, Default)]
pub(crate) struct EventLog(BTreeMap<(LogName, Cell), Vec<Kept>>);

impl EventLog {
    pub(crate) fn append(&mut self, cell: Cell, kept: Kept) -> Position {
        let partition = self.0.entry((kept.outcome.log(), cell)).or_default();
        partition.push(kept);
        Position(partition.len() as u64 - 1)
    }

    /// Everything in a partition.
    pub(crate) fn records(&self, log: LogName, cell: Cell) -> &[Kept] {
        self.0.get(&(log, cell)).map_or(&[], Vec::as_slice)
    }

    /// The records up to a position.
    pub(crate) fn read(&self, log: LogName, cell: Cell, through: Position) -> Vec<Kept> {
        self.records(log, cell).iter().take(through.0 as usize + 1).cloned().collect()
    }
}
