//! Everything a replica keeps on disk.
//!
//! ```text
//! agent-state/wal/          votes and entries: the only copy of what was promised
//! agent-state/snapshots/    the state at an index, plain files; the only copy of what was purged
//! agent-state/node_id       who this replica is for Raft; written last, when the two above are durable
//! agent-state/state/        sled: the applied state, rebuildable
//! agent-state/quarantine-…  what was found damaged and set aside
//! ```
//! All but sled's own files go through [`disk`], and `tests/crash_points.rs` ends them at every step.

pub mod codec;
pub mod disk;
pub mod failure;
pub mod feed;
mod identity;
mod keeper;
mod log_store;
mod machine_store;
mod rows;
pub mod snapshot;
mod state_db;
pub mod wal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::disk::{Disk, RealDisk, SharedDisk, make_durably};
use self::failure::Failure;
use self::feed::Feed;
use self::identity::Identity;
pub use self::machine_store::{MachineStore, View};
use self::state_db::Meta;
pub use self::state_db::StateDb;
use self::wal::memory::Memory;
use self::wal::{Wal, WalError};
use crate::raft::types::LogId;
use trunkline_domain::agent_state::{Machine, State, Touched};

/// Why a replica cannot use its disk.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The operating system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// The log cannot be used.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The node's identity is not one, or is gone while its log is not.
    #[error("{} does not hold a node id", path.display())]
    NotANodeId {
        /// Which file.
        path: PathBuf,
    },
    /// The node has an identity, and no log.
    #[error("{} is gone, and with it for whom this replica voted; replace this replica", path.display())]
    WalLost {
        /// Where the log was.
        path: PathBuf,
    },
    /// The state database is not what was written.
    #[error("state database {} is damaged: {reason}", path.display())]
    StateDamaged {
        /// Where.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// The state database failed by itself.
    #[error("could not use state database {}", path.display())]
    State {
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        source: sled::Error,
    },
    /// A newer program wrote it: this one must not run on it, nor set it aside.
    #[error("{} was written by a newer version of this program; start that one", path.display())]
    Newer {
        /// What.
        path: PathBuf,
        /// What is not known here.
        #[source]
        source: codec::CodecError,
    },
    /// An entry cannot be read by this program.
    #[error("could not apply entry {index}")]
    Entry {
        /// The entry.
        index: u64,
        /// Why.
        #[source]
        source: crate::door::DoorError,
    },
    /// A snapshot is not one.
    #[error("could not read a snapshot")]
    Snapshot(#[from] codec::CodecError),
    /// A snapshot arrived as other bytes than were sent.
    #[error("snapshot {snapshot_id} was changed on its way")]
    SnapshotChanged {
        /// Which.
        snapshot_id: String,
    },
    /// The log was purged, and what it held before is nowhere.
    #[error(
        "the log begins behind index {purged}, and neither the state nor a snapshot reaches it; replace this replica"
    )]
    StateLost {
        /// The last index purged.
        purged: u64,
    },
    /// The state knows more than the log and the snapshots: acknowledged entries are gone.
    #[error(
        "the state was applied up to index {applied}, the log ends at {last}: entries are lost; replace this replica"
    )]
    LogLost {
        /// The last index applied.
        applied: u64,
        /// The last index in the log.
        last: u64,
    },
}

fn io_error<'a>(action: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

/// What a replica keeps, open.
pub struct Store {
    /// Who this replica is.
    pub node_id: u64,
    /// Votes and entries.
    pub wal: Wal,
    /// The applied state.
    pub machine: MachineStore,
    /// The first failure of either.
    pub failure: Failure,
}

