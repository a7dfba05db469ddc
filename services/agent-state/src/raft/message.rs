//! openraft's messages as bytes: small parts as JSON, entries and snapshot chunks as they are on disk.

use openraft::raft::{AppendEntriesRequest, InstallSnapshotRequest};
use serde::de::DeserializeOwned;

use super::types::{Entry, TypeConfig, to_json};
use crate::store::codec::{self, CodecError, Wire};

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
    let mut out = vec![codec::VERSION];
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
    request.entries = Vec::<Entry>::get(&mut rest)?;
    Ok(request)
}

/// A chunk of a snapshot.
pub fn install(mut request: InstallSnapshotRequest<TypeConfig>) -> Vec<u8> {
    let data = std::mem::take(&mut request.data);
    let mut out = vec![codec::VERSION];
    codec::put_bytes(&to_json(&request), &mut out);
    out.extend_from_slice(&data);
    out
}

/// Reads a chunk of a snapshot.
///
/// # Errors
/// When it is malformed or of another version.
pub fn read_install(bytes: &[u8]) -> Result<InstallSnapshotRequest<TypeConfig>, MessageError> {
    let mut rest = bytes;
    let mut request: InstallSnapshotRequest<TypeConfig> = head(&mut rest)?;
    request.data = rest.to_vec();
    Ok(request)
}

fn head<T: DeserializeOwned>(rest: &mut &[u8]) -> Result<T, MessageError> {
    match u8::get(rest)? {
        codec::VERSION => Ok(serde_json::from_slice(codec::get_bytes(rest)?)?),
        other => Err(CodecError::Version(other).into()),
    }
}
