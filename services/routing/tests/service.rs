//! The service on its logs, with an agent-state and a media node that answer over gRPC.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use support::*;
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_proto::contacts::v1::FlowOutReason;
use trunkline_proto::media::v1::OfferContactRequest;
use trunkline_proto::routing::v1::{
    ExplainContactRequest, ListQueuesRequest, MoveContactRequest, ReplanQueueRequest,
    ReprioritiseContactRequest,
};
use trunkline_runtime::event_log::{EventLog, ReadFrom};
use trunkline_runtime::grpc::{RejectionKind, reason_of, status_of};

fn connected(offer: &OfferContactRequest) -> ContactFact {
    ContactFact::ContactConnected {
        contact_id: offer.contact_id.parse().unwrap(),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        offer_id: offer.offer_id.parse().unwrap(),
        agent_id: offer.agent_id.parse().unwrap(),
        leg_id: LegId::from_name("x").unwrap(),
        waited_ms: Millis::ZERO,
    }
}

fn declined(offer: &OfferContactRequest) -> ContactFact {
    ContactFact::OfferDeclined {
        contact_id: offer.contact_id.parse().unwrap(),
        offer_id: offer.offer_id.parse().unwrap(),
        agent_id: offer.agent_id.parse().unwrap(),
        sip_status: 603,
    }
}

fn unanswered(offer: &OfferContactRequest) -> ContactFact {
    ContactFact::OfferUnanswered {
        contact_id: offer.contact_id.parse().unwrap(),
        offer_id: offer.offer_id.parse().unwrap(),
        agent_id: offer.agent_id.parse().unwrap(),
        rang_ms: Millis::from_secs(15),
    }
}

fn abandoned(name: &str) -> ContactFact {
    ContactFact::ContactAbandoned {
        contact_id: contact(name),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        waited_ms: Millis::ZERO,
    }
}

fn flowed_out(name: &str) -> ContactFact {
    ContactFact::ContactFlowedOut {
        contact_id: contact(name),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        waited_ms: Millis::ZERO,
        reason: trunkline_domain::facts::FlowOutReason::QueueFull,
    }
}

fn left(name: &'static str) -> impl Fn(&RoutingFact) -> bool {
    move |fact| matches!(fact, RoutingFact::ContactDequeued { contact_id, .. } if *contact_id == contact(name))
}

fn names(facts: &[(Epoch, Recorded<RoutingFact>)]) -> Vec<&'static str> {
    facts.iter().map(|(_, recorded)| recorded.fact.name()).collect()
}

