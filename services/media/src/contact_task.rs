//! The owner of one contact: one task, one engine, effects in order, facts durable before what depends on them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, info, warn};
use trunkline_domain::facts::{ContactFact, FlowOutReason, Meta, Recorded};
use trunkline_domain::kernel::Engine;
use trunkline_domain::media::{Contact, Input, Invited, Offer, Output, QueueTerms, with_rtp_counts};
use trunkline_domain::vocabulary::{
    Cell, ContactEndCause, ContactId, EventId, Millis, OfferId, Party, Timestamp,
};

use crate::generation::Generation;
use crate::legs::{AgentLeg, AgentSignal, CallerLeg, SDP, next_hop};
use crate::shell::Node;
use crate::sip::message::{Message, Method};
use crate::sip::stack::{ServerSignal, ServerTransaction};
use crate::trace::Trace;

/// Letters that may wait for one contact; a request beyond is answered 500.
pub(crate) const INBOX_LEN_MAX: usize = 256;

/// What the world tells a contact.
pub(crate) enum Letter {
    /// A request inside one of its dialogs.
    Request(ServerTransaction),
    /// About the caller's INVITE.
    Invite(ServerSignal),
    /// From an agent's phone.
    Agent { offer_id: OfferId, signal: AgentSignal, at: Timestamp },
    /// A prompt is over.
    Played { played_ms: Millis },
    /// Routing proposes it; answered when it was taken up or refused.
    Offer { offer: Box<Offer>, traceparent: String, reply: oneshot::Sender<OfferReply> },
    /// Routing takes an offer back.
    CancelOffer { offer_id: OfferId, reply: oneshot::Sender<()> },
    /// Routing does not take it into its queue; answered when what follows from that is durable.
    TurnAway { visit: u32, reason: FlowOutReason, reply: oneshot::Sender<()> },
    /// The plan sends it to another queue.
    Overflow { visit: u32, to: Box<QueueTerms>, reply: oneshot::Sender<()> },
    /// Agent-state's answer.
    Accept { offer_id: OfferId, granted: bool },
    /// The caller was not heard for too long.
    MediaTimeout,
    /// The node's grace period ran out.
    Drain,
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfferReply {
    /// It was taken up; what becomes of it is a fact.
    Taken,
    /// The contact is over.
    Gone,
}

/// What it takes to begin.
pub(crate) struct Arrival {
    pub invited: Invited,
    pub cell: Cell,
    pub caller: CallerLeg,
    pub trace: Trace,
    pub at: Timestamp,
    /// `"Company: Queue"`, for the agent's phone.
    pub shown_as: String,
}

/// The task's state.
pub(crate) struct ContactTask {
    pub node: Arc<Node>,
    generation: Arc<Generation>,
    pub contact_id: ContactId,
    cell: Cell,
    engine: Contact,
    inbox: mpsc::Receiver<Letter>,
    pub outbox: mpsc::Sender<Letter>,
    pub caller: CallerLeg,
    pub caller_number: Option<String>,
    pub shown_as: String,
    pub agents: BTreeMap<OfferId, AgentLeg>,
    pub trace: Trace,
    /// Inputs that effects gave, for the next turn.
    pub again: VecDeque<Input>,
    sequence: u64,
    last_event_id: Option<EventId>,
    last_at: Timestamp,
    closed: bool,
    accepts_pending: u32,
}

/// Runs a contact to its end.
pub(crate) async fn run(
    node: Arc<Node>,
    generation: Arc<Generation>,
    arrival: Arrival,
    inbox: mpsc::Receiver<Letter>,
    outbox: mpsc::Sender<Letter>,
) {
    let contact_id = arrival.invited.contact_id.clone();
    info!(%contact_id, "contact arrived");
    let mut task = ContactTask {
        node,
        generation,
        contact_id,
        cell: arrival.cell,
        engine: Contact::default(),
        inbox,
        outbox,
        caller: arrival.caller,
        caller_number: arrival.invited.caller.as_ref().map(|number| number.reveal().to_owned()),
        shown_as: arrival.shown_as,
        agents: BTreeMap::new(),
        trace: arrival.trace,
        again: VecDeque::new(),
        sequence: 0,
        last_event_id: None,
        last_at: arrival.at,
        closed: false,
        accepts_pending: 0,
    };
    let first = Input::Invited(Box::new(arrival.invited));
    if task.live(arrival.at, first).await.is_err() {
        task.abort().await;
    }
    info!(contact_id = %task.contact_id, "contact over");
}

/// This node's ownership ended under the contact.
pub(crate) struct Fenced;

impl ContactTask {
    async fn live(&mut self, at: Timestamp, first: Input) -> Result<(), Fenced> {
        self.turn(at, first).await?;
        let ended = self.generation.ended.clone();
        while !self.finished() {
            tokio::select! {
                biased;
                () = ended.cancelled() => return Err(Fenced),
                Some(letter) = self.inbox.recv() => self.read(letter).await?,
                () = self.node.platform.clock.sleep_until(self.engine.next_timeout()) => {
                    self.turn(self.node.now(), Input::Tick).await?;
                }
            }
        }
        Ok(())
    }

