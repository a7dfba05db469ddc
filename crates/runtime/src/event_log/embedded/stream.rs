//! Reading: from the files, never from the writer's memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use trunkline_domain::vocabulary::{Cell, LogName};

use super::frame::{self, HEADER_LEN};
use super::partition::{Durable, Partition};
use super::segment::{self, Damage};
use crate::event_log::{LogError, RecordStream, Stored};

/// How much is read at once, in bytes.
const CHUNK_LEN: u64 = 256 * 1024;

/// A place in the files of a partition.
pub struct Cursor {
    pub log: LogName,
    pub cell: Cell,
    pub dir: PathBuf,
    /// The segment, by the position of its first record.
    pub base: u64,
    /// Where in it, in bytes.
    pub offset: u64,
    /// The position of the record there.
    pub next: u64,
    file: Option<Arc<File>>,
    /// Bytes of the segment, whitening removed, and where they stand.
    window: Vec<u8>,
    window_offset: u64,
}

/// What is at a cursor.
pub enum Step {
    /// A record; the cursor stands behind it.
    Record(Stored),
    /// Less than a frame; it needs this many bytes.
    Short(usize),
    /// Not what was written.
    Bad(String),
}

impl Cursor {
    /// At a record of a segment.
    pub fn new(log: LogName, cell: Cell, dir: PathBuf, (base, next, offset): (u64, u64, u64)) -> Self {
        Self { log, cell, dir, base, offset, next, file: None, window: Vec::new(), window_offset: 0 }
    }

    /// Goes to the segment whose first record is the next one.
    pub fn next_segment(&mut self) {
        self.base = self.next;
        self.offset = segment::SEGMENT_HEADER_LEN;
        self.file = None;
        self.window.clear();
    }

    /// Takes the next record out of what was loaded.
    pub fn take(&mut self) -> Step {
        let loaded = self
            .offset
            .checked_sub(self.window_offset)
            .and_then(|skip| self.window.get(skip as usize..))
            .unwrap_or_default();
        let Some(header_bytes) = loaded.first_chunk::<HEADER_LEN>() else { return Step::Short(HEADER_LEN) };
        let Some(header) = frame::header(header_bytes) else {
            return Step::Bad("the checksum of a header is wrong".to_owned());
        };
        if header.position != self.next {
            return Step::Bad(format!("expected position {}, found {}", self.next, header.position));
        }
        let frame_len = header.frame_len();
        let Some(frame_bytes) = loaded.get(..frame_len) else { return Step::Short(frame_len) };
        if !frame::body_holds(&header, frame_bytes) {
            return Step::Bad("the checksum of a record is wrong".to_owned());
        }
        let Some(stored) = frame::decode(&header, frame_bytes) else {
            return Step::Bad("the parts of a record do not fit together".to_owned());
        };
        self.offset += frame_len as u64;
        self.next += 1;
        Step::Record(stored)
    }

    /// Loads at least `need` bytes from the cursor on, but none at or behind `limit`. Says whether all of them were
    /// there. Cancel-safe.
    pub async fn load(&mut self, need: usize, limit: u64) -> io::Result<bool> {
        let (file, offset, base) = (self.file.clone(), self.offset, self.base);
        let path = segment::path(&self.dir, base);
        let len = (need as u64).max(CHUNK_LEN).min(limit.saturating_sub(offset)) as usize;
        let read = tokio::task::spawn_blocking(move || {
            let file = file.map_or_else(|| File::open(path).map(Arc::new), Ok)?;
            let mut bytes = vec![0; len];
            let mut filled = 0;
            while filled < len {
                match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    count => filled += count,
                }
            }
            bytes.truncate(filled);
            frame::whiten(base, offset, &mut bytes);
            io::Result::Ok((file, bytes))
        });
        let (file, bytes) = read.await.map_err(io::Error::other)??;
        self.file = Some(file);
        self.window = bytes;
        self.window_offset = offset;
        Ok(self.window.len() >= need)
    }

    /// Whether nothing was loaded that stands behind the cursor.
    pub fn rest_is_empty(&self) -> bool {
        self.offset >= self.window_offset + self.window.len() as u64
    }

    /// Forgets what was loaded: the file may have changed.
    pub fn forget(&mut self) {
        self.window.clear();
    }

    /// Damage at the cursor.
    pub fn damage(&self, reason: String) -> Damage {
        Damage { file: format!("{:020}.seg", self.base), offset: self.offset, reason }
    }
}

/// A reader beside the writer: it sees exactly what is durable.
pub struct FileStream {
    partition: Arc<Partition>,
    durable: watch::Receiver<Durable>,
    cursor: Cursor,
}

impl FileStream {
    /// A reader whose next record is `next`.
    pub async fn open(partition: Arc<Partition>, next: u64) -> Result<Self, LogError> {
        let durable = partition.watch();
        let Partition { log, cell, ref dir, .. } = *partition;
        let place = partition.locate(next).unwrap_or((0, 0, segment::SEGMENT_HEADER_LEN));
        let cursor = Cursor::new(log, cell, dir.clone(), place);
        let mut stream = Self { partition, durable, cursor };
        while stream.cursor.next < next {
            stream.next().await?;
        }
        Ok(stream)
    }

    fn damaged(&self, reason: String) -> LogError {
        self.partition.quarantine(&self.cursor.damage(reason))
    }
}

#[async_trait]
impl RecordStream for FileStream {
    async fn next(&mut self) -> Result<Stored, LogError> {
        loop {
            let durable = *self.durable.borrow_and_update();
            if self.cursor.next >= durable.next {
                if let Some(error) = self.partition.ended() {
                    return Err(error);
                }
                // The sender lives in the partition we hold.
                let _ = self.durable.changed().await;
                continue;
            }
            let limit = if self.cursor.base == durable.base {
                durable.end
            } else {
                self.partition.segment_end(self.cursor.base).unwrap_or(segment::SEGMENT_HEADER_LEN)
            };
            if self.cursor.offset >= limit {
                self.cursor.next_segment();
                continue;
            }
            match self.cursor.take() {
                Step::Record(stored) => return Ok(stored),
                Step::Bad(reason) => return Err(self.damaged(reason)),
                Step::Short(need) => match self.cursor.load(need, limit).await {
                    Ok(true) => {}
                    Ok(false) => {
                        return Err(self.damaged("the file ends before what was durable".to_owned()));
                    }
                    Err(error) => return Err(self.partition.io_error("read a segment", &error)),
                },
            }
        }
    }
}
