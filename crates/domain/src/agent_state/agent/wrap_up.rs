//! After-contact work: whether there is any, when it ends, and who may end it.

use super::{Agent, Moment, Reservation, Stage};
use crate::agent_state::command::Wish;
use crate::agent_state::reply::Rejection;
use crate::agent_state::roster::QueuePolicy;
use crate::facts::{AgentFact, WrapUpMode};
use crate::vocabulary::{CompanyId, ContactId, Millis, OfferId, QueueId, Timestamp};

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
        let talking = self.reservation.as_mut().filter(|it| it.stage == Stage::Accepted);
        let talking = talking.ok_or(Rejection::NotTalking)?;
        meant(offer_id, &talking.wish.offer_id)?;
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
        self.end_wrap_up(true, code, moment);
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
        let wrap_up = self.wrap_up.as_mut().ok_or(Rejection::NotInWrapUp)?;
        meant(offer_id, &wrap_up.offer_id)?;
        Ok(wrap_up)
    }

    /// It is over if only the agent could end it: a supervisor's word counts at once, and not when somebody comes back.
    pub(super) fn end_open_wrap_up(&mut self, moment: &mut Moment<'_>) {
        if self.wrap_up.as_ref().is_some_and(|it| it.ends_at.is_none()) {
            self.end_wrap_up(false, String::new(), moment);
        }
    }

    /// It is over, if there is any, and what was asked for meanwhile takes effect.
    pub(super) fn end_wrap_up(&mut self, finished_by_agent: bool, code: String, moment: &mut Moment<'_>) {
        self.drop_wrap_up(finished_by_agent, code, moment);
        self.become_next(moment);
    }

    /// It is over, if there is any.
    pub(super) fn drop_wrap_up(&mut self, finished_by_agent: bool, code: String, moment: &mut Moment<'_>) {
        let Some(WrapUp { offer_id, contact_id, .. }) = self.wrap_up.take() else { return };
        let agent_id = self.agent_id.clone();
        let wrap_up_code = code;
        moment.tell(AgentFact::WrapUpEnded {
            agent_id,
            offer_id,
            contact_id,
            finished_by_agent,
            wrap_up_code,
        });
    }

    pub(super) fn start_wrap_up(
        &mut self,
        held: Reservation,
        ends_at: Option<Timestamp>,
        moment: &mut Moment<'_>,
    ) {
        let Wish { offer_id, contact_id, company_id, queue_id, .. } = held.wish;
        moment.tell(AgentFact::WrapUpStarted {
            agent_id: self.agent_id.clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id.clone(),
            company_id: company_id.clone(),
            queue_id: queue_id.clone(),
            ends_at,
        });
        let (extended, traceparent) = (Millis::ZERO, held.traceparent);
        self.wrap_up =
            Some(WrapUp { offer_id, contact_id, company_id, queue_id, ends_at, extended, traceparent });
    }
}

/// A desktop that speaks of another conversation than the live one has not seen what came since.
fn meant(said: Option<OfferId>, live: &OfferId) -> Result<(), Rejection> {
    match said {
        Some(other) if other != *live => Err(Rejection::WrongOffer { offer_id: live.clone() }),
        _ => Ok(()),
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
