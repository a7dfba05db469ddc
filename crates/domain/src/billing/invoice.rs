//! From items to invoice lines.
//!
//! Durations are rounded per piece of work, money is exact, and the sum of a line is rounded once, half-up, to cents.
//! So a line never differs from its exact sum by more than half a cent, and quantity times price agrees with it.

use std::collections::BTreeMap;

use super::ledger::Item;
use super::month::Month;
use super::terms::Terms;
use crate::facts::{Contract, UsageUnit};
use crate::kernel::{StateHash, StateHasher};
use crate::vocabulary::{CompanyId, ContractId, Currency, Exact, Millis, Timestamp};

/// A cent, in micro-units: what a line is rounded to.
pub const CENT: i64 = 10_000;

/// An invoice as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Whose.
    pub company_id: CompanyId,
    /// Its name.
    pub company_name: String,
    /// For which month.
    pub month: Month,
    /// In what; `None` when there is neither an item nor a contract.
    pub currency: Option<Currency>,
    /// By contract, version and unit; a minimum after the lines of its contract.
    pub lines: Vec<InvoiceLine>,
    /// Sum of the lines, in micro-units.
    pub total_micros: i64,
    /// The digest of the items.
    pub items_hash: StateHash,
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceLine {
    /// Names it within the invoice: `<contract>/<version>/<unit>` or `<contract>/<version>/monthly_minimum`.
    pub line_id: String,
    /// What it is for, in words.
    pub description: String,
    /// Items it sums; zero for a minimum.
    pub item_count: u64,
    /// Measured time.
    pub measured_ms: Millis,
    /// Charged time.
    pub billed_ms: Millis,
    /// Price of one `price_per_ms`, in micro-units; zero for a minimum.
    pub price_micros: i64,
    /// The span the price is for; zero for a minimum.
    pub price_per_ms: Millis,
    /// The exact sum rounded once, half-up, to cents, in micro-units.
    pub amount_micros: i64,
}

/// Why an invoice cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvoiceError {
    /// The company was never defined.
    #[error("no such company")]
    UnknownCompany,
    /// The operator's zone is not an IANA zone.
    #[error("`{0}` is not a time zone")]
    UnknownZone(String),
    /// Contracts of one company are in two currencies.
    #[error("the month has items in {0} and {1}")]
    MixedCurrencies(Currency, Currency),
    /// A sum left the range of 64-bit micro-units.
    #[error("the sum is out of range")]
    OutOfRange,
}

/// The invoice of a company for a month, as far as its items are known.
///
/// `items` are the company's items of that month, in any order. A contract's monthly minimum is charged once a month in
/// full, by the version in force at the month's last instant, and counts the lines of all versions of that contract.
/// Signed-in time is an item once the session ended; the line says so.
///
/// # Errors
/// When the company or its zone is unknown, or the items do not add up to one amount in one currency.
pub fn running_invoice<'a>(
    terms: &Terms,
    items: impl IntoIterator<Item = &'a Item>,
    company_id: &CompanyId,
    month: Month,
) -> Result<Invoice, InvoiceError> {
    let company_name = terms.company_name(company_id).ok_or(InvoiceError::UnknownCompany)?.to_owned();
    let zone = terms.time_zone();
    let (_, end) = month.bounds(zone).ok_or_else(|| InvoiceError::UnknownZone(zone.to_owned()))?;
    let last_instant = end - Millis(1);
    let mut items: Vec<&Item> = items.into_iter().collect();
    items.sort_by(|left, right| left.item_id.cmp(&right.item_id));

    let minimums: Vec<&Contract> = terms.contracts_at(company_id, last_instant).collect();
    let currencies = items.iter().map(|it| it.price.currency).chain(minimums.iter().map(|it| it.currency));
    let currency = one_currency(currencies)?;

    let mut groups: BTreeMap<(ContractId, u32, UsageUnit), Vec<&Item>> = BTreeMap::new();
    for item in &items {
        let key = (item.contract_id.clone(), item.contract_version, item.unit);
        groups.entry(key).or_default().push(item);
    }
    let mut lines: BTreeMap<(ContractId, u32, bool, &str), InvoiceLine> = BTreeMap::new();
    for ((contract_id, version, unit), group) in groups {
        let line = usage_line(terms, &group)?;
        lines.insert((contract_id, version, false, unit.as_str()), line);
    }
    for contract in minimums {
        let of_contract = lines.iter().filter(|((id, ..), _)| *id == contract.contract_id);
        let used = of_contract.map(|(_, line)| line.amount_micros).try_fold(0_i64, i64::checked_add);
        let rest = contract.monthly_minimum.micros.checked_sub(used.ok_or(InvoiceError::OutOfRange)?);
        let rest = rest.ok_or(InvoiceError::OutOfRange)?;
        if rest > 0 {
            let key = (contract.contract_id.clone(), u32::MAX, true, "monthly_minimum");
            lines.insert(key, minimum_line(contract, rest));
        }
    }
    let lines: Vec<InvoiceLine> = lines.into_values().collect();
    let total = lines.iter().map(|line| line.amount_micros).try_fold(0_i64, i64::checked_add);
    let mut hasher = StateHasher::new();
    items.iter().for_each(|item| {
        hasher.debug(item);
    });
    Ok(Invoice {
        company_id: company_id.clone(),
        company_name,
        month,
        currency,
        total_micros: total.ok_or(InvoiceError::OutOfRange)?,
        items_hash: hasher.finish(),
        lines,
    })
}

