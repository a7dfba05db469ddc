//! The agents' phones: one socket for all of them, which notes when an INVITE came, answers it, and hangs up by itself.
//!
//! sipp would do, but its clock is read behind its own queue; here a thread of the operating system waits for the datagram
//! and reads the clock first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::message::Message;
use crate::Failure;

/// From the INVITE to the 200: long enough that ringing is a fact of its own, as with a person.
const RINGS_US: i64 = 200_000;
/// From the ACK to the BYE.
const TALKS_US: i64 = 400_000;
/// Between two sendings of what is not answered (RFC 3261 T1).
const AGAIN_US: i64 = 500_000;
/// Sendings of the same before the call is given up.
const SENT_COUNT_MAX: u32 = 10;
/// The longest wait before the thread looks whether it is to end.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// A phone that rang. Times are Unix times in µs; 0 for what did not happen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rung {
    /// `ctc_…`, as the INVITE has it.
    pub contact_id: String,
    /// `ofr_…`, likewise.
    pub offer_id: String,
    /// When the INVITE arrived.
    pub invited_at: i64,
    /// When it was answered.
    pub answered_at: i64,
    /// When the answer was acknowledged: agent-state has accepted, caller and agent hear each other.
    pub acked_at: i64,
}

/// Where a call is.
enum Step {
    Ringing,
    Answered,
    Talking,
    Leaving,
}

struct Call {
    peer: SocketAddr,
    step: Step,
    /// What was sent last, and is sent again.
    sent: String,
    sent_count: u32,
    /// What comes next.
    ok: String,
    bye: String,
    /// The answer to the INVITE when it is cancelled.
    terminated: String,
    due_at: i64,
    rung: usize,
}

/// All phones, without a socket or a clock.
pub(super) struct Phones {
    local: String,
    audio_port: u16,
    /// By Call-ID.
    calls: BTreeMap<String, Call>,
    /// When each call is to be looked at; of a call that is over, or was put off, an entry may be left.
    due: BTreeSet<(i64, String)>,
    out: VecDeque<(SocketAddr, String)>,
    rung: Vec<Rung>,
}

impl Phones {
    /// Phones that are called at `local` and say that they hear at `audio_port`.
    pub fn new(local: SocketAddr, audio_port: u16) -> Self {
        Self {
            local: local.to_string(),
            audio_port,
            calls: BTreeMap::new(),
            due: BTreeSet::new(),
            out: VecDeque::new(),
            rung: Vec::new(),
        }
    }

    /// Takes what came in.
    pub fn take(&mut self, now: i64, peer: SocketAddr, datagram: &[u8]) {
        let Some(message) = Message::parse(datagram) else { return };
        let Some(call_id) = message.header("call-id") else { return };
        match message.method() {
            Some("INVITE") => self.invited(now, peer, call_id, &message),
            Some("ACK") => self.acked(now, call_id),
            Some("BYE") => {
                self.calls.remove(call_id);
                self.out.push_back((peer, message.response("200 OK", "gone", "", "")));
            }
            Some("CANCEL") => {
                self.out.push_back((peer, message.response("200 OK", "gone", "", "")));
                if let Some(call) = self.calls.get(call_id).filter(|call| matches!(call.step, Step::Ringing))
                {
                    self.out.push_back((peer, call.terminated.clone()));
                    self.calls.remove(call_id);
                }
            }
            Some(_) => self.out.push_back((peer, message.response("405 Method Not Allowed", "gone", "", ""))),
            None if message.answered() == Some("BYE") => drop(self.calls.remove(call_id)),
            None => {}
        }
    }

    fn invited(&mut self, now: i64, peer: SocketAddr, call_id: &str, invite: &Message<'_>) {
        if let Some(call) = self.calls.get(call_id) {
            return self.out.push_back((call.peer, call.sent.clone()));
        }
        let tag = format!("p{}", self.rung.len());
        let (Some(bye), Some(ok)) = (invite.bye(&tag, &self.local), self.ok(invite, &tag)) else { return };
        let named = |name| invite.header(name).unwrap_or_default().to_owned();
        self.rung.push(Rung {
            contact_id: named("x-trunkline-contact"),
            offer_id: named("x-trunkline-offer"),
            invited_at: now,
            ..Rung::default()
        });
        let call = Call {
            peer,
            step: Step::Ringing,
            sent: invite.response("180 Ringing", &tag, &self.contact(), ""),
            sent_count: 0,
            ok,
            bye,
            terminated: invite.response("487 Request Terminated", &tag, "", ""),
            due_at: 0,
            rung: self.rung.len() - 1,
        };
        self.out.push_back((peer, call.sent.clone()));
        self.calls.insert(call_id.to_owned(), call);
        self.look_again(call_id, now + RINGS_US);
    }

    fn contact(&self) -> String {
        format!("Contact: <sip:{}>\r\n", self.local)
    }

