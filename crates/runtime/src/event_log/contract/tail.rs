//! What counts last in a lane, found from the end.

use super::*;
use crate::event_log::tail::{Fenced, last, went_on};
use crate::event_log::{LaneState, LogError};

/// Opens an epoch of lane `a`; what was last before it.
async fn opened(log: &SharedLog, epoch: u64) -> Result<Option<String>, LogError> {
    let at = append(log, record_of("a", epoch, 0, "")).await;
    let found = last(log, Fenced { log: LOG, cell: CELL, lane: "a", epoch: Epoch(epoch), at }).await?;
    Ok(found.map(|stored| payloads(&[stored]).remove(0)))
}

/// Appends so many records of an epoch, without waiting for each, behind so many others of it.
async fn fill(log: &SharedLog, lane: &str, epoch: u64, behind: u64, count: u64) {
    let mut tickets = Vec::new();
    for nth in behind + 1..=behind + count {
        let record = record_of(lane, epoch, nth, format!("{lane}{epoch}-{nth}"));
        loop {
            match log.append(LOG, CELL, record.clone()) {
                Ok(ticket) => break tickets.push(ticket),
                Err(LogError::Overloaded { .. }) => {
                    for ticket in tickets.drain(..) {
                        ticket.await.unwrap();
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

pub async fn what_counts_last_is_found_however_far_back_its_fence_is<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    assert_eq!(opened(&log, 3).await, Ok(None));
    fill(&log, "a", 3, 0, 2).await;
    assert_eq!(opened(&log, 5).await.unwrap().as_deref(), Some("a3-2"));
    // Nothing under 5; much of another lane; and its fence is far back.
    append(&log, record_of("b", 1, 0, "")).await;
    fill(&log, "b", 1, 0, 1_500).await;
    assert_eq!(opened(&log, 6).await.unwrap().as_deref(), Some("a3-2"));
    fill(&log, "a", 6, 0, 1_100).await;
    fill(&log, "b", 1, 1_500, 3).await;
    assert_eq!(opened(&log, 7).await.unwrap().as_deref(), Some("a6-1100"));
    let bed = bed.crash().await;
    assert_eq!(opened(&bed.log(), 8).await.unwrap().as_deref(), Some("a6-1100"));
}

pub async fn a_superseded_owners_records_are_never_the_last<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    opened(&log, 3).await.unwrap();
    fill(&log, "a", 3, 0, 1).await;
    opened(&log, 5).await.unwrap();
    fill(&log, "a", 5, 0, 1).await;
    // Of the one before, so many that no fence of the lane is among the nearest records.
    fill(&log, "a", 3, 1, 1_200).await;
    assert_eq!(opened(&log, 6).await.unwrap().as_deref(), Some("a5-1"));
    // An owner that comes too late, and the records of the one that holds: its fence is no place to begin at.
    assert!(matches!(opened(&log, 4).await, Err(LogError::Fenced { current: Epoch(6), .. })));
    fill(&log, "a", 6, 0, 2).await;
    append(&log, record_of("a", 4, 0, "")).await;
    fill(&log, "a", 6, 2, 2).await;
    assert_eq!(opened(&log, 8).await.unwrap().as_deref(), Some("a6-4"));
    fill(&log, "a", 8, 0, 1).await;
    assert!(matches!(opened(&log, 8).await, Err(LogError::Fenced { .. })), "an epoch opens a lane once");
}

pub async fn an_owner_that_goes_on_under_a_new_epoch_looks_at_what_came_since_alone<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    opened(&log, 3).await.unwrap();
    fill(&log, "a", 3, 0, 3).await;
    let position = log.end(LOG, CELL).await.unwrap().unwrap();
    let before = (position, LaneState { epoch: Epoch(3), sequence: 3 });
    let at = append(&log, record_of("a", 5, 0, "")).await;
    let fenced = Fenced { log: LOG, cell: CELL, lane: "a", epoch: Epoch(5), at };
    assert_eq!(went_on(&log, fenced, before).await, Ok(None));
    // Somebody else had it in between.
    append(&log, record_of("a", 9, 0, "")).await;
    let at = append(&log, record_of("a", 7, 0, "")).await;
    let late = Fenced { epoch: Epoch(7), at, ..fenced };
    assert!(matches!(went_on(&log, late, before).await, Err(LogError::Fenced { current: Epoch(9), .. })));
}
