//! The facts of the agents log.

use trunkline_domain::facts::{AgentFact, ForcedPresence, ReleaseOutcome};
use trunkline_domain::vocabulary::Channel;

use super::{DecodeError, WireEnum};
use crate::agent_state::v1::ReservationOutcome;
use crate::agents::v1 as wire;

facts! {
    AgentFact as agent_fact, body Agents, schema version 3 by version_of;
    AgentSignedIn { agent_id, session_id, site_id }
    AgentSignedOut { agent_id, session_id, reason }
    AgentBecameReady { agent_id }
    AgentBecameNotReady { agent_id, reason | until as until_ms }
    AgentForced { agent_id, presence, author, reason, not_ready_reason, duration_ms }
    AgentPresenceUnsteady { agent_id, change_count | since as since_ms }
    PauseLimitExceeded { agent_id, reason, limit_ms }
    SessionLost { agent_id, session_id }
    DeviceRegistered { agent_id, device_id, contact_uri, node_id | expires_at as expires_at_ms }
    DeviceUnregistered { agent_id, device_id, reason }
    AgentReserved {
        agent_id, offer_id, contact_id, company_id, queue_id, token, node_id, routing_epoch, channel
        | expires_at as expires_at_ms
    }
    ReservationAccepted { agent_id, offer_id, contact_id, token }
    ReservationReleased { agent_id, offer_id, contact_id, token, outcome }
    ReservationUnconfirmed { agent_id, offer_id, contact_id, token | resolves_at as resolves_at_ms }
    WrapUpStarted { agent_id, offer_id, contact_id, company_id, queue_id, channel; ends_at as ends_at_ms }
    WrapUpExtended { agent_id, offer_id, contact_id | ends_at as ends_at_ms }
    WrapUpEnded { agent_id, offer_id, contact_id, finished_by_agent, wrap_up_code }
    LeaseGranted { resource, holder, epoch, address | expires_at as expires_at_ms }
    LeaseLapsed { resource, holder, epoch }
    LeaseReleased { resource, holder, epoch }
}

/// Version 2: wrap-up may have no end. A reader before it would take the missing one for the beginning of Unix time.
/// Version 3: there are channels. A reader before it would take everything for a call.
fn version_of(fact: &AgentFact) -> u32 {
    match fact {
        AgentFact::AgentReserved { channel, .. } | AgentFact::WrapUpStarted { channel, .. }
            if *channel != Channel::Voice =>
        {
            3
        }
        AgentFact::WrapUpStarted { ends_at: None, .. } => 2,
        _ => 1,
    }
}

values!(ForcedPresence as wire::ForcedPresence [Ready, NotReady, SignedOut]);
values!(ReleaseOutcome as wire::ReleaseOutcome [
    Completed, Declined, Unanswered, CallerGone, Rescinded, Expired, Failed, MediaLost, SignedOut
]);

/// The command's enum has the same numbers as the fact's, by test.
impl From<ReleaseOutcome> for ReservationOutcome {
    fn from(outcome: ReleaseOutcome) -> Self {
        match outcome {
            ReleaseOutcome::Completed => Self::Completed,
            ReleaseOutcome::Declined => Self::Declined,
            ReleaseOutcome::Unanswered => Self::Unanswered,
            ReleaseOutcome::CallerGone => Self::CallerGone,
            ReleaseOutcome::Rescinded => Self::Rescinded,
            ReleaseOutcome::Expired => Self::Expired,
            ReleaseOutcome::Failed => Self::Failed,
            ReleaseOutcome::MediaLost => Self::MediaLost,
            ReleaseOutcome::SignedOut => Self::SignedOut,
        }
    }
}

/// How a reservation ended, from the number in a `ReleaseReservationRequest`.
///
/// # Errors
/// When it is zero or not a known outcome.
pub fn release_outcome(number: i32) -> Result<ReleaseOutcome, DecodeError> {
    ReleaseOutcome::from_number(number, "ReleaseReservationRequest.outcome")
}
