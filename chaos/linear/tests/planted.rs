//! Histories of a sound group pass; of a group with a flaw none does, and the misfit is where the group went wrong.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod single;

use single::{Flaw, make};
use trunkline_linear::check::{CONFIGURATION_COUNT_MAX, Verdict, check};
use trunkline_linear::history::Fate;
use trunkline_linear::model::AgentState;
use trunkline_linear::plant::Plant;
use trunkline_linear::suite::{Judgement, judge, keep, kept};
use trunkline_linear::workload::Width;

const OPERATIONS: usize = 2_000;

#[test]
fn histories_of_a_sound_group_have_an_order() {
    for seed in 0..12 {
        for clients in [8, 16] {
            let width = Width { clients, ..Width::default() };
            let history = make(seed, width, OPERATIONS, Flaw::None).history;
            let unknown = history.iter().filter(|it| matches!(it.fate, Fate::Unknown)).count();
            assert!(unknown > 10, "seed {seed}: {unknown} without an answer");
            let judgement = judge(&history);
            assert!(matches!(judgement, Judgement::Passed { .. }), "seed {seed}: {judgement:?}");
        }
    }
}

#[track_caller]
fn found(flaw: Flaw) {
    for seed in 0..12 {
        let made = make(seed, Width::default(), OPERATIONS, flaw);
        match check::<AgentState>(&made.history, CONFIGURATION_COUNT_MAX) {
            Verdict::Violation(misfit) => {
                let key = made.history[misfit.misfit].key;
                assert!(made.flawed.contains(&key), "seed {seed}: {misfit}");
            }
            other => panic!("seed {seed}: {flaw:?} passes as {other:?}"),
        }
    }
}

#[test]
fn a_stale_read_is_found() {
    found(Flaw::StaleRead);
}

#[test]
fn a_lost_acknowledged_write_is_found() {
    found(Flaw::LostWrite);
}

#[test]
fn a_double_grant_is_found() {
    found(Flaw::DoubleGrant);
}

/// One wrong answer in an otherwise sound history of full length.
#[test]
fn a_single_wrong_answer_is_found_where_it_was_put() {
    for seed in 0..6 {
        let sound = make(seed, Width::default(), OPERATIONS, Flaw::None).history;
        for plant in Plant::ALL {
            let mut history = sound.clone();
            let place = plant.put(&mut history).unwrap_or_else(|| panic!("no room for {plant}"));
            match check::<AgentState>(&history, CONFIGURATION_COUNT_MAX) {
                Verdict::Violation(misfit) => assert_eq!(history[misfit.misfit].key, history[place].key),
                other => panic!("seed {seed}: {plant} passes as {other:?}"),
            }
        }
    }
}

#[test]
fn a_history_that_was_kept_is_the_same_when_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let history = make(3, Width::default(), 300, Flaw::None).history;
    let path = keep(dir.path(), 3, &history).unwrap();
    assert_eq!(kept(path.as_ref()).unwrap(), history);
    std::fs::write(&path, "{}\n").unwrap();
    assert!(kept(path.as_ref()).unwrap_err().to_string().starts_with("could not read"));
    std::fs::write(&path, "").unwrap();
    assert!(kept(path.as_ref()).unwrap_err().to_string().ends_with("it holds no operation"));
}
