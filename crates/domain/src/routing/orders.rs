//! What an operator decides about who waits: plans anew, priorities, other queues. Each is a fact with its author and reason.

use super::engine::{Cause, Router};
use crate::facts::RoutingFact;
use crate::kernel::Engine;
use crate::routing::Input;
use crate::vocabulary::{Clause, ContactId, Millis, PRIORITIES, QueueId, QueuePlan, Step, Timestamp};

/// The longest author and reason, in bytes.
pub const AUTHOR_LEN_MAX: usize = 128;
/// See [`AUTHOR_LEN_MAX`].
pub const REASON_LEN_MAX: usize = 200;

/// Somebody decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// What.
    pub what: Decided,
    /// Who: 1 to [`AUTHOR_LEN_MAX`] bytes.
    pub author: String,
    /// Why: 1 to [`REASON_LEN_MAX`] bytes.
    pub reason: String,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decided {
    /// Everybody who waits in a queue, and is not leaving it, is served as the queue is defined now.
    Replan(QueueId),
    /// A contact has this priority from now on; its steps and ageing go on from there.
    Reprioritise(ContactId, i32),
    /// A contact goes to another queue, with the time it has waited. An offer that rings goes on to its end first.
    Move(ContactId, QueueId),
}

/// Why an order is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// The partition is being taken over.
    #[error("the partition is being taken over")]
    NotOwned,
    /// It waits nowhere here.
    #[error("contact {0} waits in no queue")]
    NotWaiting(ContactId),
    /// It is not defined, or another company's.
    #[error("no queue {0} is defined, or not by the contact's company")]
    UnknownQueue(QueueId),
    /// It waits there.
    #[error("contact {0} waits in that queue already")]
    SameQueue(ContactId),
    /// Out of bounds.
    #[error("{0} is no priority: a priority is from -1000 to 1000")]
    BadPriority(i32),
    /// Who decides, and why, is said.
    #[error("an order has an author of 1 to {AUTHOR_LEN_MAX} bytes and a reason of 1 to {REASON_LEN_MAX}")]
    NotSigned,
}

impl Router {
    /// Carries an order out; gives how many contacts it was about. What follows comes out as of an input.
    ///
    /// # Errors
    /// When it cannot be; nothing has happened then.
    pub fn order(&mut self, now: Timestamp, order: &Order) -> Result<u32, OrderRefused> {
        if !self.decides() {
            return Err(OrderRefused::NotOwned);
        }
        let signed = |text: &str, most: usize| !text.trim().is_empty() && text.len() <= most;
        if !signed(&order.author, AUTHOR_LEN_MAX) || !signed(&order.reason, REASON_LEN_MAX) {
            return Err(OrderRefused::NotSigned);
        }
        // What has fallen due comes first.
        self.handle(now, Input::Tick);
        let replanned = match &order.what {
            Decided::Replan(queue_id) => self.replan(queue_id, order)?,
            Decided::Reprioritise(contact_id, priority) => self.reprioritise(contact_id, *priority, order)?,
            Decided::Move(contact_id, to) => self.send_to(contact_id, to, order)?,
        };
        let count = u32::try_from(replanned.len()).unwrap_or(u32::MAX);
        for fact in replanned {
            let queued_by = fact_cause(self, &fact);
            self.record(fact, queued_by);
        }
        self.handle(now, Input::Tick);
        Ok(count)
    }

    fn replan(&self, queue_id: &QueueId, order: &Order) -> Result<Vec<RoutingFact>, OrderRefused> {
        let queue = self.directory.queue(queue_id, self.now);
        let queue = queue.ok_or_else(|| OrderRefused::UnknownQueue(queue_id.clone()))?;
        // Who is on its way to another queue stays on it: its node may have been told already.
        let there = self
            .book
            .in_order()
            .filter(|(_, waiting)| waiting.queue_id == *queue_id && waiting.leaves_for().is_none());
        let replanned = there.filter_map(|(contact_id, _)| {
            let came_with = (queue.required_skills.clone(), queue.priority);
            self.replanned(contact_id, came_with, queue.plan.clone(), order)
        });
        Ok(replanned.collect())
    }

    fn reprioritise(
        &self,
        contact_id: &ContactId,
        priority: i32,
        order: &Order,
    ) -> Result<Vec<RoutingFact>, OrderRefused> {
        if !PRIORITIES.contains(&priority) {
            return Err(OrderRefused::BadPriority(priority));
        }
        let not_waiting = || OrderRefused::NotWaiting(contact_id.clone());
        let waiting = self.book.waiting(contact_id).ok_or_else(not_waiting)?;
        let came_with = (waiting.came_with.0.clone(), priority);
        Ok(self.replanned(contact_id, came_with, waiting.plan.clone(), order).into_iter().collect())
    }

    fn send_to(
        &self,
        contact_id: &ContactId,
        to: &QueueId,
        order: &Order,
    ) -> Result<Vec<RoutingFact>, OrderRefused> {
        let not_waiting = || OrderRefused::NotWaiting(contact_id.clone());
        let waiting = self.book.waiting(contact_id).ok_or_else(not_waiting)?;
        if waiting.queue_id == *to {
            return Err(OrderRefused::SameQueue(contact_id.clone()));
        }
        let queue = self.directory.queue(to, self.now);
        if queue.is_none_or(|queue| queue.company_id != waiting.company_id) {
            return Err(OrderRefused::UnknownQueue(to.clone()));
        }
        let leaves = Step {
            after_ms: self.now.since(waiting.queued_at),
            overflow_queue_id: Some(to.clone()),
            ..Step::default()
        };
        let plan = QueuePlan { steps: vec![leaves], ..waiting.plan.clone() };
        Ok(self.replanned(contact_id, waiting.came_with.clone(), plan, order).into_iter().collect())
    }

    fn replanned(
        &self,
        contact_id: &ContactId,
        came_with: (Vec<Clause>, i32),
        plan: QueuePlan,
        order: &Order,
    ) -> Option<RoutingFact> {
        let waiting = self.book.waiting(contact_id)?;
        let (required_skills, priority) = came_with;
        Some(RoutingFact::ContactReplanned {
            contact_id: contact_id.clone(),
            queue_id: waiting.queue_id.clone(),
            visit: waiting.visit,
            priority,
            required_skills,
            plan,
            waited_ms: self.now.since(waiting.queued_at).max(Millis::ZERO),
            author: order.author.clone(),
            reason: order.reason.clone(),
        })
    }
}

fn fact_cause(router: &Router, fact: &RoutingFact) -> Cause {
    use crate::facts::LogFact;
    let waiting = fact.contact().and_then(|contact_id| router.book.waiting(contact_id));
    waiting.map_or_else(Cause::nothing, |waiting| Cause::of(&waiting.queued_by))
}
