//! How long a contact will still wait: a distribution, from how fast its queue has moved lately.
//!
//! While a queue is never empty, agents take contacts out of it some time after one another: the gaps, of mean `m` and squared
//! coefficient of variation `c²`. Who waits gives up at a rate θ: those who gave up for the time everybody waited. With j others
//! ahead, a place is gained at the rate `f = 1/m + jθ` (Whitt, Predicting Queueing Delays, 1999: the birth-and-death process of
//! Erlang A), and one is lost at the rate ω at which who waits is overtaken, by priority or head start; at most three quarters of
//! f are taken for that. So who is at place k waits for the sum over j from 0 to k-1 of `1 / (f - ω)`, with the variance of first
//! passages `(f + ω) / (f - ω)³`, times c², times `1 + k/n` because m itself is only known from n gaps. A gamma distribution of that
//! mean and variance gives the quantiles (Wilson and Hilferty 1931). Gaps while the queue was empty say nothing: there, agents
//! waited for contacts.
//!
//! These are estimates, for people and for choices a plan offers; no money and no duration that is reported comes from them.

use std::collections::VecDeque;

use crate::vocabulary::{Millis, Timestamp};

/// Gaps that are looked at: enough for a mean, few enough to follow the hour.
const GAPS_MAX: usize = 32;
/// With fewer nothing is said.
const GAPS_MIN: usize = 4;
/// Waits that are looked at for who gives up.
const WAITS_MAX: usize = 128;
/// Places that are counted one by one; who is further behind is told what that one is.
const PLACE_MAX: u32 = 10_000;

/// How fast a queue moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pace {
    /// Times between contacts that agents took while others waited, the latest last.
    gaps_ms: VecDeque<i64>,
    /// How long who left had waited, whether it gave up, and how many had been overtaken since the one before, the latest last.
    waits_ms: VecDeque<(i64, bool, u32)>,
    /// How many of those who wait were overtaken since somebody left.
    overtaken_count: u32,
    /// When an agent last took one and left somebody behind, unless the queue has been empty since.
    taken_at: Option<Timestamp>,
}

/// How long somebody will wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedWait {
    /// As likely longer as shorter.
    pub p50_ms: Millis,
    /// Shorter with 80 %.
    pub p80_ms: Millis,
    /// Shorter with 95 %.
    pub p95_ms: Millis,
}

impl Pace {
    /// A contact came and was put before so many who wait.
    pub(super) fn came_before(&mut self, count: u32) {
        self.overtaken_count = self.overtaken_count.saturating_add(count);
    }

    /// A contact left, to an agent or of itself, and so many others of its queue still wait.
    pub(super) fn departed(&mut self, at: Timestamp, waited: Millis, answered: bool, others: usize) {
        let overtaken = std::mem::take(&mut self.overtaken_count);
        self.waits_ms.push_back((waited.0.max(0), !answered, overtaken));
        if self.waits_ms.len() > WAITS_MAX {
            self.waits_ms.pop_front();
        }
        if answered && let Some(before) = self.taken_at {
            self.gaps_ms.push_back(at.since(before).0.max(0));
            if self.gaps_ms.len() > GAPS_MAX {
                self.gaps_ms.pop_front();
            }
        }
        if answered || others == 0 {
            self.taken_at = (others > 0).then_some(at);
        }
    }

    /// How long somebody at a place of the queue, from 1, will wait; `None` while too little was seen.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "an estimate: what is lost is far below what is not known"
    )]
    pub fn expected(&self, place: u32) -> Option<ExpectedWait> {
        let n = self.gaps_ms.len();
        if n < GAPS_MIN {
            return None;
        }
        let count = n as f64;
        let gap = self.gaps_ms.iter().map(|gap| *gap as f64).sum::<f64>() / count;
        let spread = self.gaps_ms.iter().map(|it| (*it as f64 - gap).powi(2)).sum::<f64>() / (count - 1.0);
        // Several may be taken at one instant: then it goes as fast as can be told.
        let gap = gap.max(1.0);
        let waited = self.waits_ms.iter().map(|(waited, ..)| *waited as f64).sum::<f64>().max(1.0);
        let gone = self.waits_ms.iter().filter(|(_, gave_up, _)| *gave_up).count() as f64 / waited;
        let overtaken = self.waits_ms.iter().map(|(.., count)| f64::from(*count)).sum::<f64>() / waited;
        // Per place: 1 / drift on average, with the variance of a first passage, (forward + back) / drift³.
        let (mut mean, mut squares) = (0.0, 0.0);
        for ahead in 0..place.clamp(1, PLACE_MAX) {
            let forward = 1.0 / gap + f64::from(ahead) * gone;
            let drift = (forward - overtaken).max(forward / 4.0);
            mean += 1.0 / drift;
            squares += (forward + overtaken.min(forward * 0.75)) / drift.powi(3);
        }
        let variance = spread / (gap * gap) * squares * (1.0 + f64::from(place.max(1)) / count);
        let quantile = |z: f64| Millis(gamma_quantile(mean, variance, z).round() as i64);
        // The standard normal's quantiles of 50 %, 80 % and 95 %.
        Some(ExpectedWait { p50_ms: quantile(0.0), p80_ms: quantile(0.841_621), p95_ms: quantile(1.644_854) })
    }
}

