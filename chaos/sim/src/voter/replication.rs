//! Entries from the leader to the others, and what a majority of them commits.

use std::rc::Rc;

use super::disk::{Entry, Payload, Snapshot, Write};
use super::replica::Replica;
use super::{Deferred, Role, Voter};
use crate::message::{Address, Change, Message, Raft};
use crate::turn::{Applied, Effect, Turn};

/// Entries in one message.
const ENTRY_COUNT_MAX: usize = 32;
/// At every so many indexes the whole state is compared.
pub(crate) const SAMPLE_EVERY: u64 = 64;

impl Voter {
    /// Puts an entry at the end of the leader's log and tells the others.
    pub(super) fn propose(&mut self, payload: Payload, turn: &mut Turn<'_>) -> u64 {
        let (index, term) = (self.disk.image().last().0 + 1, self.term());
        let members = matches!(payload, Payload::Members(_));
        self.write(Write::Append(Rc::new(Entry { index, term, payload })));
        if members {
            self.read_members();
        }
        self.defer(Deferred::Matched { term, index }, turn);
        self.tell_all(turn);
        index
    }

    pub(super) fn tell_all(&mut self, turn: &mut Turn<'_>) {
        for peer in self.peers() {
            self.tell(peer, turn);
        }
    }

    /// What a peer does not have yet, or a heartbeat.
    fn tell(&mut self, peer: u32, turn: &mut Turn<'_>) {
        let Role::Leader(leading) = &mut self.role else { return };
        let image = self.disk.image();
        let term = leading.term;
        let state = leading.peer(peer, image.last().0 + 1, turn.now);
        let prev_index = state.next - 1;
        let message = match (image.term_at(prev_index), &image.snapshot) {
            (Some(prev_term), _) => {
                let entries = image.from(state.next, ENTRY_COUNT_MAX);
                state.next += entries.len() as u64;
                Raft::Append { term, prev_index, prev_term, entries, commit: self.commit }
            }
            (None, Some(snapshot)) => {
                state.next = snapshot.index + 1;
                Raft::Install { term, snapshot: Rc::clone(snapshot) }
            }
            (None, None) => return,
        };
        turn.send(Address::Voter(peer), Message::Raft(message));
    }

    pub(super) fn append(
        &mut self,
        leader: u32,
        term: u64,
        (prev_index, prev_term): (u64, u64),
        entries: Vec<Rc<Entry>>,
        commit: u64,
        turn: &mut Turn<'_>,
    ) {
        self.see_term(term, turn);
        if term < self.term() {
            let refused = Raft::Appended { term: self.term(), ok: false, matched: 0 };
            return self.answer_durably(leader, refused, turn);
        }
        self.follow(Some(leader), turn);
        self.wait_for_election(turn);
        let base = self.disk.image().base().0;
        let fits = prev_index < base || self.disk.image().term_at(prev_index) == Some(prev_term);
        if !fits {
            let matched = self.disk.image().last().0.min(prev_index - 1);
            return self.answer_durably(leader, Raft::Appended { term, ok: false, matched }, turn);
        }
        let matched = prev_index + entries.len() as u64;
        let mut members = false;
        for entry in entries.into_iter().filter(|it| it.index > base) {
            match self.disk.image().term_at(entry.index) {
                Some(known) if known == entry.term => continue,
                Some(_) => self.write(Write::TruncateAfter(entry.index - 1)),
                None => {}
            }
            members = true;
            self.write(Write::Append(entry));
        }
        if members {
            self.read_members();
        }
        self.answer_durably(leader, Raft::Appended { term, ok: true, matched }, turn);
        self.commit_up_to(commit.min(matched), turn);
    }

