//! Definitions in words, field by field, for plans.

use crate::facts::{DirectoryFact, NotReadyReason};
use crate::vocabulary::{Ageing, ChannelRule, Millis, PhoneNumber, Step};

/// A field of a definition: its name in a document, its value in words, and whether the value may be shown.
pub(super) struct Field {
    name: &'static str,
    value: String,
    secret: bool,
}

fn field(name: &'static str, value: impl ToString) -> Field {
    Field { name, value: value.to_string(), secret: false }
}

fn optional(name: &'static str, value: Option<impl ToString>) -> Field {
    field(name, value.map_or_else(|| "none".to_owned(), |value| value.to_string()))
}

fn secret(name: &'static str, value: &str) -> Field {
    Field { name, value: value.to_owned(), secret: true }
}

fn number(name: &'static str, value: &PhoneNumber) -> Field {
    field(name, value.reveal())
}

fn list<T: ToString>(name: &'static str, values: &[T]) -> Field {
    let words: Vec<String> = values.iter().map(ToString::to_string).collect();
    field(name, if words.is_empty() { "none".to_owned() } else { words.join(", ") })
}

/// A span as a document writes it: `1m30s`.
pub fn span_text(span: Millis) -> String {
    if span.0 == 0 {
        return "0s".to_owned();
    }
    let (sign, mut rest) = (if span.0 < 0 { "-" } else { "" }, span.0.unsigned_abs());
    let mut text = sign.to_owned();
    for (unit, width) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= width {
            text.push_str(&format!("{}{unit}", rest / width));
            rest %= width;
        }
    }
    text
}

/// The fields of a definition in the order of a document, the most telling first.
pub(super) fn fields(fact: &DirectoryFact) -> Vec<Field> {
    match fact {
        DirectoryFact::OperatorDefined(it) => {
            let reason = |it: &NotReadyReason| match it.limit_ms {
                Millis::ZERO => it.reason.clone(),
                limit => format!("{} at most {}", it.reason, span_text(limit)),
            };
            let reasons: Vec<String> = it.not_ready_reasons.iter().map(reason).collect();
            vec![
                field("name", &it.name),
                field("time_zone", &it.time_zone),
                list("not_ready_reasons", &reasons),
            ]
        }
        DirectoryFact::CompanyDefined(it) => vec![
            field("name", &it.name),
            field("cell", it.cell),
            field("service_level_threshold", span_text(it.service_level_threshold_ms)),
        ],
        DirectoryFact::SkillDefined(it) => vec![field("name", &it.name)],
        DirectoryFact::CalendarDefined(it) => {
            let open: Vec<String> = it.open.iter().map(opening_text).collect();
            vec![
                list("open", &open),
                field("time_zone", &it.time_zone),
                list("closed_dates", &it.closed_dates),
            ]
        }
        DirectoryFact::QueueDefined(it) => vec![
            field("name", &it.name),
            field("company", &it.company_id),
            list("required_skills", &it.required_skills),
            field("priority", it.priority),
            field("offer_timeout", span_text(it.offer_timeout_ms)),
            field("wrap_up", span_text(it.wrap_up_ms)),
            field("wait_max", span_text(it.wait_ms_max)),
            field("waiting_count_max", it.waiting_count_max),
            field("miss_count_max", it.miss_count_max),
            field("reoffer_after", span_text(it.reoffer_after_ms)),
            field("wrap_up_mode", it.wrap_up_mode.as_str()),
            field("wrap_up_code", if it.wrap_up_code_required { "required" } else { "optional" }),
            field("wrap_up_extension_max", span_text(it.wrap_up_extension_ms_max)),
            field("miss_reason", if it.miss_reason.is_empty() { "missed offers" } else { &it.miss_reason }),
            field("miss_return", span_text(it.miss_return_ms)),
            field("tier", it.plan.tier),
            field("head_start", span_text(it.plan.head_start_ms)),
            field("ageing", ageing_text(it.plan.ageing)),
            field("steps", steps_text(&it.plan.steps)),
            list("prefer", &it.plan.selection.prefer),
            field("strategy", it.plan.selection.strategy.as_str()),
            field("idle_since", it.plan.selection.idle_since.as_str()),
        ],
        DirectoryFact::FlowDefined(it) => vec![
            field("queue", &it.queue_id),
            field("company", &it.company_id),
            optional("calendar", it.calendar_id.as_ref()),
            field("greeting_prompt", &it.greeting_prompt),
            field("closed_prompt", &it.closed_prompt),
            field("music", &it.music),
        ],
        DirectoryFact::NumberDefined(it) => {
            vec![field("flow", &it.flow_id), field("company", &it.company_id)]
        }
        DirectoryFact::AgentDefined(it) => vec![
            field("name", &it.name),
            field("cell", it.cell),
            optional("site", it.site_id.as_ref()),
            list("skills", &it.skills),
            field("sip_user", &it.sip_user),
            secret("sip_ha1_md5", &it.sip_ha1_md5),
            secret("sip_ha1_sha256", &it.sip_ha1_sha256),
            optional("team_company", it.team_company_id.as_ref()),
            list("channels", &it.channels.iter().map(channel_text).collect::<Vec<_>>()),
        ],
        DirectoryFact::ContractDefined(it) => vec![
            field("version", it.version),
            field("price", format!("{} per {}", it.price, span_text(it.price_per_ms))),
            field("unit", it.unit.as_str()),
            field("company", &it.company_id),
            field("effective_from", it.effective_at),
            field("first_increment", span_text(it.first_increment_ms)),
            field("increment", span_text(it.increment_ms)),
            field("monthly_minimum", it.monthly_minimum),
        ],
        DirectoryFact::ApiKeyDefined(it) => {
            vec![secret("key_sha256", &it.key_sha256), optional("company", it.company_id.as_ref())]
        }
        DirectoryFact::BlocklistEntryDefined(it) => vec![
            field("reason", &it.reason),
            number("number", &it.number),
            optional("company", it.company_id.as_ref()),
        ],
        DirectoryFact::RevisionApplied { .. } | DirectoryFact::DefinitionRetired { .. } => Vec::new(),
    }
}

