use trunkline_domain::facts::{
    DequeueReason, OfferEnd, OfferFailure, PassedOver, PassedOverReason, RoutingFact,
};
use trunkline_domain::vocabulary::{AgentId, ContactId, Epoch, Millis, OfferId, QueuePlan, Timestamp};

use super::{NOON, Sample, id, plan};

pub fn routing() -> Vec<Sample<RoutingFact>> {
    let contact_id: ContactId = id("ctc_01jnf9h3zqv7e0w1m2x4k5t6r8");
    let agent_id: AgentId = id("agt_anna");
    let offer_id: OfferId = id("ofr_01jnf9h4aab7c8d9e0f1g2h38x");
    let (contact, agent, offer) = (|| contact_id.clone(), || agent_id.clone(), || offer_id.clone());
    let made = |passed_over| RoutingFact::OfferMade {
        contact_id: contact(),
        company_id: id("cmp_aurora"),
        queue_id: id("que_aurora"),
        visit: 1,
        offer_id: offer(),
        agent_id: agent(),
        token: 77,
        node_id: id("nod_m1"),
        expires_at: Timestamp(NOON.0 + 20_100),
        round: 1,
        passed_over,
    };
    let ended =
        |end| RoutingFact::OfferEnded { contact_id: contact(), offer_id: offer(), agent_id: agent(), end };
    vec![
        (
            "",
            RoutingFact::ContactQueued {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                visit: 1,
                priority: 10,
                enqueued_at: NOON,
                required_skills: vec![id("skl_german")],
                node_id: id("nod_m1"),
                place: 2,
                plan: QueuePlan::default(),
            },
        ),
        (
            "planned",
            RoutingFact::ContactQueued {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                visit: 1,
                priority: 10,
                enqueued_at: NOON,
                required_skills: vec![id("skl_german >= 7")],
                node_id: id("nod_m1"),
                place: 1,
                plan: plan(),
            },
        ),
        (
            "",
            RoutingFact::StepBegan {
                contact_id: contact(),
                queue_id: id("que_aurora"),
                visit: 1,
                step: 2,
                priority: 8,
                required_skills: vec![id("skl_german >= 3"), id("not skl_trainee")],
                waited_ms: Millis(60_000),
            },
        ),
        (
            "",
            RoutingFact::ContactReplanned {
                contact_id: contact(),
                queue_id: id("que_aurora"),
                visit: 1,
                priority: -3,
                required_skills: vec![id("skl_german or skl_dutch")],
                plan: plan(),
                waited_ms: Millis(45_000),
                author: "ada".to_owned(),
                reason: "a storm".to_owned(),
            },
        ),
        (
            "",
            RoutingFact::ReservationRefused {
                contact_id: contact(),
                offer_id: offer(),
                agent_id: agent(),
                reason: "agent is not ready".to_owned(),
            },
        ),
        (
            "",
            made(vec![
                PassedOver { agent_id: id("agt_bert"), reason: PassedOverReason::IdleLessLong },
                PassedOver { agent_id: id("agt_carla"), reason: PassedOverReason::LacksSkill },
            ]),
        ),
        ("bare", made(vec![])),
        (
            "selected",
            made(vec![PassedOver { agent_id: id("agt_bert"), reason: PassedOverReason::RanksBehind }]),
        ),
        ("", RoutingFact::OfferAccepted { contact_id: contact(), offer_id: offer(), agent_id: agent() }),
        ("", ended(OfferEnd::Unanswered)),
        ("failed", ended(OfferEnd::Failed(OfferFailure::ReservationRefused))),
        (
            "",
            RoutingFact::ContactDequeued {
                contact_id: contact(),
                queue_id: id("que_aurora"),
                visit: 1,
                reason: DequeueReason::Answered,
            },
        ),
        ("", RoutingFact::PartitionTaken { owner: id("nod_r1"), epoch: Epoch(41) }),
        (
            "",
            RoutingFact::ContactTurnedAway {
                contact_id: contact(),
                queue_id: id("que_aurora"),
                visit: 1,
                node_id: id("nod_m1"),
                waiting_count: 50,
            },
        ),
    ]
}
