//! A reservation never outlives its expiry, nor the time its media node had to come back.
//!
//! Without it an agent is held for a caller who is long gone. Machine time is in the facts: what is due by an instant
//! happens before any fact of a later instant.

use std::collections::BTreeMap;

use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::{Cell, OfferId, Timestamp};

use super::{Invariant, Violation};
use crate::history::History;

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "reservations_expire",
    promise: "a reservation never outlives its expiry or its media node's grace",
    check,
};

/// A fact of an instant after the deadline of a reservation that is neither accepted in time nor released.
pub fn check(history: &History) -> Vec<Violation> {
    // By cell: a deadline counts in the time of its own partition.
    let mut deadlines: BTreeMap<(Cell, &OfferId), Timestamp> = BTreeMap::new();
    let mut found = Vec::new();
    for seen in history.agent_facts() {
        let now = seen.meta.occurred_at;
        let cell = seen.place.cell;
        let overdue: Vec<_> = deadlines
            .iter()
            .filter(|((of, _), deadline)| *of == cell && **deadline < now)
            .map(|(key, deadline)| (*key, *deadline))
            .collect();
        for (key, deadline) in overdue {
            deadlines.remove(&key);
            let message = format!("still live at {now}, its deadline was {deadline}");
            found.push(Violation::at(INVARIANT.name, seen.place, key.1, message));
        }
        match seen.fact {
            AgentFact::AgentReserved { offer_id, expires_at, .. } => {
                deadlines.insert((cell, offer_id), *expires_at);
            }
            AgentFact::ReservationUnconfirmed { offer_id, resolves_at, .. } => {
                let deadline = deadlines.entry((cell, offer_id)).or_insert(*resolves_at);
                *deadline = (*deadline).min(*resolves_at);
            }
            AgentFact::ReservationAccepted { offer_id, .. }
            | AgentFact::ReservationReleased { offer_id, .. } => {
                deadlines.remove(&(cell, offer_id));
            }
            _ => {}
        }
    }
    found
}
