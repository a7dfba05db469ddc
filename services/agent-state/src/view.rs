//! Agents as others see them: what the state says, and nothing that is stored for it.

use trunkline_domain::agent_state::{Activity, Agent, Next, Presence, Slot, State};
use trunkline_domain::vocabulary::{AgentId, Channels};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::common::v1::Channel;
use trunkline_proto::convert::channel_rules;

/// Every agent, by id: those of the roster, and those that were.
pub fn all_agents(state: &State) -> Vec<api::AgentView> {
    let strangers = state.roster.agents.keys().filter(|agent_id| !state.agents.contains_key(*agent_id));
    let mut agents: Vec<_> =
        state.agents.keys().chain(strangers).map(|agent_id| agent_view(agent_id, state)).collect();
    agents.sort_by(|one, other| one.agent_id.cmp(&other.agent_id));
    agents
}

/// One agent. Of one that is in the roster alone nothing was ever heard.
pub fn agent_view(agent_id: &AgentId, state: &State) -> api::AgentView {
    let view = state.agents.get(agent_id).map(seen).unwrap_or_else(|| api::AgentView {
        agent_id: agent_id.to_string(),
        activity: api::AgentActivity::SignedOut.into(),
        ..api::AgentView::default()
    });
    let rules = match state.roster.channels.get(agent_id) {
        Some(channels) => channel_rules(channels.rules()),
        None => channel_rules(Channels::default().rules()),
    };
    api::AgentView { channels: rules, ..view }
}

fn seen(agent: &Agent) -> api::AgentView {
    let (reason, until) = match (&agent.session, &agent.presence) {
        (Some(_), Presence::NotReady { reason, until, .. }) => (reason.clone(), *until),
        _ => (String::new(), None),
    };
    let next = agent.next.as_ref().map(|next| match next {
        Next::NotReady { reason, duration } => api::NextPresence {
            presence: api::PresenceWanted::NotReady.into(),
            reason: reason.clone(),
            duration_ms: duration.0,
        },
        Next::SignedOut { reason } => api::NextPresence {
            presence: api::PresenceWanted::SignedOut.into(),
            reason: reason.clone(),
            duration_ms: 0,
        },
    });
    let activity = agent.activity();
    let wrap_up_ends_at = agent.wrap_ups().filter_map(|it| it.ends_at).min();
    let contact = agent.slots.iter().find(|it| it.activity() == activity).map(Slot::contact_id);
    api::AgentView {
        agent_id: agent.agent_id.to_string(),
        activity: said(activity).into(),
        since_ms: agent.since.0,
        reason,
        contact_id: contact.map(ToString::to_string).unwrap_or_default(),
        session_id: agent.session.as_ref().map(|it| it.session_id.to_string()).unwrap_or_default(),
        device_uri: agent.device().map(|it| it.contact_uri.clone()).unwrap_or_default(),
        reachable: agent.reachable(),
        lost: agent.lost(),
        until_ms: until.map_or(0, |at| at.0),
        next,
        wrap_up_ends_at_ms: wrap_up_ends_at.map_or(0, |at| at.0),
        slots: agent.slots.iter().map(slot).collect(),
        channels: Vec::new(),
    }
}

fn slot(slot: &Slot) -> api::AgentSlot {
    let (company_id, queue_id) = match slot {
        Slot::Held(held) => (&held.wish.company_id, &held.wish.queue_id),
        Slot::WrapUp(wrap_up) => (&wrap_up.company_id, &wrap_up.queue_id),
    };
    api::AgentSlot {
        channel: Channel::from(slot.channel()).into(),
        activity: said(slot.activity()).into(),
        contact_id: slot.contact_id().to_string(),
        offer_id: slot.offer_id().to_string(),
        company_id: company_id.to_string(),
        queue_id: queue_id.to_string(),
        ends_at_ms: slot.deadline().map_or(0, |at| at.0),
        unconfirmed: slot.held().is_some_and(|it| it.unconfirmed_until.is_some()),
    }
}

fn said(activity: Activity) -> api::AgentActivity {
    match activity {
        Activity::SignedOut => api::AgentActivity::SignedOut,
        Activity::NotReady => api::AgentActivity::NotReady,
        Activity::Ready => api::AgentActivity::Ready,
        Activity::Reserved => api::AgentActivity::Reserved,
        Activity::Talking => api::AgentActivity::Talking,
        Activity::WrapUp => api::AgentActivity::WrapUp,
    }
}
