//! The rows of the store: what the folds hold, as protobuf messages behind a version and a checksum.
//!
//! A row that does not read back exactly is an error; the store is then rebuilt from the logs, never patched.

mod agent;
mod contact;

use prost::Message;
use trunkline_domain::reporting::{Definitions, Threshold};
use trunkline_domain::vocabulary::{Epoch, IdError, Millis, Timestamp};
use trunkline_runtime::event_log::{FenceState, LaneState};

pub use self::agent::{SheetRow, WrapUpRow};
pub use self::contact::{ContactRow, party_word};

/// The version of every row. A store of another version is rebuilt.
pub const VERSION: u8 = 3;

/// Version and checksum in front of every row, in bytes.
const HEADER_LEN: usize = 5;

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// Written by another version of this program.
    #[error("row of version {0}, this program reads {VERSION}")]
    Version(u8),
    /// Too short, or its checksum is another.
    #[error("row is damaged")]
    Damaged,
    /// Not the message it should be.
    #[error("row is no such message")]
    Message(#[from] prost::DecodeError),
    /// An id in it is none.
    #[error("row holds a bad id")]
    Id(#[from] IdError),
    /// Something else in it is not what it should be.
    #[error("row holds a bad {0}")]
    Field(&'static str),
}

/// A row as stored: version, CRC-32C of the rest, the message.
pub fn seal(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut row = Vec::with_capacity(HEADER_LEN + body.len());
    row.push(VERSION);
    row.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    row.extend_from_slice(&body);
    row
}

/// The message of a stored row.
///
/// # Errors
/// When it is of another version or not what was written.
pub fn unseal<M: Message + Default>(row: &[u8]) -> Result<M, RowError> {
    let (header, body) = row.split_at_checked(HEADER_LEN).ok_or(RowError::Damaged)?;
    let (version, checksum) = header.split_first().ok_or(RowError::Damaged)?;
    if *version != VERSION {
        return Err(RowError::Version(*version));
    }
    if checksum != crc32c::crc32c(body).to_le_bytes() {
        return Err(RowError::Damaged);
    }
    Ok(M::decode(body)?)
}

/// [`Definitions`].
#[derive(Clone, PartialEq, Message)]
pub struct DefinitionsRow {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(int64, tag = "2")]
    revision_effective_at: i64,
    #[prost(message, repeated, tag = "3")]
    thresholds: Vec<ThresholdRow>,
}

#[derive(Clone, PartialEq, Message)]
struct ThresholdRow {
    #[prost(string, tag = "1")]
    company_id: String,
    #[prost(int64, tag = "2")]
    effective_at: i64,
    #[prost(int64, tag = "3")]
    threshold_ms: i64,
}

impl From<&Definitions> for DefinitionsRow {
    fn from(it: &Definitions) -> Self {
        let all =
            it.thresholds.iter().flat_map(|(company_id, them)| them.iter().map(move |it| (company_id, it)));
        let thresholds = all.map(|(company_id, it)| ThresholdRow {
            company_id: company_id.to_string(),
            effective_at: it.effective_at.0,
            threshold_ms: it.threshold_ms.0,
        });
        Self {
            sequence: it.sequence,
            revision_effective_at: it.revision_effective_at.0,
            thresholds: thresholds.collect(),
        }
    }
}

impl TryFrom<DefinitionsRow> for Definitions {
    type Error = RowError;

    fn try_from(row: DefinitionsRow) -> Result<Self, RowError> {
        let mut definitions = Self {
            sequence: row.sequence,
            revision_effective_at: Timestamp(row.revision_effective_at),
            ..Self::default()
        };
        for it in row.thresholds {
            let threshold =
                Threshold { effective_at: Timestamp(it.effective_at), threshold_ms: Millis(it.threshold_ms) };
            definitions.thresholds.entry(it.company_id.parse()?).or_default().push(threshold);
        }
        Ok(definitions)
    }
}

/// How far one partition was folded, and what the reader knew there.
#[derive(Clone, PartialEq, Message)]
pub struct WatermarkRow {
    /// The last record read.
    #[prost(uint64, tag = "1")]
    pub position: u64,
    /// When the newest fact happened; absent before the first.
    #[prost(int64, optional, tag = "2")]
    pub newest_at: Option<i64>,
    /// Facts folded.
    #[prost(uint64, tag = "3")]
    pub fact_count: u64,
    #[prost(message, repeated, tag = "4")]
    lanes: Vec<LaneRow>,
}

#[derive(Clone, PartialEq, Message)]
struct LaneRow {
    #[prost(string, tag = "1")]
    lane: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(uint64, tag = "3")]
    sequence: u64,
}

impl WatermarkRow {
    /// A row with the lanes of a reader.
    pub fn new(position: u64, newest_at: Option<Timestamp>, fact_count: u64, fence: &FenceState) -> Self {
        let lanes = fence.lanes().map(|(lane, it)| LaneRow {
            lane: lane.to_owned(),
            epoch: it.epoch.0,
            sequence: it.sequence,
        });
        Self { position, newest_at: newest_at.map(|at| at.0), fact_count, lanes: lanes.collect() }
    }

    /// The lanes it holds.
    pub fn fence(&self) -> FenceState {
        FenceState::from_lanes(
            self.lanes
                .iter()
                .map(|it| (it.lane.clone(), LaneState { epoch: Epoch(it.epoch), sequence: it.sequence })),
        )
    }
}

/// Where one record of a contact's story stands.
#[derive(Clone, PartialEq, Message)]
pub struct StoryRow {
    /// The record to read from; absent for the beginning of the partition.
    #[prost(uint64, optional, tag = "1")]
    pub after: Option<u64>,
}
