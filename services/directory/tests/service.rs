//! The service over gRPC: plan, apply, restart, and what it refuses.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../../crates/runtime/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use support::Fake;
use tonic::transport::Channel;
use tonic::{Code, Status};
use trunkline_directory::DirectoryConfig;
use trunkline_domain::directory::Directory;
use trunkline_domain::facts::DirectoryFact;
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{Cell, Epoch, LogName, Millis, NodeId, Timestamp};
use trunkline_proto::directory::v1 as pb;
use trunkline_proto::directory::v1::directory_service_client::DirectoryServiceClient;
use trunkline_runtime::clock::{Clock, ManualClock};
use trunkline_runtime::event_log::embedded::{EmbeddedLog, EmbeddedOptions};
use trunkline_runtime::event_log::{EventLog, ReadFrom, Record};
use trunkline_runtime::facts::FactReader;
use trunkline_runtime::grpc;
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::Telemetry;

const GOOD: &str = include_str!("operator.yaml");
/// 2026-11-02T00:00:00Z.
const NOW: Timestamp = Timestamp(1_793_577_600_000);
/// Long enough for any machine; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What outlives the process.
struct World {
    data: tempfile::TempDir,
    agent_state: Fake,
    agent_state_address: String,
    outside: Shutdown,
    clock: Clock,
    hand: ManualClock,
}

/// One run of the process.
struct Process {
    platform: Platform,
    client: DirectoryServiceClient<Channel>,
    shutdown: Shutdown,
    log: Arc<EmbeddedLog>,
}

impl World {
    fn new() -> Self {
        let (agent_state, outside) = (Fake::default(), Shutdown::new());
        let agent_state_address = agent_state.serve(&outside);
        let (clock, hand) = Clock::manual(NOW);
        Self { data: tempfile::tempdir().unwrap(), agent_state, agent_state_address, outside, clock, hand }
    }

    fn open_log(&self) -> Arc<EmbeddedLog> {
        let options = EmbeddedOptions::new(self.data.path().join("log"), "test", 1);
        Arc::new(EmbeddedLog::open(options).unwrap().0)
    }

    /// Starts the service and waits until it is ready.
    async fn start(&self) -> Process {
        let process = self.start_on(self.open_log(), "nod_one");
        process.ready().await;
        process
    }

    fn start_on(&self, log: Arc<EmbeddedLog>, node: &str) -> Process {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let endpoints =
            Endpoints { agent_state: vec![self.agent_state_address.clone()], ..Endpoints::default() };
        let platform = Platform {
            log: log.clone(),
            clock: self.clock.clone(),
            mint: Mint::system(Clock::system()),
            telemetry: Telemetry::off(),
            data_dir: self.data.path().to_owned(),
            node_id: NodeId::parse(node).unwrap(),
            health: Health::new(),
            endpoints,
        };
        let shutdown = Shutdown::new();
        let run = trunkline_directory::run(
            DirectoryConfig::default(),
            listener,
            platform.clone(),
            shutdown.clone(),
        );
        shutdown.spawn("directory", async move { run.await.unwrap() });
        let client = DirectoryServiceClient::new(grpc::channel(&address));
        Process { platform, client, shutdown, log }
    }
}

impl Process {
    async fn ready(&self) {
        tokio::time::timeout(PATIENCE, self.platform.health.became_ready()).await.unwrap();
    }

    async fn stop(self) {
        assert_eq!(self.shutdown.drained(PATIENCE).await, Vec::<&str>::new());
        drop(self.platform);
        self.log.close();
    }

    async fn plan(&self, document: &str) -> pb::PlanDirectoryResponse {
        let request =
            pb::PlanDirectoryRequest { file_name: "operator.yaml".to_owned(), document: document.to_owned() };
        self.client.clone().plan_directory(request).await.unwrap().into_inner()
    }

    async fn apply(&self, document: &str, base_revision: u64) -> Result<pb::ApplyDirectoryResponse, Status> {
        self.apply_at(document, base_revision, 0, "ada").await
    }

    async fn apply_at(
        &self,
        document: &str,
        base_revision: u64,
        effective_at_ms: i64,
        author: &str,
    ) -> Result<pb::ApplyDirectoryResponse, Status> {
        let request = pb::ApplyDirectoryRequest {
            file_name: "operator.yaml".to_owned(),
            document: document.to_owned(),
            author: author.to_owned(),
            effective_at_ms,
            base_revision,
        };
        Ok(self.client.clone().apply_directory(request).await?.into_inner())
    }

