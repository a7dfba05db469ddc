//! The one module that knows openraft. Outside, there is a [`Consensus`] that takes commands and tells who leads.
//!
//! Known trouble of openraft and what is done about it is in `docs/adr/0001-openraft-line.md`. What is absent: no replica
//! id is ever configured or reused, no message without a deadline, no election by openraft's own timer.

mod admin;
mod commits;
mod election;
mod identify;
mod line;
mod members;
mod message;
mod network;
mod propose;
mod quorum;
mod receive;
mod server;
mod transfer;
pub mod types;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{BasicNode, ReadPolicy, ServerState, SnapshotPolicy};
use tokio::sync::Mutex;
use trunkline_domain::agent_state::Reply;
use trunkline_domain::vocabulary::Timestamp;
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::shutdown::Shutdown;

pub use self::admin::Admin;
use self::election::{Pulse, Timing};
pub use self::identify::{ANSWER_TIME_MAX, Asker, Identity, Role, Told, identify, majority_of};
pub use self::members::{Added, ChangeError, Member, VOTER_COUNT_MAX};
use self::network::Reach;
pub use self::network::cause;
pub use self::propose::ProposeError;
use self::propose::{Proposer, Turn};
use self::quorum::Quorum;
use self::receive::Receiver;
pub use self::server::Server;
pub use self::transfer::{HandedOver, TakeOverError};
use self::types::{MetricsReceiver, Raft, TypeConfig};
use crate::clocks::Clocks;
use crate::config::Config;
use crate::store::wal::Wal;
use crate::store::{MachineStore, Store};

/// How long a heartbeat may take before it counts as lost.
const HEARTBEAT_TIME_MAX_MS: u64 = 500;

/// Why a replica does not run.
#[derive(Debug, thiserror::Error)]
pub enum ConsensusError {
    /// The timers do not fit each other.
    #[error("raft configuration is wrong")]
    Config(#[from] openraft::ConfigError),
    /// It stopped, or could not start.
    #[error("raft replica failed")]
    Fatal(#[from] openraft::error::Fatal<TypeConfig>),
    /// The cluster could not be formed.
    #[error("could not form the cluster: {0}")]
    Form(String),
}

/// Who leads, as far as this replica knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leader {
    /// This replica, in this term.
    Me {
        /// The term.
        term: u64,
    },
    /// Another one, which answers at this address.
    Other {
        /// The address, as in the membership.
        address: String,
    },
    /// Nobody.
    Nobody,
    /// This replica has stopped for good and must be started again.
    Stopped(String),
}

/// Where a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Who leads.
    pub leader: Leader,
    /// The replica that leads, as far as this one knows.
    pub leader_id: Option<u64>,
    /// What this replica is in the current term.
    pub role: Role,
    /// The current term.
    pub term: u64,
    /// The last index in its log.
    pub last_index: u64,
    /// The last index applied.
    pub applied_index: u64,
    /// Whether this replica leads and too few voters have answered it lately.
    pub deserted: bool,
}

/// As much of a [`Standing`] as is acted upon when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    runs: bool,
    term: u64,
    role: ServerState,
    leader_id: Option<u64>,
    deserted: bool,
    /// Whether it has applied what is in its log, but for so many entries.
    current: bool,
}

/// One running replica. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Consensus {
    raft: Raft,
    cluster: String,
    node_id: u64,
    machine: MachineStore,
    wal: Wal,
    proposer: Proposer,
    clocks: Clocks,
    reach: Reach,
    receiver: Receiver,
    quorum: Quorum,
    pulse: Pulse,
    timing: Timing,
    /// Whether it says that it is there, as the leader.
    speaks: Arc<AtomicBool>,
    /// Held while an entry with commands is under way, and while the leadership is handed over.
    turn: Turn,
    /// Held while the members are changed or the leadership is handed over.
    changing: Arc<Mutex<()>>,
    /// Whether it is about to stop.
    leaving: Arc<AtomicBool>,
    feature_level_max: u32,
    site: String,
}

