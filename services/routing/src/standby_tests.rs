//! A standby beside an owner: what it keeps, and that a take-over misses nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use trunkline_domain::facts::{ContactFact, LogFact, Meta, Outcome, Recorded, RoutingFact};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, Output, Router};
use trunkline_domain::vocabulary::*;
use trunkline_proto::convert::WireFact;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, LogError, ReadFrom};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::health::Health;
use trunkline_runtime::host::owner::Standby;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::telemetry::Telemetry;

use crate::owner::lane_of;
use crate::standby::{TakenOver, Warm};

const CELL: Cell = Cell(0);

/// A contacts log, and an owner who reads it when told to.
struct Scene {
    platform: Platform,
    contacts: FactWriter<ContactFact>,
    told_count: u64,
    _data: tempfile::TempDir,
}

struct Owner {
    router: Router,
    writer: FactWriter<RoutingFact>,
    contacts: FactReader<ContactFact>,
}

impl Scene {
    async fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(data.path(), "test", 1)).unwrap();
        let (clock, _) = Clock::manual(Timestamp(1_000_000));
        let platform = Platform {
            log: Arc::new(log),
            mint: Mint::seeded(1),
            clock,
            telemetry: Telemetry::off(),
            data_dir: data.path().to_owned(),
            node_id: NodeId::from_name("a").unwrap(),
            health: Health::new(),
            endpoints: Endpoints::default(),
        };
        let (contacts, _) = FactWriter::open(&platform.log, CELL, "media/nod_one", Epoch(1)).await.unwrap();
        Self { platform, contacts, told_count: 0, _data: data }
    }

    /// So many contacts more come to the queue, one record each.
    async fn come(&mut self, count: u64) {
        for _ in 0..count {
            self.told_count += 1;
            let contact_id = ContactId::from_name(&format!("{:04}", self.told_count)).unwrap();
            let fact = ContactFact::ContactQueueRequested {
                contact_id,
                company_id: CompanyId::from_name("aurora").unwrap(),
                queue_id: QueueId::from_name("aurora").unwrap(),
                visit: 1,
                priority: 0,
                enqueued_at: Timestamp(self.told_count.cast_signed()),
                required_skills: Vec::new(),
                node_id: NodeId::from_name("one").unwrap(),
            };
            let facts = vec![recorded(fact, self.told_count)];
            self.contacts
                .append(&Outcome { epoch: Epoch(1), consumed: Vec::new(), facts })
                .unwrap()
                .await
                .unwrap();
        }
    }

    /// Takes the partition with everything in the logs.
    async fn own(&self, epoch: u64) -> Owner {
        let log = &self.platform.log;
        let (writer, fence) = FactWriter::open(log, CELL, &lane_of(CELL), Epoch(epoch)).await.unwrap();
        let mut own = FactReader::open(log, CELL, ReadFrom::Start).await.unwrap();
        let mut router = Router::new(CELL);
        own.catch_up(&writer, fence, |it| router.handle(Timestamp(0), Input::Own(it.outcome))).await.unwrap();
        let contacts = FactReader::open(log, CELL, ReadFrom::Start).await.unwrap();
        let mut owner = Owner { router, writer, contacts };
        owner.give(Input::Taken { owner: NodeId::from_name("b").unwrap(), epoch: Epoch(epoch) }).await;
        owner
    }

    async fn standby(&self) -> Warm {
        Warm::begin(&self.platform, CELL).await.unwrap()
    }

    async fn take_over(&self, warm: Warm, epoch: u64) -> Result<TakenOver, LogError> {
        let log = &self.platform.log;
        let (writer, fence) = FactWriter::open(log, CELL, &lane_of(CELL), Epoch(epoch)).await.unwrap();
        warm.take_over(&writer, fence).await
    }
}

impl Owner {
    async fn give(&mut self, input: Input) {
        self.router.handle(Timestamp(2_000_000), input);
        while let Some(output) = self.router.poll() {
            if let Output::Append(outcome) = output {
                self.writer.append(&outcome).unwrap().await.unwrap();
            }
        }
    }

    /// Decides on the next records of the contacts log.
    async fn consume(&mut self, count: u64) {
        for _ in 0..count {
            let it = self.contacts.next().await.unwrap();
            self.give(Input::Contacts { position: it.position, outcome: it.outcome }).await;
        }
    }
}

fn recorded<F: WireFact + LogFact>(fact: F, number: u64) -> Recorded<F> {
    let meta = Meta {
        event_id: EventId::from_name(&format!("e{number}")).unwrap(),
        cell: CELL,
        stream: fact.stream(),
        sequence: 1,
        occurred_at: Timestamp(number.cast_signed()),
        recorded_at: Timestamp(number.cast_signed()),
        correlation_id: fact.contact().cloned(),
        causation_id: None,
        traceparent: String::new(),
    };
    Recorded { meta, fact }
}

