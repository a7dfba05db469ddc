//! Appending to one partition: what is under way, in order, and the producer that carries it.
//!
//! A partition has a producer of its own, made with its first append: so what fails together is what stands behind each
//! other, and nothing else. A producer lives until one of its records fails. Then everything under way in it fails, it
//! is emptied and dropped, and the next append, a fence record, begins another one. What it had already sent may still
//! come to be in the log, but only as an unbroken prefix: the broker refuses a batch whose predecessor it does not have.
//!
//! A producer is handed little beyond [`WINDOW`] unacknowledged records, and nothing while the broker is slow: what comes
//! then waits here, and goes in one burst. librdkafka would send it no sooner, and meanwhile its thread would ask again and again
//! whether it may: one whole core for each partition, which makes the broker slower still (docs/bugs-found.md, 3).

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, Producer};
use trunkline_domain::vocabulary::{Cell, LogName, Position};

use super::client::{log_error, partition_of, words};
use super::line::{Line, Spare, give_up};
use super::{KafkaOptions, wire};
use crate::event_log::{AppendTicket, Completion, LogError, Record};

/// Unacknowledged records from which on a producer sends nothing: what the broker remembers of a producer, in requests,
/// which librdkafka counts in records (`RD_KAFKA_IDEMP_MAX_INFLIGHT`).
const WINDOW: usize = 5;

/// With as many under way a producer is handed everything all the same, unless the broker is slow: it knows of an
/// acknowledgement before we do, and sends the next batch that much earlier. For fewer that is not worth a core.
const CROWD: usize = 32;

/// How long a record may wait for its acknowledgement before the broker counts as slow.
const SLOW_AFTER: Duration = Duration::from_millis(10);

/// What an append is called in an error.
const APPEND: &str = "append to the end";

/// How long the end of a process waits for acknowledgements: for as long as a broker that is there takes, not for one that
/// is away. Whoever decided what was not acknowledged has told nobody of it.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A record whose acknowledgement is awaited.
struct InFlight {
    /// Of the append, counted over the life of the partition: a report of an older producer finds no match.
    number: usize,
    lane: String,
    size: usize,
    since: Instant,
    completion: Completion,
}

/// What a producer is to be handed.
struct Waiting {
    number: usize,
    headers: OwnedHeaders,
    payload: Bytes,
    size: usize,
}

enum Phase {
    Open,
    Closing,
    Closed,
}

struct State {
    phase: Phase,
    line: Option<Line>,
    /// All whose acknowledgement is awaited, in order; the first `handed_count` of them are with the producer.
    in_flight: VecDeque<InFlight>,
    handed_count: usize,
    /// The rest.
    waiting: VecDeque<Waiting>,
    pending_bytes: usize,
    next_number: usize,
    /// Lanes with a failed append and no fence record since.
    interrupted: BTreeSet<String>,
    /// Everything is kept back: a case of the contract wants nothing to become durable.
    held: bool,
}

/// One partition as its appenders see it.
pub struct Partition {
    log: LogName,
    cell: Cell,
    topic: String,
    options: Arc<KafkaOptions>,
    spare: Arc<Spare>,
    state: Mutex<State>,
}

