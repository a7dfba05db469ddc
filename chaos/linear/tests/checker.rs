//! Short histories by hand, with what is to be said of each.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use expect_test::{Expect, expect};
use trunkline_linear::check::{Verdict, check};
use trunkline_linear::history::{Fate, Index, Operation};
use trunkline_linear::model::*;
use trunkline_linear::order::{Contradiction, contradiction};

const ACQUIRE: Call = Call::Lease(LeaseCall::Acquire);
const READ: Call = Call::Agent(AgentCall::Read);
const READY: Call = Call::Agent(AgentCall::GoReady);
const SIGN_IN: Call = Call::Agent(AgentCall::SignIn { session: Mark(1) });

fn release(epoch: u64) -> Call {
    Call::Lease(LeaseCall::Release { epoch })
}

fn reserve(offer: u64) -> Call {
    Call::Agent(AgentCall::Reserve { offer: Mark(offer) })
}

fn accept(offer: u64, token: u64) -> Call {
    Call::Agent(AgentCall::Accept { offer: Mark(offer), token })
}

fn seen(activity: Activity) -> Reply {
    let session = (activity != Activity::SignedOut).then_some(Mark(1));
    let reason = (activity == Activity::NotReady).then_some(Reason::SignedIn);
    Reply::Seen(Seen { activity, reason, session, contact: None })
}

fn no(code: &str) -> Reply {
    Reply::Refused(code.to_owned())
}

fn operation(client: u32, called_at: u64, call: Call, fate: Fate<Reply>) -> Op {
    let key = if matches!(call, Call::Agent(_)) { Key::Agent(0) } else { Key::Lease(0) };
    Operation { client, key, call, called_at: called_at * 1_000_000, fate, index: None }
}

/// Answered, between two times in ms.
fn ok(client: u32, from: u64, until: u64, call: Call, reply: Reply) -> Op {
    operation(client, from, call, Fate::Ok { reply, returned_at: until * 1_000_000 })
}

fn unknown(client: u32, from: u64, call: Call) -> Op {
    operation(client, from, call, Fate::Unknown)
}

fn said(history: &[Op]) -> String {
    match check::<AgentState>(history, 10_000) {
        Verdict::Linearizable { .. } => "linearizable".to_owned(),
        Verdict::Violation(misfit) => misfit.to_string(),
        Verdict::Unknown { .. } => "unknown".to_owned(),
    }
}

#[track_caller]
fn passes(history: &[Op]) {
    assert_eq!(said(history), "linearizable");
}

#[track_caller]
fn fails(history: &[Op], expected: Expect) {
    expected.assert_eq(&said(history));
}

#[test]
fn nothing_at_all_has_an_order() {
    passes(&[]);
    passes(&[unknown(1, 0, ACQUIRE)]);
}

#[test]
fn operations_at_the_same_time_may_be_in_either_order() {
    passes(&[ok(1, 0, 10, ACQUIRE, Reply::HeldBy(2)), ok(2, 5, 15, ACQUIRE, Reply::Epoch(7))]);
    passes(&[ok(1, 0, 10, ACQUIRE, Reply::Epoch(7)), ok(2, 5, 15, ACQUIRE, Reply::HeldBy(1))]);
}

