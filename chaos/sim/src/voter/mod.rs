//! One voter: a simple Raft (Ongaro, 2014) with an explicit disk, around the real machine.
//!
//! The consensus is a model; the real one is tested elsewhere. What is real is what it carries: every command goes to
//! [`trunkline_domain::agent_state::Machine`], every deadline and fact comes out of it. What is absent: nobody answers
//! for a write before it is durable, and nobody acknowledges a command before a majority has it.

mod clocks;
pub(crate) mod disk;
mod duties;
mod election;
mod publisher;
pub(crate) mod replica;
mod replication;

pub(crate) use self::replication::SAMPLE_EVERY;

use std::collections::{BTreeSet, VecDeque};

use trunkline_domain::vocabulary::{Millis, Timestamp};

use self::clocks::Clocks;
use self::disk::{Disk, Write};
use self::duties::Leading;
use self::publisher::Publisher;
use self::replica::Replica;
use crate::bug::Bug;
use crate::chance::Chance;
use crate::message::{Address, Message, Raft};
use crate::turn::{Effect, Turn};

/// Between two ticks of a voter.
pub(crate) const TICK: Millis = Millis(60);
/// The shortest and the longest silence of a leader before somebody else stands.
const ELECTION: (i64, i64) = (600, 1_200);

/// A voter, up or down.
#[derive(Debug)]
pub(crate) struct Voter {
    pub(crate) id: u32,
    pub(crate) up: bool,
    /// Counts starts: what belongs to an earlier life of the process is void.
    pub(crate) life: u32,
    /// How far its clock is ahead of true time.
    pub(crate) clock_ahead: Millis,
    /// The process ends between append and reply, the next time it would reply.
    pub(crate) dies_before_reply: bool,
    pub(crate) disk: Disk,
    pub(crate) replica: Replica,
    /// Entries applied before a snapshot is taken.
    snapshot_every: u64,
    role: Role,
    leader: Option<u32>,
    members: BTreeSet<u32>,
    members_index: u64,
    commit: u64,
    election_at: Timestamp,
    clocks: Clocks,
    deferred: VecDeque<(u64, Deferred)>,
    /// Only the leader's does anything.
    publisher: Publisher,
    minted: u64,
}

#[derive(Debug)]
enum Role {
    Follower,
    Candidate(BTreeSet<u32>),
    Leader(Box<Leading>),
}

/// What waits for the disk.
#[derive(Debug)]
enum Deferred {
    Send(Address, Box<Message>),
    /// The leader itself has the entries up to here.
    Matched {
        term: u64,
        index: u64,
    },
    /// The vote for oneself counts.
    Stand {
        term: u64,
    },
}

impl Voter {
    /// A voter that was never started.
    pub(crate) fn new(id: u32, disk: Disk, snapshot_every: u64) -> Self {
        Self {
            id,
            up: false,
            life: 0,
            clock_ahead: Millis::ZERO,
            dies_before_reply: false,
            disk,
            replica: Replica::new(),
            snapshot_every,
            role: Role::Follower,
            leader: None,
            members: BTreeSet::new(),
            members_index: 0,
            commit: 0,
            election_at: Timestamp(0),
            clocks: Clocks::default(),
            deferred: VecDeque::new(),
            publisher: Publisher::default(),
            minted: 0,
        }
    }

    /// Starts from what the disk holds.
    pub(crate) fn start(&mut self, now: Timestamp, chance: &mut Chance, bug: Option<Bug>) {
        self.up = true;
        self.life += 1;
        self.dies_before_reply = false;
        self.replica = match &self.disk.image().snapshot {
            Some(snapshot) => Replica::restore(snapshot, bug),
            None => Replica::new(),
        };
        self.commit = self.replica.applied.0;
        (self.role, self.leader) = (Role::Follower, None);
        self.clocks = Clocks::default();
        self.deferred.clear();
        self.publisher = Publisher::default();
        self.read_members();
        self.election_at = now + Millis(chance.between(ELECTION.0, ELECTION.1));
    }

    /// Ends at once; gives how many writes are lost.
    pub(crate) fn crash(&mut self, chance: &mut Chance) -> usize {
        self.up = false;
        self.role = Role::Follower;
        self.disk.crash(chance)
    }

    pub(crate) fn leads(&self) -> bool {
        self.up && matches!(self.role, Role::Leader(_))
    }

