//! What stands inside header values: lists, parameters, addresses, URIs, Via.

use super::message::Method;

/// Whether a text is a token (RFC 3261 §25.1).
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b))
}

/// Splits at `separator` where it is neither quoted nor inside angle brackets.
fn split_outside(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut quoted, mut depth, mut escaped) = (Vec::new(), 0, false, 0u32, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => depth += 1,
            '>' if !quoted => depth = depth.saturating_sub(1),
            c if c == separator && !quoted && depth == 0 => {
                parts.push(&text[from..at]);
                from = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// The elements of a comma-separated value.
pub fn split_list(value: &str) -> Vec<String> {
    split_outside(value, ',')
        .into_iter()
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

/// The header parameter of that name, unquoted; empty for a flag. Parameters inside angle brackets are the URI's.
pub fn param(value: &str, name: &str) -> Option<String> {
    split_outside(value, ';').into_iter().skip(1).find_map(|part| {
        let (key, val) = part.split_once('=').unwrap_or((part, ""));
        key.trim().eq_ignore_ascii_case(name).then(|| val.trim().trim_matches('"').to_owned())
    })
}

/// CSeq.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CSeq {
    /// At most 2^31-1 (RFC 3261 §8.1.1.5).
    pub number: u32,
    /// Of the request.
    pub method: Method,
}

impl CSeq {
    /// Reads `1 INVITE`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let number = words.next()?.parse().ok().filter(|number| *number <= i32::MAX as u32)?;
        let method = words.next().filter(|method| is_token(method))?;
        words.next().is_none().then(|| Self { number, method: Method::parse(method) })
    }
}

/// A name-addr or addr-spec with its header parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr {
    /// The display name, unquoted.
    pub display: String,
    /// The URI as written.
    pub uri: String,
    /// What follows, with its leading `;`.
    pub params: String,
}

impl NameAddr {
    /// Reads `"Anna" <sip:anna@x>;tag=1` or `sip:anna@x;tag=1`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let open = split_outside_open(text);
        if let Some(open) = open {
            let close = open + text[open..].find('>')?;
            let display = text[..open].trim().trim_matches('"').to_owned();
            let params = text[close + 1..].trim().to_owned();
            return Some(Self { display, uri: text[open + 1..close].to_owned(), params });
        }
        // Without brackets every parameter is the header's (RFC 3261 §20.10).
        let (uri, params) = text.find(';').map_or((text, ""), |at| text.split_at(at));
        (!uri.is_empty()).then(|| Self {
            display: String::new(),
            uri: uri.trim().to_owned(),
            params: params.to_owned(),
        })
    }

    /// The header parameter of that name.
    pub fn param(&self, name: &str) -> Option<String> {
        param(&self.params, name)
    }
}

fn split_outside_open(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.char_indices().find_map(|(at, c)| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' if !quoted => return Some(at),
            _ => {}
        }
        None
    })
}

/// A SIP or TEL URI, as far as routing and numbering need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uri {
    /// `sip`, `sips` or `tel`, lower case.
    pub scheme: String,
    /// User part without password, unescaped; the number of a TEL URI.
    pub user: String,
    /// Host, without brackets for IPv6; empty for TEL.
    pub host: String,
    /// Port, when written.
    pub port: Option<u16>,
    /// `;transport=` and the like, as written.
    pub params: String,
}

impl Uri {
    /// Reads a URI; `None` when it has no known scheme or a broken host.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once(':')?;
        let scheme = scheme.to_ascii_lowercase();
        if scheme == "tel" {
            let (user, params) = rest.split_once(';').unwrap_or((rest, ""));
            return Some(Self {
                scheme,
                user: unescape(user),
                host: String::new(),
                port: None,
                params: params.into(),
            });
        }
        if scheme != "sip" && scheme != "sips" {
            return None;
        }
        let rest = rest.split_once('?').map_or(rest, |(before, _)| before);
        let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (host, params) = host.split_once(';').unwrap_or((host, ""));
        let (host, port) = match host.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(str::parse).transpose().ok()?;
        let user = user.split_once(':').map_or(user, |(user, _)| user);
        if host.is_empty() {
            return None;
        }
        Some(Self { scheme, user: unescape(user), host: host.to_owned(), port, params: params.to_owned() })
    }

    /// The URI parameter of that name.
    pub fn param(&self, name: &str) -> Option<String> {
        param(&format!(";{}", self.params), name)
    }
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// One Via.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// `UDP`, `TCP`, upper case.
    pub transport: String,
    /// Sent-by.
    pub host: String,
    /// Sent-by.
    pub port: Option<u16>,
    /// The whole value.
    pub text: String,
}

impl Via {
    /// Reads one Via value.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = split_outside(text, ';').into_iter();
        let head = parts.next()?;
        if parts.any(|part| part.trim().is_empty()) {
            return None;
        }
        let mut slashes = head.splitn(3, '/');
        let (name, version) = (slashes.next()?.trim(), slashes.next()?.trim());
        if !name.eq_ignore_ascii_case("SIP") || version != "2.0" {
            return None;
        }
        let mut words = slashes.next()?.trim().splitn(2, [' ', '\t']);
        let transport = words.next()?.trim().to_ascii_uppercase();
        let by: String = words.next()?.chars().filter(|c| !c.is_whitespace()).collect();
        let uri = Uri::parse(&format!("sip:{by}"))?;
        Some(Self { transport, host: uri.host, port: uri.port, text: text.to_owned() })
    }

    /// The parameter of that name.
    pub fn param(&self, name: &str) -> Option<String> {
        param(&self.text, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_belong_to_the_header_or_to_the_uri() {
        let value = r#""a;tag=no <x>, \"" <sip:a@b;tag=uri>;x;tag=yes"#;
        assert_eq!(param(value, "tag").as_deref(), Some("yes"));
        assert_eq!(param(value, "x").as_deref(), Some(""));
        assert_eq!(param(value, "y"), None);
        let addr = NameAddr::parse(value).unwrap();
        assert_eq!(addr.uri, "sip:a@b;tag=uri");
        assert_eq!(split_list("<sip:a,b@c>, \"x,y\" <sip:d>,,e").len(), 3);
    }

    #[test]
    fn uris_and_vias_are_taken_apart() {
        let uri = Uri::parse("sip:%2b4930:secret@[::1]:5070;transport=TCP?h=1").unwrap();
        assert_eq!((uri.user.as_str(), uri.host.as_str(), uri.port), ("+4930", "::1", Some(5070)));
        assert_eq!(uri.param("transport").as_deref(), Some("TCP"));
        assert_eq!(Uri::parse("tel:+4930;phone-context=x").unwrap().user, "+4930");
        for bad in ["", "sip", "http://x", "sip:", "sip:a@", "sip:a@b:70000", "sip:a@[::1"] {
            assert_eq!(Uri::parse(bad), None, "{bad}");
        }
        let via = Via::parse("SIP / 2.0 / udp  host : 5061 ;branch=z9hG4bK1;rport").unwrap();
        assert_eq!((via.transport.as_str(), via.host.as_str(), via.port), ("UDP", "host", Some(5061)));
        assert_eq!(via.param("rport").as_deref(), Some(""));
        assert_eq!(CSeq::parse("4294967296 INVITE"), None);
        assert_eq!(CSeq::parse("0009  INVITE").map(|cseq| cseq.number), Some(9));
    }
}
