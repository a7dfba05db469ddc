//! Voters come, go and are replaced, the leadership moves, and whoever has no quorum says so at once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use tonic::{Code, Status};
use trunkline_agent_state::raft::{Identity, Role};
use trunkline_agent_state::store::Store;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::agent_state_service_client::AgentStateServiceClient;
use trunkline_proto::agent_state::v1::raft_admin_service_client::RaftAdminServiceClient;
use trunkline_runtime::agent_state_client::{AgentStateClient, LEADER_KEY};
use trunkline_runtime::grpc::{channel, reason_of};

const CLUSTER: &str = "trunkline";
/// How long a command waits for a quorum where nobody knows that there is none (`propose_timeout_ms`).
const COMMAND_TIME: Duration = Duration::from_millis(3_000);

/// What operators ask, sent to whoever leads.
struct Operator<'a>(&'a AgentStateClient);

impl Operator<'_> {
    /// Asks until the replica votes.
    async fn add(&self, address: &str, replaced: u64) -> Result<api::AddVoterResponse, Status> {
        loop {
            let request = api::AddVoterRequest {
                cluster: CLUSTER.to_owned(),
                address: address.to_owned(),
                replaced_node_id: replaced,
            };
            let attempt = |channel, _| {
                let request = request.clone();
                async move { RaftAdminServiceClient::new(channel).add_voter(request).await }
            };
            let added = self.0.follow(attempt).await?;
            if added.voting {
                return Ok(added);
            }
        }
    }

    async fn remove(&self, node_id: u64) -> Result<api::RemoveVoterResponse, Status> {
        let request = api::RemoveVoterRequest { cluster: CLUSTER.to_owned(), node_id };
        let attempt = |channel, _| {
            let request = request.clone();
            async move { RaftAdminServiceClient::new(channel).remove_voter(request).await }
        };
        self.0.follow(attempt).await
    }

    async fn transfer(&self, node_id: u64) -> Result<api::TransferLeadershipResponse, Status> {
        let request = api::TransferLeadershipRequest { cluster: CLUSTER.to_owned(), node_id };
        let attempt = |channel, _| {
            let request = request.clone();
            async move { RaftAdminServiceClient::new(channel).transfer_leadership(request).await }
        };
        self.0.follow(attempt).await
    }
}

