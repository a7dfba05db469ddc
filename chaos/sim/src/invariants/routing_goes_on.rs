//! Routing in the real cell: one offer a contact, everybody served in order, every contact ended, and a router that lived
//! is the router that is replayed.
//!
//! Without it a caller is offered to two agents by two owners, or waits for an owner that is gone.

use trunkline_chaos::History;
use trunkline_chaos::invariants::{
    Invariant, contacts_end_once, one_offer_per_contact, served_in_order, visits_end_once,
};
use trunkline_domain::facts::{DirectoryFact, Outcome};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, Router};
use trunkline_domain::vocabulary::{LogName, Position, Timestamp};

use super::Verdict;
use crate::clients::routed::{CELL, Reader};
use crate::event_log::EventLog;
use crate::message::Outcomes;
use crate::world::CELLS;

pub(crate) const NAME: &str = "routing_goes_on";

/// The promises of the chaos suite that need the contacts and routing logs.
const OF_THE_LOGS: [Invariant; 4] = [
    one_offer_per_contact::INVARIANT,
    contacts_end_once::INVARIANT,
    visits_end_once::INVARIANT,
    served_in_order::INVARIANT,
];

/// In the end nothing is open.
pub(crate) fn end(history: &History) -> Verdict {
    if let Some(violation) = OF_THE_LOGS.iter().flat_map(|it| (it.check)(history)).next() {
        return Err(violation.to_string());
    }
    match contacts_end_once::live(history).first() {
        Some(contact_id) => Err(format!("{contact_id} has not ended")),
        None => Ok(()),
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
