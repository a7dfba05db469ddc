//! Everything that can happen to a contact, as the shell reports it.

use crate::facts::FlowOutReason;
use crate::vocabulary::{
    AgentId, CalendarId, Clause, CompanyId, ContactEndCause, ContactId, FlowId, LegId, Millis, NodeId,
    OfferId, Party, PhoneNumber, QueueId, Timestamp,
};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An INVITE arrived and the directory was asked; always the first input.
    Invited(Box<Invited>),
    /// The caller acknowledged our 200.
    CallerAcked,
    /// The caller's BYE arrived.
    CallerBye,
    /// The caller's CANCEL arrived.
    CallerCancelled,
    /// The caller never acknowledged our 200, or cannot be reached any more.
    CallerFailed,
    /// A party changed the direction of its audio; `held` when it no longer listens.
    Direction {
        /// Whose re-INVITE it was.
        by: Party,
        /// Whether it holds the other.
        held: bool,
    },
    /// The prompt that was playing reached its end or could not be played.
    PromptFinished {
        /// How much of it was heard.
        played_ms: Millis,
    },
    /// Routing proposes the contact to an agent.
    Offer(Box<Offer>),
    /// Routing takes an offer back.
    CancelOffer {
        /// Which.
        offer_id: OfferId,
    },
    /// Routing does not take the contact into its queue.
    TurnAway {
        /// The queue visit.
        visit: u32,
        /// Why not.
        reason: FlowOutReason,
    },
    /// Routing's plan sends the contact to another queue.
    Overflow {
        /// The queue visit that ends.
        visit: u32,
        /// Where the next begins.
        to: Box<QueueTerms>,
    },
    /// The agent's device alerts (180, 183).
    AgentAlerting {
        /// For which offer.
        offer_id: OfferId,
    },
    /// The agent's device answered (200); not yet acknowledged.
    AgentAnswered {
        /// Which offer.
        offer_id: OfferId,
    },
    /// The agent's device refused (4xx to 6xx).
    AgentRefused {
        /// Which offer.
        offer_id: OfferId,
        /// With which SIP status.
        status: u16,
    },
    /// The agent's device could not be reached at all.
    AgentUnreachable {
        /// For which offer.
        offer_id: OfferId,
    },
    /// The agent's BYE arrived.
    AgentBye {
        /// On the leg of which offer.
        offer_id: OfferId,
    },
    /// Agent-state moved the reservation: the legs may be bridged.
    AcceptGranted {
        /// For which offer.
        offer_id: OfferId,
    },
    /// Agent-state refused the token, or could not be asked.
    AcceptRefused {
        /// For which offer.
        offer_id: OfferId,
    },
    /// No audio came from a party for as long as the configuration allows.
    MediaTimeout,
    /// The grace period of a shutdown ran out.
    Drain,
    /// Only time passed.
    Tick,
}

/// An INVITE, and what the directory says about it at this instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invited {
    /// The id minted for it.
    pub contact_id: ContactId,
    /// The node that holds it.
    pub node_id: NodeId,
    /// The caller's leg.
    pub leg_id: LegId,
    /// The Call-ID of the INVITE.
    pub sip_call_id: String,
    /// Who calls, when the INVITE told a number.
    pub caller: Option<PhoneNumber>,
    /// Who is called, when it is a number.
    pub dialled: Option<PhoneNumber>,
    /// The revision of the directory that was asked.
    pub directory_revision: u64,
    /// What to do with it.
    pub plan: Plan,
}

/// What the directory and the state of the node say about an arriving contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Refuse it without answering.
    Refuse {
        /// Whose number it is, when somebody's.
        company_id: Option<CompanyId>,
        /// The number's flow.
        flow_id: Option<FlowId>,
        /// Why.
        cause: ContactEndCause,
        /// The final status, when it is not the cause's own.
        status: Option<u16>,
    },
    /// Take it through its flow.
    Serve(Box<Service>),
}

/// A flow, as far as one contact needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Whose contact.
    pub company_id: CompanyId,
    /// The flow.
    pub flow_id: FlowId,
    /// The calendar that was looked up and whether it is open; always open when absent.
    pub hours: Option<(CalendarId, bool)>,
    /// How long the caller hears ringing before the answer; zero to answer at once.
    pub ring_ms: Millis,
    /// Played when open, before the queue; none when empty.
    pub greeting_prompt: String,
    /// Played when closed; none when empty.
    pub closed_prompt: String,
    /// Music while waiting.
    pub music: String,
    /// Where it waits.
    pub queue: QueueTerms,
}

/// A queue, as far as one contact needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueTerms {
    /// Which.
    pub queue_id: QueueId,
    /// Smaller is served first.
    pub priority: i32,
    /// What an agent needs.
    pub required_skills: Vec<Clause>,
    /// The longest wait; zero for no limit.
    pub wait_ms_max: Millis,
}

/// A proposal of routing's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its id.
    pub offer_id: OfferId,
    /// Who is called.
    pub agent_id: AgentId,
    /// The reservation's fence.
    pub token: u64,
    /// The queue visit it is for.
    pub visit: u32,
    /// When ringing ends.
    pub expires_at: Timestamp,
    /// The id of the agent's leg, should one be made.
    pub leg_id: LegId,
    /// The SIP URI of the agent's phone; `None` when none is registered.
    pub device_uri: Option<String>,
}
