//! Why bytes are not a record this program understands.

use trunkline_domain::vocabulary::{IdError, LogName, MoneyError, PhoneNumberError, SkillError};

/// Why a record, or a field of it, cannot be read. `field` is `Message.field`, as in the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not a message of the expected shape.
    #[error("could not parse {message}")]
    Malformed {
        /// The message that was expected.
        message: &'static str,
        /// What does not fit.
        #[source]
        source: prost::DecodeError,
    },
    /// A newer program wrote it. Nothing of it was read.
    #[error("record of log {log} has schema version {found}, this program knows up to {known}")]
    FutureSchema {
        /// The log.
        log: LogName,
        /// Of the record.
        found: u32,
        /// The highest known.
        known: u32,
    },
    /// It belongs to another log.
    #[error("expected a record of log {expected}, found one of {found}")]
    WrongLog {
        /// The log that was read.
        expected: LogName,
        /// What the record says.
        found: LogName,
    },
    /// The arm that is set, if any, is not one this program knows.
    #[error("{field} holds no known arm")]
    UnknownArm {
        /// The oneof.
        field: &'static str,
    },
    /// The number is not one of the enum's values.
    #[error("{field} has the unknown value {value}")]
    UnknownValue {
        /// The field.
        field: &'static str,
        /// What stands there.
        value: i32,
    },
    /// A required field is not there.
    #[error("{field} is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A text is not an id of the wanted kind.
    #[error("{field} is not a valid id")]
    BadId {
        /// The field.
        field: &'static str,
        /// Why not.
        #[source]
        source: IdError,
    },
    /// A text is neither a skill nor a clause.
    #[error("{field} does not say what an agent can do")]
    BadSkill {
        /// The field.
        field: &'static str,
        /// Why not.
        #[source]
        source: SkillError,
    },
    /// A text is not a telephone number. The number itself is not repeated.
    #[error("{field} is not a telephone number")]
    BadPhoneNumber {
        /// The field.
        field: &'static str,
        /// Why not.
        #[source]
        source: PhoneNumberError,
    },
    /// A text is not a currency code.
    #[error("{field} is not a currency")]
    BadCurrency {
        /// The field.
        field: &'static str,
        /// Why not.
        #[source]
        source: MoneyError,
    },
    /// A number is outside the range of its core type.
    #[error("{field} is out of range: {value}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// What stands there.
        value: u64,
    },
}
