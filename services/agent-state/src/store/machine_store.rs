//! openraft's state machine: applies entries to the core's machine and keeps the result rebuildable.
//!
//! Whoever needs the database and the view takes them in this order: the database first.

use std::io;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;
use trunkline_domain::agent_state::{Machine, Touched};
use trunkline_runtime::error_chain;

use super::disk::SharedDisk;
use super::failure::Failure;
use super::feed::Feed;
use super::keeper::Keeper;
use super::snapshot;
use super::state_db::{Meta, StateDb};
use super::wal::Progress;
use super::{StoreError, io_error, rows};
use crate::door;
use crate::raft::types::{
    Applied, BareSnapshotMeta, Entry, LogId, Proposed, Snapshot, SnapshotData, SnapshotMeta,
    StoredMembership, TypeConfig,
};

/// The applied state. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct MachineStore(Arc<Owned>);

/// What ends with the last of the clones.
struct Owned {
    shared: Arc<Shared>,
    keeper: Keeper,
}

struct Shared {
    view: Mutex<View>,
    db: Mutex<StateDb>,
    /// Of the database on disk, in bytes, when it was last looked at.
    state_bytes: AtomicU64,
    /// How long the last snapshot took to be written, in ms; zero before the first.
    snapshot_ms: AtomicU64,
    disk: SharedDisk,
    snapshots: PathBuf,
    quarantine: PathBuf,
    applied: watch::Sender<u64>,
    log: Progress,
    failure: Failure,
}

/// The state at one index.
pub struct View {
    /// The machine.
    pub machine: Machine,
    /// The last entry applied.
    pub last_applied: Option<LogId>,
    /// Who belongs to the cluster, as of that entry.
    pub membership: StoredMembership,
    /// Which agents changed lately.
    pub feed: Feed,
    /// What changed and is not in the database yet.
    pub(super) unkept: Touched,
}

impl MachineStore {
    pub(super) fn new(
        view: View,
        db: StateDb,
        disk: SharedDisk,
        snapshots: PathBuf,
        quarantine: PathBuf,
        log: Progress,
        failure: Failure,
    ) -> Result<Self, StoreError> {
        let (applied, _) = watch::channel(view.last_applied.map_or(0, |log_id| log_id.index));
        let state_bytes = AtomicU64::new(db.size_on_disk());
        let (view, db) = (Mutex::new(view), Mutex::new(db));
        let snapshot_ms = AtomicU64::new(0);
        let shared = Arc::new(Shared {
            view,
            db,
            state_bytes,
            snapshot_ms,
            disk,
            snapshots,
            quarantine,
            applied,
            log,
            failure,
        });
        let kept = shared.clone();
        let keeper = Keeper::start(move || kept.keep().map_err(|error| kept.failure.note(error)).is_ok());
        let keeper = keeper.map_err(io_error("start the keeper of", &shared.quarantine))?;
        Ok(Self(Arc::new(Owned { shared, keeper })))
    }

    /// The state now. Held for a moment only: nothing is applied meanwhile.
    pub fn view(&self) -> MutexGuard<'_, View> {
        self.0.shared.view()
    }

    /// Follows the last index applied.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.0.applied.subscribe()
    }

    /// How large the state database is on disk, in bytes: as of the last snapshot, or since it was opened.
    pub fn state_bytes(&self) -> u64 {
        self.0.state_bytes.load(Ordering::Relaxed)
    }

    /// How long the last snapshot took from the state until its file was durable, in ms; zero before the first.
    pub fn snapshot_ms(&self) -> u64 {
        self.0.snapshot_ms.load(Ordering::Relaxed)
    }

    /// Writes the present state as a snapshot file, durable when this returns.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn write_snapshot(&self) -> Result<(SnapshotMeta, Vec<u8>), StoreError> {
        let began = Instant::now();
        let (last_log_id, last_membership, state) = {
            let view = self.view();
            (view.last_applied, view.membership.clone(), view.machine.state().clone())
        };
        let bytes = snapshot::encode_state(&state);
        let snapshot_id = snapshot::id(last_log_id, &bytes);
        let meta = SnapshotMeta { last_log_id, last_membership, snapshot_id };
        snapshot::write(&*self.0.disk, &self.0.snapshots, &meta, &bytes)?;
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.snapshot_ms.store(took, Ordering::Relaxed);
        let state_bytes = self.0.db().size_on_disk();
        self.0.state_bytes.store(state_bytes, Ordering::Relaxed);
        if state_bytes > StateDb::bytes_max(bytes.len()) {
            tracing::warn!(
                state_bytes,
                "state database is far larger than the state; the next start rebuilds it"
            );
        }
        Ok((meta, bytes))
    }

    /// Applies committed entries whose answers nobody waits for.
    ///
    /// # Errors
    /// When one cannot be read, or the state not be written.
    pub async fn replay(&mut self, entries: impl IntoIterator<Item = Entry>) -> Result<(), io::Error> {
        let entries: Vec<_> = entries.into_iter().map(|entry| Ok((entry, None))).collect();
        self.apply(futures::stream::iter(entries)).await
    }

    /// Keeps an error for whoever ends the process; gives what openraft is told.
    fn fail(&self, error: StoreError) -> io::Error {
        let told = io::Error::other(error_chain(&error));
        self.0.failure.note(error);
        told
    }
}

