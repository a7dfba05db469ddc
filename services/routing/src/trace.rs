//! One span a queue visit, one a reservation turn, one an offer: open until what they stand for is over.

use std::collections::BTreeMap;

use trunkline_domain::facts::{DequeueReason, OfferEnd, Recorded, RoutingFact};
use trunkline_domain::routing::Wish;
use trunkline_domain::vocabulary::{ContactId, OfferId, Timestamp};
use trunkline_runtime::telemetry::names::{self, attribute, span};
use trunkline_runtime::telemetry::{Span, Telemetry};

/// The stories under way: their contexts, and the spans that this owner began. A span of an earlier owner is lost with it;
/// the context is in its facts, so the story goes on under it.
pub(crate) struct Traces {
    telemetry: Telemetry,
    visits: BTreeMap<ContactId, Visit>,
    turns: BTreeMap<OfferId, String>,
    offers: BTreeMap<OfferId, Story>,
}

struct Story {
    context: String,
    /// Ends when dropped.
    span: Option<Span>,
}

struct Visit {
    story: Story,
    enqueued_at: Timestamp,
}

impl Traces {
    pub(crate) fn new(telemetry: &Telemetry) -> Self {
        Self {
            telemetry: telemetry.clone(),
            visits: BTreeMap::new(),
            turns: BTreeMap::new(),
            offers: BTreeMap::new(),
        }
    }

    /// Takes up what an earlier owner began.
    pub(crate) fn recall(&mut self, recorded: &Recorded<RoutingFact>) {
        let story = || Story { context: recorded.meta.traceparent.clone(), span: None };
        match &recorded.fact {
            RoutingFact::ContactQueued { contact_id, enqueued_at, .. } => {
                self.visits.insert(contact_id.clone(), Visit { story: story(), enqueued_at: *enqueued_at });
            }
            RoutingFact::OfferMade { offer_id, .. } => {
                self.offers.insert(offer_id.clone(), story());
            }
            RoutingFact::OfferAccepted { offer_id, .. } | RoutingFact::OfferEnded { offer_id, .. } => {
                self.offers.remove(offer_id);
            }
            RoutingFact::ContactDequeued { contact_id, .. } => {
                self.visits.remove(contact_id);
            }
            RoutingFact::ContactTurnedAway { contact_id, .. } => {
                let enqueued_at = recorded.meta.occurred_at;
                self.visits.insert(contact_id.clone(), Visit { story: story(), enqueued_at });
            }
            RoutingFact::StepBegan { .. }
            | RoutingFact::ContactReplanned { .. }
            | RoutingFact::ReservationRefused { .. }
            | RoutingFact::PartitionTaken { .. } => {}
        }
    }

