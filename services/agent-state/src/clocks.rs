//! This replica's clock beside the other voters': what may be stamped into a command, and whether this replica may lead.
//!
//! The rule is `trunkline_domain::agent_state::clocks`. Here every voter asks the others every second what their clocks
//! say. What is absent: no command is stamped, no election is stood for and no heartbeat is sent by a replica that has not
//! compared, or that is too far ahead of the others. Between two comparisons a clock nobody can set, the monotonic one,
//! watches over it: a clock that is set ahead while it leads stamps nothing any more.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use trunkline_domain::agent_state::clocks::{Verdict, ahead, judge, jumped};
use trunkline_domain::vocabulary::{Millis, Timestamp};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::health::Component;

use crate::config::Config;
use crate::raft::{ANSWER_TIME_MAX, Asker, Consensus, majority_of};

/// The pause between two comparisons.
const ROUND: Duration = Duration::from_secs(1);
/// The pause while everything waits for one.
const ROUND_SOON: Duration = Duration::from_millis(100);
/// How long the rest is waited for then, once a majority has answered: a voter that says nothing must not hold up a start.
const GRACE: Duration = Duration::from_millis(50);
/// How long a replica that has just started waits for a majority to tell its clocks. Then it may stand for election all the same: voters of
/// an older version tell nothing, and without a majority nobody is elected anyway.
const UNHEARD_AFTER: Duration = Duration::from_secs(2);
/// The longest a sleeper goes without looking at the time again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Why nothing may be stamped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// It has just started.
    #[error("this clock is not compared with the other voters' yet")]
    NotCompared,
    /// The other voters' clocks say so.
    #[error("this clock is {} ahead of the other voters'", seconds(*by))]
    Off {
        /// By how much.
        by: Millis,
    },
    /// It was set ahead since it was compared.
    #[error("this clock jumped {} ahead and is compared again", seconds(*by))]
    Jumped {
        /// By how much.
        by: Millis,
    },
}

fn seconds(span: Millis) -> String {
    let tenths = span.0.unsigned_abs() / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

/// What is known of this clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Nobody else votes, so there is nothing to compare with.
    Alone,
    /// It was not compared since the start.
    Waits,
    /// Fewer than a majority told their clocks in time.
    Unheard,
    /// It agrees with the others.
    Agrees {
        /// What it told when it was compared.
        at: Timestamp,
        /// When that was.
        since: Instant,
    },
    /// It is ahead of the others.
    Off {
        /// By how much.
        by: Millis,
    },
    /// It was set ahead since it was compared.
    Jumped {
        /// By how much.
        by: Millis,
    },
}

impl Trust {
    /// Whether this replica may lead.
    ///
    /// # Errors
    /// Why not.
    pub fn permits(self) -> Result<(), ClockError> {
        match self {
            Self::Alone | Self::Unheard | Self::Agrees { .. } => Ok(()),
            Self::Waits => Err(ClockError::NotCompared),
            Self::Off { by } => Err(ClockError::Off { by }),
            Self::Jumped { by } => Err(ClockError::Jumped { by }),
        }
    }

    /// Whether everything waits for the next comparison.
    fn waits(self) -> bool {
        matches!(self, Self::Waits | Self::Jumped { .. })
    }
}

/// This replica's clock. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct Clocks(Arc<Shared>);

struct Shared {
    afresh: Afresh,
    skew_max: Millis,
    /// What commands are stamped by. It never goes back, so it is replaced when what it told was wrong.
    told: watch::Sender<Clock>,
    trust: watch::Sender<Trust>,
    /// A comparison is wanted now.
    wanted: Notify,
}

/// Gives a clock of this machine that knows nothing of what others of it told before.
pub type Afresh = Arc<dyn Fn() -> Clock + Send + Sync>;

