//! Virtual time: what happens next, and when.

use std::collections::BTreeMap;

use trunkline_domain::vocabulary::Timestamp;

/// The instant every simulation begins at, so that nothing depends on the calendar.
pub(crate) const BEGINNING: Timestamp = Timestamp(1_750_000_000_000);

/// Events by time; of one instant, in the order they were put down.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    now: Timestamp,
    count: u64,
    events: BTreeMap<(Timestamp, u64), E>,
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self { now: BEGINNING, count: 0, events: BTreeMap::new() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// How many events were put down so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn at(&mut self, at: Timestamp, event: E) {
        self.count += 1;
        self.events.insert((at.max(self.now), self.count), event);
    }

    /// Takes the next event; the time is then that of the event.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let ((at, _), event) = self.events.pop_first()?;
        self.now = at;
        Some(event)
    }
}
