//! The log on Apache Kafka: a topic a log, a partition a cell, an offset a position.
//!
//! What is absent: consumer groups, since a lease decides who reads and writes what; transactions, since consumed
//! positions and epochs make each outcome count once; topics that appear by themselves, since a wrong name would begin
//! an empty log. How a record looks to other tools is written in `wire.rs`.
//!
//! An acknowledgement means that all replicas in sync have the record, at least `min.insync.replicas` of them. Kafka
//! does not sync its disks before that: durability is replication, and one broker alone is for development.

mod client;
mod identity;
mod line;
mod options;
mod partition;
mod stream;
mod topics;
mod wire;

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use trunkline_domain::vocabulary::{Cell, LogName, Position};

pub use self::options::KafkaOptions;
pub use self::topics::{Finding, TopicShape, check, create};

use self::client::{Asker, log_error};
use self::line::Spare;
use self::partition::Partition;
use self::stream::KafkaStream;
use super::{AppendTicket, EventLog, LogError, ReadFrom, Record, RecordStream};

/// Why the log could not be opened, or its topics not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaOpenError {
    /// The options are not possible.
    #[error("options of the log on kafka: {reason}")]
    BadOptions {
        /// Which, and why.
        reason: String,
    },
    /// No broker answered in time.
    #[error("no kafka broker of {brokers} answered: {reason}")]
    Unreachable {
        /// Those tried first.
        brokers: String,
        /// What the client said.
        reason: String,
    },
    /// Topics are missing or not as they must be.
    #[error("the topics of the log are not as they must be: {}", topics::sentence(findings))]
    WrongTopics {
        /// What is wrong, gravest first.
        findings: Vec<Finding>,
    },
    /// The topics belong to another cluster of ours.
    #[error(
        "the topics {prefix}… belong to cluster {found}, this is cluster {expected}; give one of them another prefix"
    )]
    OtherCluster {
        /// Of their names.
        prefix: String,
        /// The cluster that made them.
        found: String,
        /// The cluster that wanted them.
        expected: String,
    },
    /// Nobody has written yet which cluster the topics belong to, or it was deleted.
    #[error("topic {topic} does not say which cluster the topics belong to: {reason}")]
    Unclaimed {
        /// That says it.
        topic: String,
        /// Why it does not.
        reason: String,
    },
    /// The client or a broker refused.
    #[error("kafka refused: {reason}")]
    Client {
        /// What was said.
        reason: String,
    },
}

/// The log on the brokers of an operator.
pub struct KafkaLog {
    options: Arc<KafkaOptions>,
    asker: Asker,
    /// By log, then cell.
    partitions: Arc<Vec<Arc<Partition>>>,
    closed: watch::Sender<bool>,
}

impl KafkaLog {
    /// Reaches the brokers, and checks that the topics are there, as they must be, and of this cluster.
    /// [`create`] makes them.
    ///
    /// # Errors
    /// See [`KafkaOpenError`]; [`KafkaOpenError::Unreachable`] after [`KafkaOptions::answer_deadline`], and may be tried
    /// again.
    pub async fn open(options: KafkaOptions) -> Result<Self, KafkaOpenError> {
        options.check()?;
        let asker = Asker::new(&options)?;
        let findings = topics::examine(&options, &asker, None).await?;
        if findings.iter().any(|finding| finding.grave) {
            return Err(KafkaOpenError::WrongTopics { findings });
        }
        identity::verify(&options, &asker).await?;
        let options = Arc::new(options);
        let spare = Arc::new(Spare::new(options.clone()).map_err(client::client_error)?);
        let cells = (0..options.cells).map(Cell);
        let partitions: Vec<_> = LogName::ALL
            .into_iter()
            .flat_map(|log| cells.clone().map(move |cell| (log, cell)))
            .map(|(log, cell)| Arc::new(Partition::new(log, cell, options.clone(), spare.clone())))
            .collect();
        let partitions = Arc::new(partitions);
        tokio::spawn(expire(Arc::downgrade(&partitions), options.append_deadline));
        Ok(Self { options, asker, partitions, closed: watch::Sender::new(false) })
    }

    /// The cluster of ours that the topics belong to, for who only reads and need not know it.
    ///
    /// # Errors
    /// As of [`KafkaLog::open`].
    pub async fn cluster_of(options: &KafkaOptions) -> Result<String, KafkaOpenError> {
        let asker = Asker::new(options)?;
        asker.metadata(options).await?;
        identity::read(options, &asker).await
    }

