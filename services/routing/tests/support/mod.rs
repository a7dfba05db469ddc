//! A floor around a routing service: an agent-state that grants or refuses, a media node that is told of offers, and the
//! logs, written as their services would.

#![allow(clippy::unwrap_used, dead_code, reason = "tests")]

mod agent_state;
pub mod apart;
mod media;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::service::Routes;
use tonic::transport::Channel;
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_proto::agent_state::v1::agent_state_service_server::AgentStateServiceServer;
use trunkline_proto::convert::WireFact;
use trunkline_proto::media::v1::OfferContactRequest;
use trunkline_proto::media::v1::media_service_server::MediaServiceServer;
use trunkline_proto::routing::v1::routing_service_client::RoutingServiceClient;
use trunkline_routing::RoutingConfig;
use trunkline_runtime::clock::{Clock, ManualClock};
use trunkline_runtime::event_log::ReadFrom;
use trunkline_runtime::event_log::embedded::{EmbeddedLog, EmbeddedOptions};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::grpc;
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::{Telemetry, TelemetryConfig};

pub use agent_state::Fake;
pub use media::FakeMedia;

/// Long enough for any machine; reached only when a test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const NOW: Timestamp = Timestamp(1_793_577_600_000);
/// How many the queue holds.
pub const WAITING_COUNT_MAX: u32 = 3;
/// The context a contact's facts carry.
pub const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Everything outside the routing process.
pub struct Floor {
    data: tempfile::TempDir,
    pub log: Arc<EmbeddedLog>,
    pub clock: Clock,
    pub hand: ManualClock,
    pub agent_state: Fake,
    pub media: FakeMedia,
    pub offers: mpsc::UnboundedReceiver<OfferContactRequest>,
    agent_state_address: String,
    outside: Shutdown,
    contacts: Told<ContactFact>,
}

/// One run of the routing service.
pub struct Process {
    pub health: Health,
    pub shutdown: Shutdown,
    pub client: RoutingServiceClient<Channel>,
}

/// A log written by somebody else.
pub struct Told<F> {
    writer: FactWriter<F>,
    count: u64,
    at: Clock,
}

impl<F: WireFact> Told<F> {
    async fn open(log: &Arc<EmbeddedLog>, lane: &str, at: &Clock) -> Self {
        let shared: trunkline_runtime::event_log::SharedLog = log.clone();
        let (writer, _) = FactWriter::open(&shared, Cell(0), lane, Epoch(1)).await.unwrap();
        Self { writer, count: 0, at: at.clone() }
    }

    fn tell(&mut self, facts: Vec<F>) -> trunkline_runtime::event_log::AppendTicket {
        let at = self.at.now();
        let recorded = facts.into_iter().map(|fact| {
            self.count += 1;
            let meta = Meta {
                event_id: EventId::from_name(&format!("{}-{}", F::LOG, self.count)).unwrap(),
                cell: Cell(0),
                stream: fact.stream(),
                sequence: self.count,
                occurred_at: at,
                recorded_at: at,
                correlation_id: fact.contact().cloned(),
                causation_id: None,
                traceparent: TRACE.to_owned(),
            };
            Recorded { meta, fact }
        });
        let facts = recorded.collect();
        self.writer.append(&Outcome { epoch: Epoch(1), consumed: Vec::new(), facts }).unwrap()
    }
}

impl Floor {
    /// Two agents who can do everything, a queue for three whose offers ring 15 s, a media node. The time is [`NOW`] until
    /// `hand` moves it.
    pub async fn new() -> Self {
        let (clock, hand) = Clock::manual(NOW);
        Self::telling(clock, hand).await
    }

    /// The same at the time of the machine; its hand moves nothing.
    pub async fn live() -> Self {
        Self::telling(Clock::system(), Clock::manual(NOW).1).await
    }

