//! The one thread that writes: group commit, segments, deletion of what is purged.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};

use trunkline_runtime::error_chain;

use super::frame::{self, Place, Record};
use super::memory::Memory;
use super::recover::Recovered;
use super::{WalError, io_error, segment_path, sync_dir};
use crate::store::codec;
use crate::store::disk::{Disk, DiskFile, SharedDisk};
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
    disk: SharedDisk,
    dir: PathBuf,
    segment_bytes: u64,
    file: Box<dyn DiskFile>,
    number: u64,
    len: u64,
    synced: u64,
    /// Whether a record was written that waits for the next sync. A seal need not be durable and does not count.
    dirty: bool,
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
    /// A writer behind what was recovered, or of a new log. What was recovered is durable when this returns.
    pub fn open(
        disk: SharedDisk,
        dir: &Path,
        segment_bytes: u64,
        recovered: Option<Recovered>,
        failure: Failure,
    ) -> Result<Self, WalError> {
        let dir = dir.to_owned();
        let Some(recovered) = recovered else {
            let head = Memory::default();
            let (file, len) = begin_segment(&*disk, &dir, 1, &head)?;
            let segments = vec![(1, head.head.next_index)];
            let (number, synced, dirty, failed) = (1, len, false, None);
            return Ok(Self {
                disk,
                dir,
                segment_bytes,
                file,
                number,
                len,
                synced,
                dirty,
                head,
                segments,
                failed,
                failure,
            });
        };
        let (number, _) = recovered.segments.last().copied().unwrap_or((1, 0));
        let path = segment_path(&dir, number);
        let mut file = disk.open(&path).map_err(io_error("open", &path))?;
        // What was read back may be in the page cache only, and there as clean: a sync that failed once says nothing
        // more. So it is written again before it is synced. Its name too may be no further than the cache.
        let since = recovered.len - recovered.unsure.len() as u64;
        file.write_at(&recovered.unsure, since).map_err(io_error("write", &path))?;
        file.sync().map_err(io_error("sync", &path))?;
        sync_dir(&*disk, &dir)?;
        let mut writer = Self {
            disk,
            dir,
            segment_bytes,
            file,
            number,
            len: recovered.len,
            synced: recovered.len,
            dirty: false,
            head: Memory::from_checkpoint(recovered.memory.head),
            segments: recovered.segments,
            failed: None,
            failure,
        };
        writer.seal()?;
        Ok(writer)
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
        // For the last seal, which nobody waits for.
        if self.failed.is_none()
            && let Err(error) = self.sync()
        {
            self.fail(error);
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
        let written = match &self.failed {
            Some(reason) => Err(reason.clone()),
            None => self.write(bytes, sync).map_err(|error| self.fail(error)),
        };
        bytes.clear();
        // Before anybody is told, so that what was acknowledged cannot pass for a torn tail. The group is durable whether
        // or not this fits on the disk.
        let sealed = if written == Ok(true) { self.seal() } else { Ok(()) };
        let told = written.as_ref().map(|_| ()).map_err(Clone::clone);
        for done in waiting.drain(..) {
            done(told.clone().map_err(io::Error::other));
        }
        if written.is_ok()
            && let Err(error) = sealed.and_then(|()| self.rotate())
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

    /// Whether it was made durable now.
    fn write(&mut self, bytes: &[u8], sync: bool) -> Result<bool, WalError> {
        if !bytes.is_empty() {
            self.put(bytes)?;
            self.dirty = true;
        }
        let due = sync && self.dirty;
        if due {
            self.sync()?;
        }
        Ok(due)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), WalError> {
        let path = || segment_path(&self.dir, self.number);
        self.file.write_at(bytes, self.len).map_err(|source| io_error("write", &path())(source))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), WalError> {
        let path = segment_path(&self.dir, self.number);
        self.file.sync().map_err(io_error("sync", &path))?;
        self.synced = self.len;
        self.dirty = false;
        Ok(())
    }

    /// Says behind a durable group that it is.
    fn seal(&mut self) -> Result<(), WalError> {
        let (mut bytes, place) = (Vec::new(), Place { segment: self.number, offset: self.len });
        let known = codec::encode(&Record::Committed(self.head.head.committed));
        frame::append(&mut bytes, &known, self.synced, place);
        self.put(&bytes)
    }

    /// Begins a new segment when this one is full, and deletes those that hold purged entries only.
    fn rotate(&mut self) -> Result<(), WalError> {
        if self.len >= self.segment_bytes {
            self.sync()?;
            let (file, len) = begin_segment(&*self.disk, &self.dir, self.number + 1, &self.head)?;
            self.file = file;
            self.number += 1;
            (self.len, self.synced) = (len, len);
            self.segments.push((self.number, self.head.head.next_index));
        }
        let kept_from = self.head.head.purged.map_or(0, |purged| purged.index + 1);
        while !self.dirty && self.segments.len() > 1 && self.segments[0].1 <= kept_from {
            let path = segment_path(&self.dir, self.segments[0].0);
            self.disk.remove(&path).map_err(io_error("remove", &path))?;
            // One after the other: a crash must not leave a hole between those that are left.
            sync_dir(&*self.disk, &self.dir)?;
            self.segments.remove(0);
        }
        Ok(())
    }
}

/// A segment with its checkpoint, durable under its name before anything is written behind it.
fn begin_segment(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    head: &Memory,
) -> Result<(Box<dyn DiskFile>, u64), WalError> {
    let path = segment_path(dir, number);
    let partial = path.with_extension("partial");
    let mut bytes = Vec::new();
    let checkpoint = codec::encode(&Record::Checkpoint(head.head.clone()));
    frame::append(&mut bytes, &checkpoint, 0, Place { segment: number, offset: 0 });
    let mut file = disk.create(&partial).map_err(io_error("make", &partial))?;
    file.write_at(&bytes, 0).map_err(io_error("write", &partial))?;
    file.sync().map_err(io_error("sync", &partial))?;
    disk.rename(&partial, &path).map_err(io_error("rename", &partial))?;
    sync_dir(disk, dir)?;
    Ok((file, bytes.len() as u64))
}
