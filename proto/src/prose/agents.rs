//! The agents log as prose.

use trunkline_domain::facts::AgentFact as Fact;
use trunkline_domain::vocabulary::{Channel, Millis};

use super::{clock, seconds, short, words};

pub(super) fn agent(fact: &Fact) -> String {
    match fact {
        Fact::AgentSignedIn { agent_id, site_id, .. } => match site_id {
            Some(site) => format!("{} signed in at {}", short(agent_id), short(site)),
            None => format!("{} signed in", short(agent_id)),
        },
        Fact::AgentSignedOut { agent_id, reason, .. } => {
            format!("{} signed out: {reason}", short(agent_id))
        }
        Fact::AgentBecameReady { agent_id } => format!("{} is ready", short(agent_id)),
        Fact::AgentBecameNotReady { agent_id, reason, until } => match until {
            Some(until) => format!("{} is not ready until {}: {reason}", short(agent_id), clock(*until)),
            None => format!("{} is not ready: {reason}", short(agent_id)),
        },
        Fact::AgentForced { agent_id, presence, reason, not_ready_reason, duration_ms, .. } => {
            let what = match (not_ready_reason.as_str(), *duration_ms) {
                ("", _) => String::new(),
                (word, Millis::ZERO) => format!(" ({word})"),
                (word, duration) => format!(" ({word} for {})", seconds(duration)),
            };
            format!("{} forced {}{what}: {reason}", short(agent_id), words(presence.as_str()))
        }
        Fact::AgentPresenceUnsteady { agent_id, change_count, since } => {
            format!("{} changed its presence {change_count} times since {}", short(agent_id), clock(*since))
        }
        Fact::PauseLimitExceeded { agent_id, reason, limit_ms } => {
            format!("{} is not ready for longer than {}: {reason}", short(agent_id), seconds(*limit_ms))
        }
        Fact::SessionLost { agent_id, .. } => format!("desktop of {} is gone", short(agent_id)),
        Fact::DeviceRegistered { agent_id, device_id, node_id, expires_at, .. } => format!(
            "{} of {} can be called through {} until {}",
            short(device_id),
            short(agent_id),
            short(node_id),
            clock(*expires_at)
        ),
        Fact::DeviceUnregistered { agent_id, device_id, reason } => {
            format!("{} of {} can no longer be called: {reason}", short(device_id), short(agent_id))
        }
        Fact::AgentReserved { agent_id, offer_id, expires_at, channel, .. } => {
            let (agent, offer, until) = (short(agent_id), short(offer_id), clock(*expires_at));
            format!("reserved {agent} for {offer}{} until {until}", by(*channel))
        }
        Fact::ReservationAccepted { agent_id, offer_id, .. } => {
            format!("{} accepted {}", short(agent_id), short(offer_id))
        }
        Fact::ReservationReleased { agent_id, offer_id, outcome, .. } => {
            format!("released {} from {}: {}", short(agent_id), short(offer_id), words(outcome.as_str()))
        }
        Fact::ReservationUnconfirmed { agent_id, offer_id, resolves_at, .. } => {
            let at = clock(*resolves_at);
            format!("{} on {} is unconfirmed, resolves by {at}", short(agent_id), short(offer_id))
        }
        Fact::WrapUpStarted { agent_id, ends_at, channel, .. } => {
            let until = ends_at.map_or_else(|| "it says so".to_owned(), clock);
            format!("{} wraps up{} until {until}", short(agent_id), by(*channel))
        }
        Fact::WrapUpExtended { agent_id, ends_at, .. } => {
            format!("{} wraps up longer, until {}", short(agent_id), clock(*ends_at))
        }
        Fact::WrapUpEnded { agent_id, finished_by_agent, wrap_up_code, .. } => match finished_by_agent {
            true if wrap_up_code.is_empty() => format!("{} finished wrap-up", short(agent_id)),
            true => format!("{} finished wrap-up: {wrap_up_code}", short(agent_id)),
            false => format!("wrap-up of {} ran out", short(agent_id)),
        },
        Fact::LeaseGranted { resource, holder, epoch, expires_at, .. } => {
            format!("{resource} leased to {}, epoch {epoch}, until {}", short(holder), clock(*expires_at))
        }
        Fact::LeaseLapsed { resource, holder, epoch } => {
            format!("lease of {resource} lapsed, {} had it, epoch {epoch}", short(holder))
        }
        Fact::LeaseReleased { resource, holder, epoch } => {
            format!("lease of {resource} given back by {}, epoch {epoch}", short(holder))
        }
    }
}

/// Nothing is said of a call, which nearly everything is.
fn by(channel: Channel) -> String {
    if channel == Channel::Voice { String::new() } else { format!(" by {channel}") }
}
