//! What agents and supervisors of other systems complain of, each as a test named after what it prevents.
//!
//! The numbers are the rows of the study of complaints this product was built from. What one machine cannot show alone is shown
//! elsewhere: row 6 and 7 on real processes by `services/agent-state/tests/three.rs` and `services/trunkline/tests/kill.rs`; row 16
//! is about recordings, of which this state holds nothing.

use super::*;

impl World {
    /// The world after these steps.
    #[track_caller]
    fn after(steps: &[Step]) -> Self {
        let mut world = Self::new();
        world.go(steps);
        world
    }

    #[track_caller]
    fn go(&mut self, steps: &[Step]) {
        for (now, action) in steps {
            self.at(*now, action.clone()).unwrap_or_else(|error| panic!("{action:?}: {error}"));
        }
    }

    fn at(&mut self, now: i64, action: Action) -> Reply {
        self.now = now;
        self.apply(action)
    }

    fn does(&self, name: &str) -> Activity {
        self.machine.state().agents[&agent(name)].activity()
    }

    /// Whether an offer of a contact would be granted, and if not, why.
    fn offer(&mut self, now: i64, name: &str, contact: &str) -> Result<u64, &'static str> {
        match self.at(now, reserve(&[wish(name, contact, "main", now + 10_000)])) {
            Ok(Done::Reserved { answers }) => {
                answers[0].granted.clone().map_err(|rejection| rejection.code())
            }
            other => panic!("{other:?}"),
        }
    }

    /// The machine that another replica, or this one after a restart, makes of the snapshot.
    fn restarted(&self) -> Machine {
        Machine::from_state(self.machine.state().clone())
    }
}

/// Row 1: an agent locked in "incall" whom a call's lost end left busy for good.
#[test]
fn nobody_is_locked_in_a_call_whose_end_never_comes() {
    let mut world = World::after(&talking());
    // Its media node dies with the call and never says how it ended: the lease lapses, then the grace.
    world.go(&[(300_000, Action::Expire)]);
    assert_eq!(world.does("anna"), Activity::Talking, "unconfirmed: not given away, not free");
    world.go(&[(310_000, Action::Expire)]);
    assert_eq!(world.does("anna"), Activity::WrapUp);
    world.go(&[(315_000, Action::Expire)]);
    assert_eq!(world.does("anna"), Activity::Ready);
}

/// Row 2: agents stuck in "reserved" when a contact rang at many and the round ended in the middle.
#[test]
fn nobody_stays_reserved_when_a_ring_at_many_ends_however_it_ends() {
    let rings = |name: &str| Wish { ring_many: true, ..wish(name, "c", "main", 20_000) };
    let ready =
        [(100, sign_in("anna")), (100, sign_in("ben")), (200, go_ready("anna")), (200, go_ready("ben"))];
    let given = [ready.to_vec(), vec![(1_000, reserve(&[rings("anna"), rings("ben")]))]].concat();
    let (anna, ben) = (8 * 1024, 8 * 1024 + 1);
    let endings: [(&str, &[Step]); 4] = [
        ("one accepts", &[(2_000, accept("ben", "c", ben))]),
        (
            "the caller hangs up",
            &[
                (2_000, release("anna", "c", anna, ReleaseOutcome::CallerGone)),
                (2_000, release("ben", "c", ben, ReleaseOutcome::CallerGone)),
            ],
        ),
        ("nobody answers", &[(20_000, Action::Expire)]),
        (
            "routing takes one back and dies",
            &[(2_000, release("anna", "c", anna, ReleaseOutcome::Rescinded)), (20_000, Action::Expire)],
        ),
    ];
    for (ending, steps) in endings {
        let mut world = World::after(&given);
        world.go(steps);
        let reserved = ["anna", "ben"].map(|name| world.does(name) == Activity::Reserved);
        assert_eq!(reserved, [false, false], "{ending}");
    }
}

