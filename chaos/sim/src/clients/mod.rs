//! Everybody who asks agent-state for something.

pub(crate) mod asks;
mod lease;
mod media;
mod owner;
mod person;
pub(crate) mod routed;

pub(crate) use asks::Asks;
pub(crate) use lease::Lease;
pub(crate) use media::Media;
pub(crate) use owner::Owner;
pub(crate) use person::Person;
