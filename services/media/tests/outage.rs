//! Calls go on while the event log cannot be written, and their facts come to be in it when it is back.

#![allow(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod support;

use std::time::{Duration, Instant};

use support::ua::Ua;
use support::*;
use tokio::net::UdpSocket;
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_media::MediaConfig;
use trunkline_media::sip::message::{Message, Method};
use trunkline_runtime::telemetry::names as metrics;

/// The usual settings, with a log that counts as slow soon.
fn config(world: &World) -> MediaConfig {
    MediaConfig { spool_after_ms: 50, ..world.config() }
}

/// Waits until something holds; what is asked changes by itself and tells nobody.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let asked = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// What the node remarks of its log, or why it is not ready.
fn said(node: &Node) -> String {
    let of_log = |said: Vec<(String, String)>| said.into_iter().find(|(name, _)| name == "media/log");
    let said = of_log(node.health.remarks()).or_else(|| of_log(node.health.reasons()));
    said.map(|(_, words)| words).unwrap_or_default()
}

fn reels(world: &World) -> usize {
    let folder = world.dir.path().join("media/spool/contacts/0");
    std::fs::read_dir(folder).map_or(0, Iterator::count)
}

/// An OPTIONS outside any dialog, and its status.
async fn options(ua: &mut Ua, name: &str) -> Option<u16> {
    let mut options = ua.invite("4930111111", SALES, name);
    let uri = options.uri().unwrap().to_owned();
    options.start = trunkline_media::sip::message::Start::Request { method: Method::Options, uri };
    for (name, value) in &mut options.headers {
        if name == "CSeq" {
            *value = "1 OPTIONS".to_owned();
        }
    }
    ua.send(&options).await;
    ua.answer(Method::Options).await.status()
}

/// The names of one contact's facts in the order they are in the log; their numbers have no gap.
#[track_caller]
fn story(facts: &[Recorded<ContactFact>], sip_call_id: &str) -> Vec<&'static str> {
    let named = |fact: &ContactFact| matches!(fact, ContactFact::ContactArrived { sip_call_id: it, .. } if it == sip_call_id);
    let arrived = facts.iter().find(|it| named(&it.fact)).expect(sip_call_id);
    let of_contact: Vec<_> =
        facts.iter().filter(|it| it.meta.stream == arrived.meta.stream).cloned().collect();
    let numbers: Vec<u64> = of_contact.iter().map(|it| it.meta.sequence).collect();
    assert_eq!(numbers, (1..=of_contact.len() as u64).collect::<Vec<_>>(), "{sip_call_id}");
    names(&of_contact)
}

