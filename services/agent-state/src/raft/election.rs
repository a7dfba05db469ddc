//! When this replica stands for election, and when a leader stops saying that it is there.
//!
//! openraft adds its election time-out to the lease of the leader that died. Here the time is drawn each time, and it counts
//! from when a leader was last heard of. Before anybody is asked for a vote, a majority must have missed the leader too, and
//! have no more of the log (pre-vote, Ongaro's dissertation, §9.6): a replica that was cut off comes back without a term that
//! deposes a sound leader. And a leader that no majority answers goes silent (check-quorum, §6.2): where it can speak and not
//! hear, the others would follow it for ever.
//!
//! What is absent: any say in who wins. That is openraft's: its voters keep the lease of a leader they heard of, and refuse
//! whoever has less of the log.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::{Instant, MissedTickBehavior};

use super::Consensus;
use super::identify::{Asker, Told};
use crate::config::Config;

/// How often one that leads, or must not stand, looks at itself.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// At least how long an election is waited for before the next: two round trips with a write to a slow disk.
const OUTCOME_TIME_MIN: Duration = Duration::from_millis(150);

/// When a leader was last heard of, or somebody was given a vote. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Pulse(Arc<Mutex<Instant>>);

impl Pulse {
    /// One that begins now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// It was just now.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long ago it was.
    pub fn silent(&self) -> Duration {
        self.last().elapsed()
    }
}

/// How long who waits.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A leader not heard of for so long is missed. Also its lease: before, nobody gives a vote to another.
    pub silent_max: Duration,
    /// How often a leader says that it is there.
    beat_every: Duration,
    /// How much longer one waits before it stands, at most: chance, drawn each time.
    window: Duration,
}

impl Timing {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self {
            silent_max: Duration::from_millis(config.election_ms),
            beat_every: Duration::from_millis(config.heartbeat_ms),
            window: Duration::from_millis(config.election_window_ms),
        }
    }

    /// Some part of the window.
    fn chance(&self) -> Duration {
        // The standard library's hash keys differ from one call to the next; nothing better is needed.
        let drawn = RandomState::new().hash_one(0u8) % 1_000;
        self.window * u32::try_from(drawn).unwrap_or_default() / 1_000
    }
}

impl Consensus {
    /// Stands for election whenever it should, for as long as the replica runs. One whose clock is wrong does not stand, and
    /// as the leader it goes silent: it is followed until the others miss it, like one that has died.
    pub async fn campaign(&self) -> Infallible {
        tokio::select! {
            // Whether it may say anything is found out first.
            biased;
            never = self.stand() => never,
            never = self.beat() => never,
        }
    }

    /// Says that this replica leads, while it does and may. openraft would do so itself, and give up on each message after
    /// the time between two of them: too soon for a busy machine of two cores.
    async fn beat(&self) -> Infallible {
        let mut beats = tokio::time::interval(self.timing.beat_every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            beats.tick().await;
            let leads = self.raft.metrics().borrow_watched().state == ServerState::Leader;
            if leads && self.speaks.load(Ordering::Relaxed) && self.raft.trigger().heartbeat().await.is_err()
            {
                // It has stopped, which others notice.
                return std::future::pending().await;
            }
        }
    }

    async fn stand(&self) -> Infallible {
        let mut asker = Asker::new(self);
        loop {
            let permitted = self.clocks.trust().permits().is_ok();
            let (state, deserted, voting) = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                let voting = metrics.membership_config.voter_ids().any(|id| id == self.node_id);
                (metrics.state, self.quorum.silent(&metrics), voting)
            };
            self.speaks.store(permitted && !deserted, Ordering::Relaxed);
            match state {
                ServerState::Follower | ServerState::Candidate if permitted && voting => {}
                state => {
                    if state == ServerState::Leader {
                        self.pulse.beat();
                    }
                    tokio::time::sleep(LOOK_EVERY).await;
                    continue;
                }
            }
            let patience = self.timing.silent_max + self.timing.chance();
            tokio::time::sleep_until(self.pulse.last() + patience).await;
            if self.pulse.silent() < patience || self.leaving.load(Ordering::Relaxed) {
                // It was heard of meanwhile; or somebody else had better stand.
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            if self.wanted(&mut asker).await && self.clocks.trust().permits().is_ok() {
                tracing::info!(silent_ms = self.pulse.silent().as_millis(), "stands for election");
                if self.raft.trigger().elect(false).await.is_err() {
                    // It has stopped, which others notice.
                    return std::future::pending().await;
                }
            }
            self.outcome().await;
        }
    }

