//! W3C Trace Context through gRPC metadata, log headers and facts.

use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use tonic::metadata::MetadataValue;

/// The metadata key and log header of the context (W3C Trace Context §3.2).
pub const TRACEPARENT: &str = "traceparent";

/// A valid `traceparent`: version 00, trace id, parent id, flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traceparent(SpanContext);

impl Traceparent {
    /// Reads the text form; `None` when it is not one (W3C Trace Context §3.2.2: ids are lower-case hex and not all
    /// zero, version ff is invalid, later versions are read by their first four fields).
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let hex = |field: &str, length| {
            field.len() == length && field.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !hex(version, 2) || !hex(trace, 32) || !hex(span, 16) || !hex(flags, 2) {
            return None;
        }
        if version == "ff" || (version == "00" && fields.next().is_some()) {
            return None;
        }
        let context = SpanContext::new(
            TraceId::from_hex(trace).ok()?,
            SpanId::from_hex(span).ok()?,
            TraceFlags::new(u8::from_str_radix(flags, 16).ok()? & 1),
            true,
            TraceState::NONE,
        );
        context.is_valid().then_some(Self(context))
    }

    pub(super) fn of(context: &SpanContext) -> Option<Self> {
        context.is_valid().then(|| Self(context.clone()))
    }

    pub(super) fn into_context(self) -> SpanContext {
        self.0
    }

    /// The trace's id, 32 hex digits.
    pub fn trace_id(&self) -> String {
        self.0.trace_id().to_string()
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.0.trace_flags().to_u8() & 1;
        write!(f, "00-{}-{}-{flags:02x}", self.0.trace_id(), self.0.span_id())
    }
}

/// Puts the context into a request. A text that is no `traceparent` is left out.
pub fn inject<T>(request: &mut tonic::Request<T>, traceparent: &str) {
    if Traceparent::parse(traceparent).is_none() {
        return;
    }
    if let Ok(value) = MetadataValue::try_from(traceparent) {
        request.metadata_mut().insert(TRACEPARENT, value);
    }
}

/// The context a request came with; empty when it has none that is valid.
pub fn extract<T>(request: &tonic::Request<T>) -> String {
    let text = request.metadata().get(TRACEPARENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    if Traceparent::parse(text).is_some() { text.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_survives_its_way_through_a_request_and_garbage_does_not() {
        let mut request = tonic::Request::new(());
        inject(&mut request, VALID);
        assert_eq!(extract(&request), VALID);
        let mut bare = tonic::Request::new(());
        inject(&mut bare, "garbage");
        assert_eq!(extract(&bare), "");
        assert_eq!(Traceparent::parse(VALID).unwrap().to_string(), VALID);
    }

    #[test]
    fn a_text_that_is_no_traceparent_is_refused() {
        let later = format!("cc{}-what-the-future-brings", &VALID[2..]);
        assert!(Traceparent::parse(&later).is_some());
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        ] {
            assert_eq!(Traceparent::parse(bad), None, "{bad}");
        }
    }
}
