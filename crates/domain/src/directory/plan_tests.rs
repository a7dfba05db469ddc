//! What a wanted configuration changes, and which ones are refused.

use expect_test::{Expect, expect};

use super::fixture::{agent, company, contract, flow, good, number, placed, queue};
use super::*;
use crate::facts::*;
use crate::kernel::Projection;
use crate::vocabulary::*;

const NOW: Timestamp = Timestamp(1_000_000);

/// The directory after a wanted configuration was applied from `at` on.
fn applied(mut directory: Directory, wanted: &Wanted, at: Timestamp) -> Directory {
    let plan = plan(&directory, wanted, at, 1).unwrap();
    let revision = directory.revision() + 1;
    let begin = DirectoryFact::RevisionApplied {
        revision,
        author: "ada".to_owned(),
        effective_at: at,
        source_sha256: String::new(),
    };
    for fact in std::iter::once(begin).chain(plan.facts) {
        let meta = Meta {
            event_id: EventId::from_name(&format!("d-{revision}")).unwrap(),
            cell: Cell(0),
            stream: fact.stream(),
            sequence: revision,
            occurred_at: at,
            recorded_at: at,
            correlation_id: None,
            causation_id: None,
            traceparent: String::new(),
        };
        directory.fold(&Recorded { meta, fact });
    }
    directory
}

/// Applies the good configuration at `NOW`, then asks for `change` of it 1 s later.
#[track_caller]
pub(super) fn check(change: impl FnOnce(&mut Wanted), expected: Expect) {
    let directory = applied(Directory::default(), &good(), NOW);
    let mut wanted = good();
    change(&mut wanted);
    expected.assert_eq(&told(&plan(&directory, &wanted, NOW + Millis(1000), 1)));
}

fn told(plan: &Result<Plan, Vec<Problem>>) -> String {
    let mut text = String::new();
    match plan {
        Ok(plan) => {
            assert_eq!(plan.changes.len(), plan.facts.len());
            for change in &plan.changes {
                let (kind, subject) = (change.kind, change.subject.as_str());
                text.push_str(format!("{kind:?} {subject} {} {}", change.key, change.detail).trim_end());
                text.push('\n');
            }
        }
        Err(problems) => {
            for it in problems {
                let other = it.other.iter().map(|other| format!(" (see {other})")).collect::<String>();
                text.push_str(&format!("{}: {}{other}\n", it.path, it.reason));
            }
        }
    }
    text
}

