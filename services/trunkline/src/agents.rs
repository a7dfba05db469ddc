//! `trunkline agents`: who does what, as a table that follows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tonic::Status;
use trunkline_domain::vocabulary::Timestamp;
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::common::v1::Channel;
use trunkline_runtime::clock::Clock;

use crate::live::{self, span};
use crate::voters::{Group, VoterArgs};
use crate::{Failure, table};

/// How long one look may take.
const ASK_TIME_MAX: Duration = Duration::from_secs(3);

#[derive(Args)]
pub(crate) struct AgentsArgs {
    #[command(flatten)]
    group: VoterArgs,
    /// Print the table once, also on a terminal.
    #[arg(long)]
    once: bool,
    /// Take what any voter knows, which may be old, and is there also without a leader.
    #[arg(long)]
    stale: bool,
    /// Print JSON, once.
    #[arg(long)]
    json: bool,
}

/// Shows the agents once, or again and again on a terminal, until Ctrl-C.
pub(crate) async fn run(args: AgentsArgs) -> Result<(), Failure> {
    let group = args.group.read()?;
    let (client, clock) = (group.client(ASK_TIME_MAX), Clock::system());
    let look = async || client.list_agents(api::ListAgentsRequest { stale_ok: args.stale }).await;
    if args.json || live::once(args.once) {
        let listed = look().await.map_err(|status| failure(&group, &status))?;
        if args.json {
            println!("{}", as_json(&listed));
        } else {
            print!("{}", as_text(&listed, clock.now()));
        }
        return Ok(());
    }
    live::follow(async || {
        let listed = look().await.map_err(|status| failure(&group, &status))?;
        Ok(as_text(&listed, clock.now()))
    })
    .await
}

fn failure(group: &Group, status: &Status) -> Failure {
    group.failure("list the agents", status)
}

fn as_text(listed: &api::ListAgentsResponse, now: Timestamp) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for agent in &listed.agents {
        let activity = name(agent.activity());
        *counts.entry(activity).or_default() += 1;
        let since = (agent.since_ms != 0).then(|| span(now.since(Timestamp(agent.since_ms)).0));
        rows.push(vec![
            agent.agent_id.clone(),
            activity.to_owned(),
            since.unwrap_or_default(),
            agent.reason.clone(),
            agent.contact_id.clone(),
            load(agent),
            // Its number is nobody's business here; that there is one is.
            if reachable(listed, agent) { "yes" } else { "" }.to_owned(),
            remark(agent, now),
        ]);
    }
    let mut text =
        table::render(&["agent", "activity", "for", "reason", "contact", "load", "phone", "and"], &rows);
    let counts: Vec<_> = counts.iter().map(|(activity, count)| format!("{count} {activity}")).collect();
    let total = match listed.agents.len() {
        1 => "1 agent".to_owned(),
        count => format!("{count} agents"),
    };
    let of = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let _ = writeln!(text, "{total}{of}; Raft index {}", listed.raft_index);
    if listed.stale {
        let known = now.since(Timestamp(listed.known_at_ms)).0;
        let _ = writeln!(text, "stale: nobody confirmed it; the last command in it is {} old", span(known));
    }
    text
}

/// Whether it has a phone that can be called; voters whose rules are the first ones say where only.
fn reachable(listed: &api::ListAgentsResponse, agent: &api::AgentView) -> bool {
    if listed.feature_level == 0 { !agent.device_uri.is_empty() } else { agent.reachable }
}

/// Of each channel it serves, how many contacts it has of how many; nothing of one that has calls alone.
fn load(agent: &api::AgentView) -> String {
    if agent.channels.iter().all(|rule| rule.channel() == Channel::Unspecified) {
        return String::new();
    }
    let channels = agent.channels.iter().map(|rule| {
        let count = agent.slots.iter().filter(|slot| slot.channel == rule.channel).count();
        format!("{} {count}/{}", channel(rule.channel()), rule.contact_count_max)
    });
    channels.collect::<Vec<_>>().join(" ")
}

/// What is due, and what is out of the ordinary.
fn remark(agent: &api::AgentView, now: Timestamp) -> String {
    let mut remarks = Vec::new();
    if agent.lost {
        remarks.push("desktop gone".to_owned());
    }
    if agent.wrap_up_ends_at_ms != 0 {
        remarks.push(format!("ends in {}", span(Timestamp(agent.wrap_up_ends_at_ms).since(now).0)));
    } else if agent.until_ms != 0 {
        remarks.push(format!("ready in {}", span(Timestamp(agent.until_ms).since(now).0)));
    }
    if let Some(next) = &agent.next {
        let presence = match next.presence() {
            api::PresenceWanted::SignedOut => "signed out",
            api::PresenceWanted::Ready => "ready",
            api::PresenceWanted::NotReady | api::PresenceWanted::Unspecified => "not ready",
        };
        let reason = if next.reason.is_empty() { String::new() } else { format!(" ({})", next.reason) };
        remarks.push(format!("then {presence}{reason}"));
    }
    remarks.join(", ")
}

