//! Who gets whom, found by looking at everybody, with no cleverness: what `pools.rs` must come to as well.

use std::collections::BTreeSet;

use super::agents::AgentView;
use super::book::Waiting;
use super::engine::Router;
use super::propose::PASSED_OVER_MAX;
use super::turn::Missed;
use crate::facts::{PassedOver, PassedOverReason};
use crate::vocabulary::{AgentId, ContactId, SkillId};

/// The pairs of a turn, each with who was passed over.
pub(super) fn plan(router: &Router) -> Vec<(ContactId, AgentId, Vec<PassedOver>)> {
    let mut taken = BTreeSet::new();
    let mut pairs = Vec::new();
    for (contact_id, waiting) in router.book.in_order().filter(|(id, waiting)| router.seeks(id, waiting)) {
        let able = router.agents.all().filter(|(agent_id, view)| {
            !taken.contains(*agent_id) && could_serve(router, waiting, agent_id, view)
        });
        let Some((agent_id, _)) = able.min_by_key(|(agent_id, view)| (view.idle_since, *agent_id)) else {
            continue;
        };
        let over = passed_over(router, waiting, agent_id, &taken);
        taken.insert(agent_id.clone());
        pairs.push((contact_id.clone(), agent_id.clone(), over));
    }
    pairs
}

/// Whether an agent could be offered a contact now.
pub(super) fn could_serve(router: &Router, waiting: &Waiting, agent_id: &AgentId, view: &AgentView) -> bool {
    skilled(router, agent_id, &waiting.required_skills)
        && available(router, agent_id, view)
        && !missed(router, waiting, agent_id)
}

fn available(router: &Router, agent_id: &AgentId, view: &AgentView) -> bool {
    view.free() && !router.keeps_back(agent_id) && view.reachable(router.now)
}

fn skilled(router: &Router, agent_id: &AgentId, required: &[SkillId]) -> bool {
    let known = router.directory.agent(agent_id, router.now);
    known.is_some_and(|agent| required.iter().all(|skill_id| agent.skills.contains(skill_id)))
}

fn missed(router: &Router, waiting: &Waiting, agent_id: &AgentId) -> bool {
    let missed = Missed { book: &router.book, directory: &router.directory, now: router.now };
    missed.until(waiting, agent_id).is_some()
}

fn passed_over(
    router: &Router,
    waiting: &Waiting,
    chosen: &AgentId,
    taken: &BTreeSet<AgentId>,
) -> Vec<PassedOver> {
    let known = |agent_id: &AgentId| router.directory.agent(agent_id, router.now).is_some();
    let mut ranked: Vec<_> = router
        .agents
        .all()
        .filter(|(agent_id, view)| *agent_id != chosen && known(agent_id) && view.signed_in)
        .map(|(agent_id, view)| {
            let kept_back = taken.contains(agent_id) || router.keeps_back(agent_id);
            let (nearness, reason) = if !skilled(router, agent_id, &waiting.required_skills) {
                (5, PassedOverReason::LacksSkill)
            } else if view.busy() || kept_back {
                (3, PassedOverReason::Busy)
            } else if !view.ready {
                (4, PassedOverReason::NotReady)
            } else if !view.reachable(router.now) {
                (2, PassedOverReason::NoDevice)
            } else if missed(router, waiting, agent_id) {
                (0, PassedOverReason::MissedThisContact)
            } else {
                (1, PassedOverReason::IdleLessLong)
            };
            (nearness, view.idle_since, agent_id.clone(), reason)
        })
        .collect();
    ranked.sort();
    ranked.truncate(PASSED_OVER_MAX);
    ranked.into_iter().map(|(_, _, agent_id, reason)| PassedOver { agent_id, reason }).collect()
}
