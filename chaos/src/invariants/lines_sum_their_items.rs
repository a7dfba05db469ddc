//! The sum of an invoice's lines is the sum of its items, rounded once a line.
//!
//! Without it a client who adds up the items gets another amount than we charge.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::billing::{CENT, Item, Ledger, Month, Terms, running_invoice};
use trunkline_domain::facts::Recorded;
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{CompanyId, Exact};

use super::{Invariant, Violation};
use crate::history::History;

/// The promise.
pub const INVARIANT: Invariant = Invariant {
    name: "lines_sum_their_items",
    promise: "an invoice line is the exact sum of its items, rounded once",
    check,
};

/// Makes every invoice and adds up its items again.
pub fn check(history: &History) -> Vec<Violation> {
    let mut ledger = Ledger::default();
    for seen in history.billing_facts() {
        ledger.fold(&Recorded { meta: seen.meta.clone(), fact: seen.fact.clone() });
    }
    let mut terms = Terms::default();
    for seen in history.directory_facts() {
        terms.fold(&Recorded { meta: seen.meta.clone(), fact: seen.fact.clone() });
    }
    let zone = terms.time_zone();
    let mut invoices: BTreeSet<(&CompanyId, Option<Month>)> = BTreeSet::new();
    invoices.extend(ledger.items().map(|it| (&it.company_id, Month::of(it.occurred_at, zone))));
    let mut found = Vec::new();
    for (company_id, month) in invoices {
        let Some(month) = month else {
            found.push(Violation::of(INVARIANT.name, company_id, format!("`{zone}` is not a time zone")));
            continue;
        };
        let items = ledger.items().filter(|it| it.company_id == *company_id);
        let items: Vec<&Item> = items.filter(|it| Month::of(it.occurred_at, zone) == Some(month)).collect();
        found.extend(one(&terms, company_id, month, &items));
    }
    found
}

fn one(terms: &Terms, company_id: &CompanyId, month: Month, items: &[&Item]) -> Vec<Violation> {
    let wrong = |message: String| Violation::of(INVARIANT.name, format!("{company_id} {month}"), message);
    let invoice = match running_invoice(terms, items.iter().copied(), company_id, month) {
        Ok(invoice) => invoice,
        Err(error) => return vec![wrong(error.to_string())],
    };
    let mut sums: BTreeMap<String, Option<Exact>> = BTreeMap::new();
    for item in items {
        let sum = sums.entry(item.line_id()).or_insert(Some(Exact::ZERO));
        *sum = sum.and_then(|sum| sum.checked_add(item.amount()));
    }
    let mut found = Vec::new();
    for line in invoice.lines.iter().filter(|it| it.item_count > 0) {
        let sum = sums.remove(&line.line_id).flatten().and_then(|sum| sum.round_half_up(CENT));
        if sum != Some(line.amount_micros) {
            let message = format!("line {} is {}, its items {sum:?}", line.line_id, line.amount_micros);
            found.push(wrong(message));
        }
    }
    found.extend(sums.keys().map(|line_id| wrong(format!("items of {line_id} are on no line"))));
    let total: i64 = invoice.lines.iter().map(|it| it.amount_micros).sum();
    if total != invoice.total_micros {
        found.push(wrong(format!("the total is {}, the lines {total}", invoice.total_micros)));
    }
    found
}
