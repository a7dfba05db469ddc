//! The bought part: rsipstack's transactions. Nothing else in the service names it, but its connection type in `tcp`.
//!
//! What it is used for: retransmission and absorption (RFC 3261 §17, RFC 6026). What it is kept from, and why, is in
//! ADR 0004. Messages cross by their bytes, so that its types go no further.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rsipstack::EndpointBuilder;
use rsipstack::sip::{Response, SipMessage};
use rsipstack::transaction::TransactionReceiver;
use rsipstack::transaction::endpoint::{Endpoint, EndpointOption};
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::transaction::{Transaction, TransactionEvent, TransactionEventSender};
use rsipstack::transport::udp::{UdpConnection, UdpInner};
use rsipstack::transport::{SipAddr, SipConnection, TransportLayer};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use trunkline_runtime::telemetry::Counter;

use super::door::response_address;
use super::fields::Via;
use super::message::{Message, Method};
use super::stack::{Peer, Respond, Responder, ServerSignal, ServerTransaction, Shared, Transport};

pub(super) struct Transactions {
    endpoint: Endpoint,
    udp: SipConnection,
}

impl Transactions {
    pub async fn start(
        udp: Arc<UdpSocket>,
        local: SocketAddr,
        token: CancellationToken,
    ) -> (Self, TransactionReceiver) {
        let address = SipAddr { r#type: Some(rsipstack::sip::Transport::Udp), addr: local.into() };
        let connection =
            UdpConnection::attach(UdpInner { conn: udp, addr: address }, None, Some(token.clone())).await;
        // The ACK of an agent's 2xx is ours to send: only behind the grant.
        let option = EndpointOption { auto_ack_2xx: false, ..EndpointOption::default() };
        let endpoint = EndpointBuilder::new()
            .with_user_agent("Trunkline")
            .with_transport_layer(TransportLayer::new(token.clone()))
            .with_cancel_token(token.clone())
            .with_option(option)
            .build();
        let incoming = endpoint.incoming_transactions();
        let timers = endpoint.inner.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = timers.process_timer() => {}
            }
        });
        let incoming = incoming.expect("the endpoint was made a line above, its receiver is still there");
        (Self { endpoint, udp: SipConnection::Udp(connection) }, incoming)
    }

    pub fn udp(&self) -> SipConnection {
        self.udp.clone()
    }

    pub fn count(&self) -> usize {
        self.endpoint.inner.transactions.len()
    }

    /// Transactions that are over and remembered for their retransmissions.
    pub fn finished_count(&self) -> usize {
        self.endpoint.inner.finished_transactions.len()
    }

    /// Turns new server transactions into ours.
    pub fn accept(
        &self,
        shared: &Arc<Shared>,
        mut incoming: TransactionReceiver,
    ) -> mpsc::UnboundedReceiver<ServerTransaction> {
        let (sender, requests) = mpsc::unbounded_channel();
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            loop {
                let transaction = tokio::select! {
                    biased;
                    () = shared.token.cancelled() => return,
                    transaction = incoming.recv() => transaction,
                };
                let Some(transaction) = transaction else { return };
                if serve(&shared, transaction).is_some_and(|ours| sender.send(ours).is_err()) {
                    return;
                }
            }
        });
        requests
    }

    /// Gives a message to its transaction; makes one for a new request. Returns an answer when the layer takes it for
    /// something it cannot read.
    pub async fn receive(&self, shared: &Arc<Shared>, message: Message, source: Peer) -> Option<Message> {
        let connection = match source.transport {
            Transport::Udp => self.udp(),
            Transport::Tcp => match super::tcp::flow(shared, source.address).await {
                Ok(flow) => flow.connection,
                Err(_) => return None,
            },
        };
        let role = if message.method().is_some() { TransactionRole::Server } else { TransactionRole::Client };
        let parsed = SipMessage::try_from(&message.to_bytes()[..]).ok().filter(|parsed| match parsed {
            SipMessage::Request(request) => TransactionKey::from_request(request, role).is_ok(),
            SipMessage::Response(response) => TransactionKey::from_response(response, role).is_ok(),
        });
        let Some(parsed) = parsed else {
            shared.count("not read by the transaction layer");
            let answered = message.method().is_some_and(|method| *method != Method::Ack);
            return answered.then(|| Message::response(&message, 400, "refused"));
        };
        let from = sip_addr(source);
        if let Err(error) = self.endpoint.inner.on_received_message(parsed, connection, &from).await {
            debug!(%error, "the transaction layer refused a message");
        }
        None
    }

    /// Sends a request; its responses come out of the receiver. Without a connection the response is a local 503.
    pub fn request(
        &self,
        request: &Message,
        target: Peer,
        connection: Option<SipConnection>,
    ) -> mpsc::UnboundedReceiver<Message> {
        let (sender, responses) = mpsc::unbounded_channel();
        let parsed = match (SipMessage::try_from(&request.to_bytes()[..]), connection) {
            (Ok(SipMessage::Request(parsed)), Some(connection)) => {
                TransactionKey::from_request(&parsed, TransactionRole::Client).ok().map(|key| {
                    Transaction::new_client(key, parsed, self.endpoint.inner.clone(), Some(connection))
                })
            }
            _ => None,
        };
        let Some(mut transaction) = parsed else {
            let _ = sender.send(local(request, 503));
            return responses;
        };
        transaction.destination = Some(sip_addr(target));
        let failed = local(request, 503);
        tokio::spawn(async move {
            if let Err(error) = transaction.send().await {
                debug!(%error, "could not send a request");
                let _ = sender.send(failed);
                return;
            }
            while let Some(message) = transaction.receive().await {
                let SipMessage::Response(response) = message else { continue };
                if let Some(response) = ours(&SipMessage::Response(response)) {
                    // Nobody may want the responses any more; the transaction still runs to its end.
                    let _ = sender.send(response);
                }
            }
        });
        responses
    }
}

