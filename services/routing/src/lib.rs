//! Queues, ranking, offers.
//!
//! Every decision is made by `trunkline_domain::routing::Router`; this service tells it what the logs say and what the
//! time is, appends what it decided, and then does what stands on it. One task owns one partition.

mod config;
mod effects;
mod line;
mod owner;
mod service;
mod trace;

use std::net::TcpListener;

use tonic::service::Routes;
use trunkline_domain::vocabulary::Cell;
use trunkline_proto::routing::v1::routing_service_server::RoutingServiceServer;
use trunkline_runtime::grpc::{self, ServeError};
use trunkline_runtime::host::owner::{Seat, hold};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;

pub use crate::config::RoutingConfig;
use crate::service::{Desk, Queues};

/// Why routing ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// gRPC cannot be served.
    #[error("could not serve queues")]
    Serve(#[from] ServeError),
}

/// Runs routing until shutdown: answers on `listener`, owns every cell whose lease it gets.
///
/// Ready once every cell is owned here and its logs were read to where they ended when its owner began.
///
/// # Errors
/// When gRPC cannot be served.
pub async fn run(
    config: RoutingConfig,
    listener: TcpListener,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<(), RoutingError> {
    let platform = platform.for_service("routing");
    let address = listener.local_addr().map_err(ServeError::Listen)?.to_string();
    let mut desks = Vec::new();
    for cell in (0..platform.log.cell_count()).map(Cell) {
        let (desk, asks) = Desk::new();
        desks.push(desk);
        let seat = Seat { resource: owner::lane_of(cell), address: address.clone(), ttl: config.lease_ttl() };
        let component = platform.health.component(owner::component_name(cell));
        let (platform, group) = (platform.clone(), shutdown.clone());
        shutdown.spawn("routing/owner", async move {
            let not_serving = |reason: String| component.not_ready(reason);
            hold(&platform, &seat, &group, not_serving, |grant| {
                owner::own(&platform, cell, grant.epoch, &component, &asks)
            })
            .await;
        });
    }
    let routes = Routes::new(RoutingServiceServer::new(Queues::new(desks)));
    grpc::serve(listener, routes, &platform.health, &shutdown).await?;
    Ok(())
}
