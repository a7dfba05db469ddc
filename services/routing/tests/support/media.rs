//! A media node that writes down what it is told.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::mpsc;
use tonic::{Request, Response, Status};
use trunkline_proto::media::v1 as media;
use trunkline_proto::media::v1::media_service_server::MediaService;

/// A media node that writes down what it is told.
#[derive(Clone)]
pub struct FakeMedia {
    offers: mpsc::UnboundedSender<media::OfferContactRequest>,
    state: Arc<Mutex<MediaState>>,
}

#[derive(Default)]
pub struct MediaState {
    /// Contacts that are not here.
    pub gone: BTreeSet<String>,
    /// How many of the next offers meet a node that does not answer.
    pub deaf_count: u32,
    /// Contacts sent to another queue, with visit and queue, each time it was asked.
    pub sent_on: Vec<(String, u32, String)>,
    /// Contacts turned away, with visit and reason, each time it was asked.
    pub turned_away: Vec<(String, u32, i32)>,
    /// Offers cancelled.
    pub cancelled: Vec<String>,
    /// The routing epoch of every offer, heard or not.
    pub epochs: Vec<u64>,
    /// `traceparent` of every offer taken.
    pub traces: Vec<String>,
}

impl FakeMedia {
    pub(super) fn new(offers: mpsc::UnboundedSender<media::OfferContactRequest>) -> Self {
        Self { offers, state: Arc::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, MediaState> {
        self.state.lock().unwrap()
    }
}

#[tonic::async_trait]
impl MediaService for FakeMedia {
    async fn offer_contact(
        &self,
        request: Request<media::OfferContactRequest>,
    ) -> Result<Response<media::OfferContactResponse>, Status> {
        let traceparent = trunkline_runtime::telemetry::extract(&request);
        let it = request.into_inner();
        let mut state = self.state();
        state.epochs.push(it.routing_epoch);
        if state.deaf_count > 0 {
            state.deaf_count -= 1;
            return Err(Status::unavailable("nobody hears"));
        }
        if state.gone.contains(&it.contact_id) {
            return Err(Status::not_found("no such contact"));
        }
        state.traces.push(traceparent);
        self.offers.send(it).unwrap();
        Ok(Response::new(media::OfferContactResponse {}))
    }

    async fn cancel_offer(
        &self,
        request: Request<media::CancelOfferRequest>,
    ) -> Result<Response<media::CancelOfferResponse>, Status> {
        self.state().cancelled.push(request.into_inner().offer_id);
        Ok(Response::new(media::CancelOfferResponse {}))
    }

    async fn turn_away_contact(
        &self,
        request: Request<media::TurnAwayContactRequest>,
    ) -> Result<Response<media::TurnAwayContactResponse>, Status> {
        let media::TurnAwayContactRequest { contact_id, visit, reason, queue_id, .. } = request.into_inner();
        let mut state = self.state();
        if state.deaf_count > 0 {
            state.deaf_count -= 1;
            return Err(Status::unavailable("nobody hears"));
        }
        match queue_id.is_empty() {
            true => state.turned_away.push((contact_id, visit, reason)),
            false => state.sent_on.push((contact_id, visit, queue_id)),
        }
        Ok(Response::new(media::TurnAwayContactResponse {}))
    }
}
