//! Agent-state: agents, reservations and leases, replicated by Raft.
//!
//! The rules are `trunkline_domain::agent_state`. Here they get a disk ([`store`]), replicas ([`raft`]), a door for requests
//! ([`door`]), and a leader's duties: time, the outbox, the directory.

pub mod clocks;
mod config;
pub mod door;
mod lead;
mod outbox;
pub mod raft;
mod service;
pub mod store;
mod view;
mod watch;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tonic::service::Routes;
use trunkline_domain::agent_state::clocks::{Verdict, judge};
use trunkline_domain::vocabulary::Millis;
use trunkline_proto::agent_state::v1::agent_state_service_server::AgentStateServiceServer;
use trunkline_runtime::grpc;
use trunkline_runtime::health::Component;
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::names;

use crate::clocks::{Afresh, Clocks};
pub use crate::config::Config;
use crate::lead::Leading;
use crate::raft::{ANSWER_TIME_MAX, Consensus, ConsensusError, Leader, identify};
use crate::service::Service;
use crate::store::{Store, StoreError};

/// Entries a follower may lag behind what it has in its log and still be called ready.
const LAG_MAX: u64 = 1_000;
/// How large the state database is on disk, in bytes, as of the last snapshot.
const STATE_BYTES: &str = "trunkline.agent_state.state.bytes";
/// How long the last snapshot took, in ms.
const SNAPSHOT_MS: &str = "trunkline.agent_state.snapshot.ms";
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
    /// Its disk failed, or it cannot read what the others wrote.
    #[error(transparent)]
    Failed(Arc<StoreError>),
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
/// When its data is damaged beyond repair, its disk or the replica fails. It can be started again.
pub async fn run(
    config: Config,
    listener: TcpListener,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<(), AgentStateError> {
    let clock = platform.clock.clone();
    run_by(config, listener, platform, Arc::new(move || clock.afresh()), shutdown).await
}

/// As [`run`], where `afresh` gives the machine's clock, which voters compare.
///
/// # Errors
/// As of [`run`].
pub async fn run_by(
    config: Config,
    listener: TcpListener,
    platform: Platform,
    afresh: Afresh,
    shutdown: Shutdown,
) -> Result<(), AgentStateError> {
    config.check().map_err(AgentStateError::Config)?;
    let platform = platform.for_service("agent-state");
    let health = Healths {
        clock: platform.health.component("agent-state/clock"),
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
    let failure = store.failure.clone();
    let clocks = Clocks::new(platform.clock.clone(), afresh, Millis(config.clock_skew_ms_max.cast_signed()));
    let consensus = Consensus::start(&config, store, clocks).await?;
    tracing::info!(node_id = consensus.node_id(), address = config.advertise, "agent-state replica runs");

    let service = Service {
        consensus: consensus.clone(),
        mint: platform.mint.clone(),
        telemetry: platform.telemetry.clone(),
        cell_count: platform.log.cell_count(),
        shutdown: shutdown.clone(),
    };
    let service = AgentStateServiceServer::new(service);
    let closing = Shutdown::new();
    let routes = Routes::new(service)
        .add_service(consensus.server(&closing).into_service())
        .add_service(consensus.admin().into_service());
    let ended = tokio::select! {
        biased;
        served = grpc::serve(listener, routes, &platform.health, &closing) => served.map_err(Into::into),
        error = failure.failed() => Err(AgentStateError::Failed(error)),
        ended = watch(&config, &consensus, &platform, &health) => ended,
        ended = form(&config, &consensus) => ended,
        never = clocks::keep(&config, &consensus, &health.clock) => match never {},
        never = consensus.campaign() => match never {},
        never = leave(&consensus, &shutdown, &closing) => match never {},
    };
    // Connections outlive their server for as long as a call on them does, and hold on to the data.
    closing.begin();
    consensus.stop().await;
    // openraft may be heard first of what it was told second.
    match (ended, failure.seen()) {
        (Err(AgentStateError::Stopped(_)), Some(error)) => Err(AgentStateError::Failed(error)),
        (ended, _) => ended,
    }
}

struct Healths {
    clock: Component,
    raft: Component,
    outbox: Component,
}

/// Forms the cluster if it is new; never ends but with an error.
///
/// Ids are minted by each replica, so the first of the configured voters asks the others for theirs. It forms the cluster
/// only when none of them belongs to one: a replica that lost its disk must not found a second cluster. And only with a clock
/// that is not ahead of theirs: who forms it leads it.
async fn form(config: &Config, consensus: &Consensus) -> Result<(), AgentStateError> {
    if !consensus.formed().await? && config.rank() == 0 {
        let (others, clocks) = (config.others().collect::<Vec<_>>(), consensus.clocks());
        let skew_max = Millis(config.clock_skew_ms_max.cast_signed());
        let members = loop {
            let mut members = BTreeMap::from([(consensus.node_id(), config.advertise.clone())]);
            let mut offsets = Vec::new();
            for peer in &others {
                let wall = || clocks.wall();
                match identify(&config.cluster, peer, false, ANSWER_TIME_MAX, wall).await {
                    Ok(it) if it.formed => {
                        tracing::error!(
                            peer,
                            "peer belongs to a cluster already; this replica waits to be added to it"
                        );
                        return std::future::pending().await;
                    }
                    Ok(it) => {
                        members.insert(it.node_id, (*peer).clone());
                        offsets.extend(it.told.map(|told| told.offset));
                    }
                    Err(status) => tracing::debug!(peer, reason = status.message(), "waits for a voter"),
                }
            }
            let ahead = matches!(judge(&offsets, others.len() + 1, skew_max), Some(Verdict::Off { .. }));
            if members.len() > others.len() && !ahead {
                break members;
            }
            tokio::time::sleep(PAUSE).await;
        };
        tracing::info!(voters = members.len(), "forms the cluster");
        consensus.form(members).await?;
    }
    std::future::pending().await
}

/// Once shutdown begins, has another voter lead, if this replica does, and only then lets the door close: an orderly stop
/// costs less than an election.
async fn leave(consensus: &Consensus, shutdown: &Shutdown, closing: &Shutdown) -> Infallible {
    shutdown.begun().await;
    if let Err(reason) = consensus.leave().await {
        // The last voter of a cluster that is stopped as a whole cannot; of any other, the rest elects.
        tracing::info!(%reason, "stops as the leader");
    }
    closing.begin();
    std::future::pending().await
}

/// Leads while this replica is the leader, and tells how it stands; never ends but with an error.
async fn watch(
    config: &Config,
    consensus: &Consensus,
    platform: &Platform,
    health: &Healths,
) -> Result<(), AgentStateError> {
    let (mut changes, mut trusted) = (consensus.watch(), consensus.clocks().watch());
    let telemetry = &platform.telemetry;
    // The term this replica leads in, as of the last look, and what it does in it.
    let mut led: Option<Option<u64>> = None;
    let mut duties: Option<Duties> = None;
    loop {
        let permitted = trusted.borrow_and_update().permits();
        let seen = consensus.glance(LAG_MAX);
        let standing = consensus.standing();
        telemetry.gauge(names::RAFT_TERM, &[]).set(standing.term.cast_signed());
        telemetry.gauge(names::RAFT_APPLIED_INDEX, &[]).set(standing.applied_index.cast_signed());
        telemetry.gauge(STATE_BYTES, &[]).set(consensus.machine().state_bytes().cast_signed());
        telemetry.gauge(SNAPSHOT_MS, &[]).set(consensus.machine().snapshot_ms().cast_signed());
        let lag = standing.last_index.saturating_sub(standing.applied_index);
        match &standing.leader {
            Leader::Me { .. } => match &permitted {
                Ok(()) if standing.deserted => health.raft.not_ready("no quorum"),
                Ok(()) => health.raft.ready(),
                Err(why) => health.raft.not_ready(format!("leads no more: {why}")),
            },
            Leader::Other { .. } if lag <= LAG_MAX => health.raft.ready(),
            Leader::Other { .. } => health.raft.not_ready(format!("catching up, {lag} entries behind")),
            Leader::Nobody => health.raft.not_ready("no leader"),
            Leader::Stopped(reason) => {
                health.raft.not_ready("stopped");
                return Err(AgentStateError::Stopped(reason.clone()));
            }
        }
        let term = match standing.leader {
            Leader::Me { term } if permitted.is_ok() => Some(term),
            _ => None,
        };
        telemetry.gauge(names::RAFT_LEADS, &[]).set(i64::from(term.is_some()));
        if led != Some(term) {
            led = Some(term);
            if let Some(duties) = duties.take() {
                duties.end().await;
            }
            match term {
                Some(term) => {
                    let leading = Leading {
                        consensus: consensus.clone(),
                        term,
                        log: platform.log.clone(),
                        mint: platform.mint.clone(),
                        health: health.outbox.clone(),
                        address: config.advertise.clone(),
                        lane_epoch_every: config.lane_epoch_every,
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
            let moved = consensus.clocks().not_before(state.now).max(platform.clock.not_before(state.now));
            if moved > Millis::from_secs(5) {
                tracing::warn!(moved_ms = moved.0, "the clock was behind the time of agent-state");
            }
            let first = state.outbox.first_key_value().map(|(key, _)| key.index);
            let held = state.leases.values().filter(|lease| lease.holding.is_some()).count();
            (first.map_or(0, |first| standing.applied_index.saturating_sub(first) + 1), held)
        };
        telemetry.gauge(names::OUTBOX_LAG, &[]).set(outbox.cast_signed());
        telemetry.gauge(names::LEASES_HELD, &[]).set(leases as i64);
        // Every entry is a change; a look at all of it for each would cost more than the entry.
        let changed = async {
            while consensus.glance(LAG_MAX) == seen {
                // A replica that stops says why before; one that panics says nothing.
                if !changes.changed().await {
                    return Err(AgentStateError::Stopped("its task has panicked".to_owned()));
                }
            }
            Ok(())
        };
        tokio::select! {
            changed = changed => changed?,
            // The sender lives as long as the replica.
            _ = trusted.changed() => {}
            // That nothing is heard of a leader any more is no change of the replica.
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// The leader's duties, which end when this is dropped.
struct Duties(tokio::task::JoinHandle<()>);

impl Duties {
    /// Ends them and waits until they have: nothing they do comes later, and nothing they say of the outbox.
    async fn end(mut self) {
        self.0.abort();
        if let Err(error) = (&mut self.0).await
            && error.is_panic()
        {
            tracing::error!(%error, "a duty of the leader panicked");
        }
    }
}

impl Drop for Duties {
    fn drop(&mut self) {
        self.0.abort();
    }
}
