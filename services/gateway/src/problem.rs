//! What went wrong, as RFC 9457 has it: `application/problem+json` with a machine-readable `reason`.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use tonic::{Code, Status};
use trunkline_runtime::grpc;

/// A request that was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Upper snake case; part of the contract.
    pub(crate) reason: String,
    /// One sentence for a person.
    pub(crate) detail: String,
    /// The methods that are there, for 405.
    allow: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: &str, detail: impl Into<String>) -> Self {
        Self { status, reason: reason.to_owned(), detail: detail.into(), allow: None }
    }

    /// No key, or one nobody knows.
    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UNAUTHENTICATED",
            "a known key is needed: Authorization: Bearer <key>",
        )
    }

    /// The one answer for everything a key does not see, whether it is there or not.
    pub(crate) fn nothing() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing here for this key")
    }

    pub(crate) fn invalid(reason: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, detail)
    }

    pub(crate) fn method_not_allowed(allow: &[String]) -> Self {
        let allow = allow.join(", ");
        let detail = format!("this path knows {allow} only");
        Self { allow: Some(allow), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail) }
    }

    /// A service's status. Codes map as in google/rpc/code.proto, except that PERMISSION_DENIED is 404, because a key
    /// must not learn what it may not see, and CANCELLED is 504, because only a deadline cancels here.
    pub(crate) fn of(service: &str, status: &Status) -> Self {
        let reason = |fallback: &str| grpc::reason_of(status).unwrap_or(fallback).to_owned();
        let told = |http, fallback| Self::new(http, &reason(fallback), status.message());
        match status.code() {
            Code::InvalidArgument => told(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT"),
            Code::FailedPrecondition => told(StatusCode::BAD_REQUEST, "FAILED_PRECONDITION"),
            Code::OutOfRange => told(StatusCode::BAD_REQUEST, "OUT_OF_RANGE"),
            Code::NotFound => told(StatusCode::NOT_FOUND, "NOT_FOUND"),
            Code::PermissionDenied | Code::Unauthenticated => Self::nothing(),
            Code::AlreadyExists => told(StatusCode::CONFLICT, "ALREADY_EXISTS"),
            Code::Aborted => told(StatusCode::CONFLICT, "CONFLICT"),
            Code::ResourceExhausted => told(StatusCode::TOO_MANY_REQUESTS, "RESOURCE_EXHAUSTED"),
            Code::Unimplemented => told(StatusCode::NOT_IMPLEMENTED, "UNIMPLEMENTED"),
            Code::DeadlineExceeded | Code::Cancelled => {
                let detail = format!("{service} did not answer in time");
                Self::new(StatusCode::GATEWAY_TIMEOUT, "DEADLINE_EXCEEDED", detail)
            }
            Code::Unavailable => {
                let detail = format!("{service} does not answer now");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, &reason("UNAVAILABLE"), detail)
            }
            Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => {
                // The details are for us, not for the client.
                tracing::error!(service, code = ?status.code(), message = status.message(), "service failed");
                let detail = format!("{service} failed at this request");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
            }
        }
    }
}

impl Problem {
    /// As JSON.
    pub(crate) fn json(&self) -> String {
        let title = self.status.canonical_reason().unwrap_or("Problem");
        let body = json!({
            "type": "about:blank",
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "reason": self.reason,
        });
        body.to_string()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        response
    }
}
