//! When nothing fails any more, every agent becomes usable and commands succeed, within a bound.
//!
//! Without it an agent is stuck for ever, which is what every product in the field is known for.

use std::collections::BTreeSet;

use trunkline_domain::agent_state::{Activity, State};
use trunkline_domain::vocabulary::{AgentId, Cell, Millis};

use super::Verdict;
use crate::turn::Phase;

pub(crate) const NAME: &str = "becomes_usable";

/// Until every agent is ready: an election, a clock that was ahead (5 s), leases that were spared, the grace of a lost
/// media node (10 s), a wrap-up.
const READY_WITHIN: Millis = Millis(30_000);
/// Until each has served a contact.
const SERVED_WITHIN: Millis = Millis(20_000);

/// Who is not ready yet.
pub(crate) fn unusable<'a>(state: &State, agents: &'a [(AgentId, Cell)]) -> Option<&'a AgentId> {
    let ready = |id: &AgentId| state.agents.get(id).is_some_and(|it| it.activity() == Activity::Ready);
    agents.iter().map(|(id, _)| id).find(|id| !ready(id))
}

/// Whether a phase takes too long.
pub(crate) fn in_time(
    phase: Phase,
    since: Millis,
    state: &State,
    agents: &[(AgentId, Cell)],
    served: &BTreeSet<AgentId>,
) -> Verdict {
    match phase {
        Phase::Calm if since > READY_WITHIN => {
            let stuck = unusable(state, agents);
            let doing = stuck.and_then(|id| state.agents.get(id)).map(|it| it.activity());
            Err(format!("{stuck:?} is {doing:?}, {since} after the last fault"))
        }
        Phase::Probe if since > SERVED_WITHIN => {
            let Some(unserved) = agents.iter().map(|(id, _)| id).find(|id| !served.contains(*id)) else {
                return Err(format!(
                    "contacts or offers are under way yet, {since} after everybody was ready"
                ));
            };
            let holders: Vec<_> = state
                .leases
                .iter()
                .map(|(name, it)| (name, it.holding.as_ref().map(|it| &it.holder)))
                .collect();
            Err(format!("{unserved} got no contact for {since}, though nothing failed; leases {holders:?}"))
        }
        _ => Ok(()),
    }
}

/// In the end nothing is left to publish.
pub(crate) fn end(state: &State) -> Verdict {
    match state.outbox.len() {
        0 => Ok(()),
        count => Err(format!("{count} facts still wait to be published")),
    }
}
