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
use trunkline_runtime::telemetry::{Gauge, names};

use crate::effects::Effects;
use crate::line::Line;
use crate::service::Ask;
use crate::trace::Traces;

/// Answers of agent-state and media that may wait for the owner.
const ANSWERS_MAX: usize = 1024;
/// Appends and deeds that may wait for the disk; until there is room, the owner takes nothing in.
const LINE_MAX: usize = 2048;

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
    let mut traces = Traces::new(&platform.telemetry);
    own.catch_up(&writer, fence, |record| {
        record.outcome.facts.iter().for_each(|fact| traces.recall(fact));
        router.handle(clock.now(), Input::Own(record.outcome));
    })
    .await?;

    let mut inputs = Sources::all_cells(&platform.log, &[LogName::Directory, LogName::Agents]);
    let mut sources = Sources::open(&platform.log, &inputs, &Marks::default()).await?;
    sources
        .catch_up(|source| {
            if let Some(input) = input_of(source) {
                router.handle(clock.now(), input);
            }
        })
        .await?;
    let marks = sources.marks();
    inputs.push((LogName::Contacts, cell));
    let mut sources = Sources::open(&platform.log, &inputs, &marks).await?;

    let (answers, mut answered) = mpsc::channel(ANSWERS_MAX);
    let effects = Effects::new(platform, cell, epoch, answers);
    let waiting = platform.telemetry.gauge(names::QUEUE_WAITING, &[]);
    let mut owner = Owner { platform, writer, router, traces, effects, line: Line::default(), waiting };
    owner.give(Input::Taken { owner: platform.node_id.clone(), epoch }).await?;
    // What the router consumed of the contacts log it knows from its own log: only what came since is kept here.
    let consumed = owner.router.position(LogName::Contacts, cell);
    let mut backlog = Vec::new();
    sources
        .catch_up(|source| match &source {
            Source::Contacts(_, it) if Some(it.position) <= consumed => {}
            _ => backlog.extend(input_of(source)),
        })
        .await?;
    for input in backlog {
        owner.give(input).await?;
    }
    owner.give(Input::CaughtUp).await?;
    component.ready();
    tracing::info!(%cell, %epoch, "routing is owned");

    let mut asks = asks.lock().await;
    loop {
        owner.line.advance(&mut owner.effects);
        let room = owner.line.len() < LINE_MAX;
        let input = tokio::select! {
            biased;
            durable = owner.line.durable() => {
                durable?;
                continue;
            }
            Some(answer) = answered.recv(), if room => answer,
            () = clock.sleep_until(owner.router.next_timeout()), if room => Input::Tick,
            Some(ask) = asks.recv() => {
                ask.answer(&owner.router, clock.now());
                continue;
            }
            source = sources.next(), if room => match input_of(source?) {
                Some(input) => input,
                None => continue,
            },
        };
        owner.give(input).await?;
    }
}

struct Owner<'a> {
    platform: &'a Platform,
    writer: FactWriter<RoutingFact>,
    router: Router,
    traces: Traces,
    effects: Effects,
    line: Line,
    waiting: Gauge,
}

impl Owner<'_> {
    /// Tells the router one thing and puts everything it says into line.
    async fn give(&mut self, input: Input) -> Result<(), LogError> {
        let answered: Vec<_> = match &input {
            Input::ReservationsAnswered { answers } => answers.iter().map(|(id, _)| id.clone()).collect(),
            _ => Vec::new(),
        };
        self.router.handle(self.platform.clock.now(), input);
        while let Some(output) = self.router.poll() {
            match output {
                Output::Append(outcome) => self.append(outcome).await?,
                Output::Reserve(wishes) => {
                    let spans = self.traces.reserve(&wishes);
                    self.line.put(move |effects| effects.reserve(wishes, spans));
                }
                Output::Offer(command) => {
                    let traceparent = self.traces.offer(&command.offer_id);
                    self.line.put(move |effects| effects.offer(command, traceparent));
                }
                Output::Cancel(command) => {
                    let traceparent = self.traces.offer(&command.offer_id);
                    self.line.put(move |effects| effects.cancel(command, traceparent));
                }
                Output::TurnAway(command) => {
                    let traceparent = self.traces.contact(&command.contact_id);
                    self.line.put(move |effects| effects.turn_away(command, traceparent));
                }
                Output::Release(command) => {
                    let traceparent = self.traces.offer(&command.offer_id);
                    self.line.put(move |effects| effects.release(command, traceparent));
                }
            }
        }
        answered.iter().for_each(|offer_id| self.traces.forget_turn(offer_id));
        self.waiting.set(i64::try_from(self.router.book().waiting_count()).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Appends one outcome; what stands on it comes behind it in the line. Waits for the disk only when the log is full.
    async fn append(&mut self, mut outcome: Outcome<RoutingFact>) -> Result<(), LogError> {
        outcome.facts.iter_mut().for_each(|recorded| self.traces.mark(recorded));
        loop {
            match self.writer.append(&outcome) {
                Ok(ticket) => {
                    self.line.append(ticket);
                    return Ok(());
                }
                Err(full @ LogError::Overloaded { .. }) => {
                    self.line.advance(&mut self.effects);
                    if self.line.len() == 0 {
                        return Err(full);
                    }
                    self.line.durable().await?;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Shared between a desk and the tenures that follow each other.
pub(crate) type Asks = Arc<Mutex<mpsc::Receiver<Ask>>>;
