//! The leadership handed over to another voter, without the pause of an election.
//!
//! openraft's voters refuse every candidate for as long as they heard of their leader a moment ago, so an election alone
//! would wait for that to pass. The leader's leave is what ends it (Ongaro's dissertation, §3.10 and §4.2.3):
//!
//! 1. The leader takes no commands, and has none under way. It asks a voter that has all of its log to take over.
//! 2. That voter waits until its log is durable, and stands for election with the leader's leave in its request.
//! 3. It is elected by the usual rules: who has more of the log refuses.
//!
//! openraft's own `trigger().transfer_leader()` is not used: its leader takes nothing any more once it has asked, whether or
//! not anybody takes over.
//!
//! What is absent: a way for a voter to become leader without a majority's votes, and any step that the loss of a message
//! makes wrong. The worst is an election as if the leader had died, without the wait for its lease.

use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use tokio::time::Instant;
use tonic::{Request, Status};
use trunkline_proto::agent_state::v1 as api;

use super::members::ChangeError;
use super::types::Vote;
use super::{Consensus, Leader, network};

/// How long all of it may take: shorter than an election, which it is to be better than.
const HAND_OVER_TIME_MAX: Duration = Duration::from_secs(1);
/// How long it may take with finding out who could lead, before this replica stops.
const LEAVE_TIME_MAX: Duration = Duration::from_millis(1_500);
/// How long the voter that is asked may take to answer: it waits for its disk.
const TAKE_OVER_TIME_MAX: Duration = Duration::from_millis(500);

/// Who leads after a hand-over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// The replica.
    pub node_id: u64,
    /// Where it answers.
    pub address: String,
    /// Whether it led before.
    pub led_before: bool,
    /// For how long nobody took commands.
    pub paused: Duration,
}

/// Why a voter does not take over. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TakeOverError {
    /// Its clock.
    #[error(transparent)]
    Clock(#[from] crate::clocks::ClockError),
    /// It follows somebody else.
    #[error("it does not follow {0} in term {1}")]
    OtherLeader(u64, u64),
    /// It lacks entries.
    #[error("its log ends before {0}")]
    Behind(u64),
    /// It has no vote.
    #[error("it does not vote")]
    Learner,
    /// It stops.
    #[error("it is about to stop")]
    Leaving,
    /// Its disk is slow, or the term has passed.
    #[error("it could not stand: {0}")]
    Refused(String),
    /// It has stopped for good.
    #[error("it has stopped")]
    Stopped,
}

impl Consensus {
    /// Makes another voter the leader: the given one, or whichever is best placed.
    ///
    /// # Errors
    /// See [`ChangeError`]. Then this replica leads on, or did not lead.
    pub async fn hand_over(&self, to: Option<u64>) -> Result<HandedOver, ChangeError> {
        let _changing = self.begin_change().await?;
        if to == Some(self.node_id) {
            let own = self.members().into_iter().find(|it| it.node_id == self.node_id);
            let address = own.map(|it| it.address).unwrap_or_default();
            return Ok(HandedOver {
                node_id: self.node_id,
                address,
                led_before: true,
                paused: Duration::ZERO,
            });
        }
        self.hand_over_in_turn(to).await
    }

    /// Before this replica stops: it takes the leadership over from nobody any more, and hands it over if it has it. Bounded
    /// by about a second, whatever comes of it.
    ///
    /// # Errors
    /// See [`ChangeError`]: the others will elect.
    pub async fn leave(&self) -> Result<(), ChangeError> {
        self.leaving.store(true, Ordering::Relaxed);
        if !matches!(self.standing().leader, Leader::Me { .. }) {
            return Ok(());
        }
        let handed = tokio::time::timeout(LEAVE_TIME_MAX, self.hand_over(None)).await;
        handed.unwrap_or(Err(ChangeError::TimedOut)).map(drop)
    }

    /// As [`Consensus::hand_over`], by who has the turn to change the members.
    pub(super) async fn hand_over_in_turn(&self, to: Option<u64>) -> Result<HandedOver, ChangeError> {
        let successors = self.successors(to).await?;
        let until = Instant::now() + HAND_OVER_TIME_MAX;
        // From here on commands wait; the entry under way is committed first.
        let turn = tokio::time::timeout_at(until, self.turn.lock()).await;
        let _turn = turn.map_err(|_| ChangeError::TimedOut)?;
        let (begun, term) = (Instant::now(), self.standing().term);
        let mut refusals = Vec::new();
        for (node_id, address) in successors {
            let asked = match self.wait_for(until, |it| it.has_all(node_id)).await {
                true => self.ask_to_take_over(node_id, &address, term, until).await,
                false => Err("it lacks the end of the log".to_owned()),
            };
            // Who did not answer in time may have begun all the same.
            if let Err(why) = asked
                && self.leads_in(term)
            {
                refusals.push(format!("{node_id} at {address}: {why}"));
                continue;
            }
            if self.wait_for(until, |it| it.follows_in_later_term(term)).await {
                let leader = self.raft.metrics().borrow_watched().current_leader.unwrap_or(node_id);
                let member = self.members().into_iter().find(|it| it.node_id == leader);
                let address = member.map_or(address, |it| it.address);
                let paused = begun.elapsed();
                tracing::info!(
                    node_id = leader,
                    address,
                    paused_ms = paused.as_millis(),
                    "handed the leadership over"
                );
                return Ok(HandedOver { node_id: leader, address, led_before: false, paused });
            }
            return Err(ChangeError::TimedOut);
        }
        Err(ChangeError::NoSuccessor(refusals.join("; ")))
    }