#[test]
fn an_answer_about_what_comes_later_fits_nowhere() {
    fails(
        &[ok(1, 0, 4, ACQUIRE, Reply::HeldBy(2)), ok(2, 5, 15, ACQUIRE, Reply::Epoch(7))],
        expect![[r#"
        lease 0 is not linearizable:
          and the state is Lease(Lease { holding: None, highest: 0 })
          fits nowhere: [0.000..4.000 ms] client 1: Lease(Acquire) -> HeldBy(2); here it would be answered a new epoch"#]],
    );
}

#[test]
fn a_lease_is_not_granted_twice() {
    fails(
        &[
            ok(1, 0, 4, ACQUIRE, Reply::Epoch(5)),
            ok(2, 5, 9, ACQUIRE, Reply::Epoch(6)),
            ok(1, 10, 12, release(5), Reply::Done),
        ],
        expect![[r#"
            lease 0 is not linearizable:
              then [0.000..4.000 ms] client 1: Lease(Acquire) -> Epoch(5)
              and the state is Lease(Lease { holding: Some((1, Some(5))), highest: 5 })
              fits nowhere: [5.000..9.000 ms] client 2: Lease(Acquire) -> Epoch(6); here it would be answered HeldBy(1)"#]],
    );
    passes(&[
        ok(1, 0, 4, ACQUIRE, Reply::Epoch(5)),
        ok(2, 5, 9, ACQUIRE, Reply::Epoch(6)),
        ok(1, 7, 12, release(5), Reply::Done),
    ]);
}

#[test]
fn epochs_only_grow() {
    fails(
        &[
            ok(1, 0, 1, ACQUIRE, Reply::Epoch(5)),
            ok(1, 2, 3, release(5), Reply::Done),
            ok(2, 4, 5, ACQUIRE, Reply::Epoch(5)),
        ],
        expect![[r#"
            lease 0 is not linearizable:
              then [0.000..1.000 ms] client 1: Lease(Acquire) -> Epoch(5)
              then [2.000..3.000 ms] client 1: Lease(Release { epoch: 5 }) -> Done
              and the state is Lease(Lease { holding: None, highest: 5 })
              fits nowhere: [4.000..5.000 ms] client 2: Lease(Acquire) -> Epoch(5); here it would be answered a new epoch"#]],
    );
}

#[test]
fn what_nobody_answered_may_take_effect_later_or_never() {
    let given_back = [ok(1, 0, 1, ACQUIRE, Reply::Epoch(5)), unknown(1, 2, release(5))];
    // It is still held, then it is not: the release came in between.
    let later = [ok(2, 10, 11, ACQUIRE, Reply::HeldBy(1)), ok(2, 20, 21, ACQUIRE, Reply::Epoch(9))];
    passes(&[given_back.to_vec(), later.to_vec()].concat());
    // It is held for ever.
    passes(&[given_back.to_vec(), later[..1].to_vec()].concat());
    // It took effect once: what was taken again is not given back by it.
    let again = [ok(2, 22, 23, release(9), Reply::Done), ok(1, 24, 25, ACQUIRE, Reply::Epoch(12))];
    let freed = ok(2, 26, 27, ACQUIRE, Reply::Epoch(13));
    passes(&[given_back.to_vec(), later.to_vec(), again.to_vec()].concat());
    fails(
        &[given_back.to_vec(), later.to_vec(), again.to_vec(), vec![freed]].concat(),
        expect![[r#"
        lease 0 is not linearizable:
          then [0.000..1.000 ms] client 1: Lease(Acquire) -> Epoch(5)
          then [10.000..11.000 ms] client 2: Lease(Acquire) -> HeldBy(1)
          then [2.000.. ms] client 1: Lease(Release { epoch: 5 }) -> unknown
          then [20.000..21.000 ms] client 2: Lease(Acquire) -> Epoch(9)
          then [22.000..23.000 ms] client 2: Lease(Release { epoch: 9 }) -> Done
          then [24.000..25.000 ms] client 1: Lease(Acquire) -> Epoch(12)
          and the state is Lease(Lease { holding: Some((1, Some(12))), highest: 12 })
          fits nowhere: [26.000..27.000 ms] client 2: Lease(Acquire) -> Epoch(13); here it would be answered HeldBy(1)"#]],
    );
}

#[test]
fn what_nobody_answered_has_no_effect_before_it_was_called() {
    fails(
        &[ok(1, 0, 1, ACQUIRE, Reply::HeldBy(2)), unknown(2, 5, ACQUIRE)],
        expect![[r#"
        lease 0 is not linearizable:
          and the state is Lease(Lease { holding: None, highest: 0 })
          fits nowhere: [0.000..1.000 ms] client 1: Lease(Acquire) -> HeldBy(2); here it would be answered a new epoch"#]],
    );
    passes(&[ok(1, 0, 6, ACQUIRE, Reply::HeldBy(2)), unknown(2, 5, ACQUIRE)]);
}

#[test]
fn what_failed_had_no_effect() {
    let failed = operation(2, 0, ACQUIRE, Fate::Fail);
    fails(
        &[failed, ok(1, 5, 6, ACQUIRE, Reply::HeldBy(2))],
        expect![[r#"
        lease 0 is not linearizable:
          and the state is Lease(Lease { holding: None, highest: 0 })
          fits nowhere: [5.000..6.000 ms] client 1: Lease(Acquire) -> HeldBy(2); here it would be answered a new epoch"#]],
    );
}

#[test]
fn a_read_does_not_go_back() {
    let ready = [ok(1, 0, 1, SIGN_IN, Reply::Session(Mark(1))), ok(1, 2, 20, READY, Reply::Done)];
    let (new, old) = (seen(Activity::Ready), seen(Activity::NotReady));
    // While it becomes ready, a read may have either, as long as no later read has the older.
    let reads = |first: &Reply, second: &Reply| {
        [ok(2, 5, 6, READ, first.clone()), ok(3, 8, 9, READ, second.clone())].to_vec()
    };
    passes(&[ready.to_vec(), reads(&old, &new)].concat());
    passes(&[ready.to_vec(), reads(&old, &old)].concat());
    passes(&[ready.to_vec(), reads(&new, &new)].concat());
    fails(
        &[ready.to_vec(), reads(&new, &old)].concat(),
        expect![[r#"
        agent 0 is not linearizable:
          then [0.000..1.000 ms] client 1: Agent(SignIn { session: #1 }) -> Session(#1)
          then [2.000..20.000 ms] client 1: Agent(GoReady) -> Done
          then [5.000..6.000 ms] client 2: Agent(Read) -> Seen(Seen { activity: Ready, reason: None, session: Some(#1), contact: None })
          and the state is Agent(Agent { session: Some(#1), not_ready: None, next: None, held: None, wrap_up: None, missed_count: 0, highest: 0 })
          fits nowhere: [8.000..9.000 ms] client 3: Agent(Read) -> Seen(Seen { activity: NotReady, reason: Some(SignedIn), session: Some(#1), contact: None }); here it would be answered Seen(Seen { activity: Ready, reason: None, session: Some(#1), contact: None })"#]],
    );
    fails(
        &[ready.to_vec(), vec![ok(2, 21, 22, READ, old.clone())]].concat(),
        expect![[r#"
        agent 0 is not linearizable:
          then [0.000..1.000 ms] client 1: Agent(SignIn { session: #1 }) -> Session(#1)
          then [2.000..20.000 ms] client 1: Agent(GoReady) -> Done
          and the state is Agent(Agent { session: Some(#1), not_ready: None, next: None, held: None, wrap_up: None, missed_count: 0, highest: 0 })
          fits nowhere: [21.000..22.000 ms] client 2: Agent(Read) -> Seen(Seen { activity: NotReady, reason: Some(SignedIn), session: Some(#1), contact: None }); here it would be answered Seen(Seen { activity: Ready, reason: None, session: Some(#1), contact: None })"#]],
    );
}

#[test]
fn an_acknowledged_write_is_not_lost() {
    fails(
        &[
            ok(1, 0, 1, SIGN_IN, Reply::Session(Mark(1))),
            ok(1, 2, 3, READY, Reply::Done),
            ok(2, 4, 5, reserve(7), no("NOT_READY")),
        ],
        expect![[r#"
            agent 0 is not linearizable:
              then [0.000..1.000 ms] client 1: Agent(SignIn { session: #1 }) -> Session(#1)
              then [2.000..3.000 ms] client 1: Agent(GoReady) -> Done
              and the state is Agent(Agent { session: Some(#1), not_ready: None, next: None, held: None, wrap_up: None, missed_count: 0, highest: 0 })
              fits nowhere: [4.000..5.000 ms] client 2: Agent(Reserve { offer: #7 }) -> Refused("NOT_READY"); here it would be answered a new token"#]],
    );
}

#[test]
fn an_agent_is_not_reserved_twice() {
    let ready = [ok(1, 0, 1, SIGN_IN, Reply::Session(Mark(1))), ok(1, 2, 3, READY, Reply::Done)];
    let first = ok(1, 4, 9, reserve(7), Reply::Token(70));
    fails(
        &[ready.to_vec(), vec![first.clone(), ok(2, 5, 8, reserve(8), Reply::Token(80))]].concat(),
        expect![[r#"
            agent 0 is not linearizable:
              then [0.000..1.000 ms] client 1: Agent(SignIn { session: #1 }) -> Session(#1)
              then [2.000..3.000 ms] client 1: Agent(GoReady) -> Done
              then [5.000..8.000 ms] client 2: Agent(Reserve { offer: #8 }) -> Token(80)
              and the state is Agent(Agent { session: Some(#1), not_ready: None, next: None, held: Some(Held { offer: #8, token: Some(80), accepted: false }), wrap_up: None, missed_count: 0, highest: 80 })
              fits nowhere: [4.000..9.000 ms] client 1: Agent(Reserve { offer: #7 }) -> Token(70); here it would be answered Refused("ALREADY_RESERVED")"#]],
    );
    passes(&[ready.to_vec(), vec![first, ok(2, 5, 8, reserve(8), no("ALREADY_RESERVED"))]].concat());
    // A grant that nobody heard of holds the agent too; asked for again, its token is told.
    let unheard = [ready.to_vec(), vec![unknown(1, 4, reserve(7))]].concat();
    let held = ok(2, 10, 11, reserve(8), no("ALREADY_RESERVED"));
    let told = [ok(1, 12, 13, reserve(7), Reply::Token(70)), ok(1, 14, 15, accept(7, 70), Reply::Done)];
    passes(&[unheard.clone(), vec![held], told.to_vec()].concat());
    let (free, other) = (ok(2, 10, 11, reserve(8), Reply::Token(80)), no("ALREADY_RESERVED"));
    passes(&[unheard, vec![free, ok(1, 12, 13, reserve(7), other)]].concat());
}

#[test]
fn a_search_that_is_given_up_is_no_pass() {
    let history: Vec<Op> = (0..20).map(|client| unknown(client, 0, ACQUIRE)).collect();
    let late = ok(30, 50, 51, ACQUIRE, Reply::HeldBy(31));
    let history = [history, vec![late]].concat();
    assert!(matches!(check::<AgentState>(&history, 5), Verdict::Unknown { visited: 6, .. }));
    assert!(matches!(check::<AgentState>(&history, 1_000), Verdict::Violation(_)));
}

#[test]
fn a_violation_of_one_key_counts_more_than_a_search_given_up_of_another() {
    let agent = ok(1, 0, 1, READY, Reply::Done);
    let leases: Vec<Op> = (0..20).map(|client| unknown(client, 0, ACQUIRE)).collect();
    let history = [leases, vec![ok(30, 50, 51, ACQUIRE, Reply::HeldBy(31)), agent]].concat();
    assert!(matches!(check::<AgentState>(&history, 5), Verdict::Violation(_)));
}

#[test]
fn an_index_told_early_is_not_above_one_told_late() {
    let at = |from, until, index| Operation { index: Some(index), ..ok(1, from, until, READ, Reply::Done) };
    for (first, second, wrong) in [
        (Index::Entry(5), Index::Entry(6), false),
        (Index::Entry(5), Index::Entry(5), true),
        (Index::Entry(5), Index::Through(5), false),
        (Index::Entry(5), Index::Through(4), true),
        (Index::Through(5), Index::Through(5), false),
        (Index::Through(5), Index::Through(4), true),
        (Index::Through(5), Index::Entry(6), false),
        (Index::Through(5), Index::Entry(5), true),
    ] {
        let apart = contradiction(&[at(4, 6, second), at(0, 3, first)]);
        let expected = wrong.then_some(Contradiction { earlier: 1, later: 0 });
        assert_eq!(apart, expected, "{first:?}, {second:?}");
        let together = contradiction(&[at(3, 6, second), at(0, 3, first)]);
        assert_eq!(together, None, "{first:?}, {second:?}");
    }
}
