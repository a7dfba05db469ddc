//! Stored bytes that are not what was written: refused, quarantined, never served, never skipped.

#![allow(clippy::unwrap_used, reason = "tests")]

mod event_log_support;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use event_log_support::{
    OTHER, len_of, open, options, partition_dir, payload, read, read_until_error, segments,
};
use prost::Message;
use tempfile::TempDir;
use trunkline_domain::facts::{BillingFact, Outcome};
use trunkline_domain::vocabulary::{Cell, Epoch, LogName};
use trunkline_proto::convert::WireFact;
use trunkline_proto::envelope::v1 as wire;
use trunkline_runtime::event_log::contract::{CELL, LOG, record, record_of};
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, EventLog, LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::FactReader;

const SEGMENT_BYTES: u64 = 600;

/// A closed log of `count` acknowledged records, in segments of a few records.
async fn written(dir: &Path, count: u64) -> Vec<Vec<u8>> {
    let (log, _) = open(dir, SEGMENT_BYTES);
    for n in 0..count {
        log.append(LOG, CELL, record(n, payload(n))).unwrap().await.unwrap();
    }
    (0..count).map(payload).collect()
}

async fn other_partition_works(log: &EmbeddedLog) {
    log.append(OTHER.0, OTHER.1, record(0, "fine")).unwrap().await.unwrap();
}

fn flip(path: &Path, bit: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8).unwrap();
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit / 8).unwrap();
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_an_acknowledged_record_is_refused_and_no_changed_record_is_served() {
    let dir = TempDir::new().unwrap();
    let expected = written(dir.path(), 12).await;
    assert!(segments(dir.path()).len() >= 3);
    for path in segments(dir.path()) {
        for offset in 0..len_of(&path) {
            let bit = offset * 8 + (offset * 5 + 3) % 8;
            flip(&path, bit);
            let tool = EmbeddedLog::open_read_only(dir.path()).unwrap();
            let refused = tool.verify(LOG, CELL);
            assert!(
                matches!(refused, Err(LogError::Quarantined { .. })),
                "bit {bit} of {path:?}: {refused:?}"
            );
            flip(&path, bit);
        }
    }
    // The same through a start, for a bit of every part of a frame in every segment.
    for path in segments(dir.path()) {
        for offset in (0..len_of(&path)).step_by(11) {
            flip(&path, offset * 8);
            let (log, report) = open(dir.path(), SEGMENT_BYTES);
            assert_eq!(report.quarantined().count(), 1, "byte {offset} of {path:?}");
            let (served, error) = read_until_error(&log).await;
            assert!(
                matches!(error, Some(LogError::Quarantined { .. })),
                "byte {offset} of {path:?}: {error:?}"
            );
            assert!(expected.starts_with(&served));
            drop(log);
            flip(&path, offset * 8);
            fs::remove_file(partition_dir(dir.path()).join("QUARANTINED")).unwrap();
        }
    }
    let (log, report) = open(dir.path(), SEGMENT_BYTES);
    assert_eq!((report.torn().count(), report.quarantined().count()), (0, 0));
    assert_eq!(read(&log).await, expected);
}

#[tokio::test]
async fn a_damaged_partition_says_where_and_why_and_the_others_go_on() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), 12).await;
    let path = &segments(dir.path())[1];
    flip(path, (len_of(path) - 1) * 8);
    for _ in 0..2 {
        let (log, report) = open(dir.path(), SEGMENT_BYTES);
        let quarantined: Vec<_> = report.quarantined().map(|found| (found.log, found.cell)).collect();
        assert_eq!(quarantined, [(LOG, CELL)]);
        let error = log.end(LOG, CELL).await.unwrap_err();
        let LogError::Quarantined { file, offset, reason, .. } = &error else { panic!("{error}") };
        assert_eq!(*file, format!("contacts/0/{}", path.file_name().unwrap().to_str().unwrap()));
        assert!(*offset >= 32 && *offset < len_of(path));
        assert_eq!(reason, "the checksum of a record is wrong");
        assert_eq!(log.append(LOG, CELL, record(0, "x")).map(|_| ()), Err(error.clone()));
        assert_eq!(log.read(LOG, CELL, ReadFrom::Start).await.map(|_| ()), Err(error));
        other_partition_works(&log).await;
    }
}

