//! The types openraft is used with.

use openraft::alias;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trunkline_domain::agent_state::Reply;

use crate::store::MachineStore;
use crate::store::codec::{self, Wire};

openraft::declare_raft_types!(
    /// How agent-state uses openraft.
    pub TypeConfig:
        D = Proposed,
        R = Applied,
        NodeId = u64,
        Node = openraft::BasicNode,
);

/// One replica, as openraft runs it.
pub type Raft = openraft::Raft<TypeConfig, MachineStore>;
/// An entry of the log.
pub type Entry = alias::EntryOf<TypeConfig>;
/// Whose entry it is: term and leader.
pub type LeaderId = alias::CommittedLeaderIdOf<TypeConfig>;
/// Term, leader and index of an entry.
pub type LogId = alias::LogIdOf<TypeConfig>;
/// Who this replica votes for.
pub type Vote = alias::VoteOf<TypeConfig>;
/// Who belongs to the cluster, and since which entry.
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// What a replica tells of itself.
pub type Metrics = openraft::RaftMetrics<TypeConfig>;
/// Follows [`Metrics`].
pub type MetricsReceiver = alias::WatchReceiverOf<TypeConfig, Metrics>;
/// A snapshot.
pub type Snapshot = alias::SnapshotOf<TypeConfig, SnapshotData>;
/// What a snapshot is of, for openraft.
pub type BareSnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
/// What openraft is told when the disk fails.
pub type StorageError = openraft::StorageError<TypeConfig>;

/// What a snapshot is of, as it is on disk and between replicas. openraft 0.10 knows of no id; ours carries the checksum of
/// the state.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// The last entry it holds.
    pub last_log_id: Option<LogId>,
    /// Who belongs to the cluster, as of that entry.
    pub last_membership: StoredMembership,
    /// See [`crate::store::snapshot::id`].
    pub snapshot_id: String,
}

/// A snapshot's state as bytes, and the id that goes with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotData {
    /// See [`crate::store::snapshot::id`].
    pub snapshot_id: String,
    /// The state.
    pub state: Vec<u8>,
}

impl SnapshotMeta {
    /// As openraft has it, with the state.
    pub fn with(self, state: Vec<u8>) -> Snapshot {
        let Self { last_log_id, last_membership, snapshot_id } = self;
        let meta = BareSnapshotMeta { last_log_id, last_membership };
        Snapshot { meta, snapshot: SnapshotData { snapshot_id, state } }
    }

    /// The opposite of [`SnapshotMeta::with`].
    pub fn of(snapshot: Snapshot) -> (Self, Vec<u8>) {
        let Snapshot { meta, snapshot: SnapshotData { snapshot_id, state } } = snapshot;
        let BareSnapshotMeta { last_log_id, last_membership } = meta;
        (Self { last_log_id, last_membership, snapshot_id }, state)
    }
}

/// An entry's payload: an encoded `trunkline.agent_state.v1.LoggedBatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed(pub Vec<u8>);

impl std::fmt::Display for Proposed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying an entry answered: one reply a command; empty for openraft's own entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied(pub Vec<Reply>);

/// openraft asks for serde; the answers never leave the process.
impl Serialize for Applied {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::encode(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Applied {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        codec::decode(&bytes).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Wire for LogId {
    fn put(&self, out: &mut Vec<u8>) {
        self.leader_id.term.put(out);
        self.leader_id.node_id.put(out);
        self.index.put(out);
    }
    fn get(input: &mut codec::Input<'_>) -> Result<Self, codec::CodecError> {
        let (term, node_id) = (u64::get(input)?, u64::get(input)?);
        Ok(LogId::new(LeaderId { term, node_id }, u64::get(input)?))
    }
}

impl Wire for Vote {
    fn put(&self, out: &mut Vec<u8>) {
        self.leader_id.term.put(out);
        self.leader_id.node_id.put(out);
        self.committed.put(out);
    }
    fn get(input: &mut codec::Input<'_>) -> Result<Self, codec::CodecError> {
        let mut vote = Vote::new(u64::get(input)?, u64::get(input)?);
        vote.committed = bool::get(input)?;
        Ok(vote)
    }
}

impl Wire for Entry {
    fn put(&self, out: &mut Vec<u8>) {
        self.log_id.put(out);
        match &self.payload {
            openraft::EntryPayload::Blank => 0u8.put(out),
            openraft::EntryPayload::Normal(Proposed(batch)) => {
                1u8.put(out);
                codec::put_bytes(batch, out);
            }
            openraft::EntryPayload::Membership(membership) => {
                2u8.put(out);
                codec::put_bytes(&to_json(membership), out);
            }
        }
    }
    fn get(input: &mut codec::Input<'_>) -> Result<Self, codec::CodecError> {
        let log_id = LogId::get(input)?;
        let payload = match u8::get(input)? {
            0 => openraft::EntryPayload::Blank,
            1 => openraft::EntryPayload::Normal(Proposed(codec::get_bytes(&mut input.bytes)?.to_vec())),
            2 => {
                let membership = serde_json::from_slice(codec::get_bytes(&mut input.bytes)?);
                openraft::EntryPayload::Membership(
                    membership.map_err(|_| codec::CodecError::Bad("membership"))?,
                )
            }
            _ => return Err(codec::CodecError::Bad("payload")),
        };
        Ok(Entry { log_id, payload })
    }
}

/// JSON of openraft's own small messages.
pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("openraft's messages have text keys or number keys, and no map fails")
}
