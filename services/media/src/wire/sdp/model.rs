//! A description read into the fields that offer and answer need.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The most media lines a description may have.
const MEDIA_COUNT_MAX: usize = 32;

/// Why a description cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdpError {
    /// Line number from 1; 0 when it is about the whole.
    pub line: usize,
    /// One sentence.
    pub reason: String,
}

impl SdpError {
    pub(super) fn new(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}

impl std::fmt::Display for SdpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(f, "session description: {}", self.reason),
            line => write!(f, "session description line {line}: {}", self.reason),
        }
    }
}

impl std::error::Error for SdpError {}

/// Who sends (RFC 8866 §6.7), as the describer means it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The describer only sends.
    SendOnly,
    /// The describer only receives.
    RecvOnly,
    /// Nobody sends.
    Inactive,
}

impl Direction {
    fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    fn parse(attribute: &str) -> Option<Self> {
        [Self::SendRecv, Self::SendOnly, Self::RecvOnly, Self::Inactive]
            .into_iter()
            .find(|direction| direction.as_str() == attribute)
    }

    /// The attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the describer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the describer receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same stream from the other end.
    pub fn reversed(self) -> Self {
        Self::of(self.receives(), self.sends())
    }

    /// What is left when both must agree.
    pub fn and(self, other: Self) -> Self {
        Self::of(self.sends() && other.sends(), self.receives() && other.receives())
    }
}

/// Where a peer receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name; not resolved here.
    Name(String),
}

/// A description.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// `sess-id` and `sess-version` of `o=`, as text.
    pub origin: (String, String),
    /// The session's `c=`.
    pub connection: Option<Host>,
    /// The session's direction, for media without one.
    pub direction: Direction,
    /// The media, in order.
    pub media: Vec<Media>,
}

/// One media line and what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its line number, from 1.
    pub line: usize,
    /// `audio`, `video`, …
    pub kind: String,
    /// 0 when refused.
    pub port: u16,
    /// `RTP/AVP`, …
    pub protocol: String,
    /// Payload types for RTP; anything for others. Not empty.
    pub formats: Vec<String>,
    /// Its own `c=`.
    pub connection: Option<Host>,
    /// Its own direction.
    pub direction: Option<Direction>,
    /// Encoding name and clock of payload types, out of `a=rtpmap`.
    pub encodings: BTreeMap<u8, (String, u32)>,
}

/// Reads a description. Lines of unknown types and unknown attributes are read over; line ends may lack the CR.
///
/// # Errors
/// When the first line is not `v=0`, `o=` is missing, or a line we use is malformed.
pub fn parse(body: &[u8]) -> Result<Session, SdpError> {
    let mut session = Session::default();
    let mut origin_seen = false;
    let mut version_seen = false;
    for (index, bytes) in body.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let line = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(bytes));
        if line.is_empty() {
            continue;
        }
        let Some((kind, value)) = line.split_once('=').filter(|(kind, _)| kind.len() == 1) else {
            return Err(SdpError::new(number, "it is not of the form `x=…`"));
        };
        if !version_seen {
            if (kind, value.trim()) != ("v", "0") {
                return Err(SdpError::new(number, "a description begins with `v=0`"));
            }
            version_seen = true;
            continue;
        }
        match kind {
            "o" => {
                session.origin = origin(number, value)?;
                origin_seen = true;
            }
            "c" => {
                let host = Some(connection(number, value)?);
                match session.media.last_mut() {
                    Some(media) => media.connection = host,
                    None => session.connection = host,
                }
            }
            "m" if session.media.len() == MEDIA_COUNT_MAX => {
                return Err(SdpError::new(number, format!("more than {MEDIA_COUNT_MAX} media lines")));
            }
            "m" => session.media.push(media(number, value)?),
            "a" => attribute(&mut session, number, value)?,
            _ => {}
        }
    }
    match (version_seen, origin_seen) {
        (true, true) => Ok(session),
        (true, false) => Err(SdpError::new(0, "it has no o= line")),
        (false, _) => Err(SdpError::new(0, "it is empty")),
    }
}

fn origin(line: usize, value: &str) -> Result<(String, String), SdpError> {
    let fields: Vec<&str> = value.split_whitespace().collect();
    // The user name may be missing or hold spaces with careless peers; the last five fields are sure.
    match fields.as_slice() {
        [.., id, version, _net, _family, _address] => Ok(((*id).to_owned(), (*version).to_owned())),
        _ => Err(SdpError::new(line, "o= needs six fields")),
    }
}

fn connection(line: usize, value: &str) -> Result<Host, SdpError> {
    let mut fields = value.split_whitespace();
    let (Some("IN"), Some(family @ ("IP4" | "IP6")), Some(address), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(SdpError::new(line, "c= is not `IN IP4 address` or `IN IP6 address`"));
    };
    let address = address.split('/').next().unwrap_or(address);
    match address.parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv4() == (family == "IP4") => Ok(Host::Ip(ip)),
        Ok(ip) => Err(SdpError::new(line, format!("{ip} is not an {family} address"))),
        Err(_) => Ok(Host::Name(address.chars().take(255).collect())),
    }
}

fn media(line: usize, value: &str) -> Result<Media, SdpError> {
    let mut fields = value.split_whitespace();
    let (Some(kind), Some(port), Some(protocol)) = (fields.next(), fields.next(), fields.next()) else {
        return Err(SdpError::new(line, "m= needs a kind, a port, a protocol and formats"));
    };
    let formats: Vec<String> = fields.map(str::to_owned).collect();
    if formats.is_empty() {
        return Err(SdpError::new(line, "m= has no formats"));
    }
    let port = port.split('/').next().and_then(|port| port.parse().ok());
    let Some(port) = port else { return Err(SdpError::new(line, "m= has no valid port")) };
    Ok(Media {
        line,
        kind: kind.to_owned(),
        port,
        protocol: protocol.to_owned(),
        formats,
        connection: None,
        direction: None,
        encodings: BTreeMap::new(),
    })
}

fn attribute(session: &mut Session, line: usize, value: &str) -> Result<(), SdpError> {
    if let Some(direction) = Direction::parse(value.trim()) {
        match session.media.last_mut() {
            Some(media) => media.direction = Some(direction),
            None => session.direction = direction,
        }
        return Ok(());
    }
    let (Some(mapping), Some(media)) = (value.strip_prefix("rtpmap:"), session.media.last_mut()) else {
        return Ok(());
    };
    let parsed = mapping.trim().split_once(' ').and_then(|(payload_type, encoding)| {
        let mut parts = encoding.trim().split('/');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let clock = parts.next()?.parse().ok()?;
        Some((payload_type.parse::<u8>().ok().filter(|it| *it < 128)?, (name.to_owned(), clock)))
    });
    let Some((payload_type, encoding)) = parsed else {
        return Err(SdpError::new(line, "a=rtpmap is not `type name/clock`"));
    };
    media.encodings.insert(payload_type, encoding);
    Ok(())
}
