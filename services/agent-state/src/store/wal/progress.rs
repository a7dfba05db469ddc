//! How much of what the log has taken is durable.
//!
//! Entries are read, sent to the followers and, once a majority has them on disk, applied, while this replica's own disk
//! may lag behind. Whatever must not get ahead of that disk waits here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::writer::Done;
use crate::store::StoreError;
use crate::store::failure::Failure;

/// Counts writes. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Progress(Arc<Counts>);

struct Counts {
    taken: AtomicU64,
    durable: watch::Sender<u64>,
    failure: Failure,
}

impl Progress {
    /// One that nothing was counted on.
    pub(super) fn new(failure: Failure) -> Self {
        Self(Arc::new(Counts { taken: AtomicU64::new(0), durable: watch::channel(0).0, failure }))
    }

    /// Counts a write, which is durable once the result is told that it is.
    pub(super) fn count(&self, done: Done) -> Done {
        let number = self.0.taken.fetch_add(1, Ordering::AcqRel) + 1;
        let progress = self.clone();
        Box::new(move |result| {
            if result.is_ok() {
                progress.0.durable.send_replace(number);
            }
            done(result);
        })
    }

    /// Returns once everything is durable that was taken before the call.
    ///
    /// # Errors
    /// When it never will be: with the first failure of the disk.
    pub async fn caught_up(&self) -> Result<(), Arc<StoreError>> {
        let taken = self.0.taken.load(Ordering::Acquire);
        let mut durable = self.0.durable.subscribe();
        tokio::select! {
            biased;
            // The sender lives in `self`: the channel cannot close while we wait.
            _ = durable.wait_for(|durable| *durable >= taken) => Ok(()),
            error = self.0.failure.failed() => Err(error),
        }
    }
}
