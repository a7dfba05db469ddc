//! The recount: what happened, told by sipp's logs alone. Nothing here comes from the cluster.

use std::collections::BTreeMap;

use crate::plan::{Intent, Plan};
use crate::sipp::Message;

/// How much later than a phone's 486 a caller's BYE may have been sent and still be heard before it: what a datagram may be
/// behind another on loopback.
const CROSSING_US: i64 = 5_000;

/// The logs of one caller.
#[derive(Debug, Clone, Default)]
pub struct CallerLog {
    /// sipp's exit code.
    pub code: i32,
    /// What it sent and received.
    pub messages: Vec<Message>,
}

/// The logs of one agent's phone.
#[derive(Debug, Clone, Default)]
pub struct AgentLog {
    /// sipp's exit code.
    pub code: i32,
    /// What it sent and received, over all its calls.
    pub messages: Vec<Message>,
    /// Who called, by Call-ID.
    pub callers: BTreeMap<String, String>,
    /// Packets its echo sent back.
    pub echo_count: u64,
}

/// One call to an agent's phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentCall {
    /// Which agent, as in the plan.
    pub agent: usize,
    /// The caller's number as the phone saw it.
    pub caller: String,
    /// When the answer (200) was first sent, in µs.
    pub answered_us: Option<i64>,
    /// When ACK of the answer came, in µs; `None` when it was not answered.
    pub acked_us: Option<i64>,
    /// When the first BYE was sent or came, in µs.
    pub bye_us: Option<i64>,
    /// Whether the phone sent that BYE.
    pub bye_sent: bool,
    /// The status it refused with, 486, or 487 after CANCEL, and when it first sent that, in µs.
    pub refused: Option<(u16, i64)>,
}

/// One planned call as it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recounted {
    /// The cause the contact record should have.
    pub cause: &'static str,
    /// Who ended it.
    pub ended_by: &'static str,
    /// The final status of the INVITE.
    pub status: u16,
    /// Which agent served it.
    pub agent: Option<usize>,
    /// From ACK on the agent's phone to BYE of who hung up, in µs.
    pub talk: Option<(i64, i64)>,
    /// Whether it came to a queue.
    pub queued: bool,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct Recount {
    /// By the plan's order; `None` when sipp's log does not make sense.
    pub calls: Vec<Option<Recounted>>,
    /// Calls to agents' phones.
    pub agent_calls: Vec<AgentCall>,
}

impl Recount {
    /// Recounts a run. `greeting_us` tells how long a number's greeting is, in µs.
    pub fn of(
        plan: &Plan,
        callers: &[CallerLog],
        agents: &[AgentLog],
        greeting_us: impl Fn(&str) -> i64,
    ) -> Self {
        let agent_calls: Vec<AgentCall> =
            agents.iter().enumerate().flat_map(|(agent, log)| agent_calls(agent, log)).collect();
        let calls = plan
            .calls
            .iter()
            .zip(callers)
            .map(|(planned, log)| {
                let served =
                    agent_calls.iter().find(|call| same(&call.caller, &planned.caller) && call.served());
                recounted(planned.intent, &log.messages, served, greeting_us(planned.dialled.prompt))
            })
            .collect();
        Self { calls, agent_calls }
    }

    /// How many calls to phones were refused with a status.
    pub fn refused_count(&self, status: u16) -> usize {
        self.agent_calls.iter().filter(|call| call.refused.is_some_and(|(it, _)| it == status)).count()
    }

    /// How many phones declined while the caller's BYE was on its way to them. The cluster may have heard either first, and
    /// had by then nothing left to cancel: such an offer counts as declined or as withdrawn, not as both.
    pub fn crossed_count(&self, plan: &Plan, callers: &[CallerLog]) -> usize {
        let crossed = |call: &AgentCall| {
            let Some((486, declined_us)) = call.refused else { return false };
            let of_call = plan.calls.iter().zip(callers).filter(|(it, _)| same(&it.caller, &call.caller));
            let mut byes = of_call
                .flat_map(|(_, log)| &log.messages)
                .filter(|it| it.sent && it.method == "BYE" && it.status.is_none());
            byes.any(|bye| bye.at_us <= declined_us + CROSSING_US)
        };
        self.agent_calls.iter().filter(|call| crossed(call)).count()
    }

    /// How many calls to phones were cancelled, or answered too late to be of use.
    pub fn cancelled_count(&self) -> usize {
        let answered = self.agent_calls.iter().filter(|call| call.served()).count();
        let talks = self.calls.iter().flatten().filter(|call| call.talk.is_some()).count();
        self.refused_count(487) + answered - talks.min(answered)
    }

    /// Pairs of calls that one phone had at the same time; there must be none.
    pub fn overlap_count(&self) -> usize {
        let mut spans: Vec<(usize, i64, i64)> =
            self.agent_calls.iter().filter_map(|it| Some((it.agent, it.acked_us?, it.bye_us?))).collect();
        spans.sort_unstable();
        spans.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2).count()
    }
}

/// Phones may see a number with or without its `+`.
fn same(left: &str, right: &str) -> bool {
    left.trim_start_matches('+') == right.trim_start_matches('+')
}

