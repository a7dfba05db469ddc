//! Who waits and what is offered: the fold of routing's own log, and of nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::expected::Pace;
use super::selection::Want;
use crate::facts::{DequeueReason, OfferEnd, OfferFailure, Recorded, RoutingFact};
use crate::kernel::{Projection, StateHasher};
use crate::vocabulary::{
    AgentId, Clause, CompanyId, ContactId, EventId, Millis, NodeId, OfferId, QueueId, QueuePlan, Timestamp,
};

/// How long the sequence of a contact that left is remembered, in case it comes back to a queue.
const LEFT_KEPT: Millis = Millis(4 * 3_600_000);

/// What a tier is worth in priorities: more than any priority comes to.
const TIER: i32 = 1_000_000;

/// The order of service: lower tier and smaller priority first, then who waits longer, head start included, then the id.
pub type Rank = (i32, Timestamp, ContactId);

/// Everything routing's log says.
#[derive(Debug, Clone, Default)]
pub struct Book {
    waiting: BTreeMap<ContactId, Waiting>,
    ranked: BTreeSet<Rank>,
    /// The same, by queue.
    queues: BTreeMap<QueueId, BTreeSet<Rank>>,
    /// Contacts that found their queue full and whose visit is not over yet.
    turned_away: BTreeMap<ContactId, TurnedAway>,
    offers: BTreeMap<OfferId, Offer>,
    /// Agents with a live offer.
    offered: BTreeMap<AgentId, OfferId>,
    /// The ordinal of the last offer each agent had.
    offered_last: BTreeMap<AgentId, u64>,
    offer_count: u64,
    /// How fast each queue moves.
    paces: BTreeMap<QueueId, Pace>,
    /// Last sequence of contacts that left a queue, and when.
    left: BTreeMap<ContactId, (u64, Timestamp)>,
    left_by_time: BTreeSet<(Timestamp, ContactId)>,
    /// Last sequence of the streams that are no contact's.
    owners: BTreeMap<String, u64>,
}

/// A contact in a queue. It keeps its place whatever becomes of its offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub company_id: CompanyId,
    /// Where.
    pub queue_id: QueueId,
    /// The visit's number within the contact.
    pub visit: u32,
    /// Smaller is served first; as of the step it is in.
    pub priority: i32,
    /// Since when it waits.
    pub enqueued_at: Timestamp,
    /// What it needs, as of the step it is in, and whom it gets.
    pub want: Want,
    /// What changes while it waits.
    pub plan: QueuePlan,
    /// What it came with: what it needs, and its priority.
    pub came_with: (Vec<Clause>, i32),
    /// When it came to this queue: its plan counts from here.
    pub queued_at: Timestamp,
    /// How many steps have begun.
    pub step: u32,
    /// How long it had waited in this queue when the last of its plan took effect.
    pub step_at_ms: Millis,
    /// The media node that holds it.
    pub node_id: NodeId,
    /// Offers made so far in this visit.
    pub round: u32,
    /// Its live offer.
    pub offer: Option<OfferId>,
    /// Who missed it, by which offer, and when.
    pub missed: BTreeMap<AgentId, (OfferId, Timestamp)>,
    /// The fact that put it here.
    pub queued_by: EventId,
    sequence: u64,
}

impl Waiting {
    /// The queue its plan sends it to; it is offered to nobody here any more.
    pub fn leaves_for(&self) -> Option<&QueueId> {
        let begun = usize::try_from(self.step).ok()?.checked_sub(1)?;
        self.plan.steps.get(begun)?.overflow_queue_id.as_ref()
    }

    /// Its place in the order of service.
    pub fn rank(&self, contact_id: &ContactId) -> Rank {
        rank_of(&self.plan, self.priority, self.enqueued_at, contact_id)
    }
}

/// The place of a contact with this plan.
pub(super) fn rank_of(
    plan: &QueuePlan,
    priority: i32,
    enqueued_at: Timestamp,
    contact_id: &ContactId,
) -> Rank {
    let tier = i32::try_from(plan.tier).unwrap_or(i32::MAX).saturating_mul(TIER);
    (tier.saturating_add(priority), Timestamp(enqueued_at.0 - plan.head_start_ms.0), contact_id.clone())
}

