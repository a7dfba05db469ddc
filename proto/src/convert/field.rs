//! How a core type stands in a field: ids as text, times as milliseconds, nothing as the empty text.

use trunkline_domain::vocabulary::{
    AgentId, CalendarId, Cell, CommandId, CompanyId, ContactId, ContractId, Currency, DeviceId, Epoch,
    EventId, FlowId, InvoiceId, ItemId, LegId, Millis, Money, NodeId, OfferId, OperatorId, PhoneNumber,
    Position, QueueId, SessionId, SiteId, SkillId, Timestamp,
};

use super::DecodeError;
use crate::common::v1 as wire;

/// A core type that a field can hold.
pub(super) trait Field: Sized {
    /// What the generated message has in that place.
    type Wire;
    /// The value to write.
    fn to_wire(&self) -> Self::Wire;
    /// The value that was read; `field` names the place in errors.
    fn from_wire(wire: Self::Wire, field: &'static str) -> Result<Self, DecodeError>;
}

/// A core enum whose values are numbers of a wire enum.
pub(super) trait WireEnum: Sized {
    /// Its number.
    fn to_number(self) -> i32;
    /// The value of a number; zero is a missing one.
    fn from_number(number: i32, field: &'static str) -> Result<Self, DecodeError>;
}

macro_rules! ids {
    ($($id:ident),*) => {$(
        impl Field for $id {
            type Wire = String;
            fn to_wire(&self) -> String {
                self.as_str().to_owned()
            }
            fn from_wire(wire: String, field: &'static str) -> Result<Self, DecodeError> {
                match wire.as_str() {
                    "" => Err(DecodeError::Missing { field }),
                    text => $id::parse(text).map_err(|source| DecodeError::BadId { field, source }),
                }
            }
        }

        impl Field for Option<$id> {
            type Wire = String;
            fn to_wire(&self) -> String {
                self.as_ref().map(Field::to_wire).unwrap_or_default()
            }
            fn from_wire(wire: String, field: &'static str) -> Result<Self, DecodeError> {
                if wire.is_empty() { Ok(None) } else { Field::from_wire(wire, field).map(Some) }
            }
        }

        impl Field for Vec<$id> {
            type Wire = Vec<String>;
            fn to_wire(&self) -> Vec<String> {
                self.iter().map(Field::to_wire).collect()
            }
            fn from_wire(wire: Vec<String>, field: &'static str) -> Result<Self, DecodeError> {
                wire.into_iter().map(|it| Field::from_wire(it, field)).collect()
            }
        }
    )*};
}

ids!(
    AgentId, CalendarId, CommandId, CompanyId, ContactId, ContractId, DeviceId, EventId, FlowId, InvoiceId,
    ItemId, LegId, NodeId, OfferId, OperatorId, QueueId, SessionId, SiteId, SkillId
);

macro_rules! as_they_are {
    ($($plain:ty),*) => {$(
        impl Field for $plain {
            type Wire = $plain;
            fn to_wire(&self) -> $plain {
                self.clone()
            }
            fn from_wire(wire: $plain, _: &'static str) -> Result<Self, DecodeError> {
                Ok(wire)
            }
        }
    )*};
}

as_they_are!(bool, i32, u32, u64, String, Vec<String>);

macro_rules! newtypes {
    ($($core:ident($number:ty)),*) => {$(
        impl Field for $core {
            type Wire = $number;
            fn to_wire(&self) -> $number {
                self.0
            }
            fn from_wire(wire: $number, _: &'static str) -> Result<Self, DecodeError> {
                Ok($core(wire))
            }
        }
    )*};
}

newtypes!(Timestamp(i64), Millis(i64), Epoch(u64), Position(u64), Cell(u32));

impl Field for Option<Timestamp> {
    type Wire = Option<i64>;
    fn to_wire(&self) -> Option<i64> {
        self.map(|at| at.0)
    }
    fn from_wire(wire: Option<i64>, _: &'static str) -> Result<Self, DecodeError> {
        Ok(wire.map(Timestamp))
    }
}

/// A time that is zero when there is none.
pub(super) fn or_zero(at: &Option<Timestamp>) -> i64 {
    at.map_or(0, |at| at.0)
}

/// The time such a field holds.
pub(super) fn if_any(wire: i64) -> Option<Timestamp> {
    (wire != 0).then_some(Timestamp(wire))
}

macro_rules! narrow {
    ($($small:ty),*) => {$(
        impl Field for $small {
            type Wire = u32;
            fn to_wire(&self) -> u32 {
                u32::from(*self)
            }
            fn from_wire(wire: u32, field: &'static str) -> Result<Self, DecodeError> {
                <$small>::try_from(wire)
                    .map_err(|_| DecodeError::OutOfRange { field, value: u64::from(wire) })
            }
        }
    )*};
}

narrow!(u8, u16);

impl Field for Option<u16> {
    type Wire = Option<u32>;
    fn to_wire(&self) -> Option<u32> {
        self.map(u32::from)
    }
    fn from_wire(wire: Option<u32>, field: &'static str) -> Result<Self, DecodeError> {
        wire.map(|it| Field::from_wire(it, field)).transpose()
    }
}

impl Field for PhoneNumber {
    type Wire = String;
    fn to_wire(&self) -> String {
        self.reveal().to_owned()
    }
    fn from_wire(wire: String, field: &'static str) -> Result<Self, DecodeError> {
        match wire.as_str() {
            "" => Err(DecodeError::Missing { field }),
            text => PhoneNumber::parse(text).map_err(|source| DecodeError::BadPhoneNumber { field, source }),
        }
    }
}

impl Field for Option<PhoneNumber> {
    type Wire = String;
    fn to_wire(&self) -> String {
        self.as_ref().map(Field::to_wire).unwrap_or_default()
    }
    fn from_wire(wire: String, field: &'static str) -> Result<Self, DecodeError> {
        if wire.is_empty() { Ok(None) } else { Field::from_wire(wire, field).map(Some) }
    }
}

impl Field for Currency {
    type Wire = String;
    fn to_wire(&self) -> String {
        self.as_str().to_owned()
    }
    fn from_wire(wire: String, field: &'static str) -> Result<Self, DecodeError> {
        match wire.as_str() {
            "" => Err(DecodeError::Missing { field }),
            text => Currency::parse(text).map_err(|source| DecodeError::BadCurrency { field, source }),
        }
    }
}

impl Field for Money {
    type Wire = Option<wire::Money>;
    fn to_wire(&self) -> Self::Wire {
        Some(wire::Money { currency: self.currency.to_wire(), amount_micros: self.micros })
    }
    fn from_wire(wire: Self::Wire, field: &'static str) -> Result<Self, DecodeError> {
        let wire = wire.ok_or(DecodeError::Missing { field })?;
        Ok(Money { currency: Field::from_wire(wire.currency, field)?, micros: wire.amount_micros })
    }
}
