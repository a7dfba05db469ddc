//! A month of a real call centre, replayed: what must come out exactly, and how close the rest comes.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod data;

use std::collections::BTreeMap;

use trunkline_domain::vocabulary::{Millis, Timestamp};
use trunkline_replay::calibration::Calibration;
use trunkline_replay::intervals::Counts;
use trunkline_replay::log::{Log, text_of};
use trunkline_replay::{End, play, play_and_tell};

const DAY_MS: i64 = 86_400_000;

fn january() -> Option<Log> {
    let path = data::path("anonymous-bank-calls/calls_1999-01.tsv.gz")?;
    Some(Log::read(&text_of(&path).unwrap(), 1).unwrap())
}

/// The rows of a reference table, as column by name.
fn rows(name: &str) -> Vec<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(data::path(name).unwrap()).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned));
    let head: Vec<String> = lines.next().unwrap().collect();
    lines.map(|line| head.iter().cloned().zip(line).collect()).collect()
}

fn number(row: &BTreeMap<String, String>, column: &str) -> u64 {
    row[column].parse().unwrap()
}

/// The date a call counts on, as the tables have it, and its half-hour of the clock.
fn place(log: &Log, nth: usize) -> (String, i64) {
    let date = &log.dates[nth];
    let day = format!("19{}-{}-{}", &date[0..2], &date[2..4], &date[4..6]);
    (day, log.day.calls[nth].at.0.rem_euclid(DAY_MS) / 1_800_000)
}

#[test]
fn what_the_log_tells_of_a_month_is_told_exactly_to_the_half_hour() {
    let Some(log) = january() else { return };
    let mut counted: BTreeMap<(String, i64), Counts> = BTreeMap::new();
    for (nth, (call, end)) in log.day.calls.iter().zip(&log.ends).enumerate() {
        counted.entry(place(&log, nth)).or_default().add(call, end);
    }
    let table = rows("anonymous-bank-calls/facts_interval30.csv");
    assert!(table.len() > 500);
    for row in &table {
        let start: Vec<i64> = row["interval_start"].split(':').map(|it| it.parse().unwrap()).collect();
        let at = (row["day"].clone(), start[0] * 2 + start[1] / 30);
        let found = counted.remove(&at).unwrap_or_default();
        let seconds = |span: Millis| span.0.unsigned_abs() / 1_000;
        let ours = [
            found.offered,
            found.answered,
            found.abandoned,
            found.answered_in_time,
            seconds(found.waited_answered),
            seconds(found.waited_abandoned),
        ];
        let theirs = [
            "offered",
            "answered",
            "abandoned",
            "answered_within_20s",
            "sum_wait_answered_s",
            "sum_wait_abandoned_s",
        ];
        assert_eq!(ours, theirs.map(|column| number(row, column)), "{at:?}");
    }
    assert!(counted.is_empty(), "{counted:?}");
}

#[test]
fn a_month_replayed_offers_the_same_calls_in_the_discipline_of_the_bank_and_waits_about_as_long() {
    let Some(log) = january() else { return };
    let began = std::time::Instant::now();
    let ends = play(&log.day);
    let seconds = began.elapsed().as_secs_f64();
    let (ours, theirs) =
        (Counts::of(log.day.calls.iter().zip(&ends)), Counts::of(log.day.calls.iter().zip(&log.ends)));
    println!("{ours:?}\n{theirs:?}\n{seconds:.1} s");
    println!(
        "service level {:.3} {:.3}, abandoned {:.4} {:.4}, speed of answer {:.1} {:.1} s",
        ours.service_level(),
        theirs.service_level(),
        ours.abandon_rate(),
        theirs.abandon_rate(),
        ours.speed_of_answer_s(),
        theirs.speed_of_answer_s()
    );
    assert_eq!((ours.offered, ours.left), (theirs.offered, 0), "every call is offered, and ends");
    nobody_is_overtaken(&log, &ends);
    // What a log does not tell is assumed: how close that comes.
    assert!((ours.abandon_rate() - theirs.abandon_rate()).abs() < 0.05);
    assert!((ours.service_level() - theirs.service_level()).abs() < 0.15);
}

/// Of one kind, which the same agents serve: who is queued earlier, head start included, and still waits is answered first.
fn nobody_is_overtaken(log: &Log, ends: &[End]) {
    let mut kinds: BTreeMap<usize, Vec<(Timestamp, Timestamp, Timestamp, bool)>> = BTreeMap::new();
    for (call, end) in log.day.calls.iter().zip(ends) {
        let (waited, answered) = match end {
            End::Answered { waited, .. } => (*waited, true),
            End::Abandoned { waited } => (*waited, false),
            End::Left => continue,
        };
        let queued = call.at - call.head_start;
        kinds.entry(call.queue).or_default().push((queued, call.at, call.at + waited, answered));
    }
    let mut checked = 0;
    for mut calls in kinds.into_values() {
        calls.sort_unstable_by_key(|(queued, ..)| *queued);
        for (nth, (queued, _, left, _)) in calls.iter().enumerate() {
            // Everybody queued later who was answered while this one waited came before it had come itself.
            for (later, came, answered_at, answered) in &calls[nth + 1..] {
                if *later > *left {
                    break;
                }
                let overtook = *answered && *later > *queued && answered_at < left && *came > calls[nth].1;
                assert!(!overtook, "a call queued at {queued} was overtaken by one queued at {later}");
                checked += 1;
            }
        }
    }
    assert!(checked > 10_000, "{checked} pairs");
}

/// What callers can be told as they come, against what came of it, over a month of real arrivals, talks and patience.
#[test]
fn the_expected_wait_is_about_as_likely_as_it_says() {
    let Some(log) = january() else { return };
    let mut told = vec![None; log.day.calls.len()];
    let ends = play_and_tell(&log.day, |call, expected| told[call] = Some(expected));
    let all = Calibration::of(told.iter().zip(&ends));
    println!("{all:?}");
    assert!(all.told > 5_000, "{all:?}");
    for (within, meant) in all.within.into_iter().zip([0.50, 0.80, 0.95]) {
        assert!(
            (within - meant).abs() < 0.10,
            "{within:.3} waited no longer than what {meant} should: {all:?}"
        );
    }
}
