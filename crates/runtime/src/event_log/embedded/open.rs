//! Opening a data directory: whose it is, what is in it, and what a crash left unfinished.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use trunkline_domain::vocabulary::{Cell, LogName};

use super::disk::Disk;
use super::partition::Partition;
use super::segment::{self, Damage, SEGMENT_HEADER_LEN, Segment, Survey, SurveyError, TornTail};
use super::{EmbeddedOptions, quarantine};
use crate::event_log::LogError;

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, writes it.
    #[error("the log in {} is in use by process {holder}", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// Who holds it, as far as known.
        holder: String,
    },
    /// It belongs to another cluster.
    #[error("the log in {} belongs to cluster {found}, not to {expected}", dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// As written there.
        found: String,
        /// As configured.
        expected: String,
    },
    /// It has more cells than are configured; their records would be out of reach.
    #[error("the log in {} has {found} cells, which cannot become {expected}", dir.display())]
    FewerCells {
        /// The directory.
        dir: PathBuf,
        /// As written there.
        found: u32,
        /// As configured.
        expected: u32,
    },
    /// There is no log in it, or its `CLUSTER` file is not one.
    #[error("there is no log in {}: {reason}", dir.display())]
    NoLog {
        /// The directory.
        dir: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The options contradict each other or the limits of the format.
    #[error("bad options for the log in {}: {reason}", dir.display())]
    BadOptions {
        /// The directory.
        dir: PathBuf,
        /// Which, and why.
        reason: &'static str,
    },
    /// The operating system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// What was found when a data directory was opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenReport {
    /// Every partition.
    pub partitions: Vec<PartitionReport>,
}

/// What was found in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionReport {
    /// The log.
    pub log: LogName,
    /// The cell.
    pub cell: Cell,
    /// Records that are there.
    pub record_count: u64,
    /// Their size on disk, in bytes.
    pub bytes: u64,
    /// The unfinished end that was cut off.
    pub torn: Option<TornTail>,
    /// Why the partition takes nothing, if so.
    pub quarantined: Option<LogError>,
}

impl OpenReport {
    /// The partitions whose unfinished end was cut off.
    pub fn torn(&self) -> impl Iterator<Item = &PartitionReport> {
        self.partitions.iter().filter(|partition| partition.torn.is_some())
    }

    /// The partitions that take nothing.
    pub fn quarantined(&self) -> impl Iterator<Item = &PartitionReport> {
        self.partitions.iter().filter(|partition| partition.quarantined.is_some())
    }
}

pub fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { action, path: path.to_owned(), source }
}

/// Takes the exclusive lock of a directory; it lasts as long as the file is open, however the process ends.
pub fn take_lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("LOCK");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io_error("open the lock", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = if holder.trim().is_empty() { "unknown" } else { holder.trim() };
            return Err(OpenError::Locked { dir: dir.to_owned(), holder: holder.to_owned() });
        }
        Err(error) => return Err(io_error("lock", &path)(error.into())),
    }
    // The holder's number is for people; a lock without it holds as well, on a full disk too.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

/// Gives the lock back. To close the file is not enough: a child that is being started has it open too, for as long as it
/// takes to become another program.
pub fn let_go(lock: &File) {
    // What fails here ends with the process.
    let _ = rustix::fs::flock(lock, FlockOperation::Unlock);
}

/// What the `CLUSTER` file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub cluster: String,
    pub cells: u32,
}

impl Identity {
    /// Reads it; `None` when the directory holds no log yet.
    pub fn read(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join("CLUSTER");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(io_error("read", &path))?,
        };
        let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        match (value("cluster"), value("cells").and_then(|cells| cells.parse().ok())) {
            (Some(cluster), Some(cells)) => Ok(Some(Self { cluster: cluster.to_owned(), cells })),
            _ => Err(OpenError::NoLog {
                dir: dir.to_owned(),
                reason: "its CLUSTER file is damaged".to_owned(),
            }),
        }
    }

    /// Writes it, whole or not at all. It is the last thing written when a log is made.
    pub fn write(&self, dir: &Path) -> Result<(), OpenError> {
        let (fresh, path) = (dir.join("CLUSTER.new"), dir.join("CLUSTER"));
        let Self { cluster, cells } = self;
        let write = || {
            let mut file = File::create(&fresh)?;
            write!(file, "cluster: {cluster}\ncells: {cells}\n")?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(io_error("write", &path))
    }
}

