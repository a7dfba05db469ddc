//! What the contacts log tells: who came to a queue, what became of offers, who left.

use super::book::rank_of;
use super::engine::{Cause, Router, Timer};
use crate::facts::{ContactFact, DequeueReason, OfferEnd, Recorded, RoutingFact};
use crate::vocabulary::{ContactId, OfferId};

impl Router {
    pub(super) fn contact_fact(&mut self, recorded: &Recorded<ContactFact>) {
        let contact_id = recorded.fact.contact_id();
        let cause = || Cause {
            event_id: Some(recorded.meta.event_id.clone()),
            traceparent: recorded.meta.traceparent.clone(),
        };
        match &recorded.fact {
            ContactFact::ContactQueueRequested { visit, .. } => {
                let waiting = self.book.waiting(contact_id).map(|waiting| waiting.visit);
                match waiting.or(self.book.turned_away(contact_id).map(|it| it.visit)) {
                    Some(known) if known >= *visit => {}
                    Some(_) => {
                        self.leave(contact_id, DequeueReason::FlowedOut, cause());
                        self.queue(recorded, cause());
                    }
                    None => self.queue(recorded, cause()),
                }
            }
            ContactFact::OfferDeclined { offer_id, .. } => {
                self.end_offer(offer_id, OfferEnd::Declined, cause());
            }
            ContactFact::OfferUnanswered { offer_id, .. } => {
                self.end_offer(offer_id, OfferEnd::Unanswered, cause());
            }
            ContactFact::OfferFailed { offer_id, reason, .. } => {
                self.end_offer(offer_id, OfferEnd::Failed(*reason), cause());
            }
            ContactFact::OfferWithdrawn { offer_id, .. } => {
                self.end_offer(offer_id, OfferEnd::Withdrawn, cause());
            }
            ContactFact::ContactConnected { offer_id, .. } => self.connected(contact_id, offer_id, cause),
            ContactFact::ContactAbandoned { .. } => {
                self.leave(contact_id, DequeueReason::Abandoned, cause());
            }
            ContactFact::ContactFlowedOut { .. } => {
                self.leave(contact_id, DequeueReason::FlowedOut, cause());
            }
            ContactFact::ContactEnded { .. } => self.leave(contact_id, DequeueReason::Ended, cause()),
            ContactFact::ContactArrived { .. }
            | ContactFact::BusinessHoursChecked { .. }
            | ContactFact::LegAnswered { .. }
            | ContactFact::PromptStarted { .. }
            | ContactFact::PromptFinished { .. }
            | ContactFact::OfferAlerting { .. }
            | ContactFact::LegHeld { .. }
            | ContactFact::LegRetrieved { .. }
            | ContactFact::ContactDisconnected { .. } => {}
        }
    }

    fn queue(&mut self, recorded: &Recorded<ContactFact>, cause: Cause) {
        let ContactFact::ContactQueueRequested {
            contact_id,
            company_id,
            queue_id,
            visit,
            priority,
            enqueued_at,
            required_skills,
            node_id,
        } = &recorded.fact
        else {
            return;
        };
        if let Some(waiting_count) = self.full(queue_id) {
            return self.turn_away(contact_id, queue_id, *visit, node_id, waiting_count, cause);
        }
        let plan =
            self.directory.queue(queue_id, self.now).map(|queue| queue.plan.clone()).unwrap_or_default();
        let rank = rank_of(&plan, *priority, *enqueued_at, contact_id);
        let fact = RoutingFact::ContactQueued {
            contact_id: contact_id.clone(),
            company_id: company_id.clone(),
            queue_id: queue_id.clone(),
            visit: *visit,
            priority: *priority,
            enqueued_at: *enqueued_at,
            required_skills: required_skills.clone(),
            node_id: node_id.clone(),
            place: self.book.place(queue_id, &rank),
            plan,
        };
        self.record(fact, cause);
    }

    fn connected(&mut self, contact_id: &ContactId, offer_id: &OfferId, cause: impl Fn() -> Cause) {
        let Some(live) = self.book.waiting(contact_id).and_then(|waiting| waiting.offer.clone()) else {
            // Routing had given the offer up; the conversation stands all the same.
            self.leave(contact_id, DequeueReason::Answered, cause());
            return;
        };
        if live == *offer_id {
            if let Some(offer) = self.book.offer(offer_id) {
                let fact = RoutingFact::OfferAccepted {
                    contact_id: contact_id.clone(),
                    offer_id: offer_id.clone(),
                    agent_id: offer.agent_id.clone(),
                };
                self.timers.cancel(&Timer::Lapse(offer_id.clone()));
                self.record(fact, cause());
            }
        } else if let Some(offer) = self.book.offer(&live) {
            // An earlier offer, given up too soon, was answered: the one under way is void.
            let (agent_id, token) = (offer.agent_id.clone(), offer.token);
            self.cancel(&live);
            self.release(agent_id, live.clone(), token);
            self.end_offer(&live, OfferEnd::Withdrawn, cause());
        }
        self.leave(contact_id, DequeueReason::Answered, cause());
    }

    /// The contact is no longer in its queue, or not turned away any more; a live offer goes with it. Its node has taken the offer back itself, or
    /// will refuse it when it hears of it.
    fn leave(&mut self, contact_id: &ContactId, reason: DequeueReason, cause: Cause) {
        let (queue_id, visit) = if let Some(waiting) = self.book.waiting(contact_id) {
            let (queue_id, visit, offer) = (waiting.queue_id.clone(), waiting.visit, waiting.offer.clone());
            if let Some(offer_id) = offer {
                self.end_offer(&offer_id, OfferEnd::Withdrawn, cause.clone());
            }
            (queue_id, visit)
        } else if let Some(turned_away) = self.book.turned_away(contact_id) {
            (turned_away.queue_id.clone(), turned_away.visit)
        } else {
            return;
        };
        self.timers.cancel(&Timer::ContactKeptBack(contact_id.clone()));
        self.timers.cancel(&Timer::TurnedAway(contact_id.clone()));
        self.timers.cancel(&Timer::StepBegins(contact_id.clone()));
        self.timers.cancel(&Timer::Leaves(contact_id.clone()));
        let fact = RoutingFact::ContactDequeued { contact_id: contact_id.clone(), queue_id, visit, reason };
        self.record(fact, cause);
    }
}