/// The quantile of a gamma distribution at which a standard normal one is z.
fn gamma_quantile(mean: f64, variance: f64, z: f64) -> f64 {
    if mean <= 0.0 || variance <= 0.0 {
        return mean.max(0.0);
    }
    let shape = mean * mean / variance;
    let cube_root = 1.0 - 1.0 / (9.0 * shape) + z / (3.0 * shape.sqrt());
    mean * cube_root.max(0.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exact quantiles of the gamma distribution: shape 1 is the exponential, -ln(1 - p); shape 5 by its series.
    #[test]
    fn quantiles_are_those_of_the_gamma_distribution() {
        for (shape, z, exact) in [
            (1.0, 0.0, std::f64::consts::LN_2),
            (1.0, 0.841_621, 1.609_438),
            (1.0, 1.644_854, 2.995_732),
            (5.0, 0.0, 4.670_909),
            (5.0, 0.841_621, 6.720_979),
            (5.0, 1.644_854, 9.153_519),
        ] {
            let got = gamma_quantile(shape, shape, z);
            assert!((got - exact).abs() / exact < 0.025, "{shape} {z}: {got}, not {exact}");
        }
        assert_eq!(gamma_quantile(0.0, 1.0, 1.0), 0.0);
        assert_eq!(gamma_quantile(5.0, 0.0, 1.0), 5.0);
    }

    #[test]
    fn only_gaps_while_others_wait_count() {
        let mut pace = Pace::default();
        let mut at = Timestamp(0);
        for (gap_s, answered, others) in [
            (1, true, 2),
            (10, true, 1),
            (10, true, 0),
            (1_000, true, 1),
            (10, true, 2),
            (10, true, 1),
            (10, true, 1),
            // The last gives up: nobody waits until the next, whose agent waited for it.
            (5, false, 0),
            (5, true, 1),
        ] {
            at = at + Millis::from_secs(gap_s);
            assert_eq!(pace.expected(1).is_some(), pace.gaps_ms.len() >= GAPS_MIN);
            pace.departed(at, Millis::ZERO, answered, others);
        }
        assert_eq!(pace.gaps_ms, [10_000; 5]);
        pace.waits_ms.clear();
        let steady = pace.expected(3).unwrap();
        assert_eq!((steady.p50_ms, steady.p95_ms), (Millis(30_000), Millis(30_000)));
    }

    /// With one who gives up for every 200 s that somebody waits, and a contact taken every 10 s, the second place is 10 s and
    /// 1 / (1/10 + 1/200) s behind.
    #[test]
    fn who_gives_up_ahead_shortens_the_wait() {
        let mut pace = Pace::default();
        for nth in 1..=64 {
            pace.departed(Timestamp(nth * 10_000), Millis::from_secs(100), true, 9);
            pace.departed(Timestamp(nth * 10_000), Millis::from_secs(100), false, 9);
        }
        // Half of 64 + 64 gave up, after 100 s each: one for 200 s.
        let second = pace.expected(2).unwrap().p50_ms;
        assert_eq!(second, Millis((10_000.0 + 1.0 / (1.0 / 10_000.0 + 1.0 / 200_000.0_f64)).round() as i64));
    }

    #[test]
    fn who_is_further_behind_waits_longer_and_is_told_less_exactly() {
        let mut pace = Pace::default();
        let mut at = Timestamp(0);
        for nth in 0..100 {
            at = at + Millis::from_secs(5 + 7 * (nth % 4));
            pace.departed(at, Millis::from_secs(100), true, 9);
        }
        assert_eq!(pace.gaps_ms.len(), GAPS_MAX);
        let waits: Vec<ExpectedWait> = (1..20).map(|place| pace.expected(place).unwrap()).collect();
        for pair in waits.windows(2) {
            let spread = |it: &ExpectedWait| it.p95_ms.0 - it.p50_ms.0;
            assert!(pair[0].p50_ms < pair[1].p50_ms && spread(&pair[0]) < spread(&pair[1]), "{pair:?}");
        }
        let first = waits[0];
        assert!(first.p50_ms < first.p80_ms && first.p80_ms < first.p95_ms, "{first:?}");
    }
}
