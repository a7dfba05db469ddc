//! Routing in the real cell: one offer a contact, everybody served in order, every contact ended, and a router that lived
//! is the router that is replayed.
//!
//! Without it a caller is offered to two agents by two owners, or waits for an owner that is gone.

use std::collections::BTreeMap;

use trunkline_chaos::invariants::{
    Invariant, contacts_end_once, one_offer_per_contact, served_in_order, visits_end_once,
};
use trunkline_chaos::{History, Violation};
use trunkline_domain::agent_state::Action;
use trunkline_domain::facts::{Delivered, DirectoryFact, Outcome, RoutingFact};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, Router};
use trunkline_domain::vocabulary::{Cell, CommandId, ContactId, LogName, Millis, Position, Timestamp};

use super::Verdict;
use crate::clients::routed::{CELL, Reader};
use crate::event_log::EventLog;
use crate::message::Outcomes;
use crate::world::CELLS;

pub(crate) const NAME: &str = "routing_goes_on";

/// The promises of the chaos suite that need the contacts and routing logs.
const OF_THE_LOGS: [Invariant; 3] =
    [one_offer_per_contact::INVARIANT, contacts_end_once::INVARIANT, visits_end_once::INVARIANT];

/// How far a router's clock may be off.
const SKEW_MAX: Millis = Millis(500);

/// When a reservation for each contact was asked for, and when that was answered.
///
/// The order in which contacts are served allows for a turn that waits for agent-state, but for five seconds only. Here it
/// may wait longer, so what was under way is known exactly.
#[derive(Debug, Default)]
pub(crate) struct RoutingGoesOn {
    asked: BTreeMap<CommandId, (Timestamp, Vec<ContactId>)>,
    planned: BTreeMap<ContactId, Vec<(Timestamp, Timestamp)>>,
}

impl RoutingGoesOn {
    pub(crate) fn issued(&mut self, now: Timestamp, command_id: &CommandId, action: &Action) {
        if let Action::ReserveAgents { wishes, .. } = action {
            let contacts = wishes.iter().map(|wish| wish.contact_id.clone()).collect();
            self.asked.insert(command_id.clone(), (now, contacts));
        }
    }

    pub(crate) fn acknowledged(&mut self, now: Timestamp, command_id: &CommandId) {
        if let Some((asked_at, contacts)) = self.asked.remove(command_id) {
            for contact_id in contacts {
                self.planned.entry(contact_id).or_default().push((asked_at, now));
            }
        }
    }

    /// In the end nothing is open.
    pub(crate) fn end(&self, history: &History) -> Verdict {
        let mut found = OF_THE_LOGS.iter().flat_map(|it| (it.check)(history));
        let unfair = (served_in_order::INVARIANT.check)(history);
        let mut unfair = unfair.into_iter().filter(|violation| !self.under_way(violation, history));
        if let Some(violation) = found.next().or_else(|| unfair.next()) {
            return Err(violation.to_string());
        }
        match contacts_end_once::live(history).first() {
            Some(contact_id) => Err(format!("{contact_id} has not ended")),
            None => Ok(()),
        }
    }

    /// Whether a reservation for the contact that was passed over was under way.
    fn under_way(&self, violation: &Violation, history: &History) -> bool {
        let Ok(contact_id) = ContactId::parse(&violation.subject) else { return false };
        let of = |it: &&(Cell, Delivered<RoutingFact>)| {
            violation.place.is_some_and(|place| place.cell == it.0 && place.position == it.1.position)
        };
        let record = history.routing.iter().find(of);
        let Some(at) = record.and_then(|(_, it)| it.outcome.facts.first()).map(|it| it.meta.occurred_at)
        else {
            return false;
        };
        let around = |from: Timestamp, to: Timestamp| from <= at + SKEW_MAX && at <= to + SKEW_MAX;
        let answered = self.planned.get(&contact_id).into_iter().flatten();
        let waiting = self.asked.values().filter(|(_, contacts)| contacts.contains(&contact_id));
        answered.into_iter().any(|(from, to)| around(*from, *to))
            || waiting.into_iter().any(|(from, _)| *from <= at + SKEW_MAX)
    }
}

/// A router that lived through everything is in the state of one that was replayed from the logs.
pub(crate) fn replayed(live: &Router, logs: &EventLog, directory: &Outcome<DirectoryFact>) -> Verdict {
    let now = Timestamp(i64::MIN);
    let mut router = Router::new(CELL);
    let mut own = Reader::new(LogName::Routing, CELL);
    while let Some((_, kept)) = own.next(logs, None) {
        if let Outcomes::Routing(outcome) = &kept.outcome {
            router.handle(now, Input::Own((**outcome).clone()));
        }
    }
    for cell in CELLS {
        let mut agents = Reader::new(LogName::Agents, cell);
        let through = live.position(LogName::Agents, cell);
        while let Some((position, kept)) = through.and_then(|_| agents.next(logs, through)) {
            if let Outcomes::Agents(outcome) = &kept.outcome {
                router.handle(now, Input::Agents { cell, position, outcome: (**outcome).clone() });
            }
        }
    }
    router.handle(now, Input::Directory { position: Position(0), outcome: directory.clone() });
    if router.state_hash() == live.state_hash() {
        return Ok(());
    }
    Err(format!("the router that lived is {}, replayed it is {}", live.state_hash(), router.state_hash()))
}
