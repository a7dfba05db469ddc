//! Which agents changed at which Raft index, for as long as there is room: so that who watches hears changes, not everything
//! again.

use std::collections::{BTreeSet, VecDeque};

use trunkline_domain::vocabulary::AgentId;

/// Changes kept. At twenty changes a second, three minutes; who was away for longer hears everything once.
const CHANGE_COUNT_MAX: usize = 4_096;

/// The latest changes, in order.
#[derive(Debug, Default)]
pub struct Feed {
    /// Everything behind this index is here.
    since: u64,
    changes: VecDeque<(u64, AgentId)>,
}

impl Feed {
    /// A feed that knows of nothing up to and including an index.
    pub fn beginning_at(index: u64) -> Self {
        Self { since: index, changes: VecDeque::new() }
    }

    /// Agents changed at an index, which is not below any before.
    pub fn note(&mut self, index: u64, agents: impl IntoIterator<Item = AgentId>) {
        self.changes.extend(agents.into_iter().map(|agent_id| (index, agent_id)));
        while self.changes.len() > CHANGE_COUNT_MAX {
            if let Some((dropped, _)) = self.changes.pop_front() {
                self.since = dropped;
            }
        }
    }

    /// Everything is another: of the roster or by a snapshot.
    pub fn forget(&mut self, index: u64) {
        *self = Self::beginning_at(index);
    }

    /// Who changed behind an index; `None` when that is no longer known.
    pub fn after(&self, index: u64) -> Option<BTreeSet<AgentId>> {
        let known = index >= self.since;
        let newer = self.changes.iter().rev().take_while(|(at, _)| *at > index);
        known.then(|| newer.map(|(_, agent_id)| agent_id.clone()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId::from_name(name).unwrap()
    }

    #[test]
    fn a_feed_tells_what_came_behind_an_index_or_that_it_does_not_know() {
        let mut feed = Feed::beginning_at(10);
        feed.note(11, [agent("anna")]);
        feed.note(12, []);
        feed.note(13, [agent("ben"), agent("carla")]);
        feed.note(14, [agent("anna")]);
        let names = |index| Some(feed.after(index)?.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names(9), None);
        assert_eq!(names(10).unwrap(), ["agt_anna", "agt_ben", "agt_carla"]);
        assert_eq!(names(12).unwrap(), ["agt_anna", "agt_ben", "agt_carla"]);
        assert_eq!(names(13).unwrap(), ["agt_anna"]);
        assert_eq!(names(14).unwrap(), [""; 0]);
        assert_eq!(names(99).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_dropped_for_want_of_room_is_no_longer_known() {
        let mut feed = Feed::default();
        for index in 1..=CHANGE_COUNT_MAX as u64 + 2 {
            feed.note(index, [agent("anna")]);
        }
        assert_eq!(feed.after(1), None);
        assert!(feed.after(2).is_some());
        feed.forget(50_000);
        assert_eq!((feed.after(49_999), feed.after(50_000)), (None, Some(BTreeSet::new())));
    }
}
