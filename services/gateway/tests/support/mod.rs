//! A gateway over a real log, with a reporting service and an agent-state of our own behind it; billing is not there.
#![allow(missing_docs, dead_code, clippy::unwrap_used, reason = "tests may unwrap")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use trunkline_domain::facts::{ApiKey, Company, DirectoryFact, Meta, Outcome, Recorded};
use trunkline_domain::vocabulary::{Cell, CompanyId, Epoch, EventId, Millis, NodeId, Timestamp};
use trunkline_gateway::GatewayConfig;
use trunkline_proto::agent_state::v1::agent_state_service_server::{
    AgentStateService, AgentStateServiceServer,
};
use trunkline_proto::agent_state::v1::*;
use trunkline_proto::reporting::v1::reporting_service_server::{ReportingService, ReportingServiceServer};
use trunkline_proto::reporting::v1::*;
use trunkline_runtime::agent_state_client::LEADER_KEY;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, SharedLog};
use trunkline_runtime::facts::FactWriter;
use trunkline_runtime::grpc::{self, RejectionKind};
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::Telemetry;

/// Long enough for any machine; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const OPERATOR: &str = "key-of-the-operator";
pub const AURORA: &str = "key-of-aurora";
pub const BOREAL: &str = "key-of-boreal";

/// What the services behind the gateway were asked.
#[derive(Clone, Default)]
pub struct Asked(pub Arc<Mutex<Vec<String>>>);

impl Asked {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub fn last(&self) -> String {
        self.0.lock().unwrap().last().cloned().unwrap_or_default()
    }
}

#[derive(Clone)]
struct Reporting {
    asked: Asked,
    /// By contact, whose it is.
    contacts: BTreeMap<&'static str, &'static str>,
}

#[tonic::async_trait]
impl ReportingService for Reporting {
    async fn list_intervals(
        &self,
        request: Request<ListIntervalsRequest>,
    ) -> Result<Response<ListIntervalsResponse>, Status> {
        let it = request.into_inner();
        self.asked.note(format!("{it:?}"));
        let cell = IntervalCell {
            from_ms: it.from_ms,
            company_id: it.company_id,
            entered_count: u64::MAX,
            ..Default::default()
        };
        Ok(Response::new(ListIntervalsResponse { cells: vec![cell], watermarks: Vec::new() }))
    }

    async fn list_contacts(
        &self,
        request: Request<ListContactsRequest>,
    ) -> Result<Response<ListContactsResponse>, Status> {
        // What the page token says, this service does.
        match request.into_inner().page_token.as_str() {
            "slow" => std::future::pending().await,
            "broken" => Err(Status::internal("panic at /src/secret.rs:7")),
            "forbidden" => Err(Status::permission_denied("it is there, but not for you")),
            "busy" => {
                Err(grpc::status_of(RejectionKind::ResourceExhausted, "TOO_MANY", "too many at a time"))
            }
            _ => Ok(Response::new(ListContactsResponse::default())),
        }
    }

    async fn get_contact(
        &self,
        request: Request<GetContactRequest>,
    ) -> Result<Response<GetContactResponse>, Status> {
        let it = request.into_inner();
        if self.contacts.get(it.contact_id.as_str()) != Some(&it.company_id.as_str()) {
            return Err(grpc::status_of(RejectionKind::NotFound, "CONTACT_UNKNOWN", "no such contact"));
        }
        let contact =
            ContactRecord { contact_id: it.contact_id, company_id: it.company_id, ..Default::default() };
        Ok(Response::new(GetContactResponse { contact: Some(contact), ..Default::default() }))
    }

    async fn list_timesheets(
        &self,
        _: Request<ListTimesheetsRequest>,
    ) -> Result<Response<ListTimesheetsResponse>, Status> {
        Ok(Response::new(ListTimesheetsResponse::default()))
    }

    async fn get_live_board(
        &self,
        request: Request<GetLiveBoardRequest>,
    ) -> Result<Response<GetLiveBoardResponse>, Status> {
        self.asked.note(format!("{:?}", request.metadata().get("traceparent")));
        let board = GetLiveBoardResponse {
            waiting_count: 2,
            longest_waiting_since_ms: i64::MAX,
            ..Default::default()
        };
        Ok(Response::new(board))
    }

    async fn get_reporting_state(
        &self,
        _: Request<GetReportingStateRequest>,
    ) -> Result<Response<GetReportingStateResponse>, Status> {
        Ok(Response::new(GetReportingStateResponse::default()))
    }
}

