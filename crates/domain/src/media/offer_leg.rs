//! The agent's side of one offer, and the memory of those that are over.

use std::collections::VecDeque;

use super::input::Offer;
use super::output::Output;
use crate::facts::ReleaseOutcome;
use crate::vocabulary::{OfferId, Timestamp};

/// How many offers of one contact are remembered after their end, to recognise retries and late answers.
pub(super) const PAST_OFFER_COUNT_MAX: usize = 64;

/// An offer that is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfferLeg {
    pub offer: Offer,
    pub state: LegState,
}

/// How far the agent's phone has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LegState {
    /// INVITE sent, nothing heard.
    Inviting,
    /// It rings.
    Alerting { since: Timestamp },
    /// It answered; agent-state is being asked.
    Accepting,
}

impl OfferLeg {
    /// The message that ends the agent's leg as far as it has come.
    pub fn hang_up(&self) -> Vec<Output> {
        let offer_id = self.offer.offer_id.clone();
        match self.state {
            LegState::Inviting | LegState::Alerting { .. } => vec![Output::CancelAgent { offer_id }],
            LegState::Accepting => {
                vec![Output::AckAgent { offer_id: offer_id.clone() }, Output::ByeAgent { offer_id }]
            }
        }
    }

    pub fn release(&self, outcome: ReleaseOutcome) -> Output {
        release(&self.offer, outcome)
    }
}

pub(super) fn release(offer: &Offer, outcome: ReleaseOutcome) -> Output {
    Output::Release {
        offer_id: offer.offer_id.clone(),
        agent_id: offer.agent_id.clone(),
        token: offer.token,
        outcome,
    }
}

/// Offers that are over, oldest first.
#[derive(Debug, Default)]
pub(super) struct PastOffers(VecDeque<Past>);

#[derive(Debug)]
struct Past {
    offer_id: OfferId,
    /// What to say of its reservation should a grant still arrive; `None` when it never had one.
    release: Option<Output>,
    /// Whether the agent's answer was already dealt with.
    answered: bool,
}

impl PastOffers {
    pub fn knows(&self, offer_id: &OfferId) -> bool {
        self.0.iter().any(|past| past.offer_id == *offer_id)
    }

    pub fn push(&mut self, offer_id: OfferId, release: Option<Output>, answered: bool) {
        if self.knows(&offer_id) {
            return;
        }
        if self.0.len() == PAST_OFFER_COUNT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Past { offer_id, release, answered });
    }

    /// What an answer that crossed our CANCEL needs: acknowledge it, then end it. Nothing the second time.
    pub fn late_answer(&mut self, offer_id: &OfferId) -> Vec<Output> {
        match self.0.iter_mut().find(|past| past.offer_id == *offer_id) {
            Some(past) if !past.answered => {
                past.answered = true;
                vec![
                    Output::AckAgent { offer_id: offer_id.clone() },
                    Output::ByeAgent { offer_id: offer_id.clone() },
                ]
            }
            _ => Vec::new(),
        }
    }

    /// What a grant that crossed the end of its offer needs: the reservation it made must not live on.
    pub fn late_grant(&self, offer_id: &OfferId) -> Option<Output> {
        self.0.iter().find(|past| past.offer_id == *offer_id).and_then(|past| past.release.clone())
    }
}
