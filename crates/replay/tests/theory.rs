//! Queues of which it is known what must come out: Erlang C, Erlang A, and what a second skill is worth.
//!
//! Each is simulated in independent runs; what theory says must lie within the confidence interval of their mean (Student's t,
//! 99.9 %, so that one figure of a thousand would fail by chance; the seeds are fixed, so none does so now and then).
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod data;

use std::collections::BTreeMap;

use trunkline_domain::vocabulary::{Millis, Timestamp};
use trunkline_replay::chance::Chance;
use trunkline_replay::intervals::Counts;
use trunkline_replay::{Agent, Call, Day, End, Queue, Shift, play};

const RUNS: u64 = 16;
const CALLS: usize = 5_000;
/// The first of them, which find an empty queue, are not counted.
const WARM_UP: usize = 1_000;
/// Student's t for 15 degrees of freedom, 99.9 % two-sided.
const T: f64 = 4.073;

/// One kind of day; times in seconds.
#[derive(Clone)]
struct Case {
    between_calls: f64,
    talk: f64,
    patience: Option<f64>,
    /// The skills of each agent, of each queue there is one.
    agents: Vec<Vec<usize>>,
    queues: usize,
}

impl Case {
    fn day(&self, seed: u64) -> Day {
        let mut chance = Chance::new(seed);
        let millis = |seconds: f64| Millis((seconds * 1_000.0).round() as i64);
        let skill = |nth: &usize| format!("skill-{nth}");
        let queues =
            (0..self.queues).map(|nth| Queue { name: format!("queue-{nth}"), skills: vec![skill(&nth)] });
        let shift = Shift { from: Timestamp(0), until: Timestamp(i64::MAX / 2) };
        let agents = self.agents.iter().enumerate().map(|(nth, skills)| Agent {
            name: format!("agent-{nth:04}"),
            skills: skills.iter().map(skill).collect(),
            shifts: vec![shift],
        });
        let mut at = Timestamp(1);
        let calls = (0..CALLS).map(|_| {
            at = at + millis(chance.exponential(self.between_calls));
            Call {
                at,
                queue: chance.below(self.queues),
                priority: 0,
                head_start: Millis::ZERO,
                talk: millis(chance.exponential(self.talk)),
                patience: self.patience.map(|mean| millis(chance.exponential(mean))),
            }
        });
        Day { queues: queues.collect(), agents: agents.collect(), calls: calls.collect(), ..Day::default() }
    }

    /// The figures of each run, in their order: waited at all, mean wait, answered in time, gave up.
    fn runs(&self) -> Vec<[f64; 4]> {
        (1..=RUNS)
            .map(|seed| {
                let day = self.day(seed);
                let ends = play(&day);
                let counted = || day.calls.iter().zip(&ends).skip(WARM_UP);
                let counts = Counts::of(counted());
                let waited = |end: &End| match end {
                    End::Answered { waited, .. } | End::Abandoned { waited } => *waited > Millis::ZERO,
                    End::Left => true,
                };
                let waiting = counted().filter(|(_, end)| waited(end)).count() as f64;
                assert_eq!(counts.left, 0);
                [
                    waiting / counts.offered as f64,
                    counts.mean_wait_s(),
                    counts.service_level(),
                    counts.abandon_rate(),
                ]
            })
            .collect()
    }
}

