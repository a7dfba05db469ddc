//! Crashes of the embedded log: a killed process, a tail cut at every byte, random histories against a model.

#![allow(clippy::unwrap_used, reason = "tests")]

mod event_log_support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use event_log_support::{len_of, open, payload, read, segments};
use proptest::prelude::*;
use tempfile::TempDir;
use trunkline_runtime::event_log::contract::{CELL, LOG, record};
use trunkline_runtime::event_log::{EmbeddedLog, EventLog, LogError};

const CHILD: &str = "TRUNKLINE_TEST_LOG_CHILD";

/// Not a case of its own: what the killed process does. It appends for ever, 16 in flight, and says what is acknowledged.
#[tokio::test]
async fn the_child_appends_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (log, _) = open(dir.as_ref(), 16 * 1024);
    let mut next = log.end(LOG, CELL).await.unwrap().map_or(0, |end| end.0 + 1);
    let mut out = std::io::stdout();
    let mut in_flight = std::collections::VecDeque::new();
    loop {
        while in_flight.len() < 16 {
            in_flight.push_back(log.append(LOG, CELL, record(next, payload(next))).unwrap());
            next += 1;
        }
        let position = in_flight.pop_front().unwrap().await.unwrap();
        writeln!(out, "\nacknowledged {position}").unwrap();
    }
}

#[tokio::test]
async fn everything_acknowledged_survives_a_process_killed_while_it_appends() {
    let dir = TempDir::new().unwrap();
    let mut known = 0;
    for round in 1..=12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_child_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = Vec::new();
        while acknowledged.len() < round * 29 {
            let line = lines.next().expect("the child ended by itself").unwrap();
            acknowledged.extend(line.strip_prefix("acknowledged ").map(|text| text.parse::<u64>().unwrap()));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before the end is in the pipe; its last line may be half a line.
        let rest: Vec<_> = lines.map_while(Result::ok).collect();
        let whole = rest.len().saturating_sub(1);
        acknowledged.extend(
            rest[..whole].iter().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok()),
        );

        let (log, report) = open(dir.path(), 16 * 1024);
        assert_eq!(report.quarantined().count(), 0, "{report:?}");
        let there = read(&log).await;
        let last = *acknowledged.last().unwrap();
        assert_eq!(acknowledged, (known..=last).collect::<Vec<_>>());
        assert!(there.len() as u64 > last, "round {round}: {} records, {last} was acknowledged", there.len());
        assert_eq!(there, (0..there.len() as u64).map(payload).collect::<Vec<_>>());
        known = there.len() as u64;
    }
}

#[tokio::test]
async fn a_tail_cut_at_any_byte_recovers_to_exactly_the_whole_records_before_the_cut() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    let mut ends = Vec::new();
    for n in 0..6 {
        log.append(LOG, CELL, record(n, payload(n))).unwrap().await.unwrap();
        ends.push(len_of(&segments(dir.path())[0]));
    }
    drop(log);
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    for cut in 0..=whole.len() as u64 {
        fs::write(&path, &whole[..cut as usize]).unwrap();
        let kept = ends.iter().filter(|end| **end <= cut).count();
        let at_a_boundary = cut == 32 || ends.contains(&cut);

        let tool = EmbeddedLog::open_read_only(dir.path()).unwrap();
        assert_eq!(tool.verify(LOG, CELL), Ok(kept as u64), "cut at {cut}");
        let (log, report) = open(dir.path(), 1 << 20);
        let torn: Vec<_> = report.torn().map(|found| found.torn.clone().unwrap()).collect();
        assert_eq!(torn.is_empty(), at_a_boundary, "cut at {cut}: {torn:?}");
        if let [torn] = &torn[..] {
            assert_eq!(torn.offset + torn.len, cut);
        }
        log.append(LOG, CELL, record(9, "next")).unwrap().await.unwrap();
        let mut expected: Vec<_> = (0..kept as u64).map(payload).collect();
        expected.push(b"next".to_vec());
        assert_eq!(read(&log).await, expected, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_tail_of_sectors_that_were_never_written_is_cut() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    for n in 0..3 {
        log.append(LOG, CELL, record(n, payload(n))).unwrap().await.unwrap();
    }
    drop(log);
    let path = segments(dir.path())[0].clone();
    let durable = len_of(&path);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(durable + 5000).unwrap();
    let (log, report) = open(dir.path(), 1 << 20);
    let torn = report.torn().next().unwrap().torn.clone().unwrap();
    assert_eq!((torn.offset, torn.len), (durable, 5000));
    assert_eq!(read(&log).await.len(), 3);
    assert_eq!(len_of(&path), durable);
}

/// One step of a history.
#[derive(Debug, Clone)]
enum Step {
    /// Appends this many records and waits for them.
    Append(u8),
    /// Closes and opens again.
    Restart,
    /// Ends without warning, nothing under way, and opens again.
    Crash,
    /// Ends while this many records are written and not synced. Of those the disk keeps a part: up to a cut, and there
    /// the sectors chosen by the mask were never written. Both in 1/256.
    CrashWhileSyncing { records: u8, cut: u8, lost: u8 },
    /// The disk is full in the middle of a batch of this many records, after so many bytes; then there is room again.
    Full { records: u8, written: u16 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20_u8).prop_map(Step::Append),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
        4 => (1..20_u8, any::<u8>(), any::<u8>())
            .prop_map(|(records, cut, lost)| Step::CrashWhileSyncing { records, cut, lost }),
        1 => (1..10_u8, 0..2000_u16).prop_map(|(records, written)| Step::Full { records, written }),
    ]
}

