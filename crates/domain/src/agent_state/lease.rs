//! Who owns a resource, and the fence of the ownership.

use crate::vocabulary::{Cell, Epoch, NodeId, Timestamp};

/// What is known of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// Who owns it, if anybody.
    pub holding: Option<Holding>,
    /// The last grant or renewal, of whomever.
    pub renewed_at: Option<Timestamp>,
    /// The last renewal before the present or last ownership began.
    pub previous_renewed_at: Option<Timestamp>,
    /// Facts written about it so far.
    pub sequence: u64,
}

/// One ownership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Who.
    pub holder: NodeId,
    /// The fence: the Raft index of the grant.
    pub epoch: Epoch,
    /// When it lapses unless renewed.
    pub expires_at: Timestamp,
    /// Where the holder answers gRPC; empty when it serves nothing.
    pub address: String,
}

impl Lease {
    /// The fence of the live ownership.
    pub fn epoch(&self) -> Option<Epoch> {
        self.holding.as_ref().map(|it| it.epoch)
    }
}

/// The cell whose partition the facts of a resource are in: the number behind the slash, as in `routing/3`; else 0.
pub fn cell_of_resource(resource: &str) -> Cell {
    let number = resource.rsplit_once('/').and_then(|(_, name)| name.parse().ok());
    Cell(number.unwrap_or_default())
}

/// The resource of a routing partition.
pub(super) fn routing_resource(cell: Cell) -> String {
    format!("routing/{cell}")
}

/// The resource of a media node.
pub(super) fn media_resource(node_id: &NodeId) -> String {
    format!("media/{node_id}")
}

/// The media node of a resource.
pub(super) fn node_of_resource(resource: &str) -> Option<NodeId> {
    resource.strip_prefix("media/").and_then(|node| NodeId::parse(node).ok())
}
