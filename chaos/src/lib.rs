//! The promises, as checkers over the logs.
//!
//! Each file of [`invariants`] is one promise: what is promised, and a pure check that finds where a [`History`] breaks
//! it. `trunkline verify` runs them over the logs of a cluster; `tests/planted.rs` shows that each one can find what it
//! is for.

mod history;
pub mod invariants;

pub use history::{History, Place, Seen};
pub use invariants::{INVARIANTS, Invariant, Violation, check_all};
