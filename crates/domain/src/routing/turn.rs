//! What an input changed of who seeks and who is available, told to the pools before the turn.

use super::agents::AgentView;
use super::book::{Book, Rank, Waiting};
use super::engine::{Router, Timer};
use super::pools::{Fresh, Misses, Nearness, Pools, Standing};
use super::selection::{Stats, Want};
use crate::directory::Directory;
use crate::facts::RoutingFact;
use crate::vocabulary::{AgentId, ContactId, Millis, Timestamp};

/// How long an agent who missed a contact is not offered it again when its queue is not defined any more.
const REOFFER_AFTER_DEFAULT: Millis = Millis(30_000);

/// What the next turn has to look at.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// The directory is another one, or nothing was looked at yet.
    pub directory: bool,
    /// Everybody: the turn before had more pairs than it may make.
    pub all: bool,
    contacts: Vec<ContactId>,
    agents: Vec<AgentId>,
}

/// Who missed what, as of now.
pub(super) struct Missed<'a> {
    pub book: &'a Book,
    pub directory: &'a Directory,
    pub now: Timestamp,
}

impl Missed<'_> {
    /// Until when agents that missed a contact are not offered it again, each.
    fn of<'a>(&'a self, waiting: &'a Waiting) -> impl Iterator<Item = (&'a AgentId, Timestamp)> {
        let queue = self.directory.queue(&waiting.queue_id, self.now);
        let reoffer_after = queue.map_or(REOFFER_AFTER_DEFAULT, |queue| queue.reoffer_after_ms);
        waiting.missed.iter().map(move |(agent_id, (_, at))| (agent_id, *at + reoffer_after))
    }

    /// Until when an agent is not offered this contact again; `None` when it may be now.
    pub(super) fn until(&self, waiting: &Waiting, agent_id: &AgentId) -> Option<Timestamp> {
        self.of(waiting)
            .find(|(other, until)| *other == agent_id && *until > self.now)
            .map(|(_, until)| until)
    }
}

impl Misses for Missed<'_> {
    fn missed(&self, rank: &Rank, agent_id: &AgentId) -> bool {
        self.book.waiting(&rank.2).is_some_and(|waiting| self.until(waiting, agent_id).is_some())
    }
}

impl Router {
    /// Something about a waiting contact may be different.
    pub(super) fn touch_contact(&mut self, contact_id: &ContactId) {
        if self.decides() {
            self.touched.contacts.push(contact_id.clone());
        }
    }

    /// Something about an agent may be different.
    pub(super) fn touch_agent(&mut self, agent_id: &AgentId) {
        if self.decides() {
            self.touched.agents.push(agent_id.clone());
        }
    }

    /// Something about every waiting contact may be different.
    pub(super) fn touch_contacts(&mut self) {
        if self.decides() {
            self.touched.contacts.extend(self.book.in_order().map(|(contact_id, _)| contact_id.clone()));
        }
    }

    /// Whoever a fact of the own log is about.
    pub(super) fn touch_those_of(&mut self, fact: &RoutingFact) {
        use crate::facts::LogFact;
        if let Some(contact_id) = fact.contact() {
            self.touch_contact(contact_id);
        }
        match fact {
            RoutingFact::OfferMade { agent_id, .. }
            | RoutingFact::OfferAccepted { agent_id, .. }
            | RoutingFact::OfferEnded { agent_id, .. }
            | RoutingFact::ReservationRefused { agent_id, .. } => self.touch_agent(agent_id),
            RoutingFact::ContactQueued { .. }
            | RoutingFact::ContactDequeued { .. }
            | RoutingFact::StepBegan { .. }
            | RoutingFact::ContactReplanned { .. }
            | RoutingFact::ContactTurnedAway { .. }
            | RoutingFact::PartitionTaken { .. } => {}
        }
    }

