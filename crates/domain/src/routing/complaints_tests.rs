//! What callers and agents of other systems complain of, each as a test named after what it prevents.
//!
//! The numbers are the rows of the study of complaints this product was built from. What concerns agents is in
//! `agent_state/tests/complaints.rs`; row 6 and 7 on real processes in `services/routing/tests/standby.rs` and
//! `services/trunkline/tests/kill.rs`.

use std::collections::BTreeSet;

use super::bench::*;
use crate::facts::{ReleaseOutcome, RoutingFact};
use crate::vocabulary::*;

/// The offers that were made, contact and agent.
fn offered(bench: &Bench) -> Vec<(String, String)> {
    let facts = bench.own.iter().flat_map(|outcome| &outcome.facts);
    let offers = facts.filter_map(|recorded| match &recorded.fact {
        RoutingFact::OfferMade { contact_id, agent_id, .. } => {
            Some((contact_id.to_string(), agent_id.to_string()))
        }
        _ => None,
    });
    offers.collect()
}

/// Row 3: a dead call that rings an agent all the same.
#[test]
fn a_caller_who_hangs_up_between_plan_and_grant_rings_nobody() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &[])]);
    bench.comes("anna");
    bench.queues("c1", &[]);
    bench.tell_contacts(vec![abandoned("c1")]);
    bench.told();
    bench.granted("r0-1-1", 7);
    assert_eq!(bench.told(), "→ release agt_anna token 7\n");
    assert_eq!(offered(&bench), []);
}

/// Row 5: an agent who is offered a second contact while the first still rings.
#[test]
fn nobody_is_offered_two_contacts_by_two_queues() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), queue("other"), agent("anna", &[])]);
    bench.comes("anna");
    bench.queues("c1", &[]);
    bench.tell_contacts(vec![to_queue("c2", "other", bench.now)]);
    bench.granted("r0-1-1", 1);
    bench.wait(Millis::from_secs(10));
    assert_eq!(offered(&bench), [("ctc_c1".to_owned(), "agt_anna".to_owned())]);
}

/// Rows 7 to 9: a restart that guesses who waits, in which order, and who is busy.
#[test]
fn two_thousand_who_wait_stand_in_the_same_order_after_a_restart() {
    let ageing = Some(Ageing { every_ms: Millis(500), by: 1, most: 4 });
    let steps = vec![Step { after_ms: Millis(1_500), priority: Some(3), ..Step::default() }];
    let plan = QueuePlan { ageing, steps, head_start_ms: Millis(700), ..QueuePlan::default() };
    let definitions = vec![
        queue(QUEUE),
        queue_with("gold", plan),
        queue_with("later", QueuePlan { tier: 1, ..QueuePlan::default() }),
        agent("anna", &[]),
    ];
    let mut bench = Bench::new(1, definitions);
    for nth in 0..2_000 {
        let queue = [QUEUE, "gold", "later"][nth % 3];
        bench.tell_contacts(vec![to_queue(&format!("c{:04}", nth * 7_919 % 2_000), queue, bench.now)]);
        if nth % 10 == 0 {
            bench.wait(Millis(13));
        }
    }
    let order = |bench: &Bench| -> Vec<ContactId> {
        bench.router.book().in_order().map(|(contact_id, _)| contact_id.clone()).collect()
    };
    let before = order(&bench);
    assert_eq!(before.len(), 2_000);
    assert!(!before.is_sorted(), "the order is no order of names");
    let mut bench = bench.restarted(2);
    assert_eq!(before, order(&bench));
    // And whoever comes first is served first.
    bench.comes("anna");
    bench.granted("r0-2-1", 1);
    assert_eq!(offered(&bench), [(before[0].to_string(), "agt_anna".to_owned())]);
}

/// Row 18: the same agent is rung again and again for the call it did not take.
#[test]
fn an_agent_that_missed_a_contact_is_not_rung_for_it_again_at_once() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &[])]);
    bench.comes("anna");
    bench.queues("c1", &[]);
    bench.granted("r0-1-1", 1);
    bench.tell_agents(vec![reserved("anna", "r0-1-1", "c1", 1, 1)]);
    bench.tell_contacts(vec![unanswered("c1", "r0-1-1", "anna")]);
    bench.tell_agents(vec![released("anna", "r0-1-1", "c1", 1, ReleaseOutcome::Unanswered)]);
    bench.told();
    bench.wait(Millis(29_999));
    assert_eq!(bench.told(), "");
    bench.wait(Millis(1));
    assert!(bench.told().contains("→ reserve agt_anna for ctc_c1"));
}

/// Row 23: capacity that was freed and stays empty while somebody waits.
#[test]
fn whoever_becomes_free_gets_the_first_who_waits_at_once() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &[])]);
    bench.comes("anna");
    ["c1", "c2", "c3"].iter().for_each(|name| bench.queues(name, &[]));
    bench.granted("r0-1-1", 1);
    bench.tell_agents(vec![reserved("anna", "r0-1-1", "c1", 1, 1), accepted("anna", "r0-1-1", "c1", 1)]);
    bench.tell_contacts(vec![connected("c1", "r0-1-1", "anna")]);
    bench.told();
    bench.tell_agents(vec![released("anna", "r0-1-1", "c1", 1, ReleaseOutcome::Completed)]);
    assert!(bench.told().starts_with("→ reserve agt_anna for ctc_c2"), "without any time passing");
}

