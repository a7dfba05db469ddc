//! What only the leader does: it keeps time, publishes the outbox, and follows the directory.

use std::collections::BTreeMap;
use std::time::Duration;

use trunkline_domain::agent_state::{QueuePolicy, Reply, Roster};
use trunkline_domain::directory::Directory;
use trunkline_domain::facts::DirectoryFact;
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{AgentId, Cell, Channels, Epoch, Millis, Timestamp};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::logged_command::Action as Logged;
use trunkline_proto::convert::channel_rules;
use trunkline_proto::directory::v1::{NotReadyReason, WrapUpMode};
use trunkline_runtime::error_chain;
use trunkline_runtime::event_log::{LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;
use trunkline_runtime::health::Component;
use trunkline_runtime::mint::Mint;

use crate::outbox::{Outbox, OutboxError};
use crate::raft::{ANSWER_TIME_MAX, Asker, Consensus, ProposeError, Told};

/// The pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// After so many pauses it is told for whom newer rules wait; a group that has just begun is complete before.
const PATIENCE: u32 = 20;

/// One term in which this replica leads.
pub struct Leading {
    /// The replica.
    pub consensus: Consensus,
    /// The term.
    pub term: u64,
    /// The cluster's logs.
    pub log: SharedLog,
    /// Ids for the leader's own commands.
    pub mint: Mint,
    /// What is said of the leader's duties.
    pub health: Component,
    /// Where this replica answers.
    pub address: String,
    /// See [`crate::Config::lane_epoch_every`].
    pub lane_epoch_every: u64,
}

impl Leading {
    /// Does the leader's duties. Dropped when the term is over.
    pub async fn run(self) {
        tracing::info!(term = self.term, "leads agent-state");
        tokio::join!(
            self.announce(),
            self.raise_feature_level(),
            self.keep_time(),
            self.publish(),
            self.follow_directory()
        );
    }

    /// Proposes a command of the leader's own.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, action: Logged) -> Result<Reply, ProposeError> {
        self.consensus.propose(self.logged(action)?).await
    }

    /// Has a command of the leader's own taken along in the next entry, or soon in one of its own.
    ///
    /// # Errors
    /// When this replica's clock is wrong.
    pub fn take_along(&self, action: Logged) -> Result<(), ProposeError> {
        self.consensus.take_along(self.logged(action)?);
        Ok(())
    }

    fn logged(&self, action: Logged) -> Result<api::LoggedCommand, ProposeError> {
        let proposed_at_ms = self.consensus.stamp()?.0;
        Ok(api::LoggedCommand { proposed_at_ms, traceparent: String::new(), action: Some(action) })
    }

    /// A new command id.
    pub fn command_id(&self) -> String {
        self.mint.command().to_string()
    }

    async fn announce(&self) {
        while let Err(error) = self.consensus.settle(&self.address).await {
            tracing::warn!(%error, "could not settle who belongs to the cluster");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Makes the newest rules hold once every voter takes part in them: one whose program does not know them would stop at the
    /// command, and so would the group if that were a majority.
    async fn raise_feature_level(&self) {
        let wanted = self.consensus.feature_level_max();
        let mut asker = Asker::new(&self.consensus);
        let mut waited = 0;
        while self.consensus.feature_level() < wanted {
            let others = self.consensus.others().unwrap_or_default();
            let told = asker.ask_all(&others, ANSWER_TIME_MAX, |_| false).await;
            let behind = behind(&others, &told, wanted);
            if behind.is_empty() {
                let raise = api::FeatureLevelRaise { command_id: self.command_id(), feature_level: wanted };
                match self.propose(Logged::FeatureLevelRaise(raise)).await {
                    Ok(_) => {
                        tracing::info!(feature_level = wanted, "newer rules hold");
                        continue;
                    }
                    Err(error) => tracing::debug!(%error, "newer rules were not taken"),
                }
            } else {
                waited += 1;
                if waited == PATIENCE {
                    let voters = behind.join(", ");
                    tracing::warn!(feature_level = wanted, voters, "newer rules wait for some voters");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Proposes a tick whenever something is due.
    async fn keep_time(&self) {
        let mut applied = self.consensus.machine().applied();
        loop {
            applied.borrow_and_update();
            let deadline = self.consensus.machine().view().machine.next_deadline();
            tokio::select! {
                biased;
                changed = applied.changed() => if changed.is_err() { return },
                () = self.consensus.clocks().sleep_until(deadline) => {
                    let tick = Logged::DeadlineTick(api::DeadlineTick { command_id: self.command_id() });
                    if let Err(error) = self.propose(tick).await {
                        tracing::debug!(%error, "tick was not taken");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    async fn publish(&self) {
        self.health.not_ready("opens the agents log");
        loop {
            let Err(error) = self.publish_once().await else { return };
            self.health.not_ready(format!("cannot publish: {error}"));
            tracing::error!(error = error_chain(&error), "could not publish agent facts");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn publish_once(&self) -> Result<(), OutboxError> {
        let outbox = Outbox::open(&self.log, self.new_epoch().await?).await?;
        self.health.ready();
        outbox.run(self, self.consensus.machine().applied()).await
    }

    /// An epoch for the lane: it opens one once. That of a committed entry is higher than any leader had before, this one
    /// included, also after a restart within one term.
    ///
    /// # Errors
    /// When the entry is not committed.
    pub async fn new_epoch(&self) -> Result<Epoch, ProposeError> {
        let tick = Logged::DeadlineTick(api::DeadlineTick { command_id: self.command_id() });
        let (index, _) = self.consensus.propose_at(self.logged(tick)?).await?;
        Ok(Epoch(index))
    }

    /// Keeps the machine's roster as the directory has it, now and when a later revision takes effect.
    async fn follow_directory(&self) {
        while let Err(error) = self.follow().await {
            tracing::error!(%error, "could not follow the directory");
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self) -> Result<(), LogError> {
        let mut reader = FactReader::<DirectoryFact>::open(&self.log, Cell(0), ReadFrom::Start).await?;
        let mut directory = Directory::default();
        reader
            .fold_to_end(|delivered| delivered.outcome.facts.iter().for_each(|fact| directory.fold(fact)))
            .await?;
        loop {
            let now = self.consensus.clocks().now();
            let settled = self.define(&directory, now).await;
            let wake = if settled { directory.next_change_after(now) } else { Some(now) };
            tokio::select! {
                biased;
                delivered = reader.next() => {
                    delivered?.outcome.facts.iter().for_each(|fact| directory.fold(fact));
                }
                () = self.consensus.clocks().sleep_until(wake) => if !settled { tokio::time::sleep(PAUSE).await },
            }
        }
    }

    /// Proposes the roster if the machine has another; says whether it has all of it now. While a voter does not know all that
    /// the directory says, it is what the level in force can carry: whoever holds the level back, or is down for a day, must not
    /// keep new agents out.
    async fn define(&self, directory: &Directory, now: Timestamp) -> bool {
        let wanted = roster(directory, now, self.log.cell_count());
        let carried = wanted.at_level(self.consensus.feature_level());
        let whole = carried == wanted;
        {
            let view = self.consensus.machine().view();
            let known = &view.machine.state().roster;
            if carried.revision < known.revision {
                return true;
            }
            if carried == *known {
                return whole;
            }
        }
        match self.propose(define_roster(self.command_id(), &carried)).await {
            Ok(Ok(_)) => whole,
            Ok(Err(rejection)) => {
                tracing::error!(%rejection, "roster was rejected");
                true
            }
            Err(error) => {
                tracing::debug!(%error, "roster was not taken");
                false
            }
        }
    }
}

/// The voters that do not take part in rules of a level, each with why.
fn behind(voters: &[String], told: &[(String, Told)], level: u32) -> Vec<String> {
    let why = |voter: &String| match told.iter().find(|(address, _)| address == voter) {
        Some((_, told)) if told.feature_level >= level => None,
        Some((_, told)) => Some(format!("{voter} takes part up to level {}", told.feature_level)),
        None => Some(format!("{voter} does not tell")),
    };
    voters.iter().filter_map(why).collect()
}

/// What the machine needs of the directory as of an instant. Agents of a cell that no log has are left out.
fn roster(directory: &Directory, at: Timestamp, cell_count: u32) -> Roster {
    let (mut agents, mut channels) = (BTreeMap::new(), BTreeMap::new());
    for agent in directory.agents(at) {
        if agent.cell.0 < cell_count {
            agents.insert(agent.agent_id.clone(), agent.cell);
            match Channels::new(agent.channels.iter().cloned()) {
                Ok(_) if agent.channels.is_empty() => {}
                Ok(served) => drop(channels.insert(agent.agent_id.clone(), served)),
                // The directory takes none that cannot be: this one has other bounds, and the agent serves calls meanwhile.
                Err(error) => tracing::error!(agent_id = %agent.agent_id, %error, "channels cannot be"),
            }
        } else {
            tracing::error!(agent_id = %agent.agent_id, cell = %agent.cell, "agent serves a cell that no log has");
        }
    }
    let policy = |queue: &trunkline_domain::facts::Queue| QueuePolicy {
        wrap_up: queue.wrap_up_ms,
        miss_count_max: queue.miss_count_max,
        wrap_up_mode: queue.wrap_up_mode,
        wrap_up_code_required: queue.wrap_up_code_required,
        wrap_up_extension_max: queue.wrap_up_extension_ms_max,
        miss_reason: queue.miss_reason.clone(),
        miss_return: queue.miss_return_ms,
    };
    let queues = directory.queues(at).map(|queue| (queue.queue_id.clone(), policy(queue))).collect();
    let listed = directory.operator(at).map(|operator| &operator.not_ready_reasons);
    let reasons = listed.into_iter().flatten().map(|it| (it.reason.clone(), it.limit_ms)).collect();
    Roster { revision: directory.revision(), agents, queues, reasons, channels }
}

fn define_roster(command_id: String, roster: &Roster) -> Logged {
    let agent = |(agent_id, cell): (&AgentId, &Cell)| api::RosterAgent {
        agent_id: agent_id.to_string(),
        cell: cell.0,
        channels: channel_rules(roster.channels.get(agent_id).into_iter().flat_map(Channels::rules)),
    };
    let queue = |(queue_id, policy): (&_, &QueuePolicy)| api::RosterQueue {
        queue_id: ToString::to_string(queue_id),
        wrap_up_ms: policy.wrap_up.0,
        miss_count_max: policy.miss_count_max,
        wrap_up_mode: WrapUpMode::from(policy.wrap_up_mode).into(),
        wrap_up_code_required: policy.wrap_up_code_required,
        wrap_up_extension_ms_max: policy.wrap_up_extension_max.0,
        miss_reason: policy.miss_reason.clone(),
        miss_return_ms: policy.miss_return.0,
    };
    let reason =
        |(reason, limit): (&String, &Millis)| NotReadyReason { reason: reason.clone(), limit_ms: limit.0 };
    Logged::DefineRoster(api::DefineRosterRequest {
        command_id,
        directory_revision: roster.revision,
        agents: roster.agents.iter().map(agent).collect::<Vec<_>>(),
        queues: roster.queues.iter().map(queue).collect::<Vec<_>>(),
        reasons: roster.reasons.iter().map(reason).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::Role;

    #[test]
    fn newer_rules_wait_for_whoever_does_not_know_them_or_does_not_tell() {
        let voters = ["a:1", "b:2", "c:3"].map(str::to_owned);
        let told = |address: &str, feature_level| {
            let told = Told {
                offset: Millis::ZERO,
                term: 1,
                role: Role::Follower,
                leader: None,
                applied_index: 1,
                state_hash: String::new(),
                feature_level,
                site: String::new(),
                silent: None,
                log_end: (0, 0),
                members: Vec::new(),
            };
            (address.to_owned(), told)
        };
        let some = [told("b:2", 2), told("a:1", 1)];
        assert_eq!(behind(&voters, &some, 2), ["a:1 takes part up to level 1", "c:3 does not tell"]);
        let all = [told("c:3", 2), told("a:1", 2), told("b:2", 3)];
        assert_eq!(behind(&voters, &all, 2), [""; 0]);
    }
}
