//! Whole calls over real sockets, and the facts they leave.

#![allow(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use support::ua::Ua;
use support::*;
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_media::sip::message::{Message, Method};
use trunkline_proto::agent_state::v1::ReservationOutcome;
use trunkline_proto::contacts::v1::FlowOutReason as WireReason;
use trunkline_proto::media::v1::*;
use trunkline_runtime::telemetry::names as metrics;

/// A registered phone of Anna's, without the REGISTER.
async fn phone(world: &World, node: &Node) -> Ua {
    let phone = Ua::new(node.sip).await;
    world
        .agent_state
        .tell(AgentFact::DeviceRegistered {
            agent_id: id("agt_anna"),
            device_id: id("dev_anna"),
            contact_uri: format!("sip:anna@{}", phone.address),
            node_id: world.node_id.clone(),
            expires_at: Timestamp(i64::MAX),
        })
        .await;
    phone
}

fn offer(contact_id: &ContactId, number: u32, epoch: u64) -> OfferContactRequest {
    OfferContactRequest {
        offer_id: format!("ofr_{number}"),
        contact_id: contact_id.to_string(),
        agent_id: "agt_anna".to_owned(),
        token: 7,
        cell: 0,
        routing_epoch: epoch,
        expires_at_ms: i64::MAX,
        visit: 1,
    }
}

/// Offers until the node knows Anna's phone: the registration travels through the log.
async fn offer_until_it_rings(world: &World, node: &mut Node, phone: &Ua, contact_id: &ContactId) -> Message {
    for number in 1..200 {
        node.rpc.offer_contact(offer(contact_id, number, 1)).await.unwrap();
        let failed = format!("ofr_{number}");
        let reached = tokio::select! {
            invite = phone.request(Method::Invite) => Some(invite),
            _ = world.facts_until("offer failed", |facts| facts.iter().any(|f| matches!(
                &f.fact, ContactFact::OfferFailed { offer_id, .. } if offer_id.as_str() == failed))) => None,
        };
        if let Some(invite) = reached {
            return invite;
        }
    }
    panic!("the phone never rang");
}

