//! One task a partition: reads, folds, says when it has caught up.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use trunkline_domain::facts::{
    AgentFact, BillingFact, ContactFact, DirectoryFact, LogFact, Recorded, RoutingFact,
};
use trunkline_domain::reporting::INTERVAL;
use trunkline_domain::vocabulary::{Cell, Position};
use trunkline_runtime::event_log::{LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;
use trunkline_runtime::health::Component;
use trunkline_runtime::telemetry::Telemetry;
use trunkline_runtime::telemetry::names::{self, attribute, span};

use crate::book::{Book, Folded, Partition};

/// The book, shared by those who fold it and those who read it. Held for the time of one record or one answer.
#[derive(Clone, Default)]
pub struct SharedBook(Arc<Mutex<Book>>);

impl SharedBook {
    /// A book that others can use.
    pub fn new(book: Book) -> Self {
        Self(Arc::new(Mutex::new(book)))
    }

    /// The book, alone. A panic while it was held has stopped the process's group of tasks already.
    pub fn lock(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which partitions have yet to reach the end they had at the start. Ready when none has.
#[derive(Clone)]
pub struct CatchUp {
    component: Component,
    behind: Arc<Mutex<BTreeSet<Partition>>>,
}

impl CatchUp {
    /// All `partitions` are behind.
    pub fn new(component: Component, partitions: impl IntoIterator<Item = Partition>) -> Self {
        component.not_ready("catching up");
        Self { component, behind: Arc::new(Mutex::new(partitions.into_iter().collect())) }
    }

    fn caught_up(&self, partition: Partition) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        if behind.remove(&partition) && behind.is_empty() {
            self.component.ready();
        }
    }

    fn stopped(&self, partition: Partition, error: &LogError) {
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        // It never comes back: what is behind stays behind, and the process stays not ready.
        behind.insert(partition);
        self.component.not_ready(format!("{}/{} is not read any more: {error}", partition.0, partition.1));
    }
}

/// Folds one partition from the book's watermark on, until it cannot be read any more. Cancel by dropping.
pub async fn follow<F: Folded + Traced>(
    log: SharedLog,
    cell: Cell,
    book: SharedBook,
    catch_up: CatchUp,
    telemetry: Telemetry,
) {
    let partition = (F::LOG, cell);
    if let Err(error) = read::<F>(&log, cell, &book, &catch_up, &telemetry).await {
        if let LogError::Closed { .. } = error {
            return;
        }
        tracing::error!(log = %F::LOG, %cell, %error, "partition is not read any more");
        catch_up.stopped(partition, &error);
    }
}

async fn read<F: Folded + Traced>(
    log: &SharedLog,
    cell: Cell,
    book: &SharedBook,
    catch_up: &CatchUp,
    telemetry: &Telemetry,
) -> Result<(), LogError> {
    let saved = book.lock().watermarks.get(&(F::LOG, cell)).map(|it| (it.position, it.fence.clone()));
    let mut reader = match saved {
        Some((position, fence)) => FactReader::<F>::open_at(log, cell, position, fence).await?,
        None => FactReader::<F>::open(log, cell, ReadFrom::Start).await?,
    };
    let folded =
        telemetry.counter(names::FACTS_FOLDED, &[("service", "reporting"), ("log", F::LOG.as_str())]);
    let cell_name = cell.to_string();
    let at = telemetry.gauge(
        names::FOLD_POSITION,
        &[("service", "reporting"), ("log", F::LOG.as_str()), ("cell", &cell_name)],
    );
    let reached = |position: Position| at.set(i64::try_from(position.0).unwrap_or(i64::MAX));
    if let Some(end) = log.end(F::LOG, cell).await? {
        while let Some(delivered) = reader.next_to(end).await? {
            book.lock().take(cell, &delivered, reader.fence());
            reached(delivered.position);
            folded.add(delivered.outcome.facts.len() as u64);
        }
    }
    catch_up.caught_up((F::LOG, cell));
    loop {
        let delivered = reader.next().await?;
        let mut book = book.lock();
        book.take(cell, &delivered, reader.fence());
        reached(delivered.position);
        for event in &delivered.outcome.facts {
            F::tell(telemetry, &book, event);
        }
        folded.add(delivered.outcome.facts.len() as u64);
    }
}

/// What is traced of a fact that was folded as it came. A rebuild tells nothing again.
pub trait Traced: LogFact {
    /// Traces what reporting did with the fact.
    fn tell(_: &Telemetry, _: &Book, _: &Recorded<Self>) {}
}

impl Traced for AgentFact {}
impl Traced for DirectoryFact {}
impl Traced for RoutingFact {}
impl Traced for BillingFact {}

impl Traced for ContactFact {
    /// A contact that ended is counted in the cells its visits began in.
    fn tell(telemetry: &Telemetry, book: &Book, event: &Recorded<Self>) {
        let ContactFact::ContactEnded { contact_id, .. } = &event.fact else { return };
        let visits = book.reporting.contacts.get(contact_id).map(|it| it.visits.as_slice());
        for visit in visits.unwrap_or_default() {
            let span = telemetry.span(span::REPORT_CELL, &event.meta.traceparent);
            span.set(attribute::CONTACT_ID, contact_id.as_str());
            span.set(attribute::QUEUE_ID, visit.queue_id.as_str());
            span.set_number(attribute::CELL_START, visit.entered_at.floor_to(INTERVAL).0);
        }
    }
}
