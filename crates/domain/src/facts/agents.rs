//! What agent-state's leader writes to the agents log.

use super::LogFact;
use crate::vocabulary::{
    AgentId, Channel, CompanyId, ContactId, DeviceId, Epoch, LogName, Millis, NodeId, OfferId, QueueId,
    SessionId, SiteId, Timestamp,
};

/// A fact about one agent, or about one lease.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "field meanings stand once, in proto/trunkline/agents/v1")]
pub enum AgentFact {
    /// A session began; the agent is not ready until it says otherwise.
    AgentSignedIn { agent_id: AgentId, session_id: SessionId, site_id: Option<SiteId> },
    /// A session ended.
    AgentSignedOut { agent_id: AgentId, session_id: SessionId, reason: String },
    /// The agent takes contacts.
    AgentBecameReady { agent_id: AgentId },
    /// The agent takes no contacts, and why; `until` is when it returns by itself.
    AgentBecameNotReady { agent_id: AgentId, reason: String, until: Option<Timestamp> },
    /// A supervisor decided what the agent is to be. What follows from it at once comes behind; what waits for the end
    /// of a contact comes then.
    AgentForced {
        agent_id: AgentId,
        presence: ForcedPresence,
        author: String,
        reason: String,
        /// Why the agent takes none; empty unless it is not ready.
        not_ready_reason: String,
        /// How long from when it takes effect; zero until said otherwise.
        duration_ms: Millis,
    },
    /// The agent changed its presence too often since then; told once until it is steady again.
    AgentPresenceUnsteady { agent_id: AgentId, change_count: u32, since: Timestamp },
    /// The agent has been not ready for as long as the operator grants for this reason, and still is.
    PauseLimitExceeded { agent_id: AgentId, reason: String, limit_ms: Millis },
    /// Nothing was heard of the session's desktop for as long as it had said. The session goes on.
    SessionLost { agent_id: AgentId, session_id: SessionId },
    /// A device can be called for the agent until `expires_at`.
    DeviceRegistered {
        agent_id: AgentId,
        device_id: DeviceId,
        /// SIP URI to call.
        contact_uri: String,
        node_id: NodeId,
        expires_at: Timestamp,
    },
    /// A device can no longer be called.
    DeviceUnregistered { agent_id: AgentId, device_id: DeviceId, reason: String },
    /// The agent is held for one offer, until `expires_at`. `token` is the Raft index of the grant.
    AgentReserved {
        agent_id: AgentId,
        offer_id: OfferId,
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        token: u64,
        node_id: NodeId,
        routing_epoch: Epoch,
        expires_at: Timestamp,
        channel: Channel,
    },
    /// The agent answered: the reservation has no deadline any more.
    ReservationAccepted { agent_id: AgentId, offer_id: OfferId, contact_id: ContactId, token: u64 },
    /// The reservation is over.
    ReservationReleased {
        agent_id: AgentId,
        offer_id: OfferId,
        contact_id: ContactId,
        token: u64,
        outcome: ReleaseOutcome,
    },
    /// The node that carries the contact lost its lease; the reservation resolves once, at `resolves_at` at the latest.
    ReservationUnconfirmed {
        agent_id: AgentId,
        offer_id: OfferId,
        contact_id: ContactId,
        token: u64,
        resolves_at: Timestamp,
    },
    /// After-contact work began and ends by itself at `ends_at`; without one only the agent ends it.
    WrapUpStarted {
        agent_id: AgentId,
        offer_id: OfferId,
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        ends_at: Option<Timestamp>,
        channel: Channel,
    },
    /// After-contact work ends later than it would have.
    WrapUpExtended { agent_id: AgentId, offer_id: OfferId, contact_id: ContactId, ends_at: Timestamp },
    /// After-contact work ended; `finished_by_agent` is false when its deadline did it.
    WrapUpEnded {
        agent_id: AgentId,
        offer_id: OfferId,
        contact_id: ContactId,
        finished_by_agent: bool,
        /// What the contact came to; empty when the agent did not say.
        wrap_up_code: String,
    },
    /// A resource has an owner; `epoch` is the Raft index of the grant.
    /// `address` is where the holder answers gRPC; empty when it serves nothing.
    LeaseGranted { resource: String, holder: NodeId, epoch: Epoch, expires_at: Timestamp, address: String },
    /// The owner did not renew in time.
    LeaseLapsed { resource: String, holder: NodeId, epoch: Epoch },
    /// The owner gave the resource back.
    LeaseReleased { resource: String, holder: NodeId, epoch: Epoch },
}

/// What a supervisor makes of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForcedPresence {
    /// It takes contacts.
    Ready,
    /// It takes none.
    NotReady,
    /// Its session ends.
    SignedOut,
}

impl ForcedPresence {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not_ready",
            Self::SignedOut => "signed_out",
        }
    }
}

/// How a reservation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReleaseOutcome {
    /// The conversation ended.
    Completed,
    /// The agent refused the offer.
    Declined,
    /// The offer was not answered.
    Unanswered,
    /// The caller left before an answer.
    CallerGone,
    /// Routing took the offer back.
    Rescinded,
    /// The reservation's own deadline passed.
    Expired,
    /// The offer could not be carried out.
    Failed,
    /// The media node was lost.
    MediaLost,
    /// The agent signed out or was forced out.
    SignedOut,
}

