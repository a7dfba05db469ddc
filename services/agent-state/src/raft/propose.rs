//! Group commit: the commands that wait while an entry is being made durable are the next entry.
//!
//! A write to disk and a round trip cost the same for one command and for many.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::{ClientWriteError, ForwardReason, RaftError};
use prost::Message;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use trunkline_domain::agent_state::{Reply, WISH_COUNT_MAX};
use trunkline_proto::agent_state::v1 as api;

use super::quorum::Quorum;
use super::types::{Applied, Proposed, Raft, TypeConfig};
use crate::clocks::ClockError;

/// Commands that may wait; the next is refused.
const WAITING_COUNT_MAX: usize = 4096;
/// Commands in one entry.
const BATCH_COUNT_MAX: usize = 256;
/// Bytes in one entry, about.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Why there is no reply. But for [`ProposeError::TimedOut`] and [`ProposeError::Stopped`] nothing was taken; after these
/// the command may or may not take effect: the same command id finds out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads, at this address, or none that is known.
    #[error("{}", if leader.is_empty() { "no quorum: this replica knows of no leader" } else { "this replica does not lead" })]
    NotLeader {
        /// Where the leader answers; empty when there is none.
        leader: String,
    },
    /// This replica leads, and no majority answers it.
    #[error("no quorum: too few voters answer the leader")]
    NoQuorum,
    /// Too many commands wait.
    #[error("too many commands wait")]
    Overloaded,
    /// This replica must not lead.
    #[error("this replica does not lead: {0}")]
    Clock(#[from] ClockError),
    /// No quorum confirmed it in time.
    #[error("no quorum confirmed the command in time")]
    TimedOut,
    /// This replica has stopped for good.
    #[error("this replica has stopped: {0}")]
    Stopped(String),
}

/// How often it is looked whether a majority answers while an entry is under way.
const QUORUM_LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a leader without a lease tries again.
const LEASE_LOOK_EVERY: Duration = Duration::from_millis(2);

type Written = openraft::raft::ClientWriteResponse<TypeConfig>;
type Refused = ClientWriteError<TypeConfig>;

/// How long a rider waits for an entry to be taken along in.
const RIDE_WAIT_MAX: Duration = Duration::from_millis(50);

struct Waiting {
    command: api::LoggedCommand,
    /// `None` for a rider.
    reply: Option<oneshot::Sender<Result<(u64, Reply), ProposeError>>>,
}

/// A command nobody waits for, which is no reason for an entry of its own: it goes along with the next one.
#[derive(Default)]
struct Rider {
    command: std::sync::Mutex<Option<api::LoggedCommand>>,
    came: Notify,
}

impl Rider {
    fn seat(&self) -> std::sync::MutexGuard<'_, Option<api::LoggedCommand>> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it, when it has waited for long enough.
    async fn waited(&self) -> api::LoggedCommand {
        loop {
            if self.seat().is_none() {
                self.came.notified().await;
                continue;
            }
            tokio::time::sleep(RIDE_WAIT_MAX).await;
            if let Some(command) = self.seat().take() {
                return command;
            }
        }
    }
}

/// Takes commands. Cheap to clone; clones share the queue.
#[derive(Clone)]
pub struct Proposer {
    queue: mpsc::Sender<Waiting>,
    rider: Arc<Rider>,
}

/// Whose turn it is to write: one entry is under way at a time, and none while the leadership is handed over.
pub type Turn = Arc<Mutex<()>>;

impl Proposer {
    /// Starts the queue in front of a replica. It ends when the last clone is gone.
    pub fn start(raft: Raft, quorum: Quorum, turn: Turn, time_max: Duration) -> Self {
        let (sender, queue) = mpsc::channel(WAITING_COUNT_MAX);
        let rider = Arc::new(Rider::default());
        tokio::spawn(run(Writer { raft, quorum, time_max }, turn, queue, rider.clone()));
        Self { queue: sender, rider }
    }

    /// Has a command taken along in the next entry, or in one of its own when none comes soon. It takes the place of one
    /// that waits still. Nobody hears what comes of it.
    pub fn take_along(&self, command: api::LoggedCommand) {
        *self.rider.seat() = Some(command);
        self.rider.came.notify_one();
    }

    /// Proposes a command and waits for the index of its entry and what applying it answered.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, command: api::LoggedCommand) -> Result<(u64, Reply), ProposeError> {
        let (reply, answered) = oneshot::channel();
        self.queue.try_send(Waiting { command, reply: Some(reply) }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped("shut down".to_owned()),
        })?;
        answered.await.unwrap_or_else(|_| Err(ProposeError::Stopped("shut down".to_owned())))
    }
}

