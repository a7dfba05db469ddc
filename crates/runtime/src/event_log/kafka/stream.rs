//! Reading one partition.

use async_trait::async_trait;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use trunkline_domain::vocabulary::{Cell, LogName, Position};

use super::client::{Asker, Voice, log_error, partition_of, passes};
use super::{KafkaOptions, wire};
use crate::event_log::{LogError, RecordStream, Stored};

const READ: &str = "read the records";

/// A cursor in a partition, with a consumer of its own.
pub struct KafkaStream {
    log: LogName,
    cell: Cell,
    topic: String,
    /// `None` only while it is dropped.
    consumer: Option<StreamConsumer<Voice>>,
    asker: Asker,
    closed: watch::Receiver<bool>,
    /// The offset that must come next, or one behind it.
    next: u64,
    /// The broker said that it has nothing at `next`; why is to be asked.
    displaced: bool,
    /// Once a record could not be taken, every later call says so again: nothing is skipped.
    stopped: Option<LogError>,
}

impl KafkaStream {
    /// At an offset that is there or will come next.
    pub fn open(
        options: &KafkaOptions,
        (log, cell): (LogName, Cell),
        next: u64,
        asker: Asker,
        closed: watch::Receiver<bool>,
    ) -> Result<Self, KafkaError> {
        let consumer: StreamConsumer<Voice> = options.consumer().create_with_context(Voice::default())?;
        let topic = options.topic(log);
        let mut assignment = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
        assignment.add_partition_offset(&topic, partition_of(cell), offset)?;
        consumer.assign(&assignment)?;
        let consumer = Some(consumer);
        Ok(Self { log, cell, topic, consumer, asker, closed, next, displaced: false, stopped: None })
    }

    fn stop(&mut self, error: LogError) -> LogError {
        self.stopped = Some(error.clone());
        error
    }

    /// Why there is nothing at `next`; `None` when the broker does not say for now.
    async fn displacement(&self) -> Option<LogError> {
        let (log, cell, next) = (self.log, self.cell, self.next);
        let after = Position(next.saturating_sub(1));
        match self.asker.offsets(&self.topic, cell).await {
            Ok((low, _)) if next < low => Some(LogError::Gone { log, cell, after }),
            Ok((low, high)) => {
                let end = (low < high).then(|| Position(high - 1));
                Some(LogError::NoSuchPosition { log, cell, position: after, end })
            }
            Err(error) => {
                tracing::debug!(%error, "could not ask why an offset is not there");
                None
            }
        }
    }
}

#[async_trait]
impl RecordStream for KafkaStream {
    async fn next(&mut self) -> Result<Stored, LogError> {
        let (log, cell) = (self.log, self.cell);
        loop {
            if let Some(error) = &self.stopped {
                return Err(error.clone());
            }
            if self.displaced {
                if let Some(error) = self.displacement().await {
                    return Err(self.stop(error));
                }
                continue;
            }
            let Some(consumer) = &self.consumer else { return Err(LogError::Closed { log, cell }) };
            let received = tokio::select! {
                biased;
                received = consumer.recv() => received,
                _ = self.closed.wait_for(|closed| *closed) => return Err(LogError::Closed { log, cell }),
            };
            match received {
                Ok(message) => {
                    let offset = message.offset().max(0) as u64;
                    if offset < self.next {
                        continue;
                    }
                    let position = Position(offset);
                    match wire::record(&message) {
                        Ok(record) => {
                            self.next = offset + 1;
                            return Ok(Stored { position, record });
                        }
                        Err(reason) => {
                            drop(message);
                            return Err(self.stop(LogError::Undecodable { log, cell, position, reason }));
                        }
                    }
                }
                Err(error) => match error.rdkafka_error_code() {
                    Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation) => {
                        self.displaced = true;
                    }
                    _ if passes(&error) => tracing::debug!(%error, "kafka reader waits"),
                    _ => return Err(self.stop(log_error(log, cell, READ, &error))),
                },
            }
        }
    }
}

impl Drop for KafkaStream {
    fn drop(&mut self) {
        // A consumer takes its time to end; nobody should wait for it.
        if let Some(consumer) = self.consumer.take() {
            let thread = std::thread::Builder::new().name("kafka-reader-end".to_owned());
            if let Err(error) = thread.spawn(move || drop(consumer)) {
                tracing::warn!(%error, "could not end a kafka consumer aside");
            }
        }
    }
}
