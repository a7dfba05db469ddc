//! The replicated state as plain data: what a snapshot holds and what the state hash covers.

use std::collections::{BTreeMap, BTreeSet};

use super::agent::Agent;
use super::lease::Lease;
use super::reply::Reply;
use super::roster::Roster;
use crate::facts::{AgentFact, LogFact, Meta, Recorded};
use crate::kernel::{StateHash, StateHasher};
use crate::vocabulary::{AgentId, Cell, CommandId, EventId, Timestamp};

/// Everything the machine knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The highest `proposed_at` seen.
    pub now: Timestamp,
    /// The Raft term of the last command that was not a repetition.
    pub last_term: u64,
    /// The Raft index of the last command that was not a repetition.
    pub last_index: u64,
    /// Facts made at that index so far.
    pub fact_count: u32,
    /// Wishes answered at that index so far, granted or not.
    pub wish_count: u32,
    /// Facts up to this Raft index are in the agents log.
    pub published: u64,
    /// Which rules hold: see [`super::FEATURE_LEVEL`].
    pub feature_level: u32,
    /// What the directory says.
    pub roster: Roster,
    /// Every agent that ever signed in or had a device.
    pub agents: BTreeMap<AgentId, Agent>,
    /// Every resource that ever had an owner.
    pub leases: BTreeMap<String, Lease>,
    /// Answers kept for retries.
    pub answers: BTreeMap<CommandId, Answer>,
    /// Facts to be published, in order.
    pub outbox: BTreeMap<OutboxKey, OutboxFact>,
}

/// An answer kept for retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The Raft index of the command.
    pub index: u64,
    /// The kind of action it was.
    pub kind: u8,
    /// What was answered.
    pub reply: Reply,
}

/// The place of a fact in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxKey {
    /// The Raft index of the command that made it.
    pub index: u64,
    /// Its place among the facts of that command, from 0.
    pub ordinal: u32,
}

/// A fact that waits to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxFact {
    /// The partition it goes to.
    pub cell: Cell,
    /// Its place in its stream, from 1.
    pub sequence: u64,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The trace it belongs to; empty when none.
    pub traceparent: String,
    /// What it says.
    pub fact: AgentFact,
}

impl OutboxFact {
    /// The fact as it stands in the agents log. Its id is a function of its place in the Raft log:
    /// `evt_a<cell>-<index>-<ordinal>`.
    pub fn recorded(&self, key: OutboxKey, recorded_at: Timestamp) -> Recorded<AgentFact> {
        let name = format!("a{}-{}-{}", self.cell, key.index, key.ordinal);
        let meta = Meta {
            event_id: EventId::from_name(&name).expect("numbers and dashes make an id, at most 55 long"),
            cell: self.cell,
            stream: self.fact.stream(),
            sequence: self.sequence,
            occurred_at: self.occurred_at,
            recorded_at,
            correlation_id: self.fact.contact().cloned(),
            causation_id: None,
            traceparent: self.traceparent.clone(),
        };
        Recorded { meta, fact: self.fact.clone() }
    }
}

/// What changed since it was last taken, so that a store writes only that. A key that is no longer in the state was
/// removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Touched {
    /// Whether the roster changed.
    pub roster: bool,
    /// Agents.
    pub agents: BTreeSet<AgentId>,
    /// Of these, those of which others may see something else than before: a sign of life of a desktop is none of their
    /// business.
    pub seen: BTreeSet<AgentId>,
    /// Leases.
    pub leases: BTreeSet<String>,
    /// Answers.
    pub answers: BTreeSet<CommandId>,
    /// Facts.
    pub outbox: BTreeSet<OutboxKey>,
}

impl Touched {
    /// Adds what changed after it.
    pub fn add(&mut self, later: Self) {
        let Self { roster, agents, seen, leases, answers, outbox } = later;
        self.roster |= roster;
        self.agents.extend(agents);
        self.seen.extend(seen);
        self.leases.extend(leases);
        self.answers.extend(answers);
        self.outbox.extend(outbox);
    }
}

impl State {
    /// The digest of everything. Replicas agree on it, and so do a live machine and a replayed one.
    pub fn hash(&self) -> StateHash {
        let mut hasher = StateHasher::new();
        hasher
            .number(self.now.0.into())
            .number(self.last_term.into())
            .number(self.last_index.into())
            .number(self.published.into());
        hasher.number(self.fact_count.into()).number(self.wish_count.into()).debug(&self.roster);
        hasher.number(self.feature_level.into());
        let Self { agents, leases, answers, outbox, .. } = self;
        hasher.number(agents.len() as i128);
        for agent in agents.values() {
            hasher.debug(agent);
        }
        hasher.number(leases.len() as i128);
        for lease in leases {
            hasher.debug(&lease);
        }
        hasher.number(answers.len() as i128);
        for answer in answers {
            hasher.debug(&answer);
        }
        hasher.number(outbox.len() as i128);
        for fact in outbox {
            hasher.debug(&fact);
        }
        hasher.finish()
    }
}
