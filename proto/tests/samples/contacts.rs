use trunkline_domain::facts::{ContactFact, FlowOutReason, OfferFailure};
use trunkline_domain::vocabulary::{AgentId, ContactEndCause, ContactId, Millis, OfferId, Party, Timestamp};

use super::{NOON, Sample, id, number};

pub fn contacts() -> Vec<Sample<ContactFact>> {
    let contact_id: ContactId = id("ctc_01jnf9h3zqv7e0w1m2x4k5t6r8");
    let agent_id: AgentId = id("agt_anna");
    let offer_id: OfferId = id("ofr_01jnf9h4aab7c8d9e0f1g2h38x");
    let (company_id, queue_id) = (id("cmp_aurora"), id("que_aurora"));
    let (contact, agent, offer) = (|| contact_id.clone(), || agent_id.clone(), || offer_id.clone());
    let leg = || id("leg_01jnf9h4b2n3p4q5r6s7t8v9w0");
    vec![
        (
            "",
            ContactFact::ContactArrived {
                contact_id: contact(),
                company_id: Some(id("cmp_aurora")),
                caller: Some(number("+4915112345678")),
                dialled: Some(number("+4930555010")),
                node_id: id("nod_m1"),
                sip_call_id: "1-4711@127.0.0.1".to_owned(),
                flow_id: Some(id("flw_aurora")),
                directory_revision: 2,
            },
        ),
        (
            "bare",
            ContactFact::ContactArrived {
                contact_id: contact(),
                company_id: None,
                caller: None,
                dialled: None,
                node_id: id("nod_m1"),
                sip_call_id: "2-4711@127.0.0.1".to_owned(),
                flow_id: None,
                directory_revision: 2,
            },
        ),
        (
            "",
            ContactFact::BusinessHoursChecked {
                contact_id: contact(),
                calendar_id: id("cal_berlin"),
                open: true,
            },
        ),
        (
            "bare",
            ContactFact::BusinessHoursChecked {
                contact_id: contact(),
                calendar_id: id("cal_berlin"),
                open: false,
            },
        ),
        (
            "",
            ContactFact::LegAnswered {
                contact_id: contact(),
                leg_id: leg(),
                party: Party::Agent,
                agent_id: Some(agent()),
            },
        ),
        (
            "bare",
            ContactFact::LegAnswered {
                contact_id: contact(),
                leg_id: leg(),
                party: Party::Caller,
                agent_id: None,
            },
        ),
        ("", ContactFact::PromptStarted { contact_id: contact(), prompt: "welcome".to_owned() }),
        (
            "",
            ContactFact::PromptFinished {
                contact_id: contact(),
                prompt: "welcome".to_owned(),
                played_ms: Millis(2_140),
            },
        ),
        (
            "",
            ContactFact::ContactQueueRequested {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                visit: 1,
                priority: 10,
                enqueued_at: NOON,
                required_skills: vec![id("skl_german"), id("skl_billing")],
                node_id: id("nod_m1"),
            },
        ),
        (
            "bare",
            ContactFact::ContactQueueRequested {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                visit: 2,
                priority: -1,
                enqueued_at: Timestamp(NOON.0 - 30_000),
                required_skills: vec![],
                node_id: id("nod_m1"),
            },
        ),
        (
            "levels",
            ContactFact::ContactQueueRequested {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                visit: 1,
                priority: 0,
                enqueued_at: NOON,
                required_skills: vec![id("skl_german >= 5 or not skl_trainee"), id("skl_billing 3-7")],
                node_id: id("nod_m1"),
            },
        ),
        (
            "",
            ContactFact::OfferAlerting {
                contact_id: contact(),
                offer_id: offer(),
                agent_id: agent(),
                leg_id: leg(),
            },
        ),
        (
            "",
            ContactFact::OfferDeclined {
                contact_id: contact(),
                offer_id: offer(),
                agent_id: agent(),
                sip_status: 603,
            },
        ),
        (
            "",
            ContactFact::OfferUnanswered {
                contact_id: contact(),
                offer_id: offer(),
                agent_id: agent(),
                rang_ms: Millis(20_000),
            },
        ),
        (
            "",
            ContactFact::OfferFailed {
                contact_id: contact(),
                offer_id: offer(),
                agent_id: agent(),
                reason: OfferFailure::DeviceUnreachable,
            },
        ),
        (
            "",
            ContactFact::OfferWithdrawn {
                contact_id: contact(),
                offer_id: offer(),
                agent_id: agent(),
                by: Party::Caller,
            },
        ),
        (
            "",
            ContactFact::ContactConnected {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                visit: 1,
                offer_id: offer(),
                agent_id: agent(),
                leg_id: leg(),
                waited_ms: Millis(4_321),
            },
        ),
        ("", ContactFact::LegHeld { contact_id: contact(), leg_id: leg(), by: Party::Agent }),
        ("", ContactFact::LegRetrieved { contact_id: contact(), leg_id: leg(), by: Party::Agent }),
        (
            "",
            ContactFact::ContactDisconnected {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                offer_id: offer(),
                agent_id: agent(),
                talked_ms: Millis(61_007),
                by: Party::Caller,
            },
        ),
        (
            "",
            ContactFact::ContactAbandoned {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                visit: 1,
                waited_ms: Millis(12_345),
            },
        ),
        (
            "",
            ContactFact::ContactFlowedOut {
                contact_id: contact(),
                company_id,
                queue_id,
                visit: 1,
                waited_ms: Millis(0),
                reason: FlowOutReason::QueueFull,
            },
        ),
        (
            "overflowed",
            ContactFact::ContactFlowedOut {
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                visit: 1,
                waited_ms: Millis(120_000),
                reason: FlowOutReason::Overflowed,
            },
        ),
        (
            "",
            ContactFact::ContactEnded {
                contact_id: contact(),
                company_id: Some(id("cmp_aurora")),
                cause: ContactEndCause::Blocked,
                by: Party::System,
                sip_status: Some(486),
                rtp_received_count: 0,
                rtp_sent_count: 0,
            },
        ),
        (
            "bare",
            ContactFact::ContactEnded {
                contact_id: contact(),
                company_id: None,
                cause: ContactEndCause::Completed,
                by: Party::Caller,
                sip_status: None,
                rtp_received_count: 3_050,
                rtp_sent_count: 3_049,
            },
        ),
    ]
}
