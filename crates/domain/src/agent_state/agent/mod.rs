//! One agent: session, presence, slots with a reservation or a wrap-up each, devices.

use std::collections::BTreeMap;

use super::command::Device;
use super::roster::{QueuePolicy, Roster};
use crate::facts::AgentFact;
use crate::vocabulary::{AgentId, Cell, DeviceId, QueueId, Timestamp};

mod choice;
mod presence;
mod reservation;
mod session;
mod slots;
mod steadiness;
mod wrap_up;

pub use presence::{Next, PauseLimit, Presence};
pub use reservation::{Reservation, Stage};
pub use session::{Session, SessionLease};
pub use slots::Slot;
pub use steadiness::Steadiness;
pub use wrap_up::WrapUp;

/// What is known of an agent.
///
/// Invariants: without a session no slot is taken; a taken slot means the presence is [`Presence::Ready`]; no two slots are
/// under one offer, and no two reservations for one contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Who.
    pub agent_id: AgentId,
    /// The cell its facts go to; it changes only between sessions.
    pub cell: Cell,
    /// The sign-in that is live.
    pub session: Option<Session>,
    /// Whether it takes contacts.
    pub presence: Presence,
    /// What becomes of it once contacts and wrap-up are over.
    pub next: Option<Next>,
    /// What it is held for or wraps up, in the order of the reservations.
    pub slots: Vec<Slot>,
    /// Where it can be called.
    pub devices: BTreeMap<DeviceId, Device>,
    /// Offers missed in a row.
    pub missed_count: u32,
    /// How steady its presence is.
    pub steadiness: Steadiness,
    /// Since when it does what it does.
    pub since: Timestamp,
    /// Facts written about it so far.
    pub sequence: u64,
}

/// What an agent does, derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the lexicon")]
pub enum Activity {
    SignedOut,
    NotReady,
    Ready,
    Reserved,
    Talking,
    WrapUp,
}

impl Agent {
    /// An agent nobody has heard of yet.
    pub fn new(agent_id: AgentId, cell: Cell, now: Timestamp) -> Self {
        Self {
            agent_id,
            cell,
            session: None,
            presence: Presence::not_ready(String::new()),
            next: None,
            slots: Vec::new(),
            devices: BTreeMap::new(),
            missed_count: 0,
            steadiness: Steadiness::default(),
            since: now,
            sequence: 0,
        }
    }

    /// What it mainly does now: with several slots taken, talking goes before being held, and that before wrap-up.
    pub fn activity(&self) -> Activity {
        if self.session.is_none() {
            return Activity::SignedOut;
        }
        let busy = self.slots.iter().map(Slot::activity).max_by_key(|it| match it {
            Activity::Talking => 2,
            Activity::Reserved => 1,
            _ => 0,
        });
        busy.unwrap_or(match self.presence {
            Presence::Ready => Activity::Ready,
            Presence::NotReady { .. } => Activity::NotReady,
        })
    }

    /// Whether it has a session of whose desktop nothing was heard for too long.
    pub fn lost(&self) -> bool {
        self.session.as_ref().is_some_and(Session::lost)
    }

    /// Whether it can be called. What is expired was unregistered at its deadline.
    pub fn reachable(&self) -> bool {
        !self.devices.is_empty()
    }

    /// The device that can be called the longest.
    pub fn device(&self) -> Option<&Device> {
        self.devices.values().max_by_key(|device| device.expires_at)
    }

    /// When something about it happens by itself, at the earliest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let slot = self.slots.iter().filter_map(Slot::deadline).min();
        let session = self.session.as_ref().and_then(Session::deadline);
        let presence = self.presence.deadline();
        let device = self.devices.values().map(|it| it.expires_at).min();
        [slot, session, presence, device].into_iter().flatten().min()
    }

    /// The trace that what happens at an instant without a request of its own belongs to.
    pub fn traceparent(&self, at: Timestamp) -> &str {
        let due = self.slots.iter().find(|it| it.deadline() == Some(at));
        due.or(self.slots.first()).map(Slot::traceparent).unwrap_or_default()
    }

    pub(super) fn register(&mut self, device_id: DeviceId, device: Device, moment: &mut Moment<'_>) {
        if self.devices.get(&device_id) == Some(&device) {
            return;
        }
        moment.tell(AgentFact::DeviceRegistered {
            agent_id: self.agent_id.clone(),
            device_id: device_id.clone(),
            contact_uri: device.contact_uri.clone(),
            node_id: device.node_id.clone(),
            expires_at: device.expires_at,
        });
        self.devices.insert(device_id, device);
    }

    pub(super) fn unregister(&mut self, device_id: DeviceId, reason: String, moment: &mut Moment<'_>) {
        if self.devices.remove(&device_id).is_some() {
            let agent_id = self.agent_id.clone();
            moment.tell(AgentFact::DeviceUnregistered { agent_id, device_id, reason });
        }
    }

    /// Makes the one thing happen that is due at the moment, which is at [`Agent::next_deadline`].
    pub(super) fn expire(&mut self, moment: &mut Moment<'_>) {
        let at = moment.at;
        match self.slots.iter().find(|it| it.deadline() == Some(at)) {
            Some(Slot::Held(held)) => {
                let (offer_id, outcome) = (held.wish.offer_id.clone(), held.outcome_at_deadline(at));
                return self.release(&offer_id, outcome, moment);
            }
            Some(Slot::WrapUp(wrap_up)) => {
                let offer_id = wrap_up.offer_id.clone();
                return self.end_wrap_up(&offer_id, false, String::new(), moment);
            }
            None => {}
        }
        if self.session.as_ref().and_then(Session::deadline) == Some(at) {
            return self.expire_session(moment);
        }
        if self.presence.deadline() == Some(at) {
            return self.expire_presence(moment);
        }
        let due = self.devices.iter().find(|(_, device)| device.expires_at == at);
        if let Some(device_id) = due.map(|(device_id, _)| device_id.clone()) {
            self.unregister(device_id, "expired".to_owned(), moment);
        }
    }
}

/// One instant in an agent's life: by which rules it is decided, and what is told of it.
pub(super) struct Moment<'a> {
    /// When.
    pub at: Timestamp,
    /// What the directory says.
    pub roster: &'a Roster,
    /// Which rules hold.
    pub feature_level: u32,
    /// What happened, in order.
    pub facts: Vec<AgentFact>,
    /// Whether nobody else sees a difference.
    pub unseen: bool,
}

impl Moment<'_> {
    fn tell(&mut self, fact: AgentFact) {
        self.facts.push(fact);
    }

    /// What follows a contact or a missed offer of a queue; nothing when the directory dropped it since.
    fn policy(&self, queue_id: &QueueId) -> QueuePolicy {
        self.roster.queues.get(queue_id).cloned().unwrap_or_default()
    }
}
