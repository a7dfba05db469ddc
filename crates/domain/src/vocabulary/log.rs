//! Which log, which partition of it, which record, and whose.

use std::fmt;

/// The five logs. Each has one writing service (see `docs/ARCHITECTURE.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogName {
    /// Written by directory.
    Directory,
    /// Written by media.
    Contacts,
    /// Written by routing.
    Routing,
    /// Written by agent-state's leader.
    Agents,
    /// Written by billing.
    Billing,
}

impl LogName {
    /// Every log, in the order of the flow.
    pub const ALL: [LogName; 5] =
        [LogName::Directory, LogName::Contacts, LogName::Routing, LogName::Agents, LogName::Billing];

    /// The name used in directories, topics and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            LogName::Directory => "directory",
            LogName::Contacts => "contacts",
            LogName::Routing => "routing",
            LogName::Agents => "agents",
            LogName::Billing => "billing",
        }
    }

    /// The log of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log| log.as_str() == text)
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The unit of sharding: a set of companies and the agents who serve them. It is the partition number in every log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Cell(pub u32);

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The fence of an owner: the Raft log index of the grant of its lease; for the agents log that of an entry its leader
/// has just committed.
/// Higher is newer; a lower one has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Where a record stands in its partition. The event log alone makes positions and says which comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A record of another log that a decision took into account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InputPosition {
    /// The log.
    pub log: LogName,
    /// Its partition.
    pub cell: Cell,
    /// The last record of it that was taken into account.
    pub position: Position,
}
