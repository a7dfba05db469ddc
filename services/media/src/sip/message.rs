//! A SIP message as text: start line, headers in order, body (RFC 3261 §7).
//!
//! Lenient where the RFC asks for it (folding, compact names, odd case, white space, bytes that are no UTF-8) and silent
//! about nothing: what cannot be a message comes back as [`Malformed`] with as much as was understood, so that it can be
//! answered. Unknown methods and headers are values, never errors.

use std::fmt::Write as _;

use super::fields::{self, CSeq, NameAddr};

/// The largest message taken, in bytes.
pub const MESSAGE_LEN_MAX: usize = 65_000;

/// How many header lines a message may have.
const HEADER_COUNT_MAX: usize = 256;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the method of that name")]
pub enum Method {
    Invite,
    Ack,
    Bye,
    Cancel,
    Options,
    Register,
    Info,
    Update,
    Prack,
    Subscribe,
    Notify,
    Refer,
    Message,
    Publish,
    /// One that no RFC we know of defines.
    Other(String),
}

impl Method {
    const NAMED: [(&'static str, Method); 14] = [
        ("INVITE", Method::Invite),
        ("ACK", Method::Ack),
        ("BYE", Method::Bye),
        ("CANCEL", Method::Cancel),
        ("OPTIONS", Method::Options),
        ("REGISTER", Method::Register),
        ("INFO", Method::Info),
        ("UPDATE", Method::Update),
        ("PRACK", Method::Prack),
        ("SUBSCRIBE", Method::Subscribe),
        ("NOTIFY", Method::Notify),
        ("REFER", Method::Refer),
        ("MESSAGE", Method::Message),
        ("PUBLISH", Method::Publish),
    ];

    /// The method of that name; methods are case-sensitive (RFC 3261 §7.1).
    pub fn parse(text: &str) -> Self {
        let named = Self::NAMED.iter().find(|(name, _)| *name == text);
        named.map_or_else(|| Method::Other(text.to_owned()), |(_, method)| method.clone())
    }

    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Other(name) => name,
            known => Self::NAMED.iter().find(|(_, method)| method == known).map_or("", |(name, _)| name),
        }
    }
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Of a request.
    Request {
        /// What is asked for.
        method: Method,
        /// Of whom, as written.
        uri: String,
    },
    /// Of a response.
    Response {
        /// 100 to 699.
        status: u16,
        /// As written.
        reason: String,
    },
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its first line.
    pub start: Start,
    /// Its headers in order, compact names expanded, folds undone.
    pub headers: Vec<(String, String)>,
    /// Its body, cut at Content-Length.
    pub body: Vec<u8>,
}

/// Bytes that are no message we can take.
#[derive(Debug)]
pub struct Malformed {
    /// What is wrong, for the reason phrase.
    pub reason: &'static str,
    /// The status to answer with, when it is answered.
    pub status: u16,
    /// As much as was understood, when it was a request.
    pub request: Option<Message>,
}

impl Message {
    /// A request without headers.
    pub fn request(method: Method, uri: impl Into<String>) -> Self {
        Self { start: Start::Request { method, uri: uri.into() }, headers: Vec::new(), body: Vec::new() }
    }

    /// A response to `request` (RFC 3261 §8.2.6): its Via, From, To, Call-ID and CSeq, and `to_tag` when To has none.
    pub fn response(request: &Message, status: u16, to_tag: &str) -> Self {
        let start = Start::Response { status, reason: reason_phrase(status).to_owned() };
        let mut response = Self { start, headers: Vec::new(), body: Vec::new() };
        for (name, value) in &request.headers {
            let copied =
                ["via", "from", "to", "call-id", "cseq"].iter().any(|c| name.eq_ignore_ascii_case(c))
                    || (name.eq_ignore_ascii_case("record-route") && (101..300).contains(&status));
            if copied {
                let mut value = value.clone();
                if name.eq_ignore_ascii_case("to") && status > 100 && fields::param(&value, "tag").is_none() {
                    let _ = write!(value, ";tag={to_tag}");
                }
                response.headers.push((name.clone(), value));
            }
        }
        response
    }

