//! A replica that does at random what openraft asks of one, on a disk whose every step is a crash point.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use trunkline_agent_state::raft::types::{Entry, LogId, Proposed, SnapshotMeta, Vote};
use trunkline_agent_state::store::wal::frame::Record;
use trunkline_agent_state::store::{Store, snapshot};
use trunkline_domain::agent_state::{Machine, State};
use trunkline_runtime::error_chain;

use super::commands::{self, fold};
use super::dice::Dice;
use super::disk::{Fault, Mark, Op, SimDisk};
use super::oracle::{Oracle, place};
use super::platter::{Image, Luck, Platter, Word};

/// What was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub histories: u64,
    pub ops: u64,
    /// Images of a disk after a crash that were opened.
    pub points: u64,
    /// Of them, those of a second crash right behind a restart.
    pub twice: u64,
    /// Of them, those of which the whole store was opened and the state compared.
    pub whole: u64,
    /// Faults that struck: processes killed, syncs failed, disks full, power cut.
    pub faults: u64,
    /// Bits flipped.
    pub flips: u64,
    /// Of them, those that were refused; the others hit what nobody was promised.
    pub refused: u64,
}

/// Since when a disk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Birth,
    /// The replica is made; its directories, its first segment and its id are where they should be.
    Opened,
    /// Only while a process opens what the one before left, and in what it does first.
    Restart,
}

pub struct History {
    pub oracle: Oracle,
    pub tally: Tally,
    pub platter: Platter,
    root: TempDir,
    disk: SimDisk,
    store: Option<Store>,
    twin: Machine,
    dice: Dice,
    runtime: Runtime,
    /// The last entry applied.
    applied: Option<LogId>,
    /// What the newest snapshot is of that may be relied on.
    snapshot: Option<LogId>,
    word: Word,
    since: Since,
    segment_bytes: u64,
    /// Numbers commands, so that no two are the same.
    told: u64,
}

impl History {
    /// A replica without anything.
    pub fn new(seed: u64) -> Self {
        Self::lied_to(seed, Word::Kept, Since::Birth)
    }

