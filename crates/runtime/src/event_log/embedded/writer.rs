//! The one thread that writes a partition: drain, write, one sync, acknowledge.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::no_room;
use super::frame;
use super::partition::{Durable, Partition, Pending};
use super::segment::{self, SEGMENT_HEADER_LEN};
use crate::event_log::LogError;

/// One write is at most about this large, in bytes; what is queued beyond it waits for the next sync.
const WRITE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The writer waits for company at most this long, and at most a quarter of what the last commit took.
const LINGER_MAX: Duration = Duration::from_millis(1);

/// Appends to the last segment of a partition.
pub struct Writer {
    partition: Arc<Partition>,
    file: File,
    durable: Durable,
    buffer: Vec<u8>,
}

/// Why records could not be made durable.
enum Failure {
    /// There was no room; the file is as it was before.
    NoRoom,
    /// The state of the file is unknown. Nothing may be written to it again: a failed sync may have dropped the pages
    /// it could not write, and the next one would report success without them.
    Fatal(&'static str, io::Error),
}

impl Writer {
    /// A writer at the durable end.
    pub fn open(partition: Arc<Partition>) -> io::Result<Self> {
        let durable = partition.durable();
        let path = segment::path(&partition.dir, durable.base);
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { partition, file, durable, buffer: Vec::new() })
    }

    /// Until the partition closes or ends.
    pub fn run(mut self) {
        let (mut wanted, mut linger) = (1, Duration::ZERO);
        while let Some(mut batch) = self.partition.take_batch(wanted, linger) {
            let (taken, begun) = (batch.len(), Instant::now());
            while !batch.is_empty() {
                #[cfg(feature = "contract")]
                self.partition.disk.faults.wait_while_stalled();
                if self.partition.ended().is_some() {
                    break;
                }
                if let Err((failed, failure)) = self.commit(&mut batch) {
                    self.give_up(failed.into_iter().chain(std::mem::take(&mut batch)), failure);
                }
            }
            if let Some(error) = self.partition.ended() {
                self.partition.fail(batch, error, true);
            }
            (wanted, linger) = (taken, (begun.elapsed() / 4).min(LINGER_MAX));
        }
    }

    /// Makes as many records of the batch durable as fit in one write, and acknowledges them.
    fn commit(&mut self, batch: &mut VecDeque<Pending>) -> Result<(), (Vec<Pending>, Failure)> {
        if let Err(failure) = self.rotate_when_full(batch) {
            return Err((Vec::new(), failure));
        }
        let start = self.durable.end;
        let (records, frames) = self.fill(batch);
        match self.write(start) {
            Ok(()) => {
                self.durable.next += records.len() as u64;
                self.durable.end = start + self.buffer.len() as u64;
                self.partition.extend(self.durable.base, &frames);
                self.partition.acknowledge(self.durable, records);
                Ok(())
            }
            Err(failure) => Err((records, failure)),
        }
    }

    /// Encodes records into the buffer until the segment or the write is full. Takes at least one.
    fn fill(&mut self, batch: &mut VecDeque<Pending>) -> (Vec<Pending>, Vec<(u64, u64, u64)>) {
        let Durable { next, base, end: start } = self.durable;
        let (mut records, mut frames) = (Vec::new(), Vec::new());
        self.buffer.clear();
        while let Some(pending) = batch.front() {
            let end = start + (self.buffer.len() + frame::frame_len_of(&pending.record)) as u64;
            let full = end > self.partition.options.segment_bytes || self.buffer.len() > WRITE_BYTES_MAX;
            if full && !records.is_empty() {
                break;
            }
            let position = next + records.len() as u64;
            frames.push((position, start + self.buffer.len() as u64, end));
            frame::encode(&mut self.buffer, &pending.record, position, start as u32, base, start);
            records.extend(batch.pop_front());
        }
        (records, frames)
    }

    fn write(&mut self, start: u64) -> Result<(), Failure> {
        let disk = &self.partition.disk;
        match disk.write(&self.file, &self.buffer, start) {
            Ok(()) => disk.sync(&self.file).map_err(|error| Failure::Fatal("sync a segment", error)),
            Err(error) if no_room(&error) => {
                disk.truncate(&self.file, start)
                    .map_err(|error| Failure::Fatal("cut a segment back after the disk was full", error))?;
                Err(Failure::NoRoom)
            }
            Err(error) => Err(Failure::Fatal("write a segment", error)),
        }
    }

    /// Begins a new segment when the next record does not fit into this one.
    fn rotate_when_full(&mut self, batch: &VecDeque<Pending>) -> Result<(), Failure> {
        let Some(pending) = batch.front() else { return Ok(()) };
        let Durable { next, end, .. } = self.durable;
        let fits = end + frame::frame_len_of(&pending.record) as u64 <= self.partition.options.segment_bytes;
        if fits || end == SEGMENT_HEADER_LEN {
            return Ok(());
        }
        let Partition { log, cell, ref dir, ref disk, .. } = *self.partition;
        match segment::create(disk, dir, log, cell, next) {
            Ok(file) => {
                self.file = file;
                self.durable = Durable { next, base: next, end: SEGMENT_HEADER_LEN };
                self.partition.extend(next, &[]);
                Ok(())
            }
            Err(error) if no_room(&error) => match fs::remove_file(segment::path(dir, next)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(Failure::Fatal("remove a segment the disk had no room for", error))
                }
                _ => Err(Failure::NoRoom),
            },
            Err(error) => Err(Failure::Fatal("begin a segment", error)),
        }
    }

    fn give_up(&self, failed: impl IntoIterator<Item = Pending>, failure: Failure) {
        let Partition { log, cell, .. } = *self.partition;
        match failure {
            Failure::NoRoom => self.partition.fail(failed, LogError::DiskFull { log, cell }, false),
            Failure::Fatal(action, error) => {
                self.partition.fail(failed, self.partition.io_error(action, &error), true);
            }
        }
    }
}
