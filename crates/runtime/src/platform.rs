//! What every service is given.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use trunkline_domain::vocabulary::{IdError, NodeId};

use crate::clock::Clock;
use crate::event_log::SharedLog;
use crate::health::Health;
use crate::mint::Mint;
use crate::telemetry::Telemetry;

/// The name of the file that keeps the node's identity, under the data directory.
const NODE_ID_FILE: &str = "node_id";

/// The process around a service.
#[derive(Clone)]
pub struct Platform {
    /// The cluster's logs.
    pub log: SharedLog,
    /// The only reader of time.
    pub clock: Clock,
    /// The only source of chance and of new ids.
    pub mint: Mint,
    /// Spans and metrics; each service takes its own by [`Platform::for_service`].
    pub telemetry: Telemetry,
    /// Of the process. A service keeps its files under `data_dir.join("<service>")`.
    pub data_dir: PathBuf,
    /// Who this process is for leases.
    pub node_id: NodeId,
    /// What the process says of itself.
    pub health: Health,
    /// Where the services answer.
    pub endpoints: Endpoints,
}

/// Where the services answer gRPC, as `host:port`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Every voter of agent-state.
    pub agent_state: Vec<String>,
    /// Directory.
    pub directory: String,
    /// Every owner and standby of routing.
    pub routing: Vec<String>,
    /// Reporting.
    pub reporting: String,
    /// Billing.
    pub billing: String,
    /// The media node of this process; the others are found in the agents log.
    pub media: String,
}

impl Platform {
    /// The same process with spans under the service's own name.
    pub fn for_service(&self, name: &'static str) -> Self {
        Self { telemetry: self.telemetry.for_service(name), ..self.clone() }
    }
}

/// Why the node has no identity.
#[derive(Debug, thiserror::Error)]
pub enum NodeIdError {
    /// The file could not be read or written.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{} does not hold a node id", path.display())]
    NotAnId {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: IdError,
    },
}

/// The identity of the node whose data is in `data_dir`: read from the file `node_id`, or minted and written there,
/// durable before it is returned. The directory is made when it is missing.
///
/// # Errors
/// When the file cannot be read or written, or holds something else. A damaged identity is never replaced: facts and
/// leases are under the old one.
pub fn node_id(data_dir: &Path, mint: &Mint) -> Result<NodeId, NodeIdError> {
    let path = data_dir.join(NODE_ID_FILE);
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| NodeIdError::Io { action, path, source }
    };
    match fs::read_to_string(&path) {
        Ok(text) => {
            NodeId::parse(text.trim()).map_err(|source| NodeIdError::NotAnId { path: path.clone(), source })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let node = mint.node();
            fs::create_dir_all(data_dir).map_err(failed("make", data_dir))?;
            let partial = data_dir.join(format!("{NODE_ID_FILE}.partial"));
            let write = || {
                let mut file = fs::File::create(&partial)?;
                writeln!(file, "{node}")?;
                file.sync_all()?;
                fs::rename(&partial, &path)?;
                fs::File::open(data_dir)?.sync_all()
            };
            write().map_err(failed("write", &path))?;
            Ok(node)
        }
        Err(error) => Err(failed("read", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_identity_and_a_damaged_one_is_not_replaced() {
        let data = tempfile::tempdir().unwrap();
        let below = data.path().join("a/b");
        let first = node_id(&below, &Mint::seeded(1)).unwrap();
        assert_eq!(node_id(&below, &Mint::seeded(2)).unwrap(), first);
        fs::write(below.join(NODE_ID_FILE), "garbage\n").unwrap();
        let refused = node_id(&below, &Mint::seeded(3)).unwrap_err();
        assert!(refused.to_string().ends_with("node_id does not hold a node id"), "{refused}");
        assert_eq!(fs::read_to_string(below.join(NODE_ID_FILE)).unwrap(), "garbage\n");
    }
}
