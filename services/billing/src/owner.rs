//! The owner of one cell's billing: takes the lease, folds its own log, then prices what the facts of contacts and
//! agents end, exactly once.
//!
//! An outcome names the positions it had consumed. After a restart the inputs are folded up to the highest of them
//! without pricing anything, and priced from there on; and an item's id is a function of the work, so that the ledger
//! knows work that was priced before. What a record's facts cost does not depend on which log was read first.

use std::collections::BTreeMap;

use trunkline_domain::billing::{Engagements, Talks, Terms, Work, rate};
use trunkline_domain::facts::{
    AgentFact, BillingFact, ContactFact, Delivered, DirectoryFact, LogFact, Meta, Outcome, Recorded,
};
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{Cell, Epoch, EventId, InputPosition, LogName, Millis, Position};
use trunkline_runtime::event_log::{LogError, ReadFrom};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::host::owner::{Cold, Idle, Seat, hold};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::Span;
use trunkline_runtime::telemetry::names::{self, attribute, span};

use crate::view::SharedView;

/// Everything of the directory is in this partition.
const DIRECTORY: Cell = Cell(0);

/// The lease and the lane of a cell's one writer.
pub(crate) fn lane_of(cell: Cell) -> String {
    format!("billing/{cell}")
}

/// Owns the billing of `cell` whenever nobody else does, until shutdown begins. Whatever goes wrong ends the same way:
/// the state is dropped, and the next round begins from the lease. `address` is where this process answers.
pub(crate) async fn run(
    platform: &Platform,
    cell: Cell,
    ttl: Millis,
    address: &str,
    view: &SharedView,
    shutdown: &Shutdown,
) {
    let seat = Seat { resource: lane_of(cell), address: address.to_owned(), ttl };
    let idle = |idle: Idle| view.lock().fell_behind(cell, idle.to_string());
    hold(platform, &seat, shutdown, idle, Cold::begin, |grant, _| own(platform, cell, grant.epoch, view))
        .await;
}

/// Owns the billing of `cell` under `epoch` until a log fails.
///
/// # Errors
/// When a log cannot be read or appended to, or a newer owner has begun.
pub(crate) async fn own(
    platform: &Platform,
    cell: Cell,
    epoch: Epoch,
    view: &SharedView,
) -> Result<(), LogError> {
    let log = &platform.log;
    view.lock().fell_behind(cell, "folds the billing log");
    let (writer, fence) = FactWriter::open(log, cell, &lane_of(cell), epoch).await?;
    let mut ledger = FactReader::open(log, cell, ReadFrom::Start).await?;
    let mut consumed: BTreeMap<(LogName, Cell), Position> = BTreeMap::new();
    let fold = |delivered: Delivered<BillingFact>| {
        for it in &delivered.outcome.consumed {
            let highest = consumed.entry((it.log, it.cell)).or_insert(it.position);
            *highest = it.position.max(*highest);
        }
        view.lock().fold(&delivered);
    };
    ledger.catch_up(&writer, fence, fold).await?;

    let mut contacts = FactReader::<ContactFact>::open(log, cell, ReadFrom::Start).await?;
    let mut talks = Talks::default();
    if let Some(position) = consumed.get(&(LogName::Contacts, cell)) {
        let fold = |it: Delivered<ContactFact>| {
            it.outcome.facts.iter().for_each(|event| drop(talks.fold(event)));
        };
        contacts.fold_to(*position, fold).await?;
    }
    let mut agents = FactReader::<AgentFact>::open(log, cell, ReadFrom::Start).await?;
    let mut engagements = Engagements::default();
    if let Some(position) = consumed.get(&(LogName::Agents, cell)) {
        agents.fold_to(*position, |it| drop(engagements.fold(&it.outcome))).await?;
    }
    let directory = FactReader::open(log, DIRECTORY, ReadFrom::Start).await?;
    let mut owner =
        Owner { platform, cell, view, writer, ledger, directory, terms: Terms::default(), consumed };
    owner.read_directory().await?;
    tracing::info!(%cell, %epoch, "billing is owned");

    view.lock().fell_behind(cell, "prices what happened before");
    if let Some(end) = log.end(LogName::Contacts, cell).await? {
        while let Some(delivered) = contacts.next_to(end).await? {
            let work = delivered.outcome.facts.iter().flat_map(|event| talks.fold(event)).collect();
            owner.price(LogName::Contacts, delivered.position, work).await?;
        }
    }
    if let Some(end) = log.end(LogName::Agents, cell).await? {
        while let Some(delivered) = agents.next_to(end).await? {
            let work = engagements.fold(&delivered.outcome);
            owner.price(LogName::Agents, delivered.position, work).await?;
        }
    }
    view.lock().caught_up(cell);
    loop {
        // Fair between the two: neither can keep the other waiting.
        tokio::select! {
            delivered = contacts.next() => {
                let delivered = delivered?;
                let work = delivered.outcome.facts.iter().flat_map(|event| talks.fold(event)).collect();
                owner.price(LogName::Contacts, delivered.position, work).await?;
            }
            delivered = agents.next() => {
                let delivered = delivered?;
                let work = engagements.fold(&delivered.outcome);
                owner.price(LogName::Agents, delivered.position, work).await?;
            }
            read = owner.directory.next() => owner.learn(&read?),
        }
    }
}

