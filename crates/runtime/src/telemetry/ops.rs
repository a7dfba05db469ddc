//! What an operator's machines ask a process: `/metrics`, `/livez`, `/readyz`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::Telemetry;
use crate::health::Health;
use crate::shutdown::Shutdown;

/// Why the operations server ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
#[error("could not serve metrics and health")]
pub struct OpsError(#[source] std::io::Error);

#[derive(Clone)]
struct Process {
    health: Health,
    telemetry: Telemetry,
}

/// The routes, for a process that serves them beside others.
pub fn routes(health: Health, telemetry: Telemetry) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Process { health, telemetry })
}

/// Serves on an open socket until shutdown begins.
///
/// # Errors
/// When the socket cannot be used.
pub async fn serve(
    listener: std::net::TcpListener,
    health: Health,
    telemetry: Telemetry,
    shutdown: Shutdown,
) -> Result<(), OpsError> {
    listener.set_nonblocking(true).map_err(OpsError)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(OpsError)?;
    axum::serve(listener, routes(health, telemetry))
        .with_graceful_shutdown(async move { shutdown.begun().await })
        .await
        .map_err(OpsError)
}

async fn livez() -> impl IntoResponse {
    Json(json!({ "live": true }))
}

async fn readyz(State(process): State<Process>) -> impl IntoResponse {
    let ready = process.health.ready();
    let list = |said: Vec<(String, String)>, what: &str| -> Vec<_> {
        said.into_iter().map(|(component, words)| json!({ "component": component, what: words })).collect()
    };
    let reasons = list(process.health.reasons(), "reason");
    let remarks = list(process.health.remarks(), "remark");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "reasons": reasons, "remarks": remarks })))
}

async fn metrics(State(process): State<Process>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], process.telemetry.metrics().render())
}
