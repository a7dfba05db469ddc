//! Among contacts of one queue that need the same skills, the better rank is served first: the lower tier, then the smaller
//! priority, then the longer wait, head start included.
//!
//! What is promised exactly: when an offer is made, no contact of the same queue and skills with a better rank was left
//! waiting without a live offer, unless there was a reason to pass it over:
//! - it became free for an offer less than [`PLANNING_MS_MAX`] before, so that the turn may have been planned without it;
//! - agent-state refused its reservation in that time, or had granted it one whose offer was not made yet;
//! - this agent had missed or declined it, within the queue's `reoffer_after_ms`;
//! - its last offer failed because the contact or its node was gone, or the node's lease has lapsed.
//!
//! Offers are dated by the owner's clock, leases and reservations by agent-state's, so the two are compared with an
//! allowance of a second.
//!
//! Offers of one record are of one turn, made at once.

use std::collections::BTreeMap;

use trunkline_domain::facts::{
    AgentFact, Delivered, DirectoryFact, OfferEnd, OfferFailure, Recorded, RoutingFact,
};
use trunkline_domain::vocabulary::{
    AgentId, Cell, Clause, ContactId, LogName, Millis, NodeId, OfferId, QueueId, QueuePlan, Timestamp,
};

use super::{Invariant, Violation};
use crate::history::{History, Place};

/// The longest time between the planning of a turn and its offers in the log: a reservation may wait that long for
/// agent-state to elect a leader.
pub const PLANNING_MS_MAX: Millis = Millis(5_000);

/// How far the clock of a partition's owner may be behind agent-state's: what agent-state did just before an offer may be
/// dated just after it.
const CLOCKS_APART_MS_MAX: Millis = Millis(1_000);

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "served_in_order",
    promise: "in one queue, among equal skills, nobody is offered before who ranks better and could be",
    check,
};

struct Waiting<'a> {
    queue_id: &'a QueueId,
    skills: Vec<Clause>,
    plan: &'a QueuePlan,
    rank: (u32, i32, Timestamp),
    enqueued_at: Timestamp,
    node_id: &'a NodeId,
    /// Since when it could be offered; `None` while it has a live offer.
    free_since: Option<Timestamp>,
    refused_at: Option<Timestamp>,
    /// Its last offer said that it is not there.
    gone: bool,
    missed_by: BTreeMap<&'a AgentId, Timestamp>,
}

/// Replays the routing log, cell by cell.
pub fn check(history: &History) -> Vec<Violation> {
    let reasons = Reasons {
        reoffer: reoffer_spans(history),
        leases: leases(history),
        reservations: reservations(history),
    };
    let mut waiting: BTreeMap<(Cell, &ContactId), Waiting> = BTreeMap::new();
    let mut found = Vec::new();
    for (cell, record) in &history.routing {
        for Recorded { meta, fact } in &record.outcome.facts {
            take(&mut waiting, *cell, meta.occurred_at, fact);
        }
        for Recorded { meta, fact } in &record.outcome.facts {
            let RoutingFact::OfferMade { contact_id, offer_id, agent_id, .. } = fact else { continue };
            let Some(offered) = waiting.get(&(*cell, contact_id)) else { continue };
            let now = meta.occurred_at;
            let better = waiting.iter().find(|((of, left), other)| {
                of == cell
                    && !reasons.held(left, now)
                    && other.queue_id == offered.queue_id
                    && other.skills == offered.skills
                    && other.plan.selection == offered.plan.selection
                    && other.rank < offered.rank
                    && !reasons.excuse(other, agent_id, now)
            });
            if let Some(((_, left), other)) = better {
                let message = message(offer_id, contact_id, left, other);
                found.push(Violation::at(INVARIANT.name, place(*cell, record), left, message));
            }
        }
    }
    found
}

fn place(cell: Cell, record: &Delivered<RoutingFact>) -> Place {
    Place { log: LogName::Routing, cell, position: record.position }
}