async fn waiting(world: &World) -> ContactId {
    world.fact("ContactQueueRequested").await.fact.contact_id().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_greeted_queued_bridged_and_hung_up() {
    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    let (invite, ok) = caller.call("4930111111", SALES, "whole-call").await;
    assert!(String::from_utf8_lossy(&ok.body).contains("m=audio "));
    let contact_id = waiting(&world).await;
    let phone = phone(&world, &node).await;
    let ringing = offer_until_it_rings(&world, &mut node, &phone, &contact_id).await;
    assert!(ringing.value("from").unwrap().starts_with("\"Acme: Sales\" <sip:+4930111111@"));
    phone.respond(&ringing, 180, false).await;
    world.fact("OfferAlerting").await;
    phone.respond(&ringing, 200, true).await;
    let ack = phone.request(Method::Ack).await;
    assert_eq!(ack.call_id(), ringing.call_id());
    world.fact("ContactConnected").await;
    caller.bye(&invite, &ok).await;
    let bye = phone.request(Method::Bye).await;
    phone.respond(&bye, 200, false).await;
    let facts = world.ended(1).await;
    let told: Vec<&str> = names(&facts).into_iter().filter(|name| *name != "OfferFailed").collect();
    assert_eq!(
        told,
        [
            "ContactArrived",
            "LegAnswered",
            "PromptStarted",
            "PromptFinished",
            "ContactQueueRequested",
            "OfferAlerting",
            "LegAnswered",
            "ContactConnected",
            "ContactDisconnected",
            "ContactEnded",
        ]
    );
    assert_eq!(causes(&facts), [ContactEndCause::Completed]);
    let sequences: Vec<u64> = facts.iter().map(|f| f.meta.sequence).collect();
    assert_eq!(sequences, (1..=facts.len() as u64).collect::<Vec<_>>());
    let released = async {
        let mut released = world.agent_state.released.lock().await;
        while released.recv().await.unwrap().1 != ReservationOutcome::Completed {}
    };
    tokio::time::timeout(PATIENCE, released).await.expect("the reservation was released");
    node.shutdown.begin();
    node.served.await.unwrap().unwrap();
    let counted = |name| node.telemetry.counter(name, &[]).value();
    assert!(counted(metrics::RTP_PACKETS_SENT) > 0, "the greeting was audio");
    assert_eq!(counted(metrics::RTP_PACKETS_RECEIVED), 0, "neither caller nor agent sent any");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_accept_gives_no_audio_and_the_caller_waits_on() {
    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    world.agent_state.grants.store(false, Ordering::Release);
    let mut caller = Ua::new(node.sip).await;
    let (invite, ok) = caller.call("4930111111", SALES, "refused-accept").await;
    let contact_id = waiting(&world).await;
    let phone = phone(&world, &node).await;
    let ringing = offer_until_it_rings(&world, &mut node, &phone, &contact_id).await;
    phone.respond(&ringing, 200, true).await;
    phone.request(Method::Ack).await;
    let bye = phone.request(Method::Bye).await;
    phone.respond(&bye, 200, false).await;
    caller.bye(&invite, &ok).await;
    let facts = world.ended(1).await;
    assert!(!names(&facts).contains(&"ContactConnected"));
    assert_eq!(causes(&facts), [ContactEndCause::Abandoned]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_repeated_while_agent_state_has_no_room_for_it() {
    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    world.agent_state.busy.store(2, Ordering::Release);
    let mut caller = Ua::new(node.sip).await;
    caller.call("4930111111", SALES, "busy-release").await;
    let contact_id = waiting(&world).await;
    // Nobody's phone is registered: the offer fails at once, and its reservation must be given back.
    node.rpc.offer_contact(offer(&contact_id, 1, 1)).await.unwrap();
    let mut released = world.agent_state.released.lock().await;
    let released = tokio::time::timeout(PATIENCE, released.recv()).await.expect("it was released").unwrap();
    assert_eq!(released, ("ofr_1".to_owned(), ReservationOutcome::Failed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_declines_is_a_fact_and_one_that_rings_is_cancelled_when_the_caller_leaves() {
    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    let (invite, ok) = caller.call("4930111111", SALES, "declined").await;
    let contact_id = waiting(&world).await;
    let phone = phone(&world, &node).await;
    let ringing = offer_until_it_rings(&world, &mut node, &phone, &contact_id).await;
    phone.respond(&ringing, 603, false).await;
    phone.request(Method::Ack).await;
    world.fact("OfferDeclined").await;

    node.rpc.offer_contact(offer(&contact_id, 1_000, 1)).await.unwrap();
    let ringing = phone.request(Method::Invite).await;
    phone.respond(&ringing, 180, false).await;
    world.facts_until("alerting", |facts| names(facts).contains(&"OfferAlerting")).await;
    caller.bye(&invite, &ok).await;
    let cancel = phone.request(Method::Cancel).await;
    assert_eq!(cancel.value("via"), ringing.value("via"));
    phone.respond(&cancel, 200, false).await;
    // It crosses: the phone answers all the same.
    phone.respond(&ringing, 200, true).await;
    phone.request(Method::Ack).await;
    phone.request(Method::Bye).await;
    let facts = world.ended(1).await;
    assert!(names(&facts).ends_with(&["OfferWithdrawn", "ContactAbandoned", "ContactEnded"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_calls_say_why_and_leave_their_two_facts() {
    let world = World::new().await;
    let node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    for (from, to, status) in [(BLOCKED_CALLER, SALES, 486), ("4930111111", "4930000001", 404)] {
        let invite = caller.invite(from, to, &format!("refused-{status}"));
        caller.send(&invite).await;
        let refusal = caller.answer(Method::Invite).await;
        assert_eq!(refusal.status(), Some(status));
        caller.send(&caller_ack(&invite, &refusal)).await;
    }
    let mut unheard = caller.invite("4930111111", SALES, "refused-488");
    unheard.body =
        b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4 RTP/AVP 9\r\n"
            .to_vec();
    caller.send(&unheard).await;
    assert_eq!(caller.answer(Method::Invite).await.status(), Some(488));
    let facts = world.ended(3).await;
    assert_eq!(
        causes(&facts),
        [ContactEndCause::Blocked, ContactEndCause::UnknownNumber, ContactEndCause::SignallingFailed]
    );
    assert_eq!(facts.len(), 6);
}

/// The ACK of a refusal belongs to the INVITE's transaction.
fn caller_ack(invite: &Message, refusal: &Message) -> Message {
    Message::request(Method::Ack, invite.uri().unwrap())
        .with("Via", invite.value("via").unwrap())
        .with("From", invite.value("from").unwrap())
        .with("To", refusal.value("to").unwrap())
        .with("Call-ID", invite.call_id())
        .with("CSeq", "1 ACK")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_outside_the_hours_hears_so_and_is_hung_up_on() {
    let world = World::new().await;
    let node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    caller.call("4930111111", CLOSED, "closed").await;
    let bye = caller.request(Method::Bye).await;
    assert!(bye.value("reason").unwrap().contains("cause=16"));
    caller.respond(&bye, 200, false).await;
    let facts = world.ended(1).await;
    assert_eq!(causes(&facts), [ContactEndCause::Closed]);
    assert!(names(&facts).contains(&"BusinessHoursChecked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_cancelled_while_it_rings_ends_487() {
    let world = World::new().await;
    let node = world.start(trunkline_media::MediaConfig { ring_ms: 60_000, ..world.config() }).await;
    let mut caller = Ua::new(node.sip).await;
    let invite = caller.invite("4930111111", SALES, "cancelled");
    caller.send(&invite).await;
    caller.until(|m| m.status() == Some(180)).await;
    let mut cancel = Message::request(Method::Cancel, invite.uri().unwrap()).with("CSeq", "1 CANCEL");
    for name in ["Via", "From", "To", "Call-ID"] {
        cancel.push(name, invite.value(name).unwrap());
    }
    caller.send(&cancel).await;
    let mut statuses = Vec::new();
    while statuses.len() < 2 {
        let answer = caller.until(|m| m.status().is_some_and(|status| status >= 200)).await;
        let entry = (answer.cseq().unwrap().method, answer.status().unwrap());
        if !statuses.contains(&entry) {
            statuses.push(entry);
        }
    }
    assert!(statuses.contains(&(Method::Cancel, 200)) && statuses.contains(&(Method::Invite, 487)));
    assert_eq!(causes(&world.ended(1).await), [ContactEndCause::LeftInFlow]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_is_refused_and_a_superseded_routing_owner_too() {
    let world = World::new().await;
    let trunks = vec!["10.0.0.0/8".to_owned()];
    let mut node = world.start(trunkline_media::MediaConfig { trunks, ..world.config() }).await;
    let mut caller = Ua::new(node.sip).await;
    let invite = caller.invite("4930111111", SALES, "stranger");
    caller.send(&invite).await;
    assert_eq!(caller.answer(Method::Invite).await.status(), Some(403));

    let nobody: ContactId = id("ctc_nobody");
    let status = node.rpc.offer_contact(offer(&nobody, 1, 5)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    let status = node.rpc.offer_contact(offer(&nobody, 1, 4)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    let status = node.rpc.offer_contact(OfferContactRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_queue_is_full_is_hung_up_on_once() {
    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    caller.call("4930111111", SALES, "queue-full").await;
    let contact_id = waiting(&world).await;
    let full = |visit, routing_epoch| TurnAwayContactRequest {
        contact_id: contact_id.to_string(),
        visit,
        cell: 0,
        routing_epoch,
        reason: WireReason::QueueFull.into(),
        queue_id: String::new(),
    };
    // Of another visit, or without a reason of routing's: nothing happens.
    node.rpc.turn_away_contact(full(2, 5)).await.unwrap();
    for reason in [WireReason::Unspecified, WireReason::Drained] {
        let request = TurnAwayContactRequest { reason: reason.into(), ..full(1, 5) };
        let status = node.rpc.turn_away_contact(request).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    }
    let status = node.rpc.turn_away_contact(full(1, 4)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition);
    // Another queue goes with an overflow, and an overflow with another queue.
    for (reason, queue_id, code) in [
        (WireReason::QueueFull, "que_sales", tonic::Code::InvalidArgument),
        (WireReason::Overflowed, "", tonic::Code::InvalidArgument),
        (WireReason::Overflowed, "que", tonic::Code::InvalidArgument),
        (WireReason::Overflowed, "que_nowhere", tonic::Code::Unavailable),
    ] {
        let queue_id = queue_id.to_owned();
        let request = TurnAwayContactRequest { reason: reason.into(), queue_id, ..full(1, 5) };
        assert_eq!(node.rpc.turn_away_contact(request).await.unwrap_err().code(), code, "{reason:?}");
    }
    // Told twice, as after a lost answer.
    node.rpc.turn_away_contact(full(1, 5)).await.unwrap();
    node.rpc.turn_away_contact(full(1, 6)).await.unwrap();
    let bye = caller.request(Method::Bye).await;
    assert!(bye.value("reason").unwrap().contains("Q.850"));
    caller.respond(&bye, 200, false).await;
    let facts = world.ended(1).await;
    assert!(names(&facts).ends_with(&["ContactQueueRequested", "ContactFlowedOut", "ContactEnded"]));
    assert_eq!(causes(&facts), [ContactEndCause::FlowedOut]);
    let full = facts.iter().any(|it| {
        matches!(it.fact, ContactFact::ContactFlowedOut { visit: 1, reason: FlowOutReason::QueueFull, .. })
    });
    assert!(full);
    node.shutdown.begin();
    node.served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_overflows_waits_in_the_other_queue_with_the_time_it_has_waited() {
    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    let (invite, ok) = caller.call("4930111111", SALES, "overflows").await;
    let contact_id = waiting(&world).await;
    let goes = TurnAwayContactRequest {
        contact_id: contact_id.to_string(),
        visit: 1,
        cell: 0,
        routing_epoch: 5,
        reason: WireReason::Overflowed.into(),
        queue_id: "que_sales".to_owned(),
    };
    // Told twice, as after a lost answer: the second is about a visit that is over.
    node.rpc.turn_away_contact(goes.clone()).await.unwrap();
    node.rpc.turn_away_contact(goes).await.unwrap();
    caller.bye(&invite, &ok).await;
    let facts = world.ended(1).await;
    let told = ["ContactFlowedOut", "ContactQueueRequested", "ContactAbandoned", "ContactEnded"];
    assert!(names(&facts).ends_with(&told), "{:?}", names(&facts));
    let visits: Vec<(u32, Timestamp)> = facts
        .iter()
        .filter_map(|it| match it.fact {
            ContactFact::ContactQueueRequested { visit, enqueued_at, .. } => Some((visit, enqueued_at)),
            _ => None,
        })
        .collect();
    assert_eq!(visits.iter().map(|(visit, _)| *visit).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(visits[0].1, visits[1].1, "its place counts from when it first waited");
    node.shutdown.begin();
    node.served.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_answered_and_is_a_fact_and_a_request_out_of_order_is_not() {
    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    let (invite, ok) = caller.call("4930111111", SALES, "hold").await;
    let contact_id = waiting(&world).await;
    let phone = phone(&world, &node).await;
    let ringing = offer_until_it_rings(&world, &mut node, &phone, &contact_id).await;
    phone.respond(&ringing, 200, true).await;
    world.fact("ContactConnected").await;
    for (cseq, direction, fact) in [(2, "sendonly", "LegHeld"), (3, "sendrecv", "LegRetrieved")] {
        let sdp = caller.sdp() + "a=" + direction + "\r\n";
        let again = caller.inside(Method::Invite, &invite, &ok, cseq).with_body("application/sdp", sdp);
        caller.send(&again).await;
        let answer =
            caller.until(|m| m.cseq().is_some_and(|c| c.number == cseq) && m.status() >= Some(200)).await;
        assert_eq!(answer.status(), Some(200));
        let wanted = if direction == "sendonly" { "a=recvonly" } else { "a=sendrecv" };
        assert!(String::from_utf8_lossy(&answer.body).contains(wanted));
        let ack = caller.inside(Method::Ack, &invite, &ok, cseq);
        caller.send(&ack).await;
        world.fact(fact).await;
    }
    let late = caller.inside(Method::Info, &invite, &ok, 2);
    caller.send(&late).await;
    assert_eq!(caller.answer(Method::Info).await.status(), Some(500));
    let info = caller.inside(Method::Info, &invite, &ok, 4);
    caller.send(&info).await;
    assert_eq!(caller.answer(Method::Info).await.status(), Some(200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_ends_what_it_had_lost_once() {
    let world = World::new().await;
    let node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    caller.call("4930111111", SALES, "lost").await;
    waiting(&world).await;
    // As a kill does: nothing is said, nothing is written.
    node.served.abort();
    let _ = node.served.await;
    for _ in 0..2 {
        let again = world.start(world.config()).await;
        again.shutdown.begin();
        again.served.await.unwrap().unwrap();
    }
    let facts = world.ended(1).await;
    assert_eq!(causes(&facts), [ContactEndCause::MediaLost]);
    assert!(names(&facts).ends_with(&["ContactFlowedOut", "ContactEnded"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_lease_takes_no_call_and_takes_them_again_with_a_new_one() {
    let world = World::new().await;
    let config = trunkline_media::MediaConfig { lease_ttl_ms: 300, ..world.config() };
    let node = world.start(config).await;
    let mut ready = node.health.watch();
    world.agent_state.renews.store(false, Ordering::Release);
    tokio::time::timeout(PATIENCE, ready.wait_for(|ready| !*ready)).await.unwrap().unwrap();
    let mut caller = Ua::new(node.sip).await;
    let invite = caller.invite("4930111111", SALES, "no-lease");
    caller.send(&invite).await;
    let refusal = caller.answer(Method::Invite).await;
    assert_eq!((refusal.status(), refusal.value("retry-after")), (Some(503), Some("5")));
    world.agent_state.renews.store(true, Ordering::Release);
    tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await.unwrap().unwrap();
    let mut caller = Ua::new(node.sip).await;
    caller.call("4930111111", SALES, "lease-again").await;
    waiting(&world).await;
    assert!(caller.silent_for(Duration::from_millis(1)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_that_names_a_dead_tcp_address_holds_up_nobody_else() {
    // A listener whose queue is full takes no connection and refuses none.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dead = socket.listen(1).unwrap();
    let address = dead.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(500), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream.unwrap());
    }

    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    let mut caller = Ua::new(node.sip).await;
    caller.call("4930111111", SALES, "dead-tcp").await;
    let contact_id = waiting(&world).await;
    let phone = phone(&world, &node).await;
    let ringing = offer_until_it_rings(&world, &mut node, &phone, &contact_id).await;
    let ok = Message::response(&ringing, 200, "phone")
        .with("Contact", format!("<sip:phone@{address};transport=tcp>"))
        .with_body("application/sdp", phone.sdp());
    phone.send(&ok).await;
    world.fact("ContactConnected").await;
    // It never hears an ACK, so it says so again and again.
    for round in 0..3 {
        for _ in 0..8 {
            phone.send(&ok).await;
        }
        let mut other = Ua::new(node.sip).await;
        other.call("4930222222", SALES, &format!("meanwhile-{round}")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_strangers_leaves_room_for_the_calls_of_the_trunks() {
    let world = World::new().await;
    let mut config = world.config();
    (config.transaction_count_max, config.trunks) = (20, vec!["127.0.0.2".to_owned()]);
    let node = world.start(config).await;
    let mut stranger = Ua::new(node.sip).await;
    for number in 0..40 {
        // Nobody acknowledges the refusals.
        let invite = stranger.invite("4930111111", SALES, &format!("flood-{number}"));
        stranger.send(&invite).await;
        assert_eq!(stranger.answer(Method::Invite).await.status(), Some(403));
    }
    let mut trunk = Ua::at("127.0.0.2", node.sip).await;
    trunk.call("4930111111", SALES, "amid-the-flood").await;
}
