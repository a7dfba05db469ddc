//! Another way to serve the same day.

use serde::Deserialize;
use trunkline_domain::vocabulary::{Millis, SelectionStrategy, Step};

use crate::day::{Agent, Day, Shift};
use crate::log::Log;

/// What is different. What is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Strategy {
    /// How much earlier high-priority calls are queued than they came, in seconds.
    pub head_start_s: Option<u32>,
    /// High-priority calls before all others, however long those wait.
    pub strict_priority: bool,
    /// Every agent serves every queue.
    pub pooled: bool,
    /// Agents in addition who are there all day long and serve every queue.
    pub more_agents: u32,
    /// Talk times as so many hundredths of what they were.
    pub talk_percent: Option<u32>,
    /// Whom of those who could a call gets, as in a queue's definition: `longest_idle`, `fewest_contacts` …
    pub strategy: Option<String>,
    /// Who has waited for so many seconds is served by any agent.
    pub anybody_after_s: Option<u32>,
}

/// Why a strategy cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the strategy cannot be read: {0}")]
pub struct StrategyError(String);

const AGENTS_MAX: u32 = 10_000;
const PERCENT_MAX: u32 = 10_000;

impl Strategy {
    /// Reads one from YAML.
    ///
    /// # Errors
    /// With the place and what is wrong there.
    pub fn parse(text: &str) -> Result<Self, StrategyError> {
        let it: Self = serde_saphyr::from_str(text).map_err(|error| StrategyError(error.to_string()))?;
        if it.more_agents > AGENTS_MAX {
            return Err(StrategyError(format!("more_agents: expected at most {AGENTS_MAX}")));
        }
        if it.talk_percent.is_some_and(|percent| percent == 0 || percent > PERCENT_MAX) {
            return Err(StrategyError(format!("talk_percent: expected 1 to {PERCENT_MAX}")));
        }
        let spans = [("head_start_s", it.head_start_s), ("anybody_after_s", it.anybody_after_s)];
        if let Some((name, _)) = spans.iter().find(|(_, seconds)| seconds.is_some_and(|it| it > 86_400)) {
            return Err(StrategyError(format!("{name}: expected at most 86400, a day")));
        }
        if it.strategy.is_some() && it.selection().is_none() {
            let known = SelectionStrategy::ALL.map(SelectionStrategy::as_str).join(", ");
            return Err(StrategyError(format!("strategy: expected one of {known}")));
        }
        Ok(it)
    }

    fn selection(&self) -> Option<SelectionStrategy> {
        let word = self.strategy.as_ref()?;
        SelectionStrategy::ALL.into_iter().find(|it| it.as_str() == word)
    }

    /// A day of the log, served this way.
    pub fn day(&self, log: &Log) -> Day {
        let mut day = log.day.clone();
        for (call, high) in day.calls.iter_mut().zip(&log.high) {
            if let (Some(seconds), true) = (self.head_start_s, *high) {
                call.head_start = Millis::from_secs(i64::from(seconds));
            }
            if self.strict_priority && *high {
                (call.priority, call.head_start) = (-1, Millis::ZERO);
            }
            if let Some(percent) = self.talk_percent {
                call.talk = Millis(call.talk.0 * i64::from(percent) / 100);
            }
        }
        day.plan.selection.strategy = self.selection().unwrap_or_default();
        if let Some(seconds) = self.anybody_after_s {
            day.plan.steps = vec![Step {
                after_ms: Millis::from_secs(i64::from(seconds).max(1)),
                required_skills: Some(Vec::new()),
                ..Step::default()
            }];
        }
        let mut every: Vec<String> = day.queues.iter().flat_map(|queue| queue.skills.clone()).collect();
        every.sort();
        every.dedup();
        if self.pooled {
            day.agents.iter_mut().for_each(|agent| agent.skills.clone_from(&every));
        }
        let shifts = log.open.iter().map(|(from, until)| Shift { from: *from, until: *until });
        let shifts: Vec<Shift> = shifts.collect();
        for nth in 1..=self.more_agents {
            day.agents.push(Agent {
                name: format!("more-{nth}"),
                skills: every.clone(),
                shifts: shifts.clone(),
            });
        }
        day
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_says_what_is_different_and_a_wrong_one_says_where() {
        let strategy = Strategy::parse("head_start_s: 0\npooled: true\nmore_agents: 2\n").unwrap();
        assert_eq!((strategy.head_start_s, strategy.pooled, strategy.more_agents), (Some(0), true, 2));
        assert_eq!(Strategy::parse("{}").unwrap(), Strategy::default());
        for (text, says) in [
            ("head_start: 3", "head_start"),
            ("talk_percent: 0", "talk_percent: expected 1 to"),
            ("more_agents: 99999", "more_agents: expected at most"),
            ("head_start_s: 86401", "head_start_s: expected at most"),
            ("anybody_after_s: 86401", "anybody_after_s: expected at most"),
            ("strategy: best", "strategy: expected one of longest_idle, fewest_contacts"),
        ] {
            let error = Strategy::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
