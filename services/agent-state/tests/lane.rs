//! The leader's lane in the agents log: every fact once, under whatever epoch.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod common;

use trunkline_agent_state::Config;
use trunkline_domain::agent_state::FEATURE_LEVEL;
use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::event_log::{ReadFrom, SharedLog};

use self::common::{Group, facts, facts_when, go_ready, roster, sign_in, until};

/// The epochs of the lane in cell 1, in their order.
async fn epochs(log: &SharedLog) -> Vec<u64> {
    let end = log.end(LogName::Agents, Cell(1)).await.unwrap();
    let mut stream = log.read(LogName::Agents, Cell(1), ReadFrom::Start).await.unwrap();
    let mut epochs = Vec::new();
    loop {
        let stored = stream.next().await.unwrap();
        if stored.record.sequence == 0 {
            epochs.push(stored.record.epoch.0);
        }
        if Some(stored.position) >= end {
            return epochs;
        }
    }
}

/// A leader that stays begins a new epoch after so many records, and the next one goes on from the last of them: no fact is
/// missing and none is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stays_renews_its_epoch_and_the_next_one_goes_on_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { lane_epoch_every: 5, ..Config::default() };
    let mut group = Group::start_as(dir.path(), 1_000, &[FEATURE_LEVEL; 3], config).await;
    group.client.define_roster(roster(1)).await.unwrap();
    group.client.sign_in(sign_in("agt_anna")).await.unwrap();
    for _ in 0..15 {
        group.client.go_ready(go_ready("agt_anna")).await.unwrap();
        let away = api::GoNotReadyRequest {
            agent_id: "agt_anna".to_owned(),
            reason: "lunch".to_owned(),
            ..Default::default()
        };
        group.client.go_not_ready(away).await.unwrap();
    }
    // A session, and thirty changes of mind, which is also an unsteady one's.
    let before = facts_when(&group.log, 1, 31).await;
    let renewed = epochs(&group.log).await;
    assert!(renewed.len() >= 5 && renewed.is_sorted(), "{renewed:?}");
    let leader = group.leader().await;
    group.stop(leader).await;
    group.client.go_ready(go_ready("agt_anna")).await.unwrap();
    let after = until("fact of the next leader", async || {
        let facts = facts(&group.log, 1).await;
        let ready = facts.iter().filter(|fact| fact.starts_with("AgentBecameReady")).count();
        (ready == 16).then_some(facts)
    })
    .await;
    assert_eq!(after[..before.len()], before[..]);
    let numbers: Vec<_> = after.iter().map(|fact| fact.rsplit('#').next().unwrap().to_owned()).collect();
    let expected: Vec<_> = (1..=after.len()).map(|number| number.to_string()).collect();
    assert_eq!(numbers, expected, "no fact is missing, none is there twice");
    group.stop_all().await;
}
