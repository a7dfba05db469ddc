//! The one task that owns the order of a lane: what is sent to the log, what is written to the spool, who is told.
//!
//! ```text
//!              a record waits too long · the log fails one
//! ┌─ Direct ──────────────────────────────────────────────► Spooling ─┐
//! └────────◄── the log acknowledges again, and in time, and all that ◄┘
//!              is durable in the spool was sent
//! ```
//! In between the drain sends what is in the spool. Whichever way a record goes, its caller is told as soon as the log or
//! the disk has it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::episode::{Cause, Episode, Held};
use super::line::{Line, Report, Sent};
use super::reader::Reader;
use super::store::{Event, Store, Written};
use super::{Lane, Spool, SpoolError};
use crate::error_chain;
use crate::event_log::{LogError, Record, SharedLog};

/// Records in memory that are not durable; whoever appends more waits.
pub(super) const UNSETTLED_COUNT_MAX: usize = 4096;

/// Records of the spool under way to the log.
const DRAIN_COUNT_MAX: usize = 256;

/// What a caller wants to be made durable, behind everything wanted before.
pub(super) struct Wish {
    pub headers: Vec<(String, String)>,
    pub payload: Bytes,
    pub since: Instant,
    pub reply: oneshot::Sender<Result<(), SpoolError>>,
}

/// A record with its number, in memory until it is durable.
struct Unsettled {
    record: Record,
    since: Instant,
    reply: oneshot::Sender<Result<(), SpoolError>>,
}

/// Where records go that come now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// To the log.
    Direct,
    /// To the spool.
    Spooling,
}

/// What a courier is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To carry what callers append.
    Serve,
    /// To bring into the log what is on disk.
    Drain,
}

/// The owner of a lane's order.
pub(super) struct Courier {
    lane: Lane,
    purpose: Purpose,
    held: Held,
    after: Duration,
    wishes: mpsc::Receiver<Wish>,
    ended: CancellationToken,
    /// Without a number yet, in order.
    waiting: VecDeque<Wish>,
    /// Without a hole: the first is the one behind all that are durable.
    unsettled: VecDeque<Unsettled>,
    next_sequence: u64,
    line: Line,
    store: Store,
    reader: Reader,
    mode: Mode,
    cause: Cause,
    episode: Option<Episode>,
    /// There is no spool, or it could not be written while nothing depended on it: the log alone counts, until everything
    /// in memory is durable.
    unspoolable: bool,
}

impl Courier {
    /// A courier behind a fence record that is durable in the log.
    pub fn begin(
        log: SharedLog,
        spool: Spool,
        lane: Lane,
        wishes: mpsc::Receiver<Wish>,
        ended: CancellationToken,
    ) -> Self {
        let store = Store::new(spool.options().clone(), lane.clone(), 0);
        let line = Line::open(log, lane.clone(), 0);
        Self {
            purpose: Purpose::Serve,
            after: spool.options().after,
            cause: Cause::Slow(spool.options().after),
            unspoolable: spool.options().bytes_max == 0,
            held: Held::nothing(spool),
            wishes,
            ended,
            waiting: VecDeque::new(),
            unsettled: VecDeque::new(),
            next_sequence: 1,
            line,
            store,
            reader: Reader::default(),
            mode: Mode::Direct,
            episode: None,
            lane,
        }
    }

    /// A courier that only brings into the log what is in `store`, of which `held` is not there yet: the lane has come to
    /// `acked_to` in it.
    pub fn draining(log: SharedLog, lane: Lane, store: Store, held: Held, acked_to: u64) -> Self {
        let (_, wishes) = mpsc::channel(1);
        let line = Line::to_reopen(log.clone(), lane.clone(), acked_to, Instant::now());
        let next_sequence = store.spooled_to + 1;
        let spool = held.spool.clone();
        Self {
            purpose: Purpose::Drain,
            held,
            next_sequence,
            line,
            store,
            mode: Mode::Spooling,
            ..Self::begin(log, spool, lane, wishes, CancellationToken::new())
        }
    }

