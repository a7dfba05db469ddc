//! Who could be matched with whom, kept at hand: an input costs what it changes, however many wait and however many are idle.
//!
//! ```text
//! MatchProblem: seekers (waiting contacts that may be offered), staff (agents of the directory, each with a standing),
//!               wants (what a contact needs, and how its agent is selected; equal wants share a pool)
//! MatchPlan:    pairs of a seeker and an agent
//!
//! A  An agent of a pair is available and fulfils every clause its contact needs.
//! B  No pair's agent missed its contact within the queue's `reoffer_after`.
//! C  No agent and no contact is in two pairs.
//! D  Liveness: afterwards no seeker is left that an available agent could serve.
//! E  Order: the first seeker in the order of service that can be served gets, of those who can serve it, whom its selection
//!    puts first (`selection.rs`); then the next; so nobody is passed by somebody behind, but for want of a skill.
//! ```
//!
//! Between two inputs D holds. An input makes some contacts seek and some agents available (*fresh*), and a new pair has a
//! fresh one on at least one side: only these are looked at. `naive.rs` looks at everybody, and in tests every turn of both
//! must be equal.

use std::collections::{BTreeMap, BTreeSet};

use super::book::Rank;
use super::selection::{Fixed, Key, Stats, Want, chance, key_of};
use crate::facts::PassedOverReason;
use crate::vocabulary::{AgentId, ContactId, SelectionStrategy, SkillId, SkillLevel, Timestamp, level_of};

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
    /// Why it was not this one, though it could serve the contact.
    pub(super) fn reason(self) -> PassedOverReason {
        match self {
            Self::Available => PassedOverReason::RanksBehind,
            Self::NoDevice => PassedOverReason::NoDevice,
            Self::Busy => PassedOverReason::Busy,
            Self::NotReady => PassedOverReason::NotReady,
        }
    }
}

/// Where an agent who is signed in stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// How near.
    pub nearness: Nearness,
    /// What selections look at.
    pub stats: Stats,
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
    agents: Vec<Agent>,
    numbers: BTreeMap<AgentId, AgentNo>,
    pools: Vec<Pool>,
    by_want: BTreeMap<Want, PoolNo>,
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
    skills: Vec<SkillLevel>,
    /// Where it could serve, and what of its place there never changes.
    pools: Vec<(PoolNo, Fixed)>,
    /// `None` of one that is not signed in.
    standing: Option<Standing>,
}

/// Those who want the same, and those who could give it.
#[derive(Debug)]
struct Pool {
    want: Want,
    staff: BTreeSet<(Nearness, Key, AgentNo)>,
    /// With whether somebody missed it.
    seekers: BTreeMap<Rank, bool>,
}

/// What the turn asks of the contacts.
pub(super) trait Misses {
    /// Whether an agent is not offered a contact for now, because it missed it.
    fn missed(&self, rank: &Rank, agent_id: &AgentId) -> bool;
}

