//! Agent-state: agents, reservations and leases, replicated by Raft.
//!
//! The rules are `trunkline_domain::agent_state`. Here they get a disk ([`store`]), replicas ([`raft`]), a door for requests
//! ([`door`]), and a leader's duties: time, the outbox, the directory.

mod config;
pub mod door;
mod lead;
mod outbox;
pub mod raft;
mod service;
pub mod store;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use tonic::service::Routes;
use trunkline_domain::vocabulary::Millis;
use trunkline_proto::agent_state::v1::agent_state_service_server::AgentStateServiceServer;
use trunkline_runtime::grpc;
use trunkline_runtime::health::Component;
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::names;

pub use crate::config::Config;
use crate::lead::Leading;
use crate::raft::{Consensus, ConsensusError, Leader, identify};
use crate::service::Service;
use crate::store::{Store, StoreError};

/// Entries a follower may lag behind what it has in its log and still be called ready.
const LAG_MAX: u64 = 1_000;
/// The pause between attempts to find the other voters.
const PAUSE: Duration = Duration::from_millis(200);

/// Why agent-state ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentStateError {
    /// A value of the configuration is wrong.
    #[error("configuration of agent-state is wrong: {0}")]
    Config(String),
    /// Its data cannot be used.
    #[error("could not open the data of agent-state")]
    Store(#[from] StoreError),
    /// The data could not be opened in the background.
    #[error("could not open the data of agent-state")]
    Open(#[from] tokio::task::JoinError),
    /// The replica failed.
    #[error("agent-state replica failed")]
    Consensus(#[from] ConsensusError),
    /// The replica has stopped for good; only a new start helps.
    #[error("agent-state replica has stopped: {0}")]
    Stopped(String),
    /// Its gRPC server failed.
    #[error("could not serve agent-state")]
    Serve(#[from] grpc::ServeError),
    /// Its socket cannot be asked for its address.
    #[error("could not read the address of agent-state")]
    Address(#[from] std::io::Error),
}

/// Runs one replica until shutdown begins. Its data is under `<data_dir>/agent-state`.
///
/// # Errors
/// When its data is damaged beyond repair, or the replica fails. It can be started again.
pub async fn run(
    config: Config,
    listener: TcpListener,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<(), AgentStateError> {
    config.check().map_err(AgentStateError::Config)?;
    let platform = platform.for_service("agent-state");
    let health = Healths {
        raft: platform.health.component("agent-state/raft"),
        outbox: platform.health.component("agent-state/outbox"),
    };
    let mut config = config;
    if config.advertise.is_empty() {
        config.advertise = listener.local_addr()?.to_string();
    }
    let dir = platform.data_dir.join("agent-state");
    std::fs::create_dir_all(&dir)?;
    let (segment_bytes, minted) = (config.wal_segment_bytes, platform.mint.random());
    let store = tokio::task::spawn_blocking(move || Store::open(&dir, segment_bytes, minted)).await??;
    let consensus = Consensus::start(&config, config.rank(), store).await?;
    tracing::info!(node_id = consensus.node_id(), address = config.advertise, "agent-state replica runs");

    let service = Service {
        consensus: consensus.clone(),
        clock: platform.clock.clone(),
        mint: platform.mint.clone(),
        telemetry: platform.telemetry.clone(),
        cell_count: platform.log.cell_count(),
    };
    let service = AgentStateServiceServer::new(service);
    let routes = Routes::new(service).add_service(consensus.server(&config.cluster).into_service());
    let ended = tokio::select! {
        biased;
        served = grpc::serve(listener, routes, &platform.health, &shutdown) => served.map_err(Into::into),
        ended = watch(&config, &consensus, &platform, &health) => ended,
        ended = form(&config, &consensus) => ended,
    };
    consensus.stop().await;
    ended
}

struct Healths {
    raft: Component,
    outbox: Component,
}

/// Forms the cluster if it is new; never ends but with an error.
///
/// Ids are minted by each replica, so the first of the configured voters asks the others for theirs. It forms the cluster
/// only when none of them belongs to one: a replica that lost its disk must not found a second cluster.
async fn form(config: &Config, consensus: &Consensus) -> Result<(), AgentStateError> {
    if !consensus.formed().await? && config.rank() == 0 {
        let mut members = BTreeMap::from([(consensus.node_id(), config.advertise.clone())]);
        let others: Vec<&String> = config.peers.iter().filter(|peer| **peer != config.advertise).collect();
        while members.len() <= others.len() {
            for peer in &others {
                match identify(&config.cluster, peer).await {
                    Ok((_, true)) => {
                        tracing::error!(
                            peer,
                            "peer belongs to a cluster already; this replica waits to be added to it"
                        );
                        return std::future::pending().await;
                    }
                    Ok((id, false)) => drop(members.insert(id, (*peer).clone())),
                    Err(status) => tracing::debug!(peer, reason = status.message(), "waits for a voter"),
                }
            }
            tokio::time::sleep(if members.len() > others.len() { Duration::ZERO } else { PAUSE }).await;
        }
        tracing::info!(voters = members.len(), "forms the cluster");
        consensus.form(members).await?;
    }
    std::future::pending().await
}

/// Leads while this replica is the leader, and tells how it stands; never ends but with an error.
async fn watch(
    config: &Config,
    consensus: &Consensus,
    platform: &Platform,
    health: &Healths,
) -> Result<(), AgentStateError> {
    let mut changes = consensus.watch();
    let telemetry = &platform.telemetry;
    // The term this replica leads in, as of the last look, and what it does in it.
    let mut led: Option<Option<u64>> = None;
    let mut duties: Option<Duties> = None;
    loop {
        let standing = consensus.standing();
        telemetry.gauge(names::RAFT_TERM, &[]).set(standing.term.cast_signed());
        telemetry.gauge(names::RAFT_APPLIED_INDEX, &[]).set(standing.applied_index.cast_signed());
        let lag = standing.last_index.saturating_sub(standing.applied_index);
        match &standing.leader {
            Leader::Me { .. } => health.raft.ready(),
            Leader::Other { .. } if lag <= LAG_MAX => health.raft.ready(),
            Leader::Other { .. } => health.raft.not_ready(format!("catching up, {lag} entries behind")),
            Leader::Nobody => health.raft.not_ready("no leader"),
            Leader::Stopped(reason) => {
                health.raft.not_ready("stopped");
                return Err(AgentStateError::Stopped(reason.clone()));
            }
        }
        let term = match standing.leader {
            Leader::Me { term } => Some(term),
            _ => None,
        };
        telemetry.gauge(names::RAFT_LEADS, &[]).set(i64::from(term.is_some()));
        if led != Some(term) {
            led = Some(term);
            drop(duties.take());
            match term {
                Some(term) => {
                    let leading = Leading {
                        consensus: consensus.clone(),
                        term,
                        log: platform.log.clone(),
                        clock: platform.clock.clone(),
                        mint: platform.mint.clone(),
                        health: health.outbox.clone(),
                        address: config.advertise.clone(),
                    };
                    duties = Some(Duties(tokio::spawn(leading.run())));
                }
                // The leader publishes; a follower has nothing to.
                None => health.outbox.ready(),
            }
        }
        let (outbox, leases) = {
            let view = consensus.machine().view();
            let state = view.machine.state();
            // Commands proposed here must not seem older than what was applied.
            let moved = platform.clock.not_before(state.now);
            if moved > Millis::from_secs(5) {
                tracing::warn!(moved_ms = moved.0, "the clock was behind the time of agent-state");
            }
            let first = state.outbox.first_key_value().map(|(key, _)| key.index);
            let held = state.leases.values().filter(|lease| lease.holding.is_some()).count();
            (first.map_or(0, |first| standing.applied_index.saturating_sub(first) + 1), held)
        };
        telemetry.gauge(names::OUTBOX_LAG, &[]).set(outbox.cast_signed());
        telemetry.gauge(names::LEASES_HELD, &[]).set(leases as i64);
        changes.changed().await;
    }
}

/// The leader's duties, which end when this is dropped.
struct Duties(tokio::task::JoinHandle<()>);

impl Drop for Duties {
    fn drop(&mut self) {
        self.0.abort();
    }
}
