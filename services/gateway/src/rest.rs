//! A request over HTTP: who asks, for what, and what comes back.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use serde_json::json;
use trunkline_runtime::telemetry::names::{self, attribute, span};
use trunkline_runtime::telemetry::{Span, TRACEPARENT, Traceparent};

use crate::keys::Caller;
use crate::problem::Problem;
use crate::surface::{Body as BodyRule, Bound, Found, Route};
use crate::{BODY_BYTES_MAX, Gateway, events, passthrough, transcode};

/// The document of what can be called. Needs no key: it says nothing about anybody.
pub(crate) async fn openapi(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], gateway.openapi.clone())
}

/// Whose key it is and which companies it sees, for the page.
pub(crate) async fn session(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    let caller = match gateway.caller(&headers) {
        Ok(caller) => caller,
        Err(problem) => return problem.into_response(),
    };
    let scope = match caller {
        Caller::Operator => "operator",
        Caller::Company(_) => "company",
    };
    let companies = gateway.keys.read().companies(&caller, gateway.platform.clock.now());
    let companies: Vec<_> =
        companies.into_iter().map(|(id, name)| json!({ "companyId": id, "companyName": name })).collect();
    fresh_json(json!({ "scope": scope, "companies": companies }).to_string())
}

/// Everything else: gRPC by its content type, REST by the annotations.
pub(crate) async fn handle(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    let started = Instant::now();
    let method = request.method().to_string();
    let span = gateway.platform.telemetry.server_span(span::HTTP_REQUEST, &traceparent(request.headers()));
    span.set(attribute::HTTP_METHOD, &method);
    let response = if passthrough::grpc(request.headers()) {
        passthrough::handle(&gateway, request, &span).await
    } else {
        rest(&gateway, request, &span).await.unwrap_or_else(Problem::into_response)
    };
    let status = response.status();
    span.set_number(attribute::HTTP_STATUS, i64::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status.as_str());
    }
    // Methods of our own, so that a client cannot make series.
    let method = if gateway.surface.routes.iter().any(|route| route.method == *method) {
        method
    } else {
        "other".to_owned()
    };
    let telemetry = &gateway.platform.telemetry;
    telemetry.counter(names::HTTP_REQUESTS, &[("method", &method), ("status", status.as_str())]).inc();
    telemetry.histogram(names::HTTP_REQUEST_DURATION, &[("method", &method)]).observe(started.elapsed());
    response
}

async fn rest(gateway: &Arc<Gateway>, request: Request<Body>, span: &Span) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    let caller = gateway.caller(&head.headers)?;
    let (route, bound) = match gateway.surface.find(&head.method, head.uri.path()) {
        Found::Route(route, bound) if may_use(&caller, route, &bound) => (route, bound),
        Found::OtherMethods(routes, bound) if routes.iter().any(|route| may_use(&caller, route, &bound)) => {
            let allow: Vec<String> = routes.iter().map(|route| route.method.to_string()).collect();
            return Err(Problem::method_not_allowed(&allow));
        }
        Found::Route(..) | Found::OtherMethods(..) | Found::Nothing => return Err(Problem::nothing()),
    };
    span.set(attribute::HTTP_ROUTE, &route.template);
    let body = match route.body {
        BodyRule::None => Bytes::new(),
        BodyRule::Whole | BodyRule::Field(_) => receive(gateway, &head.headers, body).await?,
    };
    let mut message = transcode::request(route, &bound, head.uri.query().unwrap_or_default(), &body)?;
    let service = route.service.name();
    if route.streams() {
        events::resume(&mut message, &head.headers)?;
        let opened = gateway.upstreams.open(route, message, &span.traceparent()).await;
        let messages = opened.map_err(|status| Problem::of(service, &status))?;
        return Ok(events::response(gateway, route, messages));
    }
    let answer = gateway.upstreams.call(route, message, &span.traceparent()).await;
    let answer = answer.map_err(|status| Problem::of(service, &status))?;
    let text = transcode::json(&answer).map_err(|error| {
        tracing::error!(service, %error, "could not put an answer into JSON");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "INTERNAL",
            format!("{service} answered something strange"),
        )
    })?;
    Ok(fresh_json(text))
}

impl Gateway {
    /// Whose key it is.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        if !self.following.is_ready() {
            let detail = "the gateway does not know the keys now";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", detail));
        }
        self.keys.read().caller(headers, self.platform.clock.now()).ok_or_else(Problem::unauthenticated)
    }
}

/// Whether a caller may use a route: the operator every one, a company those of its own.
fn may_use(caller: &Caller, route: &Route, bound: &Bound) -> bool {
    match caller {
        Caller::Operator => true,
        Caller::Company(_) => {
            route.company_scoped()
                && bound.iter().any(|(field, text)| field == "company_id" && caller.sees(text))
        }
    }
}

/// The body, whole.
async fn receive(gateway: &Gateway, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let too_large = || {
        let detail = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail)
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX as u64) {
        return Err(too_large());
    }
    let bytes = match tokio::time::timeout(
        gateway.receive_time_max,
        axum::body::to_bytes(body, BODY_BYTES_MAX),
    )
    .await
    {
        Ok(Ok(bytes)) => bytes,
        // The two ways this fails are the limit and a client that went away; the second never sees the answer.
        Ok(Err(_)) => return Err(too_large()),
        Err(_) => {
            let detail = "the body did not arrive in time";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "BODY_TOO_SLOW", detail));
        }
    };
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default());
    let json = kind.is_some_and(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    if !bytes.is_empty() && !json {
        let detail = "the body must be application/json";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "NOT_JSON", detail));
    }
    Ok(bytes)
}

/// The trace a client is in; empty when it says none.
fn traceparent(headers: &HeaderMap) -> String {
    let text = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Traceparent::parse(text).map(|it| it.to_string()).unwrap_or_default()
}

fn fresh_json(text: String) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
