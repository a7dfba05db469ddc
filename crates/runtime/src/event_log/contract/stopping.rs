//! What stops a reader or a writer, and what does not.

use trunkline_domain::facts::Outcome;

use super::note::{Note, note};
use super::*;
use crate::event_log::LogError;
use crate::facts::{FactReader, FactWriter, TRACEPARENT};
use trunkline_proto::convert::WireFact;

async fn typed(log: &SharedLog) -> FactReader<Note> {
    FactReader::open(log, CELL, ReadFrom::Start).await.unwrap()
}

fn text(outcome: &Outcome<Note>) -> &str {
    &outcome.facts[0].fact.0
}

fn encoded(epoch: u64, sequence: u64, text: &str) -> Record {
    record_of("a", epoch, sequence, Note::encode_outcome(&note(epoch, text)))
}

pub async fn a_duplicate_is_delivered_once<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append(&log, record(0, "")).await;
    append(&log, record(0, "")).await;
    for (sequence, content) in [(1, "one"), (1, "one"), (2, "two"), (1, "one"), (3, "three")] {
        append(&log, encoded(1, sequence, content)).await;
    }
    let mut reader = typed(&log).await;
    for expected in ["one", "two", "three"] {
        assert_eq!(text(&reader.next().await.unwrap().outcome), expected);
    }
}

pub async fn a_gap_stops_the_reader_and_is_named<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append(&log, record(0, "")).await;
    let last = append(&log, encoded(1, 1, "one")).await;
    let position = append(&log, encoded(1, 3, "three")).await;
    append(&log, encoded(1, 4, "four")).await;
    let mut reader = typed(&log).await;
    reader.next().await.unwrap();
    let gap = LogError::Gap { log: LOG, cell: CELL, lane: "a".to_owned(), expected: 2, found: 3, position };
    assert_eq!(reader.next().await, Err(gap.clone()));
    assert_eq!(reader.next().await, Err(gap), "it goes on past the gap");
    assert_eq!(reader.position(), Some(last));
}

pub async fn an_epoch_without_its_fence_record_stops_the_reader<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append(&log, record(0, "")).await;
    append(&log, encoded(2, 1, "one")).await;
    let stopped = typed(&log).await.next().await;
    assert!(matches!(stopped, Err(LogError::Gap { expected: 0, found: 1, .. })), "{stopped:?}");
}

pub async fn an_undecodable_record_stops_the_reader_and_is_not_skipped<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append(&log, record(0, "")).await;
    let last = append(&log, encoded(1, 1, "one")).await;
    let at = append(&log, record(2, "schema 2\nepoch 1\nfuture\n")).await;
    append(&log, encoded(1, 3, "three")).await;
    let mut reader = typed(&log).await;
    reader.next().await.unwrap();
    for _ in 0..3 {
        let stopped = reader.next().await;
        let Err(LogError::Undecodable { position, reason, .. }) = stopped else { panic!("{stopped:?}") };
        assert_eq!(position, at);
        assert!(reason.contains("schema version 2"), "{reason}");
    }
    let (position, fence) = (reader.position(), reader.fence().clone());
    assert_eq!(position, Some(last));
    let mut again = FactReader::<Note>::open_at(&log, CELL, last, fence).await.unwrap();
    assert!(again.next().await.is_err(), "a saved position skips the record");
}

pub async fn an_undecodable_record_of_a_superseded_owner_is_void<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append(&log, record_of("a", 5, 0, "")).await;
    append(&log, record_of("a", 4, 1, "schema 2\n")).await;
    append(&log, encoded(5, 1, "one")).await;
    assert_eq!(text(&typed(&log).await.next().await.unwrap().outcome), "one");
}

pub async fn an_outcome_of_another_epoch_than_its_record_stops_the_reader<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    append(&log, record_of("a", 5, 0, "")).await;
    append(&log, Record { epoch: Epoch(5), ..encoded(4, 1, "one") }).await;
    let stopped = typed(&log).await.next().await;
    assert!(matches!(stopped, Err(LogError::Undecodable { .. })), "{stopped:?}");
}

