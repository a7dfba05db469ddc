//! A stale epoch has no effect: within a lane, no record of a lower epoch counts after one of a higher epoch.
//!
//! Without it an owner that was replaced goes on deciding.

use std::collections::BTreeMap;

use trunkline_domain::facts::{Delivered, LogFact};
use trunkline_domain::vocabulary::{Cell, Epoch, Position};

use super::{Invariant, Violation};
use crate::history::{History, Place};

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "stale_epochs_are_void",
    promise: "within a lane no record of a lower epoch counts after a higher one",
    check,
};

/// A record of an epoch lower than one before it in its lane, or a position that goes back.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = one(&history.directory);
    found.extend(one(&history.contacts));
    found.extend(one(&history.routing));
    found.extend(one(&history.agents));
    found.extend(one(&history.billing));
    found
}

fn one<F: LogFact>(records: &[(Cell, Delivered<F>)]) -> Vec<Violation> {
    let mut epochs: BTreeMap<(Cell, &str), Epoch> = BTreeMap::new();
    let mut positions: BTreeMap<Cell, Position> = BTreeMap::new();
    let mut found = Vec::new();
    for (cell, record) in records {
        let place = Place { log: F::LOG, cell: *cell, position: record.position };
        let (lane, epoch) = (record.lane.as_str(), record.outcome.epoch);
        let highest = epochs.entry((*cell, lane)).or_insert(epoch);
        if epoch < *highest {
            let message = format!("epoch {epoch} counts after epoch {highest}");
            found.push(Violation::at(INVARIANT.name, place, lane, message));
        }
        *highest = epoch.max(*highest);
        if positions.insert(*cell, record.position).is_some_and(|before| before >= record.position) {
            found.push(Violation::at(INVARIANT.name, place, lane, "the position did not rise"));
        }
    }
    found
}
