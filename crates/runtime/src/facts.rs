//! Typed writers and readers over the event log port.
//!
//! A writer's life: take the lease, [`FactWriter::open`] (which makes the fence record durable), fold the own log up to
//! that fence with [`FactReader::catch_up`], and only then decide. Whatever goes wrong afterwards ends the same way:
//! drop the writer and the state, and begin again with a new epoch.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use trunkline_domain::facts::{Delivered, Outcome};
use trunkline_domain::vocabulary::{Cell, Epoch, Position};
use trunkline_proto::convert::WireFact;

use crate::error_chain;
use crate::event_log::{
    AppendTicket, FenceState, LogError, ReadFrom, Record, RecordStream, SharedLog, Stored, Verdict,
};

/// The header that carries the W3C trace context of an outcome.
pub const TRACEPARENT: &str = "traceparent";

/// The one writer of a lane in one epoch. It numbers the records; a failure poisons it for good, so that no gap can
/// arise.
pub struct FactWriter<F> {
    log: SharedLog,
    cell: Cell,
    lane: String,
    epoch: Epoch,
    next_sequence: u64,
    poisoned: Arc<AtomicBool>,
    facts: PhantomData<fn(F)>,
}

impl<F: WireFact> FactWriter<F> {
    /// Begins `epoch` of `lane` with a fence record; returns when that is durable, with its position. From there on
    /// nothing an older owner appends counts.
    ///
    /// The epoch must be one this lane has never had: a fence record of an epoch that was already begun is a duplicate,
    /// which [`FactReader::catch_up`] reports as [`LogError::Fenced`].
    ///
    /// # Errors
    /// When the fence record cannot be appended.
    pub async fn open(
        log: &SharedLog,
        cell: Cell,
        lane: &str,
        epoch: Epoch,
    ) -> Result<(Self, Position), LogError> {
        let fence =
            Record { lane: lane.to_owned(), epoch, sequence: 0, headers: Vec::new(), payload: Bytes::new() };
        let position = log.append(F::LOG, cell, fence)?.await?;
        let writer = Self {
            log: log.clone(),
            cell,
            lane: lane.to_owned(),
            epoch,
            next_sequence: 1,
            poisoned: Arc::default(),
            facts: PhantomData,
        };
        Ok((writer, position))
    }

    /// Appends one outcome behind all earlier ones. It is durable when the ticket says so.
    ///
    /// # Errors
    /// [`LogError::Overloaded`] and [`LogError::TooLarge`]: nothing was taken, the writer goes on.
    /// Every other error, at once or through a ticket, poisons the writer; from then on [`LogError::Interrupted`].
    ///
    /// # Panics
    /// When the outcome carries another epoch than the writer's: a decision of another owner.
    pub fn append(&mut self, outcome: &Outcome<F>) -> Result<AppendTicket, LogError> {
        assert_eq!(outcome.epoch, self.epoch, "an outcome is appended by the owner who decided it");
        if self.poisoned() {
            return Err(LogError::Interrupted { log: F::LOG, cell: self.cell, lane: self.lane.clone() });
        }
        let traceparent = outcome.facts.iter().map(|f| &f.meta.traceparent).find(|text| !text.is_empty());
        let record = Record {
            lane: self.lane.clone(),
            epoch: self.epoch,
            sequence: self.next_sequence,
            headers: traceparent.map(|text| (TRACEPARENT.to_owned(), text.clone())).into_iter().collect(),
            payload: F::encode_outcome(outcome),
        };
        match self.log.append(F::LOG, self.cell, record) {
            Ok(ticket) => {
                self.next_sequence += 1;
                Ok(ticket.poisoning(self.poisoned.clone()))
            }
            Err(error @ (LogError::Overloaded { .. } | LogError::TooLarge { .. })) => Err(error),
            Err(error) => {
                self.poisoned.store(true, Ordering::Release);
                Err(error)
            }
        }
    }

    /// Whether an append was seen to fail. The owner then drops its state and begins again.
    pub fn poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// How many outcomes were appended under this epoch.
    pub fn appended_count(&self) -> u64 {
        self.next_sequence - 1
    }

    /// The lane written.
    pub fn lane(&self) -> &str {
        &self.lane
    }

    /// The epoch written under.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// Reads what counts of one partition, in order.
pub struct FactReader<F> {
    log: SharedLog,
    cell: Cell,
    stream: Box<dyn RecordStream>,
    fence: FenceState,
    position: Option<Position>,
    /// Once a record could not be taken, every later call says so again: nothing is skipped.
    stopped: Option<LogError>,
    facts: PhantomData<fn() -> F>,
}

impl<F: WireFact> FactReader<F> {
    /// A reader that delivers what counts behind `from`.
    ///
    /// From [`ReadFrom::After`] it first reads everything before, to know the epochs; [`FactReader::open_at`] spares
    /// that to whom has saved a [`FenceState`].
    ///
    /// # Errors
    /// As of [`crate::event_log::EventLog::read`], and of [`FactReader::next`] for what is read before `from`.
    pub async fn open(log: &SharedLog, cell: Cell, from: ReadFrom) -> Result<Self, LogError> {
        let stream = log.read(F::LOG, cell, ReadFrom::Start).await?;
        let mut reader = Self::over(log, cell, stream, None, FenceState::new());
        if let ReadFrom::After(position) = from {
            let end = log.end(F::LOG, cell).await?;
            if end < Some(position) {
                return Err(LogError::NoSuchPosition { log: F::LOG, cell, position, end });
            }
            while reader.position < Some(position) {
                let stored = reader.peeked().await?;
                reader.settle(&stored)?;
            }
        }
        Ok(reader)
    }

