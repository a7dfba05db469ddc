//! One replica over gRPC: a whole contact, restarts, rejections.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use prost::Message;
use tonic::Code;
use trunkline_agent_state::Config;
use trunkline_agent_state::raft::types::{Entry, Proposed};
use trunkline_agent_state::store::Store;
use trunkline_agent_state::store::wal::frame::Record;
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::grpc::reason_of;

/// Anna serves one contact, from sign-in to ready again. Leaves [`STORY`] in cell 1.
async fn one_contact(replica: &Replica) {
    let client = &replica.client;
    client.define_roster(roster(1)).await.unwrap();
    let routing = client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    let media = client.acquire_lease(acquire("media/nod_m", "nod_m")).await.unwrap().epoch;
    assert!(client.sign_in(sign_in("agt_anna")).await.unwrap().session_id.starts_with("ses_"));
    client.register_device(phone("agt_anna")).await.unwrap();
    client.go_ready(go_ready("agt_anna")).await.unwrap();
    let now = replica.hand.now().0;
    let answers =
        client.reserve_agents(reserve("agt_anna", "one", routing, now + 20_000)).await.unwrap().answers;
    let token = answers[0].token;
    assert!(token > 0, "{answers:?}");
    client.accept_reservation(accept("agt_anna", "one", token, media)).await.unwrap();
    let completed = release("agt_anna", "one", token, media, api::ReservationOutcome::Completed);
    assert!(client.release_reservation(completed.clone()).await.unwrap().released);
    assert!(!client.release_reservation(completed).await.unwrap().released);
    let agents = client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
    assert_eq!(agents[0].activity(), api::AgentActivity::WrapUp);
    replica.hand.advance(trunkline_domain::vocabulary::Millis(5_000));
}

