//! How queues serve who waits: what is refused, what is told, what is only noticed.

use expect_test::expect;

use super::fixture::{good, placed, queue};
use super::plan_tests::check;
use super::*;
use crate::vocabulary::*;

fn step(after_s: i64) -> Step {
    Step { after_ms: Millis::from_secs(after_s), ..Step::default() }
}

fn to(queue: &str) -> Option<QueueId> {
    Some(QueueId::from_name(queue).unwrap())
}

fn clauses(text: &str) -> Vec<Clause> {
    text.split(", ").map(|clause| clause.parse().unwrap()).collect()
}

#[test]
fn a_plan_is_told_field_by_field() {
    check(
        |it| {
            it.queues.push(placed("companies[0].queues[1]", queue("aurora", "rest")));
            let queue = &mut it.queues[0].wanted;
            queue.wait_ms_max = Millis::from_secs(600);
            queue.plan = QueuePlan {
                tier: 1,
                head_start_ms: Millis::from_secs(90),
                ageing: Some(Ageing { every_ms: Millis::from_secs(30), by: 1, most: 5 }),
                steps: vec![
                    Step { required_skills: Some(clauses("skl_german >= 3 or not skl_german")), ..step(30) },
                    Step { required_skills: Some(vec![]), priority: Some(-1), ..step(60) },
                    Step { overflow_queue_id: to("rest"), ..step(120) },
                ],
                selection: Selection {
                    prefer: clauses("skl_german 1-4"),
                    strategy: SelectionStrategy::RoundRobin,
                    idle_since: IdleBasis::SignIn,
                },
            };
        },
        expect![[r#"
            Changed queue que_aurora wait_max 0s → 10m, tier 0 → 1, head_start 0s → 1m30s, ageing none → by 1 every 30s, at most 5, steps none → after 30s needs skl_german >= 3 or not skl_german, after 1m needs no skill priority -1, after 2m goes to que_rest, prefer none → skl_german 1-4, strategy longest_idle → round_robin, idle_since available → sign_in
            Added queue que_rest name The rest queue, company cmp_aurora
        "#]],
    );
}

#[test]
fn a_plan_without_an_end_and_overflows_in_a_circle_are_refused() {
    check(
        |it| {
            it.queues[0].wanted.wait_ms_max = Millis::ZERO;
            it.queues[0].wanted.plan.steps = vec![Step { priority: Some(-1), ..step(30) }];
        },
        expect![[r#"
            companies[0].queues[0].steps: a plan without an end: let the last step overflow, or say wait_max
        "#]],
    );
    check(
        |it| {
            it.queues.push(placed("companies[0].queues[1]", queue("aurora", "rest")));
            let last = it.queues.len() - 1;
            for (from, into) in [(0, "rest"), (last, "aurora")] {
                it.queues[from].wanted.plan.steps = vec![Step { overflow_queue_id: to(into), ..step(30) }];
            }
        },
        expect![[r#"
            companies[0].queues[0].steps[0].overflow: overflows go round: que_aurora → que_rest → que_aurora
            companies[0].queues[1].steps[0].overflow: overflows go round: que_rest → que_aurora → que_rest
        "#]],
    );
    check(
        |it| it.queues[0].wanted.plan.steps = vec![Step { overflow_queue_id: to("aurora"), ..step(30) }],
        expect![[r#"
            companies[0].queues[0].steps[0].overflow: a queue that overflows into itself
        "#]],
    );
    check(
        |it| it.queues[0].wanted.plan.steps = vec![Step { overflow_queue_id: to("borealis"), ..step(30) }],
        expect![[r#"
            companies[0].queues[0].steps[0].overflow: queue que_borealis belongs to cmp_borealis, not to cmp_aurora
        "#]],
    );
    check(
        |it| it.queues[0].wanted.plan.steps = vec![Step { overflow_queue_id: to("gone"), ..step(30) }],
        expect![[r#"
            companies[0].queues[0].steps[0].overflow: no queue que_gone is defined
        "#]],
    );
}

/// Who overflows into a queue that overflows on comes to an end, and queues may share where they overflow into.
#[test]
fn overflows_may_meet_and_go_on() {
    let mut wanted = good();
    for nth in 1..4 {
        let name = format!("rest-{nth}");
        wanted.queues.push(placed(&format!("companies[0].queues[{nth}]"), queue("aurora", &name)));
    }
    let first = wanted.queues.len() - 3;
    for (from, into) in [(0, "rest-3"), (first, "rest-2"), (first + 1, "rest-3")] {
        wanted.queues[from].wanted.plan.steps = vec![Step { overflow_queue_id: to(into), ..step(30) }];
    }
    plan(&Directory::default(), &wanted, Timestamp(0), 1).unwrap();
}

#[test]
fn what_cannot_be_meant_is_refused_where_it_stands() {
    check(
        |it| {
            let queue = &mut it.queues[0].wanted;
            queue.wait_ms_max = Millis::from_secs(100);
            queue.required_skills = clauses("skl_german >= 5 or skl_dutch");
            queue.plan.tier = 101;
            queue.plan.head_start_ms = Millis(-1);
            queue.plan.ageing = Some(Ageing { every_ms: Millis(10), by: 2, most: 1 });
            queue.plan.selection.prefer = clauses("skl_german, skl_german, skl_dutch");
            queue.plan.steps = vec![
                step(20),
                Step { priority: Some(2_000), ..step(20) },
                Step { overflow_queue_id: to("borealis"), ..step(30) },
                Step { required_skills: Some(clauses("skl_dutch")), ..step(100) },
            ];
        },
        expect![[r#"
            companies[0].queues[0].required_skills[0]: no skill skl_dutch is defined
            companies[0].queues[0].tier: a tier is from 0 to 100
            companies[0].queues[0].head_start: -1ms is outside 0s to 24h
            companies[0].queues[0].ageing.every: 10ms is outside 1s to 24h
            companies[0].queues[0].ageing.by: a priority ages by 1 to 1 each time
            companies[0].queues[0].prefer[1]: skill skl_german is listed twice
            companies[0].queues[0].prefer[2]: no skill skl_dutch is defined
            companies[0].queues[0].steps[0]: a step that changes nothing
            companies[0].queues[0].steps[1].after: a step begins later than the step before it
            companies[0].queues[0].steps[1].priority: a priority is from -1000 to 1000
            companies[0].queues[0].steps[2].overflow: who has gone to another queue takes no further step
            companies[0].queues[0].steps[3].after: nobody waits so long here: wait_max comes before
            companies[0].queues[0].steps[3].required_skills[0]: no skill skl_dutch is defined
            companies[0].queues[0].steps[3].overflow: queue que_borealis belongs to cmp_borealis, not to cmp_aurora
        "#]],
    );
    check(
        |it| it.queues[0].wanted.plan.ageing = Some(Ageing { every_ms: Millis(1_000), by: 1, most: 1_000 }),
        expect![[r#"
            companies[0].queues[0].ageing.by: a priority ages at most 100 times: take more each time
        "#]],
    );
    check(
        |it| it.queues[0].wanted.plan.ageing = Some(Ageing { every_ms: Millis(1_000), by: 1, most: 1_001 }),
        expect![[r#"
            companies[0].queues[0].ageing.most: a priority ages by 1 to 1000 altogether
        "#]],
    );
    check(
        |it| {
            it.agents[0].wanted.skills = vec!["skl_german 3".parse().unwrap(), "skl_german".parse().unwrap()]
        },
        expect![[r#"
            agents[0].skills[1]: skill skl_german is listed twice
        "#]],
    );
}

/// It can be applied, agents may come; whoever applies it is told.
#[test]
fn a_skill_that_nobody_has_is_noticed() {
    let mut wanted = good();
    assert_eq!(notices(&wanted), []);
    wanted.agents.iter_mut().for_each(|agent| agent.wanted.skills = vec!["skl_german 4".parse().unwrap()]);
    wanted.queues[0].wanted.required_skills = clauses("skl_german >= 5");
    wanted.queues[0].wanted.plan.steps = vec![
        Step { required_skills: Some(clauses("skl_german >= 4")), ..step(30) },
        Step { required_skills: Some(clauses("not skl_german")), ..step(60) },
    ];
    let told: Vec<String> = notices(&wanted).iter().map(|it| format!("{}: {}", it.path, it.reason)).collect();
    assert_eq!(
        told,
        [
            "companies[0].queues[0].required_skills: nobody can do what is needed here: skl_german >= 5",
            "companies[0].queues[0].steps[1].required_skills: nobody can do what is needed here: not skl_german",
        ]
    );
}