impl Partition {
    /// A partition nobody has appended to.
    pub fn new(log: LogName, cell: Cell, options: Arc<KafkaOptions>, spare: Arc<Spare>) -> Self {
        let state = State {
            phase: Phase::Open,
            line: None,
            in_flight: VecDeque::new(),
            handed_count: 0,
            waiting: VecDeque::new(),
            pending_bytes: 0,
            next_number: 0,
            interrupted: BTreeSet::new(),
            held: false,
        };
        let topic = options.topic(log);
        Self { log, cell, topic, options, spare, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock and leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a record to the producer.
    pub fn append(self: &Arc<Self>, record: Record) -> Result<AppendTicket, LogError> {
        let (log, cell) = (self.log, self.cell);
        let (size, size_max) = (record.size(), self.options.record_bytes_max);
        if size > size_max {
            return Err(LogError::TooLarge { log, size, size_max });
        }
        let headers = wire::headers(&record);
        let mut state = self.state();
        if !matches!(state.phase, Phase::Open) {
            return Err(LogError::Closed { log, cell });
        }
        let pending_count = state.in_flight.len();
        let bytes_full = pending_count > 0 && state.pending_bytes + size > self.options.pending_bytes_max;
        if pending_count >= self.options.pending_count_max || bytes_full {
            return Err(LogError::Overloaded { log, cell, pending_count });
        }
        if record.sequence != 0 && state.interrupted.contains(&record.lane) {
            return Err(LogError::Interrupted { log, cell, lane: record.lane });
        }
        let number = state.next_number;
        state.next_number += 1;
        state.pending_bytes += size;
        if record.sequence == 0 {
            state.interrupted.remove(&record.lane);
        }
        let (completion, ticket) = AppendTicket::new(log, cell);
        let Record { lane, payload, .. } = record;
        state.in_flight.push_back(InFlight { number, lane, size, since: Instant::now(), completion });
        state.waiting.push_back(Waiting { number, headers, payload, size });
        if let Err(error) = self.hand(&mut state) {
            drop(state);
            // A producer that refuses takes nothing ever again.
            self.fail(error.clone());
            return Err(error);
        }
        Ok(ticket)
    }

    /// Hands what waits to the producer, if it may have more. Under the lock, so that librdkafka has records in the order
    /// they were taken in.
    fn hand(self: &Arc<Self>, state: &mut State) -> Result<(), LogError> {
        let slow = || state.in_flight.front().is_some_and(|first| first.since.elapsed() >= SLOW_AFTER);
        if state.held || state.handed_count >= WINDOW && (state.in_flight.len() < CROWD || slow()) {
            return Ok(());
        }
        // What does not fit into one batch would wait in the producer.
        let (mut burst, burst_max) = (0, self.options.batch_size());
        while let Some(next) = state.waiting.pop_front() {
            burst += next.size;
            if burst > burst_max && burst > next.size {
                state.waiting.push_front(next);
                return Ok(());
            }
            if let Err((error, refused)) = self.send(state, next) {
                // It has as much as it takes: the next report is the time to try again.
                let later = matches!(error, LogError::Overloaded { .. }) && state.handed_count > 0;
                state.waiting.push_front(refused);
                return if later { Ok(()) } else { Err(error) };
            }
            state.handed_count += 1;
        }
        Ok(())
    }

    fn send(self: &Arc<Self>, state: &mut State, next: Waiting) -> Result<(), (LogError, Waiting)> {
        let (log, cell) = (self.log, self.cell);
        if state.line.is_none() {
            match self.spare.take(self) {
                Ok(line) => state.line = Some(line),
                Err(error) => return Err((log_error(log, cell, APPEND, &error), next)),
            }
        }
        let Some(line) = &state.line else { return Err((LogError::Closed { log, cell }, next)) };
        let Waiting { number, headers, payload, size } = next;
        let message = BaseRecord::<(), [u8], usize>::with_opaque_to(&self.topic, number)
            .partition(partition_of(cell))
            .payload(&payload[..])
            .headers(headers);
        line.send(message).map_err(|(error, refused)| {
            let headers = refused.headers.unwrap_or_default();
            let error = match error.rdkafka_error_code() {
                Some(Code::QueueFull) => {
                    LogError::Overloaded { log, cell, pending_count: state.in_flight.len() }
                }
                Some(Code::MessageSizeTooLarge) => {
                    LogError::TooLarge { log, size, size_max: self.options.record_bytes_max }
                }
                _ => log_error(log, cell, APPEND, &error),
            };
            (error, Waiting { number, headers, payload: payload.clone(), size })
        })
    }

    /// A producer's report about one append.
    pub fn report(self: &Arc<Self>, number: usize, outcome: Result<i64, KafkaError>) {
        let offset = match outcome {
            Ok(offset) => offset,
            Err(error) => {
                if self.awaits(number) {
                    self.fail(self.refusal(&error));
                }
                return;
            }
        };
        let mut state = self.state();
        match state.in_flight.front() {
            Some(first) if first.number == number => {}
            // Of a producer that was given up.
            _ => return,
        }
        let Some(acknowledged) = state.in_flight.pop_front() else { return };
        state.pending_bytes -= acknowledged.size;
        state.handed_count = state.handed_count.saturating_sub(1);
        let handed = self.hand(&mut state);
        drop(state);
        // An acknowledged record has an offset.
        acknowledged.completion.resolve(Ok(Position(offset.max(0) as u64)));
        if let Err(error) = handed {
            self.fail(error);
        }
    }

    fn awaits(&self, number: usize) -> bool {
        let state = self.state();
        let (first, last) = (state.in_flight.front(), state.in_flight.back());
        first.is_some_and(|first| first.number <= number) && last.is_some_and(|last| number <= last.number)
    }

    /// What the producer last complained of.
    fn complaint(&self) -> String {
        let state = self.state();
        state.line.as_ref().map_or_else(String::new, |line| line.client().context().voice.last())
    }

    fn refusal(&self, error: &KafkaError) -> LogError {
        let (log, cell, action) = (self.log, self.cell, APPEND);
        match error.rdkafka_error_code() {
            Some(Code::MessageSizeTooLarge) => {
                let reason = format!(
                    "the broker finds a batch too large; max.message.bytes of topic {} must be at least {}",
                    self.topic,
                    self.options.batch_bytes_max()
                );
                LogError::Io { log, cell, action, reason }
            }
            Some(Code::Fatal | Code::GaplessGuarantee) => {
                let reason = format!("{}{}", words(error), self.complaint());
                LogError::Io { log, cell, action, reason }
            }
            _ => log_error(log, cell, action, error),
        }
    }

    /// Everything under way fails, and the lanes it belonged to take nothing but a fence record.
    fn fail(&self, error: LogError) {
        let mut state = self.state();
        let failed = std::mem::take(&mut state.in_flight);
        let line = state.line.take();
        (state.pending_bytes, state.handed_count) = (0, 0);
        state.waiting.clear();
        state.interrupted.extend(failed.iter().map(|append| append.lane.clone()));
        drop(state);
        if let Some(line) = line {
            give_up(line);
        }
        for append in failed {
            append.completion.resolve(Err(error.clone()));
        }
    }

    /// Which partition it is.
    pub fn name(&self) -> (LogName, Cell) {
        (self.log, self.cell)
    }

    /// How long the oldest record under way has waited.
    pub fn oldest_wait(&self) -> Option<Duration> {
        self.state().in_flight.front().map(|first| first.since.elapsed())
    }

    /// Fails what has waited for longer than the deadline of an append, and what is behind it.
    pub fn expire(&self) {
        let deadline = self.options.append_deadline;
        let late = self.state().in_flight.front().is_some_and(|first| first.since.elapsed() > deadline);
        if late {
            let reason = format!("no broker acknowledged it within {deadline:?}{}", self.complaint());
            self.fail(LogError::Io { log: self.log, cell: self.cell, action: APPEND, reason });
        }
    }

    /// Takes nothing more.
    pub fn begin_close(self: &Arc<Self>) {
        let mut state = self.state();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Closing;
        }
        drop(state);
        self.release();
    }

    /// Waits until what was taken is acknowledged, no longer than [`CLOSE_WITHIN`]; what is not by then fails.
    pub fn finish_close(&self) {
        let line = self.state().line.clone();
        if let Some(line) = line {
            let until = Instant::now() + CLOSE_WITHIN.min(self.options.append_deadline);
            // The flush ends when nothing waits in the client; the reports may still be on their way to us.
            let _ = line.flush(CLOSE_WITHIN.min(self.options.append_deadline));
            while !self.state().in_flight.is_empty() && Instant::now() < until {
                line.poll(Duration::from_millis(5));
            }
        }
        self.state().phase = Phase::Closed;
        self.fail(LogError::Closed { log: self.log, cell: self.cell });
    }

    /// Keeps back what is appended from now on.
    #[cfg(feature = "contract")]
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Sends what was kept back.
    pub fn release(self: &Arc<Self>) {
        let mut state = self.state();
        state.held = false;
        let handed = self.hand(&mut state);
        drop(state);
        if let Err(error) = handed {
            self.fail(error);
        }
    }

    /// Forgets what is under way, as a killed process would.
    #[cfg(feature = "contract")]
    pub fn crash(&self) {
        self.state().phase = Phase::Closed;
        self.fail(LogError::Closed { log: self.log, cell: self.cell });
    }
}