/// A contact that found its queue full. Its media node is told so until the contacts log says that the visit is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// From where.
    pub queue_id: QueueId,
    /// The visit's number within the contact.
    pub visit: u32,
    /// The media node that holds it.
    pub node_id: NodeId,
    sequence: u64,
}

/// A live offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// To whom.
    pub agent_id: AgentId,
    /// Of whom.
    pub contact_id: ContactId,
    /// The queue visit.
    pub visit: u32,
    /// The reservation's fence.
    pub token: u64,
    /// The media node that holds the contact.
    pub node_id: NodeId,
    /// When ringing ends.
    pub expires_at: Timestamp,
    /// The fact that made it.
    pub made_by: EventId,
}

impl Book {
    /// A waiting contact, offered ones included.
    pub fn waiting(&self, contact_id: &ContactId) -> Option<&Waiting> {
        self.waiting.get(contact_id)
    }

    /// Who waits, in the order of service, offered ones included.
    pub fn in_order(&self) -> impl Iterator<Item = (&ContactId, &Waiting)> {
        self.ranked.iter().filter_map(|(_, _, contact_id)| self.waiting.get_key_value(contact_id))
    }

    /// How many wait, offered ones included.
    pub fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// How many wait in a queue, offered ones included.
    pub fn waiting_in(&self, queue_id: &QueueId) -> u32 {
        let there = self.queues.get(queue_id).map_or(0, BTreeSet::len);
        u32::try_from(there).unwrap_or(u32::MAX)
    }

    /// A contact that found its queue full and whose visit is not over yet.
    pub fn turned_away(&self, contact_id: &ContactId) -> Option<&TurnedAway> {
        self.turned_away.get(contact_id)
    }

    /// All of these, by id.
    pub fn all_turned_away(&self) -> impl Iterator<Item = (&ContactId, &TurnedAway)> {
        self.turned_away.iter()
    }

    /// A live offer.
    pub fn offer(&self, offer_id: &OfferId) -> Option<&Offer> {
        self.offers.get(offer_id)
    }

    /// The live offers, by id.
    pub fn offers(&self) -> impl Iterator<Item = (&OfferId, &Offer)> {
        self.offers.iter()
    }

    /// The live offer to an agent.
    pub fn offer_to(&self, agent_id: &AgentId) -> Option<&OfferId> {
        self.offered.get(agent_id)
    }

    /// How fast a queue moves; `None` when nobody ever left it.
    pub fn pace(&self, queue_id: &QueueId) -> Option<&Pace> {
        self.paces.get(queue_id)
    }

    /// The ordinal of the last offer an agent had; zero when it had none.
    pub(super) fn offered_last(&self, agent_id: &AgentId) -> u64 {
        self.offered_last.get(agent_id).copied().unwrap_or(0)
    }

