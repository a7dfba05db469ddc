//! A replica over a real log, for the tests of the service.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tonic::Status;
use trunkline_agent_state::raft::{Identity, identify};
use trunkline_agent_state::{AgentStateError, Config, run_by};
use trunkline_domain::agent_state::FEATURE_LEVEL;
use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::{Cell, NodeId, Timestamp};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_client::AgentStateServiceClient;
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::clock::{Clock, ManualClock};
use trunkline_runtime::event_log::embedded::{EmbeddedLog, EmbeddedOptions};
use trunkline_runtime::event_log::{ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;
use trunkline_runtime::grpc::{channel, reason_of};
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
        let afresh = platform.clock.clone();
        let afresh = Arc::new(move || afresh.clone());
        let task = tokio::spawn(run_by(config, listener, platform, afresh, shutdown.clone()));
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

    /// Waits until the newest rules hold: their commands are refused before.
    pub async fn newest_rules(self) -> Self {
        self.rules(FEATURE_LEVEL).await;
        self
    }

    /// Waits until the rules of a level hold.
    pub async fn rules(&self, level: u32) {
        until("the newer rules", async || {
            let listed = self.client.list_agents(api::ListAgentsRequest { stale_ok: false }).await.ok()?;
            (listed.feature_level == level).then_some(())
        })
        .await;
    }

    pub async fn stop(self) {
        self.shutdown.begin();
        drop(self.client);
        self.task.await.unwrap().unwrap();
    }
}

/// Replicas in one process, over one log.
pub struct Group {
    pub dir: PathBuf,
    pub log: SharedLog,
    pub peers: Vec<String>,
    /// The newest rules each takes part in.
    pub levels: Vec<u32>,
    /// What is the same for all.
    pub config: Config,
    pub replicas: Vec<Option<Replica>>,
    pub client: AgentStateClient,
}

impl Group {
    /// Starts three with their data in `dir`, whose clocks all stand at `at`, and waits until they are ready.
    pub async fn start(dir: &Path, at: i64) -> Self {
        Self::start_of(3, dir, at).await
    }

    /// As [`Group::start`], of any number.
    pub async fn start_of(count: usize, dir: &Path, at: i64) -> Self {
        Self::start_at(dir, at, &vec![FEATURE_LEVEL; count]).await
    }

    /// As [`Group::start`], of as many as there are levels, each of which takes part in rules up to its own.
    pub async fn start_at(dir: &Path, at: i64, levels: &[u32]) -> Self {
        Self::start_as(dir, at, levels, Config::default()).await
    }

    /// As [`Group::start_at`], and not as configured otherwise.
    pub async fn start_as(dir: &Path, at: i64, levels: &[u32], config: Config) -> Self {
        let count = levels.len();
        let log = open_log(&dir.join("log"));
        let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let peers: Vec<_> = listeners.iter().map(|it| it.local_addr().unwrap().to_string()).collect();
        let replicas = (0..count).map(|_| None).collect();
        let client = Self::client(&peers);
        let (dir, levels) = (dir.to_owned(), levels.to_vec());
        let mut group = Self { dir, log, peers, levels, config, replicas, client };
        for (place, listener) in listeners.into_iter().enumerate() {
            group.begin(place, listener, at);
        }
        group.ready().await;
        group
    }

    /// Starts one more, which belongs to no cluster yet; gives its place.
    pub fn start_another(&mut self, at: i64) -> usize {
        self.start_another_at(at, FEATURE_LEVEL)
    }

    /// The same, which takes part in rules up to a level.
    pub fn start_another_at(&mut self, at: i64, level: u32) -> usize {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.peers.push(listener.local_addr().unwrap().to_string());
        self.replicas.push(None);
        self.levels.push(level);
        self.client = Self::client(&self.peers);
        self.begin(self.peers.len() - 1, listener, at);
        self.peers.len() - 1
    }

    fn client(peers: &[String]) -> AgentStateClient {
        // Another client's ids are other ids.
        AgentStateClient::new(peers, Mint::seeded(4 + peers.len() as u64))
            .with_time_max(Duration::from_secs(30))
    }

