//! An order-stable digest of a state, to compare live with replayed and replica with replica.

use std::fmt;

use sha2::{Digest, Sha256};

/// SHA-256 over a canonical sequence of labelled values. Prints as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateHash(pub [u8; 32]);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateHash({self})")
    }
}

/// Builds a [`StateHash`]. Every value is preceded by its length, so that `("ab", "c")` and `("a", "bc")` differ.
#[derive(Default)]
pub struct StateHasher(Sha256);

impl StateHasher {
    /// An empty digest.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds raw bytes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    pub fn number(&mut self, number: i128) -> &mut Self {
        self.bytes(&number.to_le_bytes())
    }

    /// Adds a value by its `Debug` text. For states made of ordered maps and plain data, whose `Debug` is derived.
    pub fn debug(&mut self, value: &dyn fmt::Debug) -> &mut Self {
        self.text(&format!("{value:?}"))
    }

    /// The digest.
    pub fn finish(self) -> StateHash {
        StateHash(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_value_ends_and_the_next_begins_is_part_of_the_hash() {
        let mut left = StateHasher::new();
        left.text("ab").text("c");
        let mut right = StateHasher::new();
        right.text("a").text("bc");
        assert_ne!(left.finish(), right.finish());
    }
}