#[tokio::test]
async fn a_missing_segment_is_damage_wherever_it_was() {
    for (missing, reason) in [(0, "position 0 is missing"), (1, "is missing")] {
        let dir = TempDir::new().unwrap();
        written(dir.path(), 12).await;
        fs::remove_file(&segments(dir.path())[missing]).unwrap();
        let (log, _) = open(dir.path(), SEGMENT_BYTES);
        let error = log.end(LOG, CELL).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        other_partition_works(&log).await;
    }
    let dir = TempDir::new().unwrap();
    written(dir.path(), 12).await;
    segments(dir.path()).into_iter().for_each(|path| fs::remove_file(path).unwrap());
    let (log, _) = open(dir.path(), SEGMENT_BYTES);
    let error = log.end(LOG, CELL).await.unwrap_err().to_string();
    assert!(error.contains("every segment is missing"), "{error}");
}

#[tokio::test]
async fn a_segment_cut_short_that_is_not_the_last_is_damage_not_a_torn_tail() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), 12).await;
    let path = &segments(dir.path())[0];
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len_of(path) - 3).unwrap();
    let (log, report) = open(dir.path(), SEGMENT_BYTES);
    assert_eq!((report.torn().count(), report.quarantined().count()), (0, 1));
    let error = log.end(LOG, CELL).await.unwrap_err().to_string();
    assert!(error.contains("this is not the last segment"), "{error}");
}

#[tokio::test]
async fn a_segment_of_another_partition_or_place_is_refused() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), 12).await;
    let all = segments(dir.path());
    fs::copy(&all[0], &all[1]).unwrap();
    let (log, _) = open(dir.path(), SEGMENT_BYTES);
    let error = log.end(LOG, CELL).await.unwrap_err().to_string();
    assert!(error.contains("this is not the header of contacts/0"), "{error}");
}

#[tokio::test]
async fn sectors_lost_from_what_was_durable_are_damage_and_no_torn_tail() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    for n in 0..20 {
        log.append(LOG, CELL, record(n, vec![7; 400])).unwrap().await.unwrap();
    }
    drop(log);
    let path = &segments(dir.path())[0];
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0; 512], 2048).unwrap();
    let (log, report) = open(dir.path(), 1 << 20);
    assert_eq!((report.torn().count(), report.quarantined().count()), (0, 1));
    let error = log.end(LOG, CELL).await.unwrap_err().to_string();
    assert!(error.contains("sectors that were durable"), "{error}");
}

#[tokio::test]
async fn a_reader_that_meets_damage_stops_there_and_the_partition_with_it() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), SEGMENT_BYTES);
    for n in 0..12 {
        log.append(LOG, CELL, record(n, payload(n))).unwrap().await.unwrap();
    }
    let path = segments(dir.path())[2].clone();
    flip(&path, 100 * 8);
    let (served, error) = read_until_error(&log).await;
    let error = error.expect("the damage is served");
    assert!(matches!(error, LogError::Quarantined { .. }), "{error}");
    let expected: Vec<_> = (0..12).map(payload).collect();
    assert!(served.len() < 12 && expected.starts_with(&served), "{} served", served.len());
    assert_eq!(log.append(LOG, CELL, record(12, "x")).map(|_| ()), Err(error));
    other_partition_works(&log).await;
    drop(log);

    // A person put the bytes right and took the marker away.
    flip(&path, 100 * 8);
    let (log, report) = open(dir.path(), SEGMENT_BYTES);
    assert_eq!(report.quarantined().count(), 1, "the marker is forgotten");
    drop(log);
    fs::remove_file(partition_dir(dir.path()).join("QUARANTINED")).unwrap();
    let (log, _) = open(dir.path(), SEGMENT_BYTES);
    assert_eq!(read(&log).await, expected);
}

