//! The operator's words for not ready, and how long each may last.

use expect_test::expect;

use super::*;

fn listed() -> Vec<Step> {
    [vec![(50, list_reasons())], ready()].concat()
}

#[test]
fn where_reasons_are_listed_nobody_is_not_ready_for_another() {
    check(
        &listed(),
        (300, pause("anna", "smoke", 0)),
        expect![[r#"
        rejected: the directory knows no such reason
    "#]],
    );
    check(
        &listed(),
        (300, force("anna", away(0))),
        expect![[r#"
        rejected: the directory knows no such reason
    "#]],
    );
    check(
        &listed(),
        (300, pause("anna", "lunch", 0)),
        expect![[r#"
        NotReady
        @300 AgentBecameNotReady: agent_id: agt_anna, reason: "lunch", until: None
    "#]],
    );
    check(
        &ready(),
        (300, pause("anna", "smoke", 0)),
        expect![[r#"
        NotReady
        @300 AgentBecameNotReady: agent_id: agt_anna, reason: "smoke", until: None
    "#]],
    );
}

#[test]
fn a_pause_that_lasts_too_long_is_told_once_and_goes_on() {
    let paused = [listed(), vec![(300, pause("anna", "coffee", 0))]].concat();
    check(
        &paused,
        (10_300, Action::Expire),
        expect![[r#"
        Expired
        @10300 PauseLimitExceeded: agent_id: agt_anna, reason: "coffee", limit_ms: 10000ms
    "#]],
    );
    check(
        &[paused.clone(), vec![(10_300, Action::Expire)]].concat(),
        (200_000, reserve(&[wish("anna", "c", "main", 210_000)])),
        expect![[r#"
        Reserved { answers: [WishAnswer { offer_id: ofr_c-anna, granted: Err(NotReady) }] }
    "#]],
    );
    check(
        &[paused, vec![(5_000, go_ready("anna"))]].concat(),
        (20_000, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
}

#[test]
fn the_same_word_again_buys_no_more_time() {
    let again = [listed(), vec![(300, pause("anna", "coffee", 0)), (9_000, pause("anna", "coffee", 60_000))]];
    check(
        &again.concat(),
        (20_000, Action::Expire),
        expect![[r#"
        Expired
        @10300 PauseLimitExceeded: agent_id: agt_anna, reason: "coffee", limit_ms: 10000ms
    "#]],
    );
    let told = [again.concat(), vec![(11_000, pause("anna", "coffee", 0))]].concat();
    check(
        &told,
        (40_000, Action::Expire),
        expect![[r#"
        Expired
    "#]],
    );
    let another = [again.concat(), vec![(9_500, pause("anna", "training", 0))]].concat();
    check(
        &another,
        (69_500, Action::Expire),
        expect![[r#"
        Expired
        @69500 PauseLimitExceeded: agent_id: agt_anna, reason: "training", limit_ms: 60000ms
    "#]],
    );
}

#[test]
fn a_pause_that_ends_in_time_or_was_asked_for_later_is_measured_from_its_own_beginning() {
    check(
        &[listed(), vec![(300, pause("anna", "coffee", 10_000))]].concat(),
        (10_300, Action::Expire),
        expect![[r#"
        Expired
        @10300 AgentBecameReady: agent_id: agt_anna
    "#]],
    );
    let talking = [
        listed(),
        vec![
            (1_000, reserve(&[wish("anna", "c", "quick", 20_000)])),
            (2_000, accept("anna", "c", 7168)),
            (3_000, pause("anna", "coffee", 0)),
            (50_000, release("anna", "c", 7168, ReleaseOutcome::Completed)),
        ],
    ];
    check(
        &talking.concat(),
        (60_000, Action::Expire),
        expect![[r#"
        Expired
        @60000 PauseLimitExceeded: agent_id: agt_anna, reason: "coffee", limit_ms: 10000ms
    "#]],
    );
}
