//! A contact has at most one live offer and at most one accepted reservation.
//!
//! Without it two agents answer one caller.

use std::collections::BTreeMap;

use trunkline_domain::facts::{AgentFact, RoutingFact};

use super::{Invariant, Violation};
use crate::history::History;

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "one_offer_per_contact",
    promise: "a contact has at most one live offer and one accepted reservation",
    check,
};

/// An `OfferMade` while another offer of the contact lives, or a `ReservationAccepted` while another one is accepted.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = offers(history);
    found.extend(accepted(history));
    found
}

fn offers(history: &History) -> Vec<Violation> {
    let mut live = BTreeMap::new();
    let mut found = Vec::new();
    for seen in history.routing_facts() {
        match seen.fact {
            RoutingFact::OfferMade { contact_id, offer_id, .. } => {
                if let Some(other) = live.insert(contact_id, offer_id) {
                    let message = format!("offered as {offer_id} while {other} lives");
                    found.push(Violation::at(INVARIANT.name, seen.place, contact_id, message));
                }
            }
            RoutingFact::OfferEnded { contact_id, offer_id, .. }
            | RoutingFact::OfferAccepted { contact_id, offer_id, .. }
                if live.get(contact_id) == Some(&offer_id) =>
            {
                live.remove(contact_id);
            }
            RoutingFact::ContactDequeued { contact_id, .. } => {
                live.remove(contact_id);
            }
            _ => {}
        }
    }
    found
}

fn accepted(history: &History) -> Vec<Violation> {
    let mut accepted = BTreeMap::new();
    let mut found = Vec::new();
    for seen in history.agent_facts() {
        match seen.fact {
            AgentFact::ReservationAccepted { contact_id, offer_id, agent_id, .. } => {
                if let Some((other, _)) = accepted.insert(contact_id, (agent_id, offer_id)) {
                    let message = format!("accepted by {agent_id} while {other} has it");
                    found.push(Violation::at(INVARIANT.name, seen.place, contact_id, message));
                }
            }
            AgentFact::ReservationReleased { contact_id, offer_id, .. }
                if accepted.get(contact_id).is_some_and(|(_, held)| *held == offer_id) =>
            {
                accepted.remove(contact_id);
            }
            _ => {}
        }
    }
    found
}
