//! What a standby keeps ready: everything an owner knows when its tenure begins, folded while somebody else owns.
//!
//! The router's state is a product of independent folds, so each log is folded as it comes. Only the contacts log is not:
//! what a contact's fact means depends on what the own log said before it. Its records are kept until the own log says
//! that an owner consumed them; those that are left when this process takes over are the ones to decide on.

use std::collections::VecDeque;

use trunkline_domain::facts::{ContactFact, Delivered, RoutingFact};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, Router};
use trunkline_domain::vocabulary::{Cell, LogName, Position};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::{LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::host::owner::Standby;
use trunkline_runtime::host::sources::{Input as Source, Marks, Sources};
use trunkline_runtime::platform::Platform;

use crate::trace::Traces;

/// Records of the contacts log kept for whoever takes over. When there are so many, the contacts log is read no further
/// until the own log consumed some: a reader that stands still costs nobody anything, and goes on from where it is. An
/// owner at work says at least every 1,024 records what it consumed, so this many wait only when nobody owns.
const BACKLOG_MAX: usize = 16_384;

/// A cell's logs, folded without deciding anything.
pub(crate) struct Warm {
    clock: Clock,
    log: SharedLog,
    cell: Cell,
    own: FactReader<RoutingFact>,
    feeds: Feeds,
    state: Folded,
}

/// What an owner begins with.
pub(crate) struct TakenOver {
    pub router: Router,
    pub traces: Traces,
    /// What no owner has consumed yet, as far as it was kept.
    pub backlog: VecDeque<Input>,
    /// What comes next.
    pub feeds: Feeds,
    /// Where the contacts log ended when its fence held.
    pub contacts_end: Option<Position>,
}

/// The state of the folds.
struct Folded {
    cell: Cell,
    router: Router,
    traces: Traces,
    backlog: VecDeque<Delivered<ContactFact>>,
    backlog_max: usize,
}

/// The logs that a router takes in, other than its own.
pub(crate) struct Feeds {
    contacts: FactReader<ContactFact>,
    /// Directory and agents.
    others: Sources,
}

impl Warm {
    /// Opens the logs and folds them to where they end now.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) async fn begin(platform: &Platform, cell: Cell) -> Result<Self, LogError> {
        Self::keeping(platform, cell, BACKLOG_MAX).await
    }

    /// As [`Warm::begin`], keeping at most so many records of the contacts log.
    pub(crate) async fn keeping(
        platform: &Platform,
        cell: Cell,
        backlog_max: usize,
    ) -> Result<Self, LogError> {
        let log = &platform.log;
        let others = Sources::all_cells(log, &[LogName::Directory, LogName::Agents]);
        let mut warm = Self {
            clock: platform.clock.clone(),
            log: log.clone(),
            cell,
            own: FactReader::open(log, cell, ReadFrom::Start).await?,
            feeds: Feeds {
                contacts: FactReader::open(log, cell, ReadFrom::Start).await?,
                others: Sources::open(log, &others, &Marks::default()).await?,
            },
            state: Folded {
                cell,
                router: Router::new(cell),
                traces: Traces::new(&platform.telemetry),
                backlog: VecDeque::new(),
                backlog_max,
            },
        };
        let Self { clock, own, state, .. } = &mut warm;
        own.fold_to_end(|record| state.own(clock, record)).await?;
        warm.catch_up_feeds().await?;
        Ok(warm)
    }

    /// Makes of it what the owner begins with whose fence stands at `fence`: everything before the fence was folded, and
    /// the other logs to where they ended when it was durable.
    ///
    /// # Errors
    /// When a log cannot be read, or a newer owner has begun.
    pub(crate) async fn take_over(
        mut self,
        writer: &FactWriter<RoutingFact>,
        fence: Position,
    ) -> Result<TakenOver, LogError> {
        let Self { clock, own, state, .. } = &mut self;
        own.catch_up(writer, fence, |record| state.own(clock, record)).await?;
        let contacts_end = self.catch_up_feeds().await?;
        let Self { feeds, state: Folded { router, traces, backlog, .. }, .. } = self;
        Ok(TakenOver {
            router,
            traces,
            backlog: backlog.into_iter().map(input_of).collect(),
            feeds,
            contacts_end,
        })
    }

    /// How many records of the contacts log are kept.
    #[cfg(test)]
    pub(crate) fn backlog_len(&self) -> usize {
        self.state.backlog.len()
    }

    /// What was folded.
    #[cfg(test)]
    pub(crate) fn router(&self) -> &Router {
        &self.state.router
    }

    /// Reads all but the own log to where they end now, contacts as far as there is room; says where contacts end.
    async fn catch_up_feeds(&mut self) -> Result<Option<Position>, LogError> {
        let Self { clock, feeds, state, .. } = self;
        feeds.others.catch_up(|source| state.other(clock, source)).await?;
        let contacts_end = self.log.end(LogName::Contacts, self.cell).await?;
        if let Some(end) = contacts_end {
            while state.room()
                && let Some(delivered) = feeds.contacts.next_to(end).await?
            {
                state.keep(delivered);
            }
        }
        Ok(contacts_end)
    }
}

