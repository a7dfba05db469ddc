//! What media writes to the contacts log.

use super::LogFact;
use crate::vocabulary::{
    AgentId, CalendarId, Clause, CompanyId, ContactEndCause, ContactId, FlowId, LegId, LogName, Millis,
    NodeId, OfferId, Party, PhoneNumber, QueueId, Timestamp,
};

/// A fact about one contact.
///
/// Order within one contact: `Arrived` first, `Ended` last and exactly once; every `QueueRequested` is closed by exactly one
/// of `Connected`, `Abandoned`, `FlowedOut` of the same visit, or by `Ended` with cause `media_lost`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "field meanings stand once, in proto/trunkline/contacts/v1")]
pub enum ContactFact {
    /// An INVITE was taken in. CSTA: ServiceInitiated.
    ContactArrived {
        contact_id: ContactId,
        /// `None` when nobody owns the dialled number.
        company_id: Option<CompanyId>,
        caller: Option<PhoneNumber>,
        dialled: Option<PhoneNumber>,
        node_id: NodeId,
        sip_call_id: String,
        flow_id: Option<FlowId>,
        directory_revision: u64,
    },
    /// The business hours were looked up.
    BusinessHoursChecked { contact_id: ContactId, calendar_id: CalendarId, open: bool },
    /// A leg was answered: media flows on it. The caller's leg has no agent.
    LegAnswered { contact_id: ContactId, leg_id: LegId, party: Party, agent_id: Option<AgentId> },
    /// A prompt began to play to the caller.
    PromptStarted { contact_id: ContactId, prompt: String },
    /// A prompt ended; `played_ms` is less than its length when it was cut.
    PromptFinished { contact_id: ContactId, prompt: String, played_ms: Millis },
    /// The flow put the contact into a queue: a queue visit begins. Clock start of waiting.
    ContactQueueRequested {
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        /// The visit's number within the contact, from 1.
        visit: u32,
        /// Smaller is served first.
        priority: i32,
        /// When the wait began for ranking; never later than the fact.
        enqueued_at: Timestamp,
        required_skills: Vec<Clause>,
        node_id: NodeId,
    },
    /// The agent's device alerts (SIP 180). CSTA: Delivered.
    OfferAlerting { contact_id: ContactId, offer_id: OfferId, agent_id: AgentId, leg_id: LegId },
    /// The agent's device refused (SIP 4xx–6xx other than our own cancel).
    OfferDeclined { contact_id: ContactId, offer_id: OfferId, agent_id: AgentId, sip_status: u16 },
    /// Nobody answered before the offer's deadline. Also called RONA.
    OfferUnanswered { contact_id: ContactId, offer_id: OfferId, agent_id: AgentId, rang_ms: Millis },
    /// The offer could not be carried out: device unreachable, stale token, unknown contact here.
    OfferFailed { contact_id: ContactId, offer_id: OfferId, agent_id: AgentId, reason: OfferFailure },
    /// The offer was taken back before an answer: the caller left, or routing rescinded it.
    OfferWithdrawn { contact_id: ContactId, offer_id: OfferId, agent_id: AgentId, by: Party },
    /// Caller and agent hear each other; closes the queue visit as answered. Talk time starts here. CSTA: Established.
    ContactConnected {
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        visit: u32,
        offer_id: OfferId,
        agent_id: AgentId,
        leg_id: LegId,
        waited_ms: Millis,
    },
    /// One party put the other on hold (re-INVITE with sendonly or inactive).
    LegHeld { contact_id: ContactId, leg_id: LegId, by: Party },
    /// The hold ended.
    LegRetrieved { contact_id: ContactId, leg_id: LegId, by: Party },
    /// Caller and agent no longer hear each other. Talk time ends here.
    ContactDisconnected {
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        offer_id: OfferId,
        agent_id: AgentId,
        talked_ms: Millis,
        by: Party,
    },
    /// The caller left while waiting; closes the queue visit.
    ContactAbandoned {
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        visit: u32,
        waited_ms: Millis,
    },
    /// The contact left the queue without an agent and without the caller's will; closes the queue visit.
    ContactFlowedOut {
        contact_id: ContactId,
        company_id: CompanyId,
        queue_id: QueueId,
        visit: u32,
        waited_ms: Millis,
        reason: FlowOutReason,
    },
    /// The contact is over. Exactly once a contact, its last fact. CSTA: ConnectionCleared.
    ContactEnded {
        contact_id: ContactId,
        company_id: Option<CompanyId>,
        cause: ContactEndCause,
        by: Party,
        /// The final SIP status when the INVITE was never answered.
        sip_status: Option<u16>,
        /// RTP packets received from and sent to the caller.
        rtp_received_count: u64,
        rtp_sent_count: u64,
    },
}

