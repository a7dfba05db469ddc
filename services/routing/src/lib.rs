//! Queues, ranking, offers.
//!
//! Every decision is made by `trunkline_domain::routing::Router`; this service tells it what the logs say and what the
//! time is, appends what it decided, and then does what stands on it. One task owns one partition, or stands by for it.

mod config;
mod effects;
mod line;
mod owner;
mod readiness;
mod service;
mod standby;
#[cfg(test)]
mod standby_tests;
mod trace;
mod views;

use std::net::TcpListener;

use tonic::service::Routes;
use trunkline_domain::vocabulary::Cell;
use trunkline_proto::routing::v1::routing_service_server::RoutingServiceServer;
use trunkline_runtime::grpc::{self, ServeError};
use trunkline_runtime::host::owner::{Seat, hold};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;

pub use crate::config::RoutingConfig;
use crate::readiness::Readiness;
use crate::service::{Desk, Queues};
use crate::standby::Warm;

/// Why routing ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// gRPC cannot be served.
    #[error("could not serve queues")]
    Serve(#[from] ServeError),
}

/// Runs routing until shutdown: answers on `listener`, owns every cell whose lease it gets, stands by for the others.
///
/// Ready once every cell is either owned here and its logs were read to where they ended when its owner began, or owned by
/// another node and folded here to where its logs ended when this process began to stand by.
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
    let cells = || (0..platform.log.cell_count()).map(Cell);
    let readiness = Readiness::new(platform.health.component("routing"), cells());
    let mut desks = Vec::new();
    for cell in cells() {
        let (desk, readiness) = (Desk::default(), readiness.clone());
        desks.push(desk.clone());
        let seat = Seat { resource: owner::lane_of(cell), address: address.clone(), ttl: config.lease_ttl() };
        let (platform, group) = (platform.clone(), shutdown.clone());
        shutdown.spawn("routing/owner", async move {
            let idle = |idle| readiness.idle(cell, idle);
            let stand_by = || Warm::begin(&platform, cell);
            hold(&platform, &seat, &group, idle, stand_by, |grant, warm| {
                owner::own(&platform, cell, grant, warm, &readiness, &desk)
            })
            .await;
        });
    }
    let routes = Routes::new(RoutingServiceServer::new(Queues::new(desks)));
    grpc::serve(listener, routes, &platform.health, &shutdown).await?;
    Ok(())
}
