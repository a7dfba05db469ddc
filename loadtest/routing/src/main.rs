//! What an input costs the pure core of routing, at three sizes of a cell.
//!
//! A [`Router`] is told of contacts that come, of agents that answer and become free, as its logs would tell it, and asks for
//! reservations and offers, which are all granted and answered at once. What is timed is the router alone, from an input until
//! its last output is taken: no log, no network. An input is one record or one answer; a contact's way from the queue to its
//! end makes eight of them.
//!
//! Two cases: *queueing*, in which every agent talks and so many contacts wait, so that each agent who becomes free is given
//! the first in order whom it can serve; and *idle*, in which nobody waits and most agents are idle, so that each contact that
//! comes is given the longest idle of those who can serve it.

mod floor;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, Output, Router};
use trunkline_domain::vocabulary::Millis;

use crate::floor::{Dice, Logs, Size, Talk};

/// The pure core of routing.
#[derive(Debug, Parser)]
#[command(name = "trunkline-bench-routing")]
struct Args {
    /// Contacts whose way is timed, at each size.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    contacts: u64,
    /// How often the size is measured; medians are given.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// What decides who can do what, and who calls.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Inputs a second on one core, at the first size.
const PER_S_MIN: u64 = 200_000;
const SKILLS: usize = 50;
const QUEUES: usize = 200;
const SIZES: [(usize, usize, usize); 3] =
    [(1, 10_000, 2_000), (10, 100_000, 20_000), (100, 1_000_000, 200_000)];

/// Who waits when the measuring begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Queueing,
    Idle,
}

/// What a round came to.
struct Round {
    inputs: u64,
    spent: Duration,
    times: Histogram<u64>,
    bytes: u64,
    allocations: u64,
}

/// A router under way, and the world around it.
struct Cell {
    router: Router,
    logs: Logs,
    dice: Dice,
    talks: VecDeque<Talk>,
    /// Absent while nothing is measured.
    round: Option<Round>,
}

impl Cell {
    fn new(size: Size, seed: u64) -> Self {
        let mut dice = Dice(seed);
        let (router, logs) = Logs::begin(size, &mut dice);
        Self { router, logs, dice, talks: VecDeque::new(), round: None }
    }

    /// Gives the router an input, and does at once whatever it asks for.
    fn give(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.handle(input) {
                match output {
                    Output::Reserve(wishes) => {
                        let mut answers = Vec::new();
                        for wish in wishes {
                            let (talk, reserved) = self.logs.grants(
                                wish.contact_id,
                                wish.queue_id,
                                wish.agent_id,
                                wish.offer_id,
                            );
                            answers.push((talk.offer.clone(), Ok(talk.token)));
                            self.talks.push_back(talk);
                            inputs.push_back(reserved);
                        }
                        inputs.push_front(Input::ReservationsAnswered { answers });
                    }
                    Output::Offer(offer) => {
                        inputs.push_back(Input::OfferTaken { offer_id: offer.offer_id.clone() });
                        let talk = self.talks.iter().rev().find(|talk| talk.offer == offer.offer_id).cloned();
                        inputs.extend(talk.map(|talk| self.logs.answers(&talk)).into_iter().flatten());
                    }
                    Output::Append(_) | Output::Cancel(_) | Output::Release(_) | Output::TurnAway(_) => {}
                }
            }
        }
    }

    fn handle(&mut self, input: Input) -> Vec<Output> {
        // A call at a time, as at some hundred contacts a second.
        self.logs.now = self.logs.now + Millis(1);
        let (router, now) = (&mut self.router, self.logs.now);
        let Some(round) = &mut self.round else {
            router.handle(now, input);
            return std::iter::from_fn(|| router.poll()).collect();
        };
        let mut outputs = Vec::with_capacity(8);
        let mut took = Duration::ZERO;
        let counted = allocation_counter::measure(|| {
            let began = Instant::now();
            router.handle(now, input);
            while let Some(output) = router.poll() {
                outputs.push(output);
            }
            took = began.elapsed();
        });
        round.inputs += 1;
        round.spent += took;
        round.times.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
        round.bytes += counted.bytes_total;
        round.allocations += counted.count_total;
        outputs
    }

    fn arrives(&mut self) {
        let input = self.logs.arrives(&mut self.dice);
        self.give(input);
    }

    /// Who has talked longest ends.
    fn ends(&mut self) {
        if let Some(talk) = self.talks.pop_front() {
            self.logs.ends(&talk).into_iter().for_each(|input| self.give(input));
        }
    }

    fn waiting(&self) -> usize {
        self.router.book().waiting_count()
    }

    fn measure(&mut self, contacts: u64) -> Round {
        let times = Histogram::new_with_bounds(1, 10_000_000_000, 3).expect("the bounds are in order");
        self.round = Some(Round { inputs: 0, spent: Duration::ZERO, times, bytes: 0, allocations: 0 });
        for _ in 0..contacts {
            self.ends();
            self.arrives();
        }
        self.round.take().expect("it was put there above")
    }
}

