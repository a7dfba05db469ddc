//! Records histories on a group of real voters under faults, and looks for an order in each.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use trunkline_linear::plant::Plant;
use trunkline_linear::record::Shape;
use trunkline_linear::suite::{Judgement, Suite, judge, kept};
use trunkline_linear::workload::Width;
use trunkline_loadtest::{Failure, cluster};

/// Whether agent-state is one thing to everybody who asks it.
#[derive(Debug, Parser)]
#[command(name = "trunkline-linear")]
enum Command {
    /// Records histories on three voters that are killed and stopped meanwhile, and judges them: a line of JSON each.
    Run(RunArgs),
    /// Judges a history that was kept.
    Check {
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// How many histories.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    histories: u32,
    /// Operations of each.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    operations: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64))]
    clients: u32,
    /// What decides what is asked, who is hit and when.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where data and logs go; the voters' part is emptied first.
    #[arg(long, default_value = "target/linear")]
    dir: PathBuf,
    /// The `trunkline` program; the one beside this one when absent.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Put what a broken group would have answered into each history: stale-read, lost-write or double-grant. All must fail.
    #[arg(long)]
    plant: Option<Plant>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let passed = match Command::parse() {
        Command::Run(args) => tokio::select! {
            biased;
            () = interrupted() => Err(Failure::new("interrupted")),
            passed = Box::pin(run(args)) => passed,
        },
        Command::Check { file } => kept(&file).map(|history| match judge(&history) {
            Judgement::Passed { .. } => {
                println!("linearizable");
                true
            }
            Judgement::Failed(why) | Judgement::Unknown(why) => {
                println!("{why}");
                false
            }
        }),
    };
    match passed {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("linear: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Gives whether all histories passed.
async fn run(args: RunArgs) -> Result<bool, Failure> {
    let program = args.program.map_or_else(cluster::beside_us, Ok)?;
    let width = Width { clients: args.clients, ..Width::default() };
    let shape = Shape { width, operations: args.operations, seed: args.seed };
    let suite = Suite { histories: args.histories, shape, dir: args.dir, program, plant: args.plant };
    let passed = suite
        .run(|told, judgement, _| {
            println!("{told}");
            if let Judgement::Failed(why) | Judgement::Unknown(why) = judgement {
                eprintln!("{why}");
            }
        })
        .await?;
    let failed = args.histories - passed;
    println!(
        "{}",
        json!({
            "linear": if failed == 0 { "pass" } else { "fail" }, "histories": args.histories, "failed": failed,
            "operations": args.operations, "clients": args.clients, "seed": args.seed,
        })
    );
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// Ctrl-C or SIGTERM. Whatever runs is dropped, and with it every voter.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
