//! Pieces of work, measured between facts.
//!
//! Two folds, one a log, each giving work when its last fact is seen: [`Talks`] the conversations of the contacts log,
//! [`Engagements`] agents' work for contacts and their sessions from the agents log. Of several contacts an agent has at once
//! each is work by its own time: the contact time of the timesheet, not its first activity.

use std::collections::BTreeMap;

use crate::facts::{AgentFact, ContactFact, Meta, Outcome, Recorded, ReleaseOutcome, UsageUnit};
use crate::vocabulary::{
    AgentId, CompanyId, ContactId, EventId, ItemId, Millis, OfferId, SessionId, Timestamp,
};

/// A piece of work that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The item it becomes: a function of what was done, so that the same work is the same item.
    pub item_id: ItemId,
    /// What kind of work.
    pub unit: UsageUnit,
    /// For whom; `None` for a session, which belongs to the company whose team the agent is in.
    pub company_id: Option<CompanyId>,
    /// By whom.
    pub agent_id: AgentId,
    /// On what; `None` for a session.
    pub contact_id: Option<ContactId>,
    /// In which session; only for a session.
    pub session_id: Option<SessionId>,
    /// How long, or what does not fit.
    pub measured: Result<Millis, Contradiction>,
    /// When it ended: decides contract version and invoice month.
    pub ended_at: Timestamp,
    /// The facts that bound it, as pairs of begin and end; for a contradiction, the fact that does not fit.
    pub causes: Vec<EventId>,
    /// Trace context of the fact that ended it.
    pub traceparent: String,
}

/// Why work cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Contradiction {
    /// A conversation ended that never began.
    #[error("the conversation ended without having begun")]
    DisconnectedWithoutConnect,
    /// A session ended that never began.
    #[error("the session ended without having begun")]
    SignedOutWithoutSignIn,
    /// A session began while another was open.
    #[error("another session of the agent began before this one ended")]
    NeverSignedOut,
    /// The end is before the beginning.
    #[error("the work ended before it began")]
    EndsBeforeItBegins,
}

/// A bound of a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    at: Timestamp,
    event_id: EventId,
}

impl Mark {
    fn of(meta: &Meta) -> Self {
        Self { at: meta.occurred_at, event_id: meta.event_id.clone() }
    }
}

/// The sum of spans, each as begin and end.
fn measure(spans: &[(&Mark, &Mark)]) -> Result<Millis, Contradiction> {
    let lengths = spans.iter().map(|(begin, end)| end.at.since(begin.at));
    let lengths: Vec<Millis> = lengths.collect();
    if lengths.iter().any(|it| *it < Millis::ZERO) {
        return Err(Contradiction::EndsBeforeItBegins);
    }
    Ok(lengths.into_iter().sum())
}

fn causes(spans: &[(&Mark, &Mark)]) -> Vec<EventId> {
    spans.iter().flat_map(|(begin, end)| [begin.event_id.clone(), end.event_id.clone()]).collect()
}

/// The item of one piece of work: `itm_<kind>-<name of what was done>`. `None` when that name is too long for an id.
fn item_id(kind: char, subject: &str) -> Option<ItemId> {
    let name = subject.split_once('_').map_or(subject, |(_, name)| name);
    ItemId::from_name(&format!("{kind}-{name}")).ok()
}

