//! What the SIP port does not take is counted, and why.

#![allow(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod support;

use support::ua::Ua;
use support::*;
use trunkline_domain::vocabulary::ContactEndCause;
use trunkline_media::MediaConfig;
use trunkline_media::sip::message::Method;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_which_there_is_no_room_is_answered_503_and_counted() {
    let world = World::new().await;
    let node = world.start(MediaConfig { contact_count_max: 1, ..world.config() }).await;
    let mut caller = Ua::new(node.sip).await;
    caller.call("4930111111", SALES, "the-only-one").await;
    assert_eq!(refused(&node), Vec::<String>::new());
    let mut other = Ua::new(node.sip).await;
    let invite = other.invite("4930111112", SALES, "one-too-many");
    other.send(&invite).await;
    assert_eq!(other.answer(Method::Invite).await.status(), Some(503));
    assert_eq!(refused(&node), ["unavailable 1"]);
    assert_eq!(causes(&world.ended(1).await), [ContactEndCause::Overloaded]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_beyond_the_transactions_and_one_that_is_none_are_counted_and_a_keepalive_is_not() {
    let world = World::new().await;
    let config = MediaConfig { transaction_count_max: 1, ring_ms: 60_000, ..world.config() };
    let node = world.start(config).await;
    let mut caller = Ua::new(node.sip).await;
    let ringing = caller.invite("4930111111", SALES, "it-rings");
    caller.send(&ringing).await;
    caller.until(|m| m.status() == Some(180)).await;
    let noise = Ua::new(node.sip).await;
    noise.raw(b"\r\n\r\n").await;
    noise.raw(b"  \r\n").await;
    noise.raw(b"hello").await;
    let mut other = Ua::new(node.sip).await;
    // Read behind the others: what is counted here was counted before.
    let invite = other.invite("4930111112", SALES, "one-too-many");
    other.send(&invite).await;
    let refusal = other.until(|m| m.status().is_some_and(|status| status >= 200)).await;
    assert_eq!((refusal.status(), refusal.value("retry-after")), (Some(503), Some("5")));
    assert_eq!(refused(&node), ["no message 1", "overloaded 1"]);
}
