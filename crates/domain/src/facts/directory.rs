//! What directory writes to the directory log: definitions, whole, by version.
//!
//! A definition replaces the one before it from its revision's effective date on; `…Retired` ends one. All definitions of
//! one revision are one outcome, which begins with [`DirectoryFact::RevisionApplied`].

use super::{LogFact, UsageUnit};
use crate::vocabulary::{
    AgentId, CalendarId, Cell, ChannelRule, Clause, CompanyId, ContactId, ContractId, Currency, FlowId,
    LogName, Millis, Money, OperatorId, PhoneNumber, QueueId, QueuePlan, SiteId, SkillId, SkillLevel,
    Timestamp,
};

/// One change of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "field meanings stand once, in proto/trunkline/directory/v1")]
pub enum DirectoryFact {
    /// A revision begins: who applied it, and from when it counts.
    RevisionApplied {
        revision: u64,
        author: String,
        effective_at: Timestamp,
        source_sha256: String,
    },
    OperatorDefined(Operator),
    CompanyDefined(Company),
    SkillDefined(Skill),
    CalendarDefined(Calendar),
    QueueDefined(Queue),
    FlowDefined(Flow),
    NumberDefined(Number),
    AgentDefined(Agent),
    ContractDefined(Contract),
    ApiKeyDefined(ApiKey),
    BlocklistEntryDefined(BlocklistEntry),
    /// Something defined before is no longer there; `kind` and `key` name it (`agent`, `agt_anna`).
    DefinitionRetired {
        kind: DefinitionKind,
        key: String,
    },
}

/// What kinds of definition there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each is the definition of that name")]
pub enum DefinitionKind {
    Operator,
    Company,
    Skill,
    Calendar,
    Queue,
    Flow,
    Number,
    Agent,
    Contract,
    ApiKey,
    BlocklistEntry,
}

impl DefinitionKind {
    /// Every kind, in declaration order.
    pub const ALL: [DefinitionKind; 11] = [
        Self::Operator,
        Self::Company,
        Self::Skill,
        Self::Calendar,
        Self::Queue,
        Self::Flow,
        Self::Number,
        Self::Agent,
        Self::Contract,
        Self::ApiKey,
        Self::BlocklistEntry,
    ];

    /// The word used in plans and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Company => "company",
            Self::Skill => "skill",
            Self::Calendar => "calendar",
            Self::Queue => "queue",
            Self::Flow => "flow",
            Self::Number => "number",
            Self::Agent => "agent",
            Self::Contract => "contract",
            Self::ApiKey => "api_key",
            Self::BlocklistEntry => "blocklist_entry",
        }
    }
}

/// The outsourcer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Its id.
    pub operator_id: OperatorId,
    /// Its name.
    pub name: String,
    /// IANA zone of its invoices' months.
    pub time_zone: String,
    /// Why its agents may be not ready; any word will do when none is listed.
    pub not_ready_reasons: Vec<NotReadyReason>,
}

/// A word for why agents are not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReadyReason {
    /// The word.
    pub reason: String,
    /// For how long, before that is told; zero for no limit.
    pub limit_ms: Millis,
}

/// A client company.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Company {
    /// Its id.
    pub company_id: CompanyId,
    /// Its name, as on invoices.
    pub name: String,
    /// The partition its contacts are in.
    pub cell: Cell,
    /// Answered within this counts for the service level.
    pub service_level_threshold_ms: Millis,
}

/// Something an agent can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// Its id.
    pub skill_id: SkillId,
    /// Its name.
    pub name: String,
}

/// Business hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    /// Its id.
    pub calendar_id: CalendarId,
    /// IANA zone its times are in.
    pub time_zone: String,
    /// When it is open, weekly; a span may not cross midnight.
    pub open: Vec<OpeningSpan>,
    /// Whole local days on which it is closed, `YYYY-MM-DD`.
    pub closed_dates: Vec<String>,
}

/// A weekly opening span in local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OpeningSpan {
    /// 1 = Monday … 7 = Sunday (ISO 8601).
    pub weekday: u8,
    /// Minutes after local midnight, inclusive.
    pub from_minute: u16,
    /// Minutes after local midnight, exclusive, at most 1440.
    pub to_minute: u16,
}

