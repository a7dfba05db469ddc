//! The id a replica has for Raft: another one is never served in its place, and never a log under another id.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use tempfile::TempDir;
use trunkline_agent_state::raft::types::Vote;
use trunkline_agent_state::store::wal::frame::Record;
use trunkline_agent_state::store::{Store, StoreError};

fn open(dir: &Path) -> Result<u64, StoreError> {
    Store::open(dir, 4_096, 41).map(|store| store.node_id)
}

/// A replica that has an id and has voted.
fn replica() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 4_096, 40).unwrap();
    let (told, durable) = mpsc::channel();
    let done = Box::new(move |written| told.send(written).unwrap());
    store.wal.write(vec![Record::Vote(Vote::new(1, 40))], true, done).unwrap();
    durable.recv().unwrap().unwrap();
    drop(store);
    assert_eq!(open(dir.path()).unwrap(), 40);
    dir
}

#[test]
fn an_id_with_a_flipped_bit_is_not_an_id() {
    let dir = replica();
    let path = dir.path().join("node_id");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        fs::write(&path, flipped).unwrap();
        assert!(matches!(open(dir.path()), Err(StoreError::NotANodeId { .. })), "bit {at}");
    }
}

#[test]
fn an_id_as_older_programs_wrote_it_is_taken_and_gets_its_checksum() {
    let dir = replica();
    let path = dir.path().join("node_id");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, "40\n").unwrap();
    assert_eq!(open(dir.path()).unwrap(), 40);
    assert_eq!(fs::read(&path).unwrap(), whole);
}

#[test]
fn an_id_without_a_log_has_forgotten_its_votes_and_does_not_start() {
    let dir = replica();
    fs::remove_dir_all(dir.path().join("wal")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::WalLost { .. })));
}

#[test]
fn a_log_without_an_id_is_not_given_another_one() {
    let dir = replica();
    fs::remove_file(dir.path().join("node_id")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::NotANodeId { .. })));
}
