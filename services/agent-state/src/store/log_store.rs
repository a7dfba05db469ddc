//! openraft's log storage over the write-ahead log.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::wal::Wal;
use super::wal::frame::Record;
use crate::raft::types::{Entry, LogId, TypeConfig, Vote};

impl RaftLogReader<TypeConfig> for Wal {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        Ok(self.memory().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.memory().head.vote)
    }
}

impl RaftLogStorage<TypeConfig> for Wal {
    type LogReader = Wal;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let memory = self.memory();
        Ok(LogState { last_purged_log_id: memory.head.purged, last_log_id: memory.last_log_id() })
    }

    async fn get_log_reader(&mut self) -> Wal {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        durably(self, Record::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.note_committed(committed).map_err(io::Error::other)
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.memory().head.committed)
    }

    /// Returns once the entries can be read, so that they go to the followers while they are being made durable here;
    /// `callback` is told when they are.
    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<Record> = entries.into_iter().map(Record::Entry).collect();
        let done = Box::new(move |result| callback.io_completed(result));
        Wal::write(self, records, true, done).map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        durably(self, Record::Truncate(last_log_id.map_or(0, |it| it.index + 1))).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        durably(self, Record::Purge(log_id)).await
    }
}

/// Writes one record and waits until it is durable.
async fn durably(wal: &Wal, record: Record) -> Result<(), io::Error> {
    let (told, durable) = oneshot::channel();
    let done = Box::new(move |result: io::Result<()>| {
        // Whoever waited may have gone; the record is durable all the same.
        let _ = told.send(result);
    });
    Wal::write(wal, vec![record], true, done).map_err(io::Error::other)?;
    match durable.await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other("the writer of the write-ahead log is gone")),
    }
}
