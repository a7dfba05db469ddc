//! Everything that may be written in a log: one enum a log, one arm a fact, past tense.
//!
//! A record in a log is one [`Outcome`]: the facts of one decision together with the input positions it consumed.
//! The wire form of every fact is in `proto/`; the translation is `trunkline_proto::convert`.

mod agents;
mod billing;
mod contacts;
mod directory;
mod routing;

pub use agents::*;
pub use billing::*;
pub use contacts::*;
pub use directory::*;
pub use routing::*;

use crate::vocabulary::{Cell, ContactId, Epoch, EventId, InputPosition, LogName, Position, Timestamp};

/// What is known of every fact besides what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Names the fact for ever: a function of its log, stream and sequence where replays must agree, else minted.
    pub event_id: EventId,
    /// The partition it is in.
    pub cell: Cell,
    /// What it is about, as the text of an id: a contact, an agent, an item.
    pub stream: String,
    /// Its place in its stream, from 1, without gaps.
    pub sequence: u64,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// When the writer put it into the log.
    pub recorded_at: Timestamp,
    /// The contact whose story it belongs to.
    pub correlation_id: Option<ContactId>,
    /// The fact that directly caused it.
    pub causation_id: Option<EventId>,
    /// W3C `traceparent` of the span that decided it; empty when not traced.
    pub traceparent: String,
}

/// A fact with its meta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded<F> {
    /// What is known about it.
    pub meta: Meta,
    /// What it says.
    pub fact: F,
}

/// A record as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered<F> {
    /// Where it stands.
    pub position: Position,
    /// Who wrote it: the resource whose lease fences the writer, as `routing/0` or `media/nod_x`.
    pub lane: String,
    /// What it says.
    pub outcome: Outcome<F>,
}

/// One record of a log: the facts of one decision, and what the decision had taken into account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome<F> {
    /// The owner's fence.
    pub epoch: Epoch,
    /// The input records consumed by this decision, at most one per log and cell.
    pub consumed: Vec<InputPosition>,
    /// The facts, in order; never empty except for an outcome that only records consumption.
    pub facts: Vec<Recorded<F>>,
}

/// The facts of one log.
pub trait LogFact: Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The log they are written in.
    const LOG: LogName;
    /// The name of the fact, as in the schema (`ContactArrived`).
    fn name(&self) -> &'static str;
    /// The stream it belongs to: the text of the id of what it is about.
    fn stream(&self) -> String;
    /// The contact it is part of the story of.
    fn contact(&self) -> Option<&ContactId>;
}

/// A fact of any log, for tools that read them all.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "read one at a time by tools")]
pub enum AnyFact {
    /// Of the directory log.
    Directory(DirectoryFact),
    /// Of the contacts log.
    Contacts(ContactFact),
    /// Of the routing log.
    Routing(RoutingFact),
    /// Of the agents log.
    Agents(AgentFact),
    /// Of the billing log.
    Billing(BillingFact),
}
