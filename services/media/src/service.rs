//! The service from start to stop.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};
use trunkline_domain::facts::{AgentFact, DirectoryFact};
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{Cell, Millis};
use trunkline_proto::media::v1::media_service_server::MediaServiceServer;
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::error_chain;
use trunkline_runtime::event_log::ReadFrom;
use trunkline_runtime::facts::FactReader;
use trunkline_runtime::grpc;
use trunkline_runtime::lease::{Candidate, Denied, Doubt, LeaseError};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;

use crate::config::MediaConfig;
use crate::contact_task::Letter;
use crate::error::MediaError;
use crate::plane::MediaPlane;
use crate::recovery;
use crate::registrar::Registrar;
use crate::rpc::Commands;
use crate::shell::Node;
use crate::sip::stack::{Stack, StackConfig};

/// How long contacts have to end after the grace period ran out.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The pause after an ownership that could not begin; it doubles with every further one, to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Runs a media node until `shutdown` begins and its contacts have ended.
///
/// `listener` answers gRPC; it is not bound again.
///
/// # Errors
/// When a port, a prompt or a log cannot be used. A lost lease is no error: the node begins again from taking it.
pub async fn run(
    config: MediaConfig,
    listener: std::net::TcpListener,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<(), MediaError> {
    Media::start(config, platform).await?.serve(listener, shutdown).await
}

/// A media node whose SIP port is open; it refuses every call until it is served.
pub struct Media {
    node: Arc<Node>,
    token: CancellationToken,
}

impl Media {
    /// Opens the SIP port and starts the audio threads.
    ///
    /// # Errors
    /// When the configuration is wrong, a named prompt is missing, or the port is taken.
    pub async fn start(config: MediaConfig, platform: Platform) -> Result<Self, MediaError> {
        config.check().map_err(MediaError::Config)?;
        let networks = config.networks().map_err(MediaError::Config)?;
        let (plane, events) = MediaPlane::start(&config.plane)?;
        let token = CancellationToken::new();
        let address = config.sip_listen;
        let stack_config = StackConfig {
            listen: address,
            advertised: config.advertised_ip.map(|ip| SocketAddr::new(ip, address.port())),
            transaction_count_max: config.transaction_count_max,
            connection_count_max: config.connection_count_max,
            trunks: networks,
        };
        let (clock, mint, telemetry) =
            (platform.clock.clone(), platform.mint.clone(), platform.telemetry.clone());
        let (stack, requests) = Stack::start(stack_config, clock, mint, telemetry, token.clone())
            .await
            .map_err(|source| MediaError::Sip { address, source })?;
        info!(address = %stack.local(), "listening for SIP over UDP and TCP");
        let agent_state = AgentStateClient::new(&platform.endpoints.agent_state, platform.mint.clone());
        let mut secret = [0; 32];
        for part in secret.chunks_mut(8) {
            part.copy_from_slice(&platform.mint.random().to_le_bytes());
        }
        let rtp_ip = config.rtp_ip.unwrap_or(stack.local().ip());
        let registrar = Registrar::new(secret);
        let node = Node::new(config, platform, stack, plane, agent_state, rtp_ip, registrar);
        let node = Arc::new(node);
        node.platform.health.component("media").not_ready("has no lease yet");
        tokio::spawn(Arc::clone(&node).dispatch(requests));
        tokio::spawn(Arc::clone(&node).hear(events));
        Ok(Self { node, token })
    }

    /// Where it listens for SIP.
    pub fn sip_address(&self) -> SocketAddr {
        self.node.stack.local()
    }

    /// Serves calls until `shutdown` begins and the contacts have ended, at the latest when the grace period runs out.
    ///
    /// # Errors
    /// When a log cannot be read, the gRPC port not be served, or the lease will never be granted.
    pub async fn serve(self, listener: std::net::TcpListener, shutdown: Shutdown) -> Result<(), MediaError> {
        let Self { node, token } = self;
        let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
        let address = match node.platform.endpoints.media.as_str() {
            "" => address,
            named => named.to_owned(),
        };
        let followers = Shutdown::new();
        follow(&node, &followers).await?;
        let component = node.platform.health.component("media/log");
        followers
            .spawn("media spool", recovery::follow_spool(Arc::clone(&node), component, followers.clone()));
        let routes = Routes::new(MediaServiceServer::new(Commands(Arc::clone(&node))));
        let health = node.platform.health.clone();
        let served = tokio::select! {
            served = grpc::serve(listener, routes, &health, &followers) => served.map_err(MediaError::from),
            owned = own(&node, &address, &shutdown) => owned,
        };
        followers.drained(Duration::from_secs(1)).await;
        token.cancel();
        served
    }
}

/// Catches up with the logs the node follows, and keeps following them.
async fn follow(node: &Arc<Node>, followers: &Shutdown) -> Result<(), MediaError> {
    let log = &node.platform.log;
    let mut directory = FactReader::<DirectoryFact>::open(log, Cell(0), ReadFrom::Start).await?;
    directory
        .fold_to_end(|delivered| {
            let mut fold = node.directory.write().unwrap_or_else(PoisonError::into_inner);
            delivered.outcome.facts.iter().for_each(|fact| fold.fold(fact));
        })
        .await?;
    followers.spawn(
        "media directory fold",
        recovery::follow_directory(Arc::clone(node), directory, followers.clone()),
    );
    for cell in (0..log.cell_count()).map(Cell) {
        let mut agents = FactReader::<AgentFact>::open(log, cell, ReadFrom::Start).await?;
        agents
            .fold_to_end(|delivered| {
                let mut fold = node.phones.write().unwrap_or_else(PoisonError::into_inner);
                delivered.outcome.facts.iter().for_each(|fact| fold.fold(fact));
            })
            .await?;
        let follower = recovery::follow_agents(Arc::clone(node), agents, followers.clone());
        followers.spawn("media agents fold", follower);
    }
    Ok(())
}

/// Owns the lane again and again, until shutdown.
async fn own(node: &Arc<Node>, address: &str, shutdown: &Shutdown) -> Result<(), MediaError> {
    let ready = node.platform.health.component("media");
    let lane = recovery::lane(node);
    let mut why = "has no lease yet".to_owned();
    let mut pause = PAUSE_MIN;
    loop {
        ready.not_ready(why.as_str());
        let ttl = Millis(node.config.lease_ttl_ms);
        let (client, clock) = (&node.agent_state, &node.platform.clock);
        let (resource, holder, doubt) = (lane.as_str(), &node.platform.node_id, Doubt::Lasts);
        let candidate = Candidate { client, clock, resource, holder, address, ttl, doubt };
        let told = |denied: &Denied| ready.not_ready(format!("nobody grants the lease {lane}: {denied}"));
        let lease = match candidate.wait(shutdown, told).await {
            Ok(lease) => lease,
            Err(LeaseError::ShuttingDown { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Contacts of an earlier ownership end now: their facts would be void, their ends are recorded below.
        if let Some(before) = node.previous() {
            before.ended.cancel();
            gone(node, LAST_WORDS).await;
            before.end().await;
        }
        // While it cannot begin, the reason stays.
        if pause == PAUSE_MIN {
            ready.not_ready("drains its spool and fences its lane");
        }
        let begun = tokio::select! {
            biased;
            () = shutdown.begun() => None,
            begun = recovery::begin(node, &lease) => Some(begun),
        };
        let generation = match begun {
            Some(Ok(generation)) => generation,
            None => {
                lease.release().await;
                return Ok(());
            }
            Some(Err(error)) => {
                let error = error_chain(&error);
                warn!(error, "could not begin an ownership; trying again");
                why = format!("cannot begin an ownership: {error}");
                ready.not_ready(why.as_str());
                lease.release().await;
                tokio::select! {
                    biased;
                    () = shutdown.begun() => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(PAUSE_MAX);
                continue;
            }
        };
        pause = PAUSE_MIN;
        node.own(Some(Arc::clone(&generation)));
        ready.ready();
        info!(epoch = %lease.epoch, "this media node takes calls");
        let mut valid = true;
        loop {
            tokio::select! {
                biased;
                () = shutdown.begun() => {
                    drain(node).await;
                    ready.not_ready("shutting down");
                    generation.end().await;
                    lease.release().await;
                    return Ok(());
                }
                () = generation.ended.cancelled() => {
                    warn!("this ownership ended: beginning again");
                    "its facts could not be recorded: begins again".clone_into(&mut why);
                    break;
                }
                // Established audio goes on; new calls are refused until the lease is back.
                () = lease.lost() => {
                    warn!("the lease was lost: no new calls");
                    "lost its lease".clone_into(&mut why);
                    break;
                }
                // Whoever leads agent-state may still renew it: nobody else can own this lane.
                () = generation.tenure.becomes(!valid) => {
                    valid = !valid;
                    if valid {
                        info!("the lease was renewed: new calls are taken again");
                        ready.ready();
                    } else {
                        warn!("nobody renews the lease: no new calls, the others go on");
                        ready.not_ready("nobody renews its lease: no new calls");
                    }
                }
            }
        }
        node.own(None);
    }
}

/// Refuses new calls, lets the others go on for the grace period, then ends them.
async fn drain(node: &Arc<Node>) {
    node.draining.store(true, Ordering::Release);
    gone(node, Duration::from_millis(node.config.drain_ms)).await;
    for contact in node.every_contact() {
        let _ = contact.try_send(Letter::Drain);
    }
    gone(node, LAST_WORDS).await;
    // Releases and BYEs of the last contacts are under way.
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Waits until no contact is left, at most so long.
async fn gone(node: &Node, at_most: Duration) {
    let until = tokio::time::Instant::now() + at_most;
    while node.contact_count() > 0 && tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
