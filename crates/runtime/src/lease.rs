//! Asks for a lease, keeps it, and says at once when it is over.
//!
//! Who holds a lease believes in it for no longer than agent-state does, and looks at the time before every step: a
//! process that was stopped for a while and goes on finds its lease over before it has done anything.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use trunkline_domain::vocabulary::{Epoch, Millis, NodeId, Timestamp};
use trunkline_proto::agent_state::v1::{AcquireLeaseRequest, ReleaseLeaseRequest, RenewLeaseRequest};

use crate::agent_state_client::{AgentStateClient, CALL_TIME_MAX};
use crate::clock::Clock;
use crate::grpc;
use crate::shutdown::Shutdown;

/// How long a lease lasts without renewal, unless said otherwise.
pub const TTL_DEFAULT: Millis = Millis(3_000);
/// The reason of agent-state's refusal when somebody else has the lease.
pub const LEASE_HELD: &str = "LEASE_HELD";
/// The metadata key under which such a refusal names who has it.
const HOLDER_KEY: &str = "trunkline-lease-holder";
/// The metadata key under which it says for how long yet, unless the lease is renewed, in ms: a span, because the clock of
/// whoever waits may be another.
const LEFT_KEY: &str = "trunkline-lease-left-ms";
/// The shortest time to live asked for.
const TTL_MIN: Millis = Millis(30);
/// Between two tries for a lease that lapses soon, should have lapsed by now, or of which it is not said when.
const PAUSE_SOON: Millis = Millis(100);
/// The least time given to one call about a lease, so that a short lease does not make every answer a late one.
const CALL_TIME_MIN: Millis = Millis(250);

/// How far a clock may be ahead of agent-state's. What is further ahead would write down times that have not come, and
/// its deadlines would be longer than anybody's.
const AHEAD_MAX: Millis = Millis(5_000);

/// Writes into a refusal who has the lease, and for how long yet unless it is renewed; for whoever gives leases.
pub fn tell_holder(refusal: &mut Status, holder: &NodeId, left: Millis) {
    if let Ok(holder) = MetadataValue::try_from(holder.as_str()) {
        refusal.metadata_mut().insert(HOLDER_KEY, holder);
    }
    refusal.metadata_mut().insert(LEFT_KEY, MetadataValue::from(left.0));
}

/// Why a try did not give the lease.
#[derive(Debug, Clone)]
pub enum Denied {
    /// Somebody else has it.
    Held {
        /// Who, when it was said.
        holder: Option<NodeId>,
        /// For how long yet unless it is renewed, when it was said.
        left: Option<Millis>,
    },
    /// It would be granted, but this side's clock is wrong: it is ahead of agent-state's by so much.
    Ahead {
        /// How far.
        by: Millis,
    },
    /// Nobody who knows has answered.
    Unanswered(Box<Status>),
    /// The request is one that agent-state will never grant.
    Never(Box<Status>),
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

/// Somebody who wants a lease.
pub struct Candidate<'a> {
    /// Whom to ask.
    pub client: &'a AgentStateClient,
    /// When.
    pub clock: &'a Clock,
    /// What is wanted, as `routing/0`.
    pub resource: &'a str,
    /// Who wants it.
    pub holder: &'a NodeId,
    /// Where the holder answers gRPC, empty when it serves nothing.
    pub address: &'a str,
    /// How long it is to last without renewal; at least 30 ms.
    pub ttl: Millis,
    /// What to think when it has lasted that long and nobody could be asked.
    pub doubt: Doubt,
}

/// What a lease is to its holder when it ran out because nobody who knows could be asked to renew it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// Over: somebody else may have it by now.
    Ends,
    /// In doubt, until agent-state can be asked again: for what nobody else can take over, and what must not be dropped
    /// because others cannot be reached. [`Tenure::valid`] is false meanwhile; a renewal makes it true again.
    Lasts,
}