fn message(offer_id: &OfferId, contact_id: &ContactId, left: &ContactId, other: &Waiting) -> String {
    let (_, priority, since) = other.rank;
    format!("{offer_id} was made for {contact_id} while {left} (priority {priority}, since {since}) was free")
}

fn take<'a>(
    waiting: &mut BTreeMap<(Cell, &'a ContactId), Waiting<'a>>,
    cell: Cell,
    at: Timestamp,
    fact: &'a RoutingFact,
) {
    match fact {
        RoutingFact::ContactQueued {
            contact_id,
            queue_id,
            priority,
            enqueued_at,
            required_skills,
            node_id,
            plan,
            ..
        } => {
            let ranks_since = Timestamp(enqueued_at.0 - plan.head_start_ms.0);
            let rank = (plan.tier, *priority, ranks_since);
            let entry = Waiting {
                queue_id,
                skills: sorted(required_skills),
                plan,
                rank,
                enqueued_at: *enqueued_at,
                node_id,
                free_since: Some(at),
                refused_at: None,
                gone: false,
                missed_by: BTreeMap::new(),
            };
            waiting.insert((cell, contact_id), entry);
        }
        // What it needs, and before whom it comes, is another from now on: a turn under way may have been planned before.
        RoutingFact::StepBegan { contact_id, priority, required_skills, .. } => {
            if let Some(it) = waiting.get_mut(&(cell, contact_id)) {
                it.rank.1 = *priority;
                it.skills = sorted(required_skills);
                it.free_since = it.free_since.map(|_| at);
            }
        }
        RoutingFact::ContactReplanned { contact_id, priority, required_skills, plan, waited_ms, .. } => {
            if let Some(it) = waiting.get_mut(&(cell, contact_id)) {
                let state = plan.at(required_skills, *priority, *waited_ms);
                it.rank = (plan.tier, state.priority, Timestamp(it.enqueued_at.0 - plan.head_start_ms.0));
                it.skills = state.required_skills;
                it.skills.sort();
                it.plan = plan;
                it.free_since = it.free_since.map(|_| at);
            }
        }
        RoutingFact::ContactDequeued { contact_id, .. } => {
            waiting.remove(&(cell, contact_id));
        }
        RoutingFact::ReservationRefused { contact_id, .. } => {
            if let Some(it) = waiting.get_mut(&(cell, contact_id)) {
                it.refused_at = Some(at);
            }
        }
        RoutingFact::OfferMade { contact_id, .. } | RoutingFact::OfferAccepted { contact_id, .. } => {
            if let Some(it) = waiting.get_mut(&(cell, contact_id)) {
                it.free_since = None;
            }
        }
        RoutingFact::OfferEnded { contact_id, agent_id, end, .. } => {
            if let Some(it) = waiting.get_mut(&(cell, contact_id)) {
                it.free_since = Some(at);
                it.gone = matches!(
                    end,
                    OfferEnd::Withdrawn
                        | OfferEnd::Failed(OfferFailure::ContactGone | OfferFailure::NodeLost)
                );
                it.missed_by.insert(agent_id, at);
            }
        }
        // Who was turned away never waits.
        RoutingFact::ContactTurnedAway { .. } | RoutingFact::PartitionTaken { .. } => {}
    }
}

fn sorted(required_skills: &[Clause]) -> Vec<Clause> {
    let mut skills = required_skills.to_vec();
    skills.sort();
    skills
}

/// What excuses that a contact was passed over.
struct Reasons<'a> {
    reoffer: BTreeMap<&'a QueueId, Millis>,
    leases: BTreeMap<&'a NodeId, Vec<(Timestamp, bool)>>,
    /// By contact: when each of its reservations was granted, and released.
    reservations: BTreeMap<&'a ContactId, Vec<(Timestamp, Option<Timestamp>)>>,
}

