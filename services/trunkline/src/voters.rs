//! Which voters of agent-state a command asks.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tonic::Status;
use trunkline_agent_state::raft::cause;
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::settings::settings;
use trunkline_runtime::grpc::address_error;
use trunkline_runtime::mint::Mint;

use crate::Failure;
use crate::endpoints::{Addresses, DATA_DIR};
use crate::settings::EndpointsSection;

#[derive(Args)]
pub(crate) struct VoterArgs {
    /// A data directory of the cluster, whose settings name the voters.
    #[arg(long, default_value = DATA_DIR, env = "TRUNKLINE_DATA_DIR")]
    data: PathBuf,
    /// A TOML file whose sections endpoints and agent_state name the voters.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The voters, instead of those that the settings name.
    #[arg(long, value_name = "HOST:PORT,HOST:PORT", value_delimiter = ',')]
    voters: Vec<String>,
}

/// The voters of one cluster.
pub(crate) struct Group {
    /// The name of the cluster.
    pub cluster: String,
    /// Where its voters answer.
    pub voters: Vec<String>,
}

impl VoterArgs {
    /// The name of the cluster and where its voters answer.
    pub(crate) fn read(&self) -> Result<Group, Failure> {
        let usage = |error: trunkline_runtime::config::ConfigError| Failure::usage(error.to_string());
        let mut settings = settings(&self.data, self.config.as_deref()).map_err(usage)?;
        // The rest of these sections is for the processes that run on them.
        let endpoints = settings.section("endpoints", |_: &EndpointsSection| Ok(())).map_err(usage)?;
        let agent_state =
            settings.section("agent_state", |_: &trunkline_agent_state::Config| Ok(())).map_err(usage)?;
        let named = [self.voters.clone(), endpoints.agent_state, agent_state.peers];
        let voters = match named.into_iter().find(|list| !list.is_empty()) {
            Some(voters) => voters,
            None => vec![Addresses::read(&self.data)?.service("agent-state")?],
        };
        match voters.iter().find_map(|address| address_error(address)) {
            Some(problem) => Err(Failure::usage(format!("could not ask the voters: {problem}"))),
            None => Ok(Group { cluster: agent_state.cluster, voters }),
        }
    }
}

impl Group {
    /// A client that finds whoever leads, and tries for at most so long.
    pub(crate) fn client(&self, time_max: Duration) -> AgentStateClient {
        AgentStateClient::new(&self.voters, Mint::system(Clock::system())).with_time_max(time_max)
    }

    /// What a refusal or no answer is for whoever typed the command.
    pub(crate) fn failure(&self, attempted: &str, status: &Status) -> Failure {
        Failure::world(format!("could not {attempted}: {}", cause(status)))
    }
}
