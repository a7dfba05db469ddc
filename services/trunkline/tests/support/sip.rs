//! A SIP peer of a few lines, for what a real one would never send, and for asking whether anybody answers.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// One socket.
pub struct Peer {
    socket: UdpSocket,
    to: SocketAddr,
    count: u32,
}

impl Peer {
    pub fn new(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket");
        Self { socket, to, count: 0 }
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        // The system may refuse what is too long for a datagram.
        let _ = self.socket.send_to(bytes, self.to);
    }

    /// Asks with OPTIONS; the status of the answer.
    pub fn options(&mut self) -> Result<u16, String> {
        self.ask("OPTIONS", "+493023125400", "")
    }

    /// Calls; the status of the final answer. One that is answered well is not acknowledged and left alone.
    pub fn invite(&mut self, dialled: &str) -> Result<u16, String> {
        let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                    m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";
        self.ask("INVITE", dialled, body)
    }

    fn ask(&mut self, method: &str, user: &str, body: &str) -> Result<u16, String> {
        self.count += 1;
        let (from, to) = (self.socket.local_addr().expect("bound"), self.to);
        let call_id = format!("{}-{}@test", from.port(), self.count);
        let branch = format!("z9hG4bK{}x{}", from.port(), self.count);
        let request = |method: &str, to_tag: &str, body: &str| {
            let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
            format!(
                "{method} sip:{user}@{to} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch={branch};rport\r\nMax-Forwards: 70\r\n\
                 From: <sip:+4917139200999@{from}>;tag=t{}\r\nTo: <sip:{user}@{to}>{to_tag}\r\nCall-ID: {call_id}\r\n\
                 CSeq: 1 {method}\r\nContact: <sip:+4917139200999@{from}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
                self.count,
                body.len()
            )
        };
        let mut seen = "nothing".to_owned();
        for _ in 0..20 {
            self.send(request(method, "", body).as_bytes());
            let mut buffer = [0; 65_536];
            while let Ok((len, _)) = self.socket.recv_from(&mut buffer) {
                let answer = String::from_utf8_lossy(&buffer[..len]).into_owned();
                if !answer.contains(&call_id) || !answer.starts_with("SIP/2.0 ") {
                    continue;
                }
                let status: u16 = answer.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
                seen = answer.lines().next().unwrap_or_default().to_owned();
                if status < 200 {
                    continue;
                }
                if method == "INVITE" && status >= 300 {
                    let to_line = answer.lines().find(|line| line.starts_with("To:")).unwrap_or_default();
                    let tag =
                        to_line.split_once(";tag=").map(|(_, tag)| format!(";tag={tag}")).unwrap_or_default();
                    self.send(request("ACK", &tag, "").as_bytes());
                }
                return Ok(status);
            }
        }
        Err(format!("{method} was not answered; last seen: {seen}"))
    }
}
