//! The disk of a replica stays as small as what it keeps, and its snapshots arrive as they were sent.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use openraft::RaftSnapshotBuilder;
use openraft::storage::RaftStateMachine;
use prost::Message;
use trunkline_agent_state::raft::types::{Entry, LeaderId, LogId, Proposed, SnapshotMeta};
use trunkline_agent_state::store::disk::{Disk, DiskFile, RealDisk};
use trunkline_agent_state::store::wal::frame::Record;
use trunkline_agent_state::store::{MachineStore, StateDb, Store, snapshot};
use trunkline_domain::agent_state::{FEATURE_LEVEL, State};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::logged_command::Action;
use trunkline_runtime::error_chain;

fn log_id(index: u64) -> LogId {
    LogId::new(LeaderId { term: 1, node_id: 1 }, index)
}

/// Agents who sign in, and then change why they are not ready, a second apart; their facts are published soon after.
fn entry(index: u64) -> Entry {
    let command_id = format!("cmd_{index}");
    let agent_id = format!("agt_{}", index % 50);
    let action = match index {
        0 => Action::DefineRoster(api::DefineRosterRequest {
            command_id,
            directory_revision: 1,
            agents: (0..50)
                .map(|it| api::RosterAgent { agent_id: format!("agt_{it}"), cell: 1, ..Default::default() })
                .collect(),
            queues: Vec::new(),
            reasons: Vec::new(),
        }),
        1..=50 => {
            let session_id = format!("ses_{index}");
            Action::SignIn(api::SignInRequest { command_id, agent_id, session_id, ..Default::default() })
        }
        _ if index % 100 == 99 => {
            Action::OutboxAdvance(api::OutboxAdvance { command_id, published_raft_index: index - 1, term: 1 })
        }
        _ => {
            let reason = format!("reason {index}");
            let request = api::GoNotReadyRequest { command_id, agent_id, reason, ..Default::default() };
            Action::GoNotReady(request)
        }
    };
    let command = api::LoggedCommand {
        proposed_at_ms: 1_000 * (index.cast_signed() + 1),
        traceparent: String::new(),
        action: Some(action),
    };
    let batch = api::LoggedBatch { commands: vec![command] }.encode_to_vec();
    Entry { log_id: log_id(index), payload: openraft::EntryPayload::Normal(Proposed(batch)) }
}

fn write(store: &Store, records: Vec<Record>) {
    let (told, durable) = mpsc::channel();
    store.wal.write(records, true, Box::new(move |written| told.send(written).unwrap())).unwrap();
    durable.recv().unwrap().unwrap();
}

/// Of all files below, in bytes.
fn bytes(dir: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let of_one = || Some(entry.metadata().ok()?.len());
        sum += if entry.path().is_dir() { bytes(&entry.path()) } else { of_one().unwrap_or_default() };
    }
    sum
}

#[tokio::test]
async fn however_many_entries_take_no_more_disk_than_what_is_kept_of_them() {
    // TRUNKLINE_ENTRY_COUNT=10000000 makes the long run.
    let count = std::env::var("TRUNKLINE_ENTRY_COUNT").map_or(40_000, |it| it.parse().unwrap());
    const SEGMENT: u64 = 64 << 10;
    const KEPT: u64 = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), SEGMENT, 7).unwrap();
    let (mut machine, mut largest, mut written) = (store.machine.clone(), 0, 0);
    for first in (0..count).step_by(100) {
        let entries: Vec<Entry> = (first..first + 100).map(entry).collect();
        write(&store, entries.iter().cloned().map(Record::Entry).collect());
        written += entries.iter().map(|it| codec_len(it) as u64).sum::<u64>();
        machine.replay(entries).await.unwrap();
        let next = first + 100;
        if next % 2_000 == 0 {
            machine.build_snapshot().await.unwrap();
            write(&store, vec![Record::Purge(log_id(next - KEPT - 1))]);
            // A record of its own, so that the segments the purge gave up are gone when it is durable.
            write(&store, vec![Record::Committed(Some(log_id(next - 1)))]);
        }
        largest = largest.max(bytes(&dir.path().join("wal")));
    }
    // Kept are 3,000 entries at most, and around them a segment begun and one not yet given up.
    let bound = written / count * 3_000 * 5 / 4 + 2 * SEGMENT;
    println!(
        "{written} bytes of entries; of the log at most {largest} on disk, of snapshots {}, of state {}",
        bytes(&dir.path().join("snapshots")),
        machine.state_bytes()
    );
    assert!(largest <= bound && written > 4 * bound, "{largest} of {written} bytes, expected {bound}");
    assert_eq!(fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 1);
    let live = snapshot::encode_state(machine.view().machine.state()).len();
    assert!(machine.state_bytes() <= StateDb::bytes_max(live), "{} for {live}", machine.state_bytes());
}

