//! The three invoices, computed again: from the facts exactly, and from sipp's clock within 20 ms a call.

use serde_json::Value;

use crate::checks::{Check, Findings};
use crate::http::{int, list, text};
use crate::plan::{AGENTS, CYGNUS_TEAM};
use crate::recount::{amount_micros, charged_ms};

/// A contract of the demo's document, written down here a second time on purpose.
struct Terms {
    company: &'static str,
    price_micros: i64,
    price_per_ms: i64,
    first_ms: i64,
    increment_ms: i64,
    minimum_micros: i64,
}

const AURORA: Terms = Terms {
    company: "cmp_aurora",
    price_micros: 120_000,
    price_per_ms: 60_000,
    first_ms: 6_000,
    increment_ms: 6_000,
    minimum_micros: 0,
};
const BOREALIS: Terms = Terms {
    company: "cmp_borealis",
    price_micros: 480_000,
    price_per_ms: 60_000,
    first_ms: 60_000,
    increment_ms: 60_000,
    minimum_micros: 25_000_000,
};
const CYGNUS: Terms = Terms {
    company: "cmp_cygnus",
    price_micros: 30_000_000,
    price_per_ms: 3_600_000,
    first_ms: 1_000,
    increment_ms: 1_000,
    minimum_micros: 0,
};

/// Items, measured, charged, total.
fn expected(terms: &Terms, pieces_ms: &[i64]) -> String {
    let measured: i64 = pieces_ms.iter().sum();
    let charged: i64 = pieces_ms.iter().map(|ms| charged_ms(*ms, terms.first_ms, terms.increment_ms)).sum();
    let total = amount_micros(charged, terms.price_micros, terms.price_per_ms).max(terms.minimum_micros);
    format!("{} items, {measured} ms, {charged} ms charged, {total} micros", pieces_ms.len())
}

fn got(invoice: &Value) -> String {
    let lines = list(invoice, "lines");
    let sum = |name: &str| lines.iter().map(|line| int(line, name)).sum::<i64>();
    let (items, measured, charged) = (sum("item_count"), sum("measured_ms"), sum("billed_ms"));
    format!("{items} items, {measured} ms, {charged} ms charged, {} micros", int(invoice, "total_micros"))
}

pub(super) fn checks(findings: &Findings<'_>) -> Vec<Check> {
    let talks_of = |company: &str| -> Vec<i64> {
        let contacts = findings.history.contacts.values();
        contacts
            .filter(|it| it.company_id == company && it.connected_at != 0)
            .map(|it| it.talked_ms)
            .collect()
    };
    let engagements = findings.history.engagements.values();
    let work: Vec<i64> = engagements
        .filter(|it| it.company_id == BOREALIS.company)
        .map(|it| it.talk_ms + it.wrap_up_ms)
        .collect();
    let sessions = findings.history.sessions.iter();
    let signed_in: Vec<i64> = sessions
        .filter(|it| CYGNUS_TEAM.contains(&it.agent_id.as_str()))
        .filter_map(|it| Some(it.to? - it.from))
        .collect();
    let mut checks = Vec::new();
    for (name, terms, pieces) in [
        ("Aurora's invoice: talk in 6/6 s", AURORA, talks_of(AURORA.company)),
        ("Borealis' invoice: agent work in 60/60 s, at least 25 EUR", BOREALIS, work),
        ("Cygnus' invoice: its team's signed-in time", CYGNUS, signed_in),
    ] {
        let invoice = findings.invoices.get(terms.company).unwrap_or(&Value::Null);
        checks.push(Check::same(name, expected(&terms, &pieces), got(invoice)));
        let unit = list(invoice, "lines").iter().all(|line| text(line, "line_id").starts_with("ctr_"));
        checks.push(Check::holds(&format!("{name}: lines name their contract"), true, unit, unit));
    }
    checks.push(by_sipps_clock(findings));
    checks.push(sessions_by_our_clock(findings));
    checks
}

/// Aurora's measured time against ACK to BYE on the phones.
fn by_sipps_clock(findings: &Findings<'_>) -> Check {
    let told: Vec<i64> = findings
        .told()
        .filter(|(index, _)| findings.plan.calls[*index].dialled.company == AURORA.company)
        .filter_map(|(_, it)| it.talk.map(|(from, to)| to - from))
        .collect();
    let by_sipp = told.iter().sum::<i64>() / 1_000;
    let invoice = findings.invoices.get(AURORA.company).unwrap_or(&Value::Null);
    let billed: i64 = list(invoice, "lines").iter().map(|line| int(line, "measured_ms")).sum();
    let allowed = 20 * told.len() as i64;
    let name = "Aurora's measured time is sipp's call time within 20 ms a call";
    let expected = format!("{by_sipp} ms in {} calls, <= {allowed} ms off", told.len());
    Check::holds(name, expected, format!("{billed} ms"), (billed - by_sipp).abs() <= allowed)
}

/// Cygnus' measured time against when we signed its team in and out.
fn sessions_by_our_clock(findings: &Findings<'_>) -> Check {
    let team = AGENTS.iter().zip(&findings.evidence.sessions);
    let spans: Vec<i64> =
        team.filter(|(agent, _)| CYGNUS_TEAM.contains(&agent.id)).map(|(_, (from, to))| to - from).collect();
    let ours: i64 = spans.iter().sum();
    let invoice = findings.invoices.get(CYGNUS.company).unwrap_or(&Value::Null);
    let billed: i64 = list(invoice, "lines").iter().map(|line| int(line, "measured_ms")).sum();
    let name = "Cygnus' measured time is our clock's within 1 s a session";
    let ok = (billed - ours).abs() <= 1_000 * spans.len() as i64;
    Check::holds(name, format!("{ours} ms in {} sessions", spans.len()), format!("{billed} ms"), ok)
}
