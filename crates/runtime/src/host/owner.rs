//! The uniform life of a writer: stand by, take the lease, own, and whatever fails, again.
//!
//! ```text
//! ┌─► begin a standby: fold to the ends ─► fold on, ask for the lease ─► tenure: fence the log, catch up, run ─┐
//! └──────────────────── fold failed · lease lost · append failed · log failed ◄────────────────────────────────┘
//! ```
//! Nothing survives from one tenure to the next but the logs, so there is one path for every recovery, and shutdown is no
//! special case of it: a tenure is dropped where it stands. What it had acknowledged is durable.
//!
//! The lease is not asked for before the standby has folded the logs. So a process that begins again cannot take it, by
//! the name it had before, from under a standby that is ready, and then keep everybody waiting while it folds.

use std::convert::Infallible;
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;
use trunkline_domain::vocabulary::{Epoch, Millis, NodeId, Timestamp};

use crate::agent_state_client::AgentStateClient;
use crate::error_chain;
use crate::lease::{Candidate, Denied, Doubt, Lease, LeaseError, Tenure};
use crate::platform::Platform;
use crate::shutdown::Shutdown;
use crate::telemetry::names;

/// The pause after a failure; it doubles with every one that follows soon, to [`PAUSE_MAX`].
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
#[derive(Clone)]
pub struct Grant {
    /// The fence: of the lease, and of everything written under it.
    pub epoch: Epoch,
    /// When the lease before this one was last renewed; `None` when there was none.
    pub previous_renewed_at: Option<Timestamp>,
    /// Whether it still stands.
    pub tenure: Tenure,
    /// The client that was given the lease: it knows who leads agent-state.
    pub client: AgentStateClient,
}

/// What is folded while the lease is somebody else's, so that a tenure need not begin with nothing.
pub trait Standby: Send {
    /// Why it cannot fold on.
    type Error: Error;

    /// Folds the next record, when there is one. Cancel-safe: what was read was folded.
    ///
    /// # Errors
    /// When the standby cannot go on. Another one is begun.
    fn step(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The standby of an owner that folds everything when its tenure begins.
#[derive(Debug)]
pub struct Cold;

impl Cold {
    /// Begins it.
    ///
    /// # Errors
    /// Never.
    pub async fn begin() -> Result<Self, Infallible> {
        Ok(Self)
    }
}

impl Standby for Cold {
    type Error = Infallible;

    fn step(&mut self) -> impl Future<Output = Result<(), Infallible>> + Send {
        std::future::pending()
    }
}

/// Why a seat does not serve. Its `Display` is a phrase for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idle {
    /// It could not own now, and why not.
    NotReady(String),
    /// It could own at any moment, and another node does.
    OwnedElsewhere {
        /// What is owned.
        resource: String,
        /// Who owns it, when agent-state said so.
        owner: Option<NodeId>,
    },
}

impl std::fmt::Display for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady(reason) => f.write_str(reason),
            Self::OwnedElsewhere { resource, owner: Some(owner) } => write!(f, "{owner} has {resource}"),
            Self::OwnedElsewhere { resource, owner: None } => write!(f, "another node has {resource}"),
        }
    }
}

/// Holds `seat` until shutdown begins: begins a standby and keeps it folded until the lease is granted, runs `tenure` under
/// each lease, and begins again with a new one whenever it ends or the lease is lost. The lease is given back unless it
/// was lost.
///
/// `stand_by` folds the logs to where they end. `idle` is told why the seat does not serve, also when it was told so
/// before; that it serves is for the tenure to say. What a tenure or a standby fails with is logged here, once, with its causes; a standby
/// that keeps failing is logged when it begins to.
pub async fn hold<S, B, R, E>(
    platform: &Platform,
    seat: &Seat,
    shutdown: &Shutdown,
    idle: impl Fn(Idle),
    mut stand_by: impl FnMut() -> B,
    mut tenure: impl FnMut(Grant, S) -> R,
) where
    S: Standby,
    B: Future<Output = Result<S, S::Error>>,
    R: Future<Output = Result<(), E>>,
    E: Error,
{
    let client = AgentStateClient::new(&platform.endpoints.agent_state, platform.mint.clone());
    let holder = Holder { platform, client: &client, seat, shutdown, idle: &idle };
    let (mut failing, mut after_standby, mut after_tenure) = (false, Pause::new(), Pause::new());
    loop {
        if !failing {
            idle(Idle::NotReady(format!("folds the logs of {}", seat.resource)));
        }
        let begun = tokio::select! {
            biased;
            () = shutdown.begun() => return,
            begun = stand_by() => begun,
        };
        let waited = match begun {
            Ok(standby) => {
                if std::mem::take(&mut failing) {
                    tracing::info!(resource = seat.resource, "standby folds the logs again");
                }
                let began = Instant::now();
                let waited = holder.wait(standby).await;
                after_standby.forget_after(began.elapsed());
                waited
            }
            Err(error) => Waited::FoldFailed(error),
        };
        let reason = match waited {
            Waited::ShuttingDown => return,
            Waited::Refused(reason) => reason,
            Waited::FoldFailed(error) => {
                holder.fold_failed(&error, std::mem::replace(&mut failing, true));
                if after_standby.over(shutdown).await {
                    return;
                }
                continue;
            }
            Waited::Granted(lease, standby) => {
                let began = Instant::now();
                let ended = holder.own(lease, standby, &mut tenure).await;
                after_tenure.forget_after(began.elapsed());
                match ended {
                    Ended::ShuttingDown => return,
                    Ended::LeaseLost => continue,
                    Ended::Failed(reason) => reason,
                }
            }
        };
        tracing::error!(resource = seat.resource, reason, "owner begins again");
        idle(Idle::NotReady(format!("the owner of {} failed: {reason}", seat.resource)));
        if after_tenure.over(shutdown).await {
            return;
        }
    }
}

