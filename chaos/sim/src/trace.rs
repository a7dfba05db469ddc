//! What happened, as lines for a reader and as a hash for a comparison.

use std::fmt;

use trunkline_domain::vocabulary::Timestamp;

use crate::agenda::BEGINNING;

/// Everything that is told goes into the hash, whether it is printed or not: the same seed gives the same hash.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    printed: bool,
}

impl Trace {
    pub(crate) fn new(printed: bool) -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, printed }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes a number into account.
    pub(crate) fn number(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }

    /// Takes a line into account.
    pub(crate) fn say(&mut self, now: Timestamp, line: fmt::Arguments<'_>) {
        let text = line.to_string();
        self.number(now.0 as u64);
        for chunk in text.as_bytes().chunks(8) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(bytes));
        }
        if self.printed {
            println!("{:>9.3} {text}", now.since(BEGINNING).0 as f64 / 1_000.0);
        }
    }
}