    /// Over, and nothing of it is left on the wire that only this task can end.
    fn finished(&self) -> bool {
        self.closed
            && self.accepts_pending == 0
            && self.caller.bye_waits.is_none()
            && self.agents.values().all(|agent| agent.finished)
    }

    async fn read(&mut self, letter: Letter) -> Result<(), Fenced> {
        let now = self.node.now();
        match letter {
            Letter::Request(transaction) => self.request(transaction).await,
            Letter::Invite(signal) => self.invite_signal(signal).await,
            Letter::Agent { offer_id, signal, at } => self.agent_signal(offer_id, signal, at).await,
            Letter::Played { played_ms } => self.turn(now, Input::PromptFinished { played_ms }).await,
            Letter::Offer { offer, traceparent, reply } => {
                if !self.agents.contains_key(&offer.offer_id) {
                    self.trace.offered(&offer.offer_id, &traceparent);
                }
                let closed = self.closed;
                self.turn(now, Input::Offer(offer)).await?;
                let _ = reply.send(if closed { OfferReply::Gone } else { OfferReply::Taken });
                Ok(())
            }
            Letter::CancelOffer { offer_id, reply } => {
                self.turn(now, Input::CancelOffer { offer_id }).await?;
                let _ = reply.send(());
                Ok(())
            }
            Letter::TurnAway { visit, reason, reply } => {
                self.turn(now, Input::TurnAway { visit, reason }).await?;
                let _ = reply.send(());
                Ok(())
            }
            Letter::Overflow { visit, to, reply } => {
                self.turn(now, Input::Overflow { visit, to }).await?;
                let _ = reply.send(());
                Ok(())
            }
            Letter::Accept { offer_id, granted } => {
                self.accepts_pending -= 1;
                let input = match granted {
                    true => Input::AcceptGranted { offer_id },
                    false => Input::AcceptRefused { offer_id },
                };
                self.turn(now, input).await
            }
            Letter::MediaTimeout => self.turn(now, Input::MediaTimeout).await,
            Letter::Drain => self.turn(now, Input::Drain).await,
        }
    }

    /// One input, all its outputs, and the inputs those gave.
    pub async fn turn(&mut self, at: Timestamp, input: Input) -> Result<(), Fenced> {
        // A request waits in the inbox with the time it arrived: time within a contact never goes back.
        self.last_at = self.last_at.max(at);
        self.engine.handle(self.last_at, input);
        loop {
            while let Some(output) = self.engine.poll() {
                self.perform(output).await?;
            }
            let Some(input) = self.again.pop_front() else { return Ok(()) };
            self.last_at = self.last_at.max(self.node.now());
            self.engine.handle(self.last_at, input);
        }
    }