struct Owner<'a> {
    platform: &'a Platform,
    cell: Cell,
    view: &'a SharedView,
    writer: FactWriter<BillingFact>,
    /// Behind the last outcome of the own log that was folded.
    ledger: FactReader<BillingFact>,
    directory: FactReader<DirectoryFact>,
    terms: Terms,
    /// The last record of each input taken into account.
    consumed: BTreeMap<(LogName, Cell), Position>,
}

impl Owner<'_> {
    /// Reads the directory up to its present end, so that whatever was known when work ended is known here.
    async fn read_directory(&mut self) -> Result<(), LogError> {
        if let Some(end) = self.platform.log.end(LogName::Directory, DIRECTORY).await? {
            while let Some(delivered) = self.directory.next_to(end).await? {
                self.learn(&delivered);
            }
        }
        Ok(())
    }

    fn learn(&mut self, delivered: &Delivered<DirectoryFact>) {
        delivered.outcome.facts.iter().for_each(|event| self.terms.fold(event));
        self.consumed.insert((LogName::Directory, DIRECTORY), delivered.position);
        self.view.lock().terms.clone_from(&self.terms);
    }

    /// Prices the work that a record of an input ended, and folds the items once they are durable.
    async fn price(&mut self, log: LogName, position: Position, work: Vec<Work>) -> Result<(), LogError> {
        self.consumed.insert((log, self.cell), position);
        if work.is_empty() {
            return Ok(());
        }
        self.read_directory().await?;
        let (facts, spans): (Vec<_>, Vec<_>) = self.decide(&work).into_iter().unzip();
        if facts.is_empty() {
            return Ok(());
        }
        let consumed = self.consumed.iter();
        let consumed = consumed.map(|((log, cell), position)| InputPosition {
            log: *log,
            cell: *cell,
            position: *position,
        });
        let outcome = Outcome { epoch: self.writer.epoch(), consumed: consumed.collect(), facts };
        let position = self.writer.append(&outcome)?.await?;
        drop(spans);
        self.ledger.fold_to(position, |it| self.view.lock().fold(&it)).await?;
        self.check_still_owner()
    }

    /// The items of work that was not priced before, each with its span.
    fn decide(&self, work: &[Work]) -> Vec<(Recorded<BillingFact>, Span)> {
        let view = self.view.lock();
        let mut written: BTreeMap<String, u64> = BTreeMap::new();
        let mut items = Vec::new();
        for work in work.iter().filter(|it| !view.ledger.contains(&it.item_id)) {
            let Some(fact) = rate(&self.terms, work) else { continue };
            let stream = fact.stream();
            let written = written.entry(stream.clone()).or_default();
            let sequence = view.ledger.next_sequence(&stream) + *written;
            *written += 1;
            items.push(self.record(work, fact, stream, sequence));
        }
        items
    }

    fn record(
        &self,
        work: &Work,
        fact: BillingFact,
        stream: String,
        sequence: u64,
    ) -> (Recorded<BillingFact>, Span) {
        let telemetry = &self.platform.telemetry;
        let span = telemetry.span(span::RATE, &work.traceparent);
        span.set(attribute::ITEM_ID, work.item_id.as_str());
        span.set(attribute::AGENT_ID, work.agent_id.as_str());
        if let Some(contact_id) = &work.contact_id {
            span.set(attribute::CONTACT_ID, contact_id.as_str());
        }
        match &fact {
            BillingFact::UsageUnrated { item_id, reason, .. } => {
                span.fail(reason);
                tracing::warn!(%item_id, reason, "work cannot be priced");
                telemetry.counter(names::ITEMS_UNRATED, &[("reason", reason)]).inc();
            }
            _ => telemetry.counter(names::ITEMS_RATED, &[("unit", work.unit.as_str())]).inc(),
        }
        let item_name = work.item_id.as_str().split_once('_').map_or("", |(_, name)| name);
        let event_id = EventId::from_name(&format!("b-{item_name}"));
        let meta = Meta {
            // An item whose name leaves no room for two letters more gets an id that is unique all the same.
            event_id: event_id.unwrap_or_else(|_| self.platform.mint.event()),
            cell: self.cell,
            stream,
            sequence,
            occurred_at: work.ended_at,
            recorded_at: self.platform.clock.now(),
            correlation_id: work.contact_id.clone(),
            causation_id: work.causes.last().cloned(),
            traceparent: span.traceparent(),
        };
        (Recorded { meta, fact }, span)
    }

    /// Whether what was just read behind the own append is still of this epoch.
    fn check_still_owner(&self) -> Result<(), LogError> {
        let lane = self.ledger.fence().lane(self.writer.lane());
        let current = lane.map_or(Epoch(0), |it| it.epoch);
        if current == self.writer.epoch() {
            return Ok(());
        }
        Err(LogError::Fenced {
            log: LogName::Billing,
            cell: self.cell,
            lane: self.writer.lane().to_owned(),
            epoch: self.writer.epoch(),
            current,
        })
    }
}
