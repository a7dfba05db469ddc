//! What this replica says to the others: openraft's messages over `RaftService`, each with a deadline and the id of the
//! replica it is meant for.

#![allow(clippy::result_large_err, reason = "the error type is openraft's")]

use std::time::Duration;

use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::de::DeserializeOwned;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::raft_service_client::RaftServiceClient;
use trunkline_runtime::grpc;

use super::message;
use super::types::TypeConfig;

/// The largest message between replicas, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;
/// The shortest deadline of a message: openraft's heartbeat deadline is too tight for a busy machine of two cores.
const DEADLINE_MIN: Duration = Duration::from_millis(500);

/// Makes a connection to each replica.
pub struct Peers {
    /// The cluster, as in the configuration.
    pub cluster: String,
    /// This replica.
    pub node_id: u64,
}

/// The connection to one replica.
pub struct Peer {
    cluster: String,
    source: u64,
    target: u64,
    client: RaftServiceClient<Channel>,
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        Peer { cluster: self.cluster.clone(), source: self.node_id, target, client: client(&node.addr) }
    }
}

/// A client of whoever answers at an address.
pub fn client(address: &str) -> RaftServiceClient<Channel> {
    RaftServiceClient::new(grpc::channel(address))
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

impl Peer {
    /// The answer's payload, if it came in time and from the replica it was asked of.
    fn answer<T, E>(
        &self,
        answered: Result<Response<T>, Status>,
        parts: impl Fn(T) -> (u64, Vec<u8>),
    ) -> Result<Vec<u8>, RPCError<u64, BasicNode, E>>
    where
        E: std::error::Error,
    {
        let response = answered.map_err(|status| RPCError::Unreachable(Unreachable::new(&status)))?;
        let (node_id, payload) = parts(response.into_inner());
        if node_id != self.target {
            let status =
                Status::failed_precondition(format!("replica {node_id} answered for {}", self.target));
            return Err(RPCError::Unreachable(Unreachable::new(&status)));
        }
        Ok(payload)
    }

    fn result<T, E>(&self, payload: &[u8]) -> Result<T, RPCError<u64, BasicNode, E>>
    where
        T: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let result: Result<T, E> =
            serde_json::from_slice(payload).map_err(|error| RPCError::Network(NetworkError::new(&error)))?;
        result.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }
}

fn timed<T>(message: T, option: &RPCOption) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(option.hard_ttl().max(DEADLINE_MIN));
    request
}

impl RaftNetwork<TypeConfig> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let message = api::AppendRequest {
            cluster: self.cluster.clone(),
            source_node_id: self.source,
            target_node_id: self.target,
            payload: message::append(rpc).into(),
        };
        let answered = self.client.append(timed(message, &option)).await;
        let payload = self.answer(answered, |it| (it.node_id, it.payload.into()))?;
        self.result(&payload)
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, RPCError<u64, BasicNode, RaftError<u64, InstallSnapshotError>>>
    {
        let message = api::InstallSnapshotRequest {
            cluster: self.cluster.clone(),
            source_node_id: self.source,
            target_node_id: self.target,
            payload: message::install(rpc).into(),
        };
        let answered = self.client.install_snapshot(timed(message, &option)).await;
        let payload = self.answer(answered, |it| (it.node_id, it.payload.into()))?;
        self.result(&payload)
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        option: RPCOption,
    ) -> Result<VoteResponse<u64>, RPCError<u64, BasicNode, RaftError<u64>>> {
        let message = api::VoteRequest {
            cluster: self.cluster.clone(),
            source_node_id: self.source,
            target_node_id: self.target,
            payload: super::types::to_json(&rpc).into(),
        };
        let answered = self.client.vote(timed(message, &option)).await;
        let payload = self.answer(answered, |it| (it.node_id, it.payload.into()))?;
        self.result(&payload)
    }
}
