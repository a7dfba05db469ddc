//! The edge: REST/JSON from the annotations of the schemas, gRPC passthrough, API keys, one page.
//!
//! What it serves is read from the schemas when it starts ([`surface`]): an RPC with a `google.api.http` annotation can be
//! called, every other one cannot. It holds no state but a fold of the directory, for the keys.
//!
//! A key of one company sees `/v1/companies/{its company}/…` and nothing else; whatever else it asks for, there or not,
//! is the same 404.

mod codec;
mod events;
mod keys;
mod openapi;
mod page;
mod passthrough;
mod problem;
mod rest;
mod server;
mod surface;
mod transcode;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use serde::Deserialize;
use trunkline_domain::vocabulary::LogName;
use trunkline_runtime::config::within;
use trunkline_runtime::health::Component;
use trunkline_runtime::host::projection::{NoCheckpoint, ProjectionHost, Shared};
use trunkline_runtime::host::sources::Sources;
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;

pub use surface::{Surface, SurfaceError};

use keys::Keys;
use upstream::Upstreams;

/// The largest request body taken, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Section `gateway`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Where REST, gRPC and the page are served.
    pub http_listen: SocketAddr,
    /// How long a service may take to answer before the client hears 504, in ms, 100 to 60,000.
    pub request_ms_max: u64,
    /// How long a client may take to send its request's head, and then its body, in ms, 100 to 60,000.
    pub receive_ms_max: u64,
    /// Connections at a time, 1 to 100,000; further ones wait.
    pub connection_count_max: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            http_listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            request_ms_max: 5_000,
            receive_ms_max: 10_000,
            connection_count_max: 1_024,
        }
    }
}

impl GatewayConfig {
    /// # Errors
    /// The key that is out of its bounds.
    pub fn check(&self) -> Result<(), String> {
        within("request_ms_max", self.request_ms_max, 100..=60_000)?;
        within("receive_ms_max", self.receive_ms_max, 100..=60_000)?;
        within("connection_count_max", self.connection_count_max, 1..=100_000)
    }
}

/// Why the gateway ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The schemas ask for something it cannot serve.
    #[error("could not serve the annotations of the schemas")]
    Surface(#[from] SurfaceError),
    /// The socket cannot be used.
    #[error("could not listen for HTTP")]
    Listen(#[source] std::io::Error),
}

/// What every request needs.
struct Gateway {
    surface: Surface,
    openapi: Bytes,
    upstreams: Upstreams,
    keys: Shared<Keys>,
    /// Ready while `keys` follows the directory.
    following: Component,
    platform: Platform,
    receive_time_max: Duration,
    /// Ends the streams.
    shutdown: Shutdown,
}

/// Serves on an open socket until shutdown begins, then finishes the requests under way.
///
/// # Errors
/// When the schemas cannot be served or the socket cannot be used.
pub async fn run(
    config: GatewayConfig,
    listener: std::net::TcpListener,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<(), GatewayError> {
    let platform = platform.for_service("gateway");
    let surface = Surface::of_schemas()?;
    let keys = Shared::<Keys>::default();
    let following = platform.health.component("gateway/directory");
    let fold = ProjectionHost {
        log: platform.log.clone(),
        sources: Sources::all_cells(&platform.log, &[LogName::Directory]),
        state: keys.clone(),
        checkpoint: Box::new(NoCheckpoint),
        save_every_count: u32::MAX,
        component: following.clone(),
        shutdown: shutdown.clone(),
    };
    shutdown.spawn("gateway/directory", async move {
        if let Err(error) = fold.run().await {
            let reason = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, reason, "gateway no longer follows the directory");
        }
    });
    let gateway = Arc::new(Gateway {
        openapi: Bytes::from(openapi::document(&surface).to_string()),
        upstreams: Upstreams::new(&platform, Duration::from_millis(config.request_ms_max)),
        surface,
        keys,
        following,
        receive_time_max: Duration::from_millis(config.receive_ms_max),
        shutdown: shutdown.clone(),
        platform,
    });
    server::serve(&config, listener, router(gateway), &shutdown).await.map_err(GatewayError::Listen)
}

fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/", get(page::html))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::js))
        .route("/openapi.json", get(rest::openapi))
        .route("/session", get(rest::session))
        .fallback(rest::handle)
        .with_state(gateway)
}
