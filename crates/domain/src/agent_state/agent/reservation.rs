//! The hold of an offer: reserve, accept, release, and what follows.

use super::{Agent, Moment, Next, Slot};
use crate::agent_state::UNCONFIRMED_GRACE;
use crate::agent_state::command::Wish;
use crate::agent_state::reply::Rejection;
use crate::facts::{AgentFact, ReleaseOutcome};
use crate::vocabulary::{Cell, Epoch, NodeId, OfferId, Timestamp};

/// The hold of one offer on one agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// What was asked for.
    pub wish: Wish,
    /// The fence.
    pub token: u64,
    /// The routing partition that asked.
    pub cell: Cell,
    /// The epoch it had.
    pub routing_epoch: Epoch,
    /// How far it is.
    pub stage: Stage,
    /// Set when the media node lost or renewed its lease: when the reservation ends unless somebody says how before.
    pub unconfirmed_until: Option<Timestamp>,
    /// Whether the agent asked for wrap-up while it talked.
    pub wrap_up_requested: bool,
    /// The trace of the command that made it.
    pub traceparent: String,
}

/// How far a reservation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The device is to ring, until the wish's deadline.
    Offered,
    /// The agent answered; there is no deadline any more.
    Accepted,
}

impl Agent {
    pub(in crate::agent_state) fn reserve(&mut self, held: Reservation, moment: &mut Moment<'_>) {
        let wish = held.wish.clone();
        moment.tell(AgentFact::AgentReserved {
            agent_id: wish.agent_id,
            offer_id: wish.offer_id,
            contact_id: wish.contact_id,
            company_id: wish.company_id,
            queue_id: wish.queue_id,
            token: held.token,
            node_id: wish.node_id,
            routing_epoch: held.routing_epoch,
            expires_at: wish.expires_at,
            channel: wish.channel,
        });
        self.slots.push(Slot::Held(held));
    }

    /// The agent answered; the caller has checked token, node and epochs.
    pub(in crate::agent_state) fn accept(
        &mut self,
        offer_id: &OfferId,
        moment: &mut Moment<'_>,
    ) -> Result<(), Rejection> {
        let held = self.held_under_mut(offer_id).ok_or(Rejection::NoSuchReservation)?;
        if held.unconfirmed_until.is_some() {
            return Err(Rejection::Unconfirmed);
        }
        if held.stage == Stage::Accepted {
            return Ok(());
        }
        held.stage = Stage::Accepted;
        let (offer_id, contact_id) = (held.wish.offer_id.clone(), held.wish.contact_id.clone());
        let (agent_id, token) = (held.wish.agent_id.clone(), held.token);
        moment.tell(AgentFact::ReservationAccepted { agent_id, offer_id, contact_id, token });
        self.missed_count = 0;
        Ok(())
    }

    /// The reservation is over; what follows is the queue's policy.
    pub(in crate::agent_state) fn release(
        &mut self,
        offer_id: &OfferId,
        outcome: ReleaseOutcome,
        moment: &mut Moment<'_>,
    ) {
        let at = self.slots.iter().position(|it| it.held().is_some() && it.offer_id() == offer_id);
        let Some(place) = at else { return };
        let Slot::Held(held) = self.slots[place].clone() else { return };
        moment.tell(self.released(&held, outcome));
        let policy = moment.policy(&held.wish.queue_id);
        let (talked, missed) = match held.stage {
            Stage::Accepted => {
                (matches!(outcome, ReleaseOutcome::Completed | ReleaseOutcome::MediaLost), false)
            }
            Stage::Offered => {
                let missed = matches!(
                    outcome,
                    ReleaseOutcome::Declined | ReleaseOutcome::Unanswered | ReleaseOutcome::Expired
                );
                (false, missed)
            }
        };
        let sent_away = matches!(self.next, Some(Next::SignedOut { .. }));
        let lost = self.lost();
        let wrap_up = policy.wrap_up_after(moment.at, held.wrap_up_requested);
        // Nobody is there who could end what has no end.
        let begins = |ends_at: &Option<Timestamp>| talked && !sent_away && !(lost && ends_at.is_none());
        if let Some(ends_at) = wrap_up.filter(begins) {
            self.slots[place] = Slot::WrapUp(self.start_wrap_up(held, ends_at, moment));
            return;
        }
        self.slots.remove(place);
        if missed {
            self.missed_count = self.missed_count.saturating_add(1);
            if policy.miss_count_max > 0 && self.missed_count >= policy.miss_count_max {
                self.missed_count = 0;
                self.next.get_or_insert_with(|| policy.missed());
            }
        }
        self.become_next(moment);
    }

    /// A media node lost or renewed its lease.
    pub(in crate::agent_state) fn unconfirm(&mut self, node_id: &NodeId, moment: &mut Moment<'_>) {
        let resolves_at = moment.at + UNCONFIRMED_GRACE;
        for slot in &mut self.slots {
            let Slot::Held(held) = slot else { continue };
            if !held.proven_by(node_id) {
                continue;
            }
            held.unconfirmed_until = Some(resolves_at);
            moment.tell(AgentFact::ReservationUnconfirmed {
                agent_id: self.agent_id.clone(),
                offer_id: held.wish.offer_id.clone(),
                contact_id: held.wish.contact_id.clone(),
                token: held.token,
                resolves_at,
            });
        }
    }

    pub(super) fn released(&self, held: &Reservation, outcome: ReleaseOutcome) -> AgentFact {
        AgentFact::ReservationReleased {
            agent_id: self.agent_id.clone(),
            offer_id: held.wish.offer_id.clone(),
            contact_id: held.wish.contact_id.clone(),
            token: held.token,
            outcome,
        }
    }
}

impl Reservation {
    /// When it ends by itself.
    pub fn deadline(&self) -> Option<Timestamp> {
        let offered = (self.stage == Stage::Offered).then_some(self.wish.expires_at);
        [offered, self.unconfirmed_until].into_iter().flatten().min()
    }

    /// Whether that it lives is this media node's word alone, and nothing is known against it.
    pub(in crate::agent_state) fn proven_by(&self, node_id: &NodeId) -> bool {
        self.wish.node_id == *node_id && self.unconfirmed_until.is_none()
    }

    pub(super) fn outcome_at_deadline(&self, at: Timestamp) -> ReleaseOutcome {
        if self.unconfirmed_until == Some(at) { ReleaseOutcome::MediaLost } else { ReleaseOutcome::Expired }
    }
}
