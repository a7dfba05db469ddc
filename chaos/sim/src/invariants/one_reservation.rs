//! No agent has two live reservations, no contact is accepted twice, and nobody is connected without an acceptance.
//!
//! Without it two callers hear one agent, or one caller two.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::{AgentId, ContactId};

use super::{Committed, Verdict};

pub(crate) const NAME: &str = "one_reservation";

/// The reservations by the facts, and who was connected.
#[derive(Debug, Default)]
pub(crate) struct OneReservation {
    by_agent: BTreeMap<AgentId, u64>,
    by_contact: BTreeMap<ContactId, u64>,
    accepted: BTreeMap<ContactId, u64>,
    bridged: BTreeSet<ContactId>,
}

impl OneReservation {
    pub(crate) fn committed(&mut self, it: &Committed<'_>) -> Verdict {
        for (_, posted) in it.facts {
            self.fact(&posted.fact).map_err(|why| format!("{why} at index {}", it.index))?;
        }
        Ok(())
    }

    fn fact(&mut self, fact: &AgentFact) -> Verdict {
        match fact {
            AgentFact::AgentReserved { agent_id, contact_id, token, .. } => {
                if let Some(other) = self.by_agent.insert(agent_id.clone(), *token) {
                    return Err(format!("{agent_id} has the reservations {other} and {token}"));
                }
                if let Some(other) = self.by_contact.insert(contact_id.clone(), *token) {
                    return Err(format!("{contact_id} has the reservations {other} and {token}"));
                }
            }
            AgentFact::ReservationAccepted { agent_id, contact_id, token, .. } => {
                if self.by_agent.get(agent_id) != Some(token) {
                    return Err(format!("{token} was accepted and is no live reservation of {agent_id}"));
                }
                if let Some(other) = self.accepted.insert(contact_id.clone(), *token) {
                    return Err(format!("{contact_id} was accepted as {other} and as {token}"));
                }
            }
            AgentFact::ReservationReleased { agent_id, contact_id, token, .. } => {
                if self.by_agent.remove(agent_id) != Some(*token) {
                    return Err(format!("{token} was released and is no live reservation of {agent_id}"));
                }
                self.by_contact.remove(contact_id);
            }
            _ => {}
        }
        Ok(())
    }

    /// A media node let caller and agent hear each other.
    pub(crate) fn bridge(&mut self, contact_id: &ContactId, token: u64) -> Verdict {
        if self.accepted.get(contact_id) != Some(&token) {
            return Err(format!("{contact_id} was connected under {token}, which was not accepted"));
        }
        if !self.bridged.insert(contact_id.clone()) {
            return Err(format!("{contact_id} was connected twice"));
        }
        Ok(())
    }
}
