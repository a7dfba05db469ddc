//! The store under openraft's own suite, under a crash at every byte, under a flipped bit at every byte.
#![allow(clippy::unwrap_used, reason = "tests")]

mod crash;

use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;

use crash::disk::SimDisk;
use crash::platter::Image;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;
use trunkline_agent_state::raft::types::{Entry, LeaderId, LogId, Proposed, StorageError, TypeConfig, Vote};
use trunkline_agent_state::store::disk::Disk;
use trunkline_agent_state::store::wal::frame::{self, Place, Record};
use trunkline_agent_state::store::wal::memory::Memory;
use trunkline_agent_state::store::wal::{Wal, WalError};
use trunkline_agent_state::store::{MachineStore, Store};

struct Builder;

impl StoreBuilder<TypeConfig, Wal, MachineStore, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, Wal, MachineStore), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), 4096, 7).unwrap();
        Ok((dir, store.wal, store.machine))
    }
}

#[test]
fn the_store_passes_openraft_s_own_suite() {
    tokio::runtime::Runtime::new().unwrap().block_on(Suite::test_all(Builder)).unwrap();
}

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId { term: 1, node_id: 1 }, index)
}

fn entry(index: u64, len: usize) -> Record {
    let payload = openraft::EntryPayload::Normal(Proposed(vec![index as u8; len]));
    Record::Entry(Entry { log_id: log_id(index), payload })
}

/// Votes, entries, a truncation, a purge, over several segments.
fn records() -> Vec<Record> {
    let mut records = vec![Record::Vote(Vote::new(1, 1)), Record::Vote(Vote::new_committed(1, 1))];
    records.extend((0..6).map(|index| entry(index, 40)));
    records.push(Record::Truncate(4));
    records.extend((4..9).map(|index| entry(index, 60)));
    records.push(Record::Committed(Some(log_id(6))));
    records.push(Record::Vote(Vote::new(2, 2)));
    records.push(Record::Purge(log_id(3)));
    records.extend((9..12).map(|index| entry(index, 40)));
    records
}

fn write(wal: &Wal, record: Record) {
    let (told, durable) = mpsc::channel();
    wal.write(vec![record], true, Box::new(move |result| told.send(result).unwrap())).unwrap();
    durable.recv().unwrap().unwrap();
    // Whatever the writer does behind the acknowledgement, to segments, it has done when it answers again.
    let (told, done) = mpsc::channel();
    wal.write(Vec::new(), false, Box::new(move |result| told.send(result).unwrap())).unwrap();
    done.recv().unwrap().unwrap();
}

/// Names and bytes, by name.
type Files = Vec<(String, Vec<u8>)>;

/// Where the log is; on no real disk.
const LOG: &str = "/wal";

fn files(disk: &SimDisk) -> Files {
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    disk.list(LOG.as_ref()).unwrap().iter().map(|path| (name(path), disk.read(path).unwrap())).collect()
}

fn disk_of(files: &[(String, Vec<u8>)]) -> SimDisk {
    let files = files.iter().map(|(name, bytes)| (name.into(), bytes.clone())).collect();
    SimDisk::of(LOG.as_ref(), &Image { files, ..Image::default() })
}

/// Writes every record durably; after each, the files as they are and the log as it reads.
fn history(segment_bytes: u64) -> Vec<(Files, Memory)> {
    let disk = disk_of(&[]);
    let wal = Wal::open_on(disk.shared(), LOG.as_ref(), segment_bytes).unwrap();
    let mut history = vec![(files(&disk), wal.memory().clone())];
    for record in records() {
        write(&wal, record);
        let memory = wal.memory().clone();
        history.push((files(&disk), memory));
    }
    history
}

fn reopened(files: &[(String, Vec<u8>)]) -> Result<Memory, WalError> {
    let wal = Wal::open_on(disk_of(files).shared(), LOG.as_ref(), 1 << 20)?;
    let memory = wal.memory().clone();
    Ok(memory)
}

#[test]
fn a_crash_at_any_byte_loses_nothing_that_was_acknowledged() {
    for segment_bytes in [1 << 20, 300] {
        let history = history(segment_bytes);
        for (before, after) in history.iter().zip(&history[1..]) {
            assert_eq!(reopened(&after.0).unwrap(), after.1);
            // Between two acknowledgements the newest of the old segments grew: cut it at every length.
            let (name, old) = before.0.last().unwrap();
            let Some((_, new)) = after.0.iter().find(|(other, _)| other == name) else { continue };
            let place = Place { segment: name[..20].parse().unwrap(), offset: old.len() as u64 };
            let end = old.len() + frame::read(&new[old.len()..], place).unwrap().len;
            for len in old.len()..new.len() {
                let mut cut = before.0.clone();
                cut.last_mut().unwrap().1 = new[..len].to_vec();
                let expected = if len < end { &before.1 } else { &after.1 };
                assert_eq!(reopened(&cut).unwrap(), *expected, "{name} cut at {len}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_wherever_it_is_but_in_the_last_seal_which_promises_nothing() {
    let history = history(1 << 20);
    let (files, memory) = history.last().unwrap();
    let (name, bytes) = &files[0];
    let mut seal = 0;
    while let Some(frame) = frame::read(&bytes[seal..], Place { segment: 1, offset: seal as u64 }) {
        if seal + frame.len == bytes.len() {
            break;
        }
        seal += frame.len;
    }
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        match reopened(&[(name.clone(), flipped)]) {
            Err(WalError::Damaged { path, offset, .. }) => {
                assert!(at < seal && path.ends_with(name) && offset <= at as u64, "byte {at}: {offset}");
            }
            Err(other) => panic!("byte {at}: {other}"),
            Ok(found) => assert!(at >= seal && found == *memory, "byte {at} of {} passed", bytes.len()),
        }
    }
}

#[test]
fn a_damaged_log_stays_refused_until_the_mark_is_taken_away() {
    let history = history(1 << 20);
    let (files, _) = history.last().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(&files[0].0);
    let mut bytes = files[0].1.clone();
    bytes[100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Wal::open(dir.path(), 4096), Err(WalError::Damaged { .. })));
    fs::write(&path, &files[0].1).unwrap();
    assert!(matches!(Wal::open(dir.path(), 4096), Err(WalError::Quarantined { .. })));
    fs::remove_file(dir.path().join("QUARANTINED")).unwrap();
    assert!(Wal::open(dir.path(), 4096).is_ok());
}

#[test]
fn a_missing_segment_is_refused_and_purged_ones_are_deleted() {
    let history = history(300);
    let (files, memory) = history.last().unwrap();
    assert!(files.len() > 2, "several segments");
    assert_ne!(files[0].0, format!("{:020}.wal", 1), "the first one is gone with the purge");
    assert_eq!(reopened(files).unwrap(), *memory);
    for missing in 0..files.len() - 1 {
        let mut left = files.clone();
        left.remove(missing);
        match reopened(&left) {
            Err(WalError::Damaged { .. }) => {}
            // All it held was purged: it might have been deleted by us.
            Ok(found) => assert!(missing == 0 && found == *memory, "without {}", files[missing].0),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_damaged_state_database_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), 4096, 7).unwrap());
    let db = sled::open(dir.path().join("state")).unwrap();
    db.insert(b"aagt_x", b"garbage").unwrap();
    db.flush().unwrap();
    drop(db);
    let store = Store::open(dir.path(), 4096, 8).unwrap();
    assert_eq!(store.node_id, 7, "the id stays with the data");
    assert!(dir.path().join("quarantine-state-1").exists());
}
