//! Three replicas in one process: they elect, replicate, survive the leader, and name it to clients.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use tonic::Code;
use trunkline_agent_state::Config;
use trunkline_agent_state::store::Store;
use trunkline_domain::agent_state::FEATURE_LEVEL;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_client::AgentStateServiceClient;
use trunkline_runtime::agent_state_client::LEADER_KEY;
use trunkline_runtime::grpc::channel;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_elect_replicate_survive_their_leader_and_agree() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    let (peers, log, client) = (group.peers.clone(), group.log.clone(), group.client.clone());
    client.define_roster(roster(1)).await.unwrap();
    client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap();
    client.sign_in(sign_in("agt_anna")).await.unwrap();

    // A follower says who leads.
    let mut leader = None;
    for peer in &peers {
        let request = api::GoReadyRequest { command_id: "cmd_same".to_owned(), ..go_ready("agt_anna") };
        match AgentStateServiceClient::new(channel(peer)).go_ready(request).await {
            Ok(_) => leader = Some(peer.clone()),
            Err(status) => {
                assert_eq!(status.code(), Code::FailedPrecondition);
                let named = status.metadata().get(LEADER_KEY).unwrap().to_str().unwrap().to_owned();
                assert!(peers.contains(&named), "{named}");
                assert_ne!(&named, peer);
            }
        }
    }
    let leader = leader.expect("one of them leads");
    let place = peers.iter().position(|peer| *peer == leader).unwrap();
    facts_when(&log, 1, 3).await;
    group.agree().await;

    // Without its leader the cluster goes on, and forgets nothing.
    group.stop(place).await;
    client.sign_in(sign_in("agt_ben")).await.unwrap();
    let agents = client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
    assert_eq!(agents.len(), 2);
    assert_eq!(agents[0].activity(), api::AgentActivity::Ready);
    let found = facts_when(&log, 1, 4).await;
    assert_eq!(
        found,
        [
            "LeaseGranted lease:routing/1 #1",
            "AgentSignedIn agt_anna #1",
            "AgentBecameReady agt_anna #2",
            "AgentSignedIn agt_ben #1"
        ]
    );
    group.agree().await;
    group.stop_all().await;

    // What each has on its disk comes to the same state, as far as it goes.
    let mut states = Vec::new();
    for place in 0..3 {
        let store = Store::open(&group.data(place).join("agent-state"), 1 << 20, 1).unwrap();
        let view = store.machine.view();
        states.push((view.last_applied.map(|it| it.index), view.machine.state_hash(), store.node_id));
    }
    for (one, other) in states.iter().zip(&states[1..]) {
        assert_ne!(one.2, other.2, "ids are minted");
        assert!(one.0 != other.0 || one.1 == other.1, "the same index is the same state: {states:?}");
    }
}

/// A voter that missed more than the log keeps is sent a snapshot, while commands go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_missed_more_than_the_log_keeps_comes_back_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { snapshot_every: 40, log_keep: 5, ..Config::default() };
    let mut group = Group::start_as(dir.path(), 1_000, &[FEATURE_LEVEL; 3], config).await;
    group.client.define_roster(roster(1)).await.unwrap();
    group.client.sign_in(sign_in("agt_anna")).await.unwrap();
    for round in 0..3 {
        let missing = (group.leader().await + 1 + round % 2) % 3;
        group.stop(missing).await;
        let commands = async |count| {
            for _ in 0..count {
                group.client.go_ready(go_ready("agt_anna")).await.unwrap();
            }
        };
        commands(150).await;
        let end = group.identity(group.leader().await).await.told.unwrap().applied_index;
        group.restart(missing, 1_000);
        let client = group.client.clone();
        let caught_up = async {
            until("the end of the log", async || {
                let applied = group.identity(missing).await.told?.applied_index;
                (applied >= end).then_some(())
            })
            .await;
        };
        let load = async {
            loop {
                client.go_ready(go_ready("agt_anna")).await.unwrap();
            }
        };
        tokio::select! {
            () = caught_up => {}
            () = load => {}
        }
        group.agree().await;
    }
    group.stop_all().await;
}
