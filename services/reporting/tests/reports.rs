//! The service on a real log in a directory of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;
use trunkline_domain::facts::{
    AgentFact, BillingFact, Company, ContactFact, DirectoryFact, Meta, Outcome, Recorded, ReleaseOutcome,
    RoutingFact, UsageUnit,
};
use trunkline_domain::vocabulary::{
    AgentId, Cell, CompanyId, ContactEndCause, ContactId, ContractId, Currency, DeviceId, Epoch, EventId,
    ItemId, LegId, Millis, Money, NodeId, OfferId, Party, PhoneNumber, QueueId, SessionId, Timestamp,
};
use trunkline_proto::convert::WireFact;
use trunkline_proto::reporting::v1::reporting_service_client::ReportingServiceClient;
use trunkline_proto::reporting::v1::{
    GetContactRequest, GetLiveBoardRequest, GetReportingStateRequest, GetReportingStateResponse,
    ListContactsRequest, ListIntervalsRequest, ListTimesheetsRequest,
};
use trunkline_reporting::{ReportingConfig, ReportingError, run};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, SharedLog};
use trunkline_runtime::facts::FactWriter;
use trunkline_runtime::grpc;
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::Telemetry;

const START: i64 = 1_767_258_000_000;

fn company() -> CompanyId {
    CompanyId::from_name("aurora").unwrap()
}

fn contact(n: u32) -> ContactId {
    ContactId::from_name(&format!("c{n}")).unwrap()
}

fn offer(n: u32) -> OfferId {
    OfferId::from_name(&format!("o{n}")).unwrap()
}

fn agent() -> AgentId {
    AgentId::from_name("anna").unwrap()
}

fn queue() -> QueueId {
    QueueId::from_name("orders").unwrap()
}

fn node() -> NodeId {
    NodeId::from_name("n").unwrap()
}

/// Writes one log under one epoch, numbering streams across epochs.
struct Scribe<F> {
    writer: FactWriter<F>,
    sequences: BTreeMap<String, u64>,
}

impl<F: WireFact> Scribe<F> {
    async fn open(log: &SharedLog, lane: &str, epoch: u64) -> Self {
        let (writer, _) = FactWriter::open(log, Cell(0), lane, Epoch(epoch)).await.unwrap();
        Self { writer, sequences: BTreeMap::new() }
    }

    async fn write(&mut self, at: i64, facts: impl IntoIterator<Item = F>) {
        let facts = facts.into_iter().map(|fact| self.recorded(at, fact)).collect();
        let outcome = Outcome { epoch: self.writer.epoch(), consumed: vec![], facts };
        self.writer.append(&outcome).unwrap().await.unwrap();
    }

    fn recorded(&mut self, at: i64, fact: F) -> Recorded<F> {
        let stream = fact.stream();
        let sequence = self.sequences.entry(stream.clone()).or_default();
        *sequence += 1;
        let name = format!("{}-{}-{sequence}", F::LOG, stream.replace(['_', ':', '/'], "-"));
        let meta = Meta {
            event_id: EventId::from_name(&name).unwrap(),
            cell: Cell(0),
            stream,
            sequence: *sequence,
            occurred_at: Timestamp(START + at),
            recorded_at: Timestamp(START + at),
            correlation_id: fact.contact().cloned(),
            causation_id: None,
            traceparent: String::new(),
        };
        Recorded { meta, fact }
    }
}

fn arrived(n: u32) -> ContactFact {
    ContactFact::ContactArrived {
        contact_id: contact(n),
        company_id: Some(company()),
        caller: Some(PhoneNumber::parse("+4930123456").unwrap()),
        dialled: Some(PhoneNumber::parse("+4930555000").unwrap()),
        node_id: node(),
        sip_call_id: format!("call-{n}"),
        flow_id: None,
        directory_revision: 1,
    }
}

fn queued(n: u32, at: i64) -> ContactFact {
    ContactFact::ContactQueueRequested {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        priority: 10,
        enqueued_at: Timestamp(START + at),
        required_skills: vec![],
        node_id: node(),
    }
}

fn connected(n: u32) -> ContactFact {
    ContactFact::ContactConnected {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        offer_id: offer(n),
        agent_id: agent(),
        leg_id: LegId::from_name("l").unwrap(),
        waited_ms: Millis(4_000),
    }
}