async fn run(writer: Writer, turn: Turn, mut queue: mpsc::Receiver<Waiting>, rider: Arc<Rider>) {
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(waiting) => waiting,
            None => tokio::select! {
                biased;
                waiting = queue.recv() => match waiting {
                    Some(waiting) => waiting,
                    None => return,
                },
                command = rider.waited() => Waiting { command, reply: None },
            },
        };
        // Also before the batch is made: what comes while others have their turn belongs to it.
        let _turn = turn.lock().await;
        let mut size = Size::default();
        let _ = size.add(&first.command);
        let mut batch = vec![first];
        while batch.len() < BATCH_COUNT_MAX {
            match queue.try_recv() {
                Ok(waiting) if size.add(&waiting.command) => batch.push(waiting),
                Ok(waiting) => {
                    left_over = Some(waiting);
                    break;
                }
                Err(_) => break,
            }
        }
        batch.extend(rider.seat().take().map(|command| Waiting { command, reply: None }));
        writer.commit(batch).await;
    }
}

/// What one entry holds already.
#[derive(Default)]
struct Size {
    bytes: usize,
    wishes: usize,
}

impl Size {
    /// Adds a command if there is room for it.
    fn add(&mut self, command: &api::LoggedCommand) -> bool {
        let bytes = self.bytes + command.encoded_len();
        let wishes = self.wishes
            + match &command.action {
                Some(api::logged_command::Action::ReserveAgents(it)) => it.wishes.len(),
                _ => 0,
            };
        let fits = bytes <= BATCH_BYTES_MAX && wishes <= WISH_COUNT_MAX;
        if fits {
            (self.bytes, self.wishes) = (bytes, wishes);
        }
        fits
    }
}

struct Writer {
    raft: Raft,
    quorum: Quorum,
    time_max: Duration,
}

impl Writer {
    async fn commit(&self, batch: Vec<Waiting>) {
        let (commands, replies): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|it| (it.command, it.reply)).unzip();
        let payload = api::LoggedBatch { commands }.encode_to_vec();
        match self.write(Proposed(payload)).await {
            Ok((index, Applied(answers))) => {
                debug_assert_eq!(answers.len(), replies.len(), "one answer a command");
                for (reply, answer) in replies.into_iter().zip(answers) {
                    match (reply, answer) {
                        // Whoever asked may have gone; the command counts all the same.
                        (Some(reply), answer) => drop(reply.send(Ok((index, answer)))),
                        (None, Ok(_)) => {}
                        (None, Err(rejection)) => {
                            tracing::error!(%rejection, "a command of the leader's own was rejected");
                        }
                    }
                }
            }
            Err(error) => {
                for reply in replies.into_iter().flatten() {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    async fn write(&self, entry: Proposed) -> Result<(u64, Applied), ProposeError> {
        if self.quorum.silent(&self.raft.metrics().borrow_watched()) {
            return Err(ProposeError::NoQuorum);
        }
        let written = tokio::select! {
            biased;
            written = self.write_leased(entry) => written,
            () = self.in_vain() => return Err(ProposeError::TimedOut),
        };
        match written {
            Ok(response) => Ok((response.log_id.index, response.data)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                let leader = forward.leader_node.map(|node| node.addr).unwrap_or_default();
                Err(ProposeError::NotLeader { leader })
            }
            // Another leader may have it, or not.
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => Err(ProposeError::TimedOut),
            Err(RaftError::APIError(
                error
                @ (ClientWriteError::ChangeMembershipError(_) | ClientWriteError::PreconditionFailed(_)),
            )) => Err(ProposeError::Stopped(error.to_string())),
            Err(RaftError::Fatal(error)) => Err(ProposeError::Stopped(error.to_string())),
        }
    }

    /// Writes an entry. openraft 0.10 takes none while no majority has answered its leader within the lease, which is also
    /// so in the first moments of a leader; that is waited for, and nothing was taken meanwhile.
    async fn write_leased(&self, entry: Proposed) -> Result<Written, RaftError<TypeConfig, Refused>> {
        loop {
            match self.raft.client_write(entry.clone()).await {
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))
                    if forward.reason == ForwardReason::LeaseExpired =>
                {
                    tokio::time::sleep(LEASE_LOOK_EVERY).await;
                }
                written => return written,
            }
        }
    }

    /// Resolves when an entry that is under way need not be waited for any more.
    async fn in_vain(&self) {
        let mut metrics = self.raft.metrics();
        let silent = async {
            // Also without a change: silence is none.
            while !matches!(tokio::time::timeout(QUORUM_LOOK_EVERY, metrics.changed()).await, Ok(Err(_))) {
                if self.quorum.silent(&metrics.borrow_and_update()) {
                    return;
                }
            }
            std::future::pending().await
        };
        // Silent or not, the time has an end.
        let _ = tokio::time::timeout(self.time_max, silent).await;
    }
}
