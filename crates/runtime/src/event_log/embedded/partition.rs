//! One partition: its queue, its state, and the facts every reader needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use trunkline_domain::vocabulary::{Cell, LogName, Position};

use super::disk::Disk;
use super::segment::{Damage, Segment};
use super::{EmbeddedOptions, quarantine};
use crate::event_log::{AppendTicket, Completion, LogError, Record};

/// How far the durable part of a partition reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durable {
    /// The position the next record gets.
    pub next: u64,
    /// The segment that is written on.
    pub base: u64,
    /// How much of that segment is durable, in bytes.
    pub end: u64,
}

/// A record that waits to be durable.
pub struct Pending {
    pub record: Record,
    pub completion: Completion,
}

/// What a partition takes.
enum Phase {
    /// Appends.
    Open,
    /// What is queued is still written, nothing more is taken.
    Closing,
    /// Nothing, for this reason.
    Ended(LogError),
}

struct State {
    phase: Phase,
    queue: VecDeque<Pending>,
    /// How many must be queued before the writer wants to be woken.
    wake_at: usize,
    /// Taken from the queue by the writer and not yet durable.
    in_flight_count: usize,
    pending_bytes: usize,
    /// Lanes with a failed append and no fence record since.
    interrupted: BTreeSet<String>,
}

/// What the writer, the callers and the readers of one partition share.
pub struct Partition {
    pub log: LogName,
    pub cell: Cell,
    pub dir: PathBuf,
    pub disk: Disk,
    pub options: EmbeddedOptions,
    state: Mutex<State>,
    wake: Condvar,
    segments: Mutex<BTreeMap<u64, Segment>>,
    durable: watch::Sender<Durable>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these locks and leaves it half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Partition {
    /// A partition as found on disk; `ended` when it takes nothing from the start.
    pub fn new(
        log: LogName,
        cell: Cell,
        dir: PathBuf,
        options: EmbeddedOptions,
        segments: Vec<Segment>,
        next: u64,
        ended: Option<LogError>,
    ) -> Self {
        let durable = segments.last().map_or(Durable::default(), |segment| Durable {
            next,
            base: segment.base,
            end: segment.end,
        });
        Self {
            log,
            cell,
            dir,
            disk: Disk::default(),
            options,
            state: Mutex::new(State {
                phase: ended.map_or(Phase::Open, Phase::Ended),
                queue: VecDeque::new(),
                wake_at: 1,
                in_flight_count: 0,
                pending_bytes: 0,
                interrupted: BTreeSet::new(),
            }),
            wake: Condvar::new(),
            segments: Mutex::new(segments.into_iter().map(|segment| (segment.base, segment)).collect()),
            durable: watch::Sender::new(durable),
        }
    }

    /// Queues a record.
    pub fn append(&self, record: Record) -> Result<AppendTicket, LogError> {
        let (log, cell) = (self.log, self.cell);
        let (size, size_max) = (record.size(), self.options.record_bytes_max);
        if size > size_max {
            return Err(LogError::TooLarge { log, size, size_max });
        }
        let mut state = lock(&self.state);
        match &state.phase {
            Phase::Open => {}
            Phase::Closing => return Err(LogError::Closed { log, cell }),
            Phase::Ended(error) => return Err(error.clone()),
        }
        let pending_count = state.queue.len() + state.in_flight_count;
        let bytes_full = pending_count > 0 && state.pending_bytes + size > self.options.pending_bytes_max;
        if pending_count >= self.options.pending_count_max || bytes_full {
            return Err(LogError::Overloaded { log, cell, pending_count });
        }
        if record.sequence == 0 {
            state.interrupted.remove(&record.lane);
        } else if state.interrupted.contains(&record.lane) {
            return Err(LogError::Interrupted { log, cell, lane: record.lane });
        }
        let (completion, ticket) = AppendTicket::new(log, cell);
        state.pending_bytes += size;
        state.queue.push_back(Pending { record, completion });
        let enough = state.queue.len() >= state.wake_at;
        drop(state);
        if enough {
            self.wake.notify_one();
        }
        Ok(ticket)
    }

    /// Everything queued, for the writer to make durable; waits for the first. `None` when there is nothing more to do.
    ///
    /// Then it lingers until `wanted` are there, but no longer than `linger`: whoever was just acknowledged is about to
    /// append again, and would else be split over two syncs for ever.
    pub fn take_batch(&self, wanted: usize, linger: Duration) -> Option<VecDeque<Pending>> {
        let mut state = lock(&self.state);
        state = self
            .wake
            .wait_while(state, |state| matches!(state.phase, Phase::Open) && state.queue.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        state.wake_at = wanted;
        let too_few = |state: &mut State| matches!(state.phase, Phase::Open) && state.queue.len() < wanted;
        (state, _) =
            self.wake.wait_timeout_while(state, linger, too_few).unwrap_or_else(PoisonError::into_inner);
        state.wake_at = 1;
        if matches!(state.phase, Phase::Ended(_)) || state.queue.is_empty() {
            return None;
        }
        let batch = std::mem::take(&mut state.queue);
        state.in_flight_count = batch.len();
        Some(batch)
    }

    /// Records became durable: readers see them, then their tickets resolve.
    pub fn acknowledge(&self, durable: Durable, records: Vec<Pending>) {
        self.durable.send_replace(durable);
        {
            let mut state = lock(&self.state);
            // A reader that found damage may have ended the partition, and emptied both, meanwhile.
            let bytes: usize = records.iter().map(|pending| pending.record.size()).sum();
            state.in_flight_count = state.in_flight_count.saturating_sub(records.len());
            state.pending_bytes = state.pending_bytes.saturating_sub(bytes);
        }
        let first = durable.next - records.len() as u64;
        for (position, pending) in (first..).zip(records) {
            pending.completion.resolve(Ok(Position(position)));
        }
    }

    /// Records were not made durable: they fail, and with them everything queued behind them. A `fatal` error ends the
    /// partition.
    pub fn fail(&self, records: impl IntoIterator<Item = Pending>, error: LogError, fatal: bool) {
        let failed: Vec<_> = {
            let mut state = lock(&self.state);
            let failed: Vec<_> = records.into_iter().chain(std::mem::take(&mut state.queue)).collect();
            state.in_flight_count = 0;
            state.pending_bytes = 0;
            if fatal {
                state.phase = Phase::Ended(error.clone());
            } else {
                state.interrupted.extend(failed.iter().map(|pending| pending.record.lane.clone()));
            }
            failed
        };
        if fatal {
            self.durable.send_modify(|_| {});
        }
        for pending in failed {
            pending.completion.resolve(Err(error.clone()));
        }
    }

    /// Takes nothing more; what is queued is still written.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closing;
        }
        drop(state);
        #[cfg(feature = "contract")]
        self.disk.faults.resume();
        self.wake.notify_one();
    }

