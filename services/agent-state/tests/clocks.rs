//! A voter whose clock is an hour ahead: it does not lead, it moves nobody's time, it says why, and the others go on.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use tonic::Code;
use trunkline_domain::vocabulary::{Millis, Timestamp};
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::grpc::reason_of;

const HOUR: i64 = 3_600_000;
const TTL: i64 = 300_000;

/// Renews a lease; gives the time of the machine.
async fn machine_time(group: &Group, epoch: u64) -> i64 {
    let renew = api::RenewLeaseRequest {
        command_id: String::new(),
        resource: "routing/1".to_owned(),
        holder: "nod_r".to_owned(),
        epoch,
        ttl_ms: TTL,
    };
    group.client.renew_lease(renew).await.unwrap().expires_at_ms - TTL
}

/// Waits until a replica is not ready because of its clock; gives what it says.
async fn clock_trouble(replica: &Replica) -> String {
    until("trouble with the clock", async || {
        let reasons = replica.health.reasons();
        reasons.into_iter().find(|(name, _)| name == "agent-state/clock").map(|(_, reason)| reason)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_is_set_an_hour_ahead_ends_nothing_and_another_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    group.client.define_roster(roster(1)).await.unwrap();
    let epoch = group.client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    group.client.acquire_lease(acquire("media/nod_m", "nod_m")).await.unwrap();
    group.client.sign_in(sign_in("agt_anna")).await.unwrap();
    group.client.register_device(phone("agt_anna")).await.unwrap();
    group.client.go_ready(go_ready("agt_anna")).await.unwrap();
    let reserved = group.client.reserve_agents(reserve("agt_anna", "one", epoch, 21_000)).await.unwrap();
    assert!(reserved.answers[0].token > 0);
    let story = facts_when(&group.log, 1, 5).await;

    // Every deadline has passed for this clock: the lease's, the reservation's.
    let leader = group.leader().await;
    group.replica(leader).hand.advance(Millis(HOUR));
    let refused = group.ask(leader).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused)), (Code::Unavailable, Some("CLOCK_OFF")));
    assert!(refused.message().contains("this clock"), "{refused:?}");

    assert_eq!(machine_time(&group, epoch).await, 1_000);
    let other = group.leader().await;
    assert_ne!(other, leader);
    until("what is wrong", async || {
        let said = clock_trouble(group.replica(leader)).await;
        (said == "this clock is 3600.0 s ahead of the other voters'").then_some(())
    })
    .await;
    let agents = group.client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
    assert_eq!(agents[0].activity(), api::AgentActivity::Reserved);
    assert_eq!(facts(&group.log, 1).await, story);

    group.replica(leader).hand.set(Timestamp(2_000));
    group.ready().await;
    // It may lead again, with the right time.
    for place in (0..3).filter(|place| *place != leader) {
        group.replica(place).hand.set(Timestamp(2_000));
    }
    let third = (0..3).find(|place| ![leader, other].contains(place)).unwrap();
    group.stop(third).await;
    group.replica(other).hand.advance(Millis(HOUR));
    assert_eq!(group.leader().await, leader);
    assert_eq!(machine_time(&group, epoch).await, 2_000);
    assert_eq!(facts(&group.log, 1).await, story);
    group.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_that_starts_an_hour_ahead_does_not_lead_whatever_it_was_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    let epoch = group.client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    let leader = group.leader().await;
    group.stop_all().await;

    // openraft goes on in the old term where it led before: it must not be believed.
    for place in 0..3 {
        group.restart(place, if place == leader { 2_000 + HOUR } else { 2_000 });
    }
    assert_eq!(machine_time(&group, epoch).await, 2_000);
    assert_ne!(group.leader().await, leader);
    let said = clock_trouble(group.replica(leader)).await;
    assert_eq!(said, "this clock is 3600.0 s ahead of the other voters'");
    assert!(group.ask(leader).await.is_err());

    group.replica(leader).hand.set(Timestamp(2_000));
    group.ready().await;
    assert_eq!(machine_time(&group, epoch).await, 2_000);
    assert_eq!(facts_when(&group.log, 1, 1).await, ["LeaseGranted lease:routing/1 #1"]);
    group.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_of_three_voters_that_start_alone_elect_and_the_third_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    let epoch = group.client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    group.stop_all().await;
    group.restart(0, 2_000);
    group.restart(2, 2_000);
    group.ready().await;
    assert_eq!(machine_time(&group, epoch).await, 2_000);
    group.restart(1, 2_000);
    group.ready().await;
    assert_eq!(machine_time(&group, epoch).await, 2_000);
    group.stop_all().await;
}
