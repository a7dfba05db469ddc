//! What is counted: interval cells, contact records, timesheets, live counts.
//!
//! The state is a product of independent folds, one a log: [`Contacts`], [`Agents`], [`Definitions`]. None looks into
//! another, so the state does not depend on how the logs were interleaved; numbers that need more than one are joined
//! when they are asked for.

mod contacts;
mod definitions;
mod erlang;
mod intervals;
mod live;
mod service_level;
#[cfg(test)]
mod tests;
mod timesheet;

pub use contacts::{
    CellKey, Cohort, ContactEnd, ContactRecord, Contacts, Conversation, Visit, VisitEnd, VisitOutcome,
};
pub use definitions::{Definitions, Threshold};
pub use erlang::{Impatient, Patient, agents_needed, blocking};
pub use intervals::{INTERVAL, IntervalCell, VisitCounts, interval_cells};
pub use live::{LiveBoard, live_board};
pub use service_level::{Formula, Share, Tally};
pub use timesheet::{Account, Activity, Agents, Engagement, Presence, SIGNED_IN, Session, Timesheet, WrapUp};

use crate::kernel::{StateHash, StateHasher};
use crate::vocabulary::{CompanyId, Timestamp};

/// Everything that is counted in one process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reporting {
    /// Of the contacts log.
    pub contacts: Contacts,
    /// Of the agents log.
    pub agents: Agents,
    /// Of the directory log.
    pub definitions: Definitions,
}

impl Reporting {
    /// The interval cells of one company that start in `from..to`.
    pub fn interval_cells(
        &self,
        company_id: &CompanyId,
        from: Timestamp,
        to: Timestamp,
    ) -> Vec<IntervalCell> {
        interval_cells(&self.contacts, &self.agents, &self.definitions, company_id, from, to)
    }

    /// The live counts of one company.
    pub fn live_board(&self, company_id: &CompanyId) -> LiveBoard {
        live_board(&self.contacts, &self.agents, company_id)
    }

    /// The digest of the state: equal for equal facts, however they were interleaved or repeated.
    pub fn state_hash(&self) -> StateHash {
        let mut hasher = StateHasher::new();
        self.contacts.hash_into(&mut hasher);
        self.agents.hash_into(&mut hasher);
        self.definitions.hash_into(&mut hasher);
        hasher.finish()
    }
}
