//! One routing partition: who waits, who could serve, what is offered.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::agents::{Agents, HeldFor};
use super::book::Book;
use super::input::{Input, OfferCommand, OfferRefusal, Output, ReleaseCommand};
use super::nodes::Nodes;
use super::pending::Pending;
use super::pools::Pools;
use super::turn::Touched;
use crate::directory::Directory;
use crate::facts::{
    AgentFact, ContactFact, DirectoryFact, OfferEnd, OfferFailure, Outcome, Recorded, ReleaseOutcome,
    RoutingFact,
};
use crate::kernel::{Engine, Projection, StateHash, StateHasher, Timers};
use crate::vocabulary::{
    AgentId, Cell, ContactId, Epoch, EventId, InputPosition, LogName, Millis, NodeId, OfferId, Position,
    Timestamp,
};

/// How long after an offer's deadline it lapses when nothing was heard of it: time for the media node's word to arrive.
pub const LAPSE_AFTER: Millis = Millis(2_000);
/// How long an agent is kept back after a refusal, unless its log tells something new before.
pub(super) const AGENT_KEPT_BACK: Millis = Millis(1_000);
/// How long a contact is kept back when the refusal was about it, or when its media node could not be reached.
pub(super) const CONTACT_KEPT_BACK: Millis = Millis(500);
/// Records of an input log taken into account without a decision, before an outcome says so by itself.
const UNRECORDED_MAX: u64 = 1_024;

/// A routing partition. Its state is the product of four independent folds (own log, agents, directory, leases) and of
/// questions under way, which a restart forgets.
#[derive(Debug)]
pub struct Router {
    pub(super) cell: Cell,
    pub(super) now: Timestamp,
    pub(super) book: Book,
    pub(super) agents: Agents,
    pub(super) nodes: Nodes,
    pub(super) directory: Directory,
    /// The newest record of each input log taken into account.
    positions: BTreeMap<(LogName, Cell), Position>,
    /// The newest of the contacts log that an outcome of the own log names.
    recorded: Option<Position>,
    phase: Phase,
    /// The owner's epoch; zero before it is taken.
    pub(super) epoch: Epoch,
    /// Facts and offers named in this epoch.
    fact_count: u64,
    pub(super) offer_count: u64,
    /// Wishes put to agent-state and not answered.
    pub(super) pending: Pending,
    /// Who seeks and who is available, as of the last turn.
    pub(super) pools: Pools,
    /// What changed since.
    pub(super) touched: Touched,
    pub(super) timers: Timers<Timer>,
    /// Offers that were live when the partition was taken; empty once it has caught up.
    found_live: BTreeSet<OfferId>,
    /// Facts decided by the input under way.
    facts: Vec<Recorded<RoutingFact>>,
    /// What else it led to.
    pub(super) commands: Vec<Output>,
    outputs: VecDeque<Output>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Folds, decides nothing.
    Replaying,
    /// Owns the partition and records what contacts did; makes no offers yet.
    CatchingUp,
    /// Decides.
    Live,
}

/// What routing waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An offer of which nothing was heard.
    Lapse(OfferId),
    /// An agent who was refused.
    AgentKeptBack(AgentId),
    /// A contact that was refused.
    ContactKeptBack(ContactId),
    /// A contact that found its queue full, and has not ended.
    TurnedAway(ContactId),
    /// The next step of a waiting contact's plan begins.
    StepBegins(ContactId),
    /// A contact that its plan sends to another queue, and that is still here.
    Leaves(ContactId),
    /// Somebody who missed a contact may be offered it again.
    LookAgain(ContactId),
    /// The last registration of an agent's telephones runs out.
    Unreachable(AgentId),
    /// The directory in force changes.
    DirectoryChanges,
}

/// What a fact follows from.
#[derive(Clone)]
pub(super) struct Cause {
    pub event_id: Option<EventId>,
    pub traceparent: String,
}

impl Cause {
    pub(super) fn of(event_id: &EventId) -> Self {
        Self { event_id: Some(event_id.clone()), traceparent: String::new() }
    }

    pub(super) fn nothing() -> Self {
        Self { event_id: None, traceparent: String::new() }
    }
}

