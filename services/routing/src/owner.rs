//! The owner of one partition: folds, then feeds the router and does what it says, in order.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use trunkline_domain::facts::{Outcome, RoutingFact};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, Output, Router};
use trunkline_domain::vocabulary::{Cell, Epoch, LogName};
use trunkline_runtime::event_log::{LogError, ReadFrom};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::health::Component;
use trunkline_runtime::host::sources::{Input as Source, Marks, Sources};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::telemetry::names;

use crate::effects::Effects;
use crate::service::Ask;
use crate::trace::Traces;

/// Answers of agent-state and media that may wait for the owner.
const ANSWERS_MAX: usize = 1024;

/// The lease and the lane of a cell's one writer.
pub(crate) fn lane_of(cell: Cell) -> String {
    format!("routing/{cell}")
}

/// The readiness component of a cell's owner; cells beyond the first share a name.
pub(crate) fn component_name(cell: Cell) -> &'static str {
    if cell == Cell(0) { "routing/0" } else { "routing/others" }
}

/// What to hand to the router, or `None` for a log it does not read.
fn input_of(source: Source) -> Option<Input> {
    match source {
        Source::Directory(_, it) => Some(Input::Directory { position: it.position, outcome: it.outcome }),
        Source::Contacts(_, it) => Some(Input::Contacts { position: it.position, outcome: it.outcome }),
        Source::Agents(cell, it) => Some(Input::Agents { cell, position: it.position, outcome: it.outcome }),
        Source::Routing(..) | Source::Billing(..) => None,
    }
}

/// Owns the partition under `epoch` until a log fails; dropped where it stands when the lease is lost.
///
/// # Errors
/// When a log cannot be read or appended to, or a newer owner has begun.
pub(crate) async fn own(
    platform: &Platform,
    cell: Cell,
    epoch: Epoch,
    component: &Component,
    asks: &Mutex<mpsc::Receiver<Ask>>,
) -> Result<(), LogError> {
    let clock = &platform.clock;
    component.not_ready("folds the logs");
    let (writer, fence) = FactWriter::open(&platform.log, cell, &lane_of(cell), epoch).await?;
    let mut own = FactReader::<RoutingFact>::open(&platform.log, cell, ReadFrom::Start).await?;
    let mut router = Router::new(cell);
    own.catch_up(&writer, fence, |record| router.handle(clock.now(), Input::Own(record.outcome))).await?;

    // What the router consumed of the contacts log it knows from its own log; it drops what it is told twice.
    let mut inputs = Sources::all_cells(&platform.log, &[LogName::Directory, LogName::Agents]);
    let mut sources = Sources::open(&platform.log, &inputs, &Marks::default()).await?;
    sources.catch_up(|source| feed(&mut router, platform, source)).await?;
    let marks = sources.marks();
    inputs.push((LogName::Contacts, cell));
    let mut sources = Sources::open(&platform.log, &inputs, &marks).await?;

    let (answers, mut answered) = mpsc::channel(ANSWERS_MAX);
    let effects = Effects::new(platform, cell, epoch, answers);
    let mut owner = Owner { platform, writer, router, traces: Traces::default(), effects };
    owner.give(Input::Taken { owner: platform.node_id.clone(), epoch }).await?;
    let mut backlog = Vec::new();
    sources.catch_up(|source| backlog.extend(input_of(source))).await?;
    for input in backlog {
        owner.give(input).await?;
    }
    owner.give(Input::CaughtUp).await?;
    component.ready();
    tracing::info!(%cell, %epoch, "routing is owned");

    let mut asks = asks.lock().await;
    loop {
        let input = tokio::select! {
            biased;
            Some(answer) = answered.recv() => answer,
            () = clock.sleep_until(owner.router.next_timeout()) => Input::Tick,
            Some(ask) = asks.recv() => {
                ask.answer(&owner.router, clock.now());
                continue;
            }
            source = sources.next() => match input_of(source?) {
                Some(input) => input,
                None => continue,
            },
        };
        owner.give(input).await?;
    }
}

fn feed(router: &mut Router, platform: &Platform, source: Source) {
    if let Some(input) = input_of(source) {
        router.handle(platform.clock.now(), input);
    }
}

struct Owner<'a> {
    platform: &'a Platform,
    writer: FactWriter<RoutingFact>,
    router: Router,
    traces: Traces,
    effects: Effects,
}

impl Owner<'_> {
    /// Tells the router one thing and does everything it says, in its order.
    async fn give(&mut self, input: Input) -> Result<(), LogError> {
        self.router.handle(self.platform.clock.now(), input);
        while let Some(output) = self.router.poll() {
            match output {
                Output::Append(outcome) => self.append(outcome).await?,
                Output::Reserve(wishes) => {
                    let spans = self.traces.reserve(&self.platform.telemetry, &wishes);
                    self.effects.reserve(wishes, spans);
                }
                Output::Offer(command) => {
                    let traceparent = self.traces.offer(&command.offer_id);
                    self.effects.offer(command, traceparent);
                }
                Output::Cancel(command) => {
                    let traceparent = self.traces.offer(&command.offer_id);
                    self.effects.cancel(command, traceparent);
                }
                Output::Release(command) => {
                    let traceparent = self.traces.offer(&command.offer_id);
                    self.effects.release(command, traceparent);
                }
            }
        }
        Ok(())
    }

    /// Appends one outcome and waits until it is durable: what stands on it comes behind.
    async fn append(&mut self, mut outcome: Outcome<RoutingFact>) -> Result<(), LogError> {
        for recorded in &mut outcome.facts {
            self.traces.mark(&self.platform.telemetry, recorded);
            self.count(&recorded.fact);
        }
        self.writer.append(&outcome)?.await?;
        let waiting = i64::try_from(self.router.book().waiting_count()).unwrap_or(i64::MAX);
        self.platform.telemetry.gauge(names::QUEUE_WAITING, &[]).set(waiting);
        Ok(())
    }

    fn count(&self, fact: &RoutingFact) {
        let telemetry = &self.platform.telemetry;
        match fact {
            RoutingFact::OfferMade { .. } => telemetry.counter(names::OFFERS_MADE, &[]).inc(),
            RoutingFact::OfferAccepted { .. } => {
                telemetry.counter(names::OFFERS_CLOSED, &[("outcome", "accepted")]).inc();
            }
            RoutingFact::OfferEnded { end, .. } => {
                let outcome = match end {
                    trunkline_domain::facts::OfferEnd::Declined => "declined",
                    trunkline_domain::facts::OfferEnd::Unanswered => "unanswered",
                    trunkline_domain::facts::OfferEnd::Withdrawn => "withdrawn",
                    trunkline_domain::facts::OfferEnd::Lapsed => "lapsed",
                    trunkline_domain::facts::OfferEnd::Failed(_) => "failed",
                };
                telemetry.counter(names::OFFERS_CLOSED, &[("outcome", outcome)]).inc();
            }
            RoutingFact::ContactQueued { .. }
            | RoutingFact::ReservationRefused { .. }
            | RoutingFact::ContactDequeued { .. }
            | RoutingFact::PartitionTaken { .. } => {}
        }
    }
}

/// Shared between a desk and the tenures that follow each other.
pub(crate) type Asks = Arc<Mutex<mpsc::Receiver<Ask>>>;
