//! Who this replica is for Raft: an id minted once and kept with its data, never an ordinal.
//!
//! It is written last of all that a new replica makes, so an id that can be read says that the directories and the log
//! beside it were durable before. An id without a log, or a log without an id, has lost something.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::{StoreError, io_error};

/// An id as it stands on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// With its checksum.
    Checked(u64),
    /// As older programs wrote it, before they made the log: it says nothing about one.
    Bare(u64),
}

fn path(dir: &Path) -> PathBuf {
    dir.join("node_id")
}

fn line(id: u64) -> String {
    let digits = id.to_string();
    format!("node {digits} crc32c {:08x}\n", crc32c::crc32c(digits.as_bytes()))
}

/// The id kept in `dir`; `None` when there is none yet.
///
/// # Errors
/// When the file cannot be read, or what is in it is no id: another one must not be served in its place.
pub fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<Identity>, StoreError> {
    let path = path(dir);
    if !disk.exists(&path).map_err(io_error("look for", &path))? {
        return Ok(None);
    }
    let bytes = disk.read(&path).map_err(io_error("read", &path))?;
    let found = || {
        let text = str::from_utf8(&bytes).ok()?;
        // Zero means nobody on the wire.
        let id_of = |digits: &str| digits.parse().ok().filter(|id| *id != 0);
        if let Some(id) = id_of(text.trim()) {
            return Some(Identity::Bare(id));
        }
        let id = id_of(text.split(' ').nth(1)?)?;
        (line(id) == text).then_some(Identity::Checked(id))
    };
    found().map(Some).ok_or_else(|| StoreError::NotANodeId { path })
}

/// Keeps an id, durable when this returns.
///
/// # Errors
/// When the disk refuses.
pub fn write(disk: &dyn Disk, dir: &Path, id: u64) -> Result<(), StoreError> {
    let path = path(dir);
    let partial = dir.join("node_id.partial");
    let mut file = disk.create(&partial).map_err(io_error("make", &partial))?;
    file.write_at(line(id).as_bytes(), 0).map_err(io_error("write", &partial))?;
    file.sync().map_err(io_error("sync", &partial))?;
    disk.rename(&partial, &path).map_err(io_error("rename", &partial))?;
    disk.sync_dir(dir).map_err(io_error("sync", dir))
}
