//! A good configuration for tests to spoil.

use super::*;
use crate::facts::*;
use crate::vocabulary::*;

pub(super) fn placed<T>(path: &str, wanted: T) -> Placed<T> {
    Placed { path: path.to_owned(), wanted }
}

pub(super) fn eur() -> Currency {
    Currency::parse("EUR").unwrap()
}

pub(super) fn queue(company: &str, name: &str) -> Queue {
    Queue {
        queue_id: QueueId::from_name(name).unwrap(),
        company_id: CompanyId::from_name(company).unwrap(),
        name: format!("The {name} queue"),
        required_skills: vec![Clause::has(SkillId::from_name("german").unwrap())],
        priority: 0,
        offer_timeout_ms: Millis::from_secs(15),
        wrap_up_ms: Millis::from_secs(30),
        wait_ms_max: Millis::ZERO,
        waiting_count_max: 0,
        miss_count_max: 3,
        reoffer_after_ms: Millis::from_secs(30),
        wrap_up_mode: WrapUpMode::Timed,
        wrap_up_code_required: false,
        wrap_up_extension_ms_max: Millis::ZERO,
        miss_reason: String::new(),
        miss_return_ms: Millis::ZERO,
        plan: QueuePlan::default(),
    }
}

pub(super) fn flow(company: &str, name: &str) -> Flow {
    Flow {
        flow_id: FlowId::from_name(name).unwrap(),
        company_id: CompanyId::from_name(company).unwrap(),
        calendar_id: Some(CalendarId::from_name("office").unwrap()),
        closed_prompt: "vm-goodbye".to_owned(),
        greeting_prompt: "hello/welcome_1".to_owned(),
        music: String::new(),
        queue_id: QueueId::from_name(name).unwrap(),
    }
}

pub(super) fn number(company: &str, flow: &str, number: &str) -> Number {
    Number {
        number: PhoneNumber::parse(number).unwrap(),
        company_id: CompanyId::from_name(company).unwrap(),
        flow_id: FlowId::from_name(flow).unwrap(),
    }
}

pub(super) fn agent(name: &str, sip_user: &str) -> Agent {
    Agent {
        agent_id: AgentId::from_name(name).unwrap(),
        name: name.to_owned(),
        cell: Cell(0),
        site_id: None,
        skills: vec![SkillLevel::whole(SkillId::from_name("german").unwrap())],
        sip_user: sip_user.to_owned(),
        sip_ha1_md5: "0".repeat(32),
        sip_ha1_sha256: "0".repeat(64),
        team_company_id: None,
        channels: Vec::new(),
    }
}

pub(super) fn contract(company: &str, name: &str, version: u32) -> WantedContract {
    let contract = Contract {
        contract_id: ContractId::from_name(name).unwrap(),
        company_id: CompanyId::from_name(company).unwrap(),
        version,
        effective_at: Timestamp(0),
        currency: eur(),
        unit: UsageUnit::TalkTime,
        price: Money { currency: eur(), micros: 120_000 },
        price_per_ms: Millis::from_secs(60),
        first_increment_ms: Millis::from_secs(6),
        increment_ms: Millis::from_secs(6),
        monthly_minimum: Money::zero(eur()),
    };
    WantedContract { contract, dated: false }
}

pub(super) fn company(name: &str) -> Company {
    Company {
        company_id: CompanyId::from_name(name).unwrap(),
        name: name.to_owned(),
        cell: Cell(0),
        service_level_threshold_ms: Millis::from_secs(20),
    }
}

/// Two companies, each with a queue, a flow, a number and a contract; two agents.
pub(super) fn good() -> Wanted {
    let key = |name: &str, digit: &str, company_id| ApiKey {
        name: name.to_owned(),
        key_sha256: digit.repeat(64),
        company_id,
    };
    Wanted {
        operator: placed(
            "operator",
            Operator {
                operator_id: OperatorId::from_name("northwind").unwrap(),
                name: "Northwind".to_owned(),
                time_zone: "Europe/Berlin".to_owned(),
                not_ready_reasons: vec![],
            },
        ),
        skills: vec![placed(
            "skills[0]",
            Skill { skill_id: SkillId::from_name("german").unwrap(), name: "German".to_owned() },
        )],
        calendars: vec![placed(
            "calendars[0]",
            Calendar {
                calendar_id: CalendarId::from_name("office").unwrap(),
                time_zone: "Europe/Berlin".to_owned(),
                open: vec![OpeningSpan { weekday: 1, from_minute: 480, to_minute: 1080 }],
                closed_dates: vec!["2026-12-25".to_owned()],
            },
        )],
        companies: vec![
            placed("companies[0]", company("aurora")),
            placed("companies[1]", company("borealis")),
        ],
        queues: vec![
            placed("companies[0].queues[0]", queue("aurora", "aurora")),
            placed("companies[1].queues[0]", queue("borealis", "borealis")),
        ],
        flows: vec![
            placed("companies[0].flows[0]", flow("aurora", "aurora")),
            placed("companies[1].flows[0]", flow("borealis", "borealis")),
        ],
        numbers: vec![
            placed("companies[0].numbers[0]", number("aurora", "aurora", "+493055501001")),
            placed("companies[1].numbers[0]", number("borealis", "borealis", "+493055502001")),
        ],
        agents: vec![placed("agents[0]", agent("anna", "1001")), placed("agents[1]", agent("bert", "1002"))],
        contracts: vec![
            placed("companies[0].contracts[0]", contract("aurora", "aurora", 1)),
            placed("companies[1].contracts[0]", contract("borealis", "borealis", 1)),
        ],
        api_keys: vec![
            placed("api_keys[0]", key("all", "0", None)),
            placed("api_keys[1]", key("aurora", "1", Some(company("aurora").company_id))),
        ],
        blocklist: vec![placed(
            "blocklist[0]",
            BlocklistEntry {
                number: PhoneNumber::parse("+493055506666").unwrap(),
                company_id: None,
                reason: "threats".to_owned(),
            },
        )],
    }
}
