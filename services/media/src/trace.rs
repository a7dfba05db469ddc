//! A contact's spans: which one decided which fact.

use trunkline_domain::facts::ContactFact;
use trunkline_domain::vocabulary::{ContactId, OfferId, Party};
use trunkline_runtime::telemetry::names::{attribute, span};
use trunkline_runtime::telemetry::{Span, Telemetry};

/// The spans of one contact. They end as the contact goes on, the last with it.
pub(crate) struct Trace {
    telemetry: Telemetry,
    contact: Span,
    current: Option<Span>,
    current_parent: String,
    alert: Option<Span>,
    accept: Option<Span>,
    name: &'static str,
}

impl Trace {
    /// Begins the trace of a contact with its INVITE.
    pub fn begin(telemetry: &Telemetry, contact_id: &ContactId) -> Self {
        let contact = telemetry.span(span::CONTACT, "");
        contact.set(attribute::CONTACT_ID, contact_id.as_str());
        let invite = telemetry.span(span::INVITE, &contact.traceparent());
        Self {
            telemetry: telemetry.clone(),
            current_parent: invite.traceparent(),
            contact,
            current: Some(invite),
            alert: None,
            accept: None,
            name: span::INVITE,
        }
    }

    /// Notes something about the whole contact. No numbers, no names.
    pub fn note(&self, key: &'static str, value: &str) {
        self.contact.set(key, value);
    }

    /// An offer came with routing's context.
    pub fn offered(&mut self, offer_id: &OfferId, traceparent: &str) {
        let parent = if traceparent.is_empty() { &self.current_parent } else { traceparent };
        let alert = self.telemetry.span(span::ALERT, parent);
        alert.set(attribute::OFFER_ID, offer_id.as_str());
        self.alert = Some(alert);
    }

    /// The answer is put to agent-state; the context to send along.
    pub fn accepting(&mut self) -> String {
        let parent = self.alert.as_ref().map_or_else(|| self.current_parent.clone(), Span::traceparent);
        let accept = self.telemetry.client_span(span::ACCEPT, &parent);
        let traceparent = accept.traceparent();
        self.accept = Some(accept);
        traceparent
    }

    /// The context of what is going on now.
    pub fn traceparent(&self) -> String {
        self.current_parent.clone()
    }

    /// The context of the span that decided a fact; spans begin and end as the facts say.
    pub fn of(&mut self, fact: &ContactFact) -> String {
        match fact {
            ContactFact::ContactArrived { company_id, node_id, .. } => {
                self.contact.set(attribute::NODE_ID, node_id.as_str());
                if let Some(company_id) = company_id {
                    self.contact.set(attribute::COMPANY_ID, company_id.as_str());
                }
            }
            ContactFact::BusinessHoursChecked { .. }
            | ContactFact::PromptStarted { .. }
            | ContactFact::PromptFinished { .. }
            | ContactFact::LegAnswered { party: Party::Caller | Party::System, .. }
            | ContactFact::ContactQueueRequested { .. } => self.flow(),
            ContactFact::LegAnswered { party: Party::Agent, .. }
            | ContactFact::OfferAlerting { .. }
            | ContactFact::OfferDeclined { .. }
            | ContactFact::OfferUnanswered { .. }
            | ContactFact::OfferFailed { .. }
            | ContactFact::OfferWithdrawn { .. } => {
                let alert = self.alert.as_ref().map(Span::traceparent);
                return alert.unwrap_or_else(|| self.current_parent.clone());
            }
            ContactFact::ContactConnected { offer_id, .. } => {
                let accept = self.accept.take().map(|accept| accept.traceparent());
                self.alert = None;
                let parent = accept.unwrap_or_else(|| self.current_parent.clone());
                self.go_on(span::BRIDGE, &parent);
                if let Some(bridge) = &self.current {
                    bridge.set(attribute::OFFER_ID, offer_id.as_str());
                }
            }
            ContactFact::LegHeld { .. } | ContactFact::LegRetrieved { .. } => {}
            ContactFact::ContactDisconnected { .. }
            | ContactFact::ContactAbandoned { .. }
            | ContactFact::ContactFlowedOut { .. } => self.hang_up(),
            ContactFact::ContactEnded { cause, .. } => {
                self.hang_up();
                self.contact.set(attribute::CAUSE, cause.as_str());
            }
        }
        self.current_parent.clone()
    }

    fn flow(&mut self) {
        if self.name == span::INVITE {
            let parent = self.current_parent.clone();
            self.go_on(span::FLOW, &parent);
        }
    }

    fn hang_up(&mut self) {
        if self.name != span::HANG_UP {
            let parent = self.current_parent.clone();
            self.go_on(span::HANG_UP, &parent);
        }
    }

    fn go_on(&mut self, name: &'static str, parent: &str) {
        let next = self.telemetry.span(name, parent);
        self.current_parent = next.traceparent();
        self.name = name;
        self.current = Some(next);
    }
}
