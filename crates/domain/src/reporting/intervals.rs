//! The 15-minute UTC cells: numerators and denominators, never percentages.
//!
//! A visit counts in the interval of its entry ("by enqueue", the mode forecasts and Erlang formulas use). What a cell
//! holds of the contacts log is folded; the company's threshold (directory log) and wrap-up (agents log) are joined when
//! the cell is asked for, visit by visit, because each log is folded on its own and a cell must not depend on which of
//! them was read first. The threshold is that of the company's definition in force when the visit began.

use super::contacts::{Contacts, VisitOutcome};
use super::definitions::Definitions;
use super::timesheet::Agents;
use crate::vocabulary::{CompanyId, ContactId, Millis, QueueId, Timestamp};

/// The width of a cell. Local hours and days are unions of cells.
pub const INTERVAL: Millis = Millis::from_secs(900);

/// How many visits there were, and how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VisitCounts {
    /// Begun.
    pub entered: u64,
    /// Ended by an agent.
    pub answered: u64,
    /// Ended by the caller.
    pub abandoned: u64,
    /// Sent away.
    pub flowed_out: u64,
    /// Not ended.
    pub waiting: u64,
}

impl VisitCounts {
    /// A visit began.
    pub fn enter(&mut self) {
        self.entered += 1;
        self.waiting += 1;
    }

    /// A waiting visit ended.
    pub fn leave(&mut self, outcome: &VisitOutcome) {
        self.waiting = self.waiting.saturating_sub(1);
        match outcome {
            VisitOutcome::Answered(_) => self.answered += 1,
            VisitOutcome::Abandoned => self.abandoned += 1,
            VisitOutcome::FlowedOut(_) => self.flowed_out += 1,
        }
    }

    /// Whether every visit is accounted for exactly once.
    pub fn law_holds(&self) -> bool {
        self.entered == self.answered + self.abandoned + self.flowed_out + self.waiting
    }

    /// The law of the queue, asserted after every fact: `entered = answered + abandoned + flowed_out + waiting`.
    pub fn assert_law(&self) {
        assert!(self.law_holds(), "every queue visit ends exactly once: {self:?}");
    }
}

/// One queue in one interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntervalCell {
    /// The start, a multiple of [`INTERVAL`].
    pub from: Timestamp,
    /// Whose.
    pub company_id: CompanyId,
    /// Where.
    pub queue_id: QueueId,
    /// The visits that began in it.
    pub counts: VisitCounts,
    /// Of the answered, those that waited no longer than the company's threshold.
    pub answered_within_threshold: u64,
    /// Of the abandoned, likewise.
    pub abandoned_within_threshold: u64,
    /// Sum of the waits of the answered.
    pub answered_wait_ms: Millis,
    /// Sum of the waits of the abandoned.
    pub abandoned_wait_ms: Millis,
    /// The longest wait of any visit that ended.
    pub wait_ms_max: Millis,
    /// Sum of the talk times of the answered, as far as they ended.
    pub talk_ms: Millis,
    /// Sum of the wrap-up times after the answered, as far as they ended.
    pub wrap_up_ms: Millis,
}

/// The cells of one company that start in `from..to`, by start, then queue. Cells without a visit are not listed.
pub fn interval_cells(
    contacts: &Contacts,
    agents: &Agents,
    definitions: &Definitions,
    company_id: &CompanyId,
    from: Timestamp,
    to: Timestamp,
) -> Vec<IntervalCell> {
    let cohorts = contacts.cohorts(company_id, from, to);
    cohorts
        .map(|((company_id, start, queue_id), cohort)| {
            let mut cell = IntervalCell {
                from: *start,
                company_id: company_id.clone(),
                queue_id: queue_id.clone(),
                counts: cohort.counts,
                answered_within_threshold: 0,
                abandoned_within_threshold: 0,
                answered_wait_ms: Millis::ZERO,
                abandoned_wait_ms: Millis::ZERO,
                wait_ms_max: Millis::ZERO,
                talk_ms: Millis::ZERO,
                wrap_up_ms: Millis::ZERO,
            };
            for (contact_id, number) in &cohort.visits {
                add_visit(&mut cell, contacts, agents, definitions, contact_id, *number);
            }
            cell
        })
        .collect()
}

fn add_visit(
    cell: &mut IntervalCell,
    contacts: &Contacts,
    agents: &Agents,
    definitions: &Definitions,
    contact_id: &ContactId,
    number: u32,
) {
    let Some(record) = contacts.get(contact_id) else { return };
    let Some(visit) = record.visits.iter().find(|visit| visit.number == number) else { return };
    let (Some(end), Some(waited)) = (&visit.end, visit.waited_ms()) else { return };
    let threshold = definitions.service_level_threshold(&visit.company_id, visit.entered_at);
    let within = threshold.is_some_and(|threshold| waited <= threshold);
    cell.wait_ms_max = cell.wait_ms_max.max(waited);
    match &end.outcome {
        VisitOutcome::Answered(offer_id) => {
            cell.answered_wait_ms = cell.answered_wait_ms + waited;
            cell.answered_within_threshold += u64::from(within);
            for talk in record.conversations.iter().filter(|it| it.offer_id == *offer_id) {
                cell.talk_ms = cell.talk_ms + talk.talked_ms().unwrap_or_default();
                let wrap_up_ms = agents.wrap_up_ms(&talk.agent_id, offer_id);
                cell.wrap_up_ms = cell.wrap_up_ms + wrap_up_ms.unwrap_or_default();
            }
        }
        VisitOutcome::Abandoned => {
            cell.abandoned_wait_ms = cell.abandoned_wait_ms + waited;
            cell.abandoned_within_threshold += u64::from(within);
        }
        VisitOutcome::FlowedOut(_) => {}
    }
}
