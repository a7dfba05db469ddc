//! Snapshots: plain checksummed files, whole or not there.
//!
//! ```text
//! snapshots/<index, 20 digits>.snapshot   magic · CRC32C of the rest · meta (JSON) · the state's rows
//! ```
//! Between replicas the state's rows travel in chunks, and their checksum in the snapshot's id.

use std::io;
use std::path::{Path, PathBuf};

use trunkline_domain::agent_state::State;

use super::codec::{self, Wire};
use super::disk::Disk;
use super::{StoreError, io_error, rows};
use crate::raft::types::{LogId, SnapshotMeta, to_json};

const MAGIC: &[u8; 8] = b"TKSNAP\x01\n";
/// How often the names are listed anew because one vanished; each time somebody else wrote a whole snapshot meanwhile.
const LOOKS_MAX: u32 = 100;

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
    fn get(input: &mut &[u8]) -> Result<Self, codec::CodecError> {
        codec::get_bytes(input).map(|bytes| Self(bytes.to_vec()))
    }
}

/// What a snapshot is called among replicas: what it is of, and the checksum of the state's bytes.
///
/// The id goes over the wire with the bytes, so that what arrives is compared with what was sent.
pub fn id(last_log_id: Option<LogId>, state: &[u8]) -> String {
    let (term, node_id, index) =
        last_log_id.map_or((0, 0, 0), |it| (it.leader_id.term, it.leader_id.node_id, it.index));
    format!("{term}-{node_id}-{index}-{:08x}", crc32c::crc32c(state))
}

/// Whether the bytes are those the meta was made for. Older programs put no checksum into the id, and are believed.
pub fn fits(meta: &SnapshotMeta, state: &[u8]) -> bool {
    meta.snapshot_id.split('-').count() < 4 || meta.snapshot_id == id(meta.last_log_id, state)
}

/// Writes a snapshot, durable when this returns, and removes older ones.
///
/// # Errors
/// When the files cannot be written.
pub fn write(disk: &dyn Disk, dir: &Path, meta: &SnapshotMeta, state: &[u8]) -> Result<(), StoreError> {
    let index = meta.last_log_id.map_or(0, |log_id| log_id.index);
    let mut head = Vec::with_capacity(1024);
    codec::put_bytes(&to_json(meta), &mut head);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&head), state).to_le_bytes();
    let path = dir.join(format!("{index:020}.snapshot"));
    let partial = path.with_extension("partial");
    let mut file = disk.create(&partial).map_err(io_error("make", &partial))?;
    let mut offset = 0;
    for part in [&MAGIC[..], &crc[..], &head[..], state] {
        file.write_at(part, offset).map_err(io_error("write", &partial))?;
        offset += part.len() as u64;
    }
    file.sync().map_err(io_error("sync", &partial))?;
    disk.rename(&partial, &path).map_err(io_error("rename", &partial))?;
    disk.sync_dir(dir).map_err(io_error("sync", dir))?;
    for other in paths(disk, dir, "snapshot")? {
        if other < path {
            disk.remove(&other).map_err(io_error("remove", &other))?;
        }
    }
    Ok(())
}

/// The newest snapshot, as meta and state bytes. A damaged one goes to quarantine, and the one before it counts.
///
/// # Errors
/// When the directory cannot be read or a damaged file cannot be moved.
pub fn newest(
    disk: &dyn Disk,
    dir: &Path,
    quarantine: &Path,
) -> Result<Option<(SnapshotMeta, Vec<u8>)>, StoreError> {
    let mut looks = 0;
    'look: loop {
        looks += 1;
        for path in paths(disk, dir, "snapshot")?.into_iter().rev() {
            let bytes = match disk.read(&path) {
                // A newer one is there since the names were listed, and has removed this one.
                Err(error) if error.kind() == io::ErrorKind::NotFound && looks < LOOKS_MAX => continue 'look,
                read => read.map_err(io_error("read", &path))?,
            };
            match parse(&bytes) {
                Some(found) => return Ok(Some(found)),
                None => super::set_aside(disk, &path, quarantine, "snapshot")?,
            }
        }
        return Ok(None);
    }
}

fn parse(bytes: &[u8]) -> Option<(SnapshotMeta, Vec<u8>)> {
    let body = bytes.strip_prefix(MAGIC)?;
    let (crc, mut body) = body.split_at_checked(4)?;
    if crc != crc32c::crc32c(body).to_le_bytes() {
        return None;
    }
    let meta = serde_json::from_slice(codec::get_bytes(&mut body).ok()?).ok()?;
    decode_state(body).ok()?;
    Some((meta, body.to_vec()))
}

/// Removes what a crash left half-written, and makes the names that are there durable: the process before may have
/// ended between giving a name and syncing it, and the log must not be purged on the word of a snapshot that can vanish.
/// Before anybody writes: one snapshot may be written while another is read.
///
/// # Errors
/// When a file cannot be removed or the directory cannot be synced.
pub fn tidy(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    for path in paths(disk, dir, "partial")? {
        disk.remove(&path).map_err(io_error("remove", &path))?;
    }
    disk.sync_dir(dir).map_err(io_error("sync", dir))
}

/// The files of one kind, in order.
fn paths(disk: &dyn Disk, dir: &Path, kind: &str) -> Result<Vec<PathBuf>, StoreError> {
    let mut paths = disk.list(dir).map_err(io_error("list", dir))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == kind));
    Ok(paths)
}
