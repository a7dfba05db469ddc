//! The facts of a stream are numbered from 1 without a gap, and no fact is there twice.
//!
//! Without it something acknowledged was forgotten, or happened twice.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::facts::{Delivered, LogFact};
use trunkline_domain::vocabulary::Cell;

use super::{Invariant, Violation};
use crate::history::{History, facts};

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "streams_have_no_gaps",
    promise: "the facts of a stream are numbered without gap, and each is there once",
    check,
};

/// A number that is not the next of its stream, an event id that was there before.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = one(&history.directory);
    found.extend(one(&history.contacts));
    found.extend(one(&history.routing));
    found.extend(one(&history.agents));
    found.extend(one(&history.billing));
    found
}

fn one<F: LogFact>(records: &[(Cell, Delivered<F>)]) -> Vec<Violation> {
    let mut last: BTreeMap<(Cell, &str), u64> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let mut found = Vec::new();
    for seen in facts(records) {
        let stream = seen.meta.stream.as_str();
        let before = last.insert((seen.place.cell, stream), seen.meta.sequence).unwrap_or_default();
        if seen.meta.sequence != before + 1 {
            let message = format!("sequence {} came after {before}", seen.meta.sequence);
            found.push(Violation::at(INVARIANT.name, seen.place, stream, message));
        }
        if !ids.insert(&seen.meta.event_id) {
            let message = format!("{} is there twice", seen.meta.event_id);
            found.push(Violation::at(INVARIANT.name, seen.place, stream, message));
        }
    }
    found
}
