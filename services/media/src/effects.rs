//! What a contact does on the wire and in the media plane.

use std::fmt::Write as _;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use trunkline_domain::media::Input;
use trunkline_domain::vocabulary::{AgentId, ContactEndCause, LegId, Millis, OfferId};

use crate::contact_task::ContactTask;
use crate::legs::{AgentLeg, CODECS, SDP, Session, call_agent, next_hop};
use crate::plane::PlaneError;
use crate::sip::message::{Message, Method};
use crate::sip::stack::Transport;
use crate::wire::Codec;

/// The caller.
impl ContactTask {
    pub(crate) fn answer_caller(&mut self) {
        self.caller.answered = true;
        let ok = self.caller.response(&self.node, 200).with_body(SDP, self.caller.description.clone());
        self.caller.responder.respond(ok);
        self.settle_remote();
    }

    pub(crate) fn refuse_caller(&mut self, status: u16, cause: ContactEndCause) {
        self.caller.answered = true;
        let mut refusal = self.caller.response(&self.node, status).with("Reason", reason(cause));
        if status == 503 {
            refusal.push("Retry-After", "5");
        }
        self.caller.responder.respond(refusal);
    }

    pub(crate) async fn bye_caller(&mut self, cause: ContactEndCause) {
        let Some(dialog) = &mut self.caller.dialog else { return };
        let bye = dialog.request(Method::Bye).with("Reason", reason(cause));
        if self.caller.settled {
            self.send_to_caller(bye).await;
        } else {
            // RFC 3261 §15: no BYE before the ACK, or the end of waiting for it.
            self.caller.bye_waits = Some(bye);
        }
    }

    /// Tells the plane where the caller is.
    fn settle_remote(&self) {
        if let Some((session, remote)) = self.caller.session.as_ref().and_then(|s| Some((s, s.remote()?))) {
            self.said(self.node.plane.set_remote(session.media.handle, remote), "address the caller");
        }
    }

    /// The ACK of a 200 that carried our offer holds the answer (RFC 3264 §5, delayed offer).
    pub(crate) fn take_late_answer(&mut self, ack: &Message) {
        let Some(session) = &mut self.caller.session else { return };
        if session.agreed.is_some() || ack.body.is_empty() {
            return;
        }
        match session.accept(&ack.body) {
            Ok(()) => self.settle_remote(),
            Err(()) => self.again.push_back(Input::CallerFailed),
        }
    }

    pub(crate) fn play(&mut self, prompt: &str) {
        let Some(session) = &self.caller.session else { return };
        if let Err(error) = self.node.plane.play(session.media.handle, prompt) {
            warn!(contact_id = %self.contact_id, prompt, %error, "a prompt could not be played");
            self.again.push_back(Input::PromptFinished { played_ms: Millis::ZERO });
        }
    }

    pub(crate) fn music(&mut self, class: &str) {
        let class = if class.is_empty() { "default" } else { class };
        if let Some(session) = &self.caller.session {
            self.said(self.node.plane.music(session.media.handle, class), "play music");
        }
    }

    /// A re-INVITE or UPDATE: our answer, and whether the peer now holds us.
    pub(crate) fn renegotiate(
        &mut self,
        request: &Message,
        offer_id: Option<&OfferId>,
    ) -> Result<(Option<String>, bool), u16> {
        let session = match offer_id {
            None => self.caller.session.as_mut(),
            Some(offer_id) => self.agents.get_mut(offer_id).and_then(|agent| agent.session.as_mut()),
        };
        let session = session.ok_or(488u16)?;
        let held = |session: &Session| session.agreed.is_some_and(|agreed| agreed.held());
        if request.body.is_empty() {
            let offers = request.method() == Some(&Method::Invite);
            return Ok((offers.then(|| session.offer()), held(session)));
        }
        let answer = session.answer(&request.body).map_err(|()| 488u16)?;
        let (handle, held) = (session.media.handle, held(session));
        if let Some(remote) = session.remote() {
            self.said(self.node.plane.set_remote(handle, remote), "address a party anew");
        }
        Ok((Some(answer), held))
    }
}

