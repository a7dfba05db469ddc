//! The routed cell: the real router and the real contact, in shells that can die between any two steps.
//!
//! The other cell has owners and media nodes that are simple and blind, so that agent-state is asked for what nobody in
//! their right mind would ask. Here everything goes its true way: media writes the contacts log, routing reads it and
//! agent-state's, asks for reservations, writes the routing log, and tells media; each under the epoch of its lease.

mod calls;
mod lane;
mod node;
mod partition;
mod reader;

pub(crate) use node::Node;
pub(crate) use partition::Partition;
pub(crate) use reader::Reader;

use trunkline_domain::vocabulary::Cell;

/// The cell with the real router.
pub(crate) const CELL: Cell = Cell(0);