fn disconnected(n: u32) -> ContactFact {
    ContactFact::ContactDisconnected {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        offer_id: offer(n),
        agent_id: agent(),
        talked_ms: Millis(30_000),
        by: Party::Caller,
    }
}

fn ended(n: u32) -> ContactFact {
    ContactFact::ContactEnded {
        contact_id: contact(n),
        company_id: Some(company()),
        cause: ContactEndCause::Completed,
        by: Party::Caller,
        sip_status: None,
        rtp_received_count: 1,
        rtp_sent_count: 1,
    }
}

fn reserved(n: u32) -> AgentFact {
    AgentFact::AgentReserved {
        agent_id: agent(),
        offer_id: offer(n),
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        token: 7,
        node_id: node(),
        routing_epoch: Epoch(1),
        expires_at: Timestamp(START + 60_000),
        channel: trunkline_domain::vocabulary::Channel::Voice,
    }
}

struct Scribes {
    contacts: Scribe<ContactFact>,
    agents: Scribe<AgentFact>,
    routing: Scribe<RoutingFact>,
    billing: Scribe<BillingFact>,
}

impl Scribes {
    /// Opens all lanes and says what the directory says.
    async fn open(log: &SharedLog) -> Self {
        let mut directory = Scribe::open(log, "directory/0", 1).await;
        let revision = DirectoryFact::RevisionApplied {
            revision: 1,
            author: "test".into(),
            effective_at: Timestamp(START - 1_000),
            source_sha256: String::new(),
        };
        let defined = DirectoryFact::CompanyDefined(Company {
            company_id: company(),
            name: "Aurora".into(),
            cell: Cell(0),
            service_level_threshold_ms: Millis(20_000),
        });
        directory.write(-1_000, [revision, defined]).await;
        let mut agents = Scribe::open(log, "agents", 1).await;
        let session_id = SessionId::from_name("s").unwrap();
        agents.write(0, [AgentFact::AgentSignedIn { agent_id: agent(), session_id, site_id: None }]).await;
        agents.write(1_000, [AgentFact::AgentBecameReady { agent_id: agent() }]).await;
        let phone = AgentFact::DeviceRegistered {
            agent_id: agent(),
            device_id: DeviceId::from_name("phone").unwrap(),
            contact_uri: "sip:phone@127.0.0.1".to_owned(),
            node_id: node(),
            expires_at: Timestamp(i64::MAX),
        };
        agents.write(1_000, [phone]).await;
        Self {
            contacts: Scribe::open(log, "media/nod_n", 1).await,
            agents,
            routing: Scribe::open(log, "routing/0", 1).await,
            billing: Scribe::open(log, "billing/0", 1).await,
        }
    }

    /// A contact from arrival at `at` to its item: 4 s of waiting, 30 s of talk, 10 s of wrap-up.
    async fn call(&mut self, n: u32, at: i64) {
        self.contacts.write(at, [arrived(n)]).await;
        self.contacts.write(at + 1_000, [queued(n, at + 1_000)]).await;
        self.agents.write(at + 2_000, [reserved(n)]).await;
        let (contact_id, offer_id, agent_id) = (contact(n), offer(n), agent());
        let accepted = RoutingFact::OfferAccepted { contact_id, offer_id, agent_id };
        self.routing.write(at + 5_000, [accepted]).await;
        let (contact_id, offer_id, agent_id) = (contact(n), offer(n), agent());
        let accepted = AgentFact::ReservationAccepted { agent_id, offer_id, contact_id, token: 7 };
        self.agents.write(at + 5_000, [accepted]).await;
        self.contacts.write(at + 5_000, [connected(n)]).await;
        self.contacts.write(at + 35_000, [disconnected(n), ended(n)]).await;
        let (contact_id, offer_id, agent_id) = (contact(n), offer(n), agent());
        let outcome = ReleaseOutcome::Completed;
        let released = AgentFact::ReservationReleased { agent_id, offer_id, contact_id, token: 7, outcome };
        let wrapping_up = AgentFact::WrapUpStarted {
            agent_id: agent(),
            offer_id: offer(n),
            contact_id: contact(n),
            company_id: company(),
            queue_id: queue(),
            ends_at: Some(Timestamp(START + at + 45_000)),
            channel: trunkline_domain::vocabulary::Channel::Voice,
        };
        self.agents.write(at + 35_000, [released, wrapping_up]).await;
        let (contact_id, offer_id, agent_id) = (contact(n), offer(n), agent());
        let over = AgentFact::WrapUpEnded {
            agent_id,
            offer_id,
            contact_id,
            finished_by_agent: false,
            wrap_up_code: String::new(),
        };
        self.agents.write(at + 45_000, [over]).await;
        let price = Money::parse(Currency::parse("EUR").unwrap(), "0.48").unwrap();
        let rated = BillingFact::UsageRated {
            item_id: ItemId::from_name(&format!("t-o{n}")).unwrap(),
            company_id: company(),
            contract_id: ContractId::from_name("aurora").unwrap(),
            contract_version: 1,
            unit: UsageUnit::TalkTime,
            contact_id: Some(contact(n)),
            agent_id: Some(agent()),
            session_id: None,
            measured_ms: Millis(30_000),
            billed_ms: Millis(30_000),
            price,
            price_per_ms: Millis(60_000),
            occurred_at: Timestamp(START + at + 35_000),
            causes: vec![],
        };
        self.billing.write(at + 35_000, [rated]).await;
    }
}