#[tokio::test]
async fn a_failed_sync_closes_the_partition_for_good_and_is_never_tried_again() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    log.append(LOG, CELL, record(0, "durable")).unwrap().await.unwrap();
    log.faults(LOG, CELL).stall();
    let tickets: Vec<_> = (1..5).map(|n| log.append(LOG, CELL, record(n, "in flight")).unwrap()).collect();
    log.faults(LOG, CELL).fail_sync(rustix::io::Errno::IO);
    log.faults(LOG, CELL).resume();
    for ticket in tickets {
        let failed = ticket.await;
        assert!(matches!(failed, Err(LogError::Io { action: "sync a segment", .. })), "{failed:?}");
    }
    // The fault is over; the partition stays closed, a fence record does not open it either.
    for refused in [record(5, "x"), record_of("a", 2, 0, "")] {
        let refused = log.append(LOG, CELL, refused).map(|_| ());
        assert!(matches!(refused, Err(LogError::Io { .. })), "{refused:?}");
    }
    assert_eq!(read(&log).await, [b"durable"], "what is durable stays readable, the rest stays unseen");
    other_partition_works(&log).await;
}

#[tokio::test]
async fn a_fact_of_a_later_schema_stops_its_reader_with_its_position() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    let log: SharedLog = std::sync::Arc::new(log);
    let outcome = Outcome::<BillingFact> { epoch: Epoch(1), consumed: vec![], facts: vec![] };
    let today = BillingFact::encode_outcome(&outcome);
    let mut later = wire::Outcome::decode(&today[..]).unwrap();
    later.schema_version += 1;
    let cell = CELL;
    let payloads = [Vec::new(), today.to_vec(), later.encode_to_vec(), today.to_vec()];
    let mut positions = Vec::new();
    for (n, payload) in (0..).zip(payloads) {
        positions.push(log.append(LogName::Billing, cell, record(n, payload)).unwrap().await.unwrap());
    }
    let mut reader = FactReader::<BillingFact>::open(&log, cell, ReadFrom::Start).await.unwrap();
    assert_eq!(reader.next().await.unwrap().position, positions[1]);
    for _ in 0..2 {
        let stopped = reader.next().await;
        let Err(LogError::Undecodable { position, reason, .. }) = stopped else { panic!("{stopped:?}") };
        assert_eq!(position, positions[2]);
        assert!(reason.contains("schema version"), "{reason}");
    }
    assert_eq!(reader.position(), Some(positions[1]));
}

#[tokio::test]
async fn a_log_is_only_opened_by_one_process_of_its_own_cluster() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    let opened = |cluster: &str, cells| {
        let mut options = options(dir.path(), 1 << 20);
        (options.cluster, options.cells) = (cluster.to_owned(), cells);
        EmbeddedLog::open(options).map(|_| ()).unwrap_err().to_string()
    };
    let in_use = format!("is in use by process {}", std::process::id());
    assert!(opened("test", 1).contains(&in_use), "{}", opened("test", 1));
    drop(log);
    assert!(opened("another", 1).contains("belongs to cluster test, not to another"));
    assert!(opened("two\nlines", 1).contains("one line of text"));
    assert_eq!(EmbeddedLog::cluster_of(dir.path()).unwrap().as_deref(), Some("test"));
    let nothing = TempDir::new().unwrap();
    assert_eq!(EmbeddedLog::cluster_of(nothing.path()).unwrap(), None);
    let refused = EmbeddedLog::open_read_only(nothing.path()).map(|_| ()).unwrap_err();
    assert!(refused.to_string().contains("there is no log in"), "{refused}");
}

#[tokio::test]
async fn cells_may_be_added_and_never_taken_away() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), 1 << 20);
    log.append(LOG, CELL, record(0, "before")).unwrap().await.unwrap();
    drop(log);
    let (log, _) = EmbeddedLog::open(EmbeddedOptions { cells: 3, ..options(dir.path(), 1 << 20) }).unwrap();
    assert_eq!(read(&log).await, [b"before"]);
    log.append(LOG, Cell(2), record(0, "new")).unwrap().await.unwrap();
    drop(log);
    let refused = EmbeddedLog::open(options(dir.path(), 1 << 20)).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("has 3 cells, which cannot become 1"), "{refused}");
}
