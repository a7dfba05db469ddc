//! How many may wait in a queue, and what becomes of a contact that finds it full.

use super::engine::{Cause, Router, Timer};
use super::input::{Output, TurnAwayCommand};
use crate::facts::RoutingFact;
use crate::vocabulary::{ContactId, Millis, NodeId, QueueId};

/// How long after a media node was told that it is told again, while the contacts log does not say that the visit is over.
pub const TELL_AGAIN_AFTER: Millis = Millis(1_000);

impl Router {
    /// How many wait in a queue that may hold no more, by the definition in force now; `None` while there is room.
    pub(super) fn full(&self, queue_id: &QueueId) -> Option<u32> {
        let limit = self.directory.queue(queue_id, self.now)?.waiting_count_max;
        let waiting = self.book.waiting_in(queue_id);
        (limit > 0 && waiting >= limit).then_some(waiting)
    }

    /// The contact does not come into the queue.
    pub(super) fn turn_away(
        &mut self,
        contact_id: &ContactId,
        queue_id: &QueueId,
        visit: u32,
        node_id: &NodeId,
        waiting_count: u32,
        cause: Cause,
    ) {
        let fact = RoutingFact::ContactTurnedAway {
            contact_id: contact_id.clone(),
            queue_id: queue_id.clone(),
            visit,
            node_id: node_id.clone(),
            waiting_count,
        };
        self.record(fact, cause);
        // Before it has caught up it does not know whether the contact is still there.
        if self.decides() {
            self.tell_turned_away(contact_id);
        }
    }

    /// Tells the media node, and will again: the command may be lost, and so may the node.
    pub(super) fn tell_turned_away(&mut self, contact_id: &ContactId) {
        let Some(turned_away) = self.book.turned_away(contact_id) else { return };
        self.timers.set(Timer::TurnedAway(contact_id.clone()), self.now + TELL_AGAIN_AFTER);
        if let Some(address) = self.nodes.address(&turned_away.node_id) {
            let command = TurnAwayCommand {
                contact_id: contact_id.clone(),
                visit: turned_away.visit,
                to_queue_id: None,
                node_id: turned_away.node_id.clone(),
                address: address.to_owned(),
            };
            self.commands.push(Output::TurnAway(command));
        }
    }

    pub(super) fn tell_all_turned_away(&mut self) {
        let all: Vec<ContactId> = self.book.all_turned_away().map(|(id, _)| id.clone()).collect();
        all.iter().for_each(|contact_id| self.tell_turned_away(contact_id));
    }
}
