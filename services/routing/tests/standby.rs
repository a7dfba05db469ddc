//! Two routing processes, of which one owns: the other takes over when it dies or stands still.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::time::Instant;

use support::*;
use tonic::Code;
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_proto::media::v1::OfferContactRequest;
use trunkline_proto::routing::v1::ListQueuesRequest;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::{EventLog, ReadFrom};
use trunkline_runtime::grpc::reason_of;

const STANDS_BY: &str = "stands by: nod_first has routing/0";
const STANDS_BY_SECOND: &str = "stands by: nod_second has routing/0";

/// A conversation that is over at once, so that the agent is free again.
async fn answered(floor: &mut Floor, offer: &OfferContactRequest) {
    let fact = ContactFact::ContactConnected {
        contact_id: offer.contact_id.parse().unwrap(),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        offer_id: offer.offer_id.parse().unwrap(),
        agent_id: offer.agent_id.parse().unwrap(),
        leg_id: LegId::from_name("x").unwrap(),
        waited_ms: Millis::ZERO,
    };
    floor.tell(vec![fact]).await;
    floor.agent_state.release(offer, ReleaseOutcome::Completed).await;
}

async fn owned_by(floor: &Floor, name: &str) {
    let owner = node(name).to_string();
    timely(async {
        while floor.agent_state.state().owner.as_ref().is_none_or(|(holder, _)| *holder != owner) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
}

fn queued(name: &'static str) -> impl Fn(&RoutingFact) -> bool {
    move |fact| matches!(fact, RoutingFact::ContactQueued { contact_id, .. } if *contact_id == contact(name))
}

fn left(name: &'static str) -> impl Fn(&RoutingFact) -> bool {
    move |fact| matches!(fact, RoutingFact::ContactDequeued { contact_id, .. } if *contact_id == contact(name))
}

fn offers_made(facts: &[(Epoch, Recorded<RoutingFact>)]) -> Vec<String> {
    let made = facts.iter().filter_map(|(_, it)| match &it.fact {
        RoutingFact::OfferMade { contact_id, .. } => Some(contact_id.to_string()),
        _ => None,
    });
    made.collect()
}

#[tokio::test]
async fn a_standby_is_ready_with_a_remark_and_says_at_once_that_it_does_not_own() {
    let mut floor = Floor::new().await;
    let first = floor.start("first").await;
    let second = floor.start_unready("second");
    remarks(&second.health, STANDS_BY).await;
    floor.queues("one").await;
    floor.facts_until(queued("one")).await;

    let refused = second.client.clone().list_queues(ListQueuesRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused)), (Code::Unavailable, Some("NOT_OWNED")));
    let queues = first.client.clone().list_queues(ListQueuesRequest::default()).await.unwrap().into_inner();
    assert_eq!(queues.queues[0].waiting_count, 1);

    // Who owns cannot be known while agent-state does not answer.
    floor.agent_state.state().busy = true;
    floor.hand.advance(Millis(10_000));
    is_unready(&second.health, "nobody grants the lease routing/0: too many commands wait").await;
    floor.agent_state.state().busy = false;
    floor.hand.advance(Millis(10_000));
    remarks(&second.health, STANDS_BY).await;

    // What is given back is taken at the next question, long before it would have lapsed.
    first.stop().await;
    floor.hand.advance(Millis(10_000));
    timely(async {
        while !second.health.ready() || !second.health.remarks().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let queues = second.client.clone().list_queues(ListQueuesRequest::default()).await.unwrap().into_inner();
    assert_eq!(queues.queues[0].waiting_count, 1);
    second.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn when_the_owner_dies_the_standby_serves_in_the_order_of_waiting() {
    let mut floor = Floor::live().await;
    let first = floor.start_apart("first");
    timely(first.health.became_ready()).await;
    let second = floor.start_apart("second");
    remarks(&second.health, STANDS_BY).await;
    floor.queues("one").await;
    floor.queues("two").await;
    let facts = floor.facts_until(queued("two")).await;
    let old = facts.last().unwrap().0;

    let died_at = Instant::now();
    first.kill().await;
    // While nobody owns, somebody else comes, and somebody who could serve.
    floor.queues("three").await;
    floor.agent_state.comes("anna").await;
    let mut order = Vec::new();
    for _ in 0..3 {
        let offer = floor.next_offer().await;
        if order.is_empty() {
            println!("the first offer came {} ms after the owner died", died_at.elapsed().as_millis());
        }
        assert!(Epoch(offer.routing_epoch) > old);
        answered(&mut floor, &offer).await;
        order.push(offer.contact_id);
    }
    assert_eq!(order, ["ctc_one", "ctc_two", "ctc_three"]);
    timely(second.health.became_ready()).await;
    let facts = floor.facts_until(left("three")).await;
    assert_eq!(offers_made(&facts), order, "each is offered once");
    second.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn an_owner_that_stood_still_for_longer_than_its_lease_does_nothing_more_under_it() {
    let mut floor = Floor::live().await;
    let first = floor.start_apart("first");
    timely(first.health.became_ready()).await;
    let second = floor.start_apart("second");
    remarks(&second.health, STANDS_BY).await;
    // The owner is in the middle of telling a node that does not hear.
    floor.media.state().deaf_count = u32::MAX;
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    timely(async {
        while floor.media.state().epochs.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await;
    let old = floor.media.state().epochs[0];

    let frozen = first.freeze().await;
    let stopped_at = Instant::now();
    owned_by(&floor, "second").await;
    // What it had sent before it stopped was heard long ago.
    let told_count = floor.media.state().epochs.len();
    floor.media.state().deaf_count = 0;
    let again = floor.next_offer().await;
    println!("the offer was made again {} ms after the owner stopped", stopped_at.elapsed().as_millis());
    assert_eq!(again.contact_id, "ctc_one");
    assert!(again.routing_epoch > old);
    floor.agent_state.comes("bert").await;
    floor.queues("two").await;
    let next = floor.next_offer().await;
    assert_eq!((next.contact_id.as_str(), next.routing_epoch), ("ctc_two", again.routing_epoch));

    drop(frozen);
    remarks(&first.health, STANDS_BY_SECOND).await;
    let told = floor.media.state().epochs[told_count..].to_vec();
    assert!(told.iter().all(|epoch| *epoch == again.routing_epoch), "told by {told:?}");
    let granted = floor.agent_state.state().granted.clone();
    let (before, after): (Vec<_>, Vec<_>) = granted.iter().partition(|(epoch, _)| *epoch == old);
    assert_eq!((before.len(), after.len()), (1, 1), "{granted:?}");
    assert!(floor.agent_state.state().refused.is_empty(), "it had not asked");
    answered(&mut floor, &again).await;
    answered(&mut floor, &next).await;
    let facts = floor.facts_until(left("two")).await;
    assert_eq!(offers_made(&facts), ["ctc_one", "ctc_two"]);
    first.stop().await;
    second.stop().await;
    floor.close().await;
}

#[tokio::test]
async fn an_owner_whose_clock_stood_still_has_no_effect_and_comes_back_as_a_standby() {
    let mut floor = Floor::new().await;
    let (clock, hand) = Clock::manual(NOW);
    let first = floor.start_at("first", &clock);
    timely(first.health.became_ready()).await;
    let second = floor.start_unready("second");
    remarks(&second.health, STANDS_BY).await;
    let old = floor.agent_state.state().owner.clone().unwrap().1;

    // It believes in its lease for ever; for everybody else it has lapsed.
    floor.hand.advance(Millis(60_000));
    owned_by(&floor, "second").await;
    floor.agent_state.comes("anna").await;
    floor.queues("one").await;
    let offer = floor.next_offer().await;
    let new = floor.agent_state.state().owner.clone().unwrap().1;
    assert_eq!(offer.routing_epoch, new);
    timely(async {
        while floor.agent_state.state().refused.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(floor.agent_state.state().refused.iter().all(|epoch| *epoch == old));
    let mut raw = floor.log.read(LogName::Routing, Cell(0), ReadFrom::Start).await.unwrap();
    timely(async {
        let mut fenced = false;
        loop {
            let record = raw.next().await.unwrap().record;
            fenced |= record.epoch == Epoch(new);
            if fenced && record.epoch == Epoch(old) {
                return;
            }
        }
    })
    .await;

    // Its clock goes on.
    hand.set(floor.hand.now());
    remarks(&first.health, STANDS_BY_SECOND).await;
    floor.queues("two").await;
    floor.facts_until(queued("two")).await;
    answered(&mut floor, &offer).await;
    let next = floor.next_offer().await;
    assert_eq!((next.contact_id.as_str(), next.routing_epoch), ("ctc_two", new));
    second.stop().await;
    // It looks again in a while, by its own clock, and nobody's clock is ahead.
    floor.hand.advance(Millis(10_000));
    hand.set(floor.hand.now());
    let last = floor.next_offer().await;
    assert_eq!(last.offer_id, next.offer_id, "the first owns again, and knows what the second did");
    assert!(last.routing_epoch > new);
    let facts = floor
        .facts_until(
            |fact| matches!(fact, RoutingFact::OfferMade { contact_id, .. } if *contact_id == contact("two")),
        )
        .await;
    assert_eq!(offers_made(&facts), ["ctc_one", "ctc_two"], "each is offered once");
    assert!(facts.iter().skip(1).all(|(epoch, _)| *epoch == Epoch(new)), "what it wrote is void: {facts:?}");
    first.stop().await;
    floor.close().await;
}
