//! The configuration of an operator: what is defined, from when, by whom.
//!
//! [`Directory`] is the fold of the directory log that every service keeps; it answers "what was in force at this
//! instant". Changes begin as a wanted configuration and are compared with what is: the answer is the facts of one
//! revision, or every reason why not.

mod calendar;
mod fold;
mod versions;

pub use calendar::{CalendarError, parse_date};
pub use fold::Directory;
