//! A log that does to its records what broken transactions would: each twice, and those of superseded owners again and
//! again. What counts must not change.

use std::sync::{Arc, Mutex};

use trunkline_domain::facts::{Delivered, Outcome};
use trunkline_domain::vocabulary::InputPosition;

use super::note::{Note, note};
use super::*;
use crate::event_log::{AppendTicket, EventLog, FenceState, LogError};
use crate::facts::{FactReader, FactWriter};

/// Puts repetitions around what is appended to another log.
struct Sabotaged {
    log: SharedLog,
    written: Mutex<Vec<(LogName, Cell, Record)>>,
}

#[async_trait]
impl EventLog for Sabotaged {
    fn append(&self, log: LogName, cell: Cell, record: Record) -> Result<AppendTicket, LogError> {
        let mut written = self.written.lock().unwrap();
        let ticket = self.log.append(log, cell, record.clone())?;
        drop(self.log.append(log, cell, record.clone())?);
        for (log, cell, old) in written.iter().filter(|(.., old)| old.epoch < record.epoch) {
            drop(self.log.append(*log, *cell, old.clone())?);
        }
        written.push((log, cell, record));
        Ok(ticket)
    }

    async fn read(
        &self,
        log: LogName,
        cell: Cell,
        from: ReadFrom,
    ) -> Result<Box<dyn RecordStream>, LogError> {
        self.log.read(log, cell, from).await
    }

    async fn end(&self, log: LogName, cell: Cell) -> Result<Option<Position>, LogError> {
        self.log.end(log, cell).await
    }

    fn cell_count(&self) -> u32 {
        self.log.cell_count()
    }
}

/// Four owners one after the other, each folding what its predecessors wrote and then writing a number for each input.
async fn owners(log: &SharedLog) {
    for epoch in 1..5 {
        let (mut writer, fence) = FactWriter::<Note>::open(log, CELL, "a", Epoch(epoch)).await.unwrap();
        let mut reader = FactReader::open(log, CELL, ReadFrom::Start).await.unwrap();
        let mut consumed = 0;
        reader.catch_up(&writer, fence, |delivered| consumed = next_input(&delivered)).await.unwrap();
        for input in consumed..consumed + 5 {
            let position = Position(input);
            let from = InputPosition { log: LogName::Agents, cell: CELL, position };
            let outcome = Outcome { consumed: vec![from], ..note(epoch, &input.to_string()) };
            writer.append(&outcome).unwrap().await.unwrap();
        }
    }
}

fn next_input(delivered: &Delivered<Note>) -> u64 {
    delivered.outcome.consumed[0].position.0 + 1
}

/// The outcomes that count, and what is known of every lane behind them.
async fn folded(log: &SharedLog) -> (Vec<Outcome<Note>>, FenceState) {
    let mut reader = FactReader::<Note>::open(log, CELL, ReadFrom::Start).await.unwrap();
    let mut outcomes = Vec::new();
    reader.fold_to_end(|delivered| outcomes.push(delivered.outcome)).await.unwrap();
    (outcomes, reader.fence().clone())
}

pub async fn records_doubled_and_replayed_by_zombies_change_no_state<L: LogUnderTest>() {
    let (plain, bed): (L, L) = (fresh().await, fresh().await);
    owners(&plain.log()).await;
    let sabotaged: SharedLog = Arc::new(Sabotaged { log: bed.log(), written: Mutex::default() });
    owners(&sabotaged).await;
    let expected = folded(&plain.log()).await;
    assert_eq!(expected.0.len(), 20);
    assert_eq!(folded(&bed.log()).await, expected);
    drop(sabotaged);
    let bed = bed.crash().await;
    assert!(everything(&bed.log()).await.len() > 2 * everything(&plain.log()).await.len());
    assert_eq!(folded(&bed.log()).await, expected);
}