impl ReleaseOutcome {
    /// Every outcome, in declaration order.
    pub const ALL: [ReleaseOutcome; 9] = [
        Self::Completed,
        Self::Declined,
        Self::Unanswered,
        Self::CallerGone,
        Self::Rescinded,
        Self::Expired,
        Self::Failed,
        Self::MediaLost,
        Self::SignedOut,
    ];

    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Declined => "declined",
            Self::Unanswered => "unanswered",
            Self::CallerGone => "caller_gone",
            Self::Rescinded => "rescinded",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::MediaLost => "media_lost",
            Self::SignedOut => "signed_out",
        }
    }
}

impl AgentFact {
    /// The agent it is about; `None` for a lease.
    pub fn agent_id(&self) -> Option<&AgentId> {
        match self {
            Self::AgentSignedIn { agent_id, .. }
            | Self::AgentSignedOut { agent_id, .. }
            | Self::AgentBecameReady { agent_id }
            | Self::AgentBecameNotReady { agent_id, .. }
            | Self::AgentForced { agent_id, .. }
            | Self::AgentPresenceUnsteady { agent_id, .. }
            | Self::PauseLimitExceeded { agent_id, .. }
            | Self::SessionLost { agent_id, .. }
            | Self::DeviceRegistered { agent_id, .. }
            | Self::DeviceUnregistered { agent_id, .. }
            | Self::AgentReserved { agent_id, .. }
            | Self::ReservationAccepted { agent_id, .. }
            | Self::ReservationReleased { agent_id, .. }
            | Self::ReservationUnconfirmed { agent_id, .. }
            | Self::WrapUpStarted { agent_id, .. }
            | Self::WrapUpExtended { agent_id, .. }
            | Self::WrapUpEnded { agent_id, .. } => Some(agent_id),
            Self::LeaseGranted { .. } | Self::LeaseLapsed { .. } | Self::LeaseReleased { .. } => None,
        }
    }
}

impl LogFact for AgentFact {
    const LOG: LogName = LogName::Agents;

    fn name(&self) -> &'static str {
        match self {
            Self::AgentSignedIn { .. } => "AgentSignedIn",
            Self::AgentSignedOut { .. } => "AgentSignedOut",
            Self::AgentBecameReady { .. } => "AgentBecameReady",
            Self::AgentBecameNotReady { .. } => "AgentBecameNotReady",
            Self::AgentForced { .. } => "AgentForced",
            Self::AgentPresenceUnsteady { .. } => "AgentPresenceUnsteady",
            Self::PauseLimitExceeded { .. } => "PauseLimitExceeded",
            Self::SessionLost { .. } => "SessionLost",
            Self::DeviceRegistered { .. } => "DeviceRegistered",
            Self::DeviceUnregistered { .. } => "DeviceUnregistered",
            Self::AgentReserved { .. } => "AgentReserved",
            Self::ReservationAccepted { .. } => "ReservationAccepted",
            Self::ReservationReleased { .. } => "ReservationReleased",
            Self::ReservationUnconfirmed { .. } => "ReservationUnconfirmed",
            Self::WrapUpStarted { .. } => "WrapUpStarted",
            Self::WrapUpExtended { .. } => "WrapUpExtended",
            Self::WrapUpEnded { .. } => "WrapUpEnded",
            Self::LeaseGranted { .. } => "LeaseGranted",
            Self::LeaseLapsed { .. } => "LeaseLapsed",
            Self::LeaseReleased { .. } => "LeaseReleased",
        }
    }

    fn stream(&self) -> String {
        match self {
            Self::LeaseGranted { resource, .. }
            | Self::LeaseLapsed { resource, .. }
            | Self::LeaseReleased { resource, .. } => format!("lease:{resource}"),
            other => other.agent_id().map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn contact(&self) -> Option<&ContactId> {
        match self {
            Self::AgentReserved { contact_id, .. }
            | Self::ReservationAccepted { contact_id, .. }
            | Self::ReservationReleased { contact_id, .. }
            | Self::ReservationUnconfirmed { contact_id, .. }
            | Self::WrapUpStarted { contact_id, .. }
            | Self::WrapUpExtended { contact_id, .. }
            | Self::WrapUpEnded { contact_id, .. } => Some(contact_id),
            Self::AgentSignedIn { .. }
            | Self::AgentSignedOut { .. }
            | Self::AgentBecameReady { .. }
            | Self::AgentBecameNotReady { .. }
            | Self::AgentForced { .. }
            | Self::AgentPresenceUnsteady { .. }
            | Self::PauseLimitExceeded { .. }
            | Self::SessionLost { .. }
            | Self::DeviceRegistered { .. }
            | Self::DeviceUnregistered { .. }
            | Self::LeaseGranted { .. }
            | Self::LeaseLapsed { .. }
            | Self::LeaseReleased { .. } => None,
        }
    }
}
