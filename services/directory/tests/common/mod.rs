//! A good document, and what is told of one that is not.
#![allow(dead_code, reason = "not every test needs all of it")]

use trunkline_directory::document::{Document, PlacedProblem};
use trunkline_domain::directory::{Directory, plan};
use trunkline_domain::vocabulary::Timestamp;

/// A document without a problem.
pub const GOOD: &str = include_str!("../operator.yaml");
/// 2026-11-02T00:00:00Z.
const NOW: Timestamp = Timestamp(1_793_577_600_000);

/// Every problem of a document, found in reading it or by the rules.
pub fn problems(text: &str) -> Vec<PlacedProblem> {
    match Document::read(text) {
        Err(problems) => problems,
        Ok(document) => match plan(&Directory::default(), &document.wanted, NOW, 1) {
            Err(problems) => document.place(&problems),
            Ok(_) => Vec::new(),
        },
    }
}

/// The problems, one a line.
pub fn told(text: &str) -> String {
    problems(text)
        .iter()
        .map(|it| format!("{}:{} {}\n", it.line_number, it.column_number, it.reason))
        .collect::<String>()
}
