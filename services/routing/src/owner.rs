//! The owner of one partition: takes over what a standby folded, then feeds the router and does what it says, in order.

use tokio::sync::mpsc;
use tokio::time::Instant;
use trunkline_domain::facts::{Outcome, RoutingFact};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, Output, Router};
use trunkline_domain::vocabulary::Cell;
use trunkline_runtime::event_log::LogError;
use trunkline_runtime::facts::FactWriter;
use trunkline_runtime::host::owner::Grant;
use trunkline_runtime::platform::Platform;
use trunkline_runtime::telemetry::{Gauge, names};

use crate::effects::Effects;
use crate::line::Line;
use crate::readiness::Readiness;
use crate::service::Desk;
use crate::standby::{TakenOver, Warm};
use crate::trace::Traces;

/// Answers of agent-state and media that may wait for the owner.
const ANSWERS_MAX: usize = 1024;
/// Appends and deeds that may wait for the disk; until there is room, the owner takes nothing in.
const LINE_MAX: usize = 2048;

/// The lease and the lane of a cell's one writer.
pub(crate) fn lane_of(cell: Cell) -> String {
    format!("routing/{cell}")
}

/// Owns the partition under `grant` until a log fails; dropped where it stands when the lease is lost.
///
/// # Errors
/// When a log cannot be read or appended to, or a newer owner has begun.
pub(crate) async fn own(
    platform: &Platform,
    cell: Cell,
    grant: Grant,
    warm: Warm,
    readiness: &Readiness,
    desk: &Desk,
) -> Result<(), LogError> {
    let (clock, epoch, began) = (&platform.clock, grant.epoch, Instant::now());
    readiness.not_ready(cell, format!("takes over {}", lane_of(cell)));
    let (writer, fence) = FactWriter::open(&platform.log, cell, &lane_of(cell), epoch).await?;
    let TakenOver { router, traces, backlog, mut feeds, contacts_end } =
        warm.take_over(&writer, fence).await?;

    let (answers, mut answered) = mpsc::channel(ANSWERS_MAX);
    let effects = Effects::new(platform, cell, &grant, answers);
    let waiting = Waiting { gauge: platform.telemetry.gauge(names::QUEUE_WAITING, &[]), shown: 0 };
    let mut owner = Owner { platform, writer, router, traces, effects, line: Line::default(), waiting };
    owner.give(Input::Taken { owner: platform.node_id.clone(), epoch }).await?;
    for input in backlog {
        owner.give(input).await?;
    }
    if let Some(end) = contacts_end {
        while let Some(input) = feeds.next_contacts_to(end).await? {
            owner.give(input).await?;
        }
    }
    owner.give(Input::CaughtUp).await?;
    let mut asks = desk.open();
    readiness.owned(cell);
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(%cell, %epoch, took_ms, "routing is owned");

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
                if let Some((order, reply)) = ask.answer(&owner.router, clock.now()) {
                    let answer = owner.router.order(clock.now(), &order);
                    owner.carry_out().await?;
                    owner.line.put(move |_| drop(reply.send(answer)));
                }
                continue;
            }
            input = feeds.next(), if room => input?,
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
    waiting: Waiting,
}

impl Owner<'_> {
    /// Tells the router one thing and puts everything it says into line.
    async fn give(&mut self, input: Input) -> Result<(), LogError> {
        let answered: Vec<_> = match &input {
            Input::ReservationsAnswered { answers } => answers.iter().map(|(id, _)| id.clone()).collect(),
            _ => Vec::new(),
        };
        self.router.handle(self.platform.clock.now(), input);
        self.carry_out().await?;
        answered.iter().for_each(|offer_id| self.traces.forget_turn(offer_id));
        Ok(())
    }

    /// Puts everything the router says into line.
    async fn carry_out(&mut self) -> Result<(), LogError> {
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
        self.waiting.are(self.router.book().waiting_count());
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

/// This owner's part in how many wait: of the process it is the sum over the cells owned.
struct Waiting {
    gauge: Gauge,
    shown: i64,
}

impl Waiting {
    fn are(&mut self, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.gauge.add(count - self.shown);
        self.shown = count;
    }
}

impl Drop for Waiting {
    /// They are the next owner's, who may be in another process.
    fn drop(&mut self) {
        self.gauge.add(-self.shown);
    }
}
