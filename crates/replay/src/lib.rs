//! A day of calls through the real routing core, in virtual time.
//!
//! [`day`] plays a [`Day`]: calls with the time they came, how long they would talk and how long they would wait, and agents
//! with the times they were there. The router is the one that runs in production; agent-state, media nodes and logs are
//! played by [`cell`], which grants what it is asked for and connects at once. Nothing here waits or reads a clock.
//!
//! What a log does not tell has to be assumed, and is said: see [`log`] for what is inferred, [`patience`] for how long
//! callers would have waited who did not have to; [`bank`] and [`queue_log`] for the logs that can be read.

pub mod bank;
pub mod calibration;
mod cell;
pub mod chance;
pub mod day;
pub mod intervals;
pub mod log;
pub mod patience;
pub mod queue_log;
pub mod strategy;

pub use day::{Agent, Call, Day, End, Queue, Shift, play, play_and_tell};
