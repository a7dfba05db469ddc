//! Who watches the agents hears everything once and then what changes, also over a restart and from a follower.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::*;
use tonic::{Code, Status, Streaming};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_client::AgentStateServiceClient;
use trunkline_runtime::grpc::channel;

/// A board that is kept by a stream.
#[derive(Default)]
struct Board {
    agents: BTreeMap<String, api::AgentActivity>,
    index: u64,
    whole_count: usize,
}

impl Board {
    async fn open(
        address: &str,
        after_index: u64,
        stale_ok: bool,
    ) -> Result<Streaming<api::WatchAgentsResponse>, Status> {
        let request = api::WatchAgentsRequest { after_index, stale_ok };
        let mut client = AgentStateServiceClient::new(channel(address));
        Ok(client.watch_agents(request).await?.into_inner())
    }

    fn take(&mut self, message: api::WatchAgentsResponse) {
        if message.whole {
            self.agents.clear();
            self.whole_count += 1;
        }
        for agent in message.agents {
            self.agents.insert(agent.agent_id.clone(), agent.activity());
        }
        assert!(message.raft_index >= self.index, "a stream never goes back");
        self.index = message.raft_index;
    }

    /// Takes messages until the board shows this of an agent.
    async fn until(
        &mut self,
        stream: &mut Streaming<api::WatchAgentsResponse>,
        agent: &str,
        activity: api::AgentActivity,
    ) {
        let shown = async {
            while self.agents.get(agent) != Some(&activity) {
                let message = stream.message().await.unwrap().expect("a stream goes on");
                self.take(message);
            }
        };
        tokio::time::timeout(Duration::from_secs(30), shown).await.expect("the board shows it in time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_board_hears_everything_once_then_changes_and_goes_on_behind_what_it_saw() {
    use api::AgentActivity::{NotReady, Ready, SignedOut};
    let dir = tempfile::tempdir().unwrap();
    let group = Group::start(dir.path(), 1_000).await;
    group.client.define_roster(roster(1)).await.unwrap();
    let leader = group.leader().await;
    let mut board = Board::default();
    let mut stream = Board::open(&group.peers[leader], 0, false).await.unwrap();
    board.until(&mut stream, "agt_anna", SignedOut).await;
    let first = board.whole_count;
    group.client.sign_in(sign_in("agt_anna")).await.unwrap();
    board.until(&mut stream, "agt_anna", NotReady).await;
    group.client.go_ready(go_ready("agt_anna")).await.unwrap();
    board.until(&mut stream, "agt_anna", Ready).await;
    assert_eq!(board.whole_count, first, "changes alone since the first message");

    // The caller is cut off and misses something.
    drop(stream);
    group.client.sign_in(sign_in("agt_ben")).await.unwrap();
    let mut stream = Board::open(&group.peers[leader], board.index, false).await.unwrap();
    board.until(&mut stream, "agt_ben", NotReady).await;
    assert_eq!((board.whole_count, board.agents["agt_anna"]), (first, Ready));

    // A follower says who leads, unless a moment late is good enough; it never tells what is older than what was seen.
    let follower = (0..3).find(|place| *place != leader).unwrap();
    let refused = Board::open(&group.peers[follower], board.index, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let mut stale = Board::open(&group.peers[follower], board.index, true).await.unwrap();
    group.client.go_ready(go_ready("agt_ben")).await.unwrap();
    board.until(&mut stale, "agt_ben", Ready).await;
    let mut group = group;
    group.stop_all().await;
}
