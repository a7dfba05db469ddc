//! The voters' clocks, compared: who is ahead must not lead.
//!
//! The leader stamps the time into each command, and machine time never falls. A leader whose clock is an hour ahead would
//! end every lease, reservation, registration and wrap-up at once, for good. A clock that is behind does no such
//! harm, because a leader is never behind the machine it runs.

use crate::vocabulary::{Millis, Timestamp};

/// What the other voters' clocks say of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is not too far ahead.
    Agrees,
    /// It is too far ahead of the others.
    Off {
        /// By how much it is ahead.
        by: Millis,
    },
}

/// How far another voter's clock is ahead of this one; negative when it is behind.
///
/// `asked_at` and `heard_at` are what this clock said, `answered_at` is what the other said, taken to be the middle of the
/// round trip. Wrong by half of the round trip at most.
///
/// Source: Cristian, "Probabilistic clock synchronization" (1989).
pub fn offset(asked_at: Timestamp, answered_at: Timestamp, heard_at: Timestamp) -> Millis {
    let middle = asked_at + Millis(heard_at.since(asked_at).0 / 2);
    answered_at.since(middle)
}

/// How far this clock is ahead of the median of all that were heard, itself included; negative when it is behind.
///
/// `offsets` are those of the other voters heard, in any order. `voter_count` is the size of the group, this voter
/// included. `None` when fewer than a majority of it was heard, which proves nothing. Of an even number the earlier of
/// the two in the middle counts: of two clocks that differ the one ahead does harm, whichever is right.
pub fn ahead(offsets: &[Millis], voter_count: usize) -> Option<Millis> {
    let mut heard = offsets.to_vec();
    heard.push(Millis::ZERO);
    if heard.len() * 2 <= voter_count {
        return None;
    }
    heard.sort_unstable();
    Some(Millis::ZERO - heard[(heard.len() - 1) / 2])
}

/// Whether this clock may lead: it may while it is at most `skew_max` [`ahead`].
pub fn judge(offsets: &[Millis], voter_count: usize, skew_max: Millis) -> Option<Verdict> {
    let by = ahead(offsets, voter_count)?;
    Some(if by > skew_max { Verdict::Off { by } } else { Verdict::Agrees })
}

/// How far a time that is about to be stamped is ahead of what a comparison covers; `None` when it is covered.
///
/// The clock agreed when it said `agreed_at`, which was `elapsed` ago by a clock that nobody can set. What it says now must
/// not be more than `skew_max` beyond that: else it was set ahead since, and must be compared again before it counts.
pub fn jumped(agreed_at: Timestamp, elapsed: Millis, now: Timestamp, skew_max: Millis) -> Option<Millis> {
    let by = now.since(agreed_at + elapsed);
    (by > skew_max).then_some(by)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn an_offset_is_measured_against_the_middle_of_the_round_trip() {
        for (asked_at, answered_at, heard_at, expected) in [
            (1_000, 1_000, 1_000, 0),
            (1_000, 1_200, 1_400, 0),
            (1_000, 1_000 + HOUR, 1_000, HOUR),
            (1_000, 1_200 - HOUR, 1_400, -HOUR),
            (1_000, 1_002, 1_003, 1),
            // Set back while the question was under way: half of it is seen now, the rest the next time.
            (1_000 + HOUR, 1_000, 1_000, -HOUR / 2),
        ] {
            let found = offset(Timestamp(asked_at), Timestamp(answered_at), Timestamp(heard_at));
            assert_eq!(found, Millis(expected), "{asked_at} {answered_at} {heard_at}");
        }
    }

    #[test]
    fn a_clock_is_off_when_it_is_too_far_ahead_of_the_median_of_a_majority() {
        const AGREES: Option<Verdict> = Some(Verdict::Agrees);
        let off = |by| Some(Verdict::Off { by: Millis(by) });
        for (why, offsets, voter_count, expected) in [
            ("nobody else votes", vec![], 1, AGREES),
            ("nobody was heard", vec![], 3, None),
            ("half is no majority", vec![-HOUR], 4, None),
            ("all agree", vec![10, -10], 3, AGREES),
            ("both others are an hour behind: this one is ahead", vec![-HOUR, 1 - HOUR], 3, off(HOUR - 1)),
            ("one other is an hour behind", vec![-HOUR, 0], 3, AGREES),
            ("one other is an hour ahead", vec![HOUR, 0], 3, AGREES),
            ("both others are an hour ahead: this one is behind", vec![HOUR, HOUR], 3, AGREES),
            ("one ahead, one behind", vec![HOUR, -HOUR], 3, AGREES),
            ("the one heard is an hour behind", vec![-HOUR], 3, off(HOUR)),
            ("the one heard is an hour ahead", vec![HOUR], 3, AGREES),
            ("just within", vec![-5_000, -5_000], 3, AGREES),
            ("just beyond", vec![-5_001, -9_000], 3, off(5_001)),
            ("two of five are right", vec![-HOUR, -HOUR, 0, 0], 5, AGREES),
            ("three of five are earlier", vec![-HOUR, -HOUR, -HOUR, 0], 5, off(HOUR)),
            ("four heard of five: the earlier middle", vec![-HOUR, -HOUR, 0], 5, off(HOUR)),
            ("three heard of five", vec![0, -HOUR], 5, AGREES),
            ("two heard of five", vec![-HOUR], 5, None),
        ] {
            let offsets: Vec<Millis> = offsets.into_iter().map(Millis).collect();
            assert_eq!(judge(&offsets, voter_count, Millis(5_000)), expected, "{why}");
        }
    }

    #[test]
    fn how_far_a_clock_is_behind_is_told_too() {
        assert_eq!(ahead(&[Millis(HOUR), Millis(HOUR - 1)], 3), Some(Millis(1 - HOUR)));
        assert_eq!(ahead(&[], 1), Some(Millis::ZERO));
    }

    #[test]
    fn a_time_is_covered_as_long_as_the_clock_only_went_on() {
        for (elapsed, now, expected) in [
            (0, 1_000, None),
            (60_000, 61_000, None),
            (60_000, 66_000, None),
            (60_000, 66_001, Some(5_001)),
            (0, 1_000 + HOUR, Some(HOUR)),
            // A clock that stands still or was set back stamps nothing that is ahead.
            (60_000, 1_000, None),
            (0, 1_000 - HOUR, None),
        ] {
            let found = jumped(Timestamp(1_000), Millis(elapsed), Timestamp(now), Millis(5_000));
            assert_eq!(found, expected.map(Millis), "{elapsed} {now}");
        }
    }
}
