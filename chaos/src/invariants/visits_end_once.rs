//! Every queue visit ends exactly once: answered, abandoned or flowed out.
//!
//! Without it `entered = answered + abandoned + flowed_out + waiting` does not hold, and no report adds up.

use std::collections::BTreeMap;

use trunkline_domain::facts::ContactFact;
use trunkline_domain::vocabulary::{ContactEndCause, ContactId};

use super::{Invariant, Violation};
use crate::history::History;

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "visits_end_once",
    promise: "every queue visit ends exactly once, and one ends before the next begins",
    check,
};

/// A visit out of turn, an end without a visit, a contact that ended while it waited for another cause than the loss
/// of its node.
pub fn check(history: &History) -> Vec<Violation> {
    // The number of the last visit, and whether it is open.
    let mut visits: BTreeMap<&ContactId, (u32, bool)> = BTreeMap::new();
    let mut found = Vec::new();
    for seen in history.contact_facts() {
        let contact_id = seen.fact.contact_id();
        let (last, open) = visits.get(contact_id).copied().unwrap_or_default();
        let mut wrong = None;
        match seen.fact {
            ContactFact::ContactQueueRequested { visit, .. } => {
                if open {
                    wrong = Some(format!("visit {visit} began while visit {last} was open"));
                } else if *visit != last + 1 {
                    wrong = Some(format!("visit {visit} came after visit {last}"));
                }
                visits.insert(contact_id, (*visit, true));
            }
            ContactFact::ContactConnected { visit, .. }
            | ContactFact::ContactAbandoned { visit, .. }
            | ContactFact::ContactFlowedOut { visit, .. } => {
                if !open || *visit != last {
                    wrong = Some(format!("visit {visit} ended, but it was not open"));
                }
                visits.insert(contact_id, (last, false));
            }
            ContactFact::ContactEnded { cause, .. } => {
                if open && *cause != ContactEndCause::MediaLost {
                    wrong = Some(format!("ended as {} while visit {last} was open", cause.as_str()));
                }
                visits.insert(contact_id, (last, false));
            }
            _ => {}
        }
        if let Some(message) = wrong {
            found.push(Violation::at(INVARIANT.name, seen.place, contact_id, message));
        }
    }
    found
}