fn open_log(dir: &Path) -> SharedLog {
    let (log, report) = EmbeddedLog::open(EmbeddedOptions::new(dir.join("log"), "test", 1)).unwrap();
    assert_eq!(report.quarantined().count(), 0);
    Arc::new(log)
}

/// A running service.
struct Running {
    client: ReportingServiceClient<Channel>,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), ReportingError>>,
}

impl Running {
    /// Starts it and waits until it has caught up.
    async fn start(log: &SharedLog, data_dir: &Path, checkpoint_every_ms: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let clock = Clock::system();
        let mint = Mint::system(clock.clone());
        let platform = Platform {
            log: log.clone(),
            clock,
            node_id: mint.node(),
            mint,
            telemetry: Telemetry::off(),
            data_dir: data_dir.to_owned(),
            health: Health::new(),
            endpoints: Endpoints::default(),
        };
        let health = platform.health.clone();
        let shutdown = Shutdown::new();
        let config = ReportingConfig { checkpoint_every_ms };
        let task = tokio::spawn(run(config, listener, platform, shutdown.clone()));
        health.became_ready().await;
        Self { client: ReportingServiceClient::new(grpc::channel(&address)), shutdown, task }
    }

    async fn state(&mut self) -> GetReportingStateResponse {
        self.client.get_reporting_state(GetReportingStateRequest {}).await.unwrap().into_inner()
    }

    /// The digest once that many facts were folded.
    async fn hash_at(&mut self, fact_count: u64) -> String {
        loop {
            let state = self.state().await;
            assert!(state.fact_count <= fact_count, "{} facts folded", state.fact_count);
            if state.fact_count == fact_count {
                return state.state_hash;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stop(self) {
        self.shutdown.begin();
        self.task.await.unwrap().unwrap();
        assert_eq!(self.shutdown.drained(Duration::from_secs(10)).await, Vec::<&str>::new());
    }

    /// Ends it where it stands: nothing more is stored.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        self.shutdown.drained(Duration::from_secs(10)).await;
    }
}

/// Facts in one [`Scribes::call`], and in [`Scribes::open`].
const CALL: u64 = 5 + 5 + 1 + 1;
const OPENED: u64 = 5;

/// What a service with nothing stored makes of the log.
async fn rebuilt(log: &SharedLog, fact_count: u64) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut running = Running::start(log, dir.path(), 500).await;
    let hash = running.hash_at(fact_count).await;
    running.stop().await;
    hash
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_is_found_in_its_cell_its_record_and_its_story() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path());
    let mut scribes = Scribes::open(&log).await;
    let mut running = Running::start(&log, dir.path(), 500).await;
    scribes.call(1, 10_000).await;
    running.hash_at(OPENED + CALL).await;
    let client = &mut running.client;

