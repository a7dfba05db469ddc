//! Callers and agents played by sipp; the recount; the benches.

mod bench_log;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load, recounts and measurements.
#[derive(Debug, Parser)]
#[command(name = "trunkline-loadtest")]
enum Command {
    /// Measures, and prints one line of JSON a figure.
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Appends to the embedded log, beside a bare loop of write and fdatasync.
    Log {
        /// Where on the disk to measure; what is written there is removed again.
        #[arg(long, default_value = "target/bench-log")]
        dir: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Bench(Bench::Log { dir }) => bench_log::run(&dir, &mut std::io::stdout()).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("{error}");
            let mut source = std::error::Error::source(&error);
            while let Some(error) = source {
                eprint!(": {error}");
                source = error.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}
