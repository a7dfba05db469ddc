//! A data directory's logs, read from the start to where they end now.

use std::path::Path;
use std::sync::Arc;

use trunkline_chaos::History;
use trunkline_domain::facts::Delivered;
use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_proto::convert::WireFact;
use trunkline_runtime::event_log::{EmbeddedLog, LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;

use crate::Failure;

/// The directory of the embedded log under a data directory.
pub(crate) const LOG_DIR: &str = "log";

/// Opens the logs under a data directory for reading; a process may be writing them.
pub(crate) fn open(data: &Path) -> Result<SharedLog, Failure> {
    let dir = data.join(LOG_DIR);
    if !dir.is_dir() {
        return Err(Failure::usage(format!(
            "{} holds no logs: expected a directory `{LOG_DIR}` in it",
            data.display()
        )));
    }
    let log = EmbeddedLog::open_read_only(&dir).map_err(|error| Failure::world(error.to_string()))?;
    Ok(Arc::new(log))
}

/// Reads everything that counts, up to where each partition ends now.
pub(crate) async fn read(log: &SharedLog) -> Result<History, Failure> {
    let failed = |error: LogError| Failure::world(error.to_string());
    Ok(History {
        directory: read_all(log).await.map_err(failed)?,
        contacts: read_all(log).await.map_err(failed)?,
        routing: read_all(log).await.map_err(failed)?,
        agents: read_all(log).await.map_err(failed)?,
        billing: read_all(log).await.map_err(failed)?,
    })
}

async fn read_all<F: WireFact>(log: &SharedLog) -> Result<Vec<(Cell, Delivered<F>)>, LogError> {
    let mut records = Vec::new();
    for cell in (0..log.cell_count()).map(Cell) {
        let mut reader = FactReader::<F>::open(log, cell, ReadFrom::Start).await?;
        reader.fold_to_end(|delivered| records.push((cell, delivered))).await?;
    }
    Ok(records)
}

/// The log of that name, or a sentence with the names there are.
pub(crate) fn log_named(text: &str) -> Result<LogName, Failure> {
    LogName::parse(text).ok_or_else(|| {
        let names: Vec<&str> = LogName::ALL.iter().map(|log| log.as_str()).collect();
        Failure::usage(format!("there is no log `{text}`; there are {}", names.join(", ")))
    })
}
