//! The gRPC service: every command goes through the door, then through Raft.

use futures::StreamExt;
use futures::stream::BoxStream;
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use trunkline_domain::agent_state::Done;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_server::AgentStateService;
use trunkline_proto::agent_state::v1::logged_command::Action as Logged;
use trunkline_runtime::agent_state_client::{LEADER_KEY, OVERLOADED};
use trunkline_runtime::grpc::{RejectionKind, status_of};
use trunkline_runtime::mint::Mint;
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::{Telemetry, extract, names};

use crate::door;
use crate::raft::{Consensus, Leader, ProposeError};
use crate::view::all_agents;
use crate::watch;

/// Answers for the leader; a follower says who leads.
pub struct Service {
    /// The replica.
    pub consensus: Consensus,
    /// Ids for requests without one.
    pub mint: Mint,
    /// Spans and metrics.
    pub telemetry: Telemetry,
    /// How many cells the logs have.
    pub cell_count: u32,
    /// Ends the streams.
    pub shutdown: Shutdown,
}

impl Service {
    /// Puts a request through Raft and waits for what applying it answered.
    async fn ask(&self, name: &'static str, traceparent: String, action: Logged) -> Result<Done, Status> {
        let proposed_at_ms = self.consensus.stamp().map_err(|error| unanswered(&error))?.0;
        let traced = !traceparent.is_empty();
        let span = traced.then(|| self.telemetry.server_span(names::span::RAFT_APPLY, &traceparent));
        let traceparent = span.as_ref().map_or(traceparent, |span| span.traceparent());
        let logged = api::LoggedCommand { proposed_at_ms, traceparent, action: Some(action) };
        let command = door::command(logged.clone())?;
        if door::highest_cell(&command.action).0 >= self.cell_count {
            let message = format!("the logs have {} cells", self.cell_count);
            return Err(status_of(RejectionKind::InvalidArgument, "UNKNOWN_CELL", message));
        }
        if command.action.feature_level() > self.consensus.feature_level() {
            let message = "not every voter takes part in the rules of this command yet";
            return Err(status_of(RejectionKind::FailedPrecondition, "FEATURE_LEVEL", message));
        }
        let (outcome, answer) = match self.consensus.propose(logged).await {
            Ok(Ok(done)) => ("done", Ok(done)),
            Ok(Err(rejection)) => {
                (rejection.code(), Err(door::rejected(&rejection, self.consensus.clocks().wall())))
            }
            Err(error) => ("unanswered", Err(unanswered(&error))),
        };
        if let Some(span) = &span {
            span.set(names::attribute::OUTCOME, outcome);
        }
        let labels = [("command", name), ("outcome", outcome)];
        self.telemetry.counter(names::COMMANDS_APPLIED, &labels).inc();
        answer
    }

    fn minted(&self, command_id: &mut String) {
        if command_id.is_empty() {
            *command_id = self.mint.command().to_string();
        }
    }
}

/// The status of a command that got no reply.
pub(crate) fn unanswered(error: &ProposeError) -> Status {
    match error {
        ProposeError::NotLeader { leader } => {
            let (kind, reason) = match leader.is_empty() {
                true => (RejectionKind::Unavailable, "NO_QUORUM"),
                false => (RejectionKind::FailedPrecondition, "NOT_LEADER"),
            };
            let mut status = status_of(kind, reason, error.to_string());
            if let Ok(leader) = MetadataValue::try_from(leader.as_str()) {
                status.metadata_mut().insert(LEADER_KEY, leader);
            }
            status
        }
        ProposeError::Overloaded => {
            status_of(RejectionKind::ResourceExhausted, OVERLOADED, error.to_string())
        }
        ProposeError::Clock(_) => status_of(RejectionKind::Unavailable, "CLOCK_OFF", error.to_string()),
        ProposeError::TimedOut | ProposeError::NoQuorum => {
            status_of(RejectionKind::Unavailable, "NO_QUORUM", error.to_string())
        }
        ProposeError::Stopped(_) => status_of(RejectionKind::Unavailable, "STOPPED", error.to_string()),
    }
}

