//! What is under way in the log, and how far the log has come.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use tokio::time::Instant;
use trunkline_domain::vocabulary::Position;

use super::Lane;
use crate::event_log::{AppendTicket, LogError, Record, SharedLog};

/// The pause before a line that failed is tried again; it doubles with every failure, to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How long a log whose buffer is full is left alone, unless it acknowledges something.
const LATER_PAUSE: Duration = Duration::from_millis(5);

/// How the line stands.
enum Standing {
    /// It takes the record behind the last one sent.
    Open,
    /// The lane is being taken up again: nothing is sent until the log has acknowledged the fence record.
    Reopening,
    /// A record failed. The lane takes nothing but a fence record, and that is tried no earlier than this.
    Broken { until: Instant },
}

/// A record whose acknowledgement is awaited.
struct InFlight {
    /// 0 for a fence record.
    sequence: u64,
    size: u64,
    sent_at: Instant,
    ticket: AppendTicket,
}

/// What the log said of the oldest record under way.
pub(super) struct Report {
    /// 0 for a fence record.
    pub sequence: u64,
    /// By [`Record::size`].
    pub size: u64,
    pub outcome: Result<Position, LogError>,
}

/// What became of a record that was to be sent.
pub(super) enum Sent {
    /// It is under way.
    Taken,
    /// Not now.
    Later,
    /// The log never takes it.
    TooLarge(LogError),
    /// The line is broken.
    Failed(LogError),
}

/// The way of one lane into the log.
pub(super) struct Line {
    lane: Lane,
    log: SharedLog,
    in_flight: VecDeque<InFlight>,
    /// The log has everything up to this sequence.
    pub acked_to: u64,
    /// Everything up to this sequence is in the log or under way to it. Never below `acked_to`.
    pub sent_to: u64,
    standing: Standing,
    pause: Duration,
    not_before: Option<Instant>,
    /// Whether the log has acknowledged anything since it was last found slow or failing.
    pub trusted: bool,
}

impl Line {
    /// A line into a log that has the lane up to `acked_to` and takes what comes behind it.
    pub fn open(log: SharedLog, lane: Lane, acked_to: u64) -> Self {
        Self {
            lane,
            log,
            in_flight: VecDeque::new(),
            acked_to,
            sent_to: acked_to,
            standing: Standing::Open,
            pause: PAUSE_MIN,
            not_before: None,
            trusted: true,
        }
    }

    /// The same of which nobody knows whether the lane takes anything: it begins with the fence record.
    pub fn to_reopen(log: SharedLog, lane: Lane, acked_to: u64, now: Instant) -> Self {
        let standing = Standing::Broken { until: now };
        Self { standing, trusted: false, ..Self::open(log, lane, acked_to) }
    }

    /// Whether a record may be sent now.
    pub fn takes(&self, now: Instant) -> bool {
        self.is_open() && self.not_before.is_none_or(|until| until <= now)
    }

    /// Whether nothing has failed that was not taken up again.
    pub fn is_open(&self) -> bool {
        matches!(self.standing, Standing::Open)
    }

    /// Whether a record is under way for longer than `after`.
    pub fn stalled(&self, now: Instant, after: Duration) -> bool {
        self.in_flight.front().is_some_and(|first| first.sent_at + after <= now)
    }

    /// Whether the log acknowledges what it is sent, and each within `after`.
    pub fn flows(&self, now: Instant, after: Duration) -> bool {
        self.is_open() && self.trusted && !self.stalled(now, after)
    }

    /// How many records are under way.
    pub fn in_flight_count(&self) -> usize {
        self.in_flight.len()
    }

    /// When something changes here by the passing of time alone.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        match self.standing {
            Standing::Broken { until } => Some(until),
            Standing::Reopening => None,
            Standing::Open => self.not_before.filter(|until| *until > now),
        }
    }

    /// Sends the record behind the last one sent.
    pub fn send(&mut self, record: Record, now: Instant) -> Sent {
        assert!(record.sequence == self.sent_to + 1, "a hole would stop every reader of the log");
        let (sequence, size) = (record.sequence, record.size() as u64);
        match self.log.append(self.lane.log, self.lane.cell, record) {
            Ok(ticket) => {
                self.sent_to = sequence;
                self.in_flight.push_back(InFlight { sequence, size, sent_at: now, ticket });
                Sent::Taken
            }
            Err(LogError::Overloaded { .. }) => self.later(now),
            // What is under way fails as well, and says why.
            Err(LogError::Interrupted { .. }) if !self.in_flight.is_empty() => self.later(now),
            Err(error @ LogError::TooLarge { .. }) => Sent::TooLarge(error),
            Err(error) => Sent::Failed(error),
        }
    }

    fn later(&mut self, now: Instant) -> Sent {
        self.not_before = Some(now + LATER_PAUSE);
        Sent::Later
    }

    /// Takes a broken lane up again, when it is time: with the fence record of its epoch, which readers take once.
    pub fn reopen(&mut self, now: Instant) -> Result<(), LogError> {
        if !matches!(self.standing, Standing::Broken { until } if until <= now) {
            return Ok(());
        }
        let fence = self.lane.fence();
        let size = fence.size() as u64;
        let ticket = match self.log.append(self.lane.log, self.lane.cell, fence) {
            Ok(ticket) => ticket,
            Err(LogError::Overloaded { .. }) => {
                self.standing = Standing::Broken { until: now + LATER_PAUSE };
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.in_flight.push_back(InFlight { sequence: 0, size, sent_at: now, ticket });
        self.standing = Standing::Reopening;
        Ok(())
    }

    /// What the log says next; waits for it, for ever when nothing is under way. Cancel-safe.
    pub async fn report(&mut self) -> Report {
        let Some(first) = self.in_flight.front_mut() else { return pending().await };
        let (sequence, size) = (first.sequence, first.size);
        let outcome = (&mut first.ticket).await;
        self.in_flight.pop_front();
        Report { sequence, size, outcome }
    }

    /// The log has the record of this report, which was a good one.
    pub fn acknowledge(&mut self, report: &Report) {
        self.trusted = true;
        self.not_before = None;
        if report.sequence == 0 {
            self.standing = Standing::Open;
        } else {
            self.acked_to = report.sequence;
            self.pause = PAUSE_MIN;
        }
    }

    /// A record failed, and with it all that are under way behind it, as the port promises: they are sent again.
    pub fn break_off(&mut self, now: Instant) {
        self.in_flight.clear();
        self.sent_to = self.acked_to;
        self.not_before = None;
        self.trusted = false;
        self.standing = Standing::Broken { until: now + self.pause };
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}
