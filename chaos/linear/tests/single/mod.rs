//! Agent-state in one thread: the machine of the core behind the words of a history, and clients of it in made-up time.
#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BinaryHeap};

use trunkline_domain::agent_state::{
    self as core, Action, Command, Done, Machine, QueuePolicy, Rejection, Roster,
};
use trunkline_domain::facts::ReleaseOutcome;
use trunkline_domain::vocabulary::{
    AgentId, Cell, Channel, CommandId, DeviceId, Epoch, Millis, NodeId, QueueId, Timestamp,
};
use trunkline_linear::chance::Chance;
use trunkline_linear::history::{Fate, Index, Operation};
use trunkline_linear::model::*;
use trunkline_linear::workload::{Board, Width, Workload};

pub const FAR: i64 = 500_000;

/// The machine, asked one thing at a time.
#[derive(Clone)]
pub struct Single {
    pub machine: Machine,
    index: u64,
    routing_epoch: Epoch,
    media_epoch: Epoch,
}

fn agent_id(number: u32) -> AgentId {
    AgentId::from_name(&number.to_string()).unwrap()
}

fn named(prefix: &str, mark: Mark) -> String {
    format!("{prefix}{}", mark.0)
}

fn mark(prefix: &str, text: &str) -> Mark {
    Mark(text.strip_prefix(prefix).unwrap().parse().unwrap())
}

impl Single {
    pub fn new(agents: u32) -> Self {
        let (routing_epoch, media_epoch) = (Epoch(0), Epoch(0));
        let mut single = Self { machine: Machine::default(), index: 0, routing_epoch, media_epoch };
        let policy = QueuePolicy {
            wrap_up: Millis::from_secs(365 * 24 * 3600),
            miss_count_max: MISS_COUNT_MAX,
            ..QueuePolicy::default()
        };
        let roster = Roster {
            revision: 1,
            agents: (0..agents).map(|number| (agent_id(number), Cell(0))).collect(),
            queues: BTreeMap::from([(QueueId::parse("que_q").unwrap(), policy)]),
            reasons: BTreeMap::new(),
            channels: BTreeMap::new(),
        };
        single.apply(Action::DefineRoster(roster)).unwrap();
        single.apply(Action::RaiseFeatureLevel { level: core::FEATURE_LEVEL }).unwrap();
        for number in 0..agents {
            let device = core::Device {
                contact_uri: "sip:nobody@127.0.0.1".to_owned(),
                node_id: NodeId::parse("nod_m").unwrap(),
                expires_at: Timestamp(FAR),
            };
            let device_id = DeviceId::from_name(&number.to_string()).unwrap();
            single.apply(Action::RegisterDevice { agent_id: agent_id(number), device_id, device }).unwrap();
        }
        single.routing_epoch = single.take("routing/0");
        single.media_epoch = single.take("media/nod_m");
        single
    }

    fn take(&mut self, resource: &str) -> Epoch {
        match self.apply(acquire(resource, NodeId::parse("nod_m").unwrap())) {
            Ok(Done::LeaseAcquired { epoch, .. }) => epoch,
            other => panic!("{other:?}"),
        }
    }

