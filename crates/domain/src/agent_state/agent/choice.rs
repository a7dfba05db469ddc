//! What a client chose, as a number: enough to tell a command that comes again from another one under its number.
//!
//! FNV-1a of 64 bits (Fowler, Noll, Vo). Stored with the session: never changed. It guards against mistakes, not malice:
//! the client alone is misled by a collision it makes.

use crate::vocabulary::Millis;

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Ready.
pub(super) fn ready() -> u64 {
    digest(&[1])
}

/// Not ready, for this reason and so long.
pub(super) fn not_ready(reason: &str, duration: Millis) -> u64 {
    digest(&[&[2][..], &duration.0.to_le_bytes()[..], reason.as_bytes()].concat())
}

/// The end of the session.
pub(super) fn signed_out(reason: &str) -> u64 {
    digest(&[&[3][..], reason.as_bytes()].concat())
}

fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_choice_counts_and_the_numbers_are_for_ever() {
        assert_eq!(digest(b"foobar"), 0x8594_4171_f739_67e8, "a test vector of its authors");
        let choices = [
            ready(),
            not_ready("lunch", Millis(0)),
            not_ready("lunch", Millis(1)),
            not_ready("lunch!", Millis(0)),
            signed_out("lunch"),
        ];
        let distinct: std::collections::BTreeSet<_> = choices.into_iter().collect();
        assert_eq!(distinct.len(), choices.len());
    }
}
