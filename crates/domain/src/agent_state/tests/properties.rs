//! Laws that hold for every history.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::facts::AgentFact;

const AGENTS: [&str; 3] = ["anna", "ben", "zoe"];
/// The open one more often: what has no end by itself is where an agent can be locked in.
const QUEUES: [&str; 8] = ["main", "open", "lenient", "none", "open", "forced", "asked", "coded"];
const OUTCOMES: [ReleaseOutcome; 9] = ReleaseOutcome::ALL;

/// A step of a random history: time passes, then an action whose token and epochs are guessed from the live state,
/// right most of the time.
#[derive(Debug, Clone)]
struct Move {
    elapsed: i64,
    what: u8,
    who: usize,
    which: u8,
    stale: bool,
    retry: bool,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = (0i64..4_000, 0u8..29, 0usize..3, any::<u8>(), 0u8..10, 0u8..8).prop_map(
        |(elapsed, what, who, which, stale, retry)| Move {
            elapsed,
            what,
            who,
            which,
            stale: stale == 0,
            retry: retry == 0,
        },
    );
    prop::collection::vec(one, 1..120)
}

fn action(machine: &Machine, now: i64, it: &Move) -> Action {
    let name = AGENTS[it.who];
    let held = machine.state().agents.get(&agent(name)).into_iter().flat_map(Agent::held).cloned();
    let held: Vec<Reservation> = held.collect();
    let held = held.get(it.which as usize % held.len().max(1)).cloned();
    let epoch_of = |resource: &str| {
        let epoch = machine.state().leases.get(resource).and_then(Lease::epoch).unwrap_or_default();
        Epoch(epoch.0 - u64::from(it.stale && epoch.0 > 0))
    };
    let outcome = match it.which % 3 {
        0 => ReleaseOutcome::Completed,
        _ => OUTCOMES[it.which as usize % OUTCOMES.len()],
    };
    let revision = machine.state().roster.revision + u64::from(!it.stale);
    match it.what {
        0 => {
            let lease = if it.which.is_multiple_of(2) { 1_000 + i64::from(it.which) * 50 } else { 0 };
            sign_in_as(name, if it.stale { "other" } else { name }, lease)
        }
        1 => sign_out(name),
        2..=5 => go_ready(name),
        6 if it.stale => pause(name, "coffee", 0),
        6 => go_not_ready(name, i64::from(it.which) * 50),
        7 => match it.which % 3 {
            0 => finish_with(name, "sold"),
            1 => request_wrap_up(name),
            _ => extend_wrap_up(name, i64::from(it.which) * 20),
        },
        8..=11 => {
            let queue = QUEUES[it.which as usize % QUEUES.len()];
            let (contact, ring_many) = (format!("c{}", it.which % 5), it.which % 4 == 1);
            let channel = Channel::ALL[it.which as usize / 8 % Channel::ALL.len()];
            let wished =
                |name: &&str| Wish { ring_many, channel, ..wish(name, &contact, queue, now + 6_000) };
            let wishes: Vec<Wish> = AGENTS.iter().map(wished).collect();
            Action::ReserveAgents { cell: Cell(0), routing_epoch: epoch_of("routing/0"), wishes }
        }
        12..=14 => match held {
            Some(held) => Action::AcceptReservation {
                agent_id: agent(name),
                offer_id: held.wish.offer_id,
                token: held.token - u64::from(it.stale),
                node_id: held.wish.node_id,
                media_epoch: epoch_of("media/nod_m"),
            },
            None => Action::Expire,
        },
        15..=18 => match held {
            Some(held) => Action::ReleaseReservation {
                agent_id: agent(name),
                offer_id: held.wish.offer_id,
                token: held.token,
                outcome,
                node_id: held.wish.node_id,
                epoch: epoch_of(if outcome == ReleaseOutcome::Rescinded {
                    "routing/0"
                } else {
                    "media/nod_m"
                }),
            },
            None => Action::Expire,
        },
        19 => acquire("media/nod_m", "nod_m"),
        20 => acquire("routing/0", if it.which.is_multiple_of(2) { "nod_r" } else { "nod_s" }),
        // Every revision that is not stale takes effect, also in the middle of a wrap-up.
        21 => match it.which % 4 {
            0 => list_reasons(),
            1 | 2 => change_modes(revision, it.which as usize / 4),
            _ => define_roster(revision, if it.stale { &["ben"] } else { &["anna", "ben"] }),
        },
        22 => Action::AcquireLease {
            resource: "media/nod_m".to_owned(),
            holder: node("nod_m"),
            ttl: Millis(500 + i64::from(it.which) * 20),
            address: String::new(),
        },
        23 => register(name, "d1", "sip:a@1", now + 1 + i64::from(it.which) * 100),
        24 => unregister(name, if it.which.is_multiple_of(4) { "phone" } else { "d1" }),
        25 => force(name, if it.stale { Force::SignedOut } else { Force::Ready }),
        26 => force(name, if it.stale { Force::SignedOut } else { away(i64::from(it.which) * 50) }),
        27 => keep_session(name),
        _ => Action::Expire,
    }
}