impl Candidate<'_> {
    /// Asks once.
    ///
    /// The lease counts from the moment the request was sent, so that this side never believes in it for longer than
    /// agent-state does, whatever the two wall clocks say. So a late answer must not be that of an earlier request: every
    /// try is a command of its own. Whoever holds a lease already gets a newer one.
    ///
    /// # Errors
    /// When there is no lease.
    pub async fn ask(&self) -> Result<Lease, Denied> {
        let ttl = self.ttl.max(TTL_MIN);
        let request = AcquireLeaseRequest {
            command_id: String::new(),
            resource: self.resource.to_owned(),
            holder: self.holder.to_string(),
            ttl_ms: ttl.0,
            address: self.address.to_owned(),
        };
        let sent_at = self.clock.now();
        let granted = match self.client.with_time_max(call_time_max(ttl)).acquire_lease(request).await {
            Ok(granted) => granted,
            Err(status) => return Err(Denied::from(status)),
        };
        if let Some(by) = ahead(sent_at, granted.expires_at_ms, ttl) {
            self.give_back(Epoch(granted.epoch)).await;
            return Err(Denied::Ahead { by });
        }
        // Deadlines made here are judged by agent-state's time, which never falls.
        let moved = self.clock.not_before(Timestamp(granted.expires_at_ms) - ttl);
        let until = sent_at + moved + ttl;
        tracing::info!(resource = self.resource, epoch = granted.epoch, "lease taken");
        let tenure = Tenure::new(self.resource, Epoch(granted.epoch), self.clock, until, self.doubt);
        let previous = granted.previous_renewed_at_ms;
        let previous_renewed_at = (previous != 0).then_some(Timestamp(previous));
        Ok(Lease::kept(self, tenure, previous_renewed_at, until, ttl))
    }

    /// Gives back what was granted and is not wanted. Should that fail, it lapses by itself.
    async fn give_back(&self, epoch: Epoch) {
        let request = ReleaseLeaseRequest {
            command_id: String::new(),
            resource: self.resource.to_owned(),
            holder: self.holder.to_string(),
            epoch: epoch.0,
        };
        if let Err(status) = self.client.with_time_max(Duration::from_secs(1)).release_lease(request).await {
            tracing::debug!(resource = self.resource, reason = status.message(), "lease left to lapse");
        }
    }

    /// Asks until it is granted. `denied` is told of every refusal but the last.
    ///
    /// # Errors
    /// When shutdown begins, or agent-state finds the request itself wrong.
    pub async fn wait(
        &self,
        shutdown: &Shutdown,
        mut denied: impl FnMut(&Denied),
    ) -> Result<Lease, LeaseError> {
        let resource = || self.resource.to_owned();
        let mut waits = false;
        loop {
            let answer = tokio::select! {
                biased;
                () = shutdown.begun() => return Err(LeaseError::ShuttingDown { resource: resource() }),
                answer = self.ask() => answer,
            };
            let refused = match answer {
                Ok(lease) => return Ok(lease),
                Err(Denied::Never(source)) => {
                    return Err(LeaseError::Refused { resource: resource(), source });
                }
                Err(refused) => refused,
            };
            if !waits {
                tracing::info!(resource = self.resource, reason = %refused, "waits for lease");
                waits = true;
            }
            denied(&refused);
            tokio::select! {
                biased;
                () = shutdown.begun() => return Err(LeaseError::ShuttingDown { resource: resource() }),
                () = self.clock.sleep(self.pause(&refused)) => {}
            }
        }
    }

    /// How long to wait after a refusal. Who was told when the lease lapses asks then, and before only so often that one
    /// given back is not left lying: each question is a command that agent-state's replicas write down.
    fn pause(&self, refused: &Denied) -> Millis {
        let usual = Millis(self.ttl.0 / 6).max(Millis(10));
        let soon = match refused {
            Denied::Held { left: Some(left), .. } => (*left).max(PAUSE_SOON),
            Denied::Held { left: None, .. } | Denied::Unanswered(_) | Denied::Never(_) => PAUSE_SOON,
            // A person sets it right, or the machine's own time service.
            Denied::Ahead { .. } => usual,
        };
        soon.min(usual)
    }
}