    /// The 200, with a description of one codec that every caller of the bench has too.
    fn ok(&self, invite: &Message<'_>, tag: &str) -> Option<String> {
        let ip = self.local.rsplit_once(':')?.0;
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n",
            self.audio_port
        );
        let extra = format!("{}Content-Type: application/sdp\r\n", self.contact());
        Some(invite.response("200 OK", tag, &extra, &body))
    }

    fn acked(&mut self, now: i64, call_id: &str) {
        let Some(call) = self.calls.get_mut(call_id).filter(|call| matches!(call.step, Step::Answered))
        else {
            return;
        };
        call.step = Step::Talking;
        self.rung[call.rung].acked_at = now;
        self.look_again(call_id, now + TALKS_US);
    }

    fn look_again(&mut self, call_id: &str, at: i64) {
        if let Some(call) = self.calls.get_mut(call_id) {
            call.due_at = at;
            self.due.insert((at, call_id.to_owned()));
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: i64) {
        while let Some((at, call_id)) = self.due.first().filter(|(at, _)| *at <= now).cloned() {
            self.due.pop_first();
            let Some(call) = self.calls.get_mut(&call_id).filter(|call| call.due_at == at) else { continue };
            match call.step {
                Step::Ringing => {
                    call.step = Step::Answered;
                    self.rung[call.rung].answered_at = now;
                    (call.sent, call.sent_count) = (std::mem::take(&mut call.ok), 0);
                }
                Step::Talking => {
                    call.step = Step::Leaving;
                    (call.sent, call.sent_count) = (std::mem::take(&mut call.bye), 0);
                }
                Step::Answered | Step::Leaving if call.sent_count >= SENT_COUNT_MAX => {
                    self.calls.remove(&call_id);
                    continue;
                }
                Step::Answered | Step::Leaving => {}
            }
            call.sent_count += 1;
            self.out.push_back((call.peer, call.sent.clone()));
            self.look_again(&call_id, now + AGAIN_US);
        }
    }

    /// What is to be sent, and to whom.
    pub fn poll(&mut self) -> Option<(SocketAddr, String)> {
        self.out.pop_front()
    }

    /// When something is due, at the earliest.
    pub fn next_timeout(&self) -> Option<i64> {
        self.due.first().map(|(at, _)| *at)
    }
}

/// The phones at work, on a thread of their own.
pub(super) struct Line {
    /// Where all of them are called.
    pub local: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Rung>, std::io::Error>>>,
}

impl Line {
    /// Begins to listen; what is heard at `audio_port` is nobody's here.
    ///
    /// # Errors
    /// When there is no socket or no thread.
    pub fn open(audio_port: u16) -> Result<Self, Failure> {
        let socket = UdpSocket::bind(("127.0.0.1", 0))?;
        let local = socket.local_addr()?;
        let ends = Arc::new(AtomicBool::new(false));
        let asked = ends.clone();
        let phones = Phones::new(local, audio_port);
        let thread = std::thread::Builder::new()
            .name("phones".to_owned())
            .spawn(move || answer(&socket, phones, &asked))?;
        Ok(Self { local, ends, thread: Some(thread) })
    }

    /// Ends it and gives every phone that rang, in order.
    ///
    /// # Errors
    /// When the socket failed on the way.
    pub fn close(mut self) -> Result<Vec<Rung>, Failure> {
        self.ends.store(true, Ordering::Release);
        let joined = self.thread.take().map(JoinHandle::join);
        let rung = joined.ok_or_else(|| Failure::new("the phones were closed before"))?;
        let rung = rung.map_err(|_| Failure::new("the phones' thread panicked"))?;
        rung.map_err(|error| Failure::new(format!("the phones' socket failed: {error}")))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
    }
}

