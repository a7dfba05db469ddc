//! Why a history has no order, in as few lines as say it.

use std::fmt;

use crate::check::{Model, OperationOf};
use crate::history::Fate;

/// How many of the operations before the misfit are printed.
const SHOWN_COUNT_MAX: usize = 10;

/// The operation that fits nowhere. Whatever was called after it returned plays no part: without the misfit, everything
/// before has an order, of which `placed` is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The key.
    pub key: String,
    /// The place in the history of the operation that fits nowhere.
    pub misfit: usize,
    /// The longest part of the history that has an order, in that order: places in the history.
    pub placed: Vec<usize>,
    /// The state behind them.
    pub state: String,
    lines: Vec<String>,
}

impl Misfit {
    pub(crate) fn describe<M: Model>(
        history: &[OperationOf<M>],
        key: &M::Key,
        placed: Vec<usize>,
        state: &M::State,
        misfit: usize,
        open: &[usize],
    ) -> Self {
        let mut lines = Vec::new();
        let hidden = placed.len().saturating_sub(SHOWN_COUNT_MAX);
        if hidden > 0 {
            lines.push(format!("  {hidden} operations before these have an order"));
        }
        lines.extend(placed[hidden..].iter().map(|place| format!("  then {}", line::<M>(&history[*place]))));
        lines.push(format!("  and the state is {state:?}"));
        let wrong = &history[misfit];
        let expected = M::expected(state, wrong.client, &wrong.call);
        lines.push(format!("  fits nowhere: {}; here it would be answered {expected}", line::<M>(wrong)));
        lines.extend(open.iter().map(|place| format!("  open beside it: {}", line::<M>(&history[*place]))));
        Self { key: key.to_string(), misfit, placed, state: format!("{state:?}"), lines }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not linearizable:", self.key)?;
        self.lines.iter().try_for_each(|line| write!(f, "\n{line}"))
    }
}

/// An operation on one line: when, who, what, and what came of it.
pub fn line<M: Model>(operation: &OperationOf<M>) -> String {
    let (until, reply) = match &operation.fate {
        Fate::Ok { reply, returned_at } => (format!("{:.3}", ms(*returned_at)), format!("{reply:?}")),
        Fate::Fail => (String::new(), "failed".to_owned()),
        Fate::Unknown => (String::new(), "unknown".to_owned()),
    };
    let (from, client) = (ms(operation.called_at), operation.client);
    format!("[{from:.3}..{until} ms] client {client}: {:?} -> {reply}", operation.call)
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}
