//! gRPC on the same port: the annotated RPCs, with the same keys.

use axum::body::Body;
use axum::response::Response;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, StatusCode};
use prost_reflect::DynamicMessage;
use tonic::server::Grpc;
use tonic::{Code, Status};
use trunkline_runtime::grpc::{RejectionKind, status_of};
use trunkline_runtime::telemetry::Span;
use trunkline_runtime::telemetry::names::attribute;

use crate::codec::DynamicCodec;
use crate::keys::Caller;
use crate::problem::Problem;
use crate::surface::Route;
use crate::{BODY_BYTES_MAX, Gateway};

/// Whether a request is gRPC.
pub(crate) fn grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind == "application/grpc" || kind.starts_with("application/grpc+proto")
}

/// Answers a gRPC request: the same rules, the errors in gRPC's own form.
pub(crate) async fn handle(gateway: &Gateway, request: Request<Body>, span: &Span) -> Response {
    let answer = match admitted(gateway, &request) {
        Err(status) => status.into_http::<tonic::body::Body>(),
        Ok((caller, route)) if route.streams() => stream(gateway, request, &caller, route, span).await,
        Ok((caller, route)) => {
            span.set(attribute::HTTP_ROUTE, &route.template);
            let call = tower::service_fn(|request: tonic::Request<DynamicMessage>| async {
                let message = request.into_inner();
                if !may_ask(&caller, route, &message) {
                    return Err(nothing());
                }
                let answer = gateway.upstreams.call(route, message, &span.traceparent()).await;
                answer.map(tonic::Response::new).map_err(|status| outward(route, status))
            });
            let mut server = Grpc::new(DynamicCodec::decoding(route.rpc.input()))
                .max_decoding_message_size(BODY_BYTES_MAX);
            // The deadline of the upstream bounds the call; this one bounds a client that sends its message slowly.
            let time_max = gateway.receive_time_max + gateway.upstreams.time_max();
            match tokio::time::timeout(time_max, server.unary(call, request)).await {
                Ok(response) => response,
                Err(_) => Status::deadline_exceeded("the message did not arrive in time").into_http(),
            }
        }
    };
    answer.map(Body::new)
}

/// The same for an RPC that answers with a stream: only the beginning has a deadline.
async fn stream(
    gateway: &Gateway,
    request: Request<Body>,
    caller: &Caller,
    route: &Route,
    span: &Span,
) -> http::Response<tonic::body::Body> {
    span.set(attribute::HTTP_ROUTE, &route.template);
    let call = tower::service_fn(|request: tonic::Request<DynamicMessage>| async {
        let message = request.into_inner();
        if !may_ask(caller, route, &message) {
            return Err(nothing());
        }
        let opened = gateway.upstreams.open(route, message, &span.traceparent()).await;
        opened.map(tonic::Response::new).map_err(|status| outward(route, status))
    });
    let mut server =
        Grpc::new(DynamicCodec::decoding(route.rpc.input())).max_decoding_message_size(BODY_BYTES_MAX);
    let time_max = gateway.receive_time_max + gateway.upstreams.time_max();
    match tokio::time::timeout(time_max, server.server_streaming(call, request)).await {
        Ok(response) => response,
        Err(_) => Status::deadline_exceeded("the message did not arrive in time").into_http(),
    }
}

/// Who asks for which RPC. What is not there and what a company's key may never use look the same.
fn admitted<'a>(gateway: &'a Gateway, request: &Request<Body>) -> Result<(Caller, &'a Route), Status> {
    let caller = gateway.caller(request.headers()).map_err(|problem: Problem| match problem.status {
        StatusCode::UNAUTHORIZED => {
            status_of(RejectionKind::Unauthenticated, "UNAUTHENTICATED", problem.detail)
        }
        _ => status_of(RejectionKind::Unavailable, "NOT_READY", problem.detail),
    })?;
    match gateway.surface.rpc(request.uri().path()) {
        Some(route) if caller == Caller::Operator || route.company_scoped() => Ok((caller, route)),
        _ => Err(Status::unimplemented("there is nothing here for this key")),
    }
}

/// A company's key asks about its own company only, as the path would say over REST.
fn may_ask(caller: &Caller, route: &Route, message: &DynamicMessage) -> bool {
    match caller {
        Caller::Operator => true,
        Caller::Company(_) => {
            route.company_scoped()
                && message
                    .get_field_by_name("company_id")
                    .is_some_and(|company_id| company_id.as_str().is_some_and(|id| caller.sees(id)))
        }
    }
}

fn nothing() -> Status {
    status_of(RejectionKind::NotFound, "NOT_FOUND", Problem::nothing().detail)
}

/// What a client hears of a service's status: no inner details, and never that something is forbidden.
fn outward(route: &Route, status: Status) -> Status {
    match status.code() {
        Code::PermissionDenied | Code::Unauthenticated => nothing(),
        Code::Unknown | Code::Internal | Code::DataLoss | Code::Unavailable | Code::Cancelled => {
            let problem = Problem::of(route.service.name(), &status);
            let code = match status.code() {
                Code::Cancelled => Code::DeadlineExceeded,
                Code::Unavailable => Code::Unavailable,
                _ => Code::Internal,
            };
            Status::new(code, problem.detail)
        }
        _ => status,
    }
}
