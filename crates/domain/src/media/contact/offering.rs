//! What becomes of routing's offers.

use super::{Contact, End, Phase, Timer};
use crate::facts::{ContactFact, OfferFailure, ReleaseOutcome};
use crate::media::input::Offer;
use crate::media::offer_leg::{LegState, OfferLeg, release};
use crate::media::output::Output;
use crate::vocabulary::{ContactEndCause, Millis, OfferId, Party, Timestamp};

impl Contact {
    pub(super) fn offer(&mut self, now: Timestamp, offer: Offer) {
        let Some(call) = &self.call else { return };
        let contact_id = call.contact_id.clone();
        if self.past.knows(&offer.offer_id) || self.live_offer_id() == Some(&offer.offer_id) {
            return; // a retry
        }
        let reason = match &mut self.phase {
            Phase::New | Phase::Over => {
                self.outputs.push_back(Output::OfferRefused { offer_id: offer.offer_id.clone() });
                self.outputs.push_back(release(&offer, ReleaseOutcome::CallerGone));
                self.past.push(offer.offer_id, None, true);
                return;
            }
            Phase::Queued { visit, leg: leg @ None, .. } if *visit == offer.visit => {
                match offer.device_uri.clone() {
                    _ if offer.expires_at <= now => OfferFailure::ReservationRefused,
                    None => OfferFailure::DeviceUnreachable,
                    Some(device_uri) => {
                        self.timers.set(Timer::OfferExpiry, offer.expires_at);
                        self.outputs.push_back(Output::InviteAgent {
                            offer_id: offer.offer_id.clone(),
                            agent_id: offer.agent_id.clone(),
                            leg_id: offer.leg_id.clone(),
                            device_uri,
                        });
                        *leg = Some(OfferLeg { offer, state: LegState::Inviting });
                        return;
                    }
                }
            }
            _ => OfferFailure::ContactGone,
        };
        let Offer { offer_id, agent_id, .. } = offer.clone();
        self.record(
            now,
            vec![ContactFact::OfferFailed { contact_id, offer_id: offer_id.clone(), agent_id, reason }],
        );
        self.outputs.push_back(release(&offer, ReleaseOutcome::Failed));
        self.past.push(offer_id, None, true);
    }

    pub(super) fn cancel_offer(&mut self, now: Timestamp, offer_id: &OfferId) {
        if self.live_offer_id() != Some(offer_id) {
            // It may have overtaken its offer, which must then not ring.
            if self.call.is_some()
                && !matches!(&self.phase, Phase::Talking { offer, .. } if offer.offer_id == *offer_id)
            {
                self.past.push(offer_id.clone(), None, true);
            }
            return;
        }
        if let Some(leg) = self.take_leg(|leg| leg.state != LegState::Accepting) {
            let withdrawn = self.withdrawn(&leg, Party::System);
            self.record(now, withdrawn);
            self.outputs.extend(leg.hang_up());
            self.past.push(offer_id.clone(), None, false);
        }
    }

    pub(super) fn agent_alerting(&mut self, now: Timestamp, offer_id: &OfferId) {
        let Some(call) = &self.call else { return };
        let Phase::Queued { leg: Some(leg), .. } = &mut self.phase else { return };
        if leg.offer.offer_id != *offer_id || leg.state != LegState::Inviting {
            return;
        }
        leg.state = LegState::Alerting { since: now };
        let alerting = ContactFact::OfferAlerting {
            contact_id: call.contact_id.clone(),
            offer_id: offer_id.clone(),
            agent_id: leg.offer.agent_id.clone(),
            leg_id: leg.offer.leg_id.clone(),
        };
        self.record(now, vec![alerting]);
    }

