//! A process that can own the routed cell: the real router, fed from the logs.
//!
//! What is absent: it decides nothing before it has read its own log up to its fence and the others to their ends; and
//! what stands behind an outcome waits until the outcome is in the log.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use trunkline_domain::agent_state::{Action, Done, Rejection, Wish};
use trunkline_domain::facts::{Outcome, ReleaseOutcome};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, OfferCommand, OfferRefusal, Output, ReleaseCommand, Router};
use trunkline_domain::vocabulary::{
    Cell, Channel, Epoch, LogName, Millis, NodeId, OfferId, Position, Timestamp,
};

use super::lane::Lane;
use super::{CELL, Reader};
use crate::bug::Bug;
use crate::clients::asks::Answered;
use crate::clients::{Asks, Lease};
use crate::message::{Address, Message, Outcomes, Routed};
use crate::turn::{Phase, Turn};
use crate::world::CELLS;

/// Between two times an offer is told to a media node that does not answer.
const TELL_AGAIN: Millis = Millis(300);

/// One process.
#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) node_id: NodeId,
    pub(crate) clock_ahead: Millis,
    asks: Asks,
    lease: Lease,
    tenure: Option<Tenure>,
}

/// The time in which it owns the cell.
#[derive(Debug)]
struct Tenure {
    epoch: Epoch,
    lane: Lane,
    /// None before its own log was read.
    router: Option<Router>,
    contacts: Reader,
    agents: BTreeMap<Cell, Reader>,
    outputs: VecDeque<Output>,
    /// The sequence of the last outcome; what follows waits for it.
    waits_for: u64,
    offers: BTreeMap<OfferId, (OfferCommand, Timestamp)>,
}

impl Partition {
    pub(crate) fn new(node_id: NodeId, clock_ahead: Millis) -> Self {
        let asks = Asks::new(node_id.as_str().trim_start_matches("nod_").to_owned());
        let lease = Lease::new(format!("routing/{CELL}"), node_id.clone(), String::new());
        Self { node_id, clock_ahead, asks, lease, tenure: None }
    }

    /// The router, while it owns the cell and has caught up.
    pub(crate) fn router(&self) -> Option<&Router> {
        self.tenure.as_ref().and_then(|it| it.router.as_ref())
    }

    /// Whether it has done everything its router asked for.
    pub(crate) fn idle(&self) -> bool {
        self.tenure
            .as_ref()
            .is_none_or(|it| it.outputs.is_empty() && it.offers.is_empty() && it.lane.all_durable())
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if turn.sight.phase == Phase::Quiet {
            return self.asks.forget();
        }
        self.asks.tick(turn);
        self.lease.tick(&mut self.asks, turn);
        let epoch = self.lease.epoch();
        if self.tenure.as_ref().map(|it| it.epoch) != epoch {
            // What an earlier tenure had under way belongs to nobody any more.
            self.tenure = epoch.map(|epoch| Tenure::begin(epoch, turn));
            self.asks.drop_those(|action| {
                matches!(action, Action::ReserveAgents { .. } | Action::ReleaseReservation { .. })
            });
        }
        self.step(Vec::new(), turn);
    }

    /// Reads what is new, decides, and does what was decided, as far as it may.
    fn step(&mut self, told: Vec<Input>, turn: &mut Turn<'_>) {
        let wall = turn.now + self.clock_ahead;
        let Some(tenure) = &mut self.tenure else { return };
        tenure.lane.tick(turn);
        if tenure.router.is_none() {
            let Some(opened_at) = tenure.lane.opened_at() else { return };
            tenure.catch_up(self.node_id.clone(), opened_at, wall, turn);
        }
        for input in told {
            tenure.handle(wall, input);
        }
        tenure.read(wall, turn);
        tenure.tell_again(wall, turn);
        while let Some(output) = tenure.next_output() {
            match output {
                Output::Append(outcome) => {
                    tenure.waits_for = tenure.lane.append(Outcomes::Routing(Rc::new(outcome)), turn);
                }
                Output::Reserve(wishes) => {
                    let wishes = wishes.into_iter().map(wish).collect();
                    let routing_epoch = tenure.epoch;
                    self.asks.ask(Action::ReserveAgents { cell: CELL, routing_epoch, wishes }, None, turn);
                }
                Output::Offer(command) => {
                    let again_at = turn.now + TELL_AGAIN;
                    tell(&command.node_id, Routed::Offer(command.clone()), turn);
                    tenure.offers.insert(command.offer_id.clone(), (command, again_at));
                }
                Output::Cancel(command) => tell(&command.node_id.clone(), Routed::Cancel(command), turn),
                Output::TurnAway(command) => tell(&command.node_id.clone(), Routed::TurnAway(command), turn),
                Output::Release(command) => {
                    let release = rescind(command, self.node_id.clone(), tenure.epoch);
                    self.asks.ask(release, None, turn);
                }
            }
        }
    }

    pub(crate) fn hear(&mut self, message: Message, turn: &mut Turn<'_>) {
        match message {
            Message::Told(told) => {
                if let Some(tenure) = &mut self.tenure {
                    tenure.lane.told(&told, turn);
                }
                self.step(Vec::new(), turn);
            }
            Message::Offered { offer_id, taken } => {
                let Some(tenure) = &mut self.tenure else { return };
                let Some((offer, _)) = tenure.offers.remove(&offer_id) else { return };
                let refusal = OfferRefusal::ContactGone;
                let input = if taken {
                    Input::OfferTaken { offer_id }
                } else {
                    Input::OfferRefused { offer, refusal }
                };
                self.step(vec![input], turn);
            }
            Message::Answer { command_id, answer } => {
                if let Some(answered) = self.asks.hear(command_id, answer, turn) {
                    self.answered(answered, turn);
                }
            }
            _ => {}
        }
    }

