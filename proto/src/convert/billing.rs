//! The facts of the billing log.

use trunkline_domain::facts::{BillingFact, UsageUnit};

use crate::billing::v1 as wire;

facts! {
    BillingFact as billing_fact, body Billing, schema version 1;
    UsageRated {
        item_id, company_id, contract_id, contract_version, unit, contact_id, agent_id, session_id, measured_ms,
        billed_ms, price, price_per_ms, causes | occurred_at as occurred_at_ms
    }
    UsageUnrated { item_id, company_id, reason, causes }
    InvoiceIssued {
        invoice_id, company_id, number, currency, total, item_count
        | period_from as period_from_ms, period_to as period_to_ms
    }
    CreditNoteIssued { invoice_id, corrects, company_id, number, total, cause }
}

values!(UsageUnit as wire::UsageUnit [TalkTime, WorkTime, SignedInTime]);
