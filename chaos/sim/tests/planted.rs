//! Each invariant finds the bug it is for, within a few seeds, and says which seed and how to run it again.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use trunkline_sim::{Bug, Plan, run};

/// In how many seeds a planted bug must be found.
const SEED_COUNT: u64 = 600;

#[track_caller]
fn check(bug: Bug, invariant: &str) {
    let mut others = Vec::new();
    for seed in 1..=SEED_COUNT {
        let report = run(Plan { bug: Some(bug), ..Plan::of(seed) });
        let Some(failure) = report.failure() else { continue };
        if report.violation.unwrap().invariant == invariant {
            println!("{bug:?} after {seed} seeds: {failure}");
            assert!(failure.starts_with(&format!("seed {seed}: {invariant}: ")), "{failure}");
            let again = format!("TRUNKLINE_SIM_SEED={seed} TRUNKLINE_SIM_BUG={bug:?} cargo test");
            assert!(failure.contains(&again), "{failure}");
            return;
        }
        others.push(failure);
    }
    panic!("{invariant} did not find {bug:?} in {SEED_COUNT} seeds; others did: {others:#?}");
}

#[test]
fn an_answer_before_a_majority_has_it_is_found() {
    check(Bug::AckBeforeMajority, "acknowledged_is_kept");
}

#[test]
fn an_answer_before_the_disk_has_it_is_found() {
    check(Bug::AckBeforeSync, "acknowledged_is_kept");
}

#[test]
fn a_voter_that_lost_its_disk_and_kept_its_number_is_found() {
    check(Bug::LostDiskKeepsNumber, "acknowledged_is_kept");
}

#[test]
fn a_clock_read_while_applying_is_found() {
    check(Bug::StampAtApply, "replicas_agree");
}

#[test]
fn answers_forgotten_by_a_restart_are_found() {
    check(Bug::ForgetAnswersOnRestart, "replicas_agree");
}

#[test]
fn a_retry_that_is_a_new_command_is_found() {
    check(Bug::MintAtTheDoor, "one_effect");
}

#[test]
fn a_reservation_dropped_without_a_fact_is_found() {
    check(Bug::ForgetReservation, "one_reservation");
}

#[test]
fn a_call_connected_without_an_acceptance_is_found() {
    check(Bug::BridgeUnasked, "one_reservation");
}

#[test]
fn a_leader_that_does_not_keep_time_is_found() {
    check(Bug::NeverExpire, "deadlines_are_kept");
}

#[test]
fn a_lease_granted_while_it_is_held_is_found() {
    check(Bug::GrantHeldLease, "epochs_rise");
}

#[test]
fn an_epoch_that_does_not_matter_is_found() {
    check(Bug::FillInEpoch, "stale_epochs_are_void");
}

#[test]
fn a_leader_that_publishes_without_reading_is_found() {
    check(Bug::PublishUnread, "facts_are_there_once");
}

#[test]
fn a_fact_recorded_as_published_before_it_is_is_found() {
    check(Bug::AdvanceBeforePublish, "facts_are_there_once");
}

#[test]
fn a_fact_dated_when_it_was_published_is_found() {
    check(Bug::StampAtPublishing, "seconds_add_up");
}

#[test]
fn a_lease_that_never_lapses_is_found() {
    check(Bug::LeaseNeverLapses, "becomes_usable");
}

#[test]
fn an_outbox_that_only_grows_is_found() {
    check(Bug::NeverAdvance, "becomes_usable");
}

#[test]
fn a_routing_owner_that_decides_without_reading_is_found() {
    check(Bug::TakeOverUnread, "routing_goes_on");
}

#[test]
fn a_media_node_that_forgets_what_it_lost_is_found() {
    check(Bug::NeverRecover, "becomes_usable");
}

#[test]
fn a_phone_that_rings_on_when_another_has_answered_is_found() {
    check(Bug::RingOn, "one_reservation");
}

#[test]
fn an_agent_that_is_given_more_than_it_serves_is_found() {
    check(Bug::ServeAnything, "one_reservation");
}

#[test]
fn a_media_node_that_ends_what_others_have_is_found() {
    check(Bug::RecoverOthers, "routing_goes_on");
}