/// Opens one partition: cuts a torn tail, quarantines damage. `first_start` allows it to be empty.
pub fn partition(
    options: &EmbeddedOptions,
    log: LogName,
    cell: Cell,
    first_start: bool,
) -> Result<(Partition, PartitionReport), OpenError> {
    let dir = options.dir.join(log.as_str()).join(cell.to_string());
    fs::create_dir_all(&dir).map_err(io_error("create", &dir))?;
    let found = match quarantine::marked(&dir).map_err(io_error("read the marker in", &dir))? {
        Some(damage) => Err(SurveyError::Damaged(damage)),
        None => segment::survey(&dir, log, cell).and_then(|survey| whole(survey, first_start)),
    };
    let (survey, ended) = match found {
        Ok(survey) => (repair(&dir, log, cell, survey).map_err(io_error("recover", &dir))?, None),
        Err(SurveyError::Damaged(damage)) => {
            quarantine::mark(&dir, &damage).map_err(io_error("mark as quarantined", &dir))?;
            (Survey::default(), Some(quarantine::error(log, cell, &damage)))
        }
        Err(SurveyError::Io(error)) => return Err(io_error("read", &dir)(error)),
    };
    let report = PartitionReport {
        log,
        cell,
        record_count: survey.next,
        bytes: survey.segments.iter().map(|segment| segment.end).sum(),
        torn: survey.torn,
        quarantined: ended.clone(),
    };
    let partition = Partition::new(log, cell, dir, options.clone(), survey.segments, survey.next, ended);
    Ok((partition, report))
}

/// A log that was made before has at least its first segment.
fn whole(survey: Survey, first_start: bool) -> Result<Survey, SurveyError> {
    if survey.segments.is_empty() && !first_start {
        return Err(SurveyError::Damaged(Damage {
            file: format!("{:020}.seg", 0),
            offset: 0,
            reason: "every segment is missing".to_owned(),
        }));
    }
    Ok(survey)
}

/// Makes the directory what the survey says: the torn tail cut, everything else durable, one segment to write on.
fn repair(dir: &Path, log: LogName, cell: Cell, mut survey: Survey) -> io::Result<Survey> {
    let disk = Disk::default();
    let Some(last) = survey.segments.last() else {
        segment::create(&disk, dir, log, cell, 0)?;
        survey.segments.push(Segment::new(0));
        return Ok(survey);
    };
    let file = OpenOptions::new().read(true).write(true).open(segment::path(dir, last.base))?;
    if let Some(torn) = &survey.torn {
        file.set_len(torn.offset)?;
        if torn.offset < SEGMENT_HEADER_LEN {
            file.write_all_at(&segment::header(log, cell, last.base), 0)?;
        }
    }
    // Frames behind the last known sync may exist in the page cache alone, there even as clean pages when a sync has
    // failed. Written again, they become durable with the sync below.
    let mut tail = vec![0; last.end.saturating_sub(survey.unsynced_from) as usize];
    file.read_exact_at(&mut tail, survey.unsynced_from)?;
    file.write_all_at(&tail, survey.unsynced_from)?;
    file.sync_all()?;
    disk.sync_dir(dir)?;
    Ok(survey)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_given_back_is_free_though_somebody_has_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let lock = take_lock(dir.path()).unwrap();
        // As a child that was forked has it.
        let inherited = lock.try_clone().unwrap();
        assert!(matches!(take_lock(dir.path()), Err(OpenError::Locked { .. })));
        let_go(&lock);
        drop(lock);
        take_lock(dir.path()).unwrap();
        drop(inherited);
    }
}
