//! One file a promise. Each is told what happened and says at once, or at the end, when its promise is broken.

pub(crate) mod acknowledged_is_kept;
pub(crate) mod becomes_usable;
pub(crate) mod deadlines_are_kept;
pub(crate) mod epochs_rise;
pub(crate) mod facts_are_there_once;
pub(crate) mod one_effect;
pub(crate) mod one_reservation;
pub(crate) mod replicas_agree;
pub(crate) mod routing_goes_on;
pub(crate) mod seconds_add_up;
pub(crate) mod stale_epochs_are_void;

use trunkline_domain::agent_state::{Action, Command, OutboxFact, OutboxKey, Reply, State};

/// One command, as the committed log has it, right after it was applied.
pub(crate) struct Committed<'a> {
    pub(crate) index: u64,
    pub(crate) command: &'a Command,
    /// What the client had asked for under that id; `None` for the leader's own.
    pub(crate) issued: Option<&'a Action>,
    pub(crate) reply: &'a Reply,
    /// The state behind it.
    pub(crate) state: &'a State,
    /// The facts it made.
    pub(crate) facts: &'a [(OutboxKey, OutboxFact)],
    /// Whether a command of that id was applied before.
    pub(crate) repeated: bool,
}

/// What an invariant says.
pub(crate) type Verdict = Result<(), String>;
