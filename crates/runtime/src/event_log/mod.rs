//! The event log port: five logs, one partition a cell, records in order, durable before they are acknowledged.
//!
//! A record is fenced by its **lane**: the resource whose lease its writer holds (`routing/0`, `media/nod_x`). Within
//! one lane of a partition the epochs never go back and the sequence has no gaps: [`FenceState`] is the one place that
//! says which record counts. A writer begins an epoch with a *fence record* (sequence 0, no payload); once that is durable,
//! everything an older owner appends behind it is void for every reader.
//!
//! Two implementations meet this port, the embedded one and Kafka; `contract` (cargo feature `contract`) is the list of
//! cases both must pass. [`crate::facts`] is the typed layer services use.

#[cfg(feature = "contract")]
#[allow(missing_docs, clippy::unwrap_used, reason = "a list of test cases; each name is a sentence")]
pub mod contract;
pub mod embedded;
mod fence;
#[cfg(feature = "kafka")]
pub mod kafka;
mod metered;
#[cfg(feature = "kafka")]
pub mod settings;
pub mod tail;
mod ticket;

pub use embedded::{EmbeddedLog, EmbeddedOptions, OpenError, OpenReport};
pub use fence::{FenceState, LaneState, Verdict};
#[cfg(feature = "kafka")]
pub use kafka::{KafkaLog, KafkaOpenError, KafkaOptions};
pub use metered::MeteredLog;
pub use ticket::{AppendTicket, Completion};

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use trunkline_domain::vocabulary::{Cell, Epoch, LogName, Position};

/// What is appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The resource whose lease fences the writer.
    pub lane: String,
    /// The epoch of that lease.
    pub epoch: Epoch,
    /// 0 for the fence record that begins the epoch, then 1, 2, … within lane and epoch.
    pub sequence: u64,
    /// Text headers, as `traceparent`; part of the record, outside the payload.
    pub headers: Vec<(String, String)>,
    /// The encoded outcome; empty for a fence record.
    pub payload: Bytes,
}

impl Record {
    /// What a log's limit is compared with, in bytes: lane, payload, and each header with 8 on top.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        self.lane.len() + headers + self.payload.len()
    }
}

/// A record with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it stands in its partition.
    pub position: Position,
    /// What was appended.
    pub record: Record,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record kept.
    Start,
    /// Behind this record.
    After(Position),
}

/// The log of a cluster.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Puts a record at the end of a partition. Records of one caller keep their order; the ticket resolves when the
    /// record is durable. After a failed append every later one of the same partition that was under way fails too,
    /// and the lanes they belonged to take nothing but a fence record: so a failure can never leave a gap behind it.
    ///
    /// # Errors
    /// [`LogError::Overloaded`] when the buffer is full: nothing was taken, the same record may be tried again.
    /// [`LogError::TooLarge`], [`LogError::UnknownPartition`], [`LogError::Interrupted`], [`LogError::Quarantined`]
    /// and [`LogError::Closed`] likewise at once, and nothing was taken.
    fn append(&self, log: LogName, cell: Cell, record: Record) -> Result<AppendTicket, LogError>;

    /// A reader of one partition that waits at the end for what comes. A slow reader costs nobody anything.
    ///
    /// # Errors
    /// [`LogError::UnknownPartition`]; [`LogError::NoSuchPosition`] when `from` is behind the end, which means that the
    /// reader knows records this log has lost or never had; [`LogError::Gone`]; [`LogError::Quarantined`].
    async fn read(&self, log: LogName, cell: Cell, from: ReadFrom)
    -> Result<Box<dyn RecordStream>, LogError>;

    /// The last durable record; `None` when the partition is empty.
    ///
    /// # Errors
    /// When there is no such partition or it is quarantined.
    async fn end(&self, log: LogName, cell: Cell) -> Result<Option<Position>, LogError>;

    /// How many cells each log has.
    fn cell_count(&self) -> u32;
}

/// A cursor in one partition.
#[async_trait]
pub trait RecordStream: Send {
    /// The next durable record, in order; waits for it at the end. Cancel-safe.
    ///
    /// # Errors
    /// When a record is damaged, when what comes next was deleted, or when the log closes.
    async fn next(&mut self) -> Result<Stored, LogError>;
}

/// A log shared by everybody in the process.
pub type SharedLog = Arc<dyn EventLog>;

/// What can go wrong with a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The partition does not exist.
    #[error("log {log} has no partition {cell}")]
    UnknownPartition {
        /// The log.
        log: LogName,
        /// The partition asked for.
        cell: Cell,
    },
    /// The record is larger than the log takes.
    #[error("record of {size} bytes is larger than the {size_max} that log {log} takes")]
    TooLarge {
        /// The log.
        log: LogName,
        /// Of the record, in bytes.
        size: usize,
        /// Accepted, in bytes.
        size_max: usize,
    },
    /// The buffer of the partition is full; nothing was taken. Try again later.
    #[error("log {log}/{cell} is overloaded: {pending_count} records wait to be durable")]
    Overloaded {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// Records waiting.
        pending_count: usize,
    },
    /// The disk is full; what was acknowledged is safe, nothing more is taken until there is room.
    #[error("the disk under log {log}/{cell} is full")]
    DiskFull {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
    },
    /// Stored bytes are not what was written. The partition takes nothing more until a person looked at it.
    #[error("log {log}/{cell} is damaged in {file} at byte {offset}: {reason}; quarantined")]
    Quarantined {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// The damaged file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What does not fit.
        reason: String,
    },
    /// An earlier append of the lane failed; until a fence record begins a new epoch, anything else would leave a gap.
    #[error("log {log}/{cell}: an append of lane {lane} failed; it must begin a new epoch")]
    Interrupted {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// The lane.
        lane: String,
    },
    /// A reader wants to go on behind a record that this log does not have: another log, or one that lost its end.
    #[error("log {log}/{cell} has no record at {position}; it ends {}", end.map_or("empty".to_owned(), |p| format!("at {p}")))]
    NoSuchPosition {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// Asked for.
        position: Position,
        /// The last durable record.
        end: Option<Position>,
    },
    /// Records that a reader still needed are no longer kept.
    #[error("log {log}/{cell} no longer has what follows position {after}")]
    Gone {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// Where the reader stood.
        after: Position,
    },
    /// A record of the current epoch is missing: the sequence of its lane has a hole.
    #[error(
        "log {log}/{cell} has a gap in lane {lane}: expected sequence {expected}, found {found} at {position}"
    )]
    Gap {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// The lane.
        lane: String,
        /// The sequence that had to come.
        expected: u64,
        /// The one that came.
        found: u64,
        /// Where.
        position: Position,
    },
    /// The writer's epoch is no longer the newest of its lane; nothing it appends counts.
    #[error("log {log}/{cell}: epoch {epoch} of lane {lane} was superseded by {current}")]
    Fenced {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// The lane.
        lane: String,
        /// The writer's.
        epoch: Epoch,
        /// The newest.
        current: Epoch,
    },
    /// A record could not be understood: a schema newer than this program, or not ours.
    #[error("log {log}/{cell} holds a record at {position} that cannot be read: {reason}")]
    Undecodable {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// Where.
        position: Position,
        /// Why.
        reason: String,
    },
    /// The log is closing or closed.
    #[error("log {log}/{cell} is closed")]
    Closed {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
    },
    /// The operating system refused.
    #[error("could not {action} of log {log}/{cell}: {reason}")]
    Io {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// What was attempted.
        action: &'static str,
        /// What it said.
        reason: String,
    },
}
