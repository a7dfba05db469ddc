//! A world around one media node: an embedded log in a temporary directory, a small agent-state, callers and phones on
//! loopback sockets.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod agent_state;
pub mod outage;
pub mod ua;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_state::FakeAgentState;
use outage::Outage;
use tempfile::TempDir;
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_media::{Media, MediaConfig};
use trunkline_proto::media::v1::media_service_client::MediaServiceClient;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::embedded::{EmbeddedLog, EmbeddedOptions};
use trunkline_runtime::event_log::{ReadFrom, SharedLog};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::Telemetry;

/// Longer than anything here may take; reaching it is a failure, never a way to pass.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const SALES: &str = "4930222222";
pub const CLOSED: &str = "4930333333";
pub const BLOCKED_CALLER: &str = "4930999999";
pub const ANNA_PASSWORD: &str = "secret";

/// Everything but the media node, which may be started again.
pub struct World {
    pub dir: TempDir,
    pub log: SharedLog,
    /// The same log as the node sees it.
    pub outage: Arc<Outage>,
    pub agent_state: Arc<FakeAgentState>,
    pub node_id: NodeId,
    address: String,
}

/// A running media node.
pub struct Node {
    pub sip: SocketAddr,
    pub rpc: MediaServiceClient<tonic::transport::Channel>,
    pub shutdown: Shutdown,
    pub served: tokio::task::JoinHandle<Result<(), trunkline_media::MediaError>>,
    pub health: Health,
    pub telemetry: Telemetry,
}

pub fn id<T: std::str::FromStr<Err = IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("prompts")).unwrap();
        std::fs::create_dir_all(dir.path().join("moh")).unwrap();
        write_tone(&dir.path().join("prompts/hello.wav"), 200);
        write_tone(&dir.path().join("prompts/closed.wav"), 100);
        write_tone(&dir.path().join("moh/tune.wav"), 1_000);
        let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(dir.path().join("log"), "test", 1)).unwrap();
        let log: SharedLog = Arc::new(log);
        apply_directory(&log).await;
        let (agent_state, address) = FakeAgentState::start(log.clone()).await;
        Self { dir, outage: Outage::of(&log), log, agent_state, node_id: id("nod_media"), address }
    }

    pub fn config(&self) -> MediaConfig {
        let mut config = MediaConfig { sip_listen: "127.0.0.1:0".parse().unwrap(), ..MediaConfig::default() };
        config.plane.prompt_dir = self.dir.path().join("prompts");
        config.plane.music_dir = self.dir.path().join("moh");
        config.drain_ms = 0;
        config.register_expires_s_min = 10;
        config
    }

    pub async fn start(&self, config: MediaConfig) -> Node {
        let clock = Clock::system();
        let health = Health::new();
        let telemetry = Telemetry::off();
        let platform = Platform {
            log: self.outage.clone(),
            mint: Mint::system(clock.clone()),
            clock,
            telemetry: telemetry.clone(),
            data_dir: self.dir.path().to_owned(),
            node_id: self.node_id.clone(),
            health: health.clone(),
            endpoints: Endpoints { agent_state: vec![self.address.clone()], ..Endpoints::default() },
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let rpc = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let media = Media::start(config, platform).await.unwrap();
        let sip = media.sip_address();
        let served = tokio::spawn(media.serve(listener, shutdown.clone()));
        let mut ready = health.watch();
        tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.expect("ready in time").unwrap();
        let rpc =
            MediaServiceClient::new(tonic::transport::Endpoint::from_shared(rpc).unwrap().connect_lazy());
        Node { sip, rpc, shutdown, served, health, telemetry }
    }

    /// Waits until the contacts log holds what `wanted` looks for, and gives all facts so far.
    pub async fn facts_until(
        &self,
        what: &str,
        wanted: impl Fn(&[Recorded<ContactFact>]) -> bool,
    ) -> Vec<Recorded<ContactFact>> {
        let mut reader = FactReader::<ContactFact>::open(&self.log, Cell(0), ReadFrom::Start).await.unwrap();
        let mut facts = Vec::new();
        let read = async {
            while !wanted(&facts) {
                facts.extend(reader.next().await.unwrap().outcome.facts);
            }
        };
        if tokio::time::timeout(PATIENCE, read).await.is_err() {
            panic!("no {what}; there was: {:#?}", names(&facts));
        }
        facts
    }

    /// The first fact of that name.
    pub async fn fact(&self, name: &str) -> Recorded<ContactFact> {
        let facts = self.facts_until(name, |facts| facts.iter().any(|f| f.fact.name() == name)).await;
        facts.into_iter().find(|f| f.fact.name() == name).unwrap()
    }

    /// All facts, once `count` contacts have ended.
    pub async fn ended(&self, count: usize) -> Vec<Recorded<ContactFact>> {
        self.facts_until("end", |facts| {
            facts.iter().filter(|f| matches!(f.fact, ContactFact::ContactEnded { .. })).count() >= count
        })
        .await
    }
}

pub fn names(facts: &[Recorded<ContactFact>]) -> Vec<&'static str> {
    facts.iter().map(|recorded| recorded.fact.name()).collect()
}

