//! A snapshot that arrives in parts, put together and handed to openraft.
//!
//! openraft 0.10.0-alpha.37 forgets the entries a snapshot covers as soon as it is told of it, and stops for good when it is
//! to apply one of them before the snapshot is in place (`run_save_committed_and_apply`, its issue #2116). That takes an
//! installation that waits in its queue: behind another one, or behind the disk while the vote for a new leader is being
//! made durable. So they come one after the other, and none before that vote is durable.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::{Fatal, RaftError};
use openraft::raft::SnapshotResponse;
use tokio::sync::Mutex;
use tonic::Status;
use trunkline_runtime::grpc::{RejectionKind, status_of};

use super::message::Chunk;
use super::types::{Raft, SnapshotMeta, TypeConfig, Vote};

/// How long the disk is waited for. A leader that has heard nothing by then sends the snapshot anew.
const VOTE_TIME_MAX: Duration = Duration::from_secs(2);

/// What is on its way. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub struct Receiver {
    begun: Arc<std::sync::Mutex<Option<Partial>>>,
    /// Held while one is being installed.
    installing: Arc<Mutex<()>>,
}

/// The parts that came.
struct Partial {
    vote: Vote,
    meta: SnapshotMeta,
    state: Vec<u8>,
}

/// What the sender is told.
pub type Answer = Result<SnapshotResponse<TypeConfig>, RaftError<TypeConfig>>;

impl Receiver {
    /// Takes a part; the answer to the last comes when the snapshot is in place.
    ///
    /// # Errors
    /// When it does not follow on the parts before; the sender begins again.
    pub async fn take(&self, raft: &Raft, chunk: Chunk) -> Result<Answer, Status> {
        let own = match raft.with_raft_state(|state| *state.vote_ref()).await {
            Ok(vote) => vote,
            Err(fatal) => return Ok(Err(fatal.into())),
        };
        if chunk.vote < own {
            return Ok(Ok(SnapshotResponse::new(own)));
        }
        let Some((vote, meta, state)) = self.add(chunk)? else {
            return Ok(Ok(SnapshotResponse::new(own)));
        };
        let mut metrics = raft.metrics();
        // What it tells of its vote is as of the disk.
        let followed = metrics.wait_until(|metrics| metrics.vote >= vote);
        if !matches!(tokio::time::timeout(VOTE_TIME_MAX, followed).await, Ok(Ok(_))) {
            return Err(Status::unavailable("this replica does not follow the sender yet"));
        }
        let (raft, turn) = (raft.clone(), self.installing.clone().lock_owned().await);
        // A task of its own: the sender may go, and the turn must last until the snapshot is in place.
        let installed = tokio::spawn(async move {
            let installed = raft.install_full_snapshot(vote, meta.with(state)).await;
            drop(turn);
            installed
        });
        let installed = installed.await.unwrap_or(Err(Fatal::Panicked));
        Ok(installed.map_err(RaftError::from))
    }

    /// Adds a part; gives the whole with the last.
    fn add(&self, chunk: Chunk) -> Result<Option<(Vote, SnapshotMeta, Vec<u8>)>, Status> {
        let mut begun = self.begun.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Chunk { vote, meta, offset, data, done } = chunk;
        let mut partial = match begun.take() {
            _ if offset == 0 => Partial { vote, meta, state: Vec::new() },
            Some(it) if (it.vote, &it.meta) == (vote, &meta) && it.state.len() as u64 == offset => it,
            _ => {
                let message = format!("no part of a snapshot before {offset} has come");
                return Err(status_of(RejectionKind::FailedPrecondition, "SNAPSHOT_PART", message));
            }
        };
        partial.state.extend_from_slice(&data);
        if done {
            return Ok(Some((partial.vote, partial.meta, partial.state)));
        }
        *begun = Some(partial);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_to_a_snapshot_in_their_order_alone() {
        let receiver = Receiver::default();
        let meta = SnapshotMeta { snapshot_id: "1-1-9-0".to_owned(), ..SnapshotMeta::default() };
        let chunk = |term, offset, data: &[u8], done| Chunk {
            vote: Vote::new_committed(term, 1),
            meta: meta.clone(),
            offset,
            data: data.to_vec(),
            done,
        };
        let whole = |chunk| receiver.add(chunk).unwrap().map(|(_, _, state)| state);
        assert_eq!(whole(chunk(1, 0, b"ab", false)), None);
        assert_eq!(whole(chunk(1, 2, b"cd", false)), None);
        assert_eq!(whole(chunk(1, 4, b"e", true)), Some(b"abcde".to_vec()));
        // One that begins anew, one that leaves a hole, and one of another leader.
        assert_eq!(whole(chunk(1, 0, b"ab", false)), None);
        assert_eq!(whole(chunk(1, 0, b"xy", false)), None);
        assert!(receiver.add(chunk(1, 3, b"z", true)).is_err());
        assert_eq!(whole(chunk(1, 0, b"ab", false)), None);
        assert!(receiver.add(chunk(2, 2, b"z", true)).is_err());
        assert!(receiver.add(chunk(1, 2, b"z", true)).is_err(), "what was begun is given up");
        assert_eq!(whole(chunk(2, 0, b"", true)), Some(Vec::new()));
    }
}
