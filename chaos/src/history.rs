//! What the logs say, decoded, and only what counts.

use trunkline_domain::facts::{
    AgentFact, BillingFact, ContactFact, Delivered, DirectoryFact, LogFact, Meta, Recorded, RoutingFact,
};
use trunkline_domain::vocabulary::{Cell, LogName, Position};

/// All records that count, of each log by cell and position.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Of the directory log.
    pub directory: Vec<(Cell, Delivered<DirectoryFact>)>,
    /// Of the contacts log.
    pub contacts: Vec<(Cell, Delivered<ContactFact>)>,
    /// Of the routing log.
    pub routing: Vec<(Cell, Delivered<RoutingFact>)>,
    /// Of the agents log.
    pub agents: Vec<(Cell, Delivered<AgentFact>)>,
    /// Of the billing log.
    pub billing: Vec<(Cell, Delivered<BillingFact>)>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The log.
    pub log: LogName,
    /// Its partition.
    pub cell: Cell,
    /// The record.
    pub position: Position,
}

/// A fact where it stands.
#[derive(Debug)]
pub struct Seen<'a, F> {
    /// Where.
    pub place: Place,
    /// What is known about it.
    pub meta: &'a Meta,
    /// What it says.
    pub fact: &'a F,
}

impl<F> Clone for Seen<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Seen<'_, F> {}

/// The facts of one log, by cell, position and order in the record.
pub fn facts<F: LogFact>(records: &[(Cell, Delivered<F>)]) -> impl Iterator<Item = Seen<'_, F>> {
    records.iter().flat_map(|(cell, record)| {
        let place = Place { log: F::LOG, cell: *cell, position: record.position };
        record.outcome.facts.iter().map(move |Recorded { meta, fact }| Seen { place, meta, fact })
    })
}

impl History {
    /// The facts of the contacts log.
    pub fn contact_facts(&self) -> impl Iterator<Item = Seen<'_, ContactFact>> {
        facts(&self.contacts)
    }

    /// The facts of the agents log.
    pub fn agent_facts(&self) -> impl Iterator<Item = Seen<'_, AgentFact>> {
        facts(&self.agents)
    }

    /// The facts of the billing log.
    pub fn billing_facts(&self) -> impl Iterator<Item = Seen<'_, BillingFact>> {
        facts(&self.billing)
    }

    /// The facts of the directory log.
    pub fn directory_facts(&self) -> impl Iterator<Item = Seen<'_, DirectoryFact>> {
        facts(&self.directory)
    }

    /// The facts of the routing log.
    pub fn routing_facts(&self) -> impl Iterator<Item = Seen<'_, RoutingFact>> {
        facts(&self.routing)
    }
}
