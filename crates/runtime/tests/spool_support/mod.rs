//! What the tests of the spool share: a log that can be told to fail as Kafka does, and a writer in front of it.

#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use trunkline_domain::vocabulary::{Cell, Epoch, LogName, Position};
use trunkline_runtime::event_log::contract::note::{Note, note};
use trunkline_runtime::event_log::contract::{CELL, LOG};
use trunkline_runtime::event_log::{
    AppendTicket, Completion, EmbeddedLog, EmbeddedOptions, EventLog, LogError, ReadFrom, Record,
    RecordStream, SharedLog,
};
use trunkline_runtime::facts::FactReader;
use trunkline_runtime::spool::{Spool, SpoolError, SpoolOptions, SpoolState, SpooledWriter};
use trunkline_runtime::telemetry::Telemetry;

/// Longer than anything here may take; reaching it is a failure, never a way to pass.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long a record may wait for the log in these tests.
pub const AFTER: Duration = Duration::from_millis(25);
pub const LANE: &str = "media/nod_a";
/// As many records as a drain has under way.
pub const UNDER_WAY: usize = 256;

/// What a [`Fickle`] log does with an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It is made durable.
    Well,
    /// It waits: for [`Fickle::restore`], or for [`Fickle::fail`].
    Stalled,
    /// It finds the buffer full.
    Overloaded,
    /// Two of three appends find the buffer full.
    Hesitant,
    /// It is refused at once.
    Refusing,
    /// Nothing is taken any more.
    Closed,
}

struct State {
    mood: Mood,
    held: Vec<(Record, Completion)>,
    interrupted: BTreeSet<String>,
    /// What each producer that was given up had under way: an unbroken prefix of it may still come.
    lost: Vec<Vec<Record>>,
    asked: u64,
}

/// The one process's way into a log: it stalls and fails as the one to Kafka does.
pub struct Fickle {
    log: SharedLog,
    state: Mutex<State>,
}

impl Fickle {
    pub fn over(log: &SharedLog) -> Arc<Self> {
        let state = State {
            mood: Mood::Well,
            held: Vec::new(),
            interrupted: BTreeSet::new(),
            lost: Vec::new(),
            asked: 0,
        };
        Arc::new(Self { log: log.clone(), state: Mutex::new(state) })
    }