    /// Ends the partition for a reason; everything that waits fails with it.
    pub fn end(&self, error: LogError) {
        self.fail([], error, true);
        self.wake.notify_one();
    }

    /// The reason why nothing more is taken, if there is one.
    pub fn ended(&self) -> Option<LogError> {
        match &lock(&self.state).phase {
            Phase::Ended(error) => Some(error.clone()),
            Phase::Open | Phase::Closing => None,
        }
    }

    /// Ends the partition because of damage, and leaves a marker so that it stays ended.
    pub fn quarantine(&self, damage: &Damage) -> LogError {
        let error = quarantine::error(self.log, self.cell, damage);
        // Without the marker the next start finds the same damage again.
        let _ = quarantine::mark(&self.dir, damage);
        self.end(error.clone());
        error
    }

    /// A watch of the durable end; also woken when the partition ends.
    pub fn watch(&self) -> watch::Receiver<Durable> {
        self.durable.subscribe()
    }

    /// How far the durable part reaches now.
    pub fn durable(&self) -> Durable {
        *self.durable.borrow()
    }

    /// How much of a segment is durable, in bytes.
    pub fn segment_end(&self, base: u64) -> Option<u64> {
        lock(&self.segments).get(&base).map(|segment| segment.end)
    }

    /// Where to begin looking for `position`: segment, a position at or before it, its offset.
    pub fn locate(&self, position: u64) -> Option<(u64, u64, u64)> {
        let segments = lock(&self.segments);
        let (_, segment) = segments.range(..=position).next_back()?;
        let (at, offset) = segment.before(position);
        Some((segment.base, at, offset))
    }

    /// Takes frames of the last segment into account: position, offset, end of each.
    pub fn extend(&self, base: u64, frames: &[(u64, u64, u64)]) {
        let mut segments = lock(&self.segments);
        let segment = segments.entry(base).or_insert_with(|| Segment::new(base));
        for (position, offset, end) in frames {
            segment.extend(*position, *offset, *end);
        }
    }

    /// What the operating system said, as an error of this partition.
    pub fn io_error(&self, action: &'static str, error: &std::io::Error) -> LogError {
        LogError::Io { log: self.log, cell: self.cell, action, reason: error.to_string() }
    }
}