fn as_json(listed: &api::ListAgentsResponse) -> serde_json::Value {
    let agents = listed.agents.iter().map(|agent| {
        let capacity =
            agent.channels.iter().map(|it| (channel(it.channel()).to_owned(), json!(it.contact_count_max)));
        json!({
            "agent_id": agent.agent_id,
            "activity": name(agent.activity()),
            "since_ms": agent.since_ms,
            "reason": agent.reason,
            "contact_id": agent.contact_id,
            "session_id": agent.session_id,
            "reachable": reachable(listed, agent),
            "lost": agent.lost,
            "until_ms": agent.until_ms,
            "wrap_up_ends_at_ms": agent.wrap_up_ends_at_ms,
            "slots": agent.slots.iter().map(slot).collect::<Vec<_>>(),
            "capacity": capacity.collect::<serde_json::Map<_, _>>(),
        })
    });
    json!({
        "agents": agents.collect::<Vec<_>>(),
        "raft_index": listed.raft_index,
        "stale": listed.stale,
        "known_at_ms": listed.known_at_ms,
    })
}

fn slot(slot: &api::AgentSlot) -> serde_json::Value {
    json!({
        "channel": channel(slot.channel()),
        "activity": name(slot.activity()),
        "contact_id": slot.contact_id,
        "offer_id": slot.offer_id,
        "company_id": slot.company_id,
        "queue_id": slot.queue_id,
        "ends_at_ms": slot.ends_at_ms,
        "unconfirmed": slot.unconfirmed,
    })
}

fn channel(channel: Channel) -> &'static str {
    trunkline_domain::vocabulary::Channel::from(channel).as_str()
}

fn name(activity: api::AgentActivity) -> &'static str {
    match activity {
        api::AgentActivity::Unspecified => "?",
        api::AgentActivity::SignedOut => "signed out",
        api::AgentActivity::NotReady => "not ready",
        api::AgentActivity::Ready => "ready",
        api::AgentActivity::Reserved => "reserved",
        api::AgentActivity::Talking => "talking",
        api::AgentActivity::WrapUp => "wrap-up",
    }
}

#[cfg(test)]
mod tests {
    use trunkline_proto::directory::v1::ChannelRule;

    use super::*;

    #[test]
    fn the_table_says_who_does_what_for_how_long_and_how_old_that_is() {
        let agent = |id: &str, activity: api::AgentActivity, since_ms| api::AgentView {
            agent_id: id.to_owned(),
            activity: activity.into(),
            since_ms,
            ..api::AgentView::default()
        };
        let mut talking = agent("agt_ben", api::AgentActivity::Talking, 80_000);
        talking.contact_id = "ctc_1".to_owned();
        talking.reachable = true;
        let rule = |channel: Channel, contact_count_max| ChannelRule {
            channel: channel.into(),
            contact_count_max,
            interrupted_by: Vec::new(),
        };
        talking.channels = vec![rule(Channel::Unspecified, 1), rule(Channel::Chat, 3)];
        let chat = api::AgentSlot { channel: Channel::Chat.into(), ..api::AgentSlot::default() };
        talking.slots = vec![chat.clone(), chat];
        talking.next = Some(api::NextPresence {
            presence: api::PresenceWanted::NotReady.into(),
            reason: "lunch".to_owned(),
            duration_ms: 0,
        });
        let mut paused = agent("agt_anna", api::AgentActivity::NotReady, 1_000);
        paused.reason = "lunch".to_owned();
        paused.until_ms = 160_000;
        paused.lost = true;
        let mut listed = api::ListAgentsResponse {
            agents: vec![paused, talking, agent("agt_cleo", api::AgentActivity::SignedOut, 0)],
            raft_index: 42,
            stale: false,
            known_at_ms: 90_000,
            feature_level: 1,
        };
        let table = "agent     activity    for   reason  contact  load                phone  and\n\
                     agt_anna  not ready   1:39  lunch                                       desktop gone, ready in 1:00\n\
                     agt_ben   talking     20 s          ctc_1    voice 0/1 chat 2/3  yes    then not ready (lunch)\n\
                     agt_cleo  signed out\n\
                     3 agents: 1 not ready, 1 signed out, 1 talking; Raft index 42\n";
        let now = Timestamp(100_000);
        assert_eq!(as_text(&listed, now), table);
        listed.stale = true;
        let stale = "stale: nobody confirmed it; the last command in it is 10 s old\n";
        assert_eq!(as_text(&listed, now), format!("{table}{stale}"));
        let empty = api::ListAgentsResponse { raft_index: 3, ..api::ListAgentsResponse::default() };
        assert!(as_text(&empty, now).ends_with("0 agents; Raft index 3\n"));
    }
}
