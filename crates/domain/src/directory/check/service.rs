//! Rules about what callers meet: operator, skills, calendars, companies, queues, flows, numbers.

use std::collections::BTreeSet;

use super::Check;
use crate::directory::Problem;
use crate::directory::calendar::{parse_date, time_zone};
use crate::facts::{Calendar, NotReadyReason, Queue, WrapUpMode};
use crate::vocabulary::{CalendarId, Cell, CompanyId, Millis, PRIORITIES};

const HOUR: Millis = Millis(3_600_000);
const DAY: Millis = Millis(86_400_000);
const PROMPT_LEN_MAX: usize = 100;
const REASON_LEN_MAX: usize = 200;
/// An agent chooses among them on a small screen, and every replica holds them all.
const REASON_COUNT_MAX: usize = 100;

impl Check<'_> {
    pub(super) fn operator(&mut self) {
        let placed = &self.wanted.operator;
        self.name(&placed.path, &placed.wanted.name);
        if let Err(why) = time_zone(&placed.wanted.time_zone) {
            self.problem(format!("{}.time_zone", placed.path), why.to_string());
        }
        let count = placed.wanted.not_ready_reasons.len();
        if count > REASON_COUNT_MAX {
            let why = format!("{count} reasons are listed, at most {REASON_COUNT_MAX} can be");
            self.problem(format!("{}.not_ready_reasons", placed.path), why);
        }
        let mut seen = BTreeSet::new();
        for (index, NotReadyReason { reason, limit_ms }) in placed.wanted.not_ready_reasons.iter().enumerate()
        {
            let path = format!("{}.not_ready_reasons[{index}]", placed.path);
            self.span(format!("{path}.limit"), *limit_ms, Millis::ZERO, DAY);
            if !reads(reason) {
                self.problem(format!("{path}.reason"), reads_as());
            } else if !seen.insert(reason) {
                self.problem(path, format!("reason `{reason}` is listed twice"));
            }
        }
    }

    pub(super) fn skills(&mut self) {
        let skills = &self.wanted.skills;
        self.unique(skills, "id", "skill", |it| it.skill_id.to_string());
        for placed in skills {
            self.name(&placed.path, &placed.wanted.name);
        }
    }

    pub(super) fn calendars(&mut self) {
        let calendars = &self.wanted.calendars;
        self.unique(calendars, "id", "calendar", |it| it.calendar_id.to_string());
        for placed in calendars {
            if let Err(why) = time_zone(&placed.wanted.time_zone) {
                self.problem(format!("{}.time_zone", placed.path), why.to_string());
            }
            self.opening(&placed.path, &placed.wanted);
            let mut seen = BTreeSet::new();
            for (index, day) in placed.wanted.closed_dates.iter().enumerate() {
                let path = format!("{}.closed_dates[{index}]", placed.path);
                match parse_date(day) {
                    Err(why) => self.problem(path, why.to_string()),
                    Ok(_) if !seen.insert(day) => self.problem(path, format!("{day} is listed twice")),
                    Ok(_) => {}
                }
            }
        }
    }

    fn opening(&mut self, path: &str, calendar: &Calendar) {
        let path = format!("{path}.open");
        for span in &calendar.open {
            if !(1..=7).contains(&span.weekday) {
                self.problem(&path, format!("{} is no weekday: 1 is Monday, 7 is Sunday", span.weekday));
            }
            if span.from_minute >= span.to_minute || span.to_minute > 1440 {
                self.problem(&path, "an opening span begins before it ends and stays within its day");
            }
        }
        let mut spans = calendar.open.clone();
        spans.sort_unstable();
        for pair in spans.windows(2) {
            if pair[0].weekday == pair[1].weekday && pair[1].from_minute < pair[0].to_minute {
                let day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
                    .get(usize::from(pair[0].weekday).wrapping_sub(1))
                    .copied()
                    .unwrap_or("one day");
                self.problem(&path, format!("two opening spans overlap on {day}"));
            }
        }
    }

    pub(super) fn companies(&mut self) {
        let companies = &self.wanted.companies;
        self.unique(companies, "id", "company", |it| it.company_id.to_string());
        for placed in companies {
            let company = &placed.wanted;
            self.name(&placed.path, &company.name);
            self.cell(&placed.path, company.cell);
            let threshold = format!("{}.service_level_threshold", placed.path);
            self.span(threshold, company.service_level_threshold_ms, Millis(1), HOUR);
            let known = self.directory.company(&company.company_id, self.effective_at);
            if let Some(known) = known.filter(|known| known.cell != company.cell) {
                let reason = format!("a company cannot move between cells: it is in cell {}", known.cell);
                self.problem(format!("{}.cell", placed.path), reason);
            }
        }
    }

    pub(super) fn queues(&mut self) {
        let queues = &self.wanted.queues;
        self.unique(queues, "id", "queue", |it| it.queue_id.to_string());
        for placed in queues {
            let (path, queue) = (&placed.path, &placed.wanted);
            self.name(path, &queue.name);
            self.clauses_known(&format!("{path}.required_skills"), &queue.required_skills);
            if !PRIORITIES.contains(&queue.priority) {
                self.problem(format!("{path}.priority"), "a priority is from -1000 to 1000");
            }
            self.span(format!("{path}.offer_timeout"), queue.offer_timeout_ms, Millis(1000), Millis(300_000));
            self.span(format!("{path}.wrap_up"), queue.wrap_up_ms, Millis::ZERO, Millis(8 * HOUR.0));
            self.span(format!("{path}.wait_max"), queue.wait_ms_max, Millis::ZERO, DAY);
            self.span(format!("{path}.reoffer_after"), queue.reoffer_after_ms, Millis::ZERO, HOUR);
            self.wrap_up(path, queue);
            self.misses(path, queue);
            self.plan(path, queue);
        }
        self.overflows();
    }

    /// What a queue says about wrap-up fits together: nothing is written down that would never happen.
    fn wrap_up(&mut self, path: &str, queue: &Queue) {
        let extension = format!("{path}.wrap_up_extension_max");
        self.span(extension.clone(), queue.wrap_up_extension_ms_max, Millis::ZERO, Millis(8 * HOUR.0));
        let (mode, long) = (queue.wrap_up_mode, queue.wrap_up_ms > Millis::ZERO);
        let (named, timed) = (mode.as_str(), mode.timed());
        if long && !timed {
            self.problem(format!("{path}.wrap_up"), format!("wrap_up_mode {named} has no length"));
        }
        if !long && timed && mode != WrapUpMode::Timed {
            let reason = format!("wrap_up_mode {named} needs a wrap_up longer than 0s");
            self.problem(format!("{path}.wrap_up_mode"), reason);
        }
        let ends = long && timed;
        if queue.wrap_up_extension_ms_max > Millis::ZERO && !ends {
            self.problem(extension, "there is no wrap-up with a deadline that could be extended");
        }
        let asked = ends || mode == WrapUpMode::Mandatory;
        if queue.wrap_up_code_required && (!asked || mode == WrapUpMode::TimedForced) {
            let reason = "a code is asked for when the agent finishes wrap-up, and here it never does";
            self.problem(format!("{path}.wrap_up_code"), reason);
        }
    }

    fn misses(&mut self, path: &str, queue: &Queue) {
        let (reason, returns) = (format!("{path}.miss_reason"), format!("{path}.miss_return"));
        self.span(returns.clone(), queue.miss_return_ms, Millis::ZERO, DAY);
        if !queue.miss_reason.is_empty() && !reads(&queue.miss_reason) {
            self.problem(reason.clone(), reads_as());
        }
        let never = "an agent never becomes not ready here: miss_count_max is 0";
        if queue.miss_count_max == 0 && !queue.miss_reason.is_empty() {
            self.problem(reason, never);
        }
        if queue.miss_count_max == 0 && queue.miss_return_ms > Millis::ZERO {
            self.problem(returns, never);
        }
    }

    pub(super) fn flows(&mut self) {
        let flows = &self.wanted.flows;
        self.unique(flows, "id", "flow", |it| it.flow_id.to_string());
        for placed in flows {
            let (path, flow) = (&placed.path, &placed.wanted);
            let calendar_id = flow.calendar_id.as_ref();
            let known = |id: &&CalendarId| {
                self.wanted.calendars.iter().any(|calendar| calendar.wanted.calendar_id == **id)
            };
            if let Some(calendar_id) = calendar_id.filter(|id| !known(id)) {
                self.problem(format!("{path}.calendar"), format!("no calendar {calendar_id} is defined"));
            }
            let queue = self.wanted.queues.iter().find(|it| it.wanted.queue_id == flow.queue_id);
            let owner = queue.map(|queue| &queue.wanted.company_id);
            self.owned(&format!("{path}.queue"), "queue", flow.queue_id.as_str(), owner, &flow.company_id);
            self.prompt(format!("{path}.greeting_prompt"), &flow.greeting_prompt);
            self.prompt(format!("{path}.closed_prompt"), &flow.closed_prompt);
            self.prompt(format!("{path}.music"), &flow.music);
        }
    }

    /// A prompt is looked up under a directory: its name must not lead out of it.
    fn prompt(&mut self, path: String, prompt: &str) {
        let part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if !prompt.is_empty() && (prompt.len() > PROMPT_LEN_MAX || !prompt.split('/').all(part)) {
            let reason = format!(
                "a prompt's name is at most {PROMPT_LEN_MAX} of a-z, A-Z, 0-9, `-`, `_`, with `/` between parts"
            );
            self.problem(path, reason);
        }
    }

    pub(super) fn numbers(&mut self) {
        let numbers = &self.wanted.numbers;
        for (index, placed) in numbers.iter().enumerate() {
            let number = &placed.wanted;
            if let Some(first) = numbers[..index].iter().find(|it| it.wanted.number == number.number) {
                let whose = match first.wanted.company_id == number.company_id {
                    true => "twice".to_owned(),
                    false => format!("by {} already", first.wanted.company_id),
                };
                self.problems.push(Problem {
                    path: format!("{}.number", placed.path),
                    reason: format!("{} is used {whose}", number.number.reveal()),
                    other: Some(format!("{}.number", first.path)),
                });
            }
            let flow = self.wanted.flows.iter().find(|it| it.wanted.flow_id == number.flow_id);
            let owner = flow.map(|flow| &flow.wanted.company_id);
            let path = format!("{}.flow", placed.path);
            self.owned(&path, "flow", number.flow_id.as_str(), owner, &number.company_id);
        }
    }

    /// What is referred to must be defined, and by the same company.
    fn owned(&mut self, path: &str, what: &str, key: &str, owner: Option<&CompanyId>, wanted: &CompanyId) {
        match owner {
            None => self.problem(path, format!("no {what} {key} is defined")),
            Some(owner) if owner != wanted => {
                self.problem(path, format!("{what} {key} belongs to {owner}, not to {wanted}"));
            }
            Some(_) => {}
        }
    }

    /// Where an agent or key may meet a company.
    pub(super) fn same_cell(&mut self, path: String, company_cell: Option<Cell>, cell: Cell) {
        if let Some(company_cell) = company_cell.filter(|company_cell| *company_cell != cell) {
            self.problem(path, format!("the company is in cell {company_cell}, the agent in cell {cell}"));
        }
    }
}

/// Whether a reason is a word that somebody can read, say and type again.
fn reads(reason: &str) -> bool {
    !reason.is_empty() && reason.trim() == reason && reason.len() <= REASON_LEN_MAX
}

fn reads_as() -> String {
    format!("a reason is a word of at most {REASON_LEN_MAX} bytes, without blanks around it")
}
