//! The only way between core types and bytes in a log.
//!
//! [`WireFact`] is what a writer and a reader of one log need; [`decode_any`] serves tools that read all of them.
//! Nothing is read half: a record of a newer schema, an unknown arm, a missing or malformed field is an error that
//! names the field.
//!
//! Inside, each log is a table of its facts (`contacts.rs`, …). A table lists every field of both sides, so a field
//! added on one side alone does not compile.

use bytes::Bytes;
use prost::Message;
use trunkline_domain::facts::{AnyFact, LogFact, Outcome, Recorded};
use trunkline_domain::vocabulary::{Epoch, LogName};

use crate::envelope::v1 as wire;

#[macro_use]
mod table;

mod agents;
mod billing;
mod channel;
mod contacts;
mod directory;
mod error;
mod field;
mod meta;
mod plan;
mod routing;

pub use agents::release_outcome;
pub use channel::{channel, channel_rules, read_channel_rules};
pub use directory::wrap_up_mode;
pub use error::DecodeError;
use field::{Field, WireEnum};
use meta::FactBody;

/// The facts of one log, with their wire form.
pub trait WireFact: LogFact {
    /// The highest version written and read. Raised when an older reader would misunderstand; what it would not misunderstand
    /// is still written under the older version.
    const SCHEMA_VERSION: u32;

    /// The record of one decision, as bytes. The same outcome always gives the same bytes.
    fn encode_outcome(outcome: &Outcome<Self>) -> Bytes;

    /// The outcome a record holds.
    ///
    /// # Errors
    /// When the record is of another log or of a newer schema, or when a field is missing, malformed or unknown.
    fn decode_outcome(bytes: &[u8]) -> Result<Outcome<Self>, DecodeError>;
}

impl<F: FactBody> WireFact for F {
    const SCHEMA_VERSION: u32 = <F as FactBody>::SCHEMA_VERSION;

    fn encode_outcome(outcome: &Outcome<Self>) -> Bytes {
        let facts = outcome.facts.iter().map(|recorded| wire::Fact {
            meta: recorded.meta.to_wire(),
            body: Some(recorded.fact.to_body()),
        });
        let versions = outcome.facts.iter().map(|recorded| recorded.fact.schema_version());
        let record = wire::Outcome {
            schema_version: versions.max().unwrap_or(1),
            log: WireEnum::to_number(F::LOG),
            epoch: outcome.epoch.0,
            consumed: outcome.consumed.to_wire(),
            facts: facts.collect(),
        };
        Bytes::from(record.encode_to_vec())
    }

    fn decode_outcome(bytes: &[u8]) -> Result<Outcome<Self>, DecodeError> {
        check_header(bytes, F::LOG, <F as FactBody>::SCHEMA_VERSION)?;
        let record = wire::Outcome::decode(bytes)
            .map_err(|source| DecodeError::Malformed { message: "Outcome", source })?;
        let facts = record.facts.into_iter().map(|fact| {
            let meta = Field::from_wire(fact.meta, "Fact.meta")?;
            let body = fact.body.ok_or(DecodeError::UnknownArm { field: "Fact.body" })?;
            Ok(Recorded { meta, fact: F::from_body(body)? })
        });
        Ok(Outcome {
            epoch: Epoch(record.epoch),
            consumed: Field::from_wire(record.consumed, "Outcome.consumed")?,
            facts: facts.collect::<Result<_, DecodeError>>()?,
        })
    }
}

/// Looks at the two fields that stay the same for ever, before anything else is read.
fn check_header(bytes: &[u8], log: LogName, known: u32) -> Result<(), DecodeError> {
    let header = wire::OutcomeHeader::decode(bytes)
        .map_err(|source| DecodeError::Malformed { message: "OutcomeHeader", source })?;
    let found = LogName::from_number(header.log, "Outcome.log")?;
    if found != log {
        return Err(DecodeError::WrongLog { expected: log, found });
    }
    match header.schema_version {
        0 => Err(DecodeError::Missing { field: "Outcome.schema_version" }),
        version if version > known => Err(DecodeError::FutureSchema { log, found: version, known }),
        _ => Ok(()),
    }
}

/// An outcome of any log, for tools that read them all.
pub type AnyOutcome = Outcome<AnyFact>;

/// The outcome a record of `log` holds.
///
/// # Errors
/// As [`WireFact::decode_outcome`].
pub fn decode_any(log: LogName, bytes: &[u8]) -> Result<AnyOutcome, DecodeError> {
    fn read<F: WireFact>(bytes: &[u8], arm: fn(F) -> AnyFact) -> Result<AnyOutcome, DecodeError> {
        let Outcome { epoch, consumed, facts } = F::decode_outcome(bytes)?;
        let facts = facts.into_iter().map(|it| Recorded { meta: it.meta, fact: arm(it.fact) }).collect();
        Ok(Outcome { epoch, consumed, facts })
    }
    match log {
        LogName::Directory => read(bytes, AnyFact::Directory),
        LogName::Contacts => read(bytes, AnyFact::Contacts),
        LogName::Routing => read(bytes, AnyFact::Routing),
        LogName::Agents => read(bytes, AnyFact::Agents),
        LogName::Billing => read(bytes, AnyFact::Billing),
    }
}
