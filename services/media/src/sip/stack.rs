//! The port to the network: what comes in passes the [`Door`] and reaches its transaction, what goes out gets a Via.
//!
//! One task reads the UDP socket, one each TCP connection; each hands a message to the transaction layer before it reads
//! the next, so a flood fills the kernel's buffers and not our memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use trunkline_domain::vocabulary::Timestamp;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::telemetry::{Counter, Telemetry, names};

use super::door::{Door, KEEPALIVE, Verdict, response_address};
use super::fields::Uri;
use super::message::{Message, Method};
use super::tcp;
use super::transactions::Transactions;
use crate::config::Network;

/// How long a 2xx may be retransmitted to us, and so how long its ACK is kept: 64·T1.
const ACK_KEPT_FOR: Duration = Duration::from_secs(32);

/// How many finished transactions may be remembered for each that may be open, before requests that begin no call are
/// answered 503: they are kept for 64·T1 to recognise retransmissions.
const FINISHED_FACTOR: usize = 10;

/// What the network is asked to be.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// Where to listen, UDP and TCP on the same port; port 0 for one of the system's choice.
    pub listen: SocketAddr,
    /// What peers are told to reach us at; the listening address when absent.
    pub advertised: Option<SocketAddr>,
    /// Transactions that may be open; a request beyond is answered 503.
    pub transaction_count_max: usize,
    /// TCP connections that may be open.
    pub connection_count_max: usize,
    /// Where an INVITE that begins a dialog may come from; every other one is answered 403.
    pub trunks: Vec<Network>,
}

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
}

/// Where a message came from or goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// How it is spoken with.
    pub transport: Transport,
}

/// A request that came in, with the transaction to answer it in.
#[derive(Debug)]
pub struct ServerTransaction {
    /// The request; its topmost Via says where it came from.
    pub request: Message,
    /// Who sent it.
    pub source: Peer,
    /// When it arrived.
    pub arrived_at: Timestamp,
    /// Answers it.
    pub responder: Responder,
    /// What happens to it afterwards.
    pub signals: mpsc::UnboundedReceiver<ServerSignal>,
}

/// What happens to a request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSignal {
    /// A CANCEL for it arrived and was answered; the request itself still needs its final response.
    Cancelled,
    /// Our final response was acknowledged, by this ACK.
    Acked(Box<Message>),
    /// Our 2xx was never acknowledged, in 64·T1.
    NeverAcked,
}

/// Answers one request. When the last clone goes without a final response, the request is answered 500.
#[derive(Debug, Clone)]
pub struct Responder(pub(super) Arc<dyn Respond>);

pub(super) trait Respond: Send + Sync + std::fmt::Debug {
    fn respond(&self, response: Message);
}

impl Responder {
    /// Sends a response. A 2xx to an INVITE is repeated until its ACK; a second final response is dropped.
    pub fn respond(&self, response: Message) {
        self.0.respond(response);
    }
}

/// A request that went out.
#[derive(Debug)]
pub struct ClientTransaction {
    /// The request as sent, Via included.
    pub request: Message,
    /// Where to.
    pub target: Peer,
    /// Its responses; the last one is final. A local failure comes as 408 or 503 without a To tag.
    pub responses: mpsc::UnboundedReceiver<Message>,
}

/// The port. Cheap to clone; the sockets close when its token is cancelled.
#[derive(Clone)]
pub struct Stack(Arc<Shared>);

pub(super) struct Shared {
    pub udp: Arc<UdpSocket>,
    pub local: SocketAddr,
    pub advertised: SocketAddr,
    pub clock: Clock,
    pub mint: Mint,
    pub token: CancellationToken,
    pub transactions: Transactions,
    pub flows: tcp::Flows,
    pub door: Mutex<Door>,
    telemetry: Telemetry,
    pub config: StackConfig,
    acks: Mutex<BTreeMap<String, (Message, Peer)>>,
    tag_salt: AtomicU64,
}

impl Stack {
    /// Binds both sockets and begins to read. Requests come out of the receiver, one a transaction.
    ///
    /// # Errors
    /// When no port can be bound for both UDP and TCP.
    pub async fn start(
        config: StackConfig,
        clock: Clock,
        mint: Mint,
        telemetry: Telemetry,
        token: CancellationToken,
    ) -> std::io::Result<(Self, mpsc::UnboundedReceiver<ServerTransaction>)> {
        let (udp, listener) = bind(config.listen).await?;
        let local = udp.local_addr()?;
        let advertised = match config.advertised {
            Some(mut advertised) => {
                if advertised.port() == 0 {
                    advertised.set_port(local.port());
                }
                advertised
            }
            None => local,
        };
        let udp = Arc::new(udp);
        let (transactions, incoming) = Transactions::start(Arc::clone(&udp), local, token.clone()).await;
        let tag_salt = AtomicU64::new(mint.random());
        let shared = Arc::new(Shared {
            udp,
            local,
            advertised,
            clock,
            mint,
            token,
            transactions,
            flows: tcp::Flows::default(),
            door: Mutex::default(),
            telemetry,
            config,
            acks: Mutex::default(),
            tag_salt,
        });
        let requests = shared.transactions.accept(&shared, incoming);
        tokio::spawn(read_udp(Arc::clone(&shared)));
        tokio::spawn(tcp::accept(Arc::clone(&shared), listener));
        Ok((Self(shared), requests))
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.0.local
    }