/// Runs a history; returns the machine and every command as applied.
fn run(moves: &[Move]) -> (World, Vec<(u64, Command)>) {
    run_from(World::new(), moves)
}

/// As [`run`], beginning with Anna in a conversation of a queue, in a session with a lease.
fn run_from_talk(queue: &str, lease: i64, moves: &[Move]) -> World {
    let mut world = World::new();
    for (now, action) in [
        (100, sign_in_for("anna", lease)),
        (200, go_ready("anna")),
        (300, reserve(&[wish("anna", "c", queue, 20_000)])),
        (400, accept("anna", "c", 6144)),
    ] {
        world.now = now;
        world.apply(action).unwrap();
    }
    run_from(world, moves).0
}

fn run_from(mut world: World, moves: &[Move]) -> (World, Vec<(u64, Command)>) {
    let mut applied = Vec::new();
    for it in moves {
        world.now += it.elapsed;
        let action = action(&world.machine, world.now, it);
        world.index += u64::from(it.which.is_multiple_of(3));
        let command = world.command(&format!("m{}", applied.len()), action);
        let reply = world.machine.apply(world.index, 1, command.clone());
        applied.push((world.index, command.clone()));
        if it.retry && command.action.remembered() {
            let before = world.machine.state_hash();
            assert_eq!(
                world.machine.apply(world.index + 1, 2, command),
                reply,
                "a retry gets the first answer"
            );
            assert_eq!(world.machine.state_hash(), before, "a retry changes nothing");
        }
        invariants(&world.machine);
    }
    (world, applied)
}

fn invariants(machine: &Machine) {
    let mut contacts: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for agent in machine.state().agents.values() {
        for held in agent.held() {
            contacts.entry(&held.wish.contact_id).or_default().push(held);
        }
        if agent.busy() {
            assert!(agent.session.is_some());
            assert_eq!(agent.presence, Presence::Ready);
        }
        let offers: BTreeSet<_> = agent.slots.iter().map(Slot::offer_id).collect();
        assert_eq!(offers.len(), agent.slots.len(), "no two slots are under one offer");
        for channel in Channel::ALL {
            let count = agent.slots.iter().filter(|it| it.channel() == channel).count();
            let capacity = served_by(name_of(&agent.agent_id)).capacity(channel);
            assert!(count <= capacity as usize, "{count} of {channel}");
        }
        let open = agent.wrap_ups().any(|it| it.ends_at.is_none());
        if agent.lost() {
            assert_ne!(agent.activity(), Activity::Ready, "nobody is ready whose desktop is gone");
            assert!(!open, "what only the agent could end does not go on without it");
        }
        if open {
            can_be_finished(machine, &agent.agent_id);
        }
        if let Some(deadline) = agent.next_deadline() {
            assert!(deadline > machine.state().now, "what is due has happened");
            assert!(machine.next_deadline().is_some_and(|next| next <= deadline));
        }
    }
    for (contact_id, held) in contacts {
        let rings = held.iter().all(|it| it.wish.ring_many && it.stage == Stage::Offered);
        assert!(held.len() == 1 || rings, "{contact_id} has one live reservation, or rings at many");
    }
}

