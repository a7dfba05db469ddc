//! openraft's messages as bytes: small parts as JSON, entries and snapshot chunks as they are on disk.

use openraft::raft::AppendEntriesRequest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::types::{Entry, SnapshotMeta, TypeConfig, Vote, to_json};
use crate::store::codec::{self, CodecError, Input, Wire};

/// The form of messages. Replicas of two versions speak to each other, so it has nothing to do with that of what is stored.
const FORM: u8 = 1;

/// A part of a snapshot. openraft 0.10 leaves the parts to its users; these are those of 0.9, so that replicas on both
/// understand each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The leader's.
    pub vote: Vote,
    /// What the snapshot is of.
    pub meta: SnapshotMeta,
    /// Where in the state's bytes it begins.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
    /// Whether it is the last.
    pub done: bool,
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Its binary part.
    #[error("message is malformed")]
    Codec(#[from] CodecError),
    /// Its JSON part.
    #[error("message is malformed")]
    Json(#[from] serde_json::Error),
}

/// An append request.
pub fn append(mut request: AppendEntriesRequest<TypeConfig>) -> Vec<u8> {
    let entries = std::mem::take(&mut request.entries);
    let mut out = vec![FORM];
    codec::put_bytes(&to_json(&request), &mut out);
    entries.put(&mut out);
    out
}

/// Reads an append request.
///
/// # Errors
/// When it is malformed or of another version.
pub fn read_append(bytes: &[u8]) -> Result<AppendEntriesRequest<TypeConfig>, MessageError> {
    let mut rest = bytes;
    let mut request: AppendEntriesRequest<TypeConfig> = head(&mut rest)?;
    request.entries = Vec::<Entry>::get(&mut Input { bytes: rest, version: codec::VERSION })?;
    Ok(request)
}

/// A chunk of a snapshot.
pub fn install(mut chunk: Chunk) -> Vec<u8> {
    let data = std::mem::take(&mut chunk.data);
    let mut out = vec![FORM];
    codec::put_bytes(&to_json(&chunk), &mut out);
    out.extend_from_slice(&data);
    out
}

/// Reads a chunk of a snapshot.
///
/// # Errors
/// When it is malformed or of another version.
pub fn read_install(bytes: &[u8]) -> Result<Chunk, MessageError> {
    let mut rest = bytes;
    let mut chunk: Chunk = head(&mut rest)?;
    chunk.data = rest.to_vec();
    Ok(chunk)
}

fn head<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, MessageError> {
    match rest.split_first().ok_or(CodecError::Short)? {
        (&FORM, body) => *rest = body,
        (other, _) => return Err(CodecError::Version(*other).into()),
    }
    Ok(serde_json::from_slice(codec::get_bytes(rest)?)?)
}
