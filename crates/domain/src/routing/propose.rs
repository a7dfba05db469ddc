//! The one place that makes offers: plan a turn, ask agent-state for all of it, offer what is granted.

use super::book::Waiting;
use super::engine::{AGENT_KEPT_BACK, CONTACT_KEPT_BACK, Cause, LAPSE_AFTER, Router, Timer};
use super::input::{Output, Wish};
use super::pending::Asked;
use super::pools::{AgentNo, Nearness, Pools};
use super::selection::Key;
use super::turn::Missed;
use crate::facts::{PassedOver, PassedOverReason, RoutingFact};
use crate::vocabulary::{AgentId, ContactId, Millis, OfferId, SelectionStrategy};

/// How many candidates an offer tells that they were passed over.
pub const PASSED_OVER_MAX: usize = 5;

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
        let fresh = self.freshen();
        if fresh.is_empty() {
            return;
        }
        #[cfg(test)]
        let expected = super::naive::plan(self);
        let missed = Missed { book: &self.book, directory: &self.directory, now: self.now };
        let book = &self.book;
        let met = self.pools.turn(&fresh, &missed, WISHES_MAX, |pools, rank, agent| {
            let waiting = book.waiting(&rank.2);
            let over = waiting.map(|it| passed_over(pools, it, Some(agent), &missed)).unwrap_or_default();
            (rank.2.clone(), pools.agent_id(agent).clone(), over)
        });
        #[cfg(test)]
        assert_eq!(met, expected, "a turn is what looking at everybody comes to");
        self.touched.all = met.len() == WISHES_MAX;
        let asked: Vec<Asked> = met
            .into_iter()
            .filter_map(|(contact_id, agent_id, over)| self.asked(contact_id, agent_id, over))
            .collect();
        if asked.is_empty() {
            return;
        }
        let wishes = asked.iter().map(|asked| asked.wish.clone()).collect();
        asked.into_iter().for_each(|asked| self.pending.put(asked));
        self.commands.push(Output::Reserve(wishes));
    }

    /// The wish for a pair.
    fn asked(
        &mut self,
        contact_id: ContactId,
        agent_id: AgentId,
        passed_over: Vec<PassedOver>,
    ) -> Option<Asked> {
        let Some(waiting) = self.book.waiting(&contact_id) else {
            // Nobody seeks who does not wait; should it be otherwise, neither is forgotten.
            self.touch_contact(&contact_id);
            self.touch_agent(&agent_id);
            return None;
        };
        let queue = self.directory.queue(&waiting.queue_id, self.now);
        let timeout = queue.map_or(OFFER_TIMEOUT_DEFAULT, |queue| queue.offer_timeout_ms);
        let wish = Wish {
            offer_id: self.offer_id(self.offer_count + 1),
            agent_id,
            contact_id,
            company_id: waiting.company_id.clone(),
            queue_id: waiting.queue_id.clone(),
            node_id: waiting.node_id.clone(),
            expires_at: self.now + timeout,
        };
        let visit = waiting.visit;
        self.offer_count += 1;
        Some(Asked { wish, visit, passed_over })
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
            self.touch_contact(&asked.wish.contact_id);
            self.touch_agent(&asked.wish.agent_id);
            match answer {
                Ok(token) => self.granted(asked, token),
                Err(code) => self.refused(asked, code),
            }
        }
    }

    fn granted(&mut self, asked: Asked, token: u64) {
        let Asked { wish, visit, passed_over } = asked;
        let waiting = self.book.waiting(&wish.contact_id);
        let waits = |it: &&Waiting| it.visit == visit && it.leaves_for().is_none();
        let Some(waiting) = waiting.filter(waits).filter(|_| wish.expires_at > self.now) else {
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

/// Why not the others: who came nearest first, at most [`PASSED_OVER_MAX`].
pub(super) fn passed_over(
    pools: &Pools,
    waiting: &Waiting,
    chosen: Option<AgentNo>,
    missed: &Missed<'_>,
) -> Vec<PassedOver> {
    let want = &waiting.want;
    let available =
        |agent: AgentNo| pools.standing(agent).filter(|standing| standing.nearness == Nearness::Available);
    let mut missing: Vec<(Key, AgentNo)> = waiting
        .missed
        .keys()
        .filter(|agent_id| missed.until(waiting, agent_id).is_some())
        .filter_map(|agent_id| pools.number(agent_id))
        .filter(|agent| Some(*agent) != chosen && pools.able(*agent, want) && available(*agent).is_some())
        .filter_map(|agent| Some((pools.key(agent, want)?, agent)))
        .collect();
    missing.sort_unstable();
    let group = chosen.and_then(|agent| pools.key(agent, want)).map(Key::group);
    let others = pools.staff(want).filter(|(_, _, agent)| {
        Some(*agent) != chosen && missing.iter().all(|(_, missing)| missing != agent)
    });
    let others = others.map(|(nearness, key, agent)| {
        let alike = want.selection.strategy == SelectionStrategy::LongestIdle && group == Some(key.group());
        let reason = match nearness {
            Nearness::Available if alike => PassedOverReason::IdleLessLong,
            other => other.reason(),
        };
        (agent, reason)
    });
    let unskilled = pools.others(want).map(|agent| (agent, PassedOverReason::LacksSkill));
    let missing = missing.iter().map(|(_, agent)| (*agent, PassedOverReason::MissedThisContact));
    let nearest = missing.chain(others).chain(unskilled).take(PASSED_OVER_MAX);
    nearest.map(|(agent, reason)| PassedOver { agent_id: pools.agent_id(agent).clone(), reason }).collect()
}
