//! How the log on Kafka is reached, and its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use trunkline_domain::vocabulary::LogName;

use super::KafkaOpenError;

/// Settings of the client that an operator may add: how to get to the brokers, never what the log promises.
const OPEN_SETTINGS: [&str; 9] = [
    "security.protocol",
    "sasl.",
    "ssl.",
    "https.",
    "socket.",
    "client.rack",
    "reconnect.backoff.",
    "broker.address.",
    "connections.max.idle.ms",
];

/// What a batch adds to its records, and Kafka's headers to ours, at the very most, in bytes.
pub(super) const OVERHEAD_BYTES: usize = 64 * 1024;

/// How the log of a cluster on Kafka is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Brokers to begin with, as `HOST:PORT,HOST:PORT`.
    pub brokers: String,
    /// The cluster of ours that the topics belong to: one line of text, minted once. Topics of another are refused.
    pub cluster: String,
    /// Partitions a topic.
    pub cells: u32,
    /// Stands before the name of the log in the name of its topic: `trunkline.` makes `trunkline.contacts`.
    pub topic_prefix: String,
    /// The largest record taken, by [`Record::size`](crate::event_log::Record::size), in bytes. At most 64 MiB.
    pub record_bytes_max: usize,
    /// Records that may wait in one partition; the next is [`LogError::Overloaded`](crate::event_log::LogError).
    pub pending_count_max: usize,
    /// Their size together, in bytes; likewise. One record is always taken.
    pub pending_bytes_max: usize,
    /// How long an append may wait for its acknowledgement before it fails, and everything behind it in its partition.
    pub append_deadline: Duration,
    /// How long the brokers may take to answer a question: at the opening, at the beginning of a reader, about the end.
    pub answer_deadline: Duration,
    /// Further settings of librdkafka by name: those of `security.protocol`, `sasl.`, `ssl.` and the sockets.
    pub settings: BTreeMap<String, String>,
}

impl KafkaOptions {
    /// The usual limits: topics `trunkline.…`, records of 1 MiB, 4,096 records or 32 MiB waiting, 30 s for an append
    /// (a dead broker costs 4 s to 12 s) and 10 s for an answer.
    pub fn new(brokers: impl Into<String>, cluster: impl Into<String>, cells: u32) -> Self {
        Self {
            brokers: brokers.into(),
            cluster: cluster.into(),
            cells,
            topic_prefix: "trunkline.".to_owned(),
            record_bytes_max: 1 << 20,
            pending_count_max: 4096,
            pending_bytes_max: 32 << 20,
            append_deadline: Duration::from_secs(30),
            answer_deadline: Duration::from_secs(10),
            settings: BTreeMap::new(),
        }
    }

    /// The topic of a log.
    pub fn topic(&self, log: LogName) -> String {
        format!("{}{log}", self.topic_prefix)
    }

    /// The topic whose first record says which cluster the others belong to.
    pub fn identity_topic(&self) -> String {
        format!("{}cluster", self.topic_prefix)
    }

    /// The largest batch a topic must take, in bytes.
    pub fn batch_bytes_max(&self) -> usize {
        self.record_bytes_max + OVERHEAD_BYTES
    }

    /// How much goes into one batch, in bytes.
    pub(super) fn batch_size(&self) -> usize {
        self.record_bytes_max.clamp(16 * 1024, 1_000_000)
    }

    pub(super) fn check(&self) -> Result<(), KafkaOpenError> {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let reason = if self.brokers.trim().is_empty() {
            "no broker is named".to_owned()
        } else if self.cells == 0 {
            "there must be at least one cell".to_owned()
        } else if self.cluster.is_empty()
            || self.cluster.trim() != self.cluster
            || self.cluster.contains('\n')
        {
            "the cluster must be one line of text".to_owned()
        } else if !self.topic_prefix.chars().all(legal) || self.topic_prefix.len() > 200 {
            "a topic prefix has at most 200 letters, digits, '.', '_' and '-'".to_owned()
        } else if self.record_bytes_max > 64 << 20 {
            "records of more than 64 MiB".to_owned()
        } else if self.pending_count_max == 0 {
            "no record may wait".to_owned()
        } else if let Some(name) = self.settings.keys().find(|name| !open_setting(name)) {
            format!("setting {name} is not open: it could change what the log promises")
        } else {
            return Ok(());
        };
        Err(KafkaOpenError::BadOptions { reason })
    }

    /// What every client of ours has in common.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "trunkline")
            // A broker that comes back is found within half a second; the default waits up to ten.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("socket.nagle.disable", "true")
            .set_log_level(RDKafkaLogLevel::Info);
        for (name, value) in &self.settings {
            config.set(name, value);
        }
        config
    }

    /// A producer that loses, doubles and reorders nothing, and rather stops than leaves a gap.
    ///
    /// librdkafka never gives a record up by itself: a record that timed out in its queue would let the ones behind it
    /// pass. The deadline of an append is ours, and ends the producer with everything that was under way in it.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            .set("max.in.flight.requests.per.connection", "5")
            .set("message.timeout.ms", "0")
            .set("linger.ms", "0")
            .set("message.max.bytes", self.batch_bytes_max().to_string())
            .set("batch.size", self.batch_size().to_string())
            // Both limits are kept by the partition itself, exactly.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2097151");
        config
    }

    /// A consumer of one partition at one offset: no group decides anything, nothing is committed.
    pub(super) fn consumer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            // librdkafka hands out records only in the name of a group, which is never joined.
            .set("group.id", "trunkline-unused")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("fetch.message.max.bytes", self.batch_bytes_max().to_string())
            // What a slow reader holds in memory is bounded, and a quick one does not wait for the bound.
            .set("queued.min.messages", "2000")
            .set("queued.max.messages.kbytes", "8192")
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100");
        config
    }
}

fn open_setting(name: &str) -> bool {
    OPEN_SETTINGS
        .iter()
        .any(|open| name.strip_prefix(open).is_some_and(|rest| open.ends_with('.') || rest.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(change: impl FnOnce(&mut KafkaOptions), words: &str) {
        let mut options = KafkaOptions::new("127.0.0.1:9092", "cluster", 1);
        change(&mut options);
        let reason = options.check().unwrap_err().to_string();
        assert!(reason.contains(words), "{reason}");
    }

    #[test]
    fn options_that_cannot_be_are_refused_in_words() {
        refused(|options| options.brokers = " ".to_owned(), "no broker");
        refused(|options| options.cells = 0, "at least one cell");
        refused(|options| options.cluster = "two\nlines".to_owned(), "one line");
        refused(|options| options.topic_prefix = "a/b".to_owned(), "topic prefix");
        refused(|options| options.pending_count_max = 0, "no record may wait");
    }

    #[test]
    fn a_setting_that_could_break_a_promise_is_refused() {
        for name in ["acks", "enable.idempotence", "message.timeout.ms", "isolation.level", "client.rack.of"]
        {
            refused(|options| drop(options.settings.insert(name.to_owned(), "1".to_owned())), name);
        }
        let mut options = KafkaOptions::new("127.0.0.1:9092", "cluster", 1);
        for name in ["security.protocol", "sasl.username", "ssl.ca.location", "client.rack"] {
            options.settings.insert(name.to_owned(), "x".to_owned());
        }
        options.check().unwrap();
    }
}
