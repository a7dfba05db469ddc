//! Acquire, renew, release, lapse; and what that means for a media node's reservations.

use super::{Due, Machine, Turn};
use crate::agent_state::agent::{Agent, Session};
use crate::agent_state::lease::{Holding, Lease, node_of_resource};
use crate::agent_state::reply::{Done, Rejection, Reply};
use crate::agent_state::state::OutboxKey;
use crate::agent_state::{FEATURE_LEVEL_ONE_GRANT, LEASE_COUNT_MAX, LEASE_TTL};
use crate::facts::AgentFact;
use crate::vocabulary::{AgentId, Epoch, Millis, NodeId, Timestamp};

impl Machine {
    pub(super) fn acquire_lease(
        &mut self,
        turn: &mut Turn,
        resource: String,
        holder: NodeId,
        ttl: Millis,
        address: String,
    ) -> Reply {
        let now = self.state.now;
        if !LEASE_TTL.contains(&ttl) {
            return Err(Rejection::TtlOutOfBounds);
        }
        if !self.state.leases.contains_key(&resource) && self.state.leases.len() >= LEASE_COUNT_MAX {
            return Err(Rejection::TooManyLeases);
        }
        let lease = self.state.leases.entry(resource.clone()).or_default();
        if let Some(other) = lease.holding.as_ref().filter(|it| it.holder != holder) {
            let (holder, expires_at) = (other.holder.clone(), other.expires_at);
            return Err(Rejection::LeaseHeld { holder, expires_at });
        }
        if let Some(again) = lease.holding.as_ref().filter(|it| it.epoch == Epoch(turn.index)) {
            let (epoch, expires_at) = (again.epoch, again.expires_at);
            return Ok(Done::LeaseAcquired {
                epoch,
                expires_at,
                previous_renewed_at: lease.previous_renewed_at,
            });
        }
        if self.state.feature_level >= FEATURE_LEVEL_ONE_GRANT
            && let Some(over) = self.granted_at(turn.index, &resource)
        {
            return Err(over);
        }
        let lease = self.state.leases.entry(resource.clone()).or_default();
        lease.previous_renewed_at = lease.renewed_at.replace(now);
        let previous_renewed_at = lease.previous_renewed_at;
        let (epoch, expires_at) = (Epoch(turn.index), now + ttl);
        let holding = Holding { holder: holder.clone(), epoch, expires_at, address: address.clone() };
        lease.holding = Some(holding);
        self.timers.set(Due::Lease(resource.clone()), expires_at);
        let fact = AgentFact::LeaseGranted { resource: resource.clone(), holder, epoch, expires_at, address };
        self.post_lease(turn, &resource, now, fact);
        self.unconfirm_node(turn, &resource, now);
        Ok(Done::LeaseAcquired { epoch, expires_at, previous_renewed_at })
    }

    /// Why a resource is not granted once more at a Raft index: two ownerships would have one epoch, and no reader could
    /// tell their records apart. The commands of one entry are stamped one by one, so the first may lapse before the
    /// second asks. What was granted at the index is in the outbox: it is not published before the index is applied.
    fn granted_at(&self, index: u64, resource: &str) -> Option<Rejection> {
        let first = OutboxKey { index, ordinal: 0 };
        self.state.outbox.range(first..).find_map(|(_, posted)| match &posted.fact {
            AgentFact::LeaseGranted { resource: granted, holder, expires_at, .. } if granted == resource => {
                Some(Rejection::LeaseHeld { holder: holder.clone(), expires_at: *expires_at })
            }
            _ => None,
        })
    }

    pub(super) fn renew_lease(
        &mut self,
        resource: String,
        holder: &NodeId,
        epoch: Epoch,
        ttl: Millis,
    ) -> Reply {
        let now = self.state.now;
        if !LEASE_TTL.contains(&ttl) {
            return Err(Rejection::TtlOutOfBounds);
        }
        self.owned(&resource, holder, epoch)?;
        let lease = self.state.leases.entry(resource.clone()).or_default();
        let expires_at = now + ttl;
        lease.renewed_at = Some(now);
        if let Some(holding) = &mut lease.holding {
            holding.expires_at = expires_at;
        }
        self.timers.set(Due::Lease(resource.clone()), expires_at);
        self.touched.leases.insert(resource);
        Ok(Done::LeaseRenewed { expires_at })
    }

    pub(super) fn release_lease(
        &mut self,
        turn: &mut Turn,
        resource: String,
        holder: &NodeId,
        epoch: Epoch,
    ) -> Reply {
        self.owned(&resource, holder, epoch)?;
        let fact = AgentFact::LeaseReleased { resource: resource.clone(), holder: holder.clone(), epoch };
        self.end_lease(turn, &resource, self.state.now, fact);
        Ok(Done::LeaseReleased)
    }

    pub(super) fn end_lease(&mut self, turn: &mut Turn, resource: &str, at: Timestamp, fact: AgentFact) {
        self.state.leases.entry(resource.to_owned()).or_default().holding = None;
        self.timers.cancel(&Due::Lease(resource.to_owned()));
        self.post_lease(turn, resource, at, fact);
        self.unconfirm_node(turn, resource, at);
    }

    /// Puts the deadline of every lease off by a time in which nobody could have renewed it, and those of sessions too.
    pub(super) fn spare_leases(&mut self, by: Millis) {
        if by <= Millis::ZERO {
            return;
        }
        for (resource, lease) in &mut self.state.leases {
            if let Some(holding) = &mut lease.holding {
                holding.expires_at = holding.expires_at + by;
                self.timers.set(Due::Lease(resource.clone()), holding.expires_at);
                self.touched.leases.insert(resource.clone());
            }
        }
        let leased = |agent: &&Agent| agent.session.as_ref().and_then(Session::deadline).is_some();
        let agents: Vec<AgentId> =
            self.state.agents.values().filter(leased).map(|it| it.agent_id.clone()).collect();
        for agent_id in agents {
            let mut turn = Turn { index: self.state.last_index, term: 0, traceparent: String::new() };
            let now = self.state.now;
            self.change(&mut turn, &agent_id, now, |agent, moment| agent.spare_session(by, moment));
        }
    }

    /// The reservations of a media node whose ownership began or ended: what it knew about them may be lost.
    fn unconfirm_node(&mut self, turn: &mut Turn, resource: &str, at: Timestamp) {
        let Some(node_id) = node_of_resource(resource) else { return };
        let holds = |agent: &&Agent| agent.held().any(|it| it.proven_by(&node_id));
        let agents: Vec<AgentId> =
            self.state.agents.values().filter(holds).map(|it| it.agent_id.clone()).collect();
        for agent_id in agents {
            self.change(turn, &agent_id, at, |agent, moment| agent.unconfirm(&node_id, moment));
        }
    }

    pub(super) fn current(&self, resource: &str, epoch: Epoch) -> Result<(), Rejection> {
        let current = self.state.leases.get(resource).and_then(Lease::epoch);
        if current == Some(epoch) {
            return Ok(());
        }
        Err(Rejection::StaleEpoch { resource: resource.to_owned(), current })
    }

    pub(super) fn owned(&self, resource: &str, holder: &NodeId, epoch: Epoch) -> Result<(), Rejection> {
        self.current(resource, epoch)?;
        let holding = self.state.leases.get(resource).and_then(|it| it.holding.as_ref());
        if holding.is_some_and(|it| it.holder == *holder) {
            return Ok(());
        }
        Err(Rejection::StaleEpoch { resource: resource.to_owned(), current: None })
    }
}