impl From<Status> for Denied {
    fn from(status: Status) -> Self {
        if never(&status) {
            return Self::Never(Box::new(status));
        }
        if grpc::reason_of(&status) != Some(LEASE_HELD) {
            return Self::Unanswered(Box::new(status));
        }
        let said = |key| status.metadata().get(key).and_then(|value| value.to_str().ok());
        Self::Held {
            holder: said(HOLDER_KEY).and_then(|text| NodeId::parse(text).ok()),
            left: said(LEFT_KEY).and_then(|text| text.parse().ok()).map(Millis),
        }
    }
}

impl std::fmt::Display for Denied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Held { holder: Some(holder), .. } => write!(f, "{holder} has it"),
            Self::Held { holder: None, .. } => f.write_str("another node has it"),
            Self::Ahead { by } => {
                write!(f, "this clock is {:.1} s ahead of agent-state's", by.0 as f64 / 1_000.0)
            }
            Self::Unanswered(status) | Self::Never(status) => f.write_str(status.message()),
        }
    }
}

impl std::error::Error for Denied {}

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
    /// Ends the renewals when dropped.
    renewals: Renewals,
}

/// Whether a lease stands, for whoever acts under it. Cheap to clone.
#[derive(Clone)]
pub struct Tenure(Arc<Shared>);

struct Shared {
    resource: String,
    epoch: Epoch,
    clock: Clock,
    doubt: Doubt,
    state: watch::Sender<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held { until: Timestamp },
    Over,
}

impl Tenure {
    /// A tenure that is over at `until`, unless a [`Lease`] prolongs it. Made by itself it is for tests of what is done
    /// under one.
    pub fn new(resource: &str, epoch: Epoch, clock: &Clock, until: Timestamp, doubt: Doubt) -> Self {
        let (resource, clock) = (resource.to_owned(), clock.clone());
        let (state, _) = watch::channel(State::Held { until });
        Self(Arc::new(Shared { resource, epoch, clock, doubt, state }))
    }

    /// Resolves when a renewal was refused, the lease ran out unrenewed (unless doubt lasts), or it was given back.
    /// Cancel-safe.
    ///
    /// The time is looked at whenever this is polled. Polled before what is done under the lease, it lets nothing be
    /// done when the lease is over: not even by a process that was stopped for longer than its lease lasts, whose timers
    /// have not gone off yet.
    pub async fn over(&self) {
        let mut state = self.0.state.subscribe();
        // The sender lives in `self`: the channel cannot close while we wait.
        let mut told = pin!(state.wait_for(|state| *state == State::Over));
        poll_fn(|context| {
            if self.0.doubt == Doubt::Ends && !self.valid(self.0.clock.now()) {
                self.end(Some("it ran out unrenewed"));
                return Poll::Ready(());
            }
            told.as_mut().poll(context).map(drop)
        })
        .await;
    }

    /// Whether the lease is held at `now`, by this side's clock.
    pub fn valid(&self, now: Timestamp) -> bool {
        matches!(*self.0.state.borrow(), State::Held { until } if now < until)
    }

    /// Resolves once the lease is held, or once it is not: over, or in doubt. Cancel-safe.
    pub async fn becomes(&self, held: bool) {
        let mut state = self.0.state.subscribe();
        loop {
            let until = match *state.borrow_and_update() {
                State::Held { until } if self.0.clock.now() < until => Some(until),
                State::Held { .. } | State::Over => None,
            };
            if until.is_some() == held {
                return;
            }
            tokio::select! {
                // The sender lives in `self`: the channel cannot close while we wait.
                _ = state.changed() => {}
                () = self.0.clock.sleep_until(until) => {}
            }
        }
    }

