//! One file a promise.

pub mod billed_as_measured;
pub mod contacts_end_once;
pub mod lines_sum_their_items;
pub mod one_offer_per_contact;
pub mod one_reservation_per_agent;
pub mod reports_recount;
pub mod reservations_expire;
pub mod served_in_order;
pub mod stale_epochs_are_void;
pub mod streams_have_no_gaps;
pub mod visits_end_once;
pub mod work_seconds_add_up;

use std::fmt;

use crate::history::{History, Place};

/// A promise and its check.
#[derive(Clone, Copy)]
pub struct Invariant {
    /// The name of its file.
    pub name: &'static str,
    /// What is promised, as a sentence.
    pub promise: &'static str,
    /// Finds where a history breaks it. Pure.
    pub check: fn(&History) -> Vec<Violation>,
}

/// Where a promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The name of the invariant.
    pub invariant: &'static str,
    /// The record that breaks it; `None` when it is the whole that does not fit.
    pub place: Option<Place>,
    /// Whom or what it is about, as the text of an id.
    pub subject: String,
    /// What is wrong, in words.
    pub message: String,
}

impl Violation {
    /// At a record.
    pub fn at(
        invariant: &'static str,
        place: Place,
        subject: impl fmt::Display,
        message: impl Into<String>,
    ) -> Self {
        Self { invariant, place: Some(place), subject: subject.to_string(), message: message.into() }
    }

    /// Of the whole.
    pub fn of(invariant: &'static str, subject: impl fmt::Display, message: impl Into<String>) -> Self {
        Self { invariant, place: None, subject: subject.to_string(), message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.invariant)?;
        if let Some(place) = self.place {
            write!(f, "{}/{} at {}: ", place.log, place.cell, place.position)?;
        }
        write!(f, "{}: {}", self.subject, self.message)
    }
}

/// Every promise that can be checked from the logs.
pub const INVARIANTS: &[Invariant] = &[
    one_reservation_per_agent::INVARIANT,
    one_offer_per_contact::INVARIANT,
    reservations_expire::INVARIANT,
    contacts_end_once::INVARIANT,
    visits_end_once::INVARIANT,
    served_in_order::INVARIANT,
    streams_have_no_gaps::INVARIANT,
    stale_epochs_are_void::INVARIANT,
    work_seconds_add_up::INVARIANT,
    reports_recount::INVARIANT,
    billed_as_measured::INVARIANT,
    lines_sum_their_items::INVARIANT,
];

/// All violations, invariant by invariant.
pub fn check_all(history: &History) -> Vec<Violation> {
    INVARIANTS.iter().flat_map(|it| (it.check)(history)).collect()
}
