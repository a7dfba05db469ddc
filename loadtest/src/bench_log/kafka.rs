//! What an append to the log on Kafka costs, beside a plain producer on the same broker.
//!
//! Both have as many tasks that each send 256 bytes and wait for the acknowledgement, an idempotent producer, acks=all
//! and no linger; ours adds lanes, epochs, bounds and the rules for failures. Ours writes partition 0 of a topic, the
//! peer partition 1, in turns.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use trunkline_domain::vocabulary::{Epoch, LogName};
use trunkline_runtime::event_log::kafka::{TopicShape, create};
use trunkline_runtime::event_log::{KafkaLog, KafkaOptions, SharedLog};

use super::{
    BenchError, Figures, IN_FLIGHT, PAYLOAD_LEN, Peer, ROUND, ROUNDS, appends, figures, histogram, io_error,
    machine, medians, micros, print,
};

/// Measures on the brokers, in topics that are removed again, and writes one line of JSON a figure to `out`.
///
/// # Errors
/// When a broker refuses.
pub async fn run(brokers: &str, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let topic_prefix = format!("bench-{}-{}.", std::process::id(), now.as_millis());
    let options = KafkaOptions { topic_prefix, ..KafkaOptions::new(brokers, "bench", 2) };
    // As safe as these brokers can make it.
    let replicas = u32::try_from(brokers.split(',').count().min(3)).unwrap_or(1);
    let shape = TopicShape {
        replication_factor: replicas,
        min_insync_replicas: replicas.div_ceil(2),
        ..TopicShape::default()
    };
    create(&options, &shape).await?;
    let done = measure(&options, replicas, out).await;
    remove(&options).await;
    done
}

async fn measure(
    options: &KafkaOptions,
    replicas: u32,
    out: &mut (dyn Write + Send),
) -> Result<(), BenchError> {
    let log: SharedLog = Arc::new(KafkaLog::open(options.clone()).await?);
    let plain = plain_producer(options)?;
    let topic: Arc<str> = options.topic(LogName::Contacts).into();
    // A round of each that nobody counts: connections are made, the broker compiles what it does often.
    let mut epoch = 0;
    let (mut ours, mut peers) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for round in 0..=ROUNDS {
        for (nth, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            epoch += 1;
            // Who begins changes, so that nobody always comes after the other's leftovers.
            let ours_first = (round + nth) % 2 == 0;
            let peer_before = if ours_first { None } else { Some(sends(&plain, &topic, in_flight).await?) };
            let our = appends(&log, Epoch(epoch), in_flight).await?;
            let peer = match peer_before {
                Some(peer) => peer,
                None => sends(&plain, &topic, in_flight).await?,
            };
            if round > 0 {
                ours[nth].push(our);
                peers[nth].push(peer);
            }
        }
    }
    let (machine, version) =
        (machine(Path::new(".")), format!("librdkafka {}", rdkafka::util::get_rdkafka_version().1));
    for ((in_flight, ours), peers) in IN_FLIGHT.into_iter().zip(ours).zip(peers) {
        let name = format!("plain idempotent producer, {in_flight} tasks");
        let peer = Peer { name, version: &version, figures: medians(&peers) };
        let case = format!("kafka/replicas={replicas}/in_flight={in_flight}");
        print(out, case, medians(&ours), peer, &machine)
            .map_err(io_error("write a figure beside", Path::new(".")))?;
    }
    Ok(())
}

fn plain_producer(options: &KafkaOptions) -> Result<FutureProducer, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", &options.brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "0")
        .set("socket.nagle.disable", "true")
        .create()
}

/// One round of the peer: `in_flight` tasks in closed loops.
async fn sends(producer: &FutureProducer, topic: &Arc<str>, in_flight: usize) -> Result<Figures, BenchError> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|_| {
            let (producer, topic) = (producer.clone(), topic.clone());
            tokio::spawn(async move {
                let mut latencies = histogram();
                loop {
                    let begun = Instant::now();
                    if begun - started > ROUND {
                        return Ok(latencies);
                    }
                    let record =
                        FutureRecord::<(), _>::to(&topic).partition(1).payload(&[7_u8; PAYLOAD_LEN][..]);
                    producer.send(record, Duration::ZERO).await.map_err(|(error, _)| error)?;
                    latencies.saturating_record(micros(begun.elapsed()));
                }
            })
        })
        .collect();
    let mut all = histogram();
    for task in tasks {
        // The histograms have the same bounds.
        let _ = all.add(task.await?.map_err(|error: KafkaError| BenchError::Produce(error))?);
    }
    Ok(figures(&all, all.len(), started.elapsed()))
}

async fn remove(options: &KafkaOptions) {
    let client: Result<AdminClient<DefaultClientContext>, _> =
        ClientConfig::new().set("bootstrap.servers", &options.brokers).create();
    let mut topics: Vec<_> = LogName::ALL.into_iter().map(|log| options.topic(log)).collect();
    topics.push(options.identity_topic());
    let names: Vec<_> = topics.iter().map(String::as_str).collect();
    if let Ok(client) = client {
        // What cannot be removed stays with the brokers, under a name that says what it was.
        let _ = client.delete_topics(&names, &AdminOptions::new()).await;
    }
}
