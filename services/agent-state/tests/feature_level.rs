//! Newer rules wait for every voter, and older programs stop at what they do not know.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use tonic::Code;
use trunkline_agent_state::Config;
use trunkline_agent_state::door;
use trunkline_domain::agent_state::FEATURE_LEVEL;
use trunkline_domain::facts::{
    Agent, DirectoryFact, LogFact, Meta, NotReadyReason, Operator, Outcome, Queue, Recorded, WrapUpMode,
};
use trunkline_domain::vocabulary::{Cell, Epoch, EventId, Millis, OperatorId, QueueId, QueuePlan, Timestamp};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::logged_command::Action as Logged;
use trunkline_proto::agent_state::v1::raft_admin_service_client::RaftAdminServiceClient;
use trunkline_runtime::event_log::SharedLog;
use trunkline_runtime::facts::FactWriter;
use trunkline_runtime::grpc::reason_of;

const ANNA: &str = "agt_anna";

/// A directory that says more than the first version knew: a list of reasons, and a queue with a mode.
async fn define_directory(log: &SharedLog) {
    let facts = [
        DirectoryFact::RevisionApplied {
            revision: 1,
            author: "test".to_owned(),
            effective_at: Timestamp(1),
            source_sha256: String::new(),
        },
        DirectoryFact::OperatorDefined(Operator {
            operator_id: OperatorId::from_name("northwind").unwrap(),
            name: "Northwind".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            not_ready_reasons: vec![NotReadyReason { reason: "lunch".to_owned(), limit_ms: Millis::ZERO }],
        }),
        DirectoryFact::QueueDefined(Queue {
            queue_id: QueueId::from_name("main").unwrap(),
            company_id: "cmp_acme".parse().unwrap(),
            name: "Main".to_owned(),
            required_skills: vec![],
            priority: 0,
            offer_timeout_ms: Millis(20_000),
            wrap_up_ms: Millis(5_000),
            wait_ms_max: Millis::ZERO,
            waiting_count_max: 0,
            miss_count_max: 2,
            reoffer_after_ms: Millis::ZERO,
            wrap_up_mode: WrapUpMode::OnRequest,
            wrap_up_code_required: false,
            wrap_up_extension_ms_max: Millis::ZERO,
            miss_reason: String::new(),
            miss_return_ms: Millis::ZERO,
            plan: QueuePlan::default(),
        }),
        DirectoryFact::AgentDefined(agent()),
    ];
    let (mut writer, _) = FactWriter::open(log, Cell(0), "directory", Epoch(1)).await.unwrap();
    let recorded = facts.into_iter().enumerate().map(|(place, fact)| Recorded {
        meta: Meta {
            event_id: EventId::from_name(&format!("d{place}")).unwrap(),
            cell: Cell(0),
            stream: fact.stream(),
            sequence: 1,
            occurred_at: Timestamp(1),
            recorded_at: Timestamp(1),
            correlation_id: None,
            causation_id: None,
            traceparent: String::new(),
        },
        fact,
    });
    let outcome = Outcome { epoch: writer.epoch(), consumed: vec![], facts: recorded.collect() };
    writer.append(&outcome).unwrap().await.unwrap();
}

fn agent() -> Agent {
    Agent {
        agent_id: ANNA.parse().unwrap(),
        name: "Anna".to_owned(),
        cell: Cell(1),
        site_id: None,
        skills: vec![],
        sip_user: "anna".to_owned(),
        sip_ha1_md5: String::new(),
        sip_ha1_sha256: String::new(),
        team_company_id: None,
        channels: Vec::new(),
    }
}

fn pause(reason: &str) -> api::GoNotReadyRequest {
    api::GoNotReadyRequest { agent_id: ANNA.to_owned(), reason: reason.to_owned(), ..Default::default() }
}

