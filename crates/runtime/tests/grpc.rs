//! A gRPC server ends when it is asked to, whoever is connected to it, and closes nobody's connection for being busy.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

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

/// A frame of HTTP/2 (RFC 9113, §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// Its kind, its flags and what is in it.
async fn read_frame(from: &mut TcpStream) -> (u8, u8, Vec<u8>) {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload).await.unwrap();
    (head[3], head[4], payload)
}

/// The library closes a connection on which too many small messages lie unread, as they do when a process has no time; a
/// client of ours has thousands under way.
#[tokio::test]
async fn ten_thousand_small_messages_that_nobody_has_read_yet_close_no_connection() {
    const HEADERS: u8 = 1;
    const DATA: u8 = 0;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GO_AWAY: u8 = 7;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (health, shutdown) = (Health::new(), Shutdown::new());
    let ends = shutdown.clone();
    // Whoever is asked for this path keeps what comes and looks at none of it.
    let busy = axum::routing::post(|body: axum::body::Body| async move {
        std::future::pending::<()>().await;
        drop(body);
    });
    let routes = Routes::from(axum::Router::new().route("/busy", busy));
    let server = tokio::spawn(async move { grpc::serve(listener, routes, &health, &ends).await });

    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(PREFACE).await.unwrap();
    // The server's SETTINGS, whose windows count once they are acknowledged.
    read_frame(&mut client).await;
    client.write_all(&frame(SETTINGS, 1, 0, &[])).await.unwrap();
    // POST, http, a path that is not indexed (RFC 7541, §6.2.2 and appendix A).
    let headers = [&[0x83, 0x86, 0x04, 5][..], b"/busy"].concat();
    client.write_all(&frame(HEADERS, 0x4, 1, &headers)).await.unwrap();
    let messages: Vec<u8> = (0..10_000).flat_map(|_| frame(DATA, 0, 1, b"0123456789")).collect();
    client.write_all(&messages).await.unwrap();
    client.write_all(&frame(PING, 0, 0, b"all seen")).await.unwrap();
    // Whatever the server says before it has seen the ping.
    let answered = timeout(DRAIN_TIME_MAX * 3, async {
        loop {
            let (kind, flags, payload) = read_frame(&mut client).await;
            match (kind, flags & 1) {
                (GO_AWAY, _) => return Err(String::from_utf8_lossy(&payload[8..]).into_owned()),
                (PING, 1) if payload == b"all seen" => return Ok(()),
                _ => {}
            }
        }
    });
    assert_eq!(answered.await.expect("the server answers"), Ok(()));
    drop(client);
    shutdown.begin();
    timeout(DRAIN_TIME_MAX * 3, server).await.expect("the server does not end").unwrap().unwrap();
}

#[test]
fn an_exhaustion_without_a_reason_of_ours_is_nobody_s_decision() {
    use grpc::{RejectionKind, status_of};
    use trunkline_runtime::agent_state_client::undecided;

    assert!(undecided(&tonic::Status::resource_exhausted("h2 protocol error")));
    assert!(!undecided(&status_of(RejectionKind::ResourceExhausted, "TOO_MANY_WISHES", "at most 256")));
}
