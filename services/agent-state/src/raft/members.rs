//! Who belongs to the cluster, and changes of that: a learner first, a voter once it has nearly all of the log; one joint
//! step from one set of voters to the next; never a set whose majority does not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers};
use tokio::sync::MutexGuard;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::identify::{ANSWER_TIME_MAX, identify};
use super::network::cause;
use super::{Consensus, Leader};
use crate::clocks::ClockError;

/// Voters a cluster may have.
pub const VOTER_COUNT_MAX: usize = 7;
/// A learner that lacks at most so many entries becomes a voter: the rest takes it less time than a heartbeat.
const BEHIND_COUNT_MAX: u64 = 256;
/// How long one request waits for a learner to catch up, or for its turn. Shorter than what a client waits for one attempt.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a change may take to be committed.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(3);

/// Why the members are as they were, or are being changed still: to ask again finds out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Another replica leads, at this address, or none that is known.
    #[error("{}", if leader.is_empty() { "no quorum: this replica knows of no leader" } else { "this replica does not lead" })]
    NotLeader {
        /// Where the leader answers; empty when there is none.
        leader: String,
    },
    /// This replica must not lead.
    #[error("this replica does not lead: {0}")]
    Clock(#[from] ClockError),
    /// Another change or a hand-over is under way.
    #[error("another change of the members is under way")]
    UnderWay,
    /// Nobody answers where the replica should.
    #[error("no replica of this cluster answers at {address}: {cause}")]
    Silent {
        /// Where.
        address: String,
        /// Why not.
        cause: String,
    },
    /// The replica has a history of its own.
    #[error(
        "replica {node_id} at {address} belonged to a cluster before; start it with an empty data directory to add it"
    )]
    Foreign {
        /// The replica.
        node_id: u64,
        /// Where.
        address: String,
    },
    /// The program that runs there is too old.
    #[error(
        "replica {node_id} at {address} knows the rules up to level {known}, and those of level {held} hold; run a newer version there"
    )]
    Older {
        /// The replica.
        node_id: u64,
        /// Where.
        address: String,
        /// The highest level it knows.
        known: u32,
        /// The level that holds.
        held: u32,
    },
    /// Nobody has this id.
    #[error("no member of the cluster has the node id {0}")]
    Unknown(u64),
    /// Without it there would be none.
    #[error("{0} is the only voter; add another one before it is removed")]
    Last(u64),
    /// There are enough.
    #[error("the cluster has {0} voters already, which is the most there may be")]
    Full(usize),
    /// Those that would vote could decide nothing.
    #[error("of the {count} voters there would be, {answering} answer and {} must", count / 2 + 1)]
    Minority {
        /// How many there would be.
        count: usize,
        /// How many of them answer.
        answering: usize,
    },
    /// Nobody can lead in place of this replica.
    #[error("no other voter can lead now: {0}")]
    NoSuccessor(String),
    /// No majority confirmed it in time.
    #[error("no quorum confirmed the change in time")]
    TimedOut,
    /// This replica has stopped for good, or openraft refused.
    #[error("the change was not made: {0}")]
    Refused(String),
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The replica.
    pub node_id: u64,
    /// Where it answers.
    pub address: String,
    /// Whether it votes.
    pub voting: bool,
}

/// How far a replica is that is being added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// The replica.
    pub node_id: u64,
    /// Whether it votes.
    pub voting: bool,
    /// How many entries it lacks.
    pub behind_count: u64,
    /// How many voters there are.
    pub voter_count: usize,
}