/// The mean of one figure over the runs, and half its confidence interval.
fn interval(runs: &[[f64; 4]], figure: usize) -> (f64, f64) {
    let count = runs.len() as f64;
    let mean = runs.iter().map(|run| run[figure]).sum::<f64>() / count;
    let variance = runs.iter().map(|run| (run[figure] - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, T * (variance / count).sqrt())
}

#[track_caller]
fn within(what: &str, runs: &[[f64; 4]], figure: usize, theory: f64) {
    let (mean, half) = interval(runs, figure);
    println!("{what}: {mean:.5} ± {half:.5}, theory {theory:.5}");
    assert!((mean - theory).abs() <= half, "{what}: {mean} ± {half}, theory {theory}");
    assert!(half < 0.5 * theory.max(0.02), "{what}: {mean} ± {half} says nothing");
}

type Row = BTreeMap<String, f64>;

fn rows(name: &str) -> Option<Vec<Row>> {
    let text = std::fs::read_to_string(data::path(name)?).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let head: Vec<String> = lines.next().unwrap().collect();
    Some(lines.map(|line| head.iter().cloned().zip(line.map(|it| it.parse().unwrap())).collect()).collect())
}

/// So many rows, evenly spread over those that are wanted.
fn some(rows: Vec<Row>, count: usize, wanted: impl Fn(&Row) -> bool) -> Vec<Row> {
    let rows: Vec<Row> = rows.into_iter().filter(wanted).collect();
    assert!(rows.len() >= count, "{} rows", rows.len());
    (0..count).map(|nth| rows[nth * rows.len() / count].clone()).collect()
}

fn single(row: &Row, patience: Option<f64>) -> Case {
    let agents = vec![vec![0]; row["agents"] as usize];
    Case { between_calls: 1_800.0 / row["calls_per_30min"], talk: row["aht_s"], patience, agents, queues: 1 }
}

#[test]
fn one_queue_of_patient_callers_is_erlang_c() {
    let Some(rows) = rows("erlang-reference/erlang_c.csv") else { return };
    let wanted = |row: &Row| {
        row["threshold_s"] == 20.0 && (0.6..0.86).contains(&row["occupancy"]) && row["p_wait"] > 0.15
    };
    for row in some(rows, 4, wanted) {
        let runs = single(&row, None).runs();
        let name =
            format!("{} calls of {} s, {} agents", row["calls_per_30min"], row["aht_s"], row["agents"]);
        within(&format!("{name}: waited at all"), &runs, 0, row["p_wait"]);
        within(&format!("{name}: mean wait"), &runs, 1, row["asa_s"]);
        let (mean, half) = interval(&runs, 2);
        assert!(
            (mean - row["service_level"]).abs() <= half,
            "{name}: {mean} ± {half}, {}",
            row["service_level"]
        );
    }
}

#[test]
fn one_queue_of_callers_who_give_up_is_erlang_a() {
    let Some(rows) = rows("erlang-reference/erlang_a.csv") else { return };
    let wanted = |row: &Row| {
        row["p_abandon"] > 0.02 && (0.7..0.99).contains(&row["occupancy"]) && row["agents"] >= 3.0
    };
    for row in some(rows, 4, wanted) {
        let runs = single(&row, Some(row["mean_patience_s"])).runs();
        let name = format!(
            "{} calls of {} s, {} agents, patience {} s",
            row["calls_per_30min"], row["aht_s"], row["agents"], row["mean_patience_s"]
        );
        within(&format!("{name}: waited at all"), &runs, 0, row["p_wait"]);
        within(&format!("{name}: gave up"), &runs, 3, row["p_abandon"]);
        within(&format!("{name}: mean wait"), &runs, 1, row["mean_wait_all_s"]);
    }
}

/// Wallace and Whitt (2005): two skills an agent, spread over the queues, come close to having all of them.
#[test]
fn a_second_skill_does_most_of_what_all_skills_would_do() {
    const QUEUES: usize = 6;
    const EACH: usize = 5;
    let agents = |skills: &dyn Fn(usize) -> Vec<usize>| (0..QUEUES * EACH).map(skills).collect::<Vec<_>>();
    let case =
        |agents| Case { between_calls: 60.0 / 27.0, talk: 60.0, patience: None, agents, queues: QUEUES };
    let one = case(agents(&|nth| vec![nth % QUEUES])).runs();
    let two = case(agents(&|nth| vec![nth % QUEUES, (nth + 1 + nth / QUEUES) % QUEUES])).runs();
    let all = case(agents(&|_| (0..QUEUES).collect())).runs();
    let waits = [&one, &two, &all].map(|runs| interval(runs, 1));
    println!("mean wait with one, two and all skills: {waits:?}");
    let [(one, _), (two, _), (all, half)] = waits;
    assert!(two + half < one && all < two, "{waits:?}");
    assert!((one - two) / (one - all) > 0.8, "two skills are worth {:.2} of all", (one - two) / (one - all));
}
