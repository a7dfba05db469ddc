//! Reports equal a recount: `entered = answered + abandoned + flowed_out + waiting`, queue by queue.
//!
//! The recount knows nothing of intervals, visits or folds: it counts facts. A visit that its contact's end closed (the
//! loss of a node) has flowed out.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::facts::{ContactFact, Recorded};
use trunkline_domain::kernel::Projection;
use trunkline_domain::reporting::{Reporting, VisitCounts};
use trunkline_domain::vocabulary::{CompanyId, ContactEndCause, ContactId, QueueId, Timestamp};

use super::{Invariant, Violation};
use crate::history::History;

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "reports_recount",
    promise: "reports equal a recount, and entered = answered + abandoned + flowed out + waiting",
    check,
};

type Queue<'a> = (&'a CompanyId, &'a QueueId);

/// Compares the interval cells, summed by queue, with counted facts.
pub fn check(history: &History) -> Vec<Violation> {
    let recount = recount(history);
    let mut reporting = Reporting::default();
    for seen in history.contact_facts() {
        reporting.contacts.fold(&Recorded { meta: seen.meta.clone(), fact: seen.fact.clone() });
    }
    let companies: BTreeSet<&CompanyId> = recount.keys().map(|(company_id, _)| *company_id).collect();
    let mut reported: BTreeMap<(CompanyId, QueueId), VisitCounts> = BTreeMap::new();
    for company_id in companies {
        for cell in reporting.interval_cells(company_id, Timestamp(i64::MIN), Timestamp(i64::MAX)) {
            add(reported.entry((cell.company_id, cell.queue_id)).or_default(), &cell.counts);
        }
    }
    let mut found = Vec::new();
    for ((company_id, queue_id), counted) in recount {
        let reported = reported.get(&(company_id.clone(), queue_id.clone())).copied().unwrap_or_default();
        if reported != counted {
            let message = format!("reported {reported:?}, counted {counted:?}");
            found.push(Violation::of(INVARIANT.name, queue_id, message));
        }
        if !counted.law_holds() {
            let message = format!("{counted:?} does not add up");
            found.push(Violation::of(INVARIANT.name, queue_id, message));
        }
    }
    found
}

fn add(sum: &mut VisitCounts, it: &VisitCounts) {
    sum.entered += it.entered;
    sum.answered += it.answered;
    sum.abandoned += it.abandoned;
    sum.flowed_out += it.flowed_out;
    sum.waiting += it.waiting;
}

/// Counts facts. `waiting` is who entered and has neither left nor ended.
fn recount(history: &History) -> BTreeMap<Queue<'_>, VisitCounts> {
    let mut counts: BTreeMap<Queue, VisitCounts> = BTreeMap::new();
    let mut waiting: BTreeMap<&ContactId, Queue> = BTreeMap::new();
    for seen in history.contact_facts() {
        let contact_id = seen.fact.contact_id();
        match seen.fact {
            ContactFact::ContactQueueRequested { company_id, queue_id, .. } => {
                counts.entry((company_id, queue_id)).or_default().entered += 1;
                waiting.insert(contact_id, (company_id, queue_id));
            }
            ContactFact::ContactConnected { company_id, queue_id, .. } => {
                counts.entry((company_id, queue_id)).or_default().answered += 1;
                waiting.remove(contact_id);
            }
            ContactFact::ContactAbandoned { company_id, queue_id, .. } => {
                counts.entry((company_id, queue_id)).or_default().abandoned += 1;
                waiting.remove(contact_id);
            }
            ContactFact::ContactFlowedOut { company_id, queue_id, .. } => {
                counts.entry((company_id, queue_id)).or_default().flowed_out += 1;
                waiting.remove(contact_id);
            }
            ContactFact::ContactEnded { cause, .. } => {
                if let Some(queue) = waiting.remove(contact_id) {
                    let counts = counts.entry(queue).or_default();
                    if *cause == ContactEndCause::Abandoned {
                        counts.abandoned += 1;
                    } else {
                        counts.flowed_out += 1;
                    }
                }
            }
            _ => {}
        }
    }
    for queue in waiting.into_values() {
        counts.entry(queue).or_default().waiting += 1;
    }
    counts
}
