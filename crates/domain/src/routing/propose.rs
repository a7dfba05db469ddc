//! The one place that makes offers: plan a turn, ask agent-state for all of it, offer what is granted.

use std::collections::BTreeSet;

use super::agents::AgentView;
use super::book::Waiting;
use super::engine::{AGENT_KEPT_BACK, CONTACT_KEPT_BACK, Cause, LAPSE_AFTER, Router, Timer};
use super::input::{Output, Wish};
use super::matching::{Candidate, Seeker, match_turn, passed_over};
use super::pending::Asked;
use crate::facts::RoutingFact;
use crate::vocabulary::{AgentId, ContactId, Millis, OfferId, Timestamp};

/// How long an offer rings when its queue is not defined any more.
const OFFER_TIMEOUT_DEFAULT: Millis = Millis(15_000);
/// Wishes of one turn, at most; the rest come with the next answer.
const WISHES_MAX: usize = 256;

/// Refusals that are about the contact, not the agent: another agent would be refused too.
const ABOUT_CONTACT: [&str; 7] = [
    "CONTACT_RESERVED",
    "DEADLINE_PASSED",
    "DEADLINE_TOO_FAR",
    "STALE_EPOCH",
    "TOO_MANY_WISHES",
    "UNKNOWN_QUEUE",
    "OUTBOX_FULL",
];

impl Router {
    /// Plans a turn. Afterwards no agent is free who could serve a contact that waits unoffered.
    pub(super) fn propose(&mut self) {
        let (asked, look_again_at) = self.plan();
        match look_again_at {
            Some(at) => self.timers.set(Timer::LookAgain, at),
            None => {
                self.timers.cancel(&Timer::LookAgain);
            }
        }
        if asked.is_empty() {
            return;
        }
        self.offer_count += asked.len() as u64;
        let wishes = asked.iter().map(|asked| asked.wish.clone()).collect();
        asked.into_iter().for_each(|asked| self.pending.put(asked));
        self.commands.push(Output::Reserve(wishes));
    }

    /// The wishes of a turn, and when to look again because of who missed a contact.
    fn plan(&self) -> (Vec<Asked>, Option<Timestamp>) {
        let now = self.now;
        let kept_back = self.kept_back();
        let candidate = |(agent_id, view)| self.candidate(agent_id, view, &kept_back);
        let idle: Vec<Candidate<'_>> =
            self.agents.free().map(candidate).filter(Candidate::available).collect();
        if idle.is_empty() {
            return (Vec::new(), None);
        }
        let seekers: Vec<Seeker<'_>> = self
            .book
            .in_order()
            .filter(|(contact_id, waiting)| self.seeks(contact_id, waiting))
            .map(|(contact_id, waiting)| Seeker::new(contact_id, waiting, &self.directory, now))
            .collect();
        let mut matched = match_turn(&seekers, &idle, now);
        matched.matches.truncate(WISHES_MAX);
        if matched.matches.is_empty() {
            return (Vec::new(), matched.look_again_at);
        }
        // Only now is everybody looked at: an offer tells why it was not the others.
        let everybody: Vec<Candidate<'_>> = self.agents.all().map(candidate).collect();
        let asked = matched.matches.iter().enumerate().map(|(ordinal, pair)| {
            let (seeker, agent_id) = (&seekers[pair.seeker], idle[pair.candidate].agent_id);
            let waiting = seeker.waiting;
            let queue = self.directory.queue(&waiting.queue_id, now);
            let timeout = queue.map_or(OFFER_TIMEOUT_DEFAULT, |queue| queue.offer_timeout_ms);
            let wish = Wish {
                offer_id: self.offer_id(self.offer_count + ordinal as u64 + 1),
                agent_id: agent_id.clone(),
                contact_id: seeker.contact_id.clone(),
                company_id: waiting.company_id.clone(),
                queue_id: waiting.queue_id.clone(),
                node_id: waiting.node_id.clone(),
                expires_at: now + timeout,
            };
            let passed_over = passed_over(seeker, agent_id, &everybody, now);
            Asked { wish, visit: waiting.visit, passed_over }
        });
        (asked.collect(), matched.look_again_at)
    }

