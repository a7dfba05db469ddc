//! What the machine answers.

use crate::facts::ReleaseOutcome;
use crate::vocabulary::{AgentId, Channel, Epoch, Millis, NodeId, OfferId, SessionId, Timestamp};

/// The answer to a command: done, or why not. A rejection changes nothing but the time.
pub type Reply = Result<Done, Rejection>;

/// What was done. The arm follows from the action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// The session that is live.
    SignedIn {
        /// Its id.
        session_id: SessionId,
        /// The highest number its client gave a command so far: who comes back to a session counts on from there.
        client_sequence: u64,
    },
    /// The session goes on.
    SessionKept {
        /// Until when, without another sign of life; `None` when it needs none.
        expires_at: Option<Timestamp>,
    },
    /// The session that ended.
    SignedOut {
        /// Its id.
        session_id: SessionId,
    },
    /// Ready, now or after the contact.
    Ready,
    /// Not ready, now or after the contact.
    NotReady,
    /// The agent is what the supervisor said, now or after the contact.
    Forced,
    /// There will be wrap-up, where it is on request.
    WrapUpRequested,
    /// After-contact work ended.
    WrapUpFinished,
    /// After-contact work ends later.
    WrapUpExtended {
        /// When.
        ends_at: Timestamp,
    },
    /// The device is known.
    DeviceKnown,
    /// The device is forgotten.
    DeviceForgotten,
    /// The roster is at least of that revision.
    RosterDefined,
    /// One answer a wish, in the same order.
    Reserved {
        /// The answers.
        answers: Vec<WishAnswer>,
    },
    /// The legs may be bridged.
    Accepted,
    /// The reservation is over.
    Released {
        /// Whether this command ended it.
        released: bool,
    },
    /// The resource is owned.
    LeaseAcquired {
        /// The fence: the Raft index of this grant.
        epoch: Epoch,
        /// When it lapses unless renewed.
        expires_at: Timestamp,
        /// The last renewal of the lease before this one.
        previous_renewed_at: Option<Timestamp>,
    },
    /// The lease is kept.
    LeaseRenewed {
        /// When it lapses unless renewed again.
        expires_at: Timestamp,
    },
    /// The resource is free.
    LeaseReleased,
    /// What was due has happened.
    Expired,
    /// The outbox is trimmed.
    Advanced,
    /// The rules are at least of that level.
    FeatureLevelRaised,
}

