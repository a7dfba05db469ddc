//! Changes of who votes and who leads, asked of whoever leads.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::Instant;
use tonic::Request;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::raft_admin_service_client::RaftAdminServiceClient;
use trunkline_runtime::grpc::address_error;

use crate::Failure;
use crate::voters::VoterArgs;

/// How long one question is tried: an election may be under way.
const ASK_TIME_MAX: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(super) struct AddArgs {
    /// Where the replica answers.
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// The voter whose place it takes in the same step, for one that lost its disk.
    #[arg(long, value_name = "NODE_ID")]
    replace: Option<u64>,
    /// How long to wait until it has caught up, in seconds. It goes on without us, and the same command looks again.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
    #[command(flatten)]
    group: VoterArgs,
    /// Print JSON instead of a sentence.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct RemoveArgs {
    /// The voter or learner, as `trunkline raft status` shows it.
    node_id: u64,
    #[command(flatten)]
    group: VoterArgs,
    /// Print JSON instead of a sentence.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct TransferArgs {
    /// The voter that is to lead; whichever is best placed when there is none.
    node_id: Option<u64>,
    #[command(flatten)]
    group: VoterArgs,
    /// Print JSON instead of a sentence.
    #[arg(long)]
    json: bool,
}

pub(super) async fn add(args: AddArgs) -> Result<(), Failure> {
    let AddArgs { address, replace, wait, group, json } = args;
    if let Some(problem) = address_error(&address) {
        return Err(Failure::usage(format!("could not add a voter: {problem}")));
    }
    let group = group.read()?;
    let (client, until) = (group.client(ASK_TIME_MAX), Instant::now() + Duration::from_secs(wait));
    let mut told = None;
    let added = loop {
        let asked = api::AddVoterRequest {
            cluster: group.cluster.clone(),
            address: address.clone(),
            replaced_node_id: replace.unwrap_or_default(),
        };
        let attempt = |channel, time_max| {
            let request = timed(asked.clone(), time_max);
            async move { RaftAdminServiceClient::new(channel).add_voter(request).await }
        };
        let added = client.follow(attempt).await;
        let added = added.map_err(|status| group.failure(&format!("add {address}"), &status))?;
        if added.voting || Instant::now() >= until {
            break added;
        }
        if !json && std::io::stderr().is_terminal() && told != Some(added.behind_count) {
            eprintln!("{} is a learner, {} entries behind", added.node_id, added.behind_count);
            told = Some(added.behind_count);
        }
    };
    let api::AddVoterResponse { node_id, voting, behind_count, voter_count } = added;
    if json {
        let told = json!({
            // A number of JSON is too small for it.
            "node_id": node_id.to_string(),
            "address": address,
            "voting": voting,
            "behind_count": behind_count,
            "voter_count": voter_count,
        });
        println!("{told}");
    }
    if !voting {
        let message = format!(
            "{node_id} at {address} is a learner still, {behind_count} entries behind; the same command looks again"
        );
        return Err(Failure::world(message));
    }
    if !json {
        println!("{node_id} at {address} votes; {}", counted(voter_count));
    }
    Ok(())
}

pub(super) async fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let RemoveArgs { node_id, group, json } = args;
    let group = group.read()?;
    let asked = api::RemoveVoterRequest { cluster: group.cluster.clone(), node_id };
    let attempt = |channel, time_max| {
        let request = timed(asked.clone(), time_max);
        async move { RaftAdminServiceClient::new(channel).remove_voter(request).await }
    };
    let answer = group.client(ASK_TIME_MAX).follow(attempt).await;
    let api::RemoveVoterResponse { removed, voter_count } =
        answer.map_err(|status| group.failure(&format!("remove {node_id}"), &status))?;
    if json {
        let told = json!({
            "node_id": node_id.to_string(),
            "removed": removed,
            "voter_count": voter_count,
        });
        println!("{told}");
    } else if removed {
        println!("{node_id} is no member any more; stop it if it runs. {}", counted(voter_count));
    } else {
        println!("{node_id} was no member; {}", counted(voter_count));
    }
    Ok(())
}

pub(super) async fn transfer(args: TransferArgs) -> Result<(), Failure> {
    let TransferArgs { node_id, group, json } = args;
    let group = group.read()?;
    let asked = api::TransferLeadershipRequest {
        cluster: group.cluster.clone(),
        node_id: node_id.unwrap_or_default(),
    };
    let attempt = |channel, time_max| {
        let request = timed(asked.clone(), time_max);
        async move { RaftAdminServiceClient::new(channel).transfer_leadership(request).await }
    };
    let answer = group.client(ASK_TIME_MAX).follow(attempt).await;
    let api::TransferLeadershipResponse { node_id, address, transferred, paused_ms } =
        answer.map_err(|status| group.failure("transfer the leadership", &status))?;
    if json {
        let told = json!({
            "node_id": node_id.to_string(),
            "address": address,
            "transferred": transferred,
            "paused_ms": paused_ms,
        });
        println!("{told}");
    } else if transferred {
        println!("{node_id} at {address} leads; commands waited for {paused_ms} ms");
    } else {
        println!("{node_id} at {address} leads already");
    }
    Ok(())
}

fn timed<T>(message: T, time_max: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(time_max);
    request
}

/// How many voters there are, and what that is good for.
fn counted(voters: u32) -> String {
    let spare = voters.saturating_sub(1) / 2;
    let voters =
        if voters == 1 { "there is 1 voter".to_owned() } else { format!("there are {voters} voters") };
    match spare {
        0 => format!("{voters}, of which none may fail"),
        1 => format!("{voters}, of which 1 may fail"),
        more => format!("{voters}, of which {more} may fail"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_of_voters_says_what_it_is_good_for() {
        for (voters, sentence) in [
            (1, "there is 1 voter, of which none may fail"),
            (2, "there are 2 voters, of which none may fail"),
            (3, "there are 3 voters, of which 1 may fail"),
            (4, "there are 4 voters, of which 1 may fail"),
            (5, "there are 5 voters, of which 2 may fail"),
        ] {
            assert_eq!(counted(voters), sentence);
        }
    }
}