    /// As [`History::new`], on a disk that does not keep its word.
    pub fn lied_to(seed: u64, word: Word, since: Since) -> Self {
        let root = TempDir::new().unwrap();
        let disk = SimDisk::of(root.path(), &Image::default());
        let platter = Platter::of(root.path(), &Image::default(), &disk);
        let mut dice = Dice::new(seed);
        let segment_bytes = dice.pick(&[700, 2_000, 8_000, 1 << 20]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (oracle, twin) = (Oracle::new(), Machine::from_state(State::default()));
        let (applied, snapshot) = (None, None);
        let tally = Tally { histories: 1, ..Tally::default() };
        let store = None;
        Self {
            oracle,
            tally,
            platter,
            root,
            disk,
            store,
            twin,
            dice,
            runtime,
            applied,
            snapshot,
            word,
            since,
            segment_bytes,
            told: 0,
        }
    }

    /// Does so many steps; after each, every crash point in it is tried.
    pub fn run(&mut self, steps: u64) -> Result<(), String> {
        if self.since == Since::Birth {
            self.platter.lie(self.word);
        }
        self.reopen()?;
        if self.since == Since::Opened {
            self.platter.lie(self.word);
        }
        for number in 0..steps {
            self.step().map_err(|reason| format!("step {number}: {reason}"))?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        if self.dice.chance(12) {
            let room = self.dice.below(200) as usize;
            let fault = self.dice.pick(&[Fault::Kill, Fault::Kill, Fault::SyncFails, Fault::Full(room)]);
            self.disk.arm(self.dice.below(14), fault);
        }
        match self.dice.below(20) {
            0..=1 => self.vote(),
            2..=6 => self.append(),
            7..=9 => self.append_together(),
            10 => self.truncate(),
            11..=13 => self.apply(),
            14..=15 => self.snapshot(),
            16 => self.purge(),
            17 => self.install(),
            18 => return self.reopen(),
            _ => return self.power_cut(),
        }
        match (self.disk.struck(), self.store().failure.seen()) {
            (None, None) => return self.examine(),
            (Some(Fault::SyncFails | Fault::Full(_)), None) => {
                return Err("a fault was not told of".to_owned());
            }
            (Some(Fault::SyncFails | Fault::Full(_)), Some(error)) => {
                // A replica ends with these words, and until then takes nothing more into its log.
                let words = error_chain(&*error);
                let known = words.starts_with("could not ") && words.contains("(os error ");
                let acknowledged = words.contains("/wal") && self.write(vec![Record::Vote(self.next_vote())]);
                if !known || acknowledged {
                    return Err(format!("acknowledged behind a failure: {acknowledged}; it was: {words}"));
                }
            }
            _ => {}
        }
        self.reopen()
    }

    fn next_vote(&self) -> Vote {
        Vote::new(self.vote_now().leader_id.term + 1, 1)
    }

    fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// Hands records over; the receiver hears whether they were acknowledged.
    fn issue(&mut self, records: Vec<Record>, sync: bool) -> mpsc::Receiver<bool> {
        let count = self.oracle.issue(&records);
        self.disk.mark(Mark::Issued(count));
        let (told, heard) = mpsc::channel();
        let disk = self.disk.clone();
        let done = move |result: std::io::Result<()>| {
            // A process that is dead tells nobody, whatever its last sync came to.
            if sync && result.is_ok() && disk.struck() != Some(Fault::Kill) {
                disk.mark(Mark::Acknowledged(count));
            }
            let _ = told.send(result.is_ok());
        };
        self.store().wal.write(records, sync, Box::new(done)).unwrap();
        heard
    }

    /// Waits until the writer has nothing left to do, a new segment and the end of old ones included.
    fn settle(&mut self) -> bool {
        self.issue(Vec::new(), false).recv().unwrap()
    }

    fn write(&mut self, records: Vec<Record>) -> bool {
        let written = self.issue(records, true).recv().unwrap();
        self.settle() && written
    }

    fn vote_now(&self) -> Vote {
        self.oracle.memory().head.vote.unwrap_or(Vote::new(0, 0))
    }

    fn vote(&mut self) {
        let now = self.vote_now();
        if !now.committed && self.dice.chance(50) {
            let (term, node_id) = (now.leader_id.term, now.leader_id.node_id);
            self.write(vec![Record::Vote(Vote::new_committed(term, node_id))]);
        } else {
            let node_id = self.dice.between(1, 3);
            self.write(vec![Record::Vote(Vote::new(now.leader_id.term + 1, node_id))]);
        }
    }

    fn entry(&mut self, index: u64) -> Entry {
        let leader = self.vote_now().leader_id;
        let log_id = LogId::new(leader, index);
        if self.dice.chance(10) {
            return Entry { log_id, payload: EntryPayload::Blank };
        }
        let count = self.dice.pick(&[1, 1, 1, 2, 12]);
        self.told += count;
        let batch = commands::batch(self.told - count..self.told, &mut self.dice);
        Entry { log_id, payload: EntryPayload::Normal(Proposed(batch)) }
    }

    fn entries(&mut self) -> Vec<Record> {
        let next = self.oracle.memory().head.next_index;
        let count = self.dice.between(1, 5);
        (next..next + count).map(|index| Record::Entry(self.entry(index))).collect()
    }

    /// Appends once more, and nothing goes wrong.
    pub fn append_well(&mut self) -> Result<(), String> {
        self.disk.revive();
        self.append();
        self.examine()
    }

    fn append(&mut self) {
        let records = self.entries();
        self.write(records);
    }

    /// One group is under way while others come, which then are one group.
    fn append_together(&mut self) {
        self.disk.hold();
        let records = self.entries();
        let mut waiting = vec![self.issue(records, true)];
        self.disk.wait_blocked();
        for _ in 0..self.dice.between(1, 3) {
            let records =
                if self.dice.chance(30) { vec![Record::Vote(self.next_vote())] } else { self.entries() };
            waiting.push(self.issue(records, true));
        }
        self.disk.release();
        for heard in waiting {
            heard.recv().unwrap();
        }
        self.settle();
    }

    /// Another leader has other entries.
    fn truncate(&mut self) {
        let kept = self.applied.map_or(0, |it| it.index + 1);
        let next = self.oracle.memory().head.next_index;
        if kept >= next {
            return self.vote();
        }
        let since = self.dice.between(kept, next - 1);
        let term = self.vote_now().leader_id.term + 1;
        if self.write(vec![Record::Vote(Vote::new_committed(term, 2))])
            && self.write(vec![Record::Truncate(since)])
        {
            self.append();
        }
    }

    fn apply(&mut self) {
        let entries: Vec<Entry> = {
            let since = self.applied.map_or(0, |it| it.index + 1);
            let memory = self.oracle.memory();
            let count = self.dice.between(1, 12) as usize;
            memory.entries.range(since..).take(count).map(|(_, entry)| entry.clone()).collect()
        };
        let Some(last) = entries.last().map(|entry| entry.log_id) else { return };
        if !self.issue(vec![Record::Committed(Some(last))], false).recv().unwrap() || !self.settle() {
            return;
        }
        let mut machine = self.store().machine.clone();
        self.runtime.block_on(machine.replay(entries.clone())).unwrap();
        entries.iter().for_each(|entry| fold(&mut self.twin, entry));
        self.oracle.states.insert(last, Arc::new(snapshot::encode_state(self.twin.state())));
        self.applied = Some(last);
        self.disk.mark(Mark::Applied(last));
        self.oracle.state_fits(self.store(), Some(last)).unwrap();
    }

    fn snapshot(&mut self) {
        let Some(applied) = self.applied else { return self.apply() };
        let mut machine = self.store().machine.clone();
        if self.runtime.block_on(machine.build_snapshot()).is_ok() {
            self.snapshot = Some(applied);
            self.disk.mark(Mark::Saved(applied));
        }
    }

    /// As openraft does it: never beyond the snapshot.
    fn purge(&mut self) {
        let memory = self.oracle.memory();
        let since = memory.head.purged.map_or(0, |it| it.index + 1);
        let Some(snapshot) = self.snapshot.filter(|it| it.index >= since) else {
            return self.snapshot();
        };
        let index = self.dice.between(since, snapshot.index);
        let log_id = self.oracle.memory().entries.get(&index).map_or(snapshot, |entry| entry.log_id);
        self.write(vec![Record::Purge(log_id)]);
    }

    /// A leader this replica is far behind of sends its snapshot.
    fn install(&mut self) {
        let (now, next) = (self.vote_now(), self.oracle.memory().head.next_index);
        if !self.write(vec![Record::Vote(Vote::new_committed(now.leader_id.term + 1, 3))]) {
            return;
        }
        let since = self.applied.map_or(0, |it| it.index + 1);
        let mut machine = Machine::from_state(self.twin.state().clone());
        let mut last = None;
        for index in since..next + self.dice.between(1, 5) {
            let entry = self.entry(index);
            fold(&mut machine, &entry);
            last = Some(entry.log_id);
        }
        let (Some(last), bytes) = (last, snapshot::encode_state(machine.state())) else { return };
        self.oracle.states.insert(last, Arc::new(bytes.clone()));
        let snapshot_id = snapshot::id(Some(last), &bytes);
        let meta = SnapshotMeta { last_log_id: Some(last), snapshot_id, last_membership: Default::default() };
        let snapshot = meta.with(bytes);
        let mut store = self.store().machine.clone();
        let installed = store.install_snapshot(&snapshot.meta, snapshot.snapshot);
        if self.runtime.block_on(installed).is_ok() {
            (self.applied, self.snapshot, self.twin) = (Some(last), Some(last), machine);
            self.disk.mark(Mark::Saved(last));
            self.disk.mark(Mark::Applied(last));
            self.write(vec![Record::Purge(last)]);
        }
    }

    /// The process ends, well or badly, and the next one begins with what the kernel has.
    fn reopen(&mut self) -> Result<(), String> {
        self.store = None;
        loop {
            self.examine()?;
            self.tally.faults += u64::from(self.disk.revive().is_some());
            if self.dice.chance(20) {
                self.disk.arm(self.dice.below(16), Fault::Kill);
            }
            let dir = place(self.root.path());
            match Store::open_on(self.disk.shared(), &dir, self.segment_bytes, 7) {
                Ok(store) => {
                    self.examine()?;
                    return self.begin(store);
                }
                Err(_) if self.disk.struck().is_some() => {}
                Err(error) => return Err(format!("did not open: {}", error_chain(&error))),
            }
        }
    }

    /// Takes over what a new process has found.
    fn begin(&mut self, store: Store) -> Result<(), String> {
        let memory = store.wal.memory().clone();
        self.oracle.found(&memory)?;
        self.oracle.node_id = Some(store.node_id);
        self.oracle.sealed = true;
        let applied = store.machine.view().last_applied;
        self.oracle.state_fits(&store, applied)?;
        (self.applied, self.oracle.applied) = (applied, applied);
        self.snapshot = self.oracle.snapshot;
        self.twin = Machine::from_state(store.machine.view().machine.state().clone());
        self.store = Some(store);
        // A snapshot was installed, and the log does not know it yet: openraft begins with this.
        if let Some(applied) = applied
            && memory.last_log_id() < Some(applied)
        {
            (self.snapshot, self.oracle.snapshot) = (Some(applied), Some(applied));
            self.write(vec![Record::Purge(applied)]);
        }
        // Two entries of one term and index are the same entry: what was lost must not come again as another.
        self.write(vec![Record::Vote(self.next_vote())]);
        let failed = self.store().failure.seen().is_some() || self.disk.struck().is_some();
        if failed { self.reopen() } else { self.examine() }
    }

    /// Power fails, and this is what was found when it came back.
    fn power_cut(&mut self) -> Result<(), String> {
        self.examine()?;
        self.disk.revive();
        self.disk.arm(0, Fault::Kill);
        self.store = None;
        self.examine()?;
        self.tally.faults += 1;
        let image = self.platter.crash(Luck::any(&mut self.dice), &mut self.dice);
        self.oracle.check(&image)?;
        self.disk = SimDisk::of(self.root.path(), &image);
        self.platter = Platter::of(self.root.path(), &image, &self.disk);
        if self.since != Since::Restart {
            self.platter.lie(self.word);
        }
        self.oracle.sealed = false;
        if self.dice.chance(50) {
            // The state database is as old as can be.
            let _ = std::fs::remove_dir_all(place(self.root.path()).join("state"));
        }
        self.reopen()
    }

    /// Crashes the disk behind every single thing that was done since the last time.
    pub fn examine(&mut self) -> Result<(), String> {
        if matches!(self.disk.struck(), Some(Fault::Full(_))) {
            self.oracle.sealed = false;
        }
        for op in self.disk.take_journal() {
            if let Op::Mark(mark) = op {
                self.oracle.mark(mark);
                continue;
            }
            self.oracle.sealed &= !matches!(op, Op::SyncFailed { .. });
            self.tally.ops += 1;
            self.platter.take(&op);
            self.points().map_err(|reason| format!("behind {}: {reason}", brief(&op)))?;
        }
        Ok(())
    }

    fn points(&mut self) -> Result<(), String> {
        for luck in
            [Luck::any(&mut self.dice), Luck { names: 0, writes: 0, torn: 0 }, Luck::any(&mut self.dice)]
        {
            let image = self.platter.crash(luck, &mut self.dice);
            self.oracle.check(&image)?;
            self.tally.points += 1;
            if self.dice.chance(1) {
                self.runtime.block_on(self.oracle.check_whole(&image))?;
                self.tally.whole += 1;
            }
        }
        let mut platter = self.platter.clone();
        if self.since == Since::Restart && self.oracle.node_id.is_some() {
            platter.lie(self.word);
        }
        self.oracle.check_twice(platter, self.root.path(), &mut self.dice)?;
        self.tally.points += 1;
        self.tally.twice += 1;
        if self.oracle.sealed {
            let image = self.rest();
            for _ in 0..2 {
                let Some((file, byte)) = any_byte(&image, &mut self.dice) else { break };
                let bit = self.dice.below(8) as u8;
                let refused = self.oracle.check_flip(&image, &file, byte, bit);
                let named =
                    |reason| format!("bit {bit} of byte {byte} of {} flipped: {reason}", file.display());
                self.tally.refused += u64::from(refused.map_err(named)?);
                self.tally.flips += 1;
            }
        }
        Ok(())
    }

    /// The disk at rest: everything is there.
    pub fn rest(&mut self) -> Image {
        self.platter.crash(Luck::ALL, &mut self.dice)
    }
}

/// Every file is as likely, and the end of one, where the newest stands, as likely as the rest.
fn any_byte(image: &Image, dice: &mut Dice) -> Option<(PathBuf, usize)> {
    let files: Vec<_> = image.files.iter().filter(|(_, bytes)| !bytes.is_empty()).collect();
    if files.is_empty() {
        return None;
    }
    let (name, bytes) = dice.pick(&files);
    let len = bytes.len() as u64;
    let since = if dice.chance(50) { len - len.min(200) } else { 0 };
    Some((name.clone(), dice.between(since, len - 1) as usize))
}

fn brief(op: &Op) -> String {
    match op {
        Op::Write { inode, offset, bytes } => format!("{} bytes at {offset} of file {inode}", bytes.len()),
        op => format!("{op:?}"),
    }
}
