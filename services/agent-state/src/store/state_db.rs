//! The applied state in sled: rebuildable, checked whole when opened, set aside when it is not what was written.
//!
//! One batch holds the rows that changed, the last index applied and the membership. sled does not make it durable at
//! once, and need not: an older state is brought up to date from the write-ahead log. Every row carries its checksum, and the meta row the sum
//! of all of them, so a missing row is found too.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use trunkline_domain::agent_state::State;

use super::codec::{self, CodecError, Wire};
use super::rows::{self, Row};
use super::{StoreError, io_error};
use crate::raft::types::{LogId, StoredMembership, to_json};

const META: &[u8] = b"meta";
/// What the database may take on disk for any state, in bytes.
const BYTES_FLOOR: u64 = 32 << 20;
/// And how many bytes for each of the state.
const AMPLIFICATION_MAX: u64 = 16;

/// How long a lock that somebody has is waited for.
const UNLOCKED_WITHIN: Duration = Duration::from_secs(5);

/// What the database holds besides the rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meta {
    /// The last entry applied.
    pub last_applied: Option<LogId>,
    /// Who belongs to the cluster, as of that entry.
    pub membership: StoredMembership,
}

/// The database, open.
pub struct StateDb {
    db: sled::Db,
    dir: PathBuf,
    /// The wrapping sum of the checksums of all rows.
    sum: u64,
    count: u64,
}

impl StateDb {
    /// Opens the database and reads everything in it. `None` for the state when there is nothing in it yet.
    ///
    /// # Errors
    /// [`StoreError::StateDamaged`] when it is not what was written: the caller sets it aside. Others when the disk is
    /// full or fails, or another process has it open, or a newer program wrote it: no reasons to set it aside.
    pub fn open(dir: &Path) -> Result<(Self, Option<(Meta, State)>), StoreError> {
        let damaged = |reason: String| StoreError::StateDamaged { path: dir.to_owned(), reason };
        // Opening runs sled's own recovery, which has been seen to panic on damaged files.
        let opened = std::panic::catch_unwind(|| open_unlocked(dir));
        let db = match opened {
            Ok(Ok(db)) => db,
            Ok(Err(error)) => {
                return Err(
                    refusal("open state database", dir, &error).unwrap_or_else(|| damaged(error.to_string()))
                );
            }
            Err(_) => return Err(damaged("sled could not recover it".to_owned())),
        };
        let mut state_db = Self { db, dir: dir.to_owned(), sum: 0, count: 0 };
        let mut rows = Vec::new();
        for row in state_db.db.iter() {
            rows.push(row.map_err(|error| {
                refusal("read state database", dir, &error).unwrap_or_else(|| damaged(error.to_string()))
            })?);
        }
        let found = state_db.load(rows).map_err(|error| match error {
            Unloaded::Newer(source) => StoreError::Newer { path: dir.to_owned(), source },
            Unloaded::Damaged(reason) => damaged(reason),
        })?;
        Ok((state_db, found))
    }

    /// How large it is on disk, in bytes; 0 when that cannot be told.
    pub fn size_on_disk(&self) -> u64 {
        self.db.size_on_disk().unwrap_or_default()
    }

    /// How large it may be for a state of so many bytes. sled keeps several generations of a page, and its first segments
    /// cost the same for any state.
    pub fn bytes_max(state_bytes: usize) -> u64 {
        BYTES_FLOOR + AMPLIFICATION_MAX * state_bytes as u64
    }

    /// The same rows in a database made anew: sled gives nothing back to the file system by itself. A crash in between
    /// leaves none, or one without rows, and the state is rebuilt from the snapshot and the log.
    ///
    /// # Errors
    /// When the old one cannot be removed or the new one not be written.
    pub fn made_anew(self, state: &State, meta: &Meta) -> Result<Self, StoreError> {
        let dir = self.dir.clone();
        drop(self);
        std::fs::remove_dir_all(&dir).map_err(io_error("remove", &dir))?;
        let (mut fresh, _) = Self::open(&dir)?;
        fresh.replace(state, meta)?;
        Ok(fresh)
    }

    fn load(&mut self, rows: Vec<(sled::IVec, sled::IVec)>) -> Result<Option<(Meta, State)>, Unloaded> {
        let mut meta = None;
        let mut found: Vec<Row> = Vec::new();
        for (key, value) in rows {
            let crc = row_crc(&value)?;
            let body = &value[4..];
            if crc != checksum(&key, body) {
                return Err("a row's checksum does not fit".to_owned().into());
            }
            if &*key == META {
                meta = Some(body.to_vec());
            } else {
                self.sum = self.sum.wrapping_add(crc.into());
                self.count += 1;
                found.push((key.to_vec(), body.to_vec()));
            }
        }
        let Some(meta) = meta else {
            return if found.is_empty() { Ok(None) } else { Err("rows without meta".to_owned().into()) };
        };
        let stored: MetaRow = codec::decode(&meta)?;
        if (stored.sum, stored.count) != (self.sum, self.count) {
            return Err("rows are missing or too many".to_owned().into());
        }
        let membership = serde_json::from_str(&stored.membership).map_err(|error| error.to_string())?;
        let state = rows::state(found)?;
        Ok(Some((Meta { last_applied: stored.last_applied, membership }, state)))
    }

    /// Writes what changed, in one batch; `None` removes a row.
    ///
    /// # Errors
    /// When sled fails. The caller stops; the next start rebuilds.
    pub fn write(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>, meta: &Meta) -> Result<(), StoreError> {
        self.try_write(changes, meta).map_err(|error| self.failed(error))
    }

    fn failed(&self, source: sled::Error) -> StoreError {
        let path = self.dir.clone();
        refusal("write state database", &path, &source).unwrap_or(StoreError::State { path, source })
    }

