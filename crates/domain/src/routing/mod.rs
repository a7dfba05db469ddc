//! Queues, ranking, offers: one [`Router`] a partition. `LIFECYCLE.md` draws the life of a queued contact and of an offer.
//!
//! The parent routes ([`Router`]), the parts decide: `settle` says what the contacts log means for queues and offers,
//! `limits` how many may wait,
//! `propose` is the one place that makes offers, `matching` says who gets whom.

mod agents;
#[cfg(test)]
mod bench;
mod book;
mod engine;
mod input;
#[cfg(test)]
mod limit_tests;
mod limits;
mod matching;
mod nodes;
mod pending;
#[cfg(test)]
mod property_tests;
mod propose;
#[cfg(test)]
mod recovery_tests;
mod settle;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod table_tests;

pub use agents::{AgentView, Agents, HeldFor};
pub use book::{Book, Offer, Rank, TurnedAway, Waiting};
pub use engine::{LAPSE_AFTER, Router};
pub use input::{Input, OfferCommand, OfferRefusal, Output, ReleaseCommand, TurnAwayCommand, Wish};
pub use limits::TELL_AGAIN_AFTER;
pub use matching::PASSED_OVER_MAX;