impl Router {
    /// A partition of which nothing is known yet.
    pub fn new(cell: Cell) -> Self {
        Self {
            cell,
            now: Timestamp(i64::MIN),
            book: Book::default(),
            agents: Agents::default(),
            nodes: Nodes::default(),
            directory: Directory::default(),
            positions: BTreeMap::new(),
            recorded: None,
            phase: Phase::Replaying,
            epoch: Epoch(0),
            fact_count: 0,
            offer_count: 0,
            pending: Pending::default(),
            pools: Pools::default(),
            touched: Touched::default(),
            timers: Timers::default(),
            found_live: BTreeSet::new(),
            facts: Vec::new(),
            commands: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Who waits and what is offered.
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// Who could serve.
    pub fn agents(&self) -> &Agents {
        &self.agents
    }

    /// The configuration.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The newest record of an input log taken into account.
    pub fn position(&self, log: LogName, cell: Cell) -> Option<Position> {
        self.positions.get(&(log, cell)).copied()
    }

    /// A digest of the folds: equal for a partition that lived and one that was replayed.
    pub fn state_hash(&self) -> StateHash {
        let mut hasher = StateHasher::new();
        self.book.hash_into(&mut hasher);
        self.agents.hash_into(&mut hasher);
        self.nodes.hash_into(&mut hasher);
        hasher.text(&self.directory.state_hash().to_string());
        hasher.finish()
    }

    /// Whether a record is news; if so it is taken note of.
    fn news(&mut self, log: LogName, cell: Cell, position: Position) -> bool {
        let last = self.positions.get(&(log, cell));
        let news = last.is_none_or(|last| *last < position);
        if news {
            self.positions.insert((log, cell), position);
        }
        news
    }

    fn own(&mut self, outcome: &Outcome<RoutingFact>) {
        outcome.facts.iter().for_each(|fact| self.book.fold(fact));
        for input in outcome.consumed.iter().filter(|input| input.log == LogName::Contacts) {
            self.news(input.log, input.cell, input.position);
            self.recorded = self.positions.get(&(LogName::Contacts, self.cell)).copied();
        }
    }

    fn taken(&mut self, owner: NodeId, epoch: Epoch) {
        self.phase = Phase::CatchingUp;
        self.epoch = epoch;
        self.found_live = self.book.offers().map(|(offer_id, _)| offer_id.clone()).collect();
        self.record(RoutingFact::PartitionTaken { owner, epoch }, Cause::nothing());
    }

    /// Decisions begin: every live offer is told to its node again, and holds that no offer stands behind are given back.
    fn caught_up(&mut self) {
        self.phase = Phase::Live;
        self.touched.directory = true;
        self.await_directory();
        let offers: Vec<OfferId> = self.book.offers().map(|(offer_id, _)| offer_id.clone()).collect();
        for offer_id in offers {
            self.settle_released(&offer_id);
            let Some(offer) = self.book.offer(&offer_id) else { continue };
            self.timers.set(Timer::Lapse(offer_id.clone()), offer.expires_at + LAPSE_AFTER);
            if offer.expires_at > self.now
                && let Some(command) = self.offer_command(&offer_id)
            {
                self.commands.push(Output::Offer(command));
            }
        }
        let held: Vec<AgentId> =
            self.agents.all().filter(|(_, view)| !view.held.is_empty()).map(|(id, _)| id.clone()).collect();
        held.iter().for_each(|agent_id| self.give_back_orphan(agent_id));
        self.found_live.clear();
        self.tell_all_turned_away();
        self.await_all_steps();
    }

    /// Whether it has caught up.
    pub(super) fn decides(&self) -> bool {
        self.phase == Phase::Live
    }

    fn agents_record(&mut self, cell: Cell, outcome: &Outcome<AgentFact>) {
        for fact in &outcome.facts {
            if self.nodes.fold(&fact.fact) {
                self.touch_contacts();
            }
            if cell != self.cell {
                continue;
            }
            self.agents.fold(fact);
            if let Some(agent_id) = fact.fact.agent_id() {
                self.touch_agent(agent_id);
                self.timers.cancel(&Timer::AgentKeptBack(agent_id.clone()));
            }
            if self.phase != Phase::Live {
                continue;
            }
            match &fact.fact {
                AgentFact::ReservationReleased { offer_id, .. } => self.settle_released(offer_id),
                AgentFact::AgentReserved { agent_id, .. } => self.give_back_orphan(agent_id),
                _ => {}
            }
        }
    }

    /// An offer whose reservation agent-state itself ended is over; with any other outcome the media node says so in the
    /// contacts log.
    fn settle_released(&mut self, offer_id: &OfferId) {
        let Some(offer) = self.book.offer(offer_id) else { return };
        let release = self.agents.get(&offer.agent_id).and_then(|agent| agent.last_release.as_ref());
        let ended_by_itself = release.is_some_and(|(released, outcome)| {
            released == offer_id && matches!(outcome, ReleaseOutcome::Expired | ReleaseOutcome::SignedOut)
        });
        if ended_by_itself {
            let cause = Cause::of(&offer.made_by);
            self.cancel(offer_id);
            self.end_offer(offer_id, OfferEnd::Lapsed, cause);
        }
    }

    /// A hold that an earlier owner asked for and never turned into an offer would keep agent and contact apart until its
    /// deadline.
    fn give_back_orphan(&mut self, agent_id: &AgentId) {
        for held in self.agents.get(agent_id).into_iter().flat_map(|agent| &agent.held) {
            let made = self.book.offer(&held.offer_id).is_some()
                || self.found_live.contains(&held.offer_id)
                || self.book.waiting(&held.contact_id).is_some_and(|waiting| {
                    waiting.missed.get(agent_id).is_some_and(|(offer_id, _)| *offer_id == held.offer_id)
                });
            if !made && !held.accepted() && held.routing_epoch < self.epoch {
                let (agent_id, offer_id, token) = (agent_id.clone(), held.offer_id.clone(), held.token);
                self.commands.push(Output::Release(ReleaseCommand { agent_id, offer_id, token }));
            }
        }
    }

    fn offer_refused(&mut self, offer: &OfferCommand, refusal: OfferRefusal) {
        // Whatever became of the offer meanwhile: the node will not release what it did not take.
        self.release(offer.agent_id.clone(), offer.offer_id.clone(), offer.token);
        let Some(made_by) = self.book.offer(&offer.offer_id).map(|offer| offer.made_by.clone()) else {
            return;
        };
        let failure = match refusal {
            OfferRefusal::ContactGone => OfferFailure::ContactGone,
            OfferRefusal::NodeUnreachable => OfferFailure::NodeLost,
        };
        self.end_offer(&offer.offer_id, OfferEnd::Failed(failure), Cause::of(&made_by));
        // The contacts log will tell that it has gone; until then, or until the node is back, asking again is in vain.
        self.timers.set(Timer::ContactKeptBack(offer.contact_id.clone()), self.now + CONTACT_KEPT_BACK);
        self.touch_contact(&offer.contact_id);
    }

    fn tick(&mut self) {
        while let Some((_, timer)) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Lapse(offer_id) => self.lapse(&offer_id),
                Timer::TurnedAway(contact_id) => self.tell_turned_away(&contact_id),
                Timer::DirectoryChanges => {
                    self.touched.directory = true;
                    self.await_directory();
                }
                Timer::AgentKeptBack(agent_id) | Timer::Unreachable(agent_id) => self.touch_agent(&agent_id),
                Timer::StepBegins(contact_id) => self.step_begins(&contact_id),
                Timer::Leaves(contact_id) => self.tell_to_leave(&contact_id),
                Timer::ContactKeptBack(contact_id) | Timer::LookAgain(contact_id) => {
                    self.touch_contact(&contact_id);
                }
            }
        }
    }

