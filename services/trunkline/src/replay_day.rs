//! `trunkline replay-day`: the calls of a log through the routing core in virtual time, and with another strategy.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};
use trunkline_domain::vocabulary::Timestamp;
use trunkline_replay::calibration::Calibration;
use trunkline_replay::intervals::{Counts, THRESHOLD};
use trunkline_replay::log::{Log, Source, text_of};
use trunkline_replay::strategy::Strategy;
use trunkline_replay::{Day, End, play_and_tell};

use crate::{Failure, table};

#[derive(Args)]
pub(crate) struct ReplayDayArgs {
    /// A log of calls with the columns of the Anonymous Bank, or Asterisk's queue_log; also compressed by gzip.
    file: PathBuf,
    /// What another strategy does differently, in YAML: head_start_s, strict_priority, pooled, more_agents, talk_percent, strategy,
    /// anybody_after_s.
    #[arg(long)]
    what_if: Option<PathBuf>,
    /// Intervals of 30 minutes instead of dates.
    #[arg(long)]
    intervals: bool,
    /// What decides the times that the log does not tell.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print a line of JSON for each date or interval instead of a table.
    #[arg(long)]
    json: bool,
}

/// One way in which the calls went.
struct Run {
    name: &'static str,
    /// By date and interval; an empty date for all together.
    counts: BTreeMap<String, Counts>,
    all: Counts,
    /// How long agents were there, in ms.
    present_ms: i64,
    /// How good what callers could be told of their wait was; the log tells nobody anything.
    told: Option<Calibration>,
}

pub(crate) fn run(args: &ReplayDayArgs) -> Result<(), Failure> {
    let named = |path: &PathBuf, why: String| Failure::world(format!("{}: {why}", path.display()));
    let text = text_of(&args.file).map_err(|error| named(&args.file, error.to_string()))?;
    let log = Log::read(&text, args.seed).map_err(|error| named(&args.file, error.to_string()))?;
    let strategy = args.what_if.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).map_err(|error| named(path, error.to_string()))?;
        Strategy::parse(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    });
    let strategy = strategy.transpose()?;
    let mut runs = vec![count("log", &log, &log.day, &log.ends, args.intervals)];
    runs.push(played("replay", &log, &log.day, args.intervals));
    if let Some(strategy) = strategy {
        runs.push(played("what-if", &log, &strategy.day(&log), args.intervals));
    }
    match args.json {
        true => print_json(&runs),
        false => print!("{}", text_of_runs(&runs, &log)),
    }
    Ok(())
}

fn played(name: &'static str, log: &Log, day: &Day, intervals: bool) -> Run {
    let mut told = vec![None; day.calls.len()];
    let ends = play_and_tell(day, |call, expected| told[call] = Some(expected));
    let told = Some(Calibration::of(told.iter().zip(&ends)));
    Run { told, ..count(name, log, day, &ends, intervals) }
}

fn count(name: &'static str, log: &Log, day: &Day, ends: &[End], intervals: bool) -> Run {
    let mut counts = BTreeMap::<_, Counts>::new();
    for ((call, end), date) in day.calls.iter().zip(ends).zip(&log.dates) {
        let place = if intervals { format!("{date} {}", half_hour(call.at)) } else { date.clone() };
        counts.entry(place).or_default().add(call, end);
    }
    let shifts = day.agents.iter().flat_map(|agent| &agent.shifts);
    let present_ms = shifts.map(|shift| shift.until.since(shift.from).0).sum();
    Run { name, counts, all: Counts::of(day.calls.iter().zip(ends)), present_ms, told: None }
}

