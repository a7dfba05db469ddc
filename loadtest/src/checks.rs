//! The promises, each compared with an independent recount: one check a promise.

mod audio;
mod money;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::facts::History;
use crate::http::{int, list, part, text};
use crate::plan::{AGENTS, COMPANIES, Plan, prompt_ms};
use crate::recount::{Recount, Recounted};
use crate::stage::Evidence;

/// How much talk time may differ from sipp's, in µs.
const TALK_OFF_US_MAX: i64 = 20_000;

/// One promise, what was expected of it, and what came.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The promise, as a sentence.
    pub name: String,
    /// By the recount.
    pub expected: String,
    /// By the cluster.
    pub got: String,
    /// Whether they agree.
    pub ok: bool,
}

impl Check {
    /// Both sides must be the same text.
    pub fn same(name: &str, expected: impl ToString, got: impl ToString) -> Self {
        let (expected, got) = (expected.to_string(), got.to_string());
        Self { name: name.to_owned(), ok: expected == got, expected, got }
    }

    /// A promise that is told apart from its texts.
    pub fn holds(name: &str, expected: impl ToString, got: impl ToString, ok: bool) -> Self {
        Self { name: name.to_owned(), expected: expected.to_string(), got: got.to_string(), ok }
    }
}

/// Everything the checks look at.
#[derive(Debug)]
pub struct Findings<'a> {
    /// What was planned.
    pub plan: &'a Plan,
    /// What sipp and the ears brought.
    pub evidence: &'a Evidence,
    /// What sipp's logs tell.
    pub recount: Recount,
    /// What the cluster's logs tell.
    pub history: History,
    /// `GetContact` of every contact of a company, by contact id.
    pub records: BTreeMap<String, Value>,
    /// `ListIntervals`, by company.
    pub intervals: BTreeMap<&'static str, Value>,
    /// `ListTimesheets`.
    pub timesheets: Value,
    /// `GetRunningInvoice`, by company.
    pub invoices: BTreeMap<&'static str, Value>,
}

impl<'a> Findings<'a> {
    /// Recounts sipp's logs.
    pub fn new(plan: &'a Plan, evidence: &'a Evidence, history: History, prompt_dir: &Path) -> Self {
        let greeting_us =
            |prompt: &str| i64::try_from(prompt_ms(prompt_dir, prompt) * 1_000).unwrap_or(i64::MAX);
        let recount = Recount::of(plan, &evidence.callers, &evidence.agents, greeting_us);
        Self {
            plan,
            evidence,
            recount,
            history,
            records: BTreeMap::new(),
            intervals: BTreeMap::new(),
            timesheets: Value::Null,
            invoices: BTreeMap::new(),
        }
    }

    /// Planned calls with what sipp tells of each.
    fn told(&self) -> impl Iterator<Item = (usize, &Recounted)> {
        self.recount.calls.iter().enumerate().filter_map(|(index, call)| Some((index, call.as_ref()?)))
    }

    /// The contact that a planned call became.
    fn contact_of(&self, index: usize) -> Option<&crate::facts::Contact> {
        let prefix = format!("call-{index:02}-");
        self.history.contacts.values().find(|contact| contact.sip_call_id.starts_with(&prefix))
    }

    /// How each planned call came out, times aside: what two runs of one seed must have in common.
    pub fn outcomes(&self) -> Vec<String> {
        let outcome = |index: usize| match self.contact_of(index) {
            Some(it) => format!(
                "{} {} by {}, {} visits, {}",
                it.company_id, it.cause, it.ended_by, it.visit_count, it.sip_status
            ),
            None => "no contact".to_owned(),
        };
        (0..self.plan.calls.len()).map(outcome).collect()
    }

