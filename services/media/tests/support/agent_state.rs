//! As much of agent-state as a media node asks: leases, devices, accept and release.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_proto::agent_state::v1::agent_state_service_server::{
    AgentStateService, AgentStateServiceServer,
};
use trunkline_proto::agent_state::v1::*;
use trunkline_runtime::event_log::SharedLog;
use trunkline_runtime::facts::FactWriter;
use trunkline_runtime::grpc::{RejectionKind, status_of};

/// The twin, and what it was asked.
pub struct FakeAgentState {
    writer: Mutex<(FactWriter<AgentFact>, u64)>,
    epoch: AtomicU64,
    /// Whether accepts are granted.
    pub grants: AtomicBool,
    /// Whether leases are kept.
    pub renews: AtomicBool,
    /// How many releases are refused because too much waits, before one is taken.
    pub busy: AtomicU64,
    /// Every release, as `offer outcome`.
    pub released: Mutex<mpsc::UnboundedReceiver<(String, ReservationOutcome)>>,
    releases: mpsc::UnboundedSender<(String, ReservationOutcome)>,
}

#[derive(Clone)]
struct Service(Arc<FakeAgentState>);

impl FakeAgentState {
    pub async fn start(log: SharedLog) -> (Arc<Self>, String) {
        let (writer, _) = FactWriter::open(&log, Cell(0), "agents", Epoch(1)).await.unwrap();
        let (releases, released) = mpsc::unbounded_channel();
        let fake = Arc::new(Self {
            writer: Mutex::new((writer, 0)),
            epoch: AtomicU64::new(100),
            grants: AtomicBool::new(true),
            renews: AtomicBool::new(true),
            busy: AtomicU64::new(0),
            released: Mutex::new(released),
            releases,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tonic::transport::Server::builder()
            .add_service(AgentStateServiceServer::new(Service(Arc::clone(&fake))))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (fake, address)
    }

    /// Writes one fact to the agents log.
    pub async fn tell(&self, fact: AgentFact) {
        let mut writer = self.writer.lock().await;
        writer.1 += 1;
        let sequence = writer.1;
        let meta = Meta {
            event_id: EventId::from_name(&format!("a0-{sequence}-0")).unwrap(),
            cell: Cell(0),
            stream: fact.stream(),
            sequence,
            occurred_at: Timestamp(sequence as i64),
            recorded_at: Timestamp(sequence as i64),
            correlation_id: None,
            causation_id: None,
            traceparent: String::new(),
        };
        let outcome = Outcome { epoch: Epoch(1), consumed: Vec::new(), facts: vec![Recorded { meta, fact }] };
        writer.0.append(&outcome).unwrap().await.unwrap();
    }
}

fn absent<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the twin does not do this"))
}

#[tonic::async_trait]
impl AgentStateService for Service {
    type WatchAgentsStream = tonic::codegen::BoxStream<WatchAgentsResponse>;

    async fn watch_agents(
        &self,
        _: Request<WatchAgentsRequest>,
    ) -> Result<Response<Self::WatchAgentsStream>, Status> {
        Err(Status::unimplemented("nobody watches here"))
    }

    async fn register_device(
        &self,
        request: Request<RegisterDeviceRequest>,
    ) -> Result<Response<RegisterDeviceResponse>, Status> {
        let it = request.into_inner();
        self.0
            .tell(AgentFact::DeviceRegistered {
                agent_id: it.agent_id.parse().unwrap(),
                device_id: it.device_id.parse().unwrap(),
                contact_uri: it.contact_uri,
                node_id: it.node_id.parse().unwrap(),
                expires_at: Timestamp(it.expires_at_ms),
            })
            .await;
        Ok(Response::new(RegisterDeviceResponse {}))
    }

    async fn unregister_device(
        &self,
        request: Request<UnregisterDeviceRequest>,
    ) -> Result<Response<UnregisterDeviceResponse>, Status> {
        let it = request.into_inner();
        self.0
            .tell(AgentFact::DeviceUnregistered {
                agent_id: it.agent_id.parse().unwrap(),
                device_id: it.device_id.parse().unwrap(),
                reason: it.reason,
            })
            .await;
        Ok(Response::new(UnregisterDeviceResponse {}))
    }

    async fn accept_reservation(
        &self,
        _: Request<AcceptReservationRequest>,
    ) -> Result<Response<AcceptReservationResponse>, Status> {
        match self.0.grants.load(Ordering::Acquire) {
            true => Ok(Response::new(AcceptReservationResponse {})),
            false => Err(Status::failed_precondition("the token is no longer current")),
        }
    }

    async fn release_reservation(
        &self,
        request: Request<ReleaseReservationRequest>,
    ) -> Result<Response<ReleaseReservationResponse>, Status> {
        let it = request.into_inner();
        let busy = |left: u64| left.checked_sub(1);
        if self.0.busy.fetch_update(Ordering::AcqRel, Ordering::Acquire, busy).is_ok() {
            return Err(status_of(RejectionKind::ResourceExhausted, "OVERLOADED", "too many commands wait"));
        }
        let _ = self.0.releases.send((it.offer_id.clone(), it.outcome()));
        Ok(Response::new(ReleaseReservationResponse { released: true }))
    }

    async fn acquire_lease(
        &self,
        _: Request<AcquireLeaseRequest>,
    ) -> Result<Response<AcquireLeaseResponse>, Status> {
        if !self.0.renews.load(Ordering::Acquire) {
            return Err(Status::unavailable("no leader"));
        }
        let epoch = self.0.epoch.fetch_add(1, Ordering::AcqRel);
        Ok(Response::new(AcquireLeaseResponse { epoch, expires_at_ms: 0, previous_renewed_at_ms: 0 }))
    }

    async fn renew_lease(
        &self,
        _: Request<RenewLeaseRequest>,
    ) -> Result<Response<RenewLeaseResponse>, Status> {
        match self.0.renews.load(Ordering::Acquire) {
            true => Ok(Response::new(RenewLeaseResponse { expires_at_ms: 0 })),
            false => Err(Status::failed_precondition("the lease lapsed")),
        }
    }

    async fn release_lease(
        &self,
        _: Request<ReleaseLeaseRequest>,
    ) -> Result<Response<ReleaseLeaseResponse>, Status> {
        Ok(Response::new(ReleaseLeaseResponse {}))
    }

    async fn sign_in(&self, _: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        absent()
    }
    async fn sign_out(&self, _: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        absent()
    }
    async fn go_ready(&self, _: Request<GoReadyRequest>) -> Result<Response<GoReadyResponse>, Status> {
        absent()
    }
    async fn go_not_ready(
        &self,
        _: Request<GoNotReadyRequest>,
    ) -> Result<Response<GoNotReadyResponse>, Status> {
        absent()
    }
    async fn finish_wrap_up(
        &self,
        _: Request<FinishWrapUpRequest>,
    ) -> Result<Response<FinishWrapUpResponse>, Status> {
        absent()
    }
    async fn list_agents(
        &self,
        _: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        absent()
    }
    async fn define_roster(
        &self,
        _: Request<DefineRosterRequest>,
    ) -> Result<Response<DefineRosterResponse>, Status> {
        absent()
    }
    async fn reserve_agents(
        &self,
        _: Request<ReserveAgentsRequest>,
    ) -> Result<Response<ReserveAgentsResponse>, Status> {
        absent()
    }
}
