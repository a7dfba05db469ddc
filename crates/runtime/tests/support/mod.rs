//! An agent-state of one voter that knows leases only, for tests of what stands on it.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    reason = "tests may unwrap, and every test file uses its part"
)]

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use tonic::service::Routes;
use tonic::{Request, Response, Status};
use trunkline_proto::agent_state::v1::agent_state_service_server::{
    AgentStateService, AgentStateServiceServer,
};
use trunkline_proto::agent_state::v1::*;
use trunkline_runtime::agent_state_client::{AgentStateClient, LEADER_KEY};
use trunkline_runtime::grpc::{self, RejectionKind};
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::shutdown::Shutdown;

/// What the fake knows; shared by its voters.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

#[derive(Default)]
pub struct State {
    pub index: u64,
    /// By resource: who, epoch.
    pub leases: BTreeMap<String, (String, u64)>,
    /// By command id, how often it came.
    pub seen: BTreeMap<String, u32>,
    /// Answers by command id.
    pub answers: BTreeMap<String, u64>,
    /// Commands carried out.
    pub applied: Vec<String>,
    /// What the next requests meet instead of an answer.
    pub trouble: VecDeque<Trouble>,
    /// When every lease is said to expire, in ms.
    pub expires_at_ms: i64,
    /// `traceparent` of the last request.
    pub traceparent: String,
}

/// What a request meets.
pub enum Trouble {
    /// It is refused before anything happens.
    Refused(Status),
    /// It takes effect and its answer is lost.
    AnswerLost,
    /// The leader is elsewhere.
    LeaderAt(String),
}

pub fn not_leader(leader: &str) -> Status {
    let mut status = Status::failed_precondition("not the leader");
    status.metadata_mut().insert(LEADER_KEY, leader.parse().unwrap());
    status
}

pub fn held() -> Status {
    grpc::status_of(RejectionKind::Conflict, "LEASE_HELD", "somebody else holds it")
}

impl Fake {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// One more voter over the same state; its address.
    pub fn serve(&self, shutdown: &Shutdown) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let routes = Routes::new(AgentStateServiceServer::new(self.clone()));
        let stop = shutdown.clone();
        shutdown.spawn("fake agent-state", async move {
            grpc::serve(listener, routes, &Health::new(), &stop).await.unwrap();
        });
        address
    }

    pub fn client(&self, shutdown: &Shutdown) -> AgentStateClient {
        AgentStateClient::new(&[self.serve(shutdown)], Mint::seeded(1))
    }

    /// Runs a command once, whatever the trouble.
    fn once(
        &self,
        command_id: &str,
        traceparent: String,
        apply: impl FnOnce(&mut State) -> Result<u64, Status>,
    ) -> Result<u64, Status> {
        let mut state = self.state();
        state.traceparent = traceparent;
        *state.seen.entry(command_id.to_owned()).or_default() += 1;
        let trouble = state.trouble.pop_front();
        match trouble {
            Some(Trouble::Refused(status)) => return Err(status),
            Some(Trouble::LeaderAt(leader)) => return Err(not_leader(&leader)),
            Some(Trouble::AnswerLost) | None => {}
        }
        let answer = match state.answers.get(command_id) {
            Some(answer) => *answer,
            None => {
                state.index += 1;
                let answer = apply(&mut state)?;
                state.applied.push(command_id.to_owned());
                state.answers.insert(command_id.to_owned(), answer);
                answer
            }
        };
        match trouble {
            Some(Trouble::AnswerLost) => Err(Status::unavailable("the answer was lost")),
            _ => Ok(answer),
        }
    }
}

macro_rules! fake {
    ($($method:ident $request:ident $response:ident;)*) => {
        #[tonic::async_trait]
        impl AgentStateService for Fake {
            type WatchAgentsStream = tonic::codegen::BoxStream<WatchAgentsResponse>;

            async fn watch_agents(
                &self,
                _: Request<WatchAgentsRequest>,
            ) -> Result<Response<Self::WatchAgentsStream>, Status> {
                Err(Status::unimplemented("nobody watches here"))
            }

            async fn acquire_lease(
                &self,
                request: Request<AcquireLeaseRequest>,
            ) -> Result<Response<AcquireLeaseResponse>, Status> {
                let traceparent = trunkline_runtime::telemetry::extract(&request);
                let it = request.into_inner();
                let epoch = self.once(&it.command_id, traceparent, |state| match state.leases.get(&it.resource) {
                    Some((holder, _)) if *holder != it.holder => Err(held()),
                    _ => {
                        state.leases.insert(it.resource.clone(), (it.holder.clone(), state.index));
                        Ok(state.index)
                    }
                })?;
                let expires_at_ms = self.state().expires_at_ms;
                Ok(Response::new(AcquireLeaseResponse { epoch, expires_at_ms, previous_renewed_at_ms: 77 }))
            }

            async fn renew_lease(
                &self,
                request: Request<RenewLeaseRequest>,
            ) -> Result<Response<RenewLeaseResponse>, Status> {
                let it = request.into_inner();
                self.once(&it.command_id, String::new(), |state| match state.leases.get(&it.resource) {
                    Some((holder, epoch)) if *holder == it.holder && *epoch == it.epoch => Ok(0),
                    _ => Err(grpc::status_of(RejectionKind::FailedPrecondition, "LEASE_LOST", "not held")),
                })?;
                Ok(Response::new(RenewLeaseResponse { expires_at_ms: 0 }))
            }

            async fn release_lease(
                &self,
                request: Request<ReleaseLeaseRequest>,
            ) -> Result<Response<ReleaseLeaseResponse>, Status> {
                let it = request.into_inner();
                self.once(&it.command_id, String::new(), |state| {
                    state.leases.remove(&it.resource);
                    Ok(0)
                })?;
                Ok(Response::new(ReleaseLeaseResponse {}))
            }

            async fn go_ready(
                &self,
                request: Request<GoReadyRequest>,
            ) -> Result<Response<GoReadyResponse>, Status> {
                let traceparent = trunkline_runtime::telemetry::extract(&request);
                self.once(&request.into_inner().command_id, traceparent, |_| Ok(0))?;
                Ok(Response::new(GoReadyResponse {}))
            }

            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("the fake knows leases only"))
            })*
        }
    };
}
fake! {
    sign_in SignInRequest SignInResponse;
    sign_out SignOutRequest SignOutResponse;
    go_not_ready GoNotReadyRequest GoNotReadyResponse;
    finish_wrap_up FinishWrapUpRequest FinishWrapUpResponse;
    list_agents ListAgentsRequest ListAgentsResponse;
    register_device RegisterDeviceRequest RegisterDeviceResponse;
    unregister_device UnregisterDeviceRequest UnregisterDeviceResponse;
    define_roster DefineRosterRequest DefineRosterResponse;
    reserve_agents ReserveAgentsRequest ReserveAgentsResponse;
    accept_reservation AcceptReservationRequest AcceptReservationResponse;
    release_reservation ReleaseReservationRequest ReleaseReservationResponse;
}
