//! The command line, and the all-in-one process.

mod agents;
mod apply;
mod contact;
mod dev;
mod endpoints;
mod export;
mod history;
mod live;
mod logs;
mod process;
mod queues;
mod raft;
mod replay;
mod replay_day;
mod settings;
mod table;
mod tail;
mod topics;
mod verify;
mod voters;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Wrong usage or configuration, as BSD's sysexits has it.
const EXIT_USAGE: u8 = 64;

#[derive(Parser)]
#[command(name = "trunkline", version, about = "A contact-centre cluster you can replay")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the whole cluster in this process: embedded log, one Raft voter.
    Dev(dev::ProcessArgs),
    /// Run one service, or some, in this process, beside the other processes of the cluster.
    Serve(dev::ServeArgs),
    /// Show what a configuration document would change, and apply it.
    Apply(apply::ApplyArgs),
    /// Print a log as prose, one line a fact.
    Tail(tail::TailArgs),
    /// Fold the logs from the start and print counts and state hashes.
    Replay(replay::ReplayArgs),
    /// Play the calls of a log through the routing core in virtual time, as they were served and with another strategy.
    ReplayDay(replay_day::ReplayDayArgs),
    /// Create or check the logs: of a data directory, or the topics on Kafka.
    Topics(topics::TopicsArgs),
    /// Copy the logs into an embedded log that can be read anywhere.
    Export(export::ExportArgs),
    /// Check the promises over the logs.
    Verify(verify::VerifyArgs),
    /// Show what each agent does now, until Ctrl-C.
    Agents(agents::AgentsArgs),
    /// Show who waits in which queue, until Ctrl-C; or say why a contact waits.
    Queues(queues::QueuesArgs),
    /// Where the voters of agent-state stand, who belongs to them, and who leads.
    Raft(raft::RaftArgs),
    /// Print one contact's whole story: facts, report cell, invoice items.
    Contact(contact::ContactArgs),
    /// Print shell completions.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

/// Why a command failed, in one sentence, and with which exit code.
pub(crate) struct Failure {
    /// The process exit code.
    code: u8,
    /// One sentence, lower case, without a full stop.
    message: String,
}

impl Failure {
    /// Wrong usage or configuration: exit code 64.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, message: message.into() }
    }

    /// The world failed: exit code 1.
    pub(crate) fn world(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::world(error.to_string())
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help that was asked for comes this way too; it goes to stdout and is no failure. A closed pipe is none either.
            let _ = told.print();
            return if told.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::world(format!("could not start the runtime: {error}"))),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Dev(args) => dev::run(args).await,
            Command::Serve(args) => dev::serve(args).await,
            Command::Apply(args) => apply::run(args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Replay(args) => replay::run(args).await,
            Command::ReplayDay(args) => replay_day::run(&args),
            Command::Topics(args) => topics::run(args).await,
            Command::Export(args) => export::run(args).await,
            Command::Verify(args) => verify::run(args).await,
            Command::Agents(args) => agents::run(args).await,
            Command::Queues(args) => queues::run(args).await,
            Command::Raft(args) => raft::run(args).await,
            Command::Contact(args) => contact::run(args).await,
            Command::Completions { shell } => {
                clap_complete::generate(shell, &mut Cli::command(), "trunkline", &mut std::io::stdout());
                Ok(())
            }
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("trunkline: {}", failure.message);
    ExitCode::from(failure.code)
}
