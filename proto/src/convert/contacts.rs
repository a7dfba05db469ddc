//! The facts of the contacts log.

use trunkline_domain::facts::{ContactFact, FlowOutReason, OfferFailure};
use trunkline_domain::vocabulary::{ContactEndCause, Party};

use super::plan::plain;
use crate::contacts::v1 as wire;

facts! {
    ContactFact as contact_fact, body Contacts, schema version 2 by version_of;
    ContactArrived { contact_id, company_id, caller, dialled, node_id, sip_call_id, flow_id, directory_revision }
    BusinessHoursChecked { contact_id, calendar_id, open }
    LegAnswered { contact_id, leg_id, party, agent_id }
    PromptStarted { contact_id, prompt }
    PromptFinished { contact_id, prompt, played_ms }
    ContactQueueRequested {
        contact_id, company_id, queue_id, visit, priority, required_skills, node_id | enqueued_at as enqueued_at_ms
    }
    OfferAlerting { contact_id, offer_id, agent_id, leg_id }
    OfferDeclined { contact_id, offer_id, agent_id, sip_status }
    OfferUnanswered { contact_id, offer_id, agent_id, rang_ms }
    OfferFailed { contact_id, offer_id, agent_id, reason }
    OfferWithdrawn { contact_id, offer_id, agent_id, by }
    ContactConnected { contact_id, company_id, queue_id, visit, offer_id, agent_id, leg_id, waited_ms }
    LegHeld { contact_id, leg_id, by }
    LegRetrieved { contact_id, leg_id, by }
    ContactDisconnected { contact_id, company_id, queue_id, offer_id, agent_id, talked_ms, by }
    ContactAbandoned { contact_id, company_id, queue_id, visit, waited_ms }
    ContactFlowedOut { contact_id, company_id, queue_id, visit, waited_ms, reason }
    ContactEnded { contact_id, company_id, cause, by, sip_status, rtp_received_count, rtp_sent_count }
}

/// Version 2: what an agent must be able to do has levels and alternatives, and contacts overflow.
fn version_of(fact: &ContactFact) -> u32 {
    match fact {
        ContactFact::ContactQueueRequested { required_skills, .. } if !plain(required_skills) => 2,
        ContactFact::ContactFlowedOut { reason: FlowOutReason::Overflowed, .. } => 2,
        _ => 1,
    }
}

values!(Party as wire::Party [Caller, Agent, System]);
values!(ContactEndCause as wire::ContactEndCause [
    Completed, Abandoned, LeftInFlow, Closed, Blocked, UnknownNumber, Overloaded, FlowedOut, MediaLost, Drained,
    SignallingFailed
]);
values!(OfferFailure as wire::OfferFailure [
    DeviceUnreachable, ReservationRefused, ContactGone, MediaFailed, NodeLost
]);
values!(FlowOutReason as wire::FlowOutReason [QueueFull, NobodySignedIn, WaitedTooLong, MediaLost, Drained, Overflowed]);
