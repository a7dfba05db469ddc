//! What waits where, as the owner sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};
use trunkline_domain::routing::Router;
use trunkline_domain::vocabulary::{CompanyId, QueueId, Timestamp};
use trunkline_proto::routing::v1 as pb;
use trunkline_proto::routing::v1::routing_service_server::RoutingService;
use trunkline_runtime::grpc::{RejectionKind, status_of};

/// Questions that may wait for an owner; the next is refused.
const ASKS_MAX: usize = 64;
/// How long a question waits for an owner that is busy.
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

/// Where questions to one cell's owner are put: open while the cell is owned here, so that a standby says at once that it
/// is none. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Desk(Arc<Mutex<Option<mpsc::Sender<Ask>>>>);

impl Desk {
    /// Opens it, until the receiver is dropped. What is asked is in the receiver.
    pub(crate) fn open(&self) -> mpsc::Receiver<Ask> {
        let (sender, receiver) = mpsc::channel(ASKS_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    async fn ask(&self, company_id: Option<CompanyId>) -> Result<Vec<pb::QueueView>, Status> {
        let not_owned =
            || status_of(RejectionKind::Unavailable, "NOT_OWNED", "the partition has no owner here now");
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(not_owned)?;
        let (reply, answer) = oneshot::channel();
        sender.try_send(Ask { company_id, reply }).map_err(|refused| match refused {
            TrySendError::Closed(_) => not_owned(),
            TrySendError::Full(_) => {
                let message = "too many questions wait for routing";
                status_of(RejectionKind::ResourceExhausted, "OVERLOADED", message)
            }
        })?;
        // The owner drops the question with its tenure.
        let answered = tokio::time::timeout(ANSWER_TIME_MAX, answer).await;
        answered.map_err(|_| not_owned())?.map_err(|_| not_owned())
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
            queues.extend(desk.ask(company_id.clone()).await?);
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
