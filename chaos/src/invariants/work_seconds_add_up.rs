//! Every second of a session belongs to exactly one activity: the timesheet's sum is the wall clock.
//!
//! Without it an agent is paid, or a client charged, for time that was not there.

use std::collections::BTreeMap;

use trunkline_domain::facts::{AgentFact, Recorded};
use trunkline_domain::kernel::Projection;
use trunkline_domain::reporting::Agents;
use trunkline_domain::vocabulary::{AgentId, Millis, Timestamp};

use super::{Invariant, Violation};
use crate::history::History;

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "work_seconds_add_up",
    promise: "the time booked on activities is the wall clock of the sessions",
    check,
};

/// Folds the timesheets, and measures the sessions by their first and last fact alone.
pub fn check(history: &History) -> Vec<Violation> {
    let mut agents = Agents::default();
    let mut sessions: BTreeMap<&AgentId, (Option<Timestamp>, Millis)> = BTreeMap::new();
    let mut newest = Timestamp(i64::MIN);
    for seen in history.agent_facts() {
        agents.fold(&Recorded { meta: seen.meta.clone(), fact: seen.fact.clone() });
        let at = seen.meta.occurred_at;
        newest = newest.max(at);
        match seen.fact {
            AgentFact::AgentSignedIn { agent_id, .. } => {
                let (since, total) = sessions.entry(agent_id).or_default();
                *total = *total + since.map_or(Millis::ZERO, |since| at.since(since));
                *since = Some(at);
            }
            AgentFact::AgentSignedOut { agent_id, .. } => {
                let (since, total) = sessions.entry(agent_id).or_default();
                *total = *total + since.take().map_or(Millis::ZERO, |since| at.since(since));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for (agent_id, (since, total)) in sessions {
        let wall_clock = total + since.map_or(Millis::ZERO, |since| newest.since(since));
        let sheet = agents.sheets().get(agent_id);
        let booked: Millis =
            sheet.map(|it| it.booked_until(newest).values().copied().sum()).unwrap_or_default();
        if booked != wall_clock {
            let message = format!("{booked} are booked, the sessions took {wall_clock}");
            found.push(Violation::of(INVARIANT.name, agent_id, message));
        }
    }
    found
}
