//! What the machine needs of the directory.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::agent::Next;
use super::{FEATURE_LEVEL_CHANNELS, REASON_MISSED};
use crate::facts::WrapUpMode;
use crate::vocabulary::{AgentId, Cell, Channels, Millis, QueueId};

/// What the machine needs of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// The directory revision it is of. A lower one than known changes nothing.
    pub revision: u64,
    /// Who may sign in, and the cell each serves.
    pub agents: BTreeMap<AgentId, Cell>,
    /// What follows a contact or a missed offer.
    pub queues: BTreeMap<QueueId, QueuePolicy>,
    /// Why an agent may be not ready by its own or a supervisor's word, and how long at most; zero for no limit. Any word
    /// will do when none is listed.
    pub reasons: BTreeMap<String, Millis>,
    /// What agents serve; whoever is not among them serves one call at a time.
    pub channels: BTreeMap<AgentId, Channels>,
}

/// What happens to an agent after a contact or a missed offer of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Why an agent is not ready that missed too many; empty for [`REASON_MISSED`].
    pub miss_reason: String,
    /// How long it is not ready then; zero until it says otherwise.
    pub miss_return: Millis,
}

impl Roster {
    /// The feature level of the first program that knows all it says.
    pub fn feature_level(&self) -> u32 {
        if !self.channels.is_empty() {
            return FEATURE_LEVEL_CHANNELS;
        }
        u32::from(!self.reasons.is_empty() || !self.queues.values().all(QueuePolicy::of_first_version))
    }

    /// What of it programs of a feature level know, for a leader whose voters do not all know the rest yet: agents sign in
    /// and contacts flow by the rules there were before.
    #[must_use]
    pub fn at_level(&self, level: u32) -> Self {
        let mut roster = self.clone();
        if level < FEATURE_LEVEL_CHANNELS {
            roster.channels = BTreeMap::new();
        }
        if level < 1 {
            roster.queues.values_mut().for_each(|policy| *policy = policy.first_version());
            roster.reasons = BTreeMap::new();
        }
        roster
    }

    /// What an agent serves.
    pub(super) fn channels(&self, agent_id: &AgentId) -> Cow<'_, Channels> {
        self.channels.get(agent_id).map_or_else(|| Cow::Owned(Channels::default()), Cow::Borrowed)
    }

    /// Whether an agent may be not ready for this reason.
    pub(super) fn allows(&self, reason: &str) -> bool {
        self.reasons.is_empty() || self.reasons.contains_key(reason)
    }

    /// How long a pause for this reason may last, if that is limited.
    pub(super) fn limit(&self, reason: &str) -> Option<Millis> {
        self.reasons.get(reason).copied().filter(|limit| *limit > Millis::ZERO)
    }
}

impl QueuePolicy {
    fn of_first_version(&self) -> bool {
        *self == self.first_version()
    }

    fn first_version(&self) -> Self {
        let (wrap_up, miss_count_max) = (self.wrap_up, self.miss_count_max);
        Self { wrap_up, miss_count_max, ..Self::default() }
    }

    /// What becomes of an agent that missed too many offers.
    pub(super) fn missed(&self) -> Next {
        let reason = if self.miss_reason.is_empty() { REASON_MISSED } else { &self.miss_reason };
        Next::NotReady { reason: reason.to_owned(), duration: self.miss_return }
    }
}
