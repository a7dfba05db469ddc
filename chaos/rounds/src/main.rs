//! The chaos suite: a cluster of processes takes calls, something dies, and every promise is checked afterwards.
//!
//! A *round* is one wave of calls with one fault in it ([`faults`]). Rounds follow each other on one cluster, so that what
//! an earlier one broke and nobody noticed shows in a later one. A round of the voters alone ([`raft`]) has a group of its
//! own, and comes before them.

mod faults;
mod judge;
mod raft;
mod scene;
mod wave;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::json;
use trunkline_loadtest::rig::{Alone, Shape};
use trunkline_loadtest::{Failure, cluster, interrupted};

use crate::faults::{FAULTS, Fault};
use crate::scene::Scene;

/// Things that die while calls are up, and what must hold afterwards.
#[derive(Debug, Parser)]
#[command(name = "trunkline-rounds")]
enum Command {
    /// Names the rounds, with what each does.
    List,
    /// Runs rounds by name, or `all`, or `short`: one line of JSON a round, a table at the end.
    Run(RunArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Which rounds: names as `list` has them, `all`, or `short` for those of `./dev test`.
    #[arg(required = true)]
    names: Vec<String>,
    /// How often a round of the voters alone does what it does; each has a number of its own.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    times: Option<u16>,
    /// How long a pause or a partition of voters lasts at most, in seconds.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(2..=3600))]
    span: u64,
    /// How many voters a round of the voters alone has; a round over sites has at least five.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=7))]
    voters: u8,
    /// With `all`: begin no further round after so many minutes; and begin again from the first until then.
    #[arg(long)]
    minutes: Option<u64>,
    /// Where data and logs go; emptied first.
    #[arg(long, default_value = "target/chaos")]
    dir: PathBuf,
    /// What decides who calls when, and for how long.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Brokers of Kafka.
    #[arg(long, default_value = "3", value_parser = ["1", "3"])]
    brokers: String,
    /// The `trunkline` program; the one beside this one when absent.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Leave the cluster up at the end, to look at.
    #[arg(long)]
    keep: bool,
}

impl RunArgs {
    fn faults(&self) -> Result<Vec<&'static Fault>, Failure> {
        let mut chosen = Vec::new();
        for name in &self.names {
            match name.as_str() {
                "all" => chosen.extend(FAULTS.iter()),
                "short" => chosen.extend(FAULTS.iter().filter(|fault| fault.short)),
                name if raft::ROUNDS.iter().any(|round| round.name == name) => {}
                name => {
                    let fault = FAULTS.iter().find(|fault| fault.name == name);
                    chosen.push(fault.ok_or_else(|| {
                        Failure::new(format!("there is no round {name}; `list` names them"))
                    })?);
                }
            }
        }
        Ok(chosen)
    }

    /// The rounds of the voters alone that are chosen.
    fn raft(&self, program: &Path) -> Vec<raft::Options> {
        let chosen = |round: &&raft::Round| {
            self.names.iter().any(|name| match name.as_str() {
                // What needs namespaces is a program begun again, without the network that others have.
                "all" => !round.needs_namespaces(),
                "short" => round.short,
                name => name == round.name,
            })
        };
        let options = |round: &'static raft::Round| raft::Options {
            round,
            program: program.to_owned(),
            dir: raft::dir(&self.dir, round),
            times: self.times.map_or(round.times, usize::from),
            seed: self.seed,
            span_max: Duration::from_secs(self.span),
            voter_count: round.voter_count_min().max(usize::from(self.voters)),
        };
        raft::ROUNDS.iter().filter(chosen).map(options).collect()
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match Command::parse() {
        Command::List => {
            for fault in FAULTS {
                println!("{:<28} {}{}", fault.name, fault.what, if fault.short { " (short)" } else { "" });
            }
            for round in raft::ROUNDS {
                println!(
                    "{:<28} {}; voters alone{}",
                    round.name,
                    round.what,
                    if round.short { " (short)" } else { "" }
                );
            }
            ExitCode::SUCCESS
        }
        Command::Run(args) => match Box::pin(run(args)).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failure) => {
                eprintln!("chaos: {failure}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Runs the rounds; gives whether every promise held in all of them.
async fn run(args: RunArgs) -> Result<bool, Failure> {
    let faults = args.faults()?;
    let program = args.program.clone().map_or_else(cluster::beside_us, Ok)?;
    let mut rows = Vec::new();
    let raft = args.raft(&program);
    raft::enter(&raft)?;
    for options in &raft {
        let outcome = tokio::select! {
            biased;
            () = interrupted() => return Err(Failure::new("interrupted")),
            outcome = Box::pin(raft::play(options)) => outcome?,
        };
        println!("{}", outcome.json());
        let failed: Vec<String> =
            outcome.failed.iter().map(|(promise, found)| format!("{promise}: {found}")).collect();
        rows.push(Row::of_voters(options.round.name, outcome.seconds, outcome.asked_count, &failed));
    }
    if !faults.is_empty() {
        calls(&args, &faults, &program, &mut rows).await?;
    }
    println!("{}", judge::HEAD);
    rows.iter().for_each(|row| println!("{}", row.text));
    let good = rows.iter().filter(|row| row.passed).count();
    let bad = rows.len() - good;
    println!(
        "{}",
        json!({"chaos": if bad == 0 { "pass" } else { "fail" }, "rounds": rows.len(), "failed": bad, "seed": args.seed})
    );
    println!("{good} passed, {bad} failed");
    Ok(bad == 0)
}

/// A row of the table under [`judge::HEAD`].
struct Row {
    passed: bool,
    text: String,
}

impl Row {
    /// Of a round without calls: of what was asked instead.
    fn of_voters(name: &str, seconds: u64, asked_count: usize, failed: &[String]) -> Self {
        let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
        let (none, failed_text) = ("-", failed.join("; "));
        let text = format!(
            "{name:<28} {seconds:>7} {asked_count:>6} {none:>6} {none:>11} {verdict:>8}  {failed_text}"
        );
        Self { passed: failed.is_empty(), text: text.trim_end().to_owned() }
    }
}

/// The rounds under calls, on one cluster.
async fn calls(
    args: &RunArgs,
    faults: &[&'static Fault],
    program: &Path,
    rows: &mut Vec<Row>,
) -> Result<(), Failure> {
    let _alone = Alone::in_dir(&args.dir)?;
    let brokers = if args.brokers == "3" { 3 } else { 1 };
    let shape = Shape { brokers, ..Shape::default() };
    let mut scene = tokio::select! {
        biased;
        () = interrupted() => return Err(Failure::new("interrupted")),
        scene = Scene::open(&args.dir, program, shape, args.seed) => scene?,
    };
    let began = Instant::now();
    let limit = args.minutes.map(|minutes| Duration::from_secs(60 * minutes));
    let over = || limit.is_some_and(|limit| began.elapsed() >= limit);
    'rounds: loop {
        for fault in faults {
            if over() {
                break 'rounds;
            }
            let outcome = tokio::select! {
                biased;
                () = interrupted() => return Err(Failure::new("interrupted")),
                outcome = Box::pin(scene.round(fault)) => outcome?,
            };
            println!("{}", outcome.json());
            rows.push(Row { passed: outcome.passed(), text: outcome.row() });
        }
        if limit.is_none() {
            break;
        }
    }
    scene.close(args.keep).await
}
