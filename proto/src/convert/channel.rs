//! Channels: a call has no number of its own, for so every contact was before there were channels.

use std::collections::BTreeSet;

use trunkline_domain::vocabulary::{Channel, ChannelRule};

use super::{DecodeError, Field};
use crate::common::v1 as wire;
use crate::directory::v1::ChannelRule as WireRule;

impl From<Channel> for wire::Channel {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Voice => Self::Unspecified,
            Channel::Chat => Self::Chat,
            Channel::Email => Self::Email,
            Channel::Task => Self::Task,
        }
    }
}

impl From<wire::Channel> for Channel {
    fn from(channel: wire::Channel) -> Self {
        match channel {
            wire::Channel::Unspecified => Self::Voice,
            wire::Channel::Chat => Self::Chat,
            wire::Channel::Email => Self::Email,
            wire::Channel::Task => Self::Task,
        }
    }
}

impl Field for Channel {
    type Wire = i32;

    fn to_wire(&self) -> i32 {
        wire::Channel::from(*self) as i32
    }

    fn from_wire(wire: i32, field: &'static str) -> Result<Self, DecodeError> {
        let known = wire::Channel::try_from(wire);
        known.map(Self::from).map_err(|_| DecodeError::UnknownValue { field, value: wire })
    }
}

impl Field for BTreeSet<Channel> {
    type Wire = Vec<i32>;

    fn to_wire(&self) -> Vec<i32> {
        self.iter().map(Field::to_wire).collect()
    }

    fn from_wire(wire: Vec<i32>, field: &'static str) -> Result<Self, DecodeError> {
        wire.into_iter().map(|it| Field::from_wire(it, field)).collect()
    }
}

/// How a contact came, from the number in a request.
///
/// # Errors
/// When it is not a known channel.
pub fn channel(number: i32) -> Result<Channel, DecodeError> {
    Field::from_wire(number, "channel")
}

/// The rules of an agent's channels, as in a message.
pub fn channel_rules<'a>(rules: impl IntoIterator<Item = &'a ChannelRule>) -> Vec<WireRule> {
    rules.into_iter().filter_map(Field::to_wire).collect()
}

/// The rules in a message. Whether they can be is not looked at.
///
/// # Errors
/// When a channel is not known.
pub fn read_channel_rules(rules: Vec<WireRule>) -> Result<Vec<ChannelRule>, DecodeError> {
    Field::from_wire(rules, "channels")
}
