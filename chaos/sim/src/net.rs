//! The network: late, lossy, doubled, out of order, and cut in one direction or both.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::vocabulary::{Millis, Timestamp};

use crate::chance::Chance;
use crate::message::Address;

/// How the network is now.
#[derive(Debug, Default)]
pub(crate) struct Net {
    /// In a thousand.
    pub(crate) loss: u32,
    /// In a thousand.
    pub(crate) doubled: u32,
    /// On top of what every message takes.
    pub(crate) delay_max: i64,
    /// Nothing they send arrives.
    pub(crate) mute: BTreeSet<Address>,
    /// Nothing arrives at them.
    pub(crate) deaf: BTreeSet<Address>,
    /// Nothing goes from the first to the second.
    pub(crate) cut: BTreeSet<(Address, Address)>,
    /// Connections to the event log: when the last message of each arrives, `None` once one was lost.
    conns: BTreeMap<u64, Option<Timestamp>>,
}

/// What becomes of a message.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// When it arrives, if it does.
    pub(crate) at: Option<Timestamp>,
    /// When it arrives once more.
    pub(crate) again_at: Option<Timestamp>,
}

impl Net {
    /// Everything is well again.
    pub(crate) fn heal(&mut self) {
        let conns = std::mem::take(&mut self.conns);
        *self = Self { conns, ..Self::default() };
    }

    /// Sends a message; `conn` is the connection it is part of, whose messages arrive in order up to the first that is
    /// lost.
    pub(crate) fn route(
        &mut self,
        now: Timestamp,
        from: Address,
        to: Address,
        conn: Option<u64>,
        chance: &mut Chance,
    ) -> Route {
        let cut = self.mute.contains(&from) || self.deaf.contains(&to) || self.cut.contains(&(from, to));
        let lost = cut || chance.happens(self.loss);
        let mut at = now + Millis(chance.between(1, 12));
        if self.delay_max > 0 && chance.happens(300) {
            at = at + Millis(chance.between(0, self.delay_max));
        }
        if let Some(conn) = conn {
            let last = self.conns.entry(conn).or_insert(Some(now));
            match *last {
                Some(before) if !lost => {
                    at = at.max(before);
                    *last = Some(at);
                }
                _ => {
                    *last = None;
                    return Route::default();
                }
            }
        }
        if lost {
            return Route::default();
        }
        let doubled = chance.happens(self.doubled);
        Route { at: Some(at), again_at: doubled.then(|| at + Millis(chance.between(1, 400))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_one_connection_arrives_in_order_up_to_the_first_that_is_lost() {
        let mut chance = Chance::new(3);
        let mut net = Net { loss: 100, delay_max: 1_000, ..Net::default() };
        for conn in 0..50 {
            let routes: Vec<Option<Timestamp>> = (0..20)
                .map(|sent| {
                    net.route(Timestamp(sent), Address::Voter(1), Address::Log, Some(conn), &mut chance).at
                })
                .collect();
            let arrived: Vec<Timestamp> = routes.iter().map_while(|at| *at).collect();
            assert!(arrived.is_sorted(), "{arrived:?}");
            assert!(routes[arrived.len()..].iter().all(Option::is_none), "{routes:?}");
        }
    }
}
