//! What a document says, and what is told about a bad one: line, column and reason.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{GOOD, problems, told};
use expect_test::{Expect, expect};
use trunkline_directory::document::{DOCUMENT_BYTES_MAX, Document};
use trunkline_domain::facts::WrapUpMode;

/// Replaces the one place where the good document has `from`.
#[track_caller]
fn check(from: &str, to: &str, expected: Expect) {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` must stand in the good document once");
    expected.assert_eq(&told(&GOOD.replacen(from, to, 1)));
}

#[test]
fn the_good_document_has_no_problem() {
    assert_eq!(told(GOOD), "");
}

#[test]
fn the_document_of_the_demo_has_no_problem() {
    assert_eq!(told(include_str!("../../../deploy/demo/operator.yaml")), "");
}

#[test]
fn what_is_left_out_has_its_default_and_what_is_said_is_kept() {
    let wanted = Document::read(GOOD).unwrap().wanted;
    let queue = &wanted.queues[1].wanted;
    assert_eq!(
        (queue.priority, queue.wrap_up_ms.0, queue.waiting_count_max, queue.reoffer_after_ms.0),
        (0, 0, 0, 30_000)
    );
    assert_eq!(wanted.queues[0].wanted.wrap_up_ms.0, 30_000);
    assert_eq!(wanted.calendars[0].wanted.open.len(), 6);
    assert_eq!(wanted.flows[1].wanted.calendar_id, None);
    let contract = &wanted.contracts[0].wanted;
    assert_eq!(contract.contract.effective_at.to_string(), "2025-12-31T23:00:00.000Z");
    assert!(contract.dated && !wanted.contracts[1].wanted.dated);
    assert_eq!(contract.contract.price.micros, 120_000);
}

/// The good document with more about its operator and its first queue.
fn with_rules() -> String {
    let operator = "  time_zone: Europe/Berlin\nskills";
    let reasons = "  time_zone: Europe/Berlin\n  not_ready_reasons:\n    - reason: lunch\n      limit: 30m\n    - {reason: training}\nskills";
    let queue = "        wrap_up: 30s\n";
    let rules = [
        "wrap_up: 30s",
        "wrap_up_mode: on_request",
        "wrap_up_code: required",
        "wrap_up_extension_max: 2m",
        "miss_count_max: 3",
        "miss_reason: phone unattended",
        "miss_return: 5m",
    ];
    let rules: String = rules.map(|rule| format!("        {rule}\n")).concat();
    GOOD.replacen(operator, reasons, 1).replacen(queue, &rules, 1)
}

#[test]
fn what_follows_a_contact_and_a_missed_offer_is_kept() {
    let wanted = Document::read(&with_rules()).unwrap().wanted;
    let queue = &wanted.queues[0].wanted;
    assert_eq!(queue.wrap_up_mode, WrapUpMode::OnRequest);
    assert!(queue.wrap_up_code_required);
    assert_eq!(queue.wrap_up_extension_ms_max.0, 120_000);
    assert_eq!((queue.miss_reason.as_str(), queue.miss_return_ms.0), ("phone unattended", 300_000));
    let reasons: Vec<_> = wanted.operator.wanted.not_ready_reasons;
    let reasons: Vec<_> = reasons.iter().map(|it| (it.reason.as_str(), it.limit_ms.0)).collect();
    assert_eq!(reasons, [("lunch", 1_800_000), ("training", 0)]);
    let other = &wanted.queues[1].wanted;
    assert_eq!((other.wrap_up_mode, other.wrap_up_code_required), (WrapUpMode::Timed, false));
    assert_eq!(told(&with_rules()), "");
}

#[test]
fn a_wrap_up_mode_and_a_code_are_words_of_a_list() {
    check(
        "        wrap_up: 30s\n",
        "        wrap_up: 30s\n        wrap_up_mode: sometimes\n        wrap_up_code: yes\n",
        expect![[r#"
            26:23 `sometimes` is not a wrap-up mode: expected one of timed, none, timed_forced, mandatory, on_request
            27:23 `yes` is neither required nor optional
        "#]],
    );
}

#[test]
fn a_password_is_kept_as_its_digests_alone() {
    let wanted = Document::read(GOOD).unwrap().wanted;
    let anna = &wanted.agents[0].wanted;
    // printf '1001:trunkline:correct horse' | md5sum, sha256sum
    assert_eq!(anna.sip_ha1_md5, "602dc7b3928a149b0774b9ae73853fdf");
    assert_eq!(anna.sip_ha1_sha256, "39bf42007f6e45702bddaa98ac706f02ee80bae2e401a17daa8e17e91a037df6");
    assert!(!format!("{wanted:?}").contains("correct horse"));
}

#[test]
fn bad_syntax_is_told_with_its_place() {
    check(
        "  name: Northwind Contact Services",
        "  name: [Northwind",
        expect![[r#"
            3:9 expected a text
        "#]],
    );
    check(
        "  - id: skl_german\n",
        "   - id: skl_german\n",
        expect![[r#"
        6:6 key `name` is missing
    "#]],
    );
    check(
        "    open:\n",
        "\topen:\n",
        expect![[r#"
        11:16 while scanning a plain scalar, found a tab
    "#]],
    );
    check(
        "    open:\n",
        "    open\n",
        expect![[r#"
        12:5 simple key expected ':'
    "#]],
    );
    check(
        "\"+49 30 5550 1001\"",
        "\"+49 30 5550 1001",
        expect![[r#"
        35:9 invalid indentation in multiline quoted scalar
    "#]],
    );
    check(
        "operator:\n",
        "operator:\n---\n",
        expect![[r#"
            1:9 expected keys with values
        "#]],
    );
    check(
        "    skills: [skl_german]\n",
        "    skills: *nobody\n",
        expect![[r#"
        69:13 alias references unknown anchor
    "#]],
    );
    check(
        "    name: Anna\n",
        "    <<: {name: Anna}\n",
        expect![[r#"
        68:5 YAML merge keys are not allowed by configured policy
    "#]],
    );
}

#[test]
fn an_unknown_missing_or_repeated_key_is_told_with_its_place() {
    check(
        "        wrap_up: 30s",
        "        wrapup: 30s",
        expect![[r#"
            25:9 unknown key `wrapup`; known here: id, name, required_skills, priority, offer_timeout, wrap_up, wait_max, waiting_count_max, miss_count_max, reoffer_after, wrap_up_mode, wrap_up_code, wrap_up_extension_max, miss_reason, miss_return, tier, head_start, ageing, steps, prefer, strategy, idle_since
        "#]],
    );
    check(
        "  time_zone: Europe/Berlin\nskills",
        "  timezone: Europe/Berlin\nskills",
        expect![[r#"
        4:3 unknown key `timezone`; known here: id, name, time_zone, not_ready_reasons
    "#]],
    );
    check(
        "blocklist:",
        "blacklist:",
        expect![[r#"
        82:1 unknown key `blacklist`; known here: operator, skills, calendars, companies, agents, api_keys, blocklist
    "#]],
    );
    check(
        "        offer_timeout: 20s\n",
        "",
        expect![[r#"
        50:9 key `offer_timeout` is missing
    "#]],
    );
    check(
        "    name: Bert\n",
        "    name: Bert\n    name: Bertha\n",
        expect![[r#"
        75:5 key `name` stands twice
    "#]],
    );
    check(
        "operator:\n",
        "company:\n",
        expect![[r#"
        1:1 unknown key `company`; known here: operator, skills, calendars, companies, agents, api_keys, blocklist
    "#]],
    );
}

#[test]
fn a_value_of_another_shape_is_told_with_its_place() {
    check(
        "        version: 1\n        effective_from",
        "        version: one\n        effective_from",
        expect![[r#"
            38:18 expected a whole number
        "#]],
    );
    check(
        "        waiting_count_max: 50",
        "        waiting_count_max: -5",
        expect![[r#"
        26:28 -5 is not a count: 0 or more
    "#]],
    );
    check(
        "        waiting_count_max: 50",
        "        waiting_count_max: 5000000000",
        expect![[r#"
        26:28 5000000000 is not a count: 0 or more
    "#]],
    );
    check(
        "    open:\n      - mon-fri 08:00-18:00\n      - sat 09:00-13:00\n",
        "    open: always\n",
        expect![[r#"
            12:11 expected a list
        "#]],
    );
    check(
        "    name: Bert\n",
        "    name:\n",
        expect![[r#"
        74:9 a value is missing
    "#]],
    );
    check(
        "    name: Bert\n",
        "    name: {first: Bert}\n",
        expect![[r#"
            74:11 expected a text
        "#]],
    );
    check(
        "    skills: [skl_german]\n",
        "    skills: skl_german\n",
        expect![[r#"
            69:13 expected a list
        "#]],
    );
}

#[test]
fn a_scalar_that_cannot_be_understood_is_told_with_its_place() {
    check(
        "cmp_aurora\n    name",
        "aurora\n    name",
        expect![[r#"
        17:9 `aurora` is not CompanyId: expected `cmp_` and 1 to 60 of a-z, 0-9, `-`
    "#]],
    );
    check(
        "id: agt_bert",
        "id: que_bert",
        expect![[r#"
        73:9 `que_bert` is not AgentId: expected `agt_` and 1 to 60 of a-z, 0-9, `-`
    "#]],
    );
    check(
        "20s\n    queues",
        "20 seconds\n    queues",
        expect![[r#"
        19:30 `20 seconds` is not a span: expected as 250ms, 4s, 2m or 1m30s
    "#]],
    );
    check(
        "wrap_up: 30s",
        "wrap_up: -30s",
        expect![[r#"
        25:18 `-30s` is not a span: expected as 250ms, 4s, 2m or 1m30s
    "#]],
    );
    check(
        "mon-fri 08:00-18:00",
        "mon-fri 8-18",
        expect![[r#"
        13:9 `mon-fri 8-18` is not an opening span: expected as mon-fri 08:00-18:00
    "#]],
    );
    check(
        "sat 09:00-13:00",
        "sat 13:00-09:00",
        expect![[r#"
        14:9 `sat 13:00-09:00` ends before it begins: a span stays within its day, 24:00 is its end
    "#]],
    );
    check(
        "+49 30 5550 1001",
        "030 5550 1001",
        expect![[r#"
        34:17 a telephone number starts with `+` and its country code, as in +4930123456
    "#]],
    );
    check(
        "+49 30 5550 6666",
        "+49 30 call me",
        expect![[r#"
        83:13 a telephone number holds digits only after the `+`, the first not 0
    "#]],
    );
    check(
        "0.12 EUR per minute",
        "0.12 EUR",
        expect![[r#"
        41:16 `0.12 EUR` is not a price: expected as 0.12 EUR per minute, or per hour
    "#]],
    );
    check(
        "34.00 EUR per hour",
        "34,00 EUR per hour",
        expect![[r#"
        62:16 `34,00` is not an amount: expected digits with at most six decimals, as in 0.125
    "#]],
    );
    check(
        "500.00 EUR",
        "500",
        expect![[r#"
        65:26 `500` is not an amount of money: expected as 500.00 EUR
    "#]],
    );
    check(
        "unit: talk_time",
        "unit: talking",
        expect![[r#"
        40:15 `talking` is not a unit: expected talk_time, work_time or signed_in_time
    "#]],
    );
    check(
        "effective_from: 2026-01-01",
        "effective_from: 1 January",
        expect![[r#"
        39:25 `1 January` is not a day: expected YYYY-MM-DD
    "#]],
    );
    check(
        "    sip_password: correct horse\n",
        "",
        expect![[r#"
        67:5 an agent has either sip_password, or both sip_ha1_md5 and sip_ha1_sha256
    "#]],
    );
    check(
        "correct horse",
        "\"\"",
        expect![[r#"
        71:19 a password cannot be empty
    "#]],
    );
}

#[test]
fn what_breaks_a_rule_is_told_with_its_place_and_the_other_one() {
    check(
        "[skl_german, skl_claims]",
        "[skl_german, skl_dutch]",
        expect![[r#"
        50:39 no skill skl_dutch is defined
    "#]],
    );
    check(
        "calendar: cal_office",
        "calendar: cal_night",
        expect![[r#"
        29:19 no calendar cal_night is defined
    "#]],
    );
    check(
        "        queue: que_borealis",
        "        queue: que_aurora",
        expect![[r#"
        54:16 queue que_aurora belongs to cmp_aurora, not to cmp_borealis
    "#]],
    );
    check(
        "flow: flw_aurora",
        "flow: flw_gone",
        expect![[r#"
        35:15 no flow flw_gone is defined
    "#]],
    );
    check(
        "+49 30 5550 2001",
        "+49 30 5550 1001",
        expect![[r#"
        56:17 +493055501001 is used by cmp_aurora already; see line 34
    "#]],
    );
    check(
        "id: agt_bert",
        "id: agt_anna",
        expect![[r#"
        73:9 agent agt_anna is defined twice; see line 67
    "#]],
    );
    check(
        "sip_user: bert",
        "sip_user: \"1001\"",
        expect![[r#"
        75:15 SIP user 1001 is defined twice; see line 70
    "#]],
    );
    check(
        "team_company: cmp_borealis",
        "team_company: cmp_gone",
        expect![[r#"
        61:15 ctr_borealis is per 1h of cmp_borealis's team, and no agent has it as team_company
        72:19 no company cmp_gone is defined
    "#]],
    );
    check(
        "name: Bert",
        "name: \"\"",
        expect![[r#"
        74:11 a name cannot be empty
    "#]],
    );
    check(
        "  time_zone: Europe/Berlin\nskills",
        "  time_zone: Europe/Bremen\nskills",
        expect![[r#"
            4:14 `Europe/Bremen` is not a time zone: expected an IANA name, as in Europe/Berlin
        "#]],
    );
    check(
        "[2026-12-25, 2026-12-26]",
        "[2026-12-25, 2026-02-30]",
        expect![[r#"
        15:32 `2026-02-30` is not a day: expected YYYY-MM-DD
    "#]],
    );
    check(
        "sat 09:00-13:00",
        "fri 17:00-19:00",
        expect![[r#"
        13:7 two opening spans overlap on fri
    "#]],
    );
    check(
        "offer_timeout: 15s",
        "offer_timeout: 15ms",
        expect![[r#"
        24:24 15ms is outside 1s to 5m
    "#]],
    );
    check(
        "500.00 EUR",
        "500.00 USD",
        expect![[r#"
        65:26 the monthly minimum is in USD, the price in EUR
    "#]],
    );
    check(
        "increment: 6s\n        increment: 6s",
        "increment: 6s\n        increment: 0s",
        expect![[r#"
        43:20 0s is outside 1ms to 1h
    "#]],
    );
    check(
        "    service_level_threshold: 30s",
        "    cell: 3\n    service_level_threshold: 30s",
        expect![[r#"
        46:11 there is no cell 3: the logs have 1, from 0
        73:19 the company is in cell 3, the agent in cell 0
    "#]],
    );
    check(
        "welcome",
        "../../etc/passwd",
        expect![[r#"
        30:26 a prompt's name is at most 100 of a-z, A-Z, 0-9, `-`, `_`, with `/` between parts
    "#]],
    );
    check(
        "key_sha256: fedcba9876543210",
        "key_sha256: FEDCBA9876543210",
        expect![[r#"
        80:17 a digest here is 64 hex digits in lower case
    "#]],
    );
}

#[test]
fn every_problem_is_told_at_once_in_order_of_place() {
    let text = GOOD
        .replace("offer_timeout: 15s", "offer_timeout: soon")
        .replace("0.12 EUR per minute", "free")
        .replace("id: skl_german", "id: german");
    expect![[r#"
        6:9 `german` is not SkillId: expected `skl_` and 1 to 60 of a-z, 0-9, `-`
        24:24 `soon` is not a span: expected as 250ms, 4s, 2m or 1m30s
        41:16 `free` is not a price: expected as 0.12 EUR per minute, or per hour
    "#]]
    .assert_eq(&told(&text));
}

#[test]
fn a_document_that_is_too_large_too_deep_or_a_bomb_is_refused_soon() {
    expect![[r#"
        0:0 a document has at most 1048576 bytes, this has 1050727
    "#]]
    .assert_eq(&told(&format!("{GOOD}# {}", "x".repeat(DOCUMENT_BYTES_MAX))));
    expect![[r#"
        1:11 expected keys with values
    "#]]
    .assert_eq(&told(&format!("operator: {}{}", "[".repeat(100_000), "]".repeat(100_000))));
    let one = "&c {id: cmp_a, name: A, service_level_threshold: 1s}";
    let head = &GOOD[..GOOD.find("companies:").unwrap()];
    let many = format!("{head}companies: [{one}{}]\n", ", *c".repeat(5_000));
    expect![[r#"
        16:4067 the document is too deep or has too many aliases
    "#]]
    .assert_eq(&told(&many));
    let mut nested = "agents: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let before = format!("*a{}, ", level - 1).repeat(9);
        nested.push_str(&format!("x{level}: &a{level} [{before}]\n"));
    }
    assert!(!problems(&nested).is_empty());
    expect![[r#"
        1:1 the document is empty
    "#]]
    .assert_eq(&told(""));
    expect![[r#"
        1:1 unexpected character: `\u{0}'
    "#]]
    .assert_eq(&told("\u{0}\u{1}\u{2}"));
    expect![[r#"
        1:1 expected keys with values
    "#]]
    .assert_eq(&told("just text"));
}
