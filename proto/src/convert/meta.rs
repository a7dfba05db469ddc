//! What every fact and every record carries, whatever its log.

use trunkline_domain::facts::{LogFact, Meta};
use trunkline_domain::vocabulary::{InputPosition, LogName};

use super::DecodeError;
use crate::envelope::v1::fact::Body;

/// The facts of one log as an arm of the envelope.
pub trait FactBody: LogFact {
    /// The schema version of the log.
    const SCHEMA_VERSION: u32;
    /// The version of the first reader that does not misunderstand this one.
    fn schema_version(&self) -> u32 {
        Self::SCHEMA_VERSION
    }
    /// The arm to write.
    fn to_body(&self) -> Body;
    /// The fact that was read.
    ///
    /// # Errors
    /// When the arm is of another log, or when a field is missing, malformed or unknown.
    fn from_body(body: Body) -> Result<Self, DecodeError>;
}

/// The error for a fact of another log than its record's.
pub(super) fn wrong_body<F: LogFact>(body: &Body) -> DecodeError {
    let found = match body {
        Body::Directory(_) => LogName::Directory,
        Body::Contacts(_) => LogName::Contacts,
        Body::Routing(_) => LogName::Routing,
        Body::Agents(_) => LogName::Agents,
        Body::Billing(_) => LogName::Billing,
    };
    DecodeError::WrongLog { expected: F::LOG, found }
}

values!(LogName as crate::envelope::v1::Log [Directory, Contacts, Routing, Agents, Billing]);

mod common {
    use super::Meta;
    use crate::common::v1 as wire;

    message!(Meta {
        event_id, cell, stream, sequence, correlation_id, causation_id, traceparent
        | occurred_at as occurred_at_ms, recorded_at as recorded_at_ms
    });
}

mod envelope {
    use super::InputPosition;
    use crate::envelope::v1 as wire;

    message!(InputPosition { log, cell, position });
    repeated!(InputPosition);
}
