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

/// How long each agent was signed in, by what was decided: before it is published.
#[derive(Debug, Default)]
pub(crate) struct SecondsAddUp(BTreeMap<AgentId, (Option<Timestamp>, Millis)>);

impl SecondsAddUp {
    pub(crate) fn committed(&mut self, it: &Committed<'_>) -> Verdict {
        for (_, posted) in it.facts {
            let at = posted.occurred_at;
            match &posted.fact {
                AgentFact::AgentSignedIn { agent_id, .. } => {
                    self.0.entry(agent_id.clone()).or_default().0 = Some(at);
                }
                // Not always at the time of a command: what a supervisor said, or a loss, takes effect at a deadline.
                AgentFact::AgentSignedOut { agent_id, .. } => {
                    let (since, total) = self.0.entry(agent_id.clone()).or_default();
                    *total = *total + since.take().map_or(Millis::ZERO, |since| at.since(since));
                }
                _ => {}
            }
        }
        for (agent_id, agent) in &it.state.agents {
            let said = self.0.get(agent_id).is_some_and(|(since, _)| since.is_some());
            if said != agent.session.is_some() {
                let is = agent.activity();
                return Err(format!(
                    "{agent_id} is {is:?} at index {}, and the facts say otherwise",
                    it.index
                ));
            }
        }
        Ok(())
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
