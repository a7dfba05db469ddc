//! One entity: a contact, an agent, an account.

use crate::vocabulary::Timestamp;

/// A thing whose rules say yes or no to commands, and whose state is the fold of its facts.
pub trait Decider: Default {
    /// What somebody asks for, imperative.
    type Command;
    /// What happened, past tense.
    type Event;
    /// Why not.
    type Rejection;

    /// All business rules. Pure: the same state, command and time give the same events.
    ///
    /// # Errors
    /// The rejection, when the rules say no; the state is then untouched.
    fn decide(&self, now: Timestamp, command: Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Bookkeeping only. Cannot fail: the event has already happened.
    fn evolve(&mut self, event: &Self::Event);
}

/// The state after `events`, from nothing.
pub fn replay<'a, D>(events: impl IntoIterator<Item = &'a D::Event>) -> D
where
    D: Decider,
    D::Event: 'a,
{
    let mut state = D::default();
    for event in events {
        state.evolve(event);
    }
    state
}
