//! A lease: at most one holder, and epochs that only grow.

use serde::{Deserialize, Serialize};

use super::{Answer, Reply, refused};

/// What may be asked about a lease. The holder is the client that asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseCall {
    /// Takes it; who has it already gets a newer epoch.
    Acquire,
    /// Keeps it.
    Renew {
        /// Under this epoch.
        epoch: u64,
    },
    /// Gives it back.
    Release {
        /// Under this epoch.
        epoch: u64,
    },
}

/// Who has a lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lease {
    /// The client, and its epoch when anybody was told.
    holding: Option<(u32, Option<u64>)>,
    /// The highest epoch that was told.
    highest: u64,
}

impl Lease {
    pub(super) fn step(&self, client: u32, call: &LeaseCall, reply: Option<&Reply>) -> Option<Self> {
        let (mut after, answer) = self.answer(client, call);
        match (answer, reply) {
            (_, None) => Some(after),
            (Answer::NewEpoch, Some(Reply::Epoch(epoch))) if *epoch > self.highest => {
                after.holding = Some((client, Some(*epoch)));
                after.highest = *epoch;
                Some(after)
            }
            (Answer::Just(expected), Some(reply)) if expected == *reply => Some(after),
            _ => None,
        }
    }

    /// The state afterwards, where a new epoch is one that nobody was told, and what would be answered.
    pub(super) fn answer(&self, client: u32, call: &LeaseCall) -> (Self, Answer) {
        let mut after = self.clone();
        let current = |epoch: u64| self.holding == Some((client, Some(epoch)));
        let answer = match *call {
            LeaseCall::Acquire => match self.holding {
                Some((holder, _)) if holder != client => Answer::Just(Reply::HeldBy(holder)),
                _ => {
                    after.holding = Some((client, None));
                    Answer::NewEpoch
                }
            },
            LeaseCall::Renew { epoch } if current(epoch) => Answer::Just(Reply::Done),
            LeaseCall::Release { epoch } if current(epoch) => {
                after.holding = None;
                Answer::Just(Reply::Done)
            }
            LeaseCall::Renew { .. } | LeaseCall::Release { .. } => refused("STALE_EPOCH"),
        };
        (after, answer)
    }
}
