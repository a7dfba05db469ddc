//! The spool over a broker that stands still, is killed and comes back: readers find every fact once and in order.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod kafka_support;
mod spool_support;

use std::sync::Arc;
use std::time::Duration;

use kafka_support::{ALONE, Brokers, open};
use spool_support::{LANE, facts, numbers, reels, same};
use tempfile::TempDir;
use trunkline_domain::vocabulary::Epoch;
use trunkline_runtime::event_log::contract::note::{Note, note};
use trunkline_runtime::event_log::contract::{CELL, LOG};
use trunkline_runtime::event_log::{KafkaOptions, SharedLog};
use trunkline_runtime::spool::{Spool, SpoolOptions, SpooledWriter};
use trunkline_runtime::telemetry::Telemetry;

/// A writer that appends one note behind the other.
struct Notes {
    log: SharedLog,
    spool: Spool,
    writer: SpooledWriter<Note>,
    epoch: u64,
    next: u64,
}

impl Notes {
    async fn begin(log: SharedLog, spool: Spool, epoch: u64, next: u64) -> Self {
        spool.drain(&log, LOG, CELL, LANE).await.unwrap();
        let (writer, _) = SpooledWriter::open(&log, &spool, CELL, LANE, Epoch(epoch)).await.unwrap();
        Self { log, spool, writer, epoch, next }
    }

    async fn append(&mut self, count: u64) {
        for n in self.next..self.next + count {
            let outcome = note(self.epoch, &n.to_string());
            let append = self.writer.append(&outcome);
            tokio::time::timeout(Duration::from_secs(5), append).await.expect("durable soon").unwrap();
        }
        self.next += count;
    }

    /// Appends until something is so.
    async fn append_until(&mut self, what: &str, holds: impl Fn(&Spool) -> bool) {
        let began = std::time::Instant::now();
        while !holds(&self.spool) {
            assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
            self.append(1).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_go_on_while_a_broker_stands_still_or_is_killed_and_are_all_there_when_it_is_back() {
    broker_or_return!();
    let (brokers, dir) = (Brokers::up(1), TempDir::new().unwrap());
    let options = KafkaOptions {
        append_deadline: Duration::from_secs(1),
        answer_deadline: Duration::from_secs(60),
        ..kafka_support::options(&brokers.addresses, 1)
    };
    let log: SharedLog = Arc::new(open(&options, &ALONE).await);
    let spool = SpoolOptions {
        after: Duration::from_millis(100),
        reel_bytes: 50_000,
        ..SpoolOptions::new(dir.path().join("spool"))
    };
    let spool = Spool::new(spool, &Telemetry::off());
    let mut notes = Notes::begin(log, spool, 1, 0).await;
    for round in 0..3 {
        notes.append(200).await;
        if round < 2 {
            brokers.signal(brokers.port(), "-STOP");
        } else {
            brokers.signal(brokers.port(), "-KILL");
        }
        notes.append_until("that it is slow", |spool| spool.state().reason().is_some()).await;
        notes.append(300).await;
        if round > 0 {
            let failed = |spool: &Spool| {
                spool.state().reason().is_some_and(|reason| reason.contains("no broker acknowledged"))
            };
            notes.append_until("that the append failed", failed).await;
            notes.append(300).await;
        }
        if round < 2 {
            brokers.signal(brokers.port(), "-CONT");
        } else {
            brokers.revive();
        }
        notes.append_until("that it has drained", |spool| spool.state().reason().is_none()).await;
        notes.append_until("that the reels are gone", |_| reels(&dir.path().join("spool")).is_empty()).await;
    }
    same(&texts(&facts(&notes.log).await), &numbers(0, notes.next));

    // The next ownership waits for what the last one left.
    brokers.signal(brokers.port(), "-STOP");
    notes.append(100).await;
    notes.writer.end().await;
    let Notes { log, spool, epoch, next, .. } = notes;
    let began = tokio::spawn(Notes::begin(log, spool, epoch + 1, next));
    brokers.signal(brokers.port(), "-CONT");
    let mut notes = tokio::time::timeout(Duration::from_secs(60), began).await.unwrap().unwrap();
    notes.append(100).await;
    let all = facts(&notes.log).await;
    same(&texts(&all), &numbers(0, notes.next));
    assert!(all.is_sorted_by_key(|(epoch, _)| *epoch));
    kafka_support::remove_topics(&options).await;
}

fn texts(facts: &[(u64, String)]) -> Vec<String> {
    facts.iter().map(|(_, text)| text.clone()).collect()
}