/// Steps until the standby has folded `count` records.
async fn steps(warm: &mut Warm, count: usize) {
    for _ in 0..count {
        warm.step().await.unwrap();
    }
}

/// The contacts that an owner who takes this over has to decide on, in order.
async fn left(taken: &mut TakenOver) -> Vec<String> {
    let mut inputs: Vec<Input> = taken.backlog.drain(..).collect();
    if let Some(end) = taken.contacts_end {
        while let Some(input) = taken.feeds.next_contacts_to(end).await.unwrap() {
            inputs.push(input);
        }
    }
    let names = inputs.into_iter().flat_map(|input| match input {
        Input::Contacts { outcome, .. } => outcome.facts,
        other => panic!("{other:?}"),
    });
    names.map(|it| it.fact.contact_id().to_string()).collect()
}

fn waiting(router: &Router) -> Vec<String> {
    router.book().in_order().map(|(contact_id, _)| contact_id.to_string()).collect()
}

#[tokio::test]
async fn a_standby_keeps_of_the_contacts_what_no_owner_has_consumed() {
    let mut scene = Scene::new().await;
    scene.come(3).await;
    let mut owner = scene.own(10).await;
    owner.consume(2).await;
    let mut warm = scene.standby().await;
    assert_eq!(warm.backlog_len(), 1, "what was consumed before is not kept");
    scene.come(2).await;
    steps(&mut warm, 2).await;
    assert_eq!(warm.backlog_len(), 3);
    owner.consume(2).await;
    steps(&mut warm, 2).await;
    assert_eq!(warm.backlog_len(), 1, "what was consumed since is kept no longer");
    let mut taken = scene.take_over(warm, 20).await.unwrap();
    assert_eq!(waiting(&taken.router), ["ctc_0001", "ctc_0002", "ctc_0003", "ctc_0004"]);
    assert_eq!(left(&mut taken).await, ["ctc_0005"]);
}

#[tokio::test]
async fn a_standby_that_may_keep_no_more_reads_on_when_some_were_consumed_and_a_take_over_misses_none() {
    let mut scene = Scene::new().await;
    let mut owner = scene.own(10).await;
    scene.come(5).await;
    let mut warm = Warm::keeping(&scene.platform, CELL, 2).await.unwrap();
    assert_eq!(warm.backlog_len(), 2);
    owner.consume(3).await;
    // Each that is known to be consumed makes room for the next.
    while waiting(warm.router()).len() < 3 || warm.backlog_len() < 2 {
        warm.step().await.unwrap();
        assert!(warm.backlog_len() <= 2);
    }
    scene.come(4).await;
    let mut taken = scene.take_over(warm, 20).await.unwrap();
    assert_eq!(taken.backlog.len(), 2);
    assert_eq!(
        left(&mut taken).await,
        ["ctc_0004", "ctc_0005", "ctc_0006", "ctc_0007", "ctc_0008", "ctc_0009"]
    );
}

#[tokio::test]
async fn who_takes_over_knows_what_the_old_owner_wrote_last_and_what_came_in_since() {
    let mut scene = Scene::new().await;
    let mut owner = scene.own(10).await;
    let warm = scene.standby().await;
    // The standby has not stepped since.
    scene.come(3).await;
    owner.consume(2).await;
    let mut taken = scene.take_over(warm, 20).await.unwrap();
    assert_eq!(waiting(&taken.router), ["ctc_0001", "ctc_0002"]);
    assert_eq!(left(&mut taken).await, ["ctc_0003"]);
}

#[tokio::test]
async fn who_takes_over_too_late_decides_nothing() {
    let scene = Scene::new().await;
    let warm = scene.standby().await;
    scene.own(30).await;
    let refused = scene.take_over(warm, 20).await.err().unwrap();
    assert!(matches!(refused, LogError::Fenced { current: Epoch(30), .. }), "{refused:?}");
}

#[tokio::test]
async fn a_standby_that_followed_knows_what_one_that_begins_now_knows() {
    let mut scene = Scene::new().await;
    let mut warm = scene.standby().await;
    for round in 1..=6 {
        scene.come(round).await;
        let mut owner = scene.own(round).await;
        owner.consume(scene.told_count - 1).await;
        // Fewer than there are: it is somewhere in the middle when the next owner begins.
        steps(&mut warm, usize::try_from(round).unwrap()).await;
    }
    let mut followed = scene.take_over(warm, 10).await.unwrap();
    let mut began = scene.take_over(scene.standby().await, 11).await.unwrap();
    assert_eq!(followed.router.state_hash(), began.router.state_hash());
    assert_eq!(left(&mut followed).await, left(&mut began).await);
}
