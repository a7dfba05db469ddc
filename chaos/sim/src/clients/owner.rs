//! A blind routing owner: holds the lease of its partition, reserves agents for who waits, takes some back.
//!
//! It reads no log, on purpose: it asks for agents who are not ready and contacts that are gone, and it
//! goes on under its epoch for as long as its own clock lets it.

use trunkline_domain::agent_state::{Action, Done, Wish};
use trunkline_domain::facts::ReleaseOutcome;
use trunkline_domain::vocabulary::{
    AgentId, Cell, Channel, CompanyId, ContactId, Epoch, Millis, NodeId, OfferId, QueueId, Timestamp,
};

use super::asks::Answered;
use super::{Asks, Lease};
use crate::message::{Address, Message, Offer};
use crate::turn::{Phase, Turn};

/// For how long a turn's wishes are asked for.
const PATIENCE: Millis = Millis(3_000);

/// One process that can own a partition.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) node_id: NodeId,
    pub(crate) cell: Cell,
    pub(crate) clock_ahead: Millis,
    asks: Asks,
    lease: Lease,
    offer_count: u64,
    next_at: Timestamp,
    /// Offers that will be taken back.
    rescinds: Vec<(Timestamp, Offer)>,
}

impl Owner {
    pub(crate) fn new(node_id: NodeId, cell: Cell, clock_ahead: Millis) -> Self {
        let asks = Asks::new(node_id.as_str().trim_start_matches("nod_").to_owned());
        let lease = Lease::new(format!("routing/{cell}"), node_id.clone(), String::new());
        Self {
            node_id,
            cell,
            clock_ahead,
            asks,
            lease,
            offer_count: 0,
            next_at: Timestamp(0),
            rescinds: Vec::new(),
        }
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if turn.sight.phase == Phase::Quiet {
            return self.asks.forget();
        }
        self.asks.tick(turn);
        self.lease.tick(&mut self.asks, turn);
        if turn.sight.phase == Phase::Storm && turn.chance.happens(3) {
            self.lease.give_back(&mut self.asks, turn);
        }
        let Some(epoch) = self.lease.epoch() else { return };
        self.take_back(epoch, turn);
        if turn.now < self.next_at {
            return;
        }
        let wishes = match turn.sight.phase {
            Phase::Storm => self.wishes(epoch, turn),
            Phase::Probe => self.probe(epoch, turn),
            Phase::Calm | Phase::Quiet => Vec::new(),
        };
        self.next_at = turn.now + Millis(turn.chance.between(150, 700));
        if !wishes.is_empty() {
            let action = Action::ReserveAgents { cell: self.cell, routing_epoch: epoch, wishes };
            self.asks.ask(action, Some(PATIENCE), turn);
        }
    }

    /// One or two contacts for one or two agents, or one for all of them, chosen without looking closely.
    fn wishes(&mut self, epoch: Epoch, turn: &mut Turn<'_>) -> Vec<Wish> {
        let sight = turn.sight;
        let agents: Vec<&AgentId> =
            sight.agents.iter().filter(|(_, cell)| *cell == self.cell).map(|(id, _)| id).collect();
        let mut wishes = Vec::new();
        if turn.chance.happens(250)
            && let Some((contact_id, node_id)) = turn.chance.pick(&sight.waiting)
        {
            // It rings at everybody.
            let expires_at = turn.now + self.clock_ahead + Millis(turn.chance.between(800, 3_500));
            let channel = any_channel(turn);
            for agent_id in agents {
                let (agent_id, contact_id, node_id) = (agent_id.clone(), contact_id.clone(), node_id.clone());
                let wish = self.wish(epoch, agent_id, contact_id, node_id, expires_at);
                wishes.push(Wish { ring_many: true, channel, ..wish });
            }
            return wishes;
        }
        for _ in 0..turn.chance.between(1, 2) {
            let Some((contact_id, node_id)) = turn.chance.pick(&sight.waiting) else { break };
            let Some(agent_id) = turn.chance.pick(&agents) else { break };
            let expires_at = turn.now + self.clock_ahead + Millis(turn.chance.between(800, 3_500));
            let (agent_id, contact_id, node_id) = ((*agent_id).clone(), contact_id.clone(), node_id.clone());
            let wish = self.wish(epoch, agent_id, contact_id, node_id, expires_at);
            wishes.push(Wish { channel: any_channel(turn), ..wish });
        }
        wishes
    }