    /// The directory as anybody folds it from the log, and how many outcomes count.
    async fn folded(&self) -> (Directory, usize) {
        let (mut directory, mut outcomes) = (Directory::default(), 0);
        let mut reader =
            FactReader::<DirectoryFact>::open(&self.platform.log, Cell(0), ReadFrom::Start).await.unwrap();
        reader
            .fold_to_end(|delivered| {
                outcomes += 1;
                delivered.outcome.facts.iter().for_each(|fact| directory.fold(fact));
            })
            .await
            .unwrap();
        (directory, outcomes)
    }
}

fn longer(document: &str) -> String {
    document.replace("offer_timeout: 15s", "offer_timeout: 25s")
}

fn told(changes: &[pb::Change]) -> Vec<String> {
    changes
        .iter()
        .map(|it| format!("{:?} {} {} {}", it.kind(), it.subject_kind, it.subject_key, it.detail))
        .collect()
}

#[tokio::test]
async fn a_document_is_planned_then_applied_as_one_outcome_with_its_author() {
    let world = World::new();
    let process = world.start().await;
    let plan = process.plan(GOOD).await;
    assert_eq!((plan.base_revision, plan.changes.len(), plan.problems.len()), (0, 18, 0));
    assert_eq!(process.folded().await.1, 0, "a plan changes nothing");
    let applied = process.apply(GOOD, 0).await.unwrap();
    assert_eq!((applied.revision, &applied.changes), (1, &plan.changes));
    let (directory, outcomes) = process.folded().await;
    assert_eq!((directory.revision(), outcomes), (1, 1));
    assert_eq!(directory.agents(NOW).count(), 2);

    let plan = process.plan(&longer(GOOD)).await;
    assert_eq!(told(&plan.changes), ["Changed queue que_aurora offer_timeout 15s → 25s"]);
    let applied = process.apply(&longer(GOOD), plan.base_revision).await.unwrap();
    assert_eq!((applied.revision, applied.changes), (2, plan.changes));

    let mut reader =
        FactReader::<DirectoryFact>::open(&process.platform.log, Cell(0), ReadFrom::Start).await.unwrap();
    let (mut authors, mut sequences) = (Vec::new(), Vec::new());
    reader
        .fold_to_end(|delivered| {
            for fact in delivered.outcome.facts {
                sequences.push(fact.meta.sequence);
                if let DirectoryFact::RevisionApplied { author, revision, .. } = fact.fact {
                    authors.push((revision, author));
                }
            }
        })
        .await
        .unwrap();
    assert_eq!(authors, [(1, "ada".to_owned()), (2, "ada".to_owned())]);
    assert_eq!(sequences, (1..=21).collect::<Vec<u64>>(), "the stream has no gap");
    process.stop().await;
}

#[tokio::test]
async fn the_same_document_again_is_no_change_even_with_a_stale_base() {
    let world = World::new();
    let process = world.start().await;
    process.apply(GOOD, 0).await.unwrap();
    // As a client that did not hear the first answer: it sends the same again.
    let again = process.apply(GOOD, 0).await.unwrap();
    assert_eq!((again.revision, again.changes.len()), (1, 0));
    assert_eq!(process.folded().await.1, 1);
    process.stop().await;
}

