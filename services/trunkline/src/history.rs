//! The logs, read from the start to where they end now.

use std::path::{Path, PathBuf};

use clap::Args;
use trunkline_chaos::History;
use trunkline_domain::facts::Delivered;
use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_proto::convert::WireFact;
use trunkline_runtime::event_log::settings::{LogSettings, ReadError, log_settings};
use trunkline_runtime::event_log::{LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;

use crate::Failure;
use crate::endpoints::DATA_DIR;

/// Which logs a command reads.
#[derive(Args)]
pub(crate) struct Source {
    /// The data directory: of a process with an embedded log, or one whose `trunkline.toml` says where the logs are.
    #[arg(long, default_value = DATA_DIR, env = "TRUNKLINE_DATA_DIR")]
    pub data: PathBuf,
    /// A TOML file whose section log says where the logs are.
    #[arg(long)]
    pub config: Option<PathBuf>,
}

impl Source {
    /// Opens the logs for reading; processes may be writing them.
    pub(crate) async fn open(&self) -> Result<SharedLog, Failure> {
        let settings = log_settings(&self.data, self.config.as_deref(), &[])
            .map_err(|error| Failure::usage(error.to_string()))?;
        open_to_read(&settings, &self.data).await
    }
}

/// Opens the logs that these settings name.
pub(crate) async fn open_to_read(settings: &LogSettings, data: &Path) -> Result<SharedLog, Failure> {
    settings.open_to_read(data).await.map_err(|error| match error {
        ReadError::NoLogs { .. } => Failure::usage(error.to_string()),
        ReadError::Embedded(_) | ReadError::Kafka(_) => Failure::world(error.to_string()),
    })
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