    /// What peers are told.
    pub fn advertised(&self) -> SocketAddr {
        self.0.advertised
    }

    /// How many transactions are open.
    pub fn transaction_count(&self) -> usize {
        self.0.transactions.count()
    }

    /// A tag or Call-ID nobody else has.
    pub fn unique(&self) -> String {
        let salt = self.0.tag_salt.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}{salt:x}", self.0.mint.random())
    }

    /// The value of a Contact of ours.
    pub fn contact(&self, user: &str, transport: Transport) -> String {
        let at = if user.is_empty() { "" } else { "@" };
        let suffix = if transport == Transport::Tcp { ";transport=tcp" } else { "" };
        format!("<sip:{user}{at}{}{suffix}>", self.0.advertised)
    }

    /// Sends a request in a transaction of its own. `request` has no Via yet.
    pub async fn request(&self, mut request: Message, target: Peer) -> ClientTransaction {
        self.stamp(&mut request, target.transport);
        self.send_transaction(request, target).await
    }

    /// Sends the CANCEL of an INVITE that went out (RFC 3261 §9.1).
    pub async fn cancel(&self, invite: &Message, target: Peer) -> ClientTransaction {
        let mut cancel = Message::request(Method::Cancel, invite.uri().unwrap_or_default());
        for name in ["Via", "Route", "Max-Forwards", "From", "To", "Call-ID"] {
            for value in invite.values(name) {
                cancel.push(name, value);
            }
        }
        let number = invite.cseq().map_or(0, |cseq| cseq.number);
        cancel.push("CSeq", format!("{number} CANCEL"));
        self.send_transaction(cancel, target).await
    }

    async fn send_transaction(&self, request: Message, target: Peer) -> ClientTransaction {
        let connection = self.0.connection(target).await;
        let responses = self.0.transactions.request(&request, target, connection);
        ClientTransaction { request, target, responses }
    }

    /// Acknowledges a 2xx, and again for each of its retransmissions.
    pub async fn acknowledge(&self, mut ack: Message, target: Peer) {
        self.stamp(&mut ack, target.transport);
        let key = ack_key(&ack);
        lock(&self.0.acks).insert(key.clone(), (ack.clone(), target));
        self.0.send(&ack, target).await;
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            tokio::select! {
                () = shared.token.cancelled() => {}
                () = tokio::time::sleep(ACK_KEPT_FOR) => {}
            }
            lock(&shared.acks).remove(&key);
        });
    }

    /// Where a URI is reached: its literal address, or what its name resolves to.
    ///
    /// # Errors
    /// When it is no SIP URI or its name is unknown.
    pub async fn resolve(&self, uri: &str) -> Result<Peer, String> {
        let uri = Uri::parse(uri).filter(|uri| uri.scheme == "sip").ok_or("not a sip: URI")?;
        let tcp = uri.param("transport").is_some_and(|transport| transport.eq_ignore_ascii_case("tcp"));
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let port = uri.port.unwrap_or(5060);
        if let Ok(ip) = uri.host.parse() {
            return Ok(Peer { address: SocketAddr::new(ip, port), transport });
        }
        let look_up = tokio::net::lookup_host((uri.host.as_str(), port));
        match tokio::time::timeout(Duration::from_secs(3), look_up).await {
            Ok(Ok(mut found)) => {
                found.next().map(|address| Peer { address, transport }).ok_or_else(|| "no address".to_owned())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the name was not resolved in 3 s".to_owned()),
        }
    }

    fn stamp(&self, request: &mut Message, transport: Transport) {
        let name = if transport == Transport::Tcp { "TCP" } else { "UDP" };
        let via = format!("SIP/2.0/{name} {};rport;branch=z9hG4bK{}", self.0.advertised, self.unique());
        request.headers.insert(0, ("Via".to_owned(), via));
        request.push("User-Agent", "Trunkline");
    }
}

fn ack_key(message: &Message) -> String {
    let tag = |tag: Option<String>| tag.unwrap_or_default();
    let cseq = message.cseq().map_or(0, |cseq| cseq.number);
    format!("{}\n{}\n{}\n{cseq}", message.call_id(), tag(message.from_tag()), tag(message.to_tag()))
}