    pub(crate) fn term(&self) -> u64 {
        self.disk.image().term
    }

    fn wall(&self, now: Timestamp) -> Timestamp {
        now + self.clock_ahead
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let (now, wall) = (turn.now, self.wall(turn.now));
        if self.clocks.round(now, wall, self.members.len()) {
            for peer in self.peers() {
                turn.send(Address::Voter(peer), Message::Raft(Raft::ClockAsk { asked_at: wall }));
            }
        }
        match self.role {
            Role::Leader(_) => self.lead(turn),
            Role::Follower | Role::Candidate(_) if now >= self.election_at => self.stand(turn),
            Role::Follower | Role::Candidate(_) => {}
        }
    }

    pub(crate) fn hear(&mut self, from: Address, message: Message, turn: &mut Turn<'_>) {
        match (from, message) {
            (Address::Voter(peer), Message::Raft(raft)) => self.hear_raft(peer, raft, turn),
            (client, Message::Ask { command_id, action }) => self.asked(client, command_id, action, turn),
            (_, Message::Change(change)) => self.change_members(change, turn),
            (_, Message::Told(told)) => self.log_told(told, turn),
            _ => {}
        }
    }

    fn hear_raft(&mut self, peer: u32, raft: Raft, turn: &mut Turn<'_>) {
        match raft {
            Raft::RequestVote { term, last_index, last_term } => {
                self.vote_requested(peer, term, (last_term, last_index), turn);
            }
            Raft::Voted { term, granted } => self.voted(peer, term, granted, turn),
            Raft::Append { term, prev_index, prev_term, entries, commit } => {
                self.append(peer, term, (prev_index, prev_term), entries, commit, turn);
            }
            Raft::Appended { term, ok, matched } => self.appended(peer, term, ok, matched, turn),
            Raft::Install { term, snapshot } => self.install(peer, term, &snapshot, turn),
            Raft::ClockAsk { asked_at } => {
                let told = Raft::ClockTold { asked_at, answered_at: self.wall(turn.now) };
                turn.send(Address::Voter(peer), Message::Raft(told));
            }
            Raft::ClockTold { asked_at, answered_at } => {
                self.clocks.told(peer, asked_at, answered_at, self.wall(turn.now));
            }
        }
    }

    /// The disk has everything up to a write.
    pub(crate) fn synced(&mut self, through: u64, turn: &mut Turn<'_>) {
        self.disk.sync_done(through);
        while self.deferred.front().is_some_and(|(number, _)| *number <= through) {
            if let Some((_, deferred)) = self.deferred.pop_front() {
                self.perform(deferred, turn);
            }
        }
        self.flush(turn);
        self.sync(turn);
    }

    fn write(&mut self, write: Write) {
        self.disk.write(write);
    }

    /// Has what was written made durable, unless that is under way.
    fn sync(&mut self, turn: &mut Turn<'_>) {
        let through = self.disk.write_count();
        if !self.disk.syncing && through > self.disk.synced() {
            self.disk.syncing = true;
            turn.effects.push(Effect::Sync { through });
        }
    }

    /// Does something once all that was written so far is durable.
    fn defer(&mut self, deferred: Deferred, turn: &mut Turn<'_>) {
        let written = self.disk.write_count();
        if self.disk.synced() >= written || turn.has(Bug::AckBeforeSync) {
            self.perform(deferred, turn);
        } else {
            self.deferred.push_back((written, deferred));
        }
        self.sync(turn);
    }

    fn perform(&mut self, deferred: Deferred, turn: &mut Turn<'_>) {
        match deferred {
            Deferred::Send(to, message) => turn.send(to, *message),
            Deferred::Matched { term, index } => self.matched(term, index, turn),
            Deferred::Stand { term } => self.stood(term, turn),
        }
    }

    fn answer_durably(&mut self, peer: u32, raft: Raft, turn: &mut Turn<'_>) {
        self.defer(Deferred::Send(Address::Voter(peer), Box::new(Message::Raft(raft))), turn);
    }

    fn read_members(&mut self) {
        (self.members, self.members_index) = self.disk.image().members();
    }

    fn peers(&self) -> Vec<u32> {
        self.members.iter().copied().filter(|member| *member != self.id).collect()
    }

    /// Whether so many are a majority of the voters.
    fn majority(&self, count: usize) -> bool {
        count * 2 > self.members.len()
    }
}
