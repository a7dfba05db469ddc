//! A reservation without acceptance ends by its deadline; so do wrap-ups, breaks, registrations and leases.
//!
//! Without it an agent is held for a caller who is long gone.

use std::collections::BTreeMap;

use trunkline_domain::agent_state::Machine;
use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::{Millis, Timestamp};

use super::{Committed, Verdict};
use crate::turn::Phase;

pub(crate) const NAME: &str = "deadlines_are_kept";

/// How late a deadline may be noticed while nothing fails: a tick of the leader, and a commit.
const BOUND: Millis = Millis(2_000);

/// The deadlines of offered reservations, by token.
#[derive(Debug, Default)]
pub(crate) struct DeadlinesAreKept(BTreeMap<u64, Timestamp>);

impl DeadlinesAreKept {
    /// In machine time nothing happens to an offered reservation behind its deadline.
    pub(crate) fn committed(&mut self, it: &Committed<'_>) -> Verdict {
        for (_, posted) in it.facts {
            match &posted.fact {
                AgentFact::AgentReserved { token, expires_at, .. } => {
                    self.0.insert(*token, *expires_at);
                }
                AgentFact::ReservationAccepted { token, .. }
                | AgentFact::ReservationReleased { token, .. } => {
                    let deadline = self.0.remove(token);
                    if deadline.is_some_and(|at| posted.occurred_at > at) {
                        return Err(format!("{token} ended at {}, after its deadline", posted.occurred_at));
                    }
                }
                _ => {}
            }
        }
        match self.0.iter().find(|(_, at)| **at <= it.state.now) {
            Some((token, at)) => Err(format!("{token} is live at {}, its deadline was {at}", it.state.now)),
            None => Ok(()),
        }
    }

    /// While nothing fails, what is due happens soon, also when nobody asks for anything.
    pub(crate) fn now(machine: &Machine, phase: Phase, now: Timestamp) -> Verdict {
        match machine.next_deadline() {
            Some(at) if phase >= Phase::Probe && at + BOUND < now => {
                Err(format!("what was due at {at} has not happened at {now}"))
            }
            _ => Ok(()),
        }
    }
}