#[test]
fn the_first_document_adds_everything_in_order_of_dependency() {
    expect![[r#"
        Added operator opr_northwind name Northwind, time_zone Europe/Berlin
        Added skill skl_german name German
        Added calendar cal_office open mon 08:00-18:00, time_zone Europe/Berlin
        Added company cmp_aurora name aurora, cell 0
        Added company cmp_borealis name borealis, cell 0
        Added queue que_aurora name The aurora queue, company cmp_aurora
        Added queue que_borealis name The borealis queue, company cmp_borealis
        Added flow flw_aurora queue que_aurora, company cmp_aurora
        Added flow flw_borealis queue que_borealis, company cmp_borealis
        Added number +493055501001 flow flw_aurora, company cmp_aurora
        Added number +493055502001 flow flw_borealis, company cmp_borealis
        Added agent agt_anna name anna, cell 0
        Added agent agt_bert name bert, cell 0
        Added api_key all company none
        Added api_key aurora company cmp_aurora
        Added blocklist_entry +493055506666 reason threats, number +493055506666
        Added contract ctr_aurora/1 version 1, price 0.12 EUR per 1m
        Added contract ctr_borealis/1 version 1, price 0.12 EUR per 1m
    "#]]
    .assert_eq(&told(&plan(&Directory::default(), &good(), NOW, 1)));
}

#[test]
fn the_same_document_again_changes_nothing() {
    check(|_| {}, expect![""]);
}

#[test]
fn a_change_names_the_fields_and_shows_no_secret() {
    check(
        |it| {
            it.queues[0].wanted.offer_timeout_ms = Millis::from_secs(20);
            it.queues[0].wanted.priority = -1;
            it.agents[0].wanted.sip_ha1_md5 = "1".repeat(32);
            it.calendars[0].wanted.closed_dates.clear();
            it.numbers[1].wanted.company_id = company("aurora").company_id;
            it.numbers[1].wanted.flow_id = FlowId::from_name("aurora").unwrap();
        },
        expect![[r#"
            Changed calendar cal_office closed_dates 2026-12-25 → none
            Changed queue que_aurora priority 0 → -1, offer_timeout 15s → 20s
            Changed number +493055502001 flow flw_borealis → flw_aurora, company cmp_borealis → cmp_aurora
            Changed agent agt_anna sip_ha1_md5 changed
        "#]],
    );
}

#[test]
fn what_a_document_leaves_out_is_retired_dependants_first() {
    check(
        |it| {
            it.companies.truncate(1);
            it.queues.truncate(1);
            it.flows.truncate(1);
            it.numbers.truncate(1);
            it.contracts.truncate(1);
            it.agents.truncate(1);
            it.blocklist.clear();
        },
        expect![[r#"
            Retired blocklist_entry +493055506666
            Retired contract ctr_borealis
            Retired agent agt_bert
            Retired number +493055502001
            Retired flow flw_borealis
            Retired queue que_borealis
            Retired company cmp_borealis
        "#]],
    );
}

#[test]
fn a_plan_applied_leaves_nothing_to_change_and_two_folds_agree() {
    let mut wanted = good();
    wanted.queues[0].wanted.wrap_up_ms = Millis::ZERO;
    wanted.agents.truncate(1);
    let at = NOW + Millis(1000);
    let once = applied(applied(Directory::default(), &good(), NOW), &wanted, at);
    assert_eq!(plan(&once, &wanted, at, 1).unwrap(), Plan::default());
    let again = applied(applied(Directory::default(), &good(), NOW), &wanted, at);
    assert_eq!(once.state_hash(), again.state_hash());
    assert_eq!(once.agents(NOW).count(), 2);
    assert_eq!(once.agents(at).count(), 1);
}

#[test]
fn what_refers_to_nothing_is_refused_where_it_stands() {
    check(
        |it| {
            it.queues[0].wanted.required_skills.push(Clause::has(SkillId::from_name("dutch").unwrap()));
            it.flows[0].wanted.calendar_id = Some(CalendarId::from_name("night").unwrap());
            it.flows[1].wanted.queue_id = QueueId::from_name("gone").unwrap();
            it.numbers[0].wanted.flow_id = FlowId::from_name("gone").unwrap();
            it.agents[0].wanted.skills = vec![SkillLevel::whole(SkillId::from_name("dutch").unwrap())];
            it.agents[1].wanted.team_company_id = Some(CompanyId::from_name("gone").unwrap());
            it.api_keys[1].wanted.company_id = Some(CompanyId::from_name("gone").unwrap());
            it.blocklist[0].wanted.company_id = Some(CompanyId::from_name("gone").unwrap());
        },
        expect![[r#"
            companies[0].queues[0].required_skills[1]: no skill skl_dutch is defined
            companies[0].flows[0].calendar: no calendar cal_night is defined
            companies[1].flows[0].queue: no queue que_gone is defined
            companies[0].numbers[0].flow: no flow flw_gone is defined
            agents[0].skills[0]: no skill skl_dutch is defined
            agents[1].team_company: no company cmp_gone is defined
            api_keys[1].company: no company cmp_gone is defined
            blocklist[0].company: no company cmp_gone is defined
        "#]],
    );
}

#[test]
fn what_is_another_companys_is_refused() {
    check(
        |it| {
            it.flows[0].wanted.queue_id = QueueId::from_name("borealis").unwrap();
            it.numbers[1].wanted.flow_id = FlowId::from_name("aurora").unwrap();
        },
        expect![[r#"
            companies[0].flows[0].queue: queue que_borealis belongs to cmp_borealis, not to cmp_aurora
            companies[1].numbers[0].flow: flow flw_aurora belongs to cmp_aurora, not to cmp_borealis
        "#]],
    );
}

#[test]
fn what_is_defined_twice_is_refused_at_the_second_place() {
    check(
        |it| {
            it.skills.push(placed("skills[1]", it.skills[0].wanted.clone()));
            it.companies.push(placed("companies[2]", company("aurora")));
            it.queues.push(placed("companies[1].queues[1]", queue("borealis", "aurora")));
            it.flows.push(placed("companies[0].flows[1]", flow("aurora", "aurora")));
            it.numbers.push(placed("companies[0].numbers[1]", number("aurora", "aurora", "+493055501001")));
            it.numbers
                .push(placed("companies[1].numbers[1]", number("borealis", "borealis", "+493055501001")));
            it.agents.push(placed("agents[2]", agent("anna", "1002")));
            it.api_keys.push(placed("api_keys[2]", it.api_keys[0].wanted.clone()));
            it.blocklist.push(placed("blocklist[1]", it.blocklist[0].wanted.clone()));
        },
        expect![[r#"
            skills[1].id: skill skl_german is defined twice (see skills[0].id)
            companies[2].id: company cmp_aurora is defined twice (see companies[0].id)
            companies[1].queues[1].id: queue que_aurora is defined twice (see companies[0].queues[0].id)
            companies[0].flows[1].id: flow flw_aurora is defined twice (see companies[0].flows[0].id)
            companies[0].numbers[1].number: +493055501001 is used twice (see companies[0].numbers[0].number)
            companies[1].numbers[1].number: +493055501001 is used by cmp_aurora already (see companies[0].numbers[0].number)
            agents[2].id: agent agt_anna is defined twice (see agents[0].id)
            agents[2].sip_user: SIP user 1002 is defined twice (see agents[1].sip_user)
            api_keys[2].name: API key all is defined twice (see api_keys[0].name)
            api_keys[2].key_sha256: this is the key of all already (see api_keys[0].key_sha256)
            blocklist[1].number: blocked number +493055506666 is defined twice (see blocklist[0].number)
        "#]],
    );
}

#[test]
fn what_makes_no_sense_by_itself_is_refused() {
    check(
        |it| {
            it.operator.wanted.time_zone = "Europe/Bremen".to_owned();
            it.skills[0].wanted.name = "  ".to_owned();
            it.calendars[0].wanted.time_zone = "CEST".to_owned();
            it.calendars[0].wanted.open.extend([
                OpeningSpan { weekday: 1, from_minute: 1000, to_minute: 1100 },
                OpeningSpan { weekday: 8, from_minute: 0, to_minute: 60 },
                OpeningSpan { weekday: 2, from_minute: 600, to_minute: 600 },
                OpeningSpan { weekday: 3, from_minute: 600, to_minute: 1441 },
            ]);
            it.calendars[0].wanted.closed_dates =
                vec!["2026-02-30".to_owned(), "2026-12-25".to_owned(), "2026-12-25".to_owned()];
            it.companies[0].wanted.service_level_threshold_ms = Millis(-1);
            it.companies[1].wanted.cell = Cell(1);
            it.queues[0].wanted.offer_timeout_ms = Millis(500);
            it.queues[0].wanted.wrap_up_ms = Millis(-1);
            it.queues[0].wanted.priority = 5000;
            it.flows[0].wanted.greeting_prompt = "../../etc/passwd".to_owned();
            it.agents[0].wanted.sip_user = "anna smith".to_owned();
            it.agents[0].wanted.sip_ha1_md5 = "XYZ".to_owned();
            it.agents[1].wanted.cell = Cell(7);
            it.api_keys[1].wanted.key_sha256 = it.api_keys[0].wanted.key_sha256.clone();
            it.blocklist[0].wanted.reason = String::new();
        },
        expect![[r#"
            operator.time_zone: `Europe/Bremen` is not a time zone: expected an IANA name, as in Europe/Berlin
            skills[0].name: a name cannot be empty
            calendars[0].time_zone: `CEST` is not a time zone: expected an IANA name, as in Europe/Berlin
            calendars[0].open: 8 is no weekday: 1 is Monday, 7 is Sunday
            calendars[0].open: an opening span begins before it ends and stays within its day
            calendars[0].open: an opening span begins before it ends and stays within its day
            calendars[0].open: two opening spans overlap on mon
            calendars[0].closed_dates[0]: `2026-02-30` is not a day: expected YYYY-MM-DD
            calendars[0].closed_dates[2]: 2026-12-25 is listed twice
            companies[0].service_level_threshold: -1ms is outside 1ms to 1h
            companies[1].cell: there is no cell 1: the logs have 1, from 0
            companies[1].cell: a company cannot move between cells: it is in cell 0
            companies[0].queues[0].priority: a priority is from -1000 to 1000
            companies[0].queues[0].offer_timeout: 500ms is outside 1s to 5m
            companies[0].queues[0].wrap_up: -1ms is outside 0s to 8h
            companies[0].flows[0].greeting_prompt: a prompt's name is at most 100 of a-z, A-Z, 0-9, `-`, `_`, with `/` between parts
            agents[0].sip_user: a SIP user is 1 to 64 of A-Z, a-z, 0-9, `.`, `_`, `-`
            agents[0].sip_ha1_md5: a digest here is 32 hex digits in lower case
            agents[1].cell: there is no cell 7: the logs have 1, from 0
            agents[1].cell: an agent cannot move between cells: it is in cell 0
            api_keys[1].key_sha256: this is the key of all already (see api_keys[0].key_sha256)
            blocklist[0].reason: an auditor will ask why: say a reason
        "#]],
    );
}

#[test]
fn an_agreed_version_cannot_change() {
    check(
        |it| it.contracts[0].wanted.contract.price.micros = 150_000,
        expect![[r#"
            companies[0].contracts[0]: version 1 of ctr_aurora is agreed and cannot change (price 0.12 EUR per 1m → 0.15 EUR per 1m): add version 2
        "#]],
    );
}

#[test]
fn a_new_version_counts_from_the_revision_unless_it_says_when() {
    let later = |at| {
        move |it: &mut Wanted| {
            let mut second = contract("aurora", "aurora", 2);
            second.contract.price.micros = 150_000;
            second.contract.effective_at = Timestamp(at);
            second.dated = at != 0;
            it.contracts.push(placed("companies[0].contracts[1]", second));
        }
    };
    check(
        later(0),
        expect![[r#"
            Added contract ctr_aurora/2 version 2, price 0.15 EUR per 1m
        "#]],
    );
    check(
        later(2_000_000),
        expect![[r#"
            Added contract ctr_aurora/2 version 2, price 0.15 EUR per 1m
        "#]],
    );
    check(
        later(1_000_500),
        expect![[r#"
            companies[0].contracts[1].effective_from: a new version cannot count from the past: 1970-01-01T00:16:40.500Z is before 1970-01-01T00:16:41.000Z
        "#]],
    );
    check(
        later(1_000_000),
        expect![[r#"
            companies[0].contracts[1].effective_from: version 1 counts from 1970-01-01T00:16:40.000Z already
        "#]],
    );
}

#[test]
fn versions_follow_one_another_without_a_hole() {
    check(
        |it| {
            it.contracts.push(placed("companies[0].contracts[1]", contract("aurora", "aurora", 3)));
            it.contracts.push(placed("companies[1].contracts[1]", contract("borealis", "other", 2)));
            it.contracts.push(placed("companies[1].contracts[2]", contract("borealis", "zero", 0)));
        },
        expect![[r#"
            companies[1].contracts[2].version: versions count from 1
            companies[0].contracts[1].version: version 2 follows 1, not 3
            companies[1].contracts[1].version: the first version of ctr_other is 1, not 2
            companies[1].contracts[2].version: the first version of ctr_zero is 1, not 0
            companies[1].contracts[1]: ctr_borealis and ctr_other would both price talk_time of cmp_borealis: one must end before the other begins (see companies[1].contracts[0])
            companies[1].contracts[2]: ctr_borealis and ctr_zero would both price talk_time of cmp_borealis: one must end before the other begins (see companies[1].contracts[0])
            companies[1].contracts[2]: ctr_other and ctr_zero would both price talk_time of cmp_borealis: one must end before the other begins (see companies[1].contracts[1])
        "#]],
    );
}

#[test]
fn one_unit_of_one_company_has_one_price_at_a_time() {
    check(
        |it| {
            it.contracts.push(placed("companies[0].contracts[1]", contract("aurora", "more", 1)));
            let mut hours = contract("aurora", "hours", 1);
            hours.contract.unit = UsageUnit::WorkTime;
            it.contracts.push(placed("companies[0].contracts[2]", hours));
        },
        expect![[r#"
            companies[0].contracts[1]: ctr_aurora and ctr_more would both price talk_time of cmp_aurora: one must end before the other begins (see companies[0].contracts[0])
        "#]],
    );
}

#[test]
fn a_contract_may_follow_a_retired_one_but_not_reach_back_into_it() {
    let instead = |at| {
        move |it: &mut Wanted| {
            let mut next = contract("aurora", "next", 1);
            next.contract.effective_at = Timestamp(at);
            next.dated = at != 0;
            it.contracts[0] = placed("companies[0].contracts[0]", next);
        }
    };
    check(
        instead(0),
        expect![[r#"
            Added contract ctr_next/1 version 1, price 0.12 EUR per 1m
            Retired contract ctr_aurora
        "#]],
    );
    check(
        instead(1_000_500),
        expect![[r#"
            companies[0].contracts[0]: ctr_next and ctr_aurora would both price talk_time of cmp_aurora: one must end before the other begins
        "#]],
    );
}

#[test]
fn a_retired_contract_id_is_not_used_again() {
    let mut without = good();
    without.contracts.truncate(1);
    let directory = applied(applied(Directory::default(), &good(), NOW), &without, NOW + Millis(1000));
    expect![[r#"
        companies[1].contracts[0].id: contract ctr_borealis was retired at 1970-01-01T00:16:41.000Z: use another id
    "#]]
    .assert_eq(&told(&plan(&directory, &good(), NOW + Millis(2000), 1)));
}

#[test]
fn a_version_agreed_for_later_cannot_be_dropped_in_silence() {
    let mut both = good();
    let mut second = contract("aurora", "aurora", 2);
    second.contract.effective_at = NOW + Millis::from_secs(1000);
    second.dated = true;
    both.contracts.push(placed("companies[0].contracts[1]", second));
    let directory = applied(applied(Directory::default(), &good(), NOW), &both, NOW + Millis(1));
    let later = |at| told(&plan(&directory, &good(), NOW + Millis(at), 1));
    expect![[r#"
        companies[0].contracts[0].version: version 2 of ctr_aurora is agreed from 1970-01-01T00:33:20.000Z on and cannot be taken back: list it too
    "#]]
    .assert_eq(&later(2));
    // Once it is in force, the document may leave its history out.
    expect![""].assert_eq(&later(1_000_000));
}

#[test]
fn money_of_a_contract_is_of_one_currency_and_not_negative() {
    let usd = Currency::parse("USD").unwrap();
    check(
        |it| {
            let mut odd = contract("aurora", "odd", 1);
            odd.contract.unit = UsageUnit::SignedInTime;
            odd.contract.monthly_minimum = Money { currency: usd, micros: -1 };
            odd.contract.price.micros = -1;
            odd.contract.price_per_ms = Millis(1);
            odd.contract.increment_ms = Millis(0);
            it.contracts.push(placed("companies[0].contracts[1]", odd));
            let mut dollars = contract("borealis", "dollars", 1);
            dollars.contract.unit = UsageUnit::WorkTime;
            dollars.contract.currency = usd;
            dollars.contract.price.currency = usd;
            dollars.contract.monthly_minimum.currency = usd;
            it.contracts.push(placed("companies[1].contracts[1]", dollars));
        },
        expect![[r#"
            companies[0].contracts[1].price: a price cannot be negative
            companies[0].contracts[1].price: a price is per minute or per hour
            companies[0].contracts[1].monthly_minimum: the monthly minimum is in USD, the price in EUR
            companies[0].contracts[1].monthly_minimum: a monthly minimum cannot be negative
            companies[0].contracts[1].increment: 0s is outside 1ms to 1h
            companies[1].contracts[1].price: cmp_borealis is invoiced in EUR, not in USD
            companies[0].contracts[1].unit: ctr_odd is per 1ms of cmp_aurora's team, and no agent has it as team_company
        "#]],
    );
}
