//! Numbers that are a function of a seed.

/// A stream of numbers (SplitMix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, without 1.
    pub fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// One of so many places.
    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    /// Exponentially distributed with this mean, in the unit of the mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.part()).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_spread_evenly_and_exponential_times_have_their_mean() {
        let mut chance = Chance::new(7);
        let count = 100_000;
        let sum: f64 = (0..count).map(|_| chance.part()).sum();
        assert!((sum / f64::from(count) - 0.5).abs() < 0.005);
        let sum: f64 = (0..count).map(|_| chance.exponential(60.0)).sum();
        assert!((sum / f64::from(count) - 60.0).abs() < 0.6);
        let mut counts = [0; 5];
        (0..count).for_each(|_| counts[chance.below(5)] += 1);
        assert!(counts.iter().all(|count| (19_000..21_000).contains(count)), "{counts:?}");
    }
}
