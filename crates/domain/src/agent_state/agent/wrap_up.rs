//! After-contact work: whether there is any, when it ends, and who may end it.

use super::{Activity, Agent, Moment, Reservation, Slot};
use crate::agent_state::command::Wish;
use crate::agent_state::reply::Rejection;
use crate::agent_state::roster::QueuePolicy;
use crate::facts::{AgentFact, WrapUpMode};
use crate::vocabulary::{Channel, CompanyId, ContactId, Millis, OfferId, QueueId, Timestamp};

/// After-contact work. By which rules it goes on is its queue's policy as it is now.
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
    /// How it came.
    pub channel: Channel,
    /// When it ends by itself; `None` when only the agent ends it.
    pub ends_at: Option<Timestamp>,
    /// By how much the agent put its end off, altogether.
    pub extended: Millis,
    /// The trace of the reservation before it.
    pub traceparent: String,
}

impl Agent {
    /// The agent wants to write something down after this contact.
    pub(in crate::agent_state) fn request_wrap_up(
        &mut self,
        offer_id: Option<OfferId>,
    ) -> Result<(), Rejection> {
        if self.session.is_none() {
            return Err(Rejection::NotSignedIn);
        }
        let talks = |slot: &Slot| slot.activity() == Activity::Talking;
        let offer_id = self.meant(offer_id, talks, Rejection::NotTalking)?;
        let talking = self.held_under_mut(&offer_id).ok_or(Rejection::NotTalking)?;
        talking.wrap_up_requested = true;
        Ok(())
    }

    /// The agent is done. What has no end of its own can always be finished, by whichever policy the queue has since.
    pub(in crate::agent_state) fn finish_wrap_up(
        &mut self,
        offer_id: Option<OfferId>,
        code: String,
        moment: &mut Moment<'_>,
    ) -> Result<(), Rejection> {
        let wrap_up = self.wrapping_up(offer_id)?;
        let policy = moment.policy(&wrap_up.queue_id);
        if policy.wrap_up_mode == WrapUpMode::TimedForced && wrap_up.ends_at.is_some() {
            return Err(Rejection::WrapUpForced);
        }
        if policy.wrap_up_code_required && code.trim().is_empty() {
            return Err(Rejection::WrapUpCodeRequired);
        }
        let offer_id = wrap_up.offer_id.clone();
        self.end_wrap_up(&offer_id, true, code, moment);
        Ok(())
    }

    /// The agent needs longer: its wrap-up ends later by `span`.
    pub(in crate::agent_state) fn extend_wrap_up(
        &mut self,
        offer_id: Option<OfferId>,
        span: Millis,
        moment: &mut Moment<'_>,
    ) -> Result<Timestamp, Rejection> {
        let wrap_up = self.wrapping_up(offer_id)?;
        let left = moment.policy(&wrap_up.queue_id).wrap_up_extension_max - wrap_up.extended;
        let ends_at = wrap_up.ends_at.ok_or(Rejection::WrapUpOpenEnded)? + span;
        if span > left {
            return Err(Rejection::WrapUpExtensionTooLong { left: left.max(Millis::ZERO) });
        }
        wrap_up.ends_at = Some(ends_at);
        wrap_up.extended = wrap_up.extended + span;
        let (offer_id, contact_id) = (wrap_up.offer_id.clone(), wrap_up.contact_id.clone());
        let agent_id = self.agent_id.clone();
        moment.tell(AgentFact::WrapUpExtended { agent_id, offer_id, contact_id, ends_at });
        Ok(ends_at)
    }

    fn wrapping_up(&mut self, offer_id: Option<OfferId>) -> Result<&mut WrapUp, Rejection> {
        if self.session.is_none() {
            return Err(Rejection::NotSignedIn);
        }
        let wraps_up = |slot: &Slot| slot.activity() == Activity::WrapUp;
        let offer_id = self.meant(offer_id, wraps_up, Rejection::NotInWrapUp)?;
        let wrap_up = self.slots.iter_mut().find_map(|slot| match slot {
            Slot::WrapUp(wrap_up) if wrap_up.offer_id == offer_id => Some(wrap_up),
            _ => None,
        });
        wrap_up.ok_or(Rejection::NotInWrapUp)
    }

    /// Whatever only the agent could end is over: a supervisor's word counts at once, and not when somebody comes back.
    pub(super) fn end_open_wrap_ups(&mut self, moment: &mut Moment<'_>) {
        let open: Vec<OfferId> =
            self.wrap_ups().filter(|it| it.ends_at.is_none()).map(|it| it.offer_id.clone()).collect();
        for offer_id in open {
            self.end_wrap_up(&offer_id, false, String::new(), moment);
        }
    }

    /// It is over, if there is any, and what was asked for meanwhile takes effect.
    pub(super) fn end_wrap_up(
        &mut self,
        offer_id: &OfferId,
        finished_by_agent: bool,
        code: String,
        moment: &mut Moment<'_>,
    ) {
        let ended = |slot: &Slot| slot.wrap_up().is_some_and(|it| it.offer_id == *offer_id);
        let place = self.slots.iter().position(ended);
        if let Some(Slot::WrapUp(wrap_up)) = place.map(|place| self.slots.remove(place)) {
            moment.tell(self.wrapped_up(wrap_up, finished_by_agent, code));
        }
        self.become_next(moment);
    }

    pub(super) fn wrapped_up(&self, wrap_up: WrapUp, finished_by_agent: bool, code: String) -> AgentFact {
        let WrapUp { offer_id, contact_id, .. } = wrap_up;
        let (agent_id, wrap_up_code) = (self.agent_id.clone(), code);
        AgentFact::WrapUpEnded { agent_id, offer_id, contact_id, finished_by_agent, wrap_up_code }
    }

    pub(super) fn start_wrap_up(
        &mut self,
        held: Reservation,
        ends_at: Option<Timestamp>,
        moment: &mut Moment<'_>,
    ) -> WrapUp {
        let Wish { offer_id, contact_id, company_id, queue_id, channel, .. } = held.wish;
        moment.tell(AgentFact::WrapUpStarted {
            agent_id: self.agent_id.clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id.clone(),
            company_id: company_id.clone(),
            queue_id: queue_id.clone(),
            ends_at,
            channel,
        });
        let (extended, traceparent) = (Millis::ZERO, held.traceparent);
        WrapUp { offer_id, contact_id, company_id, queue_id, channel, ends_at, extended, traceparent }
    }
}

impl QueuePolicy {
    /// The end of the wrap-up after a conversation that ended at `at`: `None` when there is none, else when it ends by
    /// itself, if it does.
    pub(super) fn wrap_up_after(&self, at: Timestamp, requested: bool) -> Option<Option<Timestamp>> {
        let timed = (self.wrap_up > Millis::ZERO).then_some(Some(at + self.wrap_up));
        match self.wrap_up_mode {
            WrapUpMode::None => None,
            WrapUpMode::Timed | WrapUpMode::TimedForced => timed,
            WrapUpMode::Mandatory => Some(None),
            WrapUpMode::OnRequest => timed.filter(|_| requested),
        }
    }
}
