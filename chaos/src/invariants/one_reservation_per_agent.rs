//! No agent is held for two calls at once. Of what is written an agent may have several contacts: how many, the simulation knows.
//!
//! Without it an agent's telephone rings for two callers at once, and one of them hears nobody.

use std::collections::BTreeMap;

use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::Channel;

use super::{Invariant, Violation};
use crate::history::History;

/// The promise.
pub const INVARIANT: Invariant =
    Invariant { name: "one_reservation_per_agent", promise: "no agent is held for two calls", check };

/// An `AgentReserved` for a call while another reservation of the agent is not released.
pub fn check(history: &History) -> Vec<Violation> {
    let mut live = BTreeMap::new();
    let mut found = Vec::new();
    for seen in history.agent_facts() {
        match seen.fact {
            AgentFact::AgentReserved { agent_id, offer_id, token, channel: Channel::Voice, .. } => {
                if let Some((other, _)) = live.insert(agent_id, (offer_id, token)) {
                    let message = format!("reserved for {offer_id} while held for {other}");
                    found.push(Violation::at(INVARIANT.name, seen.place, agent_id, message));
                }
            }
            AgentFact::ReservationReleased { agent_id, token, .. }
                if live.get(agent_id).is_some_and(|(_, held)| *held == token) =>
            {
                live.remove(agent_id);
            }
            _ => {}
        }
    }
    found
}