/// A client that takes one lease after another, and remembers which were granted.
struct Load {
    granted: Arc<Mutex<Granted>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Granted {
    resources: Vec<String>,
    /// The longest time between two grants.
    gap_max: Duration,
}

impl Granted {
    fn add(&mut self, resource: String, gap: Duration) {
        self.resources.push(resource);
        self.gap_max = self.gap_max.max(gap);
    }
}

impl Load {
    fn start(client: &AgentStateClient) -> Self {
        let (granted, client) = (Arc::new(Mutex::new(Granted::default())), client.clone());
        let noted = granted.clone();
        let task = tokio::spawn(async move {
            let mut last = Instant::now();
            for number in 0.. {
                let resource = format!("media/nod_load{number}");
                client.acquire_lease(acquire(&resource, &format!("nod_load{number}"))).await.unwrap();
                noted.lock().unwrap().add(resource, last.elapsed());
                last = Instant::now();
                // There may be 4,096 leases.
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
        });
        Self { granted, task }
    }

    /// Ends it; gives what was granted, and the longest time without a grant.
    async fn end(self) -> (Vec<String>, Duration) {
        assert!(!self.task.is_finished(), "a command was refused");
        self.task.abort();
        let _ = self.task.await;
        let granted = std::mem::take(&mut *self.granted.lock().unwrap());
        (granted.resources, granted.gap_max)
    }
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String, String) {
    let status = answer.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default().to_owned(), status.message().to_owned())
}

/// The node ids of those that vote, as a replica sees it.
fn voters(identity: &Identity) -> BTreeSet<u64> {
    let members = identity.told.as_ref().unwrap().members.iter();
    members.filter(|it| it.voting).map(|it| it.node_id).collect()
}

fn term(identity: &Identity) -> u64 {
    identity.told.as_ref().unwrap().term
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_are_added_removed_and_replaced_under_load_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    let load = Load::start(&group.client);
    let (fourth, fifth) = (group.start_another(1_000), group.start_another(1_000));
    let client = group.client.clone();
    let operator = Operator(&client);

    // A fourth and a fifth voter, each once.
    for (place, count) in [(fourth, 4), (fifth, 5), (fourth, 5)] {
        let added = operator.add(&group.peers[place], 0).await.unwrap();
        assert_eq!((added.node_id, added.voter_count), (group.identity(place).await.node_id, count));
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (code, reason, message) = refused(operator.add(&silent, 0).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "REPLICA_SILENT"));
    assert!(message.starts_with(&format!("no replica of this cluster answers at {silent}: ")), "{message}");

    // The fourth leads.
    let chosen = group.identity(fourth).await.node_id;
    assert_eq!(operator.transfer(chosen).await.unwrap().node_id, chosen);
    assert_eq!(group.leader().await, fourth);
    let again = operator.transfer(chosen).await.unwrap();
    assert!(!again.transferred);
    assert_eq!(again.address, group.peers[fourth]);

    // One goes.
    let gone = group.identity(1).await.node_id;
    for removed in [true, false] {
        assert_eq!(
            operator.remove(gone).await.unwrap(),
            api::RemoveVoterResponse { removed, voter_count: 4 }
        );
    }
    group.stop(1).await;

    // One loses its disk: where it was, another replica answers, which takes its place.
    let lost = group.identity(2).await.node_id;
    group.stop(2).await;
    std::fs::remove_dir_all(group.data(2)).unwrap();
    group.restart(2, 1_000);
    let new = group.identity(2).await;
    assert!(new.node_id != lost && !new.formed);
    let (code, reason, _) = refused(operator.add(&group.peers[2], gone).await);
    assert_eq!((code, reason.as_str()), (Code::NotFound, "UNKNOWN_MEMBER"));
    for _ in 0..2 {
        let added = operator.add(&group.peers[2], lost).await.unwrap();
        assert_eq!((added.node_id, added.voter_count), (new.node_id, 4));
    }

    // The leader goes: somebody else leads before.
    assert_eq!(group.leader().await, fourth);
    let removed = operator.remove(chosen).await.unwrap();
    assert_eq!(removed, api::RemoveVoterResponse { removed: true, voter_count: 3 });
    group.stop(fourth).await;
    group.leader().await;

    let (granted, gap_max) = load.end().await;
    println!("{} commands acknowledged, at most {gap_max:?} between two", granted.len());
    group.agree().await;
    let mut expected = BTreeSet::new();
    for place in [0, 2, fifth] {
        expected.insert(group.identity(place).await.node_id);
    }
    for place in [0, 2, fifth] {
        assert_eq!(voters(&group.identity(place).await), expected);
    }
    group.stop_all().await;
    for place in [0, 2, fifth] {
        let store = Store::open(&group.data(place).join("agent-state"), 1 << 20, 1).unwrap();
        let view = store.machine.view();
        let missing = granted.iter().find(|it| !view.machine.state().leases.contains_key(*it));
        assert_eq!(missing, None, "in place {place}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leadership_moves_to_any_of_five_voters_at_once_and_in_the_next_term() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start_of(5, dir.path(), 1_000).await;
    let operator = Operator(&group.client);
    let load = Load::start(&group.client);
    let mut paused = Vec::new();
    for round in 0..20 {
        let before = group.leader().await;
        let place = (before + 1 + round % 4) % 5;
        let (from, to) = (group.identity(before).await, group.identity(place).await);
        let moved = operator.transfer(to.node_id).await.unwrap();
        assert_eq!((moved.node_id, moved.transferred), (to.node_id, true));
        assert_eq!(group.leader().await, place);
        assert_eq!(term(&group.identity(place).await), term(&from) + 1, "one election was enough");
        paused.push(moved.paused_ms);
    }
    let (granted, gap_max) = load.end().await;
    paused.sort_unstable();
    println!(
        "20 hand-overs paused for {paused:?} ms; {} commands, at most {gap_max:?} between two",
        granted.len()
    );
    group.agree().await;
    group.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_hands_the_leadership_over_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    let load = Load::start(&group.client);
    let before = group.leader().await;
    let old_term = term(&group.identity(before).await);
    group.stop(before).await;
    let after = group.leader().await;
    let now = group.identity(after).await;
    assert_eq!((term(&now), now.told.unwrap().role), (old_term + 1, Role::Leader));
    let granted = load.granted.clone();
    until("commands after it", async || (granted.lock().unwrap().resources.len() > 20).then_some(())).await;
    let (granted, gap_max) = load.end().await;
    println!("{} commands, at most {gap_max:?} between two", granted.len());
    group.agree().await;
    group.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_voter_is_removed_whom_the_rest_cannot_do_without() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    let client = group.client.clone();
    let operator = Operator(&client);
    let leads = group.leader().await;
    let (dead, alive) = ((leads + 1) % 3, (leads + 2) % 3);
    let mut ids = Vec::new();
    for place in 0..3 {
        ids.push(group.identity(place).await.node_id);
    }
    group.stop(dead).await;
    let (code, reason, message) = refused(operator.remove(ids[alive]).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "TOO_FEW_ANSWER"));
    assert_eq!(message, "of the 2 voters there would be, 1 answer and 2 must");
    let (code, reason, message) = refused(operator.transfer(ids[dead]).await);
    assert_eq!((code, reason.as_str()), (Code::FailedPrecondition, "NO_SUCCESSOR"));
    assert_eq!(message, format!("no other voter can lead now: {} does not answer", ids[dead]));
    assert_eq!(refused(operator.transfer(12).await).1, "UNKNOWN_MEMBER");
    // Nothing was changed by any of that, and the dead one is not needed.
    for (node_id, voter_count) in [(ids[dead], 2), (ids[alive], 1)] {
        let removed = operator.remove(node_id).await.unwrap();
        assert_eq!(removed, api::RemoveVoterResponse { removed: true, voter_count });
    }
    let (_, reason, message) = refused(operator.remove(ids[leads]).await);
    assert_eq!(reason, "LAST_VOTER");
    assert_eq!(message, format!("{} is the only voter; add another one before it is removed", ids[leads]));
    // A replica with a history is not taken in again.
    let (_, reason, message) = refused(operator.add(&group.peers[alive], 0).await);
    assert_eq!(reason, "OTHER_CLUSTER", "{message}");
    group.stop(alive).await;
    std::fs::remove_dir_all(group.data(alive)).unwrap();
    group.restart(alive, 1_000);
    assert_eq!(operator.add(&group.peers[alive], 0).await.unwrap().voter_count, 2);
    group.agree().await;
    group.stop_all().await;
}

/// How a replica answers a command, and after what time.
async fn timed(group: &Group, place: usize) -> (Option<String>, Duration) {
    let asked = Instant::now();
    let reason = group.ask(place).await.err().map(|it| reason_of(&it).unwrap_or_default().to_owned());
    (reason, asked.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_quorum_says_so_at_once_and_shows_what_it_knew_when_that_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    group.client.define_roster(roster(1)).await.unwrap();
    let leads = group.leader().await;
    let others = [(leads + 1) % 3, (leads + 2) % 3];
    for place in others {
        group.stop(place).await;
    }
    // The leader finds out, and from then on nobody waits for as long as a command may take.
    until("no quorum", async || timed(&group, leads).await.0.filter(|reason| reason == "NO_QUORUM")).await;
    for _ in 0..5 {
        let (reason, took) = timed(&group, leads).await;
        assert_eq!(reason.as_deref(), Some("NO_QUORUM"));
        assert!(took < COMMAND_TIME, "{took:?}");
    }
    until("reason", async || {
        let reasons = format!("{:?}", group.replica(leads).health.reasons());
        reasons.contains("no quorum").then_some(())
    })
    .await;

    // A dashboard goes on, and says what it shows.
    let mut voter = AgentStateServiceClient::new(channel(&group.peers[leads]));
    let (code, reason, _) = refused(voter.list_agents(api::ListAgentsRequest::default()).await);
    assert_eq!((code, reason.as_str()), (Code::Unavailable, "NO_QUORUM"));
    let shown = voter.list_agents(api::ListAgentsRequest { stale_ok: true }).await.unwrap().into_inner();
    assert_eq!((shown.stale, shown.agents.len(), shown.known_at_ms), (true, 2, 1_000));
    assert!(shown.raft_index > 0);

    // Back with one more: a quorum. A follower shows what it knows, and names who leads.
    group.restart(others[0], 1_000);
    let again = group.leader().await;
    let follows = if again == leads { others[0] } else { leads };
    let mut voter = AgentStateServiceClient::new(channel(&group.peers[follows]));
    let refusal = voter.list_agents(api::ListAgentsRequest::default()).await.unwrap_err();
    assert_eq!(reason_of(&refusal), Some("NOT_LEADER"));
    let shown = voter.list_agents(api::ListAgentsRequest { stale_ok: true }).await.unwrap();
    assert_eq!(shown.metadata().get(LEADER_KEY).unwrap().to_str().unwrap(), group.peers[again]);
    assert!(shown.into_inner().stale);

    // A follower that is alone says so at once too.
    group.stop_all().await;
    group.restart(others[1], 1_000);
    until("no quorum", async || {
        let (reason, took) = timed(&group, others[1]).await;
        assert!(took < COMMAND_TIME, "{took:?}");
        reason.filter(|reason| reason == "NO_QUORUM")
    })
    .await;
    group.stop_all().await;
}
