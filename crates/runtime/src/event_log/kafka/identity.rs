//! Whose topics these are: the first record of the topic `<prefix>cluster`. Of two clusters that claim the same topics
//! at once, the log's own order decides: both read the record at offset 0.

use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use trunkline_domain::vocabulary::Cell;

use super::client::{Asker, Voice, client_error, passes, words};
use super::{KafkaOpenError, KafkaOptions};

/// The cluster that the topics belong to.
pub async fn read(options: &KafkaOptions, asker: &Asker) -> Result<String, KafkaOpenError> {
    let empty = || unclaimed(options, "it is empty; make the topics with this program".to_owned());
    find(options, asker).await?.ok_or_else(empty)
}

/// Fails unless the topics belong to the cluster of the options.
pub async fn verify(options: &KafkaOptions, asker: &Asker) -> Result<(), KafkaOpenError> {
    let found = read(options, asker).await?;
    if found == options.cluster {
        return Ok(());
    }
    Err(KafkaOpenError::OtherCluster {
        prefix: options.topic_prefix.clone(),
        found,
        expected: options.cluster.clone(),
    })
}

/// Writes whose topics these are, when nobody has yet, and verifies it.
pub async fn claim(options: &KafkaOptions, asker: &Asker) -> Result<(), KafkaOpenError> {
    if find(options, asker).await?.is_none() {
        let mut config = options.producer();
        config.set("message.timeout.ms", options.answer_deadline.as_millis().to_string());
        config.set("enable.gapless.guarantee", "false");
        let producer: FutureProducer = config.create().map_err(client_error)?;
        let topic = options.identity_topic();
        let record = FutureRecord::<(), str>::to(&topic).partition(0).payload(&options.cluster);
        let sent = producer.send(record, Duration::ZERO).await;
        sent.map_err(|(error, _)| KafkaOpenError::Client { reason: words(&error) })?;
    }
    verify(options, asker).await
}

/// The cluster named by the first record; `None` when there is no record yet.
async fn find(options: &KafkaOptions, asker: &Asker) -> Result<Option<String>, KafkaOpenError> {
    let topic = options.identity_topic();
    // Brokers that come and go say nothing about whose the topics are: that may be asked again.
    let refused = |error: KafkaError| match passes(&error) {
        true => KafkaOpenError::Unreachable { brokers: options.brokers.clone(), reason: words(&error) },
        false => unclaimed(options, words(&error)),
    };
    match asker.offsets(&topic, Cell(0)).await.map_err(refused)? {
        (_, 0) => return Ok(None),
        (0, _) => {}
        (low, _) => return Err(unclaimed(options, format!("its records before {low} were deleted"))),
    }
    let consumer: StreamConsumer<Voice> =
        options.consumer().create_with_context(Voice::default()).map_err(client_error)?;
    let mut first = TopicPartitionList::new();
    first.add_partition_offset(&topic, 0, Offset::Offset(0)).map_err(refused)?;
    consumer.assign(&first).map_err(refused)?;
    let mut trouble = None;
    let read = async {
        let message = loop {
            match consumer.recv().await {
                Ok(message) => break message,
                Err(error) if passes(&error) => trouble = Some(error),
                Err(error) => return Err(refused(error)),
            }
        };
        let text = message.payload().and_then(|payload| std::str::from_utf8(payload).ok());
        text.map(str::to_owned).ok_or_else(|| unclaimed(options, "its first record is no text".to_owned()))
    };
    let found = tokio::time::timeout(options.answer_deadline, read).await;
    let late = || {
        trouble.map_or_else(
            || unclaimed(options, "its first record could not be read in time".to_owned()),
            refused,
        )
    };
    found.unwrap_or_else(|_| Err(late())).map(Some)
}

fn unclaimed(options: &KafkaOptions, reason: String) -> KafkaOpenError {
    KafkaOpenError::Unclaimed { topic: options.identity_topic(), reason }
}
