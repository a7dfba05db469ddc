//! A replica over a real log, for the tests of the service.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use trunkline_agent_state::{AgentStateError, Config, run};
use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::{Cell, NodeId, Timestamp};
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::clock::{Clock, ManualClock};
use trunkline_runtime::event_log::embedded::{EmbeddedLog, EmbeddedOptions};
use trunkline_runtime::event_log::{ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::Telemetry;

pub fn open_log(dir: &Path) -> SharedLog {
    let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(dir, "test", 2)).unwrap();
    Arc::new(log)
}

pub struct Replica {
    pub address: String,
    pub client: AgentStateClient,
    pub health: Health,
    pub hand: ManualClock,
    pub shutdown: Shutdown,
    pub task: tokio::task::JoinHandle<Result<(), AgentStateError>>,
}

impl Replica {
    pub fn start(dir: &Path, log: SharedLog, config: Config, at: i64) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), dir, log, config, at)
    }

    pub fn start_on(listener: TcpListener, dir: &Path, log: SharedLog, config: Config, at: i64) -> Self {
        let address = listener.local_addr().unwrap().to_string();
        let (clock, hand) = Clock::manual(Timestamp(at));
        let mint = Mint::system(Clock::system());
        let health = Health::new();
        let platform = Platform {
            log,
            clock,
            mint: mint.clone(),
            telemetry: Telemetry::off(),
            data_dir: dir.to_owned(),
            node_id: NodeId::parse("nod_test").unwrap(),
            health: health.clone(),
            endpoints: Endpoints::default(),
        };
        let shutdown = Shutdown::new();
        let task = tokio::spawn(run(config, listener, platform, shutdown.clone()));
        let client = AgentStateClient::new(std::slice::from_ref(&address), mint)
            .with_time_max(Duration::from_secs(20));
        Self { address, client, health, hand, shutdown, task }
    }

    pub async fn ready(self) -> Self {
        tokio::time::timeout(Duration::from_secs(30), self.health.became_ready())
            .await
            .unwrap_or_else(|_| panic!("not ready: {:?}", self.health.reasons()));
        self
    }

    pub async fn stop(self) {
        self.shutdown.begin();
        drop(self.client);
        self.task.await.unwrap().unwrap();
    }
}

/// Every fact in a cell of the agents log, in order, as `name id`.
pub async fn facts(log: &SharedLog, cell: u32) -> Vec<String> {
    let mut reader = FactReader::<AgentFact>::open(log, Cell(cell), ReadFrom::Start).await.unwrap();
    let mut found = Vec::new();
    let fold = |delivered: trunkline_domain::facts::Delivered<AgentFact>| {
        for fact in delivered.outcome.facts {
            use trunkline_domain::facts::LogFact;
            found.push(format!("{} {} #{}", fact.fact.name(), fact.meta.stream, fact.meta.sequence));
        }
    };
    reader.fold_to_end(fold).await.unwrap();
    found
}

/// Waits until a cell of the agents log holds `count` facts.
pub async fn facts_when(log: &SharedLog, cell: u32, count: usize) -> Vec<String> {
    let mut reader = FactReader::<AgentFact>::open(log, Cell(cell), ReadFrom::Start).await.unwrap();
    let mut seen = 0;
    let wait = async {
        while seen < count {
            seen += reader.next().await.unwrap().outcome.facts.len();
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(waited.is_ok(), "waited for {count} facts, got {:?}", facts(log, cell).await);
    facts(log, cell).await
}

pub fn roster(revision: u64) -> api::DefineRosterRequest {
    api::DefineRosterRequest {
        command_id: String::new(),
        directory_revision: revision,
        agents: ["agt_anna", "agt_ben"]
            .map(|id| api::RosterAgent { agent_id: id.to_owned(), cell: 1 })
            .to_vec(),
        queues: vec![api::RosterQueue {
            queue_id: "que_main".to_owned(),
            wrap_up_ms: 5_000,
            miss_count_max: 2,
        }],
    }
}

pub fn acquire(resource: &str, holder: &str) -> api::AcquireLeaseRequest {
    api::AcquireLeaseRequest {
        command_id: String::new(),
        resource: resource.to_owned(),
        holder: holder.to_owned(),
        ttl_ms: 300_000,
        address: String::new(),
    }
}

pub fn sign_in(agent: &str) -> api::SignInRequest {
    api::SignInRequest { agent_id: agent.to_owned(), ..Default::default() }
}

pub fn go_ready(agent: &str) -> api::GoReadyRequest {
    api::GoReadyRequest { agent_id: agent.to_owned(), ..Default::default() }
}

pub fn reserve(agent: &str, contact: &str, epoch: u64, expires_at_ms: i64) -> api::ReserveAgentsRequest {
    api::ReserveAgentsRequest {
        command_id: String::new(),
        cell: 1,
        routing_epoch: epoch,
        wishes: vec![api::ReservationWish {
            offer_id: format!("ofr_{contact}"),
            agent_id: agent.to_owned(),
            contact_id: format!("ctc_{contact}"),
            company_id: "cmp_acme".to_owned(),
            queue_id: "que_main".to_owned(),
            node_id: "nod_m".to_owned(),
            expires_at_ms,
        }],
    }
}

pub fn accept(agent: &str, contact: &str, token: u64, epoch: u64) -> api::AcceptReservationRequest {
    api::AcceptReservationRequest {
        command_id: String::new(),
        agent_id: agent.to_owned(),
        offer_id: format!("ofr_{contact}"),
        token,
        node_id: "nod_m".to_owned(),
        media_epoch: epoch,
    }
}

pub fn release(
    agent: &str,
    contact: &str,
    token: u64,
    epoch: u64,
    outcome: api::ReservationOutcome,
) -> api::ReleaseReservationRequest {
    api::ReleaseReservationRequest {
        command_id: String::new(),
        agent_id: agent.to_owned(),
        offer_id: format!("ofr_{contact}"),
        token,
        outcome: outcome.into(),
        node_id: "nod_m".to_owned(),
        epoch,
    }
}