/// Wrap-up without an end can be finished by whoever says what it came to, whatever modes the next revision gives the queues.
fn can_be_finished(machine: &Machine, agent_id: &AgentId) {
    let (now, index, term) = (machine.state().now, machine.state().last_index, machine.state().last_term);
    let revision = machine.state().roster.revision + 1;
    for by in 0..WrapUpMode::ALL.len() {
        let mut machine = machine.clone();
        let mut ask = |name, action| {
            let (command_id, traceparent) = (CommandId::from_name(name).unwrap(), String::new());
            machine.apply(index, term, Command { command_id, proposed_at: now, traceparent, action })
        };
        ask("modes", change_modes(revision, by)).unwrap();
        let (agent_id, code) = (agent_id.clone(), "sold".to_owned());
        let open = machine.state().agents[&agent_id].wrap_ups().find(|it| it.ends_at.is_none());
        let offer_id = open.map(|it| it.offer_id.clone());
        let (command_id, traceparent) = (CommandId::from_name("finish").unwrap(), String::new());
        let action = Action::FinishWrapUp { agent_id, offer_id, code };
        let finished =
            machine.apply(index, term, Command { command_id, proposed_at: now, traceparent, action });
        assert_eq!(finished, Ok(Done::WrapUpFinished), "wrap-up without an end can be finished");
    }
}

/// What an agent's facts say it does: the shadow that [`well_formed`] folds.
#[derive(Debug, Default)]
struct Shadow {
    sequence: u64,
    at: Timestamp,
    signed_in: bool,
    ready: bool,
    slots: BTreeMap<OfferId, Taken>,
    devices: BTreeSet<DeviceId>,
}

/// What the facts say of one slot.
#[derive(Debug)]
struct Taken {
    channel: Channel,
    token: u64,
    accepted: bool,
    released: bool,
    wrap_up: bool,
}

fn name_of(agent_id: &AgentId) -> &str {
    agent_id.as_str().trim_start_matches("agt_")
}

