//! What every client of librdkafka here has in common: where its words go, and how it asks the brokers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use trunkline_domain::vocabulary::{Cell, LogName};

use super::{KafkaOpenError, KafkaOptions};
use crate::event_log::LogError;

/// How long a topic may be unknown to a broker after it was made.
const PROPAGATION: Duration = Duration::from_secs(2);

/// How long a broker may take to say that it is there.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);

/// What a client last complained of; of use when a deadline has passed and nobody else knows why.
#[derive(Debug, Clone, Default)]
pub struct Voice(Arc<Mutex<Option<String>>>);

impl Voice {
    /// What was said last, as `: words`; empty when nothing was said.
    pub fn last(&self) -> String {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.as_ref().map_or_else(String::new, |words| format!(": {words}"))
    }
}

impl ClientContext for Voice {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let words = if reason.is_empty() { error.to_string() } else { reason.to_owned() };
        // Not for the operator: there are many clients, each of which complains in several ways at every attempt to
        // reconnect. Whoever watches the log says once that it is away ([`super::KafkaLog::trouble`]).
        tracing::debug!(reason = %words, "kafka client is in trouble");
        *said = Some(words);
    }
}

impl ConsumerContext for Voice {}

/// Asks brokers about topics and offsets. Its questions block, so each has a thread for as long.
#[derive(Clone)]
pub struct Asker {
    consumer: Arc<BaseConsumer<Voice>>,
    deadline: Duration,
    voice: Voice,
}

impl Asker {
    /// Without a word to any broker yet.
    pub fn new(options: &KafkaOptions) -> Result<Self, KafkaOpenError> {
        let voice = Voice::default();
        let mut config = options.client();
        config.set("isolation.level", "read_committed").set("allow.auto.create.topics", "false");
        let consumer = config.create_with_context(voice.clone()).map_err(client_error)?;
        Ok(Self { consumer: Arc::new(consumer), deadline: options.answer_deadline, voice })
    }

    /// The first offset kept, and the one behind the last that is durable and committed.
    pub async fn offsets(&self, topic: &str, cell: Cell) -> Result<(u64, u64), KafkaError> {
        let (asked, partition) = (Instant::now(), partition_of(cell));
        loop {
            let topic = topic.to_owned();
            let answer = self.ask(move |asker, deadline| asker.fetch_watermarks(&topic, partition, deadline));
            match answer.await {
                // Offsets of a broker are never below zero.
                Ok((low, high)) => return Ok((low.max(0) as u64, high.max(0) as u64)),
                Err(error) => {
                    // A broker may not have heard yet of a topic that was just made, or that it leads it.
                    let patience =
                        if passes(&error) { self.deadline } else { PROPAGATION.min(self.deadline) };
                    if asked.elapsed() >= patience {
                        return Err(error);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Brokers and all topics.
    pub async fn metadata(&self, options: &KafkaOptions) -> Result<Metadata, KafkaOpenError> {
        let answer = self.ask(|asker, deadline| asker.fetch_metadata(None, deadline)).await;
        answer.map_err(|error| KafkaOpenError::Unreachable {
            brokers: options.brokers.clone(),
            reason: format!("{}{}", words(&error), self.voice.last()),
        })
    }

    /// The first partition of these topics that no broker leads, as `topic/partition`. A short question: whoever does not
    /// answer it within two seconds does not serve.
    pub async fn leaderless(&self, topics: Vec<String>) -> Result<Option<String>, KafkaError> {
        self.ask(move |asker, deadline| {
            let there = asker.fetch_metadata(None, deadline.min(PROBE_TIME_MAX))?;
            let ours = there.topics().iter().filter(|topic| topics.iter().any(|name| name == topic.name()));
            let mut partitions =
                ours.flat_map(|topic| topic.partitions().iter().map(move |it| (topic.name(), it)));
            let leaderless = partitions.find(|(_, partition)| partition.leader() < 0);
            Ok(leaderless.map(|(name, partition)| format!("{name}/{}", partition.id())))
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(&BaseConsumer<Voice>, Duration) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let (consumer, deadline) = (self.consumer.clone(), self.deadline);
        let answer = tokio::task::spawn_blocking(move || {
            let answer = question(&consumer, deadline);
            // Serves what the client has to say; nobody else does.
            while consumer.poll(Duration::ZERO).is_some() {}
            answer
        });
        answer.await.unwrap_or(Err(KafkaError::Canceled))
    }
}

/// The partition of a cell.
pub fn partition_of(cell: Cell) -> i32 {
    i32::try_from(cell.0).unwrap_or(i32::MAX)
}

/// An error of a client as one of the port.
pub fn log_error(log: LogName, cell: Cell, action: &'static str, error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(Code::UnknownTopicOrPartition | Code::UnknownPartition | Code::UnknownTopic) => {
            LogError::UnknownPartition { log, cell }
        }
        _ => LogError::Io { log, cell, action, reason: words(error) },
    }
}

/// An error of a client as one of the opening.
pub fn client_error(error: KafkaError) -> KafkaOpenError {
    match error {
        KafkaError::ClientConfig(_, reason, name, value) => {
            KafkaOpenError::BadOptions { reason: format!("{name} = {value}: {reason}") }
        }
        error => KafkaOpenError::Client { reason: words(&error) },
    }
}

/// What an error says, without the names of its kinds.
pub fn words(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

/// Whether what an error says is over by itself, without a person: leaders move, brokers come back.
pub fn passes(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::ReplicaNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::OffsetNotAvailable
                | Code::NetworkException
                | Code::KafkaStorageError
                | Code::NodeUpdate
                | Code::DestroyBroker
                // Of the group that is never joined.
                | Code::GroupAuthorizationFailed
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::CoordinatorLoadInProgress
                | Code::WaitingForCoordinator
        )
    )
}
