//! The write-ahead log of votes and entries: the only copy of what this replica has promised.
//!
//! ```text
//! wal/00000000000000000001.wal …   segments: a checkpoint, then records
//! wal/QUARANTINED                  written when a segment was found damaged
//! ```
//! One thread writes. It takes everything that waits, writes it, makes it durable with one `fdatasync`, and only then
//! answers. What is absent: no callback before its sync, no second try of a failed sync, no skipping of a damaged
//! record, no entry deleted before the purge that allows it is durable.
//!
//! Behind each durable group stands a *seal*, written before anybody is answered: a record that repeats what is known and
//! says how much of the segment is durable. A bad record before it is damage and refused; without it the last group could
//! not be told from a torn tail. (When there is no room left for it, the group counts all the same, the replica ends, and
//! the next start seals.) The seal itself is not synced. What nobody can tell is thus left to one case: the power
//! fails in the moment between a group's sync and the writing back of its seal, *and* a bit of that group has flipped
//! before the next start. The applied state may know a later index than the log then, and the store refuses to start.

pub mod frame;
pub mod memory;
mod progress;
mod recover;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use self::frame::Record;
use self::memory::Memory;
pub use self::progress::Progress;
pub use self::recover::{Recovered, recover};
use self::writer::{Done, Job, Writer};
use crate::raft::types::LogId;
use crate::store::disk::{Disk, RealDisk, SharedDisk, make_durably};
use crate::store::failure::Failure;

const QUARANTINE_MARK: &str = "QUARANTINED";

/// Why the log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The operating system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// Stored bytes are not what was written.
    #[error("write-ahead log is damaged in {} at byte {offset}: {reason}; quarantined", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What does not fit.
        reason: String,
    },
    /// It was found damaged before, and nobody has removed the mark.
    #[error("write-ahead log is quarantined, see {}: {reason}", path.display())]
    Quarantined {
        /// The mark.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> WalError + 'a {
    move |source| WalError::Io { action, path: path.to_owned(), source }
}

fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.wal"))
}

fn sync_dir(disk: &dyn Disk, dir: &Path) -> Result<(), WalError> {
    disk.sync_dir(dir).map_err(io_error("sync", dir))
}

/// Whether there is a log in `dir`, damaged or not.
///
/// # Errors
/// When the directory cannot be read.
pub fn begun(disk: &dyn Disk, dir: &Path) -> Result<bool, WalError> {
    if !disk.exists(dir).map_err(io_error("look for", dir))? {
        return Ok(false);
    }
    let paths = disk.list(dir).map_err(io_error("list", dir))?;
    Ok(paths.iter().any(|path| path.extension().is_some_and(|extension| extension == "wal")))
}

/// The log, open. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Wal {
    memory: Arc<Mutex<Memory>>,
    /// How far is known to be committed, when that is not written yet.
    committed: Arc<Mutex<Option<Record>>>,
    jobs: mpsc::Sender<Job>,
    progress: Progress,
    failure: Failure,
    /// Joined when the last clone is gone, so that a directory can be opened again at once.
    _thread: Arc<WriterThread>,
}

struct WriterThread {
    stop: mpsc::Sender<Job>,
    handle: Option<std::thread::JoinHandle<()>>,
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        let _ = self.stop.send(Job::Stop);
        if let Some(handle) = self.handle.take() {
            // It has nothing to say beyond what its callers were told.
            let _ = handle.join();
        }
    }
}

impl Wal {
    /// Opens the log in `dir`, made when it is not there. A segment ends when it is longer than `segment_bytes`.
    ///
    /// # Errors
    /// As of [`recover`], and when the writer cannot be started.
    pub fn open(dir: &Path, segment_bytes: u64) -> Result<Self, WalError> {
        Self::open_on(Arc::new(RealDisk), dir, segment_bytes)
    }

    /// As [`Wal::open`], on a disk of the caller's. What it has read is durable when this returns.
    ///
    /// # Errors
    /// As of [`Wal::open`].
    pub fn open_on(disk: SharedDisk, dir: &Path, segment_bytes: u64) -> Result<Self, WalError> {
        make_durably(&*disk, dir).map_err(io_error("make", dir))?;
        let recovered = recover(&*disk, dir)?;
        if let Some(Recovered { torn, .. }) = recovered.as_ref().filter(|it| it.torn > 0) {
            tracing::warn!(bytes = torn, "cut off a torn tail of the write-ahead log");
        }
        let memory = recovered.as_ref().map(|it| it.memory.clone()).unwrap_or_default();
        let failure = Failure::default();
        let progress = Progress::default();
        let writer = Writer::open(disk, dir, segment_bytes, recovered, failure.clone())?;
        let (jobs, queue) = mpsc::channel();
        let handle = std::thread::Builder::new()
            .name("agent-state-wal".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(io_error("start the writer of", dir))?;
        let thread = WriterThread { stop: jobs.clone(), handle: Some(handle) };
        let (memory, committed) = (Arc::new(Mutex::new(memory)), Arc::default());
        Ok(Self { memory, committed, jobs, progress, failure, _thread: Arc::new(thread) })
    }

    /// The first failure. After it nothing is written.
    pub fn failure(&self) -> &Failure {
        &self.failure
    }

    /// How much of what was taken is durable.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The log as readers see it.
    pub fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how far is committed: a hint for the next start, which is written along with whatever is written next.
    ///
    /// # Errors
    /// As of [`Wal::write`].
    pub fn note_committed(&self, committed: Option<LogId>) -> Result<(), String> {
        let mut memory = self.memory();
        memory.apply(Record::Committed(committed))?;
        *self.unwritten() = Some(Record::Committed(committed));
        Ok(())
    }

    fn unwritten(&self) -> MutexGuard<'_, Option<Record>> {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes records; readers see them at once, and `done` is told when they are durable. Order is kept.
    ///
    /// # Errors
    /// When a record does not follow; then none of them was taken.
    pub fn write(&self, records: Vec<Record>, sync: bool, done: Done) -> Result<(), String> {
        let mut memory = self.memory();
        let mut next = None;
        for record in &records {
            // Only the head is needed to judge; entries are cloned into the shared log once.
            let head = next.get_or_insert_with(|| Memory::from_checkpoint(memory.head.clone()));
            head.apply(record.clone())?;
        }
        for record in &records {
            memory.apply(record.clone())?;
        }
        let committed = self.unwritten().take_if(|_| !records.is_empty());
        let records = committed.into_iter().chain(records).collect();
        // Counted while the log is held: in the order in which they are written.
        let done = if sync { self.progress.count(done) } else { done };
        let _ = self.jobs.send(Job::Write { records, sync, done });
        Ok(())
    }
}
