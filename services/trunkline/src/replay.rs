//! `trunkline replay`: every fold from the start, with counts and state hashes.

use clap::Args;
use trunkline_domain::billing::Ledger;
use trunkline_domain::directory::Directory;
use trunkline_domain::kernel::Projection;
use trunkline_domain::reporting::Reporting;

use crate::{Failure, history, table};

#[derive(Args)]
pub(crate) struct ReplayArgs {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: history::Source,
}

pub(crate) async fn run(args: ReplayArgs) -> Result<(), Failure> {
    let log = args.source.open().await?;
    let logs = history::read(&log).await?;
    let mut directory = Directory::default();
    let mut reporting = Reporting::default();
    let mut ledger = Ledger::default();
    let (mut directory_count, mut reporting_count, mut billing_count) = (0_u64, 0_u64, 0_u64);
    for (_, record) in &logs.directory {
        for fact in &record.outcome.facts {
            directory.fold(fact);
            reporting.definitions.fold(fact);
            directory_count += 1;
            reporting_count += 1;
        }
    }
    for (_, record) in &logs.contacts {
        for fact in &record.outcome.facts {
            reporting.contacts.fold(fact);
            reporting_count += 1;
        }
    }
    for (_, record) in &logs.agents {
        for fact in &record.outcome.facts {
            reporting.agents.fold(fact);
            reporting_count += 1;
        }
    }
    for (_, record) in &logs.billing {
        for fact in &record.outcome.facts {
            ledger.fold(fact);
            billing_count += 1;
        }
    }
    let folds = [
        ("directory", directory_count, directory.state_hash().to_string()),
        ("reporting", reporting_count, reporting.state_hash().to_string()),
        ("billing", billing_count, ledger.state_hash().to_string()),
    ];
    if args.json {
        let list: Vec<_> = folds
            .iter()
            .map(|(fold, facts, hash)| serde_json::json!({"fold": fold, "facts": facts, "state_hash": hash}))
            .collect();
        println!("{}", serde_json::json!({"folds": list}));
    } else {
        let rows: Vec<Vec<String>> = folds
            .iter()
            .map(|(fold, facts, hash)| vec![(*fold).to_owned(), facts.to_string(), hash.clone()])
            .collect();
        print!("{}", table::render(&["fold", "facts", "state hash"], &rows));
    }
    Ok(())
}