    let company_id = company().to_string();
    let request = ListIntervalsRequest { company_id: company_id.clone(), from_ms: 0, to_ms: 0 };
    let intervals = client.list_intervals(request).await.unwrap().into_inner();
    assert_eq!(intervals.cells.len(), 1);
    let cell = &intervals.cells[0];
    assert_eq!((cell.entered_count, cell.answered_count, cell.answered_within_threshold_count), (1, 1, 1));
    assert_eq!((cell.answered_wait_ms, cell.talk_ms, cell.wrap_up_ms), (4_000, 30_000, 10_000));
    assert_eq!(intervals.watermarks.len(), 1);
    assert_eq!(intervals.watermarks[0].occurred_at_ms, START + 45_000);

    let request = GetContactRequest { company_id: company_id.clone(), contact_id: contact(1).to_string() };
    let story = client.get_contact(request).await.unwrap().into_inner();
    let record = story.contact.unwrap();
    assert_eq!((record.cause.as_str(), record.waited_ms, record.talked_ms), ("completed", 4_000, 30_000));
    assert_eq!((record.caller.as_str(), record.ended_at_ms), ("+4930123456", START + 45_000));
    assert_eq!(story.interval_from_ms, cell.from_ms);
    let names: Vec<&str> = story.facts.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ContactArrived",
            "ContactQueueRequested",
            "AgentReserved",
            "ContactConnected",
            "OfferAccepted",
            "ReservationAccepted",
            "ContactDisconnected",
            "ContactEnded",
            "ReservationReleased",
            "WrapUpStarted",
            "UsageRated",
            "WrapUpEnded"
        ]
    );
    assert!(story.facts.iter().all(|it| !it.text.is_empty() && !it.text.contains("30123456")));

    let sheets = client.list_timesheets(ListTimesheetsRequest { until_ms: START + 60_000 }).await.unwrap();
    let lines = sheets.into_inner().lines;
    assert_eq!(lines.iter().map(|it| it.duration_ms).sum::<i64>(), 60_000);
    let talk = lines.iter().find(|it| it.activity == "talk").unwrap();
    assert_eq!((talk.duration_ms, talk.company_id.as_str()), (30_000, "cmp_aurora"));

    let board = client.get_live_board(GetLiveBoardRequest { company_id }).await.unwrap().into_inner();
    assert_eq!((board.live_contact_count, board.ready_agent_count, board.signed_in_agent_count), (0, 1, 1));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unknown_or_somebody_elses_is_not_found_and_nonsense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path());
    let mut scribes = Scribes::open(&log).await;
    scribes.call(1, 10_000).await;
    let mut running = Running::start(&log, dir.path(), 500).await;
    for (company_id, contact_id, code) in [
        ("cmp_aurora", "ctc_c2", Code::NotFound),
        ("cmp_borealis", "ctc_c1", Code::NotFound),
        ("cmp_aurora", "c1", Code::InvalidArgument),
        ("", "ctc_c1", Code::InvalidArgument),
    ] {
        let request = GetContactRequest { company_id: company_id.into(), contact_id: contact_id.into() };
        let refused = running.client.get_contact(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{company_id} {contact_id}");
    }
    let request = ListIntervalsRequest { company_id: "cmp_borealis".into(), ..Default::default() };
    assert_eq!(running.client.list_intervals(request).await.unwrap_err().code(), Code::NotFound);
    let request =
        ListContactsRequest { company_id: "cmp_aurora".into(), page_size: 1, page_token: "yesterday".into() };
    assert_eq!(running.client.list_contacts(request).await.unwrap_err().code(), Code::InvalidArgument);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_where_the_last_one_ended_until_there_is_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path());
    let mut scribes = Scribes::open(&log).await;
    for n in 1..=5 {
        scribes.contacts.write(i64::from(n), [arrived(n)]).await;
    }
    let mut running = Running::start(&log, dir.path(), 500).await;
    let (mut page_token, mut found) = (String::new(), Vec::new());
    loop {
        let request = ListContactsRequest { company_id: company().to_string(), page_size: 2, page_token };
        let page = running.client.list_contacts(request).await.unwrap().into_inner();
        found.push(page.contacts.into_iter().map(|it| it.contact_id).collect::<Vec<_>>().join(" "));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, ["ctc_c5 ctc_c4", "ctc_c3 ctc_c2", "ctc_c1"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_from_the_store_and_comes_to_what_a_rebuild_comes_to() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path());
    let mut scribes = Scribes::open(&log).await;
    let mut running = Running::start(&log, dir.path(), 50).await;
    scribes.call(1, 10_000).await;
    let live = running.hash_at(OPENED + CALL).await;
    assert_eq!(live, rebuilt(&log, OPENED + CALL).await);
    running.stop().await;

    // While it is away, the story goes on: a whole call, and one that is cut in the middle.
    scribes.call(2, 100_000).await;
    scribes.contacts.write(200_000, [arrived(3)]).await;
    scribes.contacts.write(201_000, [queued(3, 201_000)]).await;
    let facts = OPENED + 2 * CALL + 2;
    let mut running = Running::start(&log, dir.path(), 50).await;
    let resumed = running.hash_at(facts).await;
    assert_ne!(resumed, live);
    assert_eq!(resumed, rebuilt(&log, facts).await);
    // The story index came back with the store.
    let request = GetContactRequest { company_id: company().to_string(), contact_id: contact(1).to_string() };
    assert_eq!(running.client.get_contact(request).await.unwrap().into_inner().facts.len(), 12);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_fold_and_checkpoint_loses_nothing_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path());
    let mut scribes = Scribes::open(&log).await;
    scribes.call(1, 10_000).await;
    Running::start(&log, dir.path(), 50).await.stop().await;
    // With a checkpoint a minute, what comes now is folded and never stored.
    let mut running = Running::start(&log, dir.path(), 60_000).await;
    scribes.call(2, 100_000).await;
    let facts = OPENED + 2 * CALL;
    let live = running.hash_at(facts).await;
    running.kill().await;
    let mut running = Running::start(&log, dir.path(), 60_000).await;
    assert_eq!(running.hash_at(facts).await, live);
    running.stop().await;
    assert_eq!(rebuilt(&log, facts).await, live);
}

