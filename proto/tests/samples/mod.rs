//! One sample, or two where something may be absent, of every fact. What is frozen in `golden/` was made of these: a
//! sample is never changed, a new one is added under a new variant.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use trunkline_domain::facts::{AnyFact, LogFact, Meta, Outcome, Recorded};
use trunkline_domain::vocabulary::{
    Ageing, Cell, Currency, Epoch, EventId, IdleBasis, InputPosition, LogName, Millis, Money, PhoneNumber,
    Position, QueuePlan, Selection, SelectionStrategy, Step, Timestamp,
};

mod agents;
mod billing;
mod contacts;
mod directory;
mod routing;

pub use agents::agents;
pub use billing::billing;
pub use contacts::contacts;
pub use directory::directory;
pub use routing::routing;

/// A fact, and which variant of its name it is; the first of a name has none.
pub type Sample<F> = (&'static str, F);

/// 2026-03-02 12:00:00 UTC.
pub const NOON: Timestamp = Timestamp(1_772_452_800_000);

/// Parses an id of whatever kind is wanted.
pub fn id<T: std::str::FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().unwrap()
}

pub fn number(text: &str) -> PhoneNumber {
    PhoneNumber::parse(text).unwrap()
}

pub fn euros(micros: i64) -> Money {
    Money { currency: Currency::parse("EUR").unwrap(), micros }
}

/// A plan with everything in it.
pub fn plan() -> QueuePlan {
    let step = |after_ms| Step { after_ms: Millis(after_ms), ..Step::default() };
    QueuePlan {
        tier: 2,
        head_start_ms: Millis(90_000),
        ageing: Some(Ageing { every_ms: Millis(10_000), by: 1, most: 5 }),
        steps: vec![
            Step { required_skills: Some(vec![id("skl_german >= 3")]), ..step(30_000) },
            Step { required_skills: Some(vec![]), priority: Some(-5), ..step(60_000) },
            Step { overflow_queue_id: Some(id("que_rest")), ..step(120_000) },
        ],
        selection: Selection {
            prefer: vec![id("skl_billing"), id("not skl_trainee")],
            strategy: SelectionStrategy::FewestContacts,
            idle_since: IdleBasis::LastContact,
        },
    }
}

/// The outcome a sample is frozen in: everything set, or for a `bare` one nothing that may be absent.
pub fn outcome<F: LogFact>(sample: &Sample<F>) -> Outcome<F> {
    let (variant, fact) = sample;
    let bare = *variant == "bare";
    let meta = Meta {
        event_id: id(&format!("evt_{}-1", &F::LOG.as_str()[..1])),
        cell: Cell(if bare { 0 } else { 3 }),
        stream: fact.stream(),
        sequence: 7,
        occurred_at: NOON,
        recorded_at: Timestamp(NOON.0 + 2),
        correlation_id: if bare { None } else { fact.contact().cloned() },
        causation_id: if bare { None } else { Some(id::<EventId>("evt_c-before-6")) },
        traceparent: if bare {
            String::new()
        } else {
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()
        },
    };
    let consumed =
        |log, cell, position| InputPosition { log, cell: Cell(cell), position: Position(position) };
    Outcome {
        epoch: Epoch(41),
        consumed: if bare {
            vec![]
        } else {
            vec![consumed(LogName::Directory, 0, 5), consumed(LogName::Contacts, 3, 300)]
        },
        facts: vec![Recorded { meta, fact: fact.clone() }],
    }
}

/// Every sample of every log: its fact's name, its variant, and itself.
pub fn all() -> Vec<(&'static str, &'static str, AnyFact)> {
    fn of<F: LogFact>(
        samples: Vec<Sample<F>>,
        arm: fn(F) -> AnyFact,
    ) -> Vec<(&'static str, &'static str, AnyFact)> {
        samples.into_iter().map(|(variant, fact)| (fact.name(), variant, arm(fact))).collect()
    }
    [
        of(directory(), AnyFact::Directory),
        of(contacts(), AnyFact::Contacts),
        of(routing(), AnyFact::Routing),
        of(agents(), AnyFact::Agents),
        of(billing(), AnyFact::Billing),
    ]
    .concat()
}
