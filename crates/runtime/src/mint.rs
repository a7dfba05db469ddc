//! The only source of chance and of new ids.

use std::sync::{Arc, Mutex, PoisonError};

use trunkline_domain::vocabulary::{
    CommandId, ContactId, EventId, IdError, LegId, NodeId, OfferId, SessionId, Timestamp,
};

use crate::clock::Clock;

/// Crockford's base 32 in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Bits of chance behind the 48 bits of milliseconds.
const RANDOM_MASK: u128 = (1 << 80) - 1;

/// Makes names that are unique without asking anybody, and that sort by the time they were made.
///
/// A name is a ULID in lower case: 26 characters, 48 bits of Unix milliseconds and 80 random bits. Within one mint they
/// strictly increase, even when the clock stands or is set back: then the last name is counted up by one.
#[derive(Clone)]
pub struct Mint(Arc<Mutex<State>>);

struct State {
    clock: Clock,
    chance: Chance,
    last: u128,
}

enum Chance {
    System,
    /// SplitMix64, for tests.
    Seeded(u64),
}

impl Mint {
    /// A mint that draws from the operating system.
    pub fn system(clock: Clock) -> Self {
        Self::new(clock, Chance::System)
    }

    /// A mint whose names are a function of the seed alone: its clock stands at the epoch. For tests.
    pub fn seeded(seed: u64) -> Self {
        Self::new(Clock::manual(Timestamp(0)).0, Chance::Seeded(seed))
    }

    fn new(clock: Clock, chance: Chance) -> Self {
        Self(Arc::new(Mutex::new(State { clock, chance, last: 0 })))
    }

    /// The next name: 26 characters of `0-9a-z`, larger than every one before from this mint.
    pub fn name(&self) -> String {
        // A panic while the lock is held cannot leave a half-made state: it is one assignment.
        encode(self.0.lock().unwrap_or_else(PoisonError::into_inner).next())
    }

    /// A number drawn evenly from all 64-bit numbers, as for RTP's SSRC or a SIP tag.
    pub fn random(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).chance.draw()
    }

    /// A new contact.
    pub fn contact(&self) -> ContactId {
        named(ContactId::from_name(&self.name()))
    }

    /// A new offer.
    pub fn offer(&self) -> OfferId {
        named(OfferId::from_name(&self.name()))
    }

    /// A new session.
    pub fn session(&self) -> SessionId {
        named(SessionId::from_name(&self.name()))
    }

    /// A new leg.
    pub fn leg(&self) -> LegId {
        named(LegId::from_name(&self.name()))
    }

    /// A new node.
    pub fn node(&self) -> NodeId {
        named(NodeId::from_name(&self.name()))
    }

    /// A new command. A retry carries the one it had, never a new one.
    pub fn command(&self) -> CommandId {
        named(CommandId::from_name(&self.name()))
    }

    /// A new event, where no function of its stream names it.
    pub fn event(&self) -> EventId {
        named(EventId::from_name(&self.name()))
    }
}

fn named<T>(id: Result<T, IdError>) -> T {
    id.expect("a minted name is 26 characters of 0-9 and a-z, which every id accepts")
}

impl State {
    fn next(&mut self) -> u128 {
        let millis = u128::try_from(self.clock.now().0.max(0)).unwrap_or(0) & ((1 << 48) - 1);
        let random = (u128::from(self.chance.draw()) << 64) | u128::from(self.chance.draw());
        let fresh = (millis << 80) | (random & RANDOM_MASK);
        self.last = if fresh > self.last { fresh } else { self.last + 1 };
        self.last
    }
}

impl Chance {
    fn draw(&mut self) -> u64 {
        match self {
            Chance::System => {
                let mut bytes = [0; 8];
                getrandom::fill(&mut bytes)
                    .expect("getrandom(2) with a small buffer cannot fail once the kernel has booted");
                u64::from_le_bytes(bytes)
            }
            Chance::Seeded(state) => {
                // SplitMix64: Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators".
                *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let mut z = *state;
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                z ^ (z >> 31)
            }
        }
    }
}

fn encode(value: u128) -> String {
    (0..26).rev().map(|place| char::from(ALPHABET[(value >> (place * 5)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use trunkline_domain::vocabulary::Millis;

    use super::*;

    #[test]
    fn names_strictly_increase_whatever_the_clock_does() {
        let (clock, hand) = Clock::manual(Timestamp(1_790_000_000_000));
        let mint = Mint::system(clock);
        let mut last = mint.name();
        for step in 0..2_000 {
            match step % 3 {
                0 => hand.advance(Millis(1)),
                1 => hand.advance(Millis(-5)),
                _ => {}
            }
            let next = mint.name();
            assert!(next > last, "{next} after {last}");
            assert_eq!(next.len(), 26);
            last = next;
        }
    }

    #[test]
    fn a_name_begins_with_its_time_as_a_ulid_does() {
        // The example of the ULID specification: 1469918176385 is 01ARYZ6S41.
        let (clock, _hand) = Clock::manual(Timestamp(1_469_918_176_385));
        assert!(Mint::system(clock).name().starts_with("01aryz6s41"));
    }

    #[test]
    fn the_same_seed_gives_the_same_names_and_another_seed_others() {
        let names = |seed| {
            let mint = Mint::seeded(seed);
            [mint.contact().to_string(), mint.offer().to_string(), mint.name()]
        };
        assert_eq!(names(7), names(7));
        assert_ne!(names(7), names(8));
    }
}