/// Row 3: a dead call that is shown as answered, and a ghost call to an agent whose caller has gone.
#[test]
fn a_late_leg_of_a_call_that_is_over_is_refused_before_anybody_hears_anything() {
    let mut world = World::after(&offered());
    world.go(&[(1_500, release("anna", "c", 6144, ReleaseOutcome::CallerGone))]);
    assert_eq!(world.at(1_600, accept("anna", "c", 6144)), Err(Rejection::NoSuchReservation));
    assert_eq!(world.does("anna"), Activity::Ready);
}

/// Row 4: two agents who answered the same caller.
#[test]
fn two_agents_never_answer_one_contact() {
    let ready =
        [(100, sign_in("anna")), (100, sign_in("ben")), (200, go_ready("anna")), (200, go_ready("ben"))];
    let rings = |name: &str| Wish { ring_many: true, ..wish(name, "c", "main", 20_000) };
    let mut world = World::after(&ready);
    world.go(&[(1_000, reserve(&[rings("anna"), rings("ben")]))]);
    let answers = [("ben", 8 * 1024 + 1), ("anna", 8 * 1024)]
        .map(|(name, token)| world.at(2_000, accept(name, "c", token)));
    assert_eq!(answers, [Ok(Done::Accepted), Err(Rejection::NoSuchReservation)]);
}

/// Row 5: one agent offered two calls, or credited with another's.
#[test]
fn one_agent_is_never_offered_two_calls_and_an_answer_is_credited_by_its_token_alone() {
    let mut world = World::after(&offered());
    assert_eq!(world.offer(1_100, "anna", "other"), Err("ALREADY_RESERVED"));
    assert_eq!(world.at(1_200, accept("anna", "other", 6144)), Err(Rejection::NoSuchReservation));
    world.go(&[(1_300, accept("anna", "c", 6144))]);
    assert_eq!(world.offer(1_400, "anna", "other"), Err("ALREADY_RESERVED"));
}

/// Row 6: a queue that cannot run on two nodes, since two would give the same agent away.
#[test]
fn of_two_nodes_that_take_themselves_for_the_router_only_the_owner_reserves() {
    let mut world = World::after(&ready());
    world.go(&[(
        500,
        Action::ReleaseLease { resource: "routing/0".to_owned(), holder: node("nod_r"), epoch: Epoch(2) },
    )]);
    world.go(&[(600, acquire("routing/0", "nod_s"))]);
    let stale = world.at(700, reserve(&[wish("anna", "c", "main", 20_000)]));
    assert_eq!(stale.unwrap_err().code(), "STALE_EPOCH");
    assert_eq!(world.does("anna"), Activity::Ready);
    let wishes = vec![wish("anna", "c", "main", 20_000)];
    let current = Action::ReserveAgents { cell: Cell(0), routing_epoch: Epoch(world.index - 1), wishes };
    assert!(matches!(world.at(800, current), Ok(Done::Reserved { answers }) if answers[0].granted.is_ok()));
}

/// Row 7: every agent free after a restart, also those who talk; a pause without its reason.
#[test]
fn after_a_restart_who_talked_talks_and_a_pause_has_its_reason() {
    let away = [(100, sign_in("ben")), (200, go_not_ready("ben", 60_000))];
    let world = World::after(&[talking(), away.to_vec()].concat());
    let restarted = world.restarted();
    assert_eq!(restarted.state_hash(), world.machine.state_hash());
    let agents = &restarted.state().agents;
    assert_eq!(agents[&agent("anna")].activity(), Activity::Talking);
    let paused =
        Presence::NotReady { reason: "lunch".to_owned(), until: Some(Timestamp(62_000)), limit: None };
    assert_eq!(agents[&agent("ben")].presence, paused);
    assert_eq!(restarted.next_deadline(), world.machine.next_deadline(), "and its end still comes");
}

