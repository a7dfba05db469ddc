//! A fact for the cases, with a wire form of its own: lines of text.

use bytes::Bytes;
use trunkline_domain::facts::{LogFact, Meta, Outcome, Recorded};
use trunkline_domain::vocabulary::{
    Cell, ContactId, Epoch, EventId, InputPosition, LogName, Position, Timestamp,
};
use trunkline_proto::convert::{DecodeError, WireFact};

/// Something that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note(pub String);

impl LogFact for Note {
    const LOG: LogName = super::LOG;

    fn name(&self) -> &'static str {
        "Note"
    }

    fn stream(&self) -> String {
        "notes".to_owned()
    }

    fn contact(&self) -> Option<&ContactId> {
        None
    }
}

impl WireFact for Note {
    const SCHEMA_VERSION: u32 = 1;

    fn encode_outcome(outcome: &Outcome<Self>) -> Bytes {
        let mut text = format!("schema {}\nepoch {}\n", Self::SCHEMA_VERSION, outcome.epoch);
        for InputPosition { log, cell, position } in &outcome.consumed {
            text.push_str(&format!("consumed {log} {cell} {position}\n"));
        }
        for recorded in &outcome.facts {
            text.push_str(&format!("note {}\n", recorded.fact.0));
        }
        text.into()
    }

    fn decode_outcome(bytes: &[u8]) -> Result<Outcome<Self>, DecodeError> {
        let malformed = DecodeError::UnknownArm { field: "Note.line" };
        let text = std::str::from_utf8(bytes).map_err(|_| malformed.clone())?;
        let mut outcome = Outcome { epoch: Epoch(0), consumed: vec![], facts: vec![] };
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["schema", found] => {
                    let found = found.parse().map_err(|_| malformed.clone())?;
                    if found > Self::SCHEMA_VERSION {
                        let known = Self::SCHEMA_VERSION;
                        return Err(DecodeError::FutureSchema { log: Self::LOG, found, known });
                    }
                }
                ["epoch", epoch] => outcome.epoch = Epoch(epoch.parse().map_err(|_| malformed.clone())?),
                ["consumed", log, cell, position] => outcome.consumed.push(InputPosition {
                    log: LogName::parse(log).ok_or(malformed.clone())?,
                    cell: Cell(cell.parse().map_err(|_| malformed.clone())?),
                    position: Position(position.parse().map_err(|_| malformed.clone())?),
                }),
                ["note", ..] => outcome.facts.push(recorded(&line[5..])),
                _ => return Err(malformed),
            }
        }
        Ok(outcome)
    }
}

fn recorded(text: &str) -> Recorded<Note> {
    let meta = Meta {
        event_id: EventId::from_name("note").expect("the name is in the alphabet"),
        cell: super::CELL,
        stream: "notes".to_owned(),
        sequence: 1,
        occurred_at: Timestamp(0),
        recorded_at: Timestamp(0),
        correlation_id: None,
        causation_id: None,
        traceparent: String::new(),
    };
    Recorded { meta, fact: Note(text.to_owned()) }
}

/// One note as an outcome.
pub fn note(epoch: u64, text: &str) -> Outcome<Note> {
    notes(epoch, &[text])
}

/// Several notes of one decision.
pub fn notes(epoch: u64, texts: &[&str]) -> Outcome<Note> {
    Outcome {
        epoch: Epoch(epoch),
        consumed: vec![],
        facts: texts.iter().map(|text| recorded(text)).collect(),
    }
}
