//! After-contact work.

use super::{Agent, Moment, Reservation};
use crate::agent_state::command::Wish;
use crate::agent_state::reply::Rejection;
use crate::facts::AgentFact;
use crate::vocabulary::{CompanyId, ContactId, Millis, OfferId, QueueId, Timestamp};

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

impl Agent {
    pub(in crate::agent_state) fn finish_wrap_up(
        &mut self,
        moment: &mut Moment<'_>,
    ) -> Result<(), Rejection> {
        if self.session.is_none() {
            return Err(Rejection::NotSignedIn);
        }
        let wrap_up = self.wrap_up.take().ok_or(Rejection::NotInWrapUp)?;
        self.end_wrap_up(wrap_up, true, moment);
        Ok(())
    }

    /// It is over, and what the agent asked for meanwhile takes effect.
    pub(super) fn end_wrap_up(&mut self, wrap_up: WrapUp, finished_by_agent: bool, moment: &mut Moment<'_>) {
        moment.tell(self.wrap_up_ended(wrap_up, finished_by_agent));
        self.become_next(moment);
    }

    pub(super) fn start_wrap_up(&mut self, held: Reservation, length: Millis, moment: &mut Moment<'_>) {
        let Wish { offer_id, contact_id, company_id, queue_id, .. } = held.wish;
        let ends_at = moment.at + length;
        moment.tell(AgentFact::WrapUpStarted {
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

    pub(super) fn wrap_up_ended(&self, wrap_up: WrapUp, finished_by_agent: bool) -> AgentFact {
        let WrapUp { offer_id, contact_id, .. } = wrap_up;
        AgentFact::WrapUpEnded { agent_id: self.agent_id.clone(), offer_id, contact_id, finished_by_agent }
    }
}
