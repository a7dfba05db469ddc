//! SIP: our own messages, dialogs, digest and rules over a bought transaction layer (ADR 0004).
//!
//! The port is [`stack::Stack`]: requests come in as [`stack::ServerTransaction`]s, go out as
//! [`stack::ClientTransaction`]s, both as [`message::Message`]s of our own. Nothing above it knows what is below it.

pub mod dialog;
pub mod digest;
pub mod door;
pub mod fields;
pub mod message;
pub mod stack;
mod tcp;
mod transactions;