    async fn telling(clock: Clock, hand: ManualClock) -> Self {
        let data = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions::new(data.path().join("log"), "test", 1);
        let log = Arc::new(EmbeddedLog::open(options).unwrap().0);
        let outside = Shutdown::new();
        let mut directory = Told::open(&log, "directory/0", &clock).await;
        directory.tell(definitions(clock.now())).await.unwrap();
        let agents = Told::open(&log, "agents", &clock).await;
        let agent_state = Fake::new(agents, clock.clone());
        let contacts = Told::open(&log, "media/nod_one", &clock).await;
        let (sender, offers) = mpsc::unbounded_channel();
        let media = FakeMedia::new(sender);
        let media_address = serve(Routes::new(MediaServiceServer::new(media.clone())), &outside);
        let agent_state_address =
            serve(Routes::new(AgentStateServiceServer::new(agent_state.clone())), &outside);
        let floor = Self {
            data,
            log,
            clock,
            hand,
            agent_state,
            media,
            offers,
            agent_state_address,
            outside,
            contacts,
        };
        let lease = AgentFact::LeaseGranted {
            resource: "media/nod_one".to_owned(),
            holder: node("one"),
            epoch: Epoch(1),
            expires_at: Timestamp(i64::MAX),
            address: media_address,
        };
        floor.agent_state.tell(vec![lease]).await;
        floor
    }

    /// Starts the service as `name` and waits until it is ready.
    pub async fn start(&self, name: &str) -> Process {
        let process = self.start_unready(name);
        timely(process.health.became_ready()).await;
        process
    }

    pub fn start_unready(&self, name: &str) -> Process {
        self.start_at(name, &self.clock)
    }

    /// Starts the service as `name`, at a time of its own.
    pub fn start_at(&self, name: &str, clock: &Clock) -> Process {
        let config = RoutingConfig { lease_ttl_ms: 60_000 };
        let (health, shutdown, listener) = (Health::new(), Shutdown::new(), listener());
        let client = RoutingServiceClient::new(grpc::channel(&listener.local_addr().unwrap().to_string()));
        let platform = self.platform(name, clock, &health);
        let run = trunkline_routing::run(config, listener, platform, shutdown.clone());
        shutdown.spawn("routing", async move { run.await.unwrap() });
        Process { health, shutdown, client }
    }

    fn platform(&self, name: &str, clock: &Clock, health: &Health) -> Platform {
        let endpoints =
            Endpoints { agent_state: vec![self.agent_state_address.clone()], ..Endpoints::default() };
        Platform {
            log: self.log.clone(),
            clock: clock.clone(),
            mint: Mint::system(Clock::system()),
            telemetry: Telemetry::start(&TelemetryConfig::default(), "routing", name).unwrap(),
            data_dir: self.data.path().to_owned(),
            node_id: node(name),
            health: health.clone(),
            endpoints,
        }
    }

    /// What media writes.
    pub async fn tell(&mut self, facts: Vec<ContactFact>) {
        self.contacts.tell(facts).await.unwrap();
    }

    /// A contact comes to the queue now.
    pub async fn queues(&mut self, name: &str) {
        let fact = ContactFact::ContactQueueRequested {
            contact_id: contact(name),
            company_id: company(),
            queue_id: queue(),
            visit: 1,
            priority: 0,
            enqueued_at: self.clock.now(),
            required_skills: Vec::new(),
            node_id: node("one"),
        };
        self.tell(vec![fact]).await;
    }

    /// The next offer the media node hears of.
    pub async fn next_offer(&mut self) -> OfferContactRequest {
        timely(self.offers.recv()).await.unwrap()
    }

    /// Reads what counts of the routing log until `last` is among it.
    pub async fn facts_until(
        &self,
        last: impl Fn(&RoutingFact) -> bool,
    ) -> Vec<(Epoch, Recorded<RoutingFact>)> {
        let shared: trunkline_runtime::event_log::SharedLog = self.log.clone();
        let mut reader = FactReader::<RoutingFact>::open(&shared, Cell(0), ReadFrom::Start).await.unwrap();
        let mut facts = Vec::new();
        timely(async {
            loop {
                let outcome = reader.next().await.unwrap().outcome;
                let found = outcome.facts.iter().any(|recorded| last(&recorded.fact));
                facts.extend(outcome.facts.into_iter().map(|recorded| (outcome.epoch, recorded)));
                if found {
                    return;
                }
            }
        })
        .await;
        facts
    }

