//! The rules a wanted configuration must keep. Each finds every place that breaks it.

mod contracts;
mod people;
mod plan;
mod service;

use std::collections::BTreeMap;

use super::{Directory, Placed, Problem, Wanted, WantedContract};
use crate::vocabulary::{Cell, CompanyId, Millis, Timestamp};

/// The longest name accepted, in bytes.
pub(super) const NAME_LEN_MAX: usize = 200;

/// What the rules look at, and what they found.
struct Check<'a> {
    directory: &'a Directory,
    wanted: &'a Wanted,
    effective_at: Timestamp,
    cell_count: u32,
    problems: Vec<Problem>,
}

/// Every problem, by place in the document's order of kinds.
pub(super) fn check(
    directory: &Directory,
    wanted: &Wanted,
    effective_at: Timestamp,
    cell_count: u32,
) -> Vec<Problem> {
    let mut check = Check { directory, wanted, effective_at, cell_count, problems: Vec::new() };
    check.operator();
    check.skills();
    check.calendars();
    check.companies();
    check.queues();
    check.flows();
    check.numbers();
    check.contracts();
    check.agents();
    check.api_keys();
    check.blocklist();
    check.problems
}

impl<'a> Check<'a> {
    fn problem(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(Problem { path: path.into(), reason: reason.into(), other: None });
    }

    fn name(&mut self, path: &str, name: &str) {
        if name.trim().is_empty() {
            self.problem(format!("{path}.name"), "a name cannot be empty");
        } else if name.len() > NAME_LEN_MAX {
            self.problem(format!("{path}.name"), format!("a name has at most {NAME_LEN_MAX} bytes"));
        }
    }

    fn span(&mut self, path: String, span: Millis, from: Millis, to: Millis) {
        if span < from || span > to {
            let (from, to) = (super::span_text(from), super::span_text(to));
            self.problem(path, format!("{} is outside {from} to {to}", super::span_text(span)));
        }
    }

    fn cell(&mut self, path: &str, cell: Cell) {
        if cell.0 >= self.cell_count {
            let reason = format!("there is no cell {cell}: the logs have {}, from 0", self.cell_count);
            self.problem(format!("{path}.cell"), reason);
        }
    }

    /// Finds keys used twice among definitions of one kind; `at` is the field that holds the key.
    fn unique<T>(&mut self, of: &[Placed<T>], at: &str, what: &str, key: impl Fn(&T) -> String) {
        let mut first: BTreeMap<String, &str> = BTreeMap::new();
        let mut found = Vec::new();
        for placed in of {
            let key = key(&placed.wanted);
            match first.get(&key) {
                Some(before) => found.push(Problem {
                    path: format!("{}.{at}", placed.path),
                    reason: format!("{what} {key} is defined twice"),
                    other: Some(format!("{before}.{at}")),
                }),
                None => {
                    first.insert(key, &placed.path);
                }
            }
        }
        self.problems.extend(found);
    }

    fn company_known(&mut self, path: String, company_id: &CompanyId) -> Option<Cell> {
        let company = self.wanted.companies.iter().find(|it| it.wanted.company_id == *company_id);
        if company.is_none() {
            self.problem(path, format!("no company {company_id} is defined"));
        }
        company.map(|company| company.wanted.cell)
    }
}
