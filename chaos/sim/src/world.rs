//! The world: a queue of events in virtual time, and everybody who acts when one of them is due.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use trunkline_domain::vocabulary::{AgentId, Cell, LogName, Millis, NodeId, Timestamp};
use trunkline_runtime::event_log::Verdict as Fence;

use crate::actors::Actors;
use crate::agenda::Agenda;
use crate::bug::Bug;
use crate::chance::Chance;
use crate::checker::{Checker, Violation};
use crate::clients::routed::{Node, Partition};
use crate::clients::{Asks, Media, Owner, Person};
use crate::directory::{Directory, definitions};
use crate::event_log::EventLog;
use crate::faults::{Fault, Mended};
use crate::message::{Address, Change, LogAsk, LogSaid, LogTold, LogWhat, Message};
use crate::net::Net;
use crate::tally::Tally;
use crate::trace::Trace;
use crate::turn::{Effect, Phase, Sight, Turn};
use crate::voter::disk::Disk;
use crate::voter::{TICK, Voter};

/// The cells there are.
pub(crate) const CELLS: [Cell; 2] = [Cell(0), Cell(1)];
/// Agents; every other one serves the same cell.
const AGENT_COUNT: u32 = 6;
/// Of each kind of process: of media nodes and of those that can own a cell, blind ones and real ones.
const PROCESS_COUNT: u32 = 2;
/// The cell whose owners and media nodes are blind; the other is the routed one.
const BLIND: Cell = Cell(1);
/// Between two ticks of all clients.
const CLIENT_TICK: Millis = Millis(100);
/// What can happen.
#[derive(Debug)]
pub(crate) enum Event {
    Deliver { from: Address, to: Address, message: Message },
    Tick { voter: u32, life: u32 },
    Synced { voter: u32, life: u32, through: u64 },
    Start { voter: u32 },
    Clients,
    Fault,
    Mended(Mended),
    Calm,
}

/// Everything there is.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) agenda: Agenda<Event>,
    pub(crate) chance: Chance,
    pub(crate) bug: Option<Bug>,
    pub(crate) net: Net,
    pub(crate) voters: BTreeMap<u32, Voter>,
    pub(crate) medias: Vec<Media>,
    pub(crate) owners: Vec<Owner>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) nodes: Vec<Node>,
    people: Vec<Person>,
    pub(crate) directory: Directory,
    pub(crate) logs: EventLog,
    pub(crate) sight: Sight,
    /// Who does nothing before a time.
    pub(crate) paused: BTreeMap<Address, Timestamp>,
    pub(crate) slow_disks: BTreeSet<u32>,
    /// A voter that lost its disk, and the one that replaces it.
    pub(crate) replaced: Option<(u32, u32)>,
    pub(crate) life_count: u32,
    pub(crate) phase_since: Timestamp,
    pub(crate) checker: Checker,
    pub(crate) tally: Tally,
    pub(crate) trace: Trace,
}

