//! Commands of a client that counts them, and a presence that flips.

use expect_test::expect;

use super::*;

fn numbered(action: Action, number: u64) -> Action {
    numbered_in(action, "anna", number)
}

fn numbered_in(mut action: Action, session: &str, number: u64) -> Action {
    if let Action::GoReady { said, .. } | Action::GoNotReady { said, .. } | Action::SignOut { said, .. } =
        &mut action
    {
        *said = Said { session_id: Some(SessionId::from_name(session).unwrap()), sequence: number };
    }
    action
}

/// "The next state is lost, or goes back to Available": a retry that comes late must not undo the newer choice.
#[test]
fn a_command_that_was_overtaken_does_not_undo_the_newer_one() {
    let given = [
        (100, sign_in("anna")),
        (200, numbered(go_ready("anna"), 4)),
        (300, numbered(go_not_ready("anna", 0), 5)),
    ];
    check(
        &given,
        (400, numbered(go_ready("anna"), 4)),
        expect![[r#"
        rejected: the client's command 5 came before this one
    "#]],
    );
    check(
        &given,
        (400, numbered(go_not_ready("anna", 0), 5)),
        expect![[r#"
        NotReady
    "#]],
    );
    check(
        &given,
        (400, numbered(go_ready("anna"), 6)),
        expect![[r#"
        Ready
        @400 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
    check(
        &given,
        (400, numbered(sign_out("anna"), 4)),
        expect![[r#"
        rejected: the client's command 5 came before this one
    "#]],
    );
}

#[test]
fn a_number_that_was_used_for_another_command_signs_nobody_out_and_says_so() {
    check(
        &[(100, sign_in("anna")), (200, numbered(go_ready("anna"), 4))],
        (300, numbered(sign_out("anna"), 4)),
        expect![[r#"
        rejected: the client's command 4 came before this one
    "#]],
    );
}

/// A client that counts wrongly must hear so: to be told "done" of what was not done is worse than a refusal.
#[test]
fn a_number_that_was_used_for_another_choice_is_refused() {
    let given = [(100, sign_in("anna")), (200, numbered(go_not_ready("anna", 60_000), 4))];
    let others =
        [go_ready("anna"), go_not_ready("anna", 60_001), pause("anna", "coffee", 60_000), sign_out("anna")];
    for other in others {
        check(
            &given,
            (300, numbered(other, 4)),
            expect![[r#"
            rejected: the client's command 4 came before this one
        "#]],
        );
    }
}

/// A desktop counts anew in each session: what it said in the last one must not be taken for something newer in this one.
#[test]
fn a_command_of_another_session_is_refused_whatever_its_number() {
    let given = [
        (100, sign_in("anna")),
        (200, numbered(go_ready("anna"), 9)),
        (300, sign_out("anna")),
        (400, sign_in_as("anna", "second", 0)),
        (500, numbered_in(go_ready("anna"), "second", 1)),
    ];
    for late in [go_not_ready("anna", 0), go_ready("anna"), sign_out("anna")] {
        for number in [0, 1, 10] {
            check(
                &given,
                (600, numbered_in(late.clone(), "anna", number)),
                expect![[r#"
                rejected: session is not the agent's live one, which is ses_second
            "#]],
            );
        }
    }
}

#[test]
fn a_desktop_that_was_loaded_anew_hears_where_it_had_got_to() {
    check(
        &[(100, sign_in("anna")), (200, numbered(go_ready("anna"), 9))],
        (300, sign_in("anna")),
        expect![[r#"
        SignedIn { session_id: ses_anna, client_sequence: 9 }
    "#]],
    );
}

#[test]
fn the_last_command_again_changes_nothing_also_when_time_has_changed_something() {
    let given = [
        (100, sign_in("anna")),
        (200, numbered(go_not_ready("anna", 1_000), 1)),
        (1_500, numbered(go_not_ready("anna", 1_000), 1)),
    ];
    check(
        &given,
        (1_600, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    let mut world = World::new();
    for (now, action) in given {
        world.now = now;
        world.apply(action).unwrap();
    }
    assert_eq!(world.machine.state().agents[&agent("anna")].activity(), Activity::Ready);
}

#[test]
fn a_client_counts_anew_in_each_session_and_need_not_count() {
    let given = [
        (100, sign_in("anna")),
        (200, numbered(go_ready("anna"), 9)),
        (300, go_not_ready("anna", 0)),
        (400, sign_out("anna")),
        (500, sign_in("anna")),
    ];
    check(
        &given,
        (600, numbered(go_ready("anna"), 1)),
        expect![[r#"
        Ready
        @600 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
}

/// Anna changes her mind `count` times, a second apart, beginning at 1 000.
fn flips(count: i64) -> Vec<Step> {
    let flip = |n: i64| {
        let action = if n % 2 == 0 { go_ready("anna") } else { go_not_ready("anna", 0) };
        (1_000 * (n + 1), action)
    };
    std::iter::once((100, sign_in("anna"))).chain((0..count).map(flip)).collect()
}

/// "The status switched every 3 s for 2 hours, seen in Insights afterwards": it is told when it begins.
#[test]
fn a_presence_that_flips_is_told_once_and_again_only_after_a_steady_minute() {
    check(
        &flips(6),
        (7_000, go_ready("anna")),
        expect![[r#"
        Ready
        @7000 AgentBecameReady: agent_id: agt_anna
        @7000 AgentPresenceUnsteady: agent_id: agt_anna, change_count: 7, since: @1000
    "#]],
    );
    check(
        &flips(50),
        (51_000, go_ready("anna")),
        expect![[r#"
        Ready
        @51000 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
    let told = |pause: i64| {
        let again = (0..7).map(|n| {
            let action = if n % 2 == 0 { go_not_ready("anna", 0) } else { go_ready("anna") };
            (7_000 + pause + 1_000 * n, action)
        });
        let mut world = World::new();
        for (now, action) in flips(7).into_iter().chain(again) {
            world.now = now;
            world.apply(action).unwrap();
        }
        let facts = world.machine.state().outbox.values();
        facts.filter(|it| it.fact.name() == "AgentPresenceUnsteady").count()
    };
    assert_eq!((told(59_999), told(60_000)), (1, 2));
}

#[test]
fn what_changes_nothing_and_what_time_or_a_supervisor_changes_is_no_flip() {
    let mut world = World::new();
    world.apply(sign_in("anna")).unwrap();
    for _ in 0..20 {
        world.now += 100;
        world.apply(go_ready("anna")).unwrap();
        world.apply(force("anna", away(50))).unwrap();
    }
    assert_eq!(
        world.machine.state().agents[&agent("anna")].steadiness,
        Steadiness { changed_at: vec![Timestamp(100)], told: false }
    );
}
