//! What the logs say, put together per contact, session and engagement by plain code of its own: the other side of the
//! comparison with sipp, and the source of what must be exact to the millisecond.

use std::collections::BTreeMap;
use std::path::Path;

use trunkline_domain::facts::{AgentFact, ContactFact, Recorded};
use trunkline_domain::vocabulary::{Cell, Millis, Party};
use trunkline_proto::convert::WireFact;
use trunkline_runtime::event_log::settings::log_settings;
use trunkline_runtime::event_log::{ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;

use crate::Failure;

/// One contact, out of its facts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contact {
    /// Its id.
    pub contact_id: String,
    /// Whose; empty when nobody's.
    pub company_id: String,
    /// Call-ID of the caller's leg.
    pub sip_call_id: String,
    /// Unix time of arrival, in ms.
    pub arrived_at: i64,
    /// Queue visits begun.
    pub visit_count: usize,
    /// Who served it last.
    pub agent_id: String,
    /// Unix time at which caller and agent first heard each other, in ms; 0 when never.
    pub connected_at: i64,
    /// Talk time as the facts say it, in ms.
    pub talked_ms: i64,
    /// Talk time between the facts' own times, in ms.
    pub talk_between_facts_ms: i64,
    /// Offers the agent refused.
    pub declined_count: usize,
    /// Offers that rang out.
    pub unanswered_count: usize,
    /// Offers taken back.
    pub withdrawn_count: usize,
    /// Offers that failed otherwise.
    pub failed_count: usize,
    /// How often it ended; must be once.
    pub ended_count: usize,
    /// How it ended.
    pub cause: String,
    /// Who ended it.
    pub ended_by: String,
    /// The final SIP status, when it was never answered.
    pub sip_status: u16,
    /// RTP packets of the caller's leg, received and sent.
    pub rtp: (u64, u64),
}

/// A session of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who.
    pub agent_id: String,
    /// Unix time of sign-in, in ms.
    pub from: i64,
    /// Unix time of sign-out, in ms; `None` while it goes on.
    pub to: Option<i64>,
}

/// An agent's work on one contact, from the accepted reservation on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engagement {
    /// Who.
    pub agent_id: String,
    /// For whom.
    pub company_id: String,
    /// Talk by the agents log: acceptance to release, in ms.
    pub talk_ms: i64,
    /// After-contact work, in ms.
    pub wrap_up_ms: i64,
}

/// What a run left in the logs.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// By SIP Call-ID of the caller's leg.
    pub contacts: BTreeMap<String, Contact>,
    /// All sessions, by time.
    pub sessions: Vec<Session>,
    /// All engagements that were accepted, by offer.
    pub engagements: BTreeMap<String, Engagement>,
}

impl History {
    /// Reads the logs of a data directory up to where they end now; a cluster may be writing them.
    ///
    /// # Errors
    /// When there is no log, or a record cannot be read.
    pub async fn read(data: &Path) -> Result<Self, Failure> {
        let settings = log_settings(data, None, &[]).map_err(Failure::new)?;
        let log = settings.open_to_read(data).await.map_err(Failure::new)?;
        let mut by_contact = BTreeMap::<String, Contact>::new();
        for fact in facts::<ContactFact>(&log).await? {
            let contact = by_contact.entry(fact.fact.contact_id().to_string()).or_default();
            contact.take(&fact);
        }
        let mut history = Self::default();
        let mut marks = Marks::default();
        for fact in facts::<AgentFact>(&log).await? {
            history.take(&fact, &mut marks);
        }
        history.contacts = by_contact.into_values().map(|it| (it.sip_call_id.clone(), it)).collect();
        Ok(history)
    }

