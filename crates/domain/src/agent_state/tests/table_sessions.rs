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

/// The same, when the contact ends only after the desktop is gone.
#[test]
fn wrap_up_that_only_the_agent_could_end_does_not_begin_once_its_desktop_is_gone() {
    let talking = |queue| {
        leased_and(&[
            (1_000, reserve(&[wish("anna", "c", queue, 20_000)])),
            (2_000, accept("anna", "c", 6144)),
            (6_000, Action::Expire),
        ])
    };
    check(
        &talking("open"),
        (7_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
        expect![[r#"
        Released { released: true }
        @7000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
        @7000 AgentBecameNotReady: agent_id: agt_anna, reason: "desktop gone", until: None
    "#]],
    );
    check(
        &talking("main"),
        (7_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
        expect![[r#"
            Released { released: true }
            @7000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Completed
            @7000 WrapUpStarted: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, company_id: cmp_acme, queue_id: que_main, ends_at: Some(@12000), channel: Voice
        "#]],
    );
}

/// Time alone makes nobody ready who may be gone: the desktop that is back may stand before an empty chair.
#[test]
fn a_pause_goes_on_without_the_desktop_and_no_longer_ends_by_itself() {
    let paused = leased_and(&[(1_000, go_not_ready("anna", 7_000))]);
    check(
        &paused,
        (9_000, Action::Expire),
        expect![[r#"
        Expired
        @5100 SessionLost: agent_id: agt_anna, session_id: ses_anna
        @5100 AgentBecameNotReady: agent_id: agt_anna, reason: "lunch", until: None
    "#]],
    );
    let back = [paused, vec![(7_000, keep_session("anna"))]].concat();
    check(
        &back,
        (9_000, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    check(
        &back,
        (9_000, go_ready("anna")),
        expect![[r#"
        Ready
        @9000 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
    // What is said after the loss counts as said, also its end.
    let again = [back, vec![(8_000, go_not_ready("anna", 1_000)), (8_500, keep_session("anna"))]].concat();
    check(
        &again,
        (9_000, Action::Expire),
        expect![[r#"
        Expired
        @9000 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
}

#[test]
fn a_pause_asked_for_during_a_contact_does_not_end_by_itself_after_a_loss() {
    let back = leased_and(&[
        (1_000, reserve(&[wish("anna", "c", "main", 20_000)])),
        (2_000, accept("anna", "c", 6144)),
        (3_000, go_not_ready("anna", 7_000)),
        (6_000, keep_session("anna")),
    ]);
    check(
        &back,
        (7_000, release("anna", "c", 6144, ReleaseOutcome::Failed)),
        expect![[r#"
        Released { released: true }
        @7000 ReservationReleased: agent_id: agt_anna, offer_id: ofr_c-anna, contact_id: ctc_c, token: 6144, outcome: Failed
        @7000 AgentBecameNotReady: agent_id: agt_anna, reason: "lunch", until: None
    "#]],
    );
}

#[test]
fn a_lost_session_ends_by_itself_unless_the_agent_is_held() {
    let gone = [leased_and(&[(6_000, Action::Expire)]), vec![(1_000_000, Action::Expire)]].concat();
    check(
        &gone,
        (5_099 + LOST_SESSION_LEN_MAX.0, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    check(
        &gone,
        (5_100 + LOST_SESSION_LEN_MAX.0, Action::Expire),
        expect![[r#"
        Expired
        @1805100 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "desktop gone"
    "#]],
    );
    let back = [gone, vec![(1_700_000, keep_session("anna"))]].concat();
    check(
        &back,
        (1_805_100, Action::Expire),
        expect![[r#"
        Expired
        @1705000 SessionLost: agent_id: agt_anna, session_id: ses_anna
    "#]],
    );
}

#[test]
fn a_lost_session_of_an_agent_that_talks_waits_for_the_end_of_the_contact() {
    let mut world = World::new();
    let renew = |world: &mut World| {
        let epoch = world.machine.state().leases["media/nod_m"].epoch().unwrap();
        let (resource, holder) = ("media/nod_m".to_owned(), node("nod_m"));
        world.apply(Action::RenewLease { resource, holder, epoch, ttl: Millis(300_000) }).unwrap();
    };
    let talking = leased_and(&[
        (1_000, reserve(&[wish("anna", "c", "main", 20_000)])),
        (2_000, accept("anna", "c", 6144)),
    ]);
    for (now, action) in talking {
        world.now = now;
        world.apply(action).unwrap();
    }
    while world.now < 2 * LOST_SESSION_LEN_MAX.0 {
        world.now += 200_000;
        renew(&mut world);
    }
    let does = |world: &World| world.machine.state().agents[&agent("anna")].activity();
    assert_eq!(does(&world), Activity::Talking);
    world.apply(release("anna", "c", 6144, ReleaseOutcome::Failed)).unwrap();
    assert_eq!(does(&world), Activity::NotReady);
    world.now += LOST_SESSION_LEN_MAX.0;
    world.apply(Action::Expire).unwrap();
    assert_eq!(does(&world), Activity::SignedOut);
}

/// The desktop is broken and another one is there: its agent must not wait for a session that nobody can keep.
#[test]
fn another_desktop_takes_over_from_a_lost_one_in_which_nothing_is_held() {
    let lost = leased_and(&[(6_000, Action::Expire)]);
    check(
        &lost,
        (7_000, sign_in_as("anna", "second", 5_000)),
        expect![[r#"
        SignedIn { session_id: ses_second, client_sequence: 0 }
        @7000 AgentSignedOut: agent_id: agt_anna, session_id: ses_anna, reason: "desktop gone"
        @7000 AgentSignedIn: agent_id: agt_anna, session_id: ses_second, site_id: None
    "#]],
    );
    let held = leased_and(&[
        (1_000, reserve(&[wish("anna", "c", "main", 20_000)])),
        (2_000, accept("anna", "c", 6144)),
        (6_000, Action::Expire),
    ]);
    for given in [leased(), held] {
        let now = given.last().unwrap().0 + 100;
        check(
            &given,
            (now, sign_in_as("anna", "second", 5_000)),
            expect![[r#"
            rejected: agent is already signed in with session ses_anna
        "#]],
        );
    }
}

#[test]
fn a_sign_of_life_is_seen_only_when_the_session_was_lost() {
    let mut world = World::new();
    for (now, action) in leased() {
        world.now = now;
        world.apply(action).unwrap();
    }
    let seen = |world: &mut World, now, action| {
        world.now = now;
        world.machine.take_touched();
        world.apply(action).unwrap();
        let touched = world.machine.take_touched();
        (touched.agents.contains(&agent("anna")), touched.seen.contains(&agent("anna")))
    };
    assert_eq!(seen(&mut world, 4_000, keep_session("anna")), (true, false));
    assert_eq!(seen(&mut world, 9_000, Action::Expire), (true, true), "lost");
    assert_eq!(seen(&mut world, 9_500, keep_session("anna")), (true, true), "and back");
    assert_eq!(seen(&mut world, 9_600, keep_session("anna")), (true, false));
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
