//! Queues, ranking, offers: one [`Router`] a partition. `LIFECYCLE.md` draws the life of a queued contact and of an offer.
//!
//! The parent routes ([`Router`]), the parts decide: `settle` says what the contacts log means for queues and offers,
//! `limits` how many may wait,
//! `turn` says who may be matched since the input before, `pools` who gets whom, `propose` is the one place that makes offers.

mod agents;
#[cfg(test)]
mod bench;
mod book;
mod engine;
mod input;
#[cfg(test)]
mod limit_tests;
mod limits;
#[cfg(test)]
mod naive;
mod nodes;
mod pending;
mod pools;
#[cfg(test)]
mod pools_tests;
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
mod turn;

pub use agents::{AgentView, Agents, HeldFor};
pub use book::{Book, Offer, Rank, TurnedAway, Waiting};
pub use engine::{LAPSE_AFTER, Router};
pub use input::{Input, OfferCommand, OfferRefusal, Output, ReleaseCommand, TurnAwayCommand, Wish};
pub use limits::TELL_AGAIN_AFTER;
pub use propose::PASSED_OVER_MAX;
