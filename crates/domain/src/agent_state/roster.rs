//! What the machine needs of the directory.

use std::collections::BTreeMap;

use crate::facts::WrapUpMode;
use crate::vocabulary::{AgentId, Cell, Millis, QueueId};

/// What the machine needs of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// The directory revision it is of. A lower one than known changes nothing.
    pub revision: u64,
    /// Who may sign in, and the cell each serves.
    pub agents: BTreeMap<AgentId, Cell>,
    /// What follows a contact or a missed offer.
    pub queues: BTreeMap<QueueId, QueuePolicy>,
}

/// What happens to an agent after a contact or a missed offer of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueuePolicy {
    /// After-contact work; zero for none.
    pub wrap_up: Millis,
    /// After this many offers missed in a row the agent becomes not ready; zero for never.
    pub miss_count_max: u32,
    /// Who ends after-contact work, and whether there is any.
    pub wrap_up_mode: WrapUpMode,
    /// Whether the agent must say what the contact came to.
    pub wrap_up_code_required: bool,
    /// By how much the agent may put the end of its wrap-up off, altogether.
    pub wrap_up_extension_max: Millis,
}

impl Roster {
    /// The feature level of the first program that knows all it says.
    pub fn feature_level(&self) -> u32 {
        u32::from(!self.queues.values().all(QueuePolicy::of_first_version))
    }
}

impl QueuePolicy {
    fn of_first_version(&self) -> bool {
        let Self { wrap_up, miss_count_max, .. } = *self;
        *self == Self { wrap_up, miss_count_max, ..Self::default() }
    }
}
