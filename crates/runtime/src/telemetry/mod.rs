//! Log lines, traces and metrics.
//!
//! A contact is one trace from ring to invoice: spans are made with [`Telemetry::span`] from the W3C `traceparent` text
//! that comes in with a request ([`extract`]), a log header or a fact, and go out the same way ([`inject`]).
//! Names stand in [`names`] alone. No telephone number and no secret is ever an attribute or a field.

mod context;
mod logs;
pub mod metrics;
pub mod names;
pub mod ops;
mod spans;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use serde::Deserialize;

use crate::config::within;

pub use context::{TRACEPARENT, Traceparent, extract, inject};
pub use logs::{LogFormat, LogsError, start_logs};
pub use metrics::{Counter, Gauge, Histogram, Registry};
pub use spans::Span;

/// How log lines are written and where spans go. Section `telemetry`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// What is logged, as `info,trunkline_media=debug` (the syntax of tracing's EnvFilter).
    pub log_filter: String,
    /// Where spans are sent by OTLP over gRPC, as `http://127.0.0.1:4317`; empty for nowhere.
    pub otlp_endpoint: String,
    /// How long the last spans may take to leave at the end, in ms, 1 to 60,000.
    pub flush_ms_max: u64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Text,
            // openraft logs each failed message, several a second. What a person must know of it comes back as an error,
            // and agent-state says it once.
            log_filter: "info,openraft=off".to_owned(),
            otlp_endpoint: String::new(),
            flush_ms_max: 5_000,
        }
    }
}

impl TelemetryConfig {
    /// # Errors
    /// The key that is wrong, and why.
    pub fn check(&self) -> Result<(), String> {
        logs::check_filter(&self.log_filter).map_err(|why| format!("log_filter: {why}"))?;
        if !self.otlp_endpoint.is_empty() {
            let uri: http::Uri = self.otlp_endpoint.parse().map_err(|why| format!("otlp_endpoint: {why}"))?;
            if uri.scheme_str() != Some("http") || uri.host().is_none() {
                return Err("otlp_endpoint: expected an address of the form http://host:port".to_owned());
            }
        }
        within("flush_ms_max", self.flush_ms_max, 1..=60_000)
    }
}

/// Why telemetry did not start.
#[derive(Debug, thiserror::Error)]
#[error("could not set up the export of spans to {endpoint}: {reason}")]
pub struct TelemetryError {
    endpoint: String,
    reason: String,
}

/// Makes spans under one service's name, and metrics of the process. Cheap to clone.
#[derive(Clone)]
pub struct Telemetry {
    shared: Arc<Shared>,
    /// Absent when telemetry is off.
    tracer: Option<SdkTracer>,
}

struct Shared {
    /// Absent when telemetry is off.
    spans: Option<SpanSink>,
    registry: Registry,
}

struct SpanSink {
    /// One a service, because `service.name` is a property of the provider's resource.
    providers: Mutex<BTreeMap<&'static str, SdkTracerProvider>>,
    /// Empty for nowhere.
    endpoint: String,
    time_max: Duration,
    instance: String,
}

impl Telemetry {
    /// Starts telemetry for the service `name`. `instance` tells processes apart, as a node id.
    /// To be called inside a tokio runtime. Without an endpoint spans still have ids, so that facts can be told
    /// together, but go nowhere.
    ///
    /// # Errors
    /// When the exporter cannot be built from the endpoint. That nobody listens there is no error.
    pub fn start(
        config: &TelemetryConfig,
        name: &'static str,
        instance: &str,
    ) -> Result<Self, TelemetryError> {
        let sink = SpanSink {
            providers: Mutex::new(BTreeMap::new()),
            endpoint: config.otlp_endpoint.clone(),
            time_max: Duration::from_millis(config.flush_ms_max),
            instance: instance.to_owned(),
        };
        sink.exporter()?;
        let tracer = sink.tracer(name);
        let shared = Shared { spans: Some(sink), registry: Registry::new() };
        Ok(Self { shared: Arc::new(shared), tracer: Some(tracer) })
    }

    /// No spans: a span's `traceparent` is its parent's. Metrics are kept all the same. For tests and tools.
    pub fn off() -> Self {
        Self { shared: Arc::new(Shared { spans: None, registry: Registry::new() }), tracer: None }
    }

    /// The same process, with spans under another service's name.
    pub fn for_service(&self, name: &'static str) -> Self {
        let tracer = self.shared.spans.as_ref().map(|sink| sink.tracer(name));
        Self { shared: Arc::clone(&self.shared), tracer }
    }

    /// The metrics of the process.
    pub fn metrics(&self) -> &Registry {
        &self.shared.registry
    }

    /// The counter of that name and labels, made when first asked for. See [`Registry::counter`].
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.shared.registry.counter(name, labels)
    }

    /// The gauge of that name and labels, made when first asked for.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.shared.registry.gauge(name, labels)
    }

    /// The histogram of that name and labels, made when first asked for.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.shared.registry.histogram(name, labels)
    }

    /// Sends every ended span on, and waits for it at most `time_max` a service. Later spans go on as before.
    /// Says so in the log when some could not be sent.
    pub async fn flush(&self) {
        let Some(sink) = &self.shared.spans else { return };
        let providers: Vec<_> = {
            let providers = sink.providers.lock().unwrap_or_else(PoisonError::into_inner);
            providers.iter().map(|(name, provider)| (*name, provider.clone())).collect()
        };
        for (service, provider) in providers {
            // Blocks until the exporter's thread has answered.
            let flushed = tokio::task::spawn_blocking(move || provider.force_flush()).await;
            match flushed {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(service, %error, "could not send the last spans"),
                Err(error) => tracing::warn!(service, %error, "could not wait for the last spans"),
            }
        }
    }
}

impl SpanSink {
    fn tracer(&self, name: &'static str) -> SdkTracer {
        let mut providers = self.providers.lock().unwrap_or_else(PoisonError::into_inner);
        let provider = providers.entry(name).or_insert_with(|| self.provider(name));
        provider.tracer("trunkline")
    }

    fn provider(&self, name: &'static str) -> SdkTracerProvider {
        let resource = Resource::builder_empty()
            .with_service_name(name)
            .with_attributes([
                opentelemetry::KeyValue::new("service.namespace", "trunkline"),
                opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                opentelemetry::KeyValue::new("service.instance.id", self.instance.clone()),
            ])
            .build();
        let builder = SdkTracerProvider::builder().with_resource(resource);
        match self.exporter() {
            Ok(Some(exporter)) => builder.with_batch_exporter(exporter).build(),
            Ok(None) => builder.build(),
            Err(error) => {
                // It could be built when telemetry started, from the same settings.
                tracing::warn!(service = name, %error, "spans of this service go nowhere");
                builder.build()
            }
        }
    }

    /// One more exporter; `None` when spans go nowhere.
    fn exporter(&self) -> Result<Option<SpanExporter>, TelemetryError> {
        if self.endpoint.is_empty() {
            return Ok(None);
        }
        let built = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(self.endpoint.clone())
            .with_timeout(self.time_max)
            .build();
        built
            .map(Some)
            .map_err(|error| TelemetryError { endpoint: self.endpoint.clone(), reason: error.to_string() })
    }
}
