//! What changes for who waits: head start, tier, ageing, steps.

use super::bench::*;
use crate::vocabulary::*;

fn step(after_s: i64) -> Step {
    Step { after_ms: Millis::from_secs(after_s), ..Step::default() }
}

/// Asterisk freezes its rules when the caller enters; here each step is a fact, and comes when it is due.
#[test]
fn a_step_lowers_what_a_contact_needs_and_the_next_agent_is_offered_at_once() {
    let steps = vec![
        Step { required_skills: Some(clauses(&["german >= 3"])), ..step(30) },
        Step { required_skills: Some(vec![]), priority: Some(-5), ..step(60) },
    ];
    let plan = QueuePlan { steps, ..QueuePlan::default() };
    let definitions = vec![
        queue_with(QUEUE, plan),
        agent("anna", &["german 2"]),
        agent("ben", &["german 4"]),
        agent("carla", &["dutch"]),
    ];
    let mut bench = Bench::new(1, definitions);
    ["anna", "carla"].iter().for_each(|name| bench.comes(name));
    bench.queues("c1", &["german >= 7"]);
    bench.told();
    bench.wait(Millis(30_000));
    assert_eq!(bench.told(), "step 1 of ctc_c1 after 30 s: priority 0, needs skl_german >= 3\n");
    bench.wait(Millis(30_000));
    assert_eq!(
        bench.told(),
        "step 2 of ctc_c1 after 60 s: priority -5, needs \n\
         → reserve agt_anna for ctc_c1 until 75000: ofr_r0-1-1\n"
    );
}

#[test]
fn what_fell_due_while_nobody_owned_the_partition_takes_effect_at_the_take_over() {
    let steps = vec![
        Step { priority: Some(-1), ..step(10) },
        Step { priority: Some(-2), ..step(20) },
        Step { priority: Some(-3), ..step(60) },
    ];
    let mut bench = Bench::new(1, vec![queue_with(QUEUE, QueuePlan { steps, ..QueuePlan::default() })]);
    bench.queues("c1", &[]);
    bench.now = Timestamp(25_000);
    let mut bench = bench.restarted(2);
    bench.wait(Millis(0));
    let told = bench.told();
    assert!(told.ends_with("step 2 of ctc_c1 after 25 s: priority -2, needs \n"), "{told}");
    let hash = bench.router.state_hash();
    let mut bench = bench.restarted(3);
    assert_ne!(hash, bench.router.state_hash(), "another owner took it");
    bench.told();
    bench.wait(Millis(35_000));
    assert_eq!(bench.told(), "step 3 of ctc_c1 after 60 s: priority -3, needs \n");
}

#[test]
fn who_ages_overtakes_who_came_with_a_better_priority() {
    let ageing = Some(Ageing { every_ms: Millis::from_secs(10), by: 1, most: 3 });
    let mut bench = Bench::new(
        1,
        vec![queue_with(QUEUE, QueuePlan { ageing, ..QueuePlan::default() }), agent("anna", &[])],
    );
    bench.tell_contacts(vec![requested("old", 5, Timestamp(0), &[])]);
    bench.wait(Millis(60_000));
    let told = bench.told();
    assert!(told.contains("step 0 of ctc_old after 30 s: priority 2"), "{told}");
    assert!(!told.contains("after 40 s"), "its ageing has an end: {told}");
    bench.tell_contacts(vec![requested("young", 3, bench.now, &[])]);
    bench.comes("anna");
    let told = bench.told();
    assert!(told.contains("→ reserve agt_anna for ctc_old"), "{told}");
}

