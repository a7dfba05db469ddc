//! Limits, and what reaching them is called.

use super::*;
use crate::event_log::LogError;

async fn tight<L: LogUnderTest>() -> L {
    L::fresh(Limits { record_bytes_max: 1000, pending_count_max: 8, ..Limits::default() }).await
}

/// Fills the buffer of a stalled partition.
async fn fill(log: &SharedLog) -> Vec<super::super::AppendTicket> {
    (0..8).map(|n| log.append(LOG, CELL, record(n, n.to_string())).unwrap()).collect()
}

pub async fn a_record_over_the_limit_is_refused_and_leaves_no_trace<L: LogUnderTest>() {
    let bed: L = tight().await;
    let log = bed.log();
    let refused = log.append(LOG, CELL, record(0, vec![b'x'; 1000])).map(|_| ());
    assert_eq!(refused, Err(LogError::TooLarge { log: LOG, size: 1001, size_max: 1000 }));
    append(&log, record(0, vec![b'x'; 999])).await;
    assert_eq!(everything(&log).await.len(), 1);
}

pub async fn lane_and_headers_count_towards_the_limit<L: LogUnderTest>() {
    let bed: L = tight().await;
    let long_lane = record_of(&"l".repeat(1001), 1, 0, "");
    let many_headers = Record { headers: vec![(String::new(), String::new()); 126], ..record(0, "") };
    for record in [long_lane, many_headers] {
        let refused = bed.log().append(LOG, CELL, record).map(|_| ());
        assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    }
}

pub async fn a_full_buffer_has_a_name_and_takes_nothing<L: LogUnderTest>() {
    let bed: L = tight().await;
    let log = bed.log();
    bed.stall(LOG, CELL).await;
    let tickets = fill(&log).await;
    for _ in 0..3 {
        let refused = log.append(LOG, CELL, record(8, "refused")).map(|_| ());
        assert_eq!(refused, Err(LogError::Overloaded { log: LOG, cell: CELL, pending_count: 8 }));
    }
    bed.resume(LOG, CELL).await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(payloads(&everything(&log).await), numbers(0, 8));
}

pub async fn an_overloaded_append_may_be_tried_again<L: LogUnderTest>() {
    let bed: L = tight().await;
    let log = bed.log();
    bed.stall(LOG, CELL).await;
    let tickets = fill(&log).await;
    log.append(LOG, CELL, record(8, "8")).unwrap_err();
    bed.resume(LOG, CELL).await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
    append(&log, record(8, "8")).await;
    assert_eq!(payloads(&everything(&log).await), numbers(0, 9));
}

pub async fn a_full_buffer_leaves_other_partitions_free<L: LogUnderTest>() {
    let bed: L = tight().await;
    let log = bed.log();
    bed.stall(LOG, CELL).await;
    let tickets = fill(&log).await;
    append_to(&log, LOG, Cell(1), record(0, "other cell")).await;
    append_to(&log, LogName::Agents, CELL, record(0, "other log")).await;
    bed.resume(LOG, CELL).await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
}

pub async fn an_unknown_partition_is_refused_everywhere<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let (log, cell) = (bed.log(), Cell(2));
    let unknown = LogError::UnknownPartition { log: LOG, cell };
    assert_eq!(log.append(LOG, cell, record(0, "x")).map(|_| ()), Err(unknown.clone()));
    assert_eq!(log.read(LOG, cell, ReadFrom::Start).await.map(|_| ()), Err(unknown.clone()));
    assert_eq!(log.end(LOG, cell).await, Err(unknown));
}

pub async fn the_cell_count_is_what_was_asked_for<L: LogUnderTest>() {
    let bed = L::fresh(Limits { cells: 3, ..Limits::default() }).await;
    assert_eq!(bed.log().cell_count(), 3);
    append_to(&bed.log(), LOG, Cell(2), record(0, "x")).await;
}
