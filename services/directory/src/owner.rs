//! The owner of the directory: takes the lease, folds its own log, and appends one outcome a revision.

use tonic::Status;
use trunkline_domain::directory::{Directory, Plan, Rejection, plan};
use trunkline_domain::facts::{DirectoryFact, LogFact, Meta, Outcome, Recorded};
use trunkline_domain::kernel::{Decider, Projection};
use trunkline_domain::vocabulary::{Cell, Epoch, EventId, Millis, Position, Timestamp};
use trunkline_runtime::event_log::{LogError, ReadFrom};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::grpc::{self, Refusal, RejectionKind};
use trunkline_runtime::health::Component;
use trunkline_runtime::host::owner::{Cold, Idle, Seat, hold};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;

use crate::service::{Ask, Gate, Order, Planned};

/// The lease and the lane of the directory's one writer.
const LANE: &str = "directory/0";
/// Everything of the directory is in this partition.
const CELL: Cell = Cell(0);

/// Owns the directory whenever nobody else does, until shutdown begins.
pub(crate) async fn run(platform: &Platform, ttl: Millis, address: &str, gate: &Gate, shutdown: &Shutdown) {
    let health = platform.health.component("directory");
    let seat = Seat { resource: LANE.to_owned(), address: address.to_owned(), ttl };
    // Each tenure begins and ends with the gate closed: a question is answered by an owner or not at all.
    let idle = |idle: Idle| {
        gate.close();
        health.not_ready(idle.to_string());
    };
    hold(platform, &seat, shutdown, idle, Cold::begin, |grant, _| own(platform, grant.epoch, gate, &health))
        .await;
    gate.close();
}

async fn own(platform: &Platform, epoch: Epoch, gate: &Gate, health: &Component) -> Result<(), LogError> {
    health.not_ready("folds the directory log");
    let (writer, fence) = FactWriter::open(&platform.log, CELL, LANE, epoch).await?;
    let mut reader = FactReader::open(&platform.log, CELL, ReadFrom::Start).await?;
    let mut state = State::default();
    reader.catch_up(&writer, fence, |delivered| state.fold(&delivered.outcome)).await?;
    tracing::info!(revision = state.directory.revision(), %epoch, "directory is owned");
    let mut owner = Owner { platform, writer, reader, state };
    let mut asks = gate.open();
    health.ready();
    while let Some(ask) = asks.recv().await {
        match ask {
            Ask::Plan { document, answer } => {
                let effective_at = platform.clock.now().max(owner.state.directory.effective_at());
                let planned = owner.plan(&document, effective_at).map(|plan| plan.changes);
                let revision = owner.state.directory.revision();
                // Whoever asked may have gone: nothing is lost with the answer.
                let _ = answer.send(Ok(Planned { revision, result: planned }));
            }
            Ask::Apply { order, answer } => match owner.apply(*order).await {
                Ok(applied) => {
                    let _ = answer.send(applied);
                }
                Err(error) => {
                    let reason = format!("the revision may not be kept: {error}");
                    let _ =
                        answer.send(Err(grpc::status_of(RejectionKind::Unavailable, "LOG_FAILED", reason)));
                    return Err(error);
                }
            },
        }
    }
    Ok(())
}

#[derive(Default)]
struct State {
    directory: Directory,
    /// Of the last fact in the stream.
    sequence: u64,
}

impl State {
    fn fold(&mut self, outcome: &Outcome<DirectoryFact>) {
        for fact in &outcome.facts {
            self.directory.fold(fact);
            self.sequence = fact.meta.sequence;
        }
    }
}

struct Owner<'a> {
    platform: &'a Platform,
    writer: FactWriter<DirectoryFact>,
    reader: FactReader<DirectoryFact>,
    state: State,
}

