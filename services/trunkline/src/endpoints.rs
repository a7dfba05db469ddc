//! Where a process answers, as it writes it into its data directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Failure;

/// The file's name under the data directory.
const FILE: &str = "endpoints.json";

/// The data directory used when none is named.
pub(crate) const DATA_DIR: &str = "data/dev";

/// Addresses of a running process; printed as its first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// Always true: the line is printed when the process is ready.
    pub ready: bool,
    /// REST, pages and gRPC passthrough, where the gateway runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// SIP over UDP and TCP, where media runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip: Option<String>,
    /// Metrics and health of the process.
    pub ops: String,
    /// gRPC, by service.
    pub grpc: BTreeMap<String, String>,
    /// The process.
    pub pid: u32,
}

impl Addresses {
    /// Writes the file whole or not at all.
    pub(crate) fn write(&self, data: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string(self).map_err(|error| Failure::world(error.to_string()))?;
        let partial = data.join(format!("{FILE}.partial"));
        std::fs::write(&partial, text)?;
        std::fs::rename(partial, data.join(FILE))?;
        Ok(())
    }

    /// Takes the file away: nobody answers there any more.
    pub(crate) fn remove(data: &Path) -> Result<(), Failure> {
        match std::fs::remove_file(data.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Reads what the process that runs on this data directory wrote.
    pub(crate) fn read(data: &Path) -> Result<Self, Failure> {
        let path: PathBuf = data.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            Failure::usage(format!(
                "could not read {}: {error}; is `trunkline dev --data {}` running?",
                path.display(),
                data.display()
            ))
        })?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::world(format!("could not read {}: {error}", path.display())))
    }

    /// The gRPC address of a service.
    pub(crate) fn service(&self, name: &str) -> Result<String, Failure> {
        self.grpc.get(name).cloned().ok_or_else(|| Failure::world(format!("no address of service {name}")))
    }
}