    /// Carries until the writer is ended or dropped, or neither log nor spool takes a record. What is in the spool then
    /// stays there.
    pub async fn run(mut self) {
        let error = loop {
            match self.step().await {
                Ok(true) => {}
                Ok(false) => break self.over(),
                Err(error) => break error,
            }
        };
        let unsettled = self.unsettled.drain(..).map(|it| it.reply);
        for reply in unsettled.chain(self.waiting.drain(..).map(|it| it.reply)) {
            let _ = reply.send(Err(error.clone()));
        }
        if self.held.record_count > 0 {
            let (Lane { log, cell, .. }, record_count) = (&self.lane, self.held.record_count);
            info!(%log, %cell, record_count, "facts stay in the spool until this lane begins again");
        }
        self.held.spool.calm(&self.lane);
        self.store.close().await;
        drop(self.held);
        // Whoever waits for the end of the writer sees the channel close: everything else is over by now.
        drop(self.wishes);
    }

    /// Brings everything into the log and removes the reels.
    pub async fn drain(mut self) -> Result<(), SpoolError> {
        while !self.store.idle() {
            if let Err(error) = self.step().await {
                self.store.close().await;
                return Err(error);
            }
        }
        Ok(())
    }

    /// Does what can be done now, then takes one thing that happens. `false` when the writer is gone.
    async fn step(&mut self) -> Result<bool, SpoolError> {
        let now = Instant::now();
        self.advance(now)?;
        let wanted = self.wanted(now);
        if let Some(wanted) = wanted {
            self.aim(wanted).await?;
        }
        let wake_at = self.wake_at(now);
        let room = self.waiting.len() + self.unsettled.len() < UNSETTLED_COUNT_MAX;
        tokio::select! {
            biased;
            () = self.ended.cancelled() => return Ok(false),
            report = self.line.report() => self.reported(report, Instant::now())?,
            event = self.store.event() => self.stored(event)?,
            wish = self.wishes.recv(), if room && self.purpose == Purpose::Serve => match wish {
                Some(wish) => self.waiting.push_back(wish),
                None => return Ok(false),
            },
            read = self.reader.read_to(wanted.unwrap_or_default()), if wanted.is_some() => {
                read.map_err(|error| self.unreadable(error))?;
                let read = wanted.filter(|wanted| self.reader.at(*wanted).is_none());
                read.map_or(Ok(()), |missing| Err(self.lacks(missing)))?;
            }
            () = sleep_until(wake_at.unwrap_or(now)), if wake_at.is_some() => {}
        }
        Ok(true)
    }

    fn advance(&mut self, now: Instant) -> Result<(), SpoolError> {
        if let Err(error) = self.line.reopen(now) {
            self.broke(error, now)?;
        }
        match self.mode {
            // The disk was faster with what was on its way there: that is sent from there, in its turn.
            Mode::Direct if self.line.sent_to < self.store.durable_to => self.mode = Mode::Spooling,
            Mode::Direct if self.overdue(now) => self.turn_to_spool(Cause::Slow(self.after)),
            // Everything durable in the spool is on its way, and the rest is in memory: the log takes it from here.
            Mode::Spooling
                if self.line.flows(now, self.after) && self.line.sent_to >= self.store.durable_to =>
            {
                self.mode = Mode::Direct;
            }
            Mode::Direct | Mode::Spooling => {}
        }
        if self.mode == Mode::Direct {
            self.forward(now)?;
        }
        if self.mode == Mode::Spooling {
            self.write()?;
            self.pass_on(now)?;
        }
        self.tidy();
        Ok(())
    }

