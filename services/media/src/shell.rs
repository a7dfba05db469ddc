//! The node: what all contacts share, and where requests of the network find their contact.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{error, info, warn};
use trunkline_domain::directory::Directory;
use trunkline_domain::facts::{ContactFact, ReleaseOutcome};
use trunkline_domain::media::Phones;
use trunkline_domain::vocabulary::{AgentId, Cell, ContactId, Epoch, Millis, OfferId, Timestamp};
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::agent_state_client::{AgentStateClient, undecided};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::spool::{Spool, SpoolOptions};
use trunkline_runtime::telemetry::names;

use crate::arrival;
use crate::config::MediaConfig;
use crate::contact_task::{INBOX_LEN_MAX, Letter, run};
use crate::generation::Generation;
use crate::plane::{LegHandle, LegStats, MediaPlane, PlaneEvent};
use crate::registrar::Registrar;
use crate::sip::dialog::Dialog;
use crate::sip::door::ALLOW;
use crate::sip::message::{Message, Method};
use crate::sip::stack::{ServerTransaction, Stack, lock};

/// How long a release is tried again between attempts.
const RELEASE_PAUSE: Duration = Duration::from_millis(500);

/// A media node.
pub(crate) struct Node {
    pub config: MediaConfig,
    pub platform: Platform,
    /// Where facts are while the log cannot be written.
    pub spool: Spool,
    pub rtp_ip: IpAddr,
    pub stack: Stack,
    pub plane: MediaPlane,
    pub agent_state: AgentStateClient,
    pub directory: RwLock<Directory>,
    pub phones: RwLock<Phones>,
    pub registrar: Registrar,
    /// The highest routing epoch seen, by cell.
    pub routing_epochs: Mutex<BTreeMap<Cell, Epoch>>,
    pub draining: AtomicBool,
    contacts: Mutex<BTreeMap<ContactId, mpsc::Sender<Letter>>>,
    /// By Call-ID and our tag.
    dialogs: Mutex<BTreeMap<(String, String), mpsc::Sender<Letter>>>,
    plays: Mutex<BTreeMap<LegHandle, mpsc::Sender<Letter>>>,
    generation: Mutex<Option<Arc<Generation>>>,
    before: Mutex<Option<Arc<Generation>>>,
}

