//! Keeps a lease, and says at once when it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tonic::{Code, Status};
use trunkline_domain::vocabulary::{Epoch, Millis, NodeId, Timestamp};
use trunkline_proto::agent_state::v1::{AcquireLeaseRequest, ReleaseLeaseRequest, RenewLeaseRequest};

use crate::agent_state_client::AgentStateClient;
use crate::clock::Clock;
use crate::shutdown::Shutdown;

/// How long a lease lasts without renewal, unless said otherwise.
pub const TTL_DEFAULT: Millis = Millis(3_000);

/// The ownership of a resource, renewed in the background every third of its time to live until dropped or lost.
pub struct Lease {
    /// What, as `routing/0`.
    pub resource: String,
    /// The fence: the Raft index of the grant.
    pub epoch: Epoch,
    /// When the lease before this one was last renewed; `None` when there was none.
    pub previous_renewed_at: Option<Timestamp>,
    holder: NodeId,
    client: AgentStateClient,
    state: watch::Receiver<State>,
    /// Ends the renewals when dropped.
    renewals: Arc<Renewals>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held { until: Timestamp },
    Lost,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The process is ending.
    #[error("lease {resource} was not taken: shutdown has begun")]
    ShuttingDown {
        /// What.
        resource: String,
    },
    /// The request is one that agent-state will never grant.
    #[error("could not take lease {resource}")]
    Refused {
        /// What.
        resource: String,
        /// What agent-state said.
        #[source]
        source: Box<Status>,
    },
}

impl Lease {
    /// Takes the ownership of `resource`; waits while somebody else has it or agent-state cannot be reached.
    /// `address` is where the holder answers gRPC, empty when it serves nothing. `ttl` is at least 30 ms.
    ///
    /// The lease counts from the moment the request was sent, so that this side never believes in it for longer than
    /// agent-state does, whatever the two wall clocks say.
    ///
    /// # Errors
    /// When shutdown begins, or agent-state finds the request itself wrong.
    #[allow(clippy::too_many_arguments, reason = "each is a different type and all are needed")]
    pub async fn acquire(
        client: &AgentStateClient,
        clock: &Clock,
        resource: &str,
        holder: &NodeId,
        address: &str,
        ttl: Millis,
        shutdown: &Shutdown,
    ) -> Result<Self, LeaseError> {
        let ttl = ttl.max(Millis(30));
        let mut waits = false;
        loop {
            let sent_at = clock.now();
            let request = AcquireLeaseRequest {
                command_id: String::new(),
                resource: resource.to_owned(),
                holder: holder.to_string(),
                ttl_ms: ttl.0,
                address: address.to_owned(),
            };
            let answer = tokio::select! {
                biased;
                () = shutdown.begun() => {
                    return Err(LeaseError::ShuttingDown { resource: resource.to_owned() });
                }
                answer = client.acquire_lease(request) => answer,
            };
            match answer {
                Ok(granted) => {
                    // Deadlines made here are judged by agent-state's time, which never falls.
                    let moved = clock.not_before(Timestamp(granted.expires_at_ms) - ttl);
                    let until = sent_at + moved + ttl;
                    let previous = (granted.previous_renewed_at_ms != 0)
                        .then_some(Timestamp(granted.previous_renewed_at_ms));
                    tracing::info!(resource, epoch = granted.epoch, "lease taken");
                    return Ok(Self::held(
                        client,
                        clock,
                        resource,
                        holder,
                        Epoch(granted.epoch),
                        previous,
                        until,
                        ttl,
                    ));
                }
                Err(status) if never(&status) => {
                    return Err(LeaseError::Refused {
                        resource: resource.to_owned(),
                        source: Box::new(status),
                    });
                }
                Err(status) => {
                    if !waits {
                        tracing::info!(resource, reason = status.message(), "waits for lease");
                        waits = true;
                    }
                }
            }
            tokio::select! {
                biased;
                () = shutdown.begun() => {
                    return Err(LeaseError::ShuttingDown { resource: resource.to_owned() });
                }
                () = clock.sleep(Millis((ttl.0 / 6).max(10))) => {}
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "private, called once")]
    fn held(
        client: &AgentStateClient,
        clock: &Clock,
        resource: &str,
        holder: &NodeId,
        epoch: Epoch,
        previous_renewed_at: Option<Timestamp>,
        until: Timestamp,
        ttl: Millis,
    ) -> Self {
        let (sender, state) = watch::channel(State::Held { until });
        let keeper = Keeper {
            // One renewal is tried until the lease would lapse anyway; agent-state's other voters get their turn in it.
            client: client.with_time_max(Duration::from_millis(ttl.0.unsigned_abs())),
            clock: clock.clone(),
            request: RenewLeaseRequest {
                command_id: String::new(),
                resource: resource.to_owned(),
                holder: holder.to_string(),
                epoch: epoch.0,
                ttl_ms: ttl.0,
            },
            ttl,
            state: sender,
        };
        let renewals = Arc::new(Renewals(tokio::spawn(keeper.keep(until)).abort_handle()));
        Self {
            resource: resource.to_owned(),
            epoch,
            previous_renewed_at,
            holder: holder.clone(),
            client: client.clone(),
            state,
            renewals,
        }
    }

    /// Resolves when a renewal was refused or the lease ran out unrenewed. Cancel-safe.
    pub async fn lost(&self) {
        let mut state = self.state.clone();
        // An error means that the keeper is gone, and with it the renewals.
        let _ = state.wait_for(|state| *state == State::Lost).await;
    }

    /// Whether the lease is held at `now`, by this side's clock.
    pub fn valid(&self, now: Timestamp) -> bool {
        matches!(*self.state.borrow(), State::Held { until } if now < until)
    }

    /// Gives it back, so that the next owner need not wait. Should that fail, the lease lapses by itself.
    pub async fn release(self) {
        drop(self.renewals);
        let request = ReleaseLeaseRequest {
            command_id: String::new(),
            resource: self.resource.clone(),
            holder: self.holder.to_string(),
            epoch: self.epoch.0,
        };
        match self.client.with_time_max(Duration::from_secs(1)).release_lease(request).await {
            Ok(_) => tracing::info!(resource = self.resource, epoch = self.epoch.0, "lease given back"),
            Err(status) => {
                tracing::info!(resource = self.resource, reason = status.message(), "lease left to lapse");
            }
        }
    }
}

/// Whether agent-state will never grant this.
fn never(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
    )
}