    /// Reads one message out of a whole datagram or frame.
    ///
    /// # Errors
    /// [`Malformed`], with what was understood.
    pub fn parse(raw: &[u8]) -> Result<Self, Malformed> {
        let raw = &raw[raw.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count()..];
        let (head, rest) = split_head(raw);
        let mut lines =
            head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let (start, wrong) = parse_start(&first)?;
        let mut message = Self { start, headers: Vec::new(), body: Vec::new() };
        let mut problem = wrong;
        for line in lines.take_while(|line| !line.is_empty()) {
            if let (Some(b' ' | b'\t'), Some((_, value))) = (line.first(), message.headers.last_mut()) {
                value.push(' ');
                value.push_str(String::from_utf8_lossy(line).trim());
                continue;
            }
            let line = String::from_utf8_lossy(line);
            match line.split_once(':') {
                Some((name, value)) if fields::is_token(name.trim()) => {
                    if message.headers.len() == HEADER_COUNT_MAX {
                        problem = problem.or(Some((400, "Too Many Headers")));
                        break;
                    }
                    message.headers.push((expand(name.trim()).to_owned(), clean(value)));
                }
                _ => problem = problem.or(Some((400, "Bad Header Line"))),
            }
        }
        match (problem.or_else(|| message.cut_body(rest)), &message.start) {
            (None, _) => Ok(message),
            (Some((status, reason)), Start::Request { .. }) => {
                Err(Malformed { reason, status, request: Some(message) })
            }
            (Some((status, reason)), Start::Response { .. }) => {
                Err(Malformed { reason, status, request: None })
            }
        }
    }

    /// Takes the body by Content-Length; all of `rest` when there is none (RFC 3261 §18.3).
    fn cut_body(&mut self, rest: &[u8]) -> Option<(u16, &'static str)> {
        let lengths: Vec<&str> = self.values("content-length").collect();
        let length = match lengths[..] {
            [] => rest.len(),
            [one] => match one.parse::<usize>() {
                Ok(length) => length,
                Err(_) => return Some((400, "Bad Content-Length")),
            },
            _ => return Some((400, "More Than One Content-Length")),
        };
        match rest.get(..length) {
            Some(body) => {
                self.body = body.to_vec();
                None
            }
            None => Some((400, "Body Shorter Than Content-Length")),
        }
    }

    /// The method, when it is a request.
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The status, when it is a response.
    pub fn status(&self) -> Option<u16> {
        match self.start {
            Start::Response { status, .. } => Some(status),
            Start::Request { .. } => None,
        }
    }

    /// The Request-URI, when it is a request.
    pub fn uri(&self) -> Option<&str> {
        match &self.start {
            Start::Request { uri, .. } => Some(uri),
            Start::Response { .. } => None,
        }
    }

    /// The values of every header of that name, one a line, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The value of the first header of that name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The elements of a list header, over all its lines (`Route`, `Contact`, `Via`, `Require`).
    pub fn list(&self, name: &str) -> Vec<String> {
        self.values(name).flat_map(fields::split_list).collect()
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: &str, value: impl Into<String>) {
        self.headers.push((name.to_owned(), value.into()));
    }

    /// The same, as an expression.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.push(name, value);
        self
    }

    /// Sets the body and its type.
    #[must_use]
    pub fn with_body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.push("Content-Type", content_type);
        self.body = body.into();
        self
    }

    /// Call-ID, or nothing.
    pub fn call_id(&self) -> &str {
        self.value("call-id").unwrap_or_default()
    }

    /// CSeq, when it can be read.
    pub fn cseq(&self) -> Option<CSeq> {
        CSeq::parse(self.value("cseq")?)
    }

    /// From.
    pub fn from(&self) -> Option<NameAddr> {
        NameAddr::parse(self.value("from")?)
    }

    /// To.
    pub fn to(&self) -> Option<NameAddr> {
        NameAddr::parse(self.value("to")?)
    }

    /// The tag of From.
    pub fn from_tag(&self) -> Option<String> {
        fields::param(self.value("from")?, "tag")
    }

    /// The tag of To.
    pub fn to_tag(&self) -> Option<String> {
        fields::param(self.value("to")?, "tag")
    }

    /// The bytes for the wire, Content-Length included.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = match &self.start {
            Start::Request { method, uri } => format!("{} {uri} SIP/2.0\r\n", method.as_str()),
            Start::Response { status, reason } => format!("SIP/2.0 {status} {reason}\r\n"),
        };
        for (name, value) in &self.headers {
            if !name.eq_ignore_ascii_case("content-length") {
                let _ = write!(head, "{name}: {value}\r\n");
            }
        }
        let _ = write!(head, "Content-Length: {}\r\n\r\n", self.body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn split_head(raw: &[u8]) -> (&[u8], &[u8]) {
    match find(raw, b"\r\n\r\n") {
        Some(at) => (&raw[..at], &raw[at + 4..]),
        None => match find(raw, b"\n\n") {
            Some(at) => (&raw[..at], &raw[at + 2..]),
            None => (raw, &[]),
        },
    }
}

/// Where `needle` begins in `hay`.
pub(super) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|window| window == needle)
}