/// Row 8: after a restart the wrong agent was busy, with the call of another.
#[test]
fn after_a_restart_nobody_is_busy_with_the_contact_of_another() {
    let ben = [(100, sign_in("ben")), (200, go_ready("ben"))];
    let world = World::after(&[talking(), ben.to_vec()].concat());
    let mut other = World { machine: world.restarted(), ..world };
    assert_eq!(other.does("ben"), Activity::Ready);
    assert!(other.offer(2_500, "ben", "d").is_ok());
    assert_eq!(other.offer(2_600, "ben", "c"), Err("ALREADY_RESERVED"), "ben's slot, not anna's contact");
}

/// Row 17: wrap-up that ended early or was skipped, since the queues an agent is in each have a clock for it.
#[test]
fn wrap_up_lasts_as_its_queue_says_whatever_other_queues_do() {
    let mut world = World::after(&wrapping_up());
    // Another queue wants the agent, and its rules change: the deadline stands.
    assert_eq!(world.offer(12_000, "anna", "next"), Err("IN_WRAP_UP"));
    world.go(&[(13_000, change_modes(2, 1)), (14_999, Action::Expire)]);
    assert_eq!(world.does("anna"), Activity::WrapUp, "never shown as free");
    world.go(&[(15_000, Action::Expire)]);
    assert_eq!(world.does("anna"), Activity::Ready);
}

/// Row 18: an agent thrown out for ever after missed calls.
#[test]
fn who_missed_too_many_is_told_why_and_is_back_by_itself() {
    let mut world = World::after(&ready());
    for contact in ["a", "b"] {
        let now = world.now + 1_000;
        let token = match world.at(now, reserve(&[wish("anna", contact, "lenient", now + 5_000)])) {
            Ok(Done::Reserved { answers }) => answers[0].granted.clone().unwrap(),
            other => panic!("{other:?}"),
        };
        world.go(&[(now + 4_000, release("anna", contact, token, ReleaseOutcome::Unanswered))]);
    }
    let until = Some(Timestamp(world.now + 60_000));
    let missed = Presence::NotReady { reason: "phone unattended".to_owned(), until, limit: None };
    assert_eq!(world.machine.state().agents[&agent("anna")].presence, missed);
    world.go(&[(world.now + 60_000, Action::Expire)]);
    assert_eq!(world.does("anna"), Activity::Ready);
}

/// Row 19: "next state" lost, or a status switched every three seconds for two hours.
#[test]
fn what_an_agent_asked_for_during_a_contact_is_kept_and_a_presence_that_flips_is_told() {
    let mut world = World::after(&talking());
    world.go(&[
        (3_000, go_not_ready("anna", 0)),
        (10_000, release("anna", "c", 6144, ReleaseOutcome::Completed)),
    ]);
    let mut other = World { machine: world.restarted(), ..world };
    other.go(&[(15_000, Action::Expire)]);
    assert_eq!(other.does("anna"), Activity::NotReady, "also when the voter that took it is gone");
    for step in 0..8 {
        let (now, even) = (20_000 + step * 3_000, step % 2 == 0);
        other.go(&[(now, if even { go_ready("anna") } else { go_not_ready("anna", 0) })]);
    }
    let unsteady = |posted: &&OutboxFact| posted.fact.name() == "AgentPresenceUnsteady";
    assert_eq!(other.machine.state().outbox.values().filter(unsteady).count(), 1, "once, and no more");
}

/// Row 20: available and not registered, or inactive and still rung.
#[test]
fn who_cannot_be_called_or_takes_no_contacts_is_not_rung_from_that_instant_on() {
    let mut world = World::after(&ready());
    world.go(&[(300, unregister("anna", "phone"))]);
    assert_eq!(world.offer(300, "anna", "a"), Err("UNREACHABLE"));
    world.go(&[(400, register("anna", "phone", "sip:phone@1", 5_000))]);
    world.go(&[(500, go_not_ready("anna", 0))]);
    assert_eq!(world.offer(500, "anna", "b"), Err("NOT_READY"));
    world.go(&[(600, go_ready("anna"))]);
    assert_eq!(world.offer(5_000, "anna", "c"), Err("UNREACHABLE"), "its registration ended at that instant");
}
