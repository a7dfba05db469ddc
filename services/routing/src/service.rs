//! What waits where, as the owner sees it.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};
use trunkline_domain::routing::{Decided, Order, OrderRefused, Router};
use trunkline_domain::vocabulary::{CompanyId, ContactId, Timestamp};
use trunkline_proto::routing::v1 as pb;
use trunkline_proto::routing::v1::routing_service_server::RoutingService;
use trunkline_runtime::grpc::{RejectionKind, status_of};

use crate::views;

/// Questions that may wait for an owner; the next is refused.
const ASKS_MAX: usize = 64;
/// How long a question waits for an owner that is busy.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// Somebody wants to know.
pub(crate) enum Ask {
    /// The queues of a company, or of all.
    Queues(Option<CompanyId>, oneshot::Sender<Vec<pb::QueueView>>),
    /// Why a contact waits; nothing when it does not.
    Explain(ContactId, oneshot::Sender<Option<pb::ExplainContactResponse>>),
    /// Somebody decides; answered once that is durable.
    Order(Order, oneshot::Sender<Result<u32, OrderRefused>>),
}

impl Ask {
    /// Answers from the router's state, an order apart, which is given back. Whoever asked may have gone.
    pub(crate) fn answer(
        self,
        router: &Router,
        now: Timestamp,
    ) -> Option<(Order, oneshot::Sender<Result<u32, OrderRefused>>)> {
        match self {
            Self::Order(order, reply) => return Some((order, reply)),
            Self::Queues(company_id, reply) => {
                drop(reply.send(views::queues(router, company_id.as_ref(), now)));
            }
            Self::Explain(contact_id, reply) => drop(reply.send(views::explained(router, &contact_id))),
        }
        None
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

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Status> {
        let not_owned =
            || status_of(RejectionKind::Unavailable, "NOT_OWNED", "the partition has no owner here now");
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(not_owned)?;
        let (reply, answer) = oneshot::channel();
        sender.try_send(ask(reply)).map_err(|refused| match refused {
            TrySendError::Closed(_) => not_owned(),
            TrySendError::Full(_) => {
                let message = "too many questions wait for routing";
                status_of(RejectionKind::ResourceExhausted, "OVERLOADED", message)
            }
        })?;
        // The owner drops the question with its tenure. What it was told before that, or has no time to answer, may be done.
        let answered = tokio::time::timeout(ANSWER_TIME_MAX, answer).await;
        let late = |_| {
            let message =
                "the partition's owner did not answer in time; what was decided may take effect all the same";
            status_of(RejectionKind::Unavailable, "NO_ANSWER", message)
        };
        answered.map_err(late)?.map_err(|_| not_owned())
    }
}

fn id<T: FromStr<Err: Display>>(text: &str) -> Result<T, Status> {
    let malformed =
        |error: T::Err| status_of(RejectionKind::InvalidArgument, "MALFORMED_ID", error.to_string());
    text.parse().map_err(malformed)
}

fn order_refused(why: &OrderRefused) -> Status {
    let (kind, code) = match why {
        OrderRefused::NotOwned => (RejectionKind::Unavailable, "NOT_OWNED"),
        OrderRefused::NotWaiting(_) => (RejectionKind::NotFound, "NOT_WAITING"),
        OrderRefused::UnknownQueue(_) => (RejectionKind::NotFound, "UNKNOWN_QUEUE"),
        OrderRefused::SameQueue(_) => (RejectionKind::FailedPrecondition, "SAME_QUEUE"),
        OrderRefused::BadPriority(_) => (RejectionKind::InvalidArgument, "BAD_PRIORITY"),
        OrderRefused::NotSigned => (RejectionKind::InvalidArgument, "NOT_SIGNED"),
    };
    status_of(kind, code, why.to_string())
}

/// Answers `trunkline.routing.v1.RoutingService`.
pub(crate) struct Queues(Vec<Desk>);

impl Queues {
    pub(crate) fn new(desks: Vec<Desk>) -> Self {
        Self(desks)
    }

