//! Queues, ranking, offers: one [`Router`] a partition. `LIFECYCLE.md` draws the life of a queued contact and of an offer.
//!
//! The parent routes ([`Router`]), the parts decide: `settle` says what the contacts log means for queues and offers,
//! `limits` how many may wait,
//! `turn` says who may be matched since the input before, `pools` who gets whom, `selection` in which order agents come, `steps` what changes while a contact waits, `propose` is the one place that makes offers.

mod agents;
#[cfg(test)]
mod bench;
mod book;
#[cfg(test)]
mod complaints_tests;
mod engine;
mod expected;
mod explain;
#[cfg(test)]
mod explain_tests;
mod input;
#[cfg(test)]
mod limit_tests;
mod limits;
#[cfg(test)]
mod naive;
mod nodes;
mod orders;
#[cfg(test)]
mod orders_tests;
mod pending;
mod pools;
#[cfg(test)]
mod pools_tests;
#[cfg(test)]
mod property_tests;
mod propose;
#[cfg(test)]
mod recovery_tests;
mod selection;
#[cfg(test)]
mod selection_tests;
mod settle;
#[cfg(test)]
mod sim;
mod steps;
#[cfg(test)]
mod steps_tests;
#[cfg(test)]
mod table_tests;
mod turn;

pub use agents::{AgentView, Agents, HeldFor};
pub use book::{Book, Offer, Rank, TurnedAway, Waiting};
pub use engine::{LAPSE_AFTER, Router};
pub use expected::{ExpectedWait, Pace};
pub use explain::{Explanation, NextStep, Staffing, Why};
pub use input::{Input, OfferCommand, OfferRefusal, Output, ReleaseCommand, TurnAwayCommand, Wish};
pub use limits::TELL_AGAIN_AFTER;
pub use orders::{AUTHOR_LEN_MAX, Decided, Order, OrderRefused, REASON_LEN_MAX};
pub use propose::PASSED_OVER_MAX;
pub use selection::Want;
