//! A disk that can be told to misbehave.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use rustix::io::Errno;

#[derive(Debug, Default)]
struct Plan {
    stalled: bool,
    /// The writer has taken a batch and waits for the end of the stall.
    held: bool,
    write: Option<(usize, Errno)>,
    sync: Option<Errno>,
}

/// What goes wrong next in one partition.
#[derive(Debug, Default)]
pub struct Faults {
    plan: Mutex<Plan>,
    changed: Condvar,
}

impl Faults {
    fn change(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    /// From now on nothing becomes durable, and nothing fails.
    pub fn stall(&self) {
        self.change(|plan| plan.stalled = true);
    }

    /// Goes on after [`Faults::stall`].
    pub fn resume(&self) {
        self.change(|plan| (plan.stalled, plan.held) = (false, false));
    }

    /// The next write puts down `len` bytes and then fails with the error.
    pub fn fail_write(&self, len: usize, error: Errno) {
        self.change(|plan| plan.write = Some((len, error)));
    }

    /// The next sync fails with the error; what was written may be there or not.
    pub fn fail_sync(&self, error: Errno) {
        self.change(|plan| plan.sync = Some(error));
    }

    /// Blocks until a stalled writer has taken a batch: what is appended from then on is queued behind it.
    pub fn wait_until_held(&self) {
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(plan, |plan| !plan.held).unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn wait_while_stalled(&self) {
        self.change(|plan| plan.held = plan.stalled);
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(plan, |plan| plan.stalled).unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn write_fault(&self) -> Option<(usize, io::Error)> {
        let fault = self.plan.lock().unwrap_or_else(PoisonError::into_inner).write.take();
        fault.map(|(len, error)| (len, error.into()))
    }

    pub(super) fn sync_fault(&self) -> Option<io::Error> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).sync.take().map(Into::into)
    }
}
