//! Folding with checkpoints equals folding without, and an owner begins again from its lease.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::Fake;
use tokio::sync::{Semaphore, watch};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use trunkline_domain::facts::{DirectoryFact, Meta, Outcome, Recorded, Skill};
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{Cell, Epoch, EventId, LogName, Millis, NodeId, SkillId, Timestamp};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, ReadFrom, SharedLog};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::health::Health;
use trunkline_runtime::host::owner::{Cold, Grant, Idle, Seat, Standby, hold};
use trunkline_runtime::host::projection::{
    Checkpoint, CheckpointError, NoCheckpoint, ProjectionHost, Shared,
};
use trunkline_runtime::host::sources::{Input, Marks, Sources};
use trunkline_runtime::lease::TTL_DEFAULT;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::{Telemetry, names};

/// Long enough for any machine; reached only when a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

fn log(data: &std::path::Path) -> SharedLog {
    let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(data, "test", 1)).unwrap();
    Arc::new(log)
}

fn outcome(epoch: Epoch, number: u64) -> Outcome<DirectoryFact> {
    let fact = DirectoryFact::SkillDefined(Skill {
        skill_id: SkillId::from_name(&format!("s{number}")).unwrap(),
        name: format!("skill {number}"),
    });
    let meta = Meta {
        event_id: EventId::from_name(&format!("{number}")).unwrap(),
        cell: Cell(0),
        stream: "directory".to_owned(),
        sequence: number,
        occurred_at: Timestamp(number.cast_signed()),
        recorded_at: Timestamp(number.cast_signed()),
        correlation_id: None,
        causation_id: None,
        traceparent: String::new(),
    };
    Outcome { epoch, consumed: Vec::new(), facts: vec![Recorded { meta, fact }] }
}

/// The names of the skills in order, and how many records it took.
#[derive(Debug, Clone, Default, PartialEq)]
struct Skills(Vec<String>);

impl Projection for Skills {
    type Event = Input;

    fn fold(&mut self, input: &Input) {
        if let Input::Directory(_, delivered) = input {
            for recorded in &delivered.outcome.facts {
                if let DirectoryFact::SkillDefined(skill) = &recorded.fact {
                    self.0.push(skill.name.clone());
                }
            }
        }
    }
}

/// Keeps state and marks in memory, in one step.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Option<Saved>>>);

type Saved = (Skills, Vec<u8>);

impl Checkpoint<Skills> for Memory {
    fn load(&mut self) -> Result<Option<(Skills, Marks)>, CheckpointError> {
        let saved = self.0.lock().unwrap().clone();
        Ok(saved.map(|(state, marks)| (state, Marks::from_bytes(&marks).unwrap())))
    }

    fn save(&mut self, state: &Skills, marks: &Marks) -> Result<(), CheckpointError> {
        *self.0.lock().unwrap() = Some((state.clone(), marks.to_bytes()));
        Ok(())
    }
}

/// Folds what is in the log now and stops.
async fn fold(log: &SharedLog, checkpoint: Box<dyn Checkpoint<Skills>>) -> Skills {
    let (state, health, shutdown) = (Shared::<Skills>::default(), Health::new(), Shutdown::new());
    let host = ProjectionHost {
        log: log.clone(),
        sources: Sources::all_cells(log, &[LogName::Directory]),
        state: state.clone(),
        checkpoint,
        save_every_count: 3,
        component: health.component("skills"),
        shutdown: shutdown.clone(),
    };
    shutdown.spawn("fold", async move { host.run().await.unwrap() });
    tokio::time::timeout(PATIENCE, health.became_ready()).await.unwrap();
    assert!(shutdown.drained(PATIENCE).await.is_empty());
    state.read().clone()
}

