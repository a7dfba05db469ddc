//! SIP over TCP: connections in both directions, framed by Content-Length (RFC 3261 §18.3).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use rsipstack::transport::channel::ChannelConnection;
use rsipstack::transport::{SipConnection, TransportEvent};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::debug;

use super::message::{MESSAGE_LEN_MAX, find};
use super::stack::{Peer, Shared, Transport, lock};

/// How long a connection may be silent.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How long a connect or a write may take.
const STALL_MAX: Duration = Duration::from_secs(5);
/// Messages that may wait for a peer that does not read; one more closes the connection.
const WAITING_COUNT_MAX: usize = 1_024;

/// The open connections, by the peer's address.
#[derive(Default)]
pub(super) struct Flows(Mutex<BTreeMap<SocketAddr, Flow>>);

/// One open connection.
#[derive(Clone)]
pub(super) struct Flow {
    /// As the transaction layer knows it.
    pub connection: SipConnection,
    outgoing: mpsc::Sender<Vec<u8>>,
}

impl Flow {
    /// Queues bytes; drops them when the peer does not read, which its writer answers by closing.
    pub fn write(&self, bytes: Vec<u8>) {
        if self.outgoing.try_send(bytes).is_err() {
            debug!("a connection takes no more");
        }
    }
}

impl Flows {
    /// The open connection to an address, if there is one.
    pub fn open(&self, address: SocketAddr) -> Option<Flow> {
        lock(&self.0).get(&address).cloned()
    }
}

/// The connection to an address: the open one, or a new one.
///
/// Boxed, because what is read on a connection may need another one.
pub(super) fn flow(shared: &Arc<Shared>, address: SocketAddr) -> BoxFuture<'static, std::io::Result<Flow>> {
    let shared = Arc::clone(shared);
    Box::pin(async move {
        if let Some(flow) = shared.flows.open(address) {
            return Ok(flow);
        }
        let stream = tokio::time::timeout(STALL_MAX, TcpStream::connect(address)).await??;
        run(&shared, stream, address).await
    })
}

/// Takes connections in until the stack ends.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.token.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                if lock(&shared.flows.0).len() >= shared.config.connection_count_max {
                    shared.count("too many connections");
                } else if let Err(error) = run(&shared, stream, address).await {
                    debug!(%error, "could not take a connection");
                }
            }
            Err(error) => {
                // Out of descriptors: those who are connected go on, the next one waits a moment.
                debug!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn run(shared: &Arc<Shared>, stream: TcpStream, address: SocketAddr) -> std::io::Result<Flow> {
    stream.set_nodelay(true)?;
    let (read, write) = stream.into_split();
    let (_to_layer, from_layer) = rsipstack::platform::mpsc::unbounded_channel();
    let (events, layer_events) = rsipstack::platform::mpsc::unbounded_channel();
    let channel = ChannelConnection::create_connection(from_layer, events, address.into(), None)
        .await
        .map_err(|error| std::io::Error::other(error.to_string()))?;
    let (outgoing, queue) = mpsc::channel(WAITING_COUNT_MAX);
    let flow = Flow { connection: SipConnection::Channel(channel), outgoing };
    lock(&shared.flows.0).insert(address, flow.clone());
    let shared = Arc::clone(shared);
    let served = flow.clone();
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = shared.token.cancelled() => {}
            () = read_frames(&shared, read, address, &served) => {}
            () = write_frames(write, queue, layer_events) => {}
        }
        lock(&shared.flows.0).remove(&address);
    });
    Ok(flow)
}

async fn write_frames(
    mut write: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Vec<u8>>,
    mut layer: rsipstack::transport::connection::TransportReceiver,
) {
    loop {
        let bytes = tokio::select! {
            Some(bytes) = queue.recv() => bytes,
            event = layer.recv() => match event {
                Some(TransportEvent::Incoming(message, _, _)) => message.to_bytes(),
                Some(_) => continue,
                None => return,
            },
        };
        if layer.len() > WAITING_COUNT_MAX {
            return;
        }
        match tokio::time::timeout(STALL_MAX, write.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

async fn read_frames(shared: &Arc<Shared>, mut read: OwnedReadHalf, address: SocketAddr, flow: &Flow) {
    let source = Peer { address, transport: Transport::Tcp };
    let mut buffer: Vec<u8> = Vec::with_capacity(4_096);
    loop {
        while let Some(frame) = next_frame(&mut buffer) {
            match frame {
                Frame::Ping => flow.write(b"\r\n".to_vec()),
                Frame::Message(raw) => {
                    if let Some(answer) = shared.take(&raw, source).await {
                        flow.write(answer.to_bytes());
                    }
                }
                Frame::Broken(raw) => {
                    // Where the next message begins is unknown: answer if it can be, then hang up.
                    if let Some(answer) = shared.take(&raw, source).await {
                        flow.write(answer.to_bytes());
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    return;
                }
            }
        }
        match tokio::time::timeout(IDLE_MAX, read.read_buf(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) | Err(_) => return,
            Ok(Ok(_)) => {}
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Ping,
    Message(Vec<u8>),
    Broken(Vec<u8>),
}

/// Takes the next whole frame out of what was read.
fn next_frame(buffer: &mut Vec<u8>) -> Option<Frame> {
    if buffer.starts_with(b"\r\n\r\n") {
        buffer.drain(..4);
        return Some(Frame::Ping);
    }
    if buffer.starts_with(b"\r\n") && buffer.get(2).is_some_and(|byte| *byte != b'\r') {
        buffer.drain(..2);
    }
    let Some(head_len) = find(buffer, b"\r\n\r\n").map(|at| at + 4).filter(|len| *len > 4) else {
        return (buffer.len() > MESSAGE_LEN_MAX).then(|| Frame::Broken(std::mem::take(buffer)));
    };
    let length = match content_length(&buffer[..head_len]) {
        Ok(length) if length <= MESSAGE_LEN_MAX => length,
        _ => return Some(Frame::Broken(std::mem::take(buffer))),
    };
    let frame_len = head_len + length;
    (buffer.len() >= frame_len).then(|| Frame::Message(buffer.drain(..frame_len).collect()))
}

/// Content-Length of a head; 0 when there is none, which over TCP means no body.
fn content_length(head: &[u8]) -> Result<usize, ()> {
    for line in head.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line);
        if let Some((name, value)) = line.split_once(':') {
            let name = name.trim();
            if name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("l") {
                return value.trim().parse().map_err(|_| ());
            }
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_by_content_length_whatever_the_reads() {
        let stream = b"\r\n\r\nA\r\nl: 3\r\n\r\nabcB\r\n\r\nC\r\nContent-Length: x\r\n\r\nD";
        for step in 1..stream.len() {
            let (mut buffer, mut frames) = (Vec::new(), Vec::new());
            for chunk in stream.chunks(step) {
                buffer.extend_from_slice(chunk);
                while let Some(frame) = next_frame(&mut buffer) {
                    frames.push(frame);
                }
            }
            assert_eq!(frames[0], Frame::Ping);
            assert_eq!(frames[1], Frame::Message(b"A\r\nl: 3\r\n\r\nabc".to_vec()));
            assert_eq!(frames[2], Frame::Message(b"B\r\n\r\n".to_vec()));
            assert!(matches!(&frames[3], Frame::Broken(raw) if raw.starts_with(b"C\r\n")), "step {step}");
        }
    }
}
