//! openraft's log storage over the write-ahead log.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::wal::Wal;
use super::wal::frame::Record;
use crate::raft::types::{Entry, LogId, StorageError, StorageIOError, TypeConfig, Vote};

impl RaftLogReader<TypeConfig> for Wal {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        Ok(self.memory().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<TypeConfig> for Wal {
    type LogReader = Wal;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let memory = self.memory();
        Ok(LogState { last_purged_log_id: memory.head.purged, last_log_id: memory.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> Wal {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        durably(self, Record::Vote(*vote)).await.map_err(|error| StorageIOError::write_vote(error).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.memory().head.vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        // A hint for the next start: it is written in order and made durable with whatever comes next.
        let written = self.write(vec![Record::Committed(committed)], false, Box::new(drop));
        written.map_err(|reason| StorageIOError::write(AnyError::error(reason)).into())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.memory().head.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<Record> = entries.into_iter().map(Record::Entry).collect();
        let done = Box::new(move |result| callback.log_io_completed(result));
        let taken = Wal::write(self, records, true, done);
        taken.map_err(|reason| StorageIOError::write_logs(AnyError::error(reason)).into())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let written = durably(self, Record::Truncate(log_id.index)).await;
        written.map_err(|error| StorageIOError::write_logs(error).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let written = durably(self, Record::Purge(log_id)).await;
        written.map_err(|error| StorageIOError::write_logs(error).into())
    }
}

/// Writes one record and waits until it is durable.
async fn durably(wal: &Wal, record: Record) -> Result<(), AnyError> {
    let (told, durable) = oneshot::channel();
    let done = Box::new(move |result: io::Result<()>| {
        // Whoever waited may have gone; the record is durable all the same.
        let _ = told.send(result);
    });
    Wal::write(wal, vec![record], true, done).map_err(AnyError::error)?;
    match durable.await {
        Ok(result) => result.map_err(|error| AnyError::new(&error)),
        Err(_) => Err(AnyError::error("the writer of the write-ahead log is gone")),
    }
}