impl Owner<'_> {
    fn plan(
        &self,
        document: &crate::document::Document,
        effective_at: Timestamp,
    ) -> Result<Plan, Vec<crate::document::PlacedProblem>> {
        plan(&self.state.directory, &document.wanted, effective_at, self.platform.log.cell_count())
            .map_err(|problems| document.place(&problems))
    }

    /// Applies an order as one revision. The outer error is the log's: the owner must begin again.
    async fn apply(&mut self, order: Order) -> Result<Result<Planned, Status>, LogError> {
        let now = self.platform.clock.now();
        let Order { document, command, traceparent } = order;
        let revision = self.state.directory.revision();
        // What the facts change, in words, for the answer; whether they may is decided below.
        let planned = self.plan(&document, command.effective_at(now));
        let author = command.author.clone();
        let facts = match self.state.directory.decide(now, command) {
            Ok(facts) if facts.is_empty() => {
                return Ok(Ok(Planned { revision, result: Ok(Vec::new()) }));
            }
            Ok(facts) => facts,
            Err(Rejection::Problems(problems)) => {
                return Ok(Ok(Planned { revision, result: Err(document.place(&problems)) }));
            }
            Err(rejection) => return Ok(Err(grpc::refuse(&Refused(&rejection)))),
        };
        let outcome = self.outcome(revision + 1, now, &traceparent, facts);
        let ticket = match self.writer.append(&outcome) {
            Ok(ticket) => ticket,
            Err(error @ (LogError::TooLarge { .. } | LogError::Overloaded { .. })) => {
                let reason = format!("nothing was applied: {error}");
                return Ok(Err(grpc::status_of(
                    RejectionKind::ResourceExhausted,
                    "REVISION_TOO_LARGE",
                    reason,
                )));
            }
            Err(error) => return Err(error),
        };
        let position = ticket.await?;
        self.see(position).await?;
        tracing::info!(revision = revision + 1, author, "revision applied");
        Ok(Ok(Planned { revision: revision + 1, result: planned.map(|plan| plan.changes) }))
    }

    /// Folds the own log up to what was just appended: it counts only if a reader gets it.
    async fn see(&mut self, position: Position) -> Result<(), LogError> {
        let mut counted = false;
        let state = &mut self.state;
        self.reader
            .fold_to(position, |delivered| {
                counted |= delivered.position == position;
                state.fold(&delivered.outcome);
            })
            .await?;
        if counted {
            return Ok(());
        }
        let current = self.reader.fence().lane(LANE).map_or(Epoch(0), |lane| lane.epoch);
        Err(LogError::Fenced {
            log: DirectoryFact::LOG,
            cell: CELL,
            lane: LANE.to_owned(),
            epoch: self.writer.epoch(),
            current,
        })
    }

    fn outcome(
        &self,
        revision: u64,
        now: Timestamp,
        traceparent: &str,
        facts: Vec<DirectoryFact>,
    ) -> Outcome<DirectoryFact> {
        let recorded = |(index, fact): (usize, DirectoryFact)| {
            let ordinal = index as u64 + 1;
            let event_id = EventId::from_name(&format!("d-{revision}-{ordinal}"))
                .expect("a letter and two numbers are within the alphabet and length of ids");
            let meta = Meta {
                event_id,
                cell: CELL,
                stream: fact.stream(),
                sequence: self.state.sequence + ordinal,
                occurred_at: now,
                recorded_at: now,
                correlation_id: None,
                causation_id: None,
                traceparent: traceparent.to_owned(),
            };
            Recorded { meta, fact }
        };
        let facts = facts.into_iter().enumerate().map(recorded).collect();
        Outcome { epoch: self.writer.epoch(), consumed: Vec::new(), facts }
    }
}

/// A rejection on its way over the wire.
struct Refused<'a>(&'a Rejection);

impl std::fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Refusal for Refused<'_> {
    fn kind(&self) -> RejectionKind {
        match self.0 {
            Rejection::EffectiveInThePast { .. } | Rejection::Problems(_) => RejectionKind::InvalidArgument,
            Rejection::RevisionPending { .. } => RejectionKind::FailedPrecondition,
            Rejection::StaleBase { .. } => RejectionKind::Conflict,
        }
    }

    fn reason(&self) -> &'static str {
        match self.0 {
            Rejection::EffectiveInThePast { .. } => "EFFECTIVE_IN_THE_PAST",
            Rejection::RevisionPending { .. } => "REVISION_PENDING",
            Rejection::StaleBase { .. } => "STALE_BASE",
            Rejection::Problems(_) => "PROBLEMS",
        }
    }
}
