//! A media node of the routed cell: the real contacts in a shell that can die between any two steps.

use std::collections::BTreeMap;
use std::rc::Rc;

use trunkline_domain::agent_state::{Action, Done};
use trunkline_domain::facts::{ContactFact, FlowOutReason, Outcome, Recorded, ReleaseOutcome};
use trunkline_domain::kernel::Projection;
use trunkline_domain::media::{Input, LiveContacts, Output, Phones};
use trunkline_domain::vocabulary::{
    AgentId, ContactId, Epoch, LogName, Millis, NodeId, OfferId, Position, Timestamp,
};

use super::calls::{Call, offered, record, terms};
use super::lane::Lane;
use super::{CELL, Reader};
use crate::bug::Bug;
use crate::clients::asks::Answered;
use crate::clients::{Asks, Lease};
use crate::message::{Address, Message, Outcomes, Routed};
use crate::turn::{Effect, Phase, Turn};

/// Callers on one node at once.
const CALL_COUNT_MAX: usize = 3;

/// One media node, in one life.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) node_id: NodeId,
    asks: Asks,
    lease: Lease,
    tenure: Option<Tenure>,
    call_count: u64,
}

/// The time in which it holds its lease.
#[derive(Debug)]
struct Tenure {
    epoch: Epoch,
    lane: Lane,
    /// Whether it has ended what it had lost.
    recovered: bool,
    calls: BTreeMap<ContactId, Call>,
    agents: Reader,
    phones: Phones,
}

impl Node {
    /// `life` makes the names of its commands and calls unique.
    pub(crate) fn new(node_id: NodeId, life: u32) -> Self {
        let name = node_id.as_str().trim_start_matches("nod_").to_owned();
        let lease = Lease::new(format!("media/{node_id}"), node_id.clone(), "10.0.0.1:1".to_owned());
        let asks = Asks::new(format!("{name}-{life}"));
        Self { node_id, asks, lease, tenure: None, call_count: u64::from(life) * 100_000 }
    }

    /// Whether nobody is on the line and everything is written down.
    pub(crate) fn idle(&self) -> bool {
        self.tenure.as_ref().is_some_and(|it| it.recovered && it.calls.is_empty() && it.lane.all_durable())
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if turn.sight.phase == Phase::Quiet {
            return self.asks.forget();
        }
        self.asks.tick(turn);
        self.lease.tick(&mut self.asks, turn);
        let epoch = self.lease.epoch();
        if self.tenure.as_ref().map(|it| it.epoch) != epoch {
            // Calls end with the ownership; the next one says so in the log, from what stands there.
            self.tenure = epoch.map(|epoch| Tenure::begin(&self.node_id, epoch, turn));
            self.asks.drop_those(|action| {
                matches!(action, Action::AcceptReservation { .. } | Action::ReleaseReservation { .. })
            });
        }
        let Some(tenure) = &mut self.tenure else { return };
        tenure.lane.tick(turn);
        tenure.read_agents(turn);
        if !tenure.recovered {
            let Some(opened_at) = tenure.lane.opened_at() else { return };
            let at = self.lease.previous_renewed_at;
            for (offer_id, held) in tenure.recover(&self.node_id, opened_at, at, turn) {
                let lost = ReleaseOutcome::MediaLost;
                let release = release(&self.node_id, tenure.epoch, offer_id, held.agent_id, held.token, lost);
                self.asks.ask(release, None, turn);
            }
        }
        self.callers_come(turn);
        self.step(turn);
    }

    fn callers_come(&mut self, turn: &mut Turn<'_>) {
        let Some(tenure) = self.tenure.as_mut().filter(|it| it.recovered) else { return };
        let (few, patience) = match turn.sight.phase {
            Phase::Storm => {
                let few = tenure.calls.len() < CALL_COUNT_MAX && turn.chance.happens(80);
                (few, Millis(turn.chance.between(1_500, 9_000)))
            }
            Phase::Probe => (tenure.calls.is_empty() && !turn.sight.all_served(CELL), Millis(15_000)),
            Phase::Calm | Phase::Quiet => return,
        };
        if few {
            self.call_count += 1;
            let name = self.node_id.as_str().trim_start_matches("nod_");
            let contact_id = ContactId::from_name(&format!("{name}-{}", self.call_count))
                .expect("letters, digits and dashes");
            let call = Call::invited(contact_id.clone(), self.node_id.clone(), turn.now, patience);
            tenure.calls.insert(contact_id, call);
        }
    }

