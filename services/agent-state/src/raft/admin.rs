//! What operators ask of the voters: changes of the members, and who leads.

use std::future::Future;

use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::raft_admin_service_server::{RaftAdminService, RaftAdminServiceServer};
use trunkline_runtime::agent_state_client::LEADER_KEY;
use trunkline_runtime::grpc::{RejectionKind, address_error, status_of};

use super::Consensus;
use super::members::ChangeError;

/// Answers for the leader; a follower says who leads.
pub struct Admin(pub(super) Consensus);

impl Admin {
    /// As a gRPC service.
    pub fn into_service(self) -> RaftAdminServiceServer<Self> {
        RaftAdminServiceServer::new(self)
    }

    fn meant_for_us(&self, cluster: &str) -> Result<(), Status> {
        if cluster == self.0.cluster {
            return Ok(());
        }
        let message = format!("this is a replica of cluster {}", self.0.cluster);
        Err(status_of(RejectionKind::FailedPrecondition, "OTHER_CLUSTER", message))
    }

    /// Makes a change to its end, whether or not whoever asked still waits.
    async fn whole<T: Send + 'static, F>(&self, change: impl FnOnce(Consensus) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, ChangeError>> + Send + 'static,
    {
        match tokio::spawn(change(self.0.clone())).await {
            Ok(done) => done.map_err(Into::into),
            Err(error) => {
                tracing::error!(%error, "a change of the members panicked");
                Err(Status::internal("the change panicked"))
            }
        }
    }
}

#[tonic::async_trait]
impl RaftAdminService for Admin {
    async fn add_voter(
        &self,
        request: Request<api::AddVoterRequest>,
    ) -> Result<Response<api::AddVoterResponse>, Status> {
        let api::AddVoterRequest { cluster, address, replaced_node_id } = request.into_inner();
        self.meant_for_us(&cluster)?;
        if let Some(problem) = address_error(&address) {
            let message = format!("address: {problem}");
            return Err(status_of(RejectionKind::InvalidArgument, "INVALID_ARGUMENT", message));
        }
        let replaced = Some(replaced_node_id).filter(|id| *id != 0);
        let added = self.whole(|consensus| async move { consensus.add(&address, replaced).await }).await?;
        Ok(Response::new(api::AddVoterResponse {
            node_id: added.node_id,
            voting: added.voting,
            behind_count: added.behind_count,
            voter_count: count(added.voter_count),
        }))
    }

    async fn remove_voter(
        &self,
        request: Request<api::RemoveVoterRequest>,
    ) -> Result<Response<api::RemoveVoterResponse>, Status> {
        let api::RemoveVoterRequest { cluster, node_id } = request.into_inner();
        self.meant_for_us(&cluster)?;
        let (removed, voters) =
            self.whole(|consensus| async move { consensus.remove(node_id).await }).await?;
        Ok(Response::new(api::RemoveVoterResponse { removed, voter_count: count(voters) }))
    }

    async fn transfer_leadership(
        &self,
        request: Request<api::TransferLeadershipRequest>,
    ) -> Result<Response<api::TransferLeadershipResponse>, Status> {
        let api::TransferLeadershipRequest { cluster, node_id } = request.into_inner();
        self.meant_for_us(&cluster)?;
        let to = Some(node_id).filter(|id| *id != 0);
        let handed = self.whole(|consensus| async move { consensus.hand_over(to).await }).await?;
        Ok(Response::new(api::TransferLeadershipResponse {
            node_id: handed.node_id,
            address: handed.address,
            transferred: !handed.led_before,
            paused_ms: i64::try_from(handed.paused.as_millis()).unwrap_or(i64::MAX),
        }))
    }
}

fn count(voters: usize) -> u32 {
    u32::try_from(voters).unwrap_or(u32::MAX)
}

impl From<ChangeError> for Status {
    fn from(error: ChangeError) -> Self {
        use RejectionKind::{FailedPrecondition, NotFound, ResourceExhausted, Unavailable};
        let (kind, reason) = match &error {
            ChangeError::NotLeader { leader } => {
                let mut status = status_of(FailedPrecondition, "NOT_LEADER", error.to_string());
                if let Ok(leader) = MetadataValue::try_from(leader.as_str()) {
                    status.metadata_mut().insert(LEADER_KEY, leader);
                }
                return status;
            }
            ChangeError::Clock(_) => (Unavailable, "CLOCK_OFF"),
            ChangeError::UnderWay => (Unavailable, "CHANGE_UNDER_WAY"),
            ChangeError::Silent { .. } => (FailedPrecondition, "REPLICA_SILENT"),
            ChangeError::Foreign { .. } => (FailedPrecondition, "OTHER_CLUSTER"),
            ChangeError::Older { .. } => (FailedPrecondition, "OLDER_VERSION"),
            ChangeError::Unknown(_) => (NotFound, "UNKNOWN_MEMBER"),
            ChangeError::Last(_) => (FailedPrecondition, "LAST_VOTER"),
            ChangeError::Full(_) => (ResourceExhausted, "TOO_MANY_VOTERS"),
            ChangeError::Minority { .. } => (FailedPrecondition, "TOO_FEW_ANSWER"),
            ChangeError::NoSuccessor(_) => (FailedPrecondition, "NO_SUCCESSOR"),
            ChangeError::TimedOut => (Unavailable, "NO_QUORUM"),
            ChangeError::Refused(_) => (Unavailable, "STOPPED"),
        };
        status_of(kind, reason, error.to_string())
    }
}
