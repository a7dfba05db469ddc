//! The machine: routes each action to the noun it is about, and keeps time, retries and the outbox.

use std::collections::{BTreeMap, BTreeSet};

use super::agent::{Agent, Moment};
use super::command::{Action, Command, Device};
use super::lease::{Holding, cell_of_resource};
use super::reply::{Done, Rejection, Reply};
use super::roster::Roster;
use super::state::{Answer, OutboxFact, OutboxKey, State, Touched};
use super::{
    ANSWER_COUNT_MAX, ANSWER_INDEX_SPAN, DEVICE_COUNT_MAX, OUTBOX_COUNT_MAX, REASON_RETIRED, SESSION_LEASE,
};
use crate::facts::AgentFact;
use crate::kernel::{StateHash, Timers};
use crate::vocabulary::{AgentId, Cell, CommandId, ContactId, DeviceId, Millis, Timestamp};

mod leases;
mod reservations;

/// The replicated machine: the state, and indexes derived from it.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    state: State,
    /// Who is held for a contact: exactly the reservations in `state.agents`. More than one only while it rings at many.
    held: BTreeMap<ContactId, BTreeSet<AgentId>>,
    /// The next deadline of every agent and lease that has one.
    timers: Timers<Due>,
    /// Answers by their index: exactly `state.answers`.
    answered: BTreeSet<(u64, CommandId)>,
    touched: Touched,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Agent(AgentId),
    Lease(String),
}

/// One application: where its facts go.
struct Turn {
    index: u64,
    term: u64,
    traceparent: String,
}

impl Machine {
    /// The machine in a state that another machine was in.
    pub fn from_state(state: State) -> Self {
        let mut timers = Timers::default();
        let mut held: BTreeMap<ContactId, BTreeSet<AgentId>> = BTreeMap::new();
        for (agent_id, agent) in &state.agents {
            if let Some(at) = agent.next_deadline() {
                timers.set(Due::Agent(agent_id.clone()), at);
            }
            for reservation in agent.held() {
                held.entry(reservation.wish.contact_id.clone()).or_default().insert(agent_id.clone());
            }
        }
        for (resource, lease) in &state.leases {
            if let Some(holding) = &lease.holding {
                timers.set(Due::Lease(resource.clone()), holding.expires_at);
            }
        }
        let answered = state.answers.iter().map(|(id, answer)| (answer.index, id.clone())).collect();
        Self { state, held, timers, answered, touched: Touched::default() }
    }

    /// Everything it knows.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The digest of everything it knows.
    pub fn state_hash(&self) -> StateHash {
        self.state.hash()
    }

