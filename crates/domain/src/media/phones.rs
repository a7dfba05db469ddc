//! Where agents can be called, and which reservations live: the fold of the agents log that media keeps.

use std::collections::BTreeMap;

use crate::facts::{AgentFact, Recorded};
use crate::kernel::{Projection, StateHash, StateHasher};
use crate::vocabulary::{AgentId, ContactId, DeviceId, NodeId, OfferId, Timestamp};

/// One agent's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// The SIP URI to call.
    pub contact_uri: String,
    /// Until when.
    pub expires_at: Timestamp,
    /// When it was last registered.
    pub registered_at: Timestamp,
}

/// A live hold on an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Who is held.
    pub agent_id: AgentId,
    /// For whom.
    pub contact_id: ContactId,
    /// The fence.
    pub token: u64,
    /// The node that holds the contact.
    pub node_id: NodeId,
}

/// The fold.
#[derive(Debug, Clone, Default)]
pub struct Phones {
    by_agent: BTreeMap<AgentId, BTreeMap<DeviceId, Phone>>,
    reservations: BTreeMap<OfferId, Reservation>,
}

impl Phones {
    /// The device to call for an agent: of those not expired at `at`, the one registered last.
    pub fn to_call(&self, agent_id: &AgentId, at: Timestamp) -> Option<&Phone> {
        self.by_agent
            .get(agent_id)?
            .values()
            .filter(|phone| phone.expires_at > at)
            .max_by_key(|phone| (phone.registered_at, phone.expires_at))
    }

    /// Every device of an agent that is not expired at `at`.
    pub fn registered(&self, agent_id: &AgentId, at: Timestamp) -> Vec<(&DeviceId, &Phone)> {
        self.by_agent.get(agent_id).into_iter().flatten().filter(|(_, phone)| phone.expires_at > at).collect()
    }

    /// The live reservations for contacts of one node, by offer.
    pub fn reservations_of(&self, node_id: &NodeId) -> Vec<(OfferId, Reservation)> {
        self.reservations
            .iter()
            .filter(|(_, reservation)| reservation.node_id == *node_id)
            .map(|(offer_id, reservation)| (offer_id.clone(), reservation.clone()))
            .collect()
    }

    /// A digest of the whole state.
    pub fn state_hash(&self) -> StateHash {
        let mut hasher = StateHasher::new();
        hasher.debug(&self.by_agent).debug(&self.reservations);
        hasher.finish()
    }
}

impl Projection for Phones {
    type Event = Recorded<AgentFact>;

    fn fold(&mut self, event: &Recorded<AgentFact>) {
        match &event.fact {
            AgentFact::DeviceRegistered { agent_id, device_id, contact_uri, expires_at, .. } => {
                self.by_agent.entry(agent_id.clone()).or_default().insert(
                    device_id.clone(),
                    Phone {
                        contact_uri: contact_uri.clone(),
                        expires_at: *expires_at,
                        registered_at: event.meta.occurred_at,
                    },
                );
            }
            AgentFact::DeviceUnregistered { agent_id, device_id, .. } => {
                if let Some(devices) = self.by_agent.get_mut(agent_id) {
                    devices.remove(device_id);
                }
            }
            AgentFact::AgentReserved { agent_id, offer_id, contact_id, token, node_id, .. } => {
                self.reservations.insert(
                    offer_id.clone(),
                    Reservation {
                        agent_id: agent_id.clone(),
                        contact_id: contact_id.clone(),
                        token: *token,
                        node_id: node_id.clone(),
                    },
                );
            }
            AgentFact::ReservationReleased { offer_id, .. } => {
                self.reservations.remove(offer_id);
            }
            AgentFact::AgentSignedIn { .. }
            | AgentFact::AgentSignedOut { .. }
            | AgentFact::AgentBecameReady { .. }
            | AgentFact::AgentBecameNotReady { .. }
            | AgentFact::AgentForced { .. }
            | AgentFact::AgentPresenceUnsteady { .. }
            | AgentFact::PauseLimitExceeded { .. }
            | AgentFact::SessionLost { .. }
            | AgentFact::ReservationAccepted { .. }
            | AgentFact::ReservationUnconfirmed { .. }
            | AgentFact::WrapUpStarted { .. }
            | AgentFact::WrapUpExtended { .. }
            | AgentFact::WrapUpEnded { .. }
            | AgentFact::LeaseGranted { .. }
            | AgentFact::LeaseLapsed { .. }
            | AgentFact::LeaseReleased { .. } => {}
        }
    }
}
