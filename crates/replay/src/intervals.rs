//! What a day came to: for each class and interval, the counts and sums that service levels are made of.

use trunkline_domain::vocabulary::Millis;

use crate::day::{Call, End};

/// Answered within so long counts for the service level.
pub const THRESHOLD: Millis = Millis::from_secs(20);

/// Counts of calls, and sums of their times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub offered: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Those that gave up.
    pub abandoned: u64,
    /// Those that nobody came for and who did not give up.
    pub left: u64,
    /// Of the answered, those that had waited for no longer than [`THRESHOLD`].
    pub answered_in_time: u64,
    /// How long the answered had waited, together.
    pub waited_answered: Millis,
    /// How long those who gave up had waited, together.
    pub waited_abandoned: Millis,
    /// How long was talked.
    pub talked: Millis,
}

impl Counts {
    /// Takes a call into account.
    pub fn add(&mut self, call: &Call, end: &End) {
        self.offered += 1;
        match end {
            End::Answered { waited, .. } => {
                self.answered += 1;
                self.answered_in_time += u64::from(*waited <= THRESHOLD);
                self.waited_answered = self.waited_answered + *waited;
                self.talked = self.talked + call.talk;
            }
            End::Abandoned { waited } => {
                self.abandoned += 1;
                self.waited_abandoned = self.waited_abandoned + *waited;
            }
            End::Left => self.left += 1,
        }
    }

    /// Of all calls.
    pub fn of<'a>(calls: impl IntoIterator<Item = (&'a Call, &'a End)>) -> Self {
        let mut counts = Self::default();
        calls.into_iter().for_each(|(call, end)| counts.add(call, end));
        counts
    }

    /// Answered in time, of the offered; 0 when nobody called.
    pub fn service_level(&self) -> f64 {
        part(self.answered_in_time, self.offered)
    }

    /// Gave up, of the offered.
    pub fn abandon_rate(&self) -> f64 {
        part(self.abandoned, self.offered)
    }

    /// How long the answered had waited on average, in seconds.
    pub fn speed_of_answer_s(&self) -> f64 {
        seconds(self.waited_answered) / (self.answered.max(1) as f64)
    }

    /// How long all had waited on average, in seconds: those who gave up too.
    pub fn mean_wait_s(&self) -> f64 {
        seconds(self.waited_answered + self.waited_abandoned) / (self.offered.max(1) as f64)
    }
}

fn part(some: u64, all: u64) -> f64 {
    some as f64 / all.max(1) as f64
}

fn seconds(span: Millis) -> f64 {
    span.0 as f64 / 1_000.0
}