type Problem = Option<(u16, &'static str)>;

fn parse_start(line: &str) -> Result<(Start, Problem), Malformed> {
    let nothing = |reason| Malformed { reason, status: 400, request: None };
    if let Some(rest) = line.strip_prefix("SIP/2.0 ") {
        let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
        return match status.parse() {
            Ok(status) if (100..700).contains(&status) => {
                Ok((Start::Response { status, reason: clean(reason) }, None))
            }
            _ => Err(nothing("Bad Status Line")),
        };
    }
    if line.to_ascii_uppercase().starts_with("SIP/") {
        return Err(nothing("Bad Status Line"));
    }
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(version)) = (words.next(), line.split_ascii_whitespace().next_back()) else {
        return Err(nothing("Bad Request Line"));
    };
    if !fields::is_token(method) || !version.to_ascii_uppercase().starts_with("SIP/") {
        return Err(nothing("Bad Request Line"));
    }
    let uri: Vec<&str> = line[method.len()..line.len() - version.len()].split_ascii_whitespace().collect();
    let strict = uri.len() == 1 && line == format!("{method} {} {version}", uri[0]);
    let problem = if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some((505, "Version Not Supported"))
    } else if !strict || uri[0].starts_with('<') {
        Some((400, "Bad Request Line"))
    } else {
        None
    };
    Ok((Start::Request { method: Method::parse(method), uri: uri.join(" ") }, problem))
}

/// Without outer white space and without anything that could end a line.
fn clean(value: &str) -> String {
    value.trim().chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect()
}

fn expand(name: &str) -> &str {
    let known = [
        ("i", "Call-ID"),
        ("m", "Contact"),
        ("e", "Content-Encoding"),
        ("l", "Content-Length"),
        ("c", "Content-Type"),
        ("f", "From"),
        ("s", "Subject"),
        ("k", "Supported"),
        ("t", "To"),
        ("v", "Via"),
    ];
    known.iter().find(|(compact, _)| name.eq_ignore_ascii_case(compact)).map_or(name, |(_, long)| long)
}

/// The text of a status (RFC 3261 §21).
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        _ => match status / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirected",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_compact_and_oddly_cased_headers_are_read_and_a_foreign_byte_hides_nothing() {
        let raw = b"\r\nINVITE sip:1@x SIP/2.0\r\nv:  SIP/2.0/UDP  a ;\r\n branch = z9hG4bK1\r\nSubject: caf\xe9\r\n\
            FROM: <sip:a@b>; tag = 7\r\nCALL-id: c\r\ncseq: 1 INVITE\r\nt: <sip:1@x>\r\nX-Odd: \r\nl: 3\r\n\r\nabcdef";
        let message = Message::parse(raw).unwrap();
        assert_eq!(message.value("Via"), Some("SIP/2.0/UDP  a ; branch = z9hG4bK1"));
        assert_eq!(message.from_tag().as_deref(), Some("7"));
        assert_eq!(message.call_id(), "c");
        assert_eq!(message.body, b"abc");
        let again = Message::parse(&message.to_bytes()).unwrap();
        assert_eq!(again.to_bytes(), message.to_bytes());
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_understood() {
        let cases: [(&str, u16); 6] = [
            ("OPTIONS sip:x SIP/7.0\r\nCall-ID: a\r\n\r\n", 505),
            ("OPTIONS sip:x  SIP/2.0\r\nCall-ID: a\r\n\r\n", 400),
            ("OPTIONS <sip:x> SIP/2.0\r\nCall-ID: a\r\n\r\n", 400),
            ("OPTIONS sip:x SIP/2.0\r\nCall-ID: a\r\nContent-Length: 9\r\n\r\nabc", 400),
            ("OPTIONS sip:x SIP/2.0\r\nCall-ID: a\r\nContent-Length: -1\r\n\r\n", 400),
            ("OPTIONS sip:x SIP/2.0\r\nCall-ID: a\r\nno colon here\r\n\r\n", 400),
        ];
        for (raw, status) in cases {
            let error = Message::parse(raw.as_bytes()).unwrap_err();
            assert_eq!(error.status, status, "{raw}");
            assert_eq!(error.request.unwrap().call_id(), "a", "{raw}");
        }
        for raw in ["", "\0\0\0\0", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SIP/2.0 99 Low\r\n\r\n"] {
            assert!(Message::parse(raw.as_bytes()).unwrap_err().request.is_none(), "{raw}");
        }
    }
}