/// A command without anything to compute: its request goes in, its arm of [`Done`] comes out.
macro_rules! command {
    ($self:ident, $request:ident, $action:ident, $name:literal, $done:pat => $response:expr) => {{
        let traceparent = extract(&$request);
        let mut request = $request.into_inner();
        $self.minted(&mut request.command_id);
        match $self.ask($name, traceparent, Logged::$action(request)).await? {
            $done => Ok(Response::new($response)),
            other => Err(door::unexpected(&other)),
        }
    }};
}

#[tonic::async_trait]
impl AgentStateService for Service {
    async fn sign_in(
        &self,
        request: Request<api::SignInRequest>,
    ) -> Result<Response<api::SignInResponse>, Status> {
        let traceparent = extract(&request);
        let mut request = request.into_inner();
        self.minted(&mut request.command_id);
        if request.session_id.is_empty() {
            request.session_id = self.mint.session().to_string();
        }
        match self.ask("sign_in", traceparent, Logged::SignIn(request)).await? {
            Done::SignedIn { session_id, client_sequence } => {
                let session_id = session_id.to_string();
                Ok(Response::new(api::SignInResponse { session_id, client_sequence }))
            }
            other => Err(door::unexpected(&other)),
        }
    }

    async fn keep_session(
        &self,
        request: Request<api::KeepSessionRequest>,
    ) -> Result<Response<api::KeepSessionResponse>, Status> {
        command!(self, request, KeepSession, "keep_session", Done::SessionKept { expires_at } =>
            api::KeepSessionResponse { expires_at_ms: expires_at.map_or(0, |at| at.0) })
    }

    async fn sign_out(
        &self,
        request: Request<api::SignOutRequest>,
    ) -> Result<Response<api::SignOutResponse>, Status> {
        command!(self, request, SignOut, "sign_out", Done::SignedOut { session_id } =>
            api::SignOutResponse { session_id: session_id.to_string() })
    }

    async fn go_ready(
        &self,
        request: Request<api::GoReadyRequest>,
    ) -> Result<Response<api::GoReadyResponse>, Status> {
        command!(self, request, GoReady, "go_ready", Done::Ready => api::GoReadyResponse {})
    }

    async fn go_not_ready(
        &self,
        request: Request<api::GoNotReadyRequest>,
    ) -> Result<Response<api::GoNotReadyResponse>, Status> {
        command!(self, request, GoNotReady, "go_not_ready", Done::NotReady => api::GoNotReadyResponse {})
    }

    async fn force_presence(
        &self,
        request: Request<api::ForcePresenceRequest>,
    ) -> Result<Response<api::ForcePresenceResponse>, Status> {
        command!(self, request, ForcePresence, "force_presence", Done::Forced => api::ForcePresenceResponse {})
    }

    async fn finish_wrap_up(
        &self,
        request: Request<api::FinishWrapUpRequest>,
    ) -> Result<Response<api::FinishWrapUpResponse>, Status> {
        command!(self, request, FinishWrapUp, "finish_wrap_up", Done::WrapUpFinished =>
            api::FinishWrapUpResponse {})
    }

    async fn request_wrap_up(
        &self,
        request: Request<api::RequestWrapUpRequest>,
    ) -> Result<Response<api::RequestWrapUpResponse>, Status> {
        command!(self, request, RequestWrapUp, "request_wrap_up", Done::WrapUpRequested =>
            api::RequestWrapUpResponse {})
    }

    async fn extend_wrap_up(
        &self,
        request: Request<api::ExtendWrapUpRequest>,
    ) -> Result<Response<api::ExtendWrapUpResponse>, Status> {
        command!(self, request, ExtendWrapUp, "extend_wrap_up", Done::WrapUpExtended { ends_at } =>
            api::ExtendWrapUpResponse { ends_at_ms: ends_at.0 })
    }

    async fn list_agents(
        &self,
        request: Request<api::ListAgentsRequest>,
    ) -> Result<Response<api::ListAgentsResponse>, Status> {
        let (stale, leader) = (request.into_inner().stale_ok, self.consensus.standing().leader);
        let other = match leader {
            Leader::Other { address } => Some(address),
            Leader::Me { .. } | Leader::Nobody | Leader::Stopped(_) => None,
        };
        if !stale {
            if let Some(leader) = other {
                return Err(unanswered(&ProposeError::NotLeader { leader }));
            }
            self.consensus.linearizable().await.map_err(|error| unanswered(&error))?;
        }
        let view = self.consensus.machine().view();
        let state = view.machine.state();
        let agents = all_agents(state);
        let raft_index = view.last_applied.map_or(0, |log_id| log_id.index);
        let answer = api::ListAgentsResponse {
            agents,
            raft_index,
            stale,
            known_at_ms: state.now.0,
            feature_level: state.feature_level,
        };
        let mut response = Response::new(answer);
        // Whoever takes this for the leader's answer would bring the next command here.
        if let Some(Ok(leader)) = other.map(MetadataValue::try_from) {
            response.metadata_mut().insert(LEADER_KEY, leader);
        }
        Ok(response)
    }

