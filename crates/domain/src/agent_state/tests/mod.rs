//! Cases as tables, and properties over random histories.

mod bad_input;
mod complaints;
mod lifecycle;
mod properties;
mod table_channels;
mod table_leases;
mod table_log;
mod table_presence;
mod table_reasons;
mod table_reservations;
mod table_ring_many;
mod table_sessions;
mod table_steadiness;
mod table_supervision;
mod table_wrap_up;

use std::collections::BTreeMap;
use std::fmt::Write;

use super::*;
use crate::facts::{LogFact, ReleaseOutcome, WrapUpMode};
use crate::vocabulary::*;

/// A machine with two agents in cell 0, one in cell 1, each with a phone until 1 000 000, two queues, and leases
/// `routing/0` (epoch 2) and `media/nod_m` (epoch 3), at machine time 0, by the newest rules.
struct World {
    machine: Machine,
    index: u64,
    term: u64,
    now: i64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { machine: Machine::default(), index: 0, term: 1, now: 0 };
        world.apply(define_roster(1, &["anna", "ben"])).unwrap();
        world.apply(acquire("routing/0", "nod_r")).unwrap();
        world.apply(acquire("media/nod_m", "nod_m")).unwrap();
        world.also("level", Action::RaiseFeatureLevel { level: FEATURE_LEVEL });
        for name in ["anna", "ben", "zoe"] {
            world.also(name, register(name, "phone", "sip:phone@1", 1_000_000));
        }
        world.machine.take_touched();
        world
    }

    fn apply(&mut self, action: Action) -> Reply {
        self.index += 1;
        let command = self.command(&format!("auto-{}", self.index), action);
        self.machine.apply(self.index, self.term, command)
    }

    /// Applies one more command at the index of the last.
    fn also(&mut self, name: &str, action: Action) {
        let command = self.command(&format!("also-{name}"), action);
        self.machine.apply(self.index, self.term, command).unwrap();
    }

    fn command(&self, name: &str, action: Action) -> Command {
        Command {
            command_id: CommandId::from_name(name).unwrap(),
            proposed_at: Timestamp(self.now),
            traceparent: String::new(),
            action,
        }
    }
}

/// A step of a case: an instant in milliseconds, and what is asked then.
type Step = (i64, Action);

/// Applies `given`, then `when`; what it answers and the facts it makes must be `then`.
#[track_caller]
fn check(given: &[Step], when: Step, then: expect_test::Expect) {
    let mut world = World::new();
    for (now, action) in given {
        world.now = *now;
        let reply = world.apply(action.clone());
        assert!(reply.is_ok(), "given {action:?}: {reply:?}");
    }
    world.now = when.0;
    let reply = world.apply(when.1);
    then.assert_eq(&story(&world, &reply));
}

fn story(world: &World, reply: &Reply) -> String {
    let mut story = match reply {
        Ok(done) => format!("{done:?}\n"),
        Err(rejection) => format!("rejected: {rejection}\n"),
    };
    for (key, posted) in &world.machine.state().outbox {
        if key.index == world.index {
            let text = format!("{:?}", posted.fact);
            let fields = text.split_once('{').map_or("", |(_, fields)| fields).trim_end_matches('}');
            writeln!(story, "{:?} {}:{}", posted.occurred_at, posted.fact.name(), fields.trim_end()).unwrap();
        }
    }
    story
}

fn agent(name: &str) -> AgentId {
    AgentId::from_name(name).unwrap()
}

