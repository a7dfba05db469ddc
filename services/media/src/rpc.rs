//! Routing's commands.

use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;
use tonic::{Request, Response, Status};
use trunkline_domain::facts::FlowOutReason;
use trunkline_domain::media::{Offer, QueueTerms};
use trunkline_domain::vocabulary::{AgentId, Cell, ContactId, Epoch, OfferId, QueueId, Timestamp};
use trunkline_proto::contacts::v1::FlowOutReason as WireReason;
use trunkline_proto::media::v1::media_service_server::MediaService;
use trunkline_proto::media::v1::{
    CancelOfferRequest, CancelOfferResponse, OfferContactRequest, OfferContactResponse,
    TurnAwayContactRequest, TurnAwayContactResponse,
};
use trunkline_runtime::grpc::{RejectionKind, status_of};
use trunkline_runtime::telemetry;

use crate::arrival::terms;
use crate::contact_task::{Letter, OfferReply};
use crate::shell::Node;
use crate::sip::stack::lock;

/// Answers `trunkline.media.v1.MediaService`.
pub(crate) struct Commands(pub Arc<Node>);

impl Commands {
    /// Refuses a routing owner who was superseded.
    fn check_epoch(&self, cell: u32, epoch: u64) -> Result<(), Status> {
        let mut epochs = lock(&self.0.routing_epochs);
        let highest = epochs.entry(Cell(cell)).or_default();
        if Epoch(epoch) < *highest {
            let message = format!("routing epoch {epoch} of cell {cell} was superseded by {highest}");
            return Err(status_of(RejectionKind::FailedPrecondition, "STALE_EPOCH", message));
        }
        *highest = Epoch(epoch);
        Ok(())
    }
}

/// What becomes of a contact that leaves a queue by routing's word.
enum Away {
    Ends(FlowOutReason),
    Goes(Box<QueueTerms>),
}

impl Commands {
    fn away(&self, reason: i32, queue_id: &str) -> Result<Away, Status> {
        let overflows = WireReason::try_from(reason) == Ok(WireReason::Overflowed);
        match (overflows, queue_id) {
            (false, "") => flow_out(reason).map(Away::Ends),
            (true, queue_id) if !queue_id.is_empty() => {
                let queue_id: QueueId = id(queue_id)?;
                let now = self.0.platform.clock.now();
                let directory = self.0.directory.read().unwrap_or_else(PoisonError::into_inner);
                let queue = directory.queue(&queue_id, now).map(|queue| Box::new(terms(queue)));
                queue.map(Away::Goes).ok_or_else(|| {
                    let message = format!("no queue {queue_id} is defined as far as this node knows");
                    status_of(RejectionKind::Unavailable, "UNKNOWN_QUEUE", message)
                })
            }
            _ => {
                let message = "another queue is named with the reason OVERFLOWED, and only with it";
                Err(status_of(RejectionKind::InvalidArgument, "BAD_REASON", message))
            }
        }
    }
}

fn gone(contact_id: &ContactId) -> Status {
    let message = format!("contact {contact_id} is not, or no longer, on this node");
    status_of(RejectionKind::NotFound, "CONTACT_GONE", message)
}

fn id<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Status> {
    text.parse()
        .map_err(|error: T::Err| status_of(RejectionKind::InvalidArgument, "MALFORMED_ID", error.to_string()))
}

/// Routing's reasons to send a contact away; the others a media node has itself.
fn flow_out(reason: i32) -> Result<FlowOutReason, Status> {
    match WireReason::try_from(reason) {
        Ok(WireReason::QueueFull) => Ok(FlowOutReason::QueueFull),
        Ok(WireReason::NobodySignedIn) => Ok(FlowOutReason::NobodySignedIn),
        Ok(
            WireReason::Unspecified
            | WireReason::WaitedTooLong
            | WireReason::MediaLost
            | WireReason::Drained
            | WireReason::Overflowed,
        )
        | Err(_) => {
            let message = format!("{reason} is no reason of routing's to turn a contact away");
            Err(status_of(RejectionKind::InvalidArgument, "BAD_REASON", message))
        }
    }
}

#[tonic::async_trait]
impl MediaService for Commands {
    async fn offer_contact(
        &self,
        request: Request<OfferContactRequest>,
    ) -> Result<Response<OfferContactResponse>, Status> {
        let traceparent = telemetry::extract(&request);
        let OfferContactRequest {
            offer_id,
            contact_id,
            agent_id,
            token,
            cell,
            routing_epoch,
            expires_at_ms,
            visit,
        } = request.into_inner();
        let (offer_id, contact_id, agent_id): (OfferId, ContactId, AgentId) =
            (id(&offer_id)?, id(&contact_id)?, id(&agent_id)?);
        self.check_epoch(cell, routing_epoch)?;
        let contact = self.0.contact(&contact_id).ok_or_else(|| gone(&contact_id))?;
        let device_uri = {
            let phones = self.0.phones.read().unwrap_or_else(PoisonError::into_inner);
            phones.to_call(&agent_id, self.0.now()).map(|phone| phone.contact_uri.clone())
        };
        let offer = Box::new(Offer {
            offer_id,
            agent_id,
            token,
            visit,
            expires_at: Timestamp(expires_at_ms),
            leg_id: self.0.platform.mint.leg(),
            device_uri,
        });
        let (reply, answer) = oneshot::channel();
        let letter = Letter::Offer { offer, traceparent, reply };
        contact.send(letter).await.map_err(|_| gone(&contact_id))?;
        match answer.await {
            Ok(OfferReply::Taken) => Ok(Response::new(OfferContactResponse {})),
            Ok(OfferReply::Gone) | Err(_) => Err(gone(&contact_id)),
        }
    }

    async fn cancel_offer(
        &self,
        request: Request<CancelOfferRequest>,
    ) -> Result<Response<CancelOfferResponse>, Status> {
        let CancelOfferRequest { offer_id, contact_id, cell, routing_epoch } = request.into_inner();
        let (offer_id, contact_id): (OfferId, ContactId) = (id(&offer_id)?, id(&contact_id)?);
        self.check_epoch(cell, routing_epoch)?;
        if let Some(contact) = self.0.contact(&contact_id) {
            let (reply, answer) = oneshot::channel();
            if contact.send(Letter::CancelOffer { offer_id, reply }).await.is_ok() {
                let _ = answer.await;
            }
        }
        // An offer for a contact that is over is over.
        Ok(Response::new(CancelOfferResponse {}))
    }

    async fn turn_away_contact(
        &self,
        request: Request<TurnAwayContactRequest>,
    ) -> Result<Response<TurnAwayContactResponse>, Status> {
        let TurnAwayContactRequest { contact_id, visit, cell, routing_epoch, reason, queue_id } =
            request.into_inner();
        let contact_id: ContactId = id(&contact_id)?;
        let away = self.away(reason, &queue_id)?;
        self.check_epoch(cell, routing_epoch)?;
        if let Some(contact) = self.0.contact(&contact_id) {
            let (reply, answer) = oneshot::channel();
            let letter = match away {
                Away::Ends(reason) => Letter::TurnAway { visit, reason, reply },
                Away::Goes(to) => Letter::Overflow { visit, to, reply },
            };
            if contact.send(letter).await.is_ok() {
                let _ = answer.await;
            }
        }
        // A contact that is over waits nowhere.
        Ok(Response::new(TurnAwayContactResponse {}))
    }
}
