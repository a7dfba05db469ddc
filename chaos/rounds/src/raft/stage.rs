//! The voters of a round, those who ask them, and what every deed needs of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use trunkline_loadtest::Failure;
use trunkline_loadtest::rig::{Process, Voters};

use super::load::{Chance, Load, RECOVERED_WITHIN};

/// How long all is well before the next blow, in µs: at least, and by how much more at most.
const WELL_US_MIN: u64 = 200_000;
const WELL_US_MORE: u64 = 500_000;
/// How long an election may take that nobody disturbs.
const LEADER_WITHIN: Duration = Duration::from_secs(30);

/// One blow, and what was seen of it.
#[derive(Debug, Clone, Copy)]
pub struct Blow {
    /// µs since the load began.
    pub at: u64,
    /// What exactly was done.
    pub kind: &'static str,
    /// Terms that passed until all was well again.
    pub terms: u64,
}

/// A round under way.
pub struct Stage {
    pub voters: Voters,
    pub load: Arc<Load>,
    pub chance: Chance,
    /// Where the round keeps its files.
    pub dir: PathBuf,
    /// How long a pause or a partition lasts at most.
    pub span_max: Duration,
    /// What a deed says of itself.
    pub notes: Vec<Value>,
}

impl Stage {
    /// A while in which nothing is done.
    pub async fn well(&mut self) {
        tokio::time::sleep(Duration::from_micros(WELL_US_MIN + self.chance.below(WELL_US_MORE))).await;
    }

    /// Whether it happens, once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.chance.below(times) == 0
    }

    /// How long something lasts: mostly a few seconds, once in ten as long as may be.
    pub fn span(&mut self) -> Duration {
        let max = if self.once_in(10) { self.span_max } else { self.span_max.min(Duration::from_secs(5)) };
        let more = max.saturating_sub(Duration::from_secs(1)).as_millis();
        Duration::from_millis(1_000 + self.chance.below(u64::try_from(more).unwrap_or(u64::MAX)))
    }

    /// Who leads.
    ///
    /// # Errors
    /// When nobody does, for longer than an election may take.
    pub async fn leader(&self) -> Result<Process, Failure> {
        let until = Instant::now() + LEADER_WITHIN;
        loop {
            if let Some(leader) = self.voters.leader().await {
                return Ok(leader.clone());
            }
            if Instant::now() > until {
                return Err(Failure::new(format!("nobody leads for {} s", LEADER_WITHIN.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One of those that do not lead.
    ///
    /// # Errors
    /// As of [`Stage::leader`].
    pub async fn follower(&mut self) -> Result<Process, Failure> {
        let leader = self.leader().await?;
        let others: Vec<_> =
            self.voters.processes.iter().filter(|it| it.name != leader.name).cloned().collect();
        let chosen = self.chance.below(others.len() as u64) as usize;
        others.into_iter().nth(chosen).ok_or_else(|| Failure::new("there is one voter only"))
    }

    /// Either the leader or another.
    ///
    /// # Errors
    /// As of [`Stage::leader`].
    pub async fn anybody(&mut self) -> Result<(Process, bool), Failure> {
        match self.once_in(2) {
            true => Ok((self.leader().await?, true)),
            false => Ok((self.follower().await?, false)),
        }
    }

    /// The term of who leads.
    ///
    /// # Errors
    /// As of [`Stage::leader`].
    pub async fn term(&self) -> Result<u64, Failure> {
        Ok(term(&self.leader().await?).await)
    }

    /// Waits until a new reservation succeeds; gives when it did.
    ///
    /// # Errors
    /// When none does, for so long that it counts as never.
    pub async fn recovered(&self) -> Result<u64, Failure> {
        let within = RECOVERED_WITHIN.as_secs();
        let granted_at = self.load.probe().await?;
        granted_at.ok_or_else(|| Failure::new(format!("no reservation succeeded for {within} s")))
    }

    /// The node id of the member at an address.
    ///
    /// # Errors
    /// When nobody says.
    pub async fn node_id(&self, address: &str) -> Result<String, Failure> {
        let status = self.status().await?;
        let members = status["members"].as_array();
        let member = members.and_then(|all| all.iter().find(|it| it["address"].as_str() == Some(address)));
        let id = member.and_then(|it| it["node_id"].as_str()).map(ToOwned::to_owned);
        id.ok_or_else(|| Failure::new(format!("no member is at {address}: {status}")))
    }

    /// What `trunkline raft status` tells.
    ///
    /// # Errors
    /// When it tells nothing.
    pub async fn status(&self) -> Result<Value, Failure> {
        let voters = self.voters.addresses().join(",");
        let output = self.voters.trunkline.run(&["raft", "status", "--json", "--voters", &voters]).await?;
        serde_json::from_str(&output.stdout).map_err(|_| Failure::new(output.stderr.trim().to_owned()))
    }
}

/// The term a voter is in.
pub async fn term(voter: &Process) -> u64 {
    voter.metric("trunkline_agent_state_raft_term").await.unwrap_or(0.0) as u64
}