impl Consensus {
    /// Starts the replica whose data is in `store`. It follows; it leads only once it [campaigns](Consensus::campaign), unless
    /// it is alone.
    ///
    /// # Errors
    /// When the timers do not fit or the replica cannot start.
    pub async fn start(config: &Config, store: Store, clocks: Clocks) -> Result<Self, ConsensusError> {
        let raft_config = openraft::Config {
            cluster_name: config.cluster.clone(),
            // No more than how long a heartbeat may take: they are sent by `election`.
            heartbeat_interval: (config.election_ms - 2).clamp(1, HEARTBEAT_TIME_MAX_MS),
            election_timeout_min: config.election_ms - 1,
            // The lease: so long after it heard of a leader a voter gives no vote.
            election_timeout_max: config.election_ms,
            install_snapshot_timeout: 10_000,
            snapshot_max_chunk_size: 1 << 20,
            max_payload_entries: 64,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
            replication_lag_threshold: config.snapshot_every + config.log_keep,
            max_in_snapshot_log_to_keep: config.log_keep,
            enable_elect: false,
            enable_heartbeat: false,
            // What is in the log goes to the followers at once, while it is being made durable here.
            broadcast_submitted_on_append: Some(true),
            // As often as in 0.9: a voter that comes back is not kept waiting.
            backoff: "200ms 200ms 200ms".to_owned(),
            ..openraft::Config::default()
        };
        let raft_config = Arc::new(raft_config.validate()?);
        let Store { node_id, wal, machine, .. } = store;
        let reach = Reach::default();
        let peers = network::Peers { cluster: config.cluster.clone(), node_id, reach: reach.clone() };
        let raft = Raft::new(node_id, raft_config, peers, wal.clone(), machine.clone()).await?;
        let quorum = Quorum::new(Duration::from_millis(2 * config.election_ms));
        let (turn, changing, leaving) = (Turn::default(), Arc::default(), Arc::default());
        let time_max = Duration::from_millis(config.propose_timeout_ms);
        let proposer = Proposer::start(raft.clone(), quorum.clone(), turn.clone(), time_max);
        let cluster = config.cluster.clone();
        let consensus = Self {
            raft,
            cluster,
            node_id,
            machine,
            wal,
            proposer,
            clocks,
            reach,
            receiver: Receiver::default(),
            quorum,
            pulse: Pulse::new(),
            timing: Timing::of(config),
            speaks: Arc::new(AtomicBool::new(true)),
            turn,
            changing,
            leaving,
            feature_level_max: config.feature_level_max,
            site: config.site.clone(),
        };
        if consensus.alone() {
            // Nobody else can vote: no need to wait for a time-out.
            consensus.raft.trigger().elect(false).await?;
        }
        Ok(consensus)
    }

    /// This replica.
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// The applied state.
    pub fn machine(&self) -> &MachineStore {
        &self.machine
    }

    /// The index of the last entry applied and, when it is wanted, the digest of the state at exactly that index, in
    /// hexadecimal; else an empty text.
    pub async fn applied(&self, hashed: bool) -> (u64, String) {
        let (index, state) = {
            let view = self.machine.view();
            let state = hashed.then(|| view.machine.state().clone());
            (view.last_applied.map_or(0, |log_id| log_id.index), state)
        };
        let Some(state) = state else { return (index, String::new()) };
        // A walk over the whole state, and nothing may wait for it.
        let hash = tokio::task::spawn_blocking(move || state.hash().to_string()).await;
        (index, hash.unwrap_or_default())
    }

    /// Which rules hold in the applied state.
    pub fn feature_level(&self) -> u32 {
        self.machine.view().machine.state().feature_level
    }

    /// The newest rules this replica takes part in.
    pub fn feature_level_max(&self) -> u32 {
        self.feature_level_max
    }

    /// This replica's clock.
    pub fn clocks(&self) -> &Clocks {
        &self.clocks
    }

    /// The time to stamp into a command that is about to be proposed here.
    ///
    /// # Errors
    /// [`ProposeError::Clock`] when this replica must not lead because of its clock; [`ProposeError::NotLeader`] when
    /// somebody else leads instead.
    pub fn stamp(&self) -> Result<Timestamp, ProposeError> {
        self.clocks.stamp().map_err(|error| match self.standing().leader {
            Leader::Other { address } => ProposeError::NotLeader { leader: address },
            Leader::Me { .. } | Leader::Nobody | Leader::Stopped(_) => ProposeError::Clock(error),
        })
    }