/// A new definition in a few words: its first two fields, a secret left out.
pub(super) fn summary(fact: &DirectoryFact) -> String {
    let shown: Vec<String> = fields(fact)
        .iter()
        .filter(|field| !field.secret)
        .take(2)
        .map(|field| format!("{} {}", field.name, field.value))
        .collect();
    shown.join(", ")
}

/// What differs between two definitions of one kind: `offer_timeout 15s → 20s, priority 0 → 1`.
pub(super) fn difference(before: &DirectoryFact, after: &DirectoryFact) -> String {
    let changed: Vec<String> = fields(before)
        .iter()
        .zip(&fields(after))
        .filter(|(before, after)| before.value != after.value)
        .map(|(before, after)| match after.secret {
            true => format!("{} changed", after.name),
            false => format!("{} {} → {}", after.name, before.value, after.value),
        })
        .collect();
    changed.join(", ")
}

fn opening_text(span: &crate::facts::OpeningSpan) -> String {
    let day = match span.weekday {
        1 => "mon",
        2 => "tue",
        3 => "wed",
        4 => "thu",
        5 => "fri",
        6 => "sat",
        _ => "sun",
    };
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{day} {}-{}", clock(span.from_minute), clock(span.to_minute))
}

fn ageing_text(ageing: Option<Ageing>) -> String {
    ageing.map_or_else(
        || "none".to_owned(),
        |it| format!("by {} every {}, at most {}", it.by, span_text(it.every_ms), it.most),
    )
}

fn steps_text(steps: &[Step]) -> String {
    let text = |step: &Step| {
        let mut parts = vec![format!("after {}", span_text(step.after_ms))];
        parts.extend(step.required_skills.as_ref().map(|required| match required.as_slice() {
            [] => "needs no skill".to_owned(),
            some => {
                let needs: Vec<String> = some.iter().map(ToString::to_string).collect();
                format!("needs {}", needs.join(" and "))
            }
        }));
        parts.extend(step.priority.map(|priority| format!("priority {priority}")));
        parts.extend(step.overflow_queue_id.as_ref().map(|queue_id| format!("goes to {queue_id}")));
        parts.join(" ")
    };
    match steps.iter().map(text).collect::<Vec<_>>() {
        none if none.is_empty() => "none".to_owned(),
        some => some.join(", "),
    }
}

fn channel_text(rule: &ChannelRule) -> String {
    let ChannelRule { channel, capacity, interrupted_by } = rule;
    let by: Vec<&str> = interrupted_by.iter().map(|it| it.as_str()).collect();
    let by = if by.is_empty() { String::new() } else { format!(" interrupted by {}", by.join(" and ")) };
    format!("{channel} {capacity}{by}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_as_a_document_writes_it() {
        for (ms, text) in
            [(0, "0s"), (250, "250ms"), (4_000, "4s"), (90_000, "1m30s"), (3_600_000, "1h"), (-500, "-500ms")]
        {
            assert_eq!(span_text(Millis(ms)), text);
        }
    }
}