/// Who holds a seat, and what it is told by.
struct Holder<'a, I> {
    platform: &'a Platform,
    client: &'a AgentStateClient,
    seat: &'a Seat,
    shutdown: &'a Shutdown,
    idle: &'a I,
}

/// What came of standing by.
#[allow(clippy::large_enum_variant, reason = "passed on once")]
enum Waited<S: Standby> {
    Granted(Lease, S),
    FoldFailed(S::Error),
    Refused(String),
    ShuttingDown,
}

/// What ended a tenure.
enum Ended {
    ShuttingDown,
    LeaseLost,
    Failed(String),
}

impl<I: Fn(Idle)> Holder<'_, I> {
    /// Asks for the lease, and folds on meanwhile.
    async fn wait<S: Standby>(&self, mut standby: S) -> Waited<S> {
        let Seat { resource, address, ttl } = self.seat;
        let Platform { clock, node_id: holder, .. } = self.platform;
        (self.idle)(Idle::NotReady(format!("waits for the lease {resource}")));
        let candidate = Candidate {
            client: self.client,
            clock,
            resource,
            holder,
            address,
            ttl: *ttl,
            doubt: Doubt::Ends,
        };
        let mut asking = pin!(candidate.wait(self.shutdown, |denied| (self.idle)(self.idle_because(denied))));
        loop {
            tokio::select! {
                biased;
                answer = &mut asking => return match answer {
                    Ok(lease) => Waited::Granted(lease, standby),
                    Err(LeaseError::ShuttingDown { .. }) => Waited::ShuttingDown,
                    Err(refused @ LeaseError::Refused { .. }) => {
                        self.restarts("lease refused");
                        Waited::Refused(error_chain(&refused))
                    }
                },
                stepped = standby.step() => if let Err(error) = stepped {
                    return Waited::FoldFailed(error);
                },
            }
        }
    }

    fn idle_because(&self, denied: &Denied) -> Idle {
        let resource = self.seat.resource.clone();
        match denied {
            // Of an earlier life of this process: nobody serves.
            Denied::Held { holder: Some(holder), .. } if *holder == self.platform.node_id => {
                Idle::NotReady(format!("waits for its own lease {resource} to lapse"))
            }
            Denied::Held { holder, .. } => Idle::OwnedElsewhere { resource, owner: holder.clone() },
            Denied::Ahead { .. } | Denied::Unanswered(_) | Denied::Never(_) => {
                Idle::NotReady(format!("nobody grants the lease {resource}: {denied}"))
            }
        }
    }

    /// Says so; in the log only when it has just begun to fail.
    fn fold_failed(&self, error: &impl Error, failing: bool) {
        let (resource, reason) = (&self.seat.resource, error_chain(error));
        self.restarts("standby failed");
        if !failing {
            tracing::error!(resource, reason, "standby begins again");
        }
        (self.idle)(Idle::NotReady(format!("cannot fold the logs of {resource}: {reason}")));
    }

    /// Runs a tenure under a lease, and gives the lease back unless it was lost.
    async fn own<S, R, E>(&self, lease: Lease, standby: S, tenure: impl FnOnce(Grant, S) -> R) -> Ended
    where
        R: Future<Output = Result<(), E>>,
        E: Error,
    {
        let grant = Grant {
            epoch: lease.epoch,
            previous_renewed_at: lease.previous_renewed_at,
            tenure: lease.tenure(),
            client: self.client.clone(),
        };
        let ended = tokio::select! {
            biased;
            () = self.shutdown.begun() => Ended::ShuttingDown,
            // Before the tenure: whoever wakes up late must not take another step.
            () = lease.lost() => {
                self.restarts("lease lost");
                return Ended::LeaseLost;
            }
            ended = tenure(grant, standby) => match ended {
                Ok(()) => {
                    self.restarts("ended");
                    Ended::Failed("it ended by itself".to_owned())
                }
                Err(error) => {
                    self.restarts("failed");
                    Ended::Failed(error_chain(&error))
                }
            },
        };
        lease.release().await;
        ended
    }

    fn restarts(&self, reason: &'static str) {
        let kind = self.seat.resource.split('/').next().unwrap_or_default();
        let labels = [("resource", kind), ("reason", reason)];
        self.platform.telemetry.counter(names::OWNER_RESTARTS, &labels).inc();
    }
}

/// The pause after the next failure.
struct Pause(Duration);

impl Pause {
    fn new() -> Self {
        Self(PAUSE_MIN)
    }

    /// Something went well for so long: the next failure is the first one again, if that was long enough.
    fn forget_after(&mut self, well: Duration) {
        if well > PAUSE_MAX {
            *self = Self::new();
        }
    }

    /// Waits, and longer the next time; says whether shutdown has begun.
    async fn over(&mut self, shutdown: &Shutdown) -> bool {
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE_MAX);
        tokio::select! {
            biased;
            () = shutdown.begun() => true,
            () = tokio::time::sleep(pause) => false,
        }
    }
}