/// A voter: a follower sends to the leader, the leader answers `SignIn` only.
#[derive(Clone)]
struct Voter {
    asked: Asked,
    leader: Option<String>,
}

macro_rules! voter {
    ($($method:ident $request:ident $response:ident;)*) => {
        #[tonic::async_trait]
        impl AgentStateService for Voter {
            type WatchAgentsStream = tonic::codegen::BoxStream<WatchAgentsResponse>;

            /// Everything at index 7, one change at 9, and then this replica stops to lead.
            async fn watch_agents(
                &self,
                request: Request<WatchAgentsRequest>,
            ) -> Result<Response<Self::WatchAgentsStream>, Status> {
                if let Some(leader) = &self.leader {
                    let mut status = Status::failed_precondition("not the leader");
                    status.metadata_mut().insert(LEADER_KEY, leader.parse().unwrap());
                    return Err(status);
                }
                let it = request.into_inner();
                self.asked.note(format!("watch {} {}", it.after_index, it.stale_ok));
                let anna = AgentView { agent_id: "agt_anna".to_owned(), ..Default::default() };
                let told = |raft_index, whole, agents| {
                    Ok(WatchAgentsResponse { raft_index, whole, agents, stale: false })
                };
                let messages = [
                    told(0, true, vec![anna.clone()]),
                    told(7, false, Vec::new()),
                    told(9, false, vec![anna]),
                    Err(Status::unavailable("this replica is shutting down")),
                ];
                Ok(Response::new(Box::pin(futures::stream::iter(messages))))
            }

            async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
                if let Some(leader) = &self.leader {
                    let mut status = Status::failed_precondition("not the leader");
                    status.metadata_mut().insert(LEADER_KEY, leader.parse().unwrap());
                    return Err(status);
                }
                let it = request.into_inner();
                self.asked.note(format!("{} {}", it.command_id, it.agent_id));
                Ok(Response::new(SignInResponse { session_id: "ses_1".to_owned() }))
            }

            $(async fn $method(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                self.asked.note(stringify!($method).to_owned());
                Err(grpc::status_of(RejectionKind::FailedPrecondition, "NOT_SIGNED_IN", "agent is not signed in"))
            })*
        }
    };
}
voter! {
    sign_out SignOutRequest SignOutResponse;
    go_ready GoReadyRequest GoReadyResponse;
    go_not_ready GoNotReadyRequest GoNotReadyResponse;
    finish_wrap_up FinishWrapUpRequest FinishWrapUpResponse;
    list_agents ListAgentsRequest ListAgentsResponse;
    register_device RegisterDeviceRequest RegisterDeviceResponse;
    unregister_device UnregisterDeviceRequest UnregisterDeviceResponse;
    define_roster DefineRosterRequest DefineRosterResponse;
    reserve_agents ReserveAgentsRequest ReserveAgentsResponse;
    accept_reservation AcceptReservationRequest AcceptReservationResponse;
    release_reservation ReleaseReservationRequest ReleaseReservationResponse;
    acquire_lease AcquireLeaseRequest AcquireLeaseResponse;
    renew_lease RenewLeaseRequest RenewLeaseResponse;
    release_lease ReleaseLeaseRequest ReleaseLeaseResponse;
}

fn serve(routes: Routes, shutdown: &Shutdown) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stop = shutdown.clone();
    shutdown.spawn("behind the gateway", async move {
        grpc::serve(listener, routes, &Health::new(), &stop).await.unwrap();
    });
    address
}

/// An address at which nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn directory() -> Vec<DirectoryFact> {
    let company = |name: &str| CompanyId::from_name(name).unwrap();
    let defined = |name: &str| {
        DirectoryFact::CompanyDefined(Company {
            company_id: company(name),
            name: format!("{name} Ltd"),
            cell: Cell(0),
            service_level_threshold_ms: Millis(20_000),
        })
    };
    let key = |key: &str, company_id: Option<CompanyId>| {
        DirectoryFact::ApiKeyDefined(ApiKey {
            name: key.to_owned(),
            key_sha256: hex::encode(Sha256::digest(key)),
            company_id,
        })
    };
    vec![
        DirectoryFact::RevisionApplied {
            revision: 1,
            author: "test".to_owned(),
            effective_at: Timestamp(0),
            source_sha256: String::new(),
        },
        defined("aurora"),
        defined("boreal"),
        key(OPERATOR, None),
        key(AURORA, Some(company("aurora"))),
        key(BOREAL, Some(company("boreal"))),
    ]
}

