//! What somebody asks of the machine. Every entry of the Raft log that is not Raft's own is one [`Command`].

use super::FEATURE_LEVEL_CHANNELS;
use super::roster::Roster;
use crate::facts::{ForcedPresence, ReleaseOutcome};
use crate::vocabulary::{
    AgentId, Cell, Channel, CommandId, CompanyId, ContactId, DeviceId, Epoch, Millis, NodeId, OfferId,
    QueueId, SessionId, SiteId, Timestamp,
};

/// An action with what makes it safe to repeat and to replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Names the request; a retry carries the same one and gets the first answer.
    pub command_id: CommandId,
    /// The leader's wall clock when it proposed. The machine's time is the highest it has seen.
    pub proposed_at: Timestamp,
    /// W3C `traceparent` of the request; empty when not traced.
    pub traceparent: String,
    /// What is asked.
    pub action: Action,
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begins a session; the agent is not ready afterwards.
    SignIn {
        /// Who.
        agent_id: AgentId,
        /// The session that begins; minted by whoever took the request.
        session_id: SessionId,
        /// Where.
        site_id: Option<SiteId>,
        /// How long the session lasts without a sign of life; zero when it needs none.
        lease: Millis,
    },
    /// The session's desktop is there.
    KeepSession {
        /// Who.
        agent_id: AgentId,
        /// The session.
        session_id: SessionId,
    },
    /// Ends the session; what is live is released first.
    SignOut {
        /// Who.
        agent_id: AgentId,
        /// Why, for the timesheet.
        reason: String,
        /// Which of the client's words it is.
        said: Said,
    },
    /// Takes contacts from now on, or after the contact or wrap-up under way.
    GoReady {
        /// Who.
        agent_id: AgentId,
        /// Which of the client's words it is.
        said: Said,
    },
    /// Takes no contacts from now on, or from the end of the contact and wrap-up under way.
    GoNotReady {
        /// Who.
        agent_id: AgentId,
        /// Why.
        reason: String,
        /// How long, counted from when it takes effect; zero until said otherwise.
        duration: Millis,
        /// Which of the client's words it is.
        said: Said,
    },
    /// A supervisor decides for the agent; what is said is taken as if the agent had said it, but for a live contact.
    ForcePresence {
        /// Who.
        agent_id: AgentId,
        /// What the agent is to be.
        force: Force,
        /// Who decided.
        author: String,
        /// Why.
        reason: String,
    },
    /// The agent will have something to do after the contact it talks to: it counts where wrap-up is on request.
    RequestWrapUp {
        /// Who.
        agent_id: AgentId,
        /// The offer it talks under; any when it does not say.
        offer_id: Option<OfferId>,
    },
    /// Ends after-contact work before its deadline.
    FinishWrapUp {
        /// Who.
        agent_id: AgentId,
        /// The offer whose conversation ended; any when it does not say.
        offer_id: Option<OfferId>,
        /// What the contact came to, as a word of the queue's; may be empty where the queue does not ask for it.
        code: String,
    },
    /// Puts the end of after-contact work off.
    ExtendWrapUp {
        /// Who.
        agent_id: AgentId,
        /// The offer whose conversation ended; any when it does not say.
        offer_id: Option<OfferId>,
        /// By how much.
        span: Millis,
    },
    /// A device can be called.
    RegisterDevice {
        /// Whose.
        agent_id: AgentId,
        /// Which.
        device_id: DeviceId,
        /// Where and until when.
        device: Device,
    },
    /// A device can no longer be called.
    UnregisterDevice {
        /// Whose.
        agent_id: AgentId,
        /// Which.
        device_id: DeviceId,
        /// Why.
        reason: String,
    },
    /// What the directory says, whole.
    DefineRoster(Roster),
    /// Holds agents for the offers of one routing turn; each wish is answered alone.
    ReserveAgents {
        /// The routing partition.
        cell: Cell,
        /// The epoch of its lease `routing/<cell>`.
        routing_epoch: Epoch,
        /// What is wanted, in order; at most [`super::WISH_COUNT_MAX`].
        wishes: Vec<Wish>,
    },
    /// The agent answered.
    AcceptReservation {
        /// Who.
        agent_id: AgentId,
        /// Which offer.
        offer_id: OfferId,
        /// The fence of the reservation.
        token: u64,
        /// The media node that asks.
        node_id: NodeId,
        /// The epoch of its lease `media/<node>`.
        media_epoch: Epoch,
    },
    /// The reservation is over.
    ReleaseReservation {
        /// Who.
        agent_id: AgentId,
        /// Which offer.
        offer_id: OfferId,
        /// The fence of the reservation.
        token: u64,
        /// How it ended.
        outcome: ReleaseOutcome,
        /// Who asks.
        node_id: NodeId,
        /// The epoch of its lease: `routing/<cell>` for [`ReleaseOutcome::Rescinded`], else `media/<node>`.
        epoch: Epoch,
    },
    /// Takes the ownership of a resource.
    AcquireLease {
        /// What.
        resource: String,
        /// Who.
        holder: NodeId,
        /// How long without renewal.
        ttl: Millis,
        /// Where the holder answers gRPC; empty when it serves nothing.
        address: String,
    },
    /// Keeps it.
    RenewLease {
        /// What.
        resource: String,
        /// Who.
        holder: NodeId,
        /// The fence.
        epoch: Epoch,
        /// How long from now.
        ttl: Millis,
    },
    /// Gives it back.
    ReleaseLease {
        /// What.
        resource: String,
        /// Who.
        holder: NodeId,
        /// The fence.
        epoch: Epoch,
    },
    /// Time has passed: everything due by `proposed_at` happens. The leader proposes it at the next deadline.
    Expire,
    /// Every fact up to and including this Raft index is durable in the agents log. Counts only in an entry of the
    /// term it was published under: what a leader wrote after it was deposed is void for every reader.
    AdvancePublished {
        /// The index.
        through: u64,
        /// The term it was published under.
        term: u64,
    },
    /// The rules of this level hold from here on. The leader proposes it once every voter's program knows them.
    RaiseFeatureLevel {
        /// At most [`super::FEATURE_LEVEL`]: a program that does not know a level must not apply what follows.
        level: u32,
    },
}

