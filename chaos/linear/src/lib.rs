//! Whether agent-state is one thing to everybody who asks it: while voters are killed, stopped and started again, clients
//! write down what they asked, what they were told and when, and a checker looks for an order in which a single machine would
//! have said all of it.
//!
//! - [`history`]: operations with their calls, returns and fates: answered, failed or unknown.
//! - [`check`]: the search for that order; [`explain`]: why there is none; [`order`]: whether the indexes told agree.
//! - [`model`]: the single machine, as clients see it.
//! - [`workload`], [`client`], [`group`], [`faults`], [`record`]: histories from a real group.
//! - [`plant`]: what a broken group would have answered, put into a sound history; the checker must find it.
//! - [`suite`]: many histories, one verdict.

pub mod chance;
pub mod check;
pub mod client;
pub mod explain;
pub mod faults;
pub mod group;
pub mod history;
pub mod model;
pub mod order;
pub mod plant;
pub mod record;
pub mod suite;
pub mod workload;