impl World {
    pub(crate) fn new(seed: u64, storm: Millis, bug: Option<Bug>, printed: bool) -> Self {
        let mut chance = Chance::new(seed);
        let voter_count = if chance.happens(300) { 5 } else { 3 };
        let members: BTreeSet<u32> = (1..=voter_count).collect();
        let snapshot_every = chance.between(20, 120) as u64;
        let voter = |id: u32| (id, Voter::new(id, Disk::founding(&members), snapshot_every));
        let agent_id = |number| AgentId::from_name(&format!("a{number}")).expect("a letter and a number");
        let agents: Vec<_> =
            (1..=AGENT_COUNT).map(|number| (agent_id(number), CELLS[number as usize % 2])).collect();
        let mut skews = (0..PROCESS_COUNT).map(|_| Millis(chance.between(-400, 400))).collect::<Vec<_>>();
        skews.sort_unstable();
        let named = |kind: char| (0..PROCESS_COUNT).map(move |number| node(&format!("{kind}{number}")));
        let owners = named('o').zip(&skews).map(|(id, skew)| Owner::new(id, BLIND, *skew)).collect();
        let partitions = named('r').zip(&skews).map(|(id, skew)| Partition::new(id, *skew)).collect();
        let medias = named('m').map(|id| Media::new(id, 0)).collect();
        let nodes = named('q').map(|id| Node::new(id, 0)).collect();
        let people = agents.iter().zip(1..).map(|((id, _), number)| Person::new(id.clone(), number));
        let mut world = Self {
            agenda: Agenda::new(),
            bug,
            net: Net::default(),
            voters: members.iter().copied().map(voter).collect(),
            medias,
            owners,
            partitions,
            nodes,
            people: people.collect(),
            directory: Directory::new(agents.clone(), Asks::new("dir".to_owned())),
            logs: EventLog::default(),
            sight: Sight {
                phase: Phase::Storm,
                voters: Vec::new(),
                directory: Rc::new(definitions(&agents)),
                agents,
                medias: Vec::new(),
                nodes: Vec::new(),
                waiting: Vec::new(),
                served: BTreeSet::new(),
            },
            paused: BTreeMap::new(),
            slow_disks: BTreeSet::new(),
            replaced: None,
            life_count: 0,
            phase_since: Timestamp(0),
            checker: Checker::new(members, bug),
            tally: Tally::default(),
            trace: Trace::new(printed),
            chance,
        };
        let now = world.agenda.now();
        for id in world.voters.keys().copied().collect::<Vec<_>>() {
            world.agenda.at(now, Event::Start { voter: id });
        }
        world.agenda.at(now, Event::Clients);
        world.agenda.at(now + Millis(2_500), Event::Fault);
        world.agenda.at(now + storm, Event::Calm);
        world
    }