    /// Begins or ends what a fact stands for, writes its context into the fact, and counts it.
    pub(crate) fn mark(&mut self, recorded: &mut Recorded<RoutingFact>) {
        let (at, given) = (recorded.meta.occurred_at, &mut recorded.meta.traceparent);
        match &recorded.fact {
            RoutingFact::ContactQueued { contact_id, queue_id, company_id, enqueued_at, .. } => {
                let span = self.telemetry.span(span::QUEUE, given);
                span.set(attribute::CONTACT_ID, contact_id.as_str());
                span.set(attribute::QUEUE_ID, queue_id.as_str());
                span.set(attribute::COMPANY_ID, company_id.as_str());
                *given = span.traceparent();
                let story = Story { context: span.traceparent(), span: Some(span) };
                self.visits.insert(contact_id.clone(), Visit { story, enqueued_at: *enqueued_at });
            }
            RoutingFact::StepBegan { contact_id, .. } | RoutingFact::ContactReplanned { contact_id, .. } => {
                *given = self.visit(contact_id, given);
            }
            RoutingFact::ReservationRefused { contact_id, offer_id, .. } => {
                self.turns.remove(offer_id);
                *given = self.visit(contact_id, given);
            }
            RoutingFact::OfferMade { contact_id, offer_id, agent_id, .. } => {
                let parent = self.turns.remove(offer_id).unwrap_or_else(|| self.visit(contact_id, given));
                let span = self.telemetry.span(span::OFFER, &parent);
                span.set(attribute::OFFER_ID, offer_id.as_str());
                span.set(attribute::AGENT_ID, agent_id.as_str());
                span.set(attribute::CONTACT_ID, contact_id.as_str());
                *given = span.traceparent();
                let story = Story { context: span.traceparent(), span: Some(span) };
                self.offers.insert(offer_id.clone(), story);
                self.telemetry.counter(names::OFFERS_MADE, &[]).inc();
            }
            RoutingFact::OfferAccepted { offer_id, .. } => *given = self.close(offer_id, "accepted", given),
            RoutingFact::OfferEnded { offer_id, end, .. } => {
                *given = self.close(offer_id, word(*end), given);
            }
            RoutingFact::ContactDequeued { contact_id, reason, .. } => {
                if let Some(visit) = self.visits.remove(contact_id) {
                    if *reason == DequeueReason::Answered {
                        let waited = at.since(visit.enqueued_at);
                        self.telemetry.histogram(names::ROUTING_WAIT, &[]).observe_ms(waited);
                    }
                    *given = visit.story.context;
                }
            }
            RoutingFact::ContactTurnedAway { contact_id, .. } => {
                let story = Story { context: given.clone(), span: None };
                self.visits.insert(contact_id.clone(), Visit { story, enqueued_at: at });
                self.telemetry.counter(names::CONTACTS_TURNED_AWAY, &[]).inc();
            }
            RoutingFact::PartitionTaken { .. } => {}
        }
    }

    /// Spans for the wishes of one turn, each under its contact's visit; to be ended when agent-state has answered.
    pub(crate) fn reserve(&mut self, wishes: &[Wish]) -> Vec<Span> {
        let mut spans = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let turn = self.telemetry.span(span::RESERVE, &self.visit(&wish.contact_id, ""));
            turn.set(attribute::OFFER_ID, wish.offer_id.as_str());
            turn.set(attribute::AGENT_ID, wish.agent_id.as_str());
            self.turns.insert(wish.offer_id.clone(), turn.traceparent());
            spans.push(turn);
        }
        spans
    }

    /// The context of a live offer; empty when it is not known here.
    pub(crate) fn offer(&self, offer_id: &OfferId) -> String {
        self.offers.get(offer_id).map(|story| story.context.clone()).unwrap_or_default()
    }

    /// The context of a contact's visit; empty when it is not known here.
    pub(crate) fn contact(&self, contact_id: &ContactId) -> String {
        self.visit(contact_id, "")
    }

    /// Forgets turns whose wishes came to nothing: a grant for a caller who had gone.
    pub(crate) fn forget_turn(&mut self, offer_id: &OfferId) {
        self.turns.remove(offer_id);
    }

    fn close(&mut self, offer_id: &OfferId, outcome: &'static str, given: &str) -> String {
        self.telemetry.counter(names::OFFERS_CLOSED, &[("outcome", outcome)]).inc();
        let Some(story) = self.offers.remove(offer_id) else { return given.to_owned() };
        if let Some(span) = &story.span {
            span.set(attribute::OUTCOME, outcome);
        }
        story.context
    }

    fn visit(&self, contact_id: &ContactId, otherwise: &str) -> String {
        self.visits.get(contact_id).map_or_else(|| otherwise.to_owned(), |visit| visit.story.context.clone())
    }
}

fn word(end: OfferEnd) -> &'static str {
    match end {
        OfferEnd::Declined => "declined",
        OfferEnd::Unanswered => "unanswered",
        OfferEnd::Withdrawn => "withdrawn",
        OfferEnd::Lapsed => "lapsed",
        OfferEnd::Failed(_) => "failed",
    }
}
