//! The log as tools see it: beside a writer in another process, or after it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use trunkline_domain::vocabulary::{Cell, LogName, Position};

use super::open::{Identity, OpenError};
use super::quarantine;
use super::segment::{self, SEGMENT_HEADER_LEN, SurveyError};
use super::stream::{Cursor, Step};
use crate::event_log::{AppendTicket, EventLog, LogError, ReadFrom, Record, RecordStream, Stored};

/// How often a reader at the end looks whether the file has grown.
const POLL_EVERY: Duration = Duration::from_millis(50);
/// How often damage must be seen before it is damage.
const LOOKS_MIN: u32 = 5;

/// The log in a directory, for reading. It changes nothing, takes no lock and may be used while another process writes;
/// it then also shows records that are written and in the course of becoming durable.
#[derive(Debug)]
pub struct ReadOnlyLog {
    dir: PathBuf,
    cluster: String,
    cells: u32,
}

impl ReadOnlyLog {
    pub(super) fn open(dir: PathBuf) -> Result<Self, OpenError> {
        match Identity::read(&dir)? {
            Some(Identity { cluster, cells }) => Ok(Self { dir, cluster, cells }),
            None => Err(OpenError::NoLog { dir, reason: "it has no CLUSTER file".to_owned() }),
        }
    }

    /// The cluster the log belongs to.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Reads and checks every record of a partition; gives how many there are. A torn tail is the end, not an error.
    ///
    /// # Errors
    /// When the partition does not exist, is damaged or cannot be read.
    pub fn verify(&self, log: LogName, cell: Cell) -> Result<u64, LogError> {
        let dir = self.partition(log, cell)?;
        let survey = segment::survey(&dir, log, cell).map_err(|error| survey_error(log, cell, error))?;
        Ok(survey.next)
    }

    fn partition(&self, log: LogName, cell: Cell) -> Result<PathBuf, LogError> {
        if cell.0 >= self.cells {
            return Err(LogError::UnknownPartition { log, cell });
        }
        let dir = self.dir.join(log.as_str()).join(cell.to_string());
        match quarantine::marked(&dir) {
            Ok(None) => Ok(dir),
            Ok(Some(damage)) => Err(quarantine::error(log, cell, &damage)),
            Err(error) => Err(io_error(log, cell, &error)),
        }
    }
}

fn io_error(log: LogName, cell: Cell, error: &io::Error) -> LogError {
    LogError::Io { log, cell, action: "read a segment", reason: error.to_string() }
}

fn survey_error(log: LogName, cell: Cell, error: SurveyError) -> LogError {
    match error {
        SurveyError::Damaged(damage) => quarantine::error(log, cell, &damage),
        SurveyError::Io(error) => io_error(log, cell, &error),
    }
}

/// A cursor at the first record of the last segment that begins at or before `next`.
fn cursor(dir: &Path, log: LogName, cell: Cell, next: u64) -> Result<Cursor, LogError> {
    let bases = segment::list(dir).map_err(|error| survey_error(log, cell, error))?;
    let base = bases.into_iter().rfind(|base| *base <= next).unwrap_or(0);
    Ok(Cursor::new(log, cell, dir.to_owned(), (base, base, SEGMENT_HEADER_LEN)))
}

#[async_trait]
impl EventLog for ReadOnlyLog {
    fn append(&self, log: LogName, cell: Cell, _: Record) -> Result<AppendTicket, LogError> {
        let reason = "it was opened for reading only".to_owned();
        Err(LogError::Io { log, cell, action: "append to a partition", reason })
    }

    async fn read(
        &self,
        log: LogName,
        cell: Cell,
        from: ReadFrom,
    ) -> Result<Box<dyn RecordStream>, LogError> {
        let dir = self.partition(log, cell)?;
        let next = match from {
            ReadFrom::Start => 0,
            ReadFrom::After(position) => position.0 + 1,
        };
        let mut stream = PollingStream { cursor: cursor(&dir, log, cell, next)? };
        while stream.cursor.next < next {
            if stream.look().await?.is_none() {
                let end = stream.cursor.next.checked_sub(1).map(Position);
                return Err(LogError::NoSuchPosition { log, cell, position: Position(next - 1), end });
            }
        }
        Ok(Box::new(stream))
    }

    async fn end(&self, log: LogName, cell: Cell) -> Result<Option<Position>, LogError> {
        let dir = self.partition(log, cell)?;
        let mut stream = PollingStream { cursor: cursor(&dir, log, cell, u64::MAX)? };
        while stream.look().await?.is_some() {}
        Ok(stream.cursor.next.checked_sub(1).map(Position))
    }

    fn cell_count(&self) -> u32 {
        self.cells
    }
}

struct PollingStream {
    cursor: Cursor,
}

impl PollingStream {
    /// The next record, or `None` at the end as it is now. What looks like damage is looked at again: the writer may be
    /// in the middle of the frame.
    async fn look(&mut self) -> Result<Option<Stored>, LogError> {
        let mut looks = 1;
        loop {
            let reason = match self.cursor.take() {
                Step::Record(stored) => return Ok(Some(stored)),
                Step::Bad(reason) => reason,
                Step::Short(need) => {
                    if self.cursor.load(need, u64::MAX).await.map_err(|error| self.io_error(&error))? {
                        continue;
                    }
                    let bases = self.bases()?;
                    if bases.last().is_none_or(|last| *last <= self.cursor.base) {
                        return Ok(None);
                    }
                    match (self.cursor.rest_is_empty(), bases.contains(&self.cursor.next)) {
                        (true, true) => {
                            self.cursor.next_segment();
                            continue;
                        }
                        (true, false) => {
                            format!("the segment that starts with position {} is missing", self.cursor.next)
                        }
                        (false, _) => {
                            "the file ends inside a frame, and this is not the last segment".to_owned()
                        }
                    }
                }
            };
            if looks == LOOKS_MIN {
                return if self.torn()? { Ok(None) } else { Err(self.damaged(reason)) };
            }
            looks += 1;
            tokio::time::sleep(POLL_EVERY).await;
            self.cursor.forget();
        }
    }

    fn bases(&self) -> Result<Vec<u64>, LogError> {
        segment::list(&self.cursor.dir).map_err(|error| self.survey_error(error))
    }

    /// Whether the cursor is at the torn end of the last segment.
    fn torn(&self) -> Result<bool, LogError> {
        let Cursor { log, cell, ref dir, base, offset, .. } = self.cursor;
        let last = self.bases()?.last() == Some(&base);
        Ok(last && segment::torn_at(dir, log, cell, base, offset).map_err(|error| self.io_error(&error))?)
    }

    fn damaged(&self, reason: String) -> LogError {
        quarantine::error(self.cursor.log, self.cursor.cell, &self.cursor.damage(reason))
    }

    fn io_error(&self, error: &io::Error) -> LogError {
        io_error(self.cursor.log, self.cursor.cell, error)
    }

    fn survey_error(&self, error: SurveyError) -> LogError {
        survey_error(self.cursor.log, self.cursor.cell, error)
    }
}

#[async_trait]
impl RecordStream for PollingStream {
    async fn next(&mut self) -> Result<Stored, LogError> {
        loop {
            if let Some(stored) = self.look().await? {
                return Ok(stored);
            }
            tokio::time::sleep(POLL_EVERY).await;
            self.cursor.forget();
        }
    }
}
