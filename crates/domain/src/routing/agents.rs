//! Who could take a contact: the fold of the agents log.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{AgentFact, Recorded, ReleaseOutcome};
use crate::kernel::{Projection, StateHasher};
use crate::vocabulary::{AgentId, ContactId, DeviceId, Epoch, Millis, OfferId, Timestamp};

/// The agents of one cell, as their log tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agents {
    by_id: BTreeMap<AgentId, AgentView>,
}

/// One agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentView {
    /// Whether it has a session.
    pub signed_in: bool,
    /// Whether it takes contacts, now or once contact and wrap-up are over.
    pub ready: bool,
    /// Under which offers it does after-contact work.
    pub wrap_ups: BTreeSet<OfferId>,
    /// What it is held for.
    pub held: Vec<HeldFor>,
    /// The last reservation that ended, and how.
    pub last_release: Option<(OfferId, ReleaseOutcome)>,
    /// Where it can be called, and until when.
    pub devices: BTreeMap<DeviceId, Timestamp>,
    /// Since when it could take a contact. A missed offer puts it behind the others; one that was not its doing does not.
    pub idle_since: Timestamp,
    /// When it signed in.
    pub signed_in_at: Timestamp,
    /// When its last contact ended, after-contact work included, or it signed in.
    pub last_contact_at: Timestamp,
    /// How many contacts it answered since it signed in.
    pub contact_count: u32,
    /// How long it talked since it signed in.
    pub talk_ms: Millis,
}

/// A reservation, as the agents log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFor {
    /// The offer.
    pub offer_id: OfferId,
    /// The contact.
    pub contact_id: ContactId,
    /// The fence.
    pub token: u64,
    /// The epoch of the routing owner that asked.
    pub routing_epoch: Epoch,
    /// When the agent answered; `None` while it rings.
    pub accepted_at: Option<Timestamp>,
}

impl HeldFor {
    /// Whether the agent answered.
    pub fn accepted(&self) -> bool {
        self.accepted_at.is_some()
    }
}

impl AgentView {
    /// Whether a reservation could be granted, as far as the log tells; the device aside. Who has a contact of another channel is
    /// left alone: whether a call may interrupt it is the agent's own rule, and a refusal would be asked for again and again.
    pub fn free(&self) -> bool {
        self.signed_in && self.ready && !self.busy()
    }

    /// Whether it is held, talks or does after-contact work.
    pub fn busy(&self) -> bool {
        !self.wrap_ups.is_empty() || !self.held.is_empty()
    }

    /// What it is held for under an offer.
    pub fn held_under(&self, offer_id: &OfferId) -> Option<&HeldFor> {
        self.held.iter().find(|held| held.offer_id == *offer_id)
    }

    /// Until when it can be called, unless it registers again.
    pub(super) fn reachable_until(&self) -> Option<Timestamp> {
        self.devices.values().max().copied()
    }

    /// Whether it can be called at `now`.
    pub fn reachable(&self, now: Timestamp) -> bool {
        self.devices.values().any(|expires_at| *expires_at > now)
    }
}

impl Agents {
    /// One agent; `None` when its log never named it.
    pub fn get(&self, agent_id: &AgentId) -> Option<&AgentView> {
        self.by_id.get(agent_id)
    }

    /// Every agent the log ever named, by id.
    pub fn all(&self) -> impl Iterator<Item = (&AgentId, &AgentView)> {
        self.by_id.iter()
    }

    pub(super) fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.debug(&self.by_id);
    }
}

impl Projection for Agents {
    type Event = Recorded<AgentFact>;

    fn fold(&mut self, event: &Recorded<AgentFact>) {
        let Some(agent_id) = event.fact.agent_id() else { return };
        let at = event.meta.occurred_at;
        let agent = self.by_id.entry(agent_id.clone()).or_default();
        let was_free = agent.free();
        let mut keeps_its_turn = false;
        match &event.fact {
            AgentFact::AgentSignedIn { .. } => {
                agent.signed_in = true;
                agent.ready = false;
                (agent.signed_in_at, agent.last_contact_at) = (at, at);
                (agent.contact_count, agent.talk_ms) = (0, Millis::ZERO);
            }
            AgentFact::AgentSignedOut { .. } => {
                agent.signed_in = false;
                agent.ready = false;
            }
            AgentFact::AgentBecameReady { .. } => agent.ready = true,
            AgentFact::AgentBecameNotReady { .. } => agent.ready = false,
            AgentFact::DeviceRegistered { device_id, expires_at, .. } => {
                agent.devices.insert(device_id.clone(), *expires_at);
            }
            AgentFact::DeviceUnregistered { device_id, .. } => {
                agent.devices.remove(device_id);
            }
            AgentFact::AgentReserved { offer_id, contact_id, token, routing_epoch, .. } => {
                agent.held.push(HeldFor {
                    offer_id: offer_id.clone(),
                    contact_id: contact_id.clone(),
                    token: *token,
                    routing_epoch: *routing_epoch,
                    accepted_at: None,
                });
            }
            AgentFact::ReservationAccepted { token, .. } => {
                if let Some(held) = agent.held.iter_mut().find(|held| held.token == *token) {
                    held.accepted_at = Some(at);
                    agent.contact_count += 1;
                }
            }
            AgentFact::ReservationReleased { offer_id, token, outcome, .. } => {
                if let Some(place) = agent.held.iter().position(|held| held.token == *token) {
                    keeps_its_turn = !its_doing(*outcome);
                    if let Some(answered_at) = agent.held.remove(place).accepted_at {
                        agent.talk_ms = Millis(agent.talk_ms.0 + at.since(answered_at).0);
                        agent.last_contact_at = at;
                    }
                }
                agent.last_release = Some((offer_id.clone(), *outcome));
            }
            AgentFact::WrapUpStarted { offer_id, .. } => drop(agent.wrap_ups.insert(offer_id.clone())),
            AgentFact::WrapUpEnded { offer_id, .. } => {
                agent.wrap_ups.remove(offer_id);
                agent.last_contact_at = at;
            }
            AgentFact::AgentForced { .. }
            | AgentFact::AgentPresenceUnsteady { .. }
            | AgentFact::PauseLimitExceeded { .. }
            | AgentFact::SessionLost { .. }
            | AgentFact::ReservationUnconfirmed { .. }
            | AgentFact::WrapUpExtended { .. }
            | AgentFact::LeaseGranted { .. }
            | AgentFact::LeaseLapsed { .. }
            | AgentFact::LeaseReleased { .. } => {}
        }
        if agent.free() && !was_free && !keeps_its_turn {
            agent.idle_since = at;
        }
    }
}

/// Whether an agent's reservation ended by what the agent did or left undone, or after a conversation.
fn its_doing(outcome: ReleaseOutcome) -> bool {
    match outcome {
        ReleaseOutcome::Completed
        | ReleaseOutcome::Declined
        | ReleaseOutcome::Unanswered
        | ReleaseOutcome::SignedOut => true,
        ReleaseOutcome::CallerGone
        | ReleaseOutcome::Rescinded
        | ReleaseOutcome::Expired
        | ReleaseOutcome::Failed
        | ReleaseOutcome::MediaLost => false,
    }
}
