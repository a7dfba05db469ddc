//! A stream of answers over HTTP: server-sent events (WHATWG HTML, section 9.2), one message each, as JSON.
//!
//! A message that bears an index has it as its event id. Who reconnects sends it back in `Last-Event-ID`, as browsers do by
//! themselves, and hears what it missed.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream::unfold;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use tonic::Streaming;

use crate::problem::Problem;
use crate::surface::Route;
use crate::{Gateway, transcode};

/// What a client that was cut off sends.
const LAST_EVENT_ID: &str = "last-event-id";
/// The request's field it stands for, and the answer's field it is taken from.
const AFTER_INDEX: &str = "after_index";
const RAFT_INDEX: &str = "raft_index";

/// Lets a request go on behind the last event its client has seen, unless it says itself from where.
///
/// # Errors
/// When that is no index.
pub(crate) fn resume(message: &mut DynamicMessage, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(last) = headers.get(LAST_EVENT_ID) else { return Ok(()) };
    let Some(field) = message.descriptor().get_field_by_name(AFTER_INDEX) else { return Ok(()) };
    if message.has_field(&field) {
        return Ok(());
    }
    let index = last.to_str().ok().and_then(|text| text.trim().parse().ok());
    let index = index.ok_or_else(|| {
        Problem::invalid("INVALID_ARGUMENT", "Last-Event-ID is no index that was sent from here")
    })?;
    message.set_field(&field, Value::U64(index));
    Ok(())
}

/// The answer that goes on for as long as the service tells something and the client listens. It ends when the gateway
/// does, or when the service ends it: the last event then is `problem`.
pub(crate) fn response(
    gateway: &Arc<Gateway>,
    route: &Route,
    messages: Streaming<DynamicMessage>,
) -> Response {
    let (service, shutdown) = (route.service.name(), gateway.shutdown.clone());
    let events = unfold(Some(messages), move |messages| {
        let shutdown = shutdown.clone();
        async move {
            let mut messages = messages?;
            let next = tokio::select! {
                biased;
                () = shutdown.begun() => return None,
                next = messages.message() => next,
            };
            let (text, rest) = match next {
                Ok(Some(message)) => (event(&message), Some(messages)),
                Ok(None) => return None,
                Err(status) => {
                    let problem = Problem::of(service, &status);
                    (format!("event: problem\ndata: {}\n\n", problem.json()), None)
                }
            };
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(text)), rest))
        }
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Else a proxy in front collects events before it passes them on.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn event(message: &DynamicMessage) -> String {
    let index = message.get_field_by_name(RAFT_INDEX).and_then(|value| value.as_u64());
    let id = index.filter(|index| *index > 0).map(|index| format!("id: {index}\n")).unwrap_or_default();
    match transcode::json(message) {
        Ok(json) => format!("{id}data: {json}\n\n"),
        Err(error) => {
            tracing::error!(%error, "could not put a message into JSON");
            String::new()
        }
    }
}