    /// Runs until the end or the first broken promise.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        while !self.over() {
            let Some(event) = self.agenda.pop() else { break };
            self.happen(event)?;
        }
        self.end()
    }

    /// How long it took, in virtual time.
    pub(crate) fn elapsed(&self) -> Millis {
        self.agenda.now().since(crate::agenda::BEGINNING)
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        let now = self.agenda.now();
        let actor = match &event {
            Event::Deliver { to, .. } => Some(*to),
            Event::Tick { voter, .. } | Event::Synced { voter, .. } => Some(Address::Voter(*voter)),
            _ => None,
        };
        // Whoever is stopped finds everything when it goes on, in order.
        if let Some(until) = actor.and_then(|it| self.paused.get(&it)).filter(|until| now < **until) {
            self.agenda.at(*until, event);
            return Ok(());
        }
        self.trace.number(now.0 as u64 ^ self.agenda.count());
        match event {
            Event::Deliver { from, to, message } => self.deliver(from, to, message),
            Event::Tick { voter, life } => {
                if self.lives(voter, life) {
                    self.agenda.at(now + TICK, Event::Tick { voter, life });
                    return self.act(Address::Voter(voter), |world, turn| {
                        if let Some(it) = world.voters.get_mut(&voter) {
                            it.tick(turn);
                        }
                    });
                }
                Ok(())
            }
            Event::Synced { voter, life, through } => {
                if self.lives(voter, life) {
                    return self.act(Address::Voter(voter), |world, turn| {
                        if let Some(it) = world.voters.get_mut(&voter) {
                            it.synced(through, turn);
                        }
                    });
                }
                Ok(())
            }
            Event::Start { voter } => {
                self.start(voter);
                Ok(())
            }
            Event::Clients => self.clients(),
            Event::Fault => {
                self.storm();
                Ok(())
            }
            Event::Mended(mended) => {
                self.mend(mended);
                Ok(())
            }
            Event::Calm => {
                self.calm();
                Ok(())
            }
        }
    }

    fn lives(&self, voter: u32, life: u32) -> bool {
        self.voters.get(&voter).is_some_and(|it| it.up && it.life == life)
    }

    pub(crate) fn start(&mut self, id: u32) {
        let now = self.agenda.now();
        let Some(voter) = self.voters.get_mut(&id).filter(|it| !it.up) else { return };
        voter.start(now, &mut self.chance, self.bug);
        let life = voter.life;
        self.trace.say(now, format_args!("voter {id} starts"));
        self.agenda.at(now, Event::Tick { voter: id, life });
    }

    pub(crate) fn crash(&mut self, id: u32) {
        let now = self.agenda.now();
        let Some(voter) = self.voters.get_mut(&id).filter(|it| it.up) else { return };
        let lost = voter.crash(&mut self.chance);
        self.tally.many("writes lost by crashes", lost as u64);
        self.trace.say(now, format_args!("voter {id} crashes, {lost} writes lost"));
    }

    /// Gives somebody a turn and does what it asks for.
    fn act(
        &mut self,
        who: Address,
        turn: impl FnOnce(&mut Actors<'_>, &mut Turn<'_>),
    ) -> Result<(), Violation> {
        let mut given = Turn {
            now: self.agenda.now(),
            chance: &mut self.chance,
            bug: self.bug,
            sight: &self.sight,
            logs: &self.logs,
            effects: Vec::new(),
        };
        let mut actors = Actors {
            voters: &mut self.voters,
            medias: &mut self.medias,
            owners: &mut self.owners,
            partitions: &mut self.partitions,
            nodes: &mut self.nodes,
            people: &mut self.people,
            directory: &mut self.directory,
        };
        turn(&mut actors, &mut given);
        let effects = given.effects;
        for effect in effects {
            if matches!(effect, Effect::Die) {
                return self.die(who);
            }
            self.perform(who, effect)?;
        }
        Ok(())
    }

    /// Between append and reply.
    fn die(&mut self, who: Address) -> Result<(), Violation> {
        if let Address::Voter(id) = who {
            self.tally.one("fault crash between append and reply");
            self.crash(id);
            let back = self.agenda.now() + Millis(self.chance.between(200, 2_500));
            self.agenda.at(back, Event::Start { voter: id });
        }
        Ok(())
    }

    fn perform(&mut self, who: Address, effect: Effect) -> Result<(), Violation> {
        let now = self.agenda.now();
        match effect {
            Effect::Send { to, message } => self.send(who, to, message),
            Effect::Sync { through } => {
                let Address::Voter(voter) = who else { return Ok(()) };
                let slow = self.slow_disks.contains(&voter);
                let took = if slow { self.chance.between(150, 1_500) } else { self.chance.between(1, 7) };
                let Some(life) = self.voters.get(&voter).map(|it| it.life) else { return Ok(()) };
                self.agenda.at(now + Millis(took), Event::Synced { voter, life, through });
            }
            Effect::Die => {}
            Effect::Leads { term } => {
                self.tally.one("elections won");
                self.trace.say(now, format_args!("{who:?} leads in term {term}"));
            }
            Effect::Applied(applied) => {
                if let Address::Voter(voter) = who {
                    self.checker.applied(now, voter, &applied, &mut self.tally, &mut self.trace)?;
                }
            }
            Effect::Issued { command_id, action } => {
                self.tally.one("commands issued");
                self.checker.issued(now, command_id, action);
            }
            Effect::Acknowledged { command_id, reply } => {
                self.checker.acknowledged(now, &command_id, &reply)?
            }
            Effect::Bridged { contact_id, token } => {
                self.tally.one("calls connected");
                self.trace.say(now, format_args!("{contact_id} connected under {token}"));
                self.checker.bridged(&contact_id, token)?;
            }
            Effect::Served { agent_id } => {
                if self.sight.phase == Phase::Probe {
                    self.sight.served.insert(agent_id);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, from: Address, to: Address, message: Message) {
        let conn = match (&message, to) {
            (Message::Log(ask), Address::Log) => Some(ask.conn),
            _ => None,
        };
        let route = self.net.route(self.agenda.now(), from, to, conn, &mut self.chance);
        self.tally.one("messages sent");
        if let Some(at) = route.again_at {
            self.tally.one("messages doubled");
            self.agenda.at(at, Event::Deliver { from, to, message: message.clone() });
        }
        match route.at {
            Some(at) => self.agenda.at(at, Event::Deliver { from, to, message }),
            None => self.tally.one("messages lost"),
        }
    }

    fn deliver(&mut self, from: Address, to: Address, message: Message) -> Result<(), Violation> {
        match (to, message) {
            (Address::Voter(id), message) if self.voters.get(&id).is_some_and(|it| it.up) => {
                self.act(to, |world, turn| {
                    if let Some(it) = world.voters.get_mut(&id) {
                        it.hear(from, message, turn);
                    }
                })
            }
            (Address::Voter(_) | Address::Operator, _) => Ok(()),
            (Address::Log, Message::Log(ask)) => self.log_asked(from, ask),
            (Address::Log, _) => Ok(()),
            (_, message) => self.act(to, |world, turn| world.hear(from, to, message, turn)),
        }
    }

    fn log_asked(&mut self, from: Address, LogAsk { conn, what }: LogAsk) -> Result<(), Violation> {
        let what = match what {
            LogWhat::Append { cell, kept } => {
                let sequence = kept.record.sequence;
                let position = self.logs.append(cell, kept.clone());
                let verdict = self.checker.logged(cell, position, &kept)?;
                if verdict == Fence::Counts {
                    let (now, log, outcome) = (self.agenda.now(), kept.outcome.log(), &kept.outcome);
                    self.trace.say(now, format_args!("{log}/{cell} at {position}: {outcome}"));
                }
                self.tally.one(match verdict {
                    Fence::Counts => "records that count",
                    Fence::FenceRecord => "fence records",
                    Fence::Void { .. } => "records void: their owner was superseded",
                    Fence::Duplicate => "records there before",
                    Fence::Gap { .. } => "gaps",
                });
                LogSaid::Appended { cell, sequence, position }
            }
            LogWhat::Read { cell, through } => {
                LogSaid::Read { cell, records: self.logs.read(LogName::Agents, cell, through) }
            }
        };
        self.send(Address::Log, from, Message::Told(LogTold { conn, what }));
        Ok(())
    }

    fn clients(&mut self) -> Result<(), Violation> {
        let now = self.agenda.now();
        self.agenda.at(now + CLIENT_TICK, Event::Clients);
        self.look();
        self.turn_page();
        self.operate();
        let phase = self.sight.phase;
        self.checker.tick(now, phase, self.phase_since, &self.sight.agents, &self.sight.served)?;
        let people = (0..self.people.len()).map(|at| Address::Person(at as u32 + 1));
        let owners = (0..self.owners.len()).map(|at| Address::Owner(at as u32));
        let medias = (0..self.medias.len()).map(|at| Address::Media(at as u32));
        let partitions = (0..self.partitions.len()).map(|at| Address::Partition(at as u32));
        let nodes = (0..self.nodes.len()).map(|at| Address::Node(at as u32));
        let all = people.chain(owners).chain(medias).chain(partitions).chain(nodes);
        let all: Vec<Address> = all.chain([Address::Directory]).collect();
        for who in all {
            if self.paused.get(&who).is_none_or(|until| now >= *until) {
                self.act(who, |world, turn| world.tick(who, turn))?;
            }
        }
        Ok(())
    }

    /// What clients see.
    fn look(&mut self) {
        self.sight.voters = self.voters.keys().copied().collect();
        self.sight.medias = self.medias.iter().map(|it| it.node_id.clone()).collect();
        self.sight.nodes = self.nodes.iter().map(|it| it.node_id.clone()).collect();
        let waiting = self
            .medias
            .iter()
            .flat_map(|media| media.waiting().map(|contact_id| (contact_id.clone(), media.node_id.clone())));
        self.sight.waiting = waiting.collect();
    }

    /// The operator puts a new voter in the place of one that lost its disk.
    fn operate(&mut self) {
        let Some((lost, fresh)) = self.replaced else { return };
        let members = self.checker.members();
        let change = match (members.contains(&fresh), members.contains(&lost)) {
            (false, _) => Change::Add(fresh),
            (true, true) => Change::Remove(lost),
            (true, false) => {
                self.replaced = None;
                return;
            }
        };
        for id in self.voters.keys().copied().collect::<Vec<_>>() {
            self.send(Address::Operator, Address::Voter(id), Message::Change(change));
        }
    }

    pub(crate) fn inject(&mut self, fault: &Fault) {
        self.tally.one(fault.name());
        self.trace.say(self.agenda.now(), format_args!("{fault:?}"));
    }
}

/// A node's id from a short name.
pub(crate) fn node(name: &str) -> NodeId {
    NodeId::from_name(name).expect("letters, digits and dashes")
}