#[tokio::test]
async fn a_projection_that_goes_on_from_its_checkpoint_equals_one_folded_from_the_start() {
    let data = tempfile::tempdir().unwrap();
    let log = log(data.path());
    let memory = Memory::default();
    let (mut writer, _) = FactWriter::open(&log, Cell(0), "directory/0", Epoch(1)).await.unwrap();
    for number in 1..=20 {
        writer.append(&outcome(Epoch(1), number)).unwrap().await.unwrap();
        if number % 7 == 0 {
            // A newer owner takes over; the marks carry what is known of the lane.
            assert_eq!(fold(&log, Box::new(memory.clone())).await.0.len(), number as usize);
        }
    }
    let going_on = fold(&log, Box::new(memory.clone())).await;
    let rebuilt = fold(&log, Box::new(NoCheckpoint)).await;
    assert_eq!(going_on.0.len(), 20);
    assert_eq!(going_on, rebuilt);
}

#[tokio::test]
async fn a_projection_that_cannot_read_on_stands_still_and_says_why() {
    let data = tempfile::tempdir().unwrap();
    let log = log(data.path());
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let host = ProjectionHost {
        log: log.clone(),
        sources: vec![(LogName::Directory, Cell(99))],
        state: Shared::<Skills>::default(),
        checkpoint: Box::new(NoCheckpoint),
        save_every_count: 1,
        component: health.component("skills"),
        shutdown,
    };
    assert!(host.run().await.is_err());
    assert_eq!(health.reasons()[0].1, "log directory has no partition 99");
}

#[derive(Debug, thiserror::Error)]
enum TenureError {
    #[error("a planted failure")]
    Planted,
    #[error("could not use the log")]
    Log(#[from] trunkline_runtime::event_log::LogError),
}

struct Scene {
    fake: Fake,
    platform: Platform,
    seat: Seat,
    shutdown: Shutdown,
    _data: tempfile::TempDir,
}

impl Scene {
    fn new(clock: Clock) -> Self {
        let data = tempfile::tempdir().unwrap();
        let fake = Fake::default();
        let platform = Platform {
            log: log(data.path()),
            mint: Mint::system(clock.clone()),
            clock,
            telemetry: Telemetry::off(),
            data_dir: data.path().to_owned(),
            node_id: NodeId::parse("nod_a").unwrap(),
            health: Health::new(),
            // Behind the group that the owner ends with.
            endpoints: Endpoints { agent_state: vec![fake.serve(&Shutdown::new())], ..Endpoints::default() },
        };
        let seat = Seat { resource: "directory/0".to_owned(), address: String::new(), ttl: TTL_DEFAULT };
        Self { fake, platform, seat, shutdown: Shutdown::new(), _data: data }
    }

