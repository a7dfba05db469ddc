//! The shape of the document. Every scalar keeps its place; what it means is read in `lower`.

use serde::Deserialize;
use serde_saphyr::Spanned;

pub(super) type Text = Spanned<String>;
pub(super) type Whole = Spanned<i64>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub operator: Spanned<Operator>,
    #[serde(default)]
    pub skills: Vec<Spanned<Skill>>,
    #[serde(default)]
    pub calendars: Vec<Spanned<Calendar>>,
    #[serde(default)]
    pub companies: Vec<Spanned<Company>>,
    #[serde(default)]
    pub agents: Vec<Spanned<Agent>>,
    #[serde(default)]
    pub api_keys: Vec<Spanned<ApiKey>>,
    #[serde(default)]
    pub blocklist: Vec<Spanned<BlocklistEntry>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operator {
    pub id: Text,
    pub name: Text,
    pub time_zone: Text,
    #[serde(default)]
    pub not_ready_reasons: Vec<Spanned<NotReadyReason>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotReadyReason {
    pub reason: Text,
    pub limit: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Skill {
    pub id: Text,
    pub name: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Calendar {
    pub id: Text,
    pub time_zone: Text,
    pub open: Spanned<Vec<Text>>,
    #[serde(default)]
    pub closed_dates: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Company {
    pub id: Text,
    pub name: Text,
    pub cell: Option<Whole>,
    pub service_level_threshold: Text,
    #[serde(default)]
    pub queues: Vec<Spanned<Queue>>,
    #[serde(default)]
    pub flows: Vec<Spanned<Flow>>,
    #[serde(default)]
    pub numbers: Vec<Spanned<Number>>,
    #[serde(default)]
    pub contracts: Vec<Spanned<Contract>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Queue {
    pub id: Text,
    pub name: Text,
    #[serde(default)]
    pub required_skills: Vec<Text>,
    pub priority: Option<Whole>,
    pub offer_timeout: Text,
    pub wrap_up: Option<Text>,
    pub wait_max: Option<Text>,
    pub waiting_count_max: Option<Whole>,
    pub miss_count_max: Option<Whole>,
    pub reoffer_after: Option<Text>,
    pub wrap_up_mode: Option<Text>,
    pub wrap_up_code: Option<Text>,
    pub wrap_up_extension_max: Option<Text>,
    pub miss_reason: Option<Text>,
    pub miss_return: Option<Text>,
    pub tier: Option<Whole>,
    pub head_start: Option<Text>,
    pub ageing: Option<Spanned<Ageing>>,
    #[serde(default)]
    pub steps: Vec<Spanned<Step>>,
    #[serde(default)]
    pub prefer: Vec<Text>,
    pub strategy: Option<Text>,
    pub idle_since: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ageing {
    pub every: Text,
    pub by: Option<Whole>,
    pub most: Whole,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub after: Text,
    pub required_skills: Option<Vec<Text>>,
    pub priority: Option<Whole>,
    pub overflow: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flow {
    pub id: Text,
    pub calendar: Option<Text>,
    pub greeting_prompt: Option<Text>,
    pub closed_prompt: Option<Text>,
    pub music: Option<Text>,
    pub queue: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Number {
    pub number: Text,
    pub flow: Text,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contract {
    pub id: Text,
    pub version: Whole,
    pub effective_from: Option<Text>,
    pub unit: Text,
    pub price: Text,
    pub first_increment: Text,
    pub increment: Text,
    pub monthly_minimum: Option<Text>,
}

/// `Debug` is written by hand: a password is never printed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub id: Text,
    pub name: Text,
    pub cell: Option<Whole>,
    pub site: Option<Text>,
    #[serde(default)]
    pub skills: Vec<Text>,
    pub sip_user: Text,
    pub sip_password: Option<Text>,
    pub sip_ha1_md5: Option<Text>,
    pub sip_ha1_sha256: Option<Text>,
    pub team_company: Option<Text>,
    #[serde(default)]
    pub channels: Vec<Spanned<ChannelRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelRule {
    pub channel: Text,
    pub capacity: Option<Whole>,
    #[serde(default)]
    pub interrupted_by: Vec<Text>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").field("id", &self.id.value).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ApiKey {
    pub name: Text,
    pub key_sha256: Text,
    pub company: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BlocklistEntry {
    pub number: Text,
    pub company: Option<Text>,
    pub reason: Text,
}
