//! Brokers die, are replaced and stop: what was acknowledged is there once, and what was not leaves no gap.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod kafka_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kafka_support::{ALONE, Brokers, open, options};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::task::JoinHandle;
use trunkline_domain::vocabulary::Position;
use trunkline_runtime::event_log::contract::{
    CELL, LOG, append, everything, payloads, poll_once, reader, record, record_of, take,
};
use trunkline_runtime::event_log::kafka::TopicShape;
use trunkline_runtime::event_log::{
    FenceState, KafkaLog, KafkaOptions, LogError, ReadFrom, SharedLog, Verdict,
};

/// Appends of lane `a` in order, some of them under way at any time, until told to end; how many there were.
struct Load {
    acknowledged: Arc<AtomicU64>,
    wanted: Arc<AtomicU64>,
    task: JoinHandle<Vec<Position>>,
}

impl Load {
    fn begin(log: &SharedLog) -> Self {
        let (acknowledged, wanted) = (Arc::<AtomicU64>::default(), Arc::new(AtomicU64::new(u64::MAX)));
        let (log, seen, until) = (log.clone(), acknowledged.clone(), wanted.clone());
        let task = tokio::spawn(async move {
            let (mut tickets, mut positions) = (std::collections::VecDeque::new(), Vec::new());
            let mut next = 0;
            loop {
                let done = next >= until.load(Ordering::Relaxed);
                if !done && tickets.len() < 64 {
                    tickets.push_back(log.append(LOG, CELL, record(next, next.to_string())).unwrap());
                    next += 1;
                } else if let Some(ticket) = tickets.pop_front() {
                    positions.push(ticket.await.unwrap());
                    seen.fetch_add(1, Ordering::Relaxed);
                } else {
                    return positions;
                }
            }
        });
        Self { acknowledged, wanted, task }
    }

