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
    /// What this clock said when a round began that it passed, and when that was.
    agreed: Option<(Timestamp, Timestamp)>,
    /// The same of the round under way.
    began: Option<(Timestamp, Timestamp)>,
    offsets: BTreeMap<u32, Millis>,
}

impl Clocks {
    /// Whether the others are to be asked now; if so what they said is judged first.
    ///
    /// A round vouches for what the clock said when it began, as in the real shell: the others were compared with that. A
    /// clock that was set ahead since is caught by [`Clocks::agrees`].
    pub(crate) fn round(&mut self, now: Timestamp, wall: Timestamp, voter_count: usize) -> bool {
        if self.began.is_some_and(|(_, at)| now < at + ROUND) {
            return false;
        }
        let offsets: Vec<Millis> = std::mem::take(&mut self.offsets).into_values().collect();
        match judge(&offsets, voter_count, SKEW_MAX) {
            Some(Verdict::Agrees) => self.agreed = self.began,
            Some(Verdict::Off { .. }) => self.agreed = None,
            None => {}
        }
        self.began = Some((wall, now));
        true
    }

    /// Another voter answered; what it says to an earlier round counts for nothing.
    pub(crate) fn told(&mut self, voter: u32, asked_at: Timestamp, answered_at: Timestamp, wall: Timestamp) {
        if self.began.is_some_and(|(said, _)| said == asked_at) {
            self.offsets.insert(voter, offset(asked_at, answered_at, wall));
        }
    }

    /// Whether what the clock says may be stamped into a command.
    pub(crate) fn agrees(&self, now: Timestamp, wall: Timestamp) -> bool {
        self.agreed.is_some_and(|(said, at)| jumped(said, now.since(at), wall, SKEW_MAX).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_once_the_others_have_answered_is_not_vouched_for() {
        let (began, next) = (Timestamp(0), Timestamp(ROUND.0));
        let hour_ahead = next + Millis(3_600_000);
        let mut clocks = Clocks::default();
        assert!(clocks.round(began, began, 3));
        clocks.told(2, began, began, began);
        clocks.told(3, began, began, began);
        assert!(clocks.round(next, hour_ahead, 3));
        assert!(clocks.agrees(next, next), "as it went on from what was compared");
        assert!(!clocks.agrees(next, hour_ahead));
        // What was said to the round before counts for nothing in this one.
        clocks.told(2, began, next, next);
        clocks.told(3, began, next, next);
        let later = next + ROUND;
        assert!(clocks.round(later, hour_ahead + ROUND, 3));
        assert!(!clocks.agrees(later, hour_ahead + ROUND));
    }
}
