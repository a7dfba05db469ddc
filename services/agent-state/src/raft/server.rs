//! What the other replicas say to this one.

use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use openraft::raft::AppendEntriesResponse;
use tonic::{Request, Response, Status, Streaming};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::raft_service_server::{RaftService, RaftServiceServer};
use trunkline_runtime::grpc::{RejectionKind, status_of};
use trunkline_runtime::shutdown::Shutdown;

use super::network::MESSAGE_BYTES_MAX;
use super::types::to_json;
use super::{Consensus, Member, Role, message};

/// Answers for one replica.
pub struct Server {
    pub(super) consensus: Consensus,
    /// Ends the calls that last.
    pub(super) closing: Shutdown,
}

impl Server {
    /// As a gRPC service.
    pub fn into_service(self) -> RaftServiceServer<Self> {
        RaftServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// A vote or an entry that reached the wrong process must not count.
    fn meant_for_us(&self, cluster: &str, target: u64) -> Result<(), Status> {
        meant_for(&self.consensus, cluster, target)
    }
}

fn meant_for(consensus: &Consensus, cluster: &str, target: u64) -> Result<(), Status> {
    if cluster == consensus.cluster && target == consensus.node_id {
        return Ok(());
    }
    let message = format!("this is replica {} of cluster {}", consensus.node_id, consensus.cluster);
    Err(status_of(RejectionKind::FailedPrecondition, "OTHER_REPLICA", message))
}

/// The library's answer to its request.
async fn append(consensus: &Consensus, payload: &[u8]) -> Result<Vec<u8>, Status> {
    let rpc = message::read_append(payload).map_err(|error| malformed(&error))?;
    let answer = consensus.raft.append_entries(rpc).await;
    if matches!(&answer, Ok(answer) if !matches!(answer, AppendEntriesResponse::HigherVote(_))) {
        consensus.pulse.beat();
    }
    Ok(to_json(&answer))
}

/// The requests of one call, each answered before the next is read.
struct Appends {
    consensus: Consensus,
    closing: Shutdown,
    requests: Streaming<api::AppendStreamRequest>,
}

impl Appends {
    /// The answer to the next; `None` when no more come.
    async fn next(&mut self) -> Result<Option<api::AppendStreamResponse>, Status> {
        let request = tokio::select! {
            biased;
            () = self.closing.begun() => return Err(Status::unavailable("this replica is shutting down")),
            request = self.requests.message() => request?,
        };
        let Some(request) = request else { return Ok(None) };
        let consensus = &self.consensus;
        meant_for(consensus, &request.cluster, request.target_node_id)?;
        let payload = append(consensus, &request.payload).await?.into();
        Ok(Some(api::AppendStreamResponse { node_id: consensus.node_id, payload }))
    }
}

fn malformed(error: &dyn std::error::Error) -> Status {
    status_of(RejectionKind::InvalidArgument, "MALFORMED", error.to_string())
}

#[tonic::async_trait]
impl RaftService for Server {
    async fn append(
        &self,
        request: Request<api::AppendRequest>,
    ) -> Result<Response<api::AppendResponse>, Status> {
        let request = request.into_inner();
        self.meant_for_us(&request.cluster, request.target_node_id)?;
        let payload = append(&self.consensus, &request.payload).await?.into();
        Ok(Response::new(api::AppendResponse { node_id: self.consensus.node_id, payload }))
    }

    type AppendStreamStream = BoxStream<'static, Result<api::AppendStreamResponse, Status>>;

    async fn append_stream(
        &self,
        request: Request<Streaming<api::AppendStreamRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let (consensus, closing) = (self.consensus.clone(), self.closing.clone());
        let appends = Appends { consensus, closing, requests: request.into_inner() };
        let answers = unfold(Some(appends), async |appends| {
            let mut appends = appends?;
            match appends.next().await.transpose()? {
                Ok(answer) => Some((Ok(answer), Some(appends))),
                Err(status) => Some((Err(status), None)),
            }
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn vote(&self, request: Request<api::VoteRequest>) -> Result<Response<api::VoteResponse>, Status> {
        let request = request.into_inner();
        self.meant_for_us(&request.cluster, request.target_node_id)?;
        let rpc = serde_json::from_slice(&request.payload).map_err(|error| malformed(&error))?;
        let answer = self.consensus.raft.vote(rpc).await;
        if matches!(&answer, Ok(answer) if answer.vote_granted) {
            self.consensus.pulse.beat();
        }
        let payload = to_json(&answer).into();
        Ok(Response::new(api::VoteResponse { node_id: self.consensus.node_id, payload }))
    }

    async fn install_snapshot(
        &self,
        request: Request<api::InstallSnapshotRequest>,
    ) -> Result<Response<api::InstallSnapshotResponse>, Status> {
        let request = request.into_inner();
        self.meant_for_us(&request.cluster, request.target_node_id)?;
        let chunk = message::read_install(&request.payload).map_err(|error| malformed(&error))?;
        let vote = chunk.vote;
        let answer = self.consensus.receiver.take(&self.consensus.raft, chunk).await?;
        if matches!(&answer, Ok(answer) if answer.vote == vote) {
            self.consensus.pulse.beat();
        }
        let payload = to_json(&answer).into();
        Ok(Response::new(api::InstallSnapshotResponse { node_id: self.consensus.node_id, payload }))
    }

    async fn take_over(
        &self,
        request: Request<api::TakeOverRequest>,
    ) -> Result<Response<api::TakeOverResponse>, Status> {
        let request = request.into_inner();
        self.meant_for_us(&request.cluster, request.target_node_id)?;
        self.consensus.take_over(request.source_node_id, request.term, request.last_index).await?;
        Ok(Response::new(api::TakeOverResponse { node_id: self.consensus.node_id }))
    }

    async fn identify(
        &self,
        request: Request<api::IdentifyRequest>,
    ) -> Result<Response<api::IdentifyResponse>, Status> {
        let request = request.into_inner();
        let consensus = &self.consensus;
        self.meant_for_us(&request.cluster, consensus.node_id)?;
        let initialized = consensus.raft.is_initialized().await;
        let initialized = initialized.map_err(|error| Status::unavailable(error.to_string()))?;
        let standing = consensus.standing();
        let member = |Member { node_id, address, voting }| api::RaftMember { node_id, address, voting };
        let members = consensus.members().into_iter().map(member).collect();
        let (last_log_term, last_log_index) = consensus.log_end();
        let (applied_index, state_hash) = consensus.applied(request.hashed).await;
        Ok(Response::new(api::IdentifyResponse {
            node_id: consensus.node_id,
            initialized,
            term: standing.term,
            applied_index,
            role: match standing.role {
                Role::Follower => api::RaftRole::Follower,
                Role::Candidate => api::RaftRole::Candidate,
                Role::Leader => api::RaftRole::Leader,
                Role::Learner => api::RaftRole::Learner,
            }
            .into(),
            leader_node_id: standing.leader_id.unwrap_or_default(),
            state_hash,
            members,
            last_log_term,
            last_log_index,
            silent_ms: Some(i64::try_from(consensus.silent().as_millis()).unwrap_or(i64::MAX)),
            feature_level: consensus.feature_level_max,
            site: consensus.site.clone(),
            // Read last: who asks takes it for the middle of the round trip, and the way back is short.
            answered_at_ms: consensus.clocks.wall().0,
        }))
    }
}
