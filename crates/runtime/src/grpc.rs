//! Server and client builders with deadlines, and the one map from rejection to status.

use std::time::Duration;

use http::Uri;
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status};
use tonic_health::ServingStatus;

use crate::health::Health;
use crate::shutdown::Shutdown;

/// The largest message a server decodes, in bytes. A generated server that takes other than small messages says so with
/// `max_decoding_message_size(MESSAGE_BYTES_MAX)`; it is also tonic's default.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a server works on one request before it answers with CANCELLED, unless the request's own deadline is shorter.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
/// The deadline of a request whose caller sets none.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(5);
/// How long a server that is asked to end waits for what is under way. A connection to somebody who is gone without a word
/// has something under way for ever.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// How often a connection is asked whether somebody is there, and how long the answer may take.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
const ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// The metadata key of the machine-readable reason.
pub const REASON_KEY: &str = "trunkline-reason";

/// Why a server ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket cannot be used.
    #[error("could not listen for gRPC")]
    Listen(#[source] std::io::Error),
    /// The server failed.
    #[error("could not serve gRPC")]
    Serve(#[source] tonic::transport::Error),
}

/// Serves `routes` and `grpc.health.v1.Health` on an open socket until shutdown begins, then finishes what is under way,
/// for no longer than [`DRAIN_TIME_MAX`].
///
/// The health service answers for the process as a whole (service name empty) as `health` has it.
///
/// # Errors
/// When the socket cannot be used or the server fails.
pub async fn serve(
    listener: std::net::TcpListener,
    routes: Routes,
    health: &Health,
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    listener.set_nonblocking(true).map_err(ServeError::Listen)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(ServeError::Listen)?;
    // The builder's own setting counts only for sockets it binds itself; without it a small answer waits 40 ms for an ACK.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let (reporter, health_server) = tonic_health::server::health_reporter();
    let mut ready = health.watch();
    let report = async {
        loop {
            let status =
                if *ready.borrow_and_update() { ServingStatus::Serving } else { ServingStatus::NotServing };
            reporter.set_service_status("", status).await;
            if ready.changed().await.is_err() {
                return std::future::pending::<()>().await;
            }
        }
    };
    let server = Server::builder()
        .timeout(REQUEST_TIME_MAX)
        .initial_connection_window_size(UNREAD_BYTES_MAX)
        // Who gives up before it was heard is a client of ours in a flood, not a stranger; so many of them are remembered.
        .http2_max_pending_accept_reset_streams(Some(UNHEARD_COUNT_MAX))
        .http2_max_local_error_reset_streams(None)
        .http2_keepalive_interval(Some(ALIVE_EVERY))
        .http2_keepalive_timeout(Some(ALIVE_WITHIN))
        .trace_fn(|request| tracing::debug_span!("rpc", method = request.uri().path()))
        .add_routes(routes.add_service(health_server))
        .serve_with_incoming_shutdown(incoming, shutdown.begun());
    let overdue = async {
        shutdown.begun().await;
        tokio::time::sleep(DRAIN_TIME_MAX).await;
    };
    tokio::select! {
        biased;
        served = server => served.map_err(ServeError::Serve),
        () = report => Ok(()),
        () = overdue => {
            tracing::warn!("ends with connections that somebody neither uses nor closes");
            Ok(())
        }
    }
}

/// A connection to `host:port`, made when first used and again when lost. Requests have [`DEADLINE_DEFAULT`] unless they
/// carry a shorter one ([`tonic::Request::set_timeout`]).
///
/// An address that is none gives a channel on which every request fails with UNAVAILABLE; configuration refuses such
/// addresses before ([`address_error`]).
pub fn channel(address: &str) -> Channel {
    channel_with_deadline(address, DEADLINE_DEFAULT)
}

/// As [`channel`], with another default deadline.
pub fn channel_with_deadline(address: &str, deadline: Duration) -> Channel {
    endpoint(address, deadline).connect_lazy()
}

/// As [`channel`], with a connection that is given up when nobody has answered on it for `silent_max`, as after a network was
/// cut: TCP alone would go on trying on it at ever longer intervals.
pub fn channel_given_up_after(address: &str, silent_max: Duration) -> Channel {
    endpoint(address, DEADLINE_DEFAULT)
        .http2_keep_alive_interval(silent_max / 2)
        .keep_alive_timeout(silent_max / 2)
        .connect_timeout(silent_max)
        .connect_lazy()
}

/// What of one connection may have come and not been read. The library closes a connection on which so many small messages lie
/// unread that their frames alone would come to half of this, 256 bytes each: with its own megabyte, after 5,000 requests
/// that a process had no time for yet, and with them everybody else's.
const UNREAD_BYTES_MAX: u32 = 32 << 20;

/// Requests of one connection that were given up before the server had time for them: with more, the library closes it.
const UNHEARD_COUNT_MAX: usize = 100_000;

/// Requests of one connection that were given up and may still be answered: so many are remembered.
const GIVEN_UP_COUNT_MAX: usize = 1_024;

fn endpoint(address: &str, deadline: Duration) -> Endpoint {
    let uri = uri_of(address).unwrap_or_else(|| Uri::from_static("http://address.invalid:1"));
    Endpoint::from(uri)
        .connect_timeout(CONNECT_TIME_MAX)
        .timeout(deadline)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(ALIVE_EVERY)
        .keep_alive_timeout(ALIVE_WITHIN)
        // An answer that comes after its caller gave up may be counted as an error of the stream, and after a thousand of them
        // the library closes the connection under everybody else. It is meant against strangers.
        .initial_connection_window_size(UNREAD_BYTES_MAX)
        .http2_max_concurrent_reset_streams(GIVEN_UP_COUNT_MAX)
        .http2_max_local_error_reset_streams(None)
}

fn uri_of(address: &str) -> Option<Uri> {
    let uri: Uri = format!("http://{address}/").parse().ok()?;
    (uri.host().is_some_and(|host| !host.is_empty()) && uri.port_u16().is_some() && uri.path() == "/")
        .then_some(uri)
}

/// What is wrong with an address that should be `host:port`; `None` when nothing is.
pub fn address_error(address: &str) -> Option<String> {
    uri_of(address).is_none().then(|| format!("`{address}` is not an address of the form host:port"))
}

/// Why the rules said no, as far as a caller acts on it. Closed: a new kind is a decision about the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RejectionKind {
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// The request is wrong whatever the state.
    InvalidArgument,
    /// The state does not allow it now; another request must come first.
    FailedPrecondition,
    /// It exists already.
    AlreadyExists,
    /// Somebody else was first; read again and decide again.
    Conflict,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// The caller is not known.
    Unauthenticated,
    /// A named limit is reached.
    ResourceExhausted,
    /// It cannot be answered now and may be later; the same request may be sent again.
    Unavailable,
}

