//! One span a queue visit, one a reservation turn, one an offer: open until what they stand for is over.

use std::collections::BTreeMap;

use trunkline_domain::facts::{Recorded, RoutingFact};
use trunkline_domain::routing::Wish;
use trunkline_domain::vocabulary::{ContactId, OfferId};
use trunkline_runtime::telemetry::names::{attribute, span};
use trunkline_runtime::telemetry::{Span, Telemetry};

/// The spans under way. A restart forgets them: the story then goes on under the facts' own contexts.
#[derive(Default)]
pub(crate) struct Traces {
    visits: BTreeMap<ContactId, Span>,
    turns: BTreeMap<OfferId, String>,
    offers: BTreeMap<OfferId, Span>,
}

impl Traces {
    /// Begins or ends the span that a fact stands for, and writes its context into the fact.
    pub(crate) fn mark(&mut self, telemetry: &Telemetry, recorded: &mut Recorded<RoutingFact>) {
        let given = &mut recorded.meta.traceparent;
        match &recorded.fact {
            RoutingFact::ContactQueued { contact_id, queue_id, company_id, .. } => {
                let visit = telemetry.span(span::QUEUE, given);
                visit.set(attribute::CONTACT_ID, contact_id.as_str());
                visit.set(attribute::QUEUE_ID, queue_id.as_str());
                visit.set(attribute::COMPANY_ID, company_id.as_str());
                *given = visit.traceparent();
                self.visits.insert(contact_id.clone(), visit);
            }
            RoutingFact::ReservationRefused { contact_id, offer_id, .. } => {
                self.turns.remove(offer_id);
                if let Some(visit) = self.visits.get(contact_id) {
                    *given = visit.traceparent();
                }
            }
            RoutingFact::OfferMade { contact_id, offer_id, agent_id, .. } => {
                let parent = self.turns.remove(offer_id).unwrap_or_else(|| self.visit(contact_id, given));
                let offer = telemetry.span(span::OFFER, &parent);
                offer.set(attribute::OFFER_ID, offer_id.as_str());
                offer.set(attribute::AGENT_ID, agent_id.as_str());
                offer.set(attribute::CONTACT_ID, contact_id.as_str());
                *given = offer.traceparent();
                self.offers.insert(offer_id.clone(), offer);
            }
            RoutingFact::OfferAccepted { offer_id, .. } | RoutingFact::OfferEnded { offer_id, .. } => {
                if let Some(offer) = self.offers.remove(offer_id) {
                    *given = offer.traceparent();
                }
            }
            RoutingFact::ContactDequeued { contact_id, .. } => {
                if let Some(visit) = self.visits.remove(contact_id) {
                    *given = visit.traceparent();
                }
            }
            RoutingFact::PartitionTaken { .. } => {}
        }
    }

    /// Spans for the wishes of one turn, each under its contact's visit; to be ended when agent-state has answered.
    pub(crate) fn reserve(&mut self, telemetry: &Telemetry, wishes: &[Wish]) -> Vec<Span> {
        let mut spans = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let turn = telemetry.span(span::RESERVE, &self.visit(&wish.contact_id, ""));
            turn.set(attribute::OFFER_ID, wish.offer_id.as_str());
            turn.set(attribute::AGENT_ID, wish.agent_id.as_str());
            self.turns.insert(wish.offer_id.clone(), turn.traceparent());
            spans.push(turn);
        }
        spans
    }

    /// The context of a live offer; empty when it is not known here.
    pub(crate) fn offer(&self, offer_id: &OfferId) -> String {
        self.offers.get(offer_id).map(Span::traceparent).unwrap_or_default()
    }

    fn visit(&self, contact_id: &ContactId, otherwise: &str) -> String {
        self.visits.get(contact_id).map_or_else(|| otherwise.to_owned(), Span::traceparent)
    }
}
