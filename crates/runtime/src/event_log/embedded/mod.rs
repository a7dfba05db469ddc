//! The embedded log: segments of checksummed frames in a directory, one writer thread a partition, group commit.
//!
//! ```text
//! <dir>/LOCK  CLUSTER
//! <dir>/<log>/<cell>/<position of the first record, 20 digits>.seg   [QUARANTINED]
//! ```
//! What is absent: nothing is acknowledged before its `fdatasync`, no sync is ever tried a second time, no reader sees
//! what is not durable, and no damaged record is ever skipped. The reasons are in `docs/adr/0002-log-store.md`.

mod disk;
#[cfg(feature = "contract")]
mod faults;
mod frame;
mod open;
mod partition;
mod quarantine;
mod read_only;
mod segment;
mod stream;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use async_trait::async_trait;
use trunkline_domain::vocabulary::{Cell, LogName, Position};

#[cfg(feature = "contract")]
pub use faults::Faults;
pub use open::{OpenError, OpenReport, PartitionReport};
pub use read_only::ReadOnlyLog;
pub use segment::TornTail;

use self::open::{Identity, io_error};
use self::partition::Partition;
use self::stream::FileStream;
use self::writer::Writer;
use super::{AppendTicket, EventLog, LogError, ReadFrom, Record, RecordStream};

/// How a data directory is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Where the log is; made when it is not there.
    pub dir: PathBuf,
    /// The cluster it belongs to: one line of text, minted once. A directory of another cluster is refused.
    pub cluster: String,
    /// Partitions a log. More may be added later; there never are fewer.
    pub cells: u32,
    /// A segment ends when the next record would make it longer, in bytes. At most 1 GiB.
    pub segment_bytes: u64,
    /// The largest record taken, by [`Record::size`], in bytes. At most 64 MiB.
    pub record_bytes_max: usize,
    /// Records that may wait in one partition; the next is [`LogError::Overloaded`].
    pub pending_count_max: usize,
    /// Their size together, in bytes; likewise. One record is always taken.
    pub pending_bytes_max: usize,
}

impl EmbeddedOptions {
    /// The usual limits: segments of 64 MiB, records of 1 MiB, 4,096 records or 32 MiB waiting.
    pub fn new(dir: impl Into<PathBuf>, cluster: impl Into<String>, cells: u32) -> Self {
        Self {
            dir: dir.into(),
            cluster: cluster.into(),
            cells,
            segment_bytes: 64 << 20,
            record_bytes_max: 1 << 20,
            pending_count_max: 4096,
            pending_bytes_max: 32 << 20,
        }
    }

    fn check(&self) -> Result<(), OpenError> {
        let reason = if self.cells == 0 {
            "there must be at least one cell"
        } else if self.cluster.is_empty()
            || self.cluster.trim() != self.cluster
            || self.cluster.contains('\n')
        {
            "the cluster must be one line of text"
        } else if self.segment_bytes > 1 << 30 {
            "segments of more than 1 GiB"
        } else if self.record_bytes_max > 64 << 20 {
            "records of more than 64 MiB"
        } else if self.pending_count_max == 0 {
            "no record may wait"
        } else {
            return Ok(());
        };
        Err(OpenError::BadOptions { dir: self.dir.clone(), reason })
    }
}

/// The log in a directory of this machine.
pub struct EmbeddedLog {
    cells: u32,
    /// By log, then cell.
    partitions: Vec<Arc<Partition>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<File>>,
}

impl EmbeddedLog {
    /// Opens a directory for writing, alone. Every record stored is checked; a torn tail is cut off and reported; a
    /// damaged partition is quarantined and reported, and the others work. Blocks: some seconds a gigabyte.
    ///
    /// # Errors
    /// When the directory is in use, belongs to another cluster, has more cells, or cannot be read.
    pub fn open(options: EmbeddedOptions) -> Result<(Self, OpenReport), OpenError> {
        options.check()?;
        let dir = &options.dir;
        std::fs::create_dir_all(dir).map_err(io_error("create", dir))?;
        let lock = open::take_lock(dir)?;
        let expected = Identity { cluster: options.cluster.clone(), cells: options.cells };
        let found = Identity::read(dir)?;
        match &found {
            Some(found) if found.cluster != expected.cluster => {
                let (found, expected) = (found.cluster.clone(), expected.cluster);
                return Err(OpenError::OtherCluster { dir: dir.clone(), found, expected });
            }
            Some(found) if found.cells > expected.cells => {
                let (found, expected) = (found.cells, expected.cells);
                return Err(OpenError::FewerCells { dir: dir.clone(), found, expected });
            }
            _ => {}
        }
        let cells_before = found.as_ref().map_or(0, |found| found.cells);
        let mut report = OpenReport::default();
        let mut partitions = Vec::new();
        for log in LogName::ALL {
            for cell in (0..options.cells).map(Cell) {
                let (partition, found) = open::partition(&options, log, cell, cell.0 >= cells_before)?;
                partitions.push(Arc::new(partition));
                report.partitions.push(found);
            }
            sync_dir(&dir.join(log.as_str()))?;
        }
        if found.as_ref() != Some(&expected) {
            sync_dir(dir)?;
            expected.write(dir)?;
        }
        let log = Self {
            cells: options.cells,
            partitions,
            threads: Mutex::default(),
            lock: Mutex::new(Some(lock)),
        };
        log.start_writers()?;
        Ok((log, report))
    }