    /// A queue's or an agent's definition may begin to count at a time when nothing else happens.
    fn await_directory(&mut self) {
        if let Some(at) = self.directory.next_change_after(self.now) {
            self.timers.set(Timer::DirectoryChanges, at);
        }
    }

    fn lapse(&mut self, offer_id: &OfferId) {
        let Some(offer) = self.book.offer(offer_id) else { return };
        let held = self.agents.get(&offer.agent_id).and_then(|agent| agent.held_under(offer_id));
        if held.is_some_and(HeldFor::accepted) {
            // The agent answered: the contacts log will tell of the conversation, or of the node's end.
            self.timers.set(Timer::Lapse(offer_id.clone()), self.now + LAPSE_AFTER);
            return;
        }
        let (agent_id, token, cause) = (offer.agent_id.clone(), offer.token, Cause::of(&offer.made_by));
        self.cancel(offer_id);
        self.release(agent_id, offer_id.clone(), token);
        self.end_offer(offer_id, OfferEnd::Lapsed, cause);
    }

    /// Ends a live offer; one that is not live any more is left as it is.
    pub(super) fn end_offer(&mut self, offer_id: &OfferId, end: OfferEnd, cause: Cause) {
        let Some(offer) = self.book.offer(offer_id) else { return };
        let fact = RoutingFact::OfferEnded {
            contact_id: offer.contact_id.clone(),
            offer_id: offer_id.clone(),
            agent_id: offer.agent_id.clone(),
            end,
        };
        self.timers.cancel(&Timer::Lapse(offer_id.clone()));
        self.record(fact, cause);
    }

    /// Tells the node that a live offer is over.
    pub(super) fn cancel(&mut self, offer_id: &OfferId) {
        if let Some(command) = self.offer_command(offer_id) {
            self.commands.push(Output::Cancel(command));
        }
    }

