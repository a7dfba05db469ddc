//! A queue that does not take the contact.

use expect_test::expect;

use super::tests::{answered, check, check_queued, granted, offer, offer_id, service};
use super::*;
use crate::facts::FlowOutReason;
use crate::vocabulary::{Clause, Millis, QueueId};

fn turn_away(visit: u32) -> Input {
    Input::TurnAway { visit, reason: FlowOutReason::QueueFull }
}

#[test]
fn a_full_queue_ends_the_contact_once_and_only_in_that_visit() {
    check_queued(
        &[(5, turn_away(2)), (10, turn_away(1)), (20, turn_away(1))],
        expect![[r#"
        @10 ContactFlowedOut {visit: 1, waited_ms: 10ms, reason: QueueFull} + ContactEnded {cause: FlowedOut, by: System, sip_status: None}
          > ByeCaller {cause: FlowedOut}
          > Closed
    "#]],
    );
    // An answer that is being decided stands; refused, the next word of routing's ends the contact.
    check_queued(
        &[
            (10, offer(1, 90_000)),
            (20, answered(1)),
            (30, turn_away(1)),
            (40, Input::AcceptRefused { offer_id: offer_id(1) }),
            (50, turn_away(1)),
        ],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
            @40 OfferFailed {offer_id: ofr_1, reason: ReservationRefused}
              > AckAgent {offer_id: ofr_1}
              > ByeAgent {offer_id: ofr_1}
              > Release {offer_id: ofr_1, token: 101, outcome: Failed}
            @50 ContactFlowedOut {visit: 1, waited_ms: 50ms, reason: QueueFull} + ContactEnded {cause: FlowedOut, by: System, sip_status: None}
              > ByeCaller {cause: FlowedOut}
              > Closed
        "#]],
    );
    check_queued(
        &[(10, offer(1, 90_000)), (20, answered(1)), (30, granted(1)), (40, turn_away(1))],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
              > AckAgent {offer_id: ofr_1}
              > Bridge {offer_id: ofr_1}
            @30 ContactConnected {visit: 1, offer_id: ofr_1, leg_id: leg_agent-1, waited_ms: 30ms}
        "#]],
    );
    check(
        service(),
        &[(40, turn_away(1))],
        expect![[r#"
        @0 ContactArrived {caller: Some(+…11), dialled: Some(+…22), , sip_call_id: "abc", flow_id: Some(flw_main), directory_revision: 7} + BusinessHoursChecked {calendar_id: cal_week, open: true} + LegAnswered {leg_id: leg_caller, party: Caller, agent_id: None} + PromptStarted {prompt: "hello"}
          > AnswerCaller
          > Play {prompt: "hello"}
    "#]],
    );
}

fn overflow(visit: u32) -> Input {
    let to = QueueTerms {
        queue_id: QueueId::parse("que_rest").unwrap(),
        priority: 9,
        required_skills: vec!["skl_any or not skl_b".parse::<Clause>().unwrap()],
        wait_ms_max: Millis(1_000),
    };
    Input::Overflow { visit, to: Box::new(to) }
}

#[test]
fn an_overflow_begins_a_visit_of_another_queue_with_the_time_that_was_waited() {
    // Once, and only from its visit; then the other queue's longest wait counts.
    check_queued(
        &[(5, overflow(2)), (10, overflow(1)), (20, overflow(1)), (2_000, Input::Tick)],
        expect![[r#"
            @10 ContactFlowedOut {visit: 1, waited_ms: 10ms, reason: Overflowed} + ContactQueueRequested {queue_id: que_rest, visit: 2, priority: 9, enqueued_at: @0, required_skills: [skl_any or not skl_b]}
            @2000 ContactFlowedOut {queue_id: que_rest, visit: 2, waited_ms: 1990ms, reason: WaitedTooLong} + ContactEnded {cause: FlowedOut, by: System, sip_status: None}
              > ByeCaller {cause: FlowedOut}
              > Closed
        "#]],
    );
    // Whoever rings is told that it is over, and gets its agent back.
    check_queued(
        &[(10, offer(1, 90_000)), (20, overflow(1))],
        expect![[r#"
          > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
        @20 OfferWithdrawn {offer_id: ofr_1, by: System}
          > CancelAgent {offer_id: ofr_1}
          > Release {offer_id: ofr_1, token: 101, outcome: Rescinded}
        @20 ContactFlowedOut {visit: 1, waited_ms: 20ms, reason: Overflowed} + ContactQueueRequested {queue_id: que_rest, visit: 2, priority: 9, enqueued_at: @0, required_skills: [skl_any or not skl_b]}
    "#]],
    );
    // An answer that is being decided stands.
    check_queued(
        &[(10, offer(1, 90_000)), (20, answered(1)), (25, overflow(1)), (30, granted(1))],
        expect![[r#"
              > InviteAgent {offer_id: ofr_1, leg_id: leg_agent-1, device_uri: "sip:anna@127.0.0.1:5070"}
            @20 LegAnswered {leg_id: leg_agent-1, party: Agent, agent_id: Some(agt_anna)}
              > RequestAccept {offer_id: ofr_1, token: 101}
              > AckAgent {offer_id: ofr_1}
              > Bridge {offer_id: ofr_1}
            @30 ContactConnected {visit: 1, offer_id: ofr_1, leg_id: leg_agent-1, waited_ms: 30ms}
        "#]],
    );
}
