//! Everything a replica keeps on disk.
//!
//! ```text
//! agent-state/node_id       who this replica is for Raft: minted once, never an ordinal
//! agent-state/wal/          votes and entries: the only copy of what was promised
//! agent-state/snapshots/    the state at an index, plain files; the only copy of what was purged
//! agent-state/state/        sled: the applied state, rebuildable
//! agent-state/quarantine-…  what was found damaged and set aside
//! ```

pub mod codec;
pub mod failure;
pub mod feed;
mod log_store;
mod machine_store;
mod rows;
pub mod snapshot;
mod state_db;
pub mod wal;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use self::failure::Failure;
use self::feed::Feed;
pub use self::machine_store::{MachineStore, View};
use self::state_db::{Meta, StateDb};
use self::wal::{Wal, WalError};
use crate::raft::types::LogId;
use trunkline_domain::agent_state::{Machine, State};

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
    /// The node's identity is not one.
    #[error("{} does not hold a node id", path.display())]
    NotANodeId {
        /// Which file.
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

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io_error("sync", dir))
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
        let (snapshots, state_dir) = (dir.join("snapshots"), dir.join("state"));
        fs::create_dir_all(&snapshots).map_err(io_error("make", &snapshots))?;
        sync_dir(dir)?;
        let node_id = node_id(dir, minted)?;
        let wal = Wal::open(&dir.join("wal"), wal_segment_bytes)?;
        let (mut db, found) = match StateDb::open(&state_dir) {
            Err(StoreError::StateDamaged { path, reason }) => {
                tracing::warn!(path = %path.display(), reason, "state database is set aside and rebuilt");
                set_aside(&path, dir, "state")?;
                StateDb::open(&state_dir)?
            }
            opened => opened?,
        };
        snapshot::tidy(&snapshots)?;
        let snapshot = snapshot::newest(&snapshots, dir)?;
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
        let view = View {
            machine: Machine::from_state(state),
            last_applied: meta.last_applied,
            membership: meta.membership,
            feed: Feed::beginning_at(meta.last_applied.map_or(0, |log_id| log_id.index)),
        };
        let failure = wal.failure().clone();
        let machine = MachineStore::new(view, db, snapshots, dir.to_owned(), failure.clone());
        if snapshot_at < purged {
            // The snapshot that allowed the purge is gone; the state is whole, so there is one again before anybody asks.
            machine.write_snapshot()?;
        }
        Ok(Self { node_id, wal, machine, failure })
    }
}

/// Moves something damaged out of the way, under a name of its own.
fn set_aside(path: &Path, dir: &Path, what: &str) -> Result<(), StoreError> {
    for number in 1..u32::MAX {
        let target = dir.join(format!("quarantine-{what}-{number}"));
        if !target.exists() {
            fs::rename(path, &target).map_err(io_error("set aside", path))?;
            tracing::warn!(from = %path.display(), to = %target.display(), "set aside something damaged");
            return sync_dir(dir);
        }
    }
    Ok(())
}

/// The id this replica has for Raft, kept with its data: an id is never used for an empty log twice.
fn node_id(dir: &Path, minted: u64) -> Result<u64, StoreError> {
    let path = dir.join("node_id");
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().ok().filter(|id| *id != 0).ok_or(StoreError::NotANodeId { path }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Zero means nobody on the wire.
            let id = minted.max(1);
            let partial = dir.join("node_id.partial");
            let mut file = File::create(&partial).map_err(io_error("make", &partial))?;
            let written = writeln!(file, "{id}")
                .and_then(|()| file.sync_all())
                .and_then(|()| fs::rename(&partial, &path));
            written.map_err(io_error("write", &path))?;
            sync_dir(dir)?;
            Ok(id)
        }
        Err(error) => Err(io_error("read", &path)(error)),
    }
}
