//! A writer of one lane: numbers its records, and sends again whatever the log has not acknowledged.

use std::collections::VecDeque;

use bytes::Bytes;
use trunkline_domain::vocabulary::{Cell, Epoch, Millis, Position, Timestamp};
use trunkline_runtime::event_log::Record;

use crate::message::{Address, Kept, LogAsk, LogSaid, LogTold, LogWhat, Message, Outcomes};
use crate::turn::Turn;

/// Without an acknowledgement for so long, everything is sent again on a new connection.
const AGAIN_AFTER: Millis = Millis(700);

/// A lane under one epoch.
#[derive(Debug)]
pub(crate) struct Lane {
    cell: Cell,
    name: String,
    epoch: Epoch,
    /// The last sequence given.
    sequence: u64,
    /// What the log has not acknowledged, in order.
    waiting: VecDeque<(u64, Outcomes)>,
    conn: u64,
    sent_at: Timestamp,
    opened_at: Option<Position>,
}

impl Lane {
    /// Opens a lane with its fence record, an outcome without facts.
    pub(crate) fn open(cell: Cell, name: String, epoch: Epoch, fence: Outcomes, turn: &mut Turn<'_>) -> Self {
        let (sequence, waiting) = (0, VecDeque::from([(0, fence)]));
        let (conn, sent_at) = (0, turn.now);
        let mut lane = Self { cell, name, epoch, sequence, waiting, conn, sent_at, opened_at: None };
        lane.send_all(turn);
        lane
    }

    /// Where the fence record stands, once it does.
    pub(crate) fn opened_at(&self) -> Option<Position> {
        self.opened_at
    }

    /// Whether a record is in the log.
    pub(crate) fn durable(&self, sequence: u64) -> bool {
        self.waiting.front().is_none_or(|(first, _)| sequence < *first)
    }

    /// Whether all of them are.
    pub(crate) fn all_durable(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Puts a record behind the others; gives its sequence.
    pub(crate) fn append(&mut self, outcome: Outcomes, turn: &mut Turn<'_>) -> u64 {
        self.sequence += 1;
        if self.waiting.is_empty() {
            self.sent_at = turn.now;
        }
        self.waiting.push_back((self.sequence, outcome.clone()));
        self.send(self.sequence, outcome, turn);
        self.sequence
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if !self.waiting.is_empty() && turn.now >= self.sent_at + AGAIN_AFTER {
            self.send_all(turn);
        }
    }

    pub(crate) fn told(&mut self, told: &LogTold, turn: &mut Turn<'_>) {
        let LogSaid::Appended { sequence, position, .. } = &told.what else { return };
        if told.conn != self.conn {
            return;
        }
        self.sent_at = turn.now;
        while self.waiting.front().is_some_and(|(waiting, _)| waiting <= sequence) {
            self.waiting.pop_front();
        }
        if *sequence == 0 {
            self.opened_at = Some(*position);
        }
    }

    /// What was sent on the connection before may arrive yet: a reader knows it by its sequence.
    fn send_all(&mut self, turn: &mut Turn<'_>) {
        self.conn = turn.chance.next();
        self.sent_at = turn.now;
        for (sequence, outcome) in self.waiting.clone() {
            self.send(sequence, outcome, turn);
        }
    }

    fn send(&self, sequence: u64, outcome: Outcomes, turn: &mut Turn<'_>) {
        let record = Record {
            lane: self.name.clone(),
            epoch: self.epoch,
            sequence,
            headers: Vec::new(),
            payload: Bytes::new(),
        };
        let what = LogWhat::Append { cell: self.cell, kept: Kept { record, outcome } };
        turn.send(Address::Log, Message::Log(LogAsk { conn: self.conn, what }));
    }
}