    /// Whether a majority of the voters, this one included, has heard of no leader for longer than its lease, and has no more
    /// of the log than this one. Who stood with less would be refused, and leave a term behind that the right one has to
    /// get past.
    async fn wanted(&self, asker: &mut Asker) -> bool {
        let Some(others) = self.others() else { return false };
        let (own, silent_max) = (self.log_end(), self.timing.silent_max);
        let enough = |told: &[(String, Told)]| {
            wanted_by_majority(told.iter().map(|(_, it)| it), others.len(), silent_max, own)
        };
        enough(&asker.ask_all(&others, Duration::ZERO, enough).await)
    }

    /// Waits until somebody leads, for no longer than an election takes.
    async fn outcome(&self) {
        let mut metrics = self.raft.metrics();
        let term = metrics.borrow_watched().current_term;
        let led = metrics.wait_until(|it| it.current_leader.is_some() && it.current_term > term);
        let _ = tokio::time::timeout(OUTCOME_TIME_MIN + self.timing.chance(), led).await;
    }

    /// Term and index of the last entry of this replica's log.
    pub(super) fn log_end(&self) -> (u64, u64) {
        self.wal.memory().last_log_id().map_or((0, 0), |id| (id.leader_id.term, id.index))
    }

    /// Whether the leader this replica follows has not been heard of for so long that it is none.
    pub(super) fn lost(&self) -> bool {
        self.pulse.silent() > 2 * self.timing.silent_max
    }

    /// For how long this replica has heard of no leader. One that leads hears itself, unless it has gone silent.
    pub(super) fn silent(&self) -> Duration {
        match self.raft.metrics().borrow_watched().state {
            ServerState::Leader if self.speaks.load(Ordering::Relaxed) => Duration::ZERO,
            ServerState::Leader => Duration::MAX,
            _ => self.pulse.silent(),
        }
    }
}

/// Whether those of so many other voters who told, and one that stands with this end of its log, are a majority that misses a
/// leader and has no more of the log.
fn wanted_by_majority<'a>(
    told: impl Iterator<Item = &'a Told>,
    others: usize,
    silent_max: Duration,
    own: (u64, u64),
) -> bool {
    // Voters of a version that does not tell decide all the same, by their votes.
    let misses = |it: &&Told| it.silent.is_none_or(|silent| silent >= silent_max && it.log_end <= own);
    (told.filter(misses).count() + 1) * 2 > others + 1
}

#[cfg(test)]
mod tests {
    use trunkline_domain::vocabulary::Millis;

    use super::*;
    use crate::raft::Role;

    #[test]
    fn nobody_stands_whom_a_majority_does_not_want() {
        let told = |(silent_ms, log_end): (Option<u64>, _)| Told {
            offset: Millis::ZERO,
            term: 4,
            role: Role::Follower,
            leader: None,
            silent: silent_ms.map(Duration::from_millis),
            log_end,
            applied_index: 0,
            state_hash: String::new(),
            members: Vec::new(),
            feature_level: 0,
            site: String::new(),
        };
        let (own, misses, hears) = ((4, 90), Some(500), Some(499));
        for (others, answers, wanted) in [
            (0, vec![], true),
            (2, vec![], false),
            (2, vec![(misses, (4, 90))], true),
            (2, vec![(misses, (4, 89))], true),
            // Whoever has more of the log is the one to stand; a later term counts for more than a longer log.
            (2, vec![(misses, (4, 91))], false),
            (2, vec![(misses, (5, 1))], false),
            (2, vec![(misses, (3, 900))], true),
            (2, vec![(misses, (4, 91)), (misses, (4, 90))], true),
            (2, vec![(hears, (4, 90)), (hears, (4, 90))], false),
            (2, vec![(hears, (4, 90)), (misses, (4, 90))], true),
            (2, vec![(None, (0, 0))], true),
            (4, vec![(misses, (4, 90))], false),
            (4, vec![(misses, (4, 90)), (misses, (4, 90))], true),
        ] {
            let told: Vec<_> = answers.into_iter().map(told).collect();
            let silent_max = Duration::from_millis(500);
            assert_eq!(wanted_by_majority(told.iter(), others, silent_max, own), wanted, "{told:?}");
        }
    }

    #[test]
    fn chance_is_drawn_each_time_and_stays_within_the_window() {
        let config = Config { election_window_ms: 100, ..Config::default() };
        let timing = Timing::of(&config);
        let drawn: std::collections::BTreeSet<_> = (0..200).map(|_| timing.chance()).collect();
        assert!(drawn.len() > 20, "{drawn:?}");
        assert!(drawn.iter().all(|it| *it < Duration::from_millis(100)), "{drawn:?}");
    }
}
