//! A fact as one short English line, for people who read a log.
//!
//! Telephone numbers stand redacted, names and device addresses not at all. The line does not say whose story it is:
//! whoever prints it has the meta beside it. The texts may change with any version; nothing may parse them.

use trunkline_domain::facts::AnyFact;
use trunkline_domain::vocabulary::{Cell, Millis, Timestamp};

mod agents;
mod contacts;
mod ledger;
mod routing;

/// The longest name of an id that is shown whole, in characters. What the mint makes is longer, what people write is not.
const NAME_LEN_MAX: usize = 20;

/// One line without the meta: `queued in que_aurora, place 2, priority 10`.
pub fn prose(fact: &AnyFact) -> String {
    match fact {
        AnyFact::Directory(fact) => ledger::directory(fact),
        AnyFact::Contacts(fact) => contacts::contact(fact),
        AnyFact::Routing(fact) => routing::routing(fact),
        AnyFact::Agents(fact) => agents::agent(fact),
        AnyFact::Billing(fact) => ledger::billing(fact),
    }
}

/// An id as people can compare it: whole when a person wrote it, else its prefix and its last four characters.
pub fn short(id: &impl std::fmt::Display) -> String {
    let text = id.to_string();
    match text.split_once('_') {
        Some((prefix, name)) if name.len() > NAME_LEN_MAX && name.is_ascii() => {
            format!("{prefix}_…{}", &name[name.len() - 4..])
        }
        _ => text,
    }
}

/// `skl_german >= 5 and skl_billing`.
fn all_of(items: &[impl std::fmt::Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

/// The time of day in UTC, `12:00:20.100`.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(11..23).map_or_else(|| text.clone(), str::to_owned)
}

/// Seconds, with milliseconds when there are any: `20 s`, `12.345 s`.
fn seconds(span: Millis) -> String {
    let sign = if span.0 < 0 { "-" } else { "" };
    let ms = span.0.unsigned_abs();
    match (ms / 1000, ms % 1000) {
        (whole, 0) => format!("{sign}{whole} s"),
        (whole, rest) => format!("{sign}{whole}.{rest:03} s"),
    }
}

/// ` in cell 3`, and nothing for the first cell.
fn in_cell(cell: Cell) -> String {
    if cell == Cell(0) { String::new() } else { format!(" in cell {cell}") }
}

/// Words from a name in code: `media_lost` becomes `media lost`.
fn words(name: &str) -> String {
    name.replace('_', " ")
}
