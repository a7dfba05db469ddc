//! The only reader of time.
//!
//! Wall time ([`Timestamp`]) is for facts and absolute deadlines. Shell timers that only bound an attempt (a retry, a
//! connect) use tokio's monotonic time directly and never become a fact.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use trunkline_domain::vocabulary::{Millis, Timestamp};

/// The longest a sleeper trusts the monotonic clock before it looks at the wall clock again, so that a wall clock that
/// was set forward is noticed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Tells the wall time and waits for it. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Manual(Arc<watch::Sender<Timestamp>>),
}

/// Moves the time of the [`Clock`] it was made with. For tests.
#[derive(Clone)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl Clock {
    /// The clock of the machine. It follows the machine's wall clock, which may be set back: who needs order takes the
    /// maximum with what it has seen.
    pub fn system() -> Self {
        Self(Source::System)
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
            Source::System => system_now(),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Resolves once the wall time is `at` or later, at once when it already is; never for `None`. Cancel-safe.
    pub async fn sleep_until(&self, at: Option<Timestamp>) {
        let Some(at) = at else { return std::future::pending().await };
        match &self.0 {
            Source::System => loop {
                let left = at.since(system_now());
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
}
