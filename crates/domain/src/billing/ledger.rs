//! All items, from the billing log alone.

use std::collections::{BTreeMap, BTreeSet};

use super::month::Month;
use super::rating::amount;
use crate::facts::{BillingFact, Recorded, UsageUnit};
use crate::kernel::{Projection, StateHash, StateHasher};
use crate::vocabulary::{
    AgentId, CompanyId, ContactId, ContractId, EventId, Exact, ItemId, Millis, Money, SessionId, Timestamp,
};

/// A rated piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "field meanings stand at `BillingFact::UsageRated`")]
pub struct Item {
    pub item_id: ItemId,
    pub company_id: CompanyId,
    pub contract_id: ContractId,
    pub contract_version: u32,
    pub unit: UsageUnit,
    pub contact_id: Option<ContactId>,
    pub agent_id: Option<AgentId>,
    pub session_id: Option<SessionId>,
    pub measured_ms: Millis,
    pub billed_ms: Millis,
    pub price: Money,
    pub price_per_ms: Millis,
    pub occurred_at: Timestamp,
    pub causes: Vec<EventId>,
}

impl Item {
    /// What it costs, exactly; nothing when its price is not a price (a span of zero).
    pub fn amount(&self) -> Exact {
        amount(self.price, self.price_per_ms, self.billed_ms).unwrap_or(Exact::ZERO)
    }

    /// The invoice line it is on: `<contract>/<version>/<unit>`.
    pub fn line_id(&self) -> String {
        format!("{}/{}/{}", self.contract_id, self.contract_version, self.unit.as_str())
    }
}

/// A piece of work that could not be priced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnratedItem {
    /// Whose.
    pub company_id: CompanyId,
    /// Why.
    pub reason: String,
    /// The facts that do not fit.
    pub causes: Vec<EventId>,
}

/// The fold of the billing log. An item's id is taken once, by the first fact that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    items: BTreeMap<ItemId, Item>,
    unrated: BTreeMap<ItemId, UnratedItem>,
    sequences: BTreeMap<String, u64>,
    by_company: BTreeMap<CompanyId, BTreeSet<(Timestamp, ItemId)>>,
}

impl Projection for Ledger {
    type Event = Recorded<BillingFact>;

    fn fold(&mut self, event: &Self::Event) {
        let sequence = self.sequences.entry(event.meta.stream.clone()).or_default();
        *sequence = event.meta.sequence.max(*sequence);
        match &event.fact {
            BillingFact::UsageRated {
                item_id,
                company_id,
                contract_id,
                contract_version,
                unit,
                contact_id,
                agent_id,
                session_id,
                measured_ms,
                billed_ms,
                price,
                price_per_ms,
                occurred_at,
                causes,
            } if !self.contains(item_id) => {
                let of_company = self.by_company.entry(company_id.clone()).or_default();
                of_company.insert((*occurred_at, item_id.clone()));
                let item = Item {
                    item_id: item_id.clone(),
                    company_id: company_id.clone(),
                    contract_id: contract_id.clone(),
                    contract_version: *contract_version,
                    unit: *unit,
                    contact_id: contact_id.clone(),
                    agent_id: agent_id.clone(),
                    session_id: session_id.clone(),
                    measured_ms: *measured_ms,
                    billed_ms: *billed_ms,
                    price: *price,
                    price_per_ms: *price_per_ms,
                    occurred_at: *occurred_at,
                    causes: causes.clone(),
                };
                self.items.insert(item_id.clone(), item);
            }
            BillingFact::UsageUnrated { item_id, company_id, reason, causes } if !self.contains(item_id) => {
                let (company_id, reason, causes) = (company_id.clone(), reason.clone(), causes.clone());
                self.unrated.insert(item_id.clone(), UnratedItem { company_id, reason, causes });
            }
            BillingFact::UsageRated { .. }
            | BillingFact::UsageUnrated { .. }
            | BillingFact::InvoiceIssued { .. }
            | BillingFact::CreditNoteIssued { .. } => {}
        }
    }
}

impl Ledger {
    /// Whether the work of an item was decided, priced or not.
    pub fn contains(&self, item_id: &ItemId) -> bool {
        self.items.contains_key(item_id) || self.unrated.contains_key(item_id)
    }

    /// The sequence that the next fact of a stream gets.
    pub fn next_sequence(&self, stream: &str) -> u64 {
        self.sequences.get(stream).copied().unwrap_or_default() + 1
    }

    /// The items of a company whose work ended in `from..to`, by time, then id.
    pub fn items_of(
        &self,
        company_id: &CompanyId,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = &Item> {
        let of_company = self.by_company.get(company_id).into_iter().flatten();
        of_company
            .skip_while(move |(at, _)| *at < from)
            .take_while(move |(at, _)| *at < to)
            .filter_map(|(_, item_id)| self.items.get(item_id))
    }

    /// The items of a company in a month of a zone; `None` when the zone is unknown or the month has no bounds.
    pub fn items_in(&self, company_id: &CompanyId, month: Month, zone: &str) -> Option<Vec<&Item>> {
        let (from, to) = month.bounds(zone)?;
        Some(self.items_of(company_id, from, to).collect())
    }

    /// Every item, by id.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// What could not be priced, by item.
    pub fn unrated(&self) -> &BTreeMap<ItemId, UnratedItem> {
        &self.unrated
    }

    /// How many items were priced.
    pub fn item_count(&self) -> usize {
        self.items.len()
    }

    /// The digest of the state: equal for equal facts, in whatever order.
    pub fn state_hash(&self) -> StateHash {
        let mut hasher = StateHasher::new();
        self.hash_into(&mut hasher);
        hasher.finish()
    }

    /// Adds the state to a digest.
    pub fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.text("ledger").debug(&self.items).debug(&self.unrated).debug(&self.sequences);
    }
}