impl AgentCall {
    fn served(&self) -> bool {
        self.acked_us.is_some()
    }
}

fn agent_calls(agent: usize, log: &AgentLog) -> Vec<AgentCall> {
    let mut calls = BTreeMap::<&str, AgentCall>::new();
    let mut order = Vec::new();
    for message in &log.messages {
        let call = calls.entry(&message.call_id).or_insert_with(|| {
            order.push(message.call_id.as_str());
            AgentCall {
                agent,
                caller: log.callers.get(&message.call_id).cloned().unwrap_or_default(),
                answered_us: None,
                acked_us: None,
                bye_us: None,
                bye_sent: false,
                refused: None,
            }
        });
        match (message.method.as_str(), message.status) {
            ("ACK", None) if call.refused.is_none() => {
                call.acked_us.get_or_insert(message.at_us);
            }
            ("BYE", None) if call.bye_us.is_none() => {
                (call.bye_us, call.bye_sent) = (Some(message.at_us), message.sent);
            }
            ("INVITE", Some(200)) if message.sent => {
                call.answered_us.get_or_insert(message.at_us);
            }
            ("INVITE", Some(status @ 300..)) if message.sent => {
                call.refused.get_or_insert((status, message.at_us));
            }
            _ => {}
        }
    }
    order.into_iter().filter_map(|id| calls.remove(id)).collect()
}

fn recounted(
    intent: Intent,
    messages: &[Message],
    served: Option<&AgentCall>,
    greeting_us: i64,
) -> Option<Recounted> {
    let final_response =
        messages.iter().find(|it| it.method == "INVITE" && it.status.is_some_and(|status| status >= 200))?;
    let status = final_response.status?;
    let unserved = |cause, ended_by, queued| {
        Some(Recounted { cause, ended_by, status, agent: None, talk: None, queued })
    };
    match status {
        486 => return unserved("blocked", "system", false),
        404 => return unserved("unknown_number", "system", false),
        200 => {}
        _ => return None,
    }
    let bye = messages.iter().find(|it| it.method == "BYE" && it.status.is_none())?;
    match served {
        // The caller may have hung up while the agent's answer was on its way: then nobody talked.
        Some(call) if !(bye.sent && bye.at_us < call.acked_us?) => {
            let hung_up = if bye.sent { bye.at_us } else { call.bye_us? };
            let acked = call.acked_us?;
            Some(Recounted {
                cause: "completed",
                ended_by: if bye.sent { "caller" } else { "agent" },
                status,
                agent: Some(call.agent),
                talk: Some((acked, hung_up)),
                queued: true,
            })
        }
        _ if intent == Intent::Closed && !bye.sent => unserved("closed", "system", false),
        _ if !bye.sent => unserved("flowed_out", "system", true),
        _ if bye.at_us - final_response.at_us < greeting_us => unserved("left_in_flow", "caller", false),
        _ => unserved("abandoned", "caller", true),
    }
}

/// Charged time: the measured raised to the first increment, then up to a whole number of increments.
pub fn charged_ms(measured_ms: i64, first_ms: i64, increment_ms: i64) -> i64 {
    let beyond = (measured_ms - first_ms).max(0);
    first_ms + (beyond + increment_ms - 1) / increment_ms * increment_ms
}