    async fn perform(&mut self, output: Output) -> Result<(), Fenced> {
        match output {
            Output::Record { at, facts } => return self.record(at, facts).await,
            Output::RingCaller => self.caller.responder.respond(self.caller.response(&self.node, 180)),
            Output::AnswerCaller => self.answer_caller(),
            Output::RefuseCaller { status, cause } => self.refuse_caller(status, cause),
            Output::ByeCaller { cause } => self.bye_caller(cause).await,
            Output::Play { prompt } => self.play(&prompt),
            Output::Music { class } => self.music(&class),
            Output::InviteAgent { offer_id, agent_id, leg_id, device_uri } => {
                self.invite_agent(offer_id, &agent_id, &leg_id, device_uri);
            }
            Output::CancelAgent { offer_id } => self.cancel_agent(&offer_id),
            Output::AckAgent { offer_id } => self.ack_agent(&offer_id).await,
            Output::ByeAgent { offer_id } => self.bye_agent(&offer_id).await,
            Output::RequestAccept { offer_id, agent_id, token } => {
                self.accepts_pending += 1;
                let traceparent = self.trace.accepting();
                let accept = self.node.accept(
                    offer_id,
                    agent_id,
                    token,
                    self.generation.epoch,
                    traceparent,
                    self.outbox.clone(),
                );
                tokio::spawn(accept);
            }
            Output::Bridge { offer_id } => self.bridge(&offer_id),
            Output::Unbridge => {
                if let Some(session) = &self.caller.session {
                    self.said(self.node.plane.unbridge(session.media.handle), "unbridge");
                }
            }
            Output::Release { offer_id, agent_id, token, outcome } => {
                let traceparent = self.trace.traceparent();
                let epoch = self.generation.epoch;
                self.node.release(offer_id, agent_id, token, outcome, epoch, traceparent);
            }
            Output::OfferRefused { offer_id } => debug!(%offer_id, "an offer came behind its contact's end"),
            Output::Closed => {
                self.closed = true;
                self.free().await;
                self.node.forget(&self.contact_id, self.caller.dialog.as_ref());
            }
        }
        Ok(())
    }

    /// Makes facts durable, with all that is known about them.
    async fn record(&mut self, at: Timestamp, facts: Vec<ContactFact>) -> Result<(), Fenced> {
        let ends = facts.iter().any(|fact| matches!(fact, ContactFact::ContactEnded { .. }));
        let facts = match (&self.caller.session, ends) {
            (Some(session), true) => match self.node.plane.stats(session.media.handle).await {
                Ok(stats) => with_rtp_counts(facts, stats.rtp_received_count, stats.rtp_sent_count),
                Err(error) => {
                    warn!(contact_id = %self.contact_id, %error, "a leg's counts are not known");
                    facts
                }
            },
            _ => facts,
        };
        let mut recorded = Vec::with_capacity(facts.len());
        for fact in facts {
            self.node.meter(&fact);
            self.sequence += 1;
            let event_id = crate::recovery::event_id(&self.contact_id, self.sequence);
            let meta = Meta {
                event_id: event_id.clone(),
                cell: self.cell,
                stream: self.contact_id.to_string(),
                sequence: self.sequence,
                occurred_at: at,
                recorded_at: self.node.now(),
                correlation_id: Some(self.contact_id.clone()),
                causation_id: self.last_event_id.replace(event_id),
                traceparent: self.trace.of(&fact),
            };
            recorded.push(Recorded { meta, fact });
        }
        self.generation.record(self.cell, recorded).await.map_err(|_| Fenced)
    }

    /// The caller's or an agent's request inside its dialog.
    async fn request(&mut self, transaction: ServerTransaction) -> Result<(), Fenced> {
        let ServerTransaction { request, source, arrived_at, responder, .. } = transaction;
        let side = self.side_of(&request);
        let answer = |status| Message::response(&request, status, "none");
        let Some((party, offer_id)) = side else {
            responder.respond(answer(481));
            return Ok(());
        };
        let dialog = match &offer_id {
            None => self.caller.dialog.as_mut(),
            Some(offer_id) => self.agents.get_mut(offer_id).and_then(|agent| agent.dialog.as_mut()),
        };
        if let Some(Err(status)) = dialog.map(|dialog| dialog.admit(&request)) {
            responder.respond(answer(status).with("Retry-After", "1"));
            return Ok(());
        }
        match request.method() {
            Some(Method::Bye) => {
                let input = match offer_id {
                    None => Input::CallerBye,
                    Some(offer_id) => {
                        if let Some(agent) = self.agents.get_mut(&offer_id) {
                            agent.dialog = None;
                        }
                        Input::AgentBye { offer_id }
                    }
                };
                // Acknowledged only behind its facts.
                let turned = self.turn(arrived_at, input).await;
                responder.respond(answer(200));
                turned
            }
            Some(Method::Invite | Method::Update) => {
                match self.renegotiate(&request, offer_id.as_ref()) {
                    Ok((body, held)) => {
                        let mut ok = answer(200)
                            .with("Contact", self.node.stack.contact("", source.transport))
                            .with("Allow", crate::sip::door::ALLOW);
                        if let Some(body) = body {
                            ok = ok.with_body(SDP, body);
                        }
                        self.turn(arrived_at, Input::Direction { by: party, held }).await?;
                        responder.respond(ok);
                    }
                    Err(status) => responder.respond(answer(status)),
                }
                Ok(())
            }
            Some(Method::Info | Method::Options) => {
                responder.respond(answer(200).with("Allow", crate::sip::door::ALLOW));
                Ok(())
            }
            _ => {
                responder.respond(answer(405).with("Allow", crate::sip::door::ALLOW));
                Ok(())
            }
        }
    }

