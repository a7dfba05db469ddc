//! What waits where, as the owner sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tonic::{Request, Response, Status};
use trunkline_domain::routing::Router;
use trunkline_domain::vocabulary::{CompanyId, QueueId, Timestamp};
use trunkline_proto::routing::v1 as pb;
use trunkline_proto::routing::v1::routing_service_server::RoutingService;
use trunkline_runtime::grpc::{RejectionKind, status_of};

use crate::owner::Asks;

/// Questions that may wait for an owner; the next is refused.
const ASKS_MAX: usize = 64;
/// How long a question waits for an owner.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);
/// Contacts listed a queue.
const LISTED_MAX: usize = 100;

/// Somebody wants to know.
pub(crate) struct Ask {
    company_id: Option<CompanyId>,
    reply: oneshot::Sender<Vec<pb::QueueView>>,
}

impl Ask {
    /// Answers from the router's state.
    pub(crate) fn answer(self, router: &Router, now: Timestamp) {
        // Whoever asked may have gone.
        let _ = self.reply.send(views(router, self.company_id.as_ref(), now));
    }
}

/// Where questions to one cell's owner are put.
pub(crate) struct Desk(mpsc::Sender<Ask>);

impl Desk {
    pub(crate) fn new() -> (Self, Asks) {
        let (sender, receiver) = mpsc::channel(ASKS_MAX);
        (Self(sender), Arc::new(Mutex::new(receiver)))
    }
}

/// Answers `trunkline.routing.v1.RoutingService`.
pub(crate) struct Queues(Vec<Desk>);

impl Queues {
    pub(crate) fn new(desks: Vec<Desk>) -> Self {
        Self(desks)
    }
}

#[tonic::async_trait]
impl RoutingService for Queues {
    async fn list_queues(
        &self,
        request: Request<pb::ListQueuesRequest>,
    ) -> Result<Response<pb::ListQueuesResponse>, Status> {
        let company_id = match request.into_inner().company_id {
            text if text.is_empty() => None,
            text => Some(CompanyId::parse(&text).map_err(|error| {
                status_of(RejectionKind::InvalidArgument, "MALFORMED_ID", error.to_string())
            })?),
        };
        let mut queues = Vec::new();
        for desk in &self.0 {
            let (reply, answer) = oneshot::channel();
            let ask = Ask { company_id: company_id.clone(), reply };
            desk.0.try_send(ask).map_err(|_| {
                status_of(
                    RejectionKind::ResourceExhausted,
                    "OVERLOADED",
                    "too many questions wait for routing",
                )
            })?;
            let not_owned =
                || status_of(RejectionKind::Unavailable, "NOT_OWNED", "the partition has no owner here now");
            let answered = tokio::time::timeout(ANSWER_TIME_MAX, answer).await;
            queues.extend(answered.map_err(|_| not_owned())?.map_err(|_| not_owned())?);
        }
        queues.sort_by(|a, b| a.queue_id.cmp(&b.queue_id));
        Ok(Response::new(pb::ListQueuesResponse { queues }))
    }
}

fn views(router: &Router, company_id: Option<&CompanyId>, now: Timestamp) -> Vec<pb::QueueView> {
    let mut views: BTreeMap<QueueId, pb::QueueView> = BTreeMap::new();
    let ours = |company: &CompanyId| company_id.is_none_or(|only| only == company);
    for queue in router.directory().queues(now).filter(|queue| ours(&queue.company_id)) {
        let ready = router.agents().all().filter(|(agent_id, view)| {
            let skilled = router
                .directory()
                .agent(agent_id, now)
                .is_some_and(|agent| queue.required_skills.iter().all(|skill| agent.skills.contains(skill)));
            view.free() && skilled
        });
        let view = pb::QueueView {
            queue_id: queue.queue_id.to_string(),
            company_id: queue.company_id.to_string(),
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
    views.into_values().collect()
}
