//! Chance that is a function of its seed.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Chance from a seed and whose it is: two that differ in either have nothing to do with each other.
    pub fn new(seed: u64, whose: u64) -> Self {
        let mut chance = Self(seed);
        chance.0 = chance.draw() ^ whose;
        chance.draw();
        chance
    }

    /// The next number of 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `bound - 1`, and 0 when there is none; the tiny bias of a remainder is no matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound.max(1)
    }

    /// Whether one of `outof` chances came true.
    pub fn one_in(&mut self, outof: u64) -> bool {
        self.below(outof) == 0
    }

    /// One of them; `None` when there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }
}