impl Clocks {
    /// `clock` is what is stamped by until a comparison says otherwise; it may be `skew_max` ahead of the other voters'.
    pub fn new(clock: Clock, afresh: Afresh, skew_max: Millis) -> Self {
        let (told, _) = watch::channel(clock);
        let (trust, _) = watch::channel(Trust::Waits);
        Self(Arc::new(Shared { afresh, skew_max, told, trust, wanted: Notify::new() }))
    }

    /// What the machine's clock says, whatever was told before. This is what voters compare.
    pub fn wall(&self) -> Timestamp {
        (self.0.afresh)().now()
    }

    /// The time, for what is no command: it may be wrong while [`Clocks::trust`] does not permit to lead.
    pub fn now(&self) -> Timestamp {
        self.0.told.borrow().now()
    }

    /// The time to stamp into a command.
    ///
    /// # Errors
    /// When this replica must not lead, or its clock was set ahead since it was compared.
    pub fn stamp(&self) -> Result<Timestamp, ClockError> {
        let (now, trust) = (self.now(), self.trust());
        trust.permits()?;
        let Some(by) = self.jumped(trust, now) else { return Ok(now) };
        if self.0.trust.send_replace(Trust::Jumped { by }).permits().is_ok() {
            tracing::warn!(ahead_ms = by.0, "this clock jumped ahead and is compared again");
        }
        self.0.wanted.notify_one();
        Err(ClockError::Jumped { by })
    }

    fn jumped(&self, trust: Trust, now: Timestamp) -> Option<Millis> {
        let Trust::Agrees { at, since } = trust else { return None };
        jumped(at, millis(since.elapsed()), now, self.0.skew_max)
    }

    /// From now on tells no time before `at`, the time of the machine. Returns by how much the time told was moved on.
    pub fn not_before(&self, at: Timestamp) -> Millis {
        let moved = self.0.told.borrow().not_before(at);
        if moved > Millis::ZERO {
            self.0.trust.send_if_modified(|trust| {
                // The machine's time is as good as a comparison: to stamp it again changes nothing.
                if let Trust::Agrees { .. } = trust {
                    *trust = Trust::Agrees { at, since: Instant::now() };
                }
                false
            });
        }
        moved
    }

