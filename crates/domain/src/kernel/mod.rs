//! The three shapes of everything that decides, and what they share.

mod decider;
mod engine;
mod projection;
mod state_hash;
mod timers;

pub use decider::{Decider, replay};
pub use engine::Engine;
pub use projection::Projection;
pub use state_hash::{StateHash, StateHasher};
pub use timers::Timers;
