//! The spool under schedules nobody thought of: the log stalls, fails and comes back, copies come late, the process is
//! killed. For a reader the facts are those that were acknowledged, in order; what was not may be there too, behind them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod spool_support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use proptest::prelude::*;
use spool_support::*;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use trunkline_runtime::event_log::contract::note::note;
use trunkline_runtime::spool::{Spool, SpoolError, SpoolOptions};
use trunkline_runtime::telemetry::Telemetry;

/// One step of a schedule.
#[derive(Debug, Clone)]
enum Step {
    /// Appends this many notes without waiting.
    Append(u8),
    /// Waits until everything is durable somewhere.
    Settle,
    Stall,
    /// Everything under way fails.
    Fail,
    Refuse,
    Overload,
    /// Two of three appends find the buffer full.
    Hesitate,
    /// What is under way is made durable, and what comes waits again.
    Release,
    Restore,
    /// Copies of a lost producer come: the first so many.
    Late {
        producer: u8,
        count: u8,
    },
    /// Waits until the log has everything.
    Drain,
    /// The process ends where it stands, and another begins, at first perhaps without a log.
    Crash {
        log_is_there: bool,
    },
    /// The process begins its next ownership.
    Renew,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..40_u8).prop_map(Step::Append),
        3 => Just(Step::Settle),
        4 => Just(Step::Stall),
        3 => Just(Step::Fail),
        1 => Just(Step::Refuse),
        1 => Just(Step::Overload),
        2 => Just(Step::Hesitate),
        4 => Just(Step::Release),
        3 => Just(Step::Restore),
        2 => (any::<u8>(), 1..30_u8).prop_map(|(producer, count)| Step::Late { producer, count }),
        1 => Just(Step::Drain),
        1 => any::<bool>().prop_map(|log_is_there| Step::Crash { log_is_there }),
        1 => Just(Step::Renew),
    ]
}

/// Notes of one epoch: how many were tried, and how many of them are known to be durable.
#[derive(Debug, Default)]
struct Told {
    epoch: u64,
    first: u64,
    tried: u64,
    acknowledged: u64,
}

struct Schedule {
    bed: Bed,
    options: SpoolOptions,
    /// Ways into the log of processes that are gone.
    gone: Vec<Arc<Fickle>>,
    pending: Vec<JoinHandle<Result<(), SpoolError>>>,
    told: Vec<Told>,
}