    /// Opens a directory for reading, whether another process writes it or not. Changes nothing.
    ///
    /// # Errors
    /// When there is no log in it.
    pub fn open_read_only(dir: impl Into<PathBuf>) -> Result<ReadOnlyLog, OpenError> {
        ReadOnlyLog::open(dir.into())
    }

    /// The cluster a directory belongs to; `None` when there is no log in it yet.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn cluster_of(dir: &Path) -> Result<Option<String>, OpenError> {
        Ok(Identity::read(dir)?.map(|identity| identity.cluster))
    }

    /// Takes nothing more, makes durable what was taken, and lets go of the directory. Readers come to
    /// [`LogError::Closed`] behind the last record. Dropping does the same.
    pub fn close(&self) {
        self.partitions.iter().for_each(|partition| partition.close());
        self.join();
    }

    fn start_writers(&self) -> Result<(), OpenError> {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for partition in self.partitions.iter().filter(|partition| partition.ended().is_none()) {
            let writer = Writer::open(partition.clone())
                .map_err(io_error("open the last segment in", &partition.dir))?;
            let thread = std::thread::Builder::new()
                .name(format!("log-{}-{}", partition.log, partition.cell))
                .spawn(move || writer.run())
                .map_err(io_error("start a writer for", &partition.dir))?;
            threads.push(thread);
        }
        Ok(())
    }

    fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A writer that panicked has resolved its tickets by dropping them.
            let _ = thread.join();
        }
        for partition in self.partitions.iter().filter(|partition| partition.ended().is_none()) {
            partition.end(LogError::Closed { log: partition.log, cell: partition.cell });
        }
        if let Some(lock) = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take() {
            open::let_go(&lock);
        }
    }

    fn partition(&self, log: LogName, cell: Cell) -> Result<&Arc<Partition>, LogError> {
        let unknown = LogError::UnknownPartition { log, cell };
        if cell.0 >= self.cells {
            return Err(unknown);
        }
        let number = LogName::ALL.iter().position(|each| *each == log).ok_or(unknown.clone())?;
        self.partitions.get(number * self.cells as usize + cell.0 as usize).ok_or(unknown)
    }

    /// A partition that can be read: what is durable stays readable unless it is damaged.
    fn readable(&self, log: LogName, cell: Cell) -> Result<&Arc<Partition>, LogError> {
        let partition = self.partition(log, cell)?;
        match partition.ended() {
            Some(error @ LogError::Quarantined { .. }) => Err(error),
            _ => Ok(partition),
        }
    }
}

#[cfg(feature = "contract")]
impl EmbeddedLog {
    /// What goes wrong in a partition.
    ///
    /// # Panics
    /// When there is no such partition.
    #[allow(clippy::unwrap_used, reason = "for tests")]
    pub fn faults(&self, log: LogName, cell: Cell) -> &Faults {
        &self.partition(log, cell).unwrap().disk.faults
    }

    /// Ends as a killed process would: what waits is forgotten, the lock is let go.
    pub fn crash(&self) {
        for partition in &self.partitions {
            partition.end(LogError::Closed { log: partition.log, cell: partition.cell });
            partition.disk.faults.resume();
        }
        self.join();
    }
}

fn sync_dir(dir: &Path) -> Result<(), OpenError> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(io_error("sync", dir))
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    fn append(&self, log: LogName, cell: Cell, record: Record) -> Result<AppendTicket, LogError> {
        self.partition(log, cell)?.append(record)
    }

    async fn read(
        &self,
        log: LogName,
        cell: Cell,
        from: ReadFrom,
    ) -> Result<Box<dyn RecordStream>, LogError> {
        let partition = self.readable(log, cell)?.clone();
        let next = match from {
            ReadFrom::Start => 0,
            ReadFrom::After(position) if position.0 < partition.durable().next => position.0 + 1,
            ReadFrom::After(position) => {
                let end = partition.durable().next.checked_sub(1).map(Position);
                return Err(LogError::NoSuchPosition { log, cell, position, end });
            }
        };
        Ok(Box::new(FileStream::open(partition, next).await?))
    }

    async fn end(&self, log: LogName, cell: Cell) -> Result<Option<Position>, LogError> {
        Ok(self.readable(log, cell)?.durable().next.checked_sub(1).map(Position))
    }

    fn cell_count(&self) -> u32 {
        self.cells
    }
}
