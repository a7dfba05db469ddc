use trunkline_domain::facts::{BillingFact, UsageUnit};
use trunkline_domain::vocabulary::{Currency, Millis, Timestamp};

use super::{NOON, Sample, euros, id};

pub fn billing() -> Vec<Sample<BillingFact>> {
    vec![
        (
            "",
            BillingFact::UsageRated {
                item_id: id("itm_talk-01jnf9h3zqv7e0w1m2x4k5t6r8-1"),
                company_id: id("cmp_aurora"),
                contract_id: id("ctr_aurora"),
                contract_version: 1,
                unit: UsageUnit::TalkTime,
                contact_id: Some(id("ctc_01jnf9h3zqv7e0w1m2x4k5t6r8")),
                agent_id: Some(id("agt_anna")),
                session_id: None,
                measured_ms: Millis(61_007),
                billed_ms: Millis(62_000),
                price: euros(890_000),
                price_per_ms: Millis(60_000),
                occurred_at: NOON,
                causes: vec![
                    id("evt_c-01jnf9h3zqv7e0w1m2x4k5t6r8-9"),
                    id("evt_c-01jnf9h3zqv7e0w1m2x4k5t6r8-10"),
                ],
            },
        ),
        (
            "bare",
            BillingFact::UsageRated {
                item_id: id("itm_session-01jnf9gzy0a1b2c3d4e5f6g7h8"),
                company_id: id("cmp_cobalt"),
                contract_id: id("ctr_cobalt"),
                contract_version: 2,
                unit: UsageUnit::SignedInTime,
                contact_id: None,
                agent_id: None,
                session_id: Some(id("ses_01jnf9gzy0a1b2c3d4e5f6g7h8")),
                measured_ms: Millis(28_800_000),
                billed_ms: Millis(28_800_000),
                price: euros(31_500_000),
                price_per_ms: Millis(3_600_000),
                occurred_at: NOON,
                causes: vec![],
            },
        ),
        (
            "",
            BillingFact::UsageUnrated {
                item_id: id("itm_talk-01jnf9h3zqv7e0w1m2x4k5t6r8-1"),
                company_id: id("cmp_aurora"),
                reason: "no contract in force".to_owned(),
                causes: vec![id("evt_c-01jnf9h3zqv7e0w1m2x4k5t6r8-10")],
            },
        ),
        (
            "",
            BillingFact::InvoiceIssued {
                invoice_id: id("inv_2026-17"),
                company_id: id("cmp_aurora"),
                number: 17,
                period_from: Timestamp(1_772_319_600_000),
                period_to: Timestamp(1_774_994_400_000),
                currency: Currency::parse("EUR").unwrap(),
                total: euros(1_234_560_000),
                item_count: 412,
            },
        ),
        (
            "",
            BillingFact::CreditNoteIssued {
                invoice_id: id("inv_2026-18"),
                corrects: id("inv_2026-17"),
                company_id: id("cmp_aurora"),
                number: 18,
                total: euros(-890_000),
                cause: id("evt_c-01jnf9h3zqv7e0w1m2x4k5t6r8-10"),
            },
        ),
    ]
}
