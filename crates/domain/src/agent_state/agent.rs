//! One agent: session, presence, at most one reservation, wrap-up, devices.

use std::collections::BTreeMap;

use super::command::{Device, QueuePolicy, Wish};
use super::reply::Rejection;
use super::{REASON_MISSED, REASON_SIGNED_IN, UNCONFIRMED_GRACE};
use crate::facts::{AgentFact, ReleaseOutcome};
use crate::vocabulary::{
    AgentId, Cell, CompanyId, ContactId, DeviceId, Epoch, Millis, OfferId, QueueId, SessionId, SiteId,
    Timestamp,
};

/// What is known of an agent.
///
/// Invariants: without a session there is neither reservation nor wrap-up; a reservation or a wrap-up means the
/// presence is [`Presence::Ready`]; never both a reservation and a wrap-up.
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
    /// What it asked to become once contact and wrap-up are over: not ready, why and for how long.
    pub next: Option<(String, Millis)>,
    /// What it is held for.
    pub reservation: Option<Reservation>,
    /// After-contact work.
    pub wrap_up: Option<WrapUp>,
    /// Where it can be called.
    pub devices: BTreeMap<DeviceId, Device>,
    /// Offers missed in a row.
    pub missed_count: u32,
    /// Since when it does what it does.
    pub since: Timestamp,
    /// Facts written about it so far.
    pub sequence: u64,
}

/// One sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Where.
    pub site_id: Option<SiteId>,
}

/// Whether an agent takes contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Ready,
    /// It does not.
    NotReady {
        /// Why.
        reason: String,
        /// When it is ready again by itself.
        until: Option<Timestamp>,
    },
}

/// The hold of one offer on one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// What was asked for.
    pub wish: Wish,
    /// The fence.
    pub token: u64,
    /// The routing partition that asked.
    pub cell: Cell,
    /// The epoch it had.
    pub routing_epoch: Epoch,
    /// How far it is.
    pub stage: Stage,
    /// Set when the media node lost or renewed its lease: when the reservation ends unless somebody says how before.
    pub unconfirmed_until: Option<Timestamp>,
    /// The trace of the command that made it.
    pub traceparent: String,
}

/// How far a reservation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The device is to ring, until the wish's deadline.
    Offered,
    /// The agent answered; there is no deadline any more.
    Accepted,
}

/// After-contact work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrapUp {
    /// The offer it follows.
    pub offer_id: OfferId,
    /// The contact.
    pub contact_id: ContactId,
    /// Whose.
    pub company_id: CompanyId,
    /// From where.
    pub queue_id: QueueId,
    /// When it ends by itself.
    pub ends_at: Timestamp,
    /// The trace of the reservation before it.
    pub traceparent: String,
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

type Facts = Vec<AgentFact>;

impl Agent {
    /// An agent nobody has heard of yet.
    pub fn new(agent_id: AgentId, cell: Cell, now: Timestamp) -> Self {
        Self {
            agent_id,
            cell,
            session: None,
            presence: Presence::NotReady { reason: String::new(), until: None },
            next: None,
            reservation: None,
            wrap_up: None,
            devices: BTreeMap::new(),
            missed_count: 0,
            since: now,
            sequence: 0,
        }
    }

    /// What it does now.
    pub fn activity(&self) -> Activity {
        match (&self.session, &self.reservation, &self.wrap_up, &self.presence) {
            (None, ..) => Activity::SignedOut,
            (_, Some(Reservation { stage: Stage::Offered, .. }), ..) => Activity::Reserved,
            (_, Some(Reservation { stage: Stage::Accepted, .. }), ..) => Activity::Talking,
            (_, _, Some(_), _) => Activity::WrapUp,
            (.., Presence::Ready) => Activity::Ready,
            (.., Presence::NotReady { .. }) => Activity::NotReady,
        }
    }

    /// The device that can be called the longest.
    pub fn device(&self) -> Option<&Device> {
        self.devices.values().max_by_key(|device| device.expires_at)
    }