    fn try_write(&mut self, changes: Vec<(Vec<u8>, Option<Vec<u8>>)>, meta: &Meta) -> sled::Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            let before = self.db.get(&key)?;
            if let Some(crc) = before.as_ref().and_then(|before| row_crc(before).ok()) {
                self.sum = self.sum.wrapping_sub(crc.into());
                self.count -= 1;
            }
            match value {
                Some(value) => {
                    self.sum = self.sum.wrapping_add(checksum(&key, &value).into());
                    self.count += 1;
                    batch.insert(key.as_slice(), row(&key, &value));
                }
                None if before.is_some() => batch.remove(key),
                // Made and gone between two batches.
                None => {}
            }
        }
        let stored = MetaRow {
            last_applied: meta.last_applied,
            membership: String::from_utf8(to_json(&meta.membership)).unwrap_or_default(),
            sum: self.sum,
            count: self.count,
        };
        batch.insert(META, row(META, &codec::encode(&stored)));
        self.db.apply_batch(batch)
    }

    /// Replaces everything, in one batch.
    ///
    /// # Errors
    /// As of [`StateDb::write`].
    pub fn replace(&mut self, state: &State, meta: &Meta) -> Result<(), StoreError> {
        let fresh: BTreeMap<_, _> = rows::rows(state).into_iter().collect();
        let mut changes = Vec::new();
        for key in self.db.iter().keys() {
            let key = key.map_err(|error| self.failed(error))?;
            // Each key once: what a batch changes twice would be counted twice.
            if &*key != META && !fresh.contains_key(&*key) {
                changes.push((key.to_vec(), None));
            }
        }
        changes.extend(fresh.into_iter().map(|(key, value)| (key, Some(value))));
        self.write(changes, meta)
    }
}

/// Why sound or unsound rows are no state.
enum Unloaded {
    Damaged(String),
    Newer(CodecError),
}

impl From<String> for Unloaded {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

impl From<CodecError> for Unloaded {
    fn from(error: CodecError) -> Self {
        if error.newer() { Self::Newer(error) } else { Self::Damaged(error.to_string()) }
    }
}

/// Opens it, and waits a moment for whoever has it open to be gone: a process that has just ended may still hold its lock.
fn open_unlocked(dir: &Path) -> sled::Result<sled::Db> {
    let began = std::time::Instant::now();
    loop {
        let config = sled::Config::new().path(dir).flush_every_ms(Some(1_000)).cache_capacity(32 << 20);
        match config.open() {
            Err(sled::Error::Io(error)) if locked(&error) && began.elapsed() < UNLOCKED_WITHIN => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened,
        }
    }
}

/// sled says of a lock that somebody has it in its own words, or as the system does.
fn locked(error: &io::Error) -> bool {
    let text = error.to_string();
    text.contains("could not acquire lock") || text.contains("WouldBlock")
}

/// The operating system's refusal behind an error of sled's; `None` when sled itself found fault with what it read.
///
/// sled copies its errors and then keeps of the operating system's only how it prints: `Os { code: 28, … }`.
fn refusal(action: &'static str, path: &Path, error: &sled::Error) -> Option<StoreError> {
    let sled::Error::Io(error) = error else { return None };
    let text = error.to_string();
    let printed = || text.split_once("Os { code: ")?.1.split(',').next()?.parse().ok();
    let source = match error.raw_os_error().or_else(printed) {
        Some(code) => io::Error::from_raw_os_error(code),
        None if text.contains("could not acquire lock") => io::Error::other("another process has it open"),
        None => return None,
    };
    Some(StoreError::Io { action, path: path.to_owned(), source })
}

struct MetaRow {
    last_applied: Option<LogId>,
    membership: String,
    sum: u64,
    count: u64,
}

impl Wire for MetaRow {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { last_applied, membership, sum, count } = self;
        last_applied.put(out);
        membership.put(out);
        sum.put(out);
        count.put(out);
    }
    fn get(input: &mut codec::Input<'_>) -> Result<Self, codec::CodecError> {
        Ok(Self {
            last_applied: Wire::get(input)?,
            membership: Wire::get(input)?,
            sum: Wire::get(input)?,
            count: Wire::get(input)?,
        })
    }
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), body)
}

fn row(key: &[u8], body: &[u8]) -> Vec<u8> {
    let mut row = checksum(key, body).to_le_bytes().to_vec();
    row.extend_from_slice(body);
    row
}

fn row_crc(value: &[u8]) -> Result<u32, String> {
    let crc = value.first_chunk::<4>().ok_or_else(|| "a row is too short".to_owned())?;
    Ok(u32::from_le_bytes(*crc))
}

#[cfg(test)]
mod tests {
    use trunkline_domain::agent_state::{Lease, Roster};
    use trunkline_domain::vocabulary::Timestamp;

    use super::*;

    /// With rows in several tables.
    fn state(leases: &[&str]) -> State {
        let lease = Lease { sequence: 9, ..Lease::default() };
        State {
            now: Timestamp(7),
            roster: Roster { revision: leases.len() as u64, ..Roster::default() },
            leases: leases.iter().map(|resource| ((*resource).to_owned(), lease.clone())).collect(),
            ..State::default()
        }
    }

    #[test]
    fn a_state_put_in_the_place_of_another_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        for leases in [&["a", "b", "c"][..], &["b", "c", "d", "e"], &[], &["a"], &["a"]] {
            let wanted = state(leases);
            {
                let (mut db, _) = StateDb::open(dir.path()).unwrap();
                db.replace(&wanted, &Meta::default()).unwrap();
            }
            let (_, found) = StateDb::open(dir.path()).unwrap();
            assert_eq!(found.map(|(_, state)| state), Some(wanted), "{leases:?}");
        }
    }
}
