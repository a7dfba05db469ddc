//! What routing is told, and what it asks of its shell.

use crate::facts::{AgentFact, ContactFact, DirectoryFact, Outcome, RoutingFact};
use crate::vocabulary::{
    AgentId, Cell, CompanyId, ContactId, Epoch, NodeId, OfferId, Position, QueueId, Timestamp,
};

/// Everything that can wake routing.
///
/// A new owner is told, in this order: its own log ([`Input::Own`]), the agents and directory logs to their ends, that it
/// took the partition ([`Input::Taken`]), the contacts log to its end, and that it has caught up ([`Input::CaughtUp`]).
/// A record told again, or one older than the last of its log, changes nothing.
#[derive(Debug, Clone)]
pub enum Input {
    /// A record of the own log, in order; only before [`Input::Taken`].
    Own(Outcome<RoutingFact>),
    /// This process owns the partition; the fence record of `epoch` is durable.
    Taken {
        /// Who.
        owner: NodeId,
        /// The fence.
        epoch: Epoch,
    },
    /// A record of the contacts log of this cell.
    Contacts {
        /// Where it stands.
        position: Position,
        /// What it says.
        outcome: Outcome<ContactFact>,
    },
    /// A record of the agents log; of another cell, only leases count.
    Agents {
        /// Of which partition.
        cell: Cell,
        /// Where it stands.
        position: Position,
        /// What it says.
        outcome: Outcome<AgentFact>,
    },
    /// A record of the directory log.
    Directory {
        /// Where it stands.
        position: Position,
        /// What it says.
        outcome: Outcome<DirectoryFact>,
    },
    /// The input logs were read to where they ended when the partition was taken: decisions begin.
    CaughtUp,
    /// Agent-state answered a turn's wishes.
    ReservationsAnswered {
        /// The token of each wish, or the code of its refusal.
        answers: Vec<(OfferId, Result<u64, String>)>,
    },
    /// The media node will call the device.
    OfferTaken {
        /// Which.
        offer_id: OfferId,
    },
    /// The media node will not, or could not be told in time.
    OfferRefused {
        /// What it was told.
        offer: OfferCommand,
        /// Why not.
        refusal: OfferRefusal,
    },
    /// Time has passed.
    Tick,
}

/// Why a media node did not take an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferRefusal {
    /// The contact does not wait there, or no longer.
    ContactGone,
    /// The node could not be reached before the offer's deadline.
    NodeUnreachable,
}

/// Everything the shell may be asked to do, in this order within one turn: an outcome is durable before anything behind
/// it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append to the routing log.
    Append(Outcome<RoutingFact>),
    /// Ask agent-state for the reservations of one turn; retry under one command id until it answers.
    Reserve(Vec<Wish>),
    /// Tell the media node to call the agent; retry until the offer's deadline.
    Offer(OfferCommand),
    /// Tell the media node that the offer is over, once; the deadline does the rest.
    Cancel(OfferCommand),
    /// Tell the media node that the contact's queue is full, or that it goes to another, once; the router tells it again while
    /// the visit is not over.
    TurnAway(TurnAwayCommand),
    /// Tell agent-state that the reservation is over, as rescinded; retry until it answers.
    Release(ReleaseCommand),
}

/// One wanted reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in proto/trunkline/agent_state/v1, ReservationWish")]
pub struct Wish {
    pub offer_id: OfferId,
    pub agent_id: AgentId,
    pub contact_id: ContactId,
    pub company_id: CompanyId,
    pub queue_id: QueueId,
    pub node_id: NodeId,
    pub expires_at: Timestamp,
}

/// An offer as a media node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in proto/trunkline/media/v1, OfferContactRequest")]
pub struct OfferCommand {
    pub offer_id: OfferId,
    pub contact_id: ContactId,
    pub agent_id: AgentId,
    pub token: u64,
    pub visit: u32,
    pub expires_at: Timestamp,
    pub node_id: NodeId,
    /// Where the node answers gRPC, as of its lease.
    pub address: String,
}

/// A contact that found its queue full, or that its plan sends to another, as its media node is told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in proto/trunkline/media/v1, TurnAwayContactRequest")]
pub struct TurnAwayCommand {
    pub contact_id: ContactId,
    pub visit: u32,
    /// Where it goes; nowhere from a queue that is full.
    pub to_queue_id: Option<QueueId>,
    pub node_id: NodeId,
    /// Where the node answers gRPC, as of its lease.
    pub address: String,
}

/// A reservation that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in proto/trunkline/agent_state/v1, ReleaseReservationRequest")]
pub struct ReleaseCommand {
    pub agent_id: AgentId,
    pub offer_id: OfferId,
    pub token: u64,
}
