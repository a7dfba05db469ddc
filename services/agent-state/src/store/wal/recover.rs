//! Reads the segments back, cuts off what was never acknowledged, and refuses what was damaged.

use std::path::{Path, PathBuf};

use super::frame::{self, Place, Record};
use super::memory::Memory;
use super::{QUARANTINE_MARK, WalError, io_error, segment_path, sync_dir};
use crate::store::disk::Disk;

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    /// The log.
    pub memory: Memory,
    /// The segments, oldest first, each with the index behind its last entry.
    pub segments: Vec<(u64, u64)>,
    /// The length of the newest, all of it durable now.
    pub len: u64,
    /// The end of the newest: what the process before may have read back from memory without it being on the disk.
    pub unsure: Vec<u8>,
    /// Bytes cut off the newest segment because they were never acknowledged.
    pub torn: u64,
}

/// Reads the log in `dir`. The newest segment's torn tail is cut off, durably.
///
/// # Errors
/// When a file cannot be read, or holds what was not written there: then the directory is marked as quarantined, and
/// refused until a person has removed the mark.
pub fn recover(disk: &dyn Disk, dir: &Path) -> Result<Option<Recovered>, WalError> {
    let mark = dir.join(QUARANTINE_MARK);
    if disk.exists(&mark).map_err(io_error("look for", &mark))? {
        let reason = disk.read(&mark).map_err(io_error("read", &mark))?;
        let reason = String::from_utf8_lossy(&reason).trim().to_owned();
        return Err(WalError::Quarantined { path: mark, reason });
    }
    let numbers = segment_numbers(disk, dir)?;
    let Some(newest) = numbers.last().copied() else { return Ok(None) };
    let mut memory: Option<Memory> = None;
    let mut segments = Vec::new();
    let mut begins_at = 0;
    let (mut len, mut torn, mut unsure) = (0, 0, Vec::new());
    for number in numbers {
        let path = segment_path(dir, number);
        let damaged = |offset: usize, reason: String| quarantine(disk, dir, &path, offset as u64, reason);
        let bytes = disk.read(&path).map_err(io_error("read", &path))?;
        if memory.is_some() && segments.last().is_some_and(|(before, _)| before + 1 != number) {
            return Err(damaged(0, "the segment before it is missing".to_owned()));
        }
        let (mut offset, mut synced) = (0, 0);
        while offset < bytes.len() {
            let place = Place { segment: number, offset: offset as u64 };
            let Some(frame) = frame::read(&bytes[offset..], place) else {
                if number != newest || offset == 0 || durable_behind(&bytes, number, offset) {
                    return Err(damaged(offset, "not a whole record".to_owned()));
                }
                torn = (bytes.len() - offset) as u64;
                break;
            };
            let record = frame::record(frame.payload).map_err(|error| damaged(offset, error.to_string()))?;
            match (&mut memory, record) {
                (None, Record::Checkpoint(head)) if offset == 0 => {
                    begins_at = head.next_index;
                    memory = Some(Memory::from_checkpoint(head));
                }
                (Some(memory), record) if (offset == 0) == matches!(record, Record::Checkpoint(_)) => {
                    memory.apply(record).map_err(|reason| damaged(offset, reason))?;
                }
                _ => return Err(damaged(offset, "checkpoint missing or misplaced".to_owned())),
            }
            offset += frame.len;
            synced = frame.synced as usize;
        }
        let Some(memory) = &memory else { return Err(damaged(0, "empty segment".to_owned())) };
        segments.push((number, memory.head.next_index));
        len = offset as u64;
        unsure = bytes[synced.min(offset)..offset].to_vec();
    }
    let memory = memory.unwrap_or_default();
    // Segments are deleted from the front only when a purge covers them.
    let covered = memory.head.purged.map_or(0, |purged| purged.index + 1);
    if !memory.whole() || begins_at > covered {
        let path = segment_path(dir, newest);
        return Err(quarantine(disk, dir, &path, len, "entries are missing".to_owned()));
    }
    if torn > 0 {
        let path = segment_path(dir, newest);
        let mut file = disk.open(&path).map_err(io_error("open", &path))?;
        file.set_len(len).map_err(io_error("cut", &path))?;
        file.sync().map_err(io_error("sync", &path))?;
    }
    Ok(Some(Recovered { memory, segments, len, unsure, torn }))
}

/// Whether a whole record behind the bad place says that the bad place was durable once.
fn durable_behind(bytes: &[u8], segment: u64, bad: usize) -> bool {
    (bad + 1..bytes.len()).any(|offset| {
        let place = Place { segment, offset: offset as u64 };
        frame::read(&bytes[offset..], place).is_some_and(|frame| frame.synced > bad as u64)
    })
}

fn segment_numbers(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, WalError> {
    let mut numbers = Vec::new();
    for path in disk.list(dir).map_err(io_error("list", dir))? {
        if path.extension().is_some_and(|extension| extension == "partial") {
            // A segment whose making was cut short; nothing was ever written behind it.
            disk.remove(&path).map_err(io_error("remove", &path))?;
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_suffix(".wal").and_then(|number| number.parse().ok()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Marks the directory, so that the next start refuses too until a person has looked at it.
fn quarantine(disk: &dyn Disk, dir: &Path, path: &Path, offset: u64, reason: String) -> WalError {
    let damaged = WalError::Damaged { path: PathBuf::from(path), offset, reason };
    let mark = dir.join(QUARANTINE_MARK);
    let text = format!("{damaged}\n");
    let written = disk
        .create(&mark)
        .and_then(|mut file| file.write_at(text.as_bytes(), 0).and_then(|()| file.sync()))
        .map_err(io_error("write", &mark))
        .and_then(|()| sync_dir(disk, dir));
    if let Err(error) = written {
        tracing::error!(%error, "could not mark a damaged write-ahead log");
    }
    damaged
}