fn node(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn define_roster(revision: u64, names: &[&str]) -> Action {
    let mut agents: BTreeMap<_, _> = names.iter().map(|name| (agent(name), Cell(0))).collect();
    agents.insert(agent("zoe"), Cell(1));
    let queues = policies().into_iter().map(|(name, policy)| (QueueId::from_name(name).unwrap(), policy));
    let channels = BTreeMap::from([(agent("ben"), served_by("ben"))]);
    Action::DefineRoster(Roster {
        revision,
        agents,
        queues: queues.collect(),
        reasons: BTreeMap::new(),
        channels,
    })
}

/// Ben has one call, two chats that a call may interrupt, and two letters that anything may; everybody else has one call.
fn served_by(name: &str) -> Channels {
    use Channel::{Chat, Email, Voice};
    let rule = |channel, capacity, by: &[Channel]| ChannelRule {
        channel,
        capacity,
        interrupted_by: by.iter().copied().collect(),
    };
    match name {
        "ben" => {
            Channels::new([rule(Voice, 1, &[]), rule(Chat, 2, &[Voice]), rule(Email, 2, &[Voice, Chat])])
        }
        _ => Channels::new([]),
    }
    .unwrap()
}

/// As [`define_roster`] at revision 2, with a list of reasons; coffee and training have a limit.
fn list_reasons() -> Action {
    let Action::DefineRoster(roster) = define_roster(2, &["anna", "ben"]) else { unreachable!() };
    let listed = [("lunch", 0), ("coffee", 10_000), ("training", 60_000)];
    let reasons = listed.map(|(reason, limit)| (reason.to_owned(), Millis(limit))).into();
    Action::DefineRoster(Roster { reasons, ..roster })
}

/// As [`define_roster`], with the modes of its queues moved on by some places: what a revision changes under whoever wraps
/// up just now.
fn change_modes(revision: u64, by: usize) -> Action {
    let Action::DefineRoster(mut roster) = define_roster(revision, &["anna", "ben"]) else { unreachable!() };
    for policy in roster.queues.values_mut() {
        let place = WrapUpMode::ALL.iter().position(|mode| *mode == policy.wrap_up_mode).unwrap();
        policy.wrap_up_mode = WrapUpMode::ALL[(place + by) % WrapUpMode::ALL.len()];
        policy.wrap_up = Millis(5_000);
    }
    Action::DefineRoster(roster)
}

/// One queue a policy.
fn policies() -> Vec<(&'static str, QueuePolicy)> {
    let main = QueuePolicy {
        wrap_up: Millis(5_000),
        wrap_up_extension_max: Millis(3_000),
        miss_count_max: 2,
        ..QueuePolicy::default()
    };
    let with = |wrap_up_mode| QueuePolicy { wrap_up_mode, ..main.clone() };
    let coded = QueuePolicy { wrap_up_code_required: true, ..main.clone() };
    let open = QueuePolicy { wrap_up: Millis::ZERO, ..with(WrapUpMode::Mandatory) };
    vec![
        ("quick", QueuePolicy::default()),
        (
            "lenient",
            QueuePolicy {
                miss_reason: "phone unattended".to_owned(),
                miss_return: Millis(60_000),
                wrap_up_extension_max: Millis::ZERO,
                ..main.clone()
            },
        ),
        ("none", with(WrapUpMode::None)),
        ("forced", with(WrapUpMode::TimedForced)),
        ("open", open),
        ("asked", with(WrapUpMode::OnRequest)),
        ("coded", coded),
        ("main", main),
    ]
}

fn acquire(resource: &str, holder: &str) -> Action {
    Action::AcquireLease {
        resource: resource.to_owned(),
        holder: node(holder),
        ttl: Millis(300_000),
        address: "127.0.0.1:1".to_owned(),
    }
}

fn sign_in(name: &str) -> Action {
    sign_in_for(name, 0)
}

/// With a lease.
fn sign_in_for(name: &str, lease: i64) -> Action {
    sign_in_as(name, name, lease)
}

/// With a lease, in a session of another name.
fn sign_in_as(name: &str, session: &str, lease: i64) -> Action {
    let (session_id, lease) = (SessionId::from_name(session).unwrap(), Millis(lease));
    Action::SignIn { agent_id: agent(name), session_id, site_id: None, lease }
}

fn keep_session(name: &str) -> Action {
    Action::KeepSession { agent_id: agent(name), session_id: SessionId::from_name(name).unwrap() }
}

fn sign_out(name: &str) -> Action {
    Action::SignOut { agent_id: agent(name), reason: "done".to_owned(), said: Said::default() }
}

fn go_ready(name: &str) -> Action {
    Action::GoReady { agent_id: agent(name), said: Said::default() }
}

fn go_not_ready(name: &str, duration: i64) -> Action {
    pause(name, "lunch", duration)
}

fn pause(name: &str, reason: &str, duration: i64) -> Action {
    let (reason, duration) = (reason.to_owned(), Millis(duration));
    Action::GoNotReady { agent_id: agent(name), reason, duration, said: Said::default() }
}

fn force(name: &str, force: Force) -> Action {
    let (author, reason) = ("Ines Ortega".to_owned(), "left without a word".to_owned());
    Action::ForcePresence { agent_id: agent(name), force, author, reason }
}

fn away(duration: i64) -> Force {
    Force::NotReady { reason: "away".to_owned(), duration: Millis(duration) }
}

fn finish_wrap_up(name: &str) -> Action {
    finish_with(name, "")
}

fn finish_with(name: &str, code: &str) -> Action {
    Action::FinishWrapUp { agent_id: agent(name), offer_id: None, code: code.to_owned() }
}

fn request_wrap_up(name: &str) -> Action {
    Action::RequestWrapUp { agent_id: agent(name), offer_id: None }
}

fn extend_wrap_up(name: &str, span: i64) -> Action {
    Action::ExtendWrapUp { agent_id: agent(name), offer_id: None, span: Millis(span) }
}

fn register(name: &str, device: &str, uri: &str, expires_at: i64) -> Action {
    Action::RegisterDevice {
        agent_id: agent(name),
        device_id: DeviceId::from_name(device).unwrap(),
        device: Device {
            contact_uri: uri.to_owned(),
            node_id: node("nod_m"),
            expires_at: Timestamp(expires_at),
        },
    }
}

fn unregister(name: &str, device: &str) -> Action {
    Action::UnregisterDevice {
        agent_id: agent(name),
        device_id: DeviceId::from_name(device).unwrap(),
        reason: "asked".to_owned(),
    }
}

fn wish(name: &str, contact: &str, queue: &str, expires_at: i64) -> Wish {
    Wish {
        offer_id: OfferId::from_name(&format!("{contact}-{name}")).unwrap(),
        agent_id: agent(name),
        contact_id: ContactId::from_name(contact).unwrap(),
        company_id: CompanyId::from_name("acme").unwrap(),
        queue_id: QueueId::from_name(queue).unwrap(),
        node_id: node("nod_m"),
        expires_at: Timestamp(expires_at),
        ring_many: false,
        channel: Channel::Voice,
    }
}

fn reserve(wishes: &[Wish]) -> Action {
    Action::ReserveAgents { cell: Cell(0), routing_epoch: Epoch(2), wishes: wishes.to_vec() }
}

fn accept(name: &str, contact: &str, token: u64) -> Action {
    Action::AcceptReservation {
        agent_id: agent(name),
        offer_id: OfferId::from_name(&format!("{contact}-{name}")).unwrap(),
        token,
        node_id: node("nod_m"),
        media_epoch: Epoch(3),
    }
}

fn release(name: &str, contact: &str, token: u64, outcome: ReleaseOutcome) -> Action {
    let rescinded = outcome == ReleaseOutcome::Rescinded;
    Action::ReleaseReservation {
        agent_id: agent(name),
        offer_id: OfferId::from_name(&format!("{contact}-{name}")).unwrap(),
        token,
        outcome,
        node_id: node(if rescinded { "nod_r" } else { "nod_m" }),
        epoch: Epoch(if rescinded { 2 } else { 3 }),
    }
}

/// Anna signed in and ready: indexes 4 and 5.
fn ready() -> Vec<Step> {
    vec![(100, sign_in("anna")), (200, go_ready("anna"))]
}

/// Anna offered contact `c` of queue `main` until 20 000: index 6, token 6144.
fn offered() -> Vec<Step> {
    [ready(), vec![(1_000, reserve(&[wish("anna", "c", "main", 20_000)]))]].concat()
}

/// Anna talking: index 7.
fn talking() -> Vec<Step> {
    [offered(), vec![(2_000, accept("anna", "c", 6144))]].concat()
}

/// Anna talking to contact `c` of another queue than `main`.
fn talking_in(queue: &str) -> Vec<Step> {
    let offered = (1_000, reserve(&[wish("anna", "c", queue, 20_000)]));
    [ready(), vec![offered, (2_000, accept("anna", "c", 6144))]].concat()
}

/// Anna in wrap-up since 10 000, if the queue has any.
fn wrapping_up_in(queue: &str) -> Vec<Step> {
    [talking_in(queue), vec![(10_000, release("anna", "c", 6144, ReleaseOutcome::Completed))]].concat()
}

/// Anna in wrap-up until 15 000: index 8.
fn wrapping_up() -> Vec<Step> {
    [talking(), vec![(10_000, release("anna", "c", 6144, ReleaseOutcome::Completed))]].concat()
}
