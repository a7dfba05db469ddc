//! The pure core of Trunkline: every decision, and nothing that reads a clock, a socket or a disk.
//!
//! Read it in this order: [`kernel`] (the three shapes everything that decides has), [`vocabulary`]
//! (ids, time, money, numbers), [`facts`] (what may be written in each log), then one module per
//! service. A module may use another module's ids and facts, never its state; `tests/tidy.rs` checks that.

pub mod agent_state;
pub mod billing;
pub mod directory;
pub mod facts;
pub mod kernel;
pub mod media;
pub mod reporting;
pub mod routing;
pub mod vocabulary;