    /// The next free index, which no command takes.
    pub fn skip(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    fn apply(&mut self, action: Action) -> core::Reply {
        self.index += 1;
        let command_id = CommandId::from_name(&self.index.to_string()).unwrap();
        // A millisecond a command: nothing that lasts minutes ends within a history.
        let proposed_at = Timestamp(self.index.cast_signed());
        self.machine.apply(
            self.index,
            1,
            Command { command_id, proposed_at, traceparent: String::new(), action },
        )
    }

    pub fn ask(&mut self, client: u32, key: Key, call: Call) -> (Reply, Option<Index>) {
        let action = match (key, call) {
            (Key::Agent(agent), Call::Agent(AgentCall::Read)) => {
                return (Reply::Seen(self.seen(agent)), Some(Index::Through(self.index)));
            }
            (Key::Agent(agent), Call::Agent(call)) => self.action_of_agent(agent, call),
            (Key::Lease(lease), Call::Lease(call)) => action_of_lease(client, lease, call),
            other => panic!("{other:?}"),
        };
        let reply = self.apply(action);
        let index = matches!(reply, Ok(Done::LeaseAcquired { .. })).then_some(Index::Entry(self.index));
        (translated(reply), index)
    }

    fn action_of_agent(&self, agent: u32, call: AgentCall) -> Action {
        let (agent_id, node_id) = (agent_id(agent), NodeId::parse("nod_m").unwrap());
        let said = core::Said::default();
        match call {
            AgentCall::SignIn { session } => Action::SignIn {
                agent_id,
                session_id: named("ses_", session).parse().unwrap(),
                site_id: None,
                lease: Millis::ZERO,
            },
            AgentCall::SignOut => Action::SignOut { agent_id, reason: String::new(), said },
            AgentCall::GoReady => Action::GoReady { agent_id, said },
            AgentCall::GoNotReady { reason } => {
                let (reason, duration) = (named("r", reason), Millis::ZERO);
                Action::GoNotReady { agent_id, reason, duration, said }
            }
            AgentCall::FinishWrapUp => Action::FinishWrapUp { agent_id, offer_id: None, code: String::new() },
            AgentCall::Reserve { offer } => {
                let wish = core::Wish {
                    offer_id: named("ofr_", offer).parse().unwrap(),
                    agent_id,
                    contact_id: named("ctc_", offer).parse().unwrap(),
                    company_id: "cmp_c".parse().unwrap(),
                    queue_id: "que_q".parse().unwrap(),
                    node_id,
                    expires_at: Timestamp(FAR),
                    ring_many: false,
                    channel: Channel::Voice,
                };
                Action::ReserveAgents { cell: Cell(0), routing_epoch: self.routing_epoch, wishes: vec![wish] }
            }
            AgentCall::Accept { offer, token } => {
                let offer_id = named("ofr_", offer).parse().unwrap();
                Action::AcceptReservation {
                    agent_id,
                    offer_id,
                    token,
                    node_id,
                    media_epoch: self.media_epoch,
                }
            }
            AgentCall::Release { offer, token, ending } => {
                let outcome = match ending {
                    Ending::Completed => ReleaseOutcome::Completed,
                    Ending::Declined => ReleaseOutcome::Declined,
                    Ending::Unanswered => ReleaseOutcome::Unanswered,
                    Ending::CallerGone => ReleaseOutcome::CallerGone,
                    Ending::Rescinded => ReleaseOutcome::Rescinded,
                    Ending::MediaLost => ReleaseOutcome::MediaLost,
                };
                let rescinded = ending == Ending::Rescinded;
                let epoch = if rescinded { self.routing_epoch } else { self.media_epoch };
                let offer_id = named("ofr_", offer).parse().unwrap();
                Action::ReleaseReservation { agent_id, offer_id, token, outcome, node_id, epoch }
            }
            AgentCall::Read => panic!("a read is no command"),
        }
    }

    fn seen(&self, agent: u32) -> Seen {
        let Some(agent) = self.machine.state().agents.get(&agent_id(agent)) else {
            return Seen { activity: Activity::SignedOut, reason: None, session: None, contact: None };
        };
        let activity = match agent.activity() {
            core::Activity::SignedOut => Activity::SignedOut,
            core::Activity::NotReady => Activity::NotReady,
            core::Activity::Ready => Activity::Ready,
            core::Activity::Reserved => Activity::Reserved,
            core::Activity::Talking => Activity::Talking,
            core::Activity::WrapUp => Activity::WrapUp,
        };
        let reason = match (&agent.session, &agent.presence) {
            (Some(_), core::Presence::NotReady { reason, .. }) => Some(match reason.as_str() {
                core::REASON_SIGNED_IN => Reason::SignedIn,
                core::REASON_MISSED => Reason::Missed,
                said => Reason::Said(mark("r", said)),
            }),
            _ => None,
        };
        let contact = agent.slots.first().map(core::Slot::contact_id);
        Seen {
            activity,
            reason,
            session: agent.session.as_ref().map(|it| mark("ses_", it.session_id.as_str())),
            contact: contact.map(|it| mark("ctc_", it.as_str())),
        }
    }
}

fn acquire(resource: &str, holder: NodeId) -> Action {
    let (resource, address) = (resource.to_owned(), String::new());
    Action::AcquireLease { resource, holder, ttl: Millis::from_secs(300), address }
}

fn action_of_lease(client: u32, lease: u32, call: LeaseCall) -> Action {
    let holder = NodeId::from_name(&client.to_string()).unwrap();
    let resource = format!("linear/l-{lease}");
    match call {
        LeaseCall::Acquire => acquire(&resource, holder),
        LeaseCall::Renew { epoch } => {
            Action::RenewLease { resource, holder, epoch: Epoch(epoch), ttl: Millis::from_secs(300) }
        }
        LeaseCall::Release { epoch } => Action::ReleaseLease { resource, holder, epoch: Epoch(epoch) },
    }
}

fn translated(reply: core::Reply) -> Reply {
    match reply {
        Ok(Done::SignedIn { session_id, .. } | Done::SignedOut { session_id }) => {
            Reply::Session(mark("ses_", session_id.as_str()))
        }
        Ok(Done::Reserved { answers }) => match &answers[0].granted {
            Ok(token) => Reply::Token(*token),
            Err(rejection) => Reply::Refused(rejection.code().to_owned()),
        },
        Ok(Done::Released { released }) => Reply::Released(released),
        Ok(Done::LeaseAcquired { epoch, .. }) => Reply::Epoch(epoch.0),
        Ok(_) => Reply::Done,
        Err(Rejection::LeaseHeld { holder, .. }) => {
            Reply::HeldBy(holder.as_str().strip_prefix("nod_").unwrap().parse().unwrap())
        }
        Err(rejection) => Reply::Refused(rejection.code().to_owned()),
    }
}

/// What is wrong with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// A read may be answered by a voter that is behind.
    StaleRead,
    /// What was acknowledged may be forgotten.
    LostWrite,
    /// What somebody has may be granted to somebody else.
    DoubleGrant,
}

