//! What must be found after a crash: everything that was acknowledged, and nothing that was never written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use openraft::RaftLogReader;
use tempfile::TempDir;
use trunkline_agent_state::raft::types::{LogId, Vote};
use trunkline_agent_state::store::wal::frame::Record;
use trunkline_agent_state::store::wal::memory::Memory;
use trunkline_agent_state::store::wal::{Wal, WalError};
use trunkline_agent_state::store::{Store, StoreError, promises, snapshot};
use trunkline_runtime::error_chain;

use super::dice::Dice;
use super::disk::{Mark, SimDisk};
use super::platter::{Image, Luck, Platter};

/// The id a replica would get that has none.
pub const STRANGER: u64 = 99;
/// Where an image is looked at; it is on no real disk.
const ROOT: &str = "/image";

/// The directory of a replica.
pub fn place(root: &Path) -> PathBuf {
    root.join("agent-state")
}

/// What was tried, and what was promised.
#[derive(Clone)]
pub struct Oracle {
    records: Vec<Record>,
    /// What the log comes to after each of them, and before the first.
    memories: Vec<Arc<Memory>>,
    /// How many may be there.
    issued: usize,
    /// How many must be.
    acknowledged: usize,
    /// Who the replica is, once it knows.
    pub node_id: Option<u64>,
    /// What the newest snapshot is of that was acknowledged.
    pub snapshot: Option<LogId>,
    /// The last entry applied.
    pub applied: Option<LogId>,
    /// Every state a snapshot may hold, as bytes.
    pub states: BTreeMap<LogId, Arc<Vec<u8>>>,
    /// Whether all that was acknowledged is sealed, or only will be when the log is opened again.
    pub sealed: bool,
}

impl Oracle {
    pub fn new() -> Self {
        Self {
            records: Vec::new(),
            memories: vec![Arc::default()],
            issued: 0,
            acknowledged: 0,
            node_id: None,
            snapshot: None,
            applied: None,
            states: BTreeMap::new(),
            sealed: false,
        }
    }

    /// Takes note of records before they are handed over; gives how many there are now.
    pub fn issue(&mut self, records: &[Record]) -> usize {
        for record in records {
            let mut memory = self.memory().clone();
            memory.apply(record.clone()).unwrap();
            self.memories.push(Arc::new(memory));
            self.records.push(record.clone());
        }
        self.records.len()
    }

    pub fn mark(&mut self, mark: Mark) {
        match mark {
            Mark::Issued(count) => self.issued = count,
            Mark::Acknowledged(count) => self.acknowledged = count,
            Mark::Saved(log_id) => self.snapshot = Some(log_id),
            Mark::Applied(log_id) => self.applied = Some(log_id),
        }
    }

    /// The log as it is when everything issued is there.
    pub fn memory(&self) -> &Memory {
        self.memories.last().unwrap()
    }

    /// A process has opened the log and found this: from now on all of it must be there.
    pub fn found(&mut self, memory: &Memory) -> Result<(), String> {
        let count = self.log_fits(memory)?;
        self.records.truncate(count);
        self.memories.truncate(count + 1);
        (self.issued, self.acknowledged) = (count, count);
        Ok(())
    }

    /// How many records the log comes to.
    fn log_fits(&self, memory: &Memory) -> Result<usize, String> {
        let fits = |count: &usize| *self.memories[*count] == *memory;
        if let Some(count) = (self.acknowledged..=self.issued).rev().find(fits) {
            return Ok(count);
        }
        let (head, must) = (&memory.head, &self.memories[self.acknowledged].head);
        Err(match (0..self.acknowledged).rev().find(fits) {
            Some(count) => format!(
                "acknowledged records are lost: {count} of {} are there; {head:?}, and had to be {must:?}",
                self.acknowledged
            ),
            None => format!("the log is what it never was: {head:?}, and had to be {must:?}"),
        })
    }

    fn id_fits(&self, node_id: u64) -> Result<(), String> {
        match self.node_id {
            Some(known) if known != node_id => {
                Err(format!("the acknowledged node id {known} is {node_id} now"))
            }
            _ => Ok(()),
        }
    }

    /// Looks at what a snapshot and the log come to together. Of a damaged one is asked only that it is not served.
    fn snapshot_fits(&self, disk: &SimDisk, memory: &Memory, damaged: bool) -> Result<(), String> {
        let dir = place(ROOT.as_ref());
        let snapshots = dir.join("snapshots");
        snapshot::tidy(disk, &snapshots).map_err(refused)?;
        let found = snapshot::newest(disk, &snapshots, &dir).map_err(refused)?;
        let found_at = found.as_ref().and_then(|(meta, _)| meta.last_log_id);
        if found.is_some_and(|(_, bytes)| !self.known(found_at, &bytes)) {
            return Err(format!("the snapshot of {found_at:?} is what it never was"));
        }
        let aside = disk.names().keys().any(|path| path.to_str().unwrap().contains("quarantine-snapshot"));
        if damaged != aside {
            return Err(format!("a snapshot is damaged: {damaged}, and set aside: {aside}"));
        }
        let (snapshot, purged) = (self.snapshot, memory.head.purged);
        if !damaged && found_at < snapshot.max(purged) {
            return Err(format!("snapshot of {found_at:?}, acknowledged is {snapshot:?}, purged {purged:?}"));
        }
        Ok(())
    }