    /// Does what the contacts ask for, as far as it may be done.
    fn step(&mut self, turn: &mut Turn<'_>) {
        let Some(tenure) = &mut self.tenure else { return };
        let done_waiting = turn.sight.phase == Phase::Calm
            || (turn.sight.phase == Phase::Probe && turn.sight.all_served(CELL));
        let ids: Vec<ContactId> = tenure.calls.keys().cloned().collect();
        for contact_id in ids {
            let Some(call) = tenure.calls.get_mut(&contact_id) else { continue };
            if done_waiting {
                call.hurry(turn.now);
            }
            call.tick(turn.now);
            while tenure.lane.durable(call.waits_for) {
                let Some(output) = call.outputs.pop_front() else { break };
                if output == Output::Closed {
                    tenure.calls.remove(&contact_id);
                    break;
                }
                let asked =
                    perform(&self.node_id, tenure.epoch, &mut tenure.lane, call, &contact_id, output, turn);
                if let Some(action) = asked {
                    self.asks.ask(action, None, turn);
                }
            }
        }
    }

    pub(crate) fn hear(&mut self, from: Address, message: Message, turn: &mut Turn<'_>) {
        match message {
            Message::Told(told) => {
                if let Some(tenure) = &mut self.tenure {
                    tenure.lane.told(&told, turn);
                }
                self.step(turn);
            }
            Message::Routed(routed) => self.routed(from, *routed, turn),
            Message::Answer { command_id, answer } => {
                if let Some(answered) = self.asks.hear(command_id, answer, turn) {
                    self.answered(answered, turn);
                }
            }
            _ => {}
        }
    }

    fn routed(&mut self, from: Address, routed: Routed, turn: &mut Turn<'_>) {
        let now = turn.now;
        let Some(tenure) = self.tenure.as_mut().filter(|it| it.recovered) else { return };
        match routed {
            Routed::Offer(command) => {
                let offer_id = command.offer_id.clone();
                let device = tenure.phones.to_call(&command.agent_id, now).map(|it| it.contact_uri.clone());
                let taken = match tenure.calls.get_mut(&command.contact_id) {
                    Some(call) => {
                        call.handle(now, offered(&command, device));
                        true
                    }
                    None => false,
                };
                turn.send(from, Message::Offered { offer_id, taken });
            }
            Routed::Cancel(command) => {
                if let Some(call) = tenure.calls.get_mut(&command.contact_id) {
                    call.handle(now, Input::CancelOffer { offer_id: command.offer_id });
                }
            }
            Routed::TurnAway(command) => {
                if let Some(call) = tenure.calls.get_mut(&command.contact_id) {
                    let (visit, reason) = (command.visit, FlowOutReason::QueueFull);
                    let input = match command.to_queue_id {
                        None => Input::TurnAway { visit, reason },
                        Some(queue_id) => Input::Overflow { visit, to: Box::new(terms(queue_id)) },
                    };
                    call.handle(now, input);
                }
            }
        }
        self.step(turn);
    }

    fn answered(&mut self, answered: Answered, turn: &mut Turn<'_>) {
        self.lease.hear(&answered, turn);
        let Answered { action, reply, .. } = answered;
        match action {
            Action::AcceptReservation { offer_id, media_epoch, .. } => {
                let Some(tenure) = self.tenure.as_mut().filter(|it| it.epoch == media_epoch) else { return };
                let of = |call: &&mut Call| call.offer.as_ref().is_some_and(|(id, _)| *id == offer_id);
                if let Some(call) = tenure.calls.values_mut().find(of) {
                    let input = match reply {
                        Ok(_) => Input::AcceptGranted { offer_id },
                        Err(_) => Input::AcceptRefused { offer_id },
                    };
                    call.handle(turn.now, input);
                }
                self.step(turn);
            }
            Action::ReleaseReservation { agent_id, outcome: ReleaseOutcome::Completed, .. }
                if reply == Ok(Done::Released { released: true }) =>
            {
                turn.effects.push(Effect::Served { agent_id });
            }
            _ => {}
        }
    }
}

