//! The contacts log as prose.

use trunkline_domain::facts::{ContactFact as Fact, OfferFailure};
use trunkline_domain::vocabulary::{Party, PhoneNumber};

use super::{all_of, clock, seconds, short, words};

pub(super) fn contact(fact: &Fact) -> String {
    match fact {
        Fact::ContactArrived { company_id, caller, dialled, node_id, flow_id, .. } => {
            let (caller, dialled) = (number(caller, "unknown caller"), number(dialled, "an unknown number"));
            let whose = match (company_id, flow_id) {
                (Some(company), Some(flow)) => format!("for {}, flow {}", short(company), short(flow)),
                (Some(company), None) => format!("for {}", short(company)),
                (None, _) => "for nobody we know".to_owned(),
            };
            format!("arrived from {caller} to {dialled} {whose}, on {}", short(node_id))
        }
        Fact::BusinessHoursChecked { calendar_id, open, .. } => {
            format!("{} by {}", if *open { "open" } else { "closed" }, short(calendar_id))
        }
        Fact::LegAnswered { party, agent_id, .. } => match agent_id {
            Some(agent) => format!("{} answered", short(agent)),
            None => format!("the leg of {} was answered", side(*party)),
        },
        Fact::PromptStarted { prompt, .. } => format!("prompt {prompt} started"),
        Fact::PromptFinished { prompt, played_ms, .. } => {
            format!("prompt {prompt} finished after {}", seconds(*played_ms))
        }
        Fact::ContactQueueRequested { queue_id, visit, priority, enqueued_at, required_skills, .. } => {
            let skills = match required_skills.as_slice() {
                [] => String::new(),
                some => format!(", needs {}", all_of(some)),
            };
            let since = clock(*enqueued_at);
            format!(
                "asked for {}, visit {visit}, priority {priority}, waits since {since}{skills}",
                short(queue_id)
            )
        }
        Fact::OfferAlerting { offer_id, agent_id, .. } => {
            format!("{} is ringing for {}", short(agent_id), short(offer_id))
        }
        Fact::OfferDeclined { offer_id, agent_id, sip_status, .. } => {
            format!("{} declined {} (SIP {sip_status})", short(agent_id), short(offer_id))
        }
        Fact::OfferUnanswered { offer_id, agent_id, rang_ms, .. } => {
            format!("{} did not answer {}, rang {}", short(agent_id), short(offer_id), seconds(*rang_ms))
        }
        Fact::OfferFailed { offer_id, agent_id, reason, .. } => {
            format!("{} to {} failed: {}", short(offer_id), short(agent_id), failure(*reason))
        }
        Fact::OfferWithdrawn { offer_id, agent_id, by, .. } => {
            format!("{} to {} withdrawn by {}", short(offer_id), short(agent_id), side(*by))
        }
        Fact::ContactConnected { queue_id, agent_id, waited_ms, .. } => {
            format!(
                "connected to {} from {}, waited {}",
                short(agent_id),
                short(queue_id),
                seconds(*waited_ms)
            )
        }
        Fact::LegHeld { by, .. } => format!("put on hold by {}", side(*by)),
        Fact::LegRetrieved { by, .. } => format!("taken off hold by {}", side(*by)),
        Fact::ContactDisconnected { agent_id, talked_ms, by, .. } => {
            format!("disconnected from {} by {}, talked {}", short(agent_id), side(*by), seconds(*talked_ms))
        }
        Fact::ContactAbandoned { queue_id, waited_ms, .. } => {
            format!("abandoned in {}, waited {}", short(queue_id), seconds(*waited_ms))
        }
        Fact::ContactFlowedOut { queue_id, waited_ms, reason, .. } => {
            let (waited, reason) = (seconds(*waited_ms), words(reason.as_str()));
            format!("flowed out of {}, waited {waited}: {reason}", short(queue_id))
        }
        Fact::ContactEnded { cause, by, sip_status, rtp_received_count, rtp_sent_count, .. } => {
            let cause = words(cause.as_str());
            match sip_status {
                Some(status) => format!("ended by {}: {cause}, SIP {status}", side(*by)),
                None => format!(
                    "ended by {}: {cause}, {rtp_received_count} packets in, {rtp_sent_count} out",
                    side(*by)
                ),
            }
        }
    }
}

fn number(number: &Option<PhoneNumber>, otherwise: &str) -> String {
    number.as_ref().map_or_else(|| otherwise.to_owned(), ToString::to_string)
}

fn side(party: Party) -> &'static str {
    match party {
        Party::Caller => "the caller",
        Party::Agent => "the agent",
        Party::System => "the system",
    }
}

pub(super) fn failure(failure: OfferFailure) -> &'static str {
    match failure {
        OfferFailure::DeviceUnreachable => "device unreachable",
        OfferFailure::ReservationRefused => "reservation refused at the answer",
        OfferFailure::ContactGone => "contact gone",
        OfferFailure::MediaFailed => "no media path to the agent",
        OfferFailure::NodeLost => "media node lost",
    }
}