fn files_under(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files_under(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_deleted_or_damaged_is_rebuilt_to_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path());
    let mut scribes = Scribes::open(&log).await;
    scribes.call(1, 10_000).await;
    scribes.call(2, 100_000).await;
    let facts = OPENED + 2 * CALL;
    let mut running = Running::start(&log, dir.path(), 50).await;
    let live = running.hash_at(facts).await;
    running.stop().await;

    let store = dir.path().join("reporting").join("state");
    std::fs::remove_dir_all(&store).unwrap();
    let mut running = Running::start(&log, dir.path(), 50).await;
    assert_eq!(running.hash_at(facts).await, live);
    running.stop().await;

    for file in files_under(&store) {
        let size = std::fs::metadata(&file).unwrap().len();
        std::fs::write(&file, vec![0x5a; usize::try_from(size).unwrap()]).unwrap();
    }
    let mut running = Running::start(&log, dir.path(), 50).await;
    assert_eq!(running.hash_at(facts).await, live);
    running.stop().await;
    assert!(dir.path().join("reporting").join("state.quarantined-1").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_ahead_of_its_log_is_not_believed() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let long = open_log(one.path());
    Scribes::open(&long).await.call(1, 10_000).await;
    Running::start(&long, one.path(), 50).await.stop().await;
    let short = open_log(other.path());
    Scribes::open(&short).await;
    let mut running = Running::start(&short, one.path(), 50).await;
    let hash = running.hash_at(OPENED).await;
    running.stop().await;
    assert_eq!(hash, rebuilt(&short, OPENED).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_superseded_owner_appends_has_no_effect_live_or_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(dir.path());
    let mut zombie = Scribes::open(&log).await;
    zombie.call(1, 10_000).await;
    let facts = OPENED + CALL;
    let mut running = Running::start(&log, dir.path(), 50).await;
    let live = running.hash_at(facts).await;
    let mut owner = Scribe::<ContactFact>::open(&log, "media/nod_n", 2).await;
    zombie.contacts.write(90_000, [arrived(2)]).await;
    owner.write(91_000, [arrived(3)]).await;
    let after = running.hash_at(facts + 1).await;
    assert_ne!(after, live);
    let request = GetContactRequest { company_id: company().to_string(), contact_id: contact(2).to_string() };
    assert_eq!(running.client.get_contact(request).await.unwrap_err().code(), Code::NotFound);
    let request = GetContactRequest { company_id: company().to_string(), contact_id: contact(3).to_string() };
    assert_eq!(running.client.get_contact(request).await.unwrap().into_inner().facts.len(), 1);
    running.stop().await;
    assert_eq!(rebuilt(&log, facts + 1).await, after);
}
