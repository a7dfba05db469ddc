//! `trunkline verify`: the promises, checked over the logs.

use clap::Args;
use trunkline_chaos::INVARIANTS;

use crate::{Failure, history, table};

#[derive(Args)]
pub(crate) struct VerifyArgs {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: history::Source,
}

pub(crate) async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let log = args.source.open().await?;
    let history = history::read(&log).await?;
    let mut rows = Vec::new();
    let mut checks = Vec::new();
    let mut violations = Vec::new();
    for invariant in INVARIANTS {
        let found: Vec<String> = (invariant.check)(&history).iter().map(ToString::to_string).collect();
        rows.push(vec![invariant.name.to_owned(), found.len().to_string(), invariant.promise.to_owned()]);
        checks.push(serde_json::json!({"invariant": invariant.name, "violations": &found}));
        violations.extend(found);
    }
    if args.json {
        println!("{}", serde_json::json!({"violation_count": violations.len(), "checks": checks}));
    } else {
        print!("{}", table::render(&["invariant", "violations", "promise"], &rows));
        violations.iter().for_each(|violation| println!("{violation}"));
    }
    match violations.len() {
        0 => Ok(()),
        count => Err(Failure::world(format!("{count} violation(s) of the promises"))),
    }
}