/// FreeSWITCH's `base_score`, Twilio's `VirtualStartTime`: seconds that somebody has waited already.
#[test]
fn a_head_start_counts_like_time_that_was_waited() {
    let head_start = QueuePlan { head_start_ms: Millis::from_secs(90), ..QueuePlan::default() };
    let definitions = vec![queue(QUEUE), queue_with("gold", head_start), agent("anna", &[])];
    for (came_s, first) in [(89, "ctc_gold"), (91, "ctc_plain")] {
        let mut bench = Bench::new(1, definitions.clone());
        bench.queues("plain", &[]);
        bench.wait(Millis::from_secs(came_s));
        bench.tell_contacts(vec![to_queue("gold", "gold", bench.now)]);
        bench.comes("anna");
        let told = bench.told();
        assert!(told.contains(&format!("→ reserve agt_anna for {first}")), "{came_s}: {told}");
    }
}

#[test]
fn a_tier_outranks_any_priority() {
    let lower = QueuePlan { tier: 1, ..QueuePlan::default() };
    let definitions = vec![queue_with(QUEUE, lower), queue("vip"), agent("anna", &[])];
    let mut bench = Bench::new(1, definitions);
    bench.tell_contacts(vec![requested("plain", -1_000, Timestamp(0), &[])]);
    bench.wait(Millis(60_000));
    bench.tell_contacts(vec![to_queue("vip", "vip", bench.now)]);
    bench.comes("anna");
    let told = bench.told();
    assert!(told.contains("→ reserve agt_anna for ctc_vip"), "{told}");
}

fn overflowing() -> QueuePlan {
    let steps = vec![Step { overflow_queue_id: QueueId::parse("que_rest").ok(), ..step(30) }];
    QueuePlan { steps, ..QueuePlan::default() }
}

/// The node is told until the contacts log says that the visit is over, also by the next owner.
#[test]
fn who_overflows_is_offered_to_nobody_here_and_its_node_is_told_until_it_has_gone() {
    let mut bench = Bench::new(1, vec![queue_with(QUEUE, overflowing()), queue("rest"), agent("anna", &[])]);
    bench.queues("c1", &[]);
    bench.told();
    bench.wait(Millis(31_000));
    let send = "→ send ctc_c1 to que_rest at one:1\n";
    assert_eq!(bench.told(), format!("step 1 of ctc_c1 after 30 s: priority 0, needs \n{send}{send}"));
    bench.comes("anna");
    assert_eq!(bench.told(), "");
    let mut bench = bench.restarted(2);
    assert!(bench.told().ends_with(send));
    bench.tell_contacts(vec![overflowed("c1"), again("c1", 2, "rest", Timestamp(0))]);
    let told = bench.told();
    assert!(told.contains("left ctc_c1 FlowedOut\nqueued ctc_c1 at 1\n"), "{told}");
    assert!(told.contains("→ reserve agt_anna for ctc_c1"), "{told}");
    bench.wait(Millis(10_000));
    assert!(!bench.told().contains("→ send"));
}

#[test]
fn an_offer_that_rings_goes_on_before_the_contact_overflows() {
    let mut bench = Bench::new(1, vec![queue_with(QUEUE, overflowing()), queue("rest"), agent("anna", &[])]);
    bench.queues("c1", &[]);
    bench.wait(Millis(25_000));
    bench.comes("anna");
    bench.granted("r0-1-1", 1);
    bench.told();
    bench.wait(Millis(10_000));
    assert_eq!(bench.told(), "step 1 of ctc_c1 after 30 s: priority 0, needs \n");
    bench.tell_contacts(vec![declined("c1", "r0-1-1", "anna")]);
    assert_eq!(bench.told(), "ended ofr_r0-1-1 Declined\n→ send ctc_c1 to que_rest at one:1\n");
}

/// Between the question and the answer of agent-state the time to leave has come: nobody rings.
#[test]
fn a_reservation_that_comes_too_late_is_given_back() {
    let mut bench = Bench::new(1, vec![queue_with(QUEUE, overflowing()), queue("rest"), agent("anna", &[])]);
    bench.queues("c1", &[]);
    bench.wait(Millis(29_000));
    bench.comes("anna");
    bench.wait(Millis(2_000));
    bench.told();
    bench.granted("r0-1-1", 7);
    assert_eq!(bench.told(), "→ release agt_anna token 7\n→ send ctc_c1 to que_rest at one:1\n");
}
