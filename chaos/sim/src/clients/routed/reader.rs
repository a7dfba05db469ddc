//! A reader of one partition, by the real fence rules. Reading takes no time here; who is stopped does not read.

use trunkline_domain::vocabulary::{Cell, LogName, Position};
use trunkline_runtime::event_log::{FenceState, Verdict};

use crate::event_log::EventLog;
use crate::message::Kept;

/// How far a partition was read.
#[derive(Debug)]
pub(crate) struct Reader {
    log: LogName,
    cell: Cell,
    fence: FenceState,
    next: usize,
}

impl Reader {
    pub(crate) fn new(log: LogName, cell: Cell) -> Self {
        Self { log, cell, fence: FenceState::new(), next: 0 }
    }

    /// The next record that counts, if one is there up to `through`.
    pub(crate) fn next<'a>(
        &mut self,
        logs: &'a EventLog,
        through: Option<Position>,
    ) -> Option<(Position, &'a Kept)> {
        loop {
            let position = Position(self.next as u64);
            if through.is_some_and(|through| position > through) {
                return None;
            }
            let kept = logs.records(self.log, self.cell).get(self.next)?;
            match self.fence.judge(&kept.record) {
                // Whoever checks says so; a reader must not go on.
                Verdict::Gap { .. } => return None,
                Verdict::Counts => {
                    self.next += 1;
                    return Some((position, kept));
                }
                Verdict::FenceRecord | Verdict::Void { .. } | Verdict::Duplicate => self.next += 1,
            }
        }
    }
}