/// So many contacts a round, after the cell was brought to where it is measured.
fn measure(case: Case, size: Size, args: &Args) -> Value {
    let began = Instant::now();
    let mut cell = Cell::new(size, args.seed);
    match case {
        Case::Queueing => {
            while cell.waiting() < size.waiting {
                cell.arrives();
            }
        }
        // A fifth of the agents talks.
        Case::Idle => {
            for _ in 0..size.agents / 5 {
                cell.arrives();
            }
        }
    }
    eprintln!(
        "bench: {case:?} {size:?}: {} talk, {} wait; ready after {:?}",
        cell.talks.len(),
        cell.waiting(),
        began.elapsed()
    );
    let (talking, waiting) = (cell.talks.len(), cell.waiting());
    let mut rounds: Vec<Round> = (0..args.rounds).map(|_| cell.measure(args.contacts)).collect();
    rounds.sort_by_key(|round| round.spent);
    let median = &rounds[rounds.len() / 2];
    let per_input = |sum: u64| sum / median.inputs.max(1);
    let us = |quantile| median.times.value_at_quantile(quantile) as f64 / 1_000.0;
    json!({
        "per_s": (median.inputs as f64 / median.spent.as_secs_f64()) as u64,
        "mean_ns": per_input(u64::try_from(median.spent.as_nanos()).unwrap_or(u64::MAX)),
        "p50_us": us(0.5), "p99_us": us(0.99), "max_us": median.times.max() as f64 / 1_000.0,
        "bytes_per_input": per_input(median.bytes), "allocations_per_input": per_input(median.allocations),
        "inputs": median.inputs, "talking": talking, "waiting": waiting,
    })
}

fn main() -> ExitCode {
    let args = Args::parse();
    let machine = trunkline_loadtest::machine(std::path::Path::new("."));
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut passed = true;
    for case in [Case::Queueing, Case::Idle] {
        let name = format!("{case:?}").to_lowercase();
        let mut points: Vec<(usize, f64)> = Vec::new();
        for (times, agents, waiting) in SIZES {
            let size = Size { agents, waiting, skills: SKILLS, queues: QUEUES };
            let ours = measure(case, size, &args);
            points.push((agents + waiting, ours["mean_ns"].as_f64().unwrap_or(f64::MAX)));
            let (first_size, per_s) = (times == 1, ours["per_s"].as_u64().unwrap_or(0));
            let pass = !first_size || per_s >= PER_S_MIN;
            passed &= pass;
            let bar = first_size.then(|| json!({"per_s": PER_S_MIN}));
            println!(
                "{}",
                json!({
                    "bench": "routing", "case": format!("{name}/size={times}"), "ours": ours, "bar": bar, "pass": pass,
                    "size": {"agents": agents, "waiting": waiting, "skills": SKILLS, "queues": QUEUES},
                    "measured": "the router alone, one core: from an input until its last output is taken",
                    "rounds": args.rounds, "build": build, "machine": machine,
                })
            );
        }
        let (first, cost) = points[0];
        let grown: Vec<Value> = points[1..]
            .iter()
            .map(|(n, ns)| json!({"times": n / first, "cost": ns / cost, "log_n": (*n as f64).ln() / (first as f64).ln()}))
            .collect();
        println!(
            "{}",
            json!({"bench": "routing", "case": format!("{name}/growth"), "ours": grown, "machine": machine})
        );
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