    /// Where the other voters answer; `None` while this replica belongs to no cluster.
    pub fn others(&self) -> Option<Vec<String>> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let mut voters = membership.voter_ids().peekable();
        voters.peek()?;
        let others = voters.filter(|id| *id != self.node_id);
        Some(others.filter_map(|id| membership.get_node(&id)).map(|node| node.addr.clone()).collect())
    }

    /// The service the other replicas speak to, whose calls end once it is closing.
    pub fn server(&self, closing: &Shutdown) -> Server {
        Server { consensus: self.clone(), closing: closing.clone() }
    }

    /// The service operators speak to.
    pub fn admin(&self) -> Admin {
        Admin(self.clone())
    }

    /// Proposes a command and waits for what applying it answered.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, command: api::LoggedCommand) -> Result<Reply, ProposeError> {
        self.propose_at(command).await.map(|(_, reply)| reply)
    }

    /// As [`Consensus::propose`], with the index of the command's entry.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose_at(&self, command: api::LoggedCommand) -> Result<(u64, Reply), ProposeError> {
        self.proposer.propose(command).await.map_err(|error| self.as_of_now(error))
    }

    /// A leader that was not heard of for long is none to send anybody to.
    fn as_of_now(&self, error: ProposeError) -> ProposeError {
        match error {
            ProposeError::NotLeader { .. } if self.lost() => {
                ProposeError::NotLeader { leader: String::new() }
            }
            other => other,
        }
    }

    /// Has a command taken along in the next entry, or soon in one of its own; nobody hears what comes of it.
    pub fn take_along(&self, command: api::LoggedCommand) {
        self.proposer.take_along(command);
    }

    /// Returns once the applied state holds everything that was acknowledged before the call.
    ///
    /// # Errors
    /// When this replica does not lead or no quorum confirms that it does.
    pub async fn linearizable(&self) -> Result<(), ProposeError> {
        use openraft::error::{LinearizableReadError, RaftError};
        // The question to the others would make them follow on, also a leader that hears none of their answers.
        self.stamp()?;
        if self.quorum.silent(&self.raft.metrics().borrow_watched()) {
            return Err(ProposeError::NoQuorum);
        }
        match self.raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                let leader = forward.leader_node.map(|node| node.addr).unwrap_or_default();
                Err(self.as_of_now(ProposeError::NotLeader { leader }))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ProposeError::NoQuorum)
            }
            Err(RaftError::Fatal(error)) => Err(ProposeError::Stopped(error.to_string())),
        }
    }

    /// Where this replica stands now.
    pub fn standing(&self) -> Standing {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader_id = metrics.current_leader.filter(|id| *id == self.node_id || !self.lost());
        let leader = match (&metrics.running_state, leader_id) {
            (Err(fatal), _) => Leader::Stopped(fatal.to_string()),
            (Ok(()), Some(id)) if id == self.node_id && metrics.state == ServerState::Leader => {
                Leader::Me { term: metrics.current_term }
            }
            (Ok(()), Some(id)) if id != self.node_id => {
                let node = metrics.membership_config.membership().get_node(&id);
                Leader::Other { address: node.map(|node| node.addr.clone()).unwrap_or_default() }
            }
            (Ok(()), _) => Leader::Nobody,
        };
        let role = match metrics.state {
            ServerState::Leader => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            ServerState::Follower | ServerState::Shutdown => Role::Follower,
        };
        Standing {
            leader,
            leader_id,
            role,
            term: metrics.current_term,
            last_index: metrics.last_log_index.unwrap_or_default(),
            applied_index: metrics.last_applied.map_or(0, |log_id| log_id.index),
            deserted: self.quorum.silent(&metrics),
        }
    }

    /// Where this replica stands now, at a glance; it is current when no more than `lag_max` entries are to be applied.
    pub fn glance(&self, lag_max: u64) -> Glance {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let applied = metrics.last_applied.map_or(0, |log_id| log_id.index);
        Glance {
            runs: metrics.running_state.is_ok(),
            term: metrics.current_term,
            role: metrics.state,
            leader_id: metrics.current_leader,
            deserted: self.quorum.silent(&metrics),
            current: metrics.last_log_index.unwrap_or_default() <= applied + lag_max,
        }
    }

    /// Follows every change of [`Consensus::standing`].
    pub fn watch(&self) -> Changes {
        Changes(self.raft.metrics())
    }

    /// Whether this replica belongs to a formed cluster.
    ///
    /// # Errors
    /// When it has stopped.
    pub async fn formed(&self) -> Result<bool, ConsensusError> {
        Ok(self.raft.is_initialized().await?)
    }

    /// Forms a new cluster of these replicas and addresses. Called once, on one pristine replica.
    ///
    /// # Errors
    /// When it belongs to a cluster already.
    pub async fn form(&self, members: BTreeMap<u64, String>) -> Result<(), ConsensusError> {
        let members: BTreeMap<u64, BasicNode> =
            members.into_iter().map(|(id, address)| (id, BasicNode::new(address))).collect();
        self.raft.initialize(members).await.map_err(|error| ConsensusError::Form(error.to_string()))
    }

    /// Builds a snapshot now.
    pub async fn snapshot(&self) {
        if let Err(error) = self.raft.trigger().snapshot().await {
            tracing::warn!(%error, "could not begin a snapshot");
        }
    }

    /// Stops the replica. What it has acknowledged is durable already.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "raft replica panicked");
        }
    }

    fn alone(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.voter_ids().eq([self.node_id])
    }
}

/// Tells when something about a replica has changed.
pub struct Changes(MetricsReceiver);

impl Changes {
    /// Resolves at the next change, and says whether there can be another. Cancel-safe.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
