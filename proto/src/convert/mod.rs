//! The only way between core types and bytes in a log.
//!
//! [`WireFact`] is what a writer and a reader of one log need; [`decode_any`] serves tools that read all of them.
//! Nothing is read half: a record of a newer schema, an unknown arm, a missing or malformed field is an error that
//! names the field.

use bytes::Bytes;
use trunkline_domain::facts::{AnyFact, LogFact, Outcome};

mod error;

pub use error::DecodeError;

/// The facts of one log, with their wire form.
pub trait WireFact: LogFact {
    /// The record of one decision, as bytes. The same outcome always gives the same bytes.
    fn encode_outcome(outcome: &Outcome<Self>) -> Bytes;

    /// The outcome a record holds.
    ///
    /// # Errors
    /// When the record is of another log or of a newer schema, or when a field is missing, malformed or unknown.
    fn decode_outcome(bytes: &[u8]) -> Result<Outcome<Self>, DecodeError>;
}

/// An outcome of any log, for tools that read them all.
pub type AnyOutcome = Outcome<AnyFact>;
