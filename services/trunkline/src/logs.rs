//! Opening the event log that the settings name.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trunkline_runtime::event_log::settings::{LOG_DIR, LogKind, LogSettings};
use trunkline_runtime::event_log::{EmbeddedLog, EventLog, KafkaLog, KafkaOpenError, OpenError};
use trunkline_runtime::health::Component;
use trunkline_runtime::mint::Mint;

use crate::Failure;

/// The pause between two attempts to reach the brokers.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the log is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// A record may wait for its acknowledgement this long before it is said that the log takes none.
const STALLED_AFTER: Duration = Duration::from_millis(1_500);

/// A log open for writing.
#[derive(Clone)]
pub(crate) enum Opened {
    Embedded(Arc<EmbeddedLog>),
    Kafka(Arc<KafkaLog>),
}

impl Opened {
    pub(crate) fn shared(&self) -> Arc<dyn EventLog> {
        match self {
            Self::Embedded(log) => log.clone(),
            Self::Kafka(log) => log.clone(),
        }
    }

    /// Takes nothing more, and waits for what was taken.
    pub(crate) async fn close(self) {
        // Either may wait for a disk or a broker.
        let closed = tokio::task::spawn_blocking(move || match self {
            Self::Embedded(log) => log.close(),
            Self::Kafka(log) => log.close(),
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "could not close the event log");
        }
    }

    /// Says of the log whether it can be reached and takes what is appended, for as long as the process runs.
    ///
    /// `spooled` is whether everything here that must be written can be kept aside for a while: then a log that is away
    /// is a remark, not the end of service.
    pub(crate) async fn watch(self, component: Component, spooled: bool) {
        let Self::Kafka(log) = self else {
            component.ready();
            return;
        };
        let mut since: Option<Instant> = None;
        loop {
            let trouble = log.trouble(STALLED_AFTER).await;
            match (&trouble, since) {
                (Some(reason), None) => {
                    tracing::warn!(reason, "the event log is away");
                    since = Some(Instant::now());
                }
                (None, Some(began)) => {
                    let away_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                    tracing::info!(away_ms, "the event log is back");
                    since = None;
                }
                (Some(_), Some(_)) | (None, None) => {}
            }
            match trouble {
                None => component.ready(),
                Some(trouble) if spooled => component.ready_with(trouble),
                Some(trouble) => component.not_ready(trouble),
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Opens the embedded log of a data directory; makes it when there is none.
pub(crate) fn open_embedded(data: &Path, section: &LogSettings, mint: &Mint) -> Result<EmbeddedLog, Failure> {
    let failed = |error: OpenError| Failure::world(error.to_string());
    let dir = data.join(LOG_DIR);
    let cluster =
        EmbeddedLog::cluster_of(&dir).map_err(failed)?.unwrap_or_else(|| format!("cls_{}", mint.name()));
    let (log, report) = EmbeddedLog::open(section.embedded(data, cluster)).map_err(failed)?;
    for partition in report.torn() {
        let (name, cell, torn) = (partition.log, partition.cell, &partition.torn);
        tracing::info!(log = %name, %cell, ?torn, "cut off the unfinished end of a partition");
    }
    for partition in &report.partitions {
        if let Some(error) = &partition.quarantined {
            tracing::error!(%error, "a partition is quarantined");
        }
    }
    Ok(log)
}

/// Opens the log for a process that writes. Brokers that are not there yet are waited for, and the component says so;
/// topics that are wrong, or another cluster's, are refused at once.
pub(crate) async fn open(
    data: &Path,
    section: &LogSettings,
    mint: &Mint,
    component: &Component,
) -> Result<Opened, Failure> {
    if section.kind == LogKind::Embedded {
        return open_embedded(data, section, mint).map(|log| Opened::Embedded(Arc::new(log)));
    }
    let mut said = false;
    loop {
        match KafkaLog::open(section.kafka()).await {
            Ok(log) => {
                if said {
                    tracing::info!("the event log is there");
                }
                return Ok(Opened::Kafka(Arc::new(log)));
            }
            Err(error @ KafkaOpenError::Unreachable { .. }) => {
                component.not_ready(format!("waits for the event log: {error}"));
                if !said {
                    tracing::warn!(%error, "waits for the event log");
                    said = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(Failure::world(error.to_string())),
        }
    }
}
