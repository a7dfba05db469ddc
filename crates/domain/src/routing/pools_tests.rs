//! The pools against somebody who looks at everybody, whatever changed since the turn before.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::bench::{agent_id, clauses, contact_id, skill_levels};
use super::book::Rank;
use super::pools::*;
use super::selection::{Key, Stats, Want, chance, key_of};
use crate::vocabulary::*;

const SKILLS: [&str; 4] = ["w", "x", "y", "z"];
const AGENT_COUNT: usize = 24;

fn named(mask: u8) -> Vec<&'static str> {
    SKILLS.iter().enumerate().filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, name)| *name).collect()
}

/// What somebody wants who needs these: by another selection for each need, so that all of them come about.
fn want(mask: u8) -> Want {
    let strategy = SelectionStrategy::ALL[usize::from(mask) % SelectionStrategy::ALL.len()];
    let prefer = if mask & 2 == 0 { Vec::new() } else { clauses(&["w", "z"]) };
    Want {
        required: clauses(&named(mask)),
        selection: Selection { strategy, prefer, ..Selection::default() },
    }
}

fn stats(idle_since: i64) -> Stats {
    Stats {
        idle_since: Timestamp(idle_since),
        contact_count: (idle_since % 3) as u32,
        talk_ms: Millis(idle_since % 2),
        offered_last: (7 - idle_since).unsigned_abs(),
        ..Stats::default()
    }
}

/// A contact as the model has it: the skills it requires, and who missed it.
struct Seeker {
    mask: u8,
    missed: BTreeSet<AgentId>,
}

struct Model {
    masks: Vec<u8>,
    ids: Vec<AgentId>,
    standings: Vec<Option<Standing>>,
    seekers: BTreeMap<Rank, Seeker>,
    pools: Pools,
    fresh: Fresh,
}

impl Misses for BTreeMap<Rank, Seeker> {
    fn missed(&self, rank: &Rank, agent_id: &AgentId) -> bool {
        self.get(rank).is_some_and(|seeker| seeker.missed.contains(agent_id))
    }
}

impl Model {
    fn new(masks: Vec<u8>) -> Self {
        let ids: Vec<AgentId> = (0..masks.len()).map(|nth| agent_id(&format!("{nth:03}"))).collect();
        let known: Vec<_> = masks.iter().map(|mask| skill_levels(&named(*mask))).collect();
        let pools = Pools::of(ids.iter().zip(known.iter().map(Vec::as_slice)));
        let standings = vec![None; masks.len()];
        Self { masks, ids, standings, seekers: BTreeMap::new(), pools, fresh: Fresh::default() }
    }

    fn stands(&mut self, agent: usize, standing: Option<Standing>) {
        self.standings[agent] = standing;
        if self.pools.stands(agent as AgentNo, standing) {
            self.fresh.agents.push(agent as AgentNo);
        }
    }

    fn seeks(&mut self, rank: Rank, seeker: Seeker) {
        self.pools.seeks(rank.clone(), &want(seeker.mask), !seeker.missed.is_empty());
        self.fresh.contacts.push(rank.clone());
        self.seekers.insert(rank, seeker);
    }

    fn available(&self, agent: usize) -> Option<Stats> {
        let standing = self.standings[agent]?;
        (standing.nearness == Nearness::Available).then_some(standing.stats)
    }

    /// By looking at everybody.
    fn expected(&self) -> Vec<(Rank, AgentNo)> {
        let mut taken = BTreeSet::new();
        let mut pairs = Vec::new();
        for (rank, seeker) in &self.seekers {
            let able = (0..self.ids.len()).filter(|agent| {
                !taken.contains(agent)
                    && self.masks[*agent] & seeker.mask == seeker.mask
                    && !seeker.missed.contains(&self.ids[*agent])
            });
            let want = want(seeker.mask);
            let able = able.filter_map(|agent| {
                let skills = skill_levels(&named(self.masks[agent]));
                let fixed = want.fixed(&self.ids[agent], &skills);
                let key = key_of(&want.selection, fixed, &self.available(agent)?);
                let drawn = Key::of(key.group(), chance(rank.2.as_str()));
                let passed = want.selection.strategy == SelectionStrategy::Random && key < drawn;
                Some((key.group(), passed, key, agent))
            });
            if let Some((_, _, _, agent)) = able.min() {
                taken.insert(agent);
                pairs.push((rank.clone(), agent as AgentNo));
            }
        }
        pairs
    }

    fn turn(&mut self, count_max: usize) -> Vec<(Rank, AgentNo)> {
        let fresh = std::mem::take(&mut self.fresh);
        let pairs = self.pools.turn(&fresh, &self.seekers, count_max, |_, rank, agent| (rank.clone(), agent));
        self.fresh.all = pairs.len() == count_max;
        for (rank, agent) in &pairs {
            self.seekers.remove(rank);
            let standing = &mut self.standings[*agent as usize];
            *standing = standing.map(|standing| Standing { nearness: Nearness::Busy, ..standing });
        }
        pairs
    }
}