impl Store {
    /// Opens what is in `dir`, made when it is not there. `minted` becomes the node's id when it has none yet.
    ///
    /// The applied state comes from the database if that is whole and newest, else from the newest snapshot; a damaged
    /// one is set aside. openraft then applies what the log holds behind it.
    ///
    /// # Errors
    /// When something that cannot be rebuilt is damaged or lost.
    pub fn open(dir: &Path, wal_segment_bytes: u64, minted: u64) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(RealDisk), dir, wal_segment_bytes, minted)
    }

    /// As [`Store::open`], with everything but the state database on a disk of the caller's.
    ///
    /// # Errors
    /// As of [`Store::open`].
    pub fn open_on(
        disk: SharedDisk,
        dir: &Path,
        wal_segment_bytes: u64,
        minted: u64,
    ) -> Result<Self, StoreError> {
        let (snapshots, state_dir) = (dir.join("snapshots"), dir.join("state"));
        let (node_id, wal) = promises(&disk, dir, wal_segment_bytes, minted)?;
        let (mut db, found) = match StateDb::open(&state_dir) {
            Err(StoreError::StateDamaged { path, reason }) => {
                tracing::warn!(path = %path.display(), reason, "state database is set aside and rebuilt");
                set_aside(&RealDisk, &path, dir, "state")?;
                StateDb::open(&state_dir)?
            }
            opened => opened?,
        };
        snapshot::tidy(&*disk, &snapshots)?;
        let snapshot = snapshot::newest(&*disk, &snapshots, dir)?;
        let (purged, last) = {
            let memory = wal.memory();
            (memory.head.purged, memory.last_log_id())
        };
        let snapshot_at = snapshot.as_ref().and_then(|(meta, _)| meta.last_log_id);
        let found_at = found.as_ref().and_then(|(meta, _)| meta.last_applied);
        let known = last.max(snapshot_at);
        if found_at > known {
            let index = |log_id: Option<LogId>| log_id.map_or(0, |it| it.index);
            return Err(StoreError::LogLost { applied: index(found_at), last: index(known) });
        }
        let (meta, state) = match (found, snapshot) {
            (Some(found), _) if found_at >= snapshot_at => found,
            (_, Some((meta, bytes))) => {
                let state = snapshot::decode_state(&bytes)?;
                let meta = Meta { last_applied: meta.last_log_id, membership: meta.last_membership };
                db.replace(&state, &meta)?;
                (meta, state)
            }
            (found, None) => found.unwrap_or_else(|| (Meta::default(), State::default())),
        };
        if meta.last_applied < purged {
            return Err(StoreError::StateLost { purged: purged.map_or(0, |it| it.index) });
        }
        // Not when the database alone reaches back to where the log begins.
        let spare = snapshot_at >= purged;
        if spare && db.size_on_disk() > StateDb::bytes_max(snapshot::encode_state(&state).len()) {
            tracing::warn!(
                state_bytes = db.size_on_disk(),
                "state database has grown too large and is made anew"
            );
            db = db.made_anew(&state, &meta)?;
        }
        let view = View {
            machine: Machine::from_state(state),
            last_applied: meta.last_applied,
            membership: meta.membership,
            feed: Feed::beginning_at(meta.last_applied.map_or(0, |log_id| log_id.index)),
            unkept: Touched::default(),
        };
        let failure = wal.failure().clone();
        let log = wal.progress().clone();
        let machine = MachineStore::new(view, db, disk, snapshots, dir.to_owned(), log, failure.clone())?;
        if snapshot_at < purged {
            // The snapshot that allowed the purge is gone; the state is whole, so there is one again before anybody asks.
            machine.write_snapshot()?;
        }
        Ok(Self { node_id, wal, machine, failure })
    }
}

