//! Many seeds, or one of them with everything printed.
//!
//! `TRUNKLINE_SIM_SEEDS=20000` makes the long run, `TRUNKLINE_SIM_SEED=17` runs one seed and prints it, and
//! `TRUNKLINE_SIM_BUG=NeverExpire` plants a bug into that one.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::time::Instant;

use trunkline_sim::{Bug, Plan, Tally, run};

/// What `./dev test` runs.
const SEED_COUNT: u64 = 300;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn every_seed_keeps_every_promise() {
    let count = number("TRUNKLINE_SIM_SEEDS").unwrap_or(SEED_COUNT);
    println!("seeds 1 to {count}");
    let (started, mut tally, mut failures) = (Instant::now(), Tally::default(), Vec::new());
    let mut virtual_ms = 0;
    for seed in 1..=count {
        let report = run(Plan::of(seed));
        tally.add(&report.tally);
        virtual_ms += report.elapsed.0;
        if let Some(failure) = report.failure() {
            println!("{failure}");
            failures.push(failure);
        }
        if seed.is_multiple_of(1_000) {
            println!("{seed} seeds, {} failed, {:.0} s", failures.len(), started.elapsed().as_secs_f64());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let hours = virtual_ms as f64 / 3_600_000.0;
    println!(
        "{count} seeds in {seconds:.1} s, {:.1} a second; {hours:.1} hours of virtual time",
        count as f64 / seconds
    );
    print!("{tally}");
    assert!(failures.is_empty(), "{} of {count} seeds failed, the first:\n{}", failures.len(), failures[0]);
    for happened in HAPPENED {
        assert!(tally.get(happened) > 0, "in {count} seeds there was no `{happened}`");
    }
}

/// What must have happened, or the seeds show nothing.
const HAPPENED: &[&str] = &[
    "fault voter crashes",
    "fault leader crashes",
    "fault crash between append and reply",
    "fault all voters crash",
    "fault voter pauses",
    "fault leader pauses",
    "fault voter loses its disk",
    "fault somebody is isolated",
    "fault cut off in one direction",
    "fault network loses, doubles and delays",
    "fault disk is slow",
    "fault all disks are slow",
    "fault power fails while all disks are slow",
    "fault clock jumps by seconds",
    "fault clock jumps by an hour",
    "fault event log is away",
    "fault routing owner dies",
    "fault routing owner pauses",
    "fault media node dies",
    "fault blind owner dies",
    "fault blind media node is replaced",
    "writes lost by crashes",
    "changes of who votes",
    "commands repeated",
    "commands under a stale epoch",
    "records void: their owner was superseded",
    "records there before",
    "leases lapsed",
    "reservations accepted",
    "reservations unconfirmed",
    "released: completed",
    "released: expired",
    "released: media lost",
    "released: rescinded",
    "released: signed out",
    "ringing ended by an answer",
    "AgentForced",
    "SessionLost",
    "WrapUpExtended",
    "contacts connected",
    "contacts lost",
    "offers accepted",
    "offers ended unanswered",
];

#[test]
fn the_same_seed_gives_the_same_trace() {
    let hashes: Vec<u64> = (1..=5).map(|seed| run(Plan::of(seed)).trace_hash).collect();
    let again: Vec<u64> = (1..=5).map(|seed| run(Plan::of(seed)).trace_hash).collect();
    assert_eq!(hashes, again);
    let mut distinct = hashes;
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 5, "another seed gives another trace");
}

#[test]
fn one_seed() {
    let seed = number("TRUNKLINE_SIM_SEED");
    let bug = std::env::var("TRUNKLINE_SIM_BUG").ok();
    let bug = bug.map(|name| Bug::parse(&name).unwrap_or_else(|| panic!("there is no bug {name}")));
    let report = run(Plan { printed: seed.is_some(), bug, ..Plan::of(seed.unwrap_or(1)) });
    println!("seed {}, trace hash {:016x}\n{}", report.plan.seed, report.trace_hash, report.tally);
    assert_eq!(report.failure(), None);
}
