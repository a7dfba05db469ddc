//! The two sides of a contact on the wire: the caller's dialog, and the calls to agents' phones.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use trunkline_domain::vocabulary::{Millis, OfferId, Timestamp};

use crate::contact_task::Letter;
use crate::plane::{LegMedia, RemoteMedia};
use crate::shell::Node;
use crate::sip::dialog::Dialog;
use crate::sip::message::{Message, Method};
use crate::sip::stack::{Peer, Responder};
use crate::wire::Codec;
use crate::wire::sdp::{self, Agreed, Direction, Local};

/// The content type of a session description.
pub(crate) const SDP: &str = "application/sdp";

/// What we speak towards a caller; the order of the caller's offer decides.
pub(crate) const CODECS: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

/// One side's audio session: what we described, what was agreed.
pub(crate) struct Session {
    /// Its ports.
    pub media: LegMedia,
    /// The address in our descriptions.
    address: SocketAddr,
    id: u64,
    version: u64,
    codecs: Vec<Codec>,
    pub agreed: Option<Agreed>,
}

impl Session {
    pub fn new(media: LegMedia, advertised: IpAddr, id: u64, codecs: Vec<Codec>) -> Self {
        let address = SocketAddr::new(advertised, media.local.port());
        Self { media, address, id: id >> 2, version: 1, codecs, agreed: None }
    }

    fn local(&self) -> Local<'_> {
        Local {
            address: self.address,
            session_id: self.id,
            version: self.version,
            direction: Direction::SendRecv,
            codecs: &self.codecs,
        }
    }

    /// Our offer.
    pub fn offer(&self) -> String {
        sdp::offer(&self.local())
    }

    /// Our answer to an offer; `Err` when nothing in it can be served (488).
    pub fn answer(&mut self, offer: &[u8]) -> Result<String, ()> {
        let session = sdp::parse(offer).map_err(|_| ())?;
        if self.agreed.is_some() {
            self.version += 1;
        }
        let (text, agreed) = sdp::answer(&session, &self.local()).map_err(|_| ())?;
        self.agreed = Some(agreed);
        Ok(text)
    }

    /// Takes the answer to our offer.
    pub fn accept(&mut self, answer: &[u8]) -> Result<(), ()> {
        let session = sdp::parse(answer).map_err(|_| ())?;
        self.agreed = Some(sdp::accept(&session, &self.local()).map_err(|_| ())?);
        Ok(())
    }

    /// What the media plane has to know of the peer. While it holds us, nothing is sent to it.
    pub fn remote(&self) -> Option<RemoteMedia> {
        let agreed = self.agreed?;
        let mut address = agreed.remote;
        if agreed.held() {
            address.set_ip(match address {
                SocketAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
                SocketAddr::V6(_) => IpAddr::from([0u16; 8]),
            });
        }
        Some(RemoteMedia {
            address,
            codec: agreed.codec,
            payload_type: agreed.payload_type,
            telephone_event: agreed.telephone_event,
        })
    }
}

/// The caller's side.
pub(crate) struct CallerLeg {
    pub invite: Message,
    pub responder: Responder,
    pub to_tag: String,
    pub dialog: Option<Dialog>,
    pub session: Option<Session>,
    /// The body of our 200: an answer, or an offer when the INVITE had none.
    pub description: String,
    /// A final response was sent.
    pub answered: bool,
    /// The 2xx was acknowledged, or never will be.
    pub settled: bool,
    /// Our BYE waits for that (RFC 3261 §15).
    pub bye_waits: Option<Message>,
}

impl CallerLeg {
    /// A response to the INVITE with our tag and Contact.
    pub fn response(&self, node: &Node, status: u16) -> Message {
        let transport = self.dialog.as_ref().map_or(crate::sip::stack::Transport::Udp, |d| d.peer.transport);
        Message::response(&self.invite, status, &self.to_tag)
            .with("Contact", node.stack.contact("", transport))
            .with("Allow", crate::sip::door::ALLOW)
    }
}

/// An agent's side.
pub(crate) struct AgentLeg {
    pub session: Option<Session>,
    pub local_tag: String,
    pub call_id: String,
    pub dialog: Option<Dialog>,
    pub cseq: u32,
    /// Asks the call to end when it is not answered yet.
    pub cancel: CancellationToken,
    /// The INVITE's final response was dealt with.
    pub finished: bool,
    pub acked: bool,
}

