//! The facts of the routing log.

use trunkline_domain::facts::{DequeueReason, OfferEnd, PassedOver, PassedOverReason, RoutingFact};

use trunkline_domain::vocabulary::QueuePlan;

use super::plan::plain;
use super::{DecodeError, Field};
use crate::routing::v1 as wire;

facts! {
    RoutingFact as routing_fact, body Routing, schema version 2 by version_of;
    ContactQueued {
        contact_id, company_id, queue_id, visit, priority, required_skills, node_id, place, plan
        | enqueued_at as enqueued_at_ms
    }
    ReservationRefused { contact_id, offer_id, agent_id, reason }
    OfferMade {
        contact_id, company_id, queue_id, visit, offer_id, agent_id, token, node_id, round, passed_over
        | expires_at as expires_at_ms
    }
    OfferAccepted { contact_id, offer_id, agent_id }
    OfferEnded { contact_id, offer_id, agent_id, end }
    ContactDequeued { contact_id, queue_id, visit, reason }
    PartitionTaken { owner, epoch }
    ContactTurnedAway { contact_id, queue_id, visit, node_id, waiting_count }
    StepBegan { contact_id, queue_id, visit, step, priority, required_skills, waited_ms }
    ContactReplanned { contact_id, queue_id, visit, priority, required_skills, plan, waited_ms, author, reason }
}

/// Version 2: contacts have plans. A reader before it would not know in what order they are served, nor by whom.
fn version_of(fact: &RoutingFact) -> u32 {
    match fact {
        RoutingFact::ContactQueued { plan, required_skills, .. } => {
            if *plan == QueuePlan::default() && plain(required_skills) { 1 } else { 2 }
        }
        RoutingFact::OfferMade { passed_over, .. } => {
            let behind = passed_over.iter().any(|it| it.reason == PassedOverReason::RanksBehind);
            if behind { 2 } else { 1 }
        }
        RoutingFact::StepBegan { .. } | RoutingFact::ContactReplanned { .. } => 2,
        _ => 1,
    }
}

message!(PassedOver { agent_id, reason });
repeated!(PassedOver);

values!(PassedOverReason as wire::PassedOverReason [
    IdleLessLong, LacksSkill, NotReady, Busy, MissedThisContact, NoDevice, RanksBehind
]);
values!(DequeueReason as wire::DequeueReason [Answered, Abandoned, FlowedOut, Ended]);

/// The one enum with data: the failure stands beside the kind, and only beside FAILED.
impl Field for OfferEnd {
    type Wire = Option<wire::OfferEnd>;

    fn to_wire(&self) -> Self::Wire {
        let (kind, failure) = match self {
            Self::Declined => (wire::OfferEndKind::Declined, 0),
            Self::Unanswered => (wire::OfferEndKind::Unanswered, 0),
            Self::Withdrawn => (wire::OfferEndKind::Withdrawn, 0),
            Self::Lapsed => (wire::OfferEndKind::Lapsed, 0),
            Self::Failed(failure) => (wire::OfferEndKind::Failed, failure.to_wire()),
        };
        Some(wire::OfferEnd { kind: kind as i32, failure })
    }

    fn from_wire(wire: Self::Wire, field: &'static str) -> Result<Self, DecodeError> {
        let wire::OfferEnd { kind, failure } = wire.ok_or(DecodeError::Missing { field })?;
        let end = match wire::OfferEndKind::try_from(kind) {
            Ok(wire::OfferEndKind::Unspecified) => {
                return Err(DecodeError::Missing { field: "OfferEnd.kind" });
            }
            Ok(wire::OfferEndKind::Declined) => Self::Declined,
            Ok(wire::OfferEndKind::Unanswered) => Self::Unanswered,
            Ok(wire::OfferEndKind::Withdrawn) => Self::Withdrawn,
            Ok(wire::OfferEndKind::Lapsed) => Self::Lapsed,
            Ok(wire::OfferEndKind::Failed) => {
                return Field::from_wire(failure, "OfferEnd.failure").map(Self::Failed);
            }
            Err(_) => return Err(DecodeError::UnknownValue { field: "OfferEnd.kind", value: kind }),
        };
        match failure {
            0 => Ok(end),
            value => Err(DecodeError::UnknownValue { field: "OfferEnd.failure", value }),
        }
    }
}