    /// The other voters that answer, and where, those first that have most of the log; or the one that is wanted.
    async fn successors(&self, to: Option<u64>) -> Result<Vec<(u64, String)>, ChangeError> {
        let voters = self.voters();
        if let Some(unknown) = to.filter(|id| !voters.contains(id)) {
            return Err(ChangeError::Unknown(unknown));
        }
        if voters.iter().eq([&self.node_id]) {
            return Err(ChangeError::NoSuccessor("there is no other voter".to_owned()));
        }
        let answering = self.answering(&voters).await;
        if answering.len() * 2 <= voters.len() {
            return Err(ChangeError::Minority { count: voters.len(), answering: answering.len() });
        }
        if let Some(silent) = to.filter(|id| !answering.contains(id)) {
            return Err(ChangeError::NoSuccessor(format!("{silent} does not answer")));
        }
        let wanted = |node_id: u64| to.map_or(node_id != self.node_id, |to| to == node_id);
        let members = self.members().into_iter();
        let members = members.filter(|it| answering.contains(&it.node_id) && wanted(it.node_id));
        let mut successors: Vec<_> = members.map(|it| (it.node_id, it.address)).collect();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let has = |node_id: u64| metrics.replication.as_ref().and_then(|them| *them.get(&node_id)?);
        successors.sort_by_key(|(node_id, _)| std::cmp::Reverse(has(*node_id)));
        Ok(successors)
    }

    async fn ask_to_take_over(
        &self,
        node_id: u64,
        address: &str,
        term: u64,
        until: Instant,
    ) -> Result<(), String> {
        let mut request = Request::new(api::TakeOverRequest {
            cluster: self.cluster.clone(),
            source_node_id: self.node_id,
            target_node_id: node_id,
            term,
            last_index: self.standing().last_index,
        });
        let time_max = TAKE_OVER_TIME_MAX.min(until.saturating_duration_since(Instant::now()));
        request.set_timeout(time_max);
        let mut client = network::client(address);
        match tokio::time::timeout(time_max, client.take_over(request)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(network::cause(&status)),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }

    /// Stands for election at once, because the leader asked for it in this term and at this end of its log.
    ///
    /// # Errors
    /// See [`TakeOverError`].
    pub async fn take_over(&self, leader: u64, term: u64, last_index: u64) -> Result<(), TakeOverError> {
        self.clocks.trust().permits()?;
        if self.leaving.load(Ordering::Relaxed) {
            return Err(TakeOverError::Leaving);
        }
        {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            if metrics.current_term != term || metrics.current_leader != Some(leader) {
                return Err(TakeOverError::OtherLeader(leader, term));
            }
            if metrics.state != ServerState::Follower {
                return Err(TakeOverError::Learner);
            }
            if metrics.last_log_index < Some(last_index) {
                return Err(TakeOverError::Behind(last_index));
            }
        }
        tracing::info!(leader, term, "takes over from the leader");
        let last = self.wal.memory().last_log_id();
        let leave = TransferLeaderRequest::new(Vote::new_committed(term, leader), self.node_id, last);
        match self.raft.handle_transfer_leader(leave).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(TakeOverError::Refused(error.to_string())),
            Err(_) => Err(TakeOverError::Stopped),
        }
    }

    fn leads_in(&self, term: u64) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.state == ServerState::Leader && metrics.current_term == term
    }

    /// Waits until something is so; says whether it became so in time.
    async fn wait_for(&self, until: Instant, so: impl Fn(Seen<'_>) -> bool + Sync) -> bool {
        let mut metrics = self.raft.metrics();
        let became = metrics.wait_until(|metrics| so(Seen { own: self.node_id, metrics }));
        tokio::time::timeout_at(until, became).await.is_ok_and(|became| became.is_ok())
    }
}

/// What a replica sees of the others.
struct Seen<'a> {
    own: u64,
    metrics: &'a super::types::Metrics,
}

impl Seen<'_> {
    /// Whether a voter has all of this leader's log.
    fn has_all(&self, node_id: u64) -> bool {
        let has = self.metrics.replication.as_ref().and_then(|them| *them.get(&node_id)?);
        has.map(|log_id| log_id.index) >= self.metrics.last_log_index
    }

    fn follows_in_later_term(&self, term: u64) -> bool {
        self.metrics.current_term > term && self.metrics.current_leader.is_some_and(|it| it != self.own)
    }
}

impl From<TakeOverError> for Status {
    fn from(error: TakeOverError) -> Self {
        use trunkline_runtime::grpc::{RejectionKind, status_of};
        status_of(RejectionKind::FailedPrecondition, "CANNOT_LEAD", error.to_string())
    }
}
