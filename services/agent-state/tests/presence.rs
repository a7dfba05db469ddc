//! An agent's day over gRPC: what its desktop and its supervisor ask, and that a restart forgets none of it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use tonic::{Code, Status};
use trunkline_agent_state::Config;
use trunkline_agent_state::store::Store;
use trunkline_agent_state::store::snapshot::{decode_state, encode_state};
use trunkline_domain::agent_state::FEATURE_LEVEL;
use trunkline_domain::vocabulary::Millis;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::directory::v1::{NotReadyReason, WrapUpMode};
use trunkline_runtime::grpc::reason_of;

const ANNA: &str = "agt_anna";

/// As [`roster`], with a reason that has a limit, and a queue whose wrap-up is asked for, coded and can be extended.
fn rich_roster() -> api::DefineRosterRequest {
    let mut roster = roster(1);
    roster.queues[0] = api::RosterQueue {
        queue_id: "que_main".to_owned(),
        wrap_up_ms: 5_000,
        miss_count_max: 1,
        wrap_up_mode: WrapUpMode::OnRequest.into(),
        wrap_up_code_required: true,
        wrap_up_extension_ms_max: 3_000,
        miss_reason: "phone unattended".to_owned(),
        miss_return_ms: 60_000,
    };
    roster.reasons = vec![
        NotReadyReason { reason: "lunch".to_owned(), limit_ms: 1_800_000 },
        NotReadyReason { reason: "coffee".to_owned(), limit_ms: 0 },
    ];
    roster
}

fn go(client_sequence: u64) -> api::GoReadyRequest {
    api::GoReadyRequest { client_sequence, session_id: "ses_anna".to_owned(), ..go_ready(ANNA) }
}

fn pause(reason: &str, client_sequence: u64) -> api::GoNotReadyRequest {
    api::GoNotReadyRequest {
        agent_id: ANNA.to_owned(),
        reason: reason.to_owned(),
        client_sequence,
        session_id: "ses_anna".to_owned(),
        ..Default::default()
    }
}

fn force(presence: api::PresenceWanted) -> api::ForcePresenceRequest {
    api::ForcePresenceRequest {
        agent_id: ANNA.to_owned(),
        presence: presence.into(),
        author: "Ines Ortega".to_owned(),
        reason: "left without a word".to_owned(),
        ..Default::default()
    }
}

fn keep(session_id: &str) -> api::KeepSessionRequest {
    api::KeepSessionRequest {
        agent_id: ANNA.to_owned(),
        session_id: session_id.to_owned(),
        ..Default::default()
    }
}

fn finish(code: &str) -> api::FinishWrapUpRequest {
    api::FinishWrapUpRequest {
        agent_id: ANNA.to_owned(),
        wrap_up_code: code.to_owned(),
        ..Default::default()
    }
}

fn extend(by_ms: i64) -> api::ExtendWrapUpRequest {
    api::ExtendWrapUpRequest { agent_id: ANNA.to_owned(), by_ms, ..Default::default() }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, reason: &str) {
    let status = answer.expect_err(reason);
    assert_eq!((status.code(), reason_of(&status)), (code, Some(reason)), "{status:?}");
}

