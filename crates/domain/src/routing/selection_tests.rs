//! Whom each strategy puts first, by what its peers document.

use std::collections::{BTreeMap, BTreeSet};

use super::bench::*;
use crate::vocabulary::*;

/// Who is offered contacts that come one after the other and are each talked with for a second, by a queue's plan. Anna, Ben
/// and Carla sign in in this order, a second apart; only Ben and Carla know `b`, Carla best.
fn offered(plan: QueuePlan, needs: &[&[&str]]) -> Vec<String> {
    let definitions = vec![
        queue_with(QUEUE, plan),
        agent("anna", &["a 3", "c"]),
        agent("ben", &["a 9", "b 2"]),
        agent("carla", &["a 5", "b 8", "c", "d"]),
    ];
    let mut bench = Bench::new(1, definitions);
    for name in ["anna", "ben", "carla"] {
        bench.comes(name);
        bench.wait(Millis(1_000));
    }
    let mut names = Vec::new();
    for (nth, need) in needs.iter().enumerate() {
        let (contact, offer, token) = (format!("c{nth}"), format!("r0-1-{}", nth + 1), nth as u64 + 1);
        bench.queues(&contact, need);
        bench.granted(&offer, token);
        let agent = bench.last_offer().agent_id.to_string();
        let name = agent.trim_start_matches("agt_");
        bench.tell_agents(vec![reserved(name, &offer, &contact, token, 1)]);
        bench.tell_agents(vec![accepted(name, &offer, &contact, token)]);
        bench.tell_contacts(vec![connected(&contact, &offer, name)]);
        // Talks of different length: who was offered first talks longest.
        bench.wait(Millis(1_000 * (10 - nth.min(9)) as i64));
        bench.tell_agents(vec![released(
            name,
            &offer,
            &contact,
            token,
            crate::facts::ReleaseOutcome::Completed,
        )]);
        bench.wait(Millis(1_000));
        names.push(name.to_owned());
    }
    names
}

fn by(strategy: SelectionStrategy) -> QueuePlan {
    QueuePlan { selection: Selection { strategy, ..Selection::default() }, ..QueuePlan::default() }
}

#[test]
fn each_strategy_offers_as_it_says() {
    let any: &[&[&str]] = &[&[] as &[&str]; 6];
    for (strategy, expected) in [
        (SelectionStrategy::LongestIdle, "anna ben carla anna ben carla"),
        (SelectionStrategy::RoundRobin, "anna ben carla anna ben carla"),
        (SelectionStrategy::FewestContacts, "anna ben carla anna ben carla"),
        // Anna talked 10 s, Ben 9, Carla 8, then 7 more, Ben 6 more.
        (SelectionStrategy::LeastTalkTime, "anna ben carla carla ben anna"),
        (SelectionStrategy::Linear, "anna anna anna anna anna anna"),
        (SelectionStrategy::FewestSkills, "anna ben anna ben anna ben"),
    ] {
        assert_eq!(offered(by(strategy), any).join(" "), expected, "{}", strategy.as_str());
    }
    let skilled: &[&[&str]] = &[&["a"], &["b"], &["a", "b"], &["a >= 4"], &["a 4-6"]];
    assert_eq!(offered(by(SelectionStrategy::MostSkilled), skilled).join(" "), "ben carla carla ben carla");
}

/// Of a thousand contacts each of three gets a third, and in no order that could be foreseen by who came before.
#[test]
fn chance_is_even_and_the_same_for_everybody() {
    let any = vec![&[] as &[&str]; 600];
    let names = offered(by(SelectionStrategy::Random), &any);
    assert_eq!(names, offered(by(SelectionStrategy::Random), &any));
    let mut counts = BTreeMap::<&str, i32>::new();
    names.iter().for_each(|name| *counts.entry(name).or_default() += 1);
    // 200 each; the standard deviation of a fair draw is 11.5.
    assert!(counts.len() == 3 && counts.values().all(|count| (count - 200).abs() < 50), "{counts:?}");
    let pairs: BTreeSet<_> = names.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    assert_eq!(pairs.len(), 9, "everybody comes after everybody");
}