    /// It is held until then, unless it is over already; says whether it is held.
    fn prolong(&self, until: Timestamp) -> bool {
        self.0.state.send_if_modified(|state| {
            let held = *state != State::Over;
            if held {
                *state = State::Held { until };
            }
            held
        })
    }

    /// It is over. Whoever notices first that it is lost says why.
    fn end(&self, lost: Option<&str>) {
        let ended =
            self.0.state.send_if_modified(|state| std::mem::replace(state, State::Over) != State::Over);
        if let Some(reason) = lost.filter(|_| ended) {
            tracing::warn!(resource = self.0.resource, epoch = %self.0.epoch, reason, "lease lost");
        }
    }
}

impl Lease {
    /// Takes the ownership of `resource`; waits while somebody else has it or agent-state cannot be reached.
    /// `address` is where the holder answers gRPC, empty when it serves nothing. `ttl` is at least 30 ms.
    ///
    /// # Errors
    /// As of [`Candidate::wait`].
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
        let doubt = Doubt::Ends;
        Candidate { client, clock, resource, holder, address, ttl, doubt }.wait(shutdown, |_| {}).await
    }

    fn kept(
        by: &Candidate<'_>,
        tenure: Tenure,
        previous_renewed_at: Option<Timestamp>,
        until: Timestamp,
        ttl: Millis,
    ) -> Self {
        let (resource, epoch) = (tenure.0.resource.clone(), tenure.0.epoch);
        let keeper = Keeper {
            // A renewal that hears nothing leaves the other voters their turn before the lease lapses.
            client: by.client.with_time_max(call_time_max(ttl)),
            request: RenewLeaseRequest {
                command_id: String::new(),
                resource: resource.clone(),
                holder: by.holder.to_string(),
                epoch: epoch.0,
                ttl_ms: ttl.0,
            },
            ttl,
            tenure: tenure.clone(),
        };
        let task = tokio::spawn(keeper.keep(until)).abort_handle();
        Self {
            resource,
            epoch,
            previous_renewed_at,
            holder: by.holder.clone(),
            client: by.client.clone(),
            renewals: Renewals { tenure, task },
        }
    }

    /// Whether it stands, for whoever acts under it.
    pub fn tenure(&self) -> Tenure {
        self.renewals.tenure.clone()
    }

    /// Resolves when a renewal was refused or the lease ran out unrenewed. Cancel-safe.
    pub async fn lost(&self) {
        self.renewals.tenure.over().await;
    }

    /// Whether the lease is held at `now`, by this side's clock.
    pub fn valid(&self, now: Timestamp) -> bool {
        self.renewals.tenure.valid(now)
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

/// How long one call about a lease may take.
fn call_time_max(ttl: Millis) -> Duration {
    Duration::from_millis(Millis(ttl.0 / 3).max(CALL_TIME_MIN).0.unsigned_abs()).min(CALL_TIME_MAX)
}

/// By how much a clock that said `sent_at` is too far ahead of agent-state, which said afterwards when a lease of that
/// length ends; 0 when it does not say.
fn ahead(sent_at: Timestamp, expires_at_ms: i64, ttl: Millis) -> Option<Millis> {
    let theirs = Timestamp(expires_at_ms) - ttl;
    let by = sent_at.since(theirs);
    (expires_at_ms > 0 && by > AHEAD_MAX).then_some(by)
}

/// Whether agent-state will never grant this.
fn never(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented
    )
}

/// The task that renews. With it ends the tenure, for all who hold a clone.
struct Renewals {
    tenure: Tenure,
    task: tokio::task::AbortHandle,
}

impl Drop for Renewals {
    fn drop(&mut self) {
        self.task.abort();
        self.tenure.end(None);
    }
}