impl Shared {
    /// Takes one message in. An answer that needs no transaction is returned.
    pub async fn take(self: &Arc<Self>, raw: &[u8], source: Peer) -> Option<Message> {
        let now = self.clock.now();
        let verdict = lock(&self.door).admit(raw, source.address, now);
        match verdict {
            Verdict::Pass(message) => {
                let invite_2xx = message.status().is_some_and(|status| (200..300).contains(&status))
                    && message.cseq().is_some_and(|cseq| cseq.method == Method::Invite);
                if invite_2xx {
                    let known = lock(&self.acks).get(&ack_key(&message)).cloned();
                    if let Some((ack, target)) = known {
                        self.acknowledge_again(&ack, target).await;
                        return None;
                    }
                }
                let invites = message.method() == Some(&Method::Invite);
                if invites && message.to_tag().is_none() && !self.of_a_trunk(source) {
                    // Without a transaction, so that strangers cannot fill the table.
                    self.count("invite from outside the trunks");
                    return Some(Message::response(&message, 403, "refused"));
                }
                let new =
                    !matches!(message.method(), None | Some(Method::Ack | Method::Cancel | Method::Bye));
                let count_max = self.config.transaction_count_max;
                let remembers_too_much =
                    !invites && self.transactions.finished_count() >= FINISHED_FACTOR * count_max;
                if new && (self.transactions.count() >= count_max || remembers_too_much) {
                    self.count("overloaded");
                    return Some(Message::response(&message, 503, "overloaded").with("Retry-After", "5"));
                }
                self.transactions.receive(self, message, source).await
            }
            Verdict::Answer(answer) => {
                self.count("answered at the door");
                Some(answer)
            }
            Verdict::Drop(KEEPALIVE) => None,
            Verdict::Drop(reason) => {
                self.count(reason);
                None
            }
        }
    }

    /// Whether a call may come from there.
    fn of_a_trunk(&self, source: Peer) -> bool {
        self.config.trunks.iter().any(|network| network.contains(source.address.ip()))
    }

    /// Never waits for a connection: whoever reads the socket calls this, and the peer says where to.
    async fn acknowledge_again(self: &Arc<Self>, ack: &Message, target: Peer) {
        match target.transport {
            Transport::Udp => self.send(ack, target).await,
            Transport::Tcp => {
                if let Some(flow) = self.flows.open(target.address) {
                    flow.write(ack.to_bytes());
                }
            }
        }
    }

    /// Counts a message that could not be taken.
    pub fn count(&self, reason: &'static str) {
        self.refused(reason).inc();
    }

    /// The messages that could not be taken for this reason.
    pub fn refused(&self, reason: &'static str) -> Counter {
        self.telemetry.counter(names::SIP_MESSAGES_REFUSED, &[("reason", reason)])
    }

    /// Sends a message outside any transaction.
    async fn send(self: &Arc<Self>, message: &Message, target: Peer) {
        let bytes = message.to_bytes();
        match target.transport {
            Transport::Udp => {
                if let Err(error) = self.udp.send_to(&bytes, target.address).await {
                    debug!(%error, "could not send a datagram");
                }
            }
            Transport::Tcp => match tcp::flow(self, target.address).await {
                Ok(flow) => flow.write(bytes),
                Err(error) => debug!(%error, "could not connect"),
            },
        }
    }

    async fn connection(self: &Arc<Self>, target: Peer) -> Option<rsipstack::transport::SipConnection> {
        match target.transport {
            Transport::Udp => Some(self.transactions.udp()),
            Transport::Tcp => tcp::flow(self, target.address).await.ok().map(|flow| flow.connection),
        }
    }
}

/// UDP and TCP on the same port. With port 0 a few pairs are tried: the other half may be taken.
async fn bind(listen: SocketAddr) -> std::io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = if listen.port() == 0 { 32 } else { 1 };
    loop {
        let listener = TcpListener::bind(listen).await?;
        match UdpSocket::bind(listener.local_addr()?).await {
            Ok(udp) => return Ok((udp, listener)),
            Err(error) if attempts <= 1 => return Err(error),
            Err(_) => attempts -= 1,
        }
    }
}

async fn read_udp(shared: Arc<Shared>) {
    let mut buffer = vec![0u8; 65_536];
    loop {
        let received = tokio::select! {
            biased;
            () = shared.token.cancelled() => return,
            received = shared.udp.recv_from(&mut buffer) => received,
        };
        let (len, address) = match received {
            Ok(received) => received,
            // An ICMP error of an earlier send; the socket itself is well.
            Err(error) => {
                debug!(%error, "could not receive a datagram");
                continue;
            }
        };
        if &buffer[..len] == b"\r\n\r\n" {
            // RFC 5626 §4.4.1: a ping is answered by a pong.
            let _ = shared.udp.send_to(b"\r\n", address).await;
            continue;
        }
        let source = Peer { address, transport: Transport::Udp };
        if let Some(answer) = shared.take(&buffer[..len], source).await {
            let to = response_address(&answer, address);
            if let Err(error) = shared.udp.send_to(&answer.to_bytes(), to).await {
                warn!(%error, "could not send a datagram");
            }
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is behind these locks is changed by single calls that leave it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
