//! What this replica says to the others: openraft's messages over `RaftService`, each with a deadline and the id of the
//! replica it is meant for.
//!
//! openraft logs every message that fails, several a second while a voter is down. Its lines are switched off; here is
//! one when a voter stopped answering and one when it answers again ([`Reach`]).

#![allow(clippy::result_large_err, reason = "the error type is openraft's")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2, stream_append_sequential};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest,
    VoteResponse,
};
use openraft::{BasicNode, OptionalSend};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::raft_service_client::RaftServiceClient;
use trunkline_runtime::grpc;

use super::commits;
use super::line::Line;
use super::message::{self, Chunk};
use super::types::{Snapshot, SnapshotData, SnapshotMeta, TypeConfig, Vote};

/// The largest message between replicas, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// Bytes of a snapshot in one message, unless openraft says otherwise.
const CHUNK_BYTES: usize = 1 << 20;
/// The shortest deadline of a message: openraft's heartbeat deadline is too tight for a busy machine of two cores.
const DEADLINE_MIN: Duration = Duration::from_millis(500);
/// A connection on which nobody has answered for so long is made anew.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(2);

/// How long a voter may leave everything unanswered before a line says so: a message that is late, or a restart that is
/// over at once, is nothing to tell.
const SILENT_AFTER: Duration = Duration::from_secs(2);

/// What becomes of an append request.
type Appended = Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>;

/// Makes a connection to each replica.
pub struct Peers {
    /// The cluster, as in the configuration.
    pub cluster: String,
    /// This replica.
    pub node_id: u64,
    /// Who answers.
    pub reach: Reach,
}

/// The connection to one replica.
pub struct Peer {
    cluster: String,
    source: u64,
    target: u64,
    address: String,
    reach: Reach,
    client: RaftServiceClient<Channel>,
    line: Line,
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        let client = client(&node.addr);
        Peer {
            cluster: self.cluster.clone(),
            source: self.node_id,
            target,
            address: node.addr.clone(),
            reach: self.reach.clone(),
            line: Line::new(client.clone()),
            client,
        }
    }
}

/// A client of whoever answers at an address.
pub fn client(address: &str) -> RaftServiceClient<Channel> {
    RaftServiceClient::new(grpc::channel_given_up_after(address, GIVEN_UP_AFTER))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

impl Peer {
    /// The answer's payload, if it came in time and from the replica it was asked of.
    fn answer<T>(
        &self,
        waits: Waits,
        answered: Result<Response<T>, Status>,
        parts: impl Fn(T) -> (u64, Vec<u8>),
    ) -> Result<Vec<u8>, RPCError<TypeConfig>> {
        let answered = answered.and_then(|response| match parts(response.into_inner()) {
            (node_id, payload) if node_id == self.target => Ok(payload),
            (node_id, _) => {
                Err(Status::failed_precondition(format!("replica {node_id} answered for {}", self.target)))
            }
        });
        waits.over(answered.as_ref().err());
        answered.map_err(|status| RPCError::Unreachable(Unreachable::new(&status)))
    }

    /// What a payload says. A replica that has stopped for good counts as one that does not answer.
    fn result<T: DeserializeOwned>(&self, payload: &[u8]) -> Result<T, RPCError<TypeConfig>> {
        let result: Result<T, serde_json::Value> =
            serde_json::from_slice(payload).map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        result.map_err(|error| {
            let reason = format!("replica {} answered {error}", self.target);
            RPCError::Unreachable(Unreachable::from_string(reason))
        })
    }

    async fn send_chunk(
        &mut self,
        chunk: Chunk,
        option: &RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = api::InstallSnapshotRequest {
            cluster: self.cluster.clone(),
            source_node_id: self.source,
            target_node_id: self.target,
            payload: message::install(chunk).into(),
        };
        let waits = self.reach.ask(&self.address);
        let answered = self.client.install_snapshot(timed(message, option)).await;
        let payload = self.answer(waits, answered, |it| (it.node_id, it.payload.into()))?;
        self.result(&payload)
    }

    /// Sends all parts of a snapshot, one after the other.
    async fn send_chunks(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        option: &RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, RPCError<TypeConfig>> {
        let (meta, state) = SnapshotMeta::of(snapshot);
        let size = option.snapshot_chunk_size().unwrap_or(CHUNK_BYTES).max(1);
        let mut offset = 0;
        loop {
            let end = state.len().min(offset + size);
            let done = end == state.len();
            let data = state[offset..end].to_vec();
            let chunk = Chunk { vote, meta: meta.clone(), offset: offset as u64, data, done };
            let answer = self.send_chunk(chunk, option).await?;
            // Whoever stands in a higher term takes none of it.
            if done || answer.vote > vote {
                return Ok(answer);
            }
            offset = end;
        }
    }
}

fn timed<T>(message: T, option: &RPCOption) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(option.hard_ttl().max(DEADLINE_MIN));
    request
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = api::AppendStreamRequest {
            cluster: self.cluster.clone(),
            source_node_id: self.source,
            target_node_id: self.target,
            payload: message::append(rpc).into(),
        };
        let waits = self.reach.ask(&self.address);
        let time_max = option.hard_ttl().max(DEADLINE_MIN);
        let answered = self.line.ask(message, time_max).await;
        let payload =
            self.answer(waits, answered.map(Response::new), |it| (it.node_id, it.payload.into()))?;
        self.result(&payload)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        stream_append_sequential(self, commits::taken_along(requests), option)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = api::VoteRequest {
            cluster: self.cluster.clone(),
            source_node_id: self.source,
            target_node_id: self.target,
            payload: super::types::to_json(&rpc).into(),
        };
        let waits = self.reach.ask(&self.address);
        let answered = self.client.vote(timed(message, &option)).await;
        let payload = self.answer(waits, answered, |it| (it.node_id, it.payload.into()))?;
        self.result(&payload)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sent = self.send_chunks(vote, snapshot, &option);
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = sent => Ok(sent?),
        }
    }
}

