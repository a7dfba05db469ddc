//! A session's lease: what becomes of an agent whose desktop is gone.

use expect_test::expect;

use super::*;

/// Anna signed in at 100 with a lease of 5 s, and ready.
fn leased() -> Vec<Step> {
    vec![(100, sign_in_for("anna", 5_000)), (200, go_ready("anna"))]
}

fn leased_and(more: &[Step]) -> Vec<Step> {
    [leased(), more.to_vec()].concat()
}

#[test]
fn an_agent_whose_desktop_is_gone_is_not_ready_and_not_reserved() {
    check(
        &leased(),
        (5_099, reserve(&[])),
        expect![[r#"
        Reserved { answers: [] }
    "#]],
    );
    check(
        &leased(),
        (6_000, reserve(&[wish("anna", "c", "main", 20_000)])),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_c-anna, granted: Err(NotReady) }] }
        @5100 SessionLost: agent_id: agt_anna, session_id: ses_anna
        @5100 AgentBecameNotReady: agent_id: agt_anna, reason: "desktop gone", until: None
    "#]],
    );
}

#[test]
fn a_desktop_that_is_heard_of_keeps_its_session() {
    let kept = leased_and(&[(5_000, keep_session("anna"))]);
    check(
        &leased(),
        (5_000, keep_session("anna")),
        expect![[r#"
        SessionKept { expires_at: Some(@10000) }
    "#]],
    );
    check(
        &kept,
        (9_999, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    check(
        &kept,
        (10_000, Action::Expire),
        expect![[r#"
        Expired
        @10000 SessionLost: agent_id: agt_anna, session_id: ses_anna
        @10000 AgentBecameNotReady: agent_id: agt_anna, reason: "desktop gone", until: None
    "#]],
    );
    check(
        &ready(),
        (5_000, keep_session("anna")),
        expect![[r#"
        SessionKept { expires_at: None }
    "#]],
    );
    check(
        &leased_and(&[(4_000, sign_in_for("anna", 5_000))]),
        (8_999, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
}

#[test]
fn only_the_live_session_is_kept() {
    let other = Action::KeepSession { agent_id: agent("anna"), session_id: "ses_other".parse().unwrap() };
    check(
        &leased(),
        (300, other),
        expect![[r#"
        rejected: session is not the agent's live one, which is ses_anna
    "#]],
    );
    check(
        &[],
        (300, keep_session("anna")),
        expect![[r#"
        rejected: agent is not signed in
    "#]],
    );
    check(
        &[],
        (300, sign_in_for("anna", 999)),
        expect![[r#"
        rejected: lease time to live is out of bounds
    "#]],
    );
}

#[test]
fn a_desktop_that_is_back_makes_nobody_ready_before_the_agent_says_so() {
    check(
        &leased(),
        (6_000, go_ready("anna")),
        expect![[r#"
        rejected: session is lost: nothing is heard of the agent's desktop
        @5100 SessionLost: agent_id: agt_anna, session_id: ses_anna
        @5100 AgentBecameNotReady: agent_id: agt_anna, reason: "desktop gone", until: None
    "#]],
    );
    check(
        &leased_and(&[(6_000, Action::Expire)]),
        (6_100, force("anna", Force::Ready)),
        expect![[r#"
        rejected: session is lost: nothing is heard of the agent's desktop
    "#]],
    );
    let back = leased_and(&[(6_000, keep_session("anna"))]);
    check(
        &back,
        (6_100, reserve(&[wish("anna", "c", "main", 20_000)])),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_c-anna, granted: Err(NotReady) }] }
    "#]],
    );
    check(
        &back,
        (6_100, go_ready("anna")),
        expect![[r#"
        Ready
        @6100 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
}

#[test]
fn a_contact_goes_on_without_the_desktop_and_none_comes_after_it() {
    let talking = leased_and(&[
        (1_000, reserve(&[wish("anna", "c", "main", 20_000)])),
        (2_000, accept("anna", "c", 6144)),
    ]);
    check(
        &talking,
        (6_000, Action::Expire),
        expect![[r#"
        Expired
        @5100 SessionLost: agent_id: agt_anna, session_id: ses_anna
    "#]],
    );
    let back = [talking, vec![(6_000, keep_session("anna"))]].concat();
    check(
        &back,
        (7_000, release("anna", "c", 6144, ReleaseOutcome::Failed)),
        expect![[r#"
        Released { released: true }
        @7000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Failed
        @7000 AgentBecameNotReady: agent_id: agt_anna, reason: "desktop gone", until: None
    "#]],
    );
    check(
        &[back, vec![(6_500, go_ready("anna"))]].concat(),
        (7_000, release("anna", "c", 6144, ReleaseOutcome::Failed)),
        expect![[r#"
        Released { released: true }
        @7000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Failed
    "#]],
    );
}

/// Work that is paid by its time must not run on because nobody is there to end it.
#[test]
fn wrap_up_that_only_the_agent_could_end_is_over_when_its_desktop_is_gone() {
    let wrapping_up = leased_and(&[
        (1_000, reserve(&[wish("anna", "c", "open", 20_000)])),
        (2_000, accept("anna", "c", 6144)),
        (3_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
    ]);
    check(
        &wrapping_up,
        (6_000, Action::Expire),
        expect![[r#"
        Expired
        @5100 SessionLost: agent_id: agt_anna, session_id: ses_anna
        @5100 WrapUpEnded: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, finished_by_agent: false, wrap_up_code: ""
        @5100 AgentBecameNotReady: agent_id: agt_anna, reason: "desktop gone", until: None
    "#]],
    );
}

#[test]
fn a_pause_goes_on_without_the_desktop_and_does_not_end_in_ready() {
    check(
        &leased_and(&[(1_000, go_not_ready("anna", 7_000))]),
        (9_000, Action::Expire),
        expect![[r#"
        Expired
        @5100 SessionLost: agent_id: agt_anna, session_id: ses_anna
        @8000 AgentBecameNotReady: agent_id: agt_anna, reason: "desktop gone", until: None
    "#]],
    );
    check(
        &leased_and(&[(1_000, go_not_ready("anna", 7_000)), (7_000, keep_session("anna"))]),
        (9_000, Action::Expire),
        expect![[r#"
        Expired
        @8000 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
}

/// While nobody leads, nobody can be heard of.
#[test]
fn the_time_without_a_leader_does_not_count_against_a_session() {
    let mut world = World::new();
    for (now, action) in leased() {
        world.now = now;
        world.apply(action).unwrap();
    }
    (world.term, world.now) = (2, 20_200);
    world.apply(Action::Expire).unwrap();
    world.now = 25_099;
    world.apply(Action::Expire).unwrap();
    assert_eq!(world.machine.state().agents[&agent("anna")].activity(), Activity::Ready);
    world.now = 25_100;
    world.apply(Action::Expire).unwrap();
    assert_eq!(world.machine.state().agents[&agent("anna")].activity(), Activity::NotReady);
}
