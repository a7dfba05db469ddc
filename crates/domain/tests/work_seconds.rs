//! The work-second ledger over the facts of agent-state's machine: whatever agents, supervisors, media and time do, the
//! activities of each agent's sessions come to their wall clock, to the millisecond.

#![allow(clippy::unwrap_used, reason = "a test may unwrap, also in what its cases share")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use trunkline_domain::agent_state::{
    Action, Command, Device, FEATURE_LEVEL, Force, Machine, QueuePolicy, Roster, Said, Stage, Wish,
};
use trunkline_domain::facts::{AgentFact, ReleaseOutcome, WrapUpMode};
use trunkline_domain::kernel::Projection;
use trunkline_domain::reporting::{Activity, Agents};
use trunkline_domain::vocabulary::{
    AgentId, Cell, Channel, ChannelRule, Channels, CommandId, CompanyId, ContactId, DeviceId, Epoch, Millis,
    NodeId, OfferId, QueueId, SessionId, Timestamp,
};

const NAMES: [&str; 2] = ["anna", "ben"];
const ROUTING: Epoch = Epoch(2);
const MEDIA: Epoch = Epoch(3);

fn agent(name: &str) -> AgentId {
    AgentId::from_name(name).unwrap()
}

fn queue(mode: WrapUpMode) -> QueueId {
    QueueId::from_name(&mode.as_str().replace('_', "-")).unwrap()
}

fn roster() -> Roster {
    let policy = |mode: WrapUpMode| QueuePolicy {
        wrap_up: Millis(2_000),
        wrap_up_mode: mode,
        wrap_up_extension_max: Millis(1_000),
        miss_count_max: 2,
        miss_return: Millis(1_500),
        ..QueuePolicy::default()
    };
    Roster {
        revision: 1,
        agents: NAMES.iter().map(|name| (agent(name), Cell(0))).collect(),
        queues: WrapUpMode::ALL.map(|mode| (queue(mode), policy(mode))).into(),
        reasons: BTreeMap::from([("lunch".to_owned(), Millis(1_000)), ("coffee".to_owned(), Millis::ZERO)]),
        channels: BTreeMap::from([(agent("ben"), many())]),
    }
}

/// What Ben serves: whatever it is, a call comes on top of it, and up to three of the rest go on at once.
fn many() -> Channels {
    let rule = |channel| {
        let others = Channel::ALL.into_iter().filter(|it| *it != channel && channel != Channel::Voice);
        let capacity = if channel == Channel::Voice { 1 } else { 3 };
        ChannelRule { channel, capacity, interrupted_by: others.collect() }
    };
    Channels::new(Channel::ALL.map(rule)).unwrap()
}

/// A machine and how far its log is.
struct World {
    machine: Machine,
    index: u64,
    now: i64,
}

impl World {
    fn new() -> Self {
        let mut world = Self { machine: Machine::default(), index: 0, now: 0 };
        let lease = |resource: &str, holder: &str| Action::AcquireLease {
            resource: resource.to_owned(),
            holder: NodeId::parse(holder).unwrap(),
            ttl: Millis(300_000),
            address: String::new(),
        };
        world.ask(Action::DefineRoster(roster()));
        world.ask(lease("routing/0", "nod_r"));
        world.ask(lease("media/nod_m", "nod_m"));
        world.ask(Action::RaiseFeatureLevel { level: FEATURE_LEVEL });
        for name in NAMES {
            let device = Device {
                contact_uri: "sip:phone@1".to_owned(),
                node_id: NodeId::parse("nod_m").unwrap(),
                expires_at: Timestamp(i64::MAX),
            };
            let device_id = DeviceId::from_name(name).unwrap();
            world.ask(Action::RegisterDevice { agent_id: agent(name), device_id, device });
        }
        world
    }

    fn ask(&mut self, action: Action) {
        self.index += 1;
        let command = Command {
            command_id: CommandId::from_name(&format!("{}", self.index)).unwrap(),
            proposed_at: Timestamp(self.now),
            traceparent: String::new(),
            action,
        };
        // A rejection is one of the histories too.
        let _ = self.machine.apply(self.index, 1, command);
    }