impl Action {
    /// A number for the kind of action, to tell a retry from a command id used twice. Stored: never renumber.
    pub const fn kind(&self) -> u8 {
        match self {
            Self::SignIn { .. } => 1,
            Self::SignOut { .. } => 2,
            Self::GoReady { .. } => 3,
            Self::GoNotReady { .. } => 4,
            Self::FinishWrapUp { .. } => 5,
            Self::RegisterDevice { .. } => 6,
            Self::UnregisterDevice { .. } => 7,
            Self::DefineRoster(_) => 8,
            Self::ReserveAgents { .. } => 9,
            Self::AcceptReservation { .. } => 10,
            Self::ReleaseReservation { .. } => 11,
            Self::AcquireLease { .. } => 12,
            Self::RenewLease { .. } => 13,
            Self::ReleaseLease { .. } => 14,
            Self::Expire => 15,
            Self::AdvancePublished { .. } => 16,
            Self::RaiseFeatureLevel { .. } => 17,
            Self::ForcePresence { .. } => 18,
            Self::RequestWrapUp { .. } => 19,
            Self::ExtendWrapUp { .. } => 20,
            Self::KeepSession { .. } => 21,
        }
    }

    /// The feature level of the first program that knows the action. The leader takes it once that level holds: a voter
    /// with an older program would stop at it.
    pub fn feature_level(&self) -> u32 {
        match self {
            Self::SignIn { lease: Millis(1..), .. }
            | Self::KeepSession { .. }
            | Self::ForcePresence { .. }
            | Self::RequestWrapUp { .. }
            | Self::ExtendWrapUp { .. } => 1,
            Self::SignOut { said, .. } | Self::GoReady { said, .. } | Self::GoNotReady { said, .. } => {
                u32::from(*said != Said::default())
            }
            Self::FinishWrapUp { offer_id, code, .. } => u32::from(offer_id.is_some() || !code.is_empty()),
            Self::DefineRoster(roster) => roster.feature_level(),
            Self::ReserveAgents { wishes, .. } => wishes.iter().map(Wish::feature_level).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Whether the answer is kept for retries. The leader's own commands may be repeated freely, and so may a sign of
    /// life: one of every desktop every few seconds would drive out the answers that must be kept.
    pub const fn remembered(&self) -> bool {
        !matches!(
            self,
            Self::KeepSession { .. }
                | Self::Expire
                | Self::AdvancePublished { .. }
                | Self::RaiseFeatureLevel { .. }
        )
    }

    /// Whether the action may be refused while the outbox is full: it starts work rather than ending it.
    pub const fn starts_work(&self) -> bool {
        matches!(
            self,
            Self::SignIn { .. }
                | Self::GoReady { .. }
                | Self::ForcePresence { force: Force::Ready, .. }
                | Self::ReserveAgents { .. }
        )
    }
}

/// Which of a client's words a command is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// The session it was said in; any when the client does not say.
    pub session_id: Option<SessionId>,
    /// The client's own count of what it said in this session; zero when it does not count.
    pub sequence: u64,
}

/// What a supervisor makes of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Force {
    /// It takes contacts.
    Ready,
    /// It takes none.
    NotReady {
        /// Why, as a word of the agent's own.
        reason: String,
        /// How long, counted from when it takes effect; zero until said otherwise.
        duration: Millis,
    },
    /// Its session ends; one that talks is left to talk first.
    SignedOut,
}

impl Force {
    /// Without the details.
    pub fn presence(&self) -> ForcedPresence {
        match self {
            Self::Ready => ForcedPresence::Ready,
            Self::NotReady { .. } => ForcedPresence::NotReady,
            Self::SignedOut => ForcedPresence::SignedOut,
        }
    }
}

/// One wanted reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The offer it is for.
    pub offer_id: OfferId,
    /// Who.
    pub agent_id: AgentId,
    /// For whom.
    pub contact_id: ContactId,
    /// Whose contact.
    pub company_id: CompanyId,
    /// From where.
    pub queue_id: QueueId,
    /// The media node that holds the contact.
    pub node_id: NodeId,
    /// When the hold ends by itself.
    pub expires_at: Timestamp,
    /// Whether others may be held for the contact at the same time, as long as all of them say so: their phones ring at once,
    /// and the first who accepts has it.
    pub ring_many: bool,
    /// How the contact came.
    pub channel: Channel,
}

impl Wish {
    fn feature_level(&self) -> u32 {
        if self.channel == Channel::Voice { u32::from(self.ring_many) } else { FEATURE_LEVEL_CHANNELS }
    }
}

/// A device that can be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// SIP URI to call.
    pub contact_uri: String,
    /// The media node that heard it.
    pub node_id: NodeId,
    /// After this it can no longer be called.
    pub expires_at: Timestamp,
}
