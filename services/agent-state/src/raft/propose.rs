//! Group commit: the commands that wait while an entry is being made durable are the next entry.
//!
//! openraft 0.9 waits for the disk once an entry, so many commands must share one.

use std::time::Duration;

use openraft::error::{ClientWriteError, RaftError};
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use trunkline_domain::agent_state::{Reply, WISH_COUNT_MAX};
use trunkline_proto::agent_state::v1 as api;

use super::types::{Proposed, Raft};
use crate::clocks::ClockError;

/// Commands that may wait; the next is refused.
const WAITING_COUNT_MAX: usize = 4096;
/// Commands in one entry.
const BATCH_COUNT_MAX: usize = 256;
/// Bytes in one entry, about.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Why there is no reply. But for [`ProposeError::NotLeader`], [`ProposeError::Overloaded`] and [`ProposeError::Clock`] the
/// command may or may not take effect: the same command id finds out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Another replica leads, at this address, or none that is known.
    #[error("this replica does not lead")]
    NotLeader {
        /// Where the leader answers; empty when there is none.
        leader: String,
    },
    /// Too many commands wait. Nothing was taken.
    #[error("too many commands wait")]
    Overloaded,
    /// This replica must not lead. Nothing was taken.
    #[error("this replica does not lead: {0}")]
    Clock(#[from] ClockError),
    /// No quorum confirmed it in time.
    #[error("no quorum confirmed the command in time")]
    TimedOut,
    /// This replica has stopped for good.
    #[error("this replica has stopped: {0}")]
    Stopped(String),
}

struct Waiting {
    command: api::LoggedCommand,
    reply: oneshot::Sender<Result<(u64, Reply), ProposeError>>,
}

/// Takes commands. Cheap to clone; clones share the queue.
#[derive(Clone)]
pub struct Proposer(mpsc::Sender<Waiting>);

impl Proposer {
    /// Starts the queue in front of a replica. It ends when the last clone is gone.
    pub fn start(raft: Raft, time_max: Duration) -> Self {
        let (sender, queue) = mpsc::channel(WAITING_COUNT_MAX);
        tokio::spawn(run(raft, queue, time_max));
        Self(sender)
    }

    /// Proposes a command and waits for the index of its entry and what applying it answered.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, command: api::LoggedCommand) -> Result<(u64, Reply), ProposeError> {
        let (reply, answered) = oneshot::channel();
        self.0.try_send(Waiting { command, reply }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => ProposeError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => ProposeError::Stopped("shut down".to_owned()),
        })?;
        answered.await.unwrap_or_else(|_| Err(ProposeError::Stopped("shut down".to_owned())))
    }
}

async fn run(raft: Raft, mut queue: mpsc::Receiver<Waiting>, time_max: Duration) {
    let mut left_over = None;
    loop {
        let first = match left_over.take() {
            Some(waiting) => waiting,
            None => match queue.recv().await {
                Some(waiting) => waiting,
                None => return,
            },
        };
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
        commit(&raft, batch, time_max).await;
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

async fn commit(raft: &Raft, batch: Vec<Waiting>, time_max: Duration) {
    let (commands, replies): (Vec<_>, Vec<_>) = batch.into_iter().map(|it| (it.command, it.reply)).unzip();
    let payload = api::LoggedBatch { commands }.encode_to_vec();
    let written = tokio::time::timeout(time_max, raft.client_write(Proposed(payload))).await;
    let answers = match written {
        Err(_) => Err(ProposeError::TimedOut),
        Ok(Ok(response)) => Ok((response.log_id.index, response.data.0)),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward)))) => {
            let leader = forward.leader_node.map(|node| node.addr).unwrap_or_default();
            Err(ProposeError::NotLeader { leader })
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => {
            Err(ProposeError::Stopped(error.to_string()))
        }
        Ok(Err(RaftError::Fatal(error))) => Err(ProposeError::Stopped(error.to_string())),
    };
    match answers {
        Ok((index, answers)) => {
            debug_assert_eq!(answers.len(), replies.len(), "one answer a command");
            for (reply, answer) in replies.into_iter().zip(answers) {
                // Whoever asked may have gone; the command counts all the same.
                let _ = reply.send(Ok((index, answer)));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(error.clone()));
            }
        }
    }
}
