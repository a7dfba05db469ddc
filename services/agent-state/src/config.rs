//! What can be set.

use serde::Deserialize;
use trunkline_runtime::grpc::address_error;

/// How agent-state runs. The data is under `<data_dir>/agent-state`.
///
/// Not here: how long a reservation may stay unconfirmed ([`trunkline_domain::agent_state::UNCONFIRMED_GRACE`]) and the
/// other rules of the machine. Replicas must agree on them, so they are constants of a version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of the Raft cluster; replicas of another name are strangers.
    pub cluster: String,
    /// Where the other replicas and clients reach this one, as `host:port`; its listener's address when empty.
    pub advertise: String,
    /// Every voter that forms the cluster, this one included, in the same order everywhere. Empty for one voter alone.
    pub peers: Vec<String>,
    /// How often a leader says that it is there, in ms.
    pub heartbeat_ms: u64,
    /// How long the first voter waits for a heartbeat before it stands for election, in ms; each next one waits two
    /// windows longer.
    pub election_ms: u64,
    /// How much of that is chance, in ms.
    pub election_window_ms: u64,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot.
    pub log_keep: u64,
    /// A segment of the write-ahead log ends behind this many bytes.
    pub wal_segment_bytes: u64,
    /// How long a command may wait for a quorum, in ms.
    pub propose_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: "trunkline".to_owned(),
            advertise: String::new(),
            peers: Vec::new(),
            heartbeat_ms: 200,
            election_ms: 1_000,
            election_window_ms: 200,
            snapshot_every: 20_000,
            log_keep: 20_000,
            wal_segment_bytes: 64 << 20,
            propose_timeout_ms: 3_000,
        }
    }
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// One sentence about the first that is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.cluster.is_empty() {
            return Err("agent_state.cluster must not be empty".to_owned());
        }
        let advertised = (!self.advertise.is_empty()).then_some(&self.advertise);
        if let Some(problem) = self.peers.iter().chain(advertised).find_map(|it| address_error(it)) {
            return Err(format!("agent_state: {problem}"));
        }
        if !self.peers.is_empty() && !self.peers.contains(&self.advertise) {
            return Err("agent_state.peers must contain agent_state.advertise".to_owned());
        }
        if self.heartbeat_ms == 0 || self.election_window_ms == 0 {
            return Err("agent_state timers must be above zero".to_owned());
        }
        if self.election_ms < 3 * self.heartbeat_ms {
            return Err("agent_state.election_ms must be at least three heartbeats".to_owned());
        }
        if self.snapshot_every == 0 || self.wal_segment_bytes < 4096 || self.propose_timeout_ms == 0 {
            return Err(
                "agent_state: snapshot_every, wal_segment_bytes (at least 4096) and propose_timeout_ms must be above zero"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The place of this replica among the voters.
    pub fn rank(&self) -> usize {
        self.peers.iter().position(|peer| *peer == self.advertise).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right_and_what_is_wrong_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let wrong = Config { election_ms: 300, ..Config::default() };
        assert!(wrong.check().unwrap_err().contains("election_ms"));
        let wrong = Config { peers: vec!["a:1".to_owned()], ..Config::default() };
        assert!(wrong.check().unwrap_err().contains("advertise"));
        let wrong = Config { peers: vec!["nonsense".to_owned()], ..Config::default() };
        assert!(wrong.check().unwrap_err().contains("nonsense"));
    }
}