/// A history of clients that wait, think and give up, and the keys where the group went wrong.
pub struct Made {
    pub history: Vec<Op>,
    pub flawed: Vec<Key>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Call(u32),
    Effect(usize),
    Return(usize),
}

/// Makes a history of so many operations by clients of one machine, in virtual ns. One command in forty stays without an
/// answer: half of those take effect, some of them long after.
pub fn make(seed: u64, width: Width, operations: usize, flaw: Flaw) -> Made {
    let mut chance = Chance::new(seed, 0);
    let mut single = Single::new(width.agents);
    let mut behind = single.clone();
    let board = Board::new(width.agents);
    let mut workloads: Vec<Workload> = (0..width.clients).map(|it| Workload::new(it, width, seed)).collect();
    let mut made = Made { history: Vec::new(), flawed: Vec::new() };
    let mut replies: BTreeMap<usize, (Reply, Option<Index>)> = BTreeMap::new();
    let mut events = BinaryHeap::new();
    let push = |events: &mut BinaryHeap<_>, at: u64, event| events.push(std::cmp::Reverse((at, event)));
    (0..width.clients).for_each(|client| push(&mut events, u64::from(client), Event::Call(client)));
    let mut effects = 0;
    while let Some(std::cmp::Reverse((at, event))) = events.pop() {
        match event {
            Event::Call(_) if made.history.len() >= operations => {}
            Event::Call(client) => {
                let (key, call) = workloads[client as usize].next(&board);
                let key = match (key, call) {
                    (_, Call::Agent(AgentCall::Read)) => {
                        Key::Agent(chance.below(u64::from(width.agents)) as u32)
                    }
                    (key, _) => key,
                };
                let place = made.history.len();
                let fate = Fate::Unknown;
                made.history.push(Operation { client, key, call, called_at: at, fate, index: None });
                if chance.one_in(40) && call != Call::Agent(AgentCall::Read) {
                    if chance.one_in(2) {
                        push(&mut events, at + 1 + chance.below(20_000), Event::Effect(place));
                    }
                    push(&mut events, at + 2_000, Event::Call(client));
                } else {
                    let effect_at = at + 1 + chance.below(1_000);
                    push(&mut events, effect_at, Event::Effect(place));
                    push(&mut events, effect_at + 1 + chance.below(1_000), Event::Return(place));
                }
            }
            Event::Effect(place) => {
                effects += 1;
                let Operation { client, key, call, .. } = made.history[place];
                let (mut answer, wrong) =
                    answer(&mut single, &behind, flaw, &mut chance, (client, key, call));
                if wrong {
                    made.flawed.push(key);
                    answer.1 = None;
                }
                replies.insert(place, answer);
                if effects % 60 == 0 {
                    behind = single.clone();
                }
            }
            Event::Return(place) => {
                let (reply, index) = replies.remove(&place).unwrap();
                let operation = &mut made.history[place];
                let workload = &mut workloads[operation.client as usize];
                workload.heard(operation.key, operation.call, &reply, &board);
                operation.fate = Fate::Ok { reply, returned_at: at };
                operation.index = index;
                push(&mut events, at + 1 + chance.below(200), Event::Call(operation.client));
            }
        }
    }
    made
}

/// What a group with that flaw answers, and whether it is wrong.
fn answer(
    single: &mut Single,
    behind: &Single,
    flaw: Flaw,
    chance: &mut Chance,
    (client, key, call): (u32, Key, Call),
) -> ((Reply, Option<Index>), bool) {
    let read = call == Call::Agent(AgentCall::Read);
    match flaw {
        Flaw::StaleRead if read && chance.one_in(5) => (behind.clone().ask(client, key, call), true),
        Flaw::LostWrite if !read && chance.one_in(50) => {
            let answer = single.clone().ask(client, key, call);
            single.skip();
            (answer, true)
        }
        Flaw::DoubleGrant => match single.ask(client, key, call) {
            (Reply::HeldBy(_), _) if chance.one_in(20) => ((Reply::Epoch(single.skip()), None), true),
            (Reply::Refused(why), _) if why == "ALREADY_RESERVED" && chance.one_in(20) => {
                ((Reply::Token(single.skip() * 1024), None), true)
            }
            answer => (answer, false),
        },
        _ => (single.ask(client, key, call), false),
    }
}
