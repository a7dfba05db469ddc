//! A client that follows agent-state's leader and retries with the same command id.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_client::AgentStateServiceClient;

use crate::grpc;
use crate::mint::Mint;
use crate::telemetry;

/// The metadata key under which a follower names the leader's address; empty while there is none.
pub const LEADER_KEY: &str = "trunkline-leader";
/// The reason a leader gives that has too many commands waiting.
pub const OVERLOADED: &str = "OVERLOADED";
/// How long a call is tried altogether, unless said otherwise.
pub const CALL_TIME_MAX: Duration = Duration::from_secs(5);
/// How long one attempt of it may take.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(2);
/// The pause before the second attempt; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(400);

/// Speaks to whichever voter leads. Cheap to clone; clones share connections.
///
/// Every call carries a command id, minted here when the request has none; all attempts of a call carry the same one, so
/// that a command whose answer was lost takes effect once.
#[derive(Clone)]
pub struct AgentStateClient {
    shared: Arc<Shared>,
    time_max: Duration,
    traceparent: String,
}

struct Shared {
    voters: Vec<String>,
    mint: Mint,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Where the last answer came from, or who was named as leader.
    leader: Option<String>,
    /// The voter tried next when no leader is known.
    next: usize,
    channels: BTreeMap<String, Channel>,
}

/// Requests that carry a command id.
trait Command {
    fn command_id(&mut self) -> Option<&mut String>;
}

macro_rules! commands {
    ($($request:ident),*) => {$(
        impl Command for api::$request {
            fn command_id(&mut self) -> Option<&mut String> {
                Some(&mut self.command_id)
            }
        }
    )*};
}
commands!(
    SignInRequest,
    KeepSessionRequest,
    SignOutRequest,
    GoReadyRequest,
    GoNotReadyRequest,
    ForcePresenceRequest,
    RequestWrapUpRequest,
    FinishWrapUpRequest,
    ExtendWrapUpRequest,
    RegisterDeviceRequest,
    UnregisterDeviceRequest,
    DefineRosterRequest,
    ReserveAgentsRequest,
    AcceptReservationRequest,
    ReleaseReservationRequest,
    AcquireLeaseRequest,
    RenewLeaseRequest,
    ReleaseLeaseRequest
);

impl Command for api::ListAgentsRequest {
    fn command_id(&mut self) -> Option<&mut String> {
        None
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $method:ident($request:ident) -> $response:ident;)*) => {
        impl AgentStateClient {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// The leader's refusal; UNAVAILABLE or DEADLINE_EXCEEDED when no leader answered in time, and then the
            /// command may or may not have taken effect: the same command id finds out.
            pub async fn $method(&self, request: api::$request) -> Result<api::$response, Status> {
                self.call(request, |mut voter, request| async move { voter.$method(request).await }).await
            }
        )*}
    };
}
calls! {
    /// Begins a session.
    sign_in(SignInRequest) -> SignInResponse;
    /// The session's desktop is there.
    keep_session(KeepSessionRequest) -> KeepSessionResponse;
    /// Ends a session.
    sign_out(SignOutRequest) -> SignOutResponse;
    /// The agent takes contacts from now on.
    go_ready(GoReadyRequest) -> GoReadyResponse;
    /// The agent takes no contacts from now on.
    go_not_ready(GoNotReadyRequest) -> GoNotReadyResponse;
    /// A supervisor decides for the agent.
    force_presence(ForcePresenceRequest) -> ForcePresenceResponse;
    /// Asks for after-contact work.
    request_wrap_up(RequestWrapUpRequest) -> RequestWrapUpResponse;
    /// Puts the end of after-contact work off.
    extend_wrap_up(ExtendWrapUpRequest) -> ExtendWrapUpResponse;
    /// Ends after-contact work.
    finish_wrap_up(FinishWrapUpRequest) -> FinishWrapUpResponse;
    /// The agents as the leader sees them.
    list_agents(ListAgentsRequest) -> ListAgentsResponse;
    /// A device can be called.
    register_device(RegisterDeviceRequest) -> RegisterDeviceResponse;
    /// A device can no longer be called.
    unregister_device(UnregisterDeviceRequest) -> UnregisterDeviceResponse;
    /// What the machine needs of the directory.
    define_roster(DefineRosterRequest) -> DefineRosterResponse;
    /// Holds agents for offers.
    reserve_agents(ReserveAgentsRequest) -> ReserveAgentsResponse;
    /// The agent answered.
    accept_reservation(AcceptReservationRequest) -> AcceptReservationResponse;
    /// The reservation is over.
    release_reservation(ReleaseReservationRequest) -> ReleaseReservationResponse;
    /// Takes a lease.
    acquire_lease(AcquireLeaseRequest) -> AcquireLeaseResponse;
    /// Keeps a lease.
    renew_lease(RenewLeaseRequest) -> RenewLeaseResponse;
    /// Gives a lease back.
    release_lease(ReleaseLeaseRequest) -> ReleaseLeaseResponse;
}

