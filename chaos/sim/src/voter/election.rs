//! Who leads: terms and votes.

use std::collections::BTreeSet;

use trunkline_domain::vocabulary::Millis;

use super::disk::Write;
use super::duties::Leading;
use super::publisher::Publisher;
use super::{Deferred, ELECTION, Role, Voter};
use crate::message::{Address, Message, Raft};
use crate::turn::{Effect, Turn};

impl Voter {
    /// Stands for election. A voter whose clock is ahead, or that is no member, does not.
    pub(super) fn stand(&mut self, turn: &mut Turn<'_>) {
        self.wait_for_election(turn);
        if !self.members.contains(&self.id) || !self.clocks.agrees(turn.now, self.wall(turn.now)) {
            return;
        }
        let term = self.term() + 1;
        self.role = Role::Candidate(BTreeSet::new());
        self.leader = None;
        self.write(Write::Vote { term, voted_for: Some(self.id) });
        self.defer(Deferred::Stand { term }, turn);
    }

    /// The own vote is durable: the others are asked.
    pub(super) fn stood(&mut self, term: u64, turn: &mut Turn<'_>) {
        if term != self.term() || !matches!(self.role, Role::Candidate(_)) {
            return;
        }
        let (last_index, last_term) = self.disk.image().last();
        for peer in self.peers() {
            let request = Raft::RequestVote { term, last_index, last_term };
            turn.send(Address::Voter(peer), Message::Raft(request));
        }
        self.count_vote(self.id, turn);
    }

    pub(super) fn vote_requested(
        &mut self,
        candidate: u32,
        term: u64,
        candidate_last: (u64, u64),
        turn: &mut Turn<'_>,
    ) {
        self.see_term(term, turn);
        let image = self.disk.image();
        let (last_index, last_term) = image.last();
        let free = image.voted_for.is_none_or(|voted_for| voted_for == candidate);
        let granted = term == image.term && free && candidate_last >= (last_term, last_index);
        if granted {
            if image.voted_for.is_none() {
                self.write(Write::Vote { term, voted_for: Some(candidate) });
            }
            self.wait_for_election(turn);
        }
        let term = self.term();
        self.answer_durably(candidate, Raft::Voted { term, granted }, turn);
    }

    pub(super) fn voted(&mut self, voter: u32, term: u64, granted: bool, turn: &mut Turn<'_>) {
        self.see_term(term, turn);
        if granted && term == self.term() {
            self.count_vote(voter, turn);
        }
    }

    fn count_vote(&mut self, voter: u32, turn: &mut Turn<'_>) {
        let Role::Candidate(votes) = &mut self.role else { return };
        votes.insert(voter);
        let count = votes.intersection(&self.members).count();
        if self.majority(count) {
            let term = self.term();
            self.leader = Some(self.id);
            self.role = Role::Leader(Box::new(Leading::new(term, turn.now)));
            turn.effects.push(Effect::Leads { term });
            self.begin_term(turn);
        }
    }

    /// A higher term was heard of: whoever led or stood follows.
    pub(super) fn see_term(&mut self, term: u64, turn: &mut Turn<'_>) {
        if term > self.term() {
            self.write(Write::Vote { term, voted_for: None });
            self.sync(turn);
            self.follow(None, turn);
        }
    }

    pub(super) fn follow(&mut self, leader: Option<u32>, turn: &mut Turn<'_>) {
        if !matches!(self.role, Role::Follower) {
            self.role = Role::Follower;
            self.publisher = Publisher::default();
            self.wait_for_election(turn);
        }
        self.leader = leader;
    }

    pub(super) fn wait_for_election(&mut self, turn: &mut Turn<'_>) {
        self.election_at = turn.now + Millis(turn.chance.between(ELECTION.0, ELECTION.1));
    }
}
