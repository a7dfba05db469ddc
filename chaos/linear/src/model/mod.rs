//! What clients see of agent-state, as one machine that is asked one thing at a time.
//!
//! It is written from `crates/domain/src/agent_state/LIFECYCLE.md`, not from the code, and knows nothing of Raft, disks or
//! retries; `tests/model.rs` holds it against the machine of the core. State is one agent or one lease, so that a history
//! splits into short ones.
//!
//! **Time.** In the machine, time ends offers, wrap-ups, pauses and leases; here nothing ends by itself. So the workload asks
//! only for ends far away (offers for ten minutes, leases for five, wrap-up for a year, no pauses), and a history that took
//! longer than [`HISTORY_LEN_MAX`] is not judged at all.
//!
//! **Keys.** The offers of a history name one contact each, so that no contact is ever wanted for two agents, and the leases
//! of routing and of the media node are held throughout, before the first operation and behind the last. Otherwise keys would
//! meet in these.
//!
//! **Numbers that nobody told.** An offer or a lease that was granted to a client that never heard of it has a token or an
//! epoch all the same. The model knows that it has one, and that it is none of those it was told.

mod agent;
mod lease;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::agent::{Activity, Agent, AgentCall, Ending, MISS_COUNT_MAX, Reason, Seen};
pub use self::lease::{Lease, LeaseCall};

use crate::check::Model;
use crate::history::Operation;

/// The longest a history may last: nothing it asked for may end by itself before it is over. The shortest such end is that of
/// a lease, 300 s.
pub const HISTORY_LEN_MAX: Duration = Duration::from_secs(240);

/// A name that one operation of a history made up, and no other: of a session, an offer with its contact, or a reason.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark(pub u64);

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What an operation is about, by its number within the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// An agent.
    Agent(u32),
    /// A resource with an owner.
    Lease(u32),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(number) => write!(f, "agent {number}"),
            Self::Lease(number) => write!(f, "lease {number}"),
        }
    }
}

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// About an agent.
    Agent(AgentCall),
    /// About a lease.
    Lease(LeaseCall),
}

/// What may be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Done, and nothing more to say.
    Done,
    /// The session that began or ended.
    Session(Mark),
    /// The token of the reservation.
    Token(u64),
    /// Whether this call ended the reservation.
    Released(bool),
    /// The agent as a read has it.
    Seen(Seen),
    /// The epoch of the lease.
    Epoch(u64),
    /// Somebody else has the lease: which client.
    HeldBy(u32),
    /// Why not, by its code.
    Refused(String),
}

/// The state of one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum State {
    /// Of an agent.
    Agent(Agent),
    /// Of a lease.
    Lease(Lease),
}

/// Agent-state, as clients see it.
#[derive(Debug)]
pub struct AgentState;

/// An operation on agent-state.
pub type Op = Operation<Key, Call, Reply>;

impl Model for AgentState {
    type Key = Key;
    type State = State;
    type Call = Call;
    type Reply = Reply;

    fn initial(key: &Key) -> State {
        match key {
            Key::Agent(_) => State::Agent(Agent::default()),
            Key::Lease(_) => State::Lease(Lease::default()),
        }
    }

    fn step(state: &State, client: u32, call: &Call, reply: Option<&Reply>) -> Option<State> {
        match (state, call) {
            (State::Agent(agent), Call::Agent(call)) => agent.step(call, reply).map(State::Agent),
            (State::Lease(lease), Call::Lease(call)) => lease.step(client, call, reply).map(State::Lease),
            (State::Agent(_), Call::Lease(_)) | (State::Lease(_), Call::Agent(_)) => None,
        }
    }

    fn expected(state: &State, client: u32, call: &Call) -> String {
        match (state, call) {
            (State::Agent(agent), Call::Agent(call)) => agent.answer(call).1.to_string(),
            (State::Lease(lease), Call::Lease(call)) => lease.answer(client, call).1.to_string(),
            (State::Agent(_), Call::Lease(_)) | (State::Lease(_), Call::Agent(_)) => {
                "nothing: it is about something else".to_owned()
            }
        }
    }
}

/// What the model would answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// Exactly this.
    Just(Reply),
    /// A token above all that were told.
    NewToken,
    /// The token of a live reservation, which nobody was told.
    HiddenToken,
    /// An epoch above all that were told.
    NewEpoch,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Just(reply) => write!(f, "{reply:?}"),
            Self::NewToken => f.write_str("a new token"),
            Self::HiddenToken => f.write_str("the token it has, which nobody was told"),
            Self::NewEpoch => f.write_str("a new epoch"),
        }
    }
}

fn refused(code: &str) -> Answer {
    Answer::Just(Reply::Refused(code.to_owned()))
}