#[tokio::test]
async fn a_contact_is_offered_to_a_free_agent_and_leaves_its_queue_when_answered() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    let offer = floor.next_offer().await;
    assert_eq!((offer.contact_id.as_str(), offer.agent_id.as_str()), ("ctc_one", "agt_anna"));
    assert_eq!(offer.expires_at_ms, NOW.0 + 15_000);
    assert_eq!(floor.agent_state.state().held["agt_anna"].2, offer.token);

    let queues = process.client.clone().list_queues(ListQueuesRequest::default()).await.unwrap().into_inner();
    let view = &queues.queues[0];
    assert_eq!((view.queue_id.as_str(), view.waiting_count), ("que_aurora", 1));
    assert_eq!(view.waiting[0].offer_id, offer.offer_id);

    floor.tell(vec![connected(&offer)]).await;
    let facts = floor.facts_until(left("one")).await;
    assert_eq!(
        names(&facts),
        ["PartitionTaken", "ContactQueued", "OfferMade", "OfferAccepted", "ContactDequeued"]
    );
    let sequences: Vec<u64> = facts[1..].iter().map(|(_, it)| it.meta.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn the_story_of_a_contact_is_one_trace_from_queue_to_offer() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    let offer = floor.next_offer().await;
    floor.tell(vec![connected(&offer)]).await;
    let facts = floor.facts_until(left("one")).await;
    let contexts: Vec<&str> = facts[1..].iter().map(|(_, it)| it.meta.traceparent.as_str()).collect();
    for context in &contexts {
        assert_eq!(context[..36], TRACE[..36], "the trace of the contact");
        assert_ne!(*context, TRACE, "a span of its own");
    }
    let [queued, made, accepted, dequeued] = contexts[..] else { panic!("{contexts:?}") };
    assert_eq!((made, queued), (accepted, dequeued));
    assert_ne!(queued, made);
    assert_eq!(floor.media.state().traces, [made], "the media node goes on under the offer");
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn an_offer_that_nobody_answers_or_that_is_declined_goes_to_the_next_agent() {
    for refuse in [declined, unanswered] {
        let mut floor = Floor::new().await;
        let process = floor.start("routing").await;
        floor.agent_state.comes("anna").await;
        floor.hand.advance(Millis(10));
        floor.agent_state.comes("bert").await;
        floor.queues("one").await;
        let first = floor.next_offer().await;
        floor.tell(vec![refuse(&first)]).await;
        floor.agent_state.release(&first, ReleaseOutcome::Declined).await;
        let second = floor.next_offer().await;
        assert_eq!((first.agent_id.as_str(), second.agent_id.as_str()), ("agt_anna", "agt_bert"));
        floor.tell(vec![connected(&second)]).await;
        let facts = floor.facts_until(left("one")).await;
        let rounds: Vec<u32> = facts
            .iter()
            .filter_map(|(_, it)| match it.fact {
                RoutingFact::OfferMade { round, .. } => Some(round),
                _ => None,
            })
            .collect();
        assert_eq!(rounds, [1, 2]);
        process.stop().await;
        floor.close().await;
    }
}

#[tokio::test]
async fn a_caller_who_leaves_while_it_rings_ends_the_offer() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    let offer = floor.next_offer().await;
    floor.tell(vec![abandoned("one")]).await;
    floor.agent_state.release(&offer, ReleaseOutcome::CallerGone).await;
    let facts = floor.facts_until(left("one")).await;
    let withdrawn = facts
        .iter()
        .any(|(_, it)| matches!(&it.fact, RoutingFact::OfferEnded { end: OfferEnd::Withdrawn, .. }));
    assert!(withdrawn, "{:?}", names(&facts));
    // The agent is free for the next one.
    floor.queues("two").await;
    assert_eq!(floor.next_offer().await.agent_id, "agt_anna");
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn a_contact_that_its_node_does_not_know_costs_the_agent_nothing() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    floor.media.state().gone.insert("ctc_one".to_owned());
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    floor.facts_until(|fact| matches!(fact, RoutingFact::OfferEnded { .. })).await;
    floor.tell(vec![abandoned("one")]).await;
    floor.facts_until(left("one")).await;
    floor.queues("two").await;
    assert_eq!(floor.next_offer().await.contact_id, "ctc_two");
    assert_eq!(floor.agent_state.state().rescinded.len(), 1);
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn what_agent_state_did_not_decide_is_asked_again_so_that_no_agent_is_held_for_nothing() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    // The reservation is made, but its answer is lost; and the release finds no room at first.
    floor.agent_state.state().unheard.push(tonic::Status::internal("the answer broke off"));
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    let offer = floor.next_offer().await;
    assert_eq!(offer.token, floor.agent_state.state().held["agt_anna"].2);

    let busy = status_of(RejectionKind::ResourceExhausted, "OVERLOADED", "too many commands wait");
    floor.agent_state.state().unheard.push(busy);
    floor.hand.advance(Millis(17_000));
    timely(async {
        while floor.agent_state.state().rescinded.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(floor.agent_state.state().unheard.is_empty());
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn a_node_that_does_not_hear_is_told_again() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    floor.media.state().deaf_count = 3;
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    assert_eq!(floor.next_offer().await.contact_id, "ctc_one");
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn an_offer_of_which_nothing_is_heard_lapses() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    floor.agent_state.comes("anna").await;
    floor.hand.advance(Millis(10));
    floor.agent_state.comes("bert").await;
    floor.queues("one").await;
    let first = floor.next_offer().await;
    floor.hand.advance(Millis(17_000));
    let second = floor.next_offer().await;
    assert_eq!((first.agent_id.as_str(), second.agent_id.as_str()), ("agt_anna", "agt_bert"));
    timely(async {
        while floor.media.state().cancelled.is_empty() || floor.agent_state.state().rescinded.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn who_finds_the_queue_full_is_turned_away_by_its_node_and_a_new_owner_tells_it_too() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    for name in ["one", "two", "three"] {
        floor.queues(name).await;
    }
    // The first word is lost.
    floor.media.state().deaf_count = 1;
    floor.queues("four").await;
    let facts = floor.facts_until(|fact| matches!(fact, RoutingFact::ContactTurnedAway { .. })).await;
    let last = &facts.last().unwrap().1;
    assert_eq!(last.meta.traceparent, TRACE, "it stays in the contact's trace");
    assert!(matches!(last.fact, RoutingFact::ContactTurnedAway { waiting_count: 3, .. }), "{last:?}");
    timely(async {
        while floor.media.state().deaf_count > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    floor.hand.advance(Millis(1_000));
    let four = ("ctc_four".to_owned(), 1, FlowOutReason::QueueFull.into());
    let told = async |count| {
        while floor.media.state().turned_away != vec![four.clone(); count] {
            tokio::task::yield_now().await;
        }
    };
    timely(told(1)).await;
    process.stop().await;
    let process = floor.start("routing").await;
    timely(told(2)).await;
    floor.tell(vec![flowed_out("four")]).await;
    floor.facts_until(left("four")).await;
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn a_restart_in_the_middle_of_an_offer_loses_nothing() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    floor.queues("two").await;
    let offer = floor.next_offer().await;
    process.stop().await;
    floor.hand.advance(Millis(10));
    // While nobody routes, somebody else comes.
    floor.queues("three").await;
    floor.agent_state.comes("bert").await;
    let process = floor.start("routing").await;
    let again = floor.next_offer().await;
    assert_eq!((&again.offer_id, again.token), (&offer.offer_id, offer.token), "the same offer");
    assert!(again.routing_epoch > offer.routing_epoch);
    let next = floor.next_offer().await;
    assert_eq!((next.contact_id.as_str(), next.agent_id.as_str()), ("ctc_two", "agt_bert"));
    floor.tell(vec![connected(&again), connected(&next), abandoned("three")]).await;
    let facts = floor.facts_until(left("three")).await;
    let count = |name| names(&facts).iter().filter(|it| **it == name).count();
    assert_eq!((count("ContactQueued"), count("OfferMade"), count("ContactDequeued")), (3, 2, 3));
    let context = |wanted: &str| {
        let found = facts.iter().find(|(_, it)| it.fact.name() == wanted);
        found.unwrap().1.meta.traceparent.clone()
    };
    assert_eq!(context("OfferAccepted"), context("OfferMade"), "the story goes on under its own context");
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn an_owner_that_lost_its_lease_does_nothing_until_it_has_another() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    floor.agent_state.comes("anna").await;
    let first = floor.agent_state.state().owner.clone().unwrap().1;
    floor.agent_state.state().withheld = true;
    floor.hand.advance(Millis(20_000));
    is_unready(&process.health, "waits for its own lease routing/0 to lapse").await;
    floor.queues("one").await;
    let status = process.client.clone().list_queues(ListQueuesRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    floor.agent_state.state().withheld = false;
    floor.hand.advance(Millis(20_000));
    let offer = floor.next_offer().await;
    assert!(offer.routing_epoch > first);
    let facts = floor.facts_until(|fact| matches!(fact, RoutingFact::OfferMade { .. })).await;
    let queued = facts.iter().find(|(_, it)| it.fact.name() == "ContactQueued").unwrap();
    assert_eq!(queued.0, Epoch(offer.routing_epoch), "the lost owner had not written it");
    assert!(floor.agent_state.state().refused.is_empty(), "the lost owner had not asked");
    process.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn of_two_who_believe_they_own_a_partition_only_the_newer_counts() {
    let mut floor = Floor::new().await;
    let stale = floor.start("stale").await;
    floor.agent_state.comes("anna").await;
    let old = floor.agent_state.state().owner.clone().unwrap().1;
    floor.agent_state.state().careless = true;
    let fresh = floor.start("fresh").await;
    let new = floor.agent_state.state().owner.clone().unwrap().1;
    floor.queues("one").await;
    let offer = floor.next_offer().await;
    assert_eq!(offer.routing_epoch, new);
    // The stale owner wrote too, behind the other's fence.
    let mut raw = floor.log.read(LogName::Routing, Cell(0), ReadFrom::Start).await.unwrap();
    timely(async {
        let mut fenced = false;
        loop {
            let record = raw.next().await.unwrap().record;
            fenced |= record.epoch == Epoch(new) && record.sequence == 0;
            if fenced && record.epoch == Epoch(old) {
                return;
            }
        }
    })
    .await;
    floor.tell(vec![connected(&offer)]).await;
    let facts = floor.facts_until(left("one")).await;
    let of_contact = || facts.iter().filter(|(_, it)| it.meta.correlation_id.is_some());
    assert!(of_contact().all(|(epoch, _)| *epoch == Epoch(new)), "{facts:?}");
    assert_eq!(of_contact().filter(|(_, it)| it.fact.name() == "OfferMade").count(), 1);
    let granted = floor.agent_state.state().granted.clone();
    assert!(granted.iter().all(|(epoch, _)| *epoch == new), "{granted:?}");
    stale.stop().await;
    fresh.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn why_a_contact_waits_is_told_and_what_is_decided_about_it_is_a_fact_before_it_is_answered() {
    let mut floor = Floor::new().await;
    let process = floor.start("routing").await;
    let mut client = process.client.clone();
    floor.queues("one").await;
    floor.queues("two").await;
    floor.facts_until(|fact| fact.contact() == Some(&contact("two"))).await;
    let explain = |name: &str| ExplainContactRequest { contact_id: contact(name).to_string() };
    let it = client.explain_contact(explain("two")).await.unwrap().into_inner();
    assert_eq!((it.queue_id.as_str(), it.place, it.reason.as_str()), ("que_aurora", 2, "nobody_signed_in"));
    assert_eq!(it.releases, ["one of 2 who can serve it signs in"]);
    assert_eq!(it.staffing.unwrap().able_count, 2);

    let signed = || ("ada".to_owned(), "a storm".to_owned());
    let (author, reason) = signed();
    let request = ReprioritiseContactRequest { contact_id: it.contact_id, priority: -1, author, reason };
    client.reprioritise_contact(request.clone()).await.unwrap();
    let it = client.explain_contact(explain("two")).await.unwrap().into_inner();
    assert_eq!((it.place, it.priority), (1, -1));
    let facts = floor.facts_until(|fact| matches!(fact, RoutingFact::ContactReplanned { .. })).await;
    let RoutingFact::ContactReplanned { author, reason, priority, .. } = &facts.last().unwrap().1.fact else {
        panic!("{facts:?}")
    };
    assert_eq!((author.as_str(), reason.as_str(), *priority), ("ada", "a storm", -1));

    let (author, reason) = signed();
    let replan = ReplanQueueRequest { queue_id: queue().to_string(), author, reason };
    assert_eq!(client.replan_queue(replan).await.unwrap().into_inner().contact_count, 2);
    let it = client.explain_contact(explain("two")).await.unwrap().into_inner();
    assert_eq!((it.place, it.priority), (2, 0), "as its queue is defined");

    let (author, reason) = signed();
    let contact_id = contact("one").to_string();
    let goes = MoveContactRequest { contact_id, queue_id: "que_rest".to_owned(), author, reason };
    client.move_contact(goes.clone()).await.unwrap();
    let one = ("ctc_one".to_owned(), 1, "que_rest".to_owned());
    timely(async {
        while floor.media.state().sent_on.first() != Some(&one) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(client.explain_contact(explain("one")).await.unwrap().into_inner().reason, "leaves");

    // What makes no sense is refused with its reason.
    for (refused, expected) in [
        (client.explain_contact(explain("nine")).await.map(drop), (tonic::Code::NotFound, "NOT_WAITING")),
        (
            client.explain_contact(ExplainContactRequest { contact_id: "two".to_owned() }).await.map(drop),
            (tonic::Code::InvalidArgument, "MALFORMED_ID"),
        ),
        (
            client
                .reprioritise_contact(ReprioritiseContactRequest { author: String::new(), ..request.clone() })
                .await
                .map(drop),
            (tonic::Code::InvalidArgument, "NOT_SIGNED"),
        ),
        (
            client
                .reprioritise_contact(ReprioritiseContactRequest { priority: 5_000, ..request })
                .await
                .map(drop),
            (tonic::Code::InvalidArgument, "BAD_PRIORITY"),
        ),
        (
            client
                .move_contact(MoveContactRequest { queue_id: "que_gone".to_owned(), ..goes })
                .await
                .map(drop),
            (tonic::Code::NotFound, "UNKNOWN_QUEUE"),
        ),
    ] {
        let status = refused.unwrap_err();
        assert_eq!((status.code(), reason_of(&status).unwrap()), expected);
    }
    process.stop().await;
    floor.close().await;
}