    pub(super) fn agent_answered(&mut self, now: Timestamp, offer_id: &OfferId) {
        if self.live_offer_id() != Some(offer_id) {
            let remains = self.past.late_answer(offer_id);
            self.outputs.extend(remains);
            return;
        }
        let Some(call) = &self.call else { return };
        let Phase::Queued { leg: Some(leg), .. } = &mut self.phase else { return };
        if leg.state == LegState::Accepting {
            return;
        }
        leg.state = LegState::Accepting;
        self.timers.cancel(&Timer::OfferExpiry);
        let Offer { offer_id, agent_id, leg_id, token, .. } = leg.offer.clone();
        let answered = ContactFact::LegAnswered {
            contact_id: call.contact_id.clone(),
            leg_id,
            party: Party::Agent,
            agent_id: Some(agent_id.clone()),
        };
        self.record(now, vec![answered]);
        self.outputs.push_back(Output::RequestAccept { offer_id, agent_id, token });
    }

    pub(super) fn accept_granted(&mut self, now: Timestamp, offer_id: &OfferId) {
        let granted = |leg: &OfferLeg| leg.state == LegState::Accepting && leg.offer.offer_id == *offer_id;
        if !matches!(&self.phase, Phase::Queued { leg: Some(leg), .. } if granted(leg)) {
            self.outputs.extend(self.past.late_grant(offer_id));
            return;
        }
        match (std::mem::take(&mut self.phase), &self.call) {
            (Phase::Queued { service, visit, since, leg: Some(OfferLeg { offer, .. }), .. }, Some(call)) => {
                let connected = ContactFact::ContactConnected {
                    contact_id: call.contact_id.clone(),
                    company_id: service.company_id.clone(),
                    queue_id: service.queue.queue_id.clone(),
                    visit,
                    offer_id: offer.offer_id.clone(),
                    agent_id: offer.agent_id.clone(),
                    leg_id: offer.leg_id.clone(),
                    waited_ms: now.since(since),
                };
                self.timers.cancel(&Timer::WaitLimit);
                // The one effect that does not wait for its fact: agent-state's grant is durable, and talk time counts
                // from here. A node lost in between ends the contact without a conversation: short, never long.
                let offer_id = offer.offer_id.clone();
                self.outputs
                    .extend([Output::AckAgent { offer_id: offer_id.clone() }, Output::Bridge { offer_id }]);
                self.record(now, vec![connected]);
                self.phase = Phase::Talking { service, offer, since: now, held_by: Vec::new() };
            }
            (other, _) => self.phase = other,
        }
    }

    pub(super) fn agent_refused(&mut self, now: Timestamp, offer_id: &OfferId, sip_status: u16) {
        let ringing = |leg: &OfferLeg| leg.offer.offer_id == *offer_id && leg.state != LegState::Accepting;
        let (Some(leg), Some(call)) = (self.take_leg(ringing), &self.call) else { return };
        let declined = ContactFact::OfferDeclined {
            contact_id: call.contact_id.clone(),
            offer_id: offer_id.clone(),
            agent_id: leg.offer.agent_id.clone(),
            sip_status,
        };
        self.record(now, vec![declined]);
        self.over(&leg, ReleaseOutcome::Declined, true);
    }

    pub(super) fn offer_expired(&mut self, now: Timestamp) {
        let ringing = |leg: &OfferLeg| leg.state != LegState::Accepting;
        let (Some(leg), Some(call)) = (self.take_leg(ringing), &self.call) else { return };
        let (contact_id, offer_id) = (call.contact_id.clone(), leg.offer.offer_id.clone());
        let agent_id = leg.offer.agent_id.clone();
        let (fact, outcome) = match leg.state {
            LegState::Alerting { since } => (
                ContactFact::OfferUnanswered { contact_id, offer_id, agent_id, rang_ms: now.since(since) },
                ReleaseOutcome::Unanswered,
            ),
            LegState::Inviting | LegState::Accepting => (
                ContactFact::OfferFailed {
                    contact_id,
                    offer_id,
                    agent_id,
                    reason: OfferFailure::DeviceUnreachable,
                },
                ReleaseOutcome::Failed,
            ),
        };
        self.record(now, vec![fact]);
        self.outputs.extend(leg.hang_up());
        self.over(&leg, outcome, false);
    }

