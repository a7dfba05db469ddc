//! Whom a contact gets of those who are available and can serve it: a place for each, the lowest first, ties by id.
//!
//! | strategy | place, after the preferred groups | the peers call it |
//! |---|---|---|
//! | longest_idle | idle since | Asterisk `leastrecent`, FreeSWITCH `longest-idle-agent`, Amazon Connect, Twilio (default) |
//! | fewest_contacts | contacts since sign-in, idle since | Asterisk `fewestcalls`, FreeSWITCH `agent-with-fewest-calls`, VICIdial `fewest_calls` |
//! | least_talk_time | talk since sign-in, idle since | FreeSWITCH `agent-with-least-talk-time` |
//! | round_robin | the ordinal of the last offer | Asterisk `rrmemory`, FreeSWITCH `round-robin` |
//! | random | a place of its own, looked up from a place drawn | Asterisk and FreeSWITCH `random` |
//! | linear | – | Asterisk `linear`, FreeSWITCH `top-down` |
//! | most_skilled | less the levels of the skills named in the need, idle since | Genesys `BEST` |
//! | fewest_skills | how many skills, idle since | – |
//!
//! Groups (`prefer`) are what the peers have as penalties, tiers and rings that are open at once; rings that open with time are
//! steps of a plan.

use crate::vocabulary::{
    AgentId, Clause, IdleBasis, Millis, Selection, SelectionStrategy, SkillLevel, Timestamp, level_of,
};

/// What a contact needs, and how its agent is selected.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Want {
    /// All of these must hold.
    pub required: Vec<Clause>,
    /// Among those of whom they do.
    pub selection: Selection,
}

/// What selections look at, of an agent who is signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stats {
    /// Since when it could take a contact. A missed offer puts it behind the others; one that was not its doing does not.
    pub idle_since: Timestamp,
    /// When its last contact ended, after-contact work included, or it signed in.
    pub last_contact_at: Timestamp,
    /// When it signed in.
    pub signed_in_at: Timestamp,
    /// How many contacts it answered since.
    pub contact_count: u32,
    /// How long it talked since.
    pub talk_ms: Millis,
    /// The ordinal of the last offer it had; zero when it had none.
    pub offered_last: u64,
}

/// What never changes of an agent's place in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fixed {
    /// The group it is in.
    group: i64,
    /// What its skills, or its name, are worth there.
    weight: i64,
}

/// A place among those who are equally near.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([i64; 3]);

impl Key {
    /// The lowest of a group.
    pub(super) fn first_of(group: i64) -> Self {
        Self([group, i64::MIN, i64::MIN])
    }

    /// The lowest of a group from a place on.
    pub(super) fn of(group: i64, place: i64) -> Self {
        Self([group, place, i64::MIN])
    }

    /// The preferred group, from 0.
    pub(super) fn group(self) -> i64 {
        self.0[0]
    }
}

impl Want {
    /// Whether somebody with these skills could give it.
    pub(super) fn fulfilled_by(&self, skills: &[SkillLevel]) -> bool {
        self.required.iter().all(|clause| clause.holds(|skill_id| level_of(skills, skill_id)))
    }

    /// What never changes of the place of somebody with these skills.
    pub(super) fn fixed(&self, agent_id: &AgentId, skills: &[SkillLevel]) -> Fixed {
        let prefer = &self.selection.prefer;
        let preferred = prefer.iter().position(|it| it.holds(|skill_id| level_of(skills, skill_id)));
        let weight = match self.selection.strategy {
            SelectionStrategy::MostSkilled => {
                let named = self.required.iter().flat_map(|it| &it.conditions).filter(|it| !it.negated);
                -named.map(|it| i64::from(level_of(skills, &it.skill_id))).sum::<i64>()
            }
            SelectionStrategy::FewestSkills => i64::try_from(skills.len()).unwrap_or(i64::MAX),
            SelectionStrategy::Random => chance(agent_id.as_str()),
            SelectionStrategy::LongestIdle
            | SelectionStrategy::FewestContacts
            | SelectionStrategy::LeastTalkTime
            | SelectionStrategy::RoundRobin
            | SelectionStrategy::Linear => 0,
        };
        Fixed { group: i64::try_from(preferred.unwrap_or(prefer.len())).unwrap_or(i64::MAX), weight }
    }
}

/// The place of an agent.
pub(super) fn key_of(selection: &Selection, fixed: Fixed, stats: &Stats) -> Key {
    let idle_since = match selection.idle_since {
        IdleBasis::Available => stats.idle_since.0,
        IdleBasis::LastContact => stats.last_contact_at.0,
        IdleBasis::SignIn => stats.signed_in_at.0,
    };
    let ordinal = i64::try_from(stats.offered_last).unwrap_or(i64::MAX);
    let (first, second) = match selection.strategy {
        SelectionStrategy::LongestIdle => (idle_since, 0),
        SelectionStrategy::FewestContacts => (i64::from(stats.contact_count), idle_since),
        SelectionStrategy::LeastTalkTime => (stats.talk_ms.0, idle_since),
        SelectionStrategy::RoundRobin => (ordinal, 0),
        // Drawn anew with each offer: else whoever comes after a wide gap would be named more often for ever.
        SelectionStrategy::Random => {
            (mix(fixed.weight.cast_unsigned() ^ mix(stats.offered_last)).cast_signed(), 0)
        }
        SelectionStrategy::Linear => (0, 0),
        SelectionStrategy::MostSkilled | SelectionStrategy::FewestSkills => (fixed.weight, idle_since),
    };
    Key([fixed.group, first, second])
}

/// A number as good as drawn, always the same for a name (FNV-1a, mixed).
pub(super) fn chance(name: &str) -> i64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(name.bytes().fold(0xcbf2_9ce4_8422_2325, fold)).cast_signed()
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
