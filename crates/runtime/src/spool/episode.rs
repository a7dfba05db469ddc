//! What is said of a spool that is in use, and what is counted of it.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::{Lane, Spool, SpoolError};

/// Why records are spooled.
pub(super) enum Cause {
    /// The log takes its time: a record has waited for so long.
    Slow(Duration),
    /// The log failed a record, and said this.
    Failed(String),
}

impl Cause {
    fn reason(&self, lane: &Lane) -> String {
        match self {
            Self::Slow(_) => format!("log {}/{} is slow", lane.log, lane.cell),
            Self::Failed(reason) => reason.clone(),
        }
    }
}

/// From the first record in the spool until the log has everything and the reels are gone. A log that only hesitates is
/// nobody's concern, so nothing is said before the first record, and a log that is slow is not warned of.
pub(super) struct Episode {
    since: Instant,
    record_count: u64,
    warned: bool,
}

impl Episode {
    /// The first record is on its way to the disk.
    pub fn begin(spool: &Spool, lane: &Lane, cause: &Cause) -> Self {
        let Lane { log, cell, .. } = lane;
        spool.0.episodes.inc();
        if let Cause::Slow(after) = cause {
            let waited_ms = after.as_millis();
            info!(%log, %cell, waited_ms, "facts are spooled: the log is slow");
        }
        let mut episode = Self { since: Instant::now(), record_count: 1, warned: false };
        episode.explain(spool, lane, cause);
        episode
    }

    /// One more record is on its way to the disk.
    pub fn count(&mut self) {
        self.record_count += 1;
    }

    /// Why it goes on. That the log fails is said once.
    pub fn explain(&mut self, spool: &Spool, lane: &Lane, cause: &Cause) {
        spool.explain(lane, cause.reason(lane));
        if let (Cause::Failed(reason), false) = (cause, self.warned) {
            let Lane { log, cell, .. } = lane;
            warn!(%log, %cell, reason, "facts are spooled: the log fails");
            self.warned = true;
        }
    }

    /// The log has everything.
    pub fn end(self, spool: &Spool, lane: &Lane) {
        let (Lane { log, cell, .. }, record_count) = (lane, self.record_count);
        let took_ms = self.since.elapsed().as_millis();
        info!(%log, %cell, record_count, took_ms, "the log has everything that was spooled");
        spool.calm(lane);
    }
}

/// What one courier has counted into its spool. Counted out when the courier is gone: whoever drains what it left on disk
/// counts that again.
pub(super) struct Held {
    pub spool: Spool,
    pub record_count: u64,
    bytes: u64,
}

impl Held {
    /// Nothing yet.
    pub fn nothing(spool: Spool) -> Self {
        Self { spool, record_count: 0, bytes: 0 }
    }

    /// What was found on disk.
    pub fn found(spool: Spool, record_count: u64, bytes: u64) -> Self {
        spool.hold_found(record_count, bytes);
        Self { spool, record_count, bytes }
    }

    /// One more record, unless there is no room for it.
    pub fn hold(&mut self, lane: &Lane, size: u64) -> Result<(), SpoolError> {
        let bytes_max = self.spool.options().bytes_max;
        let full = |bytes| SpoolError::Full { log: lane.log, cell: lane.cell, bytes, bytes_max };
        self.spool.hold(size).map_err(full)?;
        (self.record_count, self.bytes) = (self.record_count + 1, self.bytes + size);
        Ok(())
    }

    /// One record less.
    pub fn let_go(&mut self, size: u64) {
        self.spool.let_go(1, size);
        (self.record_count, self.bytes) = (self.record_count - 1, self.bytes - size);
    }

    /// Nothing any more.
    pub fn let_go_all(&mut self) {
        self.spool.let_go(self.record_count, self.bytes);
        (self.record_count, self.bytes) = (0, 0);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go_all();
    }
}
