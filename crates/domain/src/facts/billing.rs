//! What billing writes to the billing log.

use super::LogFact;
use crate::vocabulary::{
    AgentId, CompanyId, ContactId, ContractId, Currency, EventId, InvoiceId, ItemId, LogName, Millis, Money,
    SessionId, Timestamp,
};

/// A fact about what a client company owes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "field meanings stand once, in proto/trunkline/billing/v1")]
pub enum BillingFact {
    /// A piece of work was priced under one contract version. The item's id is a function of what it prices, so a
    /// second rating of the same work is the same item.
    UsageRated {
        item_id: ItemId,
        company_id: CompanyId,
        contract_id: ContractId,
        contract_version: u32,
        unit: UsageUnit,
        contact_id: Option<ContactId>,
        agent_id: Option<AgentId>,
        session_id: Option<SessionId>,
        /// As measured, between the two facts in `causes`.
        measured_ms: Millis,
        /// As charged: measured, raised to the first increment, then rounded up to a whole number of increments.
        billed_ms: Millis,
        /// Price of one `price_per_ms`.
        price: Money,
        price_per_ms: Millis,
        /// Which invoice period it falls in: when the work ended.
        occurred_at: Timestamp,
        /// The facts that bound the work.
        causes: Vec<EventId>,
    },
    /// A fact could not be priced, and why; it is not lost, and not billed.
    UsageUnrated { item_id: ItemId, company_id: CompanyId, reason: String, causes: Vec<EventId> },
    /// An invoice was issued; its number follows the one before it without a gap.
    InvoiceIssued {
        invoice_id: InvoiceId,
        company_id: CompanyId,
        number: u64,
        period_from: Timestamp,
        period_to: Timestamp,
        currency: Currency,
        total: Money,
        item_count: u64,
    },
    /// An issued invoice was corrected, and which fact caused it.
    CreditNoteIssued {
        invoice_id: InvoiceId,
        corrects: InvoiceId,
        company_id: CompanyId,
        number: u64,
        total: Money,
        cause: EventId,
    },
}

/// What is charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UsageUnit {
    /// Time caller and agent heard each other.
    TalkTime,
    /// Time an agent worked for the company: talk, hold and wrap-up of one contact.
    WorkTime,
    /// Time an agent of the company's team was signed in.
    SignedInTime,
}

impl UsageUnit {
    /// Every unit, in declaration order.
    pub const ALL: [UsageUnit; 3] = [Self::TalkTime, Self::WorkTime, Self::SignedInTime];

    /// The word used in configuration and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TalkTime => "talk_time",
            Self::WorkTime => "work_time",
            Self::SignedInTime => "signed_in_time",
        }
    }
}

impl LogFact for BillingFact {
    const LOG: LogName = LogName::Billing;

    fn name(&self) -> &'static str {
        match self {
            Self::UsageRated { .. } => "UsageRated",
            Self::UsageUnrated { .. } => "UsageUnrated",
            Self::InvoiceIssued { .. } => "InvoiceIssued",
            Self::CreditNoteIssued { .. } => "CreditNoteIssued",
        }
    }

    fn stream(&self) -> String {
        match self {
            Self::UsageRated { company_id, .. }
            | Self::UsageUnrated { company_id, .. }
            | Self::InvoiceIssued { company_id, .. }
            | Self::CreditNoteIssued { company_id, .. } => company_id.to_string(),
        }
    }

    fn contact(&self) -> Option<&ContactId> {
        match self {
            Self::UsageRated { contact_id, .. } => contact_id.as_ref(),
            Self::UsageUnrated { .. } | Self::InvoiceIssued { .. } | Self::CreditNoteIssued { .. } => None,
        }
    }
}
