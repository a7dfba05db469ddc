//! Readers: where they begin, how they wait, whom they disturb.

use super::*;
use crate::event_log::LogError;

pub async fn a_reader_behind_a_position_begins_with_the_next<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let positions = append_many(&bed.log(), 40).await;
    for n in [0, 1, 17, 38] {
        let mut stream = reader(&bed.log(), ReadFrom::After(positions[n])).await;
        let rest = take(&mut stream, 39 - n).await;
        assert_eq!(payloads(&rest), numbers(n as u64 + 1, 40));
    }
}

pub async fn a_reader_behind_the_last_record_waits_for_the_next<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let last = append_many(&bed.log(), 5).await.pop().unwrap();
    let mut stream = reader(&bed.log(), ReadFrom::After(last)).await;
    assert!(poll_once(&mut stream.next()).await.is_none());
    append(&bed.log(), record(5, "5")).await;
    assert_eq!(payloads(&take(&mut stream, 1).await), ["5"]);
}

pub async fn a_reader_at_the_end_is_woken_by_every_append<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let mut stream = reader(&log, ReadFrom::Start).await;
    let reading = tokio::spawn(async move { take(&mut stream, 50).await });
    for n in 0..50 {
        append(&log, record(n, n.to_string())).await;
    }
    assert_eq!(payloads(&reading.await.unwrap()), numbers(0, 50));
}

pub async fn a_reader_of_an_empty_partition_waits<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let mut stream = reader(&bed.log(), ReadFrom::Start).await;
    assert!(poll_once(&mut stream.next()).await.is_none());
    append(&bed.log(), record(0, "0")).await;
    assert_eq!(payloads(&take(&mut stream, 1).await), ["0"]);
}

pub async fn a_reader_that_knows_more_than_the_log_is_refused<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let refused = log.read(LOG, CELL, ReadFrom::After(Position(0))).await.map(|_| ());
    assert!(matches!(refused, Err(LogError::NoSuchPosition { end: None, .. })), "{refused:?}");
    let last = append_many(&log, 3).await.pop().unwrap();
    let refused = log.read(LOG, CELL, ReadFrom::After(Position(last.0 + 1000))).await.map(|_| ());
    let Err(LogError::NoSuchPosition { end, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(end, Some(last));
}

pub async fn a_slow_reader_holds_nobody_up<L: LogUnderTest>() {
    let limits = Limits { pending_count_max: 16, ..Limits::default() };
    let bed = L::fresh(limits).await;
    let mut slow = reader(&bed.log(), ReadFrom::Start).await;
    append(&bed.log(), record(0, "0")).await;
    assert_eq!(payloads(&take(&mut slow, 1).await), ["0"]);
    for n in 1..300 {
        append(&bed.log(), record(n, n.to_string())).await;
    }
    assert_eq!(payloads(&take(&mut slow, 299).await), numbers(1, 300));
}

pub async fn many_readers_see_the_same<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let mut readers = Vec::new();
    for _ in 0..20 {
        let mut stream = reader(&log, ReadFrom::Start).await;
        readers.push(tokio::spawn(async move { take(&mut stream, 100).await }));
    }
    append_many(&log, 100).await;
    for reading in readers {
        assert_eq!(payloads(&reading.await.unwrap()), numbers(0, 100));
    }
}

pub async fn next_may_be_cancelled_without_losing_a_record<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let mut stream = reader(&log, ReadFrom::Start).await;
    let mut read = Vec::new();
    for n in 0..30 {
        // Cancelled while it waits, and again at every stage of reading what came.
        assert!(poll_once(&mut stream.next()).await.is_none());
        append(&log, record(n, n.to_string())).await;
        let stored = loop {
            match poll_once(&mut stream.next()).await {
                Some(stored) => break stored.unwrap(),
                None => tokio::task::yield_now().await,
            }
            if let Ok(stored) = tokio::time::timeout(std::time::Duration::from_millis(1), stream.next()).await
            {
                break stored.unwrap();
            }
        };
        read.push(stored);
    }
    assert_eq!(payloads(&read), numbers(0, 30));
}

pub async fn a_reader_dropped_in_the_middle_disturbs_nobody<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append_many(&log, 10).await;
    let mut left = reader(&log, ReadFrom::Start).await;
    let mut stays = reader(&log, ReadFrom::Start).await;
    take(&mut left, 5).await;
    drop(left);
    append(&log, record(10, "10")).await;
    assert_eq!(payloads(&take(&mut stays, 11).await), numbers(0, 11));
}

pub async fn a_reader_goes_on_at_its_position_after_a_restart<L: LogUnderTest>() {
    let bed: L = fresh().await;
    append_many(&bed.log(), 20).await;
    let mut stream = reader(&bed.log(), ReadFrom::Start).await;
    let saved = take(&mut stream, 8).await.pop().unwrap().position;
    drop(stream);
    let bed = bed.restart().await;
    let mut stream = reader(&bed.log(), ReadFrom::After(saved)).await;
    assert_eq!(payloads(&take(&mut stream, 12).await), numbers(8, 20));
}

pub async fn the_end_of_an_empty_partition_is_none<L: LogUnderTest>() {
    let bed: L = fresh().await;
    assert_eq!(bed.log().end(LOG, CELL).await.unwrap(), None);
}

pub async fn the_end_is_the_last_acknowledged_record<L: LogUnderTest>() {
    let bed: L = fresh().await;
    for n in 0..10 {
        let position = append(&bed.log(), record(n, "x")).await;
        assert_eq!(bed.log().end(LOG, CELL).await.unwrap(), Some(position));
    }
}

pub async fn the_end_is_the_same_after_a_crash<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let last = append_many(&bed.log(), 10).await.pop();
    let bed = bed.crash().await;
    assert_eq!(bed.log().end(LOG, CELL).await.unwrap(), last);
}