#[test]
fn who_is_preferred_comes_first_and_the_rest_when_none_of_them_is_left() {
    let plan = |strategy| QueuePlan {
        selection: Selection { prefer: clauses(&["d", "b"]), strategy, ..Selection::default() },
        ..QueuePlan::default()
    };
    for strategy in SelectionStrategy::ALL {
        let mut bench = Bench::new(
            1,
            vec![
                queue_with(QUEUE, plan(strategy)),
                agent("anna", &["a"]),
                agent("ben", &["a", "b"]),
                agent("carla", &["a", "b", "d"]),
            ],
        );
        ["anna", "ben", "carla"].iter().for_each(|name| bench.comes(name));
        let mut names = Vec::new();
        for nth in 1..=3_u64 {
            bench.queues(&format!("c{nth}"), &[]);
            bench.granted(&format!("r0-1-{nth}"), nth);
            names.push(bench.last_offer().agent_id.to_string());
        }
        assert_eq!(names, ["agt_carla", "agt_ben", "agt_anna"], "{}", strategy.as_str());
        let told = bench.told();
        assert!(told.contains("offered ctc_c1 to agt_carla, round 1, not agt_ben (ranks behind)"), "{told}");
    }
}

/// Amazon Connect's two timers, and one that only sign-in moves: a pause, and a conversation.
#[test]
fn idle_time_counts_from_what_the_queue_says() {
    for (idle_since, expected) in [
        // Anna's pause puts her behind.
        (IdleBasis::Available, "agt_ben"),
        // Ben's conversation ended after everybody signed in; Anna had none.
        (IdleBasis::LastContact, "agt_anna"),
        (IdleBasis::SignIn, "agt_anna"),
    ] {
        let selection = Selection { idle_since, ..Selection::default() };
        let plan = QueuePlan { selection, ..QueuePlan::default() };
        let mut bench = Bench::new(1, vec![queue_with(QUEUE, plan), agent("anna", &[]), agent("ben", &[])]);
        bench.comes("anna");
        bench.wait(Millis(1_000));
        bench.comes("ben");
        bench.wait(Millis(1_000));
        bench.tell_agents(vec![not_ready("anna")]);
        bench.queues("c1", &[]);
        bench.granted("r0-1-1", 1);
        assert_eq!(bench.last_offer().agent_id, agent_id("ben"));
        bench.tell_agents(vec![reserved("ben", "r0-1-1", "c1", 1, 1), accepted("ben", "r0-1-1", "c1", 1)]);
        bench.tell_contacts(vec![connected("c1", "r0-1-1", "ben")]);
        bench.wait(Millis(5_000));
        bench.tell_agents(vec![released("ben", "r0-1-1", "c1", 1, crate::facts::ReleaseOutcome::Completed)]);
        bench.wait(Millis(5_000));
        bench.tell_agents(vec![ready("anna")]);
        bench.wait(Millis(1_000));
        bench.queues("c2", &[]);
        bench.granted("r0-1-2", 2);
        assert_eq!(bench.last_offer().agent_id.to_string(), expected, "{}", idle_since.as_str());
    }
}

/// Asterisk forgets `rrpos`, and its counts, with the process.
#[test]
fn a_restart_forgets_neither_whose_turn_it_is_nor_what_was_counted() {
    for strategy in
        [SelectionStrategy::RoundRobin, SelectionStrategy::FewestContacts, SelectionStrategy::LeastTalkTime]
    {
        let definitions = vec![queue_with(QUEUE, by(strategy)), agent("anna", &[]), agent("ben", &[])];
        let mut bench = Bench::new(1, definitions);
        ["anna", "ben"].iter().for_each(|name| bench.comes(name));
        bench.queues("c1", &[]);
        bench.granted("r0-1-1", 1);
        assert_eq!(bench.last_offer().agent_id, agent_id("anna"));
        bench.tell_agents(vec![reserved("anna", "r0-1-1", "c1", 1, 1), accepted("anna", "r0-1-1", "c1", 1)]);
        bench.tell_contacts(vec![connected("c1", "r0-1-1", "anna")]);
        bench.wait(Millis(5_000));
        bench.tell_agents(vec![released("anna", "r0-1-1", "c1", 1, crate::facts::ReleaseOutcome::Completed)]);
        let mut bench = bench.restarted(2);
        bench.queues("c2", &[]);
        bench.granted("r0-2-1", 2);
        assert_eq!(bench.last_offer().agent_id, agent_id("ben"), "{}", strategy.as_str());
    }
}
