//! Reserve, accept, release, and what follows.

use expect_test::expect;

use super::*;

#[test]
fn a_ready_agent_is_reserved_and_the_token_comes_from_the_raft_index() {
    check(
        &ready(),
        (1_000, reserve(&[wish("anna", "c", "main", 20_000)])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_c-anna, granted: Ok(6144) }] }
            @1000 AgentReserved: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, token: 6144, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Voice
        "#]],
    );
}

#[test]
fn each_wish_of_a_turn_is_answered_alone() {
    let given = [ready(), vec![(300, sign_in("ben")), (300, go_ready("ben"))]].concat();
    let wishes = [
        wish("anna", "c", "main", 20_000),
        wish("anna", "d", "main", 20_000),
        wish("ben", "c", "main", 20_000),
        wish("ben", "d", "nowhere", 20_000),
        wish("nobody", "d", "main", 20_000),
        wish("zoe", "d", "main", 20_000),
        wish("ben", "d", "main", 1_000),
        wish("ben", "d", "main", 900_000),
        Wish { node_id: node("nod_gone"), ..wish("ben", "d", "main", 20_000) },
        wish("ben", "d", "main", 20_000),
        wish("ben", "d", "main", 20_000),
    ];
    let mut world = World::new();
    for (now, action) in given {
        world.now = now;
        world.apply(action).unwrap();
    }
    world.now = 1_000;
    let Ok(Done::Reserved { answers }) = world.apply(reserve(&wishes)) else { panic!("refused as a whole") };
    let said: Vec<String> = answers
        .iter()
        .map(|it| match &it.granted {
            Ok(token) => format!("{} token {token}\n", it.offer_id),
            Err(why) => format!("{} {}: {why}\n", it.offer_id, why.code()),
        })
        .collect();
    expect![[r#"
        ofr_c-anna token 8192
        ofr_d-anna ALREADY_RESERVED: agent is already reserved for offer ofr_c-anna
        ofr_c-ben CONTACT_RESERVED: contact is already reserved for offer ofr_c-anna
        ofr_d-ben UNKNOWN_QUEUE: the directory knows no such queue
        ofr_d-nobody UNKNOWN_AGENT: the directory knows no agent agt_nobody
        ofr_d-zoe NOT_SIGNED_IN: agent is not signed in
        ofr_d-ben DEADLINE_PASSED: deadline is not in the future
        ofr_d-ben DEADLINE_TOO_FAR: deadline is too far in the future
        ofr_d-ben STALE_EPOCH: epoch of media/nod_gone is not current
        ofr_d-ben token 8201
        ofr_d-ben token 8201
    "#]]
    .assert_eq(&said.concat());
}

#[test]
fn nobody_is_reserved_who_is_not_free() {
    let again = (1_500, reserve(&[wish("anna", "other", "main", 20_000)]));
    check(
        &[],
        again.clone(),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_other-anna, granted: Err(NotSignedIn) }] }
    "#]],
    );
    check(
        &[(100, sign_in("anna"))],
        again.clone(),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_other-anna, granted: Err(NotReady) }] }
    "#]],
    );
    check(
        &offered(),
        again.clone(),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_other-anna, granted: Err(AlreadyReserved { offer_id: ofr_c-anna }) }] }
    "#]],
    );
    check(
        &talking(),
        (2_500, again.1.clone()),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_other-anna, granted: Err(AlreadyReserved { offer_id: ofr_c-anna }) }] }
    "#]],
    );
    check(
        &wrapping_up(),
        (11_000, again.1),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_other-anna, granted: Err(InWrapUp) }] }
    "#]],
    );
    let zoe = [(100, sign_in("zoe")), (100, go_ready("zoe"))];
    check(
        &zoe,
        (200, reserve(&[wish("zoe", "c", "main", 20_000)])),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_c-zoe, granted: Err(WrongCell) }] }
    "#]],
    );
}

/// "Available, but the phone is not registered": the presence says ready and nothing could ring.
#[test]
fn nobody_is_reserved_whose_phone_cannot_be_called() {
    let wanted = |at, expires_at| (at, reserve(&[wish("anna", "c", "main", expires_at)]));
    check(
        &[ready(), vec![(300, unregister("anna", "phone"))]].concat(),
        wanted(1_000, 20_000),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_c-anna, granted: Err(Unreachable) }] }
    "#]],
    );
    let brief =
        [ready(), vec![(300, unregister("anna", "phone")), (400, register("anna", "d1", "sip:a@1", 5_000))]];
    check(
        &brief.concat(),
        wanted(4_999, 20_000),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_c-anna, granted: Ok(8192) }] }
            @4999 AgentReserved: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, token: 8192, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @20000, channel: Voice
        "#]],
    );
    check(
        &brief.concat(),
        wanted(5_000, 20_000),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_c-anna, granted: Err(Unreachable) }] }
        @5000 DeviceUnregistered: agent_id: agt_anna, device_id: dev_d1, reason: "expired"
    "#]],
    );
}

