//! What comes with the log: retries, the outbox, the feature level.

use super::*;

/// A log is replayed by the rules it was decided by: otherwise a replica that restarts with a newer program would part
/// from those that did not.
#[test]
fn before_its_feature_level_is_raised_a_rule_does_not_hold() {
    let mut world = World { machine: Machine::default(), index: 0, term: 1, now: 0 };
    let before =
        [define_roster(1, &["anna"]), acquire("routing/0", "nod_r"), acquire("media/nod_m", "nod_m")];
    for action in before.into_iter().chain([sign_in("anna"), go_ready("anna")]) {
        world.apply(action).unwrap();
    }
    let mut raised = World { machine: world.machine.clone(), ..world };
    let reserved = |world: &mut World| match world.apply(reserve(&[wish("anna", "c", "main", 20_000)])) {
        Ok(Done::Reserved { answers }) => answers[0].granted.clone(),
        other => panic!("refused as a whole: {other:?}"),
    };
    assert_eq!(reserved(&mut world), Ok(6144));
    assert_eq!(
        raised.apply(Action::RaiseFeatureLevel { level: FEATURE_LEVEL }),
        Ok(Done::FeatureLevelRaised)
    );
    assert_eq!(reserved(&mut raised), Err(Rejection::Unreachable));
    raised.apply(Action::RaiseFeatureLevel { level: 0 }).unwrap();
    assert_eq!(raised.machine.state().feature_level, FEATURE_LEVEL, "a level is never lowered");
}

#[test]
fn a_retry_gets_the_first_answer_and_changes_nothing() {
    let mut world = World::new();
    for (now, action) in ready() {
        world.now = now;
        world.apply(action).unwrap();
    }
    let command = world.command("mine", reserve(&[wish("anna", "c", "main", 20_000)]));
    let first = world.machine.apply(10, 1, command.clone());
    let before = world.machine.state_hash();
    world.now = 30_000;
    let late = world.command("mine", reserve(&[wish("anna", "c", "main", 20_000)]));
    assert_eq!(world.machine.apply(11, 1, command), first);
    assert_eq!(world.machine.apply(12, 2, late), first);
    assert_eq!(world.machine.state_hash(), before);
    let other = world.command("mine", go_ready("anna"));
    assert_eq!(world.machine.apply(13, 2, other), Err(Rejection::CommandIdReused));
}

#[test]
fn answers_are_forgotten_by_index_so_that_the_table_is_bounded() {
    let mut world = World::new();
    world.machine.apply(10, 1, world.command("old", sign_in("anna"))).unwrap();
    world.machine.apply(10 + ANSWER_INDEX_SPAN, 1, world.command("x", go_ready("anna"))).unwrap();
    assert!(world.machine.state().answers.keys().any(|id| id.as_str() == "cmd_old"));
    world.machine.apply(11 + ANSWER_INDEX_SPAN, 1, world.command("y", go_ready("anna"))).unwrap();
    assert!(!world.machine.state().answers.keys().any(|id| id.as_str() == "cmd_old"));
}

#[test]
fn a_full_outbox_refuses_what_starts_work_and_takes_what_ends_it() {
    let mut world = World::new();
    for (now, action) in offered() {
        world.now = now;
        world.apply(action).unwrap();
    }
    let mut state = world.machine.state().clone();
    let (key, fact) = state.outbox.iter().next().map(|(key, fact)| (*key, fact.clone())).unwrap();
    state.outbox =
        (0..OUTBOX_COUNT_MAX as u32).map(|ordinal| (OutboxKey { ordinal, ..key }, fact.clone())).collect();
    world.machine = Machine::from_state(state);
    assert_eq!(world.apply(sign_in("ben")), Err(Rejection::OutboxFull));
    let ended = world.apply(release("anna", "c", 6144, ReleaseOutcome::Declined));
    assert_eq!(ended, Ok(Done::Released { released: true }));
    let advance = |term| Action::AdvancePublished { through: 1_000, term };
    assert_eq!(world.apply(advance(0)), Ok(Done::Advanced));
    assert!(!world.machine.state().outbox.is_empty(), "published under another term");
    assert_eq!(world.apply(advance(1)), Ok(Done::Advanced));
    assert!(world.machine.state().outbox.is_empty());
    assert!(world.apply(sign_in("ben")).is_ok());
}
