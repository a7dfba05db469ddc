//! A contact that rings at many at once: the first who accepts has it.

use expect_test::expect;

use super::*;

fn rings(name: &str, contact: &str) -> Wish {
    Wish { ring_many: true, ..wish(name, contact, "main", 20_000) }
}

/// Anna, Ben and Cleo ready: indexes 4 to 11.
fn three_ready() -> Vec<Step> {
    let cleo = [
        (10, define_roster(2, &["anna", "ben", "cleo"])),
        (20, register("cleo", "phone", "sip:cleo@10.0.0.3", 900_000)),
    ];
    let ready = |name| [(100, sign_in(name)), (200, go_ready(name))];
    cleo.into_iter().chain(["anna", "ben", "cleo"].into_iter().flat_map(ready)).collect()
}

/// Contact `c` rings at all three: index 12, tokens from 12 · 1024 on.
fn ringing() -> Vec<Step> {
    let wishes = [rings("anna", "c"), rings("ben", "c"), rings("cleo", "c")];
    [three_ready(), vec![(1_000, reserve(&wishes))]].concat()
}

const FIRST: u64 = 12 * 1024;

#[test]
fn a_set_is_reserved_in_one_command_and_the_first_to_accept_has_the_contact() {
    check(
        &ringing(),
        (2_000, accept("ben", "c", FIRST + 1)),
        expect![[r#"
            Accepted
            @2000 ReservationAccepted: agent_id: agt_ben, offer_id: ofr_c-ben, contact_id: ctc_c, token: 12289
            @2000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 12288, outcome: Rescinded
            @2000 ReservationReleased: agent_id: agt_cleo, offer_id: ofr_c-cleo, contact_id: ctc_c, token: 12290, outcome: Rescinded
        "#]],
    );
}

#[test]
fn whoever_answers_second_is_told_that_there_is_nothing_to_answer_and_is_free() {
    let one_was_first = [ringing(), vec![(2_000, accept("ben", "c", FIRST + 1))]].concat();
    check(
        &one_was_first,
        (2_000, accept("anna", "c", FIRST)),
        expect![[r#"
            rejected: there is no such reservation, or no longer
        "#]],
    );
    check(
        &one_was_first,
        (2_001, reserve(&[wish("anna", "other", "main", 20_000)])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_other-anna, granted: Ok(14336) }] }
            @2001 AgentReserved: agent_id: agt_anna, offer_id: ofr_other-anna, contact_id: ctc_other, company_id: cmp_acme, queue_id: que_main, token: 14336, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Voice
        "#]],
    );
}

#[test]
fn who_declines_or_leaves_does_not_end_the_ringing_of_the_others() {
    let two_are_gone =
        [(1_500, release("anna", "c", FIRST, ReleaseOutcome::Declined)), (1_600, sign_out("cleo"))];
    check(
        &[ringing(), two_are_gone.to_vec()].concat(),
        (2_000, accept("ben", "c", FIRST + 1)),
        expect![[r#"
            Accepted
            @2000 ReservationAccepted: agent_id: agt_ben, offer_id: ofr_c-ben, contact_id: ctc_c, token: 12289
        "#]],
    );
}

#[test]
fn who_is_rescinded_has_missed_nothing() {
    let mut world = World::new();
    for (at, action) in [ringing(), vec![(2_000, accept("ben", "c", FIRST + 1))]].concat() {
        world.now = at;
        world.apply(action).unwrap();
    }
    assert_eq!(world.machine.state().agents[&agent("anna")].missed_count, 0);
}

#[test]
fn more_may_join_while_it_rings_and_nobody_may_who_wants_it_alone_or_comes_too_late() {
    let early = [three_ready(), vec![(1_000, reserve(&[rings("anna", "c")]))]].concat();
    check(
        &early,
        (1_500, reserve(&[wish("ben", "c", "main", 20_000), rings("cleo", "c")])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_c-ben, granted: Err(ContactReserved { offer_id: ofr_c-anna }) }, WishAnswer { offer_id: ofr_c-cleo, granted: Ok(13313) }] }
            @1500 AgentReserved: agent_id: agt_cleo, offer_id: ofr_c-cleo, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, token: 13313, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Voice
        "#]],
    );
    check(
        &[early, vec![(1_200, accept("anna", "c", FIRST))]].concat(),
        (1_500, reserve(&[rings("cleo", "c")])),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_c-cleo, granted: Err(ContactReserved { offer_id: ofr_c-anna }) }] }
    "#]],
    );
    let alone = [three_ready(), vec![(1_000, reserve(&[wish("anna", "c", "main", 20_000)]))]].concat();
    check(
        &alone,
        (1_500, reserve(&[rings("cleo", "c")])),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_c-cleo, granted: Err(ContactReserved { offer_id: ofr_c-anna }) }] }
    "#]],
    );
}