    /// Brings the pools up to date; gives who may find somebody now.
    pub(super) fn freshen(&mut self) -> Fresh {
        let mut fresh = Fresh { all: std::mem::take(&mut self.touched.all), ..Fresh::default() };
        if std::mem::take(&mut self.touched.directory) {
            let known = self.directory.agents(self.now);
            self.pools = Pools::of(known.map(|agent| (&agent.agent_id, agent.skills.as_slice())));
            self.touched.agents = self.agents.all().map(|(agent_id, _)| agent_id.clone()).collect();
            self.touched.contacts = self.book.in_order().map(|(contact_id, _)| contact_id.clone()).collect();
            for queue in self.directory.queues(self.now) {
                let (required, selection) = (queue.required_skills.clone(), queue.plan.selection.clone());
                self.pools.prepare(&Want { required, selection });
            }
            fresh.all = true;
        }
        for agent_id in std::mem::take(&mut self.touched.agents) {
            let Some(number) = self.pools.number(&agent_id) else { continue };
            let view = self.agents.get(&agent_id);
            let standing = view.and_then(|view| self.standing(&agent_id, view));
            if self.pools.stands(number, standing) {
                fresh.agents.push(number);
                // That a telephone is gone is told by nobody.
                let until = view.and_then(AgentView::reachable_until);
                let timer = Timer::Unreachable(agent_id);
                if let Some(until) = until.filter(|until| self.timers.get(&timer) != Some(*until)) {
                    self.timers.set(timer, until);
                }
            }
        }
        fresh.agents.sort_unstable();
        fresh.agents.dedup();
        for contact_id in std::mem::take(&mut self.touched.contacts) {
            self.pools.seeks_no_more(&contact_id);
            let leaves = self.book.waiting(&contact_id).is_some_and(|it| it.leaves_for().is_some());
            if leaves && self.timers.get(&Timer::Leaves(contact_id.clone())).is_none() {
                self.tell_to_leave(&contact_id);
            }
            let waiting = self.book.waiting(&contact_id).filter(|it| self.seeks(&contact_id, it));
            let missed = Missed { book: &self.book, directory: &self.directory, now: self.now };
            let again_at = waiting.and_then(|waiting| {
                missed.of(waiting).map(|(_, until)| until).filter(|until| *until > self.now).min()
            });
            if let Some(waiting) = waiting {
                let rank = waiting.rank(&contact_id);
                self.pools.seeks(rank.clone(), &waiting.want, again_at.is_some());
                fresh.contacts.push(rank);
            }
            let timer = Timer::LookAgain(contact_id);
            match again_at {
                Some(at) => self.timers.set(timer, at),
                None => drop(self.timers.cancel(&timer)),
            }
        }
        fresh
    }

    /// Whether a waiting contact is to be offered to somebody now.
    pub(super) fn seeks(&self, contact_id: &ContactId, waiting: &Waiting) -> bool {
        waiting.offer.is_none()
            && waiting.leaves_for().is_none()
            && !self.pending.about_contact(contact_id)
            && self.timers.get(&Timer::ContactKeptBack(contact_id.clone())).is_none()
            && self.nodes.address(&waiting.node_id).is_some()
    }

    /// Whether routing itself keeps an agent back: an offer or a question about it is under way, or it was just refused.
    pub(super) fn keeps_back(&self, agent_id: &AgentId) -> bool {
        self.pending.about_agent(agent_id)
            || self.book.offer_to(agent_id).is_some()
            || self.timers.get(&Timer::AgentKeptBack(agent_id.clone())).is_some()
    }

    /// Where an agent of the directory stands; `None` when it is not signed in.
    pub(super) fn standing(&self, agent_id: &AgentId, view: &AgentView) -> Option<Standing> {
        let nearness = if view.busy() || self.keeps_back(agent_id) {
            Nearness::Busy
        } else if !view.ready {
            Nearness::NotReady
        } else if !view.reachable(self.now) {
            Nearness::NoDevice
        } else {
            Nearness::Available
        };
        let stats = Stats {
            idle_since: view.idle_since,
            last_contact_at: view.last_contact_at,
            signed_in_at: view.signed_in_at,
            contact_count: view.contact_count,
            talk_ms: view.talk_ms,
            offered_last: self.book.offered_last(agent_id),
        };
        view.signed_in.then_some(Standing { nearness, stats })
    }
}
