//! Durable before acknowledged; acknowledged is for ever.

use super::*;

pub async fn an_acknowledged_record_is_there_after_a_crash<L: LogUnderTest>() {
    let bed: L = fresh().await;
    append(&bed.log(), record(0, "kept")).await;
    let bed = bed.crash().await;
    assert_eq!(payloads(&everything(&bed.log()).await), ["kept"]);
}

pub async fn what_was_taken_is_there_after_a_restart<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let tickets: Vec<_> =
        (0..200).map(|n| log.append(LOG, CELL, record(n, n.to_string())).unwrap()).collect();
    drop(log);
    let bed = bed.restart().await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(payloads(&everything(&bed.log()).await), numbers(0, 200));
}

pub async fn nothing_is_acknowledged_before_it_is_durable<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append(&log, record(0, "0")).await;
    bed.stall(LOG, CELL).await;
    let mut ticket = log.append(LOG, CELL, record(1, "1")).unwrap();
    // Another partition makes progress meanwhile; this one must not.
    for n in 0..10 {
        append_to(&log, LOG, Cell(1), record(n, "other")).await;
    }
    assert!(poll_once(&mut ticket).await.is_none());
    bed.resume(LOG, CELL).await;
    ticket.await.unwrap();
}

pub async fn nobody_reads_a_record_before_it_is_durable<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let first = append(&log, record(0, "0")).await;
    let mut stream = reader(&log, ReadFrom::After(first)).await;
    bed.stall(LOG, CELL).await;
    let ticket = log.append(LOG, CELL, record(1, "1")).unwrap();
    for n in 0..10 {
        append_to(&log, LOG, Cell(1), record(n, "other")).await;
    }
    assert!(poll_once(&mut stream.next()).await.is_none());
    assert_eq!(log.end(LOG, CELL).await.unwrap(), Some(first));
    bed.resume(LOG, CELL).await;
    let position = ticket.await.unwrap();
    assert_eq!(stream.next().await.unwrap().position, position);
}

pub async fn a_crash_leaves_a_prefix_that_holds_everything_acknowledged<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let mut tickets: Vec<_> =
        (0..400).map(|n| log.append(LOG, CELL, record(n, n.to_string())).unwrap()).collect();
    let behind = tickets.split_off(100);
    for ticket in tickets {
        ticket.await.unwrap();
    }
    drop(log);
    let bed = bed.crash().await;
    let read = payloads(&everything(&bed.log()).await);
    let mut acknowledged = 100;
    for (n, ticket) in (100..).zip(behind) {
        if ticket.await.is_ok() {
            acknowledged = n + 1;
        }
    }
    assert!(read.len() >= acknowledged, "{} of {acknowledged} acknowledged", read.len());
    assert_eq!(read, numbers(0, read.len() as u64));
}

pub async fn a_crash_resolves_every_ticket<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    bed.stall(LOG, CELL).await;
    let tickets: Vec<_> = (0..10).map(|n| log.append(LOG, CELL, record(n, n.to_string())).unwrap()).collect();
    drop(log);
    let bed = bed.crash().await;
    let there = everything(&bed.log()).await.len();
    for (n, ticket) in tickets.into_iter().enumerate() {
        assert!(ticket.await.is_err() || n < there, "record {n} was acknowledged and is not there");
    }
}

pub async fn appends_go_on_behind_the_end_after_a_crash<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let last = append_many(&bed.log(), 10).await.pop().unwrap();
    let bed = bed.crash().await;
    let next = append(&bed.log(), record(10, "10")).await;
    assert!(next > last);
    assert_eq!(payloads(&everything(&bed.log()).await), numbers(0, 11));
}

pub async fn crashes_in_a_row_lose_nothing<L: LogUnderTest>() {
    let mut bed: L = fresh().await;
    for n in 0..6 {
        append(&bed.log(), record(n, n.to_string())).await;
        bed = bed.crash().await;
        if n % 2 == 0 {
            bed = bed.crash().await;
        }
    }
    assert_eq!(payloads(&everything(&bed.log()).await), numbers(0, 6));
}

pub async fn a_crash_of_an_empty_log_leaves_it_empty<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let bed = bed.crash().await;
    assert_eq!(everything(&bed.log()).await, []);
    append(&bed.log(), record(0, "0")).await;
    assert_eq!(payloads(&everything(&bed.log()).await), ["0"]);
}
