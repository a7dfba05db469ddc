//! What a media node had under way when it was lost, folded from its lane of the contacts log, and how each contact ends.

use std::collections::BTreeMap;

use crate::facts::{ContactFact, FlowOutReason, Recorded};
use crate::kernel::Projection;
use crate::vocabulary::{
    AgentId, Cell, CompanyId, ContactEndCause, ContactId, EventId, OfferId, Party, QueueId, Timestamp,
};

/// Contacts that arrived and did not end.
#[derive(Debug, Clone, Default)]
pub struct LiveContacts(BTreeMap<ContactId, LiveContact>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveContact {
    /// The partition it is in.
    pub cell: Cell,
    /// Its company.
    pub company_id: Option<CompanyId>,
    /// The sequence of its last fact.
    pub last_sequence: u64,
    /// The id of its last fact.
    pub last_event_id: EventId,
    /// When its last fact happened.
    pub last_at: Timestamp,
    /// The trace its last fact belongs to.
    pub traceparent: String,
    visit: Option<Visit>,
    talk: Option<Talk>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Visit {
    company_id: CompanyId,
    queue_id: QueueId,
    number: u32,
    since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Talk {
    company_id: CompanyId,
    queue_id: QueueId,
    offer_id: OfferId,
    agent_id: AgentId,
    since: Timestamp,
}

impl LiveContacts {
    /// Takes all of them out, by id.
    pub fn take(&mut self) -> impl Iterator<Item = (ContactId, LiveContact)> + use<> {
        std::mem::take(&mut self.0).into_iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl LiveContact {
    /// When it was lost: at its last fact or when its node last proved to be alive, whichever is later.
    pub fn lost_at(&self, previous_renewed_at: Option<Timestamp>) -> Timestamp {
        previous_renewed_at.map_or(self.last_at, |renewed_at| renewed_at.max(self.last_at))
    }

    /// The facts that end it as lost at `at`: what is open is closed first.
    pub fn lost(&self, contact_id: &ContactId, at: Timestamp) -> Vec<ContactFact> {
        let mut facts = Vec::new();
        if let Some(visit) = &self.visit {
            facts.push(ContactFact::ContactFlowedOut {
                contact_id: contact_id.clone(),
                company_id: visit.company_id.clone(),
                queue_id: visit.queue_id.clone(),
                visit: visit.number,
                waited_ms: at.since(visit.since),
                reason: FlowOutReason::MediaLost,
            });
        }
        if let Some(talk) = &self.talk {
            facts.push(ContactFact::ContactDisconnected {
                contact_id: contact_id.clone(),
                company_id: talk.company_id.clone(),
                queue_id: talk.queue_id.clone(),
                offer_id: talk.offer_id.clone(),
                agent_id: talk.agent_id.clone(),
                talked_ms: at.since(talk.since),
                by: Party::System,
            });
        }
        facts.push(ContactFact::ContactEnded {
            contact_id: contact_id.clone(),
            company_id: self.company_id.clone(),
            cause: ContactEndCause::MediaLost,
            by: Party::System,
            sip_status: None,
            rtp_received_count: 0,
            rtp_sent_count: 0,
        });
        facts
    }
}

impl Projection for LiveContacts {
    type Event = Recorded<ContactFact>;

    fn fold(&mut self, event: &Recorded<ContactFact>) {
        let Recorded { meta, fact } = event;
        if let ContactFact::ContactArrived { contact_id, company_id, .. } = fact {
            self.0.insert(
                contact_id.clone(),
                LiveContact {
                    cell: meta.cell,
                    company_id: company_id.clone(),
                    last_sequence: meta.sequence,
                    last_event_id: meta.event_id.clone(),
                    last_at: meta.occurred_at,
                    traceparent: meta.traceparent.clone(),
                    visit: None,
                    talk: None,
                },
            );
            return;
        }
        if let ContactFact::ContactEnded { contact_id, .. } = fact {
            self.0.remove(contact_id);
            return;
        }
        let Some(live) = self.0.get_mut(fact.contact_id()) else { return };
        live.last_sequence = meta.sequence;
        live.last_event_id = meta.event_id.clone();
        live.last_at = live.last_at.max(meta.occurred_at);
        live.traceparent.clone_from(&meta.traceparent);
        match fact {
            ContactFact::ContactQueueRequested { company_id, queue_id, visit, .. } => {
                live.visit = Some(Visit {
                    company_id: company_id.clone(),
                    queue_id: queue_id.clone(),
                    number: *visit,
                    since: meta.occurred_at,
                });
            }
            ContactFact::ContactConnected { company_id, queue_id, offer_id, agent_id, .. } => {
                live.visit = None;
                live.talk = Some(Talk {
                    company_id: company_id.clone(),
                    queue_id: queue_id.clone(),
                    offer_id: offer_id.clone(),
                    agent_id: agent_id.clone(),
                    since: meta.occurred_at,
                });
            }
            ContactFact::ContactAbandoned { .. } | ContactFact::ContactFlowedOut { .. } => live.visit = None,
            ContactFact::ContactDisconnected { .. } => live.talk = None,
            ContactFact::ContactArrived { .. }
            | ContactFact::BusinessHoursChecked { .. }
            | ContactFact::LegAnswered { .. }
            | ContactFact::PromptStarted { .. }
            | ContactFact::PromptFinished { .. }
            | ContactFact::OfferAlerting { .. }
            | ContactFact::OfferDeclined { .. }
            | ContactFact::OfferUnanswered { .. }
            | ContactFact::OfferFailed { .. }
            | ContactFact::OfferWithdrawn { .. }
            | ContactFact::LegHeld { .. }
            | ContactFact::LegRetrieved { .. }
            | ContactFact::ContactEnded { .. } => {}
        }
    }
}
