//! HTTP/1.1 and HTTP/2 (without TLS, by prior knowledge) on one socket, within limits.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use trunkline_runtime::shutdown::Shutdown;

use crate::GatewayConfig;

/// The largest head of a request, in bytes; beyond it the client hears 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Requests at a time on one HTTP/2 connection.
const STREAM_COUNT_MAX: u32 = 128;
/// The pause when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes connections until shutdown begins. Each is a task of `shutdown`, which ends when its requests are answered.
pub(crate) async fn serve(
    config: &GatewayConfig,
    listener: std::net::TcpListener,
    router: Router,
    shutdown: &Shutdown,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let connections = Arc::new(Semaphore::new(config.connection_count_max));
    let receive_time_max = Duration::from_millis(config.receive_ms_max);
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.begun() => return Ok(()),
            accepted = accept(&listener, &connections) => accepted,
        };
        let (socket, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not take a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (router, stop) = (router.clone(), shutdown.clone());
        shutdown.spawn("gateway/connection", async move {
            connection(socket, router, receive_time_max, &stop).await;
            drop(place);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, _) = listener.accept().await?;
    socket.set_nodelay(true)?;
    Ok((socket, place))
}

async fn connection(socket: TcpStream, router: Router, receive_time_max: Duration, shutdown: &Shutdown) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(receive_time_max)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .max_concurrent_streams(STREAM_COUNT_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    let serving = builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let served = tokio::select! {
        biased;
        () = shutdown.begun() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
        served = serving.as_mut() => served,
    };
    if let Err(error) = served {
        // A client that goes away or does not speak HTTP is its own business.
        tracing::debug!(%error, "connection ended");
    }
}