struct Renewals(tokio::task::AbortHandle);

impl Drop for Renewals {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Keeper {
    client: AgentStateClient,
    clock: Clock,
    request: RenewLeaseRequest,
    ttl: Millis,
    state: watch::Sender<State>,
}

impl Keeper {
    async fn keep(self, mut until: Timestamp) {
        let pause = Millis(self.ttl.0 / 3);
        let mut renew_at = until - self.ttl + pause;
        loop {
            tokio::select! {
                biased;
                () = self.clock.sleep_until(Some(until)) => return self.lose("it ran out unrenewed"),
                () = self.clock.sleep_until(Some(renew_at)) => {}
            }
            let sent_at = self.clock.now();
            let answer = tokio::select! {
                biased;
                () = self.clock.sleep_until(Some(until)) => return self.lose("it ran out unrenewed"),
                answer = self.client.renew_lease(self.request.clone()) => answer,
            };
            match answer {
                Ok(renewed) => {
                    let moved = self.clock.not_before(Timestamp(renewed.expires_at_ms) - self.ttl);
                    until = sent_at + moved + self.ttl;
                    self.state.send_replace(State::Held { until });
                    renew_at = sent_at + moved + pause;
                }
                Err(status) if unreachable(&status) => {
                    renew_at = self.clock.now() + Millis((pause.0 / 4).max(5))
                }
                Err(status) => return self.lose(status.message()),
            }
        }
    }

    fn lose(&self, reason: &str) {
        tracing::warn!(resource = self.request.resource, epoch = self.request.epoch, reason, "lease lost");
        self.state.send_replace(State::Lost);
    }
}

/// Whether nobody who knows has answered: then the lease stands until it runs out.
fn unreachable(status: &Status) -> bool {
    status.metadata().contains_key(crate::agent_state_client::LEADER_KEY)
        || matches!(
            status.code(),
            Code::Unavailable
                | Code::ResourceExhausted
                | Code::DeadlineExceeded
                | Code::Unknown
                | Code::Internal
                | Code::Cancelled
        )
}