impl Node {
    #[allow(clippy::too_many_arguments, reason = "each is a different type and all are needed")]
    pub fn new(
        config: MediaConfig,
        platform: Platform,
        stack: Stack,
        plane: MediaPlane,
        agent_state: AgentStateClient,
        rtp_ip: IpAddr,
        registrar: Registrar,
    ) -> Self {
        let spool = SpoolOptions {
            after: Duration::from_millis(config.spool_after_ms),
            bytes_max: config.spool_bytes_max,
            ..SpoolOptions::new(platform.data_dir.join("media").join("spool"))
        };
        Self {
            spool: Spool::new(spool, &platform.telemetry),
            config,
            platform,
            rtp_ip,
            stack,
            plane,
            agent_state,
            directory: RwLock::default(),
            phones: RwLock::default(),
            registrar,
            routing_epochs: Mutex::default(),
            draining: AtomicBool::new(false),
            contacts: Mutex::default(),
            dialogs: Mutex::default(),
            plays: Mutex::default(),
            generation: Mutex::default(),
            before: Mutex::default(),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.platform.clock.now()
    }

    /// The ownership under which new contacts begin; none while there is no lease.
    pub fn generation(&self) -> Option<Arc<Generation>> {
        lock(&self.generation).clone().filter(|generation| !generation.ended.is_cancelled())
    }

    /// The ownership under which a contact may begin now: none either while the node drains, while its lease is in doubt,
    /// or while the room that the spool has left is kept for the ends of the contacts that are up.
    fn open(&self) -> Option<Arc<Generation>> {
        let closed = self.draining.load(Ordering::Acquire) || self.spool.short_of_room();
        self.generation().filter(|generation| !closed && generation.tenure.valid(self.now()))
    }

    /// Begins an ownership, or stops taking contacts in when there is none.
    pub fn own(&self, generation: Option<Arc<Generation>>) {
        if let Some(before) = std::mem::replace(&mut *lock(&self.generation), generation) {
            *lock(&self.before) = Some(before);
        }
    }

    /// The ownership whose contacts may still be there.
    pub fn previous(&self) -> Option<Arc<Generation>> {
        lock(&self.before).take()
    }

    pub fn contact_count(&self) -> usize {
        lock(&self.contacts).len()
    }

    pub fn contact(&self, contact_id: &ContactId) -> Option<mpsc::Sender<Letter>> {
        lock(&self.contacts).get(contact_id).cloned()
    }

    pub fn every_contact(&self) -> Vec<mpsc::Sender<Letter>> {
        lock(&self.contacts).values().cloned().collect()
    }

    /// Requests inside this dialog go to `contact` from now on.
    pub fn expect(&self, call_id: &str, local_tag: &str, contact: mpsc::Sender<Letter>) {
        lock(&self.dialogs).insert((call_id.to_owned(), local_tag.to_owned()), contact);
    }

    pub fn unexpect(&self, call_id: &str, local_tag: &str) {
        lock(&self.dialogs).remove(&(call_id.to_owned(), local_tag.to_owned()));
    }

    /// A contact begins.
    fn meet(&self, contact_id: ContactId, contact: mpsc::Sender<Letter>) {
        if lock(&self.contacts).insert(contact_id, contact).is_none() {
            self.platform.telemetry.gauge(names::CONTACTS_LIVE, &[]).add(1);
        }
    }

    /// A contact is over.
    pub fn forget(&self, contact_id: &ContactId, caller: Option<&Dialog>) {
        if lock(&self.contacts).remove(contact_id).is_some() {
            self.platform.telemetry.gauge(names::CONTACTS_LIVE, &[]).add(-1);
        }
        if let Some(caller) = caller {
            self.unexpect(&caller.call_id, &caller.local_tag);
        }
    }

    /// Closes a leg's ports.
    pub async fn free(&self, leg: LegHandle) {
        lock(&self.plays).remove(&leg);
        match self.plane.free(leg).await {
            Ok(stats) => self.meter_audio(&stats),
            Err(error) => warn!(%error, "a leg could not be freed"),
        }
    }

    /// Counts the audio of a leg that is over.
    fn meter_audio(&self, leg: &LegStats) {
        let telemetry = &self.platform.telemetry;
        telemetry.counter(names::RTP_PACKETS_RECEIVED, &[]).add(leg.rtp_received_count);
        telemetry.counter(names::RTP_PACKETS_SENT, &[]).add(leg.rtp_sent_count);
        telemetry.counter(names::RTP_PACKETS_LOST, &[]).add(leg.lost_count);
        for (reason, count) in [
            ("no RTP", leg.invalid_count),
            ("payload type not agreed", leg.other_payload_count),
            ("not from the peer", leg.other_source_count),
            ("the other leg cannot take it", leg.unmapped_count),
            ("not sent by the system", leg.send_failed_count),
        ] {
            telemetry.counter(names::RTP_PACKETS_DROPPED, &[("reason", reason)]).add(count);
        }
    }

    /// Counts what a fact says.
    pub fn meter(&self, fact: &ContactFact) {
        match fact {
            ContactFact::ContactArrived { .. } => {
                self.platform.telemetry.counter(names::CONTACTS_ARRIVED, &[]).inc();
            }
            ContactFact::ContactEnded { cause, .. } => {
                let labels = [("cause", cause.as_str())];
                self.platform.telemetry.counter(names::CONTACTS_ENDED, &labels).inc();
            }
            _ => {}
        }
    }
}

/// Requests of the network.
impl Node {
    /// Takes requests until the stack ends. Never waits for anybody: what takes time gets its own task.
    pub async fn dispatch(self: Arc<Self>, mut requests: mpsc::UnboundedReceiver<ServerTransaction>) {
        while let Some(transaction) = requests.recv().await {
            self.take(transaction);
        }
    }

