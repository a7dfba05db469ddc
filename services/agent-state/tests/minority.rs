//! Voters that are too few: whoever asks one of them is told so, whatever others ask meanwhile.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_client::AgentStateServiceClient;
use trunkline_runtime::grpc::{channel, reason_of};

use self::common::{Group, until};

const NO_QUORUM: Option<&str> = Some("NO_QUORUM");

/// Two of five are left, and one of them led. A read that must be certain has the leader ask its follower whether it leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_minority_says_so_though_somebody_asks_its_leader_all_the_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start_of(5, dir.path(), 1_000).await;
    let leader = group.leader().await;
    let others: Vec<_> = (0..5).filter(|place| *place != leader).collect();
    for place in &others[1..] {
        group.stop(*place).await;
    }
    let mut reader = AgentStateServiceClient::new(channel(&group.peers[leader]));
    until("word that there is no quorum", async || {
        let read = reader.list_agents(api::ListAgentsRequest { stale_ok: false }).await;
        let answers = [read.map(drop), group.ask(leader).await, group.ask(others[0]).await];
        answers.iter().all(|it| it.as_ref().is_err_and(|it| reason_of(it) == NO_QUORUM)).then_some(())
    })
    .await;
    // What is known is told, and that it is old.
    for place in [leader, others[0]] {
        let mut client = AgentStateServiceClient::new(channel(&group.peers[place]));
        let listed =
            client.list_agents(api::ListAgentsRequest { stale_ok: true }).await.unwrap().into_inner();
        assert!(listed.stale);
    }
    // One more is a majority.
    group.restart(others[1], 1_000);
    group.ready().await;
    group.leader().await;
    group.agree().await;
    group.stop_all().await;
}