/// The fold of the contacts log: conversations that go on. It holds live contacts only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Talks {
    live: BTreeMap<ContactId, LiveContact>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct LiveContact {
    sequence: u64,
    talks: BTreeMap<OfferId, Talk>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Talk {
    agent_id: AgentId,
    company_id: CompanyId,
    began: Mark,
}

impl Talks {
    /// Takes one fact into account; gives the conversations it ended.
    ///
    /// A fact heard before changes nothing while its contact lives, and gives the same item once it has ended.
    pub fn fold(&mut self, event: &Recorded<ContactFact>) -> Vec<Work> {
        let contact_id = event.fact.contact_id();
        let live = self.live.entry(contact_id.clone()).or_default();
        if event.meta.sequence <= live.sequence {
            return Vec::new();
        }
        live.sequence = event.meta.sequence;
        match &event.fact {
            ContactFact::ContactConnected { offer_id, agent_id, company_id, .. } => {
                let talk = Talk {
                    agent_id: agent_id.clone(),
                    company_id: company_id.clone(),
                    began: Mark::of(&event.meta),
                };
                live.talks.entry(offer_id.clone()).or_insert(talk);
                Vec::new()
            }
            ContactFact::ContactDisconnected { offer_id, agent_id, company_id, .. } => {
                let work = match live.talks.remove(offer_id) {
                    Some(talk) => talked(contact_id, offer_id, &talk, &event.meta),
                    None => unmeasured_talk(contact_id, offer_id, agent_id, company_id, &event.meta),
                };
                work.into_iter().collect()
            }
            ContactFact::ContactEnded { .. } => {
                let ended = self.live.remove(contact_id).unwrap_or_default();
                let open = ended.talks.iter();
                open.filter_map(|(offer_id, talk)| talked(contact_id, offer_id, talk, &event.meta)).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn talked(contact_id: &ContactId, offer_id: &OfferId, talk: &Talk, end: &Meta) -> Option<Work> {
    let ended = Mark::of(end);
    let span = [(&talk.began, &ended)];
    Some(Work {
        item_id: item_id('t', offer_id.as_str())?,
        unit: UsageUnit::TalkTime,
        company_id: Some(talk.company_id.clone()),
        agent_id: talk.agent_id.clone(),
        contact_id: Some(contact_id.clone()),
        session_id: None,
        measured: measure(&span),
        ended_at: ended.at,
        causes: causes(&span),
        traceparent: end.traceparent.clone(),
    })
}

fn unmeasured_talk(
    contact_id: &ContactId,
    offer_id: &OfferId,
    agent_id: &AgentId,
    company_id: &CompanyId,
    end: &Meta,
) -> Option<Work> {
    Some(Work {
        item_id: item_id('t', offer_id.as_str())?,
        unit: UsageUnit::TalkTime,
        company_id: Some(company_id.clone()),
        agent_id: agent_id.clone(),
        contact_id: Some(contact_id.clone()),
        session_id: None,
        measured: Err(Contradiction::DisconnectedWithoutConnect),
        ended_at: end.occurred_at,
        causes: vec![end.event_id.clone()],
        traceparent: end.traceparent.clone(),
    })
}

/// The fold of the agents log: sessions, and engagements from grant to the end of wrap-up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Engagements {
    agents: BTreeMap<AgentId, AgentWork>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct AgentWork {
    sequence: u64,
    session: Option<(SessionId, Mark)>,
    engagements: BTreeMap<OfferId, Engagement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Engagement {
    company_id: CompanyId,
    contact_id: ContactId,
    accepted: Option<Mark>,
    /// From here on the contact's node was lost: not billable when the reservation ends as lost.
    unconfirmed: Option<Mark>,
    released: Option<(Mark, ReleaseOutcome)>,
    wrap_up: Option<Mark>,
}

impl Engagement {
    /// The work from the answer to the release, and `wrap_up_ended` if there was after-contact work. `None` when the
    /// agent never answered: ringing is no work for the company.
    fn work(
        &self,
        agent_id: &AgentId,
        offer_id: &OfferId,
        wrap_up_ended: Option<&Mark>,
        last: &Meta,
    ) -> Option<Work> {
        let accepted = self.accepted.as_ref()?;
        let (released, outcome) = self.released.as_ref()?;
        let lost = *outcome == ReleaseOutcome::MediaLost;
        let left = self.unconfirmed.as_ref().filter(|_| lost).unwrap_or(released);
        let spans = match (&self.wrap_up, wrap_up_ended) {
            // After-contact work that begins with the release goes on from it: one span.
            (Some(began), Some(ended)) if began.at == left.at => vec![(accepted, ended)],
            (Some(began), Some(ended)) => vec![(accepted, left), (began, ended)],
            _ => vec![(accepted, left)],
        };
        Some(Work {
            item_id: item_id('w', offer_id.as_str())?,
            unit: UsageUnit::WorkTime,
            company_id: Some(self.company_id.clone()),
            agent_id: agent_id.clone(),
            contact_id: Some(self.contact_id.clone()),
            session_id: None,
            measured: measure(&spans),
            ended_at: last.occurred_at,
            causes: causes(&spans),
            traceparent: last.traceparent.clone(),
        })
    }
}

impl Engagements {
    /// Takes the facts of one record into account; gives the work they ended.
    ///
    /// A release and the after-contact work it starts are facts of one decision, so of one record: a release without
    /// it has none. A fact whose sequence is not higher than the last one of its agent changes nothing.
    pub fn fold(&mut self, outcome: &Outcome<AgentFact>) -> Vec<Work> {
        let mut done = Vec::new();
        for event in &outcome.facts {
            let Some(agent_id) = event.fact.agent_id() else { continue };
            let agent = self.agents.entry(agent_id.clone()).or_default();
            if event.meta.sequence > agent.sequence {
                agent.sequence = event.meta.sequence;
                done.extend(agent.take(agent_id, event));
            }
        }
        for event in &outcome.facts {
            let AgentFact::ReservationReleased { agent_id, offer_id, .. } = &event.fact else { continue };
            let Some(agent) = self.agents.get_mut(agent_id) else { continue };
            let over = |it: &Engagement| it.released.is_some() && it.wrap_up.is_none();
            if agent.engagements.get(offer_id).is_some_and(over) {
                let engagement = agent.engagements.remove(offer_id);
                done.extend(engagement.and_then(|it| it.work(agent_id, offer_id, None, &event.meta)));
            }
        }
        done
    }
}

impl AgentWork {
    fn take(&mut self, agent_id: &AgentId, event: &Recorded<AgentFact>) -> Vec<Work> {
        let mark = Mark::of(&event.meta);
        match &event.fact {
            AgentFact::AgentReserved { offer_id, contact_id, company_id, .. } => {
                let engagement = Engagement {
                    company_id: company_id.clone(),
                    contact_id: contact_id.clone(),
                    accepted: None,
                    unconfirmed: None,
                    released: None,
                    wrap_up: None,
                };
                self.engagements.entry(offer_id.clone()).or_insert(engagement);
            }
            AgentFact::ReservationAccepted { offer_id, .. } => {
                self.engaged(offer_id, |it| it.accepted = Some(mark));
            }
            AgentFact::ReservationUnconfirmed { offer_id, .. } => {
                self.engaged(offer_id, |it| it.unconfirmed = Some(mark));
            }
            AgentFact::ReservationReleased { offer_id, outcome, .. } => {
                self.engaged(offer_id, |it| it.released = Some((mark, *outcome)));
            }
            AgentFact::WrapUpStarted { offer_id, .. } => {
                self.engaged(offer_id, |it| it.wrap_up = Some(mark));
            }
            AgentFact::WrapUpEnded { offer_id, .. } => {
                let over = self.engagements.remove(offer_id);
                let work = over.and_then(|it| it.work(agent_id, offer_id, Some(&mark), &event.meta));
                return work.into_iter().collect();
            }
            AgentFact::AgentSignedIn { session_id, .. } => {
                let before = self.session.replace((session_id.clone(), mark));
                let work = before.and_then(|(session_id, _)| {
                    unmeasured_session(agent_id, &session_id, Contradiction::NeverSignedOut, &event.meta)
                });
                return work.into_iter().collect();
            }
            AgentFact::AgentSignedOut { session_id, .. } => {
                return self.sign_out(agent_id, session_id, &event.meta);
            }
            _ => {}
        }
        Vec::new()
    }

    fn engaged(&mut self, offer_id: &OfferId, change: impl FnOnce(&mut Engagement)) {
        if let Some(engagement) = self.engagements.get_mut(offer_id) {
            change(engagement);
        }
    }

    /// A session ends, and with it whatever after-contact work was not ended before.
    fn sign_out(&mut self, agent_id: &AgentId, session_id: &SessionId, end: &Meta) -> Vec<Work> {
        let mark = Mark::of(end);
        let session = match self.session.take() {
            Some((open, began)) if open == *session_id => {
                let span = [(&began, &mark)];
                session_work(agent_id, session_id, measure(&span), causes(&span), end)
            }
            _ => unmeasured_session(agent_id, session_id, Contradiction::SignedOutWithoutSignIn, end),
        };
        let mut done: Vec<Work> = session.into_iter().collect();
        for (offer_id, mut engagement) in std::mem::take(&mut self.engagements) {
            let released = (mark.clone(), ReleaseOutcome::SignedOut);
            engagement.released.get_or_insert(released);
            done.extend(engagement.work(agent_id, &offer_id, Some(&mark), end));
        }
        done
    }
}

fn unmeasured_session(
    agent_id: &AgentId,
    session_id: &SessionId,
    contradiction: Contradiction,
    last: &Meta,
) -> Option<Work> {
    session_work(agent_id, session_id, Err(contradiction), vec![last.event_id.clone()], last)
}

fn session_work(
    agent_id: &AgentId,
    session_id: &SessionId,
    measured: Result<Millis, Contradiction>,
    causes: Vec<EventId>,
    last: &Meta,
) -> Option<Work> {
    Some(Work {
        item_id: item_id('s', session_id.as_str())?,
        unit: UsageUnit::SignedInTime,
        company_id: None,
        agent_id: agent_id.clone(),
        contact_id: None,
        session_id: Some(session_id.clone()),
        measured,
        ended_at: last.occurred_at,
        causes,
        traceparent: last.traceparent.clone(),
    })
}
