//! The facts of a run, each with the time at which the broker took it into the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Message, Timestamp};
use rdkafka::{Offset, TopicPartitionList};
use trunkline_domain::facts::{AgentFact, ContactFact, RoutingFact};
use trunkline_domain::vocabulary::{Cell, Position};
use trunkline_proto::convert::WireFact;
use trunkline_runtime::event_log::settings::log_settings;
use trunkline_runtime::event_log::{KafkaOptions, ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;

use crate::Failure;

/// The broker's setting that makes it stamp every record with its own clock as it appends it. A producer's stamp, which
/// is the default, is from before the way to the broker.
pub(super) const STAMPS: &str = "log.message.timestamp.type=LogAppendTime";
/// How long the broker may take for the next record that it has.
const RECORD_WITHIN: Duration = Duration::from_secs(10);

/// A fact and its times: Unix times in ms, because facts have no more and the broker has no more either.
#[derive(Debug, Clone)]
pub(super) struct Taken<F> {
    /// What it says.
    pub fact: F,
    /// When its writer decided it.
    pub decided_at: i64,
    /// When the broker appended it.
    pub logged_at: i64,
}

/// The logs that a call passes through.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Of media.
    pub contacts: Vec<Taken<ContactFact>>,
    /// Of routing.
    pub routing: Vec<Taken<RoutingFact>>,
    /// Of agent-state.
    pub agents: Vec<Taken<AgentFact>>,
}

impl Records {
    /// Reads the logs of a cluster up to where they end now.
    ///
    /// # Errors
    /// When there is no log on Kafka, a record cannot be read, or the broker did not stamp it.
    pub async fn read(data: &Path) -> Result<Self, Failure> {
        let settings = log_settings(data, None, &[]).map_err(Failure::new)?;
        let log = settings.open_to_read(data).await.map_err(Failure::new)?;
        let options = settings.kafka();
        Ok(Self {
            contacts: taken(&log, &options).await?,
            routing: taken(&log, &options).await?,
            agents: taken(&log, &options).await?,
        })
    }
}

async fn taken<F: WireFact>(log: &SharedLog, options: &KafkaOptions) -> Result<Vec<Taken<F>>, Failure> {
    let mut all = Vec::new();
    for cell in (0..log.cell_count()).map(Cell) {
        let Some(end) = log.end(F::LOG, cell).await.map_err(Failure::new)? else { continue };
        let topic = options.topic(F::LOG);
        let stamps = stamps(options, &topic, cell, end).await?;
        let mut reader = FactReader::<F>::open(log, cell, ReadFrom::Start).await.map_err(Failure::new)?;
        let whole = reader.fold_to(end, |delivered| {
            // What counts is in the log, and everything in the log was stamped.
            let logged_at = stamps.get(&delivered.position).copied().unwrap_or_default();
            all.extend(delivered.outcome.facts.into_iter().map(|recorded| Taken {
                decided_at: recorded.meta.occurred_at.0,
                logged_at,
                fact: recorded.fact,
            }));
        });
        whole.await.map_err(Failure::new)?;
    }
    Ok(all)
}

/// When the broker appended each record of a partition, up to `end`.
async fn stamps(
    options: &KafkaOptions,
    topic: &str,
    cell: Cell,
    end: Position,
) -> Result<BTreeMap<Position, i64>, Failure> {
    let failed = |error: KafkaError| Failure::new(format!("could not read the times of {topic}: {error}"));
    let partition = i32::try_from(cell.0).unwrap_or(i32::MAX);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.brokers).set("group.id", "bench-call");
    config.set("enable.auto.commit", "false").set("isolation.level", "read_committed");
    let consumer: StreamConsumer = config.create().map_err(failed)?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, partition, Offset::Beginning).map_err(failed)?;
    consumer.assign(&from).map_err(failed)?;
    let mut stamps = BTreeMap::new();
    while stamps.last_key_value().is_none_or(|(last, _)| *last < end) {
        let next = tokio::time::timeout(RECORD_WITHIN, consumer.recv()).await;
        let message = next.map_err(|_| Failure::new(format!("{topic} does not come to its end")))?;
        let message = message.map_err(failed)?;
        let Timestamp::LogAppendTime(at) = message.timestamp() else {
            return Err(Failure::new(format!("the broker does not stamp {topic} itself: {STAMPS}")));
        };
        stamps.insert(Position(u64::try_from(message.offset()).unwrap_or(0)), at);
    }
    Ok(stamps)
}