    /// The live offer cannot be carried out. When its phone had answered, that leg is ended.
    pub(super) fn offer_failed(&mut self, now: Timestamp, offer_id: &OfferId, reason: OfferFailure) {
        let fits = |leg: &OfferLeg| {
            leg.offer.offer_id == *offer_id
                && (leg.state == LegState::Accepting) == (reason == OfferFailure::ReservationRefused)
        };
        let (Some(leg), Some(call)) = (self.take_leg(fits), &self.call) else { return };
        let failed = ContactFact::OfferFailed {
            contact_id: call.contact_id.clone(),
            offer_id: offer_id.clone(),
            agent_id: leg.offer.agent_id.clone(),
            reason,
        };
        self.record(now, vec![failed]);
        if leg.state == LegState::Accepting {
            self.outputs.extend(leg.hang_up());
        }
        self.over(&leg, ReleaseOutcome::Failed, true);
        self.look_at_wait_limit_again(now);
    }

    pub(super) fn agent_bye(&mut self, now: Timestamp, offer_id: &OfferId) {
        match &self.phase {
            Phase::Talking { offer, .. } if offer.offer_id == *offer_id => {
                self.end(now, End { cause: ContactEndCause::Completed, by: Party::Agent, flow_out: None });
            }
            // Hung up between its answer and the grant.
            Phase::Queued { .. } => {
                let answered =
                    |leg: &OfferLeg| leg.offer.offer_id == *offer_id && leg.state == LegState::Accepting;
                let (Some(leg), Some(call)) = (self.take_leg(answered), &self.call) else { return };
                let failed = ContactFact::OfferFailed {
                    contact_id: call.contact_id.clone(),
                    offer_id: offer_id.clone(),
                    agent_id: leg.offer.agent_id.clone(),
                    reason: OfferFailure::DeviceUnreachable,
                };
                self.record(now, vec![failed]);
                self.over(&leg, ReleaseOutcome::Failed, true);
                self.look_at_wait_limit_again(now);
            }
            _ => {}
        }
    }

    fn live_offer_id(&self) -> Option<&OfferId> {
        match &self.phase {
            Phase::Queued { leg: Some(leg), .. } => Some(&leg.offer.offer_id),
            Phase::Talking { offer, .. } => Some(&offer.offer_id),
            _ => None,
        }
    }

    /// Takes the live leg out when `fits` says so; its timer goes with it.
    pub(super) fn take_leg(&mut self, fits: impl Fn(&OfferLeg) -> bool) -> Option<OfferLeg> {
        let Phase::Queued { leg, .. } = &mut self.phase else { return None };
        if !leg.as_ref().is_some_and(fits) {
            return None;
        }
        self.timers.cancel(&Timer::OfferExpiry);
        leg.take()
    }

    /// Releases the reservation of a leg that is over, and remembers it.
    pub(super) fn over(&mut self, leg: &OfferLeg, outcome: ReleaseOutcome, answered: bool) {
        let release = leg.release(outcome);
        self.outputs.push_back(release.clone());
        self.past.push(leg.offer.offer_id.clone(), Some(release), answered);
    }

    fn look_at_wait_limit_again(&mut self, now: Timestamp) {
        if let Phase::Queued { service, since, .. } = &self.phase {
            let limit = *since + service.queue.wait_ms_max;
            if service.queue.wait_ms_max > Millis::ZERO && limit <= now {
                self.timers.set(Timer::WaitLimit, now);
            }
        }
    }

    pub(super) fn withdrawn(&self, leg: &OfferLeg, by: Party) -> Vec<ContactFact> {
        let withdrawn = |call: &super::Call| ContactFact::OfferWithdrawn {
            contact_id: call.contact_id.clone(),
            offer_id: leg.offer.offer_id.clone(),
            agent_id: leg.offer.agent_id.clone(),
            by,
        };
        self.call.iter().map(withdrawn).collect()
    }
}
