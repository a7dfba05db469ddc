//! A reel: one directory of the spool, an embedded log of one partition's records.
//!
//! Making, opening, closing and removing one blocks; the courier has it done on other threads.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use trunkline_domain::vocabulary::{Cell, LogName, Position};

use super::{Lane, SpoolError, SpoolOptions};
use crate::event_log::{
    AppendTicket, EmbeddedLog, EmbeddedOptions, EventLog, LogError, ReadFrom, Record, RecordStream,
};

/// The end of the name of a reel that is being removed.
const RETIRED: &str = "retired";

/// A reel is of one partition; which one is said by its name and its folder, so that it need not have all the others.
const CELL: Cell = Cell(0);

/// Where the reels of one partition are.
pub(super) fn folder(options: &SpoolOptions, lane: &Lane) -> PathBuf {
    options.dir.join(lane.log.as_str()).join(lane.cell.to_string())
}

/// The directories of the reels in a folder, in the order they were made. Half of a reel, as a crash leaves it at the
/// beginning or at the end of its life, holds nothing that only it has, and is removed.
pub(super) fn found(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let mut dirs = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(dirs),
        other => other.map_err(|error| SpoolError::disk("look for", folder)(error.into()))?,
    };
    for entry in entries {
        let dir = entry.map_err(|error| SpoolError::disk("look for", folder)(error.into()))?.path();
        if !dir.is_dir() {
            continue;
        }
        let retired = dir.extension().is_some_and(|extension| extension == RETIRED);
        // The file that says whose log it is comes last: without it nothing was ever appended.
        let made =
            EmbeddedLog::cluster_of(&dir).map_err(|error| SpoolError::disk("open", &dir)(error.into()))?;
        if retired || made.is_none() {
            fs::remove_dir_all(&dir).map_err(|error| SpoolError::disk("remove", &dir)(error.into()))?;
        } else {
            dirs.push(dir);
        }
    }
    dirs.sort();
    Ok(dirs)
}

/// An open reel.
pub(super) struct Reel {
    pub dir: PathBuf,
    log: EmbeddedLog,
    log_name: LogName,
    /// The first record handed to it; `None` before that.
    pub first: Option<u64>,
    /// The last record handed to it; 0 before that.
    pub last: u64,
    /// The size of what was handed to it, in bytes by [`Record::size`].
    pub bytes: u64,
}

impl Reel {
    /// Makes the reel of that number, durably, with every directory above it.
    pub fn make(options: &SpoolOptions, lane: &Lane, number: u32) -> Result<Self, SpoolError> {
        let dir = folder(options, lane).join(format!("{:020}-{number:06}", lane.epoch.0));
        let made = make_dir(&dir).map_err(|error| SpoolError::disk("make", &dir)(error.into()));
        let made = made.and_then(|()| Self::open(options, lane, &dir));
        if made.is_err() {
            // What is left is half a reel, which the next start removes; on a full disk its room is needed now.
            let _ = fs::remove_dir_all(&dir);
        }
        made
    }

    /// Opens a reel as it is on disk; a torn tail, which nobody was told is durable, is cut off.
    pub fn open(options: &SpoolOptions, lane: &Lane, dir: &Path) -> Result<Self, SpoolError> {
        // One that was made for another lane is refused by its name.
        let name = format!("spool of {} in {}/{}", lane.name, lane.log, lane.cell);
        let embedded = EmbeddedOptions {
            record_bytes_max: options.record_bytes_max,
            ..EmbeddedOptions::new(dir, name, 1)
        };
        let (log, report) =
            EmbeddedLog::open(embedded).map_err(|error| SpoolError::disk("open", dir)(error.into()))?;
        let ours = report.partitions.into_iter().find(|partition| partition.log == lane.log);
        if let Some(damage) = ours.and_then(|partition| partition.quarantined) {
            return Err(SpoolError::disk("open", dir)(damage.into()));
        }
        Ok(Self { dir: dir.to_owned(), log, log_name: lane.log, first: None, last: 0, bytes: 0 })
    }

    /// Puts a record behind the others.
    pub fn append(&mut self, record: Record) -> Result<AppendTicket, LogError> {
        let (sequence, size) = (record.sequence, record.size() as u64);
        let ticket = self.log.append(self.log_name, CELL, record)?;
        self.count(sequence, size);
        Ok(ticket)
    }

    /// Takes a record into account that is in it.
    pub fn count(&mut self, sequence: u64, size: u64) {
        self.first.get_or_insert(sequence);
        (self.last, self.bytes) = (sequence, self.bytes + size);
    }

    /// Everything in it that is durable, from the first record on.
    pub async fn read(&self) -> Result<Box<dyn RecordStream>, LogError> {
        self.log.read(self.log_name, CELL, ReadFrom::Start).await
    }

    /// Where its durable part ends.
    pub async fn end(&self) -> Result<Option<Position>, LogError> {
        self.log.end(self.log_name, CELL).await
    }

    /// Ends it, and takes it off the disk. It goes by another name first: half of it must not pass for a reel.
    pub fn retire(self) -> Result<(), SpoolError> {
        let Self { dir, log, .. } = self;
        log.close();
        drop(log);
        let retired = dir.with_extension(RETIRED);
        let retire = || {
            fs::rename(&dir, &retired)?;
            dir.parent().map_or(Ok(()), sync_dir)?;
            fs::remove_dir_all(&retired)
        };
        retire().map_err(|error| SpoolError::disk("remove", &dir)(error.into()))
    }
}

/// Makes a directory and those above it, each durable in the one above it.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let Some(parent) = dir.parent() else { return fs::create_dir(dir) };
    make_dir(parent)?;
    fs::create_dir(dir)?;
    sync_dir(parent)
}

fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
