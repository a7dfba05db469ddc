//! The book on disk: disposable, rebuilt from the logs when it is lost, damaged or of another version.
//!
//! A checkpoint writes the rows that changed and the watermarks they were folded up to in one sled batch, which is
//! applied whole or not at all. So what is read back is always the fold of exactly the records its watermarks name.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sled::{Batch, Db};
use trunkline_domain::reporting::{ContactRecord, Definitions, Timesheet};
use trunkline_domain::vocabulary::{AgentId, Cell, ContactId, LogName, OfferId, Position, Timestamp};
use trunkline_runtime::error_chain;

use crate::book::{Book, Changed, Chapter, Partition, Watermark};
use crate::rows::{
    ContactRow, DefinitionsRow, RowError, SheetRow, StoryRow, WatermarkRow, WrapUpRow, seal, unseal,
};

/// What may be held of the store in memory, in bytes.
const CACHE_BYTES: u64 = 16 << 20;

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// sled refused.
    #[error("could not {action} the report store")]
    Sled {
        /// What was attempted.
        action: &'static str,
        /// What it said.
        #[source]
        source: sled::Error,
    },
    /// A row cannot be read.
    #[error("could not read row {key} of the report store")]
    Row {
        /// Its key, lossy.
        key: String,
        /// Why.
        #[source]
        source: RowError,
    },
    /// sled panicked; that is one more way to refuse.
    #[error("could not use the report store: it panicked")]
    Panicked,
    /// The directory could not be put aside.
    #[error("could not put the report store {} aside", dir.display())]
    Quarantine {
        /// Which.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn failed(action: &'static str) -> impl FnOnce(sled::Error) -> StoreError {
    move |source| StoreError::Sled { action, source }
}

/// The store.
#[derive(Clone)]
pub struct Store {
    db: Db,
}

/// How long a lock that somebody has is waited for: sled gives it back from a thread of its own, some time after the store was
/// closed, and one that is merely locked must not be put aside.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(5);

/// sled says of a lock that somebody has it in its own words, or as the system does.
fn locked(error: &std::io::Error) -> bool {
    let text = error.to_string();
    text.contains("could not acquire lock") || text.contains("WouldBlock")
}

impl Store {
    /// Opens the store in `dir` with what it holds. One that cannot be opened or read is put aside as
    /// `<dir>.quarantined-<n>`, and an empty one is begun: the logs still have everything. Blocks.
    ///
    /// # Errors
    /// When even an empty store cannot be made.
    pub fn open_or_quarantine(dir: &Path) -> Result<(Self, Book), StoreError> {
        // sled has been seen to panic on damaged files; for us that is one more way not to open.
        match std::panic::catch_unwind(|| Self::open(dir)) {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(error)) => {
                let reason = error_chain(&error);
                tracing::warn!(dir = %dir.display(), reason, "report store put aside, rebuilding from the logs");
            }
            Err(_) => {
                tracing::warn!(dir = %dir.display(), reason = "panic", "report store put aside, rebuilding from the logs");
            }
        }
        quarantine(dir)?;
        Self::open(dir)
    }

    /// Opens the store in `dir` again, for somebody who has what it holds. Blocks.
    ///
    /// # Errors
    /// When sled refuses.
    pub fn reopen(dir: &Path) -> Result<Self, StoreError> {
        let began = Instant::now();
        loop {
            let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
            match config.open() {
                Err(sled::Error::Io(error)) if locked(&error) && began.elapsed() < UNLOCKED_WITHIN => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                opened => return Ok(Self { db: opened.map_err(failed("open"))? }),
            }
        }
    }

    fn open(dir: &Path) -> Result<(Self, Book), StoreError> {
        let store = Self::reopen(dir)?;
        let book = store.load()?;
        Ok((store, book))
    }

    fn load(&self) -> Result<Book, StoreError> {
        let mut book = Book::default();
        for entry in self.db.iter() {
            let (key, row) = entry.map_err(failed("read"))?;
            put_back(&mut book, &key, &row).map_err(|source| StoreError::Row {
                key: String::from_utf8_lossy(&key).into_owned(),
                source,
            })?;
        }
        Ok(book)
    }

    /// Writes a batch that [`checkpoint`] made. Blocks.
    ///
    /// # Errors
    /// When sled refuses; nothing of the batch is then stored.
    pub fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        self.db.apply_batch(batch).map_err(failed("write"))?;
        self.db.flush().map_err(failed("flush"))?;
        Ok(())
    }

    /// Forgets everything. Blocks.
    ///
    /// # Errors
    /// When sled refuses.
    pub fn clear(&self) -> Result<(), StoreError> {
        self.db.clear().map_err(failed("clear"))?;
        self.db.flush().map_err(failed("flush"))?;
        Ok(())
    }
}

