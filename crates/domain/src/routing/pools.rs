//! Who could be matched with whom, kept at hand: an input costs what it changes, however many wait and however many are idle.
//!
//! ```text
//! MatchProblem: seekers (waiting contacts that may be offered), staff (agents of the directory, each with a standing),
//!               needs (the skills a contact requires; equal needs share a pool)
//! MatchPlan:    pairs of a seeker and an agent
//!
//! A  An agent of a pair is available and has every skill its contact requires.
//! B  No pair's agent missed its contact within the queue's `reoffer_after`.
//! C  No agent and no contact is in two pairs.
//! D  Liveness: afterwards no seeker is left that an available agent could serve.
//! E  Order: the first seeker in the order of service that can be served gets, of those who can serve it, whoever is idle
//!    longest, ties by id; then the next; so nobody is passed by somebody behind, but for want of a skill.
//! ```
//!
//! Between two inputs D holds. An input makes some contacts seek and some agents available (*fresh*), and a new pair has a
//! fresh one on at least one side: only these are looked at. `naive.rs` looks at everybody, and in tests every turn of both
//! must be equal.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Rank;
use crate::facts::PassedOverReason;
use crate::vocabulary::{AgentId, ContactId, SkillId, Timestamp};

/// An agent, by its place among those of the directory in the order of their ids.
pub(super) type AgentNo = u32;
/// A pool, by its place.
type PoolNo = u32;

/// With more fresh agents than this, all seekers are looked at one after the other instead of each agent's.
const FRESH_MAX: usize = 16;

/// How near an agent who is signed in comes to being offered a contact whose skills it has, the nearest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nearness {
    /// It could be offered one now.
    Available,
    /// Nothing is missing but a telephone.
    NoDevice,
    /// It is held, talks, does after-contact work, is offered something, was just refused.
    Busy,
    /// It takes no contacts.
    NotReady,
}

impl Nearness {
    /// Why it was not this one.
    pub(super) fn reason(self) -> PassedOverReason {
        match self {
            Self::Available => PassedOverReason::IdleLessLong,
            Self::NoDevice => PassedOverReason::NoDevice,
            Self::Busy => PassedOverReason::Busy,
            Self::NotReady => PassedOverReason::NotReady,
        }
    }
}

/// Where an agent who is signed in stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    /// How near.
    pub nearness: Nearness,
    /// Since when it could take a contact: the longest idle comes first.
    pub idle_since: Timestamp,
}

/// Who may have found somebody since the turn before.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Whoever there is.
    pub all: bool,
    /// Contacts that seek.
    pub contacts: Vec<Rank>,
    /// Agents that are available.
    pub agents: Vec<AgentNo>,
}

impl Fresh {
    /// Whether there is nobody.
    pub(super) fn is_empty(&self) -> bool {
        !self.all && self.contacts.is_empty() && self.agents.is_empty()
    }
}

/// Every agent of the directory and every contact that seeks one.
#[derive(Debug, Default)]
pub(super) struct Pools {
    skills: BTreeMap<SkillId, usize>,
    agents: Vec<Agent>,
    numbers: BTreeMap<AgentId, AgentNo>,
    pools: Vec<Pool>,
    by_need: BTreeMap<Vec<SkillId>, PoolNo>,
    /// The pool of each that seeks, in the order of service.
    seeking: BTreeMap<Rank, PoolNo>,
    /// The same, by contact.
    ranks: BTreeMap<ContactId, Rank>,
    /// Who is signed in, the longest idle first.
    signed_in: BTreeSet<(Timestamp, AgentNo)>,
}

#[derive(Debug)]
struct Agent {
    agent_id: AgentId,
    skills: SkillSet,
    /// Where it could serve.
    pools: Vec<PoolNo>,
    /// `None` of one that is not signed in.
    standing: Option<Standing>,
}

/// Those who need the same skills, and those who have them.
#[derive(Debug)]
struct Pool {
    /// `None` where a skill is needed that nobody of the directory has.
    required: Option<SkillSet>,
    staff: BTreeSet<(Standing, AgentNo)>,
    /// With whether somebody missed it.
    seekers: BTreeMap<Rank, bool>,
}

/// One bit a skill.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct SkillSet(Vec<u64>);

impl SkillSet {
    fn put(&mut self, skill: usize) {
        let word = skill / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (skill % 64);
    }

    fn has_all(&self, required: &Self) -> bool {
        let word = |at: usize| self.0.get(at).copied().unwrap_or(0);
        required.0.iter().enumerate().all(|(at, wanted)| word(at) & wanted == *wanted)
    }
}

/// What the turn asks of the contacts.
pub(super) trait Misses {
    /// Whether an agent is not offered a contact for now, because it missed it.
    fn missed(&self, rank: &Rank, agent_id: &AgentId) -> bool;
}

