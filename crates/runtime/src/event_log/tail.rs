//! The last record of a lane that counts, found from the end of a log: an owner that needs nothing else must not read years.
//!
//! A reader that begins in the middle does not know the lane's epoch there, and would take a superseded owner's record for
//! one that counts. So the search begins at a fence record: from there on the epoch is known. Whoever appends has made sure
//! before that its own fence holds ([`last`] does), so behind a fence that does not hold there is no record of its epoch; a
//! fence without one decides nothing, and the search begins again further back.

use trunkline_domain::vocabulary::{Cell, Epoch, LogName, Position};

use super::{FenceState, LaneState, LogError, ReadFrom, SharedLog, Stored, Verdict};

/// How many records behind the fence are looked at first, and how many times more each time that does not do.
const FIRST: u64 = 1_024;
const TIMES: u64 = 8;

/// A lane that somebody has just fenced.
#[derive(Debug, Clone, Copy)]
pub struct Fenced<'a> {
    /// The log.
    pub log: LogName,
    /// The partition.
    pub cell: Cell,
    /// The lane.
    pub lane: &'a str,
    /// The epoch that the fence record began.
    pub epoch: Epoch,
    /// Where that stands.
    pub at: Position,
}

/// The last record of the lane that counts before the fence; `None` when there is none. Checks that the fence holds.
///
/// Reads back to the fence record behind which the last one that counts stands, and to some hundreds of records before
/// it: an owner that stays for long begins a new epoch now and then, so that this is never far.
///
/// # Errors
/// [`LogError::Fenced`] when a newer owner, or an earlier use of the same epoch, stands before the fence: its owner must not
/// append anything. [`LogError::Gap`] when the log itself has one. Else as of [`super::EventLog::read`].
pub async fn last(log: &SharedLog, fenced: Fenced<'_>) -> Result<Option<Stored>, LogError> {
    let mut back = FIRST;
    loop {
        let begin = fenced.at.0.checked_sub(back);
        let from = begin.map_or(ReadFrom::Start, |before| ReadFrom::After(Position(before)));
        match (scan(log, fenced, from, FenceState::new()).await, begin) {
            (Ok(found), None) => return Ok(found),
            (Ok(Some(found)), Some(_)) => return Ok(Some(found)),
            // Nothing behind the first fence, or behind one that does not hold.
            (Ok(None) | Err(LogError::Gap { .. }), Some(_)) => back = back.saturating_mul(TIMES),
            (Err(error), _) => return Err(error),
        }
    }
}

/// The same for an owner that goes on: `before` is where its last record stands, and how far its lane had come there.
///
/// # Errors
/// As of [`last`].
pub async fn went_on(
    log: &SharedLog,
    fenced: Fenced<'_>,
    (position, lane): (Position, LaneState),
) -> Result<Option<Stored>, LogError> {
    let known = FenceState::from_lanes([(fenced.lane.to_owned(), lane)]);
    scan(log, fenced, ReadFrom::After(position), known).await
}

async fn scan(
    log: &SharedLog,
    fenced: Fenced<'_>,
    from: ReadFrom,
    mut state: FenceState,
) -> Result<Option<Stored>, LogError> {
    let mut stream = log.read(fenced.log, fenced.cell, from).await?;
    let mut last = None;
    loop {
        let stored = stream.next().await?;
        let position = stored.position;
        // Before the first fence record nothing is known, unless the log begins here: then there is nothing before it.
        let known =
            state.lane(fenced.lane).is_some() || stored.record.sequence == 0 || from == ReadFrom::Start;
        if stored.record.lane == fenced.lane && known {
            match state.judge(&stored.record) {
                Verdict::Counts => last = Some(stored),
                Verdict::Gap { expected } => {
                    return Err(LogError::Gap {
                        log: fenced.log,
                        cell: fenced.cell,
                        lane: fenced.lane.to_owned(),
                        expected,
                        found: stored.record.sequence,
                        position,
                    });
                }
                Verdict::FenceRecord | Verdict::Void { .. } | Verdict::Duplicate => {}
            }
        }
        if position >= fenced.at {
            break;
        }
    }
    match state.lane(fenced.lane) {
        Some(lane) if lane.epoch == fenced.epoch && lane.sequence == 0 => Ok(last),
        lane => Err(LogError::Fenced {
            log: fenced.log,
            cell: fenced.cell,
            lane: fenced.lane.to_owned(),
            epoch: fenced.epoch,
            current: lane.map_or(Epoch(0), |lane| lane.epoch),
        }),
    }
}
