//! Snapshots: plain checksummed files, whole or not there.
//!
//! ```text
//! snapshots/<index, 20 digits>.snapshot   magic · CRC32C of the rest · meta (JSON) · the state's rows
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use trunkline_domain::agent_state::State;

use super::codec::{self, Wire};
use super::{StoreError, io_error, rows, sync_dir};
use crate::raft::types::{SnapshotMeta, to_json};

const MAGIC: &[u8; 8] = b"TKSNAP\x01\n";

/// The state as bytes, for a snapshot on disk or on the wire.
pub fn encode_state(state: &State) -> Vec<u8> {
    let rows: Vec<(Bytes, Bytes)> =
        rows::rows(state).into_iter().map(|(key, value)| (Bytes(key), Bytes(value))).collect();
    codec::encode(&rows)
}

/// The state of such bytes.
///
/// # Errors
/// When they are not what [`encode_state`] made.
pub fn decode_state(bytes: &[u8]) -> Result<State, codec::CodecError> {
    let rows: Vec<(Bytes, Bytes)> = codec::decode(bytes)?;
    rows::state(rows.into_iter().map(|(key, value)| (key.0, value.0)))
}

struct Bytes(Vec<u8>);

impl Wire for Bytes {
    fn put(&self, out: &mut Vec<u8>) {
        codec::put_bytes(&self.0, out);
    }
    fn get(input: &mut codec::Input<'_>) -> Result<Self, codec::CodecError> {
        codec::get_bytes(&mut input.bytes).map(|bytes| Self(bytes.to_vec()))
    }
}

/// Writes a snapshot, durable when this returns, and removes older ones.
///
/// # Errors
/// When the files cannot be written.
pub fn write(dir: &Path, meta: &SnapshotMeta, state: &[u8]) -> Result<(), StoreError> {
    let index = meta.last_log_id.map_or(0, |log_id| log_id.index);
    let mut body = Vec::with_capacity(state.len() + 1024);
    codec::put_bytes(&to_json(meta), &mut body);
    body.extend_from_slice(state);
    let path = dir.join(format!("{index:020}.snapshot"));
    let partial = path.with_extension("partial");
    let mut file = File::create(&partial).map_err(io_error("make", &partial))?;
    let written = file
        .write_all(MAGIC)
        .and_then(|()| file.write_all(&crc32c::crc32c(&body).to_le_bytes()))
        .and_then(|()| file.write_all(&body))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&partial, &path));
    written.map_err(io_error("write", &path))?;
    sync_dir(dir)?;
    for other in paths(dir, "snapshot")? {
        if other < path {
            fs::remove_file(&other).map_err(io_error("remove", &other))?;
        }
    }
    Ok(())
}

/// The newest snapshot, as meta and state bytes. A damaged one goes to quarantine, and the one before it counts.
///
/// # Errors
/// When the directory cannot be read or a damaged file cannot be moved.
pub fn newest(dir: &Path, quarantine: &Path) -> Result<Option<(SnapshotMeta, Vec<u8>)>, StoreError> {
    for path in paths(dir, "snapshot")?.into_iter().rev() {
        match read(&path)? {
            Some(found) => return Ok(Some(found)),
            None => super::set_aside(&path, quarantine, "snapshot")?,
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Option<(SnapshotMeta, Vec<u8>)>, StoreError> {
    let bytes = fs::read(path).map_err(io_error("read", path))?;
    let found = || {
        let body = bytes.strip_prefix(MAGIC)?;
        let (crc, mut body) = body.split_at_checked(4)?;
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return None;
        }
        let meta = serde_json::from_slice(codec::get_bytes(&mut body).ok()?).ok()?;
        decode_state(body).ok()?;
        Some((meta, body.to_vec()))
    };
    Ok(found())
}

/// Removes what a crash left half-written. Before anybody writes: one snapshot may be written while another is read.
///
/// # Errors
/// When a file cannot be removed.
pub fn tidy(dir: &Path) -> Result<(), StoreError> {
    for path in paths(dir, "partial")? {
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
    }
    Ok(())
}

/// The files of one kind, in order.
fn paths(dir: &Path, kind: &str) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("list", dir))? {
        let path = entry.map_err(io_error("list", dir))?.path();
        if path.extension().is_some_and(|extension| extension == kind) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
