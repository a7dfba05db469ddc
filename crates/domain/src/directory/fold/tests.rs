//! What is in force when.

use super::*;
use crate::facts::{Meta, OpeningSpan, UsageUnit};
use crate::vocabulary::{Cell, Currency, EventId, Millis, Money};

fn recorded(fact: DirectoryFact) -> Recorded<DirectoryFact> {
    let meta = Meta {
        event_id: EventId::parse("evt_d-1").unwrap(),
        cell: Cell(0),
        stream: "directory".to_owned(),
        sequence: 1,
        occurred_at: Timestamp(0),
        recorded_at: Timestamp(0),
        correlation_id: None,
        causation_id: None,
        traceparent: String::new(),
    };
    Recorded { meta, fact }
}

fn revision(revision: u64, effective_at: i64) -> DirectoryFact {
    DirectoryFact::RevisionApplied {
        revision,
        author: "ada".to_owned(),
        effective_at: Timestamp(effective_at),
        source_sha256: String::new(),
    }
}

fn folded(facts: &[DirectoryFact]) -> Directory {
    let mut directory = Directory::default();
    facts.iter().for_each(|fact| directory.fold(&recorded(fact.clone())));
    directory
}

fn company(name: &str) -> DirectoryFact {
    DirectoryFact::CompanyDefined(Company {
        company_id: aurora(),
        name: name.to_owned(),
        cell: Cell(0),
        service_level_threshold_ms: Millis::from_secs(20),
    })
}

fn aurora() -> CompanyId {
    CompanyId::parse("cmp_aurora").unwrap()
}

fn retired(kind: DefinitionKind, key: &str) -> DirectoryFact {
    DirectoryFact::DefinitionRetired { kind, key: key.to_owned() }
}

fn contract(id: &str, version: u32, effective_at: i64, micros: i64) -> DirectoryFact {
    let currency = Currency::parse("EUR").unwrap();
    DirectoryFact::ContractDefined(Contract {
        contract_id: ContractId::parse(id).unwrap(),
        company_id: aurora(),
        version,
        effective_at: Timestamp(effective_at),
        currency,
        unit: UsageUnit::TalkTime,
        price: Money { currency, micros },
        price_per_ms: Millis::from_secs(60),
        first_increment_ms: Millis::from_secs(6),
        increment_ms: Millis::from_secs(6),
        monthly_minimum: Money::zero(currency),
    })
}

fn agent(id: &str, sip_user: &str) -> DirectoryFact {
    DirectoryFact::AgentDefined(Agent {
        agent_id: AgentId::parse(id).unwrap(),
        name: id.to_owned(),
        cell: Cell(0),
        site_id: None,
        skills: Vec::new(),
        sip_user: sip_user.to_owned(),
        sip_ha1_md5: String::new(),
        sip_ha1_sha256: String::new(),
        team_company_id: None,
        channels: Vec::new(),
    })
}

#[test]
fn a_definition_counts_from_its_date_until_the_next_one_does() {
    let directory = folded(&[
        revision(1, 100),
        company("Aurora"),
        revision(2, 200),
        company("Aurora GmbH"),
        revision(3, 300),
        retired(DefinitionKind::Company, "cmp_aurora"),
    ]);
    for (at, name) in [(99, None), (100, Some("Aurora")), (199, Some("Aurora")), (200, Some("Aurora GmbH"))] {
        assert_eq!(directory.company(&aurora(), Timestamp(at)).map(|it| it.name.as_str()), name, "at {at}");
    }
    assert_eq!(directory.companies(Timestamp(299)).count(), 1);
    assert_eq!(directory.companies(Timestamp(300)).count(), 0);
    assert_eq!(directory.revision(), 3);
    let changes: Vec<_> = [0, 100, 250, 300]
        .map(|at| directory.next_change_after(Timestamp(at)).map(|next| next.0))
        .into_iter()
        .collect();
    assert_eq!(changes, [Some(100), Some(200), Some(300), None]);
}

#[test]
fn of_two_revisions_of_one_instant_the_later_counts() {
    let directory = folded(&[revision(1, 100), company("One"), revision(2, 100), company("Two")]);
    assert_eq!(directory.company(&aurora(), Timestamp(100)).map(|it| it.name.as_str()), Some("Two"));
}