    /// All checks over the run.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks = self.signalling();
        checks.extend(self.contacts());
        checks.extend(self.reports());
        checks.extend(audio::checks(self));
        checks.extend(money::checks(self));
        checks
    }

    fn signalling(&self) -> Vec<Check> {
        let failed = |codes: Vec<i32>| codes.iter().filter(|code| **code != 0).count();
        let callers = failed(self.evidence.callers.iter().map(|log| log.code).collect());
        let phones = failed(self.evidence.agents.iter().map(|log| log.code).collect());
        let statuses = |cause: &str| {
            let all: Vec<u16> =
                self.told().filter(|(_, it)| it.cause == cause).map(|(_, it)| it.status).collect();
            format!("{all:?}")
        };
        let planned = |wanted: crate::plan::Intent, status: u16| {
            let count = self.plan.calls.iter().filter(|call| call.intent == wanted).count();
            format!("{:?}", vec![status; count])
        };
        vec![
            Check::same("every sipp caller ended as its scenario says", 0, callers),
            Check::same("every sipp phone ended as its scenario says", 0, phones),
            Check::same(
                "a blocked caller hears busy",
                planned(crate::plan::Intent::Blocked, 486),
                statuses("blocked"),
            ),
            Check::same(
                "an unknown number is not found",
                planned(crate::plan::Intent::Unknown, 404),
                statuses("unknown_number"),
            ),
            Check::same("no phone had two calls at once", 0, self.recount.overlap_count()),
        ]
    }

    fn contacts(&self) -> Vec<Check> {
        let mut expected = BTreeMap::<&str, usize>::new();
        let mut got = BTreeMap::<&str, usize>::new();
        self.told().for_each(|(_, it)| *expected.entry(it.cause).or_default() += 1);
        self.history.contacts.values().for_each(|it| *got.entry(&it.cause).or_default() += 1);
        let mut wrong = Vec::new();
        let mut talk_off_us_max = 0;
        for (index, told) in self.told() {
            let Some(contact) = self.contact_of(index) else {
                wrong.push(format!("call {index} has no contact"));
                continue;
            };
            let agent = told.agent.map_or("", |agent| AGENTS[agent].id);
            let told_text = format!("{} by {} {agent}", told.cause, told.ended_by);
            let ours = format!("{} by {} {}", contact.cause, contact.ended_by, contact.agent_id);
            if told_text != ours {
                wrong.push(format!("call {index}: sipp {told_text}, contact {ours}"));
            }
            if let Some((from, to)) = told.talk {
                let off_us = contact.talked_ms * 1_000 - (to - from);
                talk_off_us_max = talk_off_us_max.max(off_us.abs());
            }
        }
        let ended_once = self.history.contacts.values().filter(|it| it.ended_count == 1).count();
        let talks_agree =
            self.history.contacts.values().filter(|it| it.talked_ms != it.talk_between_facts_ms).count();
        let (declines, cancels) = (self.recount.refused_count(486), self.recount.cancelled_count());
        let crossed = self.recount.crossed_count(self.plan, &self.evidence.callers);
        let contacts = || self.history.contacts.values();
        let offers = (
            contacts().map(|it| it.declined_count).sum::<usize>(),
            contacts().map(|it| it.unanswered_count + it.withdrawn_count).sum::<usize>(),
        );
        vec![
            Check::same("every call is one contact", self.plan.calls.len(), self.history.contacts.len()),
            Check::same("every contact ended exactly once", self.plan.calls.len(), ended_once),
            Check::same("contacts by outcome", format!("{expected:?}"), format!("{got:?}")),
            Check::same("each contact's outcome, who ended it, who served it", "", wrong.join("; ")),
            Check::holds(
                "talk time of each call is sipp's ACK to BYE within 20 ms",
                format!("<= {} ms off", TALK_OFF_US_MAX / 1_000),
                format!("{:.1} ms off at most", talk_off_us_max as f64 / 1_000.0),
                talk_off_us_max <= TALK_OFF_US_MAX,
            ),
            Check::same("talk time is the time between its facts, to the ms", 0, talks_agree),
            Check::holds(
                "offers declined; unanswered or withdrawn",
                match crossed {
                    0 => format!("{:?}", (declines, cancels)),
                    _ => format!("{:?}, {crossed} of the declines across a BYE", (declines, cancels)),
                },
                format!("{offers:?}"),
                offers.0 + offers.1 == declines + cancels
                    && (declines - crossed..=declines).contains(&offers.0),
            ),
        ]
    }

    fn reports(&self) -> Vec<Check> {
        let mut differing = Vec::new();
        for contact in self.history.contacts.values().filter(|it| !it.company_id.is_empty()) {
            let answer = self.records.get(&contact.contact_id).unwrap_or(&Value::Null);
            let record = part(answer, "contact");
            let of_record = (text(record, "cause"), int(record, "talked_ms"), text(record, "sip_call_id"));
            if of_record != (&contact.cause, contact.talked_ms, &contact.sip_call_id) {
                differing.push(format!("{}: {of_record:?}", contact.contact_id));
            }
        }
        let cells: Vec<&Value> = self.intervals.values().flat_map(|it| list(it, "cells")).collect();
        let sum = |name: &str| cells.iter().map(|cell| int(cell, name)).sum::<i64>();
        let unbalanced = cells
            .iter()
            .filter(|cell| {
                let parts = ["answered_count", "abandoned_count", "flowed_out_count", "waiting_count"];
                int(cell, "entered_count") != parts.iter().map(|name| int(cell, name)).sum::<i64>()
            })
            .count();
        let queued = self.told().filter(|(_, it)| it.queued).count();
        let served = self.told().filter(|(_, it)| it.talk.is_some()).count();
        let abandoned = self.told().filter(|(_, it)| it.cause == "abandoned").count();
        let talked: i64 = self.history.contacts.values().map(|it| it.talked_ms).sum();
        let mut checks = vec![
            Check::same("REST gives each contact's record as its facts say", "", differing.join("; ")),
            Check::same(
                "entered = answered + abandoned + flowed out + waiting, in every cell",
                0,
                unbalanced,
            ),
            Check::same("visits in the interval report", queued, sum("entered_count")),
            Check::same("answered in the interval report", served, sum("answered_count")),
            Check::same("abandoned in the interval report", abandoned, sum("abandoned_count")),
            Check::same(
                "talk time in the interval report is the contacts', to the ms",
                talked,
                sum("talk_ms"),
            ),
        ];
        checks.extend(self.timesheet());
        checks
    }

    fn timesheet(&self) -> Vec<Check> {
        let mut booked = BTreeMap::<&str, i64>::new();
        for line in list(&self.timesheets, "lines") {
            *booked.entry(text(line, "agent_id")).or_default() += int(line, "duration_ms");
        }
        let mut wall = BTreeMap::<&str, i64>::new();
        for session in &self.history.sessions {
            *wall.entry(&session.agent_id).or_default() += session.to.unwrap_or(session.from) - session.from;
        }
        let mut off_max = 0;
        for (agent, (signed_in, signed_out)) in AGENTS.iter().zip(&self.evidence.sessions) {
            off_max = off_max.max((wall.get(agent.id).unwrap_or(&0) - (signed_out - signed_in)).abs());
        }
        vec![
            Check::same(
                "each agent's timesheet sums to the wall clock of its sessions, to the ms",
                format!("{wall:?}"),
                format!("{booked:?}"),
            ),
            Check::holds(
                "the sessions are as long as the clock outside says",
                "<= 1000 ms off",
                format!("{off_max} ms off at most"),
                off_max <= 1_000 && self.evidence.sessions.len() == AGENTS.len(),
            ),
        ]
    }
}

/// The ids of the demo's companies.
pub fn company_ids() -> impl Iterator<Item = &'static str> {
    COMPANIES.iter().map(|company| company.id)
}