    /// Has an order carried out by the owner of the partition it is about.
    async fn order(&self, what: Decided, author: String, reason: String) -> Result<u32, Status> {
        let order = Order { what, author, reason };
        // The refusal of an owner says more than that a partition is another's.
        let mut refused = None;
        for desk in &self.0 {
            let order = order.clone();
            match desk.ask(|reply| Ask::Order(order, reply)).await {
                Ok(Ok(count)) => return Ok(count),
                Ok(Err(why)) => refused = Some(order_refused(&why)),
                Err(status) if refused.is_none() => refused = Some(status),
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or_else(|| {
            status_of(RejectionKind::Unavailable, "NOT_OWNED", "no partition has its owner here")
        }))
    }
}

#[tonic::async_trait]
impl RoutingService for Queues {
    async fn replan_queue(
        &self,
        request: Request<pb::ReplanQueueRequest>,
    ) -> Result<Response<pb::ReplanQueueResponse>, Status> {
        let pb::ReplanQueueRequest { queue_id, author, reason } = request.into_inner();
        let contact_count = self.order(Decided::Replan(id(&queue_id)?), author, reason).await?;
        Ok(Response::new(pb::ReplanQueueResponse { contact_count }))
    }

    async fn reprioritise_contact(
        &self,
        request: Request<pb::ReprioritiseContactRequest>,
    ) -> Result<Response<pb::ReprioritiseContactResponse>, Status> {
        let pb::ReprioritiseContactRequest { contact_id, priority, author, reason } = request.into_inner();
        self.order(Decided::Reprioritise(id(&contact_id)?, priority), author, reason).await?;
        Ok(Response::new(pb::ReprioritiseContactResponse {}))
    }

    async fn move_contact(
        &self,
        request: Request<pb::MoveContactRequest>,
    ) -> Result<Response<pb::MoveContactResponse>, Status> {
        let pb::MoveContactRequest { contact_id, queue_id, author, reason } = request.into_inner();
        self.order(Decided::Move(id(&contact_id)?, id(&queue_id)?), author, reason).await?;
        Ok(Response::new(pb::MoveContactResponse {}))
    }

    async fn list_queues(
        &self,
        request: Request<pb::ListQueuesRequest>,
    ) -> Result<Response<pb::ListQueuesResponse>, Status> {
        let company_id = match request.into_inner().company_id {
            text if text.is_empty() => None,
            text => Some(id::<CompanyId>(&text)?),
        };
        let mut queues = Vec::new();
        for desk in &self.0 {
            let company_id = company_id.clone();
            queues.extend(desk.ask(|reply| Ask::Queues(company_id, reply)).await?);
        }
        queues.sort_by(|a, b| a.queue_id.cmp(&b.queue_id));
        Ok(Response::new(pb::ListQueuesResponse { queues }))
    }

    async fn explain_contact(
        &self,
        request: Request<pb::ExplainContactRequest>,
    ) -> Result<Response<pb::ExplainContactResponse>, Status> {
        let contact_id = ContactId::parse(&request.into_inner().contact_id)
            .map_err(|error| status_of(RejectionKind::InvalidArgument, "MALFORMED_ID", error.to_string()))?;
        let mut refused = None;
        for desk in &self.0 {
            let asked = contact_id.clone();
            match desk.ask(|reply| Ask::Explain(asked, reply)).await {
                Ok(Some(explained)) => return Ok(Response::new(explained)),
                Ok(None) => {}
                // It may wait in a partition that is another's.
                Err(status) => refused = Some(status),
            }
        }
        Err(refused.unwrap_or_else(|| {
            let message = format!("contact {contact_id} waits in no queue");
            status_of(RejectionKind::NotFound, "NOT_WAITING", message)
        }))
    }
}