impl RejectionKind {
    /// Every kind.
    pub const ALL: [RejectionKind; 9] = [
        RejectionKind::NotFound,
        RejectionKind::InvalidArgument,
        RejectionKind::FailedPrecondition,
        RejectionKind::AlreadyExists,
        RejectionKind::Conflict,
        RejectionKind::PermissionDenied,
        RejectionKind::Unauthenticated,
        RejectionKind::ResourceExhausted,
        RejectionKind::Unavailable,
    ];

    /// The gRPC code. The one map; no catch-all arm.
    pub const fn code(self) -> Code {
        match self {
            RejectionKind::NotFound => Code::NotFound,
            RejectionKind::InvalidArgument => Code::InvalidArgument,
            RejectionKind::FailedPrecondition => Code::FailedPrecondition,
            RejectionKind::AlreadyExists => Code::AlreadyExists,
            RejectionKind::Conflict => Code::Aborted,
            RejectionKind::PermissionDenied => Code::PermissionDenied,
            RejectionKind::Unauthenticated => Code::Unauthenticated,
            RejectionKind::ResourceExhausted => Code::ResourceExhausted,
            RejectionKind::Unavailable => Code::Unavailable,
        }
    }
}

/// A rejection of a service's rules that can go over the wire. Its `Display` is the message.
pub trait Refusal: std::fmt::Display {
    /// What a caller does about it.
    fn kind(&self) -> RejectionKind;
    /// The machine-readable reason, upper snake case, as `OFFER_EXPIRED`. Part of the contract: never changed.
    fn reason(&self) -> &'static str;
}

/// The status of a rejection.
pub fn refuse(refusal: &impl Refusal) -> Status {
    status_of(refusal.kind(), refusal.reason(), refusal.to_string())
}

/// The status of a rejection of `kind`, with `reason` (upper snake case, as `OFFER_EXPIRED`) in the metadata
/// `trunkline-reason` and `message` in words.
pub fn status_of(kind: RejectionKind, reason: &'static str, message: impl Into<String>) -> Status {
    debug_assert!(well_formed(reason), "a reason is upper snake case: {reason}");
    let mut status = Status::new(kind.code(), message);
    if let Ok(value) = MetadataValue::try_from(reason) {
        status.metadata_mut().insert(REASON_KEY, value);
    }
    status
}

/// Whether a machine-readable reason has the one form: words of capital letters and digits, the first a letter's,
/// joined by single underscores.
pub fn well_formed(reason: &str) -> bool {
    reason.starts_with(|first: char| first.is_ascii_uppercase())
        && reason.split('_').all(|word| {
            !word.is_empty() && word.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
        })
}

/// The machine-readable reason of a status; `None` when it has none.
pub fn reason_of(status: &Status) -> Option<&str> {
    status.metadata().get(REASON_KEY)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_has_its_own_code_and_carries_its_reason() {
        let codes: BTreeSet<i32> = RejectionKind::ALL.iter().map(|kind| kind.code() as i32).collect();
        assert_eq!(codes.len(), RejectionKind::ALL.len());
        let status = status_of(RejectionKind::FailedPrecondition, "NOT_READY", "agent is not ready");
        assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "agent is not ready"));
        assert_eq!(reason_of(&status), Some("NOT_READY"));
        assert_eq!(reason_of(&Status::internal("x")), None);
    }

    #[test]
    fn a_reason_is_upper_snake_case() {
        for good in ["NOT_READY", "OVERLOADED", "TTL_OUT_OF_BOUNDS", "Q850"] {
            assert!(well_formed(good), "{good}");
        }
        for bad in
            ["", "not_ready", "Not_Ready", "NOT-READY", "NOT__READY", "_NOT", "NOT_", "8_BIT", "NOT READY"]
        {
            assert!(!well_formed(bad), "{bad}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7401", "[::1]:7401", "routing.trunkline.svc:80"] {
            assert_eq!(address_error(good), None, "{good}");
        }
        for bad in ["", "127.0.0.1", "a b:1", ":80", "host:port", "host:99999", "host:1/path"] {
            assert!(address_error(bad).is_some(), "{bad}");
        }
    }
}