const ABANDONED: [&str; 7] = [
    "ContactArrived",
    "LegAnswered",
    "PromptStarted",
    "PromptFinished",
    "ContactQueueRequested",
    "ContactAbandoned",
    "ContactEnded",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_hangs_up_and_another_hears_music_while_the_log_is_away() {
    let world = World::new().await;
    let node = world.start(config(&world)).await;
    assert_eq!(said(&node), "");
    let mut waiting = Ua::new(node.sip).await;
    let (invite, ok) = waiting.call("4930111111", SALES, "waits-already").await;
    world.fact("ContactQueueRequested").await;

    world.outage.begin();
    let began = Instant::now();
    waiting.bye(&invite, &ok).await;
    let mut caller = Ua::new(node.sip).await;
    let audio = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut fresh = caller.invite("4930111112", SALES, "comes-meanwhile");
    let port = audio.local_addr().unwrap().port().to_string();
    fresh.body = caller.sdp().replace("40000", &port).into_bytes();
    let fresh_ok = answered(&mut caller, &fresh).await;
    // The greeting is 10 packets long: what follows it is music, behind the facts of greeting and queue.
    let mut packet = [0; 2_048];
    for _ in 0..30 {
        tokio::time::timeout(PATIENCE, audio.recv(&mut packet)).await.expect("audio").unwrap();
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(node.health.ready());
    until("the remark", || said(&node).starts_with("spools its facts: log contacts/0 is slow, ")).await;
    assert_eq!(node.telemetry.counter(metrics::SPOOL_EPISODES, &[]).value(), 1);
    assert!(node.telemetry.gauge(metrics::SPOOL_RECORDS, &[]).value() >= 3);
    assert_eq!(causes(&world.facts_until("what is there", |facts| facts.len() >= 5).await), []);

    // The brokers stay away for longer than an append may take, and come back.
    world.outage.give_up();
    until("why", || said(&node).contains("no broker acknowledged it")).await;
    assert!(node.health.ready());
    world.outage.end();
    until("that it has drained", || said(&node).is_empty()).await;
    until("that the spool is gone", || reels(&world) == 0).await;
    caller.bye(&fresh, &fresh_ok).await;
    let facts = world.ended(2).await;
    assert_eq!(story(&facts, "waits-already"), ABANDONED);
    assert_eq!(story(&facts, "comes-meanwhile"), ABANDONED);
    assert_eq!(causes(&facts), [ContactEndCause::Abandoned; 2]);
    node.shutdown.begin();
    node.served.await.unwrap().unwrap();
}

/// Sends an INVITE and takes the call.
async fn answered(ua: &mut Ua, invite: &Message) -> Message {
    ua.send(invite).await;
    let ok = ua.answer(Method::Invite).await;
    assert_eq!(ok.status(), Some(200));
    let ack = ua.inside(Method::Ack, invite, &ok, 1);
    ua.send(&ack).await;
    ok
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_is_short_of_room_takes_no_new_calls_and_lets_those_that_are_up_end() {
    let world = World::new().await;
    let node = world.start(MediaConfig { spool_bytes_max: 20_000, ..config(&world) }).await;
    world.outage.begin();
    let mut up = Vec::new();
    let refusal = loop {
        assert!(up.len() < 60, "nobody was refused; {}", said(&node));
        let mut caller = Ua::new(node.sip).await;
        let invite = caller.invite("4930111111", SALES, &format!("call-{}", up.len()));
        caller.send(&invite).await;
        let answer = caller.answer(Method::Invite).await;
        if answer.status() != Some(200) {
            break answer;
        }
        let ack = caller.inside(Method::Ack, &invite, &answer, 1);
        caller.send(&ack).await;
        up.push((caller, invite, answer));
    };
    assert_eq!((refusal.status(), refusal.value("retry-after")), (Some(503), Some("5")));
    assert!(up.len() > 2, "{}", up.len());
    until("why", || said(&node).starts_with("the spool is full, ")).await;
    assert!(said(&node).contains(" of 20000 bytes: no new calls; log contacts/0 is slow"), "{}", said(&node));
    assert!(!node.health.ready());
    let mut peer = Ua::new(node.sip).await;
    assert_eq!(options(&mut peer, "full").await, Some(503));
    // Two of them end now, the others when the log is back.
    for (caller, invite, ok) in &mut up[..2] {
        caller.bye(invite, ok).await;
    }
    world.outage.end();
    until("that it has drained", || said(&node).is_empty() && node.health.ready()).await;
    assert_eq!(options(&mut peer, "room-again").await, Some(200));
    for (caller, invite, ok) in &mut up[2..] {
        caller.bye(invite, ok).await;
    }
    let facts = world.ended(up.len()).await;
    for number in 0..up.len() {
        let story = story(&facts, &format!("call-{number}"));
        assert!(story.ends_with(&["ContactAbandoned", "ContactEnded"]) || story.len() < 6, "{story:?}");
    }
    peer.call("4930111113", SALES, "behind-it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_spool_ends_the_ownership_and_the_next_one_begins_when_it_has_drained() {
    let world = World::new().await;
    let node = world.start(MediaConfig { spool_bytes_max: 1_000, ..config(&world) }).await;
    world.outage.begin();
    let mut caller = Ua::new(node.sip).await;
    let (_, ok) = caller.call("4930111111", SALES, "too-much").await;
    let bye = caller.request(Method::Bye).await;
    assert_eq!(bye.call_id(), ok.call_id());
    caller.respond(&bye, 200, false).await;
    let owns = || !node.health.reasons().iter().any(|(name, _)| name == "media");
    until("that the ownership is over", || !owns()).await;
    let mut other = Ua::new(node.sip).await;
    let invite = other.invite("4930111112", SALES, "refused");
    other.send(&invite).await;
    assert_eq!(other.answer(Method::Invite).await.status(), Some(503));
    // An attempt to drain fails; the next one succeeds.
    world.outage.give_up();
    world.outage.end();
    until("that it owns again", || owns() && node.health.ready()).await;
    until("that the spool is gone", || reels(&world) == 0).await;
    let facts = world.ended(1).await;
    let told = story(&facts, "too-much");
    assert!(
        told.starts_with(&["ContactArrived", "LegAnswered"]) && told.ends_with(&["ContactEnded"]),
        "{told:?}"
    );
    assert_eq!(causes(&facts), [ContactEndCause::MediaLost]);
    other.call("4930111113", SALES, "behind-it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_had_spooled_when_it_stopped_is_in_the_log_before_it_takes_calls_again() {
    let world = World::new().await;
    let node = world.start(config(&world)).await;
    world.outage.begin();
    let mut caller = Ua::new(node.sip).await;
    caller.call("4930111111", SALES, "before-the-stop").await;
    until("that it spools", || said(&node).contains(" 2 records")).await;
    node.shutdown.begin();
    node.served.await.unwrap().unwrap();
    assert!(reels(&world) > 0);
    world.outage.give_up();
    world.outage.end();
    let node = world.start(config(&world)).await;
    let facts = world.ended(1).await;
    let told = story(&facts, "before-the-stop");
    assert!(told.ends_with(&["ContactFlowedOut", "ContactEnded"]), "{told:?}");
    assert_eq!(causes(&facts), [ContactEndCause::Drained]);
    until("that the spool is gone", || reels(&world) == 0).await;
    drop(node);
}
