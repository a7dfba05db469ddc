//! `trunkline raft`: where the voters of agent-state stand, who belongs to them, and who leads.

mod change;
mod status;

use clap::{Args, Subcommand};

use crate::Failure;
use crate::voters::VoterArgs;

#[derive(Args)]
pub(crate) struct RaftArgs {
    #[command(subcommand)]
    command: RaftCommand,
}

#[derive(Subcommand)]
enum RaftCommand {
    /// Ask each voter where it stands; fails without a leader, and when two voters differ at one index.
    Status(StatusArgs),
    /// Make a replica a voter, once it has the log; it has been started and belongs to no cluster yet.
    Add(change::AddArgs),
    /// Take the vote from a voter, dead or alive; refused when too few of the others answer.
    Remove(change::RemoveArgs),
    /// Make another voter the leader, without the pause of an election.
    Transfer(change::TransferArgs),
}

#[derive(Args)]
struct StatusArgs {
    #[command(flatten)]
    group: VoterArgs,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: RaftArgs) -> Result<(), Failure> {
    match args.command {
        RaftCommand::Status(args) => {
            let group = args.group.read()?;
            let status = status::Status::ask(&group.cluster, &group.voters).await;
            if args.json {
                println!("{}", status.json());
            } else {
                print!("{}", status.text());
            }
            status.verdict()
        }
        RaftCommand::Add(args) => change::add(args).await,
        RaftCommand::Remove(args) => change::remove(args).await,
        RaftCommand::Transfer(args) => change::transfer(args).await,
    }
}