fn one_currency(currencies: impl Iterator<Item = Currency>) -> Result<Option<Currency>, InvoiceError> {
    let mut found = None;
    for currency in currencies {
        match found {
            Some(before) if before != currency => {
                return Err(InvoiceError::MixedCurrencies(before, currency));
            }
            _ => found = Some(currency),
        }
    }
    Ok(found)
}

/// The line of the items of one contract version and unit; there is at least one item.
fn usage_line(terms: &Terms, group: &[&Item]) -> Result<InvoiceLine, InvoiceError> {
    let first = group.first().ok_or(InvoiceError::OutOfRange)?;
    let sum = group.iter().map(|item| item.amount()).try_fold(Exact::ZERO, Exact::checked_add);
    let amount = sum.and_then(|sum| sum.round_half_up(CENT)).ok_or(InvoiceError::OutOfRange)?;
    let contract = terms.contract(&first.contract_id, first.contract_version);
    Ok(InvoiceLine {
        line_id: first.line_id(),
        description: description(first, contract),
        item_count: group.len() as u64,
        measured_ms: group.iter().map(|item| item.measured_ms).sum(),
        billed_ms: group.iter().map(|item| item.billed_ms).sum(),
        price_micros: first.price.micros,
        price_per_ms: first.price_per_ms,
        amount_micros: amount,
    })
}

fn description(item: &Item, contract: Option<&Contract>) -> String {
    let what = match item.unit {
        UsageUnit::TalkTime => "talk time",
        UsageUnit::WorkTime => "agent work time (talk, hold, wrap-up)",
        UsageUnit::SignedInTime => "signed-in time of ended agent sessions",
    };
    let seconds = |span: Millis| span.0 as f64 / 1000.0;
    let increments = contract.map_or_else(String::new, |it| {
        format!(", in {}/{} s", seconds(it.first_increment_ms), seconds(it.increment_ms))
    });
    format!("{what} at {} per {} s{increments}", item.price, seconds(item.price_per_ms))
}

fn minimum_line(contract: &Contract, rest_micros: i64) -> InvoiceLine {
    InvoiceLine {
        line_id: format!("{}/{}/monthly_minimum", contract.contract_id, contract.version),
        description: format!("up to the monthly minimum of {}", contract.monthly_minimum),
        item_count: 0,
        measured_ms: Millis::ZERO,
        billed_ms: Millis::ZERO,
        price_micros: 0,
        price_per_ms: Millis::ZERO,
        amount_micros: rest_micros,
    }
}

/// The month that holds `now` in the operator's zone.
///
/// # Errors
/// When the zone is unknown.
pub fn month_at(terms: &Terms, now: Timestamp) -> Result<Month, InvoiceError> {
    Month::of(now, terms.time_zone()).ok_or_else(|| InvoiceError::UnknownZone(terms.time_zone().to_owned()))
}
