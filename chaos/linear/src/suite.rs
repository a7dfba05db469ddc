//! Many histories, one verdict.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use trunkline_loadtest::Failure;

use crate::check::{CONFIGURATION_COUNT_MAX, Verdict, check};
use crate::explain::line;
use crate::group::Group;
use crate::history::Fate;
use crate::model::{AgentState, HISTORY_LEN_MAX, Op, Reply};
use crate::order::contradiction;
use crate::plant::Plant;
use crate::record::{Recorded, Shape, record};

/// So many operations of a hundred must be answered: silence has an order always.
const ANSWERED_PERCENT_MIN: u64 = 80;

/// What is run.
#[derive(Debug, Clone)]
pub struct Suite {
    /// How many histories.
    pub histories: u32,
    /// What each is made of.
    pub shape: Shape,
    /// Where voters keep data and logs; emptied first. Histories that do not pass are kept there.
    pub dir: PathBuf,
    /// The `trunkline` program.
    pub program: PathBuf,
    /// What is put into each history, to see whether it is found.
    pub plant: Option<Plant>,
}

/// What is to be said of one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// There is an order.
    Passed {
        /// Configurations the checker visited.
        visited: usize,
    },
    /// There is none, and why.
    Failed(String),
    /// It could not be told. This is no pass.
    Unknown(String),
}

impl Judgement {
    fn word(&self) -> &'static str {
        match self {
            Self::Passed { .. } => "linearizable",
            Self::Failed(_) => "violation",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Judges a history by its operations alone.
pub fn judge(history: &[Op]) -> Judgement {
    match check::<AgentState>(history, CONFIGURATION_COUNT_MAX) {
        Verdict::Violation(misfit) => Judgement::Failed(misfit.to_string()),
        Verdict::Unknown { key, visited } => {
            Judgement::Unknown(format!("the search for {key} was given up after {visited} configurations"))
        }
        Verdict::Linearizable { visited } => match contradiction(history) {
            None => Judgement::Passed { visited },
            Some(it) => {
                let told = |place: usize| {
                    let operation = &history[place];
                    format!("{} at {:?}", line::<AgentState>(operation), operation.index)
                };
                let (earlier, later) = (told(it.earlier), told(it.later));
                Judgement::Failed(format!("indexes contradict real time:\n  first {earlier}\n  then {later}"))
            }
        },
    }
}

impl Suite {
    /// Records and judges all histories on one group; `each` is given each. Returns how many passed.
    ///
    /// # Errors
    /// When the group does not serve, or an answer makes no sense.
    pub async fn run(&self, mut each: impl FnMut(&Value, &Judgement, &[Op])) -> Result<u32, Failure> {
        let group = Group::start(&self.dir.join("voters"), &self.program).await?;
        let mut passed = 0;
        for number in 0..self.histories {
            let mut recorded = record(&group, number, self.shape).await?;
            if let Some(plant) = self.plant
                && plant.put(&mut recorded.history).is_none()
            {
                return Err(Failure::new(format!("history {number} has no room for a {plant}")));
            }
            let began = Instant::now();
            let history = recorded.history;
            let (history, mut judgement) = tokio::task::spawn_blocking(move || {
                let judgement = judge(&history);
                (history, judgement)
            })
            .await
            .map_err(Failure::new)?;
            let recorded = Recorded { history, ..recorded };
            if let (Judgement::Passed { .. }, Some(why)) = (&judgement, unfit(&recorded)) {
                judgement = Judgement::Unknown(why);
            }
            let mut told = said(number, &recorded, &judgement);
            told["checked_ms"] = json!(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            match &judgement {
                Judgement::Passed { .. } => passed += 1,
                Judgement::Failed(why) | Judgement::Unknown(why) => {
                    told["why"] = json!(why);
                    told["kept"] = json!(keep(&self.dir, number, &recorded.history)?);
                }
            }
            each(&told, &judgement, &recorded.history);
        }
        group.ready().await?;
        group.down().await?;
        Ok(passed)
    }
}

/// Why an order of a history proves nothing, if it does not.
fn unfit(recorded: &Recorded) -> Option<String> {
    if recorded.lasted > HISTORY_LEN_MAX {
        return Some("it took so long that time may have ended things".to_owned());
    }
    let silent = recorded.history.iter().filter(|it| it.reply().is_none()).count() as u64;
    let answered = recorded.operations.saturating_sub(silent);
    let few = answered * 100 < recorded.operations * ANSWERED_PERCENT_MIN;
    few.then(|| format!("only {answered} of {} operations were answered", recorded.operations))
}

/// One line a history.
fn said(number: u32, recorded: &Recorded, judgement: &Judgement) -> Value {
    let history = &recorded.history;
    let count = |wanted: &dyn Fn(&Op) -> bool| history.iter().filter(|it| wanted(it)).count();
    let visited = match judgement {
        Judgement::Passed { visited } => json!(visited),
        Judgement::Failed(_) | Judgement::Unknown(_) => Value::Null,
    };
    let refused = |it: &Op| matches!(it.reply(), Some(Reply::Refused(_) | Reply::HeldBy(_)));
    json!({
        "history": number,
        "verdict": judgement.word(),
        "faults": recorded.faults,
        "operations": recorded.operations,
        "answers": count(&|it| it.reply().is_some()),
        "refusals": count(&refused),
        "unknown": count(&|it| matches!(it.fate, Fate::Unknown)),
        "unread": count(&|it| matches!(it.fate, Fate::Fail)),
        "lasted_ms": u64::try_from(recorded.lasted.as_millis()).unwrap_or(u64::MAX),
        "configurations": visited,
    })
}

/// Writes a history down, one operation a line; gives the path.
///
/// # Errors
/// When it cannot be written.
pub fn keep(dir: &Path, number: u32, history: &[Op]) -> Result<String, Failure> {
    let path = dir.join(format!("history-{number}.jsonl"));
    let mut text = String::new();
    for operation in history {
        text.push_str(&serde_json::to_string(operation).map_err(Failure::new)?);
        text.push('\n');
    }
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Reads one that was written down.
///
/// # Errors
/// When it cannot be read.
pub fn kept(path: &Path) -> Result<Vec<Op>, Failure> {
    let unreadable =
        |error: &dyn std::fmt::Display| Failure::new(format!("could not read {}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(&error))?;
    let history: Result<Vec<Op>, Failure> =
        text.lines().map(|line| serde_json::from_str(line).map_err(|error| unreadable(&error))).collect();
    match history {
        Ok(history) if history.is_empty() => Err(unreadable(&"it holds no operation")),
        history => history,
    }
}