/// Why an offer could not be carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfferFailure {
    /// The agent has no reachable device, or it did not respond at all.
    DeviceUnreachable,
    /// Agent-state refused the token at the answer.
    ReservationRefused,
    /// The contact is not, or no longer, waiting on this node.
    ContactGone,
    /// The media path to the agent could not be set up.
    MediaFailed,
    /// The media node that carried the offer was lost.
    NodeLost,
}

impl OfferFailure {
    /// Every reason, in declaration order.
    pub const ALL: [OfferFailure; 5] = [
        Self::DeviceUnreachable,
        Self::ReservationRefused,
        Self::ContactGone,
        Self::MediaFailed,
        Self::NodeLost,
    ];
}

/// Why a contact left a queue without an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FlowOutReason {
    /// The queue was at its size limit on entry.
    QueueFull,
    /// No agent who could serve it was signed in, and the plan says leave.
    NobodySignedIn,
    /// The longest wait of the plan was reached.
    WaitedTooLong,
    /// The media node was lost.
    MediaLost,
    /// The cluster drained.
    Drained,
    /// The plan sent it to another queue, where its next visit begins.
    Overflowed,
}

impl FlowOutReason {
    /// Every reason, in declaration order.
    pub const ALL: [FlowOutReason; 6] = [
        Self::QueueFull,
        Self::NobodySignedIn,
        Self::WaitedTooLong,
        Self::MediaLost,
        Self::Drained,
        Self::Overflowed,
    ];

    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NobodySignedIn => "nobody_signed_in",
            Self::WaitedTooLong => "waited_too_long",
            Self::MediaLost => "media_lost",
            Self::Drained => "drained",
            Self::Overflowed => "overflowed",
        }
    }
}

impl LogFact for ContactFact {
    const LOG: LogName = LogName::Contacts;

    fn name(&self) -> &'static str {
        match self {
            Self::ContactArrived { .. } => "ContactArrived",
            Self::BusinessHoursChecked { .. } => "BusinessHoursChecked",
            Self::LegAnswered { .. } => "LegAnswered",
            Self::PromptStarted { .. } => "PromptStarted",
            Self::PromptFinished { .. } => "PromptFinished",
            Self::ContactQueueRequested { .. } => "ContactQueueRequested",
            Self::OfferAlerting { .. } => "OfferAlerting",
            Self::OfferDeclined { .. } => "OfferDeclined",
            Self::OfferUnanswered { .. } => "OfferUnanswered",
            Self::OfferFailed { .. } => "OfferFailed",
            Self::OfferWithdrawn { .. } => "OfferWithdrawn",
            Self::ContactConnected { .. } => "ContactConnected",
            Self::LegHeld { .. } => "LegHeld",
            Self::LegRetrieved { .. } => "LegRetrieved",
            Self::ContactDisconnected { .. } => "ContactDisconnected",
            Self::ContactAbandoned { .. } => "ContactAbandoned",
            Self::ContactFlowedOut { .. } => "ContactFlowedOut",
            Self::ContactEnded { .. } => "ContactEnded",
        }
    }

    fn stream(&self) -> String {
        self.contact_id().to_string()
    }

    fn contact(&self) -> Option<&ContactId> {
        Some(self.contact_id())
    }
}

impl ContactFact {
    /// The contact it is about.
    pub fn contact_id(&self) -> &ContactId {
        match self {
            Self::ContactArrived { contact_id, .. }
            | Self::BusinessHoursChecked { contact_id, .. }
            | Self::LegAnswered { contact_id, .. }
            | Self::PromptStarted { contact_id, .. }
            | Self::PromptFinished { contact_id, .. }
            | Self::ContactQueueRequested { contact_id, .. }
            | Self::OfferAlerting { contact_id, .. }
            | Self::OfferDeclined { contact_id, .. }
            | Self::OfferUnanswered { contact_id, .. }
            | Self::OfferFailed { contact_id, .. }
            | Self::OfferWithdrawn { contact_id, .. }
            | Self::ContactConnected { contact_id, .. }
            | Self::LegHeld { contact_id, .. }
            | Self::LegRetrieved { contact_id, .. }
            | Self::ContactDisconnected { contact_id, .. }
            | Self::ContactAbandoned { contact_id, .. }
            | Self::ContactFlowedOut { contact_id, .. }
            | Self::ContactEnded { contact_id, .. } => contact_id,
        }
    }
}
