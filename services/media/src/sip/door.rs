//! What comes from the network, before the transaction layer sees it: answered, dropped with a reason, or passed on whole.
//!
//! The transaction layer below us drops without a word what it cannot parse (ADR 0004). Everything it would choke on is
//! caught here, so that a request is answered whenever it can be: unknown methods, other versions, missing or doubled
//! headers, unknown schemes, required extensions, merged requests.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use trunkline_domain::vocabulary::{Millis, Timestamp};

use super::fields::{self, Uri, Via};
use super::message::{MESSAGE_LEN_MAX, Message, Method, Start};

/// The methods we answer, for `Allow`.
pub const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, REGISTER, INFO, UPDATE";

/// The reason for saying nothing to a message that asks for nothing.
pub const KEEPALIVE: &str = "keepalive";

/// For how long a request is remembered, to recognise its merged twin (RFC 3261 §8.2.2.2): 64·T1.
const REMEMBERED_FOR: Millis = Millis(32_000);

/// How many requests are remembered; the oldest go first.
const REMEMBERED_COUNT_MAX: usize = 200_000;

/// What to do with what came.
#[derive(Debug)]
pub enum Verdict {
    /// Give it to the transaction layer.
    Pass(Message),
    /// Answer it without a transaction.
    Answer(Message),
    /// Say nothing; the reason is counted.
    Drop(&'static str),
}

/// The door. It keeps nothing but the requests of the last half minute.
#[derive(Debug, Default)]
pub struct Door {
    branches: BTreeMap<String, String>,
    order: VecDeque<(Timestamp, String)>,
}

impl Door {
    /// Looks at one datagram or frame from `source`.
    pub fn admit(&mut self, raw: &[u8], source: SocketAddr, now: Timestamp) -> Verdict {
        if raw.iter().all(u8::is_ascii_whitespace) {
            return Verdict::Drop(KEEPALIVE);
        }
        if raw.len() > MESSAGE_LEN_MAX {
            return Verdict::Drop("too large");
        }
        let mut message = match Message::parse(raw) {
            Ok(message) => message,
            Err(malformed) => {
                return match malformed.request {
                    Some(request) => refuse(request, source, malformed.status, malformed.reason),
                    None => Verdict::Drop("no message"),
                };
            }
        };
        if matches!(message.start, Start::Response { .. }) {
            return match message.cseq().is_some()
                && message.from_tag().is_some()
                && !message.call_id().is_empty()
            {
                true => Verdict::Pass(message),
                false => Verdict::Drop("bad response"),
            };
        }
        if let Err((status, reason)) = check(&message) {
            return refuse(message, source, status, reason);
        }
        if self.merged(&message, now) {
            return refuse(message, source, 482, "Merged Request");
        }
        stamp_via(&mut message, source);
        Verdict::Pass(message)
    }