/// Where contacts wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its id.
    pub queue_id: QueueId,
    /// Whose contacts.
    pub company_id: CompanyId,
    /// Its name.
    pub name: String,
    /// All of these must hold of who serves it.
    pub required_skills: Vec<Clause>,
    /// Smaller is served first among queues that share agents.
    pub priority: i32,
    /// How long an offer rings.
    pub offer_timeout_ms: Millis,
    /// How long after-contact work may take; zero for none.
    pub wrap_up_ms: Millis,
    /// How long a contact may wait before it flows out; zero for no limit.
    pub wait_ms_max: Millis,
    /// How many may wait; zero for no limit.
    pub waiting_count_max: u32,
    /// After this many offers missed or declined in a row the agent becomes not ready; zero for never.
    pub miss_count_max: u32,
    /// How long an agent that missed a contact is not offered it again.
    pub reoffer_after_ms: Millis,
    /// Whether there is after-contact work, and who ends it.
    pub wrap_up_mode: WrapUpMode,
    /// Whether the agent must say what the contact came to before it ends after-contact work.
    pub wrap_up_code_required: bool,
    /// By how much the agent may put the end of after-contact work off, altogether.
    pub wrap_up_extension_ms_max: Millis,
    /// Why an agent is not ready that missed too many offers; empty for *missed offers*.
    pub miss_reason: String,
    /// When it is ready again by itself; zero for never.
    pub miss_return_ms: Millis,
    /// How it serves who waits.
    pub plan: QueuePlan,
}

/// Whether there is after-contact work, and who ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum WrapUpMode {
    /// It ends at its deadline, or before when the agent says so. None when its length is zero.
    #[default]
    Timed,
    /// There is none.
    None,
    /// It ends at its deadline and not before.
    TimedForced,
    /// It has no deadline: only the agent ends it.
    Mandatory,
    /// As timed, but only when the agent asked for it while it talked.
    OnRequest,
}

impl WrapUpMode {
    /// Every mode, in declaration order.
    pub const ALL: [WrapUpMode; 5] =
        [Self::Timed, Self::None, Self::TimedForced, Self::Mandatory, Self::OnRequest];

    /// The word used in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timed => "timed",
            Self::None => "none",
            Self::TimedForced => "timed_forced",
            Self::Mandatory => "mandatory",
            Self::OnRequest => "on_request",
        }
    }

    /// Whether it has a deadline.
    pub const fn timed(self) -> bool {
        matches!(self, Self::Timed | Self::TimedForced | Self::OnRequest)
    }
}

/// What a contact goes through: hours, greeting, queue with music, agent, hang-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// Its id.
    pub flow_id: FlowId,
    /// Whose.
    pub company_id: CompanyId,
    /// Business hours; always open when absent.
    pub calendar_id: Option<CalendarId>,
    /// Played when closed, then the contact ends. A name in the prompt library.
    pub closed_prompt: String,
    /// Played on arrival.
    pub greeting_prompt: String,
    /// Music while waiting.
    pub music: String,
    /// Where it waits.
    pub queue_id: QueueId,
}

/// A dialled number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// E.164.
    pub number: PhoneNumber,
    /// Whose.
    pub company_id: CompanyId,
    /// Where its contacts begin.
    pub flow_id: FlowId,
}

/// A person who serves contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its id.
    pub agent_id: AgentId,
    /// Shown name.
    pub name: String,
    /// The partition it serves.
    pub cell: Cell,
    /// Where it works.
    pub site_id: Option<SiteId>,
    /// What it can do.
    pub skills: Vec<SkillLevel>,
    /// User part of its phone's address and digest user name.
    pub sip_user: String,
    /// MD5 of `user:realm:password`, hex (RFC 7616 §3.4.2), for phones that know no better.
    pub sip_ha1_md5: String,
    /// SHA-256 of `user:realm:password`, hex (RFC 7616).
    pub sip_ha1_sha256: String,
    /// The company whose team it is in, for contracts by signed-in time.
    pub team_company_id: Option<CompanyId>,
    /// What it serves; one call at a time when none is named.
    pub channels: Vec<ChannelRule>,
}

