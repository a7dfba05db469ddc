//! Keeps the store up with the book. A store that cannot be written, because the disk is full say, delays nothing but
//! itself: reports are answered from the book, readiness says why, and what is not written is kept until it can be.

use std::path::PathBuf;
use std::time::Duration;

use sled::Batch;
use trunkline_runtime::error_chain;
use trunkline_runtime::health::Component;

use crate::follow::SharedBook;
use crate::store::{Store, StoreError, checkpoint};

/// How long after a failure the store is tried again.
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// The store and what it still has to take.
pub(crate) struct Keeper {
    dir: PathBuf,
    /// Absent after a failure: sled does not go on after one, it is opened again.
    store: Option<Store>,
    /// Taken from the book and not written; it goes before anything newer.
    unwritten: Option<Batch>,
    component: Component,
}

impl Keeper {
    pub(crate) fn new(dir: PathBuf, store: Store, component: Component) -> Self {
        component.ready();
        Self { dir, store: Some(store), unwritten: None, component }
    }

    /// Writes what changed, again and again; never ends.
    pub(crate) async fn store_every(&mut self, every: Duration, book: &SharedBook) {
        let mut failing = false;
        loop {
            match self.store_now(book).await {
                Ok(()) if failing => {
                    tracing::info!("report store is written again");
                    self.component.ready();
                    failing = false;
                }
                Ok(()) => {}
                Err(error) => {
                    let reason = error_chain(&error);
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            reason,
                            "report store cannot be written; reports are answered from memory"
                        );
                    }
                    self.component.not_ready(reason);
                }
            }
            tokio::time::sleep(if failing { AGAIN_AFTER } else { every }).await;
        }
    }

    /// Writes what changed since the last time.
    ///
    /// # Errors
    /// When the store cannot be opened or written; nothing is forgotten.
    pub(crate) async fn store_now(&mut self, book: &SharedBook) -> Result<(), StoreError> {
        if let Some(batch) = self.unwritten.take() {
            self.write(batch).await?;
        }
        let changed = checkpoint(&mut book.lock());
        match changed {
            Some(batch) => self.write(batch).await,
            None => Ok(()),
        }
    }

    async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        let (store, dir, copy) = (self.store.take(), self.dir.clone(), batch.clone());
        let written = tokio::task::spawn_blocking(move || {
            let store = match store {
                Some(store) => store,
                None => Store::reopen(&dir)?,
            };
            store.apply(copy)?;
            Ok(store)
        });
        match written.await.unwrap_or(Err(StoreError::Panicked)) {
            Ok(store) => {
                self.store = Some(store);
                Ok(())
            }
            Err(error) => {
                self.unwritten = Some(batch);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use trunkline_domain::vocabulary::{Cell, LogName, Position};
    use trunkline_runtime::event_log::FenceState;
    use trunkline_runtime::health::Health;

    use super::*;
    use crate::book::{Book, Watermark};

    #[tokio::test]
    async fn what_could_not_be_written_is_written_when_the_store_opens_again() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().join("state");
        std::fs::write(&dir, "in the way").unwrap();
        let health = Health::new();
        let component = health.component("reporting/store");
        let mut keeper = Keeper { dir: dir.clone(), store: None, unwritten: None, component };
        let place = (LogName::Contacts, Cell(0));
        let book = SharedBook::new(Book::default());
        {
            let mut book = book.lock();
            let (position, fence) = (Position(7), FenceState::new());
            book.watermarks.insert(place, Watermark { position, fence, newest_at: None, fact_count: 1 });
            book.changed.partitions.insert(place);
        }
        assert!(keeper.store_now(&book).await.is_err());
        assert!(keeper.store_now(&book).await.is_err());
        std::fs::remove_file(&dir).unwrap();
        keeper.store_now(&book).await.unwrap();
        drop(keeper);
        let (_store, read) = Store::open_or_quarantine(&dir).unwrap();
        assert_eq!(read.watermarks[&place].position, Position(7));
    }
}