    fn take(&mut self, fact: &Recorded<AgentFact>, marks: &mut Marks) {
        let at = fact.meta.occurred_at.0;
        match &fact.fact {
            AgentFact::AgentSignedIn { agent_id, .. } => {
                self.sessions.push(Session { agent_id: agent_id.to_string(), from: at, to: None });
            }
            AgentFact::AgentSignedOut { agent_id, .. } => {
                let agent_id = agent_id.to_string();
                let open =
                    self.sessions.iter_mut().rev().find(|it| it.agent_id == agent_id && it.to.is_none());
                if let Some(session) = open {
                    session.to = Some(at);
                }
            }
            AgentFact::AgentReserved { offer_id, company_id, .. } => {
                marks.company.insert(offer_id.to_string(), company_id.to_string());
            }
            AgentFact::ReservationAccepted { agent_id, offer_id, .. } => {
                let offer_id = offer_id.to_string();
                let company_id = marks.company.get(&offer_id).cloned().unwrap_or_default();
                marks.accepted.insert(offer_id.clone(), at);
                let engagement =
                    Engagement { agent_id: agent_id.to_string(), company_id, talk_ms: 0, wrap_up_ms: 0 };
                self.engagements.insert(offer_id, engagement);
            }
            AgentFact::ReservationReleased { offer_id, .. } => {
                let offer_id = offer_id.to_string();
                if let (Some(from), Some(it)) =
                    (marks.accepted.get(&offer_id), self.engagements.get_mut(&offer_id))
                {
                    it.talk_ms = at - from;
                }
            }
            AgentFact::WrapUpStarted { offer_id, .. } => {
                marks.wrap_up.insert(offer_id.to_string(), at);
            }
            AgentFact::WrapUpEnded { offer_id, .. } => {
                let offer_id = offer_id.to_string();
                if let (Some(from), Some(it)) =
                    (marks.wrap_up.get(&offer_id), self.engagements.get_mut(&offer_id))
                {
                    it.wrap_up_ms = at - from;
                }
            }
            _ => {}
        }
    }
}

/// When parts of engagements began.
#[derive(Default)]
struct Marks {
    company: BTreeMap<String, String>,
    accepted: BTreeMap<String, i64>,
    wrap_up: BTreeMap<String, i64>,
}

impl Contact {
    fn take(&mut self, recorded: &Recorded<ContactFact>) {
        let at = recorded.meta.occurred_at.0;
        match &recorded.fact {
            ContactFact::ContactArrived { contact_id, company_id, sip_call_id, .. } => {
                self.contact_id = contact_id.to_string();
                self.company_id = company_id.as_ref().map(ToString::to_string).unwrap_or_default();
                self.sip_call_id.clone_from(sip_call_id);
                self.arrived_at = at;
            }
            ContactFact::ContactQueueRequested { .. } => self.visit_count += 1,
            ContactFact::OfferDeclined { .. } => self.declined_count += 1,
            ContactFact::OfferUnanswered { .. } => self.unanswered_count += 1,
            ContactFact::OfferWithdrawn { .. } => self.withdrawn_count += 1,
            ContactFact::OfferFailed { .. } => self.failed_count += 1,
            ContactFact::ContactConnected { agent_id, .. } => {
                self.agent_id = agent_id.to_string();
                self.connected_at = at;
            }
            ContactFact::ContactDisconnected { talked_ms: Millis(talked_ms), .. } => {
                self.talked_ms += talked_ms;
                self.talk_between_facts_ms += at - self.connected_at;
            }
            ContactFact::ContactEnded {
                cause, by, sip_status, rtp_received_count, rtp_sent_count, ..
            } => {
                self.ended_count += 1;
                cause.as_str().clone_into(&mut self.cause);
                self.ended_by = match by {
                    Party::Caller => "caller",
                    Party::Agent => "agent",
                    Party::System => "system",
                }
                .to_owned();
                self.sip_status = sip_status.unwrap_or(0);
                self.rtp = (*rtp_received_count, *rtp_sent_count);
            }
            _ => {}
        }
    }
}

async fn facts<F: WireFact>(log: &SharedLog) -> Result<Vec<Recorded<F>>, Failure> {
    let mut facts = Vec::new();
    for cell in (0..log.cell_count()).map(Cell) {
        let mut reader = FactReader::<F>::open(log, cell, ReadFrom::Start).await.map_err(Failure::new)?;
        let whole = reader.fold_to_end(|delivered| facts.extend(delivered.outcome.facts));
        whole.await.map_err(Failure::new)?;
    }
    Ok(facts)
}
