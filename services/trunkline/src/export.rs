//! `trunkline export`: the logs, copied record by record into an embedded log that can be read anywhere.
//!
//! The copy says the same: `tail`, `replay`, `verify` and `contact` work on it, and its folds have the same state hashes.
//! It is for reading. A record names the positions that its decision consumed, and positions are another log's here, so no
//! process may go on from a copy.

use std::path::PathBuf;

use clap::Args;
use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::settings::{LOG_DIR, LogSettings};
use trunkline_runtime::event_log::{AppendTicket, EventLog, LogError, ReadFrom};
use trunkline_runtime::mint::Mint;

use crate::{Failure, history, logs, table};

/// Records on their way to the copy's disk at a time.
const UNDER_WAY_MAX: usize = 512;

#[derive(Args)]
pub(crate) struct ExportArgs {
    /// Where the copy goes: a directory that holds no logs yet.
    #[arg(long)]
    to: PathBuf,
    #[command(flatten)]
    source: history::Source,
}

pub(crate) async fn run(args: ExportArgs) -> Result<(), Failure> {
    let there = args.to.join(LOG_DIR);
    if there.exists() {
        return Err(Failure::usage(format!("{} is there already; a copy begins empty", there.display())));
    }
    let log = args.source.open().await?;
    let settings = LogSettings { cells: log.cell_count(), ..LogSettings::default() };
    let copy = logs::open_embedded(&args.to, &settings, &Mint::system(Clock::system()))?;
    let mut rows = Vec::new();
    let failed = |error: LogError| Failure::world(format!("the copy is not whole: {error}"));
    for name in LogName::ALL {
        for cell in (0..log.cell_count()).map(Cell) {
            let Some(end) = log.end(name, cell).await.map_err(failed)? else { continue };
            let mut records = log.read(name, cell, ReadFrom::Start).await.map_err(failed)?;
            let mut under_way: Vec<AppendTicket> = Vec::new();
            let mut count = 0_u64;
            loop {
                let stored = records.next().await.map_err(failed)?;
                under_way.push(copy.append(name, cell, stored.record).map_err(failed)?);
                count += 1;
                let last = stored.position >= end;
                if last || under_way.len() >= UNDER_WAY_MAX {
                    for ticket in under_way.drain(..) {
                        ticket.await.map_err(failed)?;
                    }
                }
                if last {
                    break;
                }
            }
            rows.push(vec![name.to_string(), cell.to_string(), count.to_string()]);
        }
    }
    copy.close();
    print!("{}", table::render(&["log", "cell", "records"], &rows));
    Ok(())
}
