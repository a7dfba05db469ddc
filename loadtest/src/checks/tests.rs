//! Planted bugs: for each promise a run that breaks it, which its check must find.

use serde_json::json;

use super::*;
use crate::facts::{Contact, Engagement, Session};
use crate::plan::{Intent, OPEN};
use crate::recount::{AgentLog, CallerLog};
use crate::sipp::Message;

fn message(method: &str, status: Option<u16>, sent: bool, at_ms: i64) -> Message {
    Message { at_us: at_ms * 1_000, sent, call_id: "x".to_owned(), method: method.to_owned(), status }
}

/// One call to Aurora: answered at 0, served by Anna from 2 s to 5 s, ended by her.
fn plan_and_evidence() -> (Plan, Evidence) {
    let mut plan = Plan::new(1, 1, |_| 1_000);
    (plan.calls[0].intent, plan.calls[0].dialled) = (Intent::Talk, OPEN[0]);
    let caller = plan.calls[0].caller.clone();
    let tone = (0..160)
        .map(|n: u32| if (n * plan.calls[0].tone_hz / 4_000).is_multiple_of(2) { 0x90 } else { 0x10 });
    let tone: Vec<u8> = tone.collect();
    let mut evidence = Evidence {
        callers: vec![CallerLog {
            code: 0,
            messages: vec![
                message("INVITE", None, true, 0),
                message("INVITE", Some(200), false, 0),
                message("ACK", None, true, 1),
                message("BYE", None, false, 5_000),
            ],
        }],
        heard: vec![crate::ear::Heard::default()],
        agents: vec![AgentLog::default(); AGENTS.len()],
        sessions: vec![(0, 10_000); AGENTS.len()],
    };
    evidence.heard[0].packets = (0..300).map(|n| (n * 20, 0, tone.clone())).collect();
    evidence.agents[0] = AgentLog {
        code: 0,
        messages: vec![
            message("INVITE", None, false, 1_500),
            message("INVITE", Some(200), true, 1_990),
            message("ACK", None, false, 2_000),
            message("BYE", None, true, 5_000),
            message("BYE", Some(200), false, 5_001),
        ],
        callers: [("x".to_owned(), caller)].into(),
        echo_count: 150,
    };
    (plan, evidence)
}

fn findings<'a>(plan: &'a Plan, evidence: &'a Evidence) -> Findings<'a> {
    let contact = Contact {
        contact_id: "ctc_1".to_owned(),
        company_id: "cmp_aurora".to_owned(),
        sip_call_id: "call-00-1@127.0.0.1".to_owned(),
        visit_count: 1,
        agent_id: "agt_anna".to_owned(),
        connected_at: 2_000,
        talked_ms: 3_000,
        talk_between_facts_ms: 3_000,
        ended_count: 1,
        cause: "completed".to_owned(),
        ended_by: "agent".to_owned(),
        rtp: (200, 200),
        ..Contact::default()
    };
    let engagement = Engagement {
        agent_id: "agt_anna".to_owned(),
        company_id: "cmp_aurora".to_owned(),
        talk_ms: 3_000,
        wrap_up_ms: 2_000,
    };
    let history = History {
        contacts: [(contact.sip_call_id.clone(), contact)].into(),
        sessions: AGENTS
            .iter()
            .map(|agent| Session { agent_id: agent.id.to_owned(), from: 0, to: Some(10_000) })
            .collect(),
        engagements: [("ofr_1".to_owned(), engagement)].into(),
    };
    let mut findings = Findings::new(plan, evidence, history, Path::new("/nowhere"));
    let record =
        json!({"contact": {"cause": "completed", "talkedMs": "3000", "sipCallId": "call-00-1@127.0.0.1"}});
    findings.records.insert("ctc_1".to_owned(), record);
    let cell = json!({"enteredCount": "1", "answeredCount": "1", "talkMs": "3000"});
    findings.intervals.insert("cmp_aurora", json!({"cells": [cell]}));
    let lines: Vec<Value> =
        AGENTS.iter().map(|agent| json!({"agentId": agent.id, "durationMs": "10000"})).collect();
    findings.timesheets = json!({ "lines": lines });
    let line = |contract: &str, count: &str, measured: &str, billed: &str| json!({"lineId": contract, "itemCount": count, "measuredMs": measured, "billedMs": billed});
    let invoice = |line: Value, total: &str| json!({"lines": [line], "totalMicros": total});
    findings.invoices.insert("cmp_aurora", invoice(line("ctr_a", "1", "3000", "6000"), "10000"));
    findings.invoices.insert("cmp_borealis", invoice(line("ctr_b", "0", "0", "0"), "25000000"));
    findings.invoices.insert("cmp_cygnus", invoice(line("ctr_c", "3", "30000", "30000"), "250000"));
    findings
}

