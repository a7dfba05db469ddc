//! The search and its naive twin, which tries every order, say the same of every short history.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod single;

use proptest::prelude::*;
use single::{Flaw, make};
use trunkline_linear::check::{CONFIGURATION_COUNT_MAX, Model, Verdict, check};
use trunkline_linear::history::{Fate, Operation};
use trunkline_linear::model::{AgentCall, AgentState, Call, Ending, Key, LeaseCall, Mark, Op, Reply, State};
use trunkline_linear::workload::Width;

/// Whether there is an order of what returned before `until` in a history of one key, by the definition and nothing else.
fn naive(history: &[Op], until: u64, placed: &mut Vec<bool>, state: &State) -> bool {
    let open = |place: usize, placed: &[bool], until: u64| {
        !placed[place] && history[place].returned_at().is_some_and(|at| at < until)
    };
    if (0..history.len()).all(|place| !open(place, placed, until)) {
        return true;
    }
    for place in 0..history.len() {
        let next = &history[place];
        // Whatever returned before it was called must stand before it.
        let early = (0..history.len()).any(|other| open(other, placed, next.called_at));
        if placed[place] || early || matches!(next.fate, Fate::Fail) {
            continue;
        }
        if let Some(after) = AgentState::step(state, next.client, &next.call, next.reply()) {
            placed[place] = true;
            if naive(history, until, placed, &after) {
                return true;
            }
            placed[place] = false;
        }
    }
    false
}

/// The twin's verdict on one key.
fn ordered(history: &[Op], key: Key, until: u64) -> bool {
    let own: Vec<Op> = history.iter().filter(|it| it.key == key).cloned().collect();
    naive(&own, until, &mut vec![false; own.len()], &AgentState::initial(&key))
}

fn agree(history: &[Op]) -> bool {
    let keys: std::collections::BTreeSet<Key> = history.iter().map(|it| it.key).collect();
    let ordered = keys.iter().all(|key| ordered(history, *key, u64::MAX));
    let verdict = check::<AgentState>(history, CONFIGURATION_COUNT_MAX);
    match &verdict {
        Verdict::Linearizable { .. } => assert!(ordered, "the search sees an order: {history:#?}"),
        Verdict::Violation(misfit) => {
            assert!(!ordered, "the search sees none: {misfit}\n{history:#?}");
            explained(history, misfit.misfit, &misfit.placed);
        }
        Verdict::Unknown { .. } => panic!("given up: {history:#?}"),
    }
    ordered
}

/// What is given as the longest part that has an order has it, and it is all that the misfit needs.
fn explained(history: &[Op], misfit: usize, placed: &[usize]) {
    let key = history[misfit].key;
    let mut state = AgentState::initial(&key);
    for place in placed {
        let next = &history[*place];
        state = AgentState::step(&state, next.client, &next.call, next.reply()).unwrap();
    }
    let until = history[misfit].returned_at().unwrap();
    let called: Vec<Op> = history.iter().filter(|it| it.called_at <= until).cloned().collect();
    assert!(!ordered(&called, key, until + 1), "what was called after it returned plays a part");
    assert!(ordered(&called, key, until), "there is none without it either");
}

fn lease_operation() -> impl Strategy<Value = Op> {
    let call = prop_oneof![
        3 => Just(LeaseCall::Acquire),
        1 => (1_u64..4).prop_map(|epoch| LeaseCall::Renew { epoch }),
        2 => (1_u64..4).prop_map(|epoch| LeaseCall::Release { epoch }),
    ];
    (0_u32..3, call, 0_u64..24, 1_u64..10, 0_u8..10, 1_u64..4).prop_map(
        |(client, call, called_at, length, luck, number)| {
            let reply = match call {
                LeaseCall::Acquire if luck < 3 => Reply::HeldBy(number as u32 - 1),
                LeaseCall::Acquire => Reply::Epoch(number),
                _ if luck < 3 => Reply::Refused("STALE_EPOCH".to_owned()),
                _ => Reply::Done,
            };
            let fate = match luck {
                8 => Fate::Fail,
                9 => Fate::Unknown,
                _ => Fate::Ok { reply, returned_at: called_at + length },
            };
            Operation { client, key: Key::Lease(0), call: Call::Lease(call), called_at, fate, index: None }
        },
    )
}

fn agent_operation() -> impl Strategy<Value = Op> {
    let call = prop_oneof![
        2 => Just((AgentCall::SignIn { session: Mark(1) }, Reply::Session(Mark(1)), "ALREADY_SIGNED_IN")),
        1 => Just((AgentCall::SignOut, Reply::Session(Mark(1)), "NOT_SIGNED_IN")),
        3 => Just((AgentCall::GoReady, Reply::Done, "NOT_SIGNED_IN")),
        3 => (1_u64..3).prop_map(|it| {
            (AgentCall::Reserve { offer: Mark(it) }, Reply::Token(it), "NOT_READY")
        }),
        2 => (1_u64..3).prop_map(|it| {
            let (offer, token) = (Mark(it), it);
            (AgentCall::Release { offer, token, ending: Ending::Declined }, Reply::Released(true), "")
        }),
    ];
    (0_u32..3, call, 0_u64..24, 1_u64..12, 0_u8..12).prop_map(
        |(client, (call, good, bad), called_at, length, luck)| {
            let bad = if bad.is_empty() { Reply::Released(false) } else { Reply::Refused(bad.to_owned()) };
            let fate = match luck {
                10 | 11 => Fate::Unknown,
                0..2 => Fate::Ok { reply: bad, returned_at: called_at + length },
                _ => Fate::Ok { reply: good, returned_at: called_at + length },
            };
            Operation { client, key: Key::Agent(0), call: Call::Agent(call), called_at, fate, index: None }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn they_agree_on_made_up_answers_about_a_lease(history in prop::collection::vec(lease_operation(), 1..7)) {
        agree(&history);
    }

    #[test]
    fn they_agree_on_made_up_answers_about_an_agent(history in prop::collection::vec(agent_operation(), 1..7)) {
        agree(&history);
    }
}

/// Histories of a group, sound and not, cut to a length that the twin can bear.
#[test]
fn they_agree_on_what_a_group_answers() {
    let width = Width { clients: 4, agents: 1, leases: 1 };
    let (mut sound, mut broken) = (0, 0);
    for seed in 0..400 {
        for flaw in [Flaw::None, Flaw::StaleRead, Flaw::LostWrite, Flaw::DoubleGrant] {
            let ordered = agree(&make(seed, width, 18, flaw).history);
            assert!(ordered || flaw != Flaw::None);
            *(if ordered { &mut sound } else { &mut broken }) += 1;
        }
    }
    assert!(sound > 100 && broken > 5, "{sound} sound, {broken} broken: this compares little");
}
