//! The directory and billing logs as prose.

use trunkline_domain::facts::{BillingFact, DefinitionKind, DirectoryFact as Fact, UsageUnit};
use trunkline_domain::vocabulary::PhoneNumber;

use super::{all_of, in_cell, seconds, short, words};

pub(super) fn directory(fact: &Fact) -> String {
    match fact {
        Fact::RevisionApplied { revision, effective_at, .. } => {
            format!("revision {revision} applied, effective {effective_at}")
        }
        Fact::OperatorDefined(it) => {
            format!("operator {} defined, months in {}", short(&it.operator_id), it.time_zone)
        }
        Fact::CompanyDefined(it) => {
            let within = seconds(it.service_level_threshold_ms);
            let (id, place) = (short(&it.company_id), in_cell(it.cell));
            format!("company {id} defined{place}, answered within {within} counts")
        }
        Fact::SkillDefined(it) => format!("skill {} defined", short(&it.skill_id)),
        Fact::CalendarDefined(it) => format!(
            "calendar {} defined: {} spans a week, {} closed days, {}",
            short(&it.calendar_id),
            it.open.len(),
            it.closed_dates.len(),
            it.time_zone
        ),
        Fact::QueueDefined(it) => format!(
            "queue {} of {} defined: priority {}, rings {}, wraps up {}",
            short(&it.queue_id),
            short(&it.company_id),
            it.priority,
            seconds(it.offer_timeout_ms),
            seconds(it.wrap_up_ms)
        ),
        Fact::FlowDefined(it) => format!(
            "flow {} of {} defined: to {}",
            short(&it.flow_id),
            short(&it.company_id),
            short(&it.queue_id)
        ),
        Fact::NumberDefined(it) => {
            format!("number {} of {} defined: to {}", it.number, short(&it.company_id), short(&it.flow_id))
        }
        Fact::AgentDefined(it) => {
            let skills = match it.skills.as_slice() {
                [] => "without skills".to_owned(),
                some => format!("with {}", all_of(some)),
            };
            let rules = it.channels.iter().map(|rule| format!("{} {}", rule.channel, rule.capacity));
            let rules = rules.collect::<Vec<_>>().join(" and ");
            let serves = if rules.is_empty() { rules } else { format!(", serves {rules} at once") };
            format!("agent {} defined{} {skills}{serves}", short(&it.agent_id), in_cell(it.cell))
        }
        Fact::ContractDefined(it) => format!(
            "contract {} version {} of {} defined: {} at {} per {}",
            short(&it.contract_id),
            it.version,
            short(&it.company_id),
            charged(it.unit),
            it.price,
            seconds(it.price_per_ms)
        ),
        Fact::ApiKeyDefined(it) => match &it.company_id {
            Some(company) => format!("key {} defined for {}", it.name, short(company)),
            None => format!("key {} defined for the operator", it.name),
        },
        Fact::BlocklistEntryDefined(it) => match &it.company_id {
            Some(company) => format!("{} blocked for {}: {}", it.number, short(company), it.reason),
            None => format!("{} blocked for all: {}", it.number, it.reason),
        },
        Fact::DefinitionRetired { kind, key } => {
            format!("{} {} retired", words(kind.as_str()), retired(*kind, key))
        }
    }
}

/// The key of a retired definition; a number stands redacted, and so does what should be one and is not.
fn retired(kind: DefinitionKind, key: &str) -> String {
    match kind {
        DefinitionKind::Number | DefinitionKind::BlocklistEntry => {
            PhoneNumber::parse(key).map_or_else(|_| "…".to_owned(), |number| number.to_string())
        }
        DefinitionKind::Operator
        | DefinitionKind::Company
        | DefinitionKind::Skill
        | DefinitionKind::Calendar
        | DefinitionKind::Queue
        | DefinitionKind::Flow
        | DefinitionKind::Agent
        | DefinitionKind::Contract
        | DefinitionKind::ApiKey => key.to_owned(),
    }
}

fn charged(unit: UsageUnit) -> &'static str {
    match unit {
        UsageUnit::TalkTime => "talk time",
        UsageUnit::WorkTime => "work time",
        UsageUnit::SignedInTime => "signed-in time",
    }
}

pub(super) fn billing(fact: &BillingFact) -> String {
    match fact {
        BillingFact::UsageRated {
            company_id,
            contract_id,
            contract_version,
            unit,
            measured_ms,
            billed_ms,
            ..
        } => {
            format!(
                "{} of {} measured, {} billed to {} by {} version {contract_version}",
                charged(*unit),
                seconds(*measured_ms),
                seconds(*billed_ms),
                short(company_id),
                short(contract_id)
            )
        }
        BillingFact::UsageUnrated { item_id, company_id, reason, .. } => {
            format!("{} of {} could not be priced: {reason}", short(item_id), short(company_id))
        }
        BillingFact::InvoiceIssued { company_id, number, total, item_count, .. } => {
            format!("invoice {number} issued to {}: {total} for {item_count} items", short(company_id))
        }
        BillingFact::CreditNoteIssued { corrects, company_id, number, total, .. } => {
            format!(
                "credit note {number} issued to {}: {total}, corrects {}",
                short(company_id),
                short(corrects)
            )
        }
    }
}