/// What an agent's phone did.
pub(crate) enum AgentSignal {
    Alerting,
    /// It answered; the dialog is there, not acknowledged.
    Answered {
        dialog: Box<Dialog>,
        body: Vec<u8>,
    },
    Refused(u16),
    Unreachable,
    /// It was cancelled and is over.
    Gone,
}

/// How long a cancelled INVITE may stay without its final response: 64·T1, "the client … SHOULD consider the original
/// transaction cancelled" (RFC 3261 §9.1).
const CANCELLED_WAIT_MAX: Millis = Millis(64 * 500);

/// Calls an agent's phone until the final response, and reports to the contact. A 2xx behind a cancel is acknowledged and
/// ended here (RFC 3261 §9.1: "the UAC … SHOULD … send a BYE"); so is one the contact is no longer there to hear of.
pub(crate) async fn call_agent(
    node: Arc<Node>,
    invite: Message,
    device_uri: String,
    offer_id: OfferId,
    cancel: CancellationToken,
    contact: mpsc::Sender<Letter>,
) {
    let tell = async |signal: AgentSignal, at: Timestamp| {
        contact.send(Letter::Agent { offer_id: offer_id.clone(), signal, at }).await.is_ok()
    };
    let target = match node.stack.resolve(&device_uri).await {
        Ok(target) => target,
        Err(reason) => {
            tracing::info!(%offer_id, reason, "an agent's phone cannot be addressed");
            tell(AgentSignal::Unreachable, node.now()).await;
            return;
        }
    };
    if cancel.is_cancelled() {
        tell(AgentSignal::Gone, node.now()).await;
        return;
    }
    let mut call = node.stack.request(invite, target).await;
    let (mut alerted, mut provisional, mut cancelled) = (false, false, false);
    let mut silent_at = None;
    loop {
        let response = tokio::select! {
            biased;
            () = cancel.cancelled(), if !cancelled => {
                cancelled = true;
                silent_at = Some(node.now() + CANCELLED_WAIT_MAX);
                if provisional {
                    node.stack.cancel(&call.request, target).await;
                }
                continue;
            }
            response = call.responses.recv() => response,
            () = node.platform.clock.sleep_until(silent_at) => None,
        };
        let now = node.now();
        let Some(response) = response else {
            tell(if cancelled { AgentSignal::Gone } else { AgentSignal::Unreachable }, now).await;
            return;
        };
        match response.status().unwrap_or(500) {
            100..200 => {
                // RFC 3261 §9.1: no CANCEL before a provisional response.
                if !std::mem::replace(&mut provisional, true) && cancelled {
                    node.stack.cancel(&call.request, target).await;
                }
                if response.status() != Some(100) && !cancelled && !std::mem::replace(&mut alerted, true) {
                    tell(AgentSignal::Alerting, now).await;
                }
            }
            200..300 => {
                let Some(dialog) = Dialog::of_agent(&call.request, &response, target) else {
                    tell(AgentSignal::Unreachable, now).await;
                    return;
                };
                if cancelled {
                    end_late_answer(&node, &call.request, dialog).await;
                    tell(AgentSignal::Gone, now).await;
                    return;
                }
                let body = response.body.clone();
                if !tell(AgentSignal::Answered { dialog: Box::new(dialog.clone()), body }, now).await {
                    end_late_answer(&node, &call.request, dialog).await;
                }
                return;
            }
            status => {
                let local = response.to_tag().is_none() && matches!(status, 408 | 503);
                let signal = match status {
                    _ if cancelled => AgentSignal::Gone,
                    _ if local => AgentSignal::Unreachable,
                    status => AgentSignal::Refused(status),
                };
                tell(signal, now).await;
                return;
            }
        }
    }
}

async fn end_late_answer(node: &Node, invite: &Message, mut dialog: Dialog) {
    let cseq = invite.cseq().map_or(1, |cseq| cseq.number);
    let target = next_hop(node, &dialog).await;
    node.stack.acknowledge(dialog.ack(cseq), target).await;
    let bye = dialog.request(Method::Bye);
    node.stack.request(bye, target).await;
}

/// Where a dialog's next request goes. Over TCP the connection that is there is used.
pub(crate) async fn next_hop(node: &Node, dialog: &Dialog) -> Peer {
    if dialog.peer.transport == crate::sip::stack::Transport::Tcp {
        return dialog.peer;
    }
    node.stack.resolve(&dialog.next_hop()).await.unwrap_or(dialog.peer)
}
