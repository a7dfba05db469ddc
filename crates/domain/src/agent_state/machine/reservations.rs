//! Reserve, accept, release.

use super::{Machine, Turn};
use crate::agent_state::agent::{Agent, Moment, Reservation, Stage};
use crate::agent_state::command::Wish;
use crate::agent_state::lease::{Lease, media_resource, routing_resource};
use crate::agent_state::reply::{Done, Rejection, Reply, WishAnswer};
use crate::agent_state::{
    FEATURE_LEVEL_REACHABILITY, RESERVATION_LEN_MAX, RING_COUNT_MAX, WISH_COUNT_MAX, token,
};
use crate::facts::ReleaseOutcome;
use crate::vocabulary::{AgentId, Cell, Channel, ContactId, Epoch, NodeId, OfferId};

impl Machine {
    pub(super) fn reserve_agents(
        &mut self,
        turn: &mut Turn,
        cell: Cell,
        epoch: Epoch,
        wishes: Vec<Wish>,
    ) -> Reply {
        self.current(&routing_resource(cell), epoch)?;
        if self.state.wish_count as usize + wishes.len() > WISH_COUNT_MAX {
            return Err(Rejection::TooManyWishes);
        }
        let mut answers = Vec::with_capacity(wishes.len());
        for wish in wishes {
            let offer_id = wish.offer_id.clone();
            let token = token(turn.index, self.state.wish_count as usize);
            self.state.wish_count += 1;
            let granted = self.reserve(turn, cell, epoch, token, wish);
            answers.push(WishAnswer { offer_id, granted });
        }
        Ok(Done::Reserved { answers })
    }

    fn reserve(
        &mut self,
        turn: &mut Turn,
        cell: Cell,
        routing_epoch: Epoch,
        token: u64,
        wish: Wish,
    ) -> Result<u64, Rejection> {
        let now = self.state.now;
        let agent_id = wish.agent_id.clone();
        if !self.state.roster.queues.contains_key(&wish.queue_id) {
            return Err(Rejection::UnknownQueue);
        }
        let agent = self.known(&agent_id)?;
        if let Some(held) = agent.held().find(|it| it.wish == wish) {
            return Ok(held.token);
        }
        if let Some(rejection) = agent.unavailable(wish.channel, &self.state.roster.channels(&agent_id)) {
            return Err(rejection);
        }
        if let Some(slot) = agent.slots.iter().find(|it| *it.offer_id() == wish.offer_id) {
            return Err(slot.taken());
        }
        // A call needs a phone; what is written comes to the desktop, and is not given to one that is lost.
        let called = wish.channel == Channel::Voice;
        if called && self.state.feature_level >= FEATURE_LEVEL_REACHABILITY && !agent.reachable() {
            return Err(Rejection::Unreachable);
        }
        if agent.cell != cell {
            return Err(Rejection::WrongCell);
        }
        self.joins(&wish)?;
        if wish.expires_at <= now {
            return Err(Rejection::DeadlinePassed);
        }
        if wish.expires_at > now + RESERVATION_LEN_MAX {
            return Err(Rejection::DeadlineTooFar);
        }
        let resource = media_resource(&wish.node_id);
        if self.state.leases.get(&resource).and_then(Lease::epoch).is_none() {
            return Err(Rejection::StaleEpoch { resource, current: None });
        }
        let traceparent = turn.traceparent.clone();
        let stage = Stage::Offered;
        let held = Reservation {
            wish,
            token,
            cell,
            routing_epoch,
            stage,
            unconfirmed_until: None,
            wrap_up_requested: false,
            traceparent,
        };
        self.change(turn, &agent_id, now, |agent, moment| agent.reserve(held, moment));
        Ok(token)
    }

