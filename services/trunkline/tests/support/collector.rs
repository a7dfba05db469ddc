//! A collector of spans: OTLP over gRPC on a port of its own.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use trunkline_runtime::grpc;
use trunkline_runtime::health::Health;
use trunkline_runtime::shutdown::Shutdown;

/// A span as it arrived.
#[derive(Debug, Clone)]
pub struct Span {
    pub name: String,
    pub service: String,
    pub trace: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
}

/// Collects until the end of the test.
#[derive(Clone, Default)]
pub struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.map(|it| it.attributes).unwrap_or_default();
            let service = attributes.iter().find(|it| it.key == "service.name");
            let service = service.map(|it| format!("{:?}", it.value)).unwrap_or_default();
            let service = service.split('"').nth(1).unwrap_or_default().to_owned();
            for it in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                let span = Span {
                    name: it.name,
                    service: service.clone(),
                    trace: hex(&it.trace_id),
                    id: hex(&it.span_id),
                    parent: hex(&it.parent_span_id),
                };
                self.0.lock().unwrap().push(span);
            }
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Serves on a thread of its own; gives the endpoint.
    pub fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = Routes::new(TraceServiceServer::new(self.clone()));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(grpc::serve(listener, routes, &Health::new(), &Shutdown::new())).unwrap();
        });
        endpoint
    }

    /// Everything that arrived so far.
    pub fn spans(&self) -> Vec<Span> {
        self.0.lock().unwrap().clone()
    }
}
