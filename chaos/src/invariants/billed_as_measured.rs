//! Billed time is measured time: between the facts an item names, raised by its contract's increments, once, and with
//! no two items of one unit overlapping for one agent.
//!
//! Work that ended before what billing says it has consumed must have its item, if a contract priced it then.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::billing::{Engagements, Item, Ledger, Talks, Terms, Work, billed, rate};
use trunkline_domain::facts::{LogFact, Recorded};
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{Cell, EventId, ItemId, LogName, Millis, Position, Timestamp};

use super::{Invariant, Violation};
use crate::history::{History, facts};

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "billed_as_measured",
    promise: "an item bills the time between its facts, once, without overlap, and no work is left out",
    check,
};

/// Measures every item again, and looks for work without one.
pub fn check(history: &History) -> Vec<Violation> {
    let mut terms = Terms::default();
    for seen in history.directory_facts() {
        terms.fold(&Recorded { meta: seen.meta.clone(), fact: seen.fact.clone() });
    }
    let mut ledger = Ledger::default();
    let mut twice = Vec::new();
    for seen in history.billing_facts() {
        let count = ledger.item_count() + ledger.unrated().len();
        ledger.fold(&Recorded { meta: seen.meta.clone(), fact: seen.fact.clone() });
        if ledger.item_count() + ledger.unrated().len() == count && seen.fact.name().starts_with("Usage") {
            twice.push(Violation::at(INVARIANT.name, seen.place, &seen.meta.event_id, "priced before"));
        }
    }
    let times = times(history);
    let mut found = twice;
    let mut spans: BTreeMap<_, Vec<(Timestamp, Timestamp, &ItemId)>> = BTreeMap::new();
    for item in ledger.items() {
        let wrong = |message: String| Violation::of(INVARIANT.name, &item.item_id, message);
        match measure(item, &times) {
            Err(message) => found.push(wrong(message)),
            Ok((measured, begin, end)) => {
                if measured != item.measured_ms {
                    found.push(wrong(format!("its facts measure {measured}, it says {}", item.measured_ms)));
                }
                spans.entry((item.agent_id.as_ref(), item.unit)).or_default().push((
                    begin,
                    end,
                    &item.item_id,
                ));
            }
        }
        found.extend(increments(&terms, item).map(wrong));
    }
    found.extend(spans.into_values().flat_map(overlaps));
    found.extend(left_out(history, &terms, &ledger));
    found
}

/// When each fact that can bound work happened.
fn times(history: &History) -> BTreeMap<&EventId, Timestamp> {
    let contacts = facts(&history.contacts).map(|seen| (&seen.meta.event_id, seen.meta.occurred_at));
    let agents = facts(&history.agents).map(|seen| (&seen.meta.event_id, seen.meta.occurred_at));
    contacts.chain(agents).collect()
}

fn measure(
    item: &Item,
    times: &BTreeMap<&EventId, Timestamp>,
) -> Result<(Millis, Timestamp, Timestamp), String> {
    let known: Option<Vec<Timestamp>> = item.causes.iter().map(|it| times.get(it).copied()).collect();
    let known = known.ok_or("it names a fact that is in no log")?;
    let (Some(first), Some(last)) = (known.first(), known.last()) else {
        return Err("it names no facts".to_owned());
    };
    if known.len() % 2 != 0 || !known.is_sorted() {
        return Err("its facts are not pairs of begin and end".to_owned());
    }
    let measured = known.chunks(2).map(|pair| pair[1].since(pair[0])).sum();
    Ok((measured, *first, *last))
}

fn increments(terms: &Terms, item: &Item) -> Option<String> {
    let Some(contract) = terms.contract(&item.contract_id, item.contract_version) else {
        return Some(format!("no contract {} version {}", item.contract_id, item.contract_version));
    };
    let expected = billed(item.measured_ms, contract.first_increment_ms, contract.increment_ms);
    (expected != item.billed_ms || contract.price != item.price).then(|| {
        format!(
            "billed {} at {}, the contract says {expected} at {}",
            item.billed_ms, item.price, contract.price
        )
    })
}

fn overlaps(mut spans: Vec<(Timestamp, Timestamp, &ItemId)>) -> Vec<Violation> {
    spans.sort();
    let pairs = spans.windows(2).filter(|pair| pair[1].0 < pair[0].1);
    let message = |pair: &[(Timestamp, Timestamp, &ItemId)]| {
        format!("begins at {} while {} goes on until {}", pair[1].0, pair[0].2, pair[0].1)
    };
    pairs.map(|pair| Violation::of(INVARIANT.name, pair[1].2, message(pair))).collect()
}

/// Work that billing has seen the end of and that a contract priced, but that has no item.
fn left_out(history: &History, terms: &Terms, ledger: &Ledger) -> Vec<Violation> {
    let mut consumed: BTreeMap<(LogName, Cell), Position> = BTreeMap::new();
    for it in history.billing.iter().flat_map(|(_, record)| &record.outcome.consumed) {
        let highest = consumed.entry((it.log, it.cell)).or_insert(it.position);
        *highest = it.position.max(*highest);
    }
    let seen_end = |log: LogName, cell: Cell, position: Position| {
        consumed.get(&(log, cell)).is_some_and(|highest| position <= *highest)
    };
    let mut work: Vec<Work> = Vec::new();
    let mut talks = Talks::default();
    for (cell, record) in &history.contacts {
        let ended: Vec<Work> = record.outcome.facts.iter().flat_map(|it| talks.fold(it)).collect();
        if seen_end(LogName::Contacts, *cell, record.position) {
            work.extend(ended);
        }
    }
    let mut engagements: BTreeMap<Cell, Engagements> = BTreeMap::new();
    for (cell, record) in &history.agents {
        let ended = engagements.entry(*cell).or_default().fold(&record.outcome);
        if seen_end(LogName::Agents, *cell, record.position) {
            work.extend(ended);
        }
    }
    let priced = work.iter().filter(|it| rate(terms, it).is_some()).map(|it| &it.item_id);
    let missing: BTreeSet<&ItemId> = priced.filter(|it| !ledger.contains(it)).collect();
    missing.into_iter().map(|it| Violation::of(INVARIANT.name, it, "work without its item")).collect()
}