fn codec_len(entry: &Entry) -> usize {
    trunkline_agent_state::store::codec::encode(entry).len()
}

/// sled gives its lock back from a thread of its own, some time after the last handle is gone.
fn once_unlocked(dir: &Path) -> sled::Db {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        match sled::open(dir) {
            Ok(db) => return db,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_state_database_that_has_grown_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let hash = {
        let store = Store::open(dir.path(), 4_096, 7).unwrap();
        write(&store, (0..60).map(|index| Record::Entry(entry(index))).collect());
        store.machine.clone().replay((0..60).map(entry)).await.unwrap();
        store.machine.view().machine.state_hash()
    };
    {
        let db = once_unlocked(&state);
        for number in 0..24_000_u32 {
            db.insert(number.to_be_bytes(), vec![number as u8; 2_000]).unwrap();
        }
        db.flush().unwrap();
        for number in 0..24_000_u32 {
            db.remove(number.to_be_bytes()).unwrap();
        }
        db.flush().unwrap();
    }
    let grown = bytes(&state);
    let store = Store::open(dir.path(), 4_096, 7).unwrap();
    let now = store.machine.state_bytes();
    println!("state database: {grown} bytes, made anew {now}");
    assert!(grown > StateDb::bytes_max(10_000) && now < StateDb::bytes_max(0), "{grown}, then {now}");
    assert_eq!(store.machine.view().machine.state_hash(), hash);
    assert_eq!(store.machine.view().last_applied, Some(log_id(59)));
}

async fn install(machine: &mut MachineStore, meta: &SnapshotMeta, state: Vec<u8>) -> io::Result<()> {
    let snapshot = meta.clone().with(state);
    machine.install_snapshot(&snapshot.meta, snapshot.snapshot).await
}

#[tokio::test]
async fn a_snapshot_changed_on_its_way_is_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("sender"), 4_096, 7).unwrap();
    let mut sender = store.machine.clone();
    sender.replay((0..52).map(entry)).await.unwrap();
    let sent = sender.build_snapshot().await.unwrap();
    let (meta, whole) = SnapshotMeta::of(sent);

    let store = Store::open(&dir.path().join("receiver"), 4_096, 8).unwrap();
    let mut receiver = store.machine.clone();
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        install(&mut receiver, &meta, changed).await.unwrap_err();
    }
    assert_eq!(receiver.view().last_applied, None);
    assert!(store.failure.seen().unwrap().to_string().contains("was changed on its way"));
    install(&mut receiver, &meta, whole).await.unwrap();
    assert_eq!(receiver.view().machine.state_hash(), sender.view().machine.state_hash());
}

/// A replica that missed an upgrade must not go by older rules from the leader's state on: it ends, and says why.
#[tokio::test]
async fn a_snapshot_of_newer_rules_is_not_installed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), 4_096, 7).unwrap();
    let level = FEATURE_LEVEL + 1;
    let newer = State { feature_level: level, last_index: 9, ..State::default() };
    let bytes = snapshot::encode_state(&newer);
    let snapshot_id = snapshot::id(Some(log_id(9)), &bytes);
    let meta = SnapshotMeta { last_log_id: Some(log_id(9)), snapshot_id, ..SnapshotMeta::default() };
    install(&mut store.machine.clone(), &meta, bytes).await.unwrap_err();
    assert_eq!(store.machine.view().last_applied, None);
    let told = error_chain(&*store.failure.seen().unwrap());
    assert!(told.ends_with(&format!("the rules of feature level {level} are not known")), "{told}");
    assert_eq!(fs::read_dir(dir.path().join("snapshots")).unwrap().count(), 0);
}

/// A disk on which a newer snapshot is written right behind the first look at the names.
struct Meanwhile {
    looked: AtomicBool,
    meta: SnapshotMeta,
    state: Vec<u8>,
}

impl Disk for Meanwhile {
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let names = RealDisk.list(dir);
        if !self.looked.swap(true, Ordering::SeqCst) {
            snapshot::write(&RealDisk, dir, &self.meta, &self.state).unwrap();
        }
        names
    }
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.make_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        RealDisk.exists(path)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
}

#[test]
fn a_snapshot_that_a_newer_one_removes_while_it_is_looked_for_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let state = snapshot::encode_state(&Default::default());
    let meta = |index| SnapshotMeta {
        last_log_id: Some(log_id(index)),
        snapshot_id: snapshot::id(Some(log_id(index)), &state),
        last_membership: Default::default(),
    };
    snapshot::write(&RealDisk, dir.path(), &meta(1), &state).unwrap();
    let disk = Meanwhile { looked: AtomicBool::new(false), meta: meta(2), state: state.clone() };
    let (found, _) = snapshot::newest(&disk, dir.path(), dir.path()).unwrap().unwrap();
    assert_eq!(found, meta(2));
}
