//! The contact's state machine. `LIFECYCLE.md` draws it; the states are [`Phase`].

mod offering;
mod talking;

use std::collections::VecDeque;

use super::input::{Input, Invited, Offer, Plan, QueueTerms, Service};
use super::offer_leg::{LegState, OfferLeg, PastOffers};
use super::output::Output;
use crate::facts::{ContactFact, FlowOutReason, OfferFailure, ReleaseOutcome};
use crate::kernel::{Engine, Timers};
use crate::vocabulary::{CompanyId, ContactEndCause, ContactId, LegId, Millis, NodeId, Party, Timestamp};

/// One contact. The same inputs at the same times give the same outputs.
///
/// Every fact of an input comes out before the effects that depend on it (ACK and bridge depend on agent-state's grant
/// alone); after [`Output::Closed`] only the remains of crossing messages come out (a late answer is acknowledged and ended, a late grant is released).
#[derive(Debug, Default)]
pub struct Contact {
    outputs: VecDeque<Output>,
    timers: Timers<Timer>,
    call: Option<Call>,
    phase: Phase,
    past: PastOffers,
}

/// What stays the same for the whole contact.
#[derive(Debug)]
struct Call {
    contact_id: ContactId,
    node_id: NodeId,
    leg_id: LegId,
    company_id: Option<CompanyId>,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nothing happened yet.
    #[default]
    New,
    /// The caller hears ringing.
    Ringing(Box<Service>),
    /// A prompt plays; behind it comes the queue or, when closed, the end.
    Prompting { service: Box<Service>, prompt: String, since: Timestamp, open: bool },
    /// The caller waits, with music.
    Queued {
        service: Box<Service>,
        visit: u32,
        /// When the visit began.
        since: Timestamp,
        /// From when its wait counts for ranking: when the first of its visits began.
        enqueued_at: Timestamp,
        leg: Option<OfferLeg>,
    },
    /// Caller and agent hear each other.
    Talking { service: Box<Service>, offer: Offer, since: Timestamp, held_by: Vec<Party> },
    /// It ended.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Answer,
    OfferExpiry,
    WaitLimit,
}

/// How a contact ends.
struct End {
    cause: ContactEndCause,
    by: Party,
    /// Closes an open queue visit as flowed out; as abandoned when absent.
    flow_out: Option<FlowOutReason>,
}

impl Engine for Contact {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Timestamp, input: Input) {
        while let Some((_, timer)) = self.timers.pop_due(now) {
            match timer {
                Timer::Answer => self.answer(now),
                Timer::OfferExpiry => self.offer_expired(now),
                Timer::WaitLimit => self.waited_too_long(now),
            }
        }
        match input {
            Input::Invited(invited) => self.invited(now, *invited),
            Input::CallerAcked | Input::Tick => {}
            Input::CallerBye => {
                self.end(now, End { cause: self.cause_if_left(), by: Party::Caller, flow_out: None });
            }
            Input::CallerCancelled => self.caller_cancelled(now),
            Input::CallerFailed | Input::MediaTimeout => {
                let cause = ContactEndCause::SignallingFailed;
                self.end(now, End { cause, by: Party::System, flow_out: None });
            }
            Input::Direction { by, held } => self.direction(now, by, held),
            Input::PromptFinished { played_ms } => self.prompt_finished(now, played_ms),
            Input::Offer(offer) => self.offer(now, *offer),
            Input::CancelOffer { offer_id } => self.cancel_offer(now, &offer_id),
            Input::TurnAway { visit, reason } => self.flow_out(now, visit, reason),
            Input::Overflow { visit, to } => self.overflow(now, visit, *to),
            Input::AgentAlerting { offer_id } => self.agent_alerting(now, &offer_id),
            Input::AgentAnswered { offer_id } => self.agent_answered(now, &offer_id),
            Input::AgentRefused { offer_id, status } => self.agent_refused(now, &offer_id, status),
            Input::AgentUnreachable { offer_id } => {
                self.offer_failed(now, &offer_id, OfferFailure::DeviceUnreachable);
            }
            Input::AgentBye { offer_id } => self.agent_bye(now, &offer_id),
            Input::AcceptGranted { offer_id } => self.accept_granted(now, &offer_id),
            Input::AcceptRefused { offer_id } => {
                self.offer_failed(now, &offer_id, OfferFailure::ReservationRefused);
            }
            Input::Drain => {
                let flow_out = Some(FlowOutReason::Drained);
                self.end(now, End { cause: ContactEndCause::Drained, by: Party::System, flow_out });
            }
        }
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        self.timers.next_timeout()
    }
}