    type WatchAgentsStream = BoxStream<'static, Result<api::WatchAgentsResponse, Status>>;

    async fn watch_agents(
        &self,
        request: Request<api::WatchAgentsRequest>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        let request = request.into_inner();
        if let (Leader::Other { address }, false) = (self.consensus.standing().leader, request.stale_ok) {
            return Err(unanswered(&ProposeError::NotLeader { leader: address }));
        }
        let messages = watch::watch(&self.consensus, &self.shutdown, &request);
        Ok(Response::new(messages.boxed()))
    }

    async fn register_device(
        &self,
        request: Request<api::RegisterDeviceRequest>,
    ) -> Result<Response<api::RegisterDeviceResponse>, Status> {
        command!(self, request, RegisterDevice, "register_device", Done::DeviceKnown =>
            api::RegisterDeviceResponse {})
    }

    async fn unregister_device(
        &self,
        request: Request<api::UnregisterDeviceRequest>,
    ) -> Result<Response<api::UnregisterDeviceResponse>, Status> {
        command!(self, request, UnregisterDevice, "unregister_device", Done::DeviceForgotten =>
            api::UnregisterDeviceResponse {})
    }

    async fn define_roster(
        &self,
        request: Request<api::DefineRosterRequest>,
    ) -> Result<Response<api::DefineRosterResponse>, Status> {
        command!(self, request, DefineRoster, "define_roster", Done::RosterDefined =>
            api::DefineRosterResponse {})
    }

    async fn reserve_agents(
        &self,
        request: Request<api::ReserveAgentsRequest>,
    ) -> Result<Response<api::ReserveAgentsResponse>, Status> {
        command!(self, request, ReserveAgents, "reserve_agents", Done::Reserved { answers } =>
            api::ReserveAgentsResponse { answers: door::answers(answers) })
    }

    async fn accept_reservation(
        &self,
        request: Request<api::AcceptReservationRequest>,
    ) -> Result<Response<api::AcceptReservationResponse>, Status> {
        command!(self, request, AcceptReservation, "accept_reservation", Done::Accepted =>
            api::AcceptReservationResponse {})
    }

    async fn release_reservation(
        &self,
        request: Request<api::ReleaseReservationRequest>,
    ) -> Result<Response<api::ReleaseReservationResponse>, Status> {
        command!(self, request, ReleaseReservation, "release_reservation", Done::Released { released } =>
            api::ReleaseReservationResponse { released })
    }

    async fn acquire_lease(
        &self,
        request: Request<api::AcquireLeaseRequest>,
    ) -> Result<Response<api::AcquireLeaseResponse>, Status> {
        command!(self, request, AcquireLease, "acquire_lease",
        Done::LeaseAcquired { epoch, expires_at, previous_renewed_at } => api::AcquireLeaseResponse {
            epoch: epoch.0,
            expires_at_ms: expires_at.0,
            previous_renewed_at_ms: previous_renewed_at.map_or(0, |at| at.0),
        })
    }

    async fn renew_lease(
        &self,
        request: Request<api::RenewLeaseRequest>,
    ) -> Result<Response<api::RenewLeaseResponse>, Status> {
        command!(self, request, RenewLease, "renew_lease", Done::LeaseRenewed { expires_at } =>
            api::RenewLeaseResponse { expires_at_ms: expires_at.0 })
    }

    async fn release_lease(
        &self,
        request: Request<api::ReleaseLeaseRequest>,
    ) -> Result<Response<api::ReleaseLeaseResponse>, Status> {
        command!(self, request, ReleaseLease, "release_lease", Done::LeaseReleased =>
            api::ReleaseLeaseResponse {})
    }
}