    /// When something about it happens by itself, at the earliest.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let reservation = self.reservation.as_ref().and_then(Reservation::deadline);
        let wrap_up = self.wrap_up.as_ref().map(|it| it.ends_at);
        let until = match &self.presence {
            Presence::NotReady { until, .. } => *until,
            Presence::Ready => None,
        };
        let device = self.devices.values().map(|it| it.expires_at).min();
        [reservation, wrap_up, until, device].into_iter().flatten().min()
    }

    /// The trace that facts without a request of their own belong to.
    pub fn traceparent(&self) -> &str {
        let reservation = self.reservation.as_ref().map(|it| it.traceparent.as_str());
        reservation.or(self.wrap_up.as_ref().map(|it| it.traceparent.as_str())).unwrap_or_default()
    }

    pub(super) fn sign_in(
        &mut self,
        session_id: SessionId,
        site_id: Option<SiteId>,
        facts: &mut Facts,
    ) -> Result<SessionId, Rejection> {
        match &self.session {
            Some(live) if live.session_id == session_id => return Ok(session_id),
            Some(live) => return Err(Rejection::AlreadySignedIn { session_id: live.session_id.clone() }),
            None => {}
        }
        self.session = Some(Session { session_id: session_id.clone(), site_id: site_id.clone() });
        self.presence = Presence::NotReady { reason: REASON_SIGNED_IN.to_owned(), until: None };
        self.missed_count = 0;
        let agent_id = self.agent_id.clone();
        facts.push(AgentFact::AgentSignedIn { agent_id, session_id: session_id.clone(), site_id });
        Ok(session_id)
    }

    pub(super) fn sign_out(
        &mut self,
        reason: String,
        by_agent: bool,
        facts: &mut Facts,
    ) -> Result<SessionId, Rejection> {
        let session = self.session.take().ok_or(Rejection::NotSignedIn)?;
        if let Some(held) = self.reservation.take() {
            facts.push(self.released(&held, ReleaseOutcome::SignedOut));
        }
        if let Some(wrap_up) = self.wrap_up.take() {
            facts.push(self.wrap_up_ended(wrap_up, by_agent));
        }
        self.next = None;
        self.presence = Presence::NotReady { reason: String::new(), until: None };
        let (agent_id, session_id) = (self.agent_id.clone(), session.session_id.clone());
        facts.push(AgentFact::AgentSignedOut { agent_id, session_id, reason });
        Ok(session.session_id)
    }

    pub(super) fn go_ready(&mut self, facts: &mut Facts) -> Result<(), Rejection> {
        if self.session.is_none() {
            return Err(Rejection::NotSignedIn);
        }
        self.next = None;
        self.missed_count = 0;
        self.become_ready(facts);
        Ok(())
    }

    pub(super) fn go_not_ready(
        &mut self,
        at: Timestamp,
        reason: String,
        duration: Millis,
        facts: &mut Facts,
    ) -> Result<(), Rejection> {
        if self.session.is_none() {
            return Err(Rejection::NotSignedIn);
        }
        if self.reservation.is_some() || self.wrap_up.is_some() {
            self.next = Some((reason, duration));
        } else {
            self.become_not_ready(at, reason, duration, facts);
        }
        Ok(())
    }

    pub(super) fn finish_wrap_up(&mut self, at: Timestamp, facts: &mut Facts) -> Result<(), Rejection> {
        match (&self.session, self.wrap_up.take()) {
            (None, _) => Err(Rejection::NotSignedIn),
            (_, None) => Err(Rejection::NotInWrapUp),
            (_, Some(wrap_up)) => {
                facts.push(self.wrap_up_ended(wrap_up, true));
                self.become_next(at, facts);
                Ok(())
            }
        }
    }

    /// Why the agent cannot be held now, if it cannot.
    pub(super) fn unavailable(&self) -> Option<Rejection> {
        if self.session.is_none() {
            return Some(Rejection::NotSignedIn);
        }
        if let Some(held) = &self.reservation {
            return Some(Rejection::AlreadyReserved { offer_id: held.wish.offer_id.clone() });
        }
        if self.wrap_up.is_some() {
            return Some(Rejection::InWrapUp);
        }
        (self.presence != Presence::Ready).then_some(Rejection::NotReady)
    }

    pub(super) fn reserve(&mut self, held: Reservation, facts: &mut Facts) {
        debug_assert_eq!(self.unavailable(), None, "only an available agent is reserved");
        let wish = held.wish.clone();
        facts.push(AgentFact::AgentReserved {
            agent_id: wish.agent_id,
            offer_id: wish.offer_id,
            contact_id: wish.contact_id,
            company_id: wish.company_id,
            queue_id: wish.queue_id,
            token: held.token,
            node_id: wish.node_id,
            routing_epoch: held.routing_epoch,
            expires_at: wish.expires_at,
        });
        self.reservation = Some(held);
    }

    /// The agent answered; the caller has checked token, node and epochs.
    pub(super) fn accept(&mut self, facts: &mut Facts) -> Result<(), Rejection> {
        let held = self.reservation.as_mut().ok_or(Rejection::NoSuchReservation)?;
        if held.unconfirmed_until.is_some() {
            return Err(Rejection::Unconfirmed);
        }
        if held.stage == Stage::Accepted {
            return Ok(());
        }
        held.stage = Stage::Accepted;
        let (offer_id, contact_id) = (held.wish.offer_id.clone(), held.wish.contact_id.clone());
        let (agent_id, token) = (self.agent_id.clone(), held.token);
        facts.push(AgentFact::ReservationAccepted { agent_id, offer_id, contact_id, token });
        self.missed_count = 0;
        Ok(())
    }

    /// The reservation is over; what follows is the queue's policy.
    pub(super) fn release(
        &mut self,
        at: Timestamp,
        outcome: ReleaseOutcome,
        policy: QueuePolicy,
        facts: &mut Facts,
    ) {
        let Some(held) = self.reservation.take() else { return };
        facts.push(self.released(&held, outcome));
        let (talked, missed) = match held.stage {
            Stage::Accepted => {
                (matches!(outcome, ReleaseOutcome::Completed | ReleaseOutcome::MediaLost), false)
            }
            Stage::Offered => {
                let missed = matches!(
                    outcome,
                    ReleaseOutcome::Declined | ReleaseOutcome::Unanswered | ReleaseOutcome::Expired
                );
                (false, missed)
            }
        };
        if talked && policy.wrap_up > Millis::ZERO {
            self.start_wrap_up(at, held, policy.wrap_up, facts);
            return;
        }
        if missed {
            self.missed_count = self.missed_count.saturating_add(1);
            if policy.miss_count_max > 0 && self.missed_count >= policy.miss_count_max {
                self.missed_count = 0;
                self.next.get_or_insert_with(|| (REASON_MISSED.to_owned(), Millis::ZERO));
            }
        }
        self.become_next(at, facts);
    }

    /// The media node lost or renewed its lease.
    pub(super) fn unconfirm(&mut self, at: Timestamp, facts: &mut Facts) {
        let Some(held) = self.reservation.as_mut() else { return };
        if held.unconfirmed_until.is_some() {
            return;
        }
        let resolves_at = at + UNCONFIRMED_GRACE;
        held.unconfirmed_until = Some(resolves_at);
        facts.push(AgentFact::ReservationUnconfirmed {
            agent_id: self.agent_id.clone(),
            offer_id: held.wish.offer_id.clone(),
            contact_id: held.wish.contact_id.clone(),
            token: held.token,
            resolves_at,
        });
    }

    pub(super) fn register(&mut self, device_id: DeviceId, device: Device, facts: &mut Facts) {
        if self.devices.get(&device_id) == Some(&device) {
            return;
        }
        facts.push(AgentFact::DeviceRegistered {
            agent_id: self.agent_id.clone(),
            device_id: device_id.clone(),
            contact_uri: device.contact_uri.clone(),
            node_id: device.node_id.clone(),
            expires_at: device.expires_at,
        });
        self.devices.insert(device_id, device);
    }

    pub(super) fn unregister(&mut self, device_id: DeviceId, reason: String, facts: &mut Facts) {
        if self.devices.remove(&device_id).is_some() {
            let agent_id = self.agent_id.clone();
            facts.push(AgentFact::DeviceUnregistered { agent_id, device_id, reason });
        }
    }

    /// Makes the one thing happen that is due at `at`, which is [`Agent::next_deadline`].
    pub(super) fn expire(
        &mut self,
        at: Timestamp,
        policy: impl Fn(&QueueId) -> QueuePolicy,
        facts: &mut Facts,
    ) {
        if let Some(held) = self.reservation.as_ref().filter(|it| it.deadline() == Some(at)) {
            let (outcome, policy) = (held.outcome_at_deadline(at), policy(&held.wish.queue_id));
            return self.release(at, outcome, policy, facts);
        }
        if let Some(wrap_up) = self.wrap_up.take_if(|it| it.ends_at == at) {
            facts.push(self.wrap_up_ended(wrap_up, false));
            return self.become_next(at, facts);
        }
        if matches!(self.presence, Presence::NotReady { until, .. } if until == Some(at)) {
            return self.become_ready(facts);
        }
        let due = self.devices.iter().find(|(_, device)| device.expires_at == at);
        if let Some(device_id) = due.map(|(device_id, _)| device_id.clone()) {
            self.unregister(device_id, "expired".to_owned(), facts);
        }
    }

    fn start_wrap_up(&mut self, at: Timestamp, held: Reservation, length: Millis, facts: &mut Facts) {
        let Wish { offer_id, contact_id, company_id, queue_id, .. } = held.wish;
        let ends_at = at + length;
        facts.push(AgentFact::WrapUpStarted {
            agent_id: self.agent_id.clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id.clone(),
            company_id: company_id.clone(),
            queue_id: queue_id.clone(),
            ends_at,
        });
        let traceparent = held.traceparent;
        self.wrap_up = Some(WrapUp { offer_id, contact_id, company_id, queue_id, ends_at, traceparent });
    }

    /// Contact and wrap-up are over: what the agent asked for meanwhile takes effect.
    fn become_next(&mut self, at: Timestamp, facts: &mut Facts) {
        if let Some((reason, duration)) = self.next.take() {
            self.become_not_ready(at, reason, duration, facts);
        }
    }

    fn become_ready(&mut self, facts: &mut Facts) {
        if self.presence != Presence::Ready {
            self.presence = Presence::Ready;
            facts.push(AgentFact::AgentBecameReady { agent_id: self.agent_id.clone() });
        }
    }

    fn become_not_ready(&mut self, at: Timestamp, reason: String, duration: Millis, facts: &mut Facts) {
        let until = (duration > Millis::ZERO).then_some(at + duration);
        let wanted = Presence::NotReady { reason: reason.clone(), until };
        if self.presence != wanted {
            self.presence = wanted;
            let agent_id = self.agent_id.clone();
            facts.push(AgentFact::AgentBecameNotReady { agent_id, reason, until });
        }
    }

    fn released(&self, held: &Reservation, outcome: ReleaseOutcome) -> AgentFact {
        AgentFact::ReservationReleased {
            agent_id: self.agent_id.clone(),
            offer_id: held.wish.offer_id.clone(),
            contact_id: held.wish.contact_id.clone(),
            token: held.token,
            outcome,
        }
    }

    fn wrap_up_ended(&self, wrap_up: WrapUp, finished_by_agent: bool) -> AgentFact {
        let WrapUp { offer_id, contact_id, .. } = wrap_up;
        AgentFact::WrapUpEnded { agent_id: self.agent_id.clone(), offer_id, contact_id, finished_by_agent }
    }
}

impl Reservation {
    /// When it ends by itself.
    pub fn deadline(&self) -> Option<Timestamp> {
        let offered = (self.stage == Stage::Offered).then_some(self.wish.expires_at);
        [offered, self.unconfirmed_until].into_iter().flatten().min()
    }

    fn outcome_at_deadline(&self, at: Timestamp) -> ReleaseOutcome {
        if self.unconfirmed_until == Some(at) { ReleaseOutcome::MediaLost } else { ReleaseOutcome::Expired }
    }
}
