//! What a spool on disk holds of an earlier epoch, brought into the log before the next one begins.

use std::path::Path;

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tracing::info;
use trunkline_domain::vocabulary::{Cell, Epoch, LogName};

use super::courier::Courier;
use super::episode::Held;
use super::reel::{self, Reel};
use super::store::Store;
use super::{Lane, Spool, SpoolError};
use crate::event_log::{FenceState, LogError, ReadFrom, Record, SharedLog, Verdict};

impl Spool {
    /// Brings what an earlier life left in the spool of a lane into the log, under the epoch it was decided in; returns how
    /// many records the log lacked, when it has them all and nothing is left on disk. The lane must have no writer.
    ///
    /// Once this has succeeded, the next epoch of the lane may begin.
    ///
    /// # Errors
    /// When the log cannot be read or written ([`SpoolError::Log`]): it may be tried again. [`SpoolError::Unfit`] when what
    /// is on disk does not continue what is in the log, and [`SpoolError::Disk`]: a person must look.
    pub async fn drain(
        &self,
        log: &SharedLog,
        name: LogName,
        cell: Cell,
        lane: &str,
    ) -> Result<u64, SpoolError> {
        let began = Instant::now();
        let mut lane = Lane { log: name, cell, name: lane.to_owned(), epoch: Epoch(0) };
        let folder = reel::folder(self.options(), &lane);
        let mut found = Found { reels: self.open_found(&lane, &folder).await?, records: Vec::new() };
        if let Some(epoch) = found.survey(&folder).await? {
            lane.epoch = epoch;
            let known = Known::read(log, &lane).await?;
            let lacking = found.lacking(&folder, &lane, &known)?;
            if lacking.record_count > 0 {
                let record_count = lacking.record_count;
                self.explain(&lane, "an earlier life of this node left it".to_owned());
                let drained = self.carry(log, &lane, found.reels, lacking).await;
                self.calm(&lane);
                drained?;
                let took_ms = began.elapsed().as_millis();
                info!(log = %name, %cell, record_count, took_ms, "the log has everything that an earlier life spooled");
                return Ok(record_count);
            }
        }
        blocking(&folder, move || found.reels.into_iter().try_for_each(Reel::retire)).await?;
        Ok(0)
    }

    async fn open_found(&self, lane: &Lane, folder: &Path) -> Result<Vec<Reel>, SpoolError> {
        let (options, lane, dir) = (self.options().clone(), lane.clone(), folder.to_owned());
        let open = move || reel::found(&dir)?.iter().map(|dir| Reel::open(&options, &lane, dir)).collect();
        blocking(folder, open).await
    }

    async fn carry(
        &self,
        log: &SharedLog,
        lane: &Lane,
        reels: Vec<Reel>,
        lacking: Lacking,
    ) -> Result<(), SpoolError> {
        let store = Store::of(self.options().clone(), lane.clone(), reels);
        let held = Held::found(self.clone(), lacking.record_count, lacking.bytes);
        Courier::draining(log.clone(), lane.clone(), store, held, lacking.behind).drain().await
    }
}

async fn blocking<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> Result<T, SpoolError> + Send + 'static,
) -> Result<T, SpoolError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(SpoolError::disk("work on", folder)(error.into())))
}

/// The reels of one lane as they are on disk, and sequence and size of every record in them.
struct Found {
    reels: Vec<Reel>,
    records: Vec<(u64, u64)>,
}

/// What is in the spool and not in the log.
struct Lacking {
    /// The last sequence that the log has.
    behind: u64,
    record_count: u64,
    bytes: u64,
}

impl Found {
    /// Reads everything; the one epoch of it, unless there is nothing.
    async fn survey(&mut self, folder: &Path) -> Result<Option<Epoch>, SpoolError> {
        let mut epoch = None;
        for reel in &mut self.reels {
            let records = read(reel).await.map_err(|e| SpoolError::disk("read", &reel.dir)(e.into()))?;
            for record in records {
                let first = *epoch.get_or_insert(record.epoch);
                if first != record.epoch {
                    let reason = format!("it has records of epoch {first} and of epoch {}", record.epoch);
                    return Err(SpoolError::Unfit { dir: folder.to_owned(), reason });
                }
                let (sequence, size) = (record.sequence, record.size() as u64);
                reel.count(sequence, size);
                self.records.push((sequence, size));
            }
        }
        Ok(epoch)
    }

    /// What the log must still get, which must be without a hole and count for its readers.
    fn lacking(&self, folder: &Path, lane: &Lane, known: &Known) -> Result<Lacking, SpoolError> {
        let unfit = |reason| Err(SpoolError::Unfit { dir: folder.to_owned(), reason });
        let Lane { log, cell, name, epoch } = lane;
        let Some(behind) = known.counted else {
            return unfit(format!("log {log}/{cell} has no epoch {epoch} of lane {name}"));
        };
        let mut lacking = Lacking { behind, record_count: 0, bytes: 0 };
        for (sequence, size) in &self.records {
            let next = behind + lacking.record_count + 1;
            if *sequence > next {
                return unfit(format!(
                    "sequence {next} of lane {name} is neither there nor in log {log}/{cell}"
                ));
            }
            if *sequence == next {
                lacking.record_count += 1;
                lacking.bytes += size;
            }
        }
        match known.current {
            Some(current) if current > *epoch && lacking.record_count > 0 => {
                let count = lacking.record_count;
                unfit(format!("{count} records of epoch {epoch} of lane {name} were superseded by {current}"))
            }
            _ => Ok(lacking),
        }
    }
}

async fn read(reel: &Reel) -> Result<Vec<Record>, LogError> {
    let mut records = Vec::new();
    if let Some(end) = reel.end().await? {
        let mut stream = reel.read().await?;
        loop {
            let stored = stream.next().await?;
            records.push(stored.record);
            if stored.position >= end {
                break;
            }
        }
    }
    Ok(records)
}

/// How far the log has come with one epoch of a lane.
struct Known {
    /// The newest epoch of the lane.
    current: Option<Epoch>,
    /// The last sequence that counts of the epoch asked for; `None` when it was never begun.
    counted: Option<u64>,
}

impl Known {
    async fn read(log: &SharedLog, lane: &Lane) -> Result<Self, LogError> {
        let mut fence = FenceState::new();
        let mut counted = None;
        if let Some(end) = log.end(lane.log, lane.cell).await? {
            let mut stream = log.read(lane.log, lane.cell, ReadFrom::Start).await?;
            loop {
                let stored = stream.next().await?;
                let ours = stored.record.lane == lane.name;
                if ours
                    && let Verdict::FenceRecord | Verdict::Counts = fence.judge(&stored.record)
                    && stored.record.epoch == lane.epoch
                {
                    counted = Some(stored.record.sequence);
                }
                if stored.position >= end {
                    break;
                }
            }
        }
        Ok(Self { current: fence.lane(&lane.name).map(|lane| lane.epoch), counted })
    }
}
