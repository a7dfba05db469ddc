//! Why a fact is not durable, or a spool not drained.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use trunkline_domain::vocabulary::{Cell, LogName};

use crate::event_log::LogError;

/// What can go wrong with a spool and the log behind it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpoolError {
    /// The log refused, and spooling was no way out.
    #[error(transparent)]
    Log(#[from] LogError),
    /// As much waits for the log as may wait.
    #[error("the spool is full: {bytes} of {bytes_max} bytes wait for log {log}/{cell}")]
    Full {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// What waits.
        bytes: u64,
        /// What may wait.
        bytes_max: u64,
    },
    /// The disk refused, or gave back something else than was written.
    #[error("could not {action} the spool in {}", dir.display())]
    Disk {
        /// What was attempted.
        action: &'static str,
        /// On which reel.
        dir: PathBuf,
        /// What was said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// What is on disk does not continue what is in the log. A person must look: draining it would stop every reader, or
    /// have no effect.
    #[error("the spool in {} cannot be drained: {reason}", dir.display())]
    Unfit {
        /// Where.
        dir: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The writer ended before the record was durable; it may be or not.
    #[error("the writer of lane {lane} in log {log}/{cell} has ended")]
    Ended {
        /// The log.
        log: LogName,
        /// The partition.
        cell: Cell,
        /// The lane.
        lane: String,
    },
}

impl SpoolError {
    pub(super) fn disk(
        action: &'static str,
        dir: &Path,
    ) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> Self + use<> {
        let dir = dir.to_owned();
        move |source| Self::Disk { action, dir, source: source.into() }
    }
}
