//! What the router asks of agent-state and media. Each question runs beside the owner; its answer is an input.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tonic::{Code, Request, Status};
use trunkline_domain::routing::{Input, OfferCommand, OfferRefusal, ReleaseCommand, TurnAwayCommand, Wish};
use trunkline_domain::vocabulary::{Cell, Epoch, OfferId};
use trunkline_proto::agent_state::v1 as agent_state;
use trunkline_proto::common::v1::Channel;
use trunkline_proto::contacts::v1::FlowOutReason;
use trunkline_proto::media::v1 as media;
use trunkline_proto::media::v1::media_service_client::MediaServiceClient;
use trunkline_runtime::agent_state_client::{AgentStateClient, undecided};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::grpc;
use trunkline_runtime::host::owner::Grant;
use trunkline_runtime::lease::Tenure;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::Platform;
use trunkline_runtime::telemetry::{Span, inject};

/// Between two tries of the same question.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long one try of a media command may take.
const MEDIA_TRY_MAX: Duration = Duration::from_secs(1);

/// The questions of one tenure; they end with it, and none is put once its lease is over.
pub(crate) struct Effects {
    cell: Cell,
    epoch: Epoch,
    tenure: Tenure,
    node_id: String,
    clock: Clock,
    mint: Mint,
    client: AgentStateClient,
    nodes: BTreeMap<String, MediaServiceClient<tonic::transport::Channel>>,
    answers: mpsc::Sender<Input>,
    under_way: JoinSet<()>,
}

impl Effects {
    pub(crate) fn new(platform: &Platform, cell: Cell, grant: &Grant, answers: mpsc::Sender<Input>) -> Self {
        Self {
            cell,
            epoch: grant.epoch,
            tenure: grant.tenure.clone(),
            node_id: platform.node_id.to_string(),
            clock: platform.clock.clone(),
            mint: platform.mint.clone(),
            client: grant.client.clone(),
            nodes: BTreeMap::new(),
            answers,
            under_way: JoinSet::new(),
        }
    }

    fn spawn(&mut self, question: impl Future<Output = ()> + Send + 'static) {
        while self.under_way.try_join_next().is_some() {}
        let tenure = self.tenure.clone();
        self.under_way.spawn(async move {
            tokio::select! {
                biased;
                // Before the question: a process that was stopped wakes up here, in the middle of a retry perhaps, when
                // somebody else owns the partition.
                () = tenure.over() => {}
                () = question => {}
            }
        });
    }

    /// Asks for the reservations of one turn, under one command id until agent-state answers.
    pub(crate) fn reserve(&mut self, wishes: Vec<Wish>, spans: Vec<Span>) {
        let request = agent_state::ReserveAgentsRequest {
            command_id: self.mint.command().to_string(),
            cell: self.cell.0,
            routing_epoch: self.epoch.0,
            wishes: wishes.iter().map(wish).collect(),
        };
        let traceparent = spans.first().map(Span::traceparent).unwrap_or_default();
        let (client, answers) = (self.client.with_traceparent(&traceparent), self.answers.clone());
        self.spawn(async move {
            let answered = loop {
                match client.reserve_agents(request.clone()).await {
                    Ok(response) => break answers_of(response.answers),
                    Err(status) if undecided(&status) => tokio::time::sleep(AGAIN_AFTER).await,
                    Err(status) => break refused_all(&wishes, &status),
                }
            };
            for (span, (_, answer)) in spans.iter().zip(&answered) {
                if let Err(refusal) = answer {
                    span.fail(refusal);
                }
            }
            drop(spans);
            // The owner may have ended: then the next one asks anew.
            let _ = answers.send(Input::ReservationsAnswered { answers: answered }).await;
        });
    }