    pub(super) fn install(&mut self, leader: u32, term: u64, snapshot: &Rc<Snapshot>, turn: &mut Turn<'_>) {
        self.see_term(term, turn);
        if term < self.term() {
            let refused = Raft::Appended { term: self.term(), ok: false, matched: 0 };
            return self.answer_durably(leader, refused, turn);
        }
        self.follow(Some(leader), turn);
        self.wait_for_election(turn);
        if snapshot.index > self.commit {
            self.write(Write::Snapshot(Rc::clone(snapshot)));
            self.replica = Replica::restore(snapshot, turn.bug);
            self.commit = snapshot.index;
            self.read_members();
        }
        self.answer_durably(leader, Raft::Appended { term, ok: true, matched: snapshot.index }, turn);
    }

    pub(super) fn appended(&mut self, peer: u32, term: u64, ok: bool, matched: u64, turn: &mut Turn<'_>) {
        self.see_term(term, turn);
        let Role::Leader(leading) = &mut self.role else { return };
        if term != leading.term {
            return;
        }
        let last = self.disk.image().last().0;
        let state = leading.peer(peer, last + 1, turn.now);
        state.heard_at = turn.now;
        if ok {
            state.matched = state.matched.max(matched);
            state.next = state.next.max(matched + 1);
            let behind = state.next <= last;
            self.advance(turn);
            if behind {
                self.tell(peer, turn);
            }
        } else {
            state.next = (matched + 1).min(state.next);
            self.tell(peer, turn);
        }
    }

    /// The leader's own disk has the entries up to `index`.
    pub(super) fn matched(&mut self, term: u64, index: u64, turn: &mut Turn<'_>) {
        if let Role::Leader(leading) = &mut self.role
            && leading.term == term
        {
            leading.matched = leading.matched.max(index);
            self.advance(turn);
        }
    }

    /// Commits what a majority has, if it is of this term (Raft §5.4.2).
    fn advance(&mut self, turn: &mut Turn<'_>) {
        let Role::Leader(leading) = &self.role else { return };
        let mut matched: Vec<u64> = self
            .members
            .iter()
            .map(|member| match *member == self.id {
                true => leading.matched,
                false => leading.peers.get(member).map_or(0, |it| it.matched),
            })
            .collect();
        matched.sort_unstable_by(|a, b| b.cmp(a));
        let Some(index) = matched.get(matched.len() / 2).copied() else { return };
        if self.disk.image().term_at(index) == Some(leading.term) {
            self.commit_up_to(index, turn);
        }
    }

    fn commit_up_to(&mut self, index: u64, turn: &mut Turn<'_>) {
        self.commit = self.commit.max(index);
        while self.replica.applied.0 < self.commit {
            let next = self.replica.applied.0 + 1;
            let Some(entry) = self.disk.image().entry(next).cloned() else { break };
            let replies = self.replica.apply(&entry, self.wall(turn.now), turn.bug, &mut |_, _, _| {});
            let print = self.replica.print(&replies);
            let sampled = next.is_multiple_of(SAMPLE_EVERY);
            let sample = sampled.then(|| Box::new(self.replica.machine.state().clone()));
            turn.effects.push(Effect::Applied(Applied { entry: Rc::clone(&entry), print, sample }));
            self.reply(next, &replies, turn);
            // Who dies here does nothing more, and leaves no snapshot of what nobody saw it apply.
            if matches!(turn.effects.last(), Some(Effect::Die)) {
                return;
            }
        }
        if self.replica.applied.0 >= self.disk.image().base().0 + self.snapshot_every {
            let snapshot = Rc::new(self.replica.snapshot());
            self.write(Write::Snapshot(snapshot));
            self.sync(turn);
        }
        self.after_apply(turn);
    }

    /// One change at a time, by a leader that has committed in its term (Ongaro's erratum of 2015).
    pub(super) fn change_members(&mut self, change: Change, turn: &mut Turn<'_>) {
        if !self.settled() || self.members_index > self.commit {
            return;
        }
        let changed = change.apply(&self.members);
        if changed != self.members {
            self.propose(Payload::Members(changed), turn);
        }
    }

    /// Whether this voter leads and has committed an entry of its term.
    pub(super) fn settled(&self) -> bool {
        matches!(&self.role, Role::Leader(it) if self.disk.image().term_at(self.commit) == Some(it.term))
    }
}