const STORY: [&str; 9] = [
    "LeaseGranted lease:routing/1 #1",
    "AgentSignedIn agt_anna #1",
    "DeviceRegistered agt_anna #2",
    "AgentBecameReady agt_anna #3",
    "AgentReserved agt_anna #4",
    "ReservationAccepted agt_anna #5",
    "ReservationReleased agt_anna #6",
    "WrapUpStarted agt_anna #7",
    "WrapUpEnded agt_anna #8",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_s_facts_are_in_the_agents_log_exactly_once_also_after_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).ready().await;
    one_contact(&replica).await;
    assert_eq!(facts_when(&log, 1, STORY.len()).await, STORY);
    let agents = replica.client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
    assert_eq!(agents[0].activity(), api::AgentActivity::Ready);
    replica.stop().await;
    for round in 0..2 {
        let replica = Replica::start(dir.path(), log.clone(), Config::default(), 10_000).ready().await;
        let agents = replica.client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
        assert_eq!(agents[0].activity(), api::AgentActivity::Ready);
        assert_eq!(facts(&log, 1).await, STORY, "round {round}");
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_that_were_not_published_before_a_crash_are_published_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).ready().await;
    one_contact(&replica).await;
    assert_eq!(facts_when(&log, 1, STORY.len()).await, STORY);
    replica.stop().await;
    // A crash right behind the disk: the entry is durable, and neither applied nor published.
    {
        let store = Store::open(&dir.path().join("agent-state"), 1 << 20, 1).unwrap();
        let mut log_id = store.wal.memory().last_log_id().unwrap();
        log_id.index += 1;
        let sign_in = api::SignInRequest {
            command_id: "cmd_last".to_owned(),
            session_id: "ses_last".to_owned(),
            ..sign_in("agt_ben")
        };
        let action = Some(api::logged_command::Action::SignIn(sign_in));
        let commands = vec![api::LoggedCommand { proposed_at_ms: 9_000, traceparent: String::new(), action }];
        let batch = Proposed(api::LoggedBatch { commands }.encode_to_vec());
        let entry = Entry { log_id, payload: openraft::EntryPayload::Normal(batch) };
        let (told, durable) = std::sync::mpsc::channel();
        let done = Box::new(move |written| told.send(written).unwrap());
        store.wal.write(vec![Record::Entry(entry)], true, done).unwrap();
        durable.recv().unwrap().unwrap();
    }
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 10_000).ready().await;
    replica.client.go_ready(go_ready("agt_ben")).await.unwrap();
    let all = facts_when(&log, 1, STORY.len() + 2).await;
    assert_eq!(all[STORY.len()..], ["AgentSignedIn agt_ben #1", "AgentBecameReady agt_ben #2"]);
    assert_eq!(all[..STORY.len()], STORY);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_state_database_and_snapshots_the_log_gives_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).ready().await;
    one_contact(&replica).await;
    facts_when(&log, 1, STORY.len()).await;
    replica.stop().await;
    let data = dir.path().join("agent-state");
    let hash_of = || {
        let store = Store::open(&data, 1 << 20, 1).unwrap();
        let view = store.machine.view();
        (view.machine.state_hash(), view.last_applied)
    };
    let (hash, applied) = hash_of();
    // From the log alone: what the entries come to at the same index.
    std::fs::remove_dir_all(data.join("state")).unwrap();
    std::fs::remove_dir_all(data.join("snapshots")).unwrap();
    let store = Store::open(&data, 1 << 20, 1).unwrap();
    assert_eq!(store.machine.view().last_applied, None);
    {
        use openraft::RaftLogReader;
        let through = applied.unwrap().index;
        let entries = store.wal.clone().try_get_log_entries(0..=through).await.unwrap();
        store.machine.clone().replay(entries).await.unwrap();
        assert_eq!(store.machine.view().machine.state_hash(), hash);
    }
    drop(store);
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 10_000).ready().await;
    assert_eq!(facts(&log, 1).await, STORY);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_rings_at_two_and_who_answers_first_has_it_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).ready().await;
    let client = &replica.client;
    client.define_roster(roster(1)).await.unwrap();
    let routing = client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    let media = client.acquire_lease(acquire("media/nod_m", "nod_m")).await.unwrap().epoch;
    for agent in ["agt_anna", "agt_ben"] {
        client.sign_in(sign_in(agent)).await.unwrap();
        client.register_device(phone(agent)).await.unwrap();
        client.go_ready(go_ready(agent)).await.unwrap();
    }
    let rings = |agent: &str| api::ReservationWish {
        offer_id: format!("ofr_{}", agent.trim_start_matches("agt_")),
        ring_many: true,
        ..reserve(agent, "one", 0, 20_000).wishes[0].clone()
    };
    let wishes = vec![rings("agt_anna"), rings("agt_ben")];
    let request = api::ReserveAgentsRequest { wishes, ..reserve("agt_anna", "one", routing, 20_000) };
    let answers = until("the rules that know of ringing at many", async || {
        Some(client.reserve_agents(request.clone()).await.ok()?.answers)
    })
    .await;
    let (anna, ben) = (answers[0].token, answers[1].token);
    assert!(anna > 0 && ben > 0, "{answers:?}");
    replica.stop().await;

    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).ready().await;
    let client = &replica.client;
    client.accept_reservation(accept("agt_ben", "ben", ben, media)).await.unwrap();
    let late = client.accept_reservation(accept("agt_anna", "anna", anna, media)).await.unwrap_err();
    assert_eq!(reason_of(&late), Some("NO_SUCH_RESERVATION"));
    let agents = client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
    assert_eq!(agents[0].activity(), api::AgentActivity::Ready, "Anna's phone stops ringing");
    assert_eq!(agents[1].activity(), api::AgentActivity::Talking);
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rejection_has_its_code_and_reason() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).ready().await;
    let client = &replica.client;
    client.define_roster(roster(1)).await.unwrap();
    let routing = client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    let media = client.acquire_lease(acquire("media/nod_m", "nod_m")).await.unwrap().epoch;
    client.sign_in(sign_in("agt_anna")).await.unwrap();
    client.register_device(phone("agt_anna")).await.unwrap();
    client.go_ready(go_ready("agt_anna")).await.unwrap();
    let reserved = client.reserve_agents(reserve("agt_anna", "one", routing, 20_000)).await.unwrap();
    let token = reserved.answers[0].token;
    use api::ReservationOutcome as Outcome;
    let finish = |agent: &str| api::FinishWrapUpRequest { agent_id: agent.to_owned(), ..Default::default() };
    let other = api::SignInRequest { session_id: "ses_x".to_owned(), ..sign_in("agt_anna") };
    let device = |agent: &str, id: usize, expires_at_ms| api::RegisterDeviceRequest {
        device_id: format!("dev_{id}"),
        expires_at_ms,
        ..phone(agent)
    };
    for id in 1..8 {
        client.register_device(device("agt_anna", id, 90_000)).await.unwrap();
    }
    let short = api::AcquireLeaseRequest { ttl_ms: 1, ..acquire("billing/0", "nod_b") };
    let reused = api::GoReadyRequest { command_id: "cmd_used".to_owned(), ..go_ready("agt_anna") };
    client
        .sign_in(api::SignInRequest { command_id: "cmd_used".to_owned(), ..sign_in("agt_ben") })
        .await
        .unwrap();
    let many = api::ReserveAgentsRequest {
        wishes: vec![reserve("agt_anna", "one", 0, 0).wishes[0].clone(); 1025],
        ..reserve("agt_anna", "one", routing, 20_000)
    };
    let other_node = api::AcceptReservationRequest {
        node_id: "nod_x".to_owned(),
        ..accept("agt_anna", "one", token, media)
    };
    let rows = [
        (client.sign_in(sign_in("agt_nobody")).await.map(drop), Code::NotFound, "UNKNOWN_AGENT"),
        (client.sign_in(other).await.map(drop), Code::AlreadyExists, "ALREADY_SIGNED_IN"),
        (
            client.finish_wrap_up(finish("agt_anna")).await.map(drop),
            Code::FailedPrecondition,
            "NOT_IN_WRAP_UP",
        ),
        (
            client.register_device(device("agt_anna", 9, 90_000)).await.map(drop),
            Code::ResourceExhausted,
            "TOO_MANY_DEVICES",
        ),
        (
            client.register_device(device("agt_ben", 0, 5)).await.map(drop),
            Code::InvalidArgument,
            "DEADLINE_PASSED",
        ),
        (
            client.reserve_agents(reserve("agt_anna", "one", 1, 20_000)).await.map(drop),
            Code::Aborted,
            "STALE_EPOCH",
        ),
        (client.reserve_agents(many).await.map(drop), Code::InvalidArgument, "TOO_MANY_WISHES"),
        (
            client.accept_reservation(accept("agt_anna", "one", 1, media)).await.map(drop),
            Code::FailedPrecondition,
            "NO_SUCH_RESERVATION",
        ),
        (client.accept_reservation(other_node).await.map(drop), Code::FailedPrecondition, "WRONG_NODE"),
        (
            client.accept_reservation(accept("agt_anna", "one", token, 1)).await.map(drop),
            Code::Aborted,
            "STALE_EPOCH",
        ),
        (
            client
                .release_reservation(release("agt_anna", "one", token, media, Outcome::Completed))
                .await
                .map(drop),
            Code::FailedPrecondition,
            "NOT_ACCEPTED",
        ),
        (
            client
                .release_reservation(release("agt_anna", "one", token, media, Outcome::Expired))
                .await
                .map(drop),
            Code::InvalidArgument,
            "OUTCOME_RESERVED",
        ),
        (
            client
                .release_reservation(release("agt_anna", "one", token, media, Outcome::Unspecified))
                .await
                .map(drop),
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        ),
        (client.acquire_lease(acquire("routing/1", "nod_z")).await.map(drop), Code::Aborted, "LEASE_HELD"),
        (
            client.acquire_lease(acquire("routing/7", "nod_z")).await.map(drop),
            Code::InvalidArgument,
            "UNKNOWN_CELL",
        ),
        (
            client.acquire_lease(acquire("two words", "nod_z")).await.map(drop),
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        ),
        (client.acquire_lease(short).await.map(drop), Code::InvalidArgument, "TTL_OUT_OF_BOUNDS"),
        (client.go_ready(reused).await.map(drop), Code::InvalidArgument, "COMMAND_ID_REUSED"),
        (client.go_ready(go_ready("not an id")).await.map(drop), Code::InvalidArgument, "INVALID_ARGUMENT"),
        (
            client
                .go_not_ready(api::GoNotReadyRequest {
                    agent_id: "agt_anna".to_owned(),
                    ..Default::default()
                })
                .await
                .map(drop),
            Code::InvalidArgument,
            "INVALID_ARGUMENT",
        ),
    ];
    for (row, (answer, code, reason)) in rows.into_iter().enumerate() {
        let status = answer.expect_err(reason);
        assert_eq!((status.code(), reason_of(&status)), (code, Some(reason)), "row {row}: {status:?}");
    }
    // Each wish is answered alone.
    for (agent, contact, expires_at, reason) in [
        ("agt_anna", "two", 20_000, "ALREADY_RESERVED"),
        ("agt_ben", "two", 20_000, "NOT_READY"),
        ("agt_nobody", "two", 20_000, "UNKNOWN_AGENT"),
    ] {
        let answered = client.reserve_agents(reserve(agent, contact, routing, expires_at)).await.unwrap();
        assert_eq!((answered.answers[0].token, answered.answers[0].refusal.as_str()), (0, reason));
    }
    // Ready, and without a phone. Nobody would be reserved for a media node that is not there, whichever rules hold.
    client.go_ready(go_ready("agt_ben")).await.unwrap();
    let mut gone = reserve("agt_ben", "two", routing, 20_000);
    gone.wishes[0].node_id = "nod_gone".to_owned();
    until("the newer rules", async || {
        let answered = client.reserve_agents(gone.clone()).await.unwrap();
        assert_eq!(answered.answers[0].token, 0);
        (answered.answers[0].refusal == "UNREACHABLE").then_some(())
    })
    .await;
    replica.stop().await;
}
