//! What the router knows, in the words of `trunkline.routing.v1`.

use std::collections::BTreeMap;

use trunkline_domain::facts::{Agent, Queue};
use trunkline_domain::routing::{ExpectedWait, Explanation, Router};
use trunkline_domain::vocabulary::{CompanyId, ContactId, QueueId, Timestamp, level_of};
use trunkline_proto::routing::v1 as pb;

/// Contacts listed a queue.
const LISTED_MAX: usize = 100;

/// The queues of a company, or of all, by id.
pub(crate) fn queues(router: &Router, company_id: Option<&CompanyId>, now: Timestamp) -> Vec<pb::QueueView> {
    let mut views: BTreeMap<QueueId, pb::QueueView> = BTreeMap::new();
    let ours = |company: &CompanyId| company_id.is_none_or(|only| only == company);
    for queue in router.directory().queues(now).filter(|queue| ours(&queue.company_id)) {
        let ready = router.agents().all().filter(|(agent_id, view)| {
            let known = router.directory().agent(agent_id, now);
            view.free() && known.is_some_and(|agent| serves(queue, agent))
        });
        let view = pb::QueueView {
            queue_id: queue.queue_id.to_string(),
            company_id: queue.company_id.to_string(),
            name: queue.name.clone(),
            ready_agent_count: u32::try_from(ready.count()).unwrap_or(u32::MAX),
            ..pb::QueueView::default()
        };
        views.insert(queue.queue_id.clone(), view);
    }
    for (contact_id, waiting) in router.book().in_order().filter(|(_, waiting)| ours(&waiting.company_id)) {
        let view = views.entry(waiting.queue_id.clone()).or_insert_with(|| pb::QueueView {
            queue_id: waiting.queue_id.to_string(),
            company_id: waiting.company_id.to_string(),
            ..pb::QueueView::default()
        });
        view.waiting_count += 1;
        view.offered_count += u32::from(waiting.offer.is_some());
        let since = waiting.enqueued_at.0;
        view.longest_waiting_since_ms = match view.longest_waiting_since_ms {
            0 => since,
            longest => longest.min(since),
        };
        if view.waiting.len() < LISTED_MAX {
            view.waiting.push(pb::WaitingContact {
                contact_id: contact_id.to_string(),
                enqueued_at_ms: since,
                offer_id: waiting.offer.as_ref().map(ToString::to_string).unwrap_or_default(),
                round_count: waiting.round,
            });
        }
    }
    for (queue_id, view) in &mut views {
        let pace = router.book().pace(queue_id);
        view.expected_wait = pace.and_then(|pace| pace.expected(view.waiting_count + 1)).map(expected);
    }
    views.into_values().collect()
}

/// Whether an agent can do what a queue asks for before any of its steps.
fn serves(queue: &Queue, agent: &Agent) -> bool {
    queue.required_skills.iter().all(|clause| clause.holds(|skill_id| level_of(&agent.skills, skill_id)))
}

/// Why a contact waits; `None` when it does not.
pub(crate) fn explained(router: &Router, contact_id: &ContactId) -> Option<pb::ExplainContactResponse> {
    let explanation = router.explain(contact_id)?;
    let releases = explanation.releases();
    let Explanation { waiting, place, why, staffing, candidates, nobody_has, next_step: _, expected: wait } =
        explanation;
    Some(pb::ExplainContactResponse {
        contact_id: contact_id.to_string(),
        company_id: waiting.company_id.to_string(),
        queue_id: waiting.queue_id.to_string(),
        visit: waiting.visit,
        enqueued_at_ms: waiting.enqueued_at.0,
        queued_at_ms: waiting.queued_at.0,
        place,
        priority: waiting.priority,
        step: waiting.step,
        required_skills: waiting.want.required.iter().map(ToString::to_string).collect(),
        strategy: waiting.want.selection.strategy.as_str().to_owned(),
        round_count: waiting.round,
        reason: why.as_str().to_owned(),
        releases,
        staffing: Some(pb::Staffing {
            able_count: staffing.able,
            available_count: staffing.available,
            no_device_count: staffing.no_device,
            busy_count: staffing.busy,
            not_ready_count: staffing.not_ready,
        }),
        candidates: candidates
            .iter()
            .map(|it| pb::Candidate {
                agent_id: it.agent_id.to_string(),
                reason: it.reason.as_str().to_owned(),
            })
            .collect(),
        nobody_has: nobody_has.iter().map(ToString::to_string).collect(),
        expected_wait: wait.map(expected),
    })
}

fn expected(wait: ExpectedWait) -> pb::ExpectedWait {
    pb::ExpectedWait { p50_ms: wait.p50_ms.0, p80_ms: wait.p80_ms.0, p95_ms: wait.p95_ms.0 }
}