    fn answered(&mut self, answered: Answered, turn: &mut Turn<'_>) {
        self.lease.hear(&answered, turn);
        let Answered { action: Action::ReserveAgents { routing_epoch, wishes, .. }, reply, .. } = answered
        else {
            return;
        };
        if self.tenure.as_ref().is_none_or(|it| it.epoch != routing_epoch) {
            return;
        }
        let code = |why: Rejection| why.code().to_owned();
        let answers = match reply {
            Ok(Done::Reserved { answers }) => {
                answers.into_iter().map(|it| (it.offer_id, it.granted.map_err(code))).collect()
            }
            Ok(_) => Vec::new(),
            Err(why) => wishes.into_iter().map(|wish| (wish.offer_id, Err(code(why.clone())))).collect(),
        };
        self.step(vec![Input::ReservationsAnswered { answers }], turn);
    }
}

impl Tenure {
    fn begin(epoch: Epoch, turn: &mut Turn<'_>) -> Self {
        let fence = Outcomes::Routing(Rc::new(Outcome { epoch, consumed: Vec::new(), facts: Vec::new() }));
        Self {
            epoch,
            lane: Lane::open(CELL, format!("routing/{CELL}"), epoch, fence, turn),
            router: None,
            contacts: Reader::new(LogName::Contacts, CELL),
            agents: CELLS.into_iter().map(|cell| (cell, Reader::new(LogName::Agents, cell))).collect(),
            outputs: VecDeque::new(),
            waits_for: 0,
            offers: BTreeMap::new(),
        }
    }

    /// A new owner's reading, in the order the router asks for.
    fn catch_up(&mut self, owner: NodeId, opened_at: Position, wall: Timestamp, turn: &Turn<'_>) {
        self.router = Some(Router::new(CELL));
        let mut own = Reader::new(LogName::Routing, CELL);
        while let Some((_, kept)) = own.next(turn.logs, Some(opened_at)) {
            if let Outcomes::Routing(outcome) = &kept.outcome
                && !turn.has(Bug::TakeOverUnread)
            {
                self.handle(wall, Input::Own((**outcome).clone()));
            }
        }
        self.read_agents(wall, turn);
        let outcome = (*turn.sight.directory).clone();
        self.handle(wall, Input::Directory { position: Position(0), outcome });
        self.handle(wall, Input::Taken { owner, epoch: self.epoch });
        self.read_contacts(wall, turn);
        self.handle(wall, Input::CaughtUp);
    }

    fn read(&mut self, wall: Timestamp, turn: &Turn<'_>) {
        self.read_agents(wall, turn);
        self.read_contacts(wall, turn);
        let due = self.router.as_ref().and_then(Router::next_timeout).is_some_and(|at| at <= wall);
        if due {
            self.handle(wall, Input::Tick);
        }
    }

    fn read_agents(&mut self, wall: Timestamp, turn: &Turn<'_>) {
        for cell in CELLS {
            while let Some((position, kept)) =
                self.agents.get_mut(&cell).and_then(|reader| reader.next(turn.logs, None))
            {
                if let Outcomes::Agents(outcome) = &kept.outcome {
                    let outcome = (**outcome).clone();
                    self.handle(wall, Input::Agents { cell, position, outcome });
                }
            }
        }
    }

    fn read_contacts(&mut self, wall: Timestamp, turn: &Turn<'_>) {
        while let Some((position, kept)) = self.contacts.next(turn.logs, None) {
            if let Outcomes::Contacts(outcome) = &kept.outcome {
                let outcome = (**outcome).clone();
                self.handle(wall, Input::Contacts { position, outcome });
            }
        }
    }

    fn handle(&mut self, wall: Timestamp, input: Input) {
        let Some(router) = &mut self.router else { return };
        router.handle(wall, input);
        while let Some(output) = router.poll() {
            self.outputs.push_back(output);
        }
    }

    /// Offers whose node does not answer are told again until their deadline.
    fn tell_again(&mut self, wall: Timestamp, turn: &mut Turn<'_>) {
        let mut over = Vec::new();
        for (command, again_at) in self.offers.values_mut() {
            if command.expires_at <= wall {
                over.push(command.clone());
            } else if *again_at <= turn.now {
                *again_at = turn.now + TELL_AGAIN;
                tell(&command.node_id, Routed::Offer(command.clone()), turn);
            }
        }
        for offer in over {
            self.offers.remove(&offer.offer_id);
            let refusal = OfferRefusal::NodeUnreachable;
            self.handle(wall, Input::OfferRefused { offer, refusal });
        }
    }

    /// What can be done now: nothing overtakes the outcome it stands on.
    fn next_output(&mut self) -> Option<Output> {
        if self.lane.durable(self.waits_for) { self.outputs.pop_front() } else { None }
    }
}

/// Tells a media node something, wherever it is.
fn tell(node_id: &NodeId, routed: Routed, turn: &mut Turn<'_>) {
    if let Some(at) = turn.sight.nodes.iter().position(|it| it == node_id) {
        turn.send(Address::Node(at as u32), Message::Routed(Box::new(routed)));
    }
}

fn wish(wish: trunkline_domain::routing::Wish) -> Wish {
    let trunkline_domain::routing::Wish {
        offer_id,
        agent_id,
        contact_id,
        company_id,
        queue_id,
        node_id,
        expires_at,
    } = wish;
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

fn rescind(command: ReleaseCommand, node_id: NodeId, epoch: Epoch) -> Action {
    let ReleaseCommand { agent_id, offer_id, token } = command;
    let outcome = ReleaseOutcome::Rescinded;
    Action::ReleaseReservation { agent_id, offer_id, token, outcome, node_id, epoch }
}
