//! One story a test: what is told, and what comes of it, line by line.

use expect_test::{Expect, expect};

use super::bench::*;
use super::*;
use crate::facts::*;
use crate::vocabulary::*;

/// Three agents who speak German, Anna also English; owned under epoch 7.
pub(super) fn bench() -> Bench {
    Bench::new(
        7,
        vec![
            queue(QUEUE),
            agent("anna", &["german", "english"]),
            agent("bert", &["german"]),
            agent("cora", &["german"]),
        ],
    )
}

#[track_caller]
pub(super) fn check(bench: &mut Bench, expected: Expect) {
    expected.assert_eq(&bench.told());
}

/// Anna has been idle longest, then Bert; the first contact's reservation is granted and it is offered to Anna.
pub(super) fn offered() -> Bench {
    let mut bench = bench();
    bench.comes("anna");
    bench.wait(Millis(10));
    bench.comes("bert");
    bench.wait(Millis(10));
    bench.queues("one", &["german"]);
    bench.granted("r0-7-1", 51);
    bench.tell_agents(vec![reserved("anna", "r0-7-1", "one", 51, 7)]);
    bench.told();
    bench
}

#[test]
fn who_is_idle_longest_is_asked_for_then_offered_and_the_others_are_told_why_not() {
    let mut bench = bench();
    bench.comes("anna");
    bench.wait(Millis(10));
    bench.comes("bert");
    bench.tell_agents(vec![signed_in("cora")]);
    bench.wait(Millis(10));
    bench.queues("one", &["german"]);
    check(
        &mut bench,
        expect![[r#"
            queued ctc_one at 1
            → reserve agt_anna for ctc_one until 15020: ofr_r0-7-1
        "#]],
    );
    bench.granted("r0-7-1", 51);
    check(
        &mut bench,
        expect![[r#"
            offered ctc_one to agt_anna, round 1, not agt_bert (idle less long), not agt_cora (not ready)
            → offer ofr_r0-7-1 of ctc_one to agt_anna
        "#]],
    );
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
fn a_declined_contact_keeps_its_place_and_goes_to_the_next_agent_at_once() {
    let mut bench = offered();
    bench.wait(Millis(5_000));
    bench.tell_contacts(vec![declined("one", "r0-7-1", "anna")]);
    check(
        &mut bench,
        expect![[r#"
            ended ofr_r0-7-1 Declined
            → reserve agt_bert for ctc_one until 20020: ofr_r0-7-2
        "#]],
    );
    // The next one is not there after all; meanwhile another contact comes.
    bench.refused("r0-7-2", "NOT_READY");
    bench.tell_agents(vec![not_ready("bert")]);
    bench.queues("two", &["german"]);
    bench.told();
    bench.wait(Millis(5_000));
    bench.tell_agents(vec![ready("bert")]);
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_bert for ctc_one until 25020: ofr_r0-7-3
        "#]],
    );
}

#[test]
fn who_missed_a_contact_is_not_offered_it_again_before_its_time() {
    let mut bench = offered();
    bench.tell_agents(vec![not_ready("bert")]);
    bench.tell_contacts(vec![unanswered("one", "r0-7-1", "anna")]);
    bench.tell_agents(vec![released("anna", "r0-7-1", "one", 51, ReleaseOutcome::Unanswered)]);
    check(
        &mut bench,
        expect![[r#"
        ended ofr_r0-7-1 Unanswered
    "#]],
    );
    // Another contact may have her at once.
    bench.queues("two", &["english"]);
    check(
        &mut bench,
        expect![[r#"
            queued ctc_two at 2
            → reserve agt_anna for ctc_two until 15020: ofr_r0-7-2
        "#]],
    );
    bench.refused("r0-7-2", "IN_WRAP_UP");
    bench.tell_contacts(vec![abandoned("two")]);
    bench.told();
    bench.wait(Millis(29_999));
    check(&mut bench, expect![""]);
    bench.wait(Millis(1));
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_anna for ctc_one until 45020: ofr_r0-7-3
        "#]],
    );
}

#[test]
fn a_caller_who_leaves_before_the_grant_is_offered_to_nobody() {
    let mut bench = bench();
    bench.comes("anna");
    bench.queues("one", &["german"]);
    bench.tell_contacts(vec![abandoned("one")]);
    check(
        &mut bench,
        expect![[r#"
            queued ctc_one at 1
            → reserve agt_anna for ctc_one until 15000: ofr_r0-7-1
            left ctc_one Abandoned
        "#]],
    );
    bench.granted("r0-7-1", 51);
    check(
        &mut bench,
        expect![[r#"
            → release agt_anna token 51
        "#]],
    );
}

#[test]
fn a_grant_that_comes_after_its_own_time_is_given_back() {
    let mut bench = bench();
    bench.comes("anna");
    bench.queues("one", &["german"]);
    bench.told();
    bench.wait(Millis(15_000));
    bench.granted("r0-7-1", 51);
    check(
        &mut bench,
        expect![[r#"
        → release agt_anna token 51
        → reserve agt_anna for ctc_one until 30000: ofr_r0-7-2
    "#]],
    );
}

#[test]
fn a_caller_who_leaves_while_it_rings_ends_the_offer() {
    let mut bench = offered();
    let offer = bench.last_offer();
    bench.tell_contacts(vec![abandoned("one")]);
    check(
        &mut bench,
        expect![[r#"
        ended ofr_r0-7-1 Withdrawn
        left ctc_one Abandoned
    "#]],
    );
    // The node heard of the offer too late: it will not release what it never took.
    bench.give(Input::OfferRefused { offer, refusal: OfferRefusal::ContactGone });
    check(
        &mut bench,
        expect![[r#"
            → release agt_anna token 51
        "#]],
    );
}

#[test]
fn an_offer_of_which_nothing_is_heard_lapses_and_the_next_agent_is_offered() {
    let mut bench = offered();
    bench.wait(Millis(16_999));
    check(&mut bench, expect![""]);
    bench.wait(Millis(1));
    check(
        &mut bench,
        expect![[r#"
            ended ofr_r0-7-1 Lapsed
            → cancel ofr_r0-7-1
            → release agt_anna token 51
            → reserve agt_bert for ctc_one until 32020: ofr_r0-7-2
        "#]],
    );
}

#[test]
fn an_offer_that_was_answered_does_not_lapse_while_its_facts_are_on_their_way() {
    let mut bench = offered();
    bench.tell_agents(vec![accepted("anna", "r0-7-1", "one", 51)]);
    bench.wait(Millis(60_000));
    check(&mut bench, expect![""]);
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
fn an_offer_whose_agent_signed_out_or_whose_hold_ran_out_is_over() {
    for outcome in [ReleaseOutcome::SignedOut, ReleaseOutcome::Expired] {
        let mut bench = offered();
        bench.tell_agents(vec![released("anna", "r0-7-1", "one", 51, outcome)]);
        let over = "ended ofr_r0-7-1 Lapsed\n→ cancel ofr_r0-7-1\n";
        assert!(bench.told().starts_with(over), "{outcome:?}");
        assert!(bench.router.book().waiting(&contact_id("one")).is_some());
    }
    // What the media node releases, it also tells in the contacts log.
    let mut bench = offered();
    bench.tell_agents(vec![released("anna", "r0-7-1", "one", 51, ReleaseOutcome::Declined)]);
    check(&mut bench, expect![""]);
}

#[test]
fn a_refusal_about_the_agent_goes_to_the_next_and_one_about_the_contact_waits() {
    let mut bench = bench();
    bench.comes("anna");
    bench.wait(Millis(10));
    bench.comes("bert");
    bench.queues("one", &["german"]);
    bench.told();
    bench.refused("r0-7-1", "NOT_READY");
    check(
        &mut bench,
        expect![[r#"
            refused agt_anna for ctc_one: NOT_READY
            → reserve agt_bert for ctc_one until 15010: ofr_r0-7-2
        "#]],
    );
    bench.refused("r0-7-2", "CONTACT_RESERVED");
    check(
        &mut bench,
        expect![[r#"
        refused agt_bert for ctc_one: CONTACT_RESERVED
    "#]],
    );
    bench.wait(Millis(500));
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_bert for ctc_one until 15510: ofr_r0-7-3
        "#]],
    );
}

#[test]
fn the_order_of_service_is_priority_then_waiting_then_id() {
    let mut bench = bench();
    let at = Timestamp(0);
    bench.tell_contacts(vec![
        requested("b", 0, at, &["german"]),
        requested("a", 0, at, &["german"]),
        requested("late", 0, at + Millis(5), &["german"]),
        requested("vip", -1, at + Millis(9), &["german"]),
    ]);
    check(
        &mut bench,
        expect![[r#"
        queued ctc_b at 1
        queued ctc_a at 1
        queued ctc_late at 3
        queued ctc_vip at 1
    "#]],
    );
    bench.wait(Millis(100));
    bench.comes("anna");
    bench.comes("bert");
    bench.comes("cora");
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_anna for ctc_vip until 15100: ofr_r0-7-1
            → reserve agt_bert for ctc_a until 15100: ofr_r0-7-2
            → reserve agt_cora for ctc_b until 15100: ofr_r0-7-3
        "#]],
    );
}

#[test]
fn an_agent_takes_the_first_contact_in_order_whose_skills_it_has() {
    let mut bench = bench();
    bench.queues("dutch", &["dutch"]);
    bench.wait(Millis(1));
    bench.queues("both", &["english", "german"]);
    bench.wait(Millis(1));
    bench.queues("german", &["german"]);
    bench.told();
    bench.comes("bert");
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_bert for ctc_german until 15002: ofr_r0-7-1
        "#]],
    );
    bench.comes("anna");
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_anna for ctc_both until 15002: ofr_r0-7-2
        "#]],
    );
}

#[test]
fn an_agent_without_a_telephone_or_unknown_to_the_directory_is_not_asked_for() {
    let mut bench = bench();
    bench.queues("one", &[]);
    bench.tell_agents(vec![signed_in("anna"), ready("anna")]);
    bench.comes("zoe");
    check(
        &mut bench,
        expect![[r#"
        queued ctc_one at 1
    "#]],
    );
    bench.tell_agents(vec![registered("anna")]);
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_anna for ctc_one until 15000: ofr_r0-7-1
        "#]],
    );
}

#[test]
fn an_offer_given_up_too_soon_and_answered_all_the_same_ends_the_one_after_it() {
    let mut bench = offered();
    bench.wait(Millis(17_000));
    bench.granted("r0-7-2", 52);
    bench.told();
    bench.tell_contacts(vec![connected("one", "r0-7-1", "anna")]);
    check(
        &mut bench,
        expect![[r#"
            ended ofr_r0-7-2 Withdrawn
            left ctc_one Answered
            → cancel ofr_r0-7-2
            → release agt_bert token 52
        "#]],
    );
}

#[test]
fn a_node_that_cannot_be_reached_ends_the_offer_and_the_contact_waits_a_moment() {
    let mut bench = offered();
    let offer = bench.last_offer();
    bench.give(Input::OfferRefused { offer, refusal: OfferRefusal::NodeUnreachable });
    check(
        &mut bench,
        expect![[r#"
            ended ofr_r0-7-1 Failed(NodeLost)
            → release agt_anna token 51
        "#]],
    );
    bench.wait(Millis(500));
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_bert for ctc_one until 15520: ofr_r0-7-2
        "#]],
    );
}

#[test]
fn a_skill_that_an_agent_has_from_tomorrow_on_serves_from_tomorrow_on() {
    let mut bench = bench();
    bench.comes("bert");
    bench.queues("one", &["dutch"]);
    let tomorrow = DirectoryFact::RevisionApplied {
        revision: 2,
        author: "ada".to_owned(),
        effective_at: Timestamp(86_400_000),
        source_sha256: String::new(),
    };
    bench.define(vec![tomorrow, agent("bert", &["german", "dutch"])]);
    bench.wait(Millis(86_399_999));
    check(
        &mut bench,
        expect![[r#"
        queued ctc_one at 1
    "#]],
    );
    bench.wait(Millis(1));
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_bert for ctc_one until 86415000: ofr_r0-7-1
        "#]],
    );
}

#[test]
fn a_skill_given_while_a_contact_waits_for_it_serves_at_once() {
    let mut bench = bench();
    bench.comes("bert");
    bench.queues("one", &["dutch"]);
    bench.told();
    let now = DirectoryFact::RevisionApplied {
        revision: 2,
        author: "ada".to_owned(),
        effective_at: Timestamp(0),
        source_sha256: String::new(),
    };
    bench.define(vec![now, agent("bert", &["german", "dutch"])]);
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_bert for ctc_one until 15000: ofr_r0-7-1
        "#]],
    );
}

#[test]
fn an_agent_whose_telephone_has_not_registered_again_is_not_asked_for_until_it_has() {
    let mut bench = bench();
    let registered_until = |until| AgentFact::DeviceRegistered {
        agent_id: agent_id("bert"),
        device_id: DeviceId::from_name("bert").unwrap(),
        contact_uri: "sip:bert@127.0.0.1".to_owned(),
        node_id: node_id(NODE),
        expires_at: Timestamp(until),
    };
    bench.tell_agents(vec![signed_in("bert"), registered_until(5_000), ready("bert")]);
    bench.wait(Millis(5_000));
    bench.queues("one", &["german"]);
    check(
        &mut bench,
        expect![[r#"
            queued ctc_one at 1
        "#]],
    );
    bench.wait(Millis(1_000));
    bench.tell_agents(vec![registered_until(9_000)]);
    check(
        &mut bench,
        expect![[r#"
            → reserve agt_bert for ctc_one until 21000: ofr_r0-7-1
        "#]],
    );
}
