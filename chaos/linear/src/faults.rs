//! What is done to the voters while clients ask.

use std::time::Duration;

use rustix::process::Signal;
use trunkline_loadtest::Failure;

use crate::chance::Chance;
use crate::group::{Group, VOTER_COUNT};

/// How long a voter that was killed stays away.
const AWAY: Duration = Duration::from_millis(500);
/// How long one is stopped: longer than an election takes.
const PAUSED: Duration = Duration::from_secs(2);
/// How long a leader is waited for that is to be hit.
const LED_WITHIN: Duration = Duration::from_secs(20);

/// One fault, with its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 the leader, and start it again.
    KillLeader,
    /// SIGSTOP the leader for 2 s: it wakes up deposed, with requests waiting.
    PauseLeader,
    /// kill -9 a follower, and start it again.
    KillFollower,
    /// SIGSTOP a follower for 2 s.
    PauseFollower,
    /// kill -9 the leader and a follower: no quorum until they are back.
    KillTwo,
    /// kill -9 everybody.
    KillAll,
    /// SIGTERM to the leader, and start it again.
    RestartLeader,
    /// SIGSTOP the leader, kill -9 whoever leads then, and wake the first up: it still thinks that it leads, and its
    /// successor is gone.
    PauseLeaderKillNext,
}

impl Fault {
    /// All of them; a run goes through them in this order.
    pub const ALL: [Self; 8] = [
        Self::KillLeader,
        Self::PauseLeader,
        Self::KillFollower,
        Self::PauseLeaderKillNext,
        Self::KillTwo,
        Self::RestartLeader,
        Self::PauseFollower,
        Self::KillAll,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KillLeader => "kill-leader",
            Self::PauseLeader => "pause-leader",
            Self::KillFollower => "kill-follower",
            Self::PauseFollower => "pause-follower",
            Self::KillTwo => "kill-two",
            Self::KillAll => "kill-all",
            Self::RestartLeader => "restart-leader",
            Self::PauseLeaderKillNext => "pause-leader-kill-next",
        }
    }

    /// Inflicts it and heals it. Afterwards all voters run, ready or not yet.
    ///
    /// # Errors
    /// When there is nobody to hit, or somebody does not come back.
    pub async fn strike(self, group: &Group, chance: &mut Chance) -> Result<(), Failure> {
        let leader = led(group, None).await?;
        let follower = (leader + 1 + chance.below(VOTER_COUNT as u64 - 1) as usize) % VOTER_COUNT;
        match self {
            Self::KillLeader => kill(group, &[leader]).await,
            Self::KillFollower => kill(group, &[follower]).await,
            Self::KillTwo => kill(group, &[leader, follower]).await,
            Self::KillAll => kill(group, &[0, 1, 2]).await,
            Self::PauseLeader => pause(group, leader).await,
            Self::PauseFollower => pause(group, follower).await,
            Self::RestartLeader => {
                group.stop(leader).await?;
                group.begin(leader)
            }
            Self::PauseLeaderKillNext => {
                group.voters()[leader].signal(Signal::STOP)?;
                let next = led(group, Some(leader)).await;
                let killed = match &next {
                    Ok(next) => group.voters()[*next].kill().await,
                    Err(_) => Ok(()),
                };
                group.voters()[leader].signal(Signal::CONT)?;
                killed?;
                tokio::time::sleep(AWAY).await;
                next.and_then(|next| group.begin(next))
            }
        }
    }
}

/// The faults of a history, and after which share of its operations each strikes, in hundredths.
pub fn plan(history: u32, chance: &mut Chance) -> [(u64, Fault); 2] {
    let fault = |nth: usize| Fault::ALL[nth % Fault::ALL.len()];
    let first = 2 * history as usize;
    [(10 + chance.below(25), fault(first)), (50 + chance.below(30), fault(first + 1))]
}

async fn kill(group: &Group, places: &[usize]) -> Result<(), Failure> {
    for place in places {
        group.voters()[*place].kill().await?;
    }
    tokio::time::sleep(AWAY).await;
    places.iter().try_for_each(|place| group.begin(*place))
}

async fn pause(group: &Group, place: usize) -> Result<(), Failure> {
    group.voters()[place].signal(Signal::STOP)?;
    tokio::time::sleep(PAUSED).await;
    group.voters()[place].signal(Signal::CONT)
}

/// The voter that leads; `but` is not asked, because one that is stopped does not answer.
async fn led(group: &Group, but: Option<usize>) -> Result<usize, Failure> {
    let asked = async {
        loop {
            match group.leader(but).await {
                Some(place) => return place,
                None => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    };
    let led = tokio::time::timeout(LED_WITHIN, asked).await;
    led.map_err(|_| Failure::new(format!("nobody led within {} s", LED_WITHIN.as_secs())))
}