/// Arrival, answer, prompts.
impl Contact {
    fn invited(&mut self, now: Timestamp, invited: Invited) {
        if !matches!(self.phase, Phase::New) {
            return;
        }
        let Invited { contact_id, node_id, leg_id, sip_call_id, caller, dialled, directory_revision, plan } =
            invited;
        let (company_id, flow_id) = match &plan {
            Plan::Refuse { company_id, flow_id, .. } => (company_id.clone(), flow_id.clone()),
            Plan::Serve(service) => (Some(service.company_id.clone()), Some(service.flow_id.clone())),
        };
        let arrived = ContactFact::ContactArrived {
            contact_id: contact_id.clone(),
            company_id: company_id.clone(),
            caller,
            dialled,
            node_id: node_id.clone(),
            sip_call_id,
            flow_id,
            directory_revision,
        };
        let call = Call { contact_id: contact_id.clone(), node_id, leg_id, company_id };
        match plan {
            Plan::Refuse { cause, status, .. } => {
                let status = status.unwrap_or_else(|| cause.sip_status());
                let ended = call.ended(cause, Party::System, Some(status));
                self.call = Some(call);
                self.phase = Phase::Over;
                self.record(now, vec![arrived, ended]);
                self.outputs.extend([Output::RefuseCaller { status, cause }, Output::Closed]);
            }
            Plan::Serve(service) => {
                let mut facts = vec![arrived];
                if let Some((calendar_id, open)) = service.hours.clone() {
                    facts.push(ContactFact::BusinessHoursChecked { contact_id, calendar_id, open });
                }
                self.call = Some(call);
                if service.ring_ms > Millis::ZERO {
                    self.timers.set(Timer::Answer, now + service.ring_ms);
                    self.phase = Phase::Ringing(service);
                    self.record(now, facts);
                    self.outputs.push_back(Output::RingCaller);
                } else {
                    self.answer_with(now, service, facts);
                }
            }
        }
    }

    fn answer(&mut self, now: Timestamp) {
        match std::mem::take(&mut self.phase) {
            Phase::Ringing(service) => self.answer_with(now, service, Vec::new()),
            other => self.phase = other,
        }
    }

    /// Answers the caller behind `facts`, and begins with what the hours say.
    fn answer_with(&mut self, now: Timestamp, service: Box<Service>, mut facts: Vec<ContactFact>) {
        let Some(call) = &self.call else { return };
        facts.push(ContactFact::LegAnswered {
            contact_id: call.contact_id.clone(),
            leg_id: call.leg_id.clone(),
            party: Party::Caller,
            agent_id: None,
        });
        let open = service.hours.as_ref().is_none_or(|(_, open)| *open);
        let prompt = if open { &service.greeting_prompt } else { &service.closed_prompt }.clone();
        if prompt.is_empty() {
            self.record(now, facts);
            self.outputs.push_back(Output::AnswerCaller);
            return self.behind_prompt(now, service, open, Vec::new());
        }
        facts
            .push(ContactFact::PromptStarted { contact_id: call.contact_id.clone(), prompt: prompt.clone() });
        self.record(now, facts);
        self.outputs.extend([Output::AnswerCaller, Output::Play { prompt: prompt.clone() }]);
        self.phase = Phase::Prompting { service, prompt, since: now, open };
    }

    fn prompt_finished(&mut self, now: Timestamp, played_ms: Millis) {
        match (std::mem::take(&mut self.phase), &self.call) {
            (Phase::Prompting { service, prompt, open, .. }, Some(call)) => {
                let contact_id = call.contact_id.clone();
                let finished = ContactFact::PromptFinished { contact_id, prompt, played_ms };
                self.behind_prompt(now, service, open, vec![finished]);
            }
            (other, _) => self.phase = other,
        }
    }