/// Of the clock that the log's times are of.
fn half_hour(at: Timestamp) -> String {
    let minutes = at.0.rem_euclid(86_400_000) / 1_800_000 * 30;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn figures(counts: &Counts) -> Value {
    json!({
        "offered": counts.offered, "answered": counts.answered, "abandoned": counts.abandoned, "left": counts.left,
        "answered_in_time": counts.answered_in_time, "threshold_ms": THRESHOLD.0,
        "service_level": counts.service_level(), "abandon_rate": counts.abandon_rate(),
        "waited_answered_ms": counts.waited_answered.0, "waited_abandoned_ms": counts.waited_abandoned.0,
        "talked_ms": counts.talked.0, "speed_of_answer_s": counts.speed_of_answer_s(),
    })
}

/// Talk time for the time agents were there.
fn occupancy(run: &Run) -> f64 {
    run.all.talked.0 as f64 / run.present_ms.max(1) as f64
}

fn print_json(runs: &[Run]) {
    for place in runs[0].counts.keys() {
        let of_each = runs.iter().map(|run| {
            let counts = run.counts.get(place).copied().unwrap_or_default();
            (run.name.to_owned(), figures(&counts))
        });
        println!("{}", json!({"interval": place, "runs": of_each.collect::<serde_json::Map<_, _>>()}));
    }
    let all = runs.iter().map(|run| {
        let mut of_run = figures(&run.all);
        of_run["occupancy"] = json!(occupancy(run));
        if let Some(told) = &run.told {
            let [p50, p80, p95] = told.within;
            of_run["expected_wait"] = json!({
                "told": told.told, "within_p50": p50, "within_p80": p80, "within_p95": p95,
            });
        }
        (run.name.to_owned(), of_run)
    });
    println!("{}", json!({"interval": "all", "runs": all.collect::<serde_json::Map<_, _>>()}));
}

fn text_of_runs(runs: &[Run], log: &Log) -> String {
    let mut head = vec!["interval".to_owned(), "offered".to_owned()];
    for run in runs {
        for what in ["abandoned", "SL %", "ASA s"] {
            head.push(format!("{what} ({})", run.name));
        }
    }
    let row = |place: &str, of: &dyn Fn(&Run) -> Counts| {
        let mut row = vec![place.to_owned(), of(&runs[0]).offered.to_string()];
        for run in runs {
            let counts = of(run);
            row.push(counts.abandoned.to_string());
            row.push(format!("{:.1}", counts.service_level() * 100.0));
            row.push(format!("{:.1}", counts.speed_of_answer_s()));
        }
        row
    };
    let places = runs[0].counts.keys();
    let mut rows: Vec<_> =
        places.map(|place| row(place, &|run| run.counts.get(place).copied().unwrap_or_default())).collect();
    rows.push(row("all", &|run| run.all));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let mut text = table::render(&head, &rows);
    for run in runs {
        text.push_str(&format!(
            "{}: agents talked for {:.1} % of the time they were there",
            run.name,
            occupancy(run) * 100.0
        ));
        if run.all.left > 0 {
            text.push_str(&format!("; {} calls were left waiting when nobody came any more", run.all.left));
        }
        text.push('\n');
    }
    for run in runs {
        if let Some(Calibration { told, within: [p50, p80, p95] }) = run.told {
            let (p50, p80, p95) = (p50 * 100.0, p80 * 100.0, p95 * 100.0);
            text.push_str(&format!(
                "{}: {told} callers had to wait and could be told how long; {p50:.1} % waited no longer than p50, {p80:.1} % \
                 than p80, {p95:.1} % than p95\n",
                run.name
            ));
        }
    }
    text.push_str(&assumed(log));
    text
}

/// What the log does not tell.
fn assumed(log: &Log) -> String {
    let turnaround = log.day.turnaround.0 as f64 / 1_000.0;
    let present = match log.source {
        Source::Bank => {
            "agents are there from their first to their last conversation of a date, but for gaps in which \
             a caller they could serve waited for more than 30 s"
        }
        Source::QueueLog => {
            "members are there as the log says; one of whom it says nothing, from its first to its last conversation"
        }
    };
    format!(
        "{} calls were offered; {} others came to no queue\n\
         assumed: {present}\n\
         assumed: {turnaround:.1} s between two conversations, the average of this log where somebody waited\n\
         assumed: who was answered would have waited longer, as estimated by Kaplan and Meier from those who gave up\n\
         assumed: who gave up would have talked as long as somebody else of that kind did\n",
        log.day.calls.len(),
        log.not_offered,
    )
}