/// What must outlast any crash: who this replica is, whom it voted for, what it took into its log.
///
/// The directories and the log are durable before the id is, so that an id says there was a log.
pub fn promises(
    disk: &SharedDisk,
    dir: &Path,
    wal_segment_bytes: u64,
    minted: u64,
) -> Result<(u64, Wal), StoreError> {
    let (wal_dir, snapshots) = (dir.join("wal"), dir.join("snapshots"));
    let identity = identity::read(&**disk, dir)?;
    match identity {
        Some(Identity::Checked(_)) if !wal::begun(&**disk, &wal_dir)? => {
            return Err(StoreError::WalLost { path: wal_dir });
        }
        Some(_) => {}
        None => make_durably(&**disk, dir).map_err(io_error("make", dir))?,
    }
    make_durably(&**disk, &snapshots).map_err(io_error("make", &snapshots))?;
    let wal = Wal::open_on(disk.clone(), &wal_dir, wal_segment_bytes)?;
    let node_id = match identity {
        Some(Identity::Checked(id) | Identity::Bare(id)) => id,
        // Zero means nobody on the wire.
        None if *wal.memory() == Memory::default() => minted.max(1),
        None => return Err(StoreError::NotANodeId { path: dir.join("node_id") }),
    };
    if identity != Some(Identity::Checked(node_id)) {
        identity::write(&**disk, dir, node_id)?;
    }
    Ok((node_id, wal))
}

/// Moves something damaged out of the way, under a name of its own.
fn set_aside(disk: &dyn Disk, path: &Path, dir: &Path, what: &str) -> Result<(), StoreError> {
    for number in 1..u32::MAX {
        let target = dir.join(format!("quarantine-{what}-{number}"));
        if !disk.exists(&target).map_err(io_error("look for", &target))? {
            disk.rename(path, &target).map_err(io_error("set aside", path))?;
            tracing::warn!(from = %path.display(), to = %target.display(), "set aside something damaged");
            return disk.sync_dir(dir).map_err(io_error("sync", dir));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use trunkline_domain::agent_state::FEATURE_LEVEL;

    use super::*;
    use crate::raft::types::SnapshotMeta;

    fn newer_rules() -> State {
        State { feature_level: FEATURE_LEVEL + 1, last_index: 7, ..State::default() }
    }

    fn open(dir: &Path) -> StoreError {
        match Store::open(dir, 1 << 20, 1) {
            Ok(_) => panic!("opened"),
            Err(error) => error,
        }
    }

    #[track_caller]
    fn refused(error: &StoreError, path: &Path, why: &str) {
        let StoreError::Newer { path: found, source } = error else { panic!("{error:?}") };
        assert_eq!((found.as_path(), source.to_string().as_str()), (path, why));
        assert!(
            error.to_string().ends_with("was written by a newer version of this program; start that one")
        );
    }

    fn nothing_set_aside(dir: &Path) {
        let names = std::fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| !name.starts_with("quarantine")));
    }

    /// What a newer program knows may be nowhere else; to set it aside as damaged would be to lose it, and to go by older
    /// rules from there would be to part from the others.
    #[test]
    fn a_snapshot_of_a_newer_program_stops_this_one_and_stays_where_it_is() {
        let bytes = snapshot::encode_state(&newer_rules());
        let mut other_form = snapshot::encode_state(&State::default());
        other_form[0] = codec::VERSION + 1;
        for (state, why) in [
            (bytes, format!("the rules of feature level {} are not known", FEATURE_LEVEL + 1)),
            (other_form, format!("version {} is not known", codec::VERSION + 1)),
        ] {
            let dir = tempfile::tempdir().unwrap();
            drop(Store::open(dir.path(), 1 << 20, 1).unwrap());
            let snapshots = dir.path().join("snapshots");
            let meta = SnapshotMeta { snapshot_id: snapshot::id(None, &state), ..SnapshotMeta::default() };
            snapshot::write(&RealDisk, &snapshots, &meta, &state).unwrap();
            let path = snapshots.join(format!("{:020}.snapshot", 0));
            refused(&open(dir.path()), &path, &why);
            assert!(path.exists());
            nothing_set_aside(dir.path());
        }
    }

    #[test]
    fn a_state_database_of_a_newer_program_stops_this_one_and_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), 1 << 20, 1).unwrap());
        let path = dir.path().join("state");
        {
            let (mut db, _) = StateDb::open(&path).unwrap();
            db.replace(&newer_rules(), &Meta::default()).unwrap();
        }
        let why = format!("the rules of feature level {} are not known", FEATURE_LEVEL + 1);
        refused(&open(dir.path()), &path, &why);
        nothing_set_aside(dir.path());
    }
}
