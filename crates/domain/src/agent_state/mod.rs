//! Agents, reservations and leases: the machine that every Raft replica runs.
//!
//! [`Machine::apply`] is pure and total: the same commands at the same indexes give the same state, the same facts and
//! the same answers on every replica, and a rejection is an answer. It reads no clock: machine time is the highest
//! `proposed_at` it was given, and whatever is due by then happens before the command is looked at. The facts go into
//! an outbox inside the state, from where the leader publishes each exactly once.
//!
//! States and edges: `LIFECYCLE.md` beside this file.

mod agent;
pub mod clocks;
mod command;
mod lease;
mod machine;
mod reply;
mod roster;
mod state;
#[cfg(test)]
mod tests;

pub use agent::{
    Activity, Agent, Next, PauseLimit, Presence, Reservation, Session, SessionLease, Slot, Stage, Steadiness,
    WrapUp,
};
pub use command::{Action, Command, Device, Force, Said, Wish};
pub use lease::{Holding, Lease, cell_of_resource};
pub use machine::Machine;
pub use reply::{Done, Rejection, Reply, WishAnswer};
pub use roster::{QueuePolicy, Roster};
pub use state::{Answer, OutboxFact, OutboxKey, State, Touched};

use crate::vocabulary::Millis;

/// The highest level of rules this program knows. A rule that would decide an old command otherwise than before holds from
/// a level on, which a command in the log raises: so a log is replayed by the rules it was decided by, and replicas of
/// two versions never part. Level 0 has the rules of the first version.
pub const FEATURE_LEVEL: u32 = 2;

/// From this level on an agent without a device that can be called is not reserved.
pub const FEATURE_LEVEL_REACHABILITY: u32 = 1;

/// From this level on it is told when an agent's presence is unsteady.
pub const FEATURE_LEVEL_STEADINESS: u32 = 1;

/// From this level on a resource is granted once in an entry.
pub const FEATURE_LEVEL_ONE_GRANT: u32 = 1;

/// From this level on agents serve channels other than voice.
pub const FEATURE_LEVEL_CHANNELS: u32 = 2;

/// An agent that changed its presence no more for as long is steady.
pub const STEADY_AFTER: Millis = Millis::from_secs(60);

/// More changes of presence within [`STEADY_AFTER`] are told: no person means that many.
pub const CHANGE_COUNT_MAX: usize = 6;

/// How long a reservation may stay unconfirmed after its media node lost or renewed its lease. Then it ends as
/// `media_lost`: long enough for the node to come back and say what became of each contact, short enough that nobody
/// is kept from work.
pub const UNCONFIRMED_GRACE: Millis = Millis::from_secs(10);

/// The longest an offer may hold an agent.
pub const RESERVATION_LEN_MAX: Millis = Millis::from_secs(600);

/// Wishes at one Raft index, at most. Tokens are made of the index and the wish's place: see [`token`].
pub const WISH_COUNT_MAX: usize = 1024;

/// Agents held for one contact at a time, at most: each is a call that media makes.
pub const RING_COUNT_MAX: usize = 32;

/// Devices of one agent, at most.
pub const DEVICE_COUNT_MAX: usize = 8;

/// Resources that ever had a lease, at most.
pub const LEASE_COUNT_MAX: usize = 4096;

/// The shortest and the longest time to live of a lease.
pub const LEASE_TTL: std::ops::RangeInclusive<Millis> = Millis(30)..=Millis(300_000);

/// The shortest and the longest lease of a session.
pub const SESSION_LEASE: std::ops::RangeInclusive<Millis> = Millis(1_000)..=Millis(3_600_000);

/// How long a lost session waits for its desktop before it ends, as long as no reservation is held in it: long enough for a
/// desktop that is restarted or carried home, short enough that the timesheet of an empty chair ends the same day.
pub const LOST_SESSION_LEN_MAX: Millis = Millis::from_secs(1_800);

/// Why an agent is not ready of whose desktop nothing is heard, and why its session ends at last.
pub const REASON_LOST: &str = "desktop gone";

/// For how many Raft indexes an answer is kept for retries.
pub const ANSWER_INDEX_SPAN: u64 = 16_384;

/// How many answers are kept for retries; the oldest go first.
pub const ANSWER_COUNT_MAX: usize = 65_536;

/// Facts that wait to be published; above it, commands that start work are rejected.
pub const OUTBOX_COUNT_MAX: usize = 100_000;

/// Why an agent is not ready after missing too many offers in a row.
pub const REASON_MISSED: &str = "missed offers";

/// Why an agent is not ready right after signing in.
pub const REASON_SIGNED_IN: &str = "signed in";

/// Why an agent was signed out whom the directory no longer knows.
pub const REASON_RETIRED: &str = "no longer in the directory";

/// The fence of the reservation granted to wish number `ordinal` (from 0) at Raft index `index`:
/// `index · 1024 + ordinal`. Unique, never zero (Raft indexes of commands begin at 1), and later is higher.
pub const fn token(index: u64, ordinal: usize) -> u64 {
    index * WISH_COUNT_MAX as u64 + ordinal as u64
}
