//! Many entities and their timers.

use crate::vocabulary::Timestamp;

/// Something that takes inputs one at a time and puts out what the shell must do.
///
/// The contract with the shell: after every [`Engine::handle`], call [`Engine::poll`] until it returns
/// `None`; then sleep until [`Engine::next_timeout`] or the next input, whichever is first.
pub trait Engine {
    /// Everything that can wake the engine, as one closed enum.
    type Input;
    /// Everything the shell may be asked to do, as one closed enum.
    type Output;

    /// Takes one input at one instant.
    fn handle(&mut self, now: Timestamp, input: Self::Input);
    /// The next thing to do, in the order it was decided; `None` when drained.
    fn poll(&mut self) -> Option<Self::Output>;
    /// When the engine wants to be woken if nothing else happens.
    fn next_timeout(&self) -> Option<Timestamp>;
}