    /// The log and the id are opened as at a start. What was found must be there however soon the next crash comes.
    pub fn check(&self, image: &Image) -> Result<(), String> {
        let disk = SimDisk::of(ROOT.as_ref(), image);
        let (node_id, wal) = open(&disk, ROOT.as_ref()).map_err(refused)?;
        let memory = wal.memory().clone();
        drop(wal);
        self.id_fits(node_id)?;
        self.log_fits(&memory)?;
        self.snapshot_fits(&disk, &memory, false)
    }

    /// The process ends, the next one opens what is there and votes, and then the power fails.
    pub fn check_twice(&self, mut platter: Platter, root: &Path, dice: &mut Dice) -> Result<(), String> {
        let disk = platter.alive();
        let (node_id, wal) = open(&disk, root).map_err(refused)?;
        let mut found = self.clone();
        found.found(&wal.memory())?;
        found.node_id = Some(node_id);
        self.id_fits(node_id)?;
        snapshot::tidy(&disk, &place(root).join("snapshots")).map_err(refused)?;
        let served =
            snapshot::newest(&disk, &place(root).join("snapshots"), &place(root)).map_err(refused)?;
        found.snapshot = served.and_then(|(meta, _)| meta.last_log_id);
        let term = self.memory().head.vote.map_or(0, |vote| vote.leader_id.term) + 1;
        let vote = vec![Record::Vote(Vote::new(term, 1))];
        let count = found.issue(&vote);
        found.mark(Mark::Issued(count));
        found.mark(Mark::Acknowledged(count));
        written(&wal, vote, true);
        written(&wal, Vec::new(), false);
        // Before it is dropped, which syncs the rest.
        let journal = disk.take_journal();
        drop(wal);
        journal.iter().for_each(|op| platter.take(op));
        let image = platter.crash(Luck::any(dice), dice);
        found.check(&image).map_err(|reason| format!("behind a restart: {reason}"))
    }

    /// The whole store is opened, without its state database, and brought up to what was applied.
    pub async fn check_whole(&self, image: &Image) -> Result<(), String> {
        let root = TempDir::new().unwrap();
        let disk = SimDisk::of(root.path(), image);
        let store = Store::open_on(disk.shared(), &place(root.path()), 4_096, STRANGER).map_err(refused)?;
        let last_applied = store.machine.view().last_applied;
        self.state_fits(&store, last_applied)?;
        let since = last_applied.map_or(0, |it| it.index + 1);
        if let Some(applied) = self.applied
            && since <= applied.index
        {
            let entries = store.wal.clone().try_get_log_entries(since..=applied.index).await.unwrap();
            store.machine.clone().replay(entries).await.unwrap();
            self.state_fits(&store, self.applied)?;
        }
        Ok(())
    }

    /// Whether a snapshot of this may hold these bytes.
    fn known(&self, at: Option<LogId>, bytes: &[u8]) -> bool {
        at.and_then(|log_id| self.states.get(&log_id)).is_some_and(|known| **known == bytes)
    }

    pub fn state_fits(&self, store: &Store, at: Option<LogId>) -> Result<(), String> {
        let view = store.machine.view();
        let bytes = snapshot::encode_state(view.machine.state());
        if view.last_applied == at && (at.is_none() || self.known(at, &bytes)) {
            return Ok(());
        }
        Err(format!("the state at {:?} is not that of {at:?}", view.last_applied))
    }

    /// One bit of what is on the disk is not what was written. Whether that was refused.
    pub fn check_flip(&self, image: &Image, file: &Path, byte: usize, bit: u8) -> Result<bool, String> {
        let mut image = image.clone();
        image.files.get_mut(file).unwrap()[byte] ^= 1 << bit;
        let disk = SimDisk::of(ROOT.as_ref(), &image);
        let flipped = Path::new(ROOT).join(file);
        let wal = match open(&disk, ROOT.as_ref()) {
            Err(StoreError::Wal(WalError::Damaged { path, .. }) | StoreError::NotANodeId { path })
                if path == flipped =>
            {
                return Ok(true);
            }
            Err(error) => return Err(refused(error)),
            Ok((node_id, wal)) => {
                self.id_fits(node_id)?;
                wal
            }
        };
        let memory = wal.memory().clone();
        drop(wal);
        self.log_fits(&memory)?;
        // One that waits to be removed, behind a newer one, is not looked at.
        let snapshot = |name: &&PathBuf| name.extension().is_some_and(|extension| extension == "snapshot");
        let damaged = image.files.keys().rfind(snapshot).is_some_and(|newest| newest == file);
        self.snapshot_fits(&disk, &memory, damaged)?;
        Ok(damaged)
    }
}

fn open(disk: &SimDisk, root: &Path) -> Result<(u64, Wal), StoreError> {
    promises(&disk.shared(), &place(root), 4_096, STRANGER)
}

fn written(wal: &Wal, records: Vec<Record>, sync: bool) {
    let (told, heard) = mpsc::channel();
    wal.write(records, sync, Box::new(move |result| told.send(result).unwrap())).unwrap();
    heard.recv().unwrap().unwrap();
}

fn refused(error: StoreError) -> String {
    format!("refused to start: {}", error_chain(&error))
}
