//! Scripts of inputs with the text of what comes out.

use expect_test::{Expect, expect};

use super::*;
use crate::kernel::Engine;
use crate::vocabulary::*;

pub(super) fn id<T: std::str::FromStr<Err = IdError>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(super) fn offer_id(number: u32) -> OfferId {
    id(&format!("ofr_{number}"))
}

pub(super) fn service() -> Service {
    Service {
        company_id: id("cmp_acme"),
        flow_id: id("flw_main"),
        hours: Some((id("cal_week"), true)),
        ring_ms: Millis(0),
        greeting_prompt: "hello".to_owned(),
        closed_prompt: "closed".to_owned(),
        music: "default".to_owned(),
        queue: QueueTerms {
            queue_id: id("que_sales"),
            priority: 1,
            required_skills: vec![Clause::has(id("skl_sales"))],
            wait_ms_max: Millis(60_000),
        },
    }
}

pub(super) fn invited(plan: Plan) -> Input {
    Input::Invited(Box::new(Invited {
        contact_id: id("ctc_1"),
        node_id: id("nod_1"),
        leg_id: id("leg_caller"),
        sip_call_id: "abc".to_owned(),
        caller: PhoneNumber::parse("+4930111111").ok(),
        dialled: PhoneNumber::parse("+4930222222").ok(),
        directory_revision: 7,
        plan,
    }))
}

pub(super) fn offer(number: u32, expires_at: i64) -> Input {
    Input::Offer(Box::new(Offer {
        offer_id: offer_id(number),
        agent_id: id("agt_anna"),
        token: 100 + u64::from(number),
        visit: 1,
        expires_at: Timestamp(expires_at),
        leg_id: id(&format!("leg_agent-{number}")),
        device_uri: Some("sip:anna@127.0.0.1:5070".to_owned()),
    }))
}

/// One line an output: facts by what matters of them, effects by their `Debug` text.
pub(super) fn line(output: &Output) -> String {
    match output {
        Output::Record { at, facts } => {
            let facts: Vec<String> = facts.iter().map(|fact| short(&format!("{fact:?}"))).collect();
            format!("{at:?} {}", facts.join(" + "))
        }
        effect => format!("  > {}", short(&format!("{effect:?}"))),
    }
}

/// Without the fields that are the same in every line.
fn short(text: &str) -> String {
    let mut text = text.to_owned();
    for same in [
        "contact_id: ctc_1, ",
        "contact_id: ctc_1",
        "company_id: Some(cmp_acme), ",
        "company_id: cmp_acme, ",
        "queue_id: que_sales, ",
        "agent_id: agt_anna, ",
        "node_id: nod_1",
        ", rtp_received_count: 0, rtp_sent_count: 0",
        "company_id: None, ",
    ] {
        text = text.replace(same, "");
    }
    text.replace("{ ", "{").replace(" }", "}").replace(", }", "}")
}

#[track_caller]
pub(super) fn check(service: Service, script: &[(i64, Input)], then: Expect) {
    let mut contact = Contact::default();
    let mut lines = Vec::new();
    let mut drain = |contact: &mut Contact| {
        while let Some(output) = contact.poll() {
            lines.push(line(&output));
        }
    };
    contact.handle(Timestamp(0), invited(Plan::Serve(Box::new(service))));
    drain(&mut contact);
    for (at, input) in script {
        contact.handle(Timestamp(*at), input.clone());
        drain(&mut contact);
    }
    then.assert_eq(&(lines.join("\n") + "\n"));
}

/// Already waiting: only what comes after the queue is printed.
#[track_caller]
pub(super) fn check_queued(script: &[(i64, Input)], then: Expect) {
    let mut contact = Contact::default();
    let service = Service { hours: None, greeting_prompt: String::new(), ..service() };
    contact.handle(Timestamp(0), invited(Plan::Serve(Box::new(service))));
    while contact.poll().is_some() {}
    let mut text = String::new();
    for (at, input) in script {
        contact.handle(Timestamp(*at), input.clone());
        while let Some(output) = contact.poll() {
            text += &(line(&output) + "\n");
        }
    }
    then.assert_eq(&text);
}

