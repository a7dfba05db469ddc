//! A number shown to somebody, as a fold over facts.

/// A fold. Folding the same events in the same per-stream order gives the same state, whatever the interleaving of streams.
pub trait Projection {
    /// What is folded.
    type Event;
    /// Takes one event into account. Cannot fail: the event has already happened.
    fn fold(&mut self, event: &Self::Event);
}
