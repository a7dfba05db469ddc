//! The event log as a media node sees it: away when a test says so, as Apache Kafka is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use trunkline_domain::vocabulary::{Cell, LogName, Position};
use trunkline_runtime::event_log::{
    AppendTicket, Completion, EventLog, LogError, ReadFrom, Record, RecordStream, SharedLog,
};

/// A log that can stall, and fail what is under way.
pub struct Outage {
    log: SharedLog,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    away: bool,
    /// Under way while it is away.
    held: Vec<(LogName, Cell, Record, Completion)>,
    /// Lanes that take nothing but a fence record.
    interrupted: BTreeSet<String>,
}

impl Outage {
    pub fn of(log: &SharedLog) -> Arc<Self> {
        Arc::new(Self { log: log.clone(), state: Mutex::default() })
    }

    /// From now on nothing becomes durable, and nothing fails.
    pub fn begin(&self) {
        self.state.lock().unwrap().away = true;
    }

    /// What is under way fails, as when the deadline of an append has passed.
    pub fn give_up(&self) {
        let held = {
            let mut state = self.state.lock().unwrap();
            let held = std::mem::take(&mut state.held);
            state.interrupted.extend(held.iter().map(|(_, _, record, _)| record.lane.clone()));
            held
        };
        for (log, cell, _, completion) in held {
            let (action, reason) = ("append to the end", "no broker acknowledged it".to_owned());
            completion.resolve(Err(LogError::Io { log, cell, action, reason }));
        }
    }

    /// What is under way becomes durable, and what comes.
    pub fn end(&self) {
        let mut state = self.state.lock().unwrap();
        state.away = false;
        for (log, cell, record, completion) in std::mem::take(&mut state.held) {
            let ticket = self.log.append(log, cell, record).unwrap();
            tokio::spawn(async move { completion.resolve(ticket.await) });
        }
    }
}

#[async_trait]
impl EventLog for Outage {
    fn append(&self, log: LogName, cell: Cell, record: Record) -> Result<AppendTicket, LogError> {
        let mut state = self.state.lock().unwrap();
        if record.sequence == 0 {
            state.interrupted.remove(&record.lane);
        } else if state.interrupted.contains(&record.lane) {
            return Err(LogError::Interrupted { log, cell, lane: record.lane });
        }
        if !state.away {
            return self.log.append(log, cell, record);
        }
        let (completion, ticket) = AppendTicket::new(log, cell);
        state.held.push((log, cell, record, completion));
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
