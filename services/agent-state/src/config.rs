//! What can be set.

use serde::Deserialize;
use trunkline_domain::agent_state::FEATURE_LEVEL;
use trunkline_runtime::config::within;
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
    /// The site this voter runs at, for those who ask whether the voters outlive the loss of any one site. Empty to say nothing.
    pub site: String,
    /// How often a leader says that it is there, in ms.
    pub heartbeat_ms: u64,
    /// How long a voter hears no heartbeat before it misses its leader, in ms.
    pub election_ms: u64,
    /// How much longer one may wait before it stands for election, in ms: chance, drawn each time.
    pub election_window_ms: u64,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot.
    pub log_keep: u64,
    /// A segment of the write-ahead log ends behind this many bytes.
    pub wal_segment_bytes: u64,
    /// After so many records of one cell the leader begins a new epoch of its lane in the agents log: so far back, about, the
    /// next leader has to look for what was published last.
    pub lane_epoch_every: u64,
    /// How long a command may wait for a quorum, in ms.
    pub propose_timeout_ms: u64,
    /// How far this replica's clock may be ahead of the other voters', in ms; further ahead it does not lead. At least what
    /// a question may take, at most the longest lease.
    pub clock_skew_ms_max: u64,
    /// The newest rules this voter takes part in, as a feature level: below the newest it knows, the group stays where a
    /// program of the version before can still follow. What holds already holds.
    pub feature_level_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: "trunkline".to_owned(),
            advertise: String::new(),
            peers: Vec::new(),
            site: String::new(),
            heartbeat_ms: 150,
            election_ms: 500,
            election_window_ms: 200,
            snapshot_every: 20_000,
            log_keep: 20_000,
            wal_segment_bytes: 64 << 20,
            lane_epoch_every: 50_000,
            propose_timeout_ms: 3_000,
            clock_skew_ms_max: 5_000,
            feature_level_max: FEATURE_LEVEL,
        }
    }
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// One sentence that begins with the wrong setting.
    pub fn check(&self) -> Result<(), String> {
        if self.cluster.is_empty() {
            return Err("cluster: must not be empty".to_owned());
        }
        if let Some(problem) = self.peers.iter().find_map(|it| address_error(it)) {
            return Err(format!("peers: {problem}"));
        }
        if let Some(problem) = (!self.advertise.is_empty()).then(|| address_error(&self.advertise)).flatten()
        {
            return Err(format!("advertise: {problem}"));
        }
        if !self.peers.is_empty() && !self.peers.contains(&self.advertise) {
            return Err("peers: must contain this replica's own address, agent_state.advertise".to_owned());
        }
        within("heartbeat_ms", self.heartbeat_ms, 1..=60_000)?;
        within("election_ms", self.election_ms, 3..=600_000)?;
        within("election_window_ms", self.election_window_ms, 1..=60_000)?;
        if self.election_ms < 3 * self.heartbeat_ms {
            let (key, bound) = match self.election_ms == Self::default().election_ms {
                true => ("heartbeat_ms", "at most a third of agent_state.election_ms, which is"),
                false => ("election_ms", "at least three times agent_state.heartbeat_ms, which is"),
            };
            let other = if key == "heartbeat_ms" { self.election_ms } else { self.heartbeat_ms };
            return Err(format!("{key}: expected {bound} {other}"));
        }
        within("snapshot_every", self.snapshot_every, 1..=1_000_000_000)?;
        within("log_keep", self.log_keep, 0..=1_000_000_000)?;
        within("wal_segment_bytes", self.wal_segment_bytes, 4_096..=1 << 40)?;
        within("lane_epoch_every", self.lane_epoch_every, 1..=1_000_000_000)?;
        within("propose_timeout_ms", self.propose_timeout_ms, 1..=60_000)?;
        within("clock_skew_ms_max", self.clock_skew_ms_max, 500..=300_000)?;
        within("feature_level_max", self.feature_level_max, 0..=FEATURE_LEVEL)
    }

    /// The other voters that form the cluster.
    pub fn others(&self) -> impl Iterator<Item = &String> {
        self.peers.iter().filter(|peer| **peer != self.advertise)
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
        for (wrong, begins) in [
            (Config { heartbeat_ms: 0, ..Config::default() }, "heartbeat_ms: expected 1 to"),
            (Config { heartbeat_ms: u64::MAX, ..Config::default() }, "heartbeat_ms: expected 1 to"),
            (Config { heartbeat_ms: 300, ..Config::default() }, "heartbeat_ms: expected at most a third"),
            (Config { election_ms: 300, ..Config::default() }, "election_ms: expected at least three times"),
            (Config { election_window_ms: 0, ..Config::default() }, "election_window_ms: expected 1 to"),
            (Config { wal_segment_bytes: 1, ..Config::default() }, "wal_segment_bytes: expected 4096 to"),
            (
                Config { feature_level_max: FEATURE_LEVEL + 1, ..Config::default() },
                "feature_level_max: expected 0 to",
            ),
            (Config { clock_skew_ms_max: 0, ..Config::default() }, "clock_skew_ms_max: expected 500 to"),
            (Config { peers: vec!["a:1".to_owned()], ..Config::default() }, "peers: must contain"),
            (Config { peers: vec!["nonsense".to_owned()], ..Config::default() }, "peers: `nonsense`"),
            (Config { advertise: "nonsense".to_owned(), ..Config::default() }, "advertise: `nonsense`"),
        ] {
            let sentence = wrong.check().unwrap_err();
            assert!(sentence.starts_with(begins), "{sentence}");
        }
    }
}