    /// Into the queue when open; to the end when closed.
    fn behind_prompt(
        &mut self,
        now: Timestamp,
        service: Box<Service>,
        open: bool,
        mut facts: Vec<ContactFact>,
    ) {
        let Some(call) = &self.call else { return };
        if !open {
            facts.push(call.ended(ContactEndCause::Closed, Party::System, None));
            self.phase = Phase::Over;
            self.record(now, facts);
            self.outputs.extend([Output::ByeCaller { cause: ContactEndCause::Closed }, Output::Closed]);
            return;
        }
        facts.push(call.queue_requested(&service, 1, now));
        self.record(now, facts);
        self.outputs.push_back(Output::Music { class: service.music.clone() });
        self.begin_visit(now, service, 1, now);
    }

    fn begin_visit(&mut self, now: Timestamp, service: Box<Service>, visit: u32, enqueued_at: Timestamp) {
        self.timers.cancel(&Timer::WaitLimit);
        if service.queue.wait_ms_max > Millis::ZERO {
            self.timers.set(Timer::WaitLimit, now + service.queue.wait_ms_max);
        }
        self.phase = Phase::Queued { service, visit, since: now, enqueued_at, leg: None };
    }

    fn caller_cancelled(&mut self, now: Timestamp) {
        // RFC 3261 §9.2: once the final response was sent, a CANCEL changes nothing.
        if matches!(self.phase, Phase::Ringing(_)) {
            self.end(now, End { cause: ContactEndCause::LeftInFlow, by: Party::Caller, flow_out: None });
        }
    }

    fn waited_too_long(&mut self, now: Timestamp) {
        // While an answer is being decided, nothing: its refusal sets the timer again.
        if let Phase::Queued { visit, .. } = &self.phase {
            self.flow_out(now, *visit, FlowOutReason::WaitedTooLong);
        }
    }

    /// Out of the visit, when the contact waits in it; while an answer is being decided, nothing.
    fn flow_out(&mut self, now: Timestamp, from: u32, reason: FlowOutReason) {
        match &self.phase {
            Phase::Queued { leg: Some(OfferLeg { state: LegState::Accepting, .. }), .. } => {}
            Phase::Queued { visit, .. } if *visit == from => {
                let flow_out = Some(reason);
                self.end(now, End { cause: ContactEndCause::FlowedOut, by: Party::System, flow_out });
            }
            _ => {}
        }
    }

    /// Into another queue, with the time it has waited; while an answer is being decided, nothing.
    fn overflow(&mut self, now: Timestamp, from: u32, to: QueueTerms) {
        let fits = |leg: &OfferLeg| leg.state != LegState::Accepting;
        match &self.phase {
            Phase::Queued { visit, leg, .. } if *visit == from && leg.as_ref().is_none_or(fits) => {}
            _ => return,
        }
        if let Some(leg) = self.take_leg(fits) {
            let withdrawn = self.withdrawn(&leg, Party::System);
            self.record(now, withdrawn);
            self.outputs.extend(leg.hang_up());
            self.over(&leg, ReleaseOutcome::Rescinded, false);
        }
        match (std::mem::take(&mut self.phase), &self.call) {
            (Phase::Queued { mut service, visit, since, enqueued_at, .. }, Some(call)) => {
                let flowed_out = ContactFact::ContactFlowedOut {
                    contact_id: call.contact_id.clone(),
                    company_id: service.company_id.clone(),
                    queue_id: service.queue.queue_id.clone(),
                    visit,
                    waited_ms: now.since(since),
                    reason: FlowOutReason::Overflowed,
                };
                service.queue = to;
                let requested = call.queue_requested(&service, visit + 1, enqueued_at);
                self.record(now, vec![flowed_out, requested]);
                self.begin_visit(now, service, visit + 1, enqueued_at);
            }
            (other, _) => self.phase = other,
        }
    }
}

impl Call {
    fn queue_requested(&self, service: &Service, visit: u32, enqueued_at: Timestamp) -> ContactFact {
        ContactFact::ContactQueueRequested {
            contact_id: self.contact_id.clone(),
            company_id: service.company_id.clone(),
            queue_id: service.queue.queue_id.clone(),
            visit,
            priority: service.queue.priority,
            enqueued_at,
            required_skills: service.queue.required_skills.clone(),
            node_id: self.node_id.clone(),
        }
    }

    fn ended(&self, cause: ContactEndCause, by: Party, sip_status: Option<u16>) -> ContactFact {
        ContactFact::ContactEnded {
            contact_id: self.contact_id.clone(),
            company_id: self.company_id.clone(),
            cause,
            by,
            sip_status,
            rtp_received_count: 0,
            rtp_sent_count: 0,
        }
    }
}