    /// Whether the same request came on another way already.
    fn merged(&mut self, message: &Message, now: Timestamp) -> bool {
        if message.to_tag().is_some() || matches!(message.method(), Some(Method::Ack | Method::Cancel)) {
            return false;
        }
        while self.order.front().is_some_and(|(until, _)| *until <= now)
            || self.order.len() >= REMEMBERED_COUNT_MAX
        {
            if let Some((_, key)) = self.order.pop_front() {
                self.branches.remove(&key);
            }
        }
        let cseq = message.value("cseq").unwrap_or_default();
        let key = format!("{}\n{}\n{cseq}", message.call_id(), message.from_tag().unwrap_or_default());
        let via = message.list("via").into_iter().next().unwrap_or_default();
        let branch = fields::param(&via, "branch").unwrap_or(via);
        if let Some(known) = self.branches.get(&key) {
            return *known != branch;
        }
        self.order.push_back((now + REMEMBERED_FOR, key.clone()));
        self.branches.insert(key, branch);
        false
    }
}

/// The rules of RFC 3261 §8.1.1, §8.2 and §16.3 that need no state.
fn check(message: &Message) -> Result<(), (u16, &'static str)> {
    for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
        let mut values = message.values(name);
        let Some(value) = values.next() else { return Err((400, missing(name))) };
        if name != "Via" && values.next().is_some() {
            return Err((400, "More Than One Of A Single Header"));
        }
        if value.is_empty() {
            return Err((400, missing(name)));
        }
    }
    let Some(cseq) = message.cseq() else { return Err((400, "Bad CSeq")) };
    let method = message.method();
    if Some(&cseq.method) != method {
        return Err((400, "CSeq Names Another Method"));
    }
    if message.list("via").iter().any(|via| Via::parse(via).is_none()) {
        return Err((400, "Bad Via"));
    }
    if message.from().is_none() || message.to().is_none() {
        return Err((400, "Bad From Or To"));
    }
    if message.from_tag().is_none_or(|tag| tag.is_empty()) {
        return Err((400, "From Has No Tag"));
    }
    match method {
        Some(Method::Other(_)) => return Err((501, "Not Implemented")),
        Some(
            Method::Subscribe
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Publish
            | Method::Prack,
        ) => {
            return Err((405, "Method Not Allowed"));
        }
        _ => {}
    }
    let uri = message.uri().unwrap_or_default();
    if Uri::parse(uri).is_none() {
        let scheme = uri.split(':').next().unwrap_or_default();
        let known = ["sip", "sips", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        let other = !known && uri.contains(':') && fields::is_token(scheme);
        return Err(if other { (416, "Unsupported URI Scheme") } else { (400, "Bad Request URI") });
    }
    if let Some(hops) = message.value("max-forwards") {
        match hops.trim().parse::<u32>() {
            Ok(hops) if hops <= 255 => {}
            _ => return Err((400, "Bad Max-Forwards")),
        }
    }
    let asks = !matches!(method, Some(Method::Ack | Method::Cancel));
    if asks && (!message.list("require").is_empty() || !message.list("proxy-require").is_empty()) {
        return Err((420, "Bad Extension"));
    }
    Ok(())
}

fn missing(name: &str) -> &'static str {
    match name {
        "Via" => "Missing Via",
        "From" => "Missing From",
        "To" => "Missing To",
        "Call-ID" => "Missing Call-ID",
        _ => "Missing CSeq",
    }
}

/// An answer without a transaction. An ACK is never answered, nor is what has no Via to send the answer along.
fn refuse(mut request: Message, source: SocketAddr, status: u16, reason: &'static str) -> Verdict {
    if request.method() == Some(&Method::Ack) || request.value("via").is_none() {
        return Verdict::Drop(reason);
    }
    stamp_via(&mut request, source);
    let mut answer = Message::response(&request, status, "refused");
    if let Start::Response { reason: phrase, .. } = &mut answer.start {
        reason.clone_into(phrase);
    }
    match status {
        405 | 501 => answer.push("Allow", ALLOW),
        420 => {
            let mut unsupported = request.list("require");
            unsupported.extend(request.list("proxy-require"));
            answer.push("Unsupported", unsupported.join(", "));
        }
        _ => {}
    }
    Verdict::Answer(answer)
}

/// Notes on the topmost Via where the request came from (RFC 3261 §18.2.1, RFC 3581 §4).
fn stamp_via(message: &mut Message, source: SocketAddr) {
    let Some((_, value)) = message.headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case("via"))
    else {
        return;
    };
    let mut vias = fields::split_list(value).into_iter();
    let Some(top) = vias.next() else { return };
    let mut parts = top.split(';').map(str::trim);
    let mut stamped = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let key = part.split('=').next().unwrap_or_default().trim();
        if key.eq_ignore_ascii_case("rport") {
            stamped += &format!(";rport={}", source.port());
        } else if !key.eq_ignore_ascii_case("received") && !part.is_empty() {
            stamped += &format!(";{part}");
        }
    }
    stamped += &format!(";received={}", source.ip());
    for via in vias {
        stamped += &format!(", {via}");
    }
    *value = stamped;
}