    /// Sends what is in memory, in order, for as long as the log takes it.
    fn forward(&mut self, now: Instant) -> Result<(), SpoolError> {
        while self.line.takes(now) {
            let first = self.unsettled.front().map_or(self.next_sequence, |it| it.record.sequence);
            let unsent = (self.line.sent_to + 1).saturating_sub(first) as usize;
            let record = match (self.unsettled.get(unsent), self.waiting.front()) {
                (Some(unsettled), _) => unsettled.record.clone(),
                (None, Some(wish)) => self.number(wish),
                (None, None) => return Ok(()),
            };
            match self.line.send(record.clone(), now) {
                Sent::Taken if record.sequence == self.next_sequence => self.take_up(record),
                Sent::Taken => {}
                Sent::Later => return Ok(()),
                // It has no number that anybody knows of: the next one takes it.
                Sent::TooLarge(error) if record.sequence == self.next_sequence => {
                    if let Some(wish) = self.waiting.pop_front() {
                        let _ = wish.reply.send(Err(error.into()));
                    }
                }
                Sent::TooLarge(error) | Sent::Failed(error) => return self.broke(error, now),
            }
        }
        Ok(())
    }

    /// Writes what is in memory to the spool, in order, for as long as that takes it.
    fn write(&mut self) -> Result<(), SpoolError> {
        while let Some(wish) = self.waiting.front() {
            let record = self.number(wish);
            self.take_up(record);
        }
        let Some(first) = self.unsettled.front().map(|it| it.record.sequence) else { return Ok(()) };
        let unwritten = (self.store.spooled_to + 1).saturating_sub(first) as usize;
        for index in unwritten..self.unsettled.len() {
            if !self.store.takes() {
                return Ok(());
            }
            let record = self.unsettled[index].record.clone();
            let size = record.size() as u64;
            self.held.hold(&self.lane, size)?;
            match self.store.write(record) {
                Ok(Written::Taken) => match &mut self.episode {
                    Some(episode) => episode.count(),
                    None => {
                        self.episode = Some(Episode::begin(&self.held.spool, &self.lane, &self.cause));
                    }
                },
                Ok(Written::Later) => {
                    self.held.let_go(size);
                    return Ok(());
                }
                Err(error) => return self.spool_failed(error),
            }
        }
        Ok(())
    }

    /// Sends the record of the spool that was read for that.
    fn pass_on(&mut self, now: Instant) -> Result<(), SpoolError> {
        let Some(record) = self.wanted(now).and_then(|wanted| self.reader.at(wanted)) else { return Ok(()) };
        match self.line.send(record.clone(), now) {
            Sent::Taken | Sent::Later => Ok(()),
            Sent::TooLarge(error) | Sent::Failed(error) => self.broke(error, now),
        }
    }

    /// The record of the spool that can be sent next.
    fn wanted(&self, now: Instant) -> Option<u64> {
        let room = self.line.in_flight_count() < DRAIN_COUNT_MAX && !self.line.stalled(now, self.after);
        let there = self.line.sent_to < self.store.durable_to;
        (self.mode == Mode::Spooling && there && room && self.line.takes(now)).then(|| self.line.sent_to + 1)
    }

    async fn aim(&mut self, wanted: u64) -> Result<(), SpoolError> {
        let Some(reel) = self.store.reel_of(wanted) else { return Err(self.lacks(wanted)) };
        self.reader.aim(reel, wanted).await.map_err(|error| self.unreadable(error))
    }

    /// The wish with the next number, as a record.
    fn number(&self, wish: &Wish) -> Record {
        self.lane.record(self.next_sequence, wish.headers.clone(), wish.payload.clone())
    }

    /// The first that waits has its number for good.
    fn take_up(&mut self, record: Record) {
        let Some(Wish { since, reply, .. }) = self.waiting.pop_front() else { return };
        self.next_sequence += 1;
        self.unsettled.push_back(Unsettled { record, since, reply });
    }

    /// Whether something has waited for too long to be durable, and can be spooled.
    fn overdue(&self, now: Instant) -> bool {
        self.overdue_at().is_some_and(|at| at <= now)
    }

    fn overdue_at(&self) -> Option<Instant> {
        let oldest = self.unsettled.front().map(|it| it.since).or(self.waiting.front().map(|it| it.since));
        oldest.filter(|_| self.mode == Mode::Direct && !self.unspoolable).map(|since| since + self.after)
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        [self.line.wake_at(now), self.overdue_at()].into_iter().flatten().min()
    }

