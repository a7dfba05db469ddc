//! An acknowledged command has one effect, however often it was sent.
//!
//! Without it a retry signs an agent in again who has left, or holds an agent twice for one offer.

use std::collections::BTreeSet;

use trunkline_domain::agent_state::Action;
use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::{OfferId, SessionId};

use super::{Committed, Verdict};

pub(crate) const NAME: &str = "one_effect";

/// What can begin only once, and what was decided: each comes from one command of one client.
#[derive(Debug, Default)]
pub(crate) struct OneEffect {
    sessions: BTreeSet<SessionId>,
    offers: BTreeSet<OfferId>,
    decided_sessions: BTreeSet<SessionId>,
    decided_offers: BTreeSet<OfferId>,
}

impl OneEffect {
    pub(crate) fn committed(&mut self, it: &Committed<'_>) -> Verdict {
        let command_id = &it.command.command_id;
        if it.repeated && !it.facts.is_empty() {
            return Err(format!("{command_id} had an effect again at index {}", it.index));
        }
        if !it.repeated {
            self.decided(it)?;
        }
        for (_, posted) in it.facts {
            match &posted.fact {
                AgentFact::AgentSignedIn { session_id, .. } if !self.sessions.insert(session_id.clone()) => {
                    return Err(format!("{session_id} began again at index {}", it.index));
                }
                AgentFact::AgentReserved { offer_id, .. } if !self.offers.insert(offer_id.clone()) => {
                    return Err(format!("{offer_id} was reserved for again at index {}", it.index));
                }
                _ => {}
            }
        }
        Ok(())
    }
    /// A retry gets the first answer; nothing is decided again.
    fn decided(&mut self, it: &Committed<'_>) -> Verdict {
        match &it.command.action {
            Action::SignIn { session_id, .. } if !self.decided_sessions.insert(session_id.clone()) => {
                Err(format!("{session_id} was decided about again at index {}", it.index))
            }
            Action::ReserveAgents { wishes, .. } => {
                for wish in wishes {
                    if !self.decided_offers.insert(wish.offer_id.clone()) {
                        let offer_id = &wish.offer_id;
                        return Err(format!("{offer_id} was decided about again at index {}", it.index));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
