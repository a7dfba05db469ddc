//! Who gets whom: the longest idle agent with all the skills, for the first contact in order, and so on.

use std::collections::BTreeSet;

use super::agents::AgentView;
use super::book::Waiting;
use crate::directory::Directory;
use crate::facts::{PassedOver, PassedOverReason};
use crate::vocabulary::{AgentId, ContactId, Millis, SkillId, Timestamp};

/// How many candidates an offer tells that they were passed over.
pub const PASSED_OVER_MAX: usize = 5;

/// How long an agent who missed a contact is not offered it again when its queue is not defined any more.
const REOFFER_AFTER_DEFAULT: Millis = Millis(30_000);

/// One agent in a turn.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub agent_id: &'a AgentId,
    pub view: &'a AgentView,
    /// What it can do; empty when the directory does not know it.
    pub skills: &'a [SkillId],
    /// Whether the directory knows it.
    pub known: bool,
    /// Whether routing itself keeps it back: an offer or a question about it is under way, or it was just refused.
    pub kept_back: bool,
    /// Whether it can be called now.
    pub reachable: bool,
}

impl Candidate<'_> {
    /// Whether it could be offered a contact whose skills it has.
    pub(super) fn available(&self) -> bool {
        self.known && self.view.free() && !self.kept_back && self.reachable
    }

    fn skilled(&self, required: &[SkillId]) -> bool {
        self.known && required.iter().all(|skill_id| self.skills.contains(skill_id))
    }
}

/// One contact in a turn.
pub(super) struct Seeker<'a> {
    pub contact_id: &'a ContactId,
    pub waiting: &'a Waiting,
    /// How long an agent that missed it is not offered it again.
    pub reoffer_after: Millis,
}

impl<'a> Seeker<'a> {
    pub(super) fn new(
        contact_id: &'a ContactId,
        waiting: &'a Waiting,
        directory: &Directory,
        now: Timestamp,
    ) -> Self {
        let queue = directory.queue(&waiting.queue_id, now);
        let reoffer_after = queue.map_or(REOFFER_AFTER_DEFAULT, |queue| queue.reoffer_after_ms);
        Self { contact_id, waiting, reoffer_after }
    }

    /// Until when an agent is not offered this contact again; `None` when it may be now.
    pub(super) fn missed_until(&self, agent_id: &AgentId, now: Timestamp) -> Option<Timestamp> {
        let (_, at) = self.waiting.missed.get(agent_id)?;
        Some(*at + self.reoffer_after).filter(|until| *until > now)
    }
}

/// A contact and the agent it is to be offered to, by their places in what was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Match {
    pub seeker: usize,
    pub candidate: usize,
}

/// What came of a turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matched {
    pub matches: Vec<Match>,
    /// When the first agent that missed one of the contacts left over may be offered it again.
    pub look_again_at: Option<Timestamp>,
}

/// Matches seekers, given in the order of service, with candidates. Afterwards no available candidate is left who could
/// serve a seeker that is left.
///
/// Work: contacts that need the same skills as one that found nobody are passed over in one look, so that a long queue
/// without agents costs next to nothing.
pub(super) fn match_turn(seekers: &[Seeker<'_>], candidates: &[Candidate<'_>], now: Timestamp) -> Matched {
    let mut idle: Vec<usize> = (0..candidates.len()).filter(|index| candidates[*index].available()).collect();
    idle.sort_by_key(|index| (candidates[*index].view.idle_since, candidates[*index].agent_id));
    let mut matched = Matched::default();
    let mut nobody_for: BTreeSet<&[SkillId]> = BTreeSet::new();
    for (seeker, it) in seekers.iter().enumerate() {
        let required = it.waiting.required_skills.as_slice();
        if nobody_for.contains(required) {
            continue;
        }
        let mut skilled_left = false;
        let mut found = None;
        for (place, index) in idle.iter().enumerate() {
            let candidate = &candidates[*index];
            if !candidate.skilled(required) {
                continue;
            }
            skilled_left = true;
            match it.missed_until(candidate.agent_id, now) {
                None => {
                    found = Some(place);
                    break;
                }
                Some(until) => {
                    matched.look_again_at = Some(matched.look_again_at.map_or(until, |at| at.min(until)));
                }
            }
        }
        match found {
            Some(place) => matched.matches.push(Match { seeker, candidate: idle.remove(place) }),
            None if !skilled_left => {
                nobody_for.insert(required);
            }
            None => {}
        }
        if idle.is_empty() {
            break;
        }
    }
    matched
}

/// Why not the others: who came nearest first, at most [`PASSED_OVER_MAX`].
pub(super) fn passed_over(
    seeker: &Seeker<'_>,
    chosen: &AgentId,
    candidates: &[Candidate<'_>],
    now: Timestamp,
) -> Vec<PassedOver> {
    let mut ranked: Vec<(u8, Timestamp, &AgentId, PassedOverReason)> = candidates
        .iter()
        .filter(|candidate| candidate.agent_id != chosen && candidate.known && candidate.view.signed_in)
        .map(|candidate| {
            let skilled = candidate.skilled(&seeker.waiting.required_skills);
            let missed = seeker.missed_until(candidate.agent_id, now).is_some();
            let (nearness, reason) = match candidate {
                _ if !skilled => (5, PassedOverReason::LacksSkill),
                it if it.available() && missed => (0, PassedOverReason::MissedThisContact),
                it if it.available() => (1, PassedOverReason::IdleLessLong),
                it if it.view.busy() || it.kept_back => (3, PassedOverReason::Busy),
                it if !it.view.ready => (4, PassedOverReason::NotReady),
                _ => (2, PassedOverReason::NoDevice),
            };
            (nearness, candidate.view.idle_since, candidate.agent_id, reason)
        })
        .collect();
    ranked.sort();
    ranked.truncate(PASSED_OVER_MAX);
    ranked
        .into_iter()
        .map(|(_, _, agent_id, reason)| PassedOver { agent_id: agent_id.clone(), reason })
        .collect()
}