/// The answer to one wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WishAnswer {
    /// The offer.
    pub offer_id: OfferId,
    /// The token of the reservation, or why there is none.
    pub granted: Result<u64, Rejection>,
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The directory knows no such agent.
    #[error("the directory knows no agent {agent_id}")]
    UnknownAgent {
        /// Who was named.
        agent_id: AgentId,
    },
    /// The directory knows no such queue.
    #[error("the directory knows no such queue")]
    UnknownQueue,
    /// The agent has no session.
    #[error("agent is not signed in")]
    NotSignedIn,
    /// The agent has another session.
    #[error("agent is already signed in with session {session_id}")]
    AlreadySignedIn {
        /// The live one.
        session_id: SessionId,
    },
    /// The agent's session is another one.
    #[error("session is not the agent's live one, which is {session_id}")]
    WrongSession {
        /// The live one.
        session_id: SessionId,
    },
    /// The agent's conversation, or the one it wraps up, is another one.
    #[error("offer is not the agent's live one, which is {offer_id}")]
    WrongOffer {
        /// The live one.
        offer_id: OfferId,
    },
    /// As many are held for the contact as may be.
    #[error("the contact rings at as many agents as may be")]
    RingFull,
    /// Nothing was heard of the agent's desktop for too long.
    #[error("session is lost: nothing is heard of the agent's desktop")]
    SessionLost,
    /// The agent's client said something newer before, or something else under this number.
    #[error("the client's command {seen} came before this one")]
    OutOfOrder {
        /// The highest number seen in the session.
        seen: u64,
    },
    /// A supervisor signed the agent out; only a supervisor takes that back.
    #[error("a supervisor has signed the agent out, from the end of its contact")]
    SignOutForced,
    /// The agent takes no contacts.
    #[error("agent is not ready")]
    NotReady,
    /// The agent is held for another offer.
    #[error("agent is already reserved for offer {offer_id}")]
    AlreadyReserved {
        /// That offer.
        offer_id: OfferId,
    },
    /// The directory gives the agent no contacts of the channel.
    #[error("agent does not serve {channel}")]
    ChannelNotServed {
        /// The channel.
        channel: Channel,
    },
    /// The agent has as many contacts of the channel as it serves at once.
    #[error("agent has {capacity} contacts of {channel}, as many as it serves at once")]
    ChannelFull {
        /// The channel.
        channel: Channel,
        /// How many that is.
        capacity: u32,
    },
    /// The agent has a contact of another channel, which this one may not interrupt.
    #[error("agent has a contact of {channel}, which is not interrupted")]
    BusyElsewhere {
        /// The other channel.
        channel: Channel,
    },
    /// The agent does so for several contacts.
    #[error("agent has several contacts this could be about; name the offer")]
    WhichOffer,
    /// The agent does after-contact work.
    #[error("agent is in wrap-up")]
    InWrapUp,
    /// The agent does no after-contact work.
    #[error("agent is not in wrap-up")]
    NotInWrapUp,
    /// The agent has no device that can be called.
    #[error("agent has no device that can be called")]
    Unreachable,
    /// The operator lists the reasons, and this is none of them.
    #[error("the directory knows no such reason")]
    UnknownReason,
    /// The agent talks to nobody.
    #[error("agent is not talking")]
    NotTalking,
    /// The queue's wrap-up ends at its deadline and not before.
    #[error("wrap-up lasts until its deadline")]
    WrapUpForced,
    /// The queue wants to know what the contact came to.
    #[error("wrap-up cannot be finished without a code")]
    WrapUpCodeRequired,
    /// There is no end that could be put off.
    #[error("wrap-up has no deadline")]
    WrapUpOpenEnded,
    /// The queue lets nobody take that long.
    #[error("wrap-up can be extended by {} ms more at most", left.0)]
    WrapUpExtensionTooLong {
        /// By how much it still can.
        left: Millis,
    },
    /// The agent serves another cell.
    #[error("agent serves another cell")]
    WrongCell,
    /// Another agent is held for the contact.
    #[error("contact is already reserved for offer {offer_id}")]
    ContactReserved {
        /// That offer.
        offer_id: OfferId,
    },
    /// The deadline has passed.
    #[error("deadline is not in the future")]
    DeadlinePassed,
    /// The deadline is further away than a reservation may last.
    #[error("deadline is too far in the future")]
    DeadlineTooFar,
    /// One command wants too much.
    #[error("too many wishes in one command")]
    TooManyWishes,
    /// The agent has enough devices.
    #[error("agent has too many devices")]
    TooManyDevices,
    /// Whoever asks is not the owner of the resource, or no longer.
    #[error("epoch of {resource} is not current")]
    StaleEpoch {
        /// The resource.
        resource: String,
        /// The epoch of its live lease.
        current: Option<Epoch>,
    },
    /// The token is not that of a live reservation.
    #[error("there is no such reservation, or no longer")]
    NoSuchReservation,
    /// The reservation belongs to a contact on another media node.
    #[error("reservation belongs to another media node")]
    WrongNode,
    /// The media node lost its lease since the reservation was made.
    #[error("reservation is unconfirmed: its media node lost its lease")]
    Unconfirmed,
    /// The agent has answered already.
    #[error("reservation is already accepted")]
    AlreadyAccepted,
    /// The agent has not answered yet.
    #[error("reservation is not accepted")]
    NotAccepted,
    /// Only the machine itself ends a reservation so.
    #[error("nobody may ask for the outcome {}", outcome.as_str())]
    OutcomeReserved {
        /// The outcome asked for.
        outcome: ReleaseOutcome,
    },
    /// Somebody else owns the resource.
    #[error("lease is held by {holder}")]
    LeaseHeld {
        /// Who.
        holder: NodeId,
        /// When it lapses unless renewed.
        expires_at: Timestamp,
    },
    /// The time asked for is outside the bounds.
    #[error("lease time to live is out of bounds")]
    TtlOutOfBounds,
    /// There are enough resources.
    #[error("too many leases")]
    TooManyLeases,
    /// The command id was used for another kind of command.
    #[error("command id was used for another command")]
    CommandIdReused,
    /// Too many facts wait to be published; what ends work is still taken.
    #[error("too many facts wait to be published")]
    OutboxFull,
}

