//! The real machine on one voter, with what a host round it may do wrong.

use std::collections::BTreeSet;

use trunkline_domain::agent_state::{Action, Command, Machine, Reply, Slot, State};
use trunkline_domain::vocabulary::{CAPACITY_MAX, Channel, ChannelRule, Channels, Millis, Timestamp};

use super::disk::{Entry, Payload, Snapshot};
use crate::bug::Bug;

/// The applied state.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) machine: Machine,
    /// Index and term of the last entry applied.
    pub(crate) applied: (u64, u64),
    /// Who votes, as of that entry.
    pub(crate) members: BTreeSet<u32>,
}

impl Replica {
    /// From nothing.
    pub(crate) fn new() -> Self {
        Self { machine: Machine::default(), applied: (0, 0), members: BTreeSet::new() }
    }

    pub(crate) fn restore(snapshot: &Snapshot, bug: Option<Bug>) -> Self {
        let mut state = snapshot.state.clone();
        if bug == Some(Bug::ForgetAnswersOnRestart) {
            state.answers.clear();
        }
        Self {
            machine: Machine::from_state(state),
            applied: (snapshot.index, snapshot.term),
            members: snapshot.members.clone(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            index: self.applied.0,
            term: self.applied.1,
            members: self.members.clone(),
            state: self.machine.state().clone(),
        }
    }

    /// Applies the next entry. `wall` is what the clock of this host says, which must not matter. `each` is told of every
    /// command, right after it.
    pub(crate) fn apply(
        &mut self,
        entry: &Entry,
        wall: Timestamp,
        bug: Option<Bug>,
        each: &mut dyn FnMut(&Machine, &Command, &Reply),
    ) -> Vec<Reply> {
        assert_eq!(entry.index, self.applied.0 + 1, "entries are applied one by one");
        let mut replies = Vec::new();
        match &entry.payload {
            Payload::Blank => {}
            Payload::Members(members) => self.members.clone_from(members),
            Payload::Commands(commands) => {
                for command in commands {
                    let mut command = command.clone();
                    if let Some(bug) = bug {
                        self.spoil(bug, entry.index, &command.action);
                        if bug == Bug::StampAtApply {
                            command.proposed_at = wall;
                        }
                    }
                    let reply = self.machine.apply(entry.index, entry.term, command.clone());
                    each(&self.machine, &command, &reply);
                    replies.push(reply);
                }
            }
        }
        self.applied = (entry.index, entry.term);
        // Nobody writes rows from it here.
        drop(self.machine.take_touched());
        replies
    }

    /// What a wrong wrapper round the machine does before a command; the same on every replica.
    fn spoil(&mut self, bug: Bug, index: u64, action: &Action) {
        match (bug, action) {
            (Bug::ForgetReservation, Action::ReserveAgents { wishes, .. }) if index.is_multiple_of(3) => {
                self.alter(|state| {
                    for wish in wishes {
                        if let Some(agent) = state.agents.get_mut(&wish.agent_id) {
                            agent.slots.retain(|slot| slot.held().is_none());
                        }
                    }
                });
            }
            (Bug::GrantHeldLease, Action::AcquireLease { resource, .. }) => self.alter(|state| {
                if let Some(lease) = state.leases.get_mut(resource) {
                    lease.holding = None;
                }
            }),
            (Bug::RingOn, Action::AcceptReservation { agent_id, .. }) => self.alter(|state| {
                let slots = state.agents.get_mut(agent_id).into_iter().flat_map(|agent| &mut agent.slots);
                for slot in slots {
                    if let Slot::Held(held) = slot {
                        held.wish.ring_many = false;
                    }
                }
            }),
            (Bug::ServeAnything, Action::ReserveAgents { wishes, .. }) => self.alter(|state| {
                for wish in wishes {
                    state.roster.channels.insert(wish.agent_id.clone(), anything());
                }
            }),
            (Bug::LeaseNeverLapses, _) => self.alter(|state| {
                for holding in state.leases.values_mut().filter_map(|lease| lease.holding.as_mut()) {
                    holding.expires_at = holding.expires_at + Millis::from_secs(1_000_000);
                }
            }),
            _ => {}
        }
    }

    fn alter(&mut self, change: impl FnOnce(&mut State)) {
        let mut state = self.machine.state().clone();
        change(&mut state);
        self.machine = Machine::from_state(state);
    }

    /// A number that differs when the state very likely does. Cheap, so that it is compared at every index; the whole
    /// state is compared now and then.
    pub(crate) fn print(&self, replies: &[Reply]) -> u64 {
        let state = self.machine.state();
        let mut print = 0xCBF2_9CE4_8422_2325_u64;
        let mut mix =
            |number: u64| print = (print ^ number).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29);
        mix(state.now.0 as u64);
        mix(state.last_term);
        mix(state.last_index);
        mix(u64::from(state.fact_count) << 32 | u64::from(state.wish_count));
        mix(state.published);
        mix((state.answers.len() as u64) << 32 | state.outbox.len() as u64);
        mix(self.machine.next_deadline().map_or(0, |at| at.0 as u64));
        for agent in state.agents.values() {
            mix(agent.sequence);
            agent.held().for_each(|held| mix(held.token));
        }
        for lease in state.leases.values() {
            mix(lease.epoch().map_or(0, |epoch| epoch.0));
        }
        for reply in replies {
            mix(reply.as_ref().map_or_else(|why| why.code().len() as u64, |_| 1));
        }
        print
    }
}

/// Everything at once.
fn anything() -> Channels {
    let rule = |channel| ChannelRule {
        channel,
        capacity: if channel == Channel::Voice { 1 } else { CAPACITY_MAX },
        interrupted_by: Channel::ALL.into_iter().filter(|it| *it != channel).collect(),
    };
    Channels::new(Channel::ALL.map(rule)).expect("each channel once, within its bounds")
}