/// Anna talks to a contact of the rich queue; the epoch of the media node and the token.
async fn talking(replica: &Replica) -> (u64, u64) {
    let client = &replica.client;
    client.define_roster(rich_roster()).await.unwrap();
    let routing = client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    let media = client.acquire_lease(acquire("media/nod_m", "nod_m")).await.unwrap().epoch;
    let session = api::SignInRequest { session_id: "ses_anna".to_owned(), lease_ms: 30_000, ..sign_in(ANNA) };
    client.sign_in(session).await.unwrap();
    client.register_device(phone(ANNA)).await.unwrap();
    client.go_ready(go(1)).await.unwrap();
    let now = replica.hand.now().0;
    let answers = client.reserve_agents(reserve(ANNA, "one", routing, now + 20_000)).await.unwrap().answers;
    client.accept_reservation(accept(ANNA, "one", answers[0].token, media)).await.unwrap();
    (media, answers[0].token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_desktop_and_supervisor_ask_is_done_or_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).ready().await;
    let replica = replica.newest_rules().await;
    let (media, token) = talking(&replica).await;
    let client = &replica.client;

    refused(client.go_not_ready(pause("smoke", 2)).await, Code::InvalidArgument, "UNKNOWN_REASON");
    client.go_not_ready(pause("coffee", 2)).await.unwrap();
    client.go_not_ready(pause("coffee", 2)).await.unwrap();
    refused(client.go_ready(go(1)).await, Code::FailedPrecondition, "OUT_OF_ORDER");
    refused(client.go_ready(go(2)).await, Code::FailedPrecondition, "OUT_OF_ORDER");
    let nowhere = api::GoReadyRequest { session_id: String::new(), ..go(3) };
    refused(client.go_ready(nowhere).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    let elsewhere = api::GoReadyRequest { session_id: "ses_other".to_owned(), ..go(3) };
    refused(client.go_ready(elsewhere).await, Code::FailedPrecondition, "WRONG_SESSION");
    let again = api::SignInRequest { session_id: "ses_anna".to_owned(), ..sign_in(ANNA) };
    assert_eq!(client.sign_in(again).await.unwrap().client_sequence, 2);
    assert_eq!(client.keep_session(keep("ses_anna")).await.unwrap().expires_at_ms, 31_000);
    refused(client.keep_session(keep("ses_other")).await, Code::FailedPrecondition, "WRONG_SESSION");

    let ask = api::RequestWrapUpRequest { agent_id: ANNA.to_owned(), ..Default::default() };
    let other = api::RequestWrapUpRequest { offer_id: "ofr_other".to_owned(), ..ask.clone() };
    refused(client.request_wrap_up(other).await, Code::FailedPrecondition, "WRONG_OFFER");
    client.request_wrap_up(ask.clone()).await.unwrap();
    let completed = release(ANNA, "one", token, media, api::ReservationOutcome::Completed);
    client.release_reservation(completed).await.unwrap();
    refused(client.request_wrap_up(ask).await, Code::FailedPrecondition, "NOT_TALKING");
    assert_eq!(client.extend_wrap_up(extend(2_000)).await.unwrap().ends_at_ms, 8_000);
    let views = client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
    assert_eq!((views[0].activity(), views[0].wrap_up_ends_at_ms), (api::AgentActivity::WrapUp, 8_000));
    let next = views[0].next.as_ref().unwrap();
    assert_eq!((next.presence(), next.reason.as_str()), (api::PresenceWanted::NotReady, "coffee"));
    let longer = client.extend_wrap_up(extend(2_000)).await;
    refused(longer, Code::FailedPrecondition, "WRAP_UP_EXTENSION_TOO_LONG");
    refused(client.extend_wrap_up(extend(0)).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    for none in ["", " ", "\t "] {
        refused(client.finish_wrap_up(finish(none)).await, Code::FailedPrecondition, "WRAP_UP_CODE_REQUIRED");
    }
    let other = api::FinishWrapUpRequest { offer_id: "ofr_other".to_owned(), ..finish("sold") };
    refused(client.finish_wrap_up(other).await, Code::FailedPrecondition, "WRONG_OFFER");
    client.finish_wrap_up(finish("sold")).await.unwrap();

    use api::PresenceWanted::{NotReady, Ready, SignedOut, Unspecified};
    for wrong in [
        force(Unspecified),
        force(NotReady),
        api::ForcePresenceRequest { duration_ms: 1, ..force(Ready) },
        api::ForcePresenceRequest { not_ready_reason: "lunch".to_owned(), ..force(SignedOut) },
        api::ForcePresenceRequest { author: String::new(), ..force(Ready) },
        api::ForcePresenceRequest { reason: " ".to_owned(), ..force(Ready) },
        api::ForcePresenceRequest { reason: "x".repeat(5 << 20), ..force(Ready) },
    ] {
        let status = client.force_presence(wrong).await.unwrap_err();
        assert!(matches!(status.code(), Code::InvalidArgument | Code::OutOfRange), "{status:?}");
    }
    client.force_presence(force(Ready)).await.unwrap();
    client.force_presence(force(SignedOut)).await.unwrap();
    refused(client.force_presence(force(Ready)).await, Code::FailedPrecondition, "NOT_SIGNED_IN");

    let story = [
        "LeaseGranted lease:routing/1 #1",
        "AgentSignedIn agt_anna #1",
        "DeviceRegistered agt_anna #2",
        "AgentBecameReady agt_anna #3",
        "AgentReserved agt_anna #4",
        "ReservationAccepted agt_anna #5",
        "ReservationReleased agt_anna #6",
        "WrapUpStarted agt_anna #7",
        "WrapUpExtended agt_anna #8",
        "WrapUpEnded agt_anna #9",
        "AgentBecameNotReady agt_anna #10",
        "AgentForced agt_anna #11",
        "AgentBecameReady agt_anna #12",
        "AgentForced agt_anna #13",
        "AgentSignedOut agt_anna #14",
    ];
    assert_eq!(facts_when(&log, 1, story.len()).await, story);
    replica.stop().await;
}

/// A lost session, a pending pause, an extended wrap-up, a limit: each a field that older programs did not store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_forgets_nothing_of_a_session_in_the_middle_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).ready().await;
    let replica = replica.newest_rules().await;
    talking(&replica).await;
    let client = &replica.client;
    client.go_not_ready(pause("lunch", 7)).await.unwrap();
    let ask = api::RequestWrapUpRequest { agent_id: ANNA.to_owned(), ..Default::default() };
    client.request_wrap_up(ask).await.unwrap();
    client.force_presence(force(api::PresenceWanted::SignedOut)).await.unwrap();
    let ben = api::SignInRequest { lease_ms: 1_000, ..sign_in("agt_ben") };
    client.sign_in(ben).await.unwrap();
    client
        .go_not_ready(api::GoNotReadyRequest {
            agent_id: "agt_ben".to_owned(),
            session_id: String::new(),
            ..pause("lunch", 0)
        })
        .await
        .unwrap();
    replica.hand.advance(Millis(2_000));
    let ready = go_ready("agt_ben");
    refused(client.go_ready(ready.clone()).await, Code::FailedPrecondition, "SESSION_LOST");
    let views = client.list_agents(api::ListAgentsRequest::default()).await.unwrap();
    assert_eq!(views.feature_level, FEATURE_LEVEL);
    let (anna, ben) = (&views.agents[0], &views.agents[1]);
    assert_eq!((anna.reachable, anna.lost, ben.reachable, ben.lost), (true, false, false, true));
    let next = anna.next.as_ref().unwrap();
    assert_eq!(
        (next.presence(), next.reason.as_str()),
        (api::PresenceWanted::SignedOut, "left without a word")
    );
    assert_eq!((ben.reason.as_str(), ben.until_ms, ben.next.as_ref()), ("lunch", 0, None));
    replica.stop().await;

    {
        let store = Store::open(&dir.path().join("agent-state"), 1 << 20, 1).unwrap();
        let view = store.machine.view();
        let state = view.machine.state();
        assert_eq!(decode_state(&encode_state(state)).as_ref(), Ok(state));
    }
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 10_000).ready().await;
    let client = &replica.client;
    refused(client.go_ready(go(8)).await, Code::FailedPrecondition, "SIGN_OUT_FORCED");
    refused(client.go_ready(go(6)).await, Code::FailedPrecondition, "OUT_OF_ORDER");
    refused(client.go_ready(ready).await, Code::FailedPrecondition, "SESSION_LOST");
    replica.stop().await;
}
