//! A producer of one partition, and the spare one that waits for whoever needs it next.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{DeliveryResult, Producer, ProducerContext, PurgeConfig, ThreadedProducer};

use super::KafkaOptions;
use super::client::Voice;
use super::partition::Partition;

/// A producer, with the thread that brings its reports.
pub type Line = ThreadedProducer<Reports>;

/// Where a producer reports to.
#[derive(Default)]
pub struct Reports {
    /// Set once, when the producer gets its partition.
    partition: OnceLock<Weak<Partition>>,
    /// What the producer complained of.
    pub voice: Voice,
}

/// One producer that is connected and has its id from the brokers, so that whoever takes over a partition need not wait
/// for that: a new one takes half a second, since librdkafka asks for the id before it is connected and again 500 ms later.
pub struct Spare {
    options: Arc<KafkaOptions>,
    line: Mutex<Option<Line>>,
}

impl Spare {
    /// With a producer that begins to connect.
    pub fn new(options: Arc<KafkaOptions>) -> Result<Self, KafkaError> {
        let line = Mutex::new(Some(line(&options)?));
        Ok(Self { options, line })
    }

    /// The producer for a partition; another one takes its place.
    pub fn take(&self, partition: &Arc<Partition>) -> Result<Line, KafkaError> {
        let next = line(&self.options)?;
        let taken = self.line.lock().unwrap_or_else(PoisonError::into_inner).replace(next);
        let line = taken.map_or_else(|| line(&self.options), Ok)?;
        // Whoever takes a line is the first to set it.
        let _ = line.client().context().partition.set(Arc::downgrade(partition));
        Ok(line)
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        if let Some(line) = self.line.lock().unwrap_or_else(PoisonError::into_inner).take() {
            give_up(line);
        }
    }
}

fn line(options: &KafkaOptions) -> Result<Line, KafkaError> {
    options.producer().create_with_context(Reports::default())
}

/// Empties a producer at once, so that it sends nothing more, and drops it on a thread of its own: that waits for the
/// thread of its reports, which may be the one we are on.
pub fn give_up(line: Line) {
    line.purge(PurgeConfig::default().queue().inflight().non_blocking());
    let thread = std::thread::Builder::new().name("kafka-give-up".to_owned());
    // Without a thread it would be dropped here.
    if let Err(error) = thread.spawn(move || drop(line)) {
        tracing::error!(%error, "could not give a kafka producer up in order");
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.voice.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.voice.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let Some(partition) = self.partition.get().and_then(Weak::upgrade) else { return };
        match result {
            Ok(message) => partition.report(number, Ok(message.offset())),
            Err((error, _)) => partition.report(number, Err(error.clone())),
        }
    }
}