    /// Whose dialog a request is in: the caller's, or the agent's of an offer.
    fn side_of(&self, request: &Message) -> Option<(Party, Option<OfferId>)> {
        if self.caller.dialog.as_ref().is_some_and(|dialog| dialog.matches(request)) {
            return Some((Party::Caller, None));
        }
        self.agents
            .iter()
            .find(|(_, agent)| agent.dialog.as_ref().is_some_and(|dialog| dialog.matches(request)))
            .map(|(offer_id, _)| (Party::Agent, Some(offer_id.clone())))
    }

    async fn invite_signal(&mut self, signal: ServerSignal) -> Result<(), Fenced> {
        let now = self.node.now();
        let input = match signal {
            ServerSignal::Cancelled => Input::CallerCancelled,
            ServerSignal::Acked(ack) => {
                self.caller.settled = true;
                self.take_late_answer(&ack);
                Input::CallerAcked
            }
            ServerSignal::NeverAcked => {
                self.caller.settled = true;
                Input::CallerFailed
            }
        };
        if let (true, Some(bye)) = (self.caller.settled, self.caller.bye_waits.take()) {
            self.send_to_caller(bye).await;
        }
        self.turn(now, input).await
    }

    async fn agent_signal(
        &mut self,
        offer_id: OfferId,
        signal: AgentSignal,
        at: Timestamp,
    ) -> Result<(), Fenced> {
        let Some(agent) = self.agents.get_mut(&offer_id) else { return Ok(()) };
        agent.finished = !matches!(signal, AgentSignal::Alerting);
        let input = match signal {
            AgentSignal::Alerting => Input::AgentAlerting { offer_id },
            AgentSignal::Answered { dialog, body } => {
                agent.dialog = Some(*dialog);
                if agent.session.as_mut().is_some_and(|session| session.accept(&body).is_err()) {
                    info!(%offer_id, "an agent's phone answered with nothing we can hear");
                    self.answered_in_vain(&offer_id).await;
                    self.turn(at, Input::AgentUnreachable { offer_id }).await?;
                    return Ok(());
                }
                Input::AgentAnswered { offer_id }
            }
            AgentSignal::Refused(status) => {
                self.free_agent(&offer_id).await;
                Input::AgentRefused { offer_id, status }
            }
            AgentSignal::Unreachable => {
                self.free_agent(&offer_id).await;
                Input::AgentUnreachable { offer_id }
            }
            AgentSignal::Gone => return Ok(()),
        };
        self.turn(at, input).await
    }

    /// A request of ours inside the caller's dialog.
    pub async fn send_to_caller(&self, request: Message) {
        if let Some(dialog) = &self.caller.dialog {
            let target = next_hop(&self.node, dialog).await;
            self.node.stack.request(request, target).await;
        }
    }

    /// Ends everything on the wire without a fact: another owner will record the end.
    async fn abort(&mut self) {
        warn!(contact_id = %self.contact_id, "contact cut off: this node's ownership ended");
        self.closed = true;
        if !self.caller.answered {
            self.refuse_caller(503, ContactEndCause::MediaLost);
        } else {
            self.caller.settled = true;
            self.bye_caller(ContactEndCause::MediaLost).await;
        }
        for offer_id in self.agents.keys().cloned().collect::<Vec<_>>() {
            self.cancel_agent(&offer_id);
            self.ack_agent(&offer_id).await;
            self.bye_agent(&offer_id).await;
        }
        self.free().await;
        self.node.forget(&self.contact_id, self.caller.dialog.as_ref());
    }
}
