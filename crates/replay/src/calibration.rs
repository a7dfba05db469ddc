//! How good what callers were told of their wait was: a p80 is good when 80 % wait no longer.
//!
//! Who gave up would have waited longer than it did, nobody knows how much: it counts as long as it waited (Kaplan and Meier
//! 1958, over the wait as a part of what was told).

use trunkline_domain::routing::ExpectedWait;
use trunkline_domain::vocabulary::Millis;

use crate::day::End;
use crate::patience::Patience;

/// A wait that is as long as was told.
const WHOLE: i64 = 1_000_000;

/// What came of what was told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Calibration {
    /// Calls that had to wait and were told how long.
    pub told: usize,
    /// The part of them that waited no longer than p50, p80 and p95.
    pub within: [f64; 3],
}

impl Calibration {
    /// Of what each call was told and what became of it.
    pub fn of<'a>(calls: impl IntoIterator<Item = (&'a Option<ExpectedWait>, &'a End)>) -> Self {
        let calls: Vec<(ExpectedWait, Millis, bool)> = calls
            .into_iter()
            .filter_map(|(told, end)| {
                let (waited, answered) = match end {
                    End::Answered { waited, .. } => (*waited, true),
                    End::Abandoned { waited } => (*waited, false),
                    End::Left => return None,
                };
                Some(((*told)?, waited, answered))
            })
            .collect();
        let within = [
            |told: &ExpectedWait| told.p50_ms,
            |told: &ExpectedWait| told.p80_ms,
            |told: &ExpectedWait| told.p95_ms,
        ];
        let within = within.map(|quantile| {
            let parts = calls.iter().map(|(told, waited, answered)| {
                (Millis(waited.0.saturating_mul(WHOLE) / quantile(told).0.max(1)), *answered)
            });
            1.0 - Patience::of(parts).outlasts(Millis(WHOLE))
        });
        Self { told: calls.len(), within }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gave_up_counts_as_long_as_it_waited() {
        let told = Some(ExpectedWait { p50_ms: Millis(10), p80_ms: Millis(20), p95_ms: Millis(40) });
        let answered = |waited| (told, End::Answered { agent: 0, waited: Millis(waited) });
        let gave_up = |waited| (told, End::Abandoned { waited: Millis(waited) });
        let of = |calls: &[(Option<ExpectedWait>, End)]| Calibration::of(calls.iter().map(|(a, b)| (a, b)));
        let all = of(&[answered(5), answered(15), answered(30), answered(50), (None, End::Left)]);
        assert_eq!((all.told, all.within.map(|part| (part * 100.0).round())), (4, [25.0, 50.0, 75.0]));
        // Of four one was answered at 5; of the three others one gave up at 8, so that two were left at 15.
        let some = of(&[answered(5), gave_up(8), answered(15), answered(50)]);
        assert_eq!(some.within.map(|part| (part * 1_000.0).round()), [250.0, 625.0, 625.0]);
    }
}
