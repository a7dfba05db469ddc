//! Restarts, lost nodes, and records told twice: one story a test.

use expect_test::expect;

use super::bench::*;
use super::table_tests::{bench, check, offered};
use super::*;
use crate::facts::*;
use crate::vocabulary::*;

#[test]
fn a_contact_on_a_node_without_a_lease_is_offered_when_the_node_is_back() {
    let mut bench = bench();
    bench.tell_agents(vec![node_lapsed(1)]);
    bench.comes("anna");
    bench.queues("one", &["german"]);
    check(
        &mut bench,
        expect![[r#"
        queued ctc_one at 1
    "#]],
    );
    bench.tell_agents(vec![node_granted(9)]);
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_anna for ctc_one until 15000: ofr_r0-7-1
        "#]],
    );
    // An old lapse that arrives late is not about the new lease.
    bench.tell_agents(vec![node_lapsed(1)]);
    bench.granted("r0-7-1", 51);
    check(
        &mut bench,
        expect![[r#"
            offered ctc_one to agt_anna, round 1
            → offer ofr_r0-7-1 of ctc_one to agt_anna
        "#]],
    );
}

#[test]
fn a_restart_in_the_middle_of_an_offer_tells_it_again_and_forgets_nothing() {
    let bench = offered();
    let before = bench.router.book().waiting(&contact_id("one")).unwrap().clone();
    let mut bench = bench.restarted(9);
    check(
        &mut bench,
        expect![[r#"
            taken 9
            → offer ofr_r0-7-1 of ctc_one to agt_anna
        "#]],
    );
    assert_eq!(bench.router.book().waiting(&contact_id("one")), Some(&before));
    bench.tell_contacts(vec![connected("one", "r0-7-1", "anna")]);
    check(
        &mut bench,
        expect![[r#"
        accepted ctc_one by agt_anna
        left ctc_one Answered
    "#]],
    );
}

#[test]
fn a_restart_after_the_offer_s_time_lets_it_lapse() {
    let mut bench = offered();
    bench.now = bench.now + Millis(20_000);
    let mut bench = bench.restarted(9);
    check(
        &mut bench,
        expect![[r#"
            taken 9
            ended ofr_r0-7-1 Lapsed
            → cancel ofr_r0-7-1
            → release agt_anna token 51
            → reserve agt_bert for ctc_one until 35020: ofr_r0-9-1
        "#]],
    );
}

#[test]
fn a_hold_that_a_dead_owner_never_turned_into_an_offer_is_given_back() {
    let mut bench = bench();
    bench.comes("anna");
    bench.queues("one", &["german"]);
    // Granted, and the owner died before it heard of it.
    bench.tell_agents(vec![reserved("anna", "r0-7-1", "one", 51, 7)]);
    let mut bench = bench.restarted(9);
    check(
        &mut bench,
        expect![[r#"
            taken 9
            → release agt_anna token 51
        "#]],
    );
    bench.tell_agents(vec![released("anna", "r0-7-1", "one", 51, ReleaseOutcome::Rescinded)]);
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_anna for ctc_one until 15000: ofr_r0-9-1
        "#]],
    );
    // One that shows up only now is given back too; one that was offered and declined is the node's to release.
    bench.granted("r0-9-1", 60);
    bench.tell_agents(vec![reserved("anna", "r0-9-1", "one", 60, 9)]);
    bench.tell_contacts(vec![declined("one", "r0-9-1", "anna")]);
    bench.told();
    let mut bench = bench.restarted(11);
    check(
        &mut bench,
        expect![[r#"
        taken 11
    "#]],
    );
    bench.tell_agents(vec![reserved("bert", "r0-9-2", "gone", 61, 9)]);
    check(
        &mut bench,
        expect![[r#"
            → release agt_bert token 61
        "#]],
    );
}

#[test]
fn a_contact_that_left_while_nobody_owned_the_partition_is_found_gone() {
    let mut bench = offered();
    bench.contacts.push(bench.contacts[0].clone());
    let last = bench.contacts.len() - 1;
    bench.contacts[last].facts[0].fact = ended("one");
    let mut bench = bench.restarted(9);
    check(
        &mut bench,
        expect![[r#"
            taken 9
            ended ofr_r0-7-1 Withdrawn
            left ctc_one Ended
        "#]],
    );
}

#[test]
fn what_is_told_twice_or_late_changes_nothing() {
    let mut bench = offered();
    let hash = bench.router.state_hash();
    let agents = bench.agents.clone();
    for (index, outcome) in agents.into_iter().enumerate() {
        let position = Position(index as u64);
        bench.give(Input::Agents { cell: Cell(0), position, outcome });
    }
    let contacts = bench.contacts.clone();
    for (index, outcome) in contacts.into_iter().enumerate() {
        bench.give(Input::Contacts { position: Position(index as u64), outcome });
    }
    bench.granted("r0-7-1", 51);
    bench.granted("r0-7-99", 99);
    check(&mut bench, expect![""]);
    assert_eq!(bench.router.state_hash(), hash);
}

#[test]
fn a_long_time_without_decisions_is_recorded_as_consumed() {
    let mut bench = bench();
    for _ in 0..1_024 {
        let contact_id = contact_id("one");
        bench.tell_contacts(vec![ContactFact::PromptStarted { contact_id, prompt: "hello".to_owned() }]);
    }
    check(
        &mut bench,
        expect![[r#"
        consumed
    "#]],
    );
    let consumed = bench.own.last().unwrap().consumed.clone();
    assert!(consumed.iter().any(|it| it.log == LogName::Contacts && it.position == Position(1_023)));
}
