//! The log on Kafka passes the contract of the port, on a real broker, and names what is wrong with its topics.
//!
//! A broker cannot be told to let one partition wait, so the stall of the contract keeps records back in front of the
//! client. What it shows of order, bounds and acknowledgements is ours; that nobody reads a record that is not yet
//! replicated is shown with brokers that are stopped, in `event_log_kafka_faults.rs`.

#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod kafka_support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kafka_support::{ALONE, admin, broker, open, options, remove_topics};
use rdkafka::admin::{AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use trunkline_domain::vocabulary::{Cell, LogName, Position};
use trunkline_runtime::event_log::contract::{
    CELL, LOG, Limits, LogUnderTest, append, everything, payloads, reader, record, record_of, take,
};
use trunkline_runtime::event_log::kafka::{TopicShape, check, create};
use trunkline_runtime::event_log::{KafkaLog, KafkaOpenError, KafkaOptions, LogError, ReadFrom, SharedLog};
use trunkline_runtime::event_log_contract;

struct Kafka {
    log: Arc<KafkaLog>,
    options: KafkaOptions,
    remove: bool,
}

impl Kafka {
    async fn again(mut self) -> Self {
        self.remove = false;
        let options = self.options.clone();
        let log = Arc::new(KafkaLog::open(options.clone()).await.unwrap());
        Self { log, options, remove: true }
    }
}

#[async_trait]
impl LogUnderTest for Kafka {
    fn absent() -> Option<String> {
        broker().err()
    }

    async fn fresh(limits: Limits) -> Self {
        let options = KafkaOptions {
            record_bytes_max: limits.record_bytes_max,
            pending_count_max: limits.pending_count_max,
            ..options(&broker().unwrap(), limits.cells)
        };
        Self { log: Arc::new(open(&options, &ALONE).await), options, remove: true }
    }

    fn log(&self) -> SharedLog {
        self.log.clone()
    }

    async fn restart(self) -> Self {
        self.log.close();
        self.again().await
    }

    async fn crash(self) -> Self {
        self.log.crash();
        self.again().await
    }

    async fn stall(&self, log: LogName, cell: Cell) {
        self.log.stall(log, cell);
    }

    async fn resume(&self, log: LogName, cell: Cell) {
        self.log.resume(log, cell);
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // A case leaves hundreds of files with the broker. After a failure they stay, to be looked at.
        if self.remove && !std::thread::panicking() {
            let options = self.options.clone();
            tokio::spawn(async move { remove_topics(&options).await });
        }
    }
}

event_log_contract!(Kafka);

const ONE_SECOND: Duration = Duration::from_secs(1);

/// Changes one setting of the usual topic; the others go back to those of the broker, except the room for a batch.
async fn alter(options: &KafkaOptions, name: &str, value: &str) {
    let (topic, room) = (options.topic(LOG), options.batch_bytes_max().to_string());
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set(name, value);
    if name != "max.message.bytes" {
        change = change.set("max.message.bytes", &room);
    }
    admin(&options.brokers).alter_configs([&change], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

/// Deletes the records of the usual partition before `offset`, as retention would.
async fn eat(options: &KafkaOptions, offset: i64) {
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&options.topic(LOG), 0, Offset::Offset(offset)).unwrap();
    admin(&options.brokers).delete_records(&before, &AdminOptions::new()).await.unwrap();
}

async fn wrong(options: &KafkaOptions) -> String {
    match KafkaLog::open(options.clone()).await.map(|_| ()) {
        Err(error @ KafkaOpenError::WrongTopics { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_topics_is_refused_and_makes_none() {
    let options = options(&broker_or_return!(), 1);
    for _ in 0..2 {
        let words = wrong(&options).await;
        for log in LogName::ALL {
            assert!(words.contains(&format!("{} is missing", options.topic(log))), "{words}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_named_and_made_again() {
    let options = options(&broker_or_return!(), 1);
    drop(open(&options, &ALONE).await);
    let topic = options.topic(LogName::Routing);
    admin(&options.brokers).delete_topics(&[&topic], &AdminOptions::new()).await.unwrap();
    let words = wrong(&options).await;
    assert!(words.ends_with(&format!(": {topic} is missing")), "{words}");
    drop(open(&options, &ALONE).await);
    remove_topics(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_too_few_or_too_many_partitions_is_refused() {
    let options = options(&broker_or_return!(), 2);
    drop(open(&options, &ALONE).await);
    let four = KafkaOptions { cells: 4, ..options.clone() };
    let words = wrong(&four).await;
    assert!(words.contains("contacts has 2 partitions, fewer than the 4 it needs"), "{words}");
    let topics = LogName::ALL.map(|log| options.topic(log));
    let more: Vec<_> = topics.iter().map(|topic| NewPartitions::new(topic, 4)).collect();
    admin(&options.brokers).create_partitions(&more, &AdminOptions::new()).await.unwrap();
    let words = wrong(&options).await;
    assert!(words.contains("contacts has 4 partitions, more than the 2 expected"), "{words}");
    KafkaLog::open(four).await.unwrap();
    remove_topics(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_would_lose_or_refuse_records_is_refused() {
    let options = options(&broker_or_return!(), 1);
    drop(open(&options, &ALONE).await);
    for (name, value, expected) in [
        ("cleanup.policy", "compact", "contacts has cleanup.policy compact"),
        ("max.message.bytes", "1000", "contacts has max.message.bytes 1000, less than the 1114112"),
        ("min.insync.replicas", "2", "contacts has min.insync.replicas 2 and 1 replicas"),
    ] {
        alter(&options, name, value).await;
        let words = wrong(&options).await;
        assert!(words.contains(expected), "{words}");
    }
    remove_topics(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_promises_less_than_expected_is_used_and_named() {
    let options = options(&broker_or_return!(), 1);
    drop(open(&options, &ALONE).await);
    alter(&options, "retention.ms", "1000000").await;
    let words: Vec<_> = check(&options, &ALONE).await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), 1, "{words:?}");
    assert!(words[0].contains("contacts has retention.ms 1000000"), "{words:?}");
    let findings = check(&options, &TopicShape::default()).await.unwrap();
    assert!(findings.iter().all(|finding| !finding.grave), "{findings:?}");
    assert_eq!(findings.iter().filter(|finding| finding.words.contains("fewer than the 3")).count(), 6);
    KafkaLog::open(options.clone()).await.unwrap();
    remove_topics(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_of_another_cluster_are_refused_by_their_first_record() {
    let options = options(&broker_or_return!(), 1);
    drop(open(&options, &ALONE).await);
    let other = KafkaOptions { cluster: "other".to_owned(), ..options.clone() };
    let expected = KafkaOpenError::OtherCluster {
        prefix: options.topic_prefix.clone(),
        found: "test".to_owned(),
        expected: "other".to_owned(),
    };
    assert_eq!(KafkaLog::open(other.clone()).await.map(|_| ()), Err(expected.clone()));
    assert_eq!(create(&other, &ALONE).await.map(|_| ()), Err(expected.clone()));
    assert_eq!(check(&other, &ALONE).await.map(|_| ()), Err(expected));
    remove_topics(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_clusters_that_claim_the_same_topics_at_once_one_wins() {
    let options = options(&broker_or_return!(), 1);
    let claims = (0..4).map(|nth| {
        let options = KafkaOptions { cluster: format!("cluster-{nth}"), ..options.clone() };
        tokio::spawn(async move { create(&options, &ALONE).await })
    });
    let claims: Vec<_> = claims.collect();
    let mut winners = 0;
    for claim in claims {
        match claim.await.unwrap() {
            Ok(_) => winners += 1,
            Err(KafkaOpenError::OtherCluster { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(winners, 1);
    remove_topics(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_named() {
    broker_or_return!();
    // Nobody listens behind a socket that was bound and let go.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let options = KafkaOptions { answer_deadline: ONE_SECOND, ..options(&free.to_string(), 1) };
    let Err(KafkaOpenError::Unreachable { brokers, reason }) = KafkaLog::open(options).await.map(|_| ())
    else {
        panic!("it was opened")
    };
    assert_eq!(brokers, free.to_string());
    assert!(!reason.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_ate_what_a_reader_needs_stops_it() {
    let options = options(&broker_or_return!(), 1);
    let kafka = Arc::new(open(&options, &ALONE).await);
    let log: SharedLog = kafka.clone();
    // More than a reader holds in hand.
    for base in (0..5000).step_by(1000) {
        let tickets =
            (base..base + 1000).map(|n| log.append(LOG, CELL, record(n, vec![b'x'; 5000])).unwrap());
        for ticket in tickets.collect::<Vec<_>>() {
            ticket.await.unwrap();
        }
    }
    let mut behind = reader(&log, ReadFrom::Start).await;
    take(&mut behind, 1).await;
    eat(&options, 4900).await;
    let gone = |after| LogError::Gone { log: LOG, cell: CELL, after: Position(after) };
    // What it has in hand it may still give; then it stops, and stays.
    let stopped = loop {
        if let Err(error) = behind.next().await {
            break error;
        }
    };
    let LogError::Gone { after, .. } = stopped else { panic!("{stopped}") };
    assert!(after < Position(4899), "{after}");
    assert_eq!(behind.next().await.unwrap_err(), stopped);
    assert_eq!(log.read(LOG, CELL, ReadFrom::After(Position(10))).await.map(|_| ()), Err(gone(10)));
    let kept = everything(&log).await;
    assert_eq!(kept.first().unwrap().position, Position(4900), "the oldest record kept is the start");
    eat(&options, 5000).await;
    assert_eq!(log.end(LOG, CELL).await.unwrap(), None);
    assert_eq!(append(&log, record(5000, "5000")).await, Position(5000));
    remove_topics(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_not_ours_stops_the_reader_and_is_not_skipped() {
    let options = options(&broker_or_return!(), 1);
    let log: SharedLog = Arc::new(open(&options, &ALONE).await);
    append(&log, record(0, "0")).await;
    let foreign: FutureProducer =
        ClientConfig::new().set("bootstrap.servers", &options.brokers).create().unwrap();
    let topic = options.topic(LOG);
    let poison = FutureRecord::<(), str>::to(&topic).partition(0).payload("poison");
    foreign.send(poison, ONE_SECOND).await.map_err(|(error, _)| error).unwrap();
    append(&log, record(1, "1")).await;
    let mut stream = reader(&log, ReadFrom::Start).await;
    take(&mut stream, 1).await;
    for _ in 0..3 {
        let Err(LogError::Undecodable { position, reason, .. }) = stream.next().await else {
            panic!("skipped")
        };
        assert_eq!((position, reason.as_str()), (Position(1), "it has no headers"));
    }
    remove_topics(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_too_large_for_the_broker_fails_what_is_behind_it_and_leaves_no_gap() {
    let options = options(&broker_or_return!(), 1);
    let kafka = Arc::new(open(&options, &ALONE).await);
    let log: SharedLog = kafka.clone();
    // Somebody makes the topic narrower while it is in use. The broker says so before it does so: it is asked until it
    // refuses, by a lane of its own.
    alter(&options, "max.message.bytes", "2000").await;
    let mut taken = 0;
    while log.append(LOG, CELL, record_of("asks", 1, taken, vec![b'x'; 100_000])).unwrap().await.is_ok() {
        taken += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    append(&log, record(0, "0")).await;
    append(&log, record_of("b", 1, 0, "")).await;
    kafka.stall(LOG, CELL);
    let large = log.append(LOG, CELL, record(1, vec![b'x'; 100_000])).unwrap();
    let behind: Vec<_> = (2..40).map(|n| log.append(LOG, CELL, record(n, "behind")).unwrap()).collect();
    let other_lane = log.append(LOG, CELL, record_of("b", 1, 1, "behind")).unwrap();
    kafka.resume(LOG, CELL);
    let refused = large.await.unwrap_err();
    let LogError::Io { reason, .. } = &refused else { panic!("{refused}") };
    assert!(reason.contains("max.message.bytes of topic"), "{reason}");
    for ticket in behind {
        ticket.await.unwrap_err();
    }
    other_lane.await.unwrap_err();
    for lane in ["a", "b"] {
        let refused = log.append(LOG, CELL, record_of(lane, 1, 40, "refused")).map(|_| ());
        assert!(matches!(refused, Err(LogError::Interrupted { .. })), "{refused:?}");
    }
    append(&log, record_of("a", 2, 0, "fence")).await;
    append(&log, record_of("a", 2, 1, "goes on")).await;
    assert_eq!(payloads(&everything(&log).await)[taken as usize..], ["0", "", "fence", "goes on"]);
    remove_topics(&options).await;
}