/// A response we make ourselves because none can come: its To has no tag.
fn local(request: &Message, status: u16) -> Message {
    let mut response = Message::response(request, status, "local");
    for (name, value) in &mut response.headers {
        if name == "To" {
            *value = request.value("to").unwrap_or_default().to_owned();
        }
    }
    response
}

fn ours(message: &SipMessage) -> Option<Message> {
    Message::parse(&message.to_bytes()).ok()
}

fn sip_addr(peer: Peer) -> SipAddr {
    let transport = match peer.transport {
        Transport::Udp => rsipstack::sip::Transport::Udp,
        Transport::Tcp => rsipstack::sip::Transport::Tcp,
    };
    SipAddr { r#type: Some(transport), addr: peer.address.into() }
}

fn serve(shared: &Arc<Shared>, mut transaction: Transaction) -> Option<ServerTransaction> {
    let request = ours(&SipMessage::Request(transaction.original.clone()))?;
    let source = source_of(shared, &transaction, &request);
    if source.transport == Transport::Udp {
        let to = response_address(&request, source.address);
        transaction.destination = Some(sip_addr(Peer { address: to, ..source }));
    }
    let (signals, receiver) = mpsc::unbounded_channel();
    let pending = Arc::new(Pending {
        sender: transaction.tu_sender.clone(),
        request: request.clone(),
        answered: AtomicBool::new(false),
        unavailable: shared.refused("unavailable"),
    });
    let invite = request.method() == Some(&Method::Invite);
    tokio::spawn(async move {
        let mut acked = false;
        while let Some(message) = transaction.receive().await {
            let SipMessage::Request(request) = message else { continue };
            let signal = match request.method {
                rsipstack::sip::Method::Cancel => ServerSignal::Cancelled,
                rsipstack::sip::Method::Ack => {
                    acked = true;
                    let Some(ack) = ours(&SipMessage::Request(request)) else { continue };
                    ServerSignal::Acked(Box::new(ack))
                }
                _ => continue,
            };
            let _ = signals.send(signal);
        }
        let success = transaction.last_response.as_ref().is_some_and(|response| {
            response.status_code.kind() == rsipstack::sip::StatusCodeKind::Successful
        });
        if invite && success && !acked {
            let _ = signals.send(ServerSignal::NeverAcked);
        }
    });
    let responder = Responder(pending);
    Some(ServerTransaction { arrived_at: shared.clock.now(), request, source, responder, signals: receiver })
}

/// Where a request came from: the connection's other end, or over UDP what the door noted on the Via.
fn source_of(shared: &Shared, transaction: &Transaction, request: &Message) -> Peer {
    if let Some(SipConnection::Channel(channel)) = &transaction.connection {
        let address = channel.get_addr().get_socketaddr().unwrap_or(shared.local);
        return Peer { address, transport: Transport::Tcp };
    }
    let top = request.list("via").into_iter().next().unwrap_or_default();
    let via = Via::parse(&top);
    let param = |name| via.as_ref().and_then(|via| via.param(name));
    let ip = param("received").and_then(|ip| ip.parse().ok()).unwrap_or(shared.local.ip());
    let port = param("rport").and_then(|port| port.parse().ok()).or(via.as_ref().and_then(|via| via.port));
    Peer { address: SocketAddr::new(ip, port.unwrap_or(5060)), transport: Transport::Udp }
}

/// A request that waits for its final response.
struct Pending {
    sender: TransactionEventSender,
    request: Message,
    answered: AtomicBool,
    /// Counts the answer that there is no room, no lease or no time left.
    unavailable: Counter,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pending")
    }
}

impl Respond for Pending {
    fn respond(&self, response: Message) {
        let status = response.status().unwrap_or(500);
        if status >= 200 && self.answered.swap(true, Ordering::AcqRel) {
            return;
        }
        if status == 503 {
            self.unavailable.inc();
        }
        match Response::try_from(&response.to_bytes()[..]) {
            Ok(response) => {
                let _ = self.sender.send(TransactionEvent::Respond(response));
            }
            Err(error) => warn!(%error, status, "a response of ours was not read by the transaction layer"),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answered.load(Ordering::Acquire) && self.request.method() != Some(&Method::Ack) {
            self.respond(Message::response(&self.request, 500, "dropped"));
        }
    }
}
