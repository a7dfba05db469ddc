//! Replicas that applied the same index are in the same state.
//!
//! Without it the next leader answers from another world.

use std::collections::BTreeMap;

use trunkline_domain::agent_state::State;
use trunkline_domain::kernel::StateHash;

use super::Verdict;
use crate::turn::Applied;

pub(crate) const NAME: &str = "replicas_agree";

/// What the committed log led to, by index.
#[derive(Debug, Default)]
pub(crate) struct ReplicasAgree {
    prints: Vec<u64>,
    samples: BTreeMap<u64, State>,
}

impl ReplicasAgree {
    /// The state of the machine that applies every committed entry once and never fails.
    pub(crate) fn committed(&mut self, index: u64, print: u64, sample: Option<State>) {
        self.prints.push(print);
        if let Some(state) = sample {
            self.samples.insert(index, state);
        }
    }

    pub(crate) fn applied(&self, voter: u32, applied: &Applied) -> Verdict {
        let index = applied.entry.index;
        if self.prints.get(index as usize - 1) != Some(&applied.print) {
            return Err(format!("voter {voter} is in another state at index {index}"));
        }
        match (&applied.sample, self.samples.get(&index)) {
            (Some(state), Some(known)) if **state != *known => {
                Err(format!("voter {voter} has another state at index {index}, though it looks the same"))
            }
            _ => Ok(()),
        }
    }

    /// In the end everybody is at the same index with the same state hash.
    pub(crate) fn end(reference: (u64, StateHash), voters: &[(u32, u64, StateHash)]) -> Verdict {
        let (index, hash) = reference;
        for (voter, applied, found) in voters {
            if *applied != index {
                return Err(format!("voter {voter} is at index {applied} in the end, not at {index}"));
            }
            if *found != hash {
                return Err(format!("voter {voter} has the state hash {found} at index {index}, not {hash}"));
            }
        }
        Ok(())
    }
}
