//! Everything a contact may ask of its shell.

use crate::facts::{ContactFact, ReleaseOutcome};
use crate::vocabulary::{AgentId, ContactEndCause, LegId, OfferId, Timestamp};

/// One thing to do, in the order it comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append these facts as one outcome; what comes after waits until they are durable.
    Record {
        /// When they happened.
        at: Timestamp,
        /// In order, never empty.
        facts: Vec<ContactFact>,
    },
    /// Let the caller hear ringing (180).
    RingCaller,
    /// Answer the caller (200 with our session description).
    AnswerCaller,
    /// Refuse the caller's INVITE.
    RefuseCaller {
        /// The final status.
        status: u16,
        /// Why, for the Reason header.
        cause: ContactEndCause,
    },
    /// End the caller's dialog.
    ByeCaller {
        /// Why, for the Reason header.
        cause: ContactEndCause,
    },
    /// Play a prompt to the caller, once.
    Play {
        /// Its name in the prompt library.
        prompt: String,
    },
    /// Play music to the caller until something else is asked for.
    Music {
        /// Its class.
        class: String,
    },
    /// Call the agent's phone.
    InviteAgent {
        /// For which offer.
        offer_id: OfferId,
        /// Who.
        agent_id: AgentId,
        /// The leg to make.
        leg_id: LegId,
        /// The SIP URI to call.
        device_uri: String,
    },
    /// Stop calling the agent's phone (CANCEL; BYE should the answer be on its way).
    CancelAgent {
        /// Of which offer.
        offer_id: OfferId,
    },
    /// Acknowledge the agent's answer.
    AckAgent {
        /// Of which offer.
        offer_id: OfferId,
    },
    /// End the agent's dialog.
    ByeAgent {
        /// Of which offer.
        offer_id: OfferId,
    },
    /// Ask agent-state whether the legs may be bridged; the answer comes back as an input.
    RequestAccept {
        /// Which offer.
        offer_id: OfferId,
        /// Whose.
        agent_id: AgentId,
        /// The reservation's fence.
        token: u64,
    },
    /// Let caller and agent hear each other.
    Bridge {
        /// The agent's leg is that of this offer.
        offer_id: OfferId,
    },
    /// Part caller and agent.
    Unbridge,
    /// Tell agent-state that the reservation is over; repeated until it answers.
    Release {
        /// Which offer.
        offer_id: OfferId,
        /// Whose.
        agent_id: AgentId,
        /// The reservation's fence.
        token: u64,
        /// How it ended.
        outcome: ReleaseOutcome,
    },
    /// The offer came too late: the contact is over. No fact can say so any more.
    OfferRefused {
        /// Which.
        offer_id: OfferId,
    },
    /// The contact is over; free its legs. Exactly once.
    Closed,
}

/// The same facts, with the packet counts of the caller's leg in `ContactEnded`. Only the shell can count packets.
pub fn with_rtp_counts(mut facts: Vec<ContactFact>, received: u64, sent: u64) -> Vec<ContactFact> {
    for fact in &mut facts {
        if let ContactFact::ContactEnded { rtp_received_count, rtp_sent_count, .. } = fact {
            (*rtp_received_count, *rtp_sent_count) = (received, sent);
        }
    }
    facts
}
