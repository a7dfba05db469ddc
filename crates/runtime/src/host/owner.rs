//! The uniform life of a writer: take the lease, own, and whatever fails, again.
//!
//! ```text
//! ┌─► lease ─► tenure: fence the log, fold the own log to the fence, catch up inputs, run ─┐
//! └──────────────── lease lost · append failed · log failed ◄──────────────────────────────┘
//! ```
//! Nothing survives from one tenure to the next but the logs, so there is one path for every recovery, and shutdown is no
//! special case of it: a tenure is dropped where it stands. What it had acknowledged is durable.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;
use trunkline_domain::vocabulary::{Epoch, Millis, Timestamp};

use crate::agent_state_client::AgentStateClient;
use crate::error_chain;
use crate::lease::{Lease, LeaseError};
use crate::platform::Platform;
use crate::shutdown::Shutdown;
use crate::telemetry::names;

/// The pause after a tenure that failed; it doubles with every one that fails soon, to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is owned, and by whom.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The lease's resource and the lane written, as `routing/0`.
    pub resource: String,
    /// Where the owner answers gRPC, as `host:port`; empty when it serves nothing.
    pub address: String,
    /// How long the lease lasts without renewal.
    pub ttl: Millis,
}

/// What a tenure begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// The fence: of the lease, and of everything written under it.
    pub epoch: Epoch,
    /// When the lease before this one was last renewed; `None` when there was none.
    pub previous_renewed_at: Option<Timestamp>,
}

/// Holds `seat` until shutdown begins: runs `tenure` under each lease, and begins again with a new one whenever it ends
/// or the lease is lost. The lease is given back unless it was lost.
///
/// `not_serving` is told why the seat does not serve, each time that begins; that it serves is for the tenure to say.
/// What a tenure fails with is logged here, once, with its causes.
pub async fn hold<R, E>(
    platform: &Platform,
    seat: &Seat,
    shutdown: &Shutdown,
    not_serving: impl Fn(String),
    mut tenure: impl FnMut(Grant) -> R,
) where
    R: Future<Output = Result<(), E>>,
    E: Error,
{
    let kind = seat.resource.split('/').next().unwrap_or_default();
    let restarts = |reason| {
        platform.telemetry.counter(names::OWNER_RESTARTS, &[("resource", kind), ("reason", reason)]).inc();
    };
    let client = AgentStateClient::new(&platform.endpoints.agent_state, platform.mint.clone());
    let mut pause = PAUSE_MIN;
    loop {
        not_serving(format!("waits for the lease {}", seat.resource));
        let failed = match acquire(platform, &client, seat, shutdown).await {
            Err(LeaseError::ShuttingDown { .. }) => return,
            Err(refused @ LeaseError::Refused { .. }) => {
                restarts("lease refused");
                error_chain(&refused)
            }
            Ok(lease) => {
                let began = Instant::now();
                let grant = Grant { epoch: lease.epoch, previous_renewed_at: lease.previous_renewed_at };
                let ended = tokio::select! {
                    biased;
                    () = shutdown.begun() => None,
                    () = lease.lost() => {
                        restarts("lease lost");
                        continue;
                    }
                    ended = tenure(grant) => Some(ended),
                };
                lease.release().await;
                if began.elapsed() > PAUSE_MAX {
                    pause = PAUSE_MIN;
                }
                match ended {
                    None => return,
                    Some(Ok(())) => {
                        restarts("ended");
                        "it ended by itself".to_owned()
                    }
                    Some(Err(error)) => {
                        restarts("failed");
                        error_chain(&error)
                    }
                }
            }
        };
        tracing::error!(resource = seat.resource, reason = failed, "owner begins again");
        not_serving(format!("the owner of {} failed: {failed}", seat.resource));
        tokio::select! {
            biased;
            () = shutdown.begun() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn acquire(
    platform: &Platform,
    client: &AgentStateClient,
    seat: &Seat,
    shutdown: &Shutdown,
) -> Result<Lease, LeaseError> {
    let Seat { resource, address, ttl } = seat;
    Lease::acquire(client, &platform.clock, resource, &platform.node_id, address, *ttl, shutdown).await
}