    pub fn set(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    /// Everything under way fails, and its lanes take nothing but a fence record; so does what comes from now on.
    pub fn fail(&self) {
        let mut state = self.state.lock().unwrap();
        let failed = std::mem::take(&mut state.held);
        let (records, completions): (Vec<_>, Vec<_>) = failed.into_iter().unzip();
        state.interrupted.extend(records.iter().map(|record| record.lane.clone()));
        state.lost.push(records);
        drop(state);
        for completion in completions {
            completion.resolve(Err(gone()));
        }
    }

    /// What waits is made durable, and what comes from now on.
    pub fn restore(&self) {
        self.recover(Mood::Well);
    }

    /// What waits is made durable; what comes meets that mood.
    pub fn recover(&self, mood: Mood) {
        let mut state = self.state.lock().unwrap();
        state.mood = mood;
        self.pass_on(&mut state);
    }

    /// What waits is made durable; what comes may wait again.
    pub fn release(&self) {
        self.pass_on(&mut self.state.lock().unwrap());
    }

    /// Under the lock, so that nothing comes in between.
    fn pass_on(&self, state: &mut State) {
        for (record, completion) in std::mem::take(&mut state.held) {
            let ticket = self.log.append(LOG, CELL, record).unwrap();
            tokio::spawn(async move { completion.resolve(ticket.await) });
        }
    }

    /// The process is gone; what it had under way may still come.
    pub fn kill(&self) {
        self.fail();
        self.set(Mood::Closed);
    }

    /// Copies of a producer that was given up arrive: the first `count` that have not come yet.
    pub fn deliver_late(&self, producer: usize, count: usize) {
        let mut state = self.state.lock().unwrap();
        if state.lost.is_empty() {
            return;
        }
        let producer = producer % state.lost.len();
        let late = &mut state.lost[producer];
        let count = count.min(late.len());
        for record in late.drain(..count) {
            drop(self.log.append(LOG, CELL, record).unwrap());
        }
    }

    /// How many appends wait.
    pub fn held_count(&self) -> usize {
        self.state.lock().unwrap().held.len()
    }

    /// Waits until so many appends wait.
    pub async fn until_held(&self, count: usize) {
        within(async {
            while self.held_count() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

fn gone() -> LogError {
    LogError::Io {
        log: LOG,
        cell: CELL,
        action: "append to the end",
        reason: "the brokers are gone".to_owned(),
    }
}

#[async_trait]
impl EventLog for Fickle {
    fn append(&self, log: LogName, cell: Cell, record: Record) -> Result<AppendTicket, LogError> {
        let mut state = self.state.lock().unwrap();
        let fence = record.sequence == 0;
        state.asked += 1;
        if !fence && state.interrupted.contains(&record.lane) {
            return Err(LogError::Interrupted { log, cell, lane: record.lane });
        }
        match state.mood {
            Mood::Hesitant if state.asked.is_multiple_of(3) => {}
            Mood::Overloaded | Mood::Hesitant => {
                return Err(LogError::Overloaded { log, cell, pending_count: state.held.len() });
            }
            Mood::Refusing => {
                state.interrupted.insert(record.lane);
                return Err(gone());
            }
            Mood::Closed => return Err(LogError::Closed { log, cell }),
            Mood::Well | Mood::Stalled => {}
        }
        if fence {
            state.interrupted.remove(&record.lane);
        }
        if matches!(state.mood, Mood::Well | Mood::Hesitant) {
            return self.log.append(log, cell, record);
        }
        let (completion, ticket) = AppendTicket::new(log, cell);
        state.held.push((record, completion));
        Ok(ticket)
    }

    async fn read(
        &self,
        log: LogName,
        cell: Cell,
        from: ReadFrom,
    ) -> Result<Box<dyn RecordStream>, LogError> {
        self.log.read(log, cell, from).await
    }

    async fn end(&self, log: LogName, cell: Cell) -> Result<Option<Position>, LogError> {
        self.log.end(log, cell).await
    }

    fn cell_count(&self) -> u32 {
        self.log.cell_count()
    }
}

/// A log, a spool and a writer in front of both.
pub struct Bed {
    pub dir: TempDir,
    /// What the cluster has.
    pub truth: SharedLog,
    /// What the process sees of it.
    pub log: Arc<Fickle>,
    pub spool: Spool,
    pub writer: Arc<SpooledWriter<Note>>,
    pub epoch: u64,
}

pub fn spool_dir(dir: &TempDir) -> PathBuf {
    dir.path().join("spool")
}

pub fn options(dir: &TempDir) -> SpoolOptions {
    SpoolOptions { after: AFTER, ..SpoolOptions::new(spool_dir(dir)) }
}

pub fn truth(dir: &Path) -> SharedLog {
    let (log, report) = EmbeddedLog::open(EmbeddedOptions::new(dir.join("log"), "test", 1)).unwrap();
    assert_eq!(report.quarantined().count(), 0);
    Arc::new(log)
}

pub fn shared(log: &Arc<Fickle>) -> SharedLog {
    log.clone()
}

impl Bed {
    pub async fn new() -> Self {
        Self::with(|options| options).await
    }

    /// With a log that is never found slow, only failing.
    pub async fn patient() -> Self {
        Self::with(|options| SpoolOptions { after: PATIENCE, ..options }).await
    }

    pub async fn with(change: impl FnOnce(SpoolOptions) -> SpoolOptions) -> Self {
        let dir = TempDir::new().unwrap();
        let (truth, options) = (truth(dir.path()), change(options(&dir)));
        Self::start(dir, truth, options, 1).await.unwrap()
    }

    /// With a log that failed note 0 and stands still, and `count` notes in the spool. The first that waits in the log is
    /// the fence record; behind that the drain has no more than [`UNDER_WAY`] records under way.
    pub async fn spooling(reel_bytes: u64, count: u64) -> Self {
        let bed = Self::with(|options| SpoolOptions { after: PATIENCE, reel_bytes, ..options }).await;
        bed.log.set(Mood::Stalled);
        let mut appends = bed.append_all(0, 1);
        bed.log.until_held(1).await;
        bed.log.fail();
        appends.extend(bed.append_all(1, count));
        for append in appends {
            within(append).await.unwrap().unwrap();
        }
        bed
    }

    /// A process begins: it drains what is on disk, then fences.
    pub async fn start(
        dir: TempDir,
        truth: SharedLog,
        options: SpoolOptions,
        epoch: u64,
    ) -> Result<Self, SpoolError> {
        let log = Fickle::over(&truth);
        let spool = Spool::new(options, &Telemetry::off());
        let writer = begin(&log, &spool, epoch).await?;
        Ok(Self { dir, truth, log, spool, writer, epoch })
    }

    /// The same process begins its next ownership.
    pub async fn next_epoch(&mut self) -> Result<(), SpoolError> {
        self.writer.end().await;
        self.writer = begin(&self.log, &self.spool, self.epoch + 1).await?;
        self.epoch += 1;
        Ok(())
    }

    pub async fn append(&self, text: &str) -> Result<(), SpoolError> {
        within(self.writer.append(&note(self.epoch, text))).await
    }

    /// Appends the numbers from `from` to below `to`, each behind the one before it, without waiting.
    pub fn append_all(&self, from: u64, to: u64) -> Vec<tokio::task::JoinHandle<Result<(), SpoolError>>> {
        (from..to)
            .map(|n| {
                let (writer, outcome) = (self.writer.clone(), note(self.epoch, &n.to_string()));
                let append = async move { writer.append(&outcome).await };
                // The first poll gives it its place in the order, also when many are polled in a row.
                let mut append = Box::pin(tokio::task::unconstrained(append));
                let polled = futures::FutureExt::now_or_never(&mut append);
                tokio::spawn(async move {
                    match polled {
                        Some(done) => done,
                        None => append.await,
                    }
                })
            })
            .collect()
    }

    /// Waits until the spool's state is as wanted.
    pub async fn until(&self, wanted: impl Fn(&SpoolState) -> bool) -> SpoolState {
        within(async { self.spool.watch().wait_for(|state| wanted(state)).await.unwrap().clone() }).await
    }

    /// Waits until the log has everything and the spool is gone.
    pub async fn drained(&self) {
        let state = self.until(|state| state.reason().is_none() && state.record_count == 0).await;
        assert_eq!(state.bytes, 0);
        // A reel that was asked for and not needed is made and removed without a word.
        within(async {
            while !reels(&self.spool_dir()).is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub fn spool_dir(&self) -> PathBuf {
        spool_dir(&self.dir)
    }

    pub async fn facts(&self) -> Vec<String> {
        facts(&self.truth).await.into_iter().map(|(_, text)| text).collect()
    }
}

/// As a node does it: drain, fence, fold.
pub async fn begin(
    log: &Arc<Fickle>,
    spool: &Spool,
    epoch: u64,
) -> Result<Arc<SpooledWriter<Note>>, SpoolError> {
    within(async {
        let log = shared(log);
        spool.drain(&log, LOG, CELL, LANE).await?;
        let (writer, fence) = SpooledWriter::<Note>::open(&log, spool, CELL, LANE, Epoch(epoch)).await?;
        let mut reader = FactReader::open(&log, CELL, ReadFrom::Start).await?;
        writer.catch_up(&mut reader, fence, |_| ()).await?;
        Ok(Arc::new(writer))
    })
    .await
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it came to no end")
}

/// What counts, as epoch and text.
pub async fn facts(log: &SharedLog) -> Vec<(u64, String)> {
    let mut reader = FactReader::<Note>::open(log, CELL, ReadFrom::Start).await.unwrap();
    let mut facts = Vec::new();
    let fold = reader.fold_to_end(|delivered| {
        let epoch = delivered.outcome.epoch.0;
        facts.extend(delivered.outcome.facts.into_iter().map(|recorded| (epoch, recorded.fact.0)));
    });
    fold.await.unwrap();
    facts
}

/// Fails with the first place where two lists differ.
#[track_caller]
pub fn same<T: PartialEq + std::fmt::Debug>(got: &[T], expected: &[T]) {
    let differs = got.iter().zip(expected).position(|(got, expected)| got != expected);
    let at = differs.unwrap_or_else(|| got.len().min(expected.len()));
    assert!(
        got == expected,
        "{} instead of {}; at {at}: {:?} instead of {:?}",
        got.len(),
        expected.len(),
        got.get(at),
        expected.get(at)
    );
}

pub fn numbers(from: u64, to: u64) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

/// The directories of the reels of a spool.
pub fn reels(spool: &Path) -> Vec<PathBuf> {
    let folder = spool.join(LOG.as_str()).join(CELL.to_string());
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut dirs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    dirs.sort();
    dirs
}

/// The last segment of the partition in a reel.
pub fn segment(reel: &Path) -> PathBuf {
    reel.join(LOG.as_str()).join("0").join(format!("{:020}.seg", 0))
}

/// A spool as a crash at this moment leaves it, somewhere else.
pub fn image_of(spool: &Path, image: &Path) {
    for reel in reels(spool) {
        let copy = image.join(LOG.as_str()).join(CELL.to_string()).join(reel.file_name().unwrap());
        // It comes last when a reel is made: what was there before it was read here is there for good.
        let identity = fs::read(reel.join("CLUSTER"));
        copy_files(&reel, &copy);
        match identity {
            Ok(identity) => fs::write(copy.join("CLUSTER"), identity).unwrap(),
            Err(_) => drop(fs::remove_file(copy.join("CLUSTER"))),
        }
        // Renamed meanwhile, it is one that the log has all of.
        if !reel.is_dir() {
            fs::remove_dir_all(&copy).unwrap();
        }
    }
}

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let Ok(entries) = fs::read_dir(from) else { return };
    for entry in entries.flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_files(&path, &copy);
        } else if let Ok(bytes) = fs::read(&path) {
            fs::write(copy, bytes).unwrap();
        }
    }
}