/// What a client company pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// Its id.
    pub contract_id: ContractId,
    /// Who pays.
    pub company_id: CompanyId,
    /// From 1; a version never changes.
    pub version: u32,
    /// From when it prices work.
    pub effective_at: Timestamp,
    /// In what.
    pub currency: Currency,
    /// For what.
    pub unit: UsageUnit,
    /// Price of one `price_per_ms`.
    pub price: Money,
    /// One minute or one hour, in ms.
    pub price_per_ms: Millis,
    /// The least that is charged for one piece of work.
    pub first_increment_ms: Millis,
    /// What is beyond is rounded up to whole increments of this.
    pub increment_ms: Millis,
    /// The least a calendar month costs; zero for none.
    pub monthly_minimum: Money,
}

/// A key of the REST interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// What the operator calls it.
    pub name: String,
    /// SHA-256 of the key, hex. The key itself is nowhere.
    pub key_sha256: String,
    /// The one company it may see; `None` for the operator's own.
    pub company_id: Option<CompanyId>,
}

/// A caller who hears busy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlocklistEntry {
    /// E.164.
    pub number: PhoneNumber,
    /// Only for this company; for all when absent.
    pub company_id: Option<CompanyId>,
    /// Why, for the auditor.
    pub reason: String,
}

impl BlocklistEntry {
    /// Its key: the number, and the company when it is for one alone, as `+4930123456/cmp_aurora`.
    pub fn key(&self) -> String {
        match &self.company_id {
            Some(company_id) => format!("{}/{company_id}", self.number.reveal()),
            None => self.number.reveal().to_owned(),
        }
    }
}

impl DirectoryFact {
    /// What it defines or retires, and its key; `None` for the revision itself.
    pub fn subject(&self) -> Option<(DefinitionKind, String)> {
        match self {
            Self::RevisionApplied { .. } => None,
            Self::OperatorDefined(it) => Some((DefinitionKind::Operator, it.operator_id.to_string())),
            Self::CompanyDefined(it) => Some((DefinitionKind::Company, it.company_id.to_string())),
            Self::SkillDefined(it) => Some((DefinitionKind::Skill, it.skill_id.to_string())),
            Self::CalendarDefined(it) => Some((DefinitionKind::Calendar, it.calendar_id.to_string())),
            Self::QueueDefined(it) => Some((DefinitionKind::Queue, it.queue_id.to_string())),
            Self::FlowDefined(it) => Some((DefinitionKind::Flow, it.flow_id.to_string())),
            Self::NumberDefined(it) => Some((DefinitionKind::Number, it.number.reveal().to_owned())),
            Self::AgentDefined(it) => Some((DefinitionKind::Agent, it.agent_id.to_string())),
            Self::ContractDefined(it) => Some((DefinitionKind::Contract, it.contract_id.to_string())),
            Self::ApiKeyDefined(it) => Some((DefinitionKind::ApiKey, it.name.clone())),
            Self::BlocklistEntryDefined(it) => Some((DefinitionKind::BlocklistEntry, it.key())),
            Self::DefinitionRetired { kind, key } => Some((*kind, key.clone())),
        }
    }
}

impl LogFact for DirectoryFact {
    const LOG: LogName = LogName::Directory;

    fn name(&self) -> &'static str {
        match self {
            Self::RevisionApplied { .. } => "RevisionApplied",
            Self::OperatorDefined(_) => "OperatorDefined",
            Self::CompanyDefined(_) => "CompanyDefined",
            Self::SkillDefined(_) => "SkillDefined",
            Self::CalendarDefined(_) => "CalendarDefined",
            Self::QueueDefined(_) => "QueueDefined",
            Self::FlowDefined(_) => "FlowDefined",
            Self::NumberDefined(_) => "NumberDefined",
            Self::AgentDefined(_) => "AgentDefined",
            Self::ContractDefined(_) => "ContractDefined",
            Self::ApiKeyDefined(_) => "ApiKeyDefined",
            Self::BlocklistEntryDefined(_) => "BlocklistEntryDefined",
            Self::DefinitionRetired { .. } => "DefinitionRetired",
        }
    }

    fn stream(&self) -> String {
        "directory".to_owned()
    }

    fn contact(&self) -> Option<&ContactId> {
        None
    }
}
