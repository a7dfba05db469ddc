//! The model answers as the machine of the core does, whatever is asked in whatever order.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod single;

use std::collections::{BTreeMap, BTreeSet};

use single::Single;
use trunkline_linear::check::Model;
use trunkline_linear::model::{Activity, AgentCall, AgentState, Call, Key, Reply, State};
use trunkline_linear::workload::{Board, Width, Workload};

/// What a run met with, by name.
fn kind(reply: &Reply) -> String {
    match reply {
        Reply::Refused(code) => code.clone(),
        Reply::Seen(seen) => format!("{:?}", seen.activity),
        Reply::Released(released) => format!("Released {released}"),
        other => format!("{other:?}").split('(').next().unwrap().to_owned(),
    }
}

#[test]
fn the_model_and_the_machine_of_the_core_give_the_same_answers() {
    let width = Width { clients: 3, agents: 2, leases: 2 };
    let mut kinds = BTreeSet::new();
    for seed in 0..200 {
        let (mut single, board) = (Single::new(width.agents), Board::new(width.agents));
        let mut workloads: Vec<Workload> =
            (0..width.clients).map(|client| Workload::new(client, width, seed)).collect();
        let mut states: BTreeMap<Key, State> = BTreeMap::new();
        for turn in 0..400_u32 {
            let client = turn % width.clients;
            let (key, call) = workloads[client as usize].next(&board);
            let key = match call {
                Call::Agent(AgentCall::Read) => Key::Agent(turn / 7 % width.agents),
                _ => key,
            };
            let (reply, _) = single.ask(client, key, call);
            let state = states.entry(key).or_insert_with(|| AgentState::initial(&key));
            let after = AgentState::step(state, client, &call, Some(&reply));
            *state = after.unwrap_or_else(|| {
                let expected = AgentState::expected(state, client, &call);
                panic!("seed {seed}, turn {turn}: {key}: {call:?}: {reply:?}, model: {expected}, {state:?}")
            });
            workloads[client as usize].heard(key, call, &reply, &board);
            kinds.insert(kind(&reply));
        }
    }
    // Otherwise this compares little.
    let activities = [
        Activity::SignedOut,
        Activity::NotReady,
        Activity::Ready,
        Activity::Reserved,
        Activity::Talking,
        Activity::WrapUp,
    ];
    let met = activities.map(|it| format!("{it:?}"));
    let codes = "ALREADY_SIGNED_IN NOT_SIGNED_IN NOT_READY ALREADY_RESERVED IN_WRAP_UP NOT_IN_WRAP_UP \
                 NO_SUCH_RESERVATION ALREADY_ACCEPTED NOT_ACCEPTED STALE_EPOCH HeldBy Epoch Token Session Done";
    let wanted = met.iter().map(String::as_str).chain(codes.split_whitespace());
    let wanted = wanted.chain(["Released true", "Released false"]);
    let missing: Vec<&str> = wanted.filter(|it| !kinds.contains(*it)).collect();
    assert!(missing.is_empty(), "no run met with {missing:?}");
}
