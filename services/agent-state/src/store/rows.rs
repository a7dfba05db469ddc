//! The replicated state as rows: what the state database keeps one by one and a snapshot keeps in order.

use std::collections::BTreeSet;

use trunkline_domain::agent_state::{FEATURE_LEVEL, OutboxKey, State, Touched};
use trunkline_domain::vocabulary::{AgentId, CommandId, Timestamp};

use super::codec::{self, CodecError, Wire};

/// A key and its value; the first byte of the key is the table.
pub type Row = (Vec<u8>, Vec<u8>);

const HEAD: u8 = b'h';
const ROSTER: u8 = b'r';
const AGENT: u8 = b'a';
const LEASE: u8 = b'l';
const ANSWER: u8 = b'c';
const OUTBOX: u8 = b'o';

struct Head {
    now: Timestamp,
    last_term: u64,
    last_index: u64,
    fact_count: u32,
    wish_count: u32,
    published: u64,
    feature_level: u32,
}

impl Wire for Head {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { now, last_term, last_index, fact_count, wish_count, published, feature_level } = self;
        now.put(out);
        last_term.put(out);
        last_index.put(out);
        fact_count.put(out);
        wish_count.put(out);
        published.put(out);
        feature_level.put(out);
    }
    fn get(input: &mut codec::Input<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            now: Wire::get(input)?,
            last_term: Wire::get(input)?,
            last_index: Wire::get(input)?,
            fact_count: Wire::get(input)?,
            wish_count: Wire::get(input)?,
            published: Wire::get(input)?,
            feature_level: input.since(2)?,
        })
    }
}

/// Every row of a state.
pub fn rows(state: &State) -> Vec<Row> {
    let everything = Touched {
        roster: true,
        agents: state.agents.keys().cloned().collect(),
        seen: BTreeSet::new(),
        leases: state.leases.keys().cloned().collect(),
        answers: state.answers.keys().cloned().collect(),
        outbox: state.outbox.keys().copied().collect(),
    };
    changes(state, &everything).into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// The rows that changed, `None` for those that are gone.
pub fn changes(state: &State, touched: &Touched) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let head = Head {
        now: state.now,
        last_term: state.last_term,
        last_index: state.last_index,
        fact_count: state.fact_count,
        wish_count: state.wish_count,
        published: state.published,
        feature_level: state.feature_level,
    };
    let mut rows = vec![(vec![HEAD], Some(codec::encode(&head)))];
    if touched.roster {
        rows.push((vec![ROSTER], Some(codec::encode(&state.roster))));
    }
    for id in &touched.agents {
        rows.push((key(AGENT, id.as_str().as_bytes()), state.agents.get(id).map(codec::encode)));
    }
    for resource in &touched.leases {
        rows.push((key(LEASE, resource.as_bytes()), state.leases.get(resource).map(codec::encode)));
    }
    for id in &touched.answers {
        rows.push((key(ANSWER, id.as_str().as_bytes()), state.answers.get(id).map(codec::encode)));
    }
    for place in &touched.outbox {
        let mut name = place.index.to_be_bytes().to_vec();
        name.extend_from_slice(&place.ordinal.to_be_bytes());
        rows.push((key(OUTBOX, &name), state.outbox.get(place).map(codec::encode)));
    }
    rows
}

/// The state that rows make up.
///
/// # Errors
/// When a row is not one of ours, or the head is missing in a state that has other rows; when a newer program wrote them.
pub fn state(rows: impl IntoIterator<Item = Row>) -> Result<State, CodecError> {
    let mut state = State::default();
    let (mut headed, mut empty) = (false, true);
    for (key, value) in rows {
        empty = false;
        let (table, name) = key.split_first().ok_or(CodecError::Bad("key"))?;
        let text = || std::str::from_utf8(name).map_err(|_| CodecError::Bad("key"));
        match *table {
            HEAD => {
                let head: Head = codec::decode(&value)?;
                if head.feature_level > FEATURE_LEVEL {
                    return Err(CodecError::FeatureLevel(head.feature_level));
                }
                state.now = head.now;
                state.last_term = head.last_term;
                state.last_index = head.last_index;
                state.fact_count = head.fact_count;
                state.wish_count = head.wish_count;
                state.published = head.published;
                state.feature_level = head.feature_level;
                headed = true;
            }
            ROSTER => state.roster = codec::decode(&value)?,
            AGENT => {
                let id = AgentId::parse(text()?).map_err(|_| CodecError::Bad("key"))?;
                state.agents.insert(id, codec::decode(&value)?);
            }
            LEASE => drop(state.leases.insert(text()?.to_owned(), codec::decode(&value)?)),
            ANSWER => {
                let id = CommandId::parse(text()?).map_err(|_| CodecError::Bad("key"))?;
                state.answers.insert(id, codec::decode(&value)?);
            }
            OUTBOX => drop(state.outbox.insert(outbox_key(name)?, codec::decode(&value)?)),
            _ => return Err(CodecError::Bad("table")),
        }
    }
    if headed || empty { Ok(state) } else { Err(CodecError::Bad("head")) }
}

fn outbox_key(name: &[u8]) -> Result<OutboxKey, CodecError> {
    let (index, ordinal) = name.split_at_checked(8).ok_or(CodecError::Short)?;
    Ok(OutboxKey {
        index: u64::from_be_bytes(index.try_into().map_err(|_| CodecError::Short)?),
        ordinal: u32::from_be_bytes(ordinal.try_into().map_err(|_| CodecError::Short)?),
    })
}

fn key(table: u8, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + name.len());
    key.push(table);
    key.extend_from_slice(name);
    key
}