impl Rejection {
    /// The machine-readable reason, upper snake case. Part of the contract: never changed.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownAgent { .. } => "UNKNOWN_AGENT",
            Self::UnknownQueue => "UNKNOWN_QUEUE",
            Self::NotSignedIn => "NOT_SIGNED_IN",
            Self::AlreadySignedIn { .. } => "ALREADY_SIGNED_IN",
            Self::WrongSession { .. } => "WRONG_SESSION",
            Self::WrongOffer { .. } => "WRONG_OFFER",
            Self::RingFull => "RING_FULL",
            Self::SessionLost => "SESSION_LOST",
            Self::OutOfOrder { .. } => "OUT_OF_ORDER",
            Self::SignOutForced => "SIGN_OUT_FORCED",
            Self::NotReady => "NOT_READY",
            Self::AlreadyReserved { .. } => "ALREADY_RESERVED",
            Self::ChannelNotServed { .. } => "CHANNEL_NOT_SERVED",
            Self::ChannelFull { .. } => "CHANNEL_FULL",
            Self::BusyElsewhere { .. } => "BUSY_ELSEWHERE",
            Self::WhichOffer => "WHICH_OFFER",
            Self::InWrapUp => "IN_WRAP_UP",
            Self::NotInWrapUp => "NOT_IN_WRAP_UP",
            Self::Unreachable => "UNREACHABLE",
            Self::UnknownReason => "UNKNOWN_REASON",
            Self::NotTalking => "NOT_TALKING",
            Self::WrapUpForced => "WRAP_UP_FORCED",
            Self::WrapUpCodeRequired => "WRAP_UP_CODE_REQUIRED",
            Self::WrapUpOpenEnded => "WRAP_UP_OPEN_ENDED",
            Self::WrapUpExtensionTooLong { .. } => "WRAP_UP_EXTENSION_TOO_LONG",
            Self::WrongCell => "WRONG_CELL",
            Self::ContactReserved { .. } => "CONTACT_RESERVED",
            Self::DeadlinePassed => "DEADLINE_PASSED",
            Self::DeadlineTooFar => "DEADLINE_TOO_FAR",
            Self::TooManyWishes => "TOO_MANY_WISHES",
            Self::TooManyDevices => "TOO_MANY_DEVICES",
            Self::StaleEpoch { .. } => "STALE_EPOCH",
            Self::NoSuchReservation => "NO_SUCH_RESERVATION",
            Self::WrongNode => "WRONG_NODE",
            Self::Unconfirmed => "UNCONFIRMED",
            Self::AlreadyAccepted => "ALREADY_ACCEPTED",
            Self::NotAccepted => "NOT_ACCEPTED",
            Self::OutcomeReserved { .. } => "OUTCOME_RESERVED",
            Self::LeaseHeld { .. } => "LEASE_HELD",
            Self::TtlOutOfBounds => "TTL_OUT_OF_BOUNDS",
            Self::TooManyLeases => "TOO_MANY_LEASES",
            Self::CommandIdReused => "COMMAND_ID_REUSED",
            Self::OutboxFull => "OUTBOX_FULL",
        }
    }
}