    /// When something happens by itself, at the earliest. The leader proposes [`Action::Expire`] then.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next_timeout()
    }

    /// What changed since the last call.
    pub fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// Applies one command of the entry at a Raft index. Indexes never fall; the commands of one entry are applied in
    /// order with the same index.
    ///
    /// `term` is that of the entry. Between the last command of one term and the first of the next nobody led and no
    /// renewal could be heard: that time does not count against leases.
    pub fn apply(&mut self, index: u64, term: u64, command: Command) -> Reply {
        let Command { command_id, proposed_at, traceparent, action } = command;
        if let Some(answer) = self.state.answers.get(&command_id) {
            return if answer.kind == action.kind() {
                answer.reply.clone()
            } else {
                Err(Rejection::CommandIdReused)
            };
        }
        debug_assert!(index >= self.state.last_index, "raft indexes never fall");
        if index > self.state.last_index {
            self.state.last_index = index;
            (self.state.fact_count, self.state.wish_count) = (0, 0);
        }
        if term > self.state.last_term {
            if self.state.last_term > 0 {
                self.spare_leases(proposed_at.since(self.state.now));
            }
            self.state.last_term = term;
        }
        self.state.now = self.state.now.max(proposed_at);
        let mut turn = Turn { index, term, traceparent: String::new() };
        self.settle(&mut turn);
        turn.traceparent = traceparent;
        let (kind, remembered) = (action.kind(), action.remembered());
        let full = self.state.outbox.len() >= OUTBOX_COUNT_MAX && action.starts_work();
        let reply = if full { Err(Rejection::OutboxFull) } else { self.act(&mut turn, action) };
        if remembered {
            self.remember(command_id, Answer { index, kind, reply: reply.clone() });
        }
        self.forget_answers(index);
        reply
    }

    fn act(&mut self, turn: &mut Turn, action: Action) -> Reply {
        let now = self.state.now;
        match action {
            Action::SignIn { agent_id, session_id, site_id, lease } => {
                let cell = self.cell_of(&agent_id)?;
                if lease > Millis::ZERO && !SESSION_LEASE.contains(&lease) {
                    return Err(Rejection::TtlOutOfBounds);
                }
                // Apart from what follows: between the two sessions the agent's cell may change.
                self.change(turn, &agent_id, now, |it, moment| it.make_way(&session_id, moment));
                let (session_id, client_sequence) = self.change(turn, &agent_id, now, |agent, moment| {
                    if agent.session.is_none() {
                        agent.cell = cell;
                    }
                    agent.sign_in(session_id, site_id, lease, moment)
                })?;
                Ok(Done::SignedIn { session_id, client_sequence })
            }
            Action::KeepSession { agent_id, session_id } => {
                self.known(&agent_id)?;
                let kept =
                    self.change(turn, &agent_id, now, |it, moment| it.keep_session(&session_id, moment));
                Ok(Done::SessionKept { expires_at: kept? })
            }
            Action::SignOut { agent_id, reason, said } => {
                self.known(&agent_id)?;
                let signed_out =
                    self.change(turn, &agent_id, now, |it, moment| it.leave(reason, said, moment));
                Ok(Done::SignedOut { session_id: signed_out? })
            }
            Action::GoReady { agent_id, said } => {
                self.known(&agent_id)?;
                self.change(turn, &agent_id, now, |it, moment| it.go_ready(said, moment))?;
                Ok(Done::Ready)
            }
            Action::GoNotReady { agent_id, reason, duration, said } => {
                self.known(&agent_id)?;
                self.change(turn, &agent_id, now, |agent, moment| {
                    agent.go_not_ready(reason, duration, said, moment)
                })?;
                Ok(Done::NotReady)
            }
            Action::ForcePresence { agent_id, force, author, reason } => {
                self.known(&agent_id)?;
                self.change(turn, &agent_id, now, |it, moment| it.force(force, author, reason, moment))?;
                Ok(Done::Forced)
            }
            Action::RequestWrapUp { agent_id, offer_id } => {
                self.known(&agent_id)?;
                self.change(turn, &agent_id, now, |agent, _| agent.request_wrap_up(offer_id))?;
                Ok(Done::WrapUpRequested)
            }
            Action::FinishWrapUp { agent_id, offer_id, code } => {
                self.known(&agent_id)?;
                self.change(turn, &agent_id, now, |it, moment| it.finish_wrap_up(offer_id, code, moment))?;
                Ok(Done::WrapUpFinished)
            }
            Action::ExtendWrapUp { agent_id, offer_id, span } => {
                self.known(&agent_id)?;
                let ends_at =
                    self.change(turn, &agent_id, now, |it, moment| it.extend_wrap_up(offer_id, span, moment));
                Ok(Done::WrapUpExtended { ends_at: ends_at? })
            }
            Action::RegisterDevice { agent_id, device_id, device } => {
                self.register_device(turn, &agent_id, device_id, device)
            }
            Action::UnregisterDevice { agent_id, device_id, reason } => {
                if self.state.agents.contains_key(&agent_id) {
                    self.change(turn, &agent_id, now, |it, moment| it.unregister(device_id, reason, moment));
                } else {
                    self.cell_of(&agent_id)?;
                }
                Ok(Done::DeviceForgotten)
            }
            Action::DefineRoster(roster) => Ok(self.define_roster(turn, roster)),
            Action::ReserveAgents { cell, routing_epoch, wishes } => {
                self.reserve_agents(turn, cell, routing_epoch, wishes)
            }
            Action::AcceptReservation { agent_id, offer_id, token, node_id, media_epoch } => {
                self.accept(turn, &agent_id, &offer_id, token, &node_id, media_epoch)
            }
            Action::ReleaseReservation { agent_id, offer_id, token, outcome, node_id, epoch } => {
                self.release(turn, &agent_id, &offer_id, token, outcome, &node_id, epoch)
            }
            Action::AcquireLease { resource, holder, ttl, address } => {
                self.acquire_lease(turn, resource, holder, ttl, address)
            }
            Action::RenewLease { resource, holder, epoch, ttl } => {
                self.renew_lease(resource, &holder, epoch, ttl)
            }
            Action::ReleaseLease { resource, holder, epoch } => {
                self.release_lease(turn, resource, &holder, epoch)
            }
            Action::Expire => Ok(Done::Expired),
            Action::AdvancePublished { through, term } => {
                if term == turn.term {
                    self.advance_published(through);
                }
                Ok(Done::Advanced)
            }
            Action::RaiseFeatureLevel { level } => {
                self.state.feature_level = self.state.feature_level.max(level);
                Ok(Done::FeatureLevelRaised)
            }
        }
    }

    fn register_device(
        &mut self,
        turn: &mut Turn,
        agent_id: &AgentId,
        device_id: DeviceId,
        device: Device,
    ) -> Reply {
        self.cell_of(agent_id)?;
        let now = self.state.now;
        if device.expires_at <= now {
            return Err(Rejection::DeadlinePassed);
        }
        let devices = self.state.agents.get(agent_id).map(|it| &it.devices);
        if devices.is_some_and(|it| it.len() >= DEVICE_COUNT_MAX && !it.contains_key(&device_id)) {
            return Err(Rejection::TooManyDevices);
        }
        self.change(turn, agent_id, now, |agent, moment| agent.register(device_id, device, moment));
        Ok(Done::DeviceKnown)
    }

    fn define_roster(&mut self, turn: &mut Turn, roster: Roster) -> Done {
        if roster.revision < self.state.roster.revision || roster == self.state.roster {
            return Done::RosterDefined;
        }
        self.state.roster = roster;
        self.touched.roster = true;
        let now = self.state.now;
        let (agents, roster) = (&self.state.agents, &self.state.roster);
        let retired = |agent: &&Agent| {
            !roster.agents.contains_key(&agent.agent_id)
                && (agent.session.is_some() || !agent.devices.is_empty())
        };
        let retired: Vec<AgentId> = agents.values().filter(retired).map(|it| it.agent_id.clone()).collect();
        for agent_id in retired {
            self.change(turn, &agent_id, now, |agent, moment| {
                // An agent without a session has nothing to sign out of.
                let _ = agent.sign_out(REASON_RETIRED.to_owned(), false, moment);
                for device_id in agent.devices.keys().cloned().collect::<Vec<_>>() {
                    agent.unregister(device_id, REASON_RETIRED.to_owned(), moment);
                }
            });
        }
        Done::RosterDefined
    }

    // Time, retries, outbox.

    /// Makes everything happen that is due by now, each at its own deadline, in order.
    fn settle(&mut self, turn: &mut Turn) {
        while let Some((at, due)) = self.timers.pop_due(self.state.now) {
            match due {
                Due::Agent(agent_id) => {
                    let trace = self.state.agents.get(&agent_id).map(|agent| agent.traceparent(at));
                    turn.traceparent = trace.unwrap_or_default().to_owned();
                    self.change(turn, &agent_id, at, Agent::expire);
                }
                Due::Lease(resource) => {
                    turn.traceparent = String::new();
                    let holding = self.state.leases.get(&resource).and_then(|it| it.holding.clone());
                    if let Some(Holding { holder, epoch, .. }) = holding {
                        let fact = AgentFact::LeaseLapsed { resource: resource.clone(), holder, epoch };
                        self.end_lease(turn, &resource, at, fact);
                    }
                }
            }
        }
    }

    fn remember(&mut self, command_id: CommandId, answer: Answer) {
        self.touched.answers.insert(command_id.clone());
        self.answered.insert((answer.index, command_id.clone()));
        self.state.answers.insert(command_id, answer);
    }

    fn forget_answers(&mut self, index: u64) {
        let oldest = index.saturating_sub(ANSWER_INDEX_SPAN);
        while self.answered.first().is_some_and(|(at, _)| *at < oldest)
            || self.answered.len() > ANSWER_COUNT_MAX
        {
            if let Some((_, command_id)) = self.answered.pop_first() {
                self.state.answers.remove(&command_id);
                self.touched.answers.insert(command_id);
            }
        }
    }

    fn advance_published(&mut self, through: u64) {
        self.state.published = self.state.published.max(through);
        while let Some(first) = self.state.outbox.first_entry().filter(|it| it.key().index <= through) {
            self.touched.outbox.insert(*first.key());
            first.remove();
        }
    }

    /// The one way an agent changes: indexes, deadlines, `since` and the outbox follow.
    fn change<R>(
        &mut self,
        turn: &mut Turn,
        agent_id: &AgentId,
        at: Timestamp,
        change: impl FnOnce(&mut Agent, &mut Moment<'_>) -> R,
    ) -> R {
        let roster = std::mem::take(&mut self.state.roster);
        let roster_cell = roster.agents.get(agent_id).copied().unwrap_or_default();
        let mut agent = self
            .state
            .agents
            .remove(agent_id)
            .unwrap_or_else(|| Agent::new(agent_id.clone(), roster_cell, at));
        for held in agent.held() {
            let contact_id = &held.wish.contact_id;
            let others = self.held.get_mut(contact_id);
            if others.is_some_and(|it| it.remove(agent_id) && it.is_empty()) {
                self.held.remove(contact_id);
            }
        }
        let before = agent.activity();
        let feature_level = self.state.feature_level;
        let mut moment = Moment { at, roster: &roster, feature_level, facts: Vec::new(), unseen: false };
        let result = change(&mut agent, &mut moment);
        let (facts, unseen) = (moment.facts, moment.unseen);
        self.state.roster = roster;
        if agent.activity() != before {
            agent.since = at;
        }
        for fact in facts {
            agent.sequence += 1;
            self.post(turn, agent.cell, agent.sequence, at, fact);
        }
        for held in agent.held() {
            self.held.entry(held.wish.contact_id.clone()).or_default().insert(agent_id.clone());
        }
        let due = Due::Agent(agent_id.clone());
        match agent.next_deadline() {
            Some(deadline) => self.timers.set(due, deadline),
            None => drop(self.timers.cancel(&due)),
        }
        self.touched.agents.insert(agent_id.clone());
        if !unseen {
            self.touched.seen.insert(agent_id.clone());
        }
        self.state.agents.insert(agent_id.clone(), agent);
        result
    }

    fn post_lease(&mut self, turn: &mut Turn, resource: &str, at: Timestamp, fact: AgentFact) {
        let lease = self.state.leases.entry(resource.to_owned()).or_default();
        lease.sequence += 1;
        let sequence = lease.sequence;
        self.touched.leases.insert(resource.to_owned());
        self.post(turn, cell_of_resource(resource), sequence, at, fact);
    }

    fn post(&mut self, turn: &mut Turn, cell: Cell, sequence: u64, at: Timestamp, fact: AgentFact) {
        let key = OutboxKey { index: turn.index, ordinal: self.state.fact_count };
        self.state.fact_count += 1;
        let traceparent = turn.traceparent.clone();
        self.touched.outbox.insert(key);
        self.state.outbox.insert(key, OutboxFact { cell, sequence, occurred_at: at, traceparent, fact });
    }

    fn cell_of(&self, agent_id: &AgentId) -> Result<Cell, Rejection> {
        let cell = self.state.roster.agents.get(agent_id).copied();
        cell.ok_or_else(|| Rejection::UnknownAgent { agent_id: agent_id.clone() })
    }

    /// The agent, if it ever did anything; `NotSignedIn` when only the directory knows it.
    fn known(&self, agent_id: &AgentId) -> Result<&Agent, Rejection> {
        match self.state.agents.get(agent_id) {
            Some(agent) => Ok(agent),
            None => {
                self.cell_of(agent_id)?;
                Err(Rejection::NotSignedIn)
            }
        }
    }
}
