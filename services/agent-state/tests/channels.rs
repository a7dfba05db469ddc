//! Several contacts at once over gRPC, in the agents log, and after a restart; and what must not be asked.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use tonic::Code;
use trunkline_agent_state::Config;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::common::v1::Channel;
use trunkline_proto::directory::v1::ChannelRule;
use trunkline_runtime::grpc::reason_of;

fn rule(channel: Channel, contact_count_max: u32, interrupted_by: &[Channel]) -> ChannelRule {
    let interrupted_by = interrupted_by.iter().map(|it| (*it).into()).collect();
    ChannelRule { channel: channel.into(), contact_count_max, interrupted_by }
}

/// Anna serves a call, and two chats that a call may interrupt.
fn served() -> api::DefineRosterRequest {
    let mut roster = roster(1);
    roster.agents[0].channels =
        vec![rule(Channel::Unspecified, 1, &[]), rule(Channel::Chat, 2, &[Channel::Unspecified])];
    roster
}

fn wish(contact: &str, channel: Channel) -> api::ReservationWish {
    let wish = reserve("agt_anna", contact, 0, 20_000).wishes[0].clone();
    api::ReservationWish { channel: channel.into(), ..wish }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_chats_and_a_call_at_once_are_as_many_slots_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).newest_rules().await;
    let client = &replica.client;
    client.define_roster(served()).await.unwrap();
    let routing = client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    let media = client.acquire_lease(acquire("media/nod_m", "nod_m")).await.unwrap().epoch;
    client.sign_in(sign_in("agt_anna")).await.unwrap();
    client.register_device(phone("agt_anna")).await.unwrap();
    client.go_ready(go_ready("agt_anna")).await.unwrap();
    let chats = ["a", "b", "c"].map(|contact| wish(contact, Channel::Chat));
    let wishes = [&chats[..], &[wish("d", Channel::Unspecified), wish("e", Channel::Email)]].concat();
    let request = api::ReserveAgentsRequest { wishes, ..reserve("agt_anna", "a", routing, 20_000) };
    let answers = client.reserve_agents(request).await.unwrap().answers;
    let refusals: Vec<_> = answers.iter().map(|it| it.refusal.as_str()).collect();
    assert_eq!(refusals, ["", "", "CHANNEL_FULL", "", "CHANNEL_NOT_SERVED"]);
    for (contact, place) in [("a", 0), ("d", 3)] {
        client.accept_reservation(accept("agt_anna", contact, answers[place].token, media)).await.unwrap();
    }
    let over = release("agt_anna", "a", answers[0].token, media, api::ReservationOutcome::Completed);
    client.release_reservation(over).await.unwrap();
    replica.stop().await;

    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_500).ready().await;
    let client = &replica.client;
    let anna = client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents.remove(0);
    let slots: Vec<_> =
        anna.slots.iter().map(|it| (it.contact_id.as_str(), it.channel(), it.activity())).collect();
    use api::AgentActivity::{Reserved, Talking, WrapUp};
    assert_eq!(
        slots,
        [
            ("ctc_a", Channel::Chat, WrapUp),
            ("ctc_b", Channel::Chat, Reserved),
            ("ctc_d", Channel::Unspecified, Talking)
        ]
    );
    assert_eq!((anna.activity(), anna.contact_id.as_str()), (Talking, "ctc_d"), "what it mainly does");
    assert_eq!(anna.channels, served().agents[0].channels);
    let told = facts_when(&log, 1, 11).await;
    let of = |name: &str| told.iter().filter(|fact| fact.starts_with(name)).count();
    assert_eq!((of("AgentReserved"), of("ReservationAccepted"), of("WrapUpStarted")), (3, 2, 1), "{told:?}");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_with_its_place_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_log(&dir.path().join("log"));
    let replica = Replica::start(dir.path(), log.clone(), Config::default(), 1_000).newest_rules().await;
    let client = &replica.client;
    client.define_roster(served()).await.unwrap();
    client.sign_in(sign_in("agt_anna")).await.unwrap();
    let routing = client.acquire_lease(acquire("routing/1", "nod_r")).await.unwrap().epoch;
    let before = client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;

    let serves = |rules: Vec<ChannelRule>| {
        let mut roster = roster(2);
        roster.agents[0].channels = rules;
        roster
    };
    let text = |len: usize| "x".repeat(len);
    let pause = |reason: String, duration_ms| api::GoNotReadyRequest {
        agent_id: "agt_anna".to_owned(),
        reason,
        duration_ms,
        ..Default::default()
    };
    let many = |count: usize| api::ReserveAgentsRequest {
        wishes: vec![wish("a", Channel::Chat); count],
        ..reserve("agt_anna", "a", routing, 20_000)
    };
    let odd = api::ReservationWish { channel: 99, ..wish("a", Channel::Chat) };
    let odd = api::ReserveAgentsRequest { wishes: vec![odd], ..many(0) };
    let of = |result: Result<(), tonic::Status>| {
        let status = result.unwrap_err();
        (status.code(), reason_of(&status).unwrap_or_default().to_owned(), status.message().to_owned())
    };
    let invalid = |message: &str| (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), message.to_owned());
    let none = serves(vec![rule(Channel::Chat, 0, &[])]);
    assert_eq!(
        of(client.define_roster(none).await.map(drop)),
        invalid("agents.channels of agt_anna: chat has capacity 0; leave the channel out instead")
    );
    let two = serves(vec![rule(Channel::Unspecified, 2, &[])]);
    assert_eq!(
        of(client.define_roster(two).await.map(drop)),
        invalid("agents.channels of agt_anna: voice has capacity 2; the most is 1")
    );
    assert_eq!(
        of(client.reserve_agents(odd).await.map(drop)),
        invalid("wishes.channel is not a known channel")
    );
    assert_eq!(of(client.go_not_ready(pause(text(201), 0)).await.map(drop)), invalid("reason is too long"));
    assert_eq!(
        of(client.go_not_ready(pause(text(5), -1)).await.map(drop)),
        invalid("duration_ms is not between 0 and a year")
    );
    // Five megabytes are not even read: the door says how many bytes it takes.
    let (code, _, message) = of(client.go_not_ready(pause(text(5_000_000), 0)).await.map(drop));
    assert!(matches!(code, Code::OutOfRange | Code::ResourceExhausted), "{code:?}: {message}");
    assert!(message.contains("5000"), "says how much came and how much may: {message}");
    let (code, reason, _) = of(client.reserve_agents(many(1_025)).await.map(drop));
    assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "TOO_MANY_WISHES"));
    let (code, _, message) = of(client.reserve_agents(many(100_000)).await.map(drop));
    assert!(matches!(code, Code::OutOfRange | Code::ResourceExhausted), "{code:?}: {message}");

    let after = client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
    assert_eq!(after, before);
    replica.stop().await;
}
