//! One ownership of this node's lane: from the grant of its lease until it is lost or facts can no longer be kept.

use tokio_util::sync::CancellationToken;
use tracing::error;
use trunkline_domain::facts::{ContactFact, Outcome, Recorded};
use trunkline_domain::vocabulary::{Cell, Epoch, LogName};
use trunkline_runtime::error_chain;
use trunkline_runtime::event_log::LogError;
use trunkline_runtime::lease::{Lease, Tenure};
use trunkline_runtime::spool::{SpoolError, SpooledWriter};

/// The right to write this node's facts, and its end.
pub(crate) struct Generation {
    /// The fence.
    pub epoch: Epoch,
    /// One for each cell, in order.
    writers: Vec<SpooledWriter<ContactFact>>,
    /// Cancelled when this ownership is over: nothing more is recorded, and every contact under it ends.
    pub ended: CancellationToken,
    /// Whether the lease stands. While that is in doubt, because agent-state cannot be asked, contacts that are up go on
    /// and none begins.
    pub tenure: Tenure,
}

impl Generation {
    pub fn new(lease: &Lease, writers: Vec<SpooledWriter<ContactFact>>) -> Self {
        Self { epoch: lease.epoch, writers, ended: CancellationToken::new(), tenure: lease.tenure() }
    }

    /// Appends the facts of one decision and returns when they are durable, in the log or in this node's spool. Appends of
    /// many contacts are under way at the same time; they become durable in groups.
    ///
    /// # Errors
    /// When they are not durable; this ownership is then over.
    pub async fn record(&self, cell: Cell, facts: Vec<Recorded<ContactFact>>) -> Result<(), SpoolError> {
        let outcome = Outcome { epoch: self.epoch, consumed: Vec::new(), facts };
        let appended = match self.writers.get(cell.0 as usize) {
            Some(writer) => writer.append(&outcome).await,
            None => Err(LogError::UnknownPartition { log: LogName::Contacts, cell }.into()),
        };
        if let Err(error) = &appended {
            if !self.ended.is_cancelled() {
                let error = error_chain(error);
                error!(%cell, error, "facts could not be recorded: this node's ownership ends");
            }
            self.ended.cancel();
        }
        appended
    }

    /// Ends it, and returns when nothing of it writes any more. What is in the spool is for the next ownership to drain.
    pub async fn end(&self) {
        self.ended.cancel();
        for writer in &self.writers {
            writer.end().await;
        }
    }
}
