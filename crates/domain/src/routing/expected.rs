//! How long a contact will still wait: a distribution, from how fast its queue has moved lately.
//!
//! While a queue is never empty, contacts leave it, to an agent or of themselves, some time after one another: the gaps. Who is
//! at place k waits for k of them. Their sum has mean `k·m` and variance `k·v·(1 + k/n)`, where `m` and `v` are mean and variance
//! of the last n gaps; the last factor is that m itself is only known from n of them. A gamma distribution of that mean and
//! variance gives the quantiles (Wilson and Hilferty 1931). What was seen while the queue was empty says nothing: there, agents
//! waited for contacts. Compare Ibrahim and Whitt, Real-Time Delay Estimation Based on Delay History (2009).
//!
//! These are estimates, for people and for choices a plan offers; no money and no duration that is reported comes from them.

use std::collections::VecDeque;

use crate::vocabulary::{Millis, Timestamp};

/// Gaps that are looked at: enough for a mean, few enough to follow the hour.
const GAPS_MAX: usize = 32;
/// With fewer nothing is said.
const GAPS_MIN: usize = 4;

/// How fast a queue moves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pace {
    /// Times between departures of contacts while others waited, the latest last.
    gaps_ms: VecDeque<i64>,
    /// The last departure that left somebody behind.
    left_others_at: Option<Timestamp>,
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
    /// A contact left, and so many others of its queue still wait.
    pub(super) fn departed(&mut self, at: Timestamp, others: usize) {
        if let Some(before) = self.left_others_at {
            self.gaps_ms.push_back(at.since(before).0.max(0));
            if self.gaps_ms.len() > GAPS_MAX {
                self.gaps_ms.pop_front();
            }
        }
        self.left_others_at = (others > 0).then_some(at);
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
        let (count, place) = (n as f64, f64::from(place.max(1)));
        let mean = self.gaps_ms.iter().map(|gap| *gap as f64).sum::<f64>() / count;
        let variance =
            self.gaps_ms.iter().map(|gap| (*gap as f64 - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let (mean, variance) = (place * mean, place * variance * (1.0 + place / count));
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
            (1.0, 0.0, 0.693_147),
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
        for (gap_s, others) in [(1, 2), (10, 1), (10, 0), (1_000, 1), (10, 2), (10, 3), (10, 0)] {
            at = at + Millis::from_secs(gap_s);
            assert_eq!(pace.expected(1).is_some(), pace.gaps_ms.len() >= GAPS_MIN);
            pace.departed(at, others);
        }
        assert_eq!(pace.gaps_ms, [10_000; 5]);
        let steady = pace.expected(3).unwrap();
        assert_eq!((steady.p50_ms, steady.p95_ms), (Millis(30_000), Millis(30_000)));
    }

    #[test]
    fn who_is_further_behind_waits_longer_and_is_told_less_exactly() {
        let mut pace = Pace::default();
        let mut at = Timestamp(0);
        for nth in 0..100 {
            at = at + Millis::from_secs(5 + 7 * (nth % 4));
            pace.departed(at, 9);
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
