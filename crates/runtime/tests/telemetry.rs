//! Spans arrive at a collector under their service's name with the right parents; nothing else leaves.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use trunkline_domain::vocabulary::Timestamp;
use trunkline_runtime::grpc;
use trunkline_runtime::health::Health;
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::names::{attribute, span};
use trunkline_runtime::telemetry::{Telemetry, TelemetryConfig, Traceparent, extract, inject};

/// A span as it arrived.
#[derive(Debug, Clone)]
struct Arrived {
    service: String,
    trace: String,
    id: String,
    parent: String,
    attributes: BTreeMap<String, String>,
    failed: bool,
    started_at_ns: u64,
    ended_at_ns: u64,
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<BTreeMap<String, Arrived>>>);

fn text(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |it: &KeyValue| match it.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    };
    attributes.iter().map(|it| (it.key.clone(), value(it))).collect()
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for resource in request.into_inner().resource_spans {
            let of = text(&resource.resource.map(|it| it.attributes).unwrap_or_default());
            for it in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let arrived = Arrived {
                    service: of.get("service.name").cloned().unwrap_or_default(),
                    trace: hex(&it.trace_id),
                    id: hex(&it.span_id),
                    parent: hex(&it.parent_span_id),
                    attributes: text(&it.attributes),
                    failed: it.status.is_some_and(|status| status.code() == StatusCode::Error),
                    started_at_ns: it.start_time_unix_nano,
                    ended_at_ns: it.end_time_unix_nano,
                };
                self.0.lock().unwrap().insert(it.name, arrived);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    fn serve(&self, shutdown: &Shutdown) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = Routes::new(TraceServiceServer::new(self.clone()));
        let stop = shutdown.clone();
        shutdown.spawn("collector", async move {
            grpc::serve(listener, routes, &Health::new(), &stop).await.unwrap();
        });
        endpoint
    }

    fn span(&self, name: &str) -> Arrived {
        let spans = self.0.lock().unwrap();
        spans.get(name).unwrap_or_else(|| panic!("{name} in {:?}", spans.keys())).clone()
    }
}

fn config(endpoint: String) -> TelemetryConfig {
    TelemetryConfig { otlp_endpoint: endpoint, ..TelemetryConfig::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_story_over_three_services_is_one_trace_with_the_right_parents() {
    let (collector, shutdown) = (Collector::default(), Shutdown::new());
    let media = Telemetry::start(&config(collector.serve(&shutdown)), "media", "nod_a").unwrap();
    let (routing, billing) = (media.for_service("routing"), media.for_service("billing"));

    let contact = media.span(span::CONTACT, "");
    contact.set(attribute::CONTACT_ID, "ctc_1");
    // To routing in a record's header, which is text.
    let queue = routing.span(span::QUEUE, &contact.traceparent());
    queue.fail("nobody is there");
    // To billing in a request's metadata.
    let mut request = Request::new(());
    inject(&mut request, &queue.traceparent());
    let item = billing.span_at(span::RATE, &extract(&request), Timestamp(1_000));
    item.end_at(Timestamp(3_000));
    drop(queue);
    drop(contact);
    media.flush().await;

    let (contact, queue, item) =
        (collector.span(span::CONTACT), collector.span(span::QUEUE), collector.span(span::RATE));
    assert_eq!([&contact.service, &queue.service, &item.service], ["media", "routing", "billing"]);
    assert!(queue.trace == contact.trace && item.trace == contact.trace);
    assert_eq!((contact.parent.as_str(), &queue.parent, &item.parent), ("", &contact.id, &queue.id));
    assert_eq!(contact.attributes[attribute::CONTACT_ID], "ctc_1");
    assert_eq!((contact.failed, queue.failed), (false, true));
    assert_eq!((item.started_at_ns, item.ended_at_ns), (1_000_000_000, 3_000_000_000));
    assert!(shutdown.drained(std::time::Duration::from_secs(60)).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_nobody_anything() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let config = TelemetryConfig { flush_ms_max: 200, ..config(nobody) };
    let telemetry = Telemetry::start(&config, "media", "nod_a").unwrap();
    for _ in 0..10_000 {
        drop(telemetry.span(span::CONTACT, ""));
    }
    telemetry.flush().await;
}

#[tokio::test]
async fn without_a_collector_spans_still_have_names_to_pass_on_and_when_off_they_pass_on_their_parents() {
    let telemetry = Telemetry::start(&config(String::new()), "media", "nod_a").unwrap();
    let root = telemetry.span(span::CONTACT, "not a traceparent");
    let child = telemetry.span(span::QUEUE, &root.traceparent());
    let (root, child) = (root.traceparent(), child.traceparent());
    let trace = |text: &str| Traceparent::parse(text).unwrap().trace_id();
    assert!(root != child && trace(&root) == trace(&child));
    assert_eq!(Telemetry::off().span(span::QUEUE, &root).traceparent(), root);
    telemetry.flush().await;
}

#[test]
fn a_wrong_setting_is_named() {
    let check = |change: fn(&mut TelemetryConfig)| {
        let mut config = TelemetryConfig::default();
        change(&mut config);
        config.check().unwrap_err()
    };
    assert!(check(|it| it.log_filter = "a=b=c".to_owned()).starts_with("log_filter: "));
    assert!(check(|it| it.otlp_endpoint = "127.0.0.1:4317".to_owned()).starts_with("otlp_endpoint: "));
    assert!(check(|it| it.flush_ms_max = 0).starts_with("flush_ms_max: "));
    assert_eq!(TelemetryConfig::default().check(), Ok(()));
}