    /// Why nothing can be written or read now, in words; `None` when nothing is known to be wrong. A record that waits
    /// for its acknowledgement is trouble after `stalled_after`. Asks a broker, and takes two seconds when none answers.
    pub async fn trouble(&self, stalled_after: Duration) -> Option<String> {
        for partition in self.partitions.iter() {
            if let Some(waits) = partition.oldest_wait().filter(|waits| *waits >= stalled_after) {
                let (log, cell) = partition.name();
                let since = waits.as_secs_f64();
                return Some(format!("log {log}/{cell} has taken nothing for {since:.1} s"));
            }
        }
        let topics = LogName::ALL.map(|log| self.options.topic(log));
        match self.asker.leaderless(topics.to_vec()).await {
            Ok(None) => None,
            Ok(Some(leaderless)) => Some(format!("{leaderless} has no leader")),
            Err(error) => Some(format!("no kafka broker answers: {}", client::words(&error))),
        }
    }

    /// Takes nothing more, waits until what was taken is acknowledged, no longer than five seconds, and ends the
    /// readers with [`LogError::Closed`]. Dropping does the same. Blocks.
    pub fn close(&self) {
        self.partitions.iter().for_each(Partition::begin_close);
        self.partitions.iter().for_each(|partition| partition.finish_close());
        self.closed.send_replace(true);
    }

    fn partition(&self, log: LogName, cell: Cell) -> Result<&Arc<Partition>, LogError> {
        let unknown = LogError::UnknownPartition { log, cell };
        if cell.0 >= self.options.cells {
            return Err(unknown);
        }
        let number = LogName::ALL.iter().position(|each| *each == log).ok_or(unknown.clone())?;
        self.partitions.get(number * self.options.cells as usize + cell.0 as usize).ok_or(unknown)
    }

    /// The first offset kept and the one behind the last. Waits while no broker answers, as a reader does: who begins to
    /// fold in that moment goes on when they are back.
    async fn offsets(&self, log: LogName, cell: Cell) -> Result<(u64, u64), LogError> {
        self.partition(log, cell)?;
        loop {
            let error = match self.asker.offsets(&self.options.topic(log), cell).await {
                Ok(offsets) => return Ok(offsets),
                Err(error) => error,
            };
            if *self.closed.borrow() {
                return Err(LogError::Closed { log, cell });
            }
            if !client::passes(&error) {
                return Err(log_error(log, cell, "find the ends", &error));
            }
            tracing::debug!(%log, %cell, %error, "waits for the ends");
        }
    }
}

#[cfg(feature = "contract")]
impl KafkaLog {
    /// From now on nothing appended to the partition leaves this process, and nothing fails.
    ///
    /// # Panics
    /// When there is no such partition.
    #[allow(clippy::unwrap_used, reason = "for tests")]
    pub fn stall(&self, log: LogName, cell: Cell) {
        self.partition(log, cell).unwrap().hold();
    }

    /// Goes on after [`KafkaLog::stall`].
    ///
    /// # Panics
    /// When there is no such partition.
    #[allow(clippy::unwrap_used, reason = "for tests")]
    pub fn resume(&self, log: LogName, cell: Cell) {
        self.partition(log, cell).unwrap().release();
    }

    /// Ends as a killed process would: what waits is forgotten.
    pub fn crash(&self) {
        self.partitions.iter().for_each(|partition| partition.crash());
        self.closed.send_replace(true);
    }
}

/// Looks for appends that wait for too long, for as long as the log is there.
async fn expire(partitions: Weak<Vec<Arc<Partition>>>, deadline: Duration) {
    let pause = (deadline / 20).clamp(Duration::from_millis(20), Duration::from_millis(500));
    loop {
        tokio::time::sleep(pause).await;
        let Some(partitions) = partitions.upgrade() else { return };
        partitions.iter().for_each(|partition| partition.expire());
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    fn append(&self, log: LogName, cell: Cell, record: Record) -> Result<AppendTicket, LogError> {
        self.partition(log, cell)?.append(record)
    }

    async fn read(
        &self,
        log: LogName,
        cell: Cell,
        from: ReadFrom,
    ) -> Result<Box<dyn RecordStream>, LogError> {
        let (low, high) = self.offsets(log, cell).await?;
        let next = match from {
            ReadFrom::Start => low,
            ReadFrom::After(position) if position.0 >= high => {
                let end = (low < high).then(|| Position(high - 1));
                return Err(LogError::NoSuchPosition { log, cell, position, end });
            }
            ReadFrom::After(after) if after.0 + 1 < low => return Err(LogError::Gone { log, cell, after }),
            ReadFrom::After(position) => position.0 + 1,
        };
        let closed = self.closed.subscribe();
        let stream = KafkaStream::open(&self.options, (log, cell), next, self.asker.clone(), closed);
        Ok(Box::new(stream.map_err(|error| log_error(log, cell, "begin a reader", &error))?))
    }

    /// One before the last stable offset: topics are written by this port alone, without transactions, so a record is
    /// there unless retention has taken all of them.
    async fn end(&self, log: LogName, cell: Cell) -> Result<Option<Position>, LogError> {
        let (low, high) = self.offsets(log, cell).await?;
        Ok((low < high).then(|| Position(high - 1)))
    }

    fn cell_count(&self) -> u32 {
        self.options.cells
    }
}
