//! Talk, hold, and every way a contact ends.

use super::{Contact, End, Phase, Timers};
use crate::facts::{ContactFact, ReleaseOutcome};
use crate::media::offer_leg::{LegState, release};
use crate::media::output::Output;
use crate::vocabulary::{ContactEndCause, Party, Timestamp};

impl Contact {
    pub(super) fn direction(&mut self, now: Timestamp, by: Party, held: bool) {
        let (Phase::Talking { offer, held_by, .. }, Some(call)) = (&mut self.phase, &self.call) else {
            return;
        };
        if held_by.contains(&by) == held {
            return;
        }
        let leg_id = if by == Party::Agent { &offer.leg_id } else { &call.leg_id }.clone();
        let contact_id = call.contact_id.clone();
        let fact = if held {
            held_by.push(by);
            ContactFact::LegHeld { contact_id, leg_id, by }
        } else {
            held_by.retain(|party| *party != by);
            ContactFact::LegRetrieved { contact_id, leg_id, by }
        };
        self.record(now, vec![fact]);
    }

    pub(super) fn cause_if_left(&self) -> ContactEndCause {
        match &self.phase {
            Phase::Prompting { open: false, .. } => ContactEndCause::Closed,
            Phase::Queued { .. } => ContactEndCause::Abandoned,
            Phase::Talking { .. } => ContactEndCause::Completed,
            Phase::New | Phase::Ringing(_) | Phase::Prompting { .. } | Phase::Over => {
                ContactEndCause::LeftInFlow
            }
        }
    }

    pub(super) fn end(&mut self, now: Timestamp, end: End) {
        if matches!(self.phase, Phase::New | Phase::Over) {
            return;
        }
        let Some(call) = &self.call else { return };
        let contact_id = call.contact_id.clone();
        let mut facts = Vec::new();
        let mut effects = Vec::new();
        let mut sip_status = None;
        let mut past = None;
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::New | Phase::Over => {}
            Phase::Ringing(_) => {
                let status = end.cause.sip_status();
                sip_status = Some(status);
                effects.push(Output::RefuseCaller { status, cause: end.cause });
            }
            Phase::Prompting { prompt, since, .. } => {
                facts.push(ContactFact::PromptFinished { contact_id, prompt, played_ms: now.since(since) });
            }
            Phase::Queued { service, visit, since, leg, .. } => {
                if let Some(leg) = leg {
                    facts.extend(self.withdrawn(&leg, end.by));
                    effects.extend(leg.hang_up());
                    let release = leg.release(ReleaseOutcome::CallerGone);
                    effects.push(release.clone());
                    let answered = leg.state == LegState::Accepting;
                    past = Some((leg.offer.offer_id, release, answered));
                }
                let (company_id, queue_id) = (service.company_id, service.queue.queue_id);
                let waited_ms = now.since(since);
                facts.push(match end.flow_out {
                    Some(reason) => ContactFact::ContactFlowedOut {
                        contact_id,
                        company_id,
                        queue_id,
                        visit,
                        waited_ms,
                        reason,
                    },
                    None => {
                        ContactFact::ContactAbandoned { contact_id, company_id, queue_id, visit, waited_ms }
                    }
                });
            }
            Phase::Talking { service, offer, since, .. } => {
                facts.push(ContactFact::ContactDisconnected {
                    contact_id,
                    company_id: service.company_id,
                    queue_id: service.queue.queue_id,
                    offer_id: offer.offer_id.clone(),
                    agent_id: offer.agent_id.clone(),
                    talked_ms: now.since(since),
                    by: end.by,
                });
                effects.push(Output::Unbridge);
                if end.by != Party::Agent {
                    effects.push(Output::ByeAgent { offer_id: offer.offer_id.clone() });
                }
                effects.push(release(&offer, ReleaseOutcome::Completed));
            }
        }
        if end.by != Party::Caller && sip_status.is_none() {
            effects.insert(0, Output::ByeCaller { cause: end.cause });
        }
        facts.extend(self.call.as_ref().map(|call| call.ended(end.cause, end.by, sip_status)));
        if let Some((offer_id, release, answered)) = past {
            self.past.push(offer_id, Some(release), answered);
        }
        self.timers = Timers::default();
        self.record(now, facts);
        self.outputs.extend(effects);
        self.outputs.push_back(Output::Closed);
    }

    pub(super) fn record(&mut self, at: Timestamp, facts: Vec<ContactFact>) {
        if !facts.is_empty() {
            self.outputs.push_back(Output::Record { at, facts });
        }
    }
}
