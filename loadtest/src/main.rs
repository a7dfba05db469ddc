//! The command line of the load tests.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use trunkline_loadtest::rig::{Rig, Shape};
use trunkline_loadtest::{Failure, bench_call, bench_log, bench_raft, cluster, run, stage};

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
    /// Compares the outcomes of two smoke runs of one seed; each file ends with a verdict.
    Compare {
        /// What one run printed.
        one: PathBuf,
        /// What the other printed.
        other: PathBuf,
    },
    /// Starts a cluster of processes over Apache Kafka and leaves it running; starts again what has ended.
    Up(UpArgs),
    /// Stops it; its data stays.
    Down(DirArgs),
    /// Says how each of its processes is, and where.
    Status(DirArgs),
}

#[derive(Debug, clap::Args)]
struct DirArgs {
    /// Where the cluster's data, logs and settings are.
    #[arg(long, default_value = "data/up")]
    dir: PathBuf,
}

#[derive(Debug, clap::Args)]
struct ShapeArgs {
    /// Voters of agent-state.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=5))]
    voters: u16,
    /// Brokers of Kafka.
    #[arg(long, default_value = "1", value_parser = ["1", "3"])]
    brokers: String,
}

impl ShapeArgs {
    fn shape(&self) -> Shape {
        let brokers = if self.brokers == "3" { 3 } else { 1 };
        Shape { voters: usize::from(self.voters), brokers, ..Shape::default() }
    }
}

#[derive(Debug, clap::Args)]
struct UpArgs {
    #[command(flatten)]
    dir: DirArgs,
    #[command(flatten)]
    shape: ShapeArgs,
    /// The `trunkline` program; the one beside this one when absent.
    #[arg(long)]
    program: Option<PathBuf>,
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
    /// Which event log: embedded is one process, kafka a process a service.
    #[arg(long, value_parser = ["embedded", "kafka"], default_value = "embedded")]
    log: String,
    #[command(flatten)]
    shape: ShapeArgs,
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
            rig: (self.log == "kafka").then(|| self.shape.shape()),
        })
    }
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Appends to a log: to the embedded one beside a bare loop of write and fdatasync, to Kafka beside a plain producer.
    Log(LogArgs),
    /// A call's way from the queue to the agent's phone in a cluster of processes over Apache Kafka, and what it costs.
    Call(CallArgs),
    /// The same in a cell of 2,000 agents, at 50 and 200 calls a second.
    Assign(CallArgs),
    /// Reservations of three voters, beside compare-and-swap of three members of etcd on the same disk.
    Raft(RaftArgs),
}

#[derive(Debug, clap::Args)]
struct CallArgs {
    /// Where data and logs go; emptied first.
    #[arg(long, default_value = "target/bench-call")]
    dir: PathBuf,
    /// The `trunkline` program; the one beside this one when absent.
    #[arg(long)]
    program: Option<PathBuf>,
}

async fn bench_call(kind: bench_call::Kind, args: CallArgs) -> Result<(), Failure> {
    let program = args.program.map_or_else(cluster::beside_us, Ok)?;
    bench_call::run(bench_call::Options { kind, program, dir: args.dir }, &mut std::io::stdout()).await
}

#[derive(Debug, clap::Args)]
struct RaftArgs {
    /// Where data and logs go; emptied first.
    #[arg(long, default_value = "target/bench-raft")]
    dir: PathBuf,
    /// The `trunkline` program; the one beside this one when absent.
    #[arg(long)]
    program: Option<PathBuf>,
    /// The `etcd` program.
    #[arg(long, default_value = "etcd")]
    etcd: PathBuf,
}

async fn bench_raft(args: RaftArgs) -> Result<bool, Failure> {
    let program = args.program.map_or_else(cluster::beside_us, Ok)?;
    let options = bench_raft::Options { program, etcd: args.etcd, dir: args.dir };
    bench_raft::run(options, &mut std::io::stdout()).await
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
        Some(brokers) if args.log == "kafka" => bench_log::kafka::run(&brokers, out).await,
        _ => bench_log::run(&args.dir, out).await,
    }
}

/// Makes the cluster of a directory when there is none, and starts what does not run.
async fn up(args: UpArgs) -> Result<(), Failure> {
    let dir = args.dir.dir;
    let rig = match Rig::open(&dir) {
        Ok(rig) if rig.shape != args.shape.shape() => {
            let shape = rig.shape;
            return Err(Failure::new(format!(
                "{} holds a cluster of {} voters and {} brokers; name another directory, or remove it",
                dir.display(),
                shape.voters,
                shape.brokers
            )));
        }
        Ok(rig) => rig,
        Err(_) => {
            let program = args.program.map_or_else(cluster::beside_us, Ok)?;
            Rig::make(&dir, &program, args.shape.shape()).await?
        }
    };
    rig.up().await?;
    status(&rig).await;
    println!("page and REST at http://{}/, command line with --data {}", rig.http(), dir.display());
    Ok(())
}

/// Prints a table of the processes; gives whether all of them are ready.
async fn status(rig: &Rig) -> bool {
    let rows = rig.status().await;
    for [name, pid, state, addresses, log] in &rows {
        println!("{name:<14} {pid:>7}  {state:<40}  {addresses}  {log}");
    }
    rows.iter().all(|[_, _, state, ..]| state.starts_with("ready") || state == "runs")
}

#[tokio::main]
async fn main() -> ExitCode {
    match Command::parse() {
        Command::Bench(Bench::Log(args)) => ended(bench_log(args).await),
        Command::Bench(Bench::Call(args)) => ended(Box::pin(bench_call(bench_call::Kind::Call, args)).await),
        Command::Bench(Bench::Assign(args)) => {
            ended(Box::pin(bench_call(bench_call::Kind::Assign, args)).await)
        }
        Command::Bench(Bench::Raft(args)) => match Box::pin(bench_raft(args)).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failure) => ended(Err(failure)),
        },
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
        Command::Compare { one, other } => match run::compare(&one, &other) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failure) => ended(Err(failure)),
        },
        Command::Up(args) => ended(up(args).await),
        Command::Down(args) => ended(match Rig::open(&args.dir) {
            Ok(rig) => rig.down().await.map(drop),
            Err(failure) => Err(failure),
        }),
        Command::Status(args) => match Rig::open(&args.dir) {
            Ok(rig) => match status(&rig).await {
                true => ExitCode::SUCCESS,
                // As systemd's `is-active` and `./dev kafka status` have it.
                false => ExitCode::from(3),
            },
            Err(failure) => ended::<Failure>(Err(failure)),
        },
    }
}

fn ended<E: std::error::Error>(done: Result<(), E>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    eprintln!("{}", trunkline_runtime::error_chain(&error));
    ExitCode::FAILURE
}
