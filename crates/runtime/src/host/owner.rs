//! The uniform life of a writer: take the lease, fence the log, fold up to the fence, run; whatever fails, again.
//!
//! ```text
//! ┌─► lease ─► fence ─► tenure: fold own log, catch up inputs, run ─┐
//! └──────── lease lost · append failed · log failed ◄───────────────┘
//! ```
//! Nothing survives from one tenure to the next but the logs, so there is one path for every recovery.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use trunkline_domain::facts::Delivered;
use trunkline_domain::vocabulary::{Cell, Millis, Position};
use trunkline_proto::convert::WireFact;

use super::sources::Mark;
use crate::agent_state_client::AgentStateClient;
use crate::event_log::{LogError, ReadFrom, SharedLog};
use crate::facts::{FactReader, FactWriter};
use crate::health::Component;
use crate::lease::{Lease, LeaseError};
use crate::platform::Platform;
use crate::shutdown::Shutdown;
use crate::telemetry::names;

/// The pause after the first tenure that failed; it doubles with every one that never turned ready.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What is owned, and by whom.
#[derive(Debug, Clone)]
pub struct Seat {
    /// The lease's resource and the lane written, as `routing/0`.
    pub resource: String,
    /// The partition written.
    pub cell: Cell,
    /// Where the owner answers gRPC, as `host:port`; empty when it serves nothing.
    pub address: String,
    /// How long the lease lasts without renewal.
    pub ttl: Millis,
}

/// One time of ownership: from a lease to its loss.
pub struct Tenure<F> {
    /// The lease; its epoch is the writer's.
    pub lease: Arc<Lease>,
    /// Writes the own log; its fence record is durable.
    pub writer: FactWriter<F>,
    /// Where that fence record stands.
    pub fence: Position,
    log: SharedLog,
    cell: Cell,
    component: Component,
}

impl<F: WireFact> Tenure<F> {
    /// Folds the own log up to the fence, from the start or from behind what a snapshot holds. Nothing may be decided
    /// before. The reader returned stands at the fence.
    ///
    /// # Errors
    /// [`LogError::Fenced`] when a newer owner stands before the fence, and whatever reading says.
    pub async fn fold_own(
        &self,
        from: Option<Mark>,
        fold: impl FnMut(Delivered<F>),
    ) -> Result<FactReader<F>, LogError> {
        let mut own = match from {
            Some(mark) => FactReader::open_at(&self.log, self.cell, mark.position, mark.fence).await?,
            None => FactReader::open(&self.log, self.cell, ReadFrom::Start).await?,
        };
        own.catch_up(&self.writer, self.fence, fold).await?;
        Ok(own)
    }

    /// The owner has caught up and serves.
    pub fn ready(&self) {
        self.component.ready();
    }

    /// What the owner says of itself, for a tenure that gives its parts away.
    pub fn component(&self) -> Component {
        self.component.clone()
    }
}

/// Holds `seat` until shutdown begins: runs `tenure` under a lease, and begins again with a new epoch whenever it fails
/// or the lease is lost. A tenure whose lease is lost is dropped where it stands.
///
/// A tenure ends with `Ok` once it saw shutdown begin and has finished what it had begun; then the lease is given back.
/// What it fails with is logged here, once.
///
/// # Errors
/// When agent-state finds the request for the lease itself wrong.
pub async fn hold<F, T, R, E>(
    platform: &Platform,
    client: &AgentStateClient,
    seat: &Seat,
    component: Component,
    shutdown: &Shutdown,
    mut tenure: T,
) -> Result<(), LeaseError>
where
    F: WireFact,
    T: FnMut(Tenure<F>) -> R,
    R: Future<Output = Result<(), E>>,
    E: Error,
{
    let kind = seat.resource.split('/').next().unwrap_or_default();
    let restarts = |reason| {
        platform.telemetry.counter(names::OWNER_RESTARTS, &[("resource", kind), ("reason", reason)]).inc();
    };
    let mut pause = PAUSE_MIN;
    loop {
        component.not_ready(format!("waits for lease {}", seat.resource));
        let acquired = Lease::acquire(
            client,
            &platform.clock,
            &seat.resource,
            &platform.node_id,
            &seat.address,
            seat.ttl,
            shutdown,
        );
        let lease = match acquired.await {
            Ok(lease) => Arc::new(lease),
            Err(LeaseError::ShuttingDown { .. }) => return Ok(()),
            Err(refused @ LeaseError::Refused { .. }) => return Err(refused),
        };
        component.not_ready(format!("catches up as owner of {}", seat.resource));
        let run = async {
            let opened = FactWriter::open(&platform.log, seat.cell, &seat.resource, lease.epoch).await;
            let (writer, fence) = opened.map_err(|error| chain(&error))?;
            tenure(Tenure {
                lease: Arc::clone(&lease),
                writer,
                fence,
                log: platform.log.clone(),
                cell: seat.cell,
                component: component.clone(),
            })
            .await
            .map_err(|error| chain(&error))
        };
        let ended = tokio::select! {
            biased;
            () = lease.lost() => None,
            ended = run => Some(ended),
        };
        match ended {
            None => {
                tracing::warn!(resource = seat.resource, "owner begins again: its lease was lost");
                restarts("lease lost");
                pause = PAUSE_MIN;
                continue;
            }
            Some(Ok(())) if shutdown.is_begun() => {
                component.not_ready("has ended");
                if let Some(lease) = Arc::into_inner(lease) {
                    lease.release().await;
                }
                return Ok(());
            }
            Some(Ok(())) => restarts("ended"),
            Some(Err(reason)) => {
                tracing::error!(resource = seat.resource, reason, "owner begins again: it failed");
                component.not_ready(format!("owner of {} failed: {reason}", seat.resource));
                restarts("failed");
            }
        }
        tokio::select! {
            biased;
            () = shutdown.begun() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
