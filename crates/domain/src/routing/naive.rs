//! Who gets whom, found by looking at everybody, with no cleverness: what `pools.rs` must come to as well.

use std::collections::BTreeSet;

use super::agents::AgentView;
use super::book::Waiting;
use super::engine::Router;
use super::propose::PASSED_OVER_MAX;
use super::selection::{Key, Want, chance, key_of};
use super::turn::Missed;
use crate::facts::{PassedOver, PassedOverReason};
use crate::vocabulary::{AgentId, ContactId, SelectionStrategy, SkillLevel, Timestamp};

/// The pairs of a turn, each with who was passed over.
pub(super) fn plan(router: &Router) -> Vec<(ContactId, AgentId, Vec<PassedOver>)> {
    let mut taken = BTreeSet::new();
    let mut pairs = Vec::new();
    for (contact_id, waiting) in router.book.in_order().filter(|(id, waiting)| router.seeks(id, waiting)) {
        let able = router.agents.all().filter(|(agent_id, view)| {
            !taken.contains(*agent_id) && could_serve(router, waiting, agent_id, view)
        });
        let first = able.min_by_key(|(agent_id, view)| {
            let key = key(router, &waiting.want, agent_id, view);
            let drawn = Key::of(key.group(), chance(contact_id.as_str()));
            let passed = waiting.want.selection.strategy == SelectionStrategy::Random && key < drawn;
            (key.group(), passed, key, *agent_id)
        });
        let Some((agent_id, view)) = first else { continue };
        let group = key(router, &waiting.want, agent_id, view).group();
        let over = passed_over(router, waiting, agent_id, group, &taken);
        taken.insert(agent_id.clone());
        pairs.push((contact_id.clone(), agent_id.clone(), over));
    }
    pairs
}

/// Whether an agent could be offered a contact now.
pub(super) fn could_serve(router: &Router, waiting: &Waiting, agent_id: &AgentId, view: &AgentView) -> bool {
    skilled(router, agent_id, &waiting.want)
        && available(router, agent_id, view)
        && !missed(router, waiting, agent_id)
}

fn available(router: &Router, agent_id: &AgentId, view: &AgentView) -> bool {
    view.free() && !router.keeps_back(agent_id) && view.reachable(router.now)
}

fn skills<'a>(router: &'a Router, agent_id: &AgentId) -> Option<&'a [SkillLevel]> {
    router.directory.agent(agent_id, router.now).map(|agent| agent.skills.as_slice())
}

fn skilled(router: &Router, agent_id: &AgentId, want: &Want) -> bool {
    skills(router, agent_id).is_some_and(|skills| want.fulfilled_by(skills))
}

fn key(router: &Router, want: &Want, agent_id: &AgentId, view: &AgentView) -> Key {
    let fixed = want.fixed(agent_id, skills(router, agent_id).unwrap_or_default());
    let stats = router.standing(agent_id, view).map(|standing| standing.stats).unwrap_or_default();
    key_of(&want.selection, fixed, &stats)
}

fn missed(router: &Router, waiting: &Waiting, agent_id: &AgentId) -> bool {
    let missed = Missed { book: &router.book, directory: &router.directory, now: router.now };
    missed.until(waiting, agent_id).is_some()
}

fn passed_over(
    router: &Router,
    waiting: &Waiting,
    chosen: &AgentId,
    group: i64,
    taken: &BTreeSet<AgentId>,
) -> Vec<PassedOver> {
    let known = |agent_id: &AgentId| router.directory.agent(agent_id, router.now).is_some();
    let mut ranked: Vec<_> = router
        .agents
        .all()
        .filter(|(agent_id, view)| *agent_id != chosen && known(agent_id) && view.signed_in)
        .map(|(agent_id, view)| {
            let kept_back = taken.contains(agent_id) || router.keeps_back(agent_id);
            let key = key(router, &waiting.want, agent_id, view);
            let alike =
                waiting.want.selection.strategy == SelectionStrategy::LongestIdle && key.group() == group;
            let (nearness, reason) = if !skilled(router, agent_id, &waiting.want) {
                (5, PassedOverReason::LacksSkill)
            } else if view.busy() || kept_back {
                (3, PassedOverReason::Busy)
            } else if !view.ready {
                (4, PassedOverReason::NotReady)
            } else if !view.reachable(router.now) {
                (2, PassedOverReason::NoDevice)
            } else if missed(router, waiting, agent_id) {
                (0, PassedOverReason::MissedThisContact)
            } else if alike {
                (1, PassedOverReason::IdleLessLong)
            } else {
                (1, PassedOverReason::RanksBehind)
            };
            // Of those who cannot serve it, selection says nothing.
            let (key, idle_since) = match nearness {
                5 => (None, view.idle_since),
                _ => (Some(key), Timestamp(0)),
            };
            (nearness, key, idle_since, agent_id.clone(), reason)
        })
        .collect();
    ranked.sort();
    ranked.truncate(PASSED_OVER_MAX);
    ranked.into_iter().map(|(_, _, _, agent_id, reason)| PassedOver { agent_id, reason }).collect()
}
