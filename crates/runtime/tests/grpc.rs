//! A gRPC server ends when it is asked to, whoever is connected to it.

use std::net::TcpListener;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::service::Routes;
use trunkline_runtime::grpc::{self, DRAIN_TIME_MAX};
use trunkline_runtime::health::Health;
use trunkline_runtime::shutdown::Shutdown;

/// What a client of HTTP/2 begins with (RFC 9113, §3.4), and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn who_is_connected_and_says_nothing_more_does_not_hold_up_the_end_of_a_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let ends = shutdown.clone();
    let server = tokio::spawn(async move { grpc::serve(listener, Routes::default(), &health, &ends).await });
    let mut silent = TcpStream::connect(address).await.unwrap();
    silent.write_all(PREFACE).await.unwrap();
    // The server's own SETTINGS: from here on it has the connection.
    silent.read_u8().await.unwrap();

    let begun = Instant::now();
    shutdown.begin();
    timeout(DRAIN_TIME_MAX * 3, server).await.expect("the server does not end").unwrap().unwrap();
    assert!(begun.elapsed() >= DRAIN_TIME_MAX, "it did not wait for the connection at all");
}
