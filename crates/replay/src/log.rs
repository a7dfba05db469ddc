//! A call log as a [`Day`], whatever it was written by.
//!
//! Assumed, as no call log tells it:
//!
//! - a kind of call is a queue, and an agent can serve the kinds it was seen to serve anywhere in the log;
//! - where the log does not tell when an agent was there: from its first conversation of a date to the end of its last, but for
//!   the gaps between two in which a caller whom it could have served waited for more than 30 seconds;
//! - between two conversations it takes as long as agents of this log took on average where somebody waited already, and the
//!   gap was no longer than that;
//! - whoever was answered would have waited for longer than it did, as drawn from the Kaplan–Meier estimate of its kind;
//! - whoever gave up would have talked as long as somebody of its kind did, drawn from all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use trunkline_domain::vocabulary::{Millis, QueuePlan, Timestamp};

use crate::chance::Chance;
use crate::day::{Agent, Call, Day, End, Queue, Shift};
use crate::patience::Patience;
use crate::{bank, queue_log};

/// An agent who leaves a caller waiting for longer than this is not there.
const AWAY_AFTER: Millis = Millis::from_secs(30);
/// With fewer callers of a kind who gave up, all kinds together say how long they would have waited.
const GAVE_UP_MIN: usize = 100;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A line of it.
    #[error("line {line}: {reason}")]
    Line {
        /// From 1, a header included.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The file.
    #[error("the file cannot be read")]
    File(#[from] std::io::Error),
    /// It is of no known kind.
    #[error("line 1: neither the header of a log of calls nor a line of Asterisk's queue_log")]
    Unknown,
}

/// What a log was written by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Source {
    /// See [`bank`].
    #[default]
    Bank,
    /// See [`queue_log`].
    QueueLog,
}

/// A log as a day, and what it tells of how that day went.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// What it was written by.
    pub source: Source,
    /// The day, as long as the log is.
    pub day: Day,
    /// Which calls have priority.
    pub high: Vec<bool>,
    /// What became of the calls.
    pub ends: Vec<End>,
    /// On which date each call counts, as YYMMDD.
    pub dates: Vec<String>,
    /// From the first to the last conversation of each date.
    pub open: Vec<(Timestamp, Timestamp)>,
    /// What was no offered call: somebody who left before any queue, say.
    pub not_offered: usize,
}

/// One offered call, as a log tells of it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub kind: String,
    /// As YYMMDD.
    pub date: String,
    pub high: bool,
    pub head_start: Millis,
    pub at: Timestamp,
    pub waited: Millis,
    pub gave_up: bool,
    /// `None` of one that gave up, and where the log does not tell.
    pub talk: Option<Talk>,
}

#[derive(Debug, Clone)]
pub(crate) struct Talk {
    pub from: Timestamp,
    pub length: Millis,
    pub server: String,
}

/// Everything a log tells.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub source: Source,
    pub calls: Vec<Seen>,
    pub not_offered: usize,
    /// When agents were there, where the log tells.
    pub present: BTreeMap<String, Vec<Shift>>,
    /// What agents served by the log's own word, beside what they were seen to serve.
    pub serves: BTreeMap<String, BTreeSet<String>>,
}

/// The text of a file, also of one that gzip has compressed.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn text_of(path: &Path) -> std::io::Result<String> {
    let bytes = std::fs::read(path)?;
    let mut text = String::new();
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => GzDecoder::new(bytes.as_slice()).read_to_string(&mut text)?,
        false => bytes.as_slice().read_to_string(&mut text)?,
    };
    Ok(text)
}

impl Log {
    /// Reads a log of either kind; `seed` decides what is drawn.
    ///
    /// # Errors
    /// With the line that is wrong and why.
    pub fn read(text: &str, seed: u64) -> Result<Self, LogError> {
        let first = text.lines().next().unwrap_or_default();
        let told = if first.starts_with(bank::HEAD) {
            bank::read(text)?
        } else if queue_log::is_line(first) {
            queue_log::read(text)?
        } else {
            return Err(LogError::Unknown);
        };
        Ok(Self::of(told, seed))
    }

    fn of(mut told: Told, seed: u64) -> Self {
        // What came at one instant stays as it is written.
        told.calls.sort_by_key(|call| call.at);
        let calls = &told.calls;
        let kinds: BTreeSet<&str> = calls.iter().map(|call| call.kind.as_str()).collect();
        let places: BTreeMap<&str, usize> = kinds.iter().copied().zip(0..).collect();
        let queues =
            kinds.iter().map(|kind| Queue { name: (*kind).to_owned(), skills: vec![(*kind).to_owned()] });
        let Agents { agents, places: numbers, turnaround } = agents(&told);
        let mut log = Self { source: told.source, not_offered: told.not_offered, ..Self::default() };
        log.day = Day {
            queues: queues.collect(),
            agents,
            calls: Vec::new(),
            turnaround,
            plan: QueuePlan::default(),
        };
        let mut open: BTreeMap<&str, (Timestamp, Timestamp)> = BTreeMap::new();
        let mut drawn = Drawn::of(calls, seed);
        for call in calls {
            let talk = call.talk.as_ref();
            let patience =
                if call.gave_up { Some(call.waited) } else { drawn.patience(&call.kind, call.waited) };
            log.day.calls.push(Call {
                at: call.at,
                queue: places[call.kind.as_str()],
                priority: 0,
                head_start: call.head_start,
                talk: talk.map_or_else(|| drawn.talk(&call.kind), |talk| talk.length),
                patience,
            });
            log.high.push(call.high);
            log.dates.push(call.date.clone());
            log.ends.push(match talk {
                _ if call.gave_up => End::Abandoned { waited: call.waited },
                Some(talk) => End::Answered { agent: numbers[talk.server.as_str()], waited: call.waited },
                // By whom is not known.
                None => End::Answered { agent: usize::MAX, waited: call.waited },
            });
            if let Some(talk) = talk {
                let (from, until) = (talk.from, talk.from + talk.length);
                let hours = open.entry(&call.date).or_insert((from, until));
                *hours = (hours.0.min(from), hours.1.max(until));
            }
        }
        log.open = open.into_values().collect();
        log
    }
}