/// Does one thing a contact asks for; gives what agent-state is to be asked.
fn perform(
    node_id: &NodeId,
    epoch: Epoch,
    lane: &mut Lane,
    call: &mut Call,
    contact_id: &ContactId,
    output: Output,
    turn: &mut Turn<'_>,
) -> Option<Action> {
    let (now, eager) = (turn.now, turn.sight.phase != Phase::Storm);
    match output {
        Output::Record { at, facts } => {
            let facts = call.recorded(at, now, facts);
            call.waits_for = lane.append(outcome(epoch, facts), turn);
        }
        Output::AnswerCaller => call.plan(now + Millis(50), Input::CallerAcked),
        Output::InviteAgent { offer_id, .. } => call.ring(now, &offer_id, eager, turn.chance),
        Output::RequestAccept { offer_id, agent_id, token } => {
            let (node_id, media_epoch) = (node_id.clone(), epoch);
            return Some(Action::AcceptReservation { agent_id, offer_id, token, node_id, media_epoch });
        }
        Output::Bridge { offer_id } => {
            call.talk(now, &offer_id, eager, turn.chance);
            let token = call.offer.as_ref().map_or(0, |(_, token)| *token);
            turn.effects.push(Effect::Bridged { contact_id: contact_id.clone(), token });
        }
        Output::Release { offer_id, agent_id, token, outcome } => {
            return Some(release(node_id, epoch, offer_id, agent_id, token, outcome));
        }
        // Sounds, and the other ends of dialogs: nobody here would notice.
        _ => {}
    }
    None
}

impl Tenure {
    fn begin(node_id: &NodeId, epoch: Epoch, turn: &mut Turn<'_>) -> Self {
        Self {
            epoch,
            lane: Lane::open(CELL, lane_of(node_id), epoch, outcome(epoch, Vec::new()), turn),
            recovered: false,
            calls: BTreeMap::new(),
            agents: Reader::new(LogName::Agents, CELL),
            phones: Phones::default(),
        }
    }

    fn read_agents(&mut self, turn: &Turn<'_>) {
        while let Some((_, kept)) = self.agents.next(turn.logs, None) {
            if let Outcomes::Agents(outcome) = &kept.outcome {
                outcome.facts.iter().for_each(|fact| self.phones.fold(fact));
            }
        }
    }

    /// Ends in the log what an earlier ownership left open; gives the reservations that were made for it.
    fn recover(
        &mut self,
        node_id: &NodeId,
        opened_at: Position,
        previous_renewed_at: Option<Timestamp>,
        turn: &mut Turn<'_>,
    ) -> Vec<(OfferId, trunkline_domain::media::Reservation)> {
        self.recovered = true;
        let (mut reader, mut live) = (Reader::new(LogName::Contacts, CELL), LiveContacts::default());
        while let Some((_, kept)) = reader.next(turn.logs, Some(opened_at)) {
            if let Outcomes::Contacts(outcome) = &kept.outcome
                && (kept.record.lane == lane_of(node_id) || turn.has(Bug::RecoverOthers))
            {
                outcome.facts.iter().for_each(|fact| live.fold(fact));
            }
        }
        if turn.has(Bug::NeverRecover) {
            return Vec::new();
        }
        for (contact_id, contact) in live.take() {
            let at = contact.lost_at(previous_renewed_at);
            let lost = contact.lost(&contact_id, at).into_iter().zip(contact.last_sequence + 1..);
            let facts = lost.map(|(fact, sequence)| record(fact, sequence, at, turn.now)).collect();
            self.lane.append(outcome(self.epoch, facts), turn);
        }
        self.phones.reservations_of(node_id)
    }
}

fn lane_of(node_id: &NodeId) -> String {
    format!("media/{node_id}")
}

fn outcome(epoch: Epoch, facts: Vec<Recorded<ContactFact>>) -> Outcomes {
    Outcomes::Contacts(Rc::new(Outcome { epoch, consumed: Vec::new(), facts }))
}

fn release(
    node_id: &NodeId,
    epoch: Epoch,
    offer_id: OfferId,
    agent_id: AgentId,
    token: u64,
    outcome: ReleaseOutcome,
) -> Action {
    Action::ReleaseReservation { agent_id, offer_id, token, outcome, node_id: node_id.clone(), epoch }
}