#[test]
fn a_revision_folded_twice_changes_nothing() {
    let first = [revision(1, 100), company("One")];
    let second = [revision(2, 200), company("Two"), retired(DefinitionKind::Agent, "agt_anna")];
    let once = folded(&[&first[..], &second[..]].concat());
    let twice = folded(&[&first[..], &second[..], &first[..], &second[..], &first[..]].concat());
    assert_eq!(once.state_hash(), twice.state_hash());
    assert_ne!(once.state_hash(), folded(&first).state_hash());
}

#[test]
fn a_contract_counts_from_its_own_date_and_its_versions_never_change() {
    let id = ContractId::parse("ctr_talk").unwrap();
    let directory = folded(&[
        revision(1, 100),
        contract("ctr_talk", 1, 50, 1),
        revision(2, 200),
        contract("ctr_talk", 1, 50, 999),
        contract("ctr_talk", 2, 500, 2),
        revision(3, 900),
        retired(DefinitionKind::Contract, "ctr_talk"),
    ]);
    let price = |at| -> Vec<i64> {
        directory.contract_at(&aurora(), Timestamp(at)).iter().map(|it| it.price.micros).collect()
    };
    assert_eq!(price(49), Vec::<i64>::new());
    assert_eq!(price(50), [1]);
    assert_eq!(price(499), [1]);
    assert_eq!(price(500), [2]);
    assert_eq!(price(899), [2]);
    assert_eq!(price(900), Vec::<i64>::new());
    assert_eq!(directory.contract_version(&id, 1).map(|it| it.price.micros), Some(1));
    assert_eq!(directory.next_change_after(Timestamp(200)), Some(Timestamp(500)));
    assert_eq!(directory.contract_ids(Timestamp(899)).count(), 1);
    assert_eq!(directory.contract_ids(Timestamp(900)).count(), 0);
}

#[test]
fn a_sip_user_leads_to_who_has_it_now() {
    let anna = AgentId::parse("agt_anna").unwrap();
    let bert = AgentId::parse("agt_bert").unwrap();
    let directory = folded(&[
        revision(1, 100),
        agent("agt_anna", "1001"),
        revision(2, 200),
        agent("agt_anna", "1009"),
        agent("agt_bert", "1001"),
    ]);
    let user =
        |name: &str, at| directory.agent_by_sip_user(name, Timestamp(at)).map(|it| it.agent_id.clone());
    assert_eq!(user("1001", 150), Some(anna.clone()));
    assert_eq!(user("1001", 200), Some(bert));
    assert_eq!(user("1009", 200), Some(anna));
    assert_eq!(user("1009", 199), None);
    assert_eq!(user("1002", 200), None);
}

#[test]
fn a_caller_is_blocked_for_everybody_or_for_one_company() {
    let number = |text| PhoneNumber::parse(text).unwrap();
    let entry = |text, company_id| {
        DirectoryFact::BlocklistEntryDefined(BlocklistEntry {
            number: number(text),
            company_id,
            reason: "threats".to_owned(),
        })
    };
    let directory =
        folded(&[revision(1, 100), entry("+4930111111", None), entry("+4930222222", Some(aurora()))]);
    let other = CompanyId::parse("cmp_borealis").unwrap();
    for (caller, company_id, at, blocked) in [
        ("+4930111111", None, 100, true),
        ("+4930111111", Some(&other), 100, true),
        ("+4930111111", None, 99, false),
        ("+4930222222", Some(&aurora()), 100, true),
        ("+4930222222", Some(&other), 100, false),
        ("+4930222222", None, 100, false),
        ("+4930333333", Some(&aurora()), 100, false),
    ] {
        assert_eq!(directory.blocked(&number(caller), company_id, Timestamp(at)), blocked, "{caller} {at}");
    }
}

#[test]
fn a_calendar_that_nobody_defined_is_closed() {
    let id = CalendarId::parse("cal_day").unwrap();
    let directory = folded(&[
        revision(1, 0),
        DirectoryFact::CalendarDefined(Calendar {
            calendar_id: id.clone(),
            time_zone: "UTC".to_owned(),
            open: vec![OpeningSpan { weekday: 4, from_minute: 0, to_minute: 1440 }],
            closed_dates: Vec::new(),
        }),
    ]);
    // The epoch was a Thursday.
    assert!(directory.open(&id, Timestamp(0)));
    assert!(!directory.open(&id, Timestamp(86_400_000)));
    assert!(!directory.open(&CalendarId::parse("cal_none").unwrap(), Timestamp(0)));
}