impl Schedule {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (truth, options) = (truth(dir.path()), SpoolOptions { reel_bytes: 3_000, ..options(&dir) });
        let bed = Bed::start(dir, truth, options.clone(), 1).await.unwrap();
        let told = vec![Told { epoch: 1, ..Told::default() }];
        Self { bed, options, gone: Vec::new(), pending: Vec::new(), told }
    }

    fn now(&mut self) -> &mut Told {
        self.told.last_mut().unwrap()
    }

    /// Counts what is known to be durable by now.
    async fn look(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let mut others = pending.into_iter();
        for append in others.by_ref() {
            if !append.is_finished() {
                self.pending.push(append);
                break;
            }
            match append.await.unwrap() {
                Ok(()) => self.now().acknowledged += 1,
                Err(error) => assert!(matches!(error, SpoolError::Ended { .. }), "{error}"),
            }
        }
        self.pending.extend(others);
    }

    async fn settle(&mut self) {
        for append in std::mem::take(&mut self.pending) {
            within(append).await.unwrap().unwrap();
            self.now().acknowledged += 1;
        }
    }

    fn begun(&mut self) {
        let Told { first, tried, .. } = *self.told.last().unwrap();
        self.told.push(Told { epoch: self.bed.epoch, first: first + tried, tried: 0, acknowledged: 0 });
        // Whoever waited is gone with the process or its ownership.
        self.pending.clear();
    }

    async fn crash(&mut self, log_is_there: bool) {
        let old = &self.bed;
        let image = old.dir.path().join(format!("image-{}", old.epoch));
        // What is acknowledged while the image is made need not be in it.
        self.look().await;
        image_of(&self.options.dir, &image);
        let old = &mut self.bed;
        old.log.kill();
        old.writer.end().await;
        self.gone.push(old.log.clone());
        self.options.dir = image;
        let log = Fickle::over(&old.truth);
        let spool = Spool::new(self.options.clone(), &Telemetry::off());
        if !log_is_there {
            log.set(Mood::Refusing);
            let refused = begin(&log, &spool, old.epoch + 1).await;
            assert!(refused.is_err());
            log.restore();
        }
        old.writer = begin(&log, &spool, old.epoch + 1).await.unwrap();
        (old.log, old.spool, old.epoch) = (log, spool, old.epoch + 1);
        self.begun();
    }

    async fn step(&mut self, step: &Step) {
        let log = self.bed.log.clone();
        match *step {
            Step::Append(count) => {
                let Told { first, tried, .. } = *self.now();
                let from = first + tried;
                self.pending.extend(self.bed.append_all(from, from + u64::from(count)));
                self.now().tried += u64::from(count);
            }
            Step::Settle => self.settle().await,
            Step::Stall => log.set(Mood::Stalled),
            Step::Fail => log.fail(),
            Step::Refuse => log.set(Mood::Refusing),
            Step::Overload => log.set(Mood::Overloaded),
            Step::Hesitate => log.recover(Mood::Hesitant),
            Step::Release => log.recover(Mood::Stalled),
            Step::Restore => log.restore(),
            Step::Late { producer, count } => {
                let processes = self.gone.len() + 1;
                let late = self.gone.get(usize::from(producer) % processes).unwrap_or(&log);
                late.deliver_late(usize::from(producer) / processes, usize::from(count));
            }
            Step::Drain => {
                log.restore();
                self.settle().await;
                self.bed.until(|state| state.reason().is_none()).await;
            }
            Step::Crash { log_is_there } => self.crash(log_is_there).await,
            Step::Renew => {
                log.restore();
                self.look().await;
                self.bed.next_epoch().await.unwrap();
                self.begun();
            }
        }
    }

    /// What a reader finds must be what was acknowledged.
    async fn judge(mut self) {
        self.step(&Step::Drain).await;
        assert_eq!(self.bed.spool.state().record_count, 0);
        let facts = facts(&self.bed.truth).await;
        assert!(facts.is_sorted_by_key(|(epoch, _)| *epoch), "{facts:?}");
        for told in &self.told {
            let of_epoch = facts.iter().filter(|(epoch, _)| *epoch == told.epoch);
            let read: Vec<String> = of_epoch.map(|(_, text)| text.clone()).collect();
            assert!(read.len() as u64 >= told.acknowledged, "{} of {told:?}", read.len());
            assert!(read.len() as u64 <= told.tried, "{} of {told:?}", read.len());
            same(&read, &numbers(told.first, told.first + read.len() as u64));
        }
        let last = self.told.last().unwrap();
        assert_eq!(last.acknowledged, last.tried);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn readers_find_what_was_acknowledged_once_and_in_order(steps in prop::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut schedule = Schedule::new().await;
            for step in &steps {
                schedule.step(step).await;
            }
            schedule.judge().await;
        });
    }
}

const CHILD: &str = "TRUNKLINE_TEST_SPOOL_CHILD";

/// Not a case of its own: what the killed process does. It appends for ever into a log that takes nothing, and says what
/// is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_spools_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = std::path::PathBuf::from(dir);
    let log = Fickle::over(&truth(&dir));
    let options = SpoolOptions { after: AFTER, reel_bytes: 20_000, ..SpoolOptions::new(dir.join("spool")) };
    let spool = Spool::new(options, &Telemetry::off());
    let epoch = std::env::var("TRUNKLINE_TEST_SPOOL_EPOCH").unwrap().parse().unwrap();
    let writer = begin(&log, &spool, epoch).await.unwrap();
    log.set(Mood::Stalled);
    let mut out = std::io::stdout();
    for n in 0_u64.. {
        writer.append(&note(epoch, &n.to_string())).await.unwrap();
        writeln!(out, "\nacknowledged {n}").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_spooled_by_killed_processes_comes_to_be_in_the_log() {
    let dir = TempDir::new().unwrap();
    let mut acknowledged = Vec::new();
    for epoch in 1..=4_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_spools_until_it_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .env("TRUNKLINE_TEST_SPOOL_EPOCH", epoch.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: &str| line.strip_prefix("acknowledged ")?.parse::<u64>().ok();
        let mut last = None;
        while last < Some(epoch * 250) {
            let line = lines.next().expect("the child ended by itself").unwrap();
            last = number(&line).or(last);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before the end is in the pipe; its last line may be half a line.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        let said = rest[..rest.len().saturating_sub(1)].iter().rev().find_map(|line| number(line));
        acknowledged.push(said.or(last).unwrap() + 1);
    }
    let (truth, options) = (truth(dir.path()), options(&dir));
    let bed = Bed::start(dir, truth, options, 5).await.unwrap();
    let facts = facts(&bed.truth).await;
    for (epoch, acknowledged) in (1..).zip(acknowledged) {
        let of_epoch = facts.iter().filter(|(found, _)| *found == epoch);
        let read: Vec<String> = of_epoch.map(|(_, text)| text.clone()).collect();
        assert!(read.len() as u64 >= acknowledged, "{} of {acknowledged} in epoch {epoch}", read.len());
        same(&read, &numbers(0, read.len() as u64));
    }
}
