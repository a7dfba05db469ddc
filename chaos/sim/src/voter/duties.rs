//! What only the leader does: it takes commands, stamps the time into them, answers, and keeps time.

use std::collections::BTreeMap;

use trunkline_domain::agent_state::{Action, Command, FEATURE_LEVEL, Lease, Machine, Reply};
use trunkline_domain::facts::ReleaseOutcome;
use trunkline_domain::vocabulary::{CommandId, Epoch, Millis, Timestamp};

use super::disk::Payload;
use super::{Role, Voter};
use crate::bug::Bug;
use crate::message::{Address, Message, NotLeader};
use crate::turn::{Effect, Turn};

/// Between two heartbeats.
const BEAT: Millis = Millis(150);
/// A leader that no majority was heard by for so long leads no more.
const UNHEARD: Millis = Millis(2_000);
/// After this a tick that was not applied is proposed again.
const EXPIRE_AGAIN: Millis = Millis(1_000);

/// One term in which a voter leads.
#[derive(Debug)]
pub(super) struct Leading {
    pub(super) term: u64,
    /// Up to which index the leader's own disk has everything.
    pub(super) matched: u64,
    pub(super) peers: BTreeMap<u32, Peer>,
    /// Commands of the next entry.
    waiting: Vec<(Command, Origin)>,
    /// Whom to answer when the entry of an index is applied.
    pending: BTreeMap<u64, Vec<Origin>>,
    beat_at: Timestamp,
    expire_at: Timestamp,
}

/// How far another voter is.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) next: u64,
    pub(super) matched: u64,
    pub(super) heard_at: Timestamp,
}

/// Who waits for a command.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    Client(Address, CommandId),
    Clock,
    /// The publisher's connection that needs an epoch.
    Epoch(u64),
    Advance(u64),
}

impl Leading {
    pub(super) fn new(term: u64, now: Timestamp) -> Self {
        Self {
            term,
            matched: 0,
            peers: BTreeMap::new(),
            waiting: Vec::new(),
            pending: BTreeMap::new(),
            beat_at: now,
            expire_at: now,
        }
    }

    pub(super) fn peer(&mut self, id: u32, next: u64, now: Timestamp) -> &mut Peer {
        self.peers.entry(id).or_insert(Peer { next, matched: 0, heard_at: now })
    }
}

impl Voter {
    pub(super) fn begin_term(&mut self, turn: &mut Turn<'_>) {
        self.propose(Payload::Blank, turn);
    }

    /// A leader's tick.
    pub(super) fn lead(&mut self, turn: &mut Turn<'_>) {
        let (now, wall) = (turn.now, self.wall(turn.now));
        let Role::Leader(leading) = &mut self.role else { return };
        let heard = |id: &u32| leading.peers.get(id).is_some_and(|it| now < it.heard_at + UNHEARD);
        let heard = self.members.iter().filter(|id| **id == self.id || heard(id)).count();
        let beat = now >= leading.beat_at;
        if beat {
            leading.beat_at = now + BEAT;
        }
        if !self.majority(heard) || !self.clocks.agrees(now, wall) {
            return self.follow(None, turn);
        }
        if beat {
            self.tell_all(turn);
        }
        if self.settled() {
            self.keep_time(turn);
            self.publish(turn);
        }
    }

    /// Proposes a tick when something is due.
    fn keep_time(&mut self, turn: &mut Turn<'_>) {
        let stamp = self.stamp(turn.now);
        let due = self.replica.machine.next_deadline().is_some_and(|at| at <= stamp);
        let level = self.replica.machine.state().feature_level;
        let Role::Leader(leading) = &mut self.role else { return };
        if turn.now >= leading.expire_at && level < FEATURE_LEVEL {
            leading.expire_at = turn.now + EXPIRE_AGAIN;
            let raise = Action::RaiseFeatureLevel { level: FEATURE_LEVEL };
            return self.propose_own(raise, Origin::Clock, turn);
        }
        if due && turn.now >= leading.expire_at && !turn.has(Bug::NeverExpire) {
            leading.expire_at = turn.now + EXPIRE_AGAIN;
            self.propose_own(Action::Expire, Origin::Clock, turn);
        }
    }

    /// What the leader writes into a command: its clock, but never less than the machine knows already.
    fn stamp(&self, now: Timestamp) -> Timestamp {
        self.wall(now).max(self.replica.machine.state().now)
    }

    pub(super) fn asked(
        &mut self,
        client: Address,
        command_id: CommandId,
        action: Action,
        turn: &mut Turn<'_>,
    ) {
        if self.leads() && !self.clocks.agrees(turn.now, self.wall(turn.now)) {
            self.follow(None, turn);
        }
        // What needs newer rules waits for them.
        if !self.leads() || action.feature_level() > self.replica.machine.state().feature_level {
            let answer = Err(NotLeader { leader: self.leader.filter(|it| *it != self.id) });
            return turn.send(client, Message::Answer { command_id, answer });
        }
        let action = if turn.has(Bug::FillInEpoch) { self.filled_in(action) } else { action };
        let stored = if turn.has(Bug::MintAtTheDoor) { self.mint() } else { command_id.clone() };
        self.take(stored, action, Origin::Client(client, command_id), turn);
    }