    /// A reader behind `position`, with the [`FenceState`] that was saved when that position had been read.
    ///
    /// # Errors
    /// As of [`crate::event_log::EventLog::read`].
    pub async fn open_at(
        log: &SharedLog,
        cell: Cell,
        position: Position,
        fence: FenceState,
    ) -> Result<Self, LogError> {
        let stream = log.read(F::LOG, cell, ReadFrom::After(position)).await?;
        Ok(Self::over(log, cell, stream, Some(position), fence))
    }

    fn over(
        log: &SharedLog,
        cell: Cell,
        stream: Box<dyn RecordStream>,
        position: Option<Position>,
        fence: FenceState,
    ) -> Self {
        Self { log: log.clone(), cell, stream, fence, position, stopped: None, facts: PhantomData }
    }

    /// The next record that counts; waits for it at the end. Cancel-safe.
    ///
    /// # Errors
    /// [`LogError::Gap`], [`LogError::Undecodable`] and whatever the log says. The reader then stands still: a later
    /// call says the same again.
    pub async fn next(&mut self) -> Result<Delivered<F>, LogError> {
        loop {
            if let Some(delivered) = self.step().await? {
                return Ok(delivered);
            }
        }
    }

    /// The next record that counts up to and including `end`, which must be in the log or still come; `None` when `end`
    /// was read. Cancel-safe.
    ///
    /// # Errors
    /// As of [`FactReader::next`].
    pub async fn next_to(&mut self, end: Position) -> Result<Option<Delivered<F>>, LogError> {
        while self.position < Some(end) {
            if let Some(delivered) = self.step().await? {
                return Ok(Some(delivered));
            }
        }
        Ok(None)
    }

    /// Folds everything that counts up to and including `position`, which must be in the log or still come.
    ///
    /// # Errors
    /// As of [`FactReader::next`].
    pub async fn fold_to(
        &mut self,
        position: Position,
        mut fold: impl FnMut(Delivered<F>),
    ) -> Result<(), LogError> {
        while self.position < Some(position) {
            if let Some(delivered) = self.step().await? {
                fold(delivered);
            }
        }
        Ok(())
    }

    /// Folds everything that counts up to the present end; returns where that is.
    ///
    /// # Errors
    /// As of [`FactReader::next`] and [`crate::event_log::EventLog::end`].
    pub async fn fold_to_end(
        &mut self,
        fold: impl FnMut(Delivered<F>),
    ) -> Result<Option<Position>, LogError> {
        if let Some(end) = self.log.end(F::LOG, self.cell).await? {
            self.fold_to(end, fold).await?;
        }
        Ok(self.position)
    }

    /// Folds the writer's own log up to the fence record it has just made durable, and checks that this fence holds.
    ///
    /// # Errors
    /// [`LogError::Fenced`] when a newer owner, or an earlier use of the same epoch, stands before the fence: this
    /// writer must not decide anything. Else as of [`FactReader::next`].
    pub async fn catch_up(
        &mut self,
        writer: &FactWriter<F>,
        fence: Position,
        fold: impl FnMut(Delivered<F>),
    ) -> Result<(), LogError> {
        self.fold_to(fence, fold).await?;
        match self.fence.lane(&writer.lane) {
            Some(lane) if lane.epoch == writer.epoch && lane.sequence == 0 => Ok(()),
            lane => Err(LogError::Fenced {
                log: F::LOG,
                cell: self.cell,
                lane: writer.lane.clone(),
                epoch: writer.epoch,
                current: lane.map_or(Epoch(0), |lane| lane.epoch),
            }),
        }
    }

    /// What is known of every lane at [`FactReader::position`]; to be saved together with it.
    pub fn fence(&self) -> &FenceState {
        &self.fence
    }

    /// The last record read, whether it counted or not; `None` before the first.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// One record, judged and decoded: `None` when it does not count.
    async fn step(&mut self) -> Result<Option<Delivered<F>>, LogError> {
        let stored = self.peeked().await?;
        if self.fence.verdict(&stored.record) != Verdict::Counts {
            self.settle(&stored)?;
            return Ok(None);
        }
        let outcome = self.decode(&stored)?;
        self.settle(&stored)?;
        Ok(Some(Delivered { position: stored.position, lane: stored.record.lane, outcome }))
    }

    async fn peeked(&mut self) -> Result<Stored, LogError> {
        match &self.stopped {
            Some(error) => Err(error.clone()),
            None => self.stream.next().await,
        }
    }

    fn decode(&mut self, stored: &Stored) -> Result<Outcome<F>, LogError> {
        let reason = match F::decode_outcome(&stored.record.payload) {
            Ok(outcome) if outcome.epoch == stored.record.epoch => return Ok(outcome),
            Ok(outcome) => {
                format!("the outcome is of epoch {}, its record of {}", outcome.epoch, stored.record.epoch)
            }
            Err(error) => error_chain(&error),
        };
        let position = stored.position;
        Err(self.stop(LogError::Undecodable { log: F::LOG, cell: self.cell, position, reason }))
    }

    /// Takes a record into account: fence and position move together, so that what is saved fits.
    fn settle(&mut self, stored: &Stored) -> Result<(), LogError> {
        if let Verdict::Gap { expected } = self.fence.judge(&stored.record) {
            return Err(self.stop(LogError::Gap {
                log: F::LOG,
                cell: self.cell,
                lane: stored.record.lane.clone(),
                expected,
                found: stored.record.sequence,
                position: stored.position,
            }));
        }
        self.position = Some(stored.position);
        Ok(())
    }

    fn stop(&mut self, error: LogError) -> LogError {
        self.stopped = Some(error.clone());
        error
    }
}
