//! Wishes put to agent-state that it has not answered: they keep agent and contact from being planned twice.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Wish;
use crate::facts::PassedOver;
use crate::vocabulary::{AgentId, ContactId, OfferId};

/// A wish under way.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub wish: Wish,
    /// The queue visit.
    pub visit: u32,
    /// Why not the others, as of when it was planned.
    pub passed_over: Vec<PassedOver>,
}

/// The wishes under way. Forgotten by a restart: agent-state's deadline ends what was granted in vain.
#[derive(Debug, Default)]
pub(super) struct Pending {
    by_offer: BTreeMap<OfferId, Asked>,
    contacts: BTreeSet<ContactId>,
    agents: BTreeSet<AgentId>,
}

impl Pending {
    pub(super) fn put(&mut self, asked: Asked) {
        self.contacts.insert(asked.wish.contact_id.clone());
        self.agents.insert(asked.wish.agent_id.clone());
        self.by_offer.insert(asked.wish.offer_id.clone(), asked);
    }

    pub(super) fn take(&mut self, offer_id: &OfferId) -> Option<Asked> {
        let asked = self.by_offer.remove(offer_id)?;
        self.contacts.remove(&asked.wish.contact_id);
        self.agents.remove(&asked.wish.agent_id);
        Some(asked)
    }

    pub(super) fn about_contact(&self, contact_id: &ContactId) -> bool {
        self.contacts.contains(contact_id)
    }

    pub(super) fn about_agent(&self, agent_id: &AgentId) -> bool {
        self.agents.contains(agent_id)
    }
}
