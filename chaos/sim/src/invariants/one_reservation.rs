//! No agent has more contacts at once than it serves, no contact is accepted twice, nobody is connected without an acceptance, and a contact
//! has more than one reservation only while it rings at many: when one accepts, the others are over by the same command.
//!
//! Without it two callers hear one agent, or one caller two.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::agent_state::Action;
use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::{AgentId, Channel, ContactId, OfferId};

use super::{Committed, Verdict};
use crate::directory::served;

pub(crate) const NAME: &str = "one_reservation";

/// What an agent has a slot for.
#[derive(Debug)]
struct Taken {
    channel: Channel,
    /// `None` in wrap-up.
    token: Option<u64>,
}

/// The reservations by the facts, and who was connected.
#[derive(Debug, Default)]
pub(crate) struct OneReservation {
    by_agent: BTreeMap<AgentId, BTreeMap<OfferId, Taken>>,
    by_contact: BTreeMap<ContactId, BTreeSet<u64>>,
    /// Those that let others ring beside them.
    ringing: BTreeSet<u64>,
    accepted: BTreeMap<ContactId, u64>,
    bridged: BTreeSet<ContactId>,
}

impl OneReservation {
    pub(crate) fn committed(&mut self, it: &Committed<'_>) -> Verdict {
        for (_, posted) in it.facts {
            self.fact(&posted.fact, it).map_err(|why| format!("{why} at index {}", it.index))?;
        }
        for (_, posted) in it.facts {
            let AgentFact::ReservationAccepted { contact_id, token, .. } = &posted.fact else { continue };
            let live = self.by_contact.get(contact_id);
            if let Some(other) = live.and_then(|it| it.iter().find(|it| *it != token)) {
                return Err(format!("{contact_id} rings as {other} and was accepted as {token}"));
            }
        }
        Ok(())
    }

    fn fact(&mut self, fact: &AgentFact, it: &Committed<'_>) -> Verdict {
        match fact {
            AgentFact::AgentReserved { agent_id, contact_id, token, offer_id, channel, .. } => {
                self.take(agent_id, offer_id, *channel, *token)?;
                let Action::ReserveAgents { wishes, .. } = &it.command.action else {
                    return Err(format!("{token} is of no wish"));
                };
                if wishes.iter().any(|wish| wish.offer_id == *offer_id && wish.ring_many) {
                    self.ringing.insert(*token);
                }
                let live = self.by_contact.entry(contact_id.clone()).or_default();
                live.insert(*token);
                if live.len() > 1 && !live.is_subset(&self.ringing) {
                    return Err(format!("{contact_id} has the reservations {live:?}"));
                }
            }
            AgentFact::ReservationAccepted { agent_id, offer_id, contact_id, token } => {
                let taken = self.by_agent.get(agent_id).and_then(|slots| slots.get(offer_id));
                if taken.and_then(|it| it.token) != Some(*token) {
                    return Err(format!("{token} was accepted and is no live reservation of {agent_id}"));
                }
                if let Some(other) = self.accepted.insert(contact_id.clone(), *token) {
                    return Err(format!("{contact_id} was accepted as {other} and as {token}"));
                }
            }
            AgentFact::ReservationReleased { agent_id, offer_id, contact_id, token, .. } => {
                let taken = self.by_agent.get_mut(agent_id).and_then(|slots| slots.remove(offer_id));
                if taken.and_then(|it| it.token) != Some(*token) {
                    return Err(format!("{token} was released and is no live reservation of {agent_id}"));
                }
                if let Some(live) = self.by_contact.get_mut(contact_id) {
                    live.remove(token);
                }
            }
            AgentFact::WrapUpStarted { agent_id, offer_id, channel, .. } => {
                let taken = Taken { channel: *channel, token: None };
                self.by_agent.entry(agent_id.clone()).or_default().insert(offer_id.clone(), taken);
            }
            AgentFact::WrapUpEnded { agent_id, offer_id, .. } => {
                self.by_agent.get_mut(agent_id).and_then(|slots| slots.remove(offer_id));
            }
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self, agent_id: &AgentId, offer_id: &OfferId, channel: Channel, token: u64) -> Verdict {
        let (served, slots) = (served(agent_id), self.by_agent.entry(agent_id.clone()).or_default());
        let same = slots.values().filter(|it| it.channel == channel).count();
        if same >= served.capacity(channel) as usize {
            return Err(format!("{agent_id} is reserved as {token} beside {same} of {channel}"));
        }
        let stops = |it: &&Taken| it.channel != channel && !served.interrupted(it.channel, channel);
        if let Some(other) = slots.values().find(stops) {
            return Err(format!(
                "{agent_id} is reserved as {token} of {channel} beside one of {}",
                other.channel
            ));
        }
        slots.insert(offer_id.clone(), Taken { channel, token: Some(token) });
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
