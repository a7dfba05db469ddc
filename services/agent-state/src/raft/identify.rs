//! Who answers at an address, where it stands, and what its clock says.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Status};
use trunkline_domain::agent_state::clocks;
use trunkline_domain::vocabulary::{Millis, Timestamp};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::raft_service_client::RaftServiceClient;

use super::Consensus;
use super::members::Member;
use super::network::{self, Reach};
use crate::clocks::Clocks;

/// How long an answer is waited for. Half of it is how wrong an offset can be; below the shortest election time-out, so
/// that a voter that says nothing holds up no election.
pub const ANSWER_TIME_MAX: Duration = Duration::from_millis(400);

/// What a replica is in its term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
    /// It is given the log and has no vote.
    Learner,
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The replica.
    pub node_id: u64,
    /// Whether it belongs to a formed cluster.
    pub formed: bool,
    /// What else it told; nothing when it is of a version that does not.
    pub told: Option<Told>,
}

/// Where a replica stands, and how its clock differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How far its clock is ahead of the one it was asked by; negative when it is behind.
    pub offset: Millis,
    /// Its term.
    pub term: u64,
    /// What it is in that term.
    pub role: Role,
    /// Who leads as far as it knows.
    pub leader: Option<u64>,
    /// For how long it has heard of no leader; `None` when it is of a version that does not tell.
    pub silent: Option<Duration>,
    /// Term and index of the last entry of its log.
    pub log_end: (u64, u64),
    /// The last index it has applied.
    pub applied_index: u64,
    /// The digest of its state at that index, in hexadecimal; empty unless it was asked for.
    pub state_hash: String,
    /// The members of the cluster as far as it knows, by id.
    pub members: Vec<Member>,
    /// The highest level of rules it takes part in.
    pub feature_level: u32,
    /// The site it runs at; empty where nobody said.
    pub site: String,
}

/// Asks who answers at an address, at most for `time_max`. `wall` reads the clock its own is compared with.
///
/// # Errors
/// When nobody answers in time, or somebody of another cluster.
pub async fn identify(
    cluster: &str,
    address: &str,
    hashed: bool,
    time_max: Duration,
    wall: impl Fn() -> Timestamp,
) -> Result<Identity, Status> {
    ask(network::client(address), cluster.to_owned(), hashed, time_max, wall).await
}

async fn ask(
    mut client: RaftServiceClient<Channel>,
    cluster: String,
    hashed: bool,
    time_max: Duration,
    wall: impl Fn() -> Timestamp,
) -> Result<Identity, Status> {
    let mut request = Request::new(api::IdentifyRequest { cluster, hashed });
    request.set_timeout(time_max);
    let asked_at = wall();
    let answered = tokio::time::timeout(time_max, client.identify(request)).await;
    let heard_at = wall();
    let answer =
        answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))?.into_inner();
    let role = match answer.role() {
        api::RaftRole::Unspecified => None,
        api::RaftRole::Follower => Some(Role::Follower),
        api::RaftRole::Candidate => Some(Role::Candidate),
        api::RaftRole::Leader => Some(Role::Leader),
        api::RaftRole::Learner => Some(Role::Learner),
    };
    let told = role.map(|role| Told {
        offset: clocks::offset(asked_at, Timestamp(answer.answered_at_ms), heard_at),
        term: answer.term,
        role,
        leader: Some(answer.leader_node_id).filter(|id| *id != 0),
        silent: answer.silent_ms.map(|it| Duration::from_millis(it.max(0).unsigned_abs())),
        log_end: (answer.last_log_term, answer.last_log_index),
        applied_index: answer.applied_index,
        state_hash: answer.state_hash,
        members: answer.members.into_iter().map(member).collect(),
        feature_level: answer.feature_level,
        site: answer.site,
    });
    Ok(Identity { node_id: answer.node_id, formed: answer.initialized, told })
}

fn member(it: api::RaftMember) -> Member {
    Member { node_id: it.node_id, address: it.address, voting: it.voting }
}

/// Whether so many have answered that, with this replica, they are a majority of it and the others.
pub fn majority_of(others: &[String]) -> impl Fn(&[(String, Told)]) -> bool + use<> {
    let voter_count = others.len() + 1;
    move |told| (told.len() + 1) * 2 > voter_count
}

/// Asks the other voters again and again, over connections that are kept.
pub struct Asker {
    cluster: String,
    clocks: Clocks,
    reach: Reach,
    clients: BTreeMap<String, RaftServiceClient<Channel>>,
}

impl Asker {
    /// Asks for this replica.
    pub fn new(consensus: &Consensus) -> Self {
        Self {
            cluster: consensus.cluster.clone(),
            clocks: consensus.clocks.clone(),
            reach: consensus.reach.clone(),
            clients: BTreeMap::new(),
        }
    }

    /// Asks the voters at all of these addresses at once, each at most for [`ANSWER_TIME_MAX`], and the rest at most for
    /// `grace` once `enough` have answered. Gives what those told who tell, with their addresses, in any order.
    pub async fn ask_all(
        &mut self,
        addresses: &[String],
        grace: Duration,
        enough: impl Fn(&[(String, Told)]) -> bool,
    ) -> Vec<(String, Told)> {
        self.clients.retain(|address, _| addresses.contains(address));
        let mut asked = JoinSet::new();
        for address in addresses {
            let client =
                self.clients.entry(address.clone()).or_insert_with(|| network::client(address)).clone();
            let (cluster, clocks, waits) =
                (self.cluster.clone(), self.clocks.clone(), self.reach.ask(address));
            let address = address.clone();
            asked.spawn(async move {
                let answered = ask(client, cluster, false, ANSWER_TIME_MAX, || clocks.wall()).await;
                waits.over(answered.as_ref().err());
                (address, answered)
            });
        }
        let mut told = Vec::new();
        let mut until = Instant::now() + ANSWER_TIME_MAX;
        while let Ok(Some(answered)) = tokio::time::timeout_at(until, asked.join_next()).await {
            let answer = |(address, answered): (String, Result<Identity, Status>)| {
                Some((address, answered.ok()?.told?))
            };
            told.extend(answered.ok().and_then(answer));
            if enough(&told) {
                until = until.min(Instant::now() + grace);
            }
        }
        told
    }
}