pub async fn a_reader_may_be_cancelled_without_losing_an_outcome<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let log = bed.log();
    let (mut writer, _) = FactWriter::<Note>::open(&log, CELL, "a", Epoch(1)).await.unwrap();
    let mut reader = typed(&log).await;
    for n in 0..20 {
        let expected = n.to_string();
        writer.append(&note(1, &expected)).unwrap().await.unwrap();
        let delivered = loop {
            if let Some(delivered) = poll_once(&mut Box::pin(reader.next())).await {
                break delivered.unwrap();
            }
            tokio::task::yield_now().await;
            let patience = std::time::Duration::from_millis(1);
            if let Ok(delivered) = tokio::time::timeout(patience, reader.next()).await {
                break delivered.unwrap();
            }
        };
        assert_eq!(text(&delivered.outcome), expected);
    }
}

pub async fn a_writer_whose_append_failed_takes_nothing_more<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let (mut writer, _) = FactWriter::<Note>::open(&bed.log(), CELL, "a", Epoch(1)).await.unwrap();
    bed.stall(LOG, CELL).await;
    let ticket = writer.append(&note(1, "lost or not")).unwrap();
    assert!(!writer.poisoned());
    let bed = bed.crash().await;
    if ticket.await.is_err() {
        assert!(writer.poisoned());
        let refused = writer.append(&note(1, "refused")).map(|_| ());
        assert!(matches!(refused, Err(LogError::Interrupted { .. })), "{refused:?}");
    }
    let (mut next, fence) = FactWriter::<Note>::open(&bed.log(), CELL, "a", Epoch(2)).await.unwrap();
    let mut reader = typed(&bed.log()).await;
    reader.catch_up(&next, fence, |_| ()).await.unwrap();
    next.append(&note(2, "goes on")).unwrap().await.unwrap();
    assert_eq!(text(&reader.next().await.unwrap().outcome), "goes on");
}

pub async fn a_writer_that_was_overloaded_goes_on_without_a_gap<L: LogUnderTest>() {
    let bed = L::fresh(Limits { pending_count_max: 4, ..Limits::default() }).await;
    let log = bed.log();
    let (mut writer, _) = FactWriter::<Note>::open(&log, CELL, "a", Epoch(1)).await.unwrap();
    bed.stall(LOG, CELL).await;
    let tickets: Vec<_> = (0..4).map(|n| writer.append(&note(1, &n.to_string())).unwrap()).collect();
    let refused = writer.append(&note(1, "4")).map(|_| ());
    assert!(matches!(refused, Err(LogError::Overloaded { .. })), "{refused:?}");
    assert!(!writer.poisoned());
    bed.resume(LOG, CELL).await;
    for ticket in tickets {
        ticket.await.unwrap();
    }
    writer.append(&note(1, "4")).unwrap().await.unwrap();
    let mut reader = typed(&log).await;
    for expected in numbers(0, 5) {
        assert_eq!(text(&reader.next().await.unwrap().outcome), expected);
    }
}

pub async fn a_writer_whose_outcome_was_too_large_goes_on_without_a_gap<L: LogUnderTest>() {
    let bed = L::fresh(Limits { record_bytes_max: 1000, ..Limits::default() }).await;
    let (mut writer, _) = FactWriter::<Note>::open(&bed.log(), CELL, "a", Epoch(1)).await.unwrap();
    let refused = writer.append(&note(1, &"x".repeat(1000))).map(|_| ());
    assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    writer.append(&note(1, "small")).unwrap().await.unwrap();
    assert_eq!(text(&typed(&bed.log()).await.next().await.unwrap().outcome), "small");
}

pub async fn the_trace_context_of_an_outcome_travels_in_the_headers<L: LogUnderTest>() {
    let bed: L = fresh().await;
    let (mut writer, _) = FactWriter::<Note>::open(&bed.log(), CELL, "a", Epoch(1)).await.unwrap();
    let mut outcome = note(1, "traced");
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    outcome.facts[0].meta.traceparent = traceparent.to_owned();
    writer.append(&outcome).unwrap().await.unwrap();
    let last = everything(&bed.log()).await.pop().unwrap();
    assert_eq!(last.record.headers, [(TRACEPARENT.to_owned(), traceparent.to_owned())]);
}