impl Consensus {
    /// The members as of the end of the log, by id.
    pub fn members(&self) -> Vec<Member> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let member = |(node_id, node): (&u64, &BasicNode)| Member {
            node_id: *node_id,
            address: node.addr.clone(),
            voting: voters.contains(node_id),
        };
        membership.nodes().map(member).collect()
    }

    /// Makes the replica that answers at an address a voter, in the place of `replaced` if that is given. Waits a while for
    /// it to catch up as a learner; to ask again goes on from there.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add(&self, address: &str, replaced: Option<u64>) -> Result<Added, ChangeError> {
        let _changing = self.begin_change().await?;
        let identity = identify(&self.cluster, address, false, ANSWER_TIME_MAX, || self.clocks.wall()).await;
        let identity = identity
            .map_err(|status| ChangeError::Silent { address: address.to_owned(), cause: cause(&status) })?;
        let node_id = identity.node_id;
        let (known, held) =
            (identity.told.as_ref().map_or(0, |told| told.feature_level), self.feature_level());
        if known < held {
            return Err(ChangeError::Older { node_id, address: address.to_owned(), known, held });
        }
        let (members, mut voters) = (self.members(), self.voters());
        let known = members.iter().find(|it| it.node_id == node_id);
        let replaced = match replaced.filter(|id| *id != node_id) {
            Some(id) if voters.contains(&id) => Some(id),
            // It took its place before.
            Some(_) if voters.contains(&node_id) => None,
            Some(id) => return Err(ChangeError::Unknown(id)),
            None => None,
        };
        if !voters.contains(&node_id) && replaced.is_none() && voters.len() >= VOTER_COUNT_MAX {
            return Err(ChangeError::Full(voters.len()));
        }
        if replaced == Some(self.node_id) {
            return Err(self.resign().await);
        }
        match known {
            None if identity.formed => {
                return Err(ChangeError::Foreign { node_id, address: address.to_owned() });
            }
            None => {
                let learner = BTreeMap::from([(node_id, BasicNode::new(address))]);
                tracing::info!(node_id, address, "adds a learner");
                self.change(ChangeMembers::AddNodes(learner)).await?;
            }
            // It answers there now, which was asked of it.
            Some(known) if known.address != address => {
                let moved = BTreeMap::from([(node_id, BasicNode::new(address))]);
                tracing::info!(node_id, from = known.address, to = address, "a member has moved");
                self.change(ChangeMembers::SetNodes(moved)).await?;
            }
            Some(_) => {}
        }
        if voters.contains(&node_id) && replaced.is_none() {
            let behind_count = self.behind_count(node_id);
            return Ok(Added { node_id, voting: true, behind_count, voter_count: voters.len() });
        }
        let behind_count = self.catch_up(node_id).await;
        if behind_count > BEHIND_COUNT_MAX {
            return Ok(Added { node_id, voting: false, behind_count, voter_count: voters.len() });
        }
        voters.insert(node_id);
        if let Some(replaced) = replaced {
            voters.remove(&replaced);
        }
        self.ensure_majority(&voters).await?;
        let voter_count = voters.len();
        tracing::info!(node_id, address, replaced, voter_count, "makes a learner a voter");
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await?;
        let behind_count = self.behind_count(node_id);
        Ok(Added { node_id, voting: true, behind_count, voter_count })
    }

    /// Takes a member out. Gives whether it was one, and how many voters there are.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn remove(&self, node_id: u64) -> Result<(bool, usize), ChangeError> {
        let _changing = self.begin_change().await?;
        let mut voters = self.voters();
        if !self.members().iter().any(|it| it.node_id == node_id) {
            return Ok((false, voters.len()));
        }
        if !voters.remove(&node_id) {
            tracing::info!(node_id, "removes a learner");
            self.change(ChangeMembers::RemoveNodes(BTreeSet::from([node_id]))).await?;
            return Ok((true, voters.len()));
        }
        if voters.is_empty() {
            return Err(ChangeError::Last(node_id));
        }
        self.ensure_majority(&voters).await?;
        if node_id == self.node_id {
            return Err(self.resign().await);
        }
        let voter_count = voters.len();
        tracing::info!(node_id, voter_count, "removes a voter");
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await?;
        Ok((true, voter_count))
    }

    /// What a new leader does first: it ends a change that the last one began, and makes the membership say where this
    /// replica answers now.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn settle(&self, address: &str) -> Result<(), ChangeError> {
        let moved = || self.members().iter().any(|it| it.node_id == self.node_id && it.address != address);
        if !self.half_changed() && !moved() {
            return Ok(());
        }
        let _changing = self.begin_change().await?;
        if moved() {
            let moved = BTreeMap::from([(self.node_id, BasicNode::new(address))]);
            self.change(ChangeMembers::SetNodes(moved)).await?;
        }
        Ok(())
    }

    /// Takes the turn to change the members, as the leader and with nothing left half done.
    pub(super) async fn begin_change(&self) -> Result<MutexGuard<'_, ()>, ChangeError> {
        self.ensure_leads()?;
        let turn = tokio::time::timeout(PATIENCE, self.changing.lock()).await;
        let turn = turn.map_err(|_| ChangeError::UnderWay)?;
        self.ensure_leads()?;
        if self.half_changed() {
            tracing::info!("ends a change of the voters that was begun before");
            self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
        }
        Ok(turn)
    }

    /// Whether the last change is between the two sets of voters, both of which decide until it ends.
    fn half_changed(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().get_joint_config().len() > 1
    }

    fn ensure_leads(&self) -> Result<(), ChangeError> {
        let standing = self.standing();
        match standing.leader {
            // Cut off, the others have another by now, and whoever asks is to look for it.
            Leader::Me { .. } if standing.deserted => Err(ChangeError::NotLeader { leader: String::new() }),
            Leader::Me { .. } => Ok(self.clocks.trust().permits()?),
            Leader::Other { address } => Err(ChangeError::NotLeader { leader: address }),
            Leader::Nobody => Err(ChangeError::NotLeader { leader: String::new() }),
            Leader::Stopped(reason) => Err(ChangeError::Refused(reason)),
        }
    }

    /// Hands the leadership over, because this replica is about to be removed: whoever asked is sent to the new leader.
    async fn resign(&self) -> ChangeError {
        match self.hand_over_in_turn(None).await {
            Ok(handed) => ChangeError::NotLeader { leader: handed.address },
            Err(error) => error,
        }
    }

    /// Commits a change, through the joint set of voters where there is one.
    async fn change(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), ChangeError> {
        let raft = self.raft.clone();
        // A task of its own: half a change must not be left because nobody waits for it any more.
        let changed = tokio::spawn(async move { raft.change_membership(change, false).await });
        match tokio::time::timeout(CHANGE_TIME_MAX, changed).await {
            Ok(Ok(Ok(_))) => Ok(()),
            // It was given up by another leader, or was taken on by it: to ask there finds out.
            Ok(Ok(Err(RaftError::APIError(
                ClientWriteError::ForwardToLeader(forward) | ClientWriteError::LogEntryDiscarded(forward),
            )))) => {
                let leader = forward.leader_node.map(|node| node.addr).unwrap_or_default();
                Err(ChangeError::NotLeader { leader })
            }
            Ok(Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))))) => match error {
                openraft::error::ChangeMembershipError::InProgress(_) => Err(ChangeError::UnderWay),
                error => Err(ChangeError::Refused(error.to_string())),
            },
            Ok(Ok(Err(RaftError::APIError(ClientWriteError::PreconditionFailed(error))))) => {
                Err(ChangeError::Refused(error.to_string()))
            }
            Ok(Ok(Err(RaftError::Fatal(error)))) => Err(ChangeError::Refused(error.to_string())),
            Ok(Err(error)) => Err(ChangeError::Refused(error.to_string())),
            Err(_) => Err(ChangeError::TimedOut),
        }
    }

    /// Who votes, by id.
    pub(super) fn voters(&self) -> BTreeSet<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.membership().voter_ids().collect()
    }

    /// How many entries of this leader's log a member lacks, as far as is known here.
    fn behind_count(&self, node_id: u64) -> u64 {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let has = metrics.replication.as_ref().and_then(|them| them.get(&node_id).copied().flatten());
        // Entries are counted from zero.
        let end = |index: Option<u64>| index.map_or(0, |index| index + 1);
        end(metrics.last_log_index).saturating_sub(end(has.map(|log_id| log_id.index)))
    }

    /// Waits a while until a learner has nearly all of the log; gives how many entries it lacks.
    async fn catch_up(&self, node_id: u64) -> u64 {
        let (mut changes, until) = (self.watch(), Instant::now() + PATIENCE);
        loop {
            let behind_count = self.behind_count(node_id);
            if behind_count <= BEHIND_COUNT_MAX && self.heard_of(node_id) {
                return behind_count;
            }
            match tokio::time::timeout_at(until, changes.changed()).await {
                Ok(true) => {}
                // Whoever was never heard of has nothing, however short the log is.
                Ok(false) | Err(_) => return behind_count.max(BEHIND_COUNT_MAX + 1),
            }
        }
    }

    /// Whether a member has confirmed any part of the log to this leader.
    fn heard_of(&self, node_id: u64) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.replication.as_ref().is_some_and(|them| them.get(&node_id).is_some_and(Option::is_some))
    }

    /// Whether a majority of these answers, this replica included.
    async fn ensure_majority(&self, voters: &BTreeSet<u64>) -> Result<(), ChangeError> {
        let answering = self.answering(voters).await.len();
        match answering * 2 > voters.len() {
            true => Ok(()),
            false => Err(ChangeError::Minority { count: voters.len(), answering }),
        }
    }

    /// Which of these answer, this replica included.
    pub(super) async fn answering(&self, voters: &BTreeSet<u64>) -> BTreeSet<u64> {
        let mut asked = JoinSet::new();
        for Member { node_id, address, .. } in self.members() {
            if !voters.contains(&node_id) || node_id == self.node_id {
                continue;
            }
            let (cluster, clocks) = (self.cluster.clone(), self.clocks.clone());
            asked.spawn(async move {
                let answered = identify(&cluster, &address, false, ANSWER_TIME_MAX, || clocks.wall()).await;
                answered.ok().map(|it| it.node_id).filter(|answered| *answered == node_id)
            });
        }
        let own = voters.get(&self.node_id).copied();
        asked.join_all().await.into_iter().flatten().chain(own).collect()
    }
}