async fn write_directory(log: &SharedLog) {
    let (mut writer, _) = FactWriter::open(log, Cell(0), "directory/0", Epoch(1)).await.unwrap();
    let recorded = directory().into_iter().zip(1..).map(|(fact, sequence)| {
        let meta = Meta {
            event_id: EventId::from_name(&sequence.to_string()).unwrap(),
            cell: Cell(0),
            stream: "directory".to_owned(),
            sequence,
            occurred_at: Timestamp(0),
            recorded_at: Timestamp(0),
            correlation_id: None,
            causation_id: None,
            traceparent: String::new(),
        };
        Recorded { meta, fact }
    });
    let outcome = Outcome { epoch: Epoch(1), consumed: Vec::new(), facts: recorded.collect() };
    writer.append(&outcome).unwrap().await.unwrap();
}

pub struct Scene {
    pub address: String,
    pub asked: Asked,
    pub health: Health,
    pub shutdown: Shutdown,
    _data: TempDir,
}

impl Scene {
    pub async fn new() -> Self {
        Self::with(GatewayConfig::default()).await
    }

    pub async fn with(config: GatewayConfig) -> Self {
        let data = tempfile::tempdir().unwrap();
        let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(data.path(), "test", 1)).unwrap();
        let log: SharedLog = Arc::new(log);
        write_directory(&log).await;
        let scene = Self::over(config, log, data).await;
        tokio::time::timeout(PATIENCE, scene.health.became_ready()).await.unwrap();
        scene
    }

    pub async fn over(config: GatewayConfig, log: SharedLog, data: TempDir) -> Self {
        let (asked, shutdown, health) = (Asked::default(), Shutdown::new(), Health::new());
        let contacts = BTreeMap::from([("ctc_a", "cmp_aurora"), ("ctc_b", "cmp_boreal")]);
        let reporting = Reporting { asked: asked.clone(), contacts };
        let leader = Voter { asked: asked.clone(), leader: None };
        let leader = serve(Routes::new(AgentStateServiceServer::new(leader)), &shutdown);
        let follower = Voter { asked: asked.clone(), leader: Some(leader) };
        let endpoints = Endpoints {
            reporting: serve(Routes::new(ReportingServiceServer::new(reporting)), &shutdown),
            agent_state: vec![serve(Routes::new(AgentStateServiceServer::new(follower)), &shutdown)],
            directory: nobody(),
            routing: vec![nobody()],
            billing: nobody(),
            media: String::new(),
        };
        let clock = Clock::system();
        let platform = Platform {
            log,
            clock: clock.clone(),
            mint: Mint::system(clock),
            telemetry: Telemetry::off(),
            data_dir: data.path().to_owned(),
            node_id: NodeId::parse("nod_a").unwrap(),
            health: health.clone(),
            endpoints,
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = shutdown.clone();
        shutdown.spawn("gateway", async move {
            trunkline_gateway::run(config, listener, platform, stop).await.unwrap();
        });
        Self { address, asked, health, shutdown, _data: data }
    }

    pub async fn get(&self, key: &str, target: &str) -> Answer {
        self.send("GET", key, target, None).await
    }

    pub async fn post(&self, key: &str, target: &str, body: &str) -> Answer {
        self.send("POST", key, target, Some(("application/json", body))).await
    }

    pub async fn send(&self, method: &str, key: &str, target: &str, body: Option<(&str, &str)>) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        if !key.is_empty() {
            head += &format!("authorization: Bearer {key}\r\n");
        }
        if let Some((kind, body)) = body {
            head += &format!("content-type: {kind}\r\ncontent-length: {}\r\n", body.len());
        }
        self.raw(&format!("{head}\r\n{}", body.map_or("", |(_, body)| body))).await
    }

    /// Sends these bytes and reads until the gateway closes.
    pub async fn raw(&self, request: &str) -> Answer {
        let mut socket = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        // The gateway may answer and close before it has read everything.
        let _ = socket.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.unwrap();
        Answer::parse(&String::from_utf8(answer).unwrap())
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer in {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Status and reason of a problem, whose form is checked.
    #[track_caller]
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.headers.get("content-type").map(String::as_str),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["type"], "about:blank");
        assert!(problem["title"].is_string() && problem["detail"].is_string());
        (self.status, problem["reason"].as_str().unwrap().to_owned())
    }
}