    /// Tells the media node to call the agent, until it answers or the offer's deadline has passed.
    pub(crate) fn offer(&mut self, command: OfferCommand, traceparent: String) {
        let message = media::OfferContactRequest {
            offer_id: command.offer_id.to_string(),
            contact_id: command.contact_id.to_string(),
            agent_id: command.agent_id.to_string(),
            token: command.token,
            cell: self.cell.0,
            routing_epoch: self.epoch.0,
            expires_at_ms: command.expires_at.0,
            visit: command.visit,
        };
        let mut node = self.node(&command.address);
        let (clock, answers) = (self.clock.clone(), self.answers.clone());
        self.spawn(async move {
            let answer = loop {
                match node.offer_contact(media_request(message.clone(), &traceparent)).await {
                    Ok(_) => break Input::OfferTaken { offer_id: command.offer_id.clone() },
                    Err(status) if !unanswered(&status) => {
                        if status.code() != Code::NotFound {
                            tracing::warn!(offer_id = %command.offer_id, %status, "media refused an offer");
                        }
                        break Input::OfferRefused { offer: command, refusal: OfferRefusal::ContactGone };
                    }
                    Err(_) if clock.now() >= command.expires_at => {
                        break Input::OfferRefused { offer: command, refusal: OfferRefusal::NodeUnreachable };
                    }
                    Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
                }
            };
            let _ = answers.send(answer).await;
        });
    }

    /// Tells the media node that the offer is over, once.
    pub(crate) fn cancel(&mut self, command: OfferCommand, traceparent: String) {
        let message = media::CancelOfferRequest {
            offer_id: command.offer_id.to_string(),
            contact_id: command.contact_id.to_string(),
            cell: self.cell.0,
            routing_epoch: self.epoch.0,
        };
        let mut node = self.node(&command.address);
        self.spawn(async move {
            if let Err(status) = node.cancel_offer(media_request(message, &traceparent)).await {
                tracing::debug!(offer_id = %command.offer_id, %status, "an offer could not be cancelled");
            }
        });
    }

    /// Tells the media node that the contact's queue is full, or that it goes to another, once; the router tells it again.
    pub(crate) fn turn_away(&mut self, command: TurnAwayCommand, traceparent: String) {
        let message = media::TurnAwayContactRequest {
            contact_id: command.contact_id.to_string(),
            visit: command.visit,
            cell: self.cell.0,
            routing_epoch: self.epoch.0,
            reason: match command.to_queue_id {
                None => FlowOutReason::QueueFull.into(),
                Some(_) => FlowOutReason::Overflowed.into(),
            },
            queue_id: command.to_queue_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let mut node = self.node(&command.address);
        self.spawn(async move {
            if let Err(status) = node.turn_away_contact(media_request(message, &traceparent)).await {
                tracing::debug!(contact_id = %command.contact_id, %status, "a contact could not be turned away");
            }
        });
    }

    /// Tells agent-state that the reservation is over, until it answers.
    pub(crate) fn release(&mut self, command: ReleaseCommand, traceparent: String) {
        let request = agent_state::ReleaseReservationRequest {
            command_id: self.mint.command().to_string(),
            agent_id: command.agent_id.to_string(),
            offer_id: command.offer_id.to_string(),
            token: command.token,
            outcome: agent_state::ReservationOutcome::Rescinded.into(),
            node_id: self.node_id.clone(),
            epoch: self.epoch.0,
        };
        let client = self.client.with_traceparent(&traceparent);
        self.spawn(async move {
            loop {
                match client.release_reservation(request.clone()).await {
                    Ok(_) => return,
                    Err(status) if undecided(&status) => tokio::time::sleep(AGAIN_AFTER).await,
                    Err(status) => {
                        tracing::warn!(offer_id = %command.offer_id, %status, "a reservation was not released");
                        return;
                    }
                }
            }
        });
    }

    fn node(&mut self, address: &str) -> MediaServiceClient<tonic::transport::Channel> {
        let connect = || MediaServiceClient::new(grpc::channel(address));
        self.nodes.entry(address.to_owned()).or_insert_with(connect).clone()
    }
}

/// Whether a media node has not decided: the same question may be asked again.
fn unanswered(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown)
}

fn media_request<T>(message: T, traceparent: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(MEDIA_TRY_MAX);
    inject(&mut request, traceparent);
    request
}