    fn restarts(&self, reason: &str) -> u64 {
        let labels = [("resource", "directory"), ("reason", reason)];
        self.platform.telemetry.counter(names::OWNER_RESTARTS, &labels).value()
    }
}

#[tokio::test]
async fn an_owner_that_fails_begins_again_with_a_new_epoch_and_everything_folded() {
    let scene = Scene::new(Clock::system());
    let Scene { platform, seat, shutdown, .. } = &scene;
    let component = platform.health.component("directory/owner");
    // What each tenure found of its own log, and under which epoch.
    let found = Mutex::new(Vec::new());
    let tenure = async |grant: Grant, _: Cold| {
        let (log, mut count) = (&platform.log, 0_u64);
        let (mut writer, fence) = FactWriter::open(log, Cell(0), &seat.resource, grant.epoch).await?;
        let mut own = FactReader::<DirectoryFact>::open(log, Cell(0), ReadFrom::Start).await?;
        own.catch_up(&writer, fence, |delivered| count += delivered.outcome.facts.len() as u64).await?;
        found.lock().unwrap().push((count, grant.epoch));
        writer.append(&outcome(grant.epoch, count + 1))?.await?;
        if count < 2 {
            return Err(TenureError::Planted);
        }
        component.ready();
        std::future::pending().await
    };
    let idle = |why: Idle| component.not_ready(why.to_string());
    let owner = hold(platform, seat, shutdown, idle, Cold::begin, tenure);
    let ended = tokio::time::timeout(PATIENCE, async {
        tokio::join!(owner, async {
            platform.health.became_ready().await;
            shutdown.begin();
        })
    });
    ended.await.unwrap();
    let found = found.into_inner().unwrap();
    assert_eq!(found.iter().map(|(count, _)| *count).collect::<Vec<_>>(), vec![0, 1, 2]);
    assert!(found.windows(2).all(|pair| pair[0].1 < pair[1].1), "each tenure has a newer epoch: {found:?}");
    assert!(scene.fake.state().leases.is_empty(), "the lease was given back");
    assert_eq!(scene.restarts("failed"), 2);

    let mut reader =
        FactReader::<DirectoryFact>::open(&platform.log, Cell(0), ReadFrom::Start).await.unwrap();
    let mut skills = 0;
    reader.fold_to_end(|delivered| skills += delivered.outcome.facts.len()).await.unwrap();
    assert_eq!(skills, 3);
}

#[tokio::test]
async fn an_owner_whose_lease_is_lost_is_dropped_where_it_stands() {
    let (clock, hand) = Clock::manual(Timestamp(1_000_000));
    let scene = Scene::new(clock);
    let Scene { platform, seat, shutdown, .. } = &scene;
    let component = platform.health.component("directory/owner");
    let began = Mutex::new(Vec::new());
    let tenure = async |grant: Grant, _: Cold| {
        began.lock().unwrap().push((grant.epoch, grant.previous_renewed_at));
        component.ready();
        std::future::pending::<Result<(), TenureError>>().await
    };
    let idle = |why: Idle| component.not_ready(why.to_string());
    let owner = hold(platform, seat, shutdown, idle, Cold::begin, tenure);
    let ended = tokio::time::timeout(PATIENCE, async {
        tokio::join!(owner, async {
            platform.health.became_ready().await;
            // Agent-state forgets the lease: the next renewal is refused.
            scene.fake.state().leases.clear();
            while began.lock().unwrap().len() < 2 {
                hand.advance(Millis(100));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            shutdown.begin();
        })
    });
    ended.await.unwrap();
    assert_eq!(scene.restarts("lease lost"), 1);
    let began = began.into_inner().unwrap();
    assert!(began[0].0 < began[1].0);
    assert_eq!(began[1].1, Some(Timestamp(77)), "as agent-state said");
}

#[tokio::test]
async fn an_owner_that_wakes_up_when_its_lease_is_over_takes_no_further_step() {
    let (clock, hand) = Clock::manual(Timestamp(1_000_000));
    let scene = Scene::new(clock);
    let Scene { platform, seat, shutdown, .. } = &scene;
    let (told, heard) = watch::channel(0_u64);
    // By tenure, what it was told and did.
    let (tenures, steps) = (watch::channel(0_u64).0, watch::channel(Vec::new()).0);
    let tenure = async |_: Grant, _: Cold| {
        let (mut heard, number) = (heard.clone(), *tenures.borrow() + 1);
        tenures.send_replace(number);
        while heard.changed().await.is_ok() {
            let step = *heard.borrow_and_update();
            steps.send_modify(|steps| steps.push((number, step)));
        }
        Err::<(), _>(TenureError::Planted)
    };
    let owner = hold(platform, seat, shutdown, |_| {}, Cold::begin, tenure);
    let ended = tokio::time::timeout(PATIENCE, async {
        tokio::join!(owner, async {
            tenures.subscribe().wait_for(|it| *it == 1).await.unwrap();
            told.send_replace(1);
            steps.subscribe().wait_for(|steps| *steps == [(1, 1)]).await.unwrap();
            // It sleeps through its lease, and wakes up with something to do.
            hand.advance(seat.ttl);
            told.send_replace(2);
            tenures.subscribe().wait_for(|it| *it == 2).await.unwrap();
            shutdown.begin();
        })
    });
    ended.await.unwrap();
    assert!(!steps.borrow().contains(&(1, 2)), "{steps:?}");
    assert_eq!(scene.restarts("lease lost"), 1);
}

/// Counts how often the log says that a standby failed.
#[derive(Clone, Default)]
struct Failures(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Failures {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if format!("{event:?}").contains("standby begins again") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A standby that folds when it is told to.
struct Folding {
    steps: watch::Receiver<u64>,
    folded: u64,
}

/// When a step fails instead.
const FAILS: u64 = 13;

impl Standby for Folding {
    type Error = TenureError;

    async fn step(&mut self) -> Result<(), TenureError> {
        let folded = self.folded;
        // The test keeps the sender until the owner has ended.
        let told = *self.steps.wait_for(|steps| *steps > folded).await.unwrap();
        self.folded += 1;
        if self.folded == FAILS && told == FAILS { Err(TenureError::Planted) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_standby_folds_before_it_asks_for_the_lease_and_on_while_it_waits_and_is_what_a_tenure_begins_with()
{
    let logged = Failures::default();
    let _logs = tracing_subscriber::registry().with(logged.clone()).set_default();
    let scene = Scene::new(Clock::system());
    let Scene { fake, platform, seat, shutdown, .. } = &scene;
    let lease_of =
        |holder: &str| fake.state().leases.insert("directory/0".to_owned(), (holder.to_owned(), 1));
    lease_of("nod_b");
    let (told, steps) = watch::channel(0_u64);
    let (opened, may_open) = (Mutex::new(0_u32), Semaphore::new(0));
    let said = watch::channel(Vec::<String>::new()).0;
    let stand_by = async || {
        *opened.lock().unwrap() += 1;
        may_open.acquire().await.unwrap().forget();
        if *opened.lock().unwrap() <= 2 {
            return Err(TenureError::Planted);
        }
        Ok(Folding { steps: steps.clone(), folded: 0 })
    };
    let began = watch::channel(Vec::new()).0;
    let tenure = async |_: Grant, standby: Folding| {
        began.send_modify(|it| it.push(standby.folded));
        if began.borrow().len() == 1 {
            return Err(TenureError::Planted);
        }
        std::future::pending::<Result<(), TenureError>>().await
    };
    let idle = |why: Idle| {
        said.send_modify(|said| {
            if said.last() != Some(&why.to_string()) {
                said.push(why.to_string());
            }
        });
    };
    let hear = async |wanted: &str| {
        let mut said = said.subscribe();
        drop(said.wait_for(|said| said.last().is_some_and(|it| it == wanted)).await.unwrap());
    };
    let owner = hold(platform, seat, shutdown, idle, stand_by, tenure);
    let ended = tokio::time::timeout(PATIENCE, async {
        tokio::join!(owner, async {
            hear("folds the logs of directory/0").await;
            may_open.add_permits(1);
            hear("cannot fold the logs of directory/0: a planted failure").await;
            may_open.add_permits(1);
            while *opened.lock().unwrap() < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert!(fake.state().seen.is_empty(), "who has not folded does not ask");
            may_open.add_permits(1);
            hear("another node has directory/0").await;
            // It fails while it stands by, and another is begun in its place.
            told.send_replace(FAILS);
            hear("cannot fold the logs of directory/0: a planted failure").await;
            told.send_replace(FAILS + 7);
            may_open.add_permits(1);
            hear("another node has directory/0").await;
            steps_taken(fake).await;
            lease_of("nod_a");
            began.subscribe().wait_for(|began| began.len() == 1).await.unwrap();
            told.send_replace(FAILS + 9);
            may_open.add_permits(1);
            began.subscribe().wait_for(|began| began.len() == 2).await.unwrap();
            shutdown.begin();
        })
    });
    ended.await.unwrap();
    assert_eq!(*opened.lock().unwrap(), 5, "each tenure begins with a standby of its own");
    assert_eq!(began.borrow()[0], FAILS + 7, "folded while it waited");
    assert_eq!((scene.restarts("standby failed"), scene.restarts("failed")), (3, 1));
    assert_eq!(logged.0.load(Ordering::Relaxed), 2, "when it begins to fail, not each time");
}

/// Waits until a candidate has asked twice more: what was there to fold in between was folded.
async fn steps_taken(fake: &Fake) {
    let asked = fake.state().seen.len();
    while fake.state().seen.len() < asked + 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