    /// What the next step of a history asks for.
    fn action(&self, what: u8, name: &str, which: u8) -> Action {
        let agent_id = agent(name);
        let span = Millis(i64::from(which) * 20);
        let reason = if which.is_multiple_of(2) { "lunch" } else { "coffee" }.to_owned();
        let live = self.machine.state().agents.get(&agent_id);
        let held: Vec<_> = live.into_iter().flat_map(|it| it.held()).cloned().collect();
        // Now and then one more is wished for beside what there is.
        let more = held.is_empty() || which.is_multiple_of(3);
        let held = held.get(which as usize % held.len().max(1)).cloned().filter(|_| !more);
        match (what, held) {
            (0, _) => Action::SignIn {
                agent_id,
                session_id: SessionId::from_name(name).unwrap(),
                site_id: None,
                lease: if which < 100 { Millis::ZERO } else { Millis(1_000) + span },
            },
            (1, _) if which < 60 => {
                Action::SignOut { agent_id, reason: "home".to_owned(), said: Said::default() }
            }
            (1, _) => Action::KeepSession { agent_id, session_id: SessionId::from_name(name).unwrap() },
            (2..=4, _) => Action::GoReady { agent_id, said: Said::default() },
            (5, _) => Action::GoNotReady { agent_id, reason, duration: span, said: Said::default() },
            (6, _) => {
                let force = match which % 3 {
                    0 => Force::Ready,
                    1 => Force::NotReady { reason, duration: span },
                    _ => Force::SignedOut,
                };
                let (author, reason) = ("Ines".to_owned(), "must be".to_owned());
                Action::ForcePresence { agent_id, force, author, reason }
            }
            (7, _) => match which % 3 {
                0 => Action::RequestWrapUp { agent_id, offer_id: None },
                1 => Action::ExtendWrapUp { agent_id, offer_id: None, span },
                _ => Action::FinishWrapUp { agent_id, offer_id: None, code: String::new() },
            },
            (8..=12, None) => {
                let mode = WrapUpMode::ALL[which as usize % WrapUpMode::ALL.len()];
                let wish = Wish {
                    offer_id: OfferId::from_name(&format!("o{}", self.index)).unwrap(),
                    agent_id,
                    contact_id: ContactId::from_name(&format!("c{}", self.index)).unwrap(),
                    company_id: CompanyId::from_name(if which < 128 { "acme" } else { "bolt" }).unwrap(),
                    queue_id: queue(mode),
                    node_id: NodeId::parse("nod_m").unwrap(),
                    expires_at: Timestamp(self.now + 1_500),
                    ring_many: false,
                    channel: Channel::ALL[which as usize / 4 % Channel::ALL.len()],
                };
                Action::ReserveAgents { cell: Cell(0), routing_epoch: ROUTING, wishes: vec![wish] }
            }
            (8..=12, Some(held)) if held.stage == Stage::Offered && which < 200 => {
                Action::AcceptReservation {
                    agent_id,
                    offer_id: held.wish.offer_id,
                    token: held.token,
                    node_id: held.wish.node_id,
                    media_epoch: MEDIA,
                }
            }
            (8..=12, Some(held)) => Action::ReleaseReservation {
                agent_id,
                offer_id: held.wish.offer_id,
                token: held.token,
                outcome: match held.stage {
                    Stage::Offered => ReleaseOutcome::Declined,
                    Stage::Accepted => ReleaseOutcome::Completed,
                },
                node_id: held.wish.node_id,
                epoch: MEDIA,
            },
            _ => Action::Expire,
        }
    }
}

/// Wall clock of an agent's sessions: of those that ended, and the beginning of the one that has not.
#[derive(Default)]
struct WallClock {
    ended: Millis,
    since: Option<Timestamp>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_millisecond_of_a_session_is_booked_once(
        moves in prop::collection::vec((0i64..1_200, 0u8..14, 0usize..2, any::<u8>()), 1..150),
    ) {
        let mut world = World::new();
        for (elapsed, what, who, which) in moves {
            world.now += elapsed;
            let action = world.action(what, NAMES[who], which);
            world.ask(action);
        }
        let (mut sheets, mut clocks) = (Agents::default(), BTreeMap::<AgentId, WallClock>::new());
        let (mut began, mut took) = (BTreeMap::new(), BTreeMap::<AgentId, Millis>::new());
        for (key, posted) in &world.machine.state().outbox {
            let at = posted.occurred_at;
            sheets.fold(&posted.recorded(*key, at));
            match &posted.fact {
                AgentFact::AgentSignedIn { agent_id, .. } => {
                    clocks.entry(agent_id.clone()).or_default().since = Some(at);
                }
                AgentFact::AgentSignedOut { agent_id, .. } => {
                    let clock = clocks.get_mut(agent_id).unwrap();
                    clock.ended = clock.ended + at.since(clock.since.take().unwrap());
                }
                AgentFact::AgentReserved { agent_id, offer_id, .. }
                | AgentFact::WrapUpStarted { agent_id, offer_id, .. } => {
                    began.insert(offer_id.clone(), (agent_id.clone(), at));
                }
                AgentFact::ReservationReleased { offer_id, .. } | AgentFact::WrapUpEnded { offer_id, .. } => {
                    let (agent_id, since) = began.remove(offer_id).unwrap();
                    let total = took.entry(agent_id).or_default();
                    *total = *total + at.since(since);
                }
                _ => {}
            }
        }
        let until = world.machine.state().now;
        for (agent_id, clock) in clocks {
            let wall_clock = clock.ended + clock.since.map_or(Millis::ZERO, |since| until.since(since));
            let sheet = &sheets.sheets()[&agent_id];
            prop_assert_eq!(sheet.signed_in_ms(until), wall_clock);
            let booked = sheet.booked_until(until);
            prop_assert_eq!(booked.values().copied().sum::<Millis>(), wall_clock);
            // The second measure: what each contact took, however many there were at once.
            let open = began.values().filter(|(whose, _)| *whose == agent_id).map(|(_, since)| until.since(*since));
            let took = took.get(&agent_id).copied().unwrap_or_default() + open.sum();
            let contact_time = sheet.until(until).contact_time;
            prop_assert_eq!(contact_time.values().copied().sum::<Millis>(), took);
            for (account, first) in &booked {
                let whole = contact_time.get(account).copied().unwrap_or_default();
                prop_assert!(account.company_id.is_none() || *first <= whole, "first of those at once");
            }
            // What a company pays for has a company, and a pause has its reason.
            for account in booked.keys() {
                let paid = matches!(account.activity, Activity::Talk | Activity::Ring | Activity::WrapUp);
                prop_assert_eq!((account.company_id.is_some(), account.channel.is_some()), (paid, paid));
                prop_assert_eq!(!account.reason.is_empty(), account.activity == Activity::Paused);
            }
        }
    }
}