    pub(super) fn accept(
        &mut self,
        turn: &mut Turn,
        agent_id: &AgentId,
        offer_id: &OfferId,
        token: u64,
        node_id: &NodeId,
        media_epoch: Epoch,
    ) -> Reply {
        let now = self.state.now;
        let held = self.live(agent_id, offer_id, token).ok_or(Rejection::NoSuchReservation)?;
        if held.wish.node_id != *node_id {
            return Err(Rejection::WrongNode);
        }
        self.current(&media_resource(node_id), media_epoch)?;
        let (ring_many, contact_id) = (held.wish.ring_many, held.wish.contact_id.clone());
        self.continue_trace(turn, agent_id, offer_id);
        self.change(turn, agent_id, now, |agent, moment| agent.accept(offer_id, moment))?;
        if ring_many {
            self.stop_ringing(turn, &contact_id, agent_id);
        }
        Ok(Done::Accepted)
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of one action")]
    pub(super) fn release(
        &mut self,
        turn: &mut Turn,
        agent_id: &AgentId,
        offer_id: &OfferId,
        token: u64,
        outcome: ReleaseOutcome,
        node_id: &NodeId,
        epoch: Epoch,
    ) -> Reply {
        let now = self.state.now;
        if matches!(outcome, ReleaseOutcome::Expired | ReleaseOutcome::SignedOut) {
            return Err(Rejection::OutcomeReserved { outcome });
        }
        let Some(held) = self.live(agent_id, offer_id, token) else {
            return Ok(Done::Released { released: false });
        };
        if outcome == ReleaseOutcome::Rescinded {
            self.current(&routing_resource(held.cell), epoch)?;
        } else {
            if held.wish.node_id != *node_id {
                return Err(Rejection::WrongNode);
            }
            self.current(&media_resource(node_id), epoch)?;
        }
        match (held.stage, outcome) {
            (Stage::Accepted, ReleaseOutcome::Rescinded) => return Err(Rejection::AlreadyAccepted),
            (Stage::Offered, ReleaseOutcome::Completed) => return Err(Rejection::NotAccepted),
            _ => {}
        }
        self.continue_trace(turn, agent_id, offer_id);
        self.change(turn, agent_id, now, |agent, moment| agent.release(offer_id, outcome, moment));
        Ok(Done::Released { released: true })
    }

    /// What follows by itself belongs to the trace of the last command about the reservation.
    fn continue_trace(&mut self, turn: &Turn, agent_id: &AgentId, offer_id: &OfferId) {
        if turn.traceparent.is_empty() {
            return;
        }
        if let Some(held) = self.state.agents.get_mut(agent_id).and_then(|it| it.held_under_mut(offer_id)) {
            held.traceparent.clone_from(&turn.traceparent);
        }
    }

    fn live(&self, agent_id: &AgentId, offer_id: &OfferId, token: u64) -> Option<&Reservation> {
        let held = self.state.agents.get(agent_id)?.held_under(offer_id)?;
        (held.token == token).then_some(held)
    }

    /// Whether somebody may be held for a contact beside those who are.
    fn joins(&self, wish: &Wish) -> Result<(), Rejection> {
        let held = self.reservations_of(&wish.contact_id);
        let mut count = 0;
        for other in held {
            let rings = other.stage == Stage::Offered && other.wish.ring_many && wish.ring_many;
            let rings = rings && other.wish.agent_id != wish.agent_id;
            if !rings {
                return Err(Rejection::ContactReserved { offer_id: other.wish.offer_id.clone() });
            }
            count += 1;
        }
        if count >= RING_COUNT_MAX { Err(Rejection::RingFull) } else { Ok(()) }
    }

    /// Somebody has the contact: all others it rings at are free again, by the same command, so that nobody answers a
    /// caller who is talking.
    fn stop_ringing(&mut self, turn: &mut Turn, contact_id: &ContactId, winner: &AgentId) {
        let others = self.held.get(contact_id).into_iter().flatten().filter(|it| *it != winner);
        let (others, now): (Vec<AgentId>, _) = (others.cloned().collect(), self.state.now);
        for agent_id in others {
            let rescind = |agent: &mut Agent, moment: &mut Moment<'_>| {
                let held = agent.held().find(|it| it.wish.contact_id == *contact_id);
                let Some(offer_id) = held.map(|it| it.wish.offer_id.clone()) else { return };
                agent.release(&offer_id, ReleaseOutcome::Rescinded, moment);
            };
            self.change(turn, &agent_id, now, rescind);
        }
    }

    fn reservations_of(&self, contact_id: &ContactId) -> impl Iterator<Item = &Reservation> {
        let held = self.held.get(contact_id).into_iter().flatten();
        held.filter_map(move |agent_id| {
            self.state.agents.get(agent_id)?.held().find(|it| it.wish.contact_id == *contact_id)
        })
    }
}
