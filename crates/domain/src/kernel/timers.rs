//! Timers as data: named deadlines in a table.

use std::collections::{BTreeMap, BTreeSet};

use crate::vocabulary::Timestamp;

/// Deadlines by name. Setting a name again moves its deadline; the earliest is [`Timers::next_timeout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timers<K: Ord + Clone> {
    by_name: BTreeMap<K, Timestamp>,
    by_time: BTreeSet<(Timestamp, K)>,
}

impl<K: Ord + Clone> Default for Timers<K> {
    fn default() -> Self {
        Self { by_name: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets or moves a deadline.
    pub fn set(&mut self, name: K, at: Timestamp) {
        self.cancel(&name);
        self.by_name.insert(name.clone(), at);
        self.by_time.insert((at, name));
    }

    /// Forgets a deadline; says whether there was one.
    pub fn cancel(&mut self, name: &K) -> bool {
        match self.by_name.remove(name) {
            Some(at) => self.by_time.remove(&(at, name.clone())),
            None => false,
        }
    }

    /// The deadline of a name.
    pub fn get(&self, name: &K) -> Option<Timestamp> {
        self.by_name.get(name).copied()
    }

    /// The earliest deadline.
    pub fn next_timeout(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the earliest deadline that is due at `now`, ties by name.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<(Timestamp, K)> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (at, name) = self.by_time.pop_first()?;
        self.by_name.remove(&name);
        Some((at, name))
    }

    /// How many deadlines are set.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether no deadline is set.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_set_again_moves_and_due_ones_come_in_order() {
        let mut timers = Timers::default();
        timers.set("b", Timestamp(20));
        timers.set("a", Timestamp(20));
        timers.set("c", Timestamp(10));
        timers.set("c", Timestamp(30));
        assert_eq!(timers.next_timeout(), Some(Timestamp(20)));
        assert_eq!(timers.pop_due(Timestamp(19)), None);
        assert_eq!(timers.pop_due(Timestamp(20)), Some((Timestamp(20), "a")));
        assert_eq!(timers.pop_due(Timestamp(25)), Some((Timestamp(20), "b")));
        assert_eq!(timers.pop_due(Timestamp(25)), None);
        assert!(timers.cancel(&"c"));
        assert!(timers.is_empty());
    }
}