    /// Whether a waiting contact is to be offered to somebody now.
    pub(super) fn seeks(&self, contact_id: &ContactId, waiting: &Waiting) -> bool {
        waiting.offer.is_none()
            && !self.pending.about_contact(contact_id)
            && self.timers.get(&Timer::ContactKeptBack(contact_id.clone())).is_none()
            && self.nodes.address(&waiting.node_id).is_some()
    }

    pub(super) fn candidate<'a>(
        &'a self,
        agent_id: &'a AgentId,
        view: &'a AgentView,
        kept_back: &BTreeSet<AgentId>,
    ) -> Candidate<'a> {
        let known = self.directory.agent(agent_id, self.now);
        Candidate {
            agent_id,
            view,
            skills: known.map_or(&[], |agent| &agent.skills),
            known: known.is_some(),
            kept_back: kept_back.contains(agent_id) || self.book.offer_to(agent_id).is_some(),
            reachable: view.reachable(self.now),
        }
    }

    /// The name of the `ordinal`-th offer of this epoch: no two owners have the same epoch.
    fn offer_id(&self, ordinal: u64) -> OfferId {
        OfferId::from_name(&format!("r{}-{}-{ordinal}", self.cell, self.epoch))
            .expect("a letter, digits and dashes, under 60 of them, are an id")
    }

    /// Agent-state's word on a turn's wishes.
    pub(super) fn answered(&mut self, answers: Vec<(OfferId, Result<u64, String>)>) {
        for (offer_id, answer) in answers {
            let Some(asked) = self.pending.take(&offer_id) else { continue };
            match answer {
                Ok(token) => self.granted(asked, token),
                Err(code) => self.refused(asked, code),
            }
        }
    }

    fn granted(&mut self, asked: Asked, token: u64) {
        let Asked { wish, visit, passed_over } = asked;
        let waiting = self.book.waiting(&wish.contact_id);
        let Some(waiting) = waiting.filter(|it| it.visit == visit && wish.expires_at > self.now) else {
            // The caller left, or the answer took too long: nobody will ring.
            self.release(wish.agent_id, wish.offer_id, token);
            return;
        };
        let (round, queued_by) = (waiting.round + 1, waiting.queued_by.clone());
        let fact = RoutingFact::OfferMade {
            contact_id: wish.contact_id,
            company_id: wish.company_id,
            queue_id: wish.queue_id,
            visit,
            offer_id: wish.offer_id.clone(),
            agent_id: wish.agent_id,
            token,
            node_id: wish.node_id,
            expires_at: wish.expires_at,
            round,
            passed_over,
        };
        self.record(fact, Cause::of(&queued_by));
        self.timers.set(Timer::Lapse(wish.offer_id.clone()), wish.expires_at + LAPSE_AFTER);
        if let Some(command) = self.offer_command(&wish.offer_id) {
            self.commands.push(Output::Offer(command));
        }
    }

    fn refused(&mut self, asked: Asked, code: String) {
        let wish = asked.wish;
        if ABOUT_CONTACT.contains(&code.as_str()) {
            self.timers.set(Timer::ContactKeptBack(wish.contact_id.clone()), self.now + CONTACT_KEPT_BACK);
        } else {
            self.timers.set(Timer::AgentKeptBack(wish.agent_id.clone()), self.now + AGENT_KEPT_BACK);
        }
        let Some(queued_by) = self.book.waiting(&wish.contact_id).map(|it| it.queued_by.clone()) else {
            return;
        };
        let fact = RoutingFact::ReservationRefused {
            contact_id: wish.contact_id,
            offer_id: wish.offer_id,
            agent_id: wish.agent_id,
            reason: code,
        };
        self.record(fact, Cause::of(&queued_by));
    }
}
