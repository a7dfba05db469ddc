//! One ownership of this node's lane: from the grant of its lease until it is lost or an append fails.

use std::sync::Mutex;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::error;
use trunkline_domain::facts::{ContactFact, Outcome, Recorded};
use trunkline_domain::vocabulary::{Cell, Epoch};
use trunkline_runtime::event_log::LogError;
use trunkline_runtime::facts::FactWriter;

use crate::sip::stack::lock;

/// How often an append is tried again while the log's buffer is full, with [`RETRY_PAUSE`] between.
const RETRY_COUNT_MAX: u32 = 400;
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// The right to write this node's facts, and its end.
pub(crate) struct Generation {
    /// The fence.
    pub epoch: Epoch,
    /// One for each cell, in order.
    writers: Vec<Mutex<FactWriter<ContactFact>>>,
    /// Cancelled when this ownership is over: nothing more is recorded, and every contact under it ends.
    pub ended: CancellationToken,
}

impl Generation {
    pub fn new(epoch: Epoch, writers: Vec<FactWriter<ContactFact>>) -> Self {
        let writers = writers.into_iter().map(Mutex::new).collect();
        Self { epoch, writers, ended: CancellationToken::new() }
    }

    /// Appends the facts of one decision and returns when they are durable. Appends of many contacts are under way at
    /// the same time; the log makes them durable in groups.
    ///
    /// # Errors
    /// When they are not durable; this ownership is then over.
    pub async fn record(&self, cell: Cell, facts: Vec<Recorded<ContactFact>>) -> Result<(), LogError> {
        let outcome = Outcome { epoch: self.epoch, consumed: Vec::new(), facts };
        let appended = match self.ticket(cell, &outcome).await {
            Ok(ticket) => ticket.await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = &appended {
            if !self.ended.is_cancelled() {
                error!(%cell, %error, "facts could not be recorded: this node's ownership ends");
            }
            self.ended.cancel();
        }
        appended
    }

    async fn ticket(
        &self,
        cell: Cell,
        outcome: &Outcome<ContactFact>,
    ) -> Result<trunkline_runtime::event_log::AppendTicket, LogError> {
        let unknown =
            LogError::UnknownPartition { log: trunkline_domain::vocabulary::LogName::Contacts, cell };
        let writer = self.writers.get(cell.0 as usize).ok_or(unknown)?;
        for _ in 0..RETRY_COUNT_MAX {
            match lock(writer).append(outcome) {
                Err(LogError::Overloaded { .. }) => {}
                decided => return decided,
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        lock(writer).append(outcome)
    }
}