fn failing(findings: &Findings<'_>) -> Vec<String> {
    findings.checks().into_iter().filter(|check| !check.ok).map(|check| check.name).collect()
}

/// Changes what the cluster said, or what was seen of it, and expects these checks (by their first words) to fail.
#[track_caller]
fn planted(
    evidence_bug: impl Fn(&mut Evidence),
    findings_bug: impl Fn(&mut Findings<'_>),
    expected: &[&str],
) {
    let (plan, mut evidence) = plan_and_evidence();
    evidence_bug(&mut evidence);
    let mut findings = findings(&plan, &evidence);
    findings_bug(&mut findings);
    let failing = failing(&findings);
    assert_eq!(failing.len(), expected.len(), "{failing:#?}");
    for (name, start) in failing.iter().zip(expected) {
        assert!(name.starts_with(start), "{failing:#?}");
    }
}

fn contact_bug(change: impl Fn(&mut Contact), expected: &[&str]) {
    planted(|_| {}, |it| it.history.contacts.values_mut().for_each(&change), expected);
}

#[test]
fn a_right_run_passes() {
    planted(|_| {}, |_| {}, &[]);
}

#[test]
fn a_wrong_contact_is_found() {
    let outcome = "each contact's outcome";
    contact_bug(|it| it.ended_count = 2, &["every contact ended exactly once"]);
    contact_bug(|it| it.ended_by = "caller".to_owned(), &[outcome]);
    contact_bug(|it| it.agent_id = "agt_ben".to_owned(), &[outcome]);
    contact_bug(|it| it.declined_count = 1, &["offers declined"]);
    contact_bug(|it| it.talk_between_facts_ms = 2_999, &["talk time is the time between its facts"]);
    contact_bug(|it| it.rtp = (0, 200), &["every caller leg of a talk counts RTP"]);
    planted(
        |_| {},
        |it| it.history.contacts.clear(),
        &[
            "every call is one contact",
            "every contact ended exactly once",
            "contacts by outcome",
            outcome,
            "talk time in the interval report",
            "every caller leg of a talk",
            "Aurora's invoice",
        ],
    );
}

#[test]
fn talk_time_that_is_not_sipps_is_found() {
    // 21 ms more than ACK to BYE: wrong wherever it is looked at.
    let longer = |it: &mut Findings<'_>| {
        let contact = it.history.contacts.values_mut().next().unwrap();
        (contact.talked_ms, contact.talk_between_facts_ms) = (3_021, 3_021);
    };
    planted(
        |_| {},
        longer,
        &["talk time of each call", "REST gives", "talk time in the interval", "Aurora's invoice"],
    );
}

#[test]
fn a_wrong_report_is_found() {
    let cell = |cell: Value| {
        move |it: &mut Findings<'_>| {
            it.intervals.insert("cmp_aurora", json!({ "cells": [cell] }));
        }
    };
    planted(
        |_| {},
        cell(json!({"enteredCount": "2", "answeredCount": "1", "talkMs": "3000"})),
        &["entered = answered", "visits in the interval"],
    );
    planted(
        |_| {},
        cell(json!({"enteredCount": "1", "abandonedCount": "1", "talkMs": "3000"})),
        &["answered in the interval", "abandoned in the interval"],
    );
    planted(|_| {}, |it| it.records.clear(), &["REST gives"]);
    planted(
        |_| {},
        |it| it.timesheets["lines"][0]["durationMs"] = json!("9999"),
        &["each agent's timesheet"],
    );
    planted(|it| it.sessions[4] = (0, 12_000), |_| {}, &["the sessions are as long"]);
    planted(
        |it| it.sessions[4] = (0, 14_000),
        |_| {},
        &["the sessions are as long", "Cygnus' measured time"],
    );
}

#[test]
fn a_wrong_invoice_is_found() {
    let total = |company: &'static str, micros: &'static str| {
        move |it: &mut Findings<'_>| {
            it.invoices.get_mut(company).unwrap()["totalMicros"] = json!(micros);
        }
    };
    planted(|_| {}, total("cmp_aurora", "12000"), &["Aurora's invoice"]);
    planted(|_| {}, total("cmp_borealis", "0"), &["Borealis' invoice"]);
    planted(|_| {}, total("cmp_cygnus", "249999"), &["Cygnus' invoice"]);
}

#[test]
fn broken_calls_and_audio_are_found() {
    planted(|it| it.callers[0].code = 1, |_| {}, &["every sipp caller"]);
    planted(|it| it.agents[0].code = 1, |_| {}, &["every sipp phone"]);
    planted(|it| it.agents[0].echo_count = 0, |_| {}, &["every phone that talked"]);
    planted(|it| it.heard[0].packets.truncate(120), |_| {}, &["in a talk each caller hears its own tone"]);
    planted(
        |it| it.heard[0].packets.clear(),
        |_| {},
        &["every answered caller heard audio", "in a talk each caller hears its own tone"],
    );
}
