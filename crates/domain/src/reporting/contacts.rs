//! The record of every contact, from the contacts log alone.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::intervals::{INTERVAL, VisitCounts};
use crate::facts::{ContactFact, FlowOutReason, Recorded};
use crate::kernel::{Projection, StateHasher};
use crate::vocabulary::{
    AgentId, CompanyId, ContactEndCause, ContactId, Millis, OfferId, Party, PhoneNumber, QueueId, Timestamp,
};

/// One contact, as it came out so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactRecord {
    /// Which.
    pub contact_id: ContactId,
    /// The sequence of the last fact folded; what is not higher was heard before.
    pub sequence: u64,
    /// Whose; `None` when nobody owns the dialled number.
    pub company_id: Option<CompanyId>,
    /// Who called.
    pub caller: Option<PhoneNumber>,
    /// What was dialled.
    pub dialled: Option<PhoneNumber>,
    /// The SIP Call-ID of the caller's leg.
    pub sip_call_id: String,
    /// When it arrived.
    pub arrived_at: Timestamp,
    /// Its stays in queues, in order.
    pub visits: Vec<Visit>,
    /// The offers that alerted or were tried.
    pub offers: BTreeSet<OfferId>,
    /// Its conversations, in order.
    pub conversations: Vec<Conversation>,
    /// How it ended; `None` while live.
    pub end: Option<ContactEnd>,
}

/// One stay in one queue: the unit every queue metric counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Its number within the contact, from 1.
    pub number: u32,
    /// Whose queue.
    pub company_id: CompanyId,
    /// Where.
    pub queue_id: QueueId,
    /// When the wait began: the instant of `ContactQueueRequested`.
    pub entered_at: Timestamp,
    /// How it ended; `None` while waiting.
    pub end: Option<VisitEnd>,
}

/// How a visit ended, exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitEnd {
    /// When.
    pub at: Timestamp,
    /// In which of the three ways.
    pub outcome: VisitOutcome,
}

/// The three ways a visit ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VisitOutcome {
    /// By an agent, under this offer.
    Answered(OfferId),
    /// By the caller.
    Abandoned,
    /// By the plan or by the loss of a node.
    FlowedOut(FlowOutReason),
}

/// The time caller and agent heard each other, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Under which offer.
    pub offer_id: OfferId,
    /// Who served.
    pub agent_id: AgentId,
    /// When it began.
    pub connected_at: Timestamp,
    /// When it ended; `None` while they talk.
    pub disconnected_at: Option<Timestamp>,
}

/// How a contact ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContactEnd {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub cause: ContactEndCause,
    /// Who ended it.
    pub by: Party,
    /// The final SIP status when the INVITE was never answered.
    pub sip_status: Option<u16>,
}

impl Visit {
    /// How long it waited; `None` while it waits.
    pub fn waited_ms(&self) -> Option<Millis> {
        self.end.as_ref().map(|end| end.at.since(self.entered_at))
    }
}

impl Conversation {
    /// How long they heard each other; `None` while they do.
    pub fn talked_ms(&self) -> Option<Millis> {
        self.disconnected_at.map(|at| at.since(self.connected_at))
    }
}

impl ContactRecord {
    fn begun(contact_id: &ContactId, at: Timestamp) -> Self {
        Self {
            contact_id: contact_id.clone(),
            sequence: 0,
            company_id: None,
            caller: None,
            dialled: None,
            sip_call_id: String::new(),
            arrived_at: at,
            visits: Vec::new(),
            offers: BTreeSet::new(),
            conversations: Vec::new(),
            end: None,
        }
    }

    /// Waiting time of all visits that ended.
    pub fn waited_ms(&self) -> Millis {
        self.visits.iter().filter_map(Visit::waited_ms).sum()
    }

    /// Talk time of all conversations that ended.
    pub fn talked_ms(&self) -> Millis {
        self.conversations.iter().filter_map(Conversation::talked_ms).sum()
    }

    /// The visit it waits in now.
    pub fn open_visit(&self) -> Option<&Visit> {
        self.visits.iter().find(|visit| visit.end.is_none())
    }

    /// Whether caller and agent hear each other now.
    pub fn talking(&self) -> bool {
        self.conversations.iter().any(|conversation| conversation.disconnected_at.is_none())
    }
}

/// Names an interval cell: whose, from when, where.
pub type CellKey = (CompanyId, Timestamp, QueueId);

/// Which visits began in one interval, and how many of them ended in which way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cohort {
    /// The visits, each as contact and number.
    pub visits: BTreeSet<(ContactId, u32)>,
    /// The counts; `entered = answered + abandoned + flowed_out + waiting` after every fact.
    pub counts: VisitCounts,
}

