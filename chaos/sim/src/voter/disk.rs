//! A voter's disk: what was written, what is durable, and what a crash leaves.
//!
//! Votes, entries and snapshots go through one ordered journal, as in the real store. A crash keeps what was synced and
//! any number of the writes behind it, in order.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;

use trunkline_domain::agent_state::{Command, State};

use crate::chance::Chance;

/// One entry of the Raft log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) payload: Payload,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Begins a term.
    Blank,
    Commands(Vec<Command>),
    /// Who votes from here on.
    Members(BTreeSet<u32>),
}

/// The applied state at an index: the real machine's state as plain data.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) members: BTreeSet<u32>,
    pub(crate) state: State,
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    Vote {
        term: u64,
        voted_for: Option<u32>,
    },
    Append(Rc<Entry>),
    TruncateAfter(u64),
    /// Saves a snapshot and drops the entries it covers.
    Snapshot(Rc<Snapshot>),
}

/// What is on a disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    pub(crate) term: u64,
    pub(crate) voted_for: Option<u32>,
    pub(crate) snapshot: Option<Rc<Snapshot>>,
    /// Those behind the snapshot, without gaps.
    entries: Vec<Rc<Entry>>,
}

impl Image {
    /// Index and term of what the snapshot covers.
    pub(crate) fn base(&self) -> (u64, u64) {
        self.snapshot.as_ref().map_or((0, 0), |it| (it.index, it.term))
    }

    /// Index and term of the last entry.
    pub(crate) fn last(&self) -> (u64, u64) {
        self.entries.last().map_or(self.base(), |it| (it.index, it.term))
    }

    pub(crate) fn entry(&self, index: u64) -> Option<&Rc<Entry>> {
        let at = index.checked_sub(self.base().0 + 1)?;
        self.entries.get(at as usize)
    }

    /// The term of an entry; `None` when it is not there, or covered and not the last that is.
    pub(crate) fn term_at(&self, index: u64) -> Option<u64> {
        let (base, term) = self.base();
        if index == base { Some(term) } else { self.entry(index).map(|it| it.term) }
    }

    /// The entries from an index on, at most so many.
    pub(crate) fn from(&self, index: u64, count_max: usize) -> Vec<Rc<Entry>> {
        let at = index.saturating_sub(self.base().0 + 1) as usize;
        self.entries.iter().skip(at).take(count_max).cloned().collect()
    }

    /// Who votes, by the newest entry that says so, and the index of that entry.
    pub(crate) fn members(&self) -> (BTreeSet<u32>, u64) {
        for entry in self.entries.iter().rev() {
            if let Payload::Members(members) = &entry.payload {
                return (members.clone(), entry.index);
            }
        }
        self.snapshot.as_ref().map_or((BTreeSet::new(), 0), |it| (it.members.clone(), 0))
    }

    fn take(&mut self, write: &Write) {
        match write {
            Write::Vote { term, voted_for } => (self.term, self.voted_for) = (*term, *voted_for),
            Write::Append(entry) => self.entries.push(Rc::clone(entry)),
            Write::TruncateAfter(index) => {
                self.entries.truncate(index.saturating_sub(self.base().0) as usize);
            }
            Write::Snapshot(snapshot) => {
                // What it does not agree with is of another history.
                let agrees = self.term_at(snapshot.index) == Some(snapshot.term);
                self.entries.retain(|it| agrees && it.index > snapshot.index);
                self.snapshot = Some(Rc::clone(snapshot));
            }
        }
    }
}

/// A disk with a cache in front of it.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    written: Image,
    durable: Image,
    cached: VecDeque<(u64, Write)>,
    write_count: u64,
    synced: u64,
    pub(crate) syncing: bool,
}

impl Disk {
    /// That of a voter the cluster begins with.
    pub(crate) fn founding(members: &BTreeSet<u32>) -> Self {
        let state = State::default();
        let snapshot = Rc::new(Snapshot { index: 0, term: 0, members: members.clone(), state });
        let image = Image { snapshot: Some(snapshot), ..Image::default() };
        Self { written: image.clone(), durable: image, ..Self::default() }
    }

    /// What the running process sees.
    pub(crate) fn image(&self) -> &Image {
        &self.written
    }

    pub(crate) fn write(&mut self, write: Write) {
        self.write_count += 1;
        self.written.take(&write);
        self.cached.push_back((self.write_count, write));
    }

    /// The number of the last write.
    pub(crate) fn write_count(&self) -> u64 {
        self.write_count
    }

    /// Up to which write everything is durable.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// A sync of the writes up to `through` is done.
    pub(crate) fn sync_done(&mut self, through: u64) {
        self.syncing = false;
        while self.cached.front().is_some_and(|(number, _)| *number <= through) {
            if let Some((_, write)) = self.cached.pop_front() {
                self.durable.take(&write);
            }
        }
        self.synced = self.synced.max(through);
    }

    /// The machine under it stops. Gives the number of writes lost.
    pub(crate) fn crash(&mut self, chance: &mut Chance) -> usize {
        let kept = chance.below(self.cached.len() + 1);
        let lost = self.cached.len() - kept;
        for (_, write) in self.cached.drain(..kept) {
            self.durable.take(&write);
        }
        self.cached.clear();
        self.written = self.durable.clone();
        self.synced = self.write_count;
        self.syncing = false;
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> Write {
        Write::Append(Rc::new(Entry { index, term: 1, payload: Payload::Blank }))
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_some_of_what_came_next_in_order() {
        let mut lasts = BTreeSet::new();
        for seed in 0..50 {
            let mut disk = Disk::founding(&BTreeSet::from([1]));
            (1..=2).for_each(|index| disk.write(entry(index)));
            disk.sync_done(disk.write_count());
            (3..=5).for_each(|index| disk.write(entry(index)));
            assert_eq!(disk.image().last(), (5, 1), "the process sees what it wrote");
            let lost = disk.crash(&mut Chance::new(seed));
            assert_eq!(disk.image().last().0 as usize + lost, 5);
            lasts.insert(disk.image().last().0);
        }
        assert_eq!(lasts, BTreeSet::from([2, 3, 4, 5]), "anything from nothing to all of it may survive");
    }

    #[test]
    fn a_snapshot_drops_what_it_covers_and_what_it_does_not_agree_with() {
        let snapshot = |index, term| {
            let (members, state) = (BTreeSet::from([1]), State::default());
            Write::Snapshot(Rc::new(Snapshot { index, term, members, state }))
        };
        for (term, last) in [(1, (5, 1)), (2, (3, 2))] {
            let mut disk = Disk::founding(&BTreeSet::from([1]));
            (1..=5).for_each(|index| disk.write(entry(index)));
            disk.write(snapshot(3, term));
            assert_eq!(disk.image().last(), last);
            assert!(disk.image().entry(3).is_none());
            assert_eq!(disk.image().term_at(3), Some(term));
        }
    }
}
