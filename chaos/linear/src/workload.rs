//! What clients ask next: any client anything about any key, so that they get into each other's way, with weights that reach
//! every state and every refusal.

use std::sync::{Mutex, PoisonError};

use crate::chance::Chance;
use crate::model::{AgentCall, Call, Ending, Key, LeaseCall, Mark, Reply};

/// How wide a history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Width {
    /// Clients at once.
    pub clients: u32,
    /// Agents they share.
    pub agents: u32,
    /// Leases they share.
    pub leases: u32,
}

impl Default for Width {
    fn default() -> Self {
        Self { clients: 8, agents: 6, leases: 4 }
    }
}

/// What one client asks, made up from chance and from what it and the others were told.
#[derive(Debug)]
pub struct Workload {
    client: u32,
    width: Width,
    chance: Chance,
    /// Marks this client has made up.
    marks: u64,
    /// Epochs of each lease that this client was told, the newest last.
    epochs: Vec<Vec<u64>>,
}

/// The last offer of each agent that anybody asked for, with its token when it was granted: known to all clients, so that
/// several of them accept and end the same reservation.
#[derive(Debug, Default)]
pub struct Board(Mutex<Vec<Offers>>);

/// Offers of one agent, the newest last.
type Offers = Vec<(Mark, Option<u64>)>;

/// How many offers of an agent are remembered.
const OFFER_COUNT_MAX: usize = 4;

impl Board {
    /// Nothing known of so many agents.
    pub fn new(agents: u32) -> Self {
        Self(Mutex::new(vec![Offers::new(); agents as usize]))
    }

    fn of(&self, agent: u32) -> Offers {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(agent as usize).cloned().unwrap_or_default()
    }

    fn note(&self, agent: u32, offer: Mark, token: Option<u64>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(offers) = known.get_mut(agent as usize) else { return };
        offers.retain(|(known, _)| *known != offer);
        offers.push((offer, token));
        if offers.len() > OFFER_COUNT_MAX {
            offers.remove(0);
        }
    }
}

impl Workload {
    /// That of one client.
    pub fn new(client: u32, width: Width, seed: u64) -> Self {
        let chance = Chance::new(seed, 1 + u64::from(client));
        Self { client, width, chance, marks: 0, epochs: vec![Vec::new(); width.leases as usize] }
    }

    /// This client's chance, for whatever else it decides.
    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// A mark that no operation has yet.
    pub fn mark(&mut self) -> Mark {
        self.marks += 1;
        Mark(u64::from(self.client) * 1_000_000 + self.marks)
    }

    /// What is asked next. A read is of all agents; its key is the first.
    pub fn next(&mut self, board: &Board) -> (Key, Call) {
        match self.chance.below(100) {
            0..12 => (Key::Agent(0), Call::Agent(AgentCall::Read)),
            12..45 => {
                let lease = self.chance.below(u64::from(self.width.leases)) as u32;
                (Key::Lease(lease), Call::Lease(self.next_of_lease(lease)))
            }
            _ => {
                let agent = self.chance.below(u64::from(self.width.agents)) as u32;
                (Key::Agent(agent), Call::Agent(self.next_of_agent(agent, board)))
            }
        }
    }

    fn next_of_lease(&mut self, lease: u32) -> LeaseCall {
        let told = &self.epochs[lease as usize];
        let Some(epoch) = told.last().copied() else { return LeaseCall::Acquire };
        let stale = *self.chance.pick(told).unwrap_or(&epoch);
        match self.chance.below(20) {
            0..3 => LeaseCall::Acquire,
            3..8 => LeaseCall::Renew { epoch },
            8..9 => LeaseCall::Renew { epoch: stale },
            9..10 => LeaseCall::Release { epoch: stale },
            _ => LeaseCall::Release { epoch },
        }
    }

    fn next_of_agent(&mut self, agent: u32, board: &Board) -> AgentCall {
        let offers = board.of(agent);
        let newest = offers.iter().rev().find_map(|(offer, token)| Some((*offer, (*token)?)));
        // Now and then one that is over.
        let older = self.chance.pick(&offers).and_then(|(offer, token)| Some((*offer, (*token)?)));
        let named = if self.chance.one_in(8) { older } else { newest };
        match (self.chance.below(100), named) {
            (0..10, _) => AgentCall::SignIn { session: self.mark() },
            (10..13, _) => AgentCall::SignOut,
            (13..29, _) => AgentCall::GoReady,
            (29..37, _) => AgentCall::GoNotReady { reason: self.mark() },
            (37..46, _) => AgentCall::FinishWrapUp,
            (46..62, Some((offer, token))) => AgentCall::Accept { offer, token },
            (62..80, Some((offer, token))) => AgentCall::Release { offer, token, ending: self.ending() },
            _ => match self.chance.pick(&offers) {
                // The same wish again, whatever became of it.
                Some((offer, _)) if self.chance.one_in(6) => AgentCall::Reserve { offer: *offer },
                _ => {
                    let offer = self.mark();
                    board.note(agent, offer, None);
                    AgentCall::Reserve { offer }
                }
            },
        }
    }

    fn ending(&mut self) -> Ending {
        match self.chance.below(10) {
            0..4 => Ending::Completed,
            4..6 => Ending::Declined,
            6 => Ending::Unanswered,
            7 => Ending::CallerGone,
            8 => Ending::Rescinded,
            _ => Ending::MediaLost,
        }
    }

    /// What was answered.
    pub fn heard(&mut self, key: Key, call: Call, reply: &Reply, board: &Board) {
        match (key, call, reply) {
            (Key::Lease(lease), Call::Lease(LeaseCall::Acquire), Reply::Epoch(epoch)) => {
                self.epochs[lease as usize].push(*epoch);
            }
            (Key::Lease(lease), Call::Lease(LeaseCall::Release { epoch }), _)
                if self.epochs[lease as usize].last() == Some(&epoch) && !self.chance.one_in(4) =>
            {
                self.epochs[lease as usize].pop();
            }
            (Key::Agent(agent), Call::Agent(AgentCall::Reserve { offer }), Reply::Token(token)) => {
                board.note(agent, offer, Some(*token));
            }
            _ => {}
        }
    }
}