/// The amount of a line in micro-units: exact, rounded once, half-up, to cents.
pub fn amount_micros(charged_ms: i64, price_micros: i64, price_per_ms: i64) -> i64 {
    const CENT: i128 = 10_000;
    let numerator = i128::from(charged_ms) * i128::from(price_micros);
    let cents = (2 * numerator + CENT * i128::from(price_per_ms)) / (2 * CENT * i128::from(price_per_ms));
    i64::try_from(cents * CENT).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One message a word: `S`/`R`, method or `METHOD=status`, `@ms`.
    fn messages(call_id: &str, text: &str) -> Vec<Message> {
        text.split_whitespace()
            .map(|word| {
                let (what, at) = word[1..].split_once('@').unwrap();
                let (method, status) = what.split_once('=').map_or((what, None), |(m, s)| (m, Some(s)));
                Message {
                    at_us: at.parse::<i64>().unwrap() * 1_000,
                    sent: word.starts_with('S'),
                    call_id: call_id.to_owned(),
                    method: method.to_owned(),
                    status: status.map(|status| status.parse().unwrap()),
                }
            })
            .collect()
    }

    #[track_caller]
    fn check(intent: Intent, caller: &str, agent: &str, expected: &str) {
        let mut plan = Plan::new(1, 1, |_| 1_000);
        plan.calls[0].intent = intent;
        let number = plan.calls[0].caller.clone();
        let callers = [CallerLog { code: 0, messages: messages("c", caller) }];
        let agents = [AgentLog {
            messages: messages("a", agent),
            callers: [("a".to_owned(), number.trim_start_matches('+').to_owned())].into(),
            ..AgentLog::default()
        }];
        let recount = Recount::of(&plan, &callers, &agents, |_| 1_000_000);
        let got = recount.calls[0].as_ref().map_or("nonsense".to_owned(), |it| {
            let talk_ms = it.talk.map(|(from, to)| (to - from) / 1_000);
            format!("{} by {} {:?} {:?}", it.cause, it.ended_by, it.agent, talk_ms)
        });
        assert_eq!(got, expected);
    }

    #[test]
    fn every_outcome_is_told_by_the_messages() {
        let answered = "SINVITE@0 RINVITE=100@1 RINVITE=200@5 SACK@6";
        let served = "RINVITE@1500 SINVITE=180@1501 SINVITE=200@1801 RACK@1803";
        let all = |rest: &str| format!("{answered} {rest}");
        let both = |rest: &str| format!("{served} {rest}");
        check(
            Intent::Talk,
            &all("RBYE@5000 SBYE=200@5001"),
            &both("SBYE@4999 RBYE=200@5002"),
            "completed by agent Some(0) Some(3196)",
        );
        check(
            Intent::Talk,
            &all("SBYE@4000 RBYE=200@4002"),
            &both("RBYE@4003 SBYE=200@4003"),
            "completed by caller Some(0) Some(2197)",
        );
        check(Intent::Talk, &all("SBYE@1802"), &both("RBYE@1805"), "abandoned by caller None None");
        check(
            Intent::Talk,
            &all("SBYE@2000"),
            "RINVITE@1500 SINVITE=487@1999 RACK@2001",
            "abandoned by caller None None",
        );
        check(Intent::Talk, &all("SBYE@900"), "", "left_in_flow by caller None None");
        check(Intent::Talk, &all("RBYE@9000"), "", "flowed_out by system None None");
        check(Intent::Closed, &all("RBYE@2000"), "", "closed by system None None");
        check(Intent::Blocked, "SINVITE@0 RINVITE=486@5 SACK@6", "", "blocked by system None None");
        check(Intent::Unknown, "SINVITE@0 RINVITE=404@5 SACK@6", "", "unknown_number by system None None");
        check(Intent::Talk, "SINVITE@0 RINVITE=503@5 SACK@6", "", "nonsense");
        check(Intent::Talk, answered, "", "nonsense");
        check(Intent::Talk, "SINVITE@0", "", "nonsense");
    }

    #[test]
    fn a_decline_that_crosses_the_callers_bye_is_told_from_one_that_came_before_it() {
        for (declined_ms, crossed) in [(1_900, 0), (1_996, 1), (2_020, 1)] {
            let plan = Plan::new(1, 1, |_| 1_000);
            let number = plan.calls[0].caller.trim_start_matches('+').to_owned();
            let callers = [CallerLog {
                code: 0,
                messages: messages("c", "SINVITE@0 RINVITE=200@5 SACK@6 SBYE@2000 RBYE=200@2001"),
            }];
            let phone = format!("RINVITE@1700 SINVITE=180@1701 SINVITE=486@{declined_ms} RACK@2030");
            let agents = [AgentLog {
                messages: messages("a", &phone),
                callers: [("a".to_owned(), number)].into(),
                ..AgentLog::default()
            }];
            let recount = Recount::of(&plan, &callers, &agents, |_| 1_000_000);
            assert_eq!(
                (recount.refused_count(486), recount.crossed_count(&plan, &callers)),
                (1, crossed),
                "{declined_ms}"
            );
        }
    }

    #[test]
    fn a_phone_that_had_two_calls_at_once_is_found() {
        let call = |from, to| AgentCall {
            agent: 0,
            caller: String::new(),
            answered_us: None,
            acked_us: Some(from),
            bye_us: Some(to),
            bye_sent: true,
            refused: None,
        };
        for (calls, overlaps) in [
            (vec![call(0, 10), call(10, 20)], 0),
            (vec![call(10, 20), call(0, 11)], 1),
            (vec![call(0, 10), AgentCall { agent: 1, ..call(5, 20) }], 0),
        ] {
            assert_eq!(Recount { calls: Vec::new(), agent_calls: calls }.overlap_count(), overlaps);
        }
    }

    #[test]
    fn time_is_charged_in_increments_and_money_rounded_once() {
        for (measured, first, increment, charged) in [
            (0, 6_000, 6_000, 6_000),
            (6_000, 6_000, 6_000, 6_000),
            (6_001, 6_000, 6_000, 12_000),
            (61_000, 60_000, 60_000, 120_000),
            (61_000, 60_000, 1_000, 61_000),
            (10, 30_000, 6_000, 30_000),
        ] {
            assert_eq!(charged_ms(measured, first, increment), charged, "{measured} {first}/{increment}");
        }
        // 0.12 a minute: 6 s cost 1.2 cents, 15 s 3 cents, 12 s 2.4 cents; half a cent goes up.
        for (charged, price, per, micros) in [
            (6_000, 120_000, 60_000, 10_000),
            (12_000, 120_000, 60_000, 20_000),
            (15_000, 120_000, 60_000, 30_000),
            (30_000, 30_000, 60_000, 20_000),
            (0, 120_000, 60_000, 0),
        ] {
            assert_eq!(amount_micros(charged, price, per), micros, "{charged}");
        }
    }
}
