//! Agents and their changes, told to whoever watches, for as long as they do.
//!
//! A message is the state at one Raft index, of all agents or of those that changed behind the last message. Who reads
//! slowly gets fewer and larger messages, never an older state behind a newer one. Nothing here asks a quorum: what is
//! told has been applied, and may be superseded the moment it is told.

use std::collections::VecDeque;
use std::time::Duration;

use futures::Stream;
use futures::stream::unfold;
use tokio::sync::watch;
use tonic::Status;
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::shutdown::Shutdown;

use crate::raft::{Changes, Consensus, Leader, ProposeError};
use crate::service::unanswered;
use crate::view::{agent_view, all_agents};

/// After so long without a change an empty message says that the stream is alive.
const ALIVE_AFTER: Duration = Duration::from_secs(5);
/// Agents in one message. A whole cluster comes in several, of which the first alone says that it is whole.
const AGENT_COUNT_MAX: usize = 1_000;

/// One who watches.
struct Watcher {
    consensus: Consensus,
    shutdown: Shutdown,
    applied: watch::Receiver<u64>,
    changes: Changes,
    stale_ok: bool,
    /// The index of the last message; `None` before the first.
    told: Option<u64>,
    /// Where the caller has got to by another stream; nothing older is told.
    after_index: u64,
    /// Messages of one index that are not sent yet.
    waiting: VecDeque<api::WatchAgentsResponse>,
}

/// The messages for one who watches.
pub fn watch(
    consensus: &Consensus,
    shutdown: &Shutdown,
    request: &api::WatchAgentsRequest,
) -> impl Stream<Item = Result<api::WatchAgentsResponse, Status>> + Send + 'static {
    let watcher = Watcher {
        consensus: consensus.clone(),
        shutdown: shutdown.clone(),
        applied: consensus.machine().applied(),
        changes: consensus.watch(),
        stale_ok: request.stale_ok,
        told: None,
        after_index: request.after_index,
        waiting: VecDeque::new(),
    };
    unfold(Some(watcher), async |watcher| {
        let mut watcher = watcher?;
        match watcher.next().await {
            Ok(message) => Some((Ok(message), Some(watcher))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

impl Watcher {
    async fn next(&mut self) -> Result<api::WatchAgentsResponse, Status> {
        let alive_at = tokio::time::Instant::now() + ALIVE_AFTER;
        loop {
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            let stale = self.leads()?;
            if self.look(stale) {
                continue;
            }
            tokio::select! {
                biased;
                () = self.shutdown.begun() => return Err(Status::unavailable("this replica is shutting down")),
                // Senders live as long as the replica; a replica that stops ends the process.
                more = self.applied.changed() => if more.is_err() {
                    return Err(Status::unavailable("this replica has stopped"));
                },
                more = self.changes.changed() => if !more {
                    return Err(Status::unavailable("this replica has stopped"));
                },
                () = tokio::time::sleep_until(alive_at) => {
                    let raft_index = self.told.unwrap_or(self.after_index);
                    let feature_level = self.consensus.feature_level();
                    let alive = api::WatchAgentsResponse { raft_index, stale, feature_level, ..Default::default() };
                    return Ok(alive);
                }
            }
        }
    }

    /// Whether what this replica tells may be stale.
    ///
    /// # Errors
    /// When it does not lead and that is not good enough.
    fn leads(&self) -> Result<bool, Status> {
        match self.consensus.standing().leader {
            Leader::Me { .. } => Ok(false),
            _ if self.stale_ok => Ok(true),
            Leader::Other { address } => Err(unanswered(&ProposeError::NotLeader { leader: address })),
            Leader::Nobody => Err(Status::unavailable("no leader")),
            Leader::Stopped(reason) => Err(Status::unavailable(reason)),
        }
    }

    /// Puts into `waiting` what is new; `false` when nothing is.
    fn look(&mut self, stale: bool) -> bool {
        let view = self.consensus.machine().view();
        let raft_index = view.last_applied.map_or(0, |log_id| log_id.index);
        // A replica that is behind what the caller has seen would take it back in time.
        if raft_index < self.after_index || self.told == Some(raft_index) {
            return false;
        }
        let from = self.told.unwrap_or(self.after_index);
        let changed = if from == 0 { None } else { view.feed.after(from) };
        let state = view.machine.state();
        let (whole, agents) = match changed {
            Some(changed) if changed.is_empty() && self.told.is_some() => {
                self.told = Some(raft_index);
                return false;
            }
            Some(changed) => (false, changed.iter().map(|agent_id| agent_view(agent_id, state)).collect()),
            None => (true, all_agents(state)),
        };
        let feature_level = state.feature_level;
        drop(view);
        self.told = Some(raft_index);
        self.waiting = parts(agents, raft_index, whole, stale);
        self.waiting.iter_mut().for_each(|part| part.feature_level = feature_level);
        true
    }
}

/// Messages of a size that fits. The last of them alone bears the index: who is cut off before asks from where it was.
fn parts(
    agents: Vec<api::AgentView>,
    raft_index: u64,
    whole: bool,
    stale: bool,
) -> VecDeque<api::WatchAgentsResponse> {
    let mut parts: VecDeque<_> = agents
        .chunks(AGENT_COUNT_MAX)
        .map(|agents| api::WatchAgentsResponse { agents: agents.to_vec(), stale, ..Default::default() })
        .collect();
    if parts.is_empty() {
        parts.push_back(api::WatchAgentsResponse { stale, ..Default::default() });
    }
    if let Some(first) = parts.front_mut() {
        first.whole = whole;
    }
    if let Some(last) = parts.back_mut() {
        last.raft_index = raft_index;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_cluster_comes_in_parts_of_which_the_first_is_whole_and_the_last_has_the_index() {
        let shape = |count: usize| {
            let parts = parts(vec![api::AgentView::default(); count], 7, true, false);
            let one = |it: &api::WatchAgentsResponse| (it.agents.len(), it.whole, it.raft_index);
            parts.iter().map(one).collect::<Vec<_>>()
        };
        assert_eq!(shape(0), [(0, true, 7)]);
        assert_eq!(shape(1_000), [(1_000, true, 7)]);
        assert_eq!(shape(2_001), [(1_000, true, 0), (1_000, false, 0), (1, false, 7)]);
    }
}
