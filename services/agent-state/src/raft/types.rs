//! The types openraft is used with.

use std::io::Cursor;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trunkline_domain::agent_state::Reply;

use crate::store::codec::{self, Wire};

openraft::declare_raft_types!(
    /// How agent-state uses openraft.
    pub TypeConfig:
        D = Proposed,
        R = Applied,
        NodeId = u64,
        Node = openraft::BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// One replica, as openraft runs it.
pub type Raft = openraft::Raft<TypeConfig>;
/// An entry of the log.
pub type Entry = openraft::Entry<TypeConfig>;
/// Term, leader and index of an entry.
pub type LogId = openraft::LogId<u64>;
/// Who this replica votes for.
pub type Vote = openraft::Vote<u64>;
/// Who belongs to the cluster, and since which entry.
pub type StoredMembership = openraft::StoredMembership<u64, openraft::BasicNode>;
/// What a snapshot is of.
pub type SnapshotMeta = openraft::SnapshotMeta<u64, openraft::BasicNode>;
/// What a replica tells of itself.
pub type Metrics = openraft::RaftMetrics<u64, openraft::BasicNode>;
/// A snapshot.
pub type Snapshot = openraft::Snapshot<TypeConfig>;
/// What openraft is told when the disk fails.
pub type StorageError = openraft::StorageError<u64>;
/// The parts of [`StorageError`].
pub type StorageIOError = openraft::StorageIOError<u64>;

/// An entry's payload: an encoded `trunkline.agent_state.v1.LoggedBatch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposed(pub Vec<u8>);

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
        Ok(LogId::new(openraft::CommittedLeaderId::new(term, node_id), u64::get(input)?))
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
