//! Just enough HTTP/1.1 to ask the gateway: one request a connection, JSON in and out.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// The largest answer read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// One key's view of the REST interface.
#[derive(Debug, Clone)]
pub struct Rest {
    address: String,
    key: String,
}

/// Why a request brought no JSON.
#[derive(Debug, thiserror::Error)]
pub enum RestError {
    /// The gateway was not reached or broke off.
    #[error("could not {attempt} {path}")]
    Network {
        /// What was attempted.
        attempt: &'static str,
        /// Which path.
        path: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The answer is no HTTP, or took too long.
    #[error("the answer to {0} makes no sense")]
    Malformed(String),
    /// The gateway refused.
    #[error("{path} answered {status}: {body}")]
    Refused {
        /// Which path.
        path: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: String,
    },
}

impl Rest {
    /// A client with one API key.
    pub fn new(address: &str, key: &str) -> Self {
        Self { address: address.to_owned(), key: key.to_owned() }
    }

    /// `GET path`.
    ///
    /// # Errors
    /// When the gateway is not reached, refuses, or answers something else than JSON.
    pub async fn get(&self, path: &str) -> Result<Value, RestError> {
        self.ask("GET", path, None).await
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, RestError> {
        self.ask("POST", path, Some(body.to_string())).await
    }

    async fn ask(&self, method: &'static str, path: &str, body: Option<String>) -> Result<Value, RestError> {
        let malformed = || RestError::Malformed(path.to_owned());
        let exchange = tokio::time::timeout(ANSWER_WITHIN, self.exchange(method, path, body.as_deref()));
        let network = |source| RestError::Network { attempt: method, path: path.to_owned(), source };
        let answer = exchange.await.map_err(|_| malformed())?.map_err(network)?;
        let (status, body) = split(&answer).ok_or_else(malformed)?;
        if !(200..300).contains(&status) {
            let body = String::from_utf8_lossy(&body).chars().take(500).collect();
            return Err(RestError::Refused { path: path.to_owned(), status, body });
        }
        serde_json::from_slice(&body).map_err(|_| malformed())
    }

    async fn exchange(&self, method: &str, path: &str, body: Option<&str>) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let body = body.unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nAccept: application/json\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// `GET path` of a server that wants no key: status and text, within a time.
///
/// # Errors
/// When it is not reached, takes too long, or answers something else than HTTP.
pub async fn get_text(address: &str, path: &str, within: Duration) -> Result<(u16, String), RestError> {
    let malformed = || RestError::Malformed(path.to_owned());
    let network = |source| RestError::Network { attempt: "GET", path: path.to_owned(), source };
    let rest = Rest::new(address, "");
    let exchange = tokio::time::timeout(within, rest.exchange("GET", path, None));
    let answer = exchange.await.map_err(|_| malformed())?.map_err(network)?;
    let (status, body) = split(&answer).ok_or_else(malformed)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Status and body of a whole answer; a chunked body is put together.
fn split(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let body = answer.get(end + 4..)?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.lines().any(|line| {
        line.split_once(':').is_some_and(|(name, value)| {
            name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked")
        })
    });
    if !chunked {
        return Some((status, body.to_vec()));
    }
    let (mut rest, mut whole) = (body, Vec::new());
    loop {
        let line_end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size_text = std::str::from_utf8(rest.get(..line_end)?).ok()?;
        let size = usize::from_str_radix(size_text.split(';').next()?.trim(), 16).ok()?;
        let chunk = rest.get(line_end + 2..line_end + 2 + size)?;
        if size == 0 {
            return Some((status, whole));
        }
        whole.extend_from_slice(chunk);
        rest = rest.get(line_end + 2 + size + 2..)?;
    }
}

/// A field of an answer, by its proto name; JSON may have it in lowerCamelCase.
fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.get(name).or_else(|| {
        let mut camel = String::with_capacity(name.len());
        let mut raise = false;
        for letter in name.chars() {
            if letter == '_' {
                raise = true;
            } else {
                camel.push(if raise { letter.to_ascii_uppercase() } else { letter });
                raise = false;
            }
        }
        value.get(camel)
    })
}

/// A whole number; 64-bit ones are texts in proto's JSON, absent ones are zero.
pub fn int(value: &Value, name: &str) -> i64 {
    match field(value, name) {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(0),
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        _ => 0,
    }
}

/// A text; absent ones are empty.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    field(value, name).and_then(Value::as_str).unwrap_or_default()
}

/// A list; absent ones are empty.
pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    field(value, name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// One part of an answer.
pub fn part<'a>(value: &'a Value, name: &str) -> &'a Value {
    field(value, name).unwrap_or(&Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_split_whole_or_in_chunks() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Some((200, "{}"))),
            ("HTTP/1.1 404 Not Found\r\n\r\nno", Some((404, "no"))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\nA;x\r\n\":\"0123456\r\n2\r\n\"}\r\n0\r\n\r\n",
                Some((200, "{\"a\":\"0123456\"}")),
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ncut", None),
            ("nonsense", None),
            ("", None),
        ] {
            let got = split(answer.as_bytes());
            let got = got.as_ref().map(|(status, body)| (*status, std::str::from_utf8(body).unwrap()));
            assert_eq!(got, expected, "{answer:?}");
        }
    }

    #[test]
    fn fields_are_read_in_either_spelling_and_default_to_nothing() {
        let value = serde_json::json!({"talked_ms": "12", "waitedMs": 7, "contactId": "ctc_a", "facts": [1]});
        assert_eq!((int(&value, "talked_ms"), int(&value, "waited_ms"), int(&value, "absent")), (12, 7, 0));
        assert_eq!((text(&value, "contact_id"), text(&value, "absent")), ("ctc_a", ""));
        assert_eq!((list(&value, "facts").len(), list(&value, "absent").len()), (1, 0));
    }
}
