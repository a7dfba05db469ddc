//! Interval cells, contact records, timesheets, live counts: folds over all logs, and the answers from them.
//!
//! Reporting writes no log and owns nothing: any number of processes may run it. Its store is disposable
//! ([`mod@store`]); deleting it costs the time of a rebuild.

mod book;
mod config;
mod follow;
mod keeper;
mod rows;
mod service;
mod store;
mod story;

use std::net::TcpListener;
use std::time::Duration;

use tonic::service::Routes;
use trunkline_domain::facts::{AgentFact, BillingFact, ContactFact, DirectoryFact, RoutingFact};
use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_proto::reporting::v1::reporting_service_server::ReportingServiceServer;
use trunkline_runtime::event_log::{LogError, SharedLog};
use trunkline_runtime::grpc::{self, ServeError};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;

use crate::book::{Book, Partition};
pub use crate::config::ReportingConfig;
use crate::follow::{CatchUp, SharedBook, follow};
use crate::keeper::Keeper;
use crate::service::Reports;
use crate::store::{Store, StoreError};

/// Why reporting ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum ReportingError {
    /// The store cannot be opened or written.
    #[error("could not keep the report store")]
    Store(#[from] StoreError),
    /// A log cannot be asked for its end.
    #[error("could not look at a log")]
    Log(#[from] LogError),
    /// gRPC cannot be served.
    #[error("could not serve reports")]
    Serve(#[from] ServeError),
    /// A task that blocks ended by a panic.
    #[error("could not finish a blocking task")]
    Task(#[from] tokio::task::JoinError),
}

/// Runs reporting until shutdown: answers on `listener`, folds every partition of every log, stores as it goes.
///
/// Ready once every partition was folded up to the end it had at the start.
///
/// # Errors
/// When the store, the logs or the socket cannot be used.
pub async fn run(
    config: ReportingConfig,
    listener: TcpListener,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<(), ReportingError> {
    let platform = platform.for_service("reporting");
    let component = platform.health.component("reporting");
    let dir = platform.data_dir.join("reporting").join("state");
    let opened = dir.clone();
    let (store, book) = tokio::task::spawn_blocking(move || Store::open_or_quarantine(&opened)).await??;
    let book = SharedBook::new(up_to_date(&platform.log, &store, book).await?);

    let catch_up = CatchUp::new(component, partitions(&platform.log));
    for cell in (0..platform.log.cell_count()).map(Cell) {
        if cell == Cell(0) {
            spawn::<DirectoryFact>(&platform, &shutdown, cell, &book, &catch_up);
        }
        spawn::<ContactFact>(&platform, &shutdown, cell, &book, &catch_up);
        spawn::<RoutingFact>(&platform, &shutdown, cell, &book, &catch_up);
        spawn::<AgentFact>(&platform, &shutdown, cell, &book, &catch_up);
        spawn::<BillingFact>(&platform, &shutdown, cell, &book, &catch_up);
    }

    let mut keeper = Keeper::new(dir, store, platform.health.component("reporting/store"));
    let reports = Reports::new(book.clone(), platform.log.clone());
    let routes = Routes::new(ReportingServiceServer::new(reports));
    let every = Duration::from_millis(config.checkpoint_every_ms);
    tokio::select! {
        biased;
        served = grpc::serve(listener, routes, &platform.health, &shutdown) => served?,
        () = keeper.store_every(every, &book) => {}
    }
    // What could not be stored is folded again at the next start.
    if let Err(error) = keeper.store_now(&book).await {
        tracing::warn!(reason = trunkline_runtime::error_chain(&error), "report store is behind at the end");
    }
    Ok(())
}

/// The partitions that have something to say: the directory is in cell 0 alone.
fn partitions(log: &SharedLog) -> Vec<Partition> {
    let cells = (0..log.cell_count()).map(Cell);
    let all = cells.flat_map(|cell| LogName::ALL.map(|log| (log, cell)));
    all.filter(|(log, cell)| *log != LogName::Directory || *cell == Cell(0)).collect()
}

/// The book as stored, if the logs have all that it was folded from. Otherwise they are not the logs it was folded
/// from, and it begins anew.
async fn up_to_date(log: &SharedLog, store: &Store, book: Book) -> Result<Book, ReportingError> {
    for ((name, cell), watermark) in &book.watermarks {
        let known = cell.0 < log.cell_count();
        let end = if known { log.end(*name, *cell).await? } else { None };
        if end < Some(watermark.position) {
            tracing::warn!(log = %name, %cell, stored = %watermark.position, "report store is ahead of the log, rebuilding");
            let store = store.clone();
            tokio::task::spawn_blocking(move || store.clear()).await??;
            return Ok(Book::default());
        }
    }
    Ok(book)
}

fn spawn<F: book::Folded + follow::Traced>(
    platform: &Platform,
    shutdown: &Shutdown,
    cell: Cell,
    book: &SharedBook,
    catch_up: &CatchUp,
) {
    let task =
        follow::<F>(platform.log.clone(), cell, book.clone(), catch_up.clone(), platform.telemetry.clone());
    let ended = shutdown.clone();
    shutdown.spawn("reporting/fold", async move {
        tokio::select! {
            biased;
            () = ended.begun() => {}
            () = task => {}
        }
    });
}
