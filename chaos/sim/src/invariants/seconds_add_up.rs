//! A signed-in agent's seconds add up: the timesheet folded from the log is as long as the sessions were in the machine.
//!
//! Without it an agent is paid, or a client charged, for time that was not there.

use std::collections::BTreeMap;

use trunkline_domain::facts::{AgentFact, Recorded};
use trunkline_domain::kernel::Projection;
use trunkline_domain::reporting::Agents;
use trunkline_domain::vocabulary::{AgentId, Millis, Timestamp};

use super::{Committed, Verdict};

pub(crate) const NAME: &str = "seconds_add_up";

/// How long each agent was signed in, by the state alone.
#[derive(Debug, Default)]
pub(crate) struct SecondsAddUp(BTreeMap<AgentId, (Option<Timestamp>, Millis)>);

impl SecondsAddUp {
    pub(crate) fn committed(&mut self, it: &Committed<'_>) {
        let now = it.state.now;
        for (agent_id, agent) in &it.state.agents {
            // A sign-in and a sign-out are commands, so they happen at the machine's present time.
            let known = self.0.get_mut(agent_id);
            match (known, agent.session.is_some()) {
                (Some((since @ None, _)), true) => *since = Some(now),
                (Some((since, total)), false) => {
                    *total = *total + since.take().map_or(Millis::ZERO, |since| now.since(since));
                }
                (Some(_), true) => {}
                (None, signed_in) => {
                    self.0.insert(agent_id.clone(), (signed_in.then_some(now), Millis::ZERO));
                }
            }
        }
    }

    pub(crate) fn end<'a>(&self, facts: impl Iterator<Item = &'a Recorded<AgentFact>>) -> Verdict {
        let mut timesheets = Agents::default();
        facts.for_each(|fact| timesheets.fold(fact));
        let until = timesheets.newest_at().unwrap_or_default();
        for (agent_id, (since, total)) in &self.0 {
            let open = since.map_or(Millis::ZERO, |since| until.max(since).since(since));
            let sheet = timesheets.sheets().get(agent_id);
            let signed_in = sheet.map_or(Millis::ZERO, |it| it.signed_in_ms(until));
            let booked = sheet.map_or(Millis::ZERO, |it| it.booked_until(until).values().copied().sum());
            if signed_in != *total + open || booked != signed_in {
                let was = *total + open;
                return Err(format!(
                    "{agent_id} was signed in for {was}, reported {signed_in}, booked {booked}"
                ));
            }
        }
        Ok(())
    }
}
