//! What the other replicas say to this one.

use tonic::{Request, Response, Status};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::raft_service_server::{RaftService, RaftServiceServer};
use trunkline_runtime::grpc::{RejectionKind, status_of};

use super::message;
use super::network::MESSAGE_BYTES_MAX;
use super::types::{Raft, to_json};

/// Answers for one replica.
pub struct Server {
    /// The cluster, as in the configuration.
    pub cluster: String,
    /// This replica.
    pub node_id: u64,
    /// What runs it.
    pub raft: Raft,
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
        if cluster == self.cluster && target == self.node_id {
            return Ok(());
        }
        let message = format!("this is replica {} of cluster {}", self.node_id, self.cluster);
        Err(status_of(RejectionKind::FailedPrecondition, "OTHER_REPLICA", message))
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
        let rpc = message::read_append(&request.payload).map_err(|error| malformed(&error))?;
        let payload = to_json(&self.raft.append_entries(rpc).await).into();
        Ok(Response::new(api::AppendResponse { node_id: self.node_id, payload }))
    }

    async fn vote(&self, request: Request<api::VoteRequest>) -> Result<Response<api::VoteResponse>, Status> {
        let request = request.into_inner();
        self.meant_for_us(&request.cluster, request.target_node_id)?;
        let rpc = serde_json::from_slice(&request.payload).map_err(|error| malformed(&error))?;
        let payload = to_json(&self.raft.vote(rpc).await).into();
        Ok(Response::new(api::VoteResponse { node_id: self.node_id, payload }))
    }

    async fn install_snapshot(
        &self,
        request: Request<api::InstallSnapshotRequest>,
    ) -> Result<Response<api::InstallSnapshotResponse>, Status> {
        let request = request.into_inner();
        self.meant_for_us(&request.cluster, request.target_node_id)?;
        let rpc = message::read_install(&request.payload).map_err(|error| malformed(&error))?;
        let payload = to_json(&self.raft.install_snapshot(rpc).await).into();
        Ok(Response::new(api::InstallSnapshotResponse { node_id: self.node_id, payload }))
    }

    async fn identify(
        &self,
        request: Request<api::IdentifyRequest>,
    ) -> Result<Response<api::IdentifyResponse>, Status> {
        self.meant_for_us(&request.into_inner().cluster, self.node_id)?;
        let initialized = self.raft.is_initialized().await;
        let initialized = initialized.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(api::IdentifyResponse { node_id: self.node_id, initialized }))
    }
}
