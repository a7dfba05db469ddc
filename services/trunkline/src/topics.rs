//! `trunkline topics`: the logs of a data directory, created or checked.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use trunkline_domain::vocabulary::{Cell, LogName};

use crate::endpoints::DATA_DIR;
use crate::{Failure, history, table};

#[derive(Args)]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    action: Action,
    /// The data directory.
    #[arg(long, default_value = DATA_DIR, env = "TRUNKLINE_DATA_DIR", global = true)]
    data: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Action {
    /// Make the five logs with this many cells, or add cells to them; refuses a directory that has more.
    Create {
        /// Partitions of each log.
        #[arg(long, default_value_t = 1)]
        cells: u32,
    },
    /// Say what is there and whether it can be read.
    Check,
}

pub(crate) async fn run(args: TopicsArgs) -> Result<(), Failure> {
    if let Action::Create { cells } = args.action {
        if cells == 0 {
            return Err(Failure::usage("a log has at least one cell"));
        }
        crate::dev::create_log(&args.data, cells)?;
    }
    let log = history::open(&args.data)?;
    let mut rows = Vec::new();
    let mut damaged = Vec::new();
    for name in LogName::ALL {
        for cell in (0..log.cell_count()).map(Cell) {
            let (state, end) = match log.end(name, cell).await {
                Ok(end) => {
                    ("good".to_owned(), end.map(|end| end.0.to_string()).unwrap_or_else(|| "-".into()))
                }
                Err(error) => {
                    damaged.push(error.to_string());
                    (error.to_string(), "?".into())
                }
            };
            rows.push(vec![name.to_string(), cell.to_string(), end, state]);
        }
    }
    if args.json {
        let list: Vec<_> = rows
            .iter()
            .map(|row| serde_json::json!({"log": row[0], "cell": row[1], "end": row[2], "state": row[3]}))
            .collect();
        println!("{}", serde_json::json!({"logs": list}));
    } else {
        print!("{}", table::render(&["log", "cell", "end", "state"], &rows));
    }
    match damaged.first() {
        None => Ok(()),
        Some(first) => Err(Failure::world(format!("{} partition(s) cannot be read: {first}", damaged.len()))),
    }
}