fn answer(socket: &UdpSocket, mut phones: Phones, ends: &AtomicBool) -> Result<Vec<Rung>, std::io::Error> {
    let mut buffer = [0; 4_096];
    while !ends.load(Ordering::Acquire) {
        let wait = phones.next_timeout().map_or(i64::MAX, |at| at - unix_us());
        let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(0));
        // No wait at all would mean for ever.
        socket.set_read_timeout(Some(wait.clamp(Duration::from_micros(50), WAIT_MAX)))?;
        match socket.recv_from(&mut buffer) {
            Ok((length, peer)) => {
                let now = unix_us();
                phones.take(now, peer, buffer.get(..length).unwrap_or_default());
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        phones.tick(unix_us());
        while let Some((peer, text)) = phones.poll() {
            socket.send_to(text.as_bytes(), peer)?;
        }
    }
    Ok(phones.rung)
}

/// The Unix time, in µs.
fn unix_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const PEER: &str = "127.0.0.1:5";

    fn request(method: &str) -> String {
        format!(
            "{method} sip:u7@127.0.0.1:9 SIP/2.0\r\nVia: SIP/2.0/UDP {PEER};branch=z9hG4bKa\r\nFrom: <sip:q@{PEER}>;tag=m\r\n\
             To: <sip:u7@127.0.0.1:9>\r\nCall-ID: c1\r\nCSeq: 1 {method}\r\nContact: <sip:{PEER}>\r\n\
             X-Trunkline-Contact: ctc_1\r\nX-Trunkline-Offer: ofr_1\r\n\r\n"
        )
    }

    /// Plays a script of (ms, what comes; nothing for time that passes), and gives the first lines of what was said.
    #[track_caller]
    fn check(script: &[(i64, &str)], said: Expect, rung: Expect) {
        let mut phones = Phones::new("127.0.0.1:9".parse().unwrap(), 7);
        let mut lines = String::new();
        for (at_ms, what) in script {
            let at = at_ms * 1_000;
            match *what {
                "" => {}
                "200 BYE" => {
                    let answer = "SIP/2.0 200 OK\r\nCall-ID: c1\r\nCSeq: 1 BYE\r\n\r\n";
                    phones.take(at, PEER.parse().unwrap(), answer.as_bytes());
                }
                method => phones.take(at, PEER.parse().unwrap(), request(method).as_bytes()),
            }
            phones.tick(at);
            while let Some((_, text)) = phones.poll() {
                let message = Message::parse(text.as_bytes()).unwrap();
                let (first, cseq) = (text.lines().next().unwrap(), message.header("cseq").unwrap());
                lines.push_str(&format!("{at_ms} {first} ({cseq})\n"));
            }
        }
        lines.push_str(&format!("{} calls, {:?}\n", phones.calls.len(), phones.next_timeout()));
        said.assert_eq(&lines);
        rung.assert_eq(&format!("{:?}", phones.rung));
    }

    #[test]
    fn a_phone_rings_answers_talks_and_hangs_up() {
        check(
            &[
                (0, "INVITE"),
                (1, "INVITE"),
                (200, ""),
                (210, "ACK"),
                (610, ""),
                (611, "200 BYE"),
                (9_999, ""),
            ],
            expect![[r#"
                0 SIP/2.0 180 Ringing (1 INVITE)
                1 SIP/2.0 180 Ringing (1 INVITE)
                200 SIP/2.0 200 OK (1 INVITE)
                610 BYE sip:127.0.0.1:5 SIP/2.0 (1 BYE)
                0 calls, None
            "#]],
            expect![[
                r#"[Rung { contact_id: "ctc_1", offer_id: "ofr_1", invited_at: 0, answered_at: 200000, acked_at: 210000 }]"#
            ]],
        );
    }

    #[test]
    fn what_is_not_answered_is_said_again() {
        check(
            &[
                (0, "INVITE"),
                (200, ""),
                (700, ""),
                (701, "ACK"),
                (1_101, ""),
                (1_601, ""),
                (1_602, "200 BYE"),
            ],
            expect![[r#"
                0 SIP/2.0 180 Ringing (1 INVITE)
                200 SIP/2.0 200 OK (1 INVITE)
                700 SIP/2.0 200 OK (1 INVITE)
                1101 BYE sip:127.0.0.1:5 SIP/2.0 (1 BYE)
                1601 BYE sip:127.0.0.1:5 SIP/2.0 (1 BYE)
                0 calls, Some(2101000)
            "#]],
            expect![[
                r#"[Rung { contact_id: "ctc_1", offer_id: "ofr_1", invited_at: 0, answered_at: 200000, acked_at: 701000 }]"#
            ]],
        );
    }

    #[test]
    fn a_call_ends_by_cancel_or_by_the_other_sides_bye() {
        check(
            &[(0, "INVITE"), (100, "CANCEL"), (300, "")],
            expect![[r#"
                0 SIP/2.0 180 Ringing (1 INVITE)
                100 SIP/2.0 200 OK (1 CANCEL)
                100 SIP/2.0 487 Request Terminated (1 INVITE)
                0 calls, None
            "#]],
            expect![[
                r#"[Rung { contact_id: "ctc_1", offer_id: "ofr_1", invited_at: 0, answered_at: 0, acked_at: 0 }]"#
            ]],
        );
        check(
            &[(0, "INVITE"), (200, ""), (210, "ACK"), (300, "BYE"), (700, "")],
            expect![[r#"
                0 SIP/2.0 180 Ringing (1 INVITE)
                200 SIP/2.0 200 OK (1 INVITE)
                300 SIP/2.0 200 OK (1 BYE)
                0 calls, None
            "#]],
            expect![[
                r#"[Rung { contact_id: "ctc_1", offer_id: "ofr_1", invited_at: 0, answered_at: 200000, acked_at: 210000 }]"#
            ]],
        );
    }
}
