//! Where the media nodes answer: the fold of their leases.

use std::collections::BTreeMap;

use crate::facts::AgentFact;
use crate::kernel::StateHasher;
use crate::vocabulary::{Epoch, NodeId};

/// The media nodes that hold their lease, with epoch and address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Nodes(BTreeMap<NodeId, (Epoch, String)>);

impl Nodes {
    /// Where a node answers gRPC; `None` while it has no lease.
    pub(super) fn address(&self, node_id: &NodeId) -> Option<&str> {
        self.0.get(node_id).map(|(_, address)| address.as_str())
    }

    /// Takes a fact into account; says whether a node is there or gone by it.
    pub(super) fn fold(&mut self, fact: &AgentFact) -> bool {
        let before = self.0.len();
        match fact {
            AgentFact::LeaseGranted { resource, holder, epoch, address, .. } if is_of(resource, holder) => {
                self.0.insert(holder.clone(), (*epoch, address.clone()));
            }
            AgentFact::LeaseLapsed { resource, holder, epoch }
            | AgentFact::LeaseReleased { resource, holder, epoch }
                if is_of(resource, holder) && self.0.get(holder).is_some_and(|(held, _)| held <= epoch) =>
            {
                self.0.remove(holder);
            }
            _ => {}
        }
        self.0.len() != before
    }

    pub(super) fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.debug(&self.0);
    }
}

fn is_of(resource: &str, holder: &NodeId) -> bool {
    resource.strip_prefix("media/") == Some(holder.as_str())
}
