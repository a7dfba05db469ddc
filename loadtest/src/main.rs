//! Callers and agents played by sipp; the recount; the benches.

mod bench_log;
mod checks;
mod cluster;
mod ear;
mod facts;
mod http;
#[cfg(test)]
mod pair_tests;
mod plan;
mod print;
mod recount;
mod run;
mod sipp;
mod stage;

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
    /// Runs a cluster, lets sipp play callers and agents, shows what came of it, and stays up until Ctrl-C.
    Demo(RunArgs),
    /// The same run, every promise compared with a recount of sipp's logs; the last line is the verdict as JSON.
    Smoke(RunArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Where data and logs go; emptied first.
    #[arg(long, default_value = "target/demo")]
    dir: PathBuf,
    /// The document to apply.
    #[arg(long, default_value = "deploy/demo/operator.yaml")]
    document: PathBuf,
    /// Where the prompts are.
    #[arg(long, default_value = "/usr/share/asterisk/sounds/en")]
    prompts: PathBuf,
    /// What decides who does what, and when.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// How many calls, 1 to 60.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=60))]
    calls: u16,
    /// The `trunkline` program; the one beside this one when absent.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Which event log.
    #[arg(long, value_parser = ["embedded"], default_value = "embedded")]
    log: String,
}

impl RunArgs {
    fn options(self) -> Result<stage::Options, Failure> {
        Ok(stage::Options {
            program: self.program.map_or_else(cluster::beside_us, Ok)?,
            dir: self.dir,
            document: self.document,
            prompt_dir: self.prompts,
            seed: self.seed,
            call_count: usize::from(self.calls),
        })
    }
}

/// Why a run could not be carried through, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// From anything that says what is wrong.
    pub fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

impl From<http::RestError> for Failure {
    fn from(error: http::RestError) -> Self {
        Self::new(error)
    }
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Appends to a log: to the embedded one beside a bare loop of write and fdatasync, to Kafka beside a plain producer.
    Log(LogArgs),
}

#[derive(Debug, clap::Args)]
struct LogArgs {
    /// Where on the disk to measure; what is written there is removed again.
    #[arg(long, default_value = "target/bench-log")]
    dir: PathBuf,
    /// Which event log.
    #[arg(long, value_parser = ["embedded", "kafka"], default_value = "embedded")]
    log: String,
    /// The brokers to measure, as HOST:PORT,HOST:PORT; topics are made there and removed again.
    #[arg(long, required_if_eq("log", "kafka"))]
    brokers: Option<String>,
}

async fn bench_log(args: LogArgs) -> Result<(), bench_log::BenchError> {
    let out = &mut std::io::stdout();
    match args.brokers {
        #[cfg(feature = "kafka")]
        Some(brokers) if args.log == "kafka" => bench_log::kafka::run(&brokers, out).await,
        #[cfg(not(feature = "kafka"))]
        Some(_) if args.log == "kafka" => Err(bench_log::BenchError::WithoutKafka),
        _ => bench_log::run(&args.dir, out).await,
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match Command::parse() {
        Command::Bench(Bench::Log(args)) => ended(bench_log(args).await),
        Command::Demo(args) => ended(match args.options() {
            Ok(options) => Box::pin(run::demo(options)).await,
            Err(failure) => Err(failure),
        }),
        Command::Smoke(args) => match args.options() {
            Ok(options) => match Box::pin(run::smoke(options)).await {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            },
            Err(failure) => ended(Err(failure)),
        },
    }
}

fn ended<E: std::error::Error>(done: Result<(), E>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("{}", trunkline_runtime::error_chain(&error));
    ExitCode::FAILURE
}