/// The lines of the metric that counts refused SIP messages, as `reason count`.
pub fn refused(node: &Node) -> Vec<String> {
    let text = node.telemetry.metrics().render();
    let lines =
        text.lines().filter_map(|line| line.strip_prefix("trunkline_media_sip_messages_refused_total{"));
    let counted = lines.filter(|line| !line.ends_with(" 0"));
    counted.map(|line| line.replace("reason=", "").replace(['"', '}'], "")).collect()
}

/// The cause of the end of each contact, in order of their ends.
pub fn causes(facts: &[Recorded<ContactFact>]) -> Vec<ContactEndCause> {
    facts
        .iter()
        .filter_map(|recorded| match recorded.fact {
            ContactFact::ContactEnded { cause, .. } => Some(cause),
            _ => None,
        })
        .collect()
}

fn write_tone(path: &Path, ms: usize) {
    let samples: Vec<i16> = (0..ms * 8).map(|n| if n % 16 < 8 { 4_000 } else { -4_000 }).collect();
    std::fs::write(path, trunkline_media::wire::wav::file_of(&samples)).unwrap();
}

async fn apply_directory(log: &SharedLog) {
    use md5::{Digest as _, Md5};
    let (mut writer, _) =
        FactWriter::<DirectoryFact>::open(log, Cell(0), "directory/0", Epoch(1)).await.unwrap();
    let number = |text: &str| PhoneNumber::parse(&format!("+{text}")).unwrap();
    let flow = |name: &str, calendar_id| Flow {
        flow_id: id(name),
        company_id: id("cmp_acme"),
        calendar_id,
        closed_prompt: "closed".to_owned(),
        greeting_prompt: "hello".to_owned(),
        music: "default".to_owned(),
        queue_id: id("que_sales"),
    };
    let ha1 = format!("anna:trunkline:{ANNA_PASSWORD}");
    let facts = vec![
        DirectoryFact::RevisionApplied {
            revision: 1,
            author: "test".to_owned(),
            effective_at: Timestamp(0),
            source_sha256: String::new(),
        },
        DirectoryFact::CompanyDefined(Company {
            company_id: id("cmp_acme"),
            name: "Acme".to_owned(),
            cell: Cell(0),
            service_level_threshold_ms: Millis(20_000),
        }),
        DirectoryFact::CalendarDefined(Calendar {
            calendar_id: id("cal_never"),
            time_zone: "UTC".to_owned(),
            open: Vec::new(),
            closed_dates: Vec::new(),
        }),
        DirectoryFact::SkillDefined(Skill { skill_id: id("skl_sales"), name: "sales".to_owned() }),
        DirectoryFact::QueueDefined(Queue {
            queue_id: id("que_sales"),
            company_id: id("cmp_acme"),
            name: "Sales".to_owned(),
            required_skills: vec!["skl_sales".parse().unwrap()],
            priority: 1,
            offer_timeout_ms: Millis(10_000),
            wrap_up_ms: Millis(0),
            wait_ms_max: Millis(0),
            waiting_count_max: 0,
            miss_count_max: 0,
            reoffer_after_ms: Millis(0),
            wrap_up_mode: WrapUpMode::Timed,
            wrap_up_code_required: false,
            wrap_up_extension_ms_max: Millis::ZERO,
            miss_reason: String::new(),
            miss_return_ms: Millis::ZERO,
            plan: QueuePlan::default(),
        }),
        DirectoryFact::FlowDefined(flow("flw_sales", None)),
        DirectoryFact::FlowDefined(flow("flw_closed", Some(id("cal_never")))),
        DirectoryFact::NumberDefined(Number {
            number: number(SALES),
            company_id: id("cmp_acme"),
            flow_id: id("flw_sales"),
        }),
        DirectoryFact::NumberDefined(Number {
            number: number(CLOSED),
            company_id: id("cmp_acme"),
            flow_id: id("flw_closed"),
        }),
        DirectoryFact::AgentDefined(Agent {
            agent_id: id("agt_anna"),
            name: "Anna".to_owned(),
            cell: Cell(0),
            site_id: None,
            skills: vec!["skl_sales".parse().unwrap()],
            sip_user: "anna".to_owned(),
            sip_ha1_md5: hex::encode(Md5::digest(&ha1)),
            sip_ha1_sha256: hex::encode(sha2::Sha256::digest(&ha1)),
            team_company_id: None,
            channels: Vec::new(),
        }),
        DirectoryFact::BlocklistEntryDefined(BlocklistEntry {
            number: number(BLOCKED_CALLER),
            company_id: None,
            reason: "test".to_owned(),
        }),
    ];
    let recorded = facts.into_iter().zip(1..).map(|(fact, sequence)| Recorded {
        meta: Meta {
            event_id: EventId::from_name(&format!("d-{sequence}")).unwrap(),
            cell: Cell(0),
            stream: "directory".to_owned(),
            sequence,
            occurred_at: Timestamp(1),
            recorded_at: Timestamp(1),
            correlation_id: None,
            causation_id: None,
            traceparent: String::new(),
        },
        fact,
    });
    let outcome = Outcome { epoch: Epoch(1), consumed: Vec::new(), facts: recorded.collect() };
    writer.append(&outcome).unwrap().await.unwrap();
}