    /// Waits until so many more are acknowledged.
    async fn progress(&self, more: u64) {
        let target = self.acknowledged.load(Ordering::Relaxed) + more;
        while self.acknowledged.load(Ordering::Relaxed) < target {
            assert!(!self.task.is_finished(), "an append failed");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) -> Vec<Position> {
        self.wanted.store(0, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// The port of the broker that leads the usual partition.
fn leader(options: &KafkaOptions) -> i32 {
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", &options.brokers).create().unwrap();
    let topic = options.topic(LOG);
    let metadata = client.fetch_metadata(Some(&topic), Duration::from_secs(10)).unwrap();
    let leader = metadata.topics()[0].partitions()[0].leader();
    metadata.brokers().iter().find(|broker| broker.id() == leader).unwrap().port()
}

async fn survives(log: &SharedLog, fault: impl AsyncFnOnce(&Load)) {
    let mut live = reader(log, ReadFrom::Start).await;
    let load = Load::begin(log);
    load.progress(1000).await;
    fault(&load).await;
    load.progress(1000).await;
    let positions = load.end().await;
    let read = everything(log).await;
    let numbers: Vec<_> = (0..positions.len()).map(|n| n.to_string()).collect();
    assert!(payloads(&read) == numbers, "{} appended, {} read", numbers.len(), read.len());
    assert!(read.iter().map(|stored| stored.position).eq(positions), "a ticket named another position");
    assert!(take(&mut live, read.len()).await == read, "the live reader saw something else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_and_started_again_under_load_loses_and_doubles_nothing() {
    broker_or_return!();
    let brokers = Brokers::up(1);
    let log: SharedLog = Arc::new(open(&options(&brokers.addresses, 1), &ALONE).await);
    survives(&log, async |load| {
        for _ in 0..2 {
            brokers.signal(brokers.port(), "-KILL");
            brokers.revive();
            load.progress(1000).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_three_killed_under_load_loses_and_doubles_nothing() {
    broker_or_return!();
    let brokers = Brokers::up(3);
    let options = options(&brokers.addresses, 1);
    let log: SharedLog = Arc::new(open(&options, &TopicShape::default()).await);
    survives(&log, async |load| {
        brokers.signal(leader(&options), "-KILL");
        // Without the dead one.
        load.progress(1000).await;
        brokers.revive();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_a_record_that_no_other_broker_has() {
    broker_or_return!();
    let brokers = Brokers::up(3);
    let options = options(&brokers.addresses, 1);
    let log: SharedLog = Arc::new(open(&options, &TopicShape::default()).await);
    let first = append(&log, record(0, "0")).await;
    let mut stream = reader(&log, ReadFrom::After(first)).await;
    let leads = leader(&options);
    let followers: Vec<i32> = brokers
        .addresses
        .split(',')
        .map(|address| address.rsplit_once(':').unwrap().1.parse().unwrap())
        .filter(|port| *port != leads)
        .collect();
    followers.iter().for_each(|port| brokers.signal(*port, "-STOP"));
    let mut ticket = log.append(LOG, CELL, record(1, "1")).unwrap();
    // The leader answers, so it is not too slow to tell: it has the record and does not show it.
    for _ in 0..20 {
        assert_eq!(log.end(LOG, CELL).await.unwrap(), Some(first));
        assert!(poll_once(&mut stream.next()).await.is_none());
        assert!(poll_once(&mut ticket).await.is_none());
    }
    followers.iter().for_each(|port| brokers.signal(*port, "-CONT"));
    let position = ticket.await.unwrap();
    assert_eq!(stream.next().await.unwrap().position, position);
}

/// Begins an epoch: a broker that stood still a moment ago may need longer than an append is given.
async fn fence(log: &SharedLog, epoch: u64) {
    for _ in 0..30 {
        let appended = log.append(LOG, CELL, record_of("a", epoch, 0, "")).unwrap().await;
        match appended {
            Ok(_) => return,
            Err(LogError::Io { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the broker did not come back in 30 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_that_no_broker_took_in_time_fail_together_and_leave_no_gap() {
    broker_or_return!();
    let brokers = Brokers::up(1);
    let options = KafkaOptions {
        append_deadline: Duration::from_secs(1),
        answer_deadline: Duration::from_secs(60),
        pending_count_max: 300,
        ..options(&brokers.addresses, 1)
    };
    let kafka = Arc::new(open(&options, &ALONE).await);
    let log: SharedLog = kafka.clone();
    let mut acknowledged = Vec::new();
    for epoch in 1..6 {
        fence(&log, epoch).await;
        let mut tickets = Vec::new();
        let mut sequence = 0;
        // The broker stops in the middle of what is under way, and there is something behind it that it never sees.
        while sequence < 240 {
            sequence += 1;
            tickets.push((sequence, log.append(LOG, CELL, record_of("a", epoch, sequence, "x")).unwrap()));
            if sequence == 40 * epoch {
                brokers.signal(brokers.port(), "-STOP");
            }
        }
        let mut failed = None;
        for (sequence, ticket) in tickets {
            match ticket.await {
                Ok(_) if failed.is_none() => acknowledged.push((epoch, sequence)),
                Ok(_) => panic!("{sequence} was acknowledged behind one that failed"),
                Err(LogError::Io { reason, .. }) => {
                    assert!(reason.contains("no broker acknowledged it within 1s"), "{reason}");
                    failed.get_or_insert(sequence);
                }
                Err(error) => panic!("{error}"),
            }
        }
        let refused = log.append(LOG, CELL, record_of("a", epoch, 241, "")).map(|_| ());
        assert!(matches!(refused, Err(LogError::Interrupted { .. })), "{refused:?}");
        brokers.signal(brokers.port(), "-CONT");
    }
    fence(&log, 6).await;
    // Whatever of it came to be in the log: no reader finds a gap, and everything acknowledged counts.
    let (mut fence, mut counted) = (FenceState::new(), Vec::new());
    for stored in everything(&log).await {
        match fence.judge(&stored.record) {
            Verdict::Counts => counted.push((stored.record.epoch.0, stored.record.sequence)),
            verdict @ Verdict::Gap { .. } => panic!("{verdict:?} at {}", stored.position),
            _ => {}
        }
    }
    assert!(
        acknowledged.iter().all(|append| counted.contains(append)),
        "an acknowledged append does not count"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_fills_the_buffer_and_no_more() {
    broker_or_return!();
    let brokers = Brokers::up(1);
    let options = KafkaOptions { pending_count_max: 50, ..options(&brokers.addresses, 1) };
    let log: SharedLog = Arc::new(open(&options, &ALONE).await);
    append(&log, record(0, "0")).await;
    brokers.signal(brokers.port(), "-STOP");
    let tickets: Vec<_> = (1..51).map(|n| log.append(LOG, CELL, record(n, n.to_string())).unwrap()).collect();
    let refused = log.append(LOG, CELL, record(51, "51")).map(|_| ());
    assert_eq!(refused, Err(LogError::Overloaded { log: LOG, cell: CELL, pending_count: 50 }));
    brokers.signal(brokers.port(), "-CONT");
    for ticket in tickets {
        ticket.await.unwrap();
    }
    append(&log, record(51, "51")).await;
    assert_eq!(everything(&log).await.len(), 52);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_comes_late_is_found_by_the_next_opening() {
    broker_or_return!();
    let brokers = Brokers::up(1);
    let options = KafkaOptions { answer_deadline: Duration::from_secs(1), ..options(&brokers.addresses, 1) };
    drop(open(&KafkaOptions { answer_deadline: Duration::from_secs(30), ..options.clone() }, &ALONE).await);
    brokers.signal(brokers.port(), "-KILL");
    KafkaLog::open(options.clone()).await.map(|_| ()).unwrap_err();
    brokers.revive();
    KafkaLog::open(KafkaOptions { answer_deadline: Duration::from_secs(30), ..options }).await.unwrap();
}