    pub(super) fn release(&mut self, agent_id: AgentId, offer_id: OfferId, token: u64) {
        self.commands.push(Output::Release(ReleaseCommand { agent_id, offer_id, token }));
    }

    /// A live offer as its node is told; `None` while the node has no lease.
    pub(super) fn offer_command(&self, offer_id: &OfferId) -> Option<OfferCommand> {
        let offer = self.book.offer(offer_id)?;
        Some(OfferCommand {
            offer_id: offer_id.clone(),
            contact_id: offer.contact_id.clone(),
            agent_id: offer.agent_id.clone(),
            token: offer.token,
            visit: offer.visit,
            expires_at: offer.expires_at,
            node_id: offer.node_id.clone(),
            address: self.nodes.address(&offer.node_id)?.to_owned(),
        })
    }

    /// Writes a fact down: it is folded at once and appended with the others of this input.
    pub(super) fn record(&mut self, fact: RoutingFact, cause: Cause) {
        use crate::facts::{LogFact, Meta};
        self.fact_count += 1;
        let name = format!("r{}-{}-{}", self.cell, self.epoch, self.fact_count);
        let meta = Meta {
            event_id: EventId::from_name(&name)
                .expect("a letter, digits and dashes, under 60 of them, are an id"),
            cell: self.cell,
            stream: fact.stream(),
            sequence: self.book.next_sequence(&fact),
            occurred_at: self.now,
            recorded_at: self.now,
            correlation_id: fact.contact().cloned(),
            causation_id: cause.event_id,
            traceparent: cause.traceparent,
        };
        let recorded = Recorded { meta, fact };
        self.book.fold(&recorded);
        self.touch_those_of(&recorded.fact);
        self.await_step_of(&recorded.fact);
        self.facts.push(recorded);
    }

    /// Puts out what the input led to: first its facts, as one outcome, then what stands on them.
    fn conclude(&mut self) {
        let contacts = self.positions.get(&(LogName::Contacts, self.cell)).copied();
        let count = |at: Option<Position>| at.map_or(0, |at| at.0 + 1);
        let behind = count(contacts).saturating_sub(count(self.recorded));
        let owned = self.phase != Phase::Replaying;
        if owned && (!self.facts.is_empty() || behind >= UNRECORDED_MAX) {
            let consumed = self
                .positions
                .iter()
                .map(|((log, cell), position)| InputPosition { log: *log, cell: *cell, position: *position })
                .collect();
            let facts = std::mem::take(&mut self.facts);
            self.recorded = contacts;
            self.outputs.push_back(Output::Append(Outcome { epoch: self.epoch, consumed, facts }));
        }
        self.outputs.extend(self.commands.drain(..));
    }

    fn contacts_record(&mut self, outcome: &Outcome<ContactFact>) {
        outcome.facts.iter().for_each(|fact| self.contact_fact(fact));
    }

    fn directory_record(&mut self, outcome: &Outcome<DirectoryFact>) {
        outcome.facts.iter().for_each(|fact| self.directory.fold(fact));
        if self.phase == Phase::Live {
            self.touched.directory = true;
            self.await_directory();
        }
    }
}

impl Engine for Router {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Timestamp, input: Input) {
        // A wall clock may be set back; decisions are made in one order of time.
        self.now = self.now.max(now);
        match input {
            Input::Own(outcome) => self.own(&outcome),
            Input::Taken { owner, epoch } => self.taken(owner, epoch),
            Input::CaughtUp => self.caught_up(),
            Input::Contacts { position, outcome } => {
                if self.news(LogName::Contacts, self.cell, position) {
                    self.contacts_record(&outcome);
                }
            }
            Input::Agents { cell, position, outcome } => {
                if self.news(LogName::Agents, cell, position) {
                    self.agents_record(cell, &outcome);
                }
            }
            Input::Directory { position, outcome } => {
                if self.news(LogName::Directory, Cell(0), position) {
                    self.directory_record(&outcome);
                }
            }
            Input::ReservationsAnswered { answers } => self.answered(answers),
            // That it rings or not will be told by the contacts log.
            Input::OfferTaken { .. } => {}
            Input::OfferRefused { offer, refusal } => self.offer_refused(&offer, refusal),
            Input::Tick => {}
        }
        if self.phase == Phase::Live {
            self.tick();
            self.propose();
        }
        self.conclude();
    }

    fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn next_timeout(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Live => self.timers.next_timeout(),
            Phase::Replaying | Phase::CatchingUp => None,
        }
    }
}