impl AgentStateClient {
    /// A client of the voters at these addresses (`host:port`). Connections are made when needed.
    pub fn new(endpoints: &[String], mint: Mint) -> Self {
        let shared = Shared { voters: endpoints.to_vec(), mint, known: Mutex::default() };
        Self { shared: Arc::new(shared), time_max: CALL_TIME_MAX, traceparent: String::new() }
    }

    /// The same client, whose calls are tried for `time_max` altogether.
    #[must_use]
    pub fn with_time_max(&self, time_max: Duration) -> Self {
        Self { time_max, ..self.clone() }
    }

    /// The same client, whose calls are part of this trace.
    #[must_use]
    pub fn with_traceparent(&self, traceparent: &str) -> Self {
        Self { traceparent: traceparent.to_owned(), ..self.clone() }
    }

    async fn call<Q, A, F>(
        &self,
        mut command: Q,
        attempt: impl Fn(AgentStateServiceClient<Channel>, Request<Q>) -> F,
    ) -> Result<A, Status>
    where
        Q: Command + Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        if let Some(command_id) = command.command_id().filter(|id| id.is_empty()) {
            *command_id = self.shared.mint.command().to_string();
        }
        self.follow(|channel, time_max| {
            let mut request = Request::new(command.clone());
            request.set_timeout(time_max);
            telemetry::inject(&mut request, &self.traceparent);
            attempt(AgentStateServiceClient::new(channel), request)
        })
        .await
    }

    /// Makes one call of whoever leads, in as many attempts as it takes: `attempt` is given a connection and how long it
    /// may take, and must send the same command each time.
    ///
    /// # Errors
    /// As of the other calls.
    pub async fn follow<A, F>(&self, attempt: impl Fn(Channel, Duration) -> F) -> Result<A, Status>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let until = Instant::now() + self.time_max;
        let mut pause = PAUSE_MIN;
        loop {
            let Some((address, voter)) = self.voter() else {
                return Err(Status::unavailable("no address of agent-state is known"));
            };
            let left = until.saturating_duration_since(Instant::now()).min(ATTEMPT_TIME_MAX);
            let answer = match tokio::time::timeout(left, attempt(voter, left)).await {
                Ok(answer) => answer,
                Err(_) => Err(Status::deadline_exceeded("agent-state did not answer in time")),
            };
            let status = match answer {
                Ok(response) => {
                    // A follower that answers what need not be new says who leads.
                    let named = response.metadata().get(LEADER_KEY).and_then(|it| it.to_str().ok());
                    let named = named.filter(|leader| grpc::address_error(leader).is_none());
                    self.known().leader = Some(named.map_or(address, str::to_owned));
                    return Ok(response.into_inner());
                }
                Err(status) => status,
            };
            let followed = match next_step(&status) {
                Next::GiveUp => return Err(status),
                Next::Follow(leader) => {
                    let changed = leader != address;
                    self.known().leader = Some(leader);
                    changed
                }
                Next::TryAnother => {
                    self.forget_leader(&address);
                    false
                }
            };
            // A leader that was just named is asked after the shortest pause, everybody else after a growing one.
            let wait = if followed { PAUSE_MIN } else { pause };
            if Instant::now() + wait >= until {
                return Err(status);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn voter(&self) -> Option<(String, Channel)> {
        let mut known = self.known();
        let address = match &known.leader {
            Some(leader) => leader.clone(),
            None => self.shared.voters.get(known.next % self.shared.voters.len().max(1))?.clone(),
        };
        let channel =
            known.channels.entry(address.clone()).or_insert_with(|| grpc::channel(&address)).clone();
        Some((address, channel))
    }

    fn forget_leader(&self, address: &str) {
        let mut known = self.known();
        known.leader = None;
        // Beginning behind the voter that failed; a leader outside the list leaves the order as it is.
        if let Some(place) = self.shared.voters.iter().position(|voter| voter == address) {
            known.next = (place + 1) % self.shared.voters.len();
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody decided about the command: the same one, under the same command id, may be sent again and must be
/// when its effect is needed. True also of a leader that has no room for it, which has taken nothing; and of an exhaustion
/// without a reason of ours, which is that of a connection.
pub fn undecided(status: &Status) -> bool {
    let exhausted = status.code() == Code::ResourceExhausted;
    status.metadata().contains_key(LEADER_KEY)
        || grpc::reason_of(status) == Some(OVERLOADED)
        || (exhausted && grpc::reason_of(status).is_none())
        || matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Unknown | Code::Internal | Code::Cancelled
        )
}

enum Next {
    /// It is the leader's answer.
    GiveUp,
    /// This one leads.
    Follow(String),
    /// Nobody knows who leads, or this one is not there.
    TryAnother,
}

fn next_step(status: &Status) -> Next {
    if let Some(leader) = status.metadata().get(LEADER_KEY) {
        return match leader.to_str() {
            Ok(leader) if grpc::address_error(leader).is_none() => Next::Follow(leader.to_owned()),
            _ => Next::TryAnother,
        };
    }
    // A status with a source was made on this side: the connection broke, and the command may have been taken.
    let broken = status.source().is_some();
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => Next::TryAnother,
        Code::Unknown | Code::Internal | Code::Cancelled if broken => Next::TryAnother,
        Code::Cancelled => Next::TryAnother,
        _ => Next::GiveUp,
    }
}