/// The fold of the contacts log: every contact's record, and the cohorts of visits by interval of entry.
///
/// A fact whose sequence is not higher than the last one of its contact was heard before and changes nothing, so that
/// duplicates, and any interleaving of contacts, give the same state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contacts {
    records: BTreeMap<ContactId, ContactRecord>,
    // What follows is a function of the records, kept so that queries need not walk them all.
    cohorts: BTreeMap<CellKey, Cohort>,
    by_company: BTreeMap<CompanyId, BTreeSet<(Timestamp, ContactId)>>,
    live: BTreeSet<ContactId>,
    newest_at: Option<Timestamp>,
}

impl Projection for Contacts {
    type Event = Recorded<ContactFact>;

    fn fold(&mut self, event: &Self::Event) {
        let at = event.meta.occurred_at;
        self.newest_at = self.newest_at.max(Some(at));
        let contact_id = event.fact.contact_id();
        let known = self.records.get(contact_id);
        if known.is_some_and(|record| event.meta.sequence <= record.sequence) {
            return;
        }
        if known.is_none() {
            self.live.insert(contact_id.clone());
        }
        let record =
            self.records.entry(contact_id.clone()).or_insert_with(|| ContactRecord::begun(contact_id, at));
        record.sequence = event.meta.sequence;
        match &event.fact {
            ContactFact::ContactArrived { company_id, caller, dialled, sip_call_id, .. } => {
                record.company_id.clone_from(company_id);
                record.caller.clone_from(caller);
                record.dialled.clone_from(dialled);
                record.sip_call_id.clone_from(sip_call_id);
                let before = std::mem::replace(&mut record.arrived_at, at);
                if let Some(company_id) = company_id {
                    let of_company = self.by_company.entry(company_id.clone()).or_default();
                    of_company.remove(&(before, contact_id.clone()));
                    of_company.insert((at, contact_id.clone()));
                }
            }
            ContactFact::ContactQueueRequested { company_id, queue_id, visit, .. } => {
                enter(&mut self.cohorts, record, company_id, queue_id, *visit, at);
            }
            ContactFact::OfferAlerting { offer_id, .. }
            | ContactFact::OfferDeclined { offer_id, .. }
            | ContactFact::OfferUnanswered { offer_id, .. }
            | ContactFact::OfferFailed { offer_id, .. }
            | ContactFact::OfferWithdrawn { offer_id, .. } => {
                record.offers.insert(offer_id.clone());
            }
            ContactFact::ContactConnected { offer_id, agent_id, visit, .. } => {
                record.offers.insert(offer_id.clone());
                record.conversations.push(Conversation {
                    offer_id: offer_id.clone(),
                    agent_id: agent_id.clone(),
                    connected_at: at,
                    disconnected_at: None,
                });
                leave(&mut self.cohorts, record, *visit, at, VisitOutcome::Answered(offer_id.clone()));
            }
            ContactFact::ContactDisconnected { offer_id, .. } => hang_up(record, Some(offer_id), at),
            ContactFact::ContactAbandoned { visit, .. } => {
                leave(&mut self.cohorts, record, *visit, at, VisitOutcome::Abandoned);
            }
            ContactFact::ContactFlowedOut { visit, reason, .. } => {
                leave(&mut self.cohorts, record, *visit, at, VisitOutcome::FlowedOut(*reason));
            }
            ContactFact::ContactEnded { cause, by, sip_status, .. } => {
                hang_up(record, None, at);
                if let Some(visit) = record.open_visit().map(|visit| visit.number) {
                    leave(&mut self.cohorts, record, visit, at, outcome_of_end(*cause));
                }
                record.end = Some(ContactEnd { at, cause: *cause, by: *by, sip_status: *sip_status });
                self.live.remove(contact_id);
            }
            ContactFact::BusinessHoursChecked { .. }
            | ContactFact::LegAnswered { .. }
            | ContactFact::PromptStarted { .. }
            | ContactFact::PromptFinished { .. }
            | ContactFact::LegHeld { .. }
            | ContactFact::LegRetrieved { .. } => {}
        }
    }
}

/// A contact that ends while it waits has left its queue by that end.
fn outcome_of_end(cause: ContactEndCause) -> VisitOutcome {
    match cause {
        ContactEndCause::Abandoned => VisitOutcome::Abandoned,
        ContactEndCause::Drained => VisitOutcome::FlowedOut(FlowOutReason::Drained),
        _ => VisitOutcome::FlowedOut(FlowOutReason::MediaLost),
    }
}

