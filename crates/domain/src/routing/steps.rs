//! What changes for a contact the longer it waits: its plan, step by step.

use super::engine::{Cause, Router, Timer};
use super::input::{Output, TurnAwayCommand};
use super::limits::TELL_AGAIN_AFTER;
use crate::facts::RoutingFact;
use crate::vocabulary::ContactId;

impl Router {
    /// Waits for what comes next of the plan of whoever a fact is about.
    pub(super) fn await_step_of(&mut self, fact: &RoutingFact) {
        if let RoutingFact::ContactQueued { contact_id, .. }
        | RoutingFact::StepBegan { contact_id, .. }
        | RoutingFact::ContactReplanned { contact_id, .. } = fact
            && self.decides()
        {
            self.await_step(contact_id);
        }
    }

    /// The same of everybody who waits.
    pub(super) fn await_all_steps(&mut self) {
        let waiting: Vec<ContactId> =
            self.book.in_order().map(|(contact_id, _)| contact_id.clone()).collect();
        waiting.iter().for_each(|contact_id| self.await_step(contact_id));
    }

    fn await_step(&mut self, contact_id: &ContactId) {
        let Some(waiting) = self.book.waiting(contact_id) else { return };
        // Counted from what has taken effect: what fell due while nobody owned the partition does so at once.
        let timer = Timer::StepBegins(contact_id.clone());
        match waiting.plan.next_change_after(waiting.step_at_ms) {
            Some(after) => self.timers.set(timer, waiting.queued_at + after),
            None => drop(self.timers.cancel(&timer)),
        }
    }

    /// Whatever of a plan has fallen due takes effect.
    pub(super) fn step_begins(&mut self, contact_id: &ContactId) {
        let Some(waiting) = self.book.waiting(contact_id) else { return };
        let waited_ms = self.now.since(waiting.queued_at);
        let (required, priority) = &waiting.came_with;
        let state = waiting.plan.at(required, *priority, waited_ms);
        let fact = RoutingFact::StepBegan {
            contact_id: contact_id.clone(),
            queue_id: waiting.queue_id.clone(),
            visit: waiting.visit,
            step: state.step,
            priority: state.priority,
            required_skills: state.required_skills,
            waited_ms,
        };
        let queued_by = waiting.queued_by.clone();
        self.record(fact, Cause::of(&queued_by));
    }

    /// Tells the media node of a contact that its plan sends to another queue, and will again: the command may be lost, and so
    /// may the node. A live offer goes on to its end first.
    pub(super) fn tell_to_leave(&mut self, contact_id: &ContactId) {
        let Some(waiting) = self.book.waiting(contact_id) else { return };
        let Some(to) = waiting.leaves_for().cloned() else { return };
        if waiting.offer.is_some() || self.pending.about_contact(contact_id) {
            return;
        }
        self.timers.set(Timer::Leaves(contact_id.clone()), self.now + TELL_AGAIN_AFTER);
        if let Some(address) = self.nodes.address(&waiting.node_id) {
            let command = TurnAwayCommand {
                contact_id: contact_id.clone(),
                visit: waiting.visit,
                to_queue_id: Some(to),
                node_id: waiting.node_id.clone(),
                address: address.to_owned(),
            };
            self.commands.push(Output::TurnAway(command));
        }
    }
}
