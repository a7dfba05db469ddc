//! The configuration of an operator: what is defined, from when, by whom.
//!
//! [`Directory`] is the fold of the directory log that every service keeps; it answers "what was in force at this
//! instant". Changes begin as a [`Wanted`] configuration; [`plan`] compares it with what is, and the directory decides on
//! [`ApplyRevision`]: the facts of one revision, or every reason why not.

mod calendar;
mod check;
mod describe;
mod document;
#[cfg(test)]
mod fixture;
mod fold;
mod notices;
mod plan;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod queue_plan_tests;
mod revision;
#[cfg(test)]
mod rule_tests;
mod versions;

pub use calendar::{CalendarError, day_start, parse_date};
pub use describe::span_text;
pub use document::{Placed, Problem, Wanted, WantedContract};
pub use fold::Directory;
pub use notices::notices;
pub use plan::{Change, ChangeKind, Plan, plan};
pub use revision::{ApplyRevision, Rejection};