#[test]
fn a_turn_of_a_stale_routing_owner_is_refused_as_a_whole() {
    let stale = |epoch| Action::ReserveAgents {
        cell: Cell(0),
        routing_epoch: Epoch(epoch),
        wishes: vec![wish("anna", "c", "main", 20_000)],
    };
    check(
        &ready(),
        (1_000, stale(1)),
        expect![[r#"
        rejected: epoch of routing/0 is not current
    "#]],
    );
    check(
        &ready(),
        (1_000, stale(99)),
        expect![[r#"
        rejected: epoch of routing/0 is not current
    "#]],
    );
    let taken_over = [ready(), vec![(500, acquire("routing/0", "nod_r"))]].concat();
    check(
        &taken_over,
        (1_000, reserve(&[wish("anna", "c", "main", 20_000)])),
        expect![[r#"
        rejected: epoch of routing/0 is not current
    "#]],
    );
    check(
        &ready(),
        (300_000, reserve(&[wish("anna", "c", "main", 320_000)])),
        expect![[r#"
        rejected: epoch of routing/0 is not current
        @300000 LeaseLapsed: resource: "media/nod_m", holder: nod_m, epoch: Epoch(3)
        @300000 LeaseLapsed: resource: "routing/0", holder: nod_r, epoch: Epoch(2)
    "#]],
    );
}

#[test]
fn too_many_wishes_are_refused_as_a_whole() {
    let wishes = vec![wish("anna", "c", "main", 20_000); WISH_COUNT_MAX + 1];
    check(
        &ready(),
        (1_000, reserve(&wishes)),
        expect![[r#"
        rejected: too many wishes in one command
    "#]],
    );
}

#[test]
fn an_answer_counts_iff_token_node_and_epoch_are_current() {
    check(
        &offered(),
        (2_000, accept("anna", "c", 6144)),
        expect![[r#"
        Accepted
        @2000 ReservationAccepted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144
    "#]],
    );
    check(
        &talking(),
        (2_500, accept("anna", "c", 6144)),
        expect![[r#"
        Accepted
    "#]],
    );
    check(
        &offered(),
        (2_000, accept("anna", "c", 6143)),
        expect![[r#"
        rejected: there is no such reservation, or no longer
    "#]],
    );
    check(
        &offered(),
        (2_000, accept("anna", "d", 6144)),
        expect![[r#"
        rejected: there is no such reservation, or no longer
    "#]],
    );
    check(
        &offered(),
        (20_000, accept("anna", "c", 6144)),
        expect![[r#"
        rejected: there is no such reservation, or no longer
        @20000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Expired
    "#]],
    );
    let other_node = Action::AcceptReservation {
        agent_id: agent("anna"),
        offer_id: "ofr_c-anna".parse().unwrap(),
        token: 6144,
        node_id: node("nod_x"),
        media_epoch: Epoch(3),
    };
    check(
        &offered(),
        (2_000, other_node),
        expect![[r#"
        rejected: reservation belongs to another media node
    "#]],
    );
    let stale_epoch = Action::AcceptReservation {
        agent_id: agent("anna"),
        offer_id: "ofr_c-anna".parse().unwrap(),
        token: 6144,
        node_id: node("nod_m"),
        media_epoch: Epoch(2),
    };
    check(
        &offered(),
        (2_000, stale_epoch),
        expect![[r#"
        rejected: epoch of media/nod_m is not current
    "#]],
    );
}

#[test]
fn a_finished_conversation_is_followed_by_the_queue_s_wrap_up() {
    check(
        &talking(),
        (10_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
        expect![[r#"
            Released { released: true }
            @10000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
            @10000 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@15000), channel: Voice
        "#]],
    );
    let quick = [
        ready(),
        vec![(1_000, reserve(&[wish("anna", "c", "quick", 20_000)])), (2_000, accept("anna", "c", 6144))],
    ]
    .concat();
    check(
        &quick,
        (10_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
        expect![[r#"
        Released { released: true }
        @10000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
    "#]],
    );
}

#[test]
fn a_release_is_idempotent_and_a_stale_token_changes_nothing() {
    check(
        &wrapping_up(),
        (11_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
        expect![[r#"
        Released { released: false }
    "#]],
    );
    check(
        &offered(),
        (1_500, release("anna", "c", 1, ReleaseOutcome::Declined)),
        expect![[r#"
        Released { released: false }
    "#]],
    );
    check(
        &[],
        (1_500, release("nobody", "c", 1, ReleaseOutcome::Declined)),
        expect![[r#"
        Released { released: false }
    "#]],
    );
}

#[test]
fn who_may_end_a_reservation_and_how() {
    check(
        &offered(),
        (1_500, release("anna", "c", 6144, ReleaseOutcome::Rescinded)),
        expect![[r#"
        Released { released: true }
        @1500 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Rescinded
    "#]],
    );
    check(
        &talking(),
        (2_500, release("anna", "c", 6144, ReleaseOutcome::Rescinded)),
        expect![[r#"
        rejected: reservation is already accepted
    "#]],
    );
    check(
        &offered(),
        (1_500, release("anna", "c", 6144, ReleaseOutcome::Completed)),
        expect![[r#"
        rejected: reservation is not accepted
    "#]],
    );
    check(
        &offered(),
        (1_500, release("anna", "c", 6144, ReleaseOutcome::Expired)),
        expect![[r#"
        rejected: nobody may ask for the outcome expired
    "#]],
    );
    check(
        &offered(),
        (1_500, release("anna", "c", 6144, ReleaseOutcome::SignedOut)),
        expect![[r#"
        rejected: nobody may ask for the outcome signed_out
    "#]],
    );
    check(
        &offered(),
        (1_500, release("anna", "c", 6144, ReleaseOutcome::CallerGone)),
        expect![[r#"
        Released { released: true }
        @1500 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: CallerGone
    "#]],
    );
    check(
        &offered(),
        (1_500, release("anna", "c", 6144, ReleaseOutcome::Failed)),
        expect![[r#"
        Released { released: true }
        @1500 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Failed
    "#]],
    );
    check(
        &talking(),
        (2_500, release("anna", "c", 6144, ReleaseOutcome::Failed)),
        expect![[r#"
        Released { released: true }
        @2500 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Failed
    "#]],
    );
    check(
        &talking(),
        (2_500, release("anna", "c", 6144, ReleaseOutcome::MediaLost)),
        expect![[r#"
            Released { released: true }
            @2500 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: MediaLost
            @2500 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@7500), channel: Voice
        "#]],
    );
    let stale = Action::ReleaseReservation {
        agent_id: agent("anna"),
        offer_id: "ofr_c-anna".parse().unwrap(),
        token: 6144,
        outcome: ReleaseOutcome::Declined,
        node_id: node("nod_m"),
        epoch: Epoch(2),
    };
    check(
        &offered(),
        (1_500, stale),
        expect![[r#"
        rejected: epoch of media/nod_m is not current
    "#]],
    );
}

#[test]
fn an_offer_nobody_answers_ends_at_its_deadline() {
    check(
        &offered(),
        (19_999, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    check(
        &offered(),
        (25_000, Action::Expire),
        expect![[r#"
        Expired
        @20000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Expired
    "#]],
    );
    check(
        &talking(),
        (25_000, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
}

#[test]
fn too_many_missed_offers_in_a_row_make_an_agent_not_ready() {
    let missed = [offered(), vec![(2_000, release("anna", "c", 6144, ReleaseOutcome::Declined))]].concat();
    let offered_again =
        [missed.clone(), vec![(3_000, reserve(&[wish("anna", "d", "main", 20_000)]))]].concat();
    check(
        &offered_again,
        (20_000, Action::Expire),
        expect![[r#"
        Expired
        @20000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_d-anna, contact_id: ctc_d, token: 8192, outcome: Expired
        @20000 AgentBecameNotReady: agent_id: agt_anna, reason: "missed offers", until: None
    "#]],
    );
    let answered = [
        offered_again,
        vec![
            (4_000, accept("anna", "d", 8192)),
            (5_000, release("anna", "d", 8192, ReleaseOutcome::Failed)),
            (6_000, reserve(&[wish("anna", "e", "main", 20_000)])),
        ],
    ]
    .concat();
    check(
        &answered,
        (7_000, release("anna", "e", 11_264, ReleaseOutcome::Unanswered)),
        expect![[r#"
        Released { released: true }
        @7000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_e-anna, contact_id: ctc_e, token: 11264, outcome: Unanswered
    "#]],
    );
}

/// "Thrown out of the queue for ever after missed calls": the queue says why, and when the agent is back by itself.
#[test]
fn who_missed_too_many_is_back_when_the_queue_says_so() {
    let missed = |contact: &str, at: i64, token| {
        vec![
            (at, reserve(&[wish("anna", contact, "lenient", at + 5_000)])),
            (at + 1_000, release("anna", contact, token, ReleaseOutcome::Declined)),
        ]
    };
    let once =
        [ready(), missed("c", 1_000, 6144), vec![(3_000, reserve(&[wish("anna", "d", "lenient", 8_000)]))]];
    check(
        &once.concat(),
        (4_000, release("anna", "d", 8192, ReleaseOutcome::Declined)),
        expect![[r#"
        Released { released: true }
        @4000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_d-anna, contact_id: ctc_d, token: 8192, outcome: Declined
        @4000 AgentBecameNotReady: agent_id: agt_anna, reason: "phone unattended", until: Some(@64000)
    "#]],
    );
    let twice = [once.concat(), vec![(4_000, release("anna", "d", 8192, ReleaseOutcome::Declined))]].concat();
    check(
        &twice,
        (64_000, reserve(&[wish("anna", "e", "lenient", 70_000)])),
        expect![[r#"
            Reserved { answers: [WishAnswer { offer_id: ofr_e-anna, granted: Ok(10240) }] }
            @64000 AgentBecameReady: agent_id: agt_anna
            @64000 AgentReserved: agent_id: agt_anna, offer_id: ofr_e-anna, contact_id: ctc_e, company_id: cmp_acme, queue_id: que_lenient, token: 10240, node_id: nod_m, routing_epoch: Epoch(2), expires_at: @70000, channel: Voice
        "#]],
    );
}
