//! What reporting knows: the folds, how far each partition was folded, and where each contact's story stands.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::facts::{
    AgentFact, BillingFact, ContactFact, Delivered, DirectoryFact, Recorded, RoutingFact,
};
use trunkline_domain::kernel::Projection;
use trunkline_domain::reporting::Reporting;
use trunkline_domain::vocabulary::{AgentId, Cell, ContactId, LogName, OfferId, Position, Timestamp};
use trunkline_proto::convert::WireFact;
use trunkline_runtime::event_log::FenceState;

/// A partition of a log.
pub type Partition = (LogName, Cell);

/// How far one partition was folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watermark {
    /// The last record read.
    pub position: Position,
    /// What its reader knew there.
    pub fence: FenceState,
    /// When the newest fact happened; `None` when no record had one.
    pub newest_at: Option<Timestamp>,
    /// Facts folded.
    pub fact_count: u64,
}

/// A record that tells part of a contact's story: its partition, its position.
pub type Chapter = (LogName, Cell, Position);

/// Everything in memory. Folds, watermarks and stories change together, under one lock, and are stored together.
#[derive(Debug, Default)]
pub struct Book {
    /// The projections.
    pub reporting: Reporting,
    /// By partition.
    pub watermarks: BTreeMap<Partition, Watermark>,
    /// Of each contact: its records, each with the one before it in its partition that counts.
    pub stories: BTreeMap<ContactId, BTreeMap<Chapter, Option<Position>>>,
    /// What changed since the last checkpoint.
    pub changed: Changed,
}

/// Names what a checkpoint must write.
#[derive(Debug, Default)]
pub struct Changed {
    /// Contact records.
    pub contacts: BTreeSet<ContactId>,
    /// Timesheets.
    pub agents: BTreeSet<AgentId>,
    /// Wrap-ups.
    pub wrap_ups: BTreeSet<(AgentId, OfferId)>,
    /// The definitions.
    pub definitions: bool,
    /// Watermarks.
    pub partitions: BTreeSet<Partition>,
    /// Chapters.
    pub chapters: BTreeSet<(ContactId, Chapter)>,
}

/// A log whose facts reporting folds, or only indexes.
pub trait Folded: WireFact {
    /// Takes one fact into account.
    fn fold(book: &mut Book, event: &Recorded<Self>);
}

impl Folded for ContactFact {
    fn fold(book: &mut Book, event: &Recorded<Self>) {
        book.reporting.contacts.fold(event);
        book.changed.contacts.insert(event.fact.contact_id().clone());
    }
}

impl Folded for AgentFact {
    fn fold(book: &mut Book, event: &Recorded<Self>) {
        book.reporting.agents.fold(event);
        if let Some(agent_id) = event.fact.agent_id() {
            book.changed.agents.insert(agent_id.clone());
        }
        if let AgentFact::WrapUpStarted { agent_id, offer_id, .. }
        | AgentFact::WrapUpEnded { agent_id, offer_id, .. } = &event.fact
        {
            book.changed.wrap_ups.insert((agent_id.clone(), offer_id.clone()));
        }
    }
}

impl Folded for DirectoryFact {
    fn fold(book: &mut Book, event: &Recorded<Self>) {
        book.reporting.definitions.fold(event);
        book.changed.definitions = true;
    }
}

impl Folded for RoutingFact {
    fn fold(_: &mut Book, _: &Recorded<Self>) {}
}

impl Folded for BillingFact {
    fn fold(_: &mut Book, _: &Recorded<Self>) {}
}

impl Book {
    /// Takes a record into account. `fence` is what its reader knows behind it.
    ///
    /// A record at or below the watermark was taken before and changes nothing.
    pub fn take<F: Folded>(&mut self, cell: Cell, delivered: &Delivered<F>, fence: &FenceState) {
        let partition = (F::LOG, cell);
        let watermark = self.watermarks.get(&partition);
        let before = watermark.map(|it| it.position);
        if before.is_some_and(|before| delivered.position <= before) {
            return;
        }
        let mut newest_at = watermark.and_then(|it| it.newest_at);
        let mut fact_count = watermark.map_or(0, |it| it.fact_count);
        for event in &delivered.outcome.facts {
            F::fold(self, event);
            newest_at = newest_at.max(Some(event.meta.occurred_at));
            fact_count += 1;
            if let Some(contact_id) = event.fact.contact() {
                let chapter = (F::LOG, cell, delivered.position);
                self.stories.entry(contact_id.clone()).or_default().insert(chapter, before);
                self.changed.chapters.insert((contact_id.clone(), chapter));
            }
        }
        let position = delivered.position;
        self.watermarks
            .insert(partition, Watermark { position, fence: fence.clone(), newest_at, fact_count });
        self.changed.partitions.insert(partition);
    }

    /// Facts folded, of all logs.
    pub fn fact_count(&self) -> u64 {
        self.watermarks.values().map(|it| it.fact_count).sum()
    }
}
