//! Whatever keeps a contact waiting is told, and what would release it.

use super::bench::*;
use super::*;
use crate::vocabulary::*;

fn told(bench: &Bench, name: &str) -> String {
    let Some(it) = bench.router.explain(&contact_id(name)) else { return "does not wait".to_owned() };
    let Staffing { able, available, no_device, busy, not_ready } = it.staffing;
    let candidates: Vec<String> =
        it.candidates.iter().map(|it| format!("{} {}", it.agent_id, it.reason.as_str())).collect();
    format!(
        "place {}: {:?}; {able} able, {available} available, {no_device} without a telephone, {busy} busy, {not_ready} not ready; {}",
        it.place,
        it.why,
        candidates.join(", ")
    )
}

#[test]
fn each_reason_is_told_while_it_holds() {
    let definitions = vec![queue(QUEUE), agent("anna", &["german 7"]), agent("ben", &["dutch"])];
    let mut bench = Bench::new(1, definitions);
    bench.queues("c1", &["german >= 5"]);
    assert_eq!(
        told(&bench, "c1"),
        "place 1: NobodySignedIn; 1 able, 0 available, 0 without a telephone, 0 busy, 0 not ready; "
    );
    bench.tell_agents(vec![signed_in("anna"), signed_in("ben")]);
    assert_eq!(
        told(&bench, "c1"),
        "place 1: NobodyReady; 1 able, 0 available, 0 without a telephone, 0 busy, 1 not ready; \
         agt_anna not ready, agt_ben lacks a skill"
    );
    bench.tell_agents(vec![ready("anna")]);
    assert_eq!(
        told(&bench, "c1"),
        "place 1: NoDevice; 1 able, 0 available, 1 without a telephone, 0 busy, 0 not ready; \
         agt_anna no reachable device, agt_ben lacks a skill"
    );
    bench.tell_agents(vec![registered("anna")]);
    assert!(told(&bench, "c1").starts_with("place 1: Asked; "), "{}", told(&bench, "c1"));
    bench.granted("r0-1-1", 1);
    assert!(
        told(&bench, "c1")
            .starts_with("place 1: Offered { offer_id: ofr_r0-1-1, agent_id: agt_anna, until: "),
        "{}",
        told(&bench, "c1")
    );
    bench.queues("c2", &["german"]);
    assert_eq!(
        told(&bench, "c2"),
        "place 2: AllBusy; 1 able, 0 available, 0 without a telephone, 1 busy, 0 not ready; \
         agt_anna busy, agt_ben lacks a skill"
    );
    assert_eq!(
        bench.router.explain(&contact_id("c2")).unwrap().releases(),
        ["one of 1 who can serve it becomes free"]
    );
    bench.tell_contacts(vec![abandoned("c2"), declined("c1", "r0-1-1", "anna")]);
    let until = bench.now + Millis::from_secs(30);
    assert_eq!(
        told(&bench, "c1"),
        format!(
            "place 1: Missed {{ until: {until:?} }}; 1 able, 1 available, 0 without a telephone, 0 busy, 0 not ready; \
             agt_anna missed this contact, agt_ben lacks a skill"
        )
    );
    bench.tell_agents(vec![node_lapsed(1)]);
    assert!(told(&bench, "c1").starts_with("place 1: NodeLost; "), "{}", told(&bench, "c1"));
    bench.tell_contacts(vec![abandoned("c1")]);
    assert_eq!(told(&bench, "c1"), "does not wait");
}

#[test]
fn a_skill_that_nobody_has_is_said_on_the_contact() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &["german 7"])]);
    bench.comes("anna");
    bench.queues("c1", &["german >= 8", "klingon or latin"]);
    let it = bench.router.explain(&contact_id("c1")).unwrap();
    assert_eq!(it.why, Why::NobodyCan);
    assert_eq!(it.nobody_has, ["skl_klingon", "skl_latin"].map(|id| SkillId::parse(id).unwrap()));
}

#[test]
fn what_comes_next_of_the_plan_is_said() {
    let steps = vec![Step {
        after_ms: Millis::from_secs(30),
        required_skills: Some(clauses(&["german"])),
        ..Step::default()
    }];
    let plan = QueuePlan { steps, ..QueuePlan::default() };
    let mut bench = Bench::new(1, vec![queue_with(QUEUE, plan)]);
    bench.queues("c1", &["german >= 8"]);
    let next = bench.router.explain(&contact_id("c1")).unwrap().next_step.unwrap();
    assert_eq!((next.at, next.required_skills), (Timestamp(30_000), clauses(&["german"])));
    let it = bench.router.explain(&contact_id("c1")).unwrap();
    assert_eq!(
        it.releases(),
        [
            "somebody is defined who has skl_german >= 8",
            "it needs skl_german from 1970-01-01T00:00:30.000Z on"
        ]
    );
    bench.wait(Millis::from_secs(30));
    assert_eq!(bench.router.explain(&contact_id("c1")).unwrap().next_step, None);
}

/// An agent takes one every 10 s; who comes sixth waits about a minute.
#[test]
fn the_expected_wait_follows_how_fast_the_queue_moves() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &[])]);
    for nth in 0..12 {
        bench.queues(&format!("c{nth:02}"), &[]);
    }
    assert_eq!(bench.router.explain(&contact_id("c11")).unwrap().expected, None);
    for nth in 0..6 {
        bench.wait(Millis::from_secs(10));
        bench.tell_contacts(vec![connected(&format!("c{nth:02}"), "r0-9-9", "anna")]);
    }
    let it = bench.router.explain(&contact_id("c11")).unwrap();
    assert_eq!((it.place, it.expected.unwrap().p50_ms), (6, Millis::from_secs(60)));
    let again = bench.restarted(2);
    assert_eq!(
        again.router.explain(&contact_id("c11")).unwrap().expected.unwrap().p50_ms,
        Millis::from_secs(60)
    );
}
