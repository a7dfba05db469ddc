//! What reporting needs of the directory log: each company's threshold, by date.

use std::collections::BTreeMap;

use crate::facts::{DirectoryFact, Recorded};
use crate::kernel::{Projection, StateHasher};
use crate::vocabulary::{CompanyId, Millis, Timestamp};

/// One definition of a company's threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// In force from this instant on, until a later definition takes over.
    pub effective_at: Timestamp,
    /// Answered within this counts (≤).
    pub threshold_ms: Millis,
}

/// The fold of the directory log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Definitions {
    /// The sequence of the last fact folded.
    pub sequence: u64,
    /// From when the revision that is being read counts.
    pub revision_effective_at: Timestamp,
    /// The definitions of each company, in the order they were applied.
    pub thresholds: BTreeMap<CompanyId, Vec<Threshold>>,
}

impl Projection for Definitions {
    type Event = Recorded<DirectoryFact>;

    fn fold(&mut self, event: &Self::Event) {
        if event.meta.sequence <= self.sequence {
            return;
        }
        self.sequence = event.meta.sequence;
        match &event.fact {
            DirectoryFact::RevisionApplied { effective_at, .. } => self.revision_effective_at = *effective_at,
            DirectoryFact::CompanyDefined(company) => {
                let definition = Threshold {
                    effective_at: self.revision_effective_at,
                    threshold_ms: company.service_level_threshold_ms,
                };
                self.thresholds.entry(company.company_id.clone()).or_default().push(definition);
            }
            _ => {}
        }
    }
}

impl Definitions {
    /// The threshold in force at `at`: of the definitions effective by then, the one applied last; before the first one,
    /// the first. `None` for an unknown company.
    pub fn service_level_threshold(&self, company_id: &CompanyId, at: Timestamp) -> Option<Millis> {
        let definitions = self.thresholds.get(company_id)?;
        let in_force = definitions.iter().rfind(|it| it.effective_at <= at);
        in_force.or(definitions.first()).map(|it| it.threshold_ms)
    }

    /// Adds the state to a digest.
    pub fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.text("definitions").debug(self);
    }
}
