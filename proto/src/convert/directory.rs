//! The facts of the directory log, and the definitions in them.

use trunkline_domain::facts::{
    Agent, ApiKey, BlocklistEntry, Calendar, Company, Contract, DefinitionKind, DirectoryFact, Flow,
    NotReadyReason, Number, OpeningSpan, Operator, Queue, Skill, WrapUpMode,
};
use trunkline_domain::vocabulary::{ChannelRule, LEVEL_MAX, QueuePlan, SkillLevel};

use super::plan::plain;
use super::{DecodeError, Field};
use crate::directory::v1 as wire;

facts! {
    DirectoryFact as directory_fact, body Directory, schema version 4 by version_of;
    RevisionApplied { revision, author, source_sha256 | effective_at as effective_at_ms }
    DefinitionRetired { kind, key }
    ;
    OperatorDefined(operator)
    CompanyDefined(company)
    SkillDefined(skill)
    CalendarDefined(calendar)
    QueueDefined(queue)
    FlowDefined(flow)
    NumberDefined(number)
    AgentDefined(agent)
    ContractDefined(contract)
    ApiKeyDefined(api_key)
    BlocklistEntryDefined(blocklist_entry)
}

/// Version 2: wrap-up has a mode. A reader before it would take every queue's for timed. Version 3: agents serve channels.
/// A reader before it would give a call to one who serves none. Version 4: skills have levels, queues plans. A reader before
/// it would not know whom a contact may be given.
fn version_of(fact: &DirectoryFact) -> u32 {
    let below = |skill: &SkillLevel| skill.level < LEVEL_MAX;
    match fact {
        DirectoryFact::AgentDefined(it) if it.skills.iter().any(below) => 4,
        DirectoryFact::QueueDefined(it) if it.plan != QueuePlan::default() || !plain(&it.required_skills) => {
            4
        }
        DirectoryFact::AgentDefined(it) if !it.channels.is_empty() => 3,
        DirectoryFact::QueueDefined(it) if it.wrap_up_mode != WrapUpMode::Timed => 2,
        _ => 1,
    }
}

message!(Operator { operator_id, name, time_zone, not_ready_reasons });
message!(NotReadyReason { reason, limit_ms });
repeated!(NotReadyReason);
message!(Company { company_id, name, cell, service_level_threshold_ms });
message!(Skill { skill_id, name });
message!(Calendar { calendar_id, time_zone, open, closed_dates });
message!(OpeningSpan { weekday, from_minute, to_minute });
repeated!(OpeningSpan);
message!(Queue {
    queue_id,
    company_id,
    name,
    required_skills,
    priority,
    offer_timeout_ms,
    wrap_up_ms,
    wait_ms_max,
    waiting_count_max,
    miss_count_max,
    reoffer_after_ms,
    wrap_up_mode,
    wrap_up_code_required,
    wrap_up_extension_ms_max,
    miss_reason,
    miss_return_ms,
    plan
});
message!(Flow { flow_id, company_id, calendar_id, closed_prompt, greeting_prompt, music, queue_id });
message!(Number { number, company_id, flow_id });
message!(Agent {
    agent_id,
    name,
    cell,
    site_id,
    skills,
    sip_user,
    sip_ha1_md5,
    sip_ha1_sha256,
    team_company_id,
    channels
});
message!(ChannelRule { channel, interrupted_by | capacity as contact_count_max });
repeated!(ChannelRule);
message!(Contract {
    contract_id, company_id, version, currency, unit, price, price_per_ms, first_increment_ms, increment_ms,
    monthly_minimum | effective_at as effective_at_ms
});
message!(ApiKey { name, key_sha256, company_id });
message!(BlocklistEntry { number, company_id, reason });

values!(DefinitionKind as wire::DefinitionKind [
    Operator, Company, Skill, Calendar, Queue, Flow, Number, Agent, Contract, ApiKey, BlocklistEntry
]);

/// Timed has no number of its own: so wrap-up was before there were modes.
impl From<WrapUpMode> for wire::WrapUpMode {
    fn from(mode: WrapUpMode) -> Self {
        match mode {
            WrapUpMode::Timed => Self::Unspecified,
            WrapUpMode::None => Self::None,
            WrapUpMode::TimedForced => Self::TimedForced,
            WrapUpMode::Mandatory => Self::Mandatory,
            WrapUpMode::OnRequest => Self::OnRequest,
        }
    }
}

/// Who ends after-contact work, from the number in a queue's policy.
///
/// # Errors
/// When it is not a known mode.
pub fn wrap_up_mode(number: i32) -> Result<WrapUpMode, DecodeError> {
    Field::from_wire(number, "RosterQueue.wrap_up_mode")
}

impl Field for WrapUpMode {
    type Wire = i32;

    fn to_wire(&self) -> i32 {
        wire::WrapUpMode::from(*self) as i32
    }

    fn from_wire(wire: i32, field: &'static str) -> Result<Self, DecodeError> {
        match wire::WrapUpMode::try_from(wire) {
            Ok(wire::WrapUpMode::Unspecified) => Ok(Self::Timed),
            Ok(wire::WrapUpMode::None) => Ok(Self::None),
            Ok(wire::WrapUpMode::TimedForced) => Ok(Self::TimedForced),
            Ok(wire::WrapUpMode::Mandatory) => Ok(Self::Mandatory),
            Ok(wire::WrapUpMode::OnRequest) => Ok(Self::OnRequest),
            Err(_) => Err(DecodeError::UnknownValue { field, value: wire }),
        }
    }
}