/// Where a response to `request` goes over UDP: back along its topmost Via as [`Door::admit`] stamped it.
pub fn response_address(request: &Message, source: SocketAddr) -> SocketAddr {
    let top = request.list("via").into_iter().next().unwrap_or_default();
    let Some(via) = Via::parse(&top) else { return source };
    if via.param("rport").is_some() {
        return source;
    }
    SocketAddr::new(source.ip(), via.port.unwrap_or(5060))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport\r\n\
        From: <sip:a@b>;tag=1\r\nTo: <sip:x@y>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";

    fn source() -> SocketAddr {
        "127.0.0.1:6000".parse().unwrap()
    }

    fn verdict(raw: &str) -> String {
        match Door::default().admit(raw.as_bytes(), source(), Timestamp(0)) {
            Verdict::Pass(_) => "pass".to_owned(),
            Verdict::Answer(answer) => answer.status().unwrap().to_string(),
            Verdict::Drop(reason) => reason.to_owned(),
        }
    }

    #[test]
    fn a_good_request_passes_and_a_bad_one_is_answered_with_what_is_wrong() {
        assert_eq!(verdict(GOOD), "pass");
        let cases = [
            ("OPTIONS", "FOO", "501"),
            ("OPTIONS", "SUBSCRIBE", "405"),
            ("OPTIONS", "ACK", "pass"),
            ("SIP/2.0\r\n", "SIP/7.0\r\n", "505"),
            ("Call-ID: c\r\n", "", "400"),
            ("Call-ID: c", "Call-ID: c\r\ni: d", "400"),
            ("CSeq: 1 OPTIONS", "CSeq: 1 INVITE", "400"),
            ("CSeq: 1 OPTIONS", "CSeq: x OPTIONS", "400"),
            (";tag=1", "", "400"),
            ("sip:x@127.0.0.1", "mailto:x@y", "416"),
            ("sip:x@127.0.0.1", "sip:", "400"),
            ("\r\n\r\n", "\r\nRequire: a, b\r\n\r\n", "420"),
            ("\r\n\r\n", "\r\nMax-Forwards: -1\r\n\r\n", "400"),
            ("Via: SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport\r\n", "", "Missing Via"),
            (GOOD, "\r\n\r\n", "keepalive"),
            (GOOD, "\u{0}\u{1}", "no message"),
        ];
        for (from, to, then) in cases {
            assert_eq!(verdict(&GOOD.replace(from, to)), then, "{from:?} -> {to:?}");
        }
    }

    #[test]
    fn the_same_request_on_another_way_is_merged_and_on_the_same_way_a_retransmission() {
        let mut door = Door::default();
        let mut admit = |raw: &str, at| door.admit(raw.as_bytes(), source(), Timestamp(at));
        assert!(matches!(admit(GOOD, 0), Verdict::Pass(_)));
        assert!(matches!(admit(GOOD, 1), Verdict::Pass(_)));
        let other = GOOD.replace("z9hG4bK1", "z9hG4bK2");
        assert!(matches!(admit(&other, 2), Verdict::Answer(answer) if answer.status() == Some(482)));
        assert!(matches!(admit(&other, 40_000), Verdict::Pass(_)));
    }

    #[test]
    fn the_answer_goes_back_where_the_request_came_from() {
        let Verdict::Pass(request) = Door::default().admit(GOOD.as_bytes(), source(), Timestamp(0)) else {
            panic!("refused");
        };
        assert_eq!(
            request.value("via").unwrap(),
            "SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1;rport=6000;received=127.0.0.1"
        );
        assert_eq!(response_address(&request, source()), source());
        let raw = GOOD.replace(";rport", "");
        let Verdict::Pass(request) = Door::default().admit(raw.as_bytes(), source(), Timestamp(0)) else {
            panic!("refused");
        };
        assert_eq!(response_address(&request, source()), "127.0.0.1:5070".parse().unwrap());
    }
}
