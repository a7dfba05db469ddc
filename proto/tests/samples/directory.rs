use std::collections::BTreeSet;

use trunkline_domain::facts::{
    Agent, ApiKey, BlocklistEntry, Calendar, Company, Contract, DefinitionKind, DirectoryFact, Flow,
    NotReadyReason, Number, OpeningSpan, Operator, Queue, Skill, UsageUnit, WrapUpMode,
};
use trunkline_domain::vocabulary::{Cell, Channel, ChannelRule, Currency, Millis, QueuePlan};

use super::{NOON, Sample, euros, id, number, plan};

pub fn directory() -> Vec<Sample<DirectoryFact>> {
    vec![
        (
            "",
            DirectoryFact::RevisionApplied {
                revision: 2,
                author: "Ines Ortega".to_owned(),
                effective_at: NOON,
                source_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned(),
            },
        ),
        (
            "",
            DirectoryFact::OperatorDefined(Operator {
                operator_id: id("opr_meridian"),
                name: "Meridian Service GmbH".to_owned(),
                time_zone: "Europe/Berlin".to_owned(),
                not_ready_reasons: vec![],
            }),
        ),
        (
            "reasons",
            DirectoryFact::OperatorDefined(Operator {
                operator_id: id("opr_meridian"),
                name: "Meridian Service GmbH".to_owned(),
                time_zone: "Europe/Berlin".to_owned(),
                not_ready_reasons: vec![
                    NotReadyReason { reason: "lunch".to_owned(), limit_ms: Millis(1_800_000) },
                    NotReadyReason { reason: "training".to_owned(), limit_ms: Millis::ZERO },
                ],
            }),
        ),
        (
            "",
            DirectoryFact::CompanyDefined(Company {
                company_id: id("cmp_aurora"),
                name: "Aurora Versand".to_owned(),
                cell: Cell(3),
                service_level_threshold_ms: Millis(20_000),
            }),
        ),
        ("", DirectoryFact::SkillDefined(Skill { skill_id: id("skl_german"), name: "German".to_owned() })),
        (
            "",
            DirectoryFact::CalendarDefined(Calendar {
                calendar_id: id("cal_berlin"),
                time_zone: "Europe/Berlin".to_owned(),
                open: vec![
                    OpeningSpan { weekday: 1, from_minute: 480, to_minute: 1080 },
                    OpeningSpan { weekday: 6, from_minute: 0, to_minute: 1440 },
                ],
                closed_dates: vec!["2026-12-25".to_owned()],
            }),
        ),
        (
            "",
            DirectoryFact::QueueDefined(Queue {
                queue_id: id("que_aurora"),
                company_id: id("cmp_aurora"),
                name: "Aurora orders".to_owned(),
                required_skills: vec![id("skl_german")],
                priority: 10,
                offer_timeout_ms: Millis(20_000),
                wrap_up_ms: Millis(30_000),
                wait_ms_max: Millis(600_000),
                waiting_count_max: 50,
                miss_count_max: 3,
                reoffer_after_ms: Millis(60_000),
                wrap_up_mode: WrapUpMode::Timed,
                wrap_up_code_required: false,
                wrap_up_extension_ms_max: Millis::ZERO,
                miss_reason: String::new(),
                miss_return_ms: Millis::ZERO,
                plan: QueuePlan::default(),
            }),
        ),
        (
            "asked",
            DirectoryFact::QueueDefined(Queue {
                queue_id: id("que_cobalt"),
                company_id: id("cmp_cobalt"),
                name: "Cobalt service".to_owned(),
                required_skills: vec![],
                priority: 0,
                offer_timeout_ms: Millis(20_000),
                wrap_up_ms: Millis(30_000),
                wait_ms_max: Millis::ZERO,
                waiting_count_max: 0,
                miss_count_max: 2,
                reoffer_after_ms: Millis(30_000),
                wrap_up_mode: WrapUpMode::OnRequest,
                wrap_up_code_required: true,
                wrap_up_extension_ms_max: Millis(120_000),
                miss_reason: "phone unattended".to_owned(),
                miss_return_ms: Millis(300_000),
                plan: QueuePlan::default(),
            }),
        ),
        (
            "planned",
            DirectoryFact::QueueDefined(Queue {
                queue_id: id("que_cobalt"),
                company_id: id("cmp_cobalt"),
                name: "Cobalt service".to_owned(),
                required_skills: vec![id("skl_german >= 7 or skl_dutch")],
                priority: 0,
                offer_timeout_ms: Millis(20_000),
                wrap_up_ms: Millis::ZERO,
                wait_ms_max: Millis::ZERO,
                waiting_count_max: 0,
                miss_count_max: 0,
                reoffer_after_ms: Millis(30_000),
                wrap_up_mode: WrapUpMode::Timed,
                wrap_up_code_required: false,
                wrap_up_extension_ms_max: Millis::ZERO,
                miss_reason: String::new(),
                miss_return_ms: Millis::ZERO,
                plan: plan(),
            }),
        ),
        (
            "",
            DirectoryFact::FlowDefined(Flow {
                flow_id: id("flw_aurora"),
                company_id: id("cmp_aurora"),
                calendar_id: Some(id("cal_berlin")),
                closed_prompt: "closed".to_owned(),
                greeting_prompt: "welcome".to_owned(),
                music: "music".to_owned(),
                queue_id: id("que_aurora"),
            }),
        ),
        (
            "bare",
            DirectoryFact::FlowDefined(Flow {
                flow_id: id("flw_cobalt"),
                company_id: id("cmp_cobalt"),
                calendar_id: None,
                closed_prompt: String::new(),
                greeting_prompt: "welcome".to_owned(),
                music: "music".to_owned(),
                queue_id: id("que_cobalt"),
            }),
        ),
        (
            "",
            DirectoryFact::NumberDefined(Number {
                number: number("+4930555010"),
                company_id: id("cmp_aurora"),
                flow_id: id("flw_aurora"),
            }),
        ),
        (
            "",
            DirectoryFact::AgentDefined(Agent {
                agent_id: id("agt_anna"),
                name: "Anna Lindqvist".to_owned(),
                cell: Cell(3),
                site_id: Some(id("sit_berlin")),
                skills: vec![id("skl_german"), id("skl_billing")],
                sip_user: "phone-anna".to_owned(),
                sip_ha1_md5: "0123456789abcdef0123456789abcdef".to_owned(),
                sip_ha1_sha256: "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210".to_owned(),
                team_company_id: Some(id("cmp_cobalt")),
                channels: Vec::new(),
            }),
        ),
        (
            "bare",
            DirectoryFact::AgentDefined(Agent {
                agent_id: id("agt_bert"),
                name: "Bertrand Okafor".to_owned(),
                cell: Cell(0),
                site_id: None,
                skills: vec![],
                sip_user: "phone-bert".to_owned(),
                sip_ha1_md5: "0123456789abcdef0123456789abcdef".to_owned(),
                sip_ha1_sha256: "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210".to_owned(),
                team_company_id: None,
                channels: Vec::new(),
            }),
        ),
        (
            "levels",
            DirectoryFact::AgentDefined(Agent {
                agent_id: id("agt_dora"),
                name: "Dora Lindgren".to_owned(),
                cell: Cell(0),
                site_id: None,
                skills: vec![id("skl_german 7"), id("skl_billing")],
                sip_user: "phone-dora".to_owned(),
                sip_ha1_md5: "0123456789abcdef0123456789abcdef".to_owned(),
                sip_ha1_sha256: "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210".to_owned(),
                team_company_id: None,
                channels: Vec::new(),
            }),
        ),
        (
            "channels",
            DirectoryFact::AgentDefined(Agent {
                agent_id: id("agt_cleo"),
                name: "Cleo Marsh".to_owned(),
                cell: Cell(0),
                site_id: None,
                skills: vec![],
                sip_user: "phone-cleo".to_owned(),
                sip_ha1_md5: "0123456789abcdef0123456789abcdef".to_owned(),
                sip_ha1_sha256: "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210".to_owned(),
                team_company_id: None,
                channels: vec![
                    ChannelRule { channel: Channel::Voice, capacity: 1, interrupted_by: BTreeSet::new() },
                    ChannelRule {
                        channel: Channel::Email,
                        capacity: 4,
                        interrupted_by: BTreeSet::from([Channel::Voice]),
                    },
                ],
            }),
        ),
        (
            "",
            DirectoryFact::ContractDefined(Contract {
                contract_id: id("ctr_aurora"),
                company_id: id("cmp_aurora"),
                version: 1,
                effective_at: NOON,
                currency: Currency::parse("EUR").unwrap(),
                unit: UsageUnit::TalkTime,
                price: euros(890_000),
                price_per_ms: Millis(60_000),
                first_increment_ms: Millis(30_000),
                increment_ms: Millis(1_000),
                monthly_minimum: euros(0),
            }),
        ),
        (
            "",
            DirectoryFact::ApiKeyDefined(ApiKey {
                name: "aurora-portal".to_owned(),
                key_sha256: "aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999".to_owned(),
                company_id: Some(id("cmp_aurora")),
            }),
        ),
        (
            "bare",
            DirectoryFact::ApiKeyDefined(ApiKey {
                name: "operator".to_owned(),
                key_sha256: "aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999".to_owned(),
                company_id: None,
            }),
        ),
        (
            "",
            DirectoryFact::BlocklistEntryDefined(BlocklistEntry {
                number: number("+4915198765432"),
                company_id: Some(id("cmp_aurora")),
                reason: "threats, 2026-02-11".to_owned(),
            }),
        ),
        (
            "bare",
            DirectoryFact::BlocklistEntryDefined(BlocklistEntry {
                number: number("+4915198765432"),
                company_id: None,
                reason: "threats, 2026-02-11".to_owned(),
            }),
        ),
        ("", DirectoryFact::DefinitionRetired { kind: DefinitionKind::Agent, key: "agt_carla".to_owned() }),
        (
            "number",
            DirectoryFact::DefinitionRetired {
                kind: DefinitionKind::BlocklistEntry,
                key: "+4915198765432".to_owned(),
            },
        ),
    ]
}
