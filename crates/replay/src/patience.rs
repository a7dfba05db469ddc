//! How long callers would have waited who were answered before: a log tells it of nobody but those who gave up.
//!
//! The Kaplan–Meier estimate (Kaplan and Meier 1958): of those who waited for at least so long, the part that gave up just
//! then. Whoever was answered counts among those who waited, and then no more. A mean of the times of those who gave up would
//! be too short by far: the patient are answered.

use trunkline_domain::vocabulary::Millis;

use crate::chance::Chance;

/// For how many callers of a hundred patience outlasts a time: a curve that falls in steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patience {
    /// Times at which somebody gave up, in order, each with the part that is still there after it.
    steps: Vec<(Millis, f64)>,
}

impl Patience {
    /// From how long each waited, and whether it gave up then.
    pub fn of(waits: impl IntoIterator<Item = (Millis, bool)>) -> Self {
        let mut waits: Vec<_> = waits.into_iter().collect();
        // Of an equal time, those who gave up come before those who were answered, who were still there.
        waits.sort_unstable_by_key(|(waited, gave_up)| (*waited, !gave_up));
        let (mut there, mut part) = (waits.len(), 1.0);
        let mut steps: Vec<(Millis, f64)> = Vec::new();
        let mut at = 0;
        while let Some((waited, _)) = waits.get(at).copied() {
            let same = waits[at..].iter().take_while(|(other, _)| *other == waited);
            let (count, gave_up) =
                same.fold((0, 0), |(count, gone), (_, gave_up)| (count + 1, gone + usize::from(*gave_up)));
            if gave_up > 0 {
                part *= 1.0 - gave_up as f64 / there as f64;
                steps.push((waited, part));
            }
            there -= count;
            at += count;
        }
        Self { steps }
    }

    /// The part of callers whose patience outlasts a time.
    pub fn outlasts(&self, waited: Millis) -> f64 {
        let passed = self.steps.partition_point(|(at, _)| *at <= waited);
        passed.checked_sub(1).map_or(1.0, |last| self.steps[last].1)
    }

    /// A patience that is longer than a time somebody was seen to wait; `None` when it is longer than anything seen.
    pub fn draw(&self, longer_than: Millis, chance: &mut Chance) -> Option<Millis> {
        let wanted = self.outlasts(longer_than) * (1.0 - chance.part());
        // The first step at which fewer than so many are left.
        let at = self.steps.partition_point(|(_, part)| *part >= wanted);
        self.steps.get(at).map(|(patience, _)| *patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: i64) -> Millis {
        Millis::from_secs(seconds)
    }

    /// The worked example of the method with remission times in weeks, Freireich et al. 1963 (6-MP): the published estimates.
    #[test]
    fn the_estimate_is_the_published_one_of_the_leukaemia_trial() {
        let gave_up = [6, 6, 6, 7, 10, 13, 16, 22, 23];
        let still_there = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35];
        let waits = gave_up.map(|it| (s(it), true)).into_iter().chain(still_there.map(|it| (s(it), false)));
        let patience = Patience::of(waits);
        for (at, part) in [
            (5, 1.0),
            (6, 0.857),
            (7, 0.807),
            (10, 0.753),
            (13, 0.690),
            (16, 0.627),
            (22, 0.538),
            (23, 0.448),
            (40, 0.448),
        ] {
            assert!((patience.outlasts(s(at)) - part).abs() < 0.0006, "{at}: {}", patience.outlasts(s(at)));
        }
    }

    #[test]
    fn what_is_drawn_is_longer_than_what_was_seen_and_spread_as_estimated() {
        let patience = Patience::of((1..=100).map(|it| (s(it), true)));
        let mut chance = Chance::new(3);
        let drawn: Vec<_> = (0..20_000).map(|_| patience.draw(s(50), &mut chance)).collect();
        assert!(drawn.iter().all(|it| it.is_some_and(|it| it > s(50))), "somebody always gave up by 100 s");
        let mean = drawn.iter().flatten().map(|it| it.0 as f64 / 1_000.0).sum::<f64>() / drawn.len() as f64;
        assert!((mean - 75.5).abs() < 0.5, "{mean}");
        // Nobody gave up but one of two: the other outlasts all that was seen.
        let half = Patience::of([(s(5), true), (s(9), false)]);
        let outlasting = (0..10_000).filter(|_| half.draw(Millis::ZERO, &mut chance).is_none()).count();
        assert!((4_800..5_200).contains(&outlasting), "{outlasting}");
    }
}