fn wish(wish: &Wish) -> agent_state::ReservationWish {
    agent_state::ReservationWish {
        offer_id: wish.offer_id.to_string(),
        agent_id: wish.agent_id.to_string(),
        contact_id: wish.contact_id.to_string(),
        company_id: wish.company_id.to_string(),
        queue_id: wish.queue_id.to_string(),
        node_id: wish.node_id.to_string(),
        expires_at_ms: wish.expires_at.0,
        ring_many: false,
        channel: Channel::Unspecified.into(),
    }
}

type Answers = Vec<(OfferId, Result<u64, String>)>;

fn answers_of(answers: Vec<agent_state::ReservationAnswer>) -> Answers {
    let answer = |it: agent_state::ReservationAnswer| {
        let offer_id = OfferId::parse(&it.offer_id).ok()?;
        Some((offer_id, if it.refusal.is_empty() { Ok(it.token) } else { Err(it.refusal) }))
    };
    answers.into_iter().filter_map(answer).collect()
}

/// A turn refused as a whole is refused wish by wish.
fn refused_all(wishes: &[Wish], status: &Status) -> Answers {
    let reason = grpc::reason_of(status).unwrap_or("REFUSED").to_owned();
    tracing::warn!(%status, "agent-state refused a turn of reservations");
    wishes.iter().map(|wish| (wish.offer_id.clone(), Err(reason.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;

    use trunkline_domain::vocabulary::{AgentId, ContactId, Millis, NodeId, Timestamp};
    use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions};
    use trunkline_runtime::health::Health;
    use trunkline_runtime::lease::Doubt;
    use trunkline_runtime::platform::Endpoints;
    use trunkline_runtime::telemetry::Telemetry;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn effects(clock: &Clock, data: &std::path::Path) -> (Effects, mpsc::Receiver<Input>) {
        let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(data, "test", 1)).unwrap();
        let platform = Platform {
            log: Arc::new(log),
            mint: Mint::seeded(1),
            clock: clock.clone(),
            telemetry: Telemetry::off(),
            data_dir: data.to_owned(),
            node_id: NodeId::from_name("a").unwrap(),
            health: Health::new(),
            endpoints: Endpoints::default(),
        };
        let grant = Grant {
            epoch: Epoch(1),
            previous_renewed_at: None,
            tenure: Tenure::new("routing/0", Epoch(1), clock, NOW + Millis(2_000), Doubt::Ends),
            client: AgentStateClient::new(&[], Mint::seeded(1)),
        };
        let (answers, answered) = mpsc::channel(8);
        (Effects::new(&platform, Cell(0), &grant, answers), answered)
    }

    fn offer(address: String) -> OfferCommand {
        OfferCommand {
            offer_id: OfferId::from_name("r0-1-1").unwrap(),
            contact_id: ContactId::from_name("one").unwrap(),
            agent_id: AgentId::from_name("anna").unwrap(),
            token: 7,
            visit: 1,
            expires_at: NOW + Millis(15_000),
            node_id: NodeId::from_name("one").unwrap(),
            address,
        }
    }

    #[tokio::test]
    async fn a_question_ends_with_the_lease_and_none_is_put_after_it() {
        let (data, (clock, hand)) = (tempfile::tempdir().unwrap(), Clock::manual(NOW));
        let (mut effects, mut answered) = effects(&clock, data.path());
        // Somebody is there, and takes no connection.
        let node = TcpListener::bind("127.0.0.1:0").unwrap();
        node.set_nonblocking(true).unwrap();
        let address = node.local_addr().unwrap().to_string();

        effects.offer(offer(address.clone()), String::new());
        while node.accept().is_err() {
            tokio::task::yield_now().await;
        }
        hand.advance(Millis(2_000));
        effects.nodes.clear();
        effects.offer(offer(address), String::new());
        let all_ended = async { while effects.under_way.join_next().await.is_some() {} };
        tokio::time::timeout(Duration::from_secs(60), all_ended).await.expect("the questions end");
        assert!(answered.try_recv().is_err(), "nothing is answered");
        assert!(node.accept().is_err(), "nobody is called");
    }
}
