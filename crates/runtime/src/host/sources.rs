//! Several partitions read as one stream, and how far each was read.
//!
//! The order between partitions is not defined and nothing may depend on it: a state is a product of independent folds.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt, select_all};
use serde::{Deserialize, Serialize};
use trunkline_domain::facts::{AgentFact, BillingFact, ContactFact, Delivered, DirectoryFact, RoutingFact};
use trunkline_domain::vocabulary::{Cell, Epoch, LogName, Position};
use trunkline_proto::convert::WireFact;

use crate::event_log::{FenceState, LaneState, LogError, ReadFrom, SharedLog};
use crate::facts::FactReader;

/// One record that counts, of any log.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "passed on one at a time")]
pub enum Input {
    /// Of the directory log.
    Directory(Cell, Delivered<DirectoryFact>),
    /// Of the contacts log.
    Contacts(Cell, Delivered<ContactFact>),
    /// Of the routing log.
    Routing(Cell, Delivered<RoutingFact>),
    /// Of the agents log.
    Agents(Cell, Delivered<AgentFact>),
    /// Of the billing log.
    Billing(Cell, Delivered<BillingFact>),
}

/// How far one partition was read, and what is known of its lanes there: what a reader needs to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The last record read.
    pub position: Position,
    /// The lanes at that record.
    pub fence: FenceState,
}

/// How far every partition was read. Saved in one step with the state that was folded up to there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marks(pub BTreeMap<(LogName, Cell), Mark>);

/// The saved form of one mark.
#[derive(Serialize, Deserialize)]
struct SavedMark {
    log: String,
    cell: u32,
    position: u64,
    /// Lane, epoch, sequence.
    lanes: Vec<(String, u64, u64)>,
}

impl Marks {
    /// The saved form, JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let saved: Vec<SavedMark> = self
            .0
            .iter()
            .map(|((log, cell), mark)| SavedMark {
                log: log.as_str().to_owned(),
                cell: cell.0,
                position: mark.position.0,
                lanes: mark
                    .fence
                    .lanes()
                    .map(|(l, state)| (l.to_owned(), state.epoch.0, state.sequence))
                    .collect(),
            })
            .collect();
        serde_json::to_vec(&saved).expect("texts and whole numbers are always JSON")
    }

    /// Reads the saved form; `None` when it is not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let saved: Vec<SavedMark> = serde_json::from_slice(bytes).ok()?;
        let mut marks = BTreeMap::new();
        for mark in saved {
            let lanes = mark
                .lanes
                .into_iter()
                .map(|(lane, epoch, sequence)| (lane, LaneState { epoch: Epoch(epoch), sequence }));
            marks.insert(
                (LogName::parse(&mark.log)?, Cell(mark.cell)),
                Mark { position: Position(mark.position), fence: FenceState::from_lanes(lanes) },
            );
        }
        Some(Self(marks))
    }
}

/// Readers of several partitions. None is preferred: after a record of one, the others are looked at first.
pub struct Sources {
    readers: Vec<Reader>,
    log: SharedLog,
}

enum Reader {
    Directory(Cell, FactReader<DirectoryFact>),
    Contacts(Cell, FactReader<ContactFact>),
    Routing(Cell, FactReader<RoutingFact>),
    Agents(Cell, FactReader<AgentFact>),
    Billing(Cell, FactReader<BillingFact>),
}

impl Sources {
    /// Opens a reader for every partition in `of`, behind its mark in `from`, at the start where it has none.
    ///
    /// # Errors
    /// When a partition does not exist, is damaged, or no longer has what follows its mark.
    pub async fn open(log: &SharedLog, of: &[(LogName, Cell)], from: &Marks) -> Result<Self, LogError> {
        let mut readers = Vec::with_capacity(of.len());
        for (name, cell) in of {
            let mark = from.0.get(&(*name, *cell));
            readers.push(match name {
                LogName::Directory => Reader::Directory(*cell, reader(log, *cell, mark).await?),
                LogName::Contacts => Reader::Contacts(*cell, reader(log, *cell, mark).await?),
                LogName::Routing => Reader::Routing(*cell, reader(log, *cell, mark).await?),
                LogName::Agents => Reader::Agents(*cell, reader(log, *cell, mark).await?),
                LogName::Billing => Reader::Billing(*cell, reader(log, *cell, mark).await?),
            });
        }
        Ok(Self { readers, log: log.clone() })
    }

