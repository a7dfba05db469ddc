//! Who talks to whom, and what is said.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

use trunkline_domain::agent_state::{Action, Reply};
use trunkline_domain::facts::{AgentFact, ContactFact, LogFact, Outcome, RoutingFact};
use trunkline_domain::routing::{OfferCommand, TurnAwayCommand};
use trunkline_domain::vocabulary::{
    AgentId, Cell, CommandId, ContactId, LogName, OfferId, Position, Timestamp,
};
use trunkline_runtime::event_log::Record;

use crate::voter::disk::{Entry, Snapshot};

/// Somebody that sends and receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Address {
    Voter(u32),
    Log,
    Person(u32),
    Owner(u32),
    Media(u32),
    /// Of the routed cell: a process that can own it.
    Partition(u32),
    /// Of the routed cell: a media node.
    Node(u32),
    Directory,
    Operator,
}

/// One thing said.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    Raft(Raft),
    /// A client's command; a retry carries the same id.
    Ask {
        command_id: CommandId,
        action: Action,
    },
    Answer {
        command_id: CommandId,
        answer: Result<Reply, NotLeader>,
    },
    /// The operator puts a voter in or out.
    Change(Change),
    Log(LogAsk),
    Told(LogTold),
    /// A blind owner to a blind media node.
    Offer(Offer),
    /// The real router to a media node.
    Routed(Box<Routed>),
    /// Whether a media node takes an offer of the real router.
    Offered {
        offer_id: OfferId,
        taken: bool,
    },
}

/// The voter asked does not lead.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotLeader {
    pub(crate) leader: Option<u32>,
}

/// A change of who votes, one at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    Add(u32),
    Remove(u32),
}

impl Change {
    pub(crate) fn apply(self, members: &BTreeSet<u32>) -> BTreeSet<u32> {
        let mut changed = members.clone();
        match self {
            Self::Add(id) => drop(changed.insert(id)),
            Self::Remove(id) => drop(changed.remove(&id)),
        }
        changed
    }
}

/// Between voters. Names follow Ongaro's dissertation (2014).
#[derive(Debug, Clone)]
pub(crate) enum Raft {
    RequestVote { term: u64, last_index: u64, last_term: u64 },
    Voted { term: u64, granted: bool },
    Append { term: u64, prev_index: u64, prev_term: u64, entries: Vec<Rc<Entry>>, commit: u64 },
    Appended { term: u64, ok: bool, matched: u64 },
    Install { term: u64, snapshot: Rc<Snapshot> },
    ClockAsk { asked_at: Timestamp },
    ClockTold { asked_at: Timestamp, answered_at: Timestamp },
}

/// To the event log. What one `conn` sends arrives in order, up to the first that is lost.
#[derive(Debug, Clone)]
pub(crate) struct LogAsk {
    pub(crate) conn: u64,
    pub(crate) what: LogWhat,
}

#[derive(Debug, Clone)]
pub(crate) enum LogWhat {
    Append {
        cell: Cell,
        kept: Kept,
    },
    /// Of the agents log.
    Read {
        cell: Cell,
        through: Position,
    },
}

/// From the event log.
#[derive(Debug, Clone)]
pub(crate) struct LogTold {
    pub(crate) conn: u64,
    pub(crate) what: LogSaid,
}

#[derive(Debug, Clone)]
pub(crate) enum LogSaid {
    Appended { cell: Cell, sequence: u64, position: Position },
    Read { cell: Cell, records: Vec<Kept> },
}

/// A record as the log keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) record: Record,
    pub(crate) outcome: Outcomes,
}

/// What a record says, of whichever log.
#[derive(Debug, Clone)]
pub(crate) enum Outcomes {
    Agents(Rc<Outcome<AgentFact>>),
    Contacts(Rc<Outcome<ContactFact>>),
    Routing(Rc<Outcome<RoutingFact>>),
}

impl Outcomes {
    pub(crate) fn log(&self) -> LogName {
        match self {
            Self::Agents(_) => LogName::Agents,
            Self::Contacts(_) => LogName::Contacts,
            Self::Routing(_) => LogName::Routing,
        }
    }
}

/// For a reader of the trace: what each fact says, and of whom.
impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn names<F: LogFact>(outcome: &Outcome<F>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            outcome.facts.iter().try_for_each(|it| write!(f, "{} of {} ", it.fact.name(), it.fact.stream()))
        }
        match self {
            Self::Agents(outcome) => names(outcome, f),
            Self::Contacts(outcome) => names(outcome, f),
            Self::Routing(outcome) => names(outcome, f),
        }
    }
}

/// What the real router tells a media node.
#[derive(Debug, Clone)]
pub(crate) enum Routed {
    Offer(OfferCommand),
    Cancel(OfferCommand),
    TurnAway(TurnAwayCommand),
}

/// A reservation as the media node is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) offer_id: OfferId,
    pub(crate) agent_id: AgentId,
    pub(crate) contact_id: ContactId,
    pub(crate) token: u64,
    pub(crate) expires_at: Timestamp,
}
