//! One record of the write-ahead log on disk.
//!
//! ```text
//! ┌────────┬────────┬──────────┬─────────┐
//! │length  │crc     │synced    │payload  │
//! │u32     │u32     │u64       │         │
//! └────────┴────────┴──────────┴─────────┘
//! ```
//! Little-endian. `length` is the payload's. `crc` is CRC32C of everything else in the frame and of the place where it stands
//! (segment number and offset), so bytes moved elsewhere never parse. `synced` is how much of the segment was
//! durable when the frame was written: it tells a torn tail, which was never acknowledged, from damage.

use crate::raft::types::{Entry, LogId, Vote};
use crate::store::codec::{self, CodecError, Wire};

/// Of the part before the payload, in bytes.
pub const HEADER_LEN: usize = 16;
/// The largest payload, in bytes: a snapshot of the directory's roster fits many times.
pub const PAYLOAD_LEN_MAX: usize = 64 << 20;

/// What is logged.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Whom this replica votes for.
    Vote(Vote),
    /// An entry, at the index behind the last one.
    Entry(Entry),
    /// Entries from this index on are forgotten: another leader has others.
    Truncate(u64),
    /// Entries up to this one are in a snapshot and are forgotten.
    Purge(LogId),
    /// Entries up to this one are committed.
    Committed(Option<LogId>),
    /// The first record of a segment: what all segments before it come to, so that they may be deleted.
    Checkpoint(Checkpoint),
}

/// What a log comes to, but for its entries.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checkpoint {
    /// Whom this replica votes for.
    pub vote: Option<Vote>,
    /// The last entry forgotten.
    pub purged: Option<LogId>,
    /// The last entry known to be committed.
    pub committed: Option<LogId>,
    /// The index of the next entry.
    pub next_index: u64,
}

impl Wire for Record {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Vote(vote) => {
                1u8.put(out);
                vote.put(out);
            }
            Self::Entry(entry) => {
                2u8.put(out);
                entry.put(out);
            }
            Self::Truncate(since) => {
                3u8.put(out);
                since.put(out);
            }
            Self::Purge(log_id) => {
                4u8.put(out);
                log_id.put(out);
            }
            Self::Committed(log_id) => {
                5u8.put(out);
                log_id.put(out);
            }
            Self::Checkpoint(Checkpoint { vote, purged, committed, next_index }) => {
                6u8.put(out);
                vote.put(out);
                purged.put(out);
                committed.put(out);
                next_index.put(out);
            }
        }
    }
    fn get(input: &mut codec::Input<'_>) -> Result<Self, CodecError> {
        Ok(match u8::get(input)? {
            1 => Self::Vote(Wire::get(input)?),
            2 => Self::Entry(Wire::get(input)?),
            3 => Self::Truncate(Wire::get(input)?),
            4 => Self::Purge(Wire::get(input)?),
            5 => Self::Committed(Wire::get(input)?),
            6 => Self::Checkpoint(Checkpoint {
                vote: Wire::get(input)?,
                purged: Wire::get(input)?,
                committed: Wire::get(input)?,
                next_index: Wire::get(input)?,
            }),
            _ => return Err(CodecError::Bad("record")),
        })
    }
}

/// Where frames stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// Appends the frame of a payload that will stand at `place`.
pub fn append(out: &mut Vec<u8>, payload: &[u8], synced: u64, place: Place) {
    let length = (payload.len() as u32).to_le_bytes();
    let synced = synced.to_le_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(length, synced, payload, place).to_le_bytes());
    out.extend_from_slice(&synced);
    out.extend_from_slice(payload);
}

fn checksum(length: [u8; 4], synced: [u8; 8], payload: &[u8], place: Place) -> u32 {
    let crc = crc32c::crc32c(&place.segment.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &place.offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &length);
    let crc = crc32c::crc32c_append(crc, &synced);
    crc32c::crc32c_append(crc, payload)
}

/// A frame that stands where it should and is whole.
pub struct Frame<'a> {
    /// How much of the segment was durable when it was written.
    pub synced: u64,
    /// What it holds.
    pub payload: &'a [u8],
    /// Of the whole, in bytes.
    pub len: usize,
}

/// The frame at the beginning of `bytes`, which stand at `place`; `None` when there is no whole one.
pub fn read(bytes: &[u8], place: Place) -> Option<Frame<'_>> {
    let (head, rest) = bytes.split_at_checked(HEADER_LEN)?;
    let length: [u8; 4] = head[..4].try_into().ok()?;
    let crc = u32::from_le_bytes(head[4..8].try_into().ok()?);
    let synced: [u8; 8] = head[8..].try_into().ok()?;
    let payload_len = u32::from_le_bytes(length) as usize;
    if payload_len > PAYLOAD_LEN_MAX {
        return None;
    }
    let payload = rest.get(..payload_len)?;
    (checksum(length, synced, payload, place) == crc).then(|| Frame {
        synced: u64::from_le_bytes(synced),
        payload,
        len: HEADER_LEN + payload_len,
    })
}

/// The record of a payload.
///
/// # Errors
/// When it is not exactly one record of a known version.
pub fn record(payload: &[u8]) -> Result<Record, CodecError> {
    codec::decode(payload)
}
