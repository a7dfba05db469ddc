//! The guard against a presence that flips: a desktop gone wrong switches every few seconds, for hours, and nobody sees it.

use crate::agent_state::{CHANGE_COUNT_MAX, STEADY_AFTER};
use crate::vocabulary::Timestamp;

/// How often an agent changed its presence lately, by its own word.
///
/// Invariant: at most [`CHANGE_COUNT_MAX`] + 1 instants, in order, all within [`STEADY_AFTER`] of the last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steadiness {
    /// When.
    pub changed_at: Vec<Timestamp>,
    /// Whether it was told that they are too many.
    pub told: bool,
}

impl Steadiness {
    /// Takes note of a change. Gives how many there were, and since when, if they are too many and that was not told
    /// since the agent was steady.
    pub(super) fn note(&mut self, at: Timestamp) -> Option<(u32, Timestamp)> {
        if self.changed_at.last().is_some_and(|last| at.since(*last) >= STEADY_AFTER) {
            self.told = false;
        }
        self.changed_at.retain(|changed_at| at.since(*changed_at) < STEADY_AFTER);
        if self.changed_at.len() > CHANGE_COUNT_MAX {
            self.changed_at.remove(0);
        }
        self.changed_at.push(at);
        if self.told || self.changed_at.len() <= CHANGE_COUNT_MAX {
            return None;
        }
        self.told = true;
        Some((self.changed_at.len() as u32, self.changed_at[0]))
    }
}