struct Keeper {
    client: AgentStateClient,
    request: RenewLeaseRequest,
    ttl: Millis,
    tenure: Tenure,
}

impl Keeper {
    async fn keep(self, mut until: Timestamp) {
        let clock = &self.tenure.0.clock;
        let lasts = self.tenure.0.doubt == Doubt::Lasts;
        // What lasts through doubt is never over by time alone.
        let over_at = |until| if lasts { None } else { Some(until) };
        let pause = Millis(self.ttl.0 / 3);
        let mut renew_at = until - self.ttl + pause;
        loop {
            tokio::select! {
                biased;
                () = clock.sleep_until(over_at(until)) => return self.tenure.end(Some("it ran out unrenewed")),
                () = clock.sleep_until(Some(renew_at)) => {}
            }
            let sent_at = clock.now();
            let answer = tokio::select! {
                biased;
                () = clock.sleep_until(over_at(until)) => return self.tenure.end(Some("it ran out unrenewed")),
                answer = self.client.renew_lease(self.request.clone()) => answer,
            };
            match answer {
                Ok(renewed) => {
                    if let Some(by) = ahead(sent_at, renewed.expires_at_ms, self.ttl) {
                        // It was set forward: what is held stays held for no longer than it was.
                        tracing::warn!(
                            resource = self.request.resource,
                            ahead_ms = by.0,
                            "this clock is ahead of agent-state's"
                        );
                        renew_at = sent_at + pause;
                        continue;
                    }
                    let moved = clock.not_before(Timestamp(renewed.expires_at_ms) - self.ttl);
                    until = sent_at + moved + self.ttl;
                    if !self.tenure.prolong(until) {
                        return;
                    }
                    renew_at = sent_at + moved + pause;
                }
                Err(status) if unreachable(&status) => {
                    renew_at = clock.now() + Millis((pause.0 / 4).max(5));
                }
                Err(status) => return self.tenure.end(Some(status.message())),
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mint::Mint;

    /// After `denied`, a candidate for a lease of `ttl` asks again after `pause`, in ms.
    #[track_caller]
    fn check(ttl: i64, denied: Denied, pause: i64) {
        let (clock, _hand) = Clock::manual(Timestamp(10_000));
        let client = AgentStateClient::new(&[], Mint::seeded(1));
        let (holder, ttl) = (NodeId::parse("nod_a").unwrap(), Millis(ttl));
        let candidate = Candidate {
            client: &client,
            clock: &clock,
            resource: "x",
            holder: &holder,
            address: "",
            ttl,
            doubt: Doubt::Ends,
        };
        assert_eq!(candidate.pause(&denied), Millis(pause));
    }

    #[test]
    fn who_was_told_when_a_lease_lapses_asks_then_and_seldom_before() {
        let held = |left| Denied::Held { holder: None, left: Some(Millis(left)) };
        let nobody = || Denied::Unanswered(Box::new(Status::unavailable("no quorum")));
        check(2_000, held(2_000), 333);
        check(2_000, held(200), 200);
        // Never later than 100 ms after it lapsed.
        check(2_000, held(1), 100);
        check(2_000, held(-5_000), 100);
        check(2_000, Denied::Held { holder: None, left: None }, 100);
        check(2_000, nobody(), 100);
        check(300, held(300), 50);
        check(300, nobody(), 50);
        check(30, nobody(), 10);
    }

    #[test]
    fn a_refusal_carries_who_has_the_lease_and_for_how_long_yet() {
        let mut status = grpc::status_of(grpc::RejectionKind::Conflict, LEASE_HELD, "lease is held");
        let told = |status: &Status| format!("{:?}", Denied::from(status.clone()));
        assert_eq!(told(&status), "Held { holder: None, left: None }");
        tell_holder(&mut status, &NodeId::parse("nod_b").unwrap(), Millis(1_200));
        assert_eq!(told(&status), "Held { holder: Some(nod_b), left: Some(1200ms) }");
    }
}
