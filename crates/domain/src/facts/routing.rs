//! What routing writes to the routing log.

use super::{LogFact, OfferFailure};
use crate::vocabulary::{
    AgentId, Clause, CompanyId, ContactId, Epoch, LogName, Millis, NodeId, OfferId, QueueId, QueuePlan,
    Timestamp,
};

/// A fact about a queued contact or an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "field meanings stand once, in proto/trunkline/routing/v1")]
pub enum RoutingFact {
    /// A contact took its place in a queue.
    ContactQueued {
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        visit: u32,
        priority: i32,
        enqueued_at: Timestamp,
        /// All of these must hold of its agent.
        required_skills: Vec<Clause>,
        node_id: NodeId,
        /// Its place at entry, from 1.
        place: u32,
        /// What changes while it waits; the queue's definition as it came.
        plan: QueuePlan,
    },
    /// Something of a waiting contact's plan took effect: a step, or a change of priority by ageing.
    StepBegan {
        contact_id: ContactId,
        queue_id: QueueId,
        visit: u32,
        /// How many steps have begun.
        step: u32,
        /// From now on.
        priority: i32,
        /// From now on.
        required_skills: Vec<Clause>,
        /// Since it came to the queue.
        waited_ms: Millis,
    },
    /// Somebody decided that a waiting contact is served otherwise from now on: by its queue as it is defined now, with
    /// another priority, or in another queue.
    ContactReplanned {
        contact_id: ContactId,
        queue_id: QueueId,
        visit: u32,
        /// As if it had come with it; steps and ageing count on from there.
        priority: i32,
        /// As if it had come with them.
        required_skills: Vec<Clause>,
        plan: QueuePlan,
        /// Since it came to the queue.
        waited_ms: Millis,
        author: String,
        reason: String,
    },
    /// Agent-state did not grant a reservation that routing had planned.
    ReservationRefused { contact_id: ContactId, offer_id: OfferId, agent_id: AgentId, reason: String },
    /// A contact was proposed to an agent, whose device will alert.
    OfferMade {
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        visit: u32,
        offer_id: OfferId,
        agent_id: AgentId,
        /// The reservation's fence: the Raft index of its grant.
        token: u64,
        node_id: NodeId,
        expires_at: Timestamp,
        /// The offer's number within the visit, from 1.
        round: u32,
        /// Why not the others: the best candidates that were passed over, at most five.
        passed_over: Vec<PassedOver>,
    },
    /// The agent took it.
    OfferAccepted { contact_id: ContactId, offer_id: OfferId, agent_id: AgentId },
    /// The offer is over without an answer; the contact keeps its place.
    OfferEnded { contact_id: ContactId, offer_id: OfferId, agent_id: AgentId, end: OfferEnd },
    /// The contact left the queue, or the visit it was turned away from is over.
    ContactDequeued { contact_id: ContactId, queue_id: QueueId, visit: u32, reason: DequeueReason },
    /// A contact was not queued, because its queue was full; its media node is told to end it.
    ContactTurnedAway {
        contact_id: ContactId,
        queue_id: QueueId,
        visit: u32,
        node_id: NodeId,
        /// How many waited.
        waiting_count: u32,
    },
    /// A new owner took the partition; everything of a lower epoch after this is void.
    PartitionTaken { owner: NodeId, epoch: Epoch },
}

/// A candidate that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Who.
    pub agent_id: AgentId,
    /// Why not, as a word of the closed list [`PassedOverReason`].
    pub reason: PassedOverReason,
}

/// Why a candidate was not chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PassedOverReason {
    /// Ready and skilled, but idle for less long than the one chosen.
    IdleLessLong,
    /// Lacks a required skill.
    LacksSkill,
    /// Signed in but not ready.
    NotReady,
    /// Reserved, talking or in wrap-up.
    Busy,
    /// Missed or declined this contact a moment ago.
    MissedThisContact,
    /// Has no reachable device.
    NoDevice,
    /// Could serve it too, but comes behind the one chosen in the order of selection.
    RanksBehind,
}

impl PassedOverReason {
    /// Every reason, in declaration order.
    pub const ALL: [PassedOverReason; 7] = [
        Self::IdleLessLong,
        Self::LacksSkill,
        Self::NotReady,
        Self::Busy,
        Self::MissedThisContact,
        Self::NoDevice,
        Self::RanksBehind,
    ];

    /// The words shown to a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IdleLessLong => "idle less long",
            Self::LacksSkill => "lacks a skill",
            Self::NotReady => "not ready",
            Self::Busy => "busy",
            Self::MissedThisContact => "missed this contact",
            Self::NoDevice => "no reachable device",
            Self::RanksBehind => "ranks behind",
        }
    }
}

/// How an offer ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferEnd {
    /// The agent refused.
    Declined,
    /// Nobody answered in time.
    Unanswered,
    /// The caller left or was taken elsewhere.
    Withdrawn,
    /// Nothing was heard of it until its deadline.
    Lapsed,
    /// It could not be carried out.
    Failed(OfferFailure),
}

/// Why a contact left a queue, as routing saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DequeueReason {
    /// An agent answered.
    Answered,
    /// The caller left.
    Abandoned,
    /// The plan sent it away.
    FlowedOut,
    /// The contact ended for another cause.
    Ended,
}

impl DequeueReason {
    /// Every reason, in declaration order.
    pub const ALL: [DequeueReason; 4] = [Self::Answered, Self::Abandoned, Self::FlowedOut, Self::Ended];
}

impl LogFact for RoutingFact {
    const LOG: LogName = LogName::Routing;

    fn name(&self) -> &'static str {
        match self {
            Self::ContactQueued { .. } => "ContactQueued",
            Self::StepBegan { .. } => "StepBegan",
            Self::ContactReplanned { .. } => "ContactReplanned",
            Self::ReservationRefused { .. } => "ReservationRefused",
            Self::OfferMade { .. } => "OfferMade",
            Self::OfferAccepted { .. } => "OfferAccepted",
            Self::OfferEnded { .. } => "OfferEnded",
            Self::ContactDequeued { .. } => "ContactDequeued",
            Self::ContactTurnedAway { .. } => "ContactTurnedAway",
            Self::PartitionTaken { .. } => "PartitionTaken",
        }
    }

    fn stream(&self) -> String {
        match self {
            Self::PartitionTaken { owner, .. } => owner.to_string(),
            other => other.contact().map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn contact(&self) -> Option<&ContactId> {
        match self {
            Self::ContactQueued { contact_id, .. }
            | Self::StepBegan { contact_id, .. }
            | Self::ContactReplanned { contact_id, .. }
            | Self::ReservationRefused { contact_id, .. }
            | Self::OfferMade { contact_id, .. }
            | Self::OfferAccepted { contact_id, .. }
            | Self::OfferEnded { contact_id, .. }
            | Self::ContactDequeued { contact_id, .. }
            | Self::ContactTurnedAway { contact_id, .. } => Some(contact_id),
            Self::PartitionTaken { .. } => None,
        }
    }
}
