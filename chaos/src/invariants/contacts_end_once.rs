//! Every contact arrives once and ends once, with a cause, and nothing happens to it afterwards.
//!
//! Without it a caller is counted twice, billed twice, or never seen to leave.

use std::collections::BTreeMap;

use trunkline_domain::facts::{ContactFact, LogFact};
use trunkline_domain::vocabulary::ContactId;

use super::{Invariant, Violation};
use crate::history::History;

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "contacts_end_once",
    promise: "every contact arrives first and ends once, with a cause, as its last fact",
    check,
};

/// A fact before the arrival, a second arrival, a fact after the end.
pub fn check(history: &History) -> Vec<Violation> {
    let mut ended: BTreeMap<&ContactId, bool> = BTreeMap::new();
    let mut found = Vec::new();
    for seen in history.contact_facts() {
        let contact_id = seen.fact.contact_id();
        let name = seen.fact.name();
        let arrival = matches!(seen.fact, ContactFact::ContactArrived { .. });
        let wrong = match ended.get(contact_id) {
            None if !arrival => Some(format!("{name} before ContactArrived")),
            Some(_) if arrival => Some("arrived twice".to_owned()),
            Some(true) => Some(format!("{name} after ContactEnded")),
            None | Some(false) => None,
        };
        if let Some(message) = wrong {
            found.push(Violation::at(INVARIANT.name, seen.place, contact_id, message));
        }
        let over = ended.entry(contact_id).or_default();
        *over |= matches!(seen.fact, ContactFact::ContactEnded { .. });
    }
    found
}

/// The contacts that have not ended: no violation, but of interest when nobody should be there any more.
pub fn live(history: &History) -> Vec<ContactId> {
    let mut live = BTreeMap::new();
    for seen in history.contact_facts() {
        let over = matches!(seen.fact, ContactFact::ContactEnded { .. });
        *live.entry(seen.fact.contact_id()).or_insert(true) &= !over;
    }
    live.into_iter().filter(|(_, live)| *live).map(|(contact_id, _)| contact_id.clone()).collect()
}