    pub async fn close(self) {
        assert_eq!(self.outside.drained(PATIENCE).await, Vec::<&str>::new());
    }
}

/// Waits until a process says that it is ready, with this remark.
pub async fn remarks(health: &Health, remark: &str) {
    let said = || health.ready() && health.remarks().iter().any(|(_, it)| it == remark);
    let when = async {
        while !said() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, when).await;
    assert!(waited.is_ok(), "not `{remark}`, but {:?} and {:?}", health.remarks(), health.reasons());
}

/// Waits until a process says that it is not ready, for a reason that begins so.
pub async fn is_unready(health: &Health, reason: &str) {
    let said = || health.reasons().iter().any(|(_, it)| it.starts_with(reason));
    let when = async {
        while !said() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, when).await;
    assert!(waited.is_ok(), "not `{reason}`, but {:?} and {:?}", health.remarks(), health.reasons());
}

impl Process {
    pub async fn stop(self) {
        assert_eq!(self.shutdown.drained(PATIENCE).await, Vec::<&str>::new());
    }
}

pub async fn timely<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it happens in time")
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn serve(routes: Routes, outside: &Shutdown) -> String {
    let listener = listener();
    let address = listener.local_addr().unwrap().to_string();
    let stop = outside.clone();
    outside.spawn("fake", async move {
        grpc::serve(listener, routes, &Health::new(), &stop).await.unwrap();
    });
    address
}

pub fn contact(name: &str) -> ContactId {
    ContactId::from_name(name).unwrap()
}
pub fn agent(name: &str) -> AgentId {
    AgentId::from_name(name).unwrap()
}
pub fn node(name: &str) -> NodeId {
    NodeId::from_name(name).unwrap()
}
pub fn queue() -> QueueId {
    QueueId::from_name("aurora").unwrap()
}
pub fn company() -> CompanyId {
    CompanyId::from_name("aurora").unwrap()
}

fn definitions(effective_at: Timestamp) -> Vec<DirectoryFact> {
    let agent = |name: &str| {
        DirectoryFact::AgentDefined(Agent {
            agent_id: agent(name),
            name: name.to_owned(),
            cell: Cell(0),
            site_id: None,
            skills: Vec::new(),
            sip_user: name.to_owned(),
            sip_ha1_md5: String::new(),
            sip_ha1_sha256: String::new(),
            team_company_id: None,
            channels: Vec::new(),
        })
    };
    let begin = DirectoryFact::RevisionApplied {
        revision: 1,
        author: "ada".to_owned(),
        effective_at,
        source_sha256: String::new(),
    };
    let queue = DirectoryFact::QueueDefined(Queue {
        queue_id: queue(),
        company_id: company(),
        name: "Aurora".to_owned(),
        required_skills: Vec::new(),
        priority: 0,
        offer_timeout_ms: Millis::from_secs(15),
        wrap_up_ms: Millis::ZERO,
        wait_ms_max: Millis::ZERO,
        waiting_count_max: WAITING_COUNT_MAX,
        miss_count_max: 0,
        reoffer_after_ms: Millis::from_secs(30),
        wrap_up_mode: WrapUpMode::Timed,
        wrap_up_code_required: false,
        wrap_up_extension_ms_max: Millis::ZERO,
        miss_reason: String::new(),
        miss_return_ms: Millis::ZERO,
        plan: QueuePlan::default(),
    });
    let rest = match queue.clone() {
        DirectoryFact::QueueDefined(queue) => DirectoryFact::QueueDefined(Queue {
            queue_id: QueueId::from_name("rest").unwrap(),
            name: "Rest".to_owned(),
            ..queue
        }),
        other => other,
    };
    vec![begin, queue, rest, agent("anna"), agent("bert")]
}
