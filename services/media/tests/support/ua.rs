//! A SIP user agent of a few lines, on a real socket: it says what the test tells it and nothing by itself.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::UdpSocket;
use trunkline_media::sip::fields::NameAddr;
use trunkline_media::sip::message::{Message, Method};

use super::PATIENCE;

/// One endpoint with its own socket.
pub struct Ua {
    socket: UdpSocket,
    /// Where it sends to.
    pub peer: SocketAddr,
    /// Its own address.
    pub address: SocketAddr,
    branch: u32,
}

impl Ua {
    pub async fn new(peer: SocketAddr) -> Self {
        Self::at("127.0.0.1", peer).await
    }

    /// One that sends from this address.
    pub async fn at(ip: &str, peer: SocketAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, peer, address, branch: 0 }
    }

    /// A description with an open port nobody listens on.
    pub fn sdp(&self) -> String {
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\n"
            .to_owned()
    }

    pub fn via(&mut self) -> String {
        self.branch += 1;
        format!("SIP/2.0/UDP {};rport;branch=z9hG4bK-{}-{}", self.address, self.address.port(), self.branch)
    }

    /// An INVITE from one number to another.
    pub fn invite(&mut self, caller: &str, dialled: &str, call_id: &str) -> Message {
        Message::request(Method::Invite, format!("sip:{dialled}@{}", self.peer))
            .with("Via", self.via())
            .with("Max-Forwards", "70")
            .with("From", format!("<sip:{caller}@{}>;tag=caller", self.address))
            .with("To", format!("<sip:{dialled}@{}>", self.peer))
            .with("Call-ID", call_id)
            .with("CSeq", "1 INVITE")
            .with("Contact", format!("<sip:{caller}@{}>", self.address))
            .with_body("application/sdp", self.sdp())
    }

    /// A request inside the dialog that `invite` and its `ok` made, from the caller's side.
    pub fn inside(&mut self, method: Method, invite: &Message, ok: &Message, cseq: u32) -> Message {
        let target = NameAddr::parse(ok.value("contact").unwrap()).unwrap().uri;
        let name = method.as_str().to_owned();
        Message::request(method, target)
            .with("Via", self.via())
            .with("Max-Forwards", "70")
            .with("From", invite.value("from").unwrap())
            .with("To", ok.value("to").unwrap())
            .with("Call-ID", invite.call_id())
            .with("CSeq", format!("{cseq} {name}"))
            .with("Contact", format!("<sip:me@{}>", self.address))
    }

    pub async fn send(&self, message: &Message) {
        self.raw(&message.to_bytes()).await;
    }

    pub async fn raw(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.peer).await.unwrap();
    }

    /// The next message, whatever it is.
    pub async fn next(&self) -> Message {
        let mut buffer = vec![0; 65_536];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv_from(&mut buffer)).await;
        let (len, _) = received.expect("a message in time").unwrap();
        Message::parse(&buffer[..len]).unwrap()
    }

    /// The next message that `wanted` fits; others are passed over.
    pub async fn until(&self, wanted: impl Fn(&Message) -> bool) -> Message {
        loop {
            let message = self.next().await;
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The final response to the last request of that method.
    pub async fn answer(&self, method: Method) -> Message {
        self.until(|m| m.status().is_some_and(|s| s >= 200) && m.cseq().is_some_and(|c| c.method == method))
            .await
    }

    /// The next request of that method.
    pub async fn request(&self, method: Method) -> Message {
        self.until(|m| m.method() == Some(&method)).await
    }

    /// Answers a request with this side's tag and Contact.
    pub async fn respond(&self, request: &Message, status: u16, body: bool) {
        let mut response = Message::response(request, status, "phone")
            .with("Contact", format!("<sip:phone@{}>", self.address));
        if body {
            response = response.with_body("application/sdp", self.sdp());
        }
        self.send(&response).await;
    }

    /// Whether anything comes within `time`: only for what must not come, where waiting longer proves more.
    pub async fn silent_for(&self, time: Duration) -> bool {
        let mut buffer = vec![0; 65_536];
        tokio::time::timeout(time, self.socket.recv_from(&mut buffer)).await.is_err()
    }

    /// A whole call into the queue: INVITE, 200, ACK.
    pub async fn call(&mut self, caller: &str, dialled: &str, call_id: &str) -> (Message, Message) {
        let invite = self.invite(caller, dialled, call_id);
        self.send(&invite).await;
        let ok = self.answer(Method::Invite).await;
        assert_eq!(ok.status(), Some(200), "{ok:?}");
        let ack = self.inside(Method::Ack, &invite, &ok, 1);
        self.send(&ack).await;
        (invite, ok)
    }

    pub async fn bye(&mut self, invite: &Message, ok: &Message) {
        let bye = self.inside(Method::Bye, invite, ok, 2);
        self.send(&bye).await;
        assert_eq!(self.answer(Method::Bye).await.status(), Some(200));
    }
}
