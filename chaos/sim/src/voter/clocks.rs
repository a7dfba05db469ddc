//! A voter's clock beside the others': the real rule (`domain::agent_state::clocks`), asked every second.

use std::collections::BTreeMap;

use trunkline_domain::agent_state::clocks::{Verdict, judge, jumped, offset};
use trunkline_domain::vocabulary::{Millis, Timestamp};

/// How far a clock may be ahead of the others' and lead.
const SKEW_MAX: Millis = Millis(5_000);
/// Between two comparisons.
const ROUND: Millis = Millis(1_000);

/// What is known of this voter's clock. True time serves as the monotonic clock, which nobody can set.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// What this clock said at the last comparison it passed, and when that was.
    agreed: Option<(Timestamp, Timestamp)>,
    asked_at: Option<Timestamp>,
    offsets: BTreeMap<u32, Millis>,
}

impl Clocks {
    /// Whether the others are to be asked now; if so what they said is judged first.
    pub(crate) fn round(&mut self, now: Timestamp, wall: Timestamp, voter_count: usize) -> bool {
        if self.asked_at.is_some_and(|asked_at| now < asked_at + ROUND) {
            return false;
        }
        let offsets: Vec<Millis> = std::mem::take(&mut self.offsets).into_values().collect();
        match judge(&offsets, voter_count, SKEW_MAX) {
            Some(Verdict::Agrees) => self.agreed = Some((wall, now)),
            Some(Verdict::Off { .. }) => self.agreed = None,
            None => {}
        }
        self.asked_at = Some(now);
        true
    }

    pub(crate) fn told(&mut self, voter: u32, asked_at: Timestamp, answered_at: Timestamp, wall: Timestamp) {
        self.offsets.insert(voter, offset(asked_at, answered_at, wall));
    }

    /// Whether what the clock says may be stamped into a command.
    pub(crate) fn agrees(&self, now: Timestamp, wall: Timestamp) -> bool {
        self.agreed.is_some_and(|(said, at)| jumped(said, now.since(at), wall, SKEW_MAX).is_none())
    }
}