impl Pools {
    /// Of the agents of a directory, in the order of their ids, with their skills; nobody seeks, nobody is signed in.
    pub(super) fn of<'a>(agents: impl Iterator<Item = (&'a AgentId, &'a [SkillLevel])>) -> Self {
        let mut pools = Self::default();
        for (agent_id, skills) in agents {
            let number = AgentNo::try_from(pools.agents.len()).unwrap_or(AgentNo::MAX);
            pools.numbers.insert(agent_id.clone(), number);
            pools.agents.push(Agent {
                agent_id: agent_id.clone(),
                skills: skills.to_vec(),
                pools: Vec::new(),
                standing: None,
            });
        }
        pools
    }

    /// Has the pool of a want at hand before a contact has it.
    pub(super) fn prepare(&mut self, want: &Want) {
        self.pool(want);
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
            for (number, fixed) in &it.pools {
                let pool = &mut self.pools[*number as usize];
                let entry =
                    |it: Standing| (it.nearness, key_of(&pool.want.selection, *fixed, &it.stats), agent);
                let (before, after) = (before.map(entry), standing.map(entry));
                if before != after {
                    before.map(|entry| pool.staff.remove(&entry));
                    after.map(|entry| pool.staff.insert(entry));
                }
            }
            before.map(|standing| self.signed_in.remove(&(standing.stats.idle_since, agent)));
            standing.map(|standing| self.signed_in.insert((standing.stats.idle_since, agent)));
        }
        self.available(agent)
    }

    /// A contact seeks an agent from now on; `missed` when some agent missed it.
    pub(super) fn seeks(&mut self, rank: Rank, want: &Want, missed: bool) {
        let pool = self.pool(want);
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

    /// The pool of a want. The first contact with it makes it, which looks at every agent once.
    fn pool(&mut self, want: &Want) -> PoolNo {
        if let Some(pool) = self.by_want.get(want) {
            return *pool;
        }
        let number = PoolNo::try_from(self.pools.len()).unwrap_or(PoolNo::MAX);
        let mut staff = BTreeSet::new();
        for (agent, it) in self.agents.iter_mut().enumerate() {
            if want.fulfilled_by(&it.skills) {
                let agent = AgentNo::try_from(agent).unwrap_or(AgentNo::MAX);
                let fixed = want.fixed(&it.agent_id, &it.skills);
                it.pools.push((number, fixed));
                staff.extend(it.standing.map(|standing| {
                    (standing.nearness, key_of(&want.selection, fixed, &standing.stats), agent)
                }));
            }
        }
        self.pools.push(Pool { want: want.clone(), staff, seekers: BTreeMap::new() });
        self.by_want.insert(want.clone(), number);
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

    /// Whom a contact gets of those who are available and can serve it.
    fn best_agent(&self, rank: &Rank, misses: &impl Misses) -> Option<AgentNo> {
        let pool = &self.pools[*self.seeking.get(rank)? as usize];
        let missed = pool.seekers.get(rank).copied().unwrap_or(false);
        let serves = |agent: &AgentNo| !missed || !misses.missed(rank, self.agent_id(*agent));
        match pool.want.selection.strategy {
            SelectionStrategy::Random => pool.available_from(chance(rank.2.as_str())).find(serves),
            _ => pool.available().map(|(_, agent)| agent).find(serves),
        }
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
        it.pools.iter().filter_map(|(pool, _)| first(pool)).min().cloned()
    }

    /// The agents who could give what is wanted and are signed in, the nearest first, in the order of selection.
    pub(super) fn staff(&self, want: &Want) -> impl Iterator<Item = (Nearness, Key, AgentNo)> {
        let pool = self.by_want.get(want).map(|pool| &self.pools[*pool as usize]);
        pool.into_iter().flat_map(|pool| pool.staff.iter().copied())
    }

    /// The agents who lack what is wanted and are signed in, the longest idle first.
    pub(super) fn others(&self, want: &Want) -> impl Iterator<Item = AgentNo> {
        let able = move |agent: &AgentNo| want.fulfilled_by(&self.agents[*agent as usize].skills);
        self.signed_in.iter().map(|(_, agent)| *agent).filter(move |agent| !able(agent))
    }

    /// How many of the directory could give what is wanted, signed in or not.
    pub(super) fn able_count(&self, want: &Want) -> u32 {
        let able = self.agents.iter().filter(|agent| want.fulfilled_by(&agent.skills)).count();
        u32::try_from(able).unwrap_or(u32::MAX)
    }

    /// How many of those who are signed in could give what is wanted, by how near they are.
    pub(super) fn staffing(&self, want: &Want) -> BTreeMap<Nearness, u32> {
        let mut counts = BTreeMap::new();
        self.staff(want).for_each(|(nearness, _, _)| *counts.entry(nearness).or_default() += 1);
        counts
    }

    /// The skills that are named in a need, and that nobody of the directory has at any level.
    pub(super) fn unheard_of<'a>(&self, want: &'a Want) -> Vec<&'a SkillId> {
        let mut named: Vec<&SkillId> =
            want.required.iter().flat_map(|it| &it.conditions).map(|it| &it.skill_id).collect();
        named.sort_unstable();
        named.dedup();
        named.retain(|skill_id| self.agents.iter().all(|agent| level_of(&agent.skills, skill_id) == 0));
        named
    }

    fn available(&self, agent: AgentNo) -> bool {
        self.standing(agent).is_some_and(|standing| standing.nearness == Nearness::Available)
    }

    /// Where an agent stands.
    pub(super) fn standing(&self, agent: AgentNo) -> Option<Standing> {
        self.agents[agent as usize].standing
    }

    /// An agent's place in the order of selection; `None` when it is not signed in.
    pub(super) fn key(&self, agent: AgentNo, want: &Want) -> Option<Key> {
        let it = &self.agents[agent as usize];
        let fixed = want.fixed(&it.agent_id, &it.skills);
        it.standing.map(|standing| key_of(&want.selection, fixed, &standing.stats))
    }

    /// Whether an agent could give what is wanted.
    pub(super) fn able(&self, agent: AgentNo, want: &Want) -> bool {
        want.fulfilled_by(&self.agents[agent as usize].skills)
    }
}

impl Pool {
    /// Who is available, in the order of selection.
    fn available(&self) -> impl Iterator<Item = (Key, AgentNo)> {
        let available = self.staff.iter().take_while(|(nearness, _, _)| *nearness == Nearness::Available);
        available.map(|(_, key, agent)| (*key, *agent))
    }

    /// The same where chance selects: of each of the preferred groups who comes after a place drawn, then who comes before it.
    fn available_from(&self, drawn: i64) -> impl Iterator<Item = AgentNo> {
        let mut group = self.available().next().map(|(key, _)| key.group());
        std::iter::from_fn(move || {
            let now = group?;
            let of = |from: Key, to: Key| {
                let span = (Nearness::Available, from, AgentNo::MIN)..(Nearness::Available, to, AgentNo::MIN);
                self.staff.range(span).map(|(_, _, agent)| *agent)
            };
            let (first, at, end) = (Key::first_of(now), Key::of(now, drawn), Key::first_of(now + 1));
            let next = self.staff.range((Nearness::Available, end, AgentNo::MIN)..).next();
            group = next.filter(|(it, _, _)| *it == Nearness::Available).map(|(_, key, _)| key.group());
            Some(of(at, end).chain(of(first, at)))
        })
        .flatten()
    }
}