/// Who holds newer rules back, or is down for a day, must not keep agents out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_voter_of_an_older_program_holds_back_what_it_does_not_know_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let old = 2;
    let mut group = Group::start_at(dir.path(), 1_000, &[FEATURE_LEVEL, FEATURE_LEVEL, 0]).await;
    define_directory(&group.log).await;
    let client = group.client.clone();
    until("an agent of the directory", async || client.sign_in(sign_in(ANNA)).await.ok()).await;
    let listed = client.list_agents(api::ListAgentsRequest::default()).await.unwrap();
    assert_eq!(listed.feature_level, 0);
    client.go_not_ready(pause("any word")).await.unwrap();

    group.stop(old).await;
    group.levels[old] = FEATURE_LEVEL;
    group.restart(old, 1_000);
    group.ready().await;
    until("the newer rules", async || {
        let listed = client.list_agents(api::ListAgentsRequest::default()).await.ok()?;
        (listed.feature_level == FEATURE_LEVEL).then_some(())
    })
    .await;
    // And with them the rest of what the directory says.
    until("the list of reasons", async || {
        let status = client.go_not_ready(pause("any word")).await.err()?;
        (reason_of(&status) == Some("UNKNOWN_REASON")).then_some(())
    })
    .await;
    client.go_not_ready(pause("lunch")).await.unwrap();
    group.agree().await;
    group.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_know_the_rules_that_hold_becomes_no_voter() {
    let dir = tempfile::tempdir().unwrap();
    let mut group = Group::start(dir.path(), 1_000).await;
    let client = group.client.clone();
    until("the newer rules", async || {
        let listed = client.list_agents(api::ListAgentsRequest::default()).await.ok()?;
        (listed.feature_level == FEATURE_LEVEL).then_some(())
    })
    .await;
    let old = group.start_another_at(1_000, FEATURE_LEVEL - 1);
    let request = api::AddVoterRequest {
        cluster: "trunkline".to_owned(),
        address: group.peers[old].clone(),
        replaced_node_id: 0,
    };
    let refused = until("an answer", async || {
        let attempt = |channel, _| {
            let request = request.clone();
            async move { RaftAdminServiceClient::new(channel).add_voter(request).await }
        };
        let status = client.follow(attempt).await.unwrap_err();
        // It may not have opened its door yet.
        (reason_of(&status) != Some("REPLICA_SILENT")).then_some(status)
    })
    .await;
    assert_eq!(reason_of(&refused), Some("OLDER_VERSION"), "{refused}");
    assert!(refused.message().contains("run a newer version there"), "{refused}");
    group.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_newer_rules_are_refused_until_these_hold_and_a_restart_with_them_takes_them() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let config = Config { feature_level_max: 0, ..Config::default() };
    let replica = Replica::start(dir.path(), log.clone(), config, 1_000).ready().await;
    let client = &replica.client;
    client.define_roster(roster(1)).await.unwrap();
    client.sign_in(sign_in(ANNA)).await.unwrap();
    let held_back = [
        client.sign_in(api::SignInRequest { lease_ms: 5_000, ..sign_in("agt_ben") }).await.err(),
        client
            .request_wrap_up(api::RequestWrapUpRequest { agent_id: ANNA.to_owned(), ..Default::default() })
            .await
            .err(),
        client
            .go_ready(api::GoReadyRequest {
                client_sequence: 1,
                session_id: "ses_a".to_owned(),
                ..go_ready(ANNA)
            })
            .await
            .err(),
        client
            .finish_wrap_up(api::FinishWrapUpRequest {
                agent_id: ANNA.to_owned(),
                offer_id: "ofr_a".to_owned(),
                ..Default::default()
            })
            .await
            .err(),
    ];
    for status in held_back {
        let status = status.unwrap();
        assert_eq!(
            (status.code(), reason_of(&status)),
            (Code::FailedPrecondition, Some("FEATURE_LEVEL")),
            "{status:?}"
        );
    }
    client.go_ready(go_ready(ANNA)).await.unwrap();
    assert_eq!(client.list_agents(api::ListAgentsRequest::default()).await.unwrap().feature_level, 0);
    replica.stop().await;

    let replica = Replica::start(dir.path(), log, Config::default(), 2_000).ready().await;
    replica.rules(FEATURE_LEVEL).await;
    replica.client.sign_in(api::SignInRequest { lease_ms: 5_000, ..sign_in("agt_ben") }).await.unwrap();
    replica.stop().await;
}

#[test]
fn the_door_refuses_a_level_it_does_not_know() {
    let raise = |feature_level| api::LoggedCommand {
        proposed_at_ms: 1,
        traceparent: String::new(),
        action: Some(Logged::FeatureLevelRaise(api::FeatureLevelRaise {
            command_id: "cmd_raise".to_owned(),
            feature_level,
        })),
    };
    for level in 0..=FEATURE_LEVEL {
        assert!(door::command(raise(level)).is_ok());
    }
    let refused = door::command(raise(FEATURE_LEVEL + 1)).unwrap_err();
    assert_eq!(refused.to_string(), "feature_level is not known here");
}
