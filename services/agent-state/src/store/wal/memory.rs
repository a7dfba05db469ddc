//! What a log comes to: the fold of its records, the same while running and at recovery.

use std::collections::BTreeMap;

use super::frame::{Checkpoint, Record};
use crate::raft::types::{Entry, LogId};

/// The log as readers see it. Entries are without holes, from behind the last purged one on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// Everything but the entries.
    pub head: Checkpoint,
    /// The entries kept.
    pub entries: BTreeMap<u64, Entry>,
}

impl Memory {
    /// The log at the beginning of a segment whose predecessors are gone.
    pub fn from_checkpoint(head: Checkpoint) -> Self {
        Self { head, entries: BTreeMap::new() }
    }

    /// The last entry, or the last purged one when there is none.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.entries.last_key_value().map(|(_, entry)| entry.log_id).or(self.head.purged)
    }

    /// Takes a record into account.
    ///
    /// # Errors
    /// When it does not follow: an entry that leaves a hole, a vote or a purge that goes back.
    pub fn apply(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Vote(vote) => {
                if self.head.vote.is_some_and(|before| vote < before) {
                    return Err(format!("vote {vote} is lower than the one before"));
                }
                self.head.vote = Some(vote);
            }
            Record::Entry(entry) => {
                let index = entry.log_id.index;
                // A log that never had an entry may begin anywhere: openraft says where.
                let pristine = self.head.next_index == 0 && self.head.purged.is_none();
                if index > self.head.next_index && !pristine {
                    return Err(format!("entry {index} where {} had to come", self.head.next_index));
                }
                // An entry in the place of another one replaces it and what followed it. openraft's suite even writes
                // in the place of a purged one; openraft itself never does, and recovery would refuse it as a hole.
                self.entries.split_off(&index);
                self.head.next_index = index + 1;
                self.entries.insert(index, entry);
            }
            Record::Truncate(since) => {
                self.entries.split_off(&since);
                self.head.next_index = self.head.next_index.min(since);
            }
            Record::Purge(log_id) => {
                if self.head.purged.is_some_and(|before| log_id.index < before.index) {
                    return Err(format!("purge to {} goes back", log_id.index));
                }
                self.entries = self.entries.split_off(&(log_id.index + 1));
                self.head.purged = Some(log_id);
                self.head.next_index = self.head.next_index.max(log_id.index + 1);
            }
            Record::Committed(log_id) => self.head.committed = log_id,
            Record::Checkpoint(head) => {
                if head != self.head {
                    return Err(format!("checkpoint says {head:?}, the log before it {:?}", self.head));
                }
            }
        }
        Ok(())
    }

    /// Whether the entries reach from the last purged one to the last without a hole.
    pub fn whole(&self) -> bool {
        let Some((first, _)) = self.entries.first_key_value() else {
            return self.head.next_index == self.head.purged.map_or(0, |purged| purged.index + 1);
        };
        self.entries.len() as u64 == self.head.next_index.saturating_sub(*first)
            && self.head.purged.is_none_or(|purged| *first == purged.index + 1)
    }
}