    /// Every partition of `logs`: of the directory log the one it has, of the others every cell.
    pub fn all_cells(log: &SharedLog, logs: &[LogName]) -> Vec<(LogName, Cell)> {
        let cells = |name: &LogName| if *name == LogName::Directory { 1 } else { log.cell_count() };
        logs.iter().flat_map(|name| (0..cells(name)).map(|cell| (*name, Cell(cell)))).collect()
    }

    /// The next record of any of them; waits while all are at their ends. Cancel-safe.
    ///
    /// # Errors
    /// What the partition that failed said; it says the same when asked again.
    pub async fn next(&mut self) -> Result<Input, LogError> {
        let waiting: Vec<_> = self.readers.iter_mut().map(Reader::next).collect();
        if waiting.is_empty() {
            return std::future::pending().await;
        }
        let (heard, place, others) = select_all(waiting).await;
        drop(others);
        // The one that spoke goes to the end, so that a busy partition cannot keep the others waiting.
        let spoke = self.readers.remove(place);
        self.readers.push(spoke);
        heard
    }

    /// Folds everything up to the ends as they are now.
    ///
    /// # Errors
    /// As of [`Sources::next`].
    pub async fn catch_up(&mut self, mut fold: impl FnMut(Input)) -> Result<(), LogError> {
        for reader in &mut self.readers {
            let (name, cell) = reader.partition();
            if let Some(end) = self.log.end(name, cell).await? {
                reader.fold_to(end, &mut fold).await?;
            }
        }
        Ok(())
    }

    /// How far each was read, records that do not count included.
    pub fn marks(&self) -> Marks {
        Marks(self.readers.iter().filter_map(|reader| Some((reader.partition(), reader.mark()?))).collect())
    }
}

async fn reader<F: WireFact>(
    log: &SharedLog,
    cell: Cell,
    mark: Option<&Mark>,
) -> Result<FactReader<F>, LogError> {
    match mark {
        Some(mark) => FactReader::open_at(log, cell, mark.position, mark.fence.clone()).await,
        None => FactReader::open(log, cell, ReadFrom::Start).await,
    }
}

/// One arm a log, the same expression in each.
macro_rules! each {
    ($reader:expr, ($cell:ident, $of:ident, $input:ident) => $body:expr) => {
        match $reader {
            Reader::Directory($cell, $of) => {
                let $input = Input::Directory;
                $body
            }
            Reader::Contacts($cell, $of) => {
                let $input = Input::Contacts;
                $body
            }
            Reader::Routing($cell, $of) => {
                let $input = Input::Routing;
                $body
            }
            Reader::Agents($cell, $of) => {
                let $input = Input::Agents;
                $body
            }
            Reader::Billing($cell, $of) => {
                let $input = Input::Billing;
                $body
            }
        }
    };
}

impl Reader {
    fn next(&mut self) -> BoxFuture<'_, Result<Input, LogError>> {
        each!(self, (cell, of, input) => async move { Ok(input(*cell, of.next().await?)) }.boxed())
    }

    async fn fold_to(&mut self, to: Position, fold: &mut impl FnMut(Input)) -> Result<(), LogError> {
        each!(self, (cell, of, input) => of.fold_to(to, |delivered| fold(input(*cell, delivered))).await)
    }

    fn partition(&self) -> (LogName, Cell) {
        match self {
            Reader::Directory(cell, _) => (LogName::Directory, *cell),
            Reader::Contacts(cell, _) => (LogName::Contacts, *cell),
            Reader::Routing(cell, _) => (LogName::Routing, *cell),
            Reader::Agents(cell, _) => (LogName::Agents, *cell),
            Reader::Billing(cell, _) => (LogName::Billing, *cell),
        }
    }

    fn mark(&self) -> Option<Mark> {
        each!(self, (_cell, of, _input) => {
            Some(Mark { position: of.position()?, fence: of.fence().clone() })
        })
    }
}