    fn begin(&mut self, place: usize, listener: TcpListener, at: i64) {
        let (peers, advertise) = (self.peers.clone(), self.peers[place].clone());
        let feature_level_max = self.levels[place];
        let config = Config { peers, advertise, feature_level_max, ..self.config.clone() };
        let data = self.data(place);
        self.replicas[place] = Some(Replica::start_on(listener, &data, self.log.clone(), config, at));
    }

    /// Starts one again where it was, with its clock at `at`.
    pub fn restart(&mut self, place: usize, at: i64) {
        let listener = TcpListener::bind(&self.peers[place]).unwrap();
        self.begin(place, listener, at);
    }

    /// The data directory of one.
    pub fn data(&self, place: usize) -> PathBuf {
        self.dir.join(format!("replica-{place}"))
    }

    pub fn replica(&self, place: usize) -> &Replica {
        self.replicas[place].as_ref().unwrap()
    }

    pub async fn stop(&mut self, place: usize) {
        self.replicas[place].take().unwrap().stop().await;
    }

    /// Stops all that run.
    pub async fn stop_all(&mut self) {
        for replica in self.replicas.iter_mut().filter_map(Option::take) {
            replica.stop().await;
        }
    }

    /// Waits until all that run are ready.
    pub async fn ready(&mut self) {
        for replica in &mut self.replicas {
            if let Some(running) = replica.take() {
                *replica = Some(running.ready().await);
            }
        }
    }

    /// The place of the one that answers a command.
    pub async fn leader(&self) -> usize {
        until("a leader", async || {
            for place in 0..self.replicas.len() {
                if self.replicas[place].is_some() && self.ask(place).await.is_ok() {
                    return Some(place);
                }
            }
            None
        })
        .await
    }

    /// Who answers in a place.
    pub async fn identity(&self, place: usize) -> Identity {
        until("answer", async || {
            let time_max = Duration::from_secs(1);
            identify("trunkline", &self.peers[place], false, time_max, || Timestamp(0)).await.ok()
        })
        .await
    }

    /// Waits until all that run were seen at one index; their states must be equal there.
    pub async fn agree(&self) {
        let running = self.peers.iter().zip(&self.replicas).filter(|(_, replica)| replica.is_some());
        let running: Vec<_> = running.map(|(peer, _)| peer).collect();
        let states = until("index that all have applied", async || {
            let mut states = Vec::new();
            for peer in &running {
                let wall = || Timestamp(0);
                let told = identify("trunkline", peer, true, Duration::from_secs(5), wall).await.ok()?.told?;
                states.push((told.applied_index, told.state_hash));
            }
            states.iter().all(|(index, _)| *index == states[0].0).then_some(states)
        })
        .await;
        assert!(states.iter().all(|state| *state == states[0]), "replicas differ: {states:?}");
    }

    /// Gives one alone a command that changes nothing.
    pub async fn ask(&self, place: usize) -> Result<(), Status> {
        let request = api::GoReadyRequest { command_id: "cmd_nothing".to_owned(), ..go_ready("agt_nobody") };
        match AgentStateServiceClient::new(channel(&self.peers[place])).go_ready(request).await {
            Err(status) if reason_of(&status) == Some("UNKNOWN_AGENT") => Ok(()),
            answer => answer.map(drop),
        }
    }
}

/// Asks again until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap_or_else(|_| panic!("no {what}"))
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
            .map(|id| api::RosterAgent { agent_id: id.to_owned(), cell: 1, channels: Vec::new() })
            .to_vec(),
        queues: vec![api::RosterQueue {
            queue_id: "que_main".to_owned(),
            wrap_up_ms: 5_000,
            miss_count_max: 2,
            ..Default::default()
        }],
        reasons: vec![],
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

/// A phone that can be called for a hundred hours of these clocks.
pub fn phone(agent: &str) -> api::RegisterDeviceRequest {
    api::RegisterDeviceRequest {
        command_id: String::new(),
        agent_id: agent.to_owned(),
        device_id: "dev_phone".to_owned(),
        contact_uri: "sip:phone@127.0.0.1".to_owned(),
        node_id: "nod_m".to_owned(),
        expires_at_ms: 360_000_000,
    }
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
            ring_many: false,
            channel: 0,
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