    fn take(self: &Arc<Self>, transaction: ServerTransaction) {
        let request = &transaction.request;
        let answer = |status| Message::response(request, status, "trunkline").with("Allow", ALLOW);
        if request.method() == Some(&Method::Register) {
            let node = Arc::clone(self);
            tokio::spawn(async move { crate::registrar::register(&node, transaction).await });
            return;
        }
        if let Some(local_tag) = request.to_tag() {
            let key = (request.call_id().to_owned(), local_tag);
            let contact = lock(&self.dialogs).get(&key).cloned();
            match contact {
                // A full inbox drops the transaction, which answers 500.
                Some(contact) => drop(contact.try_send(Letter::Request(transaction))),
                None => transaction.responder.respond(Message::response(request, 481, "trunkline")),
            }
            return;
        }
        match request.method() {
            Some(Method::Invite) => self.invite(transaction),
            Some(Method::Options) => {
                let answer = match self.open() {
                    Some(_) => answer(200).with("Accept", "application/sdp"),
                    None => unavailable(request),
                };
                transaction.responder.respond(answer);
            }
            Some(Method::Bye | Method::Info | Method::Update) => transaction.responder.respond(answer(481)),
            _ => transaction.responder.respond(answer(405)),
        }
    }

    fn invite(self: &Arc<Self>, transaction: ServerTransaction) {
        let Some(generation) = self.open() else {
            return transaction.responder.respond(unavailable(&transaction.request));
        };
        transaction.responder.respond(Message::response(&transaction.request, 100, ""));
        let (outbox, inbox) = mpsc::channel(INBOX_LEN_MAX);
        let signals = transaction.signals;
        let transaction = ServerTransaction { signals: mpsc::unbounded_channel().1, ..transaction };
        let arrival = arrival::arrive(self, transaction);
        let contact_id = arrival.invited.contact_id.clone();
        self.meet(contact_id.clone(), outbox.clone());
        if let Some(dialog) = &arrival.caller.dialog {
            self.expect(&dialog.call_id, &dialog.local_tag, outbox.clone());
        }
        if let Some(session) = &arrival.caller.session {
            lock(&self.plays).insert(session.media.handle, outbox.clone());
            if self.config.media_timeout_ms > 0 {
                let watch = watch_audio(Arc::clone(self), session.media.handle, outbox.clone());
                tokio::spawn(watch);
            }
        }
        tokio::spawn(forward(signals, outbox.clone()));
        let ended = generation.ended.clone();
        let task = tokio::spawn(run(Arc::clone(self), generation, arrival, inbox, outbox));
        let node = Arc::clone(self);
        tokio::spawn(async move {
            if task.await.is_err() {
                // A bug in one contact: its end is recorded by the next ownership, with that of all the others.
                error!(%contact_id, "a contact's task panicked");
                node.forget(&contact_id, None);
                ended.cancel();
            }
        });
    }

