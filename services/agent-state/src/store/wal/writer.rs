//! The one thread that writes: group commit, segments, deletion of what is purged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};

use trunkline_runtime::error_chain;

use super::frame::{self, Place, Record};
use super::memory::Memory;
use super::recover::Recovered;
use super::{WalError, io_error, segment_path, sync_dir};
use crate::store::codec;
use crate::store::failure::Failure;

/// Bytes written before one sync, about; what waits beyond is the next group.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// Told once, when the records are durable or never will be.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What the writer is asked.
pub enum Job {
    /// Write these records.
    Write {
        /// In this order.
        records: Vec<Record>,
        /// Whether `done` waits for them to be durable, or only for them to be written.
        sync: bool,
        /// Who waits.
        done: Done,
    },
    /// End.
    Stop,
}

/// The newest segment and what is needed to begin the next.
pub struct Writer {
    dir: PathBuf,
    segment_bytes: u64,
    file: File,
    number: u64,
    len: u64,
    synced: u64,
    /// What the log comes to; its entries are not kept here.
    head: Memory,
    /// Segments, oldest first, with the index behind their last entry; the last is the newest.
    segments: Vec<(u64, u64)>,
    /// Of the first failure, what callers are told. After it nothing is written: what a failed sync left on the disk is not
    /// known.
    failed: Option<String>,
    /// Where it is kept.
    failure: Failure,
}

impl Writer {
    /// A writer behind what was recovered, or of a new log.
    pub fn open(
        dir: &Path,
        segment_bytes: u64,
        recovered: Option<Recovered>,
        failure: Failure,
    ) -> Result<Self, WalError> {
        match recovered {
            Some(recovered) => {
                let (number, _) = recovered.segments.last().copied().unwrap_or((1, 0));
                let path = segment_path(dir, number);
                let file = OpenOptions::new().append(true).open(&path).map_err(io_error("open", &path))?;
                // What was read back may be in the page cache only.
                file.sync_data().map_err(io_error("sync", &path))?;
                Ok(Self {
                    dir: dir.to_owned(),
                    segment_bytes,
                    file,
                    number,
                    len: recovered.len,
                    synced: recovered.len,
                    head: Memory::from_checkpoint(recovered.memory.head),
                    segments: recovered.segments,
                    failed: None,
                    failure,
                })
            }
            None => {
                let head = Memory::default();
                let (file, len) = begin_segment(dir, 1, &head)?;
                Ok(Self {
                    dir: dir.to_owned(),
                    segment_bytes,
                    file,
                    number: 1,
                    len,
                    synced: len,
                    segments: vec![(1, head.head.next_index)],
                    head,
                    failed: None,
                    failure,
                })
            }
        }
    }

    /// Writes until told to stop.
    pub fn run(mut self, jobs: &Receiver<Job>) {
        let mut stopped = false;
        while !stopped {
            let Ok(first) = jobs.recv() else { return };
            let mut waiting: Vec<Done> = Vec::new();
            let (mut sync, mut bytes) = (false, Vec::new());
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Stop => stopped = true,
                    Job::Write { records, sync: wanted, done } => {
                        sync |= wanted;
                        for record in records {
                            self.encode(&mut bytes, record);
                        }
                        waiting.push(done);
                    }
                }
                next = match jobs.try_recv() {
                    Ok(job) if bytes.len() < GROUP_BYTES_MAX => Some(job),
                    Ok(job) => {
                        // The group is large enough; this job opens the next one.
                        self.finish(&mut bytes, sync, &mut waiting);
                        Some(job)
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
                };
            }
            self.finish(&mut bytes, sync, &mut waiting);
        }
    }

    fn encode(&mut self, bytes: &mut Vec<u8>, record: Record) {
        let place = Place { segment: self.number, offset: self.len + bytes.len() as u64 };
        frame::append(bytes, &codec::encode(&record), self.synced, place);
        let followed = self.head.apply(record);
        debug_assert_eq!(followed, Ok(()), "the log was asked before");
        self.head.entries.clear();
        if let Some(newest) = self.segments.last_mut() {
            newest.1 = newest.1.max(self.head.head.next_index);
        }
    }

    /// Writes the group, makes it durable, and tells everybody who waits.
    fn finish(&mut self, bytes: &mut Vec<u8>, sync: bool, waiting: &mut Vec<Done>) {
        let result = match &self.failed {
            Some(reason) => Err(reason.clone()),
            None => self.write(bytes, sync).map_err(|error| self.fail(error)),
        };
        bytes.clear();
        for done in waiting.drain(..) {
            done(result.clone().map_err(io::Error::other));
        }
        if result.is_ok()
            && let Err(error) = self.rotate()
        {
            self.fail(error);
        }
    }

    /// Keeps a failure before anybody is told of it.
    fn fail(&mut self, error: WalError) -> String {
        let reason = error_chain(&error);
        self.failure.note(error.into());
        self.failed = Some(reason.clone());
        reason
    }

    fn write(&mut self, bytes: &[u8], sync: bool) -> Result<(), WalError> {
        let path = segment_path(&self.dir, self.number);
        self.file.write_all(bytes).map_err(io_error("write", &path))?;
        self.len += bytes.len() as u64;
        if sync {
            self.file.sync_data().map_err(io_error("sync", &path))?;
            self.synced = self.len;
        }
        Ok(())
    }

    /// Begins a new segment when this one is full, and deletes those that hold purged entries only.
    fn rotate(&mut self) -> Result<(), WalError> {
        if self.len >= self.segment_bytes {
            let path = segment_path(&self.dir, self.number);
            self.file.sync_data().map_err(io_error("sync", &path))?;
            let (file, len) = begin_segment(&self.dir, self.number + 1, &self.head)?;
            self.file = file;
            self.number += 1;
            (self.len, self.synced) = (len, len);
            self.segments.push((self.number, self.head.head.next_index));
        }
        let kept_from = self.head.head.purged.map_or(0, |purged| purged.index + 1);
        let durable = self.synced == self.len;
        while durable && self.segments.len() > 1 && self.segments[0].1 <= kept_from {
            let path = segment_path(&self.dir, self.segments[0].0);
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
            sync_dir(&self.dir)?;
            self.segments.remove(0);
        }
        Ok(())
    }
}

/// A segment with its checkpoint, durable under its name before anything is written behind it.
fn begin_segment(dir: &Path, number: u64, head: &Memory) -> Result<(File, u64), WalError> {
    let path = segment_path(dir, number);
    let partial = path.with_extension("partial");
    let mut bytes = Vec::new();
    let checkpoint = codec::encode(&Record::Checkpoint(head.head.clone()));
    frame::append(&mut bytes, &checkpoint, 0, Place { segment: number, offset: 0 });
    let mut file = File::create(&partial).map_err(io_error("make", &partial))?;
    file.write_all(&bytes).map_err(io_error("write", &partial))?;
    file.sync_all().map_err(io_error("sync", &partial))?;
    fs::rename(&partial, &path).map_err(io_error("rename", &partial))?;
    sync_dir(dir)?;
    let file = OpenOptions::new().append(true).open(&path).map_err(io_error("open", &path))?;
    Ok((file, bytes.len() as u64))
}
