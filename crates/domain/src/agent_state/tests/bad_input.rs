//! What must not be asked: a clear rejection, and a state that is as it was but for the time.

use super::*;

#[test]
fn what_cannot_be_is_rejected_and_changes_nothing() {
    let mut world = World::new();
    for (now, action) in talking() {
        world.now = now;
        world.apply(action).unwrap();
    }
    world.now = 3_000;
    world.apply(Action::Expire).unwrap();
    let many = |count: usize| {
        (0..count).map(|it| wish("ben", &format!("c{it}"), "main", 20_000)).collect::<Vec<_>>()
    };
    let stale = Action::ReserveAgents { cell: Cell(0), routing_epoch: Epoch(1), wishes: many(1) };
    let device = register("ben", "second", "sip:b@1", 2_999);
    let cases = [
        ("UNKNOWN_AGENT", sign_in("nobody")),
        ("UNKNOWN_AGENT", go_ready("nobody")),
        ("ALREADY_SIGNED_IN", sign_in_as("anna", "second", 0)),
        ("TTL_OUT_OF_BOUNDS", sign_in_for("ben", 999)),
        ("TTL_OUT_OF_BOUNDS", sign_in_for("ben", 3_600_001)),
        ("DEADLINE_PASSED", device),
        ("NO_SUCH_RESERVATION", accept("anna", "c", 5120)),
        ("STALE_EPOCH", stale),
        ("TOO_MANY_WISHES", reserve(&many(WISH_COUNT_MAX + 1))),
        ("TOO_MANY_WISHES", reserve(&many(100_000))),
        ("NOT_IN_WRAP_UP", finish_wrap_up("anna")),
        ("OUTCOME_RESERVED", release("anna", "c", 6144, ReleaseOutcome::Expired)),
    ];
    let state = |world: &World| {
        let mut state = world.machine.state().clone();
        // Where the log is and what was answered is not what anybody asked for.
        (state.last_index, state.fact_count, state.wish_count) = (0, 0, 0);
        state.answers.clear();
        state
    };
    let before = state(&world);
    for (code, action) in cases {
        let said = world.apply(action.clone()).unwrap_err();
        assert_eq!(said.code(), code, "{action:?}");
        assert!(state(&world) == before, "{code} changed the state");
    }
}

#[test]
fn a_wish_with_a_deadline_that_cannot_be_is_refused_alone() {
    let mut world = World::new();
    for (now, action) in [(100, sign_in("ben")), (200, go_ready("ben"))] {
        world.now = now;
        world.apply(action).unwrap();
    }
    for (expires_at, code) in [
        (-1, "DEADLINE_PASSED"),
        (i64::MIN, "DEADLINE_PASSED"),
        (200, "DEADLINE_PASSED"),
        (600_201, "DEADLINE_TOO_FAR"),
        (i64::MAX, "DEADLINE_TOO_FAR"),
    ] {
        let Ok(Done::Reserved { answers }) = world.apply(reserve(&[wish("ben", "c", "main", expires_at)]))
        else {
            panic!("the turn is taken");
        };
        assert_eq!(answers[0].granted.clone().unwrap_err().code(), code, "{expires_at}");
        assert_eq!(world.machine.state().agents[&agent("ben")].activity(), Activity::Ready);
    }
}