fn enter(
    cohorts: &mut BTreeMap<CellKey, Cohort>,
    record: &mut ContactRecord,
    company_id: &CompanyId,
    queue_id: &QueueId,
    number: u32,
    at: Timestamp,
) {
    if record.visits.iter().any(|visit| visit.number == number) {
        return;
    }
    let visit = Visit {
        number,
        company_id: company_id.clone(),
        queue_id: queue_id.clone(),
        entered_at: at,
        end: None,
    };
    let cohort = cohorts.entry(cell_of(&visit)).or_default();
    cohort.visits.insert((record.contact_id.clone(), number));
    cohort.counts.enter();
    cohort.counts.assert_law();
    record.visits.push(visit);
}

fn leave(
    cohorts: &mut BTreeMap<CellKey, Cohort>,
    record: &mut ContactRecord,
    number: u32,
    at: Timestamp,
    outcome: VisitOutcome,
) {
    let waiting = record.visits.iter_mut().find(|visit| visit.number == number && visit.end.is_none());
    let Some(visit) = waiting else { return };
    let cohort = cohorts.entry(cell_of(visit)).or_default();
    cohort.counts.leave(&outcome);
    cohort.counts.assert_law();
    visit.end = Some(VisitEnd { at, outcome });
}

fn hang_up(record: &mut ContactRecord, offer_id: Option<&OfferId>, at: Timestamp) {
    for conversation in &mut record.conversations {
        if conversation.disconnected_at.is_none() && offer_id.is_none_or(|it| *it == conversation.offer_id) {
            conversation.disconnected_at = Some(at);
        }
    }
}

fn cell_of(visit: &Visit) -> CellKey {
    (visit.company_id.clone(), visit.entered_at.floor_to(INTERVAL), visit.queue_id.clone())
}

impl Contacts {
    /// The record of a contact.
    pub fn get(&self, contact_id: &ContactId) -> Option<&ContactRecord> {
        self.records.get(contact_id)
    }

    /// Every record, by contact.
    pub fn records(&self) -> impl Iterator<Item = &ContactRecord> {
        self.records.values()
    }

    /// How many contacts are known.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no contact is known.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The contacts that have not ended, by id.
    pub fn live(&self) -> impl Iterator<Item = &ContactRecord> {
        self.live.iter().filter_map(|contact_id| self.records.get(contact_id))
    }

    /// The records of one company that arrived before `before` (arrival, then id), newest first.
    pub fn newest_first(
        &self,
        company_id: &CompanyId,
        before: Option<(Timestamp, ContactId)>,
    ) -> impl Iterator<Item = &ContactRecord> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let of_company = self.by_company.get(company_id);
        of_company
            .into_iter()
            .flat_map(move |all| all.range((Bound::Unbounded, end.clone())).rev())
            .filter_map(|(_, contact_id)| self.records.get(contact_id))
    }

    /// The cohorts of one company whose interval starts in `from..to`, by start, then queue.
    pub fn cohorts(
        &self,
        company_id: &CompanyId,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = (&CellKey, &Cohort)> {
        self.cohorts
            .iter()
            .skip_while(move |((company, start, _), _)| (company, start) < (company_id, &from))
            .take_while(move |((company, start, _), _)| company == company_id && *start < to)
    }

    /// When the newest fact happened.
    pub fn newest_at(&self) -> Option<Timestamp> {
        self.newest_at
    }

    /// Puts a stored record back, with everything that follows from it.
    pub fn restore(&mut self, record: ContactRecord) {
        let contact_id = record.contact_id.clone();
        if record.end.is_none() {
            self.live.insert(contact_id.clone());
        }
        if let Some(company_id) = &record.company_id {
            let of_company = self.by_company.entry(company_id.clone()).or_default();
            of_company.insert((record.arrived_at, contact_id.clone()));
        }
        for visit in &record.visits {
            let cohort = self.cohorts.entry(cell_of(visit)).or_default();
            cohort.visits.insert((contact_id.clone(), visit.number));
            cohort.counts.enter();
            if let Some(end) = &visit.end {
                cohort.counts.leave(&end.outcome);
            }
        }
        self.records.insert(contact_id, record);
    }

    /// Puts back when the newest fact happened.
    pub fn restore_newest_at(&mut self, at: Option<Timestamp>) {
        self.newest_at = self.newest_at.max(at);
    }

    /// Adds the state to a digest.
    pub fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.text("contacts").debug(&self.newest_at).debug(&self.cohorts);
        for record in self.records.values() {
            let number = |it: &Option<PhoneNumber>| it.as_ref().map_or("", PhoneNumber::reveal).to_owned();
            hasher.debug(record).text(&number(&record.caller)).text(&number(&record.dialled));
        }
    }
}