fn quarantine(dir: &Path) -> Result<(), StoreError> {
    let aside = (1_u32..).map(|n| {
        let mut name = dir.as_os_str().to_owned();
        name.push(format!(".quarantined-{n}"));
        PathBuf::from(name)
    });
    let Some(aside) = aside.into_iter().find(|it| !it.exists()) else { return Ok(()) };
    std::fs::rename(dir, aside).map_err(|source| StoreError::Quarantine { dir: dir.to_owned(), source })
}

/// The rows that changed since the last checkpoint, with the watermarks they belong to; `None` when nothing did.
pub fn checkpoint(book: &mut Book) -> Option<Batch> {
    let Changed { contacts, agents, wrap_ups, definitions, partitions, chapters } =
        std::mem::take(&mut book.changed);
    if partitions.is_empty() {
        return None;
    }
    let reporting = &book.reporting;
    let mut batch = Batch::default();
    for record in contacts.iter().filter_map(|it| reporting.contacts.get(it)) {
        batch.insert(format!("c/{}", record.contact_id).into_bytes(), seal(&ContactRow::from(record)));
    }
    for agent_id in agents {
        if let Some(sheet) = reporting.agents.sheets().get(&agent_id) {
            batch.insert(format!("a/{agent_id}").into_bytes(), seal(&SheetRow::from(sheet)));
        }
    }
    for (agent_id, offer_id) in wrap_ups {
        if let Some(wrap_up) = reporting.agents.wrap_up(&agent_id, &offer_id) {
            batch.insert(format!("w/{agent_id}/{offer_id}").into_bytes(), seal(&WrapUpRow::from(wrap_up)));
        }
    }
    if definitions {
        batch.insert(b"d".as_slice(), seal(&DefinitionsRow::from(&reporting.definitions)));
    }
    for (contact_id, chapter) in chapters {
        let before = book.stories.get(&contact_id).and_then(|story| story.get(&chapter));
        let (log, cell, position) = chapter;
        let row = StoryRow { after: before.copied().flatten().map(|it| it.0) };
        batch.insert(format!("s/{contact_id}/{log}/{cell}/{position}").into_bytes(), seal(&row));
    }
    for (log, cell) in partitions {
        if let Some(it) = book.watermarks.get(&(log, cell)) {
            let row = WatermarkRow::new(it.position.0, it.newest_at, it.fact_count, &it.fence);
            batch.insert(format!("p/{log}/{cell}").into_bytes(), seal(&row));
        }
    }
    Some(batch)
}

/// Puts one row back where it came from.
fn put_back(book: &mut Book, key: &[u8], row: &[u8]) -> Result<(), RowError> {
    let key = std::str::from_utf8(key).map_err(|_| RowError::Field("key"))?;
    let parts: Vec<&str> = key.split('/').collect();
    match parts.as_slice() {
        ["c", _] => {
            let record = ContactRecord::try_from(unseal::<ContactRow>(row)?)?;
            book.reporting.contacts.restore(record);
        }
        ["a", agent_id] => {
            let sheet = Timesheet::try_from(unseal::<SheetRow>(row)?)?;
            book.reporting.agents.restore_sheet(AgentId::parse(agent_id)?, sheet);
        }
        ["w", agent_id, offer_id] => {
            let (agent_id, offer_id) = (AgentId::parse(agent_id)?, OfferId::parse(offer_id)?);
            book.reporting.agents.restore_wrap_up(agent_id, offer_id, unseal::<WrapUpRow>(row)?.into());
        }
        ["d"] => book.reporting.definitions = Definitions::try_from(unseal::<DefinitionsRow>(row)?)?,
        ["s", contact_id, log, cell, position] => {
            let (log, cell) = partition(log, cell)?;
            let chapter: Chapter = (log, cell, Position(number(position)?));
            let after = unseal::<StoryRow>(row)?.after.map(Position);
            book.stories.entry(ContactId::parse(contact_id)?).or_default().insert(chapter, after);
        }
        ["p", log, cell] => put_watermark(book, partition(log, cell)?, &unseal::<WatermarkRow>(row)?),
        _ => return Err(RowError::Field("key")),
    }
    Ok(())
}

fn put_watermark(book: &mut Book, partition: Partition, row: &WatermarkRow) {
    let newest_at = row.newest_at.map(Timestamp);
    match partition.0 {
        LogName::Contacts => book.reporting.contacts.restore_newest_at(newest_at),
        LogName::Agents => book.reporting.agents.restore_newest_at(newest_at),
        LogName::Directory | LogName::Routing | LogName::Billing => {}
    }
    let (position, fact_count) = (Position(row.position), row.fact_count);
    book.watermarks.insert(partition, Watermark { position, fence: row.fence(), newest_at, fact_count });
}

fn partition(log: &str, cell: &str) -> Result<Partition, RowError> {
    let log = LogName::parse(log).ok_or(RowError::Field("log"))?;
    Ok((log, Cell(number(cell)?)))
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N, RowError> {
    text.parse().map_err(|_| RowError::Field("number"))
}