/// Row 24: a flood that takes everything down. What is too much is turned away, each with its reason.
#[test]
fn a_flood_finds_a_queue_that_holds_so_many_and_no_more() {
    let mut bench = Bench::new(1, vec![queue_for(QUEUE, 100)]);
    for nth in 0..20_000 {
        bench.queues(&format!("c{nth:05}"), &[]);
    }
    assert_eq!(bench.router.book().waiting_count(), 100);
    let facts = bench.own.iter().flat_map(|outcome| &outcome.facts);
    let turned_away = facts.filter(|it| matches!(it.fact, RoutingFact::ContactTurnedAway { .. })).count();
    assert_eq!(turned_away, 19_900);
}

/// Row 25: one agent who does not answer, or one caller whom nobody can serve, holds up everybody behind.
#[test]
fn nobody_waits_for_somebody_else_s_agent() {
    let definitions = vec![queue(QUEUE), agent("anna", &["german"]), agent("ben", &["german"])];
    let mut bench = Bench::new(1, definitions);
    bench.queues("rare", &["klingon"]);
    ["c1", "c2"].iter().for_each(|name| bench.queues(name, &["german"]));
    bench.comes("anna");
    bench.granted("r0-1-1", 1);
    // Anna's telephone rings and rings; Ben comes.
    bench.wait(Millis::from_secs(5));
    bench.comes("ben");
    bench.granted("r0-1-2", 2);
    let pairs = [("ctc_c1", "agt_anna"), ("ctc_c2", "agt_ben")];
    assert_eq!(offered(&bench), pairs.map(|(contact, agent)| (contact.to_owned(), agent.to_owned())));
}

/// Row 25: of thirteen who wait, the eighth is connected.
#[test]
fn whoever_comes_first_is_served_first() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &[])]);
    for nth in 1..=13 {
        bench.queues(&format!("c{nth:02}"), &[]);
        bench.wait(Millis(10));
    }
    bench.comes("anna");
    for nth in 1..=13_u64 {
        let (contact, offer) = (format!("c{nth:02}"), format!("r0-1-{nth}"));
        bench.granted(&offer, nth);
        bench.tell_agents(vec![
            reserved("anna", &offer, &contact, nth, 1),
            accepted("anna", &offer, &contact, nth),
        ]);
        bench.tell_contacts(vec![connected(&contact, &offer, "anna")]);
        bench.tell_agents(vec![released("anna", &offer, &contact, nth, ReleaseOutcome::Completed)]);
    }
    let served: Vec<String> = offered(&bench).into_iter().map(|(contact, _)| contact).collect();
    assert_eq!(served, (1..=13).map(|nth| format!("ctc_c{nth:02}")).collect::<Vec<_>>());
}

/// Row 30: a caller taken out of the queue for an agent who is not there, and put back nowhere.
#[test]
fn a_contact_whose_offer_comes_to_nothing_stands_where_it_stood() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &[])]);
    ["c1", "c2", "c3"].iter().for_each(|name| bench.queues(name, &[]));
    bench.comes("anna");
    bench.granted("r0-1-1", 1);
    bench.tell_contacts(vec![declined("c1", "r0-1-1", "anna")]);
    let order: Vec<String> = bench.router.book().in_order().map(|(id, _)| id.to_string()).collect();
    assert_eq!(order, ["ctc_c1", "ctc_c2", "ctc_c3"]);
    assert_eq!(bench.router.explain(&contact_id("c1")).unwrap().place, 1);
}

/// Bad input: facts about contacts nobody has heard of, and a clock that is set back.
#[test]
fn a_fact_about_an_unknown_contact_and_a_clock_that_jumps_change_nothing() {
    let mut bench = Bench::new(1, vec![queue(QUEUE), agent("anna", &[])]);
    bench.comes("anna");
    bench.wait(Millis::from_secs(10));
    let hash = bench.router.state_hash();
    bench.told();
    bench.tell_contacts(vec![
        abandoned("nobody"),
        connected("nobody", "r0-1-9", "anna"),
        declined("nobody", "r0-1-9", "anna"),
        ended("nobody"),
    ]);
    bench.granted("r0-1-9", 3);
    assert_eq!((bench.told().as_str(), bench.router.state_hash()), ("", hash));
    // An hour back: what waits goes on waiting as long as it would have.
    bench.queues("c1", &["klingon"]);
    bench.now = Timestamp(bench.now.0 - 3_600_000);
    bench.queues("c2", &[]);
    bench.granted("r0-1-1", 1);
    assert_eq!(offered(&bench), [("ctc_c2".to_owned(), "agt_anna".to_owned())]);
    let waiting: BTreeSet<String> = bench.router.book().in_order().map(|(id, _)| id.to_string()).collect();
    assert_eq!(waiting.len(), 2);
}