impl Pools {
    /// Of the agents of a directory, in the order of their ids, with their skills; nobody seeks, nobody is signed in.
    pub(super) fn of<'a>(agents: impl Iterator<Item = (&'a AgentId, &'a [SkillId])>) -> Self {
        let mut pools = Self::default();
        for (agent_id, skill_ids) in agents {
            let mut skills = SkillSet::default();
            for skill_id in skill_ids {
                let next = pools.skills.len();
                skills.put(*pools.skills.entry(skill_id.clone()).or_insert(next));
            }
            let number = AgentNo::try_from(pools.agents.len()).unwrap_or(AgentNo::MAX);
            pools.numbers.insert(agent_id.clone(), number);
            pools.agents.push(Agent {
                agent_id: agent_id.clone(),
                skills,
                pools: Vec::new(),
                standing: None,
            });
        }
        pools
    }

    /// Has the pool of a need at hand before a contact has it.
    pub(super) fn prepare(&mut self, required: &[SkillId]) {
        self.pool(required);
    }

    /// An agent's number; `None` when the directory does not know it.
    pub(super) fn number(&self, agent_id: &AgentId) -> Option<AgentNo> {
        self.numbers.get(agent_id).copied()
    }

    /// The agent of a number.
    pub(super) fn agent_id(&self, agent: AgentNo) -> &AgentId {
        &self.agents[agent as usize].agent_id
    }

    /// Where an agent stands from now on; says whether it is available.
    pub(super) fn stands(&mut self, agent: AgentNo, standing: Option<Standing>) -> bool {
        let it = &mut self.agents[agent as usize];
        let before = std::mem::replace(&mut it.standing, standing);
        if before != standing {
            for pool in &it.pools {
                let staff = &mut self.pools[*pool as usize].staff;
                before.map(|standing| staff.remove(&(standing, agent)));
                standing.map(|standing| staff.insert((standing, agent)));
            }
            before.map(|standing| self.signed_in.remove(&(standing.idle_since, agent)));
            standing.map(|standing| self.signed_in.insert((standing.idle_since, agent)));
        }
        self.available(agent)
    }

    /// A contact seeks an agent from now on; `missed` when some agent missed it.
    pub(super) fn seeks(&mut self, rank: Rank, required: &[SkillId], missed: bool) {
        let pool = self.pool(required);
        self.pools[pool as usize].seekers.insert(rank.clone(), missed);
        self.ranks.insert(rank.2.clone(), rank.clone());
        self.seeking.insert(rank, pool);
    }

    /// A contact seeks nobody any more.
    pub(super) fn seeks_no_more(&mut self, contact_id: &ContactId) {
        if let Some(rank) = self.ranks.remove(contact_id)
            && let Some(pool) = self.seeking.remove(&rank)
        {
            self.pools[pool as usize].seekers.remove(&rank);
        }
    }

    /// The pool of a need. The first contact with it makes it, which looks at every agent once.
    fn pool(&mut self, required: &[SkillId]) -> PoolNo {
        if let Some(pool) = self.by_need.get(required) {
            return *pool;
        }
        let mut skills = SkillSet::default();
        let known = required
            .iter()
            .all(|skill_id| self.skills.get(skill_id).map(|skill| skills.put(*skill)).is_some());
        let number = PoolNo::try_from(self.pools.len()).unwrap_or(PoolNo::MAX);
        let mut staff = BTreeSet::new();
        if known {
            for (agent, it) in self.agents.iter_mut().enumerate() {
                if it.skills.has_all(&skills) {
                    it.pools.push(number);
                    let agent = AgentNo::try_from(agent).unwrap_or(AgentNo::MAX);
                    staff.extend(it.standing.map(|standing| (standing, agent)));
                }
            }
        }
        self.pools.push(Pool { required: known.then_some(skills), staff, seekers: BTreeMap::new() });
        self.by_need.insert(required.to_vec(), number);
        number
    }

    /// A turn: what can be matched since these became fresh, at most `count_max` pairs. `meet` sees each pair before it is
    /// made; afterwards contact and agent seek and are available no longer.
    pub(super) fn turn<T>(
        &mut self,
        fresh: &Fresh,
        misses: &impl Misses,
        count_max: usize,
        mut meet: impl FnMut(&Self, &Rank, AgentNo) -> T,
    ) -> Vec<T> {
        if fresh.all || fresh.agents.len() > FRESH_MAX {
            return self.turn_of_all(misses, count_max, meet);
        }
        let mut contacts: BTreeSet<Rank> = fresh.contacts.iter().cloned().collect();
        let mut best: BTreeMap<AgentNo, Rank> = BTreeMap::new();
        for agent in fresh.agents.iter().filter(|agent| self.available(**agent)) {
            best.extend(self.best_seeker(*agent, misses).map(|rank| (*agent, rank)));
        }
        let mut pairs = Vec::new();
        while pairs.len() < count_max {
            // The first fresh contact that somebody can serve; those before it stay as they are.
            let mut first = best.values().min().cloned();
            let mut in_vain = Vec::new();
            for rank in &contacts {
                if first.as_ref().is_some_and(|first| first <= rank) {
                    break;
                }
                if self.best_agent(rank, misses).is_some() {
                    first = Some(rank.clone());
                    break;
                }
                in_vain.push(rank.clone());
            }
            in_vain.iter().for_each(|rank| {
                contacts.remove(rank);
            });
            let Some(rank) = first else { break };
            let Some(agent) = self.best_agent(&rank, misses) else { break };
            pairs.push(meet(self, &rank, agent));
            self.take(&rank, agent);
            contacts.remove(&rank);
            best.remove(&agent);
            let again: Vec<AgentNo> =
                best.iter().filter(|(_, other)| **other == rank).map(|(agent, _)| *agent).collect();
            for agent in again {
                match self.best_seeker(agent, misses) {
                    Some(rank) => best.insert(agent, rank),
                    None => best.remove(&agent),
                };
            }
        }
        pairs
    }

    /// Everybody who seeks, in the order of service.
    fn turn_of_all<T>(
        &mut self,
        misses: &impl Misses,
        count_max: usize,
        mut meet: impl FnMut(&Self, &Rank, AgentNo) -> T,
    ) -> Vec<T> {
        let mut pairs = Vec::new();
        let mut at: Option<Rank> = None;
        loop {
            use std::ops::Bound::{Excluded, Unbounded};
            let from = at.as_ref().map_or(Unbounded, Excluded);
            let Some(rank) = self.seeking.range((from, Unbounded)).next().map(|(rank, _)| rank.clone())
            else {
                return pairs;
            };
            if let Some(agent) = self.best_agent(&rank, misses) {
                pairs.push(meet(self, &rank, agent));
                self.take(&rank, agent);
                if pairs.len() == count_max {
                    return pairs;
                }
            }
            at = Some(rank);
        }
    }

    fn take(&mut self, rank: &Rank, agent: AgentNo) {
        self.seeks_no_more(&rank.2);
        let standing = self.agents[agent as usize].standing;
        self.stands(agent, standing.map(|standing| Standing { nearness: Nearness::Busy, ..standing }));
    }

    /// The longest idle of those who can serve a contact.
    fn best_agent(&self, rank: &Rank, misses: &impl Misses) -> Option<AgentNo> {
        let pool = &self.pools[*self.seeking.get(rank)? as usize];
        let missed = pool.seekers.get(rank).copied().unwrap_or(false);
        let available = pool.staff.iter().take_while(|(it, _)| it.nearness == Nearness::Available);
        let mut able = available.map(|(_, agent)| *agent);
        able.find(|agent| !missed || !misses.missed(rank, self.agent_id(*agent)))
    }

    /// The first in the order of service whom an agent can serve.
    fn best_seeker(&self, agent: AgentNo, misses: &impl Misses) -> Option<Rank> {
        let it = &self.agents[agent as usize];
        let first = |pool: &PoolNo| {
            let mut seekers = self.pools[*pool as usize].seekers.iter();
            seekers
                .find(|(rank, missed)| !**missed || !misses.missed(rank, &it.agent_id))
                .map(|(rank, _)| rank)
        };
        it.pools.iter().filter_map(first).min().cloned()
    }

    /// The agents with the skills of a need who are signed in, the nearest first.
    pub(super) fn staff(&self, required: &[SkillId]) -> impl Iterator<Item = (Standing, AgentNo)> {
        let pool = self.by_need.get(required).map(|pool| &self.pools[*pool as usize]);
        pool.into_iter().flat_map(|pool| pool.staff.iter().copied())
    }

    /// The agents without the skills of a need who are signed in, the longest idle first.
    pub(super) fn others(&self, required: &[SkillId]) -> impl Iterator<Item = AgentNo> {
        let pool = self.by_need.get(required).map(|pool| &self.pools[*pool as usize]);
        let skilled = move |agent: &AgentNo| {
            let wanted = pool.and_then(|pool| pool.required.as_ref());
            wanted.is_some_and(|wanted| self.agents[*agent as usize].skills.has_all(wanted))
        };
        self.signed_in.iter().map(|(_, agent)| *agent).filter(move |agent| !skilled(agent))
    }

    fn available(&self, agent: AgentNo) -> bool {
        self.standing(agent).is_some_and(|standing| standing.nearness == Nearness::Available)
    }

    /// Where an agent stands.
    pub(super) fn standing(&self, agent: AgentNo) -> Option<Standing> {
        self.agents[agent as usize].standing
    }

    /// Whether an agent has the skills of a need.
    pub(super) fn able(&self, agent: AgentNo, required: &[SkillId]) -> bool {
        let pool = self.by_need.get(required);
        pool.is_some_and(|pool| self.agents[agent as usize].pools.contains(pool))
    }
}