fn alerting(n: u32) -> Input {
    Input::AgentAlerting { offer_id: offer_id(n) }
}
pub(super) fn answered(n: u32) -> Input {
    Input::AgentAnswered { offer_id: offer_id(n) }
}
pub(super) fn granted(n: u32) -> Input {
    Input::AcceptGranted { offer_id: offer_id(n) }
}

#[test]
fn a_whole_contact_goes_from_hours_to_hang_up() {
    check(
        service(),
        &[
            (5, Input::CallerAcked),
            (3_000, Input::PromptFinished { played_ms: Millis(2_980) }),
            (4_000, offer(1, 24_000)),
            (4_100, alerting(1)),
            (9_000, answered(1)),
            (9_010, granted(1)),
            (69_010, Input::CallerBye),
        ],
        expect![[r#"
            @0 ContactArrived {caller: Some(+…11), dialled: Some(+…22), , sip_call_id: "abc", flow_id: Some(flw_main), directory_revision: 7} + BusinessHoursChecked {calendar_id: cal_week, open: true} + LegAnswered {leg_id: leg_caller, party: Caller, agent_id: None} + PromptStarted {prompt: "hello"}
              > AnswerCaller
              > Play {prompt: "hello"}
            @3000 PromptFinished {prompt: "hello", played_ms: 2980ms} + ContactQueueRequested {visit: 1, priority: 1, enqueued_at: @3000, required_skills: [skl_sales]}
              > Music {class: "default"}
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @4100 OfferAlerting {offer_id: ofr_1, leg_id: leg_agent-1}
            @9000 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
              > AckAgent {offer_id: ofr_1}
              > Bridge {offer_id: ofr_1}
            @9010 ContactConnected {visit: 1, offer_id: ofr_1, leg_id: leg_agent-1, waited_ms: 6010ms}
            @69010 ContactDisconnected {offer_id: ofr_1, talked_ms: 60000ms, by: Caller} + ContactEnded {cause: Completed, by: Caller, sip_status: None}
              > Unbridge
              > ByeAgent {offer_id: ofr_1}
              > Release {offer_id: ofr_1, token: 101, outcome: Completed}
              > Closed
        "#]],
    );
}

#[test]
fn a_caller_outside_the_hours_hears_so_and_is_hung_up_on() {
    let closed = Service { hours: Some((id("cal_week"), false)), ..service() };
    check(
        closed,
        &[(2_000, Input::PromptFinished { played_ms: Millis(1_980) })],
        expect![[r#"
        @0 ContactArrived {caller: Some(+…11), dialled: Some(+…22), , sip_call_id: "abc", flow_id: Some(flw_main), directory_revision: 7} + BusinessHoursChecked {calendar_id: cal_week, open: false} + LegAnswered {leg_id: leg_caller, party: Caller, agent_id: None} + PromptStarted {prompt: "closed"}
          > AnswerCaller
          > Play {prompt: "closed"}
        @2000 PromptFinished {prompt: "closed", played_ms: 1980ms} + ContactEnded {cause: Closed, by: System, sip_status: None}
          > ByeCaller {cause: Closed}
          > Closed
    "#]],
    );
}

#[test]
fn a_refused_contact_arrives_and_ends_without_an_answer() {
    for (cause, status) in [
        (ContactEndCause::Blocked, 486),
        (ContactEndCause::UnknownNumber, 404),
        (ContactEndCause::Overloaded, 503),
    ] {
        let mut contact = Contact::default();
        contact.handle(
            Timestamp(0),
            invited(Plan::Refuse { company_id: None, flow_id: None, cause, status: None }),
        );
        let Some(Output::Record { facts, .. }) = contact.poll() else { panic!("no facts first") };
        assert_eq!(facts.len(), 2, "{cause:?}");
        assert_eq!(contact.poll(), Some(Output::RefuseCaller { status, cause }));
        assert_eq!(contact.poll(), Some(Output::Closed));
        assert_eq!(contact.poll(), None);
    }
}

#[test]
fn a_cancel_counts_while_the_caller_hears_ringing_and_no_longer() {
    let ringing = Service { ring_ms: Millis(500), ..service() };
    check(
        ringing.clone(),
        &[(300, Input::CallerCancelled)],
        expect![[r#"
        @0 ContactArrived {caller: Some(+…11), dialled: Some(+…22), , sip_call_id: "abc", flow_id: Some(flw_main), directory_revision: 7} + BusinessHoursChecked {calendar_id: cal_week, open: true}
          > RingCaller
        @300 ContactEnded {cause: LeftInFlow, by: Caller, sip_status: Some(487)}
          > RefuseCaller {status: 487, cause: LeftInFlow}
          > Closed
    "#]],
    );
    check(
        ringing,
        &[(500, Input::Tick), (501, Input::CallerCancelled)],
        expect![[r#"
        @0 ContactArrived {caller: Some(+…11), dialled: Some(+…22), , sip_call_id: "abc", flow_id: Some(flw_main), directory_revision: 7} + BusinessHoursChecked {calendar_id: cal_week, open: true}
          > RingCaller
        @500 LegAnswered {leg_id: leg_caller, party: Caller, agent_id: None} + PromptStarted {prompt: "hello"}
          > AnswerCaller
          > Play {prompt: "hello"}
    "#]],
    );
}

#[test]
fn a_caller_who_hangs_up_while_the_phone_rings_abandons() {
    check_queued(
        &[(10, offer(1, 9_000)), (20, alerting(1)), (30, Input::CallerBye)],
        expect![[r#"
          > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
        @20 OfferAlerting {offer_id: ofr_1, leg_id: leg_agent-1}
        @30 OfferWithdrawn {offer_id: ofr_1, by: Caller} + ContactAbandoned {visit: 1, waited_ms: 30ms} + ContactEnded {cause: Abandoned, by: Caller, sip_status: None}
          > CancelAgent {offer_id: ofr_1}
          > Release {offer_id: ofr_1, token: 101, outcome: CallerGone}
          > Closed
    "#]],
    );
}

#[test]
fn an_answer_that_crosses_the_cancel_is_acknowledged_and_ended_once() {
    check_queued(
        &[
            (10, offer(1, 9_000)),
            (20, alerting(1)),
            (30, Input::CallerBye),
            (31, answered(1)),
            (32, answered(1)),
        ],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 OfferAlerting {offer_id: ofr_1, leg_id: leg_agent-1}
            @30 OfferWithdrawn {offer_id: ofr_1, by: Caller} + ContactAbandoned {visit: 1, waited_ms: 30ms} + ContactEnded {cause: Abandoned, by: Caller, sip_status: None}
              > CancelAgent {offer_id: ofr_1}
              > Release {offer_id: ofr_1, token: 101, outcome: CallerGone}
              > Closed
              > AckAgent {offer_id: ofr_1}
              > ByeAgent {offer_id: ofr_1}
        "#]],
    );
}

#[test]
fn an_answer_behind_the_deadline_is_too_late() {
    check_queued(
        &[(10, offer(1, 9_000)), (20, alerting(1)), (9_000, answered(1)), (9_500, offer(2, 20_000))],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 OfferAlerting {offer_id: ofr_1, leg_id: leg_agent-1}
            @9000 OfferUnanswered {offer_id: ofr_1, rang_ms: 8980ms}
              > CancelAgent {offer_id: ofr_1}
              > Release {offer_id: ofr_1, token: 101, outcome: Unanswered}
              > AckAgent {offer_id: ofr_1}
              > ByeAgent {offer_id: ofr_1}
              > InviteAgent {offer_id: ofr_2, leg_id: leg_agent-2, device_uri: "sip:anna@127.0.0.1:5070"}
        "#]],
    );
}

#[test]
fn a_declined_offer_leaves_the_contact_in_its_place() {
    check_queued(
        &[
            (10, offer(1, 9_000)),
            (20, Input::AgentRefused { offer_id: offer_id(1), status: 603 }),
            (30, offer(2, 9_000)),
            (40, answered(2)),
            (50, granted(2)),
        ],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 OfferDeclined {offer_id: ofr_1, sip_status: 603}
              > Release {offer_id: ofr_1, token: 101, outcome: Declined}
              > InviteAgent {offer_id: ofr_2, leg_id: leg_agent-2, device_uri: "sip:anna@127.0.0.1:5070"}
            @40 LegAnswered {leg_id: leg_agent-2, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_2, token: 102}
              > AckAgent {offer_id: ofr_2}
              > Bridge {offer_id: ofr_2}
            @50 ContactConnected {visit: 1, offer_id: ofr_2, leg_id: leg_agent-2, waited_ms: 50ms}
        "#]],
    );
}

#[test]
fn a_phone_that_never_alerted_is_unreachable() {
    check_queued(
        &[(10, offer(1, 9_000)), (9_000, Input::Tick)],
        expect![[r#"
          > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
        @9000 OfferFailed {offer_id: ofr_1, reason: DeviceUnreachable}
          > CancelAgent {offer_id: ofr_1}
          > Release {offer_id: ofr_1, token: 101, outcome: Failed}
    "#]],
    );
    check_queued(
        &[(10, offer(1, 9_000)), (50, Input::AgentUnreachable { offer_id: offer_id(1) })],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @50 OfferFailed {offer_id: ofr_1, reason: DeviceUnreachable}
              > Release {offer_id: ofr_1, token: 101, outcome: Failed}
        "#]],
    );
}

#[test]
fn a_second_offer_while_one_is_live_is_refused_and_a_retry_changes_nothing() {
    check_queued(
        &[(10, offer(1, 9_000)), (11, offer(1, 9_000)), (12, offer(2, 9_000))],
        expect![[r#"
          > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
        @12 OfferFailed {offer_id: ofr_2, reason: ContactGone}
          > Release {offer_id: ofr_2, token: 102, outcome: Failed}
    "#]],
    );
}

#[test]
fn an_offer_without_a_phone_or_without_time_fails() {
    let Input::Offer(mut no_phone) = offer(1, 9_000) else { unreachable!() };
    no_phone.device_uri = None;
    check_queued(
        &[(10, Input::Offer(no_phone)), (20, offer(2, 20))],
        expect![[r#"
        @10 OfferFailed {offer_id: ofr_1, reason: DeviceUnreachable}
          > Release {offer_id: ofr_1, token: 101, outcome: Failed}
        @20 OfferFailed {offer_id: ofr_2, reason: ReservationRefused}
          > Release {offer_id: ofr_2, token: 102, outcome: Failed}
    "#]],
    );
}

#[test]
fn a_withdrawn_offer_stops_ringing_and_one_that_was_overtaken_never_rings() {
    let cancel = |n| Input::CancelOffer { offer_id: offer_id(n) };
    check_queued(
        &[(10, offer(1, 9_000)), (20, cancel(1)), (21, answered(1)), (30, cancel(2)), (31, offer(2, 9_000))],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 OfferWithdrawn {offer_id: ofr_1, by: System}
              > CancelAgent {offer_id: ofr_1}
              > AckAgent {offer_id: ofr_1}
              > ByeAgent {offer_id: ofr_1}
        "#]],
    );
    check_queued(
        &[(10, offer(1, 9_000)), (20, answered(1)), (30, cancel(1)), (40, granted(1)), (50, cancel(1))],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
              > AckAgent {offer_id: ofr_1}
              > Bridge {offer_id: ofr_1}
            @40 ContactConnected {visit: 1, offer_id: ofr_1, leg_id: leg_agent-1, waited_ms: 40ms}
        "#]],
    );
}

#[test]
fn a_caller_who_leaves_while_the_grant_is_pending_does_not_leave_the_agent_held() {
    check_queued(
        &[(10, offer(1, 9_000)), (20, answered(1)), (30, Input::CallerBye), (40, granted(1))],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
            @30 OfferWithdrawn {offer_id: ofr_1, by: Caller} + ContactAbandoned {visit: 1, waited_ms: 30ms} + ContactEnded {cause: Abandoned, by: Caller, sip_status: None}
              > AckAgent {offer_id: ofr_1}
              > ByeAgent {offer_id: ofr_1}
              > Release {offer_id: ofr_1, token: 101, outcome: CallerGone}
              > Closed
              > Release {offer_id: ofr_1, token: 101, outcome: CallerGone}
        "#]],
    );
}

#[test]
fn a_refused_grant_ends_the_agents_leg_and_the_caller_waits_on() {
    check_queued(
        &[(10, offer(1, 9_000)), (20, answered(1)), (30, Input::AcceptRefused { offer_id: offer_id(1) })],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
            @30 OfferFailed {offer_id: ofr_1, reason: ReservationRefused}
              > AckAgent {offer_id: ofr_1}
              > ByeAgent {offer_id: ofr_1}
              > Release {offer_id: ofr_1, token: 101, outcome: Failed}
        "#]],
    );
}

#[test]
fn an_agent_who_hangs_up_before_the_grant_is_not_connected_by_it() {
    check_queued(
        &[
            (10, offer(1, 9_000)),
            (20, answered(1)),
            (30, Input::AgentBye { offer_id: offer_id(1) }),
            (40, granted(1)),
        ],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
            @30 OfferFailed {offer_id: ofr_1, reason: DeviceUnreachable}
              > Release {offer_id: ofr_1, token: 101, outcome: Failed}
              > Release {offer_id: ofr_1, token: 101, outcome: Failed}
        "#]],
    );
}

#[test]
fn an_agent_hangs_up_and_holds_are_facts() {
    let direction = |by, held| Input::Direction { by, held };
    check_queued(
        &[
            (10, offer(1, 9_000)),
            (20, answered(1)),
            (30, granted(1)),
            (40, direction(Party::Agent, true)),
            (41, direction(Party::Agent, true)),
            (50, direction(Party::Agent, false)),
            (60, Input::AgentBye { offer_id: offer_id(1) }),
            (61, Input::CallerBye),
        ],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
              > AckAgent {offer_id: ofr_1}
              > Bridge {offer_id: ofr_1}
            @30 ContactConnected {visit: 1, offer_id: ofr_1, leg_id: leg_agent-1, waited_ms: 30ms}
            @40 LegHeld {leg_id: leg_agent-1, by: Agent}
            @50 LegRetrieved {leg_id: leg_agent-1, by: Agent}
            @60 ContactDisconnected {offer_id: ofr_1, talked_ms: 30ms, by: Agent} + ContactEnded {cause: Completed, by: Agent, sip_status: None}
              > ByeCaller {cause: Completed}
              > Unbridge
              > Release {offer_id: ofr_1, token: 101, outcome: Completed}
              > Closed
        "#]],
    );
}

#[test]
fn the_longest_wait_ends_the_contact_but_not_while_an_answer_is_decided() {
    check_queued(
        &[(10, offer(1, 90_000)), (20, alerting(1)), (60_000, Input::Tick)],
        expect![[r#"
          > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
        @20 OfferAlerting {offer_id: ofr_1, leg_id: leg_agent-1}
        @60000 OfferWithdrawn {offer_id: ofr_1, by: System} + ContactFlowedOut {visit: 1, waited_ms: 60000ms, reason: WaitedTooLong} + ContactEnded {cause: FlowedOut, by: System, sip_status: None}
          > ByeCaller {cause: FlowedOut}
          > CancelAgent {offer_id: ofr_1}
          > Release {offer_id: ofr_1, token: 101, outcome: CallerGone}
          > Closed
    "#]],
    );
    check_queued(
        &[
            (10, offer(1, 90_000)),
            (59_999, answered(1)),
            (60_000, Input::Tick),
            (60_010, Input::AcceptRefused { offer_id: offer_id(1) }),
            (60_011, Input::Tick),
        ],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @59999 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
            @60010 OfferFailed {offer_id: ofr_1, reason: ReservationRefused}
              > AckAgent {offer_id: ofr_1}
              > ByeAgent {offer_id: ofr_1}
              > Release {offer_id: ofr_1, token: 101, outcome: Failed}
            @60011 ContactFlowedOut {visit: 1, waited_ms: 60011ms, reason: WaitedTooLong} + ContactEnded {cause: FlowedOut, by: System, sip_status: None}
              > ByeCaller {cause: FlowedOut}
              > Closed
        "#]],
    );
}

#[test]
fn a_drain_ends_talk_waiting_and_prompt_each_once() {
    check_queued(
        &[(10, offer(1, 9_000)), (20, answered(1)), (30, granted(1)), (40, Input::Drain), (41, Input::Drain)],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
              > AckAgent {offer_id: ofr_1}
              > Bridge {offer_id: ofr_1}
            @30 ContactConnected {visit: 1, offer_id: ofr_1, leg_id: leg_agent-1, waited_ms: 30ms}
            @40 ContactDisconnected {offer_id: ofr_1, talked_ms: 10ms, by: System} + ContactEnded {cause: Drained, by: System, sip_status: None}
              > ByeCaller {cause: Drained}
              > Unbridge
              > ByeAgent {offer_id: ofr_1}
              > Release {offer_id: ofr_1, token: 101, outcome: Completed}
              > Closed
        "#]],
    );
    check_queued(
        &[(10, offer(1, 9_000)), (40, Input::Drain)],
        expect![[r#"
          > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
        @40 OfferWithdrawn {offer_id: ofr_1, by: System} + ContactFlowedOut {visit: 1, waited_ms: 40ms, reason: Drained} + ContactEnded {cause: Drained, by: System, sip_status: None}
          > ByeCaller {cause: Drained}
          > CancelAgent {offer_id: ofr_1}
          > Release {offer_id: ofr_1, token: 101, outcome: CallerGone}
          > Closed
    "#]],
    );
    check(
        service(),
        &[(40, Input::Drain)],
        expect![[r#"
        @0 ContactArrived {caller: Some(+…11), dialled: Some(+…22), , sip_call_id: "abc", flow_id: Some(flw_main), directory_revision: 7} + BusinessHoursChecked {calendar_id: cal_week, open: true} + LegAnswered {leg_id: leg_caller, party: Caller, agent_id: None} + PromptStarted {prompt: "hello"}
          > AnswerCaller
          > Play {prompt: "hello"}
        @40 PromptFinished {prompt: "hello", played_ms: 40ms} + ContactEnded {cause: Drained, by: System, sip_status: None}
          > ByeCaller {cause: Drained}
          > Closed
    "#]],
    );
}

#[test]
fn a_caller_who_never_acknowledges_is_a_failure_of_signalling() {
    check_queued(
        &[(32_000, Input::CallerFailed)],
        expect![[r#"
        @32000 ContactAbandoned {visit: 1, waited_ms: 32000ms} + ContactEnded {cause: SignallingFailed, by: System, sip_status: None}
          > ByeCaller {cause: SignallingFailed}
          > Closed
    "#]],
    );
}

#[test]
fn an_offer_for_a_contact_that_ended_is_refused_without_a_fact() {
    check_queued(
        &[(10, Input::CallerBye), (20, offer(1, 9_000))],
        expect![[r#"
        @10 ContactAbandoned {visit: 1, waited_ms: 10ms} + ContactEnded {cause: Abandoned, by: Caller, sip_status: None}
          > Closed
          > OfferRefused {offer_id: ofr_1}
          > Release {offer_id: ofr_1, token: 101, outcome: CallerGone}
    "#]],
    );
}