/// Folds the facts of a history: each agent's order makes sense, tokens are unique, each reservation ends once, the epochs
/// of a resource rise.
fn well_formed(machine: &Machine) {
    let mut shadows: BTreeMap<String, Shadow> = BTreeMap::new();
    let (mut tokens, mut epochs) = (BTreeSet::new(), BTreeMap::new());
    for (posted_key, posted) in &machine.state().outbox {
        let it = shadows.entry(posted.fact.stream()).or_default();
        assert_eq!(posted.sequence, it.sequence + 1, "a stream has no gaps");
        assert!(posted.occurred_at >= it.at, "a stream's time does not go back");
        (it.sequence, it.at) = (posted.sequence, posted.occurred_at);
        match &posted.fact {
            AgentFact::AgentSignedIn { .. } => {
                assert!(!it.signed_in);
                it.signed_in = true;
            }
            AgentFact::AgentSignedOut { .. } => {
                assert!(it.signed_in && it.slots.is_empty());
                (it.signed_in, it.ready) = (false, false);
            }
            AgentFact::AgentBecameReady { .. } => {
                assert!(it.signed_in && !it.ready);
                it.ready = true;
            }
            AgentFact::AgentBecameNotReady { .. } => {
                assert!(it.signed_in && it.slots.is_empty());
                it.ready = false;
            }
            AgentFact::AgentForced { .. } => assert!(it.signed_in),
            AgentFact::AgentReserved { agent_id, offer_id, token, channel, .. } => {
                assert!(tokens.insert(*token), "tokens are unique");
                assert!(it.ready);
                let served = served_by(name_of(agent_id));
                let same = it.slots.values().filter(|taken| taken.channel == *channel).count();
                assert!(same < served.capacity(*channel) as usize, "never more at once than it serves");
                let mut others = it.slots.values().filter(|taken| taken.channel != *channel);
                assert!(
                    others.all(|taken| served.interrupted(taken.channel, *channel)),
                    "nothing else stops"
                );
                let called = *channel == Channel::Voice;
                assert!(!called || !it.devices.is_empty(), "nobody is held who cannot be called");
                let (channel, token) = (*channel, *token);
                let taken = Taken { channel, token, accepted: false, released: false, wrap_up: false };
                assert!(it.slots.insert(offer_id.clone(), taken).is_none());
            }
            AgentFact::ReservationAccepted { offer_id, token, .. } => {
                let taken = it.slots.get_mut(offer_id).unwrap();
                assert!(taken.token == *token && !taken.accepted && !taken.released);
                taken.accepted = true;
            }
            AgentFact::ReservationUnconfirmed { offer_id, token, .. } => {
                assert!(it.slots[offer_id].token == *token && !it.slots[offer_id].released);
            }
            AgentFact::ReservationReleased { offer_id, token, .. } => {
                let taken = it.slots.get_mut(offer_id).unwrap();
                assert!(taken.token == *token && !taken.released, "a reservation ends once");
                taken.released = true;
                // Wrap-up begins at once or never.
                let next = (posted_key.index, posted_key.ordinal + 1);
                let follows = machine.state().outbox.get(&OutboxKey { index: next.0, ordinal: next.1 });
                let wraps_up = |fact: &AgentFact| matches!(fact, AgentFact::WrapUpStarted { offer_id: other, .. } if other == offer_id);
                if !follows.is_some_and(|it| wraps_up(&it.fact)) {
                    it.slots.remove(offer_id);
                }
            }
            AgentFact::WrapUpStarted { offer_id, channel, .. } => {
                let taken = it.slots.get_mut(offer_id).unwrap();
                assert!(taken.accepted && taken.released && !taken.wrap_up && taken.channel == *channel);
                taken.wrap_up = true;
            }
            AgentFact::WrapUpExtended { offer_id, .. } => assert!(it.slots[offer_id].wrap_up),
            AgentFact::WrapUpEnded { offer_id, .. } => assert!(it.slots.remove(offer_id).unwrap().wrap_up),
            AgentFact::SessionLost { .. } => assert!(it.signed_in),
            AgentFact::PauseLimitExceeded { .. } => assert!(it.signed_in && !it.ready),
            AgentFact::AgentPresenceUnsteady { change_count, .. } => assert!(*change_count > 6),
            AgentFact::DeviceRegistered { device_id, .. } => drop(it.devices.insert(device_id.clone())),
            AgentFact::DeviceUnregistered { device_id, .. } => assert!(it.devices.remove(device_id)),
            AgentFact::LeaseGranted { resource, epoch, .. } => {
                let before = epochs.insert(resource.clone(), *epoch);
                assert!(before < Some(*epoch), "two ownerships never have one epoch");
            }
            AgentFact::LeaseLapsed { .. } | AgentFact::LeaseReleased { .. } => {}
        }
    }
    for (stream, it) in &shadows {
        let Ok(agent_id) = AgentId::parse(stream) else { continue };
        let live = machine.state().agents.get(&agent_id);
        let live: BTreeMap<_, _> = live
            .into_iter()
            .flat_map(|agent| &agent.slots)
            .map(|slot| (slot.offer_id(), (slot.channel(), slot.held().map(|held| held.token))))
            .collect();
        let told = |taken: &Taken| (taken.channel, (!taken.released).then_some(taken.token));
        let told: BTreeMap<_, _> = it.slots.iter().map(|(id, taken)| (id, told(taken))).collect();
        assert_eq!(told, live, "the facts say what the state says");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_keeps_the_laws(moves in moves()) {
        let (mut world, _) = run(&moves);
        well_formed(&world.machine);
        world.now += 10 * LOST_SESSION_LEN_MAX.0;
        let _ = world.apply(Action::Expire);
        well_formed(&world.machine);
        prop_assert!(world.machine.state().agents.values().all(|it| !it.lost()), "a lost session ends");
        prop_assert!(world.machine.state().agents.values().all(|it| it.held().next().is_none()));
        prop_assert_eq!(world.machine.next_deadline(), None);
    }

    /// Where agents get locked in is after a conversation: histories that begin there see more of it.
    #[test]
    fn every_history_after_a_conversation_keeps_the_laws(
        queue in prop::sample::select(&QUEUES[..]),
        lease in 1_000i64..20_000,
        moves in moves(),
    ) {
        well_formed(&run_from_talk(queue, lease, &moves).machine);
    }

    #[test]
    fn a_replayed_machine_and_a_restored_one_equal_the_live_one(moves in moves(), cut in any::<prop::sample::Index>()) {
        let (live, applied) = run(&moves);
        let cut = cut.index(applied.len());
        let mut replayed = World::new().machine;
        for (index, command) in &applied[..cut] {
            let _ = replayed.apply(*index, 1, command.clone());
        }
        let mut restored = Machine::from_state(replayed.state().clone());
        for (index, command) in &applied[cut..] {
            let said = replayed.apply(*index, 1, command.clone());
            prop_assert_eq!(restored.apply(*index, 1, command.clone()), said);
        }
        prop_assert_eq!(replayed.state_hash(), live.machine.state_hash());
        prop_assert_eq!(restored.state_hash(), live.machine.state_hash());
        prop_assert_eq!(restored.next_deadline(), live.machine.next_deadline());
    }

    #[test]
    fn writing_what_was_touched_is_writing_what_changed(moves in moves()) {
        let mut world = World::new();
        let mut copy = world.machine.state().clone();
        for it in &moves {
            world.now += it.elapsed;
            let action = action(&world.machine, world.now, it);
            let _ = world.apply(action);
            let touched = world.machine.take_touched();
            let state = world.machine.state();
            for agent_id in touched.agents.difference(&touched.seen) {
                let (before, after) = (&copy.agents[agent_id], &state.agents[agent_id]);
                let shown = |agent: &Agent| {
                    let mut agent = agent.clone();
                    if let Some(lease) = agent.session.as_mut().and_then(|it| it.lease.as_mut()) {
                        lease.expires_at = Timestamp(0);
                    }
                    agent
                };
                prop_assert_eq!(shown(before), shown(after), "nobody was told of it");
            }
            (copy.now, copy.last_index, copy.published) = (state.now, state.last_index, state.published);
            copy.feature_level = state.feature_level;
            (copy.fact_count, copy.wish_count) = (state.fact_count, state.wish_count);
            copy.last_term = state.last_term;
            if touched.roster {
                copy.roster = state.roster.clone();
            }
            write_touched(&mut copy.agents, &state.agents, touched.agents);
            write_touched(&mut copy.leases, &state.leases, touched.leases);
            write_touched(&mut copy.answers, &state.answers, touched.answers);
            write_touched(&mut copy.outbox, &state.outbox, touched.outbox);
            prop_assert_eq!(&copy, state);
        }
    }
}

fn write_touched<K: Ord + Clone, V: Clone>(
    copy: &mut BTreeMap<K, V>,
    live: &BTreeMap<K, V>,
    touched: BTreeSet<K>,
) {
    for key in touched {
        match live.get(&key) {
            Some(value) => drop(copy.insert(key, value.clone())),
            None => drop(copy.remove(&key)),
        }
    }
}