/// What is drawn for calls of which the log does not tell it.
struct Drawn {
    chance: Chance,
    talks: BTreeMap<String, Vec<Millis>>,
    patience: BTreeMap<String, Patience>,
    of_all: Patience,
}

impl Drawn {
    fn of(calls: &[Seen], seed: u64) -> Self {
        let (mut talks, mut waits) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        for call in calls {
            waits.entry(call.kind.clone()).or_default().push((call.waited, call.gave_up));
            let length = call.talk.as_ref().map(|talk| talk.length);
            talks.entry(call.kind.clone()).or_default().extend(length);
        }
        let of_all = Patience::of(waits.values().flatten().copied());
        waits.retain(|_, waits| waits.iter().filter(|(_, gave_up)| *gave_up).count() >= GAVE_UP_MIN);
        let patience = waits.into_iter().map(|(kind, waits)| (kind, Patience::of(waits))).collect();
        Self { chance: Chance::new(seed), talks, patience, of_all }
    }

    fn patience(&mut self, kind: &str, longer_than: Millis) -> Option<Millis> {
        let patience = self.patience.get(kind).unwrap_or(&self.of_all);
        patience.draw(longer_than, &mut self.chance)
    }

    fn talk(&mut self, kind: &str) -> Millis {
        let talks = self.talks.get(kind).map(Vec::as_slice).unwrap_or_default();
        talks.get(self.chance.below(talks.len())).copied().unwrap_or(Millis::ZERO)
    }
}

/// The agents of a log, with what each can serve and when it was there.
struct Agents<'a> {
    agents: Vec<Agent>,
    /// By name.
    places: BTreeMap<&'a str, usize>,
    turnaround: Millis,
}

fn agents(told: &Told) -> Agents<'_> {
    /// Conversations by date, and kinds.
    #[derive(Default)]
    struct Served<'a> {
        kinds: BTreeSet<&'a str>,
        talks: BTreeMap<&'a str, Vec<(Timestamp, Timestamp)>>,
    }
    let mut served: BTreeMap<&str, Served<'_>> = BTreeMap::new();
    let mut waiting: BTreeMap<&str, Vec<(Timestamp, Timestamp, &str)>> = BTreeMap::new();
    for call in &told.calls {
        if call.waited > Millis::ZERO {
            waiting.entry(&call.date).or_default().push((call.at, call.at + call.waited, &call.kind));
        }
        if let Some(talk) = &call.talk {
            let it = served.entry(&talk.server).or_default();
            it.kinds.insert(&call.kind);
            it.talks.entry(&call.date).or_default().push((talk.from, talk.from + talk.length));
        }
    }
    let mut agents = Vec::new();
    let mut places = BTreeMap::new();
    let (mut gaps, mut gap_count) = (Millis::ZERO, 0);
    for (name, kinds) in &told.serves {
        served.entry(name).or_default().kinds.extend(kinds.iter().map(String::as_str));
    }
    for (name, it) in served {
        let mut shifts = Vec::new();
        for (date, mut talks) in it.talks {
            talks.sort_unstable();
            let waiting = waiting.get(date).map(Vec::as_slice).unwrap_or_default();
            let theirs = || waiting.iter().filter(|(_, _, kind)| it.kinds.contains(kind));
            let mut talks = talks.into_iter();
            let Some((mut from, mut until)) = talks.next() else { continue };
            for (begins, ends) in talks {
                if begins > until {
                    let gap = begins.since(until);
                    // Somebody waited when it became free.
                    if gap <= AWAY_AFTER
                        && theirs().any(|(since, gone, _)| *since <= until && begins <= *gone)
                    {
                        (gaps, gap_count) = (gaps + gap, gap_count + 1);
                    }
                    if theirs().any(|(since, gone, _)| until.max(*since) + AWAY_AFTER < begins.min(*gone)) {
                        shifts.push(Shift { from, until });
                        from = begins;
                    }
                }
                until = until.max(ends);
            }
            shifts.push(Shift { from, until });
        }
        if let Some(present) = told.present.get(name) {
            shifts.clone_from(present);
        }
        places.insert(name, agents.len());
        let skills = it.kinds.iter().map(|kind| (*kind).to_owned()).collect();
        agents.push(Agent { name: name.to_owned(), skills, shifts });
    }
    Agents { agents, places, turnaround: Millis(gaps.0 / i64::from(gap_count.max(1))) }
}
