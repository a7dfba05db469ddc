//! What a process says of itself over HTTP and gRPC.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::net::TcpListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::service::Routes;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use trunkline_runtime::grpc;
use trunkline_runtime::health::Health;
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::telemetry::{Telemetry, names, ops};

async fn get(address: &str, path: &str) -> (u16, String) {
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn readiness_names_every_component_that_is_not_ready_and_why() {
    let (health, telemetry, shutdown) = (Health::new(), Telemetry::off(), Shutdown::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = ops::serve(listener, health.clone(), telemetry.clone(), shutdown.clone());
    shutdown.spawn("ops", async move { server.await.unwrap() });

    let (fold, lease) = (health.component("billing/fold"), health.component("billing/lease"));
    fold.ready();
    lease.not_ready("waits for lease billing/0");
    let body = r#"{"ready":false,"reasons":[{"component":"billing/lease","reason":"waits for lease billing/0"}],"remarks":[]}"#;
    assert_eq!(get(&address, "/readyz").await, (503, body.to_owned()));
    assert_eq!(get(&address, "/livez").await, (200, r#"{"live":true}"#.to_owned()));
    lease.ready_with("stands by");
    let body =
        r#"{"ready":true,"reasons":[],"remarks":[{"component":"billing/lease","remark":"stands by"}]}"#;
    assert_eq!(get(&address, "/readyz").await, (200, body.to_owned()));

    telemetry.counter(names::ITEMS_RATED, &[]).add(3);
    let (status, body) = get(&address, "/metrics").await;
    assert!(status == 200 && body.contains("trunkline_billing_items_rated_total 3\n"), "{body}");
    assert_eq!(get(&address, "/nothing").await.0, 404);
    assert!(shutdown.drained(std::time::Duration::from_secs(60)).await.is_empty());
}

#[tokio::test]
async fn grpc_health_follows_readiness() {
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (stop, of) = (shutdown.clone(), health.clone());
    shutdown.spawn("grpc", async move {
        grpc::serve(listener, Routes::default(), &of, &stop).await.unwrap();
    });
    let mut client = HealthClient::new(grpc::channel(&address));
    let mut watch = client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    let mut until = async |wanted: ServingStatus| {
        while watch.message().await.unwrap().unwrap().status() != wanted {}
    };
    until(ServingStatus::NotServing).await;
    let component = health.component("directory/fold");
    component.ready();
    until(ServingStatus::Serving).await;
    component.not_ready("its log is quarantined");
    until(ServingStatus::NotServing).await;
}
