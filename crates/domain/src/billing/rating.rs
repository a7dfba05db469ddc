//! From a piece of work to an item: contract, increments, exact price.

use super::increments::billed;
use super::terms::Terms;
use super::work::Work;
use crate::facts::BillingFact;
use crate::vocabulary::{Exact, Millis, Money};

/// Prices a piece of work by the contract in force and known when it ended.
///
/// `None` when nobody pays for it: no contract of the company prices this unit then, or the agent of a session was in
/// no company's team. Work that contradicts itself is priced by nobody, but said: `UsageUnrated`.
pub fn rate(terms: &Terms, work: &Work) -> Option<BillingFact> {
    let team = || terms.team_at(&work.agent_id, work.ended_at);
    let company_id = work.company_id.as_ref().or_else(team)?;
    let contract = terms.contract_at(company_id, work.unit, work.ended_at)?;
    let measured_ms = match work.measured {
        Ok(measured_ms) => measured_ms,
        Err(contradiction) => {
            return Some(BillingFact::UsageUnrated {
                item_id: work.item_id.clone(),
                company_id: company_id.clone(),
                reason: contradiction.to_string(),
                causes: work.causes.clone(),
            });
        }
    };
    Some(BillingFact::UsageRated {
        item_id: work.item_id.clone(),
        company_id: company_id.clone(),
        contract_id: contract.contract_id.clone(),
        contract_version: contract.version,
        unit: work.unit,
        contact_id: work.contact_id.clone(),
        agent_id: Some(work.agent_id.clone()),
        session_id: work.session_id.clone(),
        measured_ms,
        billed_ms: billed(measured_ms, contract.first_increment_ms, contract.increment_ms),
        price: contract.price,
        price_per_ms: contract.price_per_ms,
        occurred_at: work.ended_at,
        causes: work.causes.clone(),
    })
}

/// What `billed_ms` cost at `price` per `price_per_ms`, exactly. `None` when the span is not positive or the product
/// leaves 128 bits.
pub fn amount(price: Money, price_per_ms: Millis, billed_ms: Millis) -> Option<Exact> {
    let product = i128::from(price.micros).checked_mul(i128::from(billed_ms.0))?;
    Exact::new(product, i128::from(price_per_ms.0))
}
