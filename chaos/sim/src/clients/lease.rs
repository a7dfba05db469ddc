//! A lease as its holder knows it: by its own clock, counted from when it asked.

use trunkline_domain::agent_state::{Action, Done};
use trunkline_domain::vocabulary::{Epoch, Millis, NodeId, Timestamp};

use super::Asks;
use super::asks::Answered;
use crate::turn::Turn;

/// How long it lasts without renewal.
const TTL: Millis = Millis(2_500);
/// Between two renewals.
const RENEW_EVERY: Millis = Millis(700);
/// Between two tries for one that somebody else has.
const ACQUIRE_EVERY: Millis = Millis(600);
/// For how long one of its commands is asked for.
const PATIENCE: Millis = Millis(3_000);

/// One resource, and whether this process owns it.
#[derive(Debug)]
pub(crate) struct Lease {
    resource: String,
    holder: NodeId,
    address: String,
    held: Option<Held>,
    acquire_at: Timestamp,
    /// When the ownership before this one was last heard of, by machine time.
    pub(crate) previous_renewed_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    epoch: Epoch,
    until: Timestamp,
    renew_at: Timestamp,
}

impl Lease {
    pub(crate) fn new(resource: String, holder: NodeId, address: String) -> Self {
        let acquire_at = Timestamp(0);
        Self { resource, holder, address, held: None, acquire_at, previous_renewed_at: None }
    }

    /// The epoch, while it is held.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.held.map(|it| it.epoch)
    }

    /// Looks at the time before anything else, then asks for it or keeps it.
    pub(crate) fn tick(&mut self, asks: &mut Asks, turn: &mut Turn<'_>) {
        if self.held.is_some_and(|held| turn.now >= held.until) {
            self.held = None;
        }
        let (resource, holder, ttl) = (self.resource.clone(), self.holder.clone(), TTL);
        match self.held {
            None if turn.now >= self.acquire_at
                && !asks.any(|it| matches!(it, Action::AcquireLease { .. })) =>
            {
                self.acquire_at = turn.now + ACQUIRE_EVERY;
                let address = self.address.clone();
                asks.ask(Action::AcquireLease { resource, holder, ttl, address }, Some(PATIENCE), turn);
            }
            Some(Held { epoch, renew_at, .. })
                if turn.now >= renew_at && !asks.any(|it| matches!(it, Action::RenewLease { .. })) =>
            {
                asks.ask(Action::RenewLease { resource, holder, epoch, ttl }, Some(PATIENCE), turn);
            }
            _ => {}
        }
    }

    /// Gives it back, if it is held.
    pub(crate) fn give_back(&mut self, asks: &mut Asks, turn: &mut Turn<'_>) {
        if let Some(Held { epoch, .. }) = self.held.take() {
            let (resource, holder) = (self.resource.clone(), self.holder.clone());
            asks.ask(Action::ReleaseLease { resource, holder, epoch }, Some(PATIENCE), turn);
        }
    }

    pub(crate) fn hear(&mut self, answered: &Answered, turn: &Turn<'_>) {
        let Answered { action, asked_at, reply } = answered;
        match (action, reply) {
            (_, Ok(Done::LeaseAcquired { epoch, previous_renewed_at, .. })) => {
                let held = Held { epoch: *epoch, until: *asked_at + TTL, renew_at: *asked_at + RENEW_EVERY };
                if turn.now < held.until {
                    self.held = Some(held);
                    self.previous_renewed_at = *previous_renewed_at;
                }
            }
            (Action::RenewLease { epoch, .. }, Ok(_)) => {
                if let Some(held) = self.held.as_mut().filter(|held| held.epoch == *epoch) {
                    (held.until, held.renew_at) = (*asked_at + TTL, *asked_at + RENEW_EVERY);
                }
            }
            (Action::RenewLease { epoch, .. }, Err(_)) => {
                self.held = self.held.filter(|held| held.epoch != *epoch);
            }
            _ => {}
        }
    }
}