    /// Tells contacts what the media plane says, until it ends.
    pub async fn hear(self: Arc<Self>, mut events: mpsc::Receiver<PlaneEvent>) {
        while let Some(event) = events.recv().await {
            if let PlaneEvent::PlayEnded { leg, played_ms, .. } = event {
                let contact = lock(&self.plays).get(&leg).cloned();
                if let Some(contact) = contact {
                    let played_ms = Millis(i64::try_from(played_ms).unwrap_or(i64::MAX));
                    // A contact with a full inbox must still hear this: waiting here is bounded by its reading.
                    let _ = contact.send(Letter::Played { played_ms }).await;
                }
            }
        }
    }
}

/// Questions to agent-state.
impl Node {
    /// Asks whether the legs may be bridged, and tells the contact. No answer is a refusal: the contact then releases.
    pub fn accept(
        &self,
        offer_id: OfferId,
        agent_id: AgentId,
        token: u64,
        epoch: Epoch,
        traceparent: String,
        contact: mpsc::Sender<Letter>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let client = self.agent_state.with_traceparent(&traceparent);
        let request = api::AcceptReservationRequest {
            command_id: String::new(),
            agent_id: agent_id.to_string(),
            offer_id: offer_id.to_string(),
            token,
            node_id: self.platform.node_id.to_string(),
            media_epoch: epoch.0,
        };
        async move {
            let answer = client.accept_reservation(request).await;
            if let Err(status) = &answer {
                info!(%offer_id, reason = status.message(), "the answer was not accepted");
            }
            let _ = contact.send(Letter::Accept { offer_id, granted: answer.is_ok() }).await;
        }
    }

    /// Tells agent-state that a reservation is over, again and again until it answers.
    pub fn release(
        &self,
        offer_id: OfferId,
        agent_id: AgentId,
        token: u64,
        outcome: ReleaseOutcome,
        epoch: Epoch,
        traceparent: String,
    ) {
        let client = self.agent_state.with_traceparent(&traceparent);
        let request = api::ReleaseReservationRequest {
            command_id: self.platform.mint.command().to_string(),
            agent_id: agent_id.to_string(),
            offer_id: offer_id.to_string(),
            token,
            outcome: outcome_on_wire(outcome) as i32,
            node_id: self.platform.node_id.to_string(),
            epoch: epoch.0,
        };
        tokio::spawn(async move {
            loop {
                match client.release_reservation(request.clone()).await {
                    Ok(_) => return,
                    Err(status) if undecided(&status) => tokio::time::sleep(RELEASE_PAUSE).await,
                    Err(status) => {
                        info!(%offer_id, reason = status.message(), "a release was refused");
                        return;
                    }
                }
            }
        });
    }
}

fn outcome_on_wire(outcome: ReleaseOutcome) -> api::ReservationOutcome {
    match outcome {
        ReleaseOutcome::Completed => api::ReservationOutcome::Completed,
        ReleaseOutcome::Declined => api::ReservationOutcome::Declined,
        ReleaseOutcome::Unanswered => api::ReservationOutcome::Unanswered,
        ReleaseOutcome::CallerGone => api::ReservationOutcome::CallerGone,
        ReleaseOutcome::Rescinded => api::ReservationOutcome::Rescinded,
        ReleaseOutcome::Expired => api::ReservationOutcome::Expired,
        ReleaseOutcome::Failed => api::ReservationOutcome::Failed,
        ReleaseOutcome::MediaLost => api::ReservationOutcome::MediaLost,
        ReleaseOutcome::SignedOut => api::ReservationOutcome::SignedOut,
    }
}

fn unavailable(request: &Message) -> Message {
    Message::response(request, 503, "trunkline").with("Retry-After", "5")
}

async fn forward(
    mut signals: mpsc::UnboundedReceiver<crate::sip::stack::ServerSignal>,
    contact: mpsc::Sender<Letter>,
) {
    while let Some(signal) = signals.recv().await {
        if contact.send(Letter::Invite(signal)).await.is_err() {
            return;
        }
    }
}

/// Tells a contact when its caller sent no audio for as long as the configuration allows.
async fn watch_audio(node: Arc<Node>, leg: LegHandle, contact: mpsc::Sender<Letter>) {
    let silence_max = Duration::from_millis(node.config.media_timeout_ms);
    let mut heard = 0;
    loop {
        tokio::time::sleep(silence_max).await;
        let Ok(stats) = node.plane.stats(leg).await else { return };
        if stats.rtp_received_count == heard {
            let _ = contact.send(Letter::MediaTimeout).await;
            return;
        }
        heard = stats.rtp_received_count;
    }
}