fn recent(at: Timestamp, now: Timestamp) -> bool {
    at <= now && now.since(at) <= PLANNING_MS_MAX
}

impl Reasons<'_> {
    fn excuse(&self, it: &Waiting, agent_id: &AgentId, now: Timestamp) -> bool {
        let Some(free_since) = it.free_since else { return true };
        let spared = self.reoffer.get(it.queue_id).map_or(Millis(i64::MAX), |span| *span + PLANNING_MS_MAX);
        let missed = it.missed_by.get(agent_id).is_some_and(|at| now.since(*at) <= spared);
        let refused = it.refused_at.is_some_and(|at| recent(at, now));
        recent(free_since, now) || refused || it.gone || missed || self.node_lost(it.node_id, now)
    }

    /// Whether the node was without its lease at any time since the turn may have been planned.
    fn node_lost(&self, node_id: &NodeId, now: Timestamp) -> bool {
        let changes = self.leases.get(node_id).map_or(&[][..], Vec::as_slice);
        let before = changes.iter().rfind(|(at, _)| *at <= now && !recent(*at, now));
        let lately = |at: Timestamp| at <= now + CLOCKS_APART_MS_MAX && now.since(at) <= PLANNING_MS_MAX;
        before.is_some_and(|(_, held)| !held) || changes.iter().any(|(at, held)| !held && lately(*at))
    }

    /// Whether a reservation of the contact lived at any time since the turn may have been planned.
    fn held(&self, contact_id: &ContactId, now: Timestamp) -> bool {
        let all = self.reservations.get(contact_id).map_or(&[][..], Vec::as_slice);
        let lives = |until: Option<Timestamp>| until.is_none_or(|until| until > now || recent(until, now));
        all.iter().any(|(from, until)| *from <= now + CLOCKS_APART_MS_MAX && lives(*until))
    }
}

/// The longest time any definition of a queue spares an agent a contact it missed.
fn reoffer_spans(history: &History) -> BTreeMap<&QueueId, Millis> {
    let mut spans = BTreeMap::new();
    for seen in history.directory_facts() {
        if let DirectoryFact::QueueDefined(queue) = seen.fact {
            let longest = spans.entry(&queue.queue_id).or_insert(queue.reoffer_after_ms);
            *longest = queue.reoffer_after_ms.max(*longest);
        }
    }
    spans
}

/// When each media node's lease was granted (`true`) or lost, in order.
fn leases(history: &History) -> BTreeMap<&NodeId, Vec<(Timestamp, bool)>> {
    let mut leases: BTreeMap<&NodeId, Vec<(Timestamp, bool)>> = BTreeMap::new();
    for seen in history.agent_facts() {
        let (resource, holder, held) = match seen.fact {
            AgentFact::LeaseGranted { resource, holder, .. } => (resource, holder, true),
            AgentFact::LeaseLapsed { resource, holder, .. }
            | AgentFact::LeaseReleased { resource, holder, .. } => (resource, holder, false),
            _ => continue,
        };
        if resource.strip_prefix("media/") == Some(holder.as_str()) {
            leases.entry(holder).or_default().push((seen.meta.occurred_at, held));
        }
    }
    leases
}

fn reservations(history: &History) -> BTreeMap<&ContactId, Vec<(Timestamp, Option<Timestamp>)>> {
    let mut reservations: BTreeMap<&ContactId, Vec<(Timestamp, Option<Timestamp>)>> = BTreeMap::new();
    for seen in history.agent_facts() {
        let at = seen.meta.occurred_at;
        match seen.fact {
            AgentFact::AgentReserved { contact_id, .. } => {
                reservations.entry(contact_id).or_default().push((at, None));
            }
            AgentFact::ReservationReleased { contact_id, .. } => {
                let last = reservations.get_mut(contact_id).and_then(|all| all.last_mut());
                if let Some((_, until @ None)) = last {
                    *until = Some(at);
                }
            }
            _ => {}
        }
    }
    reservations
}