/// What changes: which agent or contact, and how.
#[derive(Debug, Clone)]
enum Change {
    Agent { agent: usize, nearness: Option<Nearness>, idle_since: i64 },
    Comes { priority: i32, at: i64, mask: u8, missed: Vec<usize> },
    Goes { nth: usize },
}

fn change() -> impl Strategy<Value = Change> {
    use Nearness::{Available, Busy, NoDevice, NotReady};
    let nearness = prop_oneof![
        5 => Just(Some(Available)),
        1 => Just(Some(Busy)),
        1 => Just(Some(NoDevice)),
        1 => Just(Some(NotReady)),
        1 => Just(None)
    ];
    prop_oneof![
        (0..AGENT_COUNT, nearness, 0_i64..6).prop_map(|(agent, nearness, idle_since)| Change::Agent {
            agent,
            nearness,
            idle_since
        }),
        (-1_i32..2, 0_i64..6, 0_u8..16, prop::collection::vec(0..AGENT_COUNT, 0..3))
            .prop_map(|(priority, at, mask, missed)| Change::Comes { priority, at, mask, missed }),
        (0_usize..9).prop_map(|nth| Change::Goes { nth }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_turn_is_what_looking_at_everybody_comes_to(
        masks in prop::collection::vec(0_u8..16, AGENT_COUNT),
        turns in prop::collection::vec((prop::collection::vec(change(), 0..40), any::<bool>()), 1..12),
    ) {
        let mut model = Model::new(masks);
        let mut count = 0;
        for (changes, few) in turns {
            for change in changes {
                match change {
                    Change::Agent { agent, nearness, idle_since } => {
                        let stats = stats(idle_since);
                        model.stands(agent, nearness.map(|nearness| Standing { nearness, stats }));
                    }
                    Change::Comes { priority, at, mask, missed } => {
                        count += 1;
                        let rank = (priority, Timestamp(at), contact_id(&format!("{count:04}")));
                        let missed = missed.into_iter().map(|nth| model.ids[nth].clone()).collect();
                        model.seeks(rank, Seeker { mask, missed });
                    }
                    Change::Goes { nth } => {
                        if let Some(rank) = model.seekers.keys().nth(nth).cloned() {
                            model.seekers.remove(&rank);
                            model.fresh.contacts.retain(|other| *other != rank);
                            model.pools.seeks_no_more(&rank.2);
                        }
                    }
                }
            }
            let count_max = if few { 2 } else { usize::MAX };
            let mut expected = model.expected();
            expected.truncate(count_max);
            prop_assert_eq!(model.turn(count_max), expected);
            // What was too much for one turn comes in the next.
            while model.fresh.all {
                let mut expected = model.expected();
                expected.truncate(count_max);
                prop_assert_eq!(model.turn(count_max), expected);
            }
            prop_assert_eq!(model.expected(), vec![], "nobody is left who could be served");
        }
    }
}

#[test]
fn who_is_nearest_comes_first_and_who_lacks_a_skill_last() {
    use Nearness::{Available, Busy, NoDevice, NotReady};
    let mut model = Model::new(vec![1, 1, 3, 1, 1, 2, 0]);
    for (agent, nearness, idle_since) in [
        (0, NotReady, 1),
        (1, Busy, 1),
        (2, Available, 9),
        (3, Available, 8),
        (4, NoDevice, 1),
        (5, Available, 5),
        (6, Busy, 4),
    ] {
        model.stands(agent, Some(Standing { nearness, stats: stats(idle_since) }));
    }
    let required = Want { required: clauses(&["w"]), ..Want::default() };
    model.pools.prepare(&required);
    let staff: Vec<_> = model.pools.staff(&required).map(|(_, _, agent)| agent).collect();
    assert_eq!(staff, [3, 2, 4, 1, 0]);
    assert_eq!(model.pools.others(&required).collect::<Vec<_>>(), [6, 5]);
    assert!(model.pools.able(2, &required) && !model.pools.able(5, &required));
    // A skill that nobody has.
    let unknown = Want { required: clauses(&["unheard-of"]), ..Want::default() };
    model.pools.prepare(&unknown);
    assert_eq!(model.pools.staff(&unknown).count(), 0);
    assert_eq!(model.pools.others(&unknown).count(), 7);
    assert_eq!(model.pools.unheard_of(&unknown), [&SkillId::from_name("unheard-of").unwrap()]);
    assert!(model.pools.unheard_of(&required).is_empty());
}