#[tokio::test]
async fn of_two_who_planned_on_the_same_revision_the_second_is_refused() {
    let world = World::new();
    let process = world.start().await;
    process.apply(GOOD, 0).await.unwrap();
    let bert_leaves = GOOD.replace("name: Bert", "name: Bertram");
    let longer = longer(GOOD);
    let (one, two) = tokio::join!(process.apply(&longer, 1), process.apply(&bert_leaves, 1));
    let (applied, refused): (Vec<_>, Vec<_>) = [one, two].into_iter().partition(Result::is_ok);
    assert_eq!((applied.len(), refused.len()), (1, 1));
    let status = refused.into_iter().next().unwrap().unwrap_err();
    assert_eq!((status.code(), grpc::reason_of(&status)), (Code::Aborted, Some("STALE_BASE")));
    assert_eq!(process.folded().await.0.revision(), 2);
    process.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_everything_and_goes_on_counting() {
    let world = World::new();
    let process = world.start().await;
    process.apply(GOOD, 0).await.unwrap();
    let before = process.folded().await.0.state_hash();
    process.stop().await;
    let process = world.start().await;
    assert_eq!(process.folded().await.0.state_hash(), before);
    assert_eq!(process.plan(GOOD).await.base_revision, 1);
    assert!(process.plan(GOOD).await.changes.is_empty());
    let applied = process.apply(&longer(GOOD), 1).await.unwrap();
    assert_eq!((applied.revision, applied.changes.len()), (2, 1));
    process.stop().await;
}

#[tokio::test]
async fn a_bad_document_is_refused_with_file_line_and_reason_and_changes_nothing() {
    let world = World::new();
    let process = world.start().await;
    for (bad, line, column) in [
        (GOOD.replace("[skl_german, skl_claims]", "[skl_gemran]"), 50, 27),
        (GOOD.replace("wrap_up: 30s", "wrap_up: soon"), 25, 18),
        (GOOD.replace("    skills: [skl_german]", "    skills: [skl_german"), 70, 13),
    ] {
        let plan = process.plan(&bad).await;
        let applied = process.apply(&bad, 0).await.unwrap();
        assert_eq!(plan.problems, applied.problems);
        let problem = &plan.problems[0];
        assert_eq!(
            (problem.file_name.as_str(), problem.line_number, problem.column_number),
            ("operator.yaml", line, column),
            "{problem:?}"
        );
        assert_eq!((applied.revision, applied.changes.len()), (0, 0));
    }
    assert_eq!(process.folded().await.1, 0);
    process.stop().await;
}

#[tokio::test]
async fn a_revision_needs_an_author_and_a_time_that_is_not_past_or_before_another() {
    let world = World::new();
    let process = world.start().await;
    let later = NOW + Millis(1_000);
    for (at, author, code, reason) in [
        (0, "  ", Code::InvalidArgument, "AUTHOR_MISSING"),
        (NOW.0 - 1, "ada", Code::InvalidArgument, "EFFECTIVE_IN_THE_PAST"),
    ] {
        let status = process.apply_at(GOOD, 0, at, author).await.unwrap_err();
        assert_eq!((status.code(), grpc::reason_of(&status)), (code, Some(reason)));
    }
    process.apply_at(GOOD, 0, later.0, "ada").await.unwrap();
    let (directory, _) = process.folded().await;
    assert_eq!((directory.agents(NOW).count(), directory.agents(later).count()), (0, 2));
    let status = process.apply(&longer(GOOD), 1).await.unwrap_err();
    assert_eq!(
        (status.code(), grpc::reason_of(&status)),
        (Code::FailedPrecondition, Some("REVISION_PENDING"))
    );
    world.hand.set(later);
    assert_eq!(process.apply(&longer(GOOD), 1).await.unwrap().revision, 2);
    process.stop().await;
}

#[tokio::test]
async fn who_does_not_own_the_directory_refuses_and_takes_over_when_it_is_given_back() {
    let world = World::new();
    let first = world.start().await;
    first.apply(GOOD, 0).await.unwrap();
    let second = world.start_on(first.log.clone(), "nod_two");
    let request = pb::PlanDirectoryRequest { file_name: String::new(), document: GOOD.to_owned() };
    let status = second.client.clone().plan_directory(request).await.unwrap_err();
    assert_eq!((status.code(), grpc::reason_of(&status)), (Code::Unavailable, Some("NOT_OWNER")));
    assert_eq!(first.shutdown.drained(PATIENCE).await, Vec::<&str>::new());
    world.hand.advance(Millis(1_000));
    second.ready().await;
    assert_eq!(second.plan(GOOD).await.base_revision, 1);
    second.stop().await;
}

#[tokio::test]
async fn an_owner_whose_lane_has_a_newer_epoch_acknowledges_nothing_and_begins_again() {
    let world = World::new();
    let process = world.start().await;
    process.apply(GOOD, 0).await.unwrap();
    // Somebody with a later lease opened the lane: what this owner appends from now on is void.
    let fence = Record {
        lane: "directory/0".to_owned(),
        epoch: Epoch(1_000),
        sequence: 0,
        headers: Vec::new(),
        payload: bytes::Bytes::new(),
    };
    process.log.append(LogName::Directory, Cell(0), fence).unwrap().await.unwrap();
    let status = process.apply(&longer(GOOD), 1).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let (directory, outcomes) = process.folded().await;
    assert_eq!((directory.revision(), outcomes), (1, 1), "the stale owner's revision is void");
    // It comes back with an epoch above, as soon as agent-state grants one.
    world.agent_state.state().index = 2_000;
    let back = async {
        loop {
            world.hand.advance(Millis(500));
            if process.platform.health.ready()
                && let Ok(applied) = process.apply(&longer(GOOD), 1).await
            {
                return applied.revision;
            }
            tokio::task::yield_now().await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, back).await.unwrap(), 2);
    assert_eq!(process.folded().await.0.revision(), 2);
    process.stop().await;
    assert_eq!(world.outside.drained(PATIENCE).await, Vec::<&str>::new());
}