/// The agents.
impl ContactTask {
    pub(crate) fn invite_agent(
        &mut self,
        offer_id: OfferId,
        agent_id: &AgentId,
        leg_id: &LegId,
        device_uri: String,
    ) {
        let unreachable = Input::AgentUnreachable { offer_id: offer_id.clone() };
        let Some(caller) = &self.caller.session else { return self.again.push_back(unreachable) };
        let media = match self.node.plane.allocate_beside(caller.media.handle, self.node.rtp_ip) {
            Ok(media) => media,
            Err(error) => {
                warn!(%offer_id, %error, "no audio for an agent's leg");
                return self.again.push_back(unreachable);
            }
        };
        // The caller's codec first: two legs of one codec are relayed as they are.
        let first = caller.agreed.map_or(Codec::Pcmu, |agreed| agreed.codec);
        let codecs =
            std::iter::once(first).chain(CODECS.into_iter().filter(|codec| *codec != first)).collect();
        let session =
            Session::new(media, self.node.stack.advertised().ip(), self.node.platform.mint.random(), codecs);
        let (local_tag, call_id) = (self.node.stack.unique(), self.node.stack.unique());
        let tcp = device_uri.to_ascii_lowercase().contains(";transport=tcp");
        let transport = if tcp { Transport::Tcp } else { Transport::Udp };
        let user = self.caller_number.as_deref().unwrap_or("anonymous");
        let from =
            format!("\"{}\" <sip:{user}@{}>;tag={local_tag}", self.shown_as, self.node.stack.advertised());
        let invite = Message::request(Method::Invite, device_uri.clone())
            .with("Max-Forwards", "70")
            .with("From", from)
            .with("To", format!("<{device_uri}>"))
            .with("Call-ID", &call_id)
            .with("CSeq", "1 INVITE")
            .with("Contact", self.node.stack.contact("", transport))
            .with("Allow", crate::sip::door::ALLOW)
            .with("X-Trunkline-Contact", self.contact_id.as_str())
            .with("X-Trunkline-Offer", offer_id.as_str())
            .with_body(SDP, session.offer());
        debug!(%offer_id, %agent_id, %leg_id, "calling an agent's phone");
        self.node.expect(&call_id, &local_tag, self.outbox.clone());
        let cancel = CancellationToken::new();
        let call = call_agent(
            Arc::clone(&self.node),
            invite,
            device_uri,
            offer_id.clone(),
            cancel.clone(),
            self.outbox.clone(),
        );
        tokio::spawn(call);
        let agent = AgentLeg {
            session: Some(session),
            local_tag,
            call_id,
            dialog: None,
            cseq: 1,
            cancel,
            finished: false,
            acked: false,
        };
        self.agents.insert(offer_id, agent);
    }

    pub(crate) fn cancel_agent(&mut self, offer_id: &OfferId) {
        if let Some(agent) = self.agents.get_mut(offer_id) {
            agent.cancel.cancel();
        }
    }

    pub(crate) async fn ack_agent(&mut self, offer_id: &OfferId) {
        let Some(agent) = self.agents.get_mut(offer_id) else { return };
        let Some(dialog) = agent.dialog.as_ref().filter(|_| !agent.acked) else { return };
        agent.acked = true;
        let target = next_hop(&self.node, dialog).await;
        self.node.stack.acknowledge(dialog.ack(agent.cseq), target).await;
    }

    pub(crate) async fn bye_agent(&mut self, offer_id: &OfferId) {
        let Some(agent) = self.agents.get_mut(offer_id) else { return };
        if let Some(mut dialog) = agent.dialog.take() {
            let target = next_hop(&self.node, &dialog).await;
            self.node.stack.request(dialog.request(Method::Bye), target).await;
        }
        self.free_agent(offer_id).await;
    }

    /// The phone answered with a description we cannot use.
    pub(crate) async fn answered_in_vain(&mut self, offer_id: &OfferId) {
        self.ack_agent(offer_id).await;
        self.bye_agent(offer_id).await;
    }

    pub(crate) fn bridge(&mut self, offer_id: &OfferId) {
        let agent = self.agents.get(offer_id).and_then(|agent| agent.session.as_ref());
        let (Some(caller), Some(agent)) = (&self.caller.session, agent) else { return };
        if let Some(remote) = agent.remote() {
            self.said(self.node.plane.set_remote(agent.media.handle, remote), "address the agent");
        }
        self.said(self.node.plane.bridge(caller.media.handle, agent.media.handle), "bridge");
    }

    pub(crate) async fn free_agent(&mut self, offer_id: &OfferId) {
        let Some(agent) = self.agents.get_mut(offer_id) else { return };
        self.node.unexpect(&agent.call_id, &agent.local_tag);
        if let Some(session) = agent.session.take() {
            self.node.free(session.media.handle).await;
        }
    }

    /// Closes every port of the contact.
    pub(crate) async fn free(&mut self) {
        if let Some(session) = self.caller.session.take() {
            self.node.free(session.media.handle).await;
        }
        for offer_id in self.agents.keys().cloned().collect::<Vec<_>>() {
            self.free_agent(&offer_id).await;
        }
    }

    /// Logs what the plane could not do; the call goes on without it.
    pub(crate) fn said(&self, done: Result<(), PlaneError>, what: &str) {
        if let Err(error) = done {
            warn!(contact_id = %self.contact_id, what, %error, "the media plane refused");
        }
    }
}

/// RFC 3326.
fn reason(cause: ContactEndCause) -> String {
    let mut text = format!("Q.850;cause={}", cause.q850());
    let _ = write!(text, ";text=\"{}\"", cause.as_str());
    text
}