    /// The place a contact of this rank would take in its queue, from 1.
    pub(super) fn place(&self, queue_id: &QueueId, rank: &Rank) -> u32 {
        let Some(there) = self.queues.get(queue_id) else { return 1 };
        // From both ends at once: whoever comes last, or first, is not counted past everybody.
        let (mut ahead, mut behind) = (there.range(..rank), there.range(rank..));
        let mut counted = 0;
        let place = loop {
            if ahead.next().is_none() {
                break counted + 1;
            }
            if behind.next().is_none() {
                break there.len() - counted + 1;
            }
            counted += 1;
        };
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// The sequence of the next fact of a stream.
    pub(super) fn next_sequence(&self, fact: &RoutingFact) -> u64 {
        use crate::facts::LogFact;
        let last = match fact.contact() {
            None => self.owners.get(&fact.stream()).copied(),
            Some(contact_id) => {
                let waiting = self.waiting.get(contact_id).map(|waiting| waiting.sequence);
                let turned_away = self.turned_away.get(contact_id).map(|it| it.sequence);
                waiting.or(turned_away).or_else(|| self.left.get(contact_id).map(|(sequence, _)| *sequence))
            }
        };
        last.unwrap_or(0) + 1
    }

    pub(super) fn hash_into(&self, hasher: &mut StateHasher) {
        hasher
            .debug(&self.waiting)
            .debug(&self.turned_away)
            .debug(&self.offers)
            .debug(&self.offered_last)
            .debug(&self.paces)
            .debug(&self.left)
            .debug(&self.owners);
    }

    fn close(&mut self, offer_id: &OfferId, end: OfferEnd, at: Timestamp) {
        let Some(offer) = self.offers.remove(offer_id) else { return };
        self.offered.remove(&offer.agent_id);
        if let Some(waiting) = self.waiting.get_mut(&offer.contact_id) {
            waiting.offer = None;
            if missed(end) {
                waiting.missed.insert(offer.agent_id, (offer_id.clone(), at));
            }
        }
    }

    fn leave(&mut self, contact_id: &ContactId, reason: DequeueReason, sequence: u64, at: Timestamp) {
        self.turned_away.remove(contact_id);
        if let Some(waiting) = self.waiting.remove(contact_id) {
            self.unrank(&waiting.rank(contact_id), &waiting.queue_id);
            let others = self.queues.get(&waiting.queue_id).map_or(0, BTreeSet::len);
            let (waited, answered) = (at.since(waiting.queued_at), reason == DequeueReason::Answered);
            let pace = self.paces.entry(waiting.queue_id.clone()).or_default();
            pace.departed(at, waited, answered, others);
            // An offer ends before its contact leaves; should a log say otherwise, nothing is left dangling.
            if let Some(offer) = waiting.offer.and_then(|offer_id| self.offers.remove(&offer_id)) {
                self.offered.remove(&offer.agent_id);
            }
        }
        self.remember(contact_id, sequence, at);
    }

    fn unrank(&mut self, rank: &Rank, queue_id: &QueueId) {
        self.ranked.remove(rank);
        if let Some(there) = self.queues.get_mut(queue_id) {
            there.remove(rank);
            if there.is_empty() {
                self.queues.remove(queue_id);
            }
        }
    }

    /// Gives a waiting contact another place, by what `change` makes of it.
    fn rerank(&mut self, contact_id: &ContactId, change: impl FnOnce(&mut Waiting)) {
        let Some(waiting) = self.waiting.get_mut(contact_id) else { return };
        let (before, queue_id) = (waiting.rank(contact_id), waiting.queue_id.clone());
        change(waiting);
        let after = waiting.rank(contact_id);
        if after != before {
            self.unrank(&before, &queue_id);
            self.queues.entry(queue_id).or_default().insert(after.clone());
            self.ranked.insert(after);
        }
    }

    fn remember(&mut self, contact_id: &ContactId, sequence: u64, at: Timestamp) {
        self.forget(contact_id);
        self.left.insert(contact_id.clone(), (sequence, at));
        self.left_by_time.insert((at, contact_id.clone()));
        while let Some((oldest_at, oldest)) = self.left_by_time.first().cloned() {
            if oldest_at + LEFT_KEPT >= at {
                break;
            }
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, contact_id: &ContactId) {
        if let Some((_, left_at)) = self.left.remove(contact_id) {
            self.left_by_time.remove(&(left_at, contact_id.clone()));
        }
    }
}

/// Whether an offer that ended so keeps its agent from the contact for a while.
fn missed(end: OfferEnd) -> bool {
    match end {
        OfferEnd::Declined | OfferEnd::Unanswered | OfferEnd::Lapsed => true,
        OfferEnd::Withdrawn => false,
        OfferEnd::Failed(failure) => match failure {
            OfferFailure::DeviceUnreachable
            | OfferFailure::ReservationRefused
            | OfferFailure::MediaFailed => true,
            OfferFailure::ContactGone | OfferFailure::NodeLost => false,
        },
    }
}

impl Projection for Book {
    type Event = Recorded<RoutingFact>;

    fn fold(&mut self, event: &Recorded<RoutingFact>) {
        let (at, sequence) = (event.meta.occurred_at, event.meta.sequence);
        match &event.fact {
            RoutingFact::ContactQueued {
                contact_id,
                company_id,
                queue_id,
                visit,
                priority,
                enqueued_at,
                required_skills,
                node_id,
                plan,
                place,
            } => {
                self.forget(contact_id);
                let rank = rank_of(plan, *priority, *enqueued_at, contact_id);
                let there = self.queues.entry(queue_id.clone()).or_default();
                let behind = (there.len() + 1).saturating_sub(usize::try_from(*place).unwrap_or(usize::MAX));
                let behind = u32::try_from(behind).unwrap_or(u32::MAX);
                self.paces.entry(queue_id.clone()).or_default().came_before(behind);
                there.insert(rank.clone());
                self.ranked.insert(rank);
                let waiting = Waiting {
                    company_id: company_id.clone(),
                    queue_id: queue_id.clone(),
                    visit: *visit,
                    priority: *priority,
                    enqueued_at: *enqueued_at,
                    want: Want { required: required_skills.clone(), selection: plan.selection.clone() },
                    plan: plan.clone(),
                    came_with: (required_skills.clone(), *priority),
                    queued_at: at,
                    step: 0,
                    step_at_ms: Millis::ZERO,
                    node_id: node_id.clone(),
                    round: 0,
                    offer: None,
                    missed: BTreeMap::new(),
                    queued_by: event.meta.event_id.clone(),
                    sequence,
                };
                self.waiting.insert(contact_id.clone(), waiting);
            }
            RoutingFact::OfferMade {
                contact_id,
                offer_id,
                agent_id,
                visit,
                token,
                node_id,
                expires_at,
                round,
                ..
            } => {
                if let Some(waiting) = self.waiting.get_mut(contact_id) {
                    waiting.offer = Some(offer_id.clone());
                    waiting.round = *round;
                    let offer = Offer {
                        agent_id: agent_id.clone(),
                        contact_id: contact_id.clone(),
                        visit: *visit,
                        token: *token,
                        node_id: node_id.clone(),
                        expires_at: *expires_at,
                        made_by: event.meta.event_id.clone(),
                    };
                    self.offers.insert(offer_id.clone(), offer);
                    self.offered.insert(agent_id.clone(), offer_id.clone());
                }
                self.offer_count += 1;
                self.offered_last.insert(agent_id.clone(), self.offer_count);
            }
            RoutingFact::ContactReplanned {
                contact_id, priority, required_skills, plan, waited_ms, ..
            } => {
                self.rerank(contact_id, |waiting| {
                    let state = plan.at(required_skills, *priority, *waited_ms);
                    waiting.came_with = (required_skills.clone(), *priority);
                    waiting.want =
                        Want { required: state.required_skills, selection: plan.selection.clone() };
                    waiting.plan = plan.clone();
                    waiting.priority = state.priority;
                    (waiting.step, waiting.step_at_ms) = (state.step, *waited_ms);
                });
            }
            RoutingFact::StepBegan { contact_id, step, priority, required_skills, waited_ms, .. } => {
                self.rerank(contact_id, |waiting| {
                    waiting.priority = *priority;
                    waiting.want.required.clone_from(required_skills);
                    (waiting.step, waiting.step_at_ms) = (*step, *waited_ms);
                });
            }
            // An answer ends an offer without a miss, as a withdrawal does.
            RoutingFact::OfferAccepted { offer_id, .. } => self.close(offer_id, OfferEnd::Withdrawn, at),
            RoutingFact::OfferEnded { offer_id, end, .. } => self.close(offer_id, *end, at),
            RoutingFact::ContactDequeued { contact_id, reason, .. } => {
                self.leave(contact_id, *reason, sequence, at);
            }
            RoutingFact::ContactTurnedAway { contact_id, queue_id, visit, node_id, .. } => {
                self.forget(contact_id);
                let (queue_id, visit, node_id) = (queue_id.clone(), *visit, node_id.clone());
                let turned_away = TurnedAway { queue_id, visit, node_id, sequence };
                self.turned_away.insert(contact_id.clone(), turned_away);
            }
            RoutingFact::ReservationRefused { .. } => {}
            RoutingFact::PartitionTaken { owner, .. } => {
                self.owners.insert(owner.to_string(), sequence);
            }
        }
        use crate::facts::LogFact;
        if let Some(waiting) = event.fact.contact().and_then(|contact_id| self.waiting.get_mut(contact_id)) {
            waiting.sequence = sequence;
        }
    }
}