/// Who answers, and what was said of it. Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub struct Reach(Arc<Mutex<BTreeMap<String, Voter>>>);

/// A question on its way. Dropped, it is one that was not answered in time.
pub struct Waits {
    reach: Reach,
    address: String,
    over: bool,
}

impl Reach {
    /// A question goes out to whoever answers at an address.
    pub fn ask(&self, address: &str) -> Waits {
        Waits { reach: self.clone(), address: address.to_owned(), over: false }
    }

    fn note(&self, address: &str, failed: Option<&str>) {
        let now = Instant::now();
        let said = {
            let mut voters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            voters.entry(address.to_owned()).or_insert_with(|| Voter::new(now)).note(failed.is_none(), now)
        };
        let reason = failed.unwrap_or_default();
        match said {
            Some(Said::Answers { silent_ms }) => {
                tracing::info!(voter = address, silent_ms, "voter answers again");
            }
            Some(Said::Silent { silent_ms }) => {
                tracing::warn!(voter = address, silent_ms, reason, "voter does not answer");
            }
            Some(Said::Awaited) => tracing::info!(voter = address, reason, "waits for a voter"),
            None => {}
        }
    }
}

impl Waits {
    /// The voter answered, or could not.
    pub fn over(mut self, failed: Option<&Status>) {
        self.over = true;
        self.reach.note(&self.address, failed.map(cause).as_deref());
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if !self.over {
            self.reach.note(&self.address, Some("no answer in time"));
        }
    }
}

/// What is known of the voter at one address.
struct Voter {
    /// When it answered last; when it was asked first, if it never did.
    since: Instant,
    answered: bool,
    /// Whether a line said that it does not answer.
    told: bool,
}

/// What there is to say of a voter.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// It answers again.
    Answers { silent_ms: u64 },
    /// It has stopped answering.
    Silent { silent_ms: u64 },
    /// It has not answered yet: as far as is known here it was not started.
    Awaited,
}

impl Voter {
    fn new(now: Instant) -> Self {
        Self { since: now, answered: false, told: false }
    }

    /// Takes an answer, or that there was none, into account; gives what is to be said, once.
    fn note(&mut self, answered: bool, now: Instant) -> Option<Said> {
        let silent = now.saturating_duration_since(self.since);
        let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
        if answered {
            let before = std::mem::replace(self, Self { since: now, answered: true, told: false });
            return before.told.then_some(Said::Answers { silent_ms });
        }
        if self.told || silent < SILENT_AFTER {
            return None;
        }
        self.told = true;
        Some(if self.answered { Said::Silent { silent_ms } } else { Said::Awaited })
    }
}

/// Why a question failed, without the layers in between: `tcp connect error: Connection refused (os error 111)`.
pub fn cause(status: &Status) -> String {
    let mut deepest: Option<&dyn std::error::Error> = std::error::Error::source(status);
    while let Some(source) = deepest.and_then(std::error::Error::source) {
        deepest = Some(source);
    }
    match deepest {
        Some(cause) => format!("{}: {cause}", status.message()),
        None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_when_a_voter_stops_answering_and_one_when_it_answers_again() {
        let begun = Instant::now();
        let silent = |silent_ms| Some(Said::Silent { silent_ms });
        let mut voter = Voter::new(begun);
        for (at_ms, answered, said) in [
            (0, false, None),
            (1_999, false, None),
            (2_000, false, Some(Said::Awaited)),
            (9_000, false, None),
            (10_000, true, Some(Said::Answers { silent_ms: 10_000 })),
            (10_100, true, None),
            // One message that is late is nothing to tell.
            (10_300, false, None),
            (10_400, true, None),
            (12_399, false, None),
            (12_400, false, silent(2_000)),
            (12_500, false, None),
            (72_500, false, None),
            (72_600, true, Some(Said::Answers { silent_ms: 62_200 })),
        ] {
            assert_eq!(voter.note(answered, begun + Duration::from_millis(at_ms)), said, "at {at_ms}");
        }
    }

    #[test]
    fn a_question_that_is_given_up_was_not_answered() {
        let reach = Reach::default();
        drop(reach.ask("v:1"));
        reach.ask("v:2").over(None);
        reach.ask("v:3").over(Some(&Status::unavailable("down")));
        let voters = reach.0.lock().unwrap();
        let answered: Vec<_> = voters.values().map(|voter| voter.answered).collect();
        assert_eq!(answered, [false, true, false]);
    }
}