impl Shared {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn db(&self) -> MutexGuard<'_, StateDb> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the database up to the applied state.
    fn keep(&self) -> Result<(), StoreError> {
        let mut db = self.db();
        let (changes, meta) = {
            let mut view = self.view();
            let unkept = std::mem::take(&mut view.unkept);
            let meta = Meta { last_applied: view.last_applied, membership: view.membership.clone() };
            (rows::changes(view.machine.state(), &unkept), meta)
        };
        // This replica's disk may have entries later than the majority, and a state that knows more than the log is taken for
        // one whose log was lost. A log that failed ends the replica, and says why itself.
        if self.log.wait(self.log.taken()) { db.write(changes, &meta) } else { Ok(()) }
    }
}

impl Deref for Owned {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl RaftStateMachine<TypeConfig> for MachineStore {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = MachineStore;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let view = self.view();
        Ok((view.last_applied, view.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let entries: Vec<_> = entries.try_collect().await?;
        let mut answers = Vec::with_capacity(entries.len());
        let index = {
            let mut view = self.view();
            for (entry, responder) in entries {
                let log_id = entry.log_id;
                let mut replies = Vec::new();
                match entry.payload {
                    EntryPayload::Blank => {}
                    EntryPayload::Normal(Proposed(batch)) => {
                        // An entry this program cannot read must stop it: to pass over it would make replicas differ.
                        let commands = door::commands(&batch)
                            .map_err(|source| self.fail(StoreError::Entry { index: log_id.index, source }))?;
                        for command in commands {
                            replies.push(view.machine.apply(log_id.index, log_id.leader_id.term, command));
                        }
                    }
                    EntryPayload::Membership(membership) => {
                        view.membership = StoredMembership::new(Some(log_id), membership);
                    }
                }
                view.last_applied = Some(log_id);
                answers.extend(responder.map(|responder| (responder, Applied(replies))));
            }
            let touched = view.machine.take_touched();
            let index = view.last_applied.map_or(0, |log_id| log_id.index);
            if touched.roster {
                view.feed.forget(index);
            } else {
                view.feed.note(index, touched.seen.iter().cloned());
            }
            view.unkept.add(touched);
            index
        };
        self.0.applied.send_replace(index);
        // A majority has the entries on disk, so they stay, whatever happens here.
        for (responder, answer) in answers {
            responder.send(answer);
        }
        self.0.keeper.due();
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> MachineStore {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &BareSnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (meta, bytes) = SnapshotMeta::of(Snapshot { meta: meta.clone(), snapshot });
        if !snapshot::fits(&meta, &bytes) {
            return Err(self.fail(StoreError::SnapshotChanged { snapshot_id: meta.snapshot_id }));
        }
        let state = snapshot::decode_state(&bytes).map_err(|error| self.fail(error.into()))?;
        snapshot::write(&*self.0.disk, &self.0.snapshots, &meta, &bytes).map_err(|error| self.fail(error))?;
        let stored = Meta { last_applied: meta.last_log_id, membership: meta.last_membership };
        let mut db = self.0.db();
        let mut view = self.view();
        db.replace(&state, &stored).map_err(|error| self.fail(error))?;
        view.unkept = Touched::default();
        view.machine = Machine::from_state(state);
        view.last_applied = stored.last_applied;
        view.membership = stored.membership;
        let index = meta.last_log_id.map_or(0, |log_id| log_id.index);
        view.feed.forget(index);
        drop((view, db));
        self.0.applied.send_replace(index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let found = snapshot::newest(&*self.0.disk, &self.0.snapshots, &self.0.quarantine)
            .map_err(|error| self.fail(error))?;
        Ok(found.map(|(meta, state)| meta.with(state)))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for MachineStore {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let store = self.clone();
        let built = tokio::task::spawn_blocking(move || store.write_snapshot()).await;
        let (meta, state) = built.map_err(io::Error::other)?.map_err(|error| self.fail(error))?;
        Ok(meta.with(state))
    }
}
