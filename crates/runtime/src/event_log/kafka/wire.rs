//! A record of ours as a record of Kafka.
//!
//! | Kafka | ours |
//! |---|---|
//! | partition | cell |
//! | offset | position |
//! | header 0 `trunkline-lane` | lane, UTF-8 |
//! | header 1 `trunkline-epoch` | epoch, decimal |
//! | header 2 `trunkline-sequence` | sequence, decimal |
//! | the headers behind them | headers, in order; UTF-8 |
//! | value | payload; never null |
//! | key | none |

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::message::{Header, Headers, OwnedHeaders};
use trunkline_domain::vocabulary::Epoch;

use crate::event_log::Record;

const LANE: &str = "trunkline-lane";
const EPOCH: &str = "trunkline-epoch";
const SEQUENCE: &str = "trunkline-sequence";

/// The headers of a record.
pub fn headers(record: &Record) -> OwnedHeaders {
    let own = OwnedHeaders::new_with_capacity(3 + record.headers.len())
        .insert(Header { key: LANE, value: Some(&record.lane) })
        .insert(Header { key: EPOCH, value: Some(&record.epoch.0.to_string()) })
        .insert(Header { key: SEQUENCE, value: Some(&record.sequence.to_string()) });
    record
        .headers
        .iter()
        .fold(own, |headers, (name, value)| headers.insert(Header { key: name, value: Some(value) }))
}

/// The record in a message, or why it is none of ours.
pub fn record(message: &impl Message) -> Result<Record, String> {
    let Some(headers) = message.headers() else { return Err("it has no headers".to_owned()) };
    let own = |nth: usize, name: &str| {
        let header = headers.try_get(nth).filter(|header| header.key == name);
        let value = header.and_then(|header| header.value).ok_or(format!("header {nth} is not {name}"))?;
        std::str::from_utf8(value).map_err(|_| format!("header {name} is no text"))
    };
    let number = |nth: usize, name: &str| {
        own(nth, name)?.parse::<u64>().map_err(|_| format!("header {name} is no number"))
    };
    let lane = own(0, LANE)?.to_owned();
    let (epoch, sequence) = (Epoch(number(1, EPOCH)?), number(2, SEQUENCE)?);
    let mut rest = Vec::with_capacity(headers.count().saturating_sub(3));
    for header in headers.iter().skip(3) {
        let value = header.value.and_then(|value| std::str::from_utf8(value).ok());
        let value = value.ok_or_else(|| format!("header {} is no text", header.key))?;
        rest.push((header.key.to_owned(), value.to_owned()));
    }
    let payload = message.payload().ok_or("it has no value")?;
    Ok(Record { lane, epoch, sequence, headers: rest, payload: Bytes::copy_from_slice(payload) })
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::OwnedMessage;

    use super::*;

    fn message(payload: Option<&[u8]>, headers: Option<OwnedHeaders>) -> OwnedMessage {
        let payload = payload.map(<[u8]>::to_vec);
        OwnedMessage::new(payload, None, "topic".to_owned(), Timestamp::NotAvailable, 0, 0, headers)
    }

    fn whole() -> Record {
        Record {
            lane: "media/nod_x".to_owned(),
            epoch: Epoch(u64::MAX),
            sequence: 7,
            // A header named as one of ours stays one of the caller's: place decides, not name.
            headers: vec![(EPOCH.to_owned(), String::new()), ("traceparent".to_owned(), "00-ab".to_owned())],
            payload: Bytes::from_static(b"\0payload"),
        }
    }

    #[test]
    fn a_record_survives_the_wire() {
        let sent = whole();
        assert_eq!(record(&message(Some(&sent.payload), Some(headers(&sent)))), Ok(sent));
    }

    #[test]
    fn what_is_not_ours_is_named() {
        let text = |key, value| OwnedHeaders::new().insert(Header { key, value: Some(value) });
        let nan = text(LANE, "a").insert(Header { key: EPOCH, value: Some("x") });
        for (message, reason) in [
            (message(Some(b"x"), None), "it has no headers"),
            (message(Some(b"x"), Some(text("foreign", "x"))), "header 0 is not trunkline-lane"),
            (message(Some(b"x"), Some(text(LANE, "a"))), "header 1 is not trunkline-epoch"),
            (message(Some(b"x"), Some(nan)), "header trunkline-epoch is no number"),
            (message(None, Some(headers(&whole()))), "it has no value"),
        ] {
            assert_eq!(record(&message), Err(reason.to_owned()));
        }
    }
}
