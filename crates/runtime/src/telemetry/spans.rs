//! Spans: who did what, when, and because of what.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Link, Span as _, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use trunkline_domain::vocabulary::Timestamp;

use super::{Telemetry, Traceparent};

/// A piece of work in a trace. Ends when dropped.
pub struct Span {
    /// Absent when telemetry is off.
    inner: Option<Mutex<opentelemetry_sdk::trace::Span>>,
    traceparent: String,
}

impl Telemetry {
    /// Begins a span now. `parent` is a `traceparent` text; a span whose parent is empty, or not one, begins a trace.
    /// `name` is one of [`super::names`].
    pub fn span(&self, name: &'static str, parent: &str) -> Span {
        self.begin(name, parent, None, SpanKind::Internal)
    }

    /// As [`Telemetry::span`], for work that began at `started_at`: what is known only when it is over.
    pub fn span_at(&self, name: &'static str, parent: &str, started_at: Timestamp) -> Span {
        self.begin(name, parent, Some(started_at), SpanKind::Internal)
    }

    /// As [`Telemetry::span`], for a request that is answered here.
    pub fn server_span(&self, name: &'static str, parent: &str) -> Span {
        self.begin(name, parent, None, SpanKind::Server)
    }

    /// As [`Telemetry::span`], for a request that is made of somebody else.
    pub fn client_span(&self, name: &'static str, parent: &str) -> Span {
        self.begin(name, parent, None, SpanKind::Client)
    }

    fn begin(&self, name: &'static str, parent: &str, at: Option<Timestamp>, kind: SpanKind) -> Span {
        let Some(tracer) = &self.tracer else {
            return Span { inner: None, traceparent: parent.to_owned() };
        };
        let context = match Traceparent::parse(parent) {
            Some(parent) => Context::new().with_remote_span_context(parent.into_context()),
            None => Context::new(),
        };
        let mut builder = tracer.span_builder(name).with_kind(kind);
        if let Some(at) = at {
            builder = builder.with_start_time(system_time(at));
        }
        let span = tracer.build_with_context(builder, &context);
        let traceparent = Traceparent::of(span.span_context()).map_or(String::new(), |it| it.to_string());
        Span { inner: Some(Mutex::new(span)), traceparent }
    }
}

impl Span {
    /// What children name as their parent. When telemetry is off, the span's own parent.
    pub fn traceparent(&self) -> String {
        self.traceparent.clone()
    }

    /// Sets an attribute; `key` is one of [`super::names`]. Never a telephone number, a name or a secret.
    pub fn set(&self, key: &'static str, value: impl Into<String>) {
        if let Some(mut span) = self.lock() {
            span.set_attribute(KeyValue::new(key, value.into()));
        }
    }

    /// Sets an attribute that is a number.
    pub fn set_number(&self, key: &'static str, value: i64) {
        if let Some(mut span) = self.lock() {
            span.set_attribute(KeyValue::new(key, value));
        }
    }

    /// Names another trace's span that this one depends on.
    pub fn link(&self, traceparent: &str) {
        if let (Some(mut span), Some(other)) = (self.lock(), Traceparent::parse(traceparent)) {
            let link = Link::with_context(other.into_context());
            span.add_link(link.span_context, link.attributes);
        }
    }

    /// Notes that something happened, now.
    pub fn event(&self, name: &'static str) {
        if let Some(mut span) = self.lock() {
            span.add_event(Cow::Borrowed(name), Vec::new());
        }
    }

    /// The work failed, and why.
    pub fn fail(&self, why: &str) {
        if let Some(mut span) = self.lock() {
            span.set_status(Status::error(why.to_owned()));
        }
    }

    /// Ends it at a time other than now.
    pub fn end_at(self, at: Timestamp) {
        if let Some(mut span) = self.lock() {
            span.end_with_timestamp(system_time(at));
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, opentelemetry_sdk::trace::Span>> {
        Some(self.inner.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn system_time(at: Timestamp) -> SystemTime {
    let span = Duration::from_millis(at.0.unsigned_abs());
    let time = if at.0 >= 0 { UNIX_EPOCH.checked_add(span) } else { UNIX_EPOCH.checked_sub(span) };
    time.unwrap_or(UNIX_EPOCH)
}
