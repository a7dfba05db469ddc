//! A bounded place on disk for the facts of a lane while the event log cannot be written, and its way back into the log.
//!
//! ```text
//!            ┌── Direct ──► log ──► acknowledged by the log
//! append ──► courier
//!            └── Spooling ► spool ► acknowledged by the disk ──► drained into the log, in order, under the same epoch
//!
//! <dir>/<log>/<cell>/<epoch, 20 digits>-<number, 6 digits>    a reel: an embedded log of this one partition;
//!                                                             with `.retired` behind it while it is removed
//! ```
//! One task a lane, the *courier*, numbers the records and owns their order. It keeps this true of every number given:
//! the log has the record, or a reel has it, or it is in memory and nobody was told that it is durable.
//!
//! Order and exactly-once rest on the sequence alone. A number is given to one record for ever, and whatever reaches the
//! log is a run of numbers without a hole that begins at or below the first one the log lacks; so readers find every record
//! once, however often it was sent and however late the copies of a lost producer arrive.
//!
//! A spool is of one epoch. The next epoch of the lane may begin only when [`Spool::drain`] has brought everything into the
//! log: behind a newer fence it would be void. The reasons are in `docs/adr/0007-spool.md`.

mod courier;
mod drain;
mod episode;
mod error;
mod line;
mod reader;
mod reel;
mod store;
mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use trunkline_domain::vocabulary::{Cell, Epoch, LogName};

pub use self::error::SpoolError;
pub use self::writer::SpooledWriter;

use crate::event_log::Record;
use crate::telemetry::{Counter, Gauge, Telemetry, names};

/// From this part of the bound on, in percent, a spool is short of room.
const SHORT_OF_ROOM_PERCENT: u64 = 80;

/// How facts are spooled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Where the spool is; made when it is needed.
    pub dir: PathBuf,
    /// How long a record may wait for the log before it is spooled.
    pub after: Duration,
    /// What may wait on disk for the log, in bytes by [`Record::size`], over all lanes; 0 for no spool at all: then an
    /// append waits for as long as the log lets it, and fails when the log fails it.
    pub bytes_max: u64,
    /// About how large a reel becomes, in bytes by [`Record::size`]. A reel is removed as soon as the log has all of it,
    /// so each lane may take so much of the disk on top of the bound.
    pub reel_bytes: u64,
    /// The largest record taken, by [`Record::size`], in bytes. Not more than the log takes: a record that only the spool
    /// takes would never be drained.
    pub record_bytes_max: usize,
}

impl SpoolOptions {
    /// The usual limits: half a second, 64 MiB, reels of 8 MiB, records of 1 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            after: Duration::from_millis(500),
            bytes_max: 64 << 20,
            reel_bytes: 8 << 20,
            record_bytes_max: 1 << 20,
        }
    }
}

/// The spool of a node: one directory, one bound, any number of lanes. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Spool(Arc<Shared>);

struct Shared {
    options: SpoolOptions,
    /// What waits, and why. The one place where it is counted.
    state: watch::Sender<SpoolState>,
    records: Gauge,
    bytes: Gauge,
    episodes: Counter,
}

/// What waits in a spool for the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpoolState {
    /// Records that the log does not have yet.
    pub record_count: u64,
    /// Their size by [`Record::size`].
    pub bytes: u64,
    /// What may wait at most.
    pub bytes_max: u64,
    /// Why each partition is spooled.
    reasons: BTreeMap<(LogName, Cell), String>,
}

impl SpoolState {
    /// Why facts are spooled, of the first partition that is; `None` when everything goes to the log.
    pub fn reason(&self) -> Option<&str> {
        self.reasons.values().next().map(String::as_str)
    }

    /// Whether so little room is left that it should be kept for what is under way already.
    pub fn short_of_room(&self) -> bool {
        self.bytes_max > 0 && self.bytes >= self.bytes_max / 100 * SHORT_OF_ROOM_PERCENT
    }
}

impl Spool {
    /// A spool that holds nothing until it is needed. What an earlier life left on disk is for [`Spool::drain`].
    pub fn new(options: SpoolOptions, telemetry: &Telemetry) -> Self {
        let state = SpoolState { bytes_max: options.bytes_max, ..SpoolState::default() };
        Self(Arc::new(Shared {
            options,
            state: watch::Sender::new(state),
            records: telemetry.gauge(names::SPOOL_RECORDS, &[]),
            bytes: telemetry.gauge(names::SPOOL_BYTES, &[]),
            episodes: telemetry.counter(names::SPOOL_EPISODES, &[]),
        }))
    }

    /// What waits now.
    pub fn state(&self) -> SpoolState {
        self.0.state.borrow().clone()
    }

    /// Whether so little room is left that nothing new should begin.
    pub fn short_of_room(&self) -> bool {
        self.0.state.borrow().short_of_room()
    }

    /// Follows [`Spool::state`].
    pub fn watch(&self) -> watch::Receiver<SpoolState> {
        self.0.state.subscribe()
    }

    fn options(&self) -> &SpoolOptions {
        &self.0.options
    }

    /// Counts a record in; says how many bytes wait already when it would be beyond the bound.
    fn hold(&self, size: u64) -> Result<(), u64> {
        let mut full = None;
        self.0.state.send_if_modified(|state| {
            if state.bytes + size > state.bytes_max {
                full = Some(state.bytes);
                return false;
            }
            (state.record_count, state.bytes) = (state.record_count + 1, state.bytes + size);
            true
        });
        self.measure();
        full.map_or(Ok(()), Err)
    }

    /// Counts in what was found on disk, whatever the bound is now.
    fn hold_found(&self, record_count: u64, bytes: u64) {
        self.0.state.send_modify(|state| {
            (state.record_count, state.bytes) = (state.record_count + record_count, state.bytes + bytes);
        });
        self.measure();
    }

    /// Counts out what the log has, or what will never be drained by who counted it in.
    fn let_go(&self, record_count: u64, bytes: u64) {
        self.0.state.send_modify(|state| {
            state.record_count = state.record_count.saturating_sub(record_count);
            state.bytes = state.bytes.saturating_sub(bytes);
        });
        self.measure();
    }

    /// Says why a lane is spooled.
    fn explain(&self, lane: &Lane, reason: String) {
        self.0.state.send_modify(|state| {
            state.reasons.insert((lane.log, lane.cell), reason);
        });
    }

    /// A lane is not spooled, or no longer.
    fn calm(&self, lane: &Lane) {
        self.0.state.send_if_modified(|state| state.reasons.remove(&(lane.log, lane.cell)).is_some());
    }

    fn measure(&self) {
        let state = self.0.state.borrow();
        self.0.records.set(i64::try_from(state.record_count).unwrap_or(i64::MAX));
        self.0.bytes.set(i64::try_from(state.bytes).unwrap_or(i64::MAX));
    }
}

/// One epoch of one lane in its partition: what all records of a courier have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lane {
    log: LogName,
    cell: Cell,
    name: String,
    epoch: Epoch,
}

impl Lane {
    fn record(&self, sequence: u64, headers: Vec<(String, String)>, payload: Bytes) -> Record {
        Record { lane: self.name.clone(), epoch: self.epoch, sequence, headers, payload }
    }

    /// The record the epoch begins with, and that takes the lane up again after a failure: readers take it once.
    fn fence(&self) -> Record {
        self.record(0, Vec::new(), Bytes::new())
    }
}