    fn reported(&mut self, report: Report, now: Instant) -> Result<(), SpoolError> {
        if let Err(error) = report.outcome {
            return self.broke(error, now);
        }
        if report.sequence > 0 && report.sequence <= self.store.spooled_to {
            self.held.let_go(report.size);
        }
        self.line.acknowledge(&report);
        self.settle();
        Ok(())
    }

    fn stored(&mut self, event: Event) -> Result<(), SpoolError> {
        match event {
            Event::Made(Ok(())) => Ok(()),
            Event::Written(Ok(())) => {
                self.settle();
                Ok(())
            }
            Event::Made(Err(error)) | Event::Written(Err(error)) => self.spool_failed(error),
            Event::Retired(Err(error)) if self.purpose == Purpose::Drain => Err(error),
            Event::Retired(retired) => {
                if let Err(error) = retired {
                    // The next start finds nothing in it that the log lacks, and tries again.
                    let (Lane { log, cell, .. }, reason) = (&self.lane, error_chain(&error));
                    warn!(%log, %cell, reason, "a reel that was drained could not be removed");
                }
                Ok(())
            }
        }
    }

    /// Tells everybody whose record is durable.
    fn settle(&mut self) {
        let durable_to = self.line.acked_to.max(self.store.durable_to);
        while self.unsettled.front().is_some_and(|it| it.record.sequence <= durable_to) {
            if let Some(settled) = self.unsettled.pop_front() {
                // Who asked may have gone; the record stays.
                let _ = settled.reply.send(Ok(()));
            }
        }
    }

    /// The log failed a record.
    fn broke(&mut self, error: LogError, now: Instant) -> Result<(), SpoolError> {
        self.line.break_off(now);
        if self.unspoolable || self.purpose == Purpose::Drain {
            return Err(error.into());
        }
        self.turn_to_spool(Cause::Failed(error.to_string()));
        Ok(())
    }

    fn turn_to_spool(&mut self, cause: Cause) {
        self.mode = Mode::Spooling;
        self.line.trusted = false;
        self.cause = cause;
        if let Some(episode) = &mut self.episode {
            episode.explain(&self.held.spool, &self.lane, &self.cause);
        }
    }

    /// The spool cannot be written. While the log has failed nothing and the spool holds nothing that the log lacks, the
    /// log's own deadline is better than an end.
    fn spool_failed(&mut self, error: SpoolError) -> Result<(), SpoolError> {
        if !self.line.is_open() || self.store.durable_to > self.line.acked_to {
            return Err(error);
        }
        let (Lane { log, cell, .. }, reason) = (&self.lane, error_chain(&error));
        warn!(%log, %cell, reason, "the spool cannot be written: facts wait for the log");
        self.reader.leave();
        self.store.retire_all(self.line.acked_to);
        self.held.let_go_all();
        self.episode = None;
        self.held.spool.calm(&self.lane);
        (self.unspoolable, self.mode) = (true, Mode::Direct);
        Ok(())
    }

    fn unreadable(&self, error: LogError) -> SpoolError {
        SpoolError::disk("read", &self.store.folder())(error.into())
    }

    fn lacks(&self, sequence: u64) -> SpoolError {
        let reason = format!("sequence {sequence} of lane {} is missing", self.lane.name);
        SpoolError::Unfit { dir: self.store.folder(), reason }
    }

    /// Takes reels off the disk that nobody needs, and ends what is over.
    fn tidy(&mut self) {
        self.store.retire_to(self.line.acked_to);
        if self.mode != Mode::Direct {
            return;
        }
        if self.line.acked_to >= self.store.spooled_to && self.store.holds_reels() {
            self.reader.leave();
            self.store.retire_all(self.line.acked_to);
        }
        if self.unsettled.is_empty() && self.waiting.is_empty() {
            self.unspoolable = self.held.spool.options().bytes_max == 0;
        }
        if self.store.idle()
            && let Some(episode) = self.episode.take()
        {
            episode.end(&self.held.spool, &self.lane);
        }
    }

    fn over(&self) -> SpoolError {
        let Lane { log, cell, name, .. } = &self.lane;
        SpoolError::Ended { log: *log, cell: *cell, lane: name.clone() }
    }
}