    /// Resolves once the time is `at` or later; never for `None`. Cancel-safe.
    pub async fn sleep_until(&self, at: Option<Timestamp>) {
        loop {
            let clock = self.0.told.borrow().clone();
            tokio::select! {
                () = clock.sleep_until(at) => return,
                // The clock may have been replaced.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// What is known of this clock now.
    pub fn trust(&self) -> Trust {
        *self.0.trust.borrow()
    }

    /// Follows [`Clocks::trust`].
    pub fn watch(&self) -> watch::Receiver<Trust> {
        self.0.trust.subscribe()
    }

    /// Takes a comparison into account; returns what was known before it.
    fn compared(&self, compared: &Compared, began: &Began) -> Trust {
        let before = self.trust();
        // Who was found ahead comes back only well within the bound, so that a clock at the bound does not flutter.
        let skew_max = match before {
            Trust::Off { .. } => Millis(self.0.skew_max.0 / 2),
            _ => self.0.skew_max,
        };
        let trust = match judge(&compared.offsets, compared.voter_count, skew_max) {
            _ if compared.voter_count == 1 => Trust::Alone,
            Some(Verdict::Off { by }) => Trust::Off { by },
            // The machine's time was taken over meanwhile, which is newer.
            Some(Verdict::Agrees) if matches!(before, Trust::Agrees { since, .. } if since > began.at) => {
                before
            }
            Some(Verdict::Agrees) => {
                let continues = matches!(before, Trust::Agrees { .. });
                let at = match continues && self.jumped(before, began.told).is_none() {
                    true => began.told,
                    // What was told while the machine's clock was wrong must not be told on.
                    false => {
                        self.0.told.send_replace((self.0.afresh)());
                        began.wall
                    }
                };
                Trust::Agrees { at, since: began.at }
            }
            None if before == Trust::Alone => Trust::Unheard,
            None if before == Trust::Waits && began.waited >= UNHEARD_AFTER => Trust::Unheard,
            None => before,
        };
        self.0.trust.send_replace(trust)
    }
}

fn millis(span: Duration) -> Millis {
    Millis(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

/// What the others told in one round.
struct Compared {
    offsets: Vec<Millis>,
    voter_count: usize,
}

/// How things stood when a round began.
struct Began {
    at: Instant,
    told: Timestamp,
    wall: Timestamp,
    /// Since this replica started.
    waited: Duration,
}

/// Compares this clock with the other voters' for as long as the replica runs, and says how it is: the replica stands for
/// election and leads only while it agrees.
pub async fn keep(config: &Config, consensus: &Consensus, component: &Component) -> std::convert::Infallible {
    let clocks = consensus.clocks();
    let mut asker = Asker::new(consensus);
    let started = Instant::now();
    loop {
        let others = consensus.others().unwrap_or_else(|| config.others().cloned().collect());
        let began =
            Began { at: Instant::now(), told: clocks.now(), wall: clocks.wall(), waited: started.elapsed() };
        let grace = if clocks.trust().waits() { GRACE } else { ANSWER_TIME_MAX };
        let told = asker.ask_all(&others, grace, majority_of(&others)).await;
        let offsets = told.iter().map(|(_, it)| it.offset).collect();
        let compared = Compared { offsets, voter_count: others.len() + 1 };
        let before = clocks.compared(&compared, &began);
        let now = clocks.trust();
        say(before, now, ahead(&compared.offsets, compared.voter_count), clocks.0.skew_max, component);
        let pause = if now.waits() { ROUND_SOON } else { ROUND };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = clocks.0.wanted.notified() => {}
        }
    }
}

/// Says what changed, and how this clock is.
fn say(before: Trust, now: Trust, ahead: Option<Millis>, skew_max: Millis, component: &Component) {
    match (before, now) {
        (Trust::Off { .. }, Trust::Off { .. }) => {}
        (_, Trust::Off { by }) => {
            tracing::error!(
                ahead_ms = by.0,
                "this clock is ahead of the other voters'; this voter does not lead"
            );
        }
        (Trust::Off { .. } | Trust::Jumped { .. }, Trust::Agrees { .. }) => {
            tracing::info!("this clock agrees with the other voters' again");
        }
        _ => {}
    }
    match (now.permits(), ahead) {
        (Err(why), _) => component.not_ready(why.to_string()),
        (Ok(()), Some(by)) if by < Millis::ZERO - skew_max => {
            component.ready_with(format!("this clock is {} behind the other voters'", seconds(by)));
        }
        (Ok(()), _) if now == Trust::Unheard => {
            component.ready_with("fewer than a majority of the voters tell their clocks");
        }
        (Ok(()), _) => component.ready(),
    }
}

#[cfg(test)]
mod tests {
    use trunkline_runtime::clock::ManualClock;

    use super::*;

    const SKEW_MAX: Millis = Millis(5_000);

    fn clocks() -> (Clocks, ManualClock) {
        let (clock, hand) = Clock::manual(Timestamp(1_000));
        let afresh = clock.clone();
        (Clocks::new(clock, Arc::new(move || afresh.clone()), SKEW_MAX), hand)
    }

    /// One round in which every other voter's clock stands at `theirs`, or nobody answers.
    fn round(clocks: &Clocks, others: usize, theirs: Option<i64>, waited: Duration) -> Trust {
        let began = Began { at: Instant::now(), told: clocks.now(), wall: clocks.wall(), waited };
        let offsets = theirs.map_or(Vec::new(), |at| vec![Timestamp(at).since(began.wall); others]);
        clocks.compared(&Compared { offsets, voter_count: others + 1 }, &began);
        clocks.trust()
    }

    #[tokio::test]
    async fn nothing_is_stamped_before_the_first_comparison_but_by_who_is_alone_or_waited_in_vain() {
        let (clocks, _) = clocks();
        assert_eq!(clocks.stamp(), Err(ClockError::NotCompared));
        assert_eq!(round(&clocks, 2, None, Duration::ZERO), Trust::Waits);
        assert_eq!(clocks.stamp(), Err(ClockError::NotCompared));
        assert_eq!(round(&clocks, 2, None, UNHEARD_AFTER), Trust::Unheard);
        assert_eq!(clocks.stamp(), Ok(Timestamp(1_000)));
        assert_eq!(round(&clocks, 0, None, Duration::ZERO), Trust::Alone);
        assert_eq!(clocks.stamp(), Ok(Timestamp(1_000)));
    }

    #[tokio::test]
    async fn a_clock_that_is_set_ahead_stamps_nothing_until_it_is_right_or_the_others_are_there_too() {
        let (clocks, hand) = clocks();
        round(&clocks, 2, Some(1_000), Duration::ZERO);
        hand.advance(Millis(3_600_200));
        let jumped = ClockError::Jumped { by: Millis(3_600_200) };
        assert_eq!(clocks.stamp(), Err(jumped.clone()));
        // Who cannot ask goes on in doubt.
        round(&clocks, 2, None, UNHEARD_AFTER);
        assert_eq!(clocks.stamp(), Err(jumped));
        round(&clocks, 2, Some(1_000), Duration::ZERO);
        let off = clocks.stamp().unwrap_err();
        assert_eq!(off.to_string(), "this clock is 3600.2 s ahead of the other voters'");
        round(&clocks, 2, None, UNHEARD_AFTER);
        assert_eq!(clocks.stamp(), Err(off));
        hand.set(Timestamp(2_000));
        round(&clocks, 2, Some(2_000), Duration::ZERO);
        assert_eq!(clocks.stamp(), Ok(Timestamp(2_000)));
        // The machines of all voters slept for an hour.
        hand.advance(Millis(3_600_000));
        assert!(clocks.stamp().is_err());
        round(&clocks, 2, Some(3_602_000), Duration::ZERO);
        assert_eq!(clocks.stamp(), Ok(Timestamp(3_602_000)));
    }

    #[tokio::test]
    async fn who_was_off_comes_back_well_within_the_bound() {
        let (clocks, _) = clocks();
        for (theirs, permitted) in
            [(-3_999, true), (-4_001, false), (-3_999, false), (-1_501, false), (-1_500, true)]
        {
            round(&clocks, 2, Some(theirs), Duration::ZERO);
            assert_eq!(clocks.stamp().is_ok(), permitted, "{theirs}");
        }
    }

    #[tokio::test]
    async fn a_clock_of_the_system_that_was_off_tells_the_machines_time_when_it_comes_back() {
        let clock = Clock::system();
        let clocks = Clocks::new(clock.clone(), Arc::new(Clock::system), SKEW_MAX);
        round(&clocks, 2, Some(clocks.wall().0), Duration::ZERO);
        // As if the machine's clock had been an hour ahead for a moment: what is told goes on from there.
        let hour = Millis(3_600_000);
        clock.not_before(clocks.wall() + hour);
        clocks.0.told.send_replace(clock);
        assert!(matches!(clocks.stamp(), Err(ClockError::Jumped { .. })));
        round(&clocks, 2, Some(clocks.wall().0), Duration::ZERO);
        let stamped = clocks.stamp().unwrap();
        assert!(stamped.since(clocks.wall()) < Millis(1_000), "{stamped}");
        // But never behind the machine.
        let machine = clocks.wall() + hour;
        assert!(clocks.not_before(machine) > Millis::ZERO);
        assert!(clocks.stamp().unwrap() >= machine);
        round(&clocks, 2, Some(clocks.wall().0), Duration::ZERO);
        assert!(clocks.stamp().unwrap() >= machine, "a comparison takes nothing of that back");
    }
}
