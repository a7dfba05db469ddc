//! A command under a stale epoch has no effect.
//!
//! Without it an owner that was replaced goes on deciding. What counts is the epoch the client sent, not the one that
//! stands in the log.

use trunkline_domain::agent_state::{Action, Done, Lease};
use trunkline_domain::facts::ReleaseOutcome;
use trunkline_domain::vocabulary::Epoch;

use super::{Committed, Verdict};

pub(crate) const NAME: &str = "stale_epochs_are_void";

/// A command of an owner that was done though its epoch was not current.
pub(crate) fn committed(it: &Committed<'_>) -> Verdict {
    let Some(issued) = it.issued.filter(|_| !it.repeated) else { return Ok(()) };
    let done = match it.reply {
        Ok(Done::Reserved { answers }) => answers.iter().any(|answer| answer.granted.is_ok()),
        Ok(Done::Released { released }) => *released,
        Ok(_) => true,
        Err(_) => false,
    };
    let Some((resource, epoch)) = claimed(issued).filter(|_| done) else { return Ok(()) };
    let current = it.state.leases.get(&resource).and_then(Lease::epoch);
    if current == Some(epoch) || matches!(issued, Action::ReleaseLease { .. }) {
        return Ok(());
    }
    let current = current.map_or("nobody holds it".to_owned(), |it| format!("{it} is current"));
    Err(format!("{} under epoch {epoch} of {resource} had an effect; {current}", it.command.command_id))
}

/// The resource a command claims to own, and the epoch it claims.
pub(crate) fn claimed(action: &Action) -> Option<(String, Epoch)> {
    match action {
        Action::ReserveAgents { cell, routing_epoch, .. } => {
            Some((format!("routing/{cell}"), *routing_epoch))
        }
        Action::AcceptReservation { node_id, media_epoch, .. } => {
            Some((format!("media/{node_id}"), *media_epoch))
        }
        Action::ReleaseReservation { node_id, epoch, outcome, .. }
            if *outcome != ReleaseOutcome::Rescinded =>
        {
            Some((format!("media/{node_id}"), *epoch))
        }
        Action::RenewLease { resource, epoch, .. } | Action::ReleaseLease { resource, epoch, .. } => {
            Some((resource.clone(), *epoch))
        }
        _ => None,
    }
}
