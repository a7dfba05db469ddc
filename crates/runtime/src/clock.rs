//! The only reader of time.
//!
//! The time told never goes back. A machine's clock that was set back is followed again by going a little slower until it
//! has caught up: else deadlines that were set before would stand still for as long as it went back, and agent-state,
//! whose time never falls, would refuse every new one.
//!
//! Wall time ([`Timestamp`]) is for facts and absolute deadlines. Shell timers that only bound an attempt (a retry, a
//! connect) use tokio's monotonic time directly and never become a fact.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use trunkline_domain::vocabulary::{Millis, Timestamp};

/// The longest a sleeper trusts the monotonic clock before it looks at the wall clock again, so that a wall clock that
/// was set forward is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// While the machine's clock is behind the time told, the time told loses one part in so many: an hour in three days, and
/// too little to matter for a lease.
const CATCH_UP_PARTS: i64 = 64;

/// Tells the wall time and waits for it. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System(Arc<Mutex<Steady>>, Millis),
    Manual(Arc<watch::Sender<Timestamp>>),
}

/// Moves the time of the [`Clock`] it was made with. For tests.
#[derive(Clone)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl Clock {
    /// The clock of the machine, clones together never going back. Two that were made apart, or a process that begins
    /// again, may differ: who needs order across them takes the maximum with what it has seen.
    pub fn system() -> Self {
        Self::shifted(Millis::ZERO)
    }

    /// The clock of the machine, wrong by so much: for rehearsals.
    pub fn shifted(offset: Millis) -> Self {
        let steady = Steady { at: system_now() + offset, since: Instant::now() };
        Self(Source::System(Arc::new(Mutex::new(steady)), offset))
    }

    /// The same machine's clock as one that has told nothing yet: what it says was not lifted by what others have seen.
    pub fn afresh(&self) -> Self {
        match &self.0 {
            Source::System(_, offset) => Self::shifted(*offset),
            Source::Manual(_) => self.clone(),
        }
    }

    /// A clock that stands at `start` until its [`ManualClock`] moves it.
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let (sender, _) = watch::channel(start);
        let sender = Arc::new(sender);
        (Self(Source::Manual(Arc::clone(&sender))), ManualClock(sender))
    }

    /// The wall time, in ms since the Unix epoch; negative before it.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(steady, offset) => {
                let mut steady = steady.lock().unwrap_or_else(PoisonError::into_inner);
                steady.tell(system_now() + *offset, Instant::now())
            }
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// From now on tells no time before `at`: somebody whose time ours must not be behind has seen it. Returns by how
    /// much the time told was moved on. A manual clock obeys its hand alone.
    pub fn not_before(&self, at: Timestamp) -> Millis {
        let Source::System(steady, offset) = &self.0 else { return Millis::ZERO };
        let mut steady = steady.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let behind = at.since(steady.tell(system_now() + *offset, now)).max(Millis::ZERO);
        if behind > Millis::ZERO {
            *steady = Steady { at, since: now };
        }
        behind
    }

    /// Resolves once the wall time is `at` or later, at once when it already is; never for `None`. Cancel-safe.
    pub async fn sleep_until(&self, at: Option<Timestamp>) {
        let Some(at) = at else { return std::future::pending().await };
        match &self.0 {
            Source::System(..) => loop {
                let left = at.since(self.now());
                if left <= Millis::ZERO {
                    return;
                }
                let left = Duration::from_millis(left.0.unsigned_abs());
                tokio::time::sleep(left.min(LOOK_AGAIN)).await;
            },
            Source::Manual(time) => {
                let mut seen = time.subscribe();
                if seen.wait_for(|now| *now >= at).await.is_err() {
                    // The sender lives in `self`, so the channel cannot close while we wait.
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Resolves after `span` of wall time.
    pub async fn sleep(&self, span: Millis) {
        self.sleep_until(Some(self.now() + span)).await;
    }
}

impl ManualClock {
    /// Sets the time, forwards or backwards.
    pub fn set(&self, to: Timestamp) {
        self.0.send_replace(to);
    }

    /// Moves the time on.
    pub fn advance(&self, by: Millis) {
        self.0.send_modify(|now| *now = *now + by);
    }

    /// The time it stands at.
    pub fn now(&self) -> Timestamp {
        *self.0.borrow()
    }
}

/// The last time told that was the machine's, or that was asked for, and when.
#[derive(Debug)]
struct Steady {
    at: Timestamp,
    since: Instant,
}

impl Steady {
    /// What to tell when the machine's clock says `wall`: that, unless it is behind.
    fn tell(&mut self, wall: Timestamp, now: Instant) -> Timestamp {
        let elapsed = now.saturating_duration_since(self.since).as_millis();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let earliest = self.at + Millis(elapsed - elapsed / CATCH_UP_PARTS);
        if wall < earliest {
            return earliest;
        }
        *self = Self { at: wall, since: now };
        wall
    }
}

fn system_now() -> Timestamp {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp(millis(since)),
        Err(before) => Timestamp(-millis(before.duration())),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come_and_never_without_one() {
        let (clock, hand) = Clock::manual(Timestamp(100));
        let mut sleeper = Box::pin(clock.sleep_until(Some(Timestamp(200))));
        assert_eq!((&mut sleeper).now_or_never(), None);
        hand.advance(Millis(99));
        assert_eq!((&mut sleeper).now_or_never(), None);
        hand.advance(Millis(1));
        assert_eq!((&mut sleeper).now_or_never(), Some(()));
        assert_eq!(clock.sleep_until(Some(Timestamp(5))).now_or_never(), Some(()));
        assert_eq!(clock.sleep_until(None).now_or_never(), None);
    }

    #[tokio::test]
    async fn the_system_clock_reaches_a_deadline_not_before_it() {
        let clock = Clock::system();
        let at = clock.now() + Millis(5);
        clock.sleep_until(Some(at)).await;
        assert!(clock.now() >= at);
    }

    #[test]
    fn a_machine_clock_set_back_an_hour_stops_no_deadline_and_is_met_again() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let hour = 3_600_000;
        let mut steady = Steady { at: Timestamp(hour), since: start };
        assert_eq!(steady.tell(Timestamp(hour + 1_000), after(1_000)), Timestamp(hour + 1_000));
        // Set back an hour: what was due in a second is due in a second.
        assert_eq!(steady.tell(Timestamp(2_000), after(2_000)), Timestamp(hour + 1_985));
        let mut last = Timestamp(hour + 1_985);
        for ms in (3_000..65 * 3_600_000).step_by(600_000) {
            let told = steady.tell(Timestamp(i64::try_from(ms).unwrap()), after(ms));
            assert!(told > last, "it never goes back");
            last = told;
        }
        assert_eq!(
            steady.tell(Timestamp(65 * hour), after(65 * 3_600_000)),
            Timestamp(65 * hour),
            "met again"
        );
        // Set forward: at once.
        assert_eq!(steady.tell(Timestamp(99 * hour), after(65 * 3_600_001)), Timestamp(99 * hour));
    }

    #[test]
    fn a_clock_is_not_behind_a_time_that_was_seen() {
        let clock = Clock::system();
        let seen = clock.now() + Millis(3_600_000);
        let moved = clock.clone().not_before(seen);
        assert!(clock.now() >= seen && moved > Millis(3_500_000));
        assert_eq!(clock.not_before(Timestamp(0)), Millis::ZERO);
        assert!(clock.now() >= seen);
    }
}
