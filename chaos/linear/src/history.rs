//! What clients did and were told, with the times at which they asked and heard.
//!
//! All times of a history are of one monotonic clock, in ns since it began: an operation that was called after another
//! had returned came after it, whoever made the two. Times that are equal order nothing.

use serde::{Deserialize, Serialize};

/// What became of an operation, as far as whoever made it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate<R> {
    /// It was answered, by a refusal also: that too says what the state was at some instant in between.
    Ok {
        /// The answer.
        reply: R,
        /// When it was heard.
        returned_at: u64,
    },
    /// It is known to have had no effect, and tells nothing.
    Fail,
    /// Nobody answered: it may take effect at any instant after it was called, or never.
    Unknown,
}

/// One thing that one client did to one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation<K, C, R> {
    /// Who. A client waits for one operation before it begins the next, unless nobody answered.
    pub client: u32,
    /// What it is about. Operations on different keys never touch the same state.
    pub key: K,
    /// What was asked.
    pub call: C,
    /// When it was sent for the first time.
    pub called_at: u64,
    /// What came of it.
    pub fate: Fate<R>,
    /// The Raft index that the answer tells, when it is that of this operation itself.
    pub index: Option<Index>,
}

/// The place of an operation in the Raft log, as its answer tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Index {
    /// It is the entry at this index.
    Entry(u64),
    /// It saw the state up to and including this index.
    Through(u64),
}

impl<K, C, R> Operation<K, C, R> {
    /// When it returned; `None` for one that did not.
    pub fn returned_at(&self) -> Option<u64> {
        match &self.fate {
            Fate::Ok { returned_at, .. } => Some(*returned_at),
            Fate::Fail | Fate::Unknown => None,
        }
    }

    /// What was answered; `None` when nothing was.
    pub fn reply(&self) -> Option<&R> {
        match &self.fate {
            Fate::Ok { reply, .. } => Some(reply),
            Fate::Fail | Fate::Unknown => None,
        }
    }
}