    pub(super) fn propose_own(&mut self, action: Action, origin: Origin, turn: &mut Turn<'_>) {
        let command_id = self.mint();
        self.take(command_id, action, origin, turn);
    }

    /// Whatever is stamped was compared: also what the leader itself proposes.
    fn take(&mut self, command_id: CommandId, action: Action, origin: Origin, turn: &mut Turn<'_>) {
        if !self.clocks.agrees(turn.now, self.wall(turn.now)) {
            return self.follow(None, turn);
        }
        let proposed_at = self.stamp(turn.now);
        let command = Command { command_id, proposed_at, traceparent: String::new(), action };
        if let Role::Leader(leading) = &mut self.role {
            leading.waiting.push((command, origin));
        }
        self.flush(turn);
    }

    /// Group commit: what waits while the disk is busy is one entry.
    pub(super) fn flush(&mut self, turn: &mut Turn<'_>) {
        if self.disk.syncing {
            return;
        }
        let Role::Leader(leading) = &mut self.role else { return };
        if leading.waiting.is_empty() {
            return;
        }
        let (commands, origins): (Vec<_>, Vec<_>) = leading.waiting.drain(..).unzip();
        let index = self.disk.image().last().0 + 1;
        leading.pending.insert(index, origins);
        let proposed = self.propose(Payload::Commands(commands), turn);
        debug_assert_eq!(proposed, index, "nothing comes between");
        if turn.has(Bug::AckBeforeMajority) {
            self.reply_early(index, turn);
        }
    }

    /// Answers the clients of an entry that was applied.
    pub(super) fn reply(&mut self, index: u64, replies: &[Reply], turn: &mut Turn<'_>) {
        let Role::Leader(leading) = &mut self.role else { return };
        let Some(origins) = leading.pending.remove(&index) else { return };
        let asked = origins.iter().any(|it| matches!(it, Origin::Client(..)));
        if asked && self.dies_before_reply {
            turn.effects.push(Effect::Die);
            return;
        }
        for (origin, reply) in origins.into_iter().zip(replies) {
            match origin {
                Origin::Client(client, command_id) => {
                    turn.send(client, Message::Answer { command_id, answer: Ok(reply.clone()) });
                }
                Origin::Clock => {
                    if let Role::Leader(leading) = &mut self.role {
                        leading.expire_at = turn.now;
                    }
                }
                Origin::Epoch(conn) => self.epoch_committed(conn, Epoch(index), turn),
                Origin::Advance(conn) => self.advance_committed(conn),
            }
        }
    }

    /// The planted bug: what the answer will be if nothing goes wrong.
    fn reply_early(&mut self, index: u64, turn: &mut Turn<'_>) {
        let mut machine = Machine::from_state(self.replica.machine.state().clone());
        let mut replies = Vec::new();
        for at in self.replica.applied.0 + 1..=index {
            let Some(entry) = self.disk.image().entry(at) else { return };
            if let Payload::Commands(commands) = &entry.payload {
                replies = commands.iter().map(|it| machine.apply(at, entry.term, it.clone())).collect();
            }
        }
        let Role::Leader(leading) = &mut self.role else { return };
        let Some(origins) = leading.pending.get(&index) else { return };
        for (origin, reply) in origins.iter().zip(replies) {
            if let Origin::Client(client, command_id) = origin {
                let (command_id, answer) = (command_id.clone(), Ok(reply));
                turn.effects
                    .push(Effect::Send { to: *client, message: Message::Answer { command_id, answer } });
            }
        }
    }

    /// What follows from entries that were applied.
    pub(super) fn after_apply(&mut self, turn: &mut Turn<'_>) {
        if self.settled() {
            self.publish(turn);
        }
    }

    /// A name nobody else gives.
    pub(super) fn mint(&mut self) -> CommandId {
        self.minted += 1;
        CommandId::from_name(&format!("v{}-{}", self.id, self.minted)).expect("letters, digits and a dash")
    }

    /// The planted bug: the command with the epoch that is current, whatever it said.
    fn filled_in(&self, action: Action) -> Action {
        let current = |resource: String, said: Epoch| {
            self.replica.machine.state().leases.get(&resource).and_then(Lease::epoch).unwrap_or(said)
        };
        match action {
            Action::ReserveAgents { cell, routing_epoch, wishes } => {
                let routing_epoch = current(format!("routing/{cell}"), routing_epoch);
                Action::ReserveAgents { cell, routing_epoch, wishes }
            }
            Action::AcceptReservation { agent_id, offer_id, token, node_id, media_epoch } => {
                let media_epoch = current(format!("media/{node_id}"), media_epoch);
                Action::AcceptReservation { agent_id, offer_id, token, node_id, media_epoch }
            }
            Action::ReleaseReservation { agent_id, offer_id, token, outcome, node_id, epoch }
                if outcome != ReleaseOutcome::Rescinded =>
            {
                let epoch = current(format!("media/{node_id}"), epoch);
                Action::ReleaseReservation { agent_id, offer_id, token, outcome, node_id, epoch }
            }
            other => other,
        }
    }
}
