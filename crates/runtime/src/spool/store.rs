//! The reels of one lane: the newest is written, the oldest is read, and what the log has is removed.

use std::collections::VecDeque;
use std::future::pending as never;
use std::path::PathBuf;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use trunkline_domain::vocabulary::Position;

use super::reel::{self, Reel};
use super::{Lane, SpoolError, SpoolOptions};
use crate::event_log::{AppendTicket, LogError, Record};

/// Something that was waited for.
pub(super) enum Event {
    /// The reel that was asked for is there, or cannot be.
    Made(Result<(), SpoolError>),
    /// A reel made a record durable, or could not.
    Written(Result<(), SpoolError>),
    /// A reel is off the disk, or could not be taken off it.
    Retired(Result<(), SpoolError>),
}

/// What became of a record that was to be written.
pub(super) enum Written {
    /// It is under way to the disk.
    Taken,
    /// Not now.
    Later,
}

/// The records of one lane on disk.
pub(super) struct Store {
    options: SpoolOptions,
    lane: Lane,
    /// Of the next reel.
    number: u32,
    reels: VecDeque<Reel>,
    making: Option<JoinHandle<Result<Reel, SpoolError>>>,
    retiring: VecDeque<JoinHandle<Result<(), SpoolError>>>,
    /// Under way to the disk, in order.
    pending: VecDeque<(u64, AppendTicket)>,
    /// Everything from the first record of the oldest reel up to this sequence is in a reel or under way to one.
    pub spooled_to: u64,
    /// The same, durable.
    pub durable_to: u64,
}

impl Store {
    /// No reels, for a lane whose records up to `settled_to` are in the log.
    pub fn new(options: SpoolOptions, lane: Lane, settled_to: u64) -> Self {
        Self {
            options,
            lane,
            number: 0,
            reels: VecDeque::new(),
            making: None,
            retiring: VecDeque::new(),
            pending: VecDeque::new(),
            spooled_to: settled_to,
            durable_to: settled_to,
        }
    }

    /// The reels of an earlier life, which are only read.
    pub fn of(options: SpoolOptions, lane: Lane, reels: Vec<Reel>) -> Self {
        let last = reels.iter().map(|reel| reel.last).max().unwrap_or_default();
        Self { reels: reels.into(), ..Self::new(options, lane, last) }
    }

    /// Whether there is nothing on disk, and nothing on its way there or away from it.
    pub fn idle(&self) -> bool {
        self.reels.is_empty() && self.making.is_none() && self.retiring.is_empty()
    }

    /// Whether there is a reel.
    pub fn holds_reels(&self) -> bool {
        !self.reels.is_empty()
    }

    /// The reel that holds a sequence.
    pub fn reel_of(&self, sequence: u64) -> Option<&Reel> {
        self.reels.iter().find(|reel| reel.first.is_some_and(|_| sequence <= reel.last))
    }

    /// Where its reels are.
    pub fn folder(&self) -> PathBuf {
        reel::folder(&self.options, &self.lane)
    }

    /// Whether a record can be written now. Has a reel made when there is none with room.
    pub fn takes(&mut self) -> bool {
        let room = self.reels.back().is_some_and(|reel| reel.bytes < self.options.reel_bytes);
        if !room && self.making.is_none() {
            let (options, lane, number) = (self.options.clone(), self.lane.clone(), self.number);
            self.number += 1;
            self.making = Some(spawn_blocking(move || Reel::make(&options, &lane, number)));
        }
        room && self.making.is_none()
    }

    /// Writes the record behind the last one written.
    pub fn write(&mut self, record: Record) -> Result<Written, SpoolError> {
        let Some(reel) = self.reels.back_mut() else { return Ok(Written::Later) };
        let sequence = record.sequence;
        match reel.append(record) {
            Ok(ticket) => {
                self.spooled_to = sequence;
                self.pending.push_back((sequence, ticket));
                Ok(Written::Taken)
            }
            // Something is under way to the disk, then: there is room when it is there.
            Err(LogError::Overloaded { .. }) => Ok(Written::Later),
            Err(error) => Err(SpoolError::disk("write", &reel.dir)(error.into())),
        }
    }

    /// What happens next on disk; waits for it, for ever when nothing is under way. Cancel-safe.
    pub async fn event(&mut self) -> Event {
        tokio::select! {
            biased;
            (sequence, outcome) = first_written(&mut self.pending) => {
                Event::Written(self.wrote(sequence, outcome))
            }
            made = ended(self.making.as_mut()) => {
                self.making = None;
                Event::Made(self.made(made))
            }
            retired = ended(self.retiring.front_mut()) => {
                self.retiring.pop_front();
                Event::Retired(retired.unwrap_or_else(|error| Err(self.stopped(error))))
            }
        }
    }

    fn wrote(&mut self, sequence: u64, outcome: Result<Position, LogError>) -> Result<(), SpoolError> {
        match outcome {
            Ok(_) => {
                self.durable_to = self.durable_to.max(sequence);
                Ok(())
            }
            Err(error) => {
                self.pending.clear();
                Err(SpoolError::disk("write", &self.folder())(error.into()))
            }
        }
    }

    fn made(&mut self, made: Result<Result<Reel, SpoolError>, JoinError>) -> Result<(), SpoolError> {
        let reel = made.unwrap_or_else(|error| Err(self.stopped(error)))?;
        self.reels.push_back(reel);
        Ok(())
    }

    fn stopped(&self, error: JoinError) -> SpoolError {
        SpoolError::disk("work on", &self.folder())(error.into())
    }

    /// Removes the reels of which the log has everything, but the one that is written.
    pub fn retire_to(&mut self, acked_to: u64) {
        while self.reels.len() > 1 && self.reels[0].last <= acked_to {
            self.retire_first();
        }
    }

    /// Removes every reel: the log has everything, or nobody was told that something here is durable. What is still
    /// under way to the disk is of no interest.
    pub fn retire_all(&mut self, settled_to: u64) {
        self.pending.clear();
        while !self.reels.is_empty() {
            self.retire_first();
        }
        (self.spooled_to, self.durable_to) = (settled_to, settled_to);
    }

    fn retire_first(&mut self) {
        if let Some(reel) = self.reels.pop_front() {
            self.retiring.push_back(spawn_blocking(move || reel.retire()));
        }
    }

    /// Closes the reels and leaves them where they are, after what was under way to the disk.
    pub async fn close(&mut self) {
        if let Some(making) = self.making.take()
            && let Ok(Ok(reel)) = making.await
        {
            self.reels.push_back(reel);
        }
        for retiring in std::mem::take(&mut self.retiring) {
            let _ = retiring.await;
        }
        let reels = std::mem::take(&mut self.reels);
        // Closing waits for the disk.
        let _ = spawn_blocking(move || drop(reels)).await;
    }
}

async fn first_written(pending: &mut VecDeque<(u64, AppendTicket)>) -> (u64, Result<Position, LogError>) {
    let Some((sequence, ticket)) = pending.front_mut() else { return never().await };
    let (sequence, outcome) = (*sequence, ticket.await);
    pending.pop_front();
    (sequence, outcome)
}

async fn ended<T>(work: Option<&mut JoinHandle<T>>) -> Result<T, JoinError> {
    match work {
        Some(work) => work.await,
        None => never().await,
    }
}