impl Standby for Warm {
    type Error = LogError;

    async fn step(&mut self) -> Result<(), LogError> {
        let Self { clock, own, feeds, state, .. } = self;
        let room = state.room();
        // Fair between them: none can keep the others waiting.
        tokio::select! {
            record = own.next() => state.own(clock, record?),
            source = feeds.others.next() => state.other(clock, source?),
            delivered = feeds.contacts.next(), if room => state.keep(delivered?),
        }
        Ok(())
    }
}

impl Folded {
    fn own(&mut self, clock: &Clock, record: Delivered<RoutingFact>) {
        record.outcome.facts.iter().for_each(|fact| self.traces.recall(fact));
        self.router.handle(clock.now(), Input::Own(record.outcome));
        let consumed = self.consumed();
        while self.backlog.front().is_some_and(|it| Some(it.position) <= consumed) {
            self.backlog.pop_front();
        }
    }

    fn other(&mut self, clock: &Clock, source: Source) {
        if let Some(input) = input_of_source(source) {
            self.router.handle(clock.now(), input);
        }
    }

    fn keep(&mut self, delivered: Delivered<ContactFact>) {
        if Some(delivered.position) > self.consumed() {
            self.backlog.push_back(delivered);
        }
    }

    fn room(&self) -> bool {
        self.backlog.len() < self.backlog_max
    }

    /// The last record of the contacts log that an owner consumed, as the own log says.
    fn consumed(&self) -> Option<Position> {
        self.router.position(LogName::Contacts, self.cell)
    }
}

impl Feeds {
    /// The next record of any; waits while all are at their ends. Cancel-safe.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Input, LogError> {
        loop {
            // Fair between them: neither can keep the other waiting.
            tokio::select! {
                delivered = self.contacts.next() => return Ok(input_of(delivered?)),
                source = self.others.next() => if let Some(input) = input_of_source(source?) {
                    return Ok(input);
                },
            }
        }
    }

    /// The next record of the contacts log up to and including `end`; `None` when that was read. Cancel-safe.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn next_contacts_to(&mut self, end: Position) -> Result<Option<Input>, LogError> {
        Ok(self.contacts.next_to(end).await?.map(input_of))
    }
}

fn input_of(it: Delivered<ContactFact>) -> Input {
    Input::Contacts { position: it.position, outcome: it.outcome }
}

/// What to hand to the router, or `None` for a log it does not read so.
fn input_of_source(source: Source) -> Option<Input> {
    match source {
        Source::Directory(_, it) => Some(Input::Directory { position: it.position, outcome: it.outcome }),
        Source::Agents(cell, it) => Some(Input::Agents { cell, position: it.position, outcome: it.outcome }),
        Source::Contacts(_, it) => Some(input_of(it)),
        Source::Routing(..) | Source::Billing(..) => None,
    }
}
