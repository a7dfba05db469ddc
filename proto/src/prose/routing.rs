//! The routing log as prose.

use trunkline_domain::facts::{DequeueReason, OfferEnd, RoutingFact as Fact};

use super::contacts::failure;
use super::{all_of, clock, seconds, short};

pub(super) fn routing(fact: &Fact) -> String {
    match fact {
        Fact::ContactQueued { queue_id, priority, place, .. } => {
            format!("queued in {}, place {place}, priority {priority}", short(queue_id))
        }
        Fact::ContactReplanned { queue_id, priority, required_skills, waited_ms, reason, .. } => {
            let needs = match required_skills.as_slice() {
                [] => "needs no skill".to_owned(),
                some => format!("needs {}", all_of(some)),
            };
            format!(
                "planned anew in {} after {}: priority {priority}, {needs}; {reason}",
                short(queue_id),
                seconds(*waited_ms)
            )
        }
        Fact::StepBegan { queue_id, step, priority, required_skills, waited_ms, .. } => {
            let needs = match required_skills.as_slice() {
                [] => "needs no skill".to_owned(),
                some => format!("needs {}", all_of(some)),
            };
            format!(
                "step {step} in {} after {}: priority {priority}, {needs}",
                short(queue_id),
                seconds(*waited_ms)
            )
        }
        Fact::ReservationRefused { offer_id, agent_id, reason, .. } => {
            format!("{} not reserved for {}: {reason}", short(agent_id), short(offer_id))
        }
        Fact::OfferMade { offer_id, agent_id, expires_at, round, passed_over, .. } => {
            let offered = format!(
                "offered to {} as {}, round {round}, until {}",
                short(agent_id),
                short(offer_id),
                clock(*expires_at)
            );
            let others =
                passed_over.iter().map(|it| format!("{} {}", short(&it.agent_id), it.reason.as_str()));
            match others.collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => offered,
                others => format!("{offered}; not {others}"),
            }
        }
        Fact::OfferAccepted { offer_id, agent_id, .. } => {
            format!("{} accepted {}", short(agent_id), short(offer_id))
        }
        Fact::OfferEnded { offer_id, agent_id, end, .. } => {
            format!("{} to {} ended: {}", short(offer_id), short(agent_id), how(*end))
        }
        Fact::ContactDequeued { queue_id, reason, .. } => {
            format!("left {}: {}", short(queue_id), why(*reason))
        }
        Fact::ContactTurnedAway { queue_id, waiting_count, .. } => {
            format!("turned away from {}, {waiting_count} wait there", short(queue_id))
        }
        Fact::PartitionTaken { owner, epoch } => {
            format!("partition taken by {}, epoch {epoch}", short(owner))
        }
    }
}

fn how(end: OfferEnd) -> String {
    match end {
        OfferEnd::Declined => "declined".to_owned(),
        OfferEnd::Unanswered => "unanswered".to_owned(),
        OfferEnd::Withdrawn => "withdrawn".to_owned(),
        OfferEnd::Lapsed => "lapsed, nothing was heard of it".to_owned(),
        OfferEnd::Failed(reason) => format!("failed, {}", failure(reason)),
    }
}

fn why(reason: DequeueReason) -> &'static str {
    match reason {
        DequeueReason::Answered => "answered",
        DequeueReason::Abandoned => "abandoned",
        DequeueReason::FlowedOut => "flowed out",
        DequeueReason::Ended => "the contact ended",
    }
}
