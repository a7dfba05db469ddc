//! What the first version wrote is read by this one, and a log of it comes to the state it came to then.
//!
//! `golden/first.wal.txt` holds the payloads of Raft entries, `golden/first.state.txt` the snapshot that program made of
//! its state after them; both as hex. No file is ever written again.
#![allow(clippy::unwrap_used, reason = "tests")]

use trunkline_agent_state::door;
use trunkline_agent_state::store::snapshot::{decode_state, encode_state};
use trunkline_domain::agent_state::{Activity, FEATURE_LEVEL, Machine, State};

const WAL: &str = include_str!("golden/first.wal.txt");
const STATE: &str = include_str!("golden/first.state.txt");

fn bytes(digits: &str) -> Vec<u8> {
    let digits: String = digits.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// The payload of each entry, from index 1.
fn entries() -> Vec<Vec<u8>> {
    let pages = WAL.split("# index ").skip(1);
    pages.map(|page| bytes(page.split_once('\n').unwrap().1)).collect()
}

fn replayed() -> Machine {
    let mut machine = Machine::default();
    for (place, payload) in entries().iter().enumerate() {
        for command in door::commands(payload).unwrap() {
            let _ = machine.apply(place as u64 + 1, 3, command);
        }
    }
    machine
}

fn stored() -> State {
    decode_state(&bytes(STATE)).unwrap()
}

#[test]
fn a_state_that_the_first_version_stored_is_read() {
    let state = stored();
    let does: Vec<Activity> = state.agents.values().map(|it| it.activity()).collect();
    use Activity::{NotReady, Reserved, SignedOut, Talking, WrapUp};
    assert_eq!(does, [WrapUp, Talking, NotReady, Talking, Reserved, NotReady, SignedOut]);
    assert_eq!(state.feature_level, 0, "the rules that held then");
    assert_eq!(decode_state(&encode_state(&state)).unwrap(), state, "and is written and read as it is now");
}

#[test]
fn a_log_of_the_first_version_comes_to_the_same_state_facts_and_answers() {
    assert_eq!(replayed().state(), &stored());
}

#[test]
fn a_log_of_the_first_version_goes_on_by_the_newer_rules_once_they_are_raised() {
    let mut machine = replayed();
    let stored = Machine::from_state(stored());
    let raise = trunkline_domain::agent_state::Command {
        command_id: "cmd_raise".parse().unwrap(),
        proposed_at: machine.state().now,
        traceparent: String::new(),
        action: trunkline_domain::agent_state::Action::RaiseFeatureLevel { level: FEATURE_LEVEL },
    };
    let mut restored = stored;
    for machine in [&mut machine, &mut restored] {
        machine.apply(100, 3, raise.clone()).unwrap();
    }
    assert_eq!(machine.state_hash(), restored.state_hash());
    assert_eq!(machine.state().feature_level, FEATURE_LEVEL);
}