    /// A contact for each agent who has served none since the storm.
    fn probe(&mut self, epoch: Epoch, turn: &mut Turn<'_>) -> Vec<Wish> {
        let sight = turn.sight;
        let mut wishes = Vec::new();
        for (agent_id, cell) in &sight.agents {
            if *cell != self.cell || sight.served.contains(agent_id) {
                continue;
            }
            let Some(node_id) = turn.chance.pick(&sight.medias).cloned() else { break };
            let contact_id = ContactId::from_name(&format!("probe-{}-{}", epoch, self.offer_count))
                .expect("letters, digits and dashes");
            let expires_at = turn.now + self.clock_ahead + Millis(6_000);
            wishes.push(self.wish(epoch, agent_id.clone(), contact_id, node_id, expires_at));
        }
        wishes
    }

    fn wish(
        &mut self,
        epoch: Epoch,
        agent_id: AgentId,
        contact_id: ContactId,
        node_id: NodeId,
        expires_at: Timestamp,
    ) -> Wish {
        self.offer_count += 1;
        // As the real router names them: no two owners have the same epoch.
        let offer_id = OfferId::from_name(&format!("r{}-{epoch}-{}", self.cell, self.offer_count))
            .expect("a letter, digits and dashes");
        let company_id = CompanyId::from_name("acme").expect("letters");
        let queue_id = QueueId::from_name("main").expect("letters");
        Wish {
            offer_id,
            agent_id,
            contact_id,
            company_id,
            queue_id,
            node_id,
            expires_at,
            ring_many: false,
            channel: Channel::Voice,
        }
    }

    fn take_back(&mut self, epoch: Epoch, turn: &mut Turn<'_>) {
        let (due, later) = self.rescinds.drain(..).partition(|(at, _)| *at <= turn.now);
        self.rescinds = later;
        let due: Vec<(Timestamp, Offer)> = due;
        for (_, offer) in due {
            let release = Action::ReleaseReservation {
                agent_id: offer.agent_id,
                offer_id: offer.offer_id,
                token: offer.token,
                outcome: ReleaseOutcome::Rescinded,
                node_id: self.node_id.clone(),
                epoch,
            };
            self.asks.ask(release, Some(PATIENCE), turn);
        }
    }

    pub(crate) fn hear(&mut self, message: Message, turn: &mut Turn<'_>) {
        let Message::Answer { command_id, answer } = message else { return };
        let Some(answered) = self.asks.hear(command_id, answer, turn) else { return };
        self.lease.hear(&answered, turn);
        let Answered { action, reply, .. } = answered;
        if let (Action::ReserveAgents { wishes, .. }, Ok(Done::Reserved { answers })) = (action, reply) {
            for (wish, answer) in wishes.into_iter().zip(answers) {
                if let Ok(token) = answer.granted {
                    self.granted(wish, token, turn);
                }
            }
        }
    }

    fn granted(&mut self, wish: Wish, token: u64, turn: &mut Turn<'_>) {
        let Wish { offer_id, agent_id, contact_id, node_id, expires_at, .. } = wish;
        let offer = Offer { offer_id, agent_id, contact_id, token, expires_at };
        let at = turn.sight.medias.iter().position(|it| *it == node_id);
        if let Some(at) = at {
            turn.send(Address::Media(at as u32), Message::Offer(offer.clone()));
        }
        if turn.sight.phase == Phase::Storm && turn.chance.happens(150) {
            self.rescinds.push((turn.now + Millis(turn.chance.between(100, 1_500)), offer));
        }
    }
}

/// Calls as often as all the rest.
fn any_channel(turn: &mut Turn<'_>) -> Channel {
    let written = turn.chance.happens(500);
    let any = turn.chance.pick(&[Channel::Chat, Channel::Email]).copied();
    any.filter(|_| written).unwrap_or_default()
}
