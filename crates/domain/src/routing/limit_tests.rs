//! A queue holds so many and no more: one story a test.

use expect_test::{Expect, expect};

use super::bench::*;
use crate::facts::*;
use crate::vocabulary::*;

/// A queue for two, which has them.
fn full() -> Bench {
    let mut bench = Bench::new(7, vec![queue_for(QUEUE, 2), agent("anna", &["german"])]);
    bench.queues("one", &["german"]);
    bench.queues("two", &["german"]);
    bench.told();
    bench
}

#[track_caller]
fn check(bench: &mut Bench, expected: Expect) {
    expected.assert_eq(&bench.told());
}

#[test]
fn who_finds_the_queue_full_is_turned_away_and_who_finds_room_is_not() {
    let mut bench = full();
    bench.queues("three", &["german"]);
    check(
        &mut bench,
        expect![[r#"
        turned away ctc_three, 2 wait
        → turn away ctc_three at one:1
    "#]],
    );
    bench.tell_contacts(vec![flowed_out("three"), ended("three")]);
    check(
        &mut bench,
        expect![[r#"
        left ctc_three FlowedOut
    "#]],
    );
    bench.tell_contacts(vec![abandoned("one"), ended("one")]);
    bench.queues("four", &["german"]);
    check(
        &mut bench,
        expect![[r#"
        left ctc_one Abandoned
        queued ctc_four at 1
    "#]],
    );
    assert_eq!(bench.router.book().waiting_in(&QueueId::from_name(QUEUE).unwrap()), 2);
}

#[test]
fn who_is_offered_still_waits_and_who_was_answered_does_not() {
    let mut bench = full();
    bench.comes("anna");
    bench.granted("r0-7-1", 51);
    bench.queues("three", &["german"]);
    bench.tell_contacts(vec![connected("one", "r0-7-1", "anna")]);
    bench.queues("four", &["german"]);
    check(
        &mut bench,
        expect![[r#"
        → reserve agt_anna for ctc_one until 15000: ofr_r0-7-1
        offered ctc_one to agt_anna, round 1
        → offer ofr_r0-7-1 of ctc_one to agt_anna
        turned away ctc_three, 2 wait
        → turn away ctc_three at one:1
        accepted ctc_one by agt_anna
        left ctc_one Answered
        → reserve agt_anna for ctc_two until 15000: ofr_r0-7-2
        queued ctc_four at 1
    "#]],
    );
}

#[test]
fn the_media_node_is_told_again_until_the_contacts_log_says_that_the_visit_is_over() {
    let mut bench = full();
    bench.queues("three", &["german"]);
    bench.told();
    bench.wait(Millis(999));
    check(&mut bench, expect![[""]]);
    bench.wait(Millis(1_001));
    check(
        &mut bench,
        expect![[r#"
        → turn away ctc_three at one:1
        → turn away ctc_three at one:1
    "#]],
    );
    // Nobody to tell.
    bench.tell_agents(vec![node_lapsed(1)]);
    bench.wait(Millis(5_000));
    check(&mut bench, expect![[""]]);
    bench.tell_agents(vec![node_granted(2)]);
    bench.wait(Millis(1_000));
    check(
        &mut bench,
        expect![[r#"
        → turn away ctc_three at one:1
    "#]],
    );
    bench.tell_contacts(vec![flowed_out("three"), ended("three")]);
    bench.wait(Millis(60_000));
    check(
        &mut bench,
        expect![[r#"
        left ctc_three FlowedOut
    "#]],
    );
}

#[test]
fn a_turned_away_caller_who_hangs_up_first_or_whose_node_is_lost_is_told_no_more() {
    for (fact, left) in [(abandoned("three"), "Abandoned"), (ended("three"), "Ended")] {
        let mut bench = full();
        bench.queues("three", &["german"]);
        bench.told();
        bench.tell_contacts(vec![fact]);
        assert_eq!(bench.told(), format!("left ctc_three {left}\n"));
        bench.wait(Millis(60_000));
        assert_eq!(bench.told(), "");
    }
}

#[test]
fn a_new_owner_tells_again_who_was_turned_away_and_has_not_ended() {
    let mut bench = full();
    bench.queues("three", &["german"]);
    let mut bench = bench.restarted(8);
    check(
        &mut bench,
        expect![[r#"
        taken 8
        → turn away ctc_three at one:1
    "#]],
    );
    // The end that stands in the contacts log behind what was consumed is taken into account first.
    bench.log_contacts(vec![flowed_out("three"), ended("three")]);
    let mut bench = bench.restarted(9);
    check(
        &mut bench,
        expect![[r#"
        taken 9
        left ctc_three FlowedOut
    "#]],
    );
    // A sequence without a gap, over three owners.
    let facts = bench.own.iter().flat_map(|outcome| &outcome.facts);
    let three: Vec<_> = facts.filter(|it| it.meta.stream == "ctc_three").map(|it| it.meta.sequence).collect();
    assert_eq!(three, [1, 2]);
}

#[test]
fn a_new_owner_decides_about_who_came_while_nobody_owned_the_partition() {
    let mut bench = full();
    bench.log_contacts(vec![requested("three", 0, bench.now, &["german"])]);
    bench.log_contacts(vec![abandoned("one"), ended("one")]);
    bench.log_contacts(vec![requested("four", 0, bench.now, &["german"])]);
    let mut bench = bench.restarted(8);
    check(
        &mut bench,
        expect![[r#"
        taken 8
        turned away ctc_three, 2 wait
        left ctc_one Abandoned
        queued ctc_four at 1
        → turn away ctc_three at one:1
    "#]],
    );
}

#[test]
fn the_definition_in_force_decides_and_zero_is_no_limit() {
    let mut bench = full();
    let revision = |revision, effective_at| DirectoryFact::RevisionApplied {
        revision,
        author: "ada".to_owned(),
        effective_at,
        source_sha256: String::new(),
    };
    bench.define(vec![revision(2, bench.now + Millis(1_000)), queue_for(QUEUE, 3)]);
    bench.queues("three", &["german"]);
    bench.wait(Millis(1_000));
    bench.queues("four", &["german"]);
    bench.define(vec![revision(3, bench.now), queue_for(QUEUE, 1)]);
    // Nobody who waits is sent away by a smaller limit.
    bench.queues("five", &["german"]);
    bench.define(vec![revision(4, bench.now), queue_for(QUEUE, 0)]);
    bench.queues("six", &["german"]);
    check(
        &mut bench,
        expect![[r#"
        turned away ctc_three, 2 wait
        → turn away ctc_three at one:1
        → turn away ctc_three at one:1
        queued ctc_four at 3
        turned away ctc_five, 3 wait
        → turn away ctc_five at one:1
        queued ctc_six at 4
    "#]],
    );
}

#[test]
fn a_turned_away_contact_told_twice_is_turned_away_once_and_keeps_no_place() {
    let mut bench = full();
    bench.queues("three", &["german"]);
    bench.told();
    let again = requested("three", 0, bench.now, &["german"]);
    bench.tell_contacts(vec![abandoned("one"), again]);
    bench.comes("anna");
    check(
        &mut bench,
        expect![[r#"
        left ctc_one Abandoned
        → reserve agt_anna for ctc_two until 15000: ofr_r0-7-1
    "#]],
    );
}
