//! Contracts applied: rated items, ledger, running invoices.
//!
//! Billing owns the lane `billing/<cell>` of each cell's billing log. Its state is the fold of that log and of its
//! inputs; nothing else is kept, so a restart reads the logs again.

mod config;
mod owner;
mod service;
#[cfg(test)]
mod tests;
mod view;

use std::net::TcpListener;

use tonic::service::Routes;
use trunkline_domain::vocabulary::Cell;
use trunkline_proto::billing::v1::billing_service_server::BillingServiceServer;
use trunkline_runtime::grpc::{self, ServeError};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;

pub use crate::config::BillingConfig;
use crate::service::Bills;
use crate::view::SharedView;

/// Why billing ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// gRPC cannot be served.
    #[error("could not serve bills")]
    Serve(#[from] ServeError),
}

/// Runs billing until shutdown: answers on `listener`, owns every cell whose lease it gets.
///
/// Ready once every cell is owned here and has priced everything that was there when its owner began.
///
/// # Errors
/// When gRPC cannot be served.
pub async fn run(
    config: BillingConfig,
    listener: TcpListener,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<(), BillingError> {
    let platform = platform.for_service("billing");
    let address = listener.local_addr().map_err(ServeError::Listen)?.to_string();
    let cell_count = platform.log.cell_count();
    let view = SharedView::new(platform.health.component("billing"), cell_count);
    for cell in (0..cell_count).map(Cell) {
        let (platform, view, group) = (platform.clone(), view.clone(), shutdown.clone());
        let (ttl, address) = (config.lease_ttl(), address.clone());
        shutdown.spawn("billing/owner", async move {
            owner::run(&platform, cell, ttl, &address, &view, &group).await;
        });
    }
    let bills = Bills::new(view, platform.clock.clone());
    let routes = Routes::new(BillingServiceServer::new(bills));
    grpc::serve(listener, routes, &platform.health, &shutdown).await?;
    Ok(())
}