/// The log, and beside it what must and what may be in it.
struct History {
    dir: TempDir,
    segment_bytes: u64,
    log: EmbeddedLog,
    durable: Vec<Vec<u8>>,
    /// Numbers every record ever tried, so that no two are the same.
    tried: u64,
}

impl History {
    fn new(segment_bytes: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let log = open(dir.path(), segment_bytes).0;
        Self { dir, segment_bytes, log, durable: Vec::new(), tried: 0 }
    }

    /// Appends without waiting: the payloads, and what became of each.
    fn append(&mut self, count: u8) -> (Vec<Vec<u8>>, Vec<trunkline_runtime::event_log::AppendTicket>) {
        let payloads: Vec<_> = (self.tried..self.tried + u64::from(count)).map(payload).collect();
        self.tried += u64::from(count);
        // Sequence 0 is taken in every state of a lane.
        let tickets = payloads
            .iter()
            .map(|payload| self.log.append(LOG, CELL, record(0, payload.clone())).unwrap())
            .collect();
        (payloads, tickets)
    }

    fn reopen(&mut self) {
        let (log, report) = open(self.dir.path(), self.segment_bytes);
        assert_eq!(report.quarantined().count(), 0, "{report:?}");
        self.log = log;
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Append(count) => {
                let (payloads, tickets) = self.append(count);
                for ticket in tickets {
                    ticket.await.unwrap();
                }
                self.durable.extend(payloads);
            }
            Step::Restart => {
                self.log.close();
                self.reopen();
            }
            Step::Crash => {
                self.log.crash();
                self.reopen();
            }
            Step::CrashWhileSyncing { records, cut, lost } => {
                self.crash_while_syncing(records, cut, lost).await;
            }
            Step::Full { records, written } => {
                self.log.faults(LOG, CELL).stall();
                let (payloads, tickets) = self.append(records);
                self.log.faults(LOG, CELL).fail_write(written.into(), rustix::io::Errno::NOSPC);
                self.log.faults(LOG, CELL).resume();
                for (payload, ticket) in payloads.into_iter().zip(tickets) {
                    match ticket.await {
                        Ok(_) => self.durable.push(payload),
                        Err(error) => assert_eq!(error, LogError::DiskFull { log: LOG, cell: CELL }),
                    }
                }
            }
        }
        assert_eq!(read(&self.log).await, self.durable, "after {step:?}");
    }

    async fn crash_while_syncing(&mut self, records: u8, cut: u8, lost: u8) {
        self.log.faults(LOG, CELL).stall();
        let (payloads, tickets) = self.append(records);
        let before = segments(self.dir.path()).pop().unwrap();
        let synced = len_of(&before);
        self.log.faults(LOG, CELL).fail_sync(rustix::io::Errno::IO);
        self.log.faults(LOG, CELL).resume();
        for ticket in tickets {
            ticket.await.unwrap_err();
        }
        self.log.crash();
        let last = segments(self.dir.path()).pop().unwrap();
        let from = if last == before { synced } else { 0 };
        let len = len_of(&last);
        let len = from + (len - from) * u64::from(cut) / 255;
        let file = fs::OpenOptions::new().write(true).open(&last).unwrap();
        file.set_len(len).unwrap();
        for (nth, sector) in (from / 512..len.div_ceil(512)).enumerate() {
            if lost >> (nth % 8) & 1 == 1 {
                let (start, end) = ((sector * 512).max(from), ((sector + 1) * 512).min(len));
                file.write_all_at(&vec![0; (end - start) as usize], start).unwrap();
            }
        }
        self.reopen();
        let there = read(&self.log).await;
        let (acknowledged, rest) = there.split_at_checked(self.durable.len()).expect("something was lost");
        assert_eq!(acknowledged, self.durable);
        assert!(payloads.starts_with(rest), "what came back is not a prefix of what was tried");
        self.durable = there;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_of_appends_and_crashes_leaves_what_a_naive_model_expects(
        segment_bytes in prop_oneof![Just(700_u64), Just(4096), Just(1 << 20)],
        steps in prop::collection::vec(step(), 1..14),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut history = History::new(segment_bytes);
            for step in &steps {
                history.step(step).await;
            }
        });
    }
}
