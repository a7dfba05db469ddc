//! What tools see: a log beside its writer, after it, torn, damaged.

#![allow(clippy::unwrap_used, reason = "tests")]

mod event_log_support;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use event_log_support::{len_of, open, partition_dir, payload, read, read_until_error, segments};
use tempfile::TempDir;
use trunkline_domain::vocabulary::{Cell, Position};
use trunkline_runtime::event_log::contract::{CELL, LOG, poll_once, record, take, within_a_minute};
use trunkline_runtime::event_log::{EmbeddedLog, EventLog, LogError, ReadFrom, RecordStream};

const SEGMENT_BYTES: u64 = 600;

async fn written(dir: &Path, count: u64, segment_bytes: u64) -> Vec<Vec<u8>> {
    let (log, _) = open(dir, segment_bytes);
    for n in 0..count {
        log.append(LOG, CELL, record(n, payload(n))).unwrap().await.unwrap();
    }
    (0..count).map(payload).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tool_follows_a_log_that_another_writes_across_its_segments() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), SEGMENT_BYTES);
    let tool = EmbeddedLog::open_read_only(dir.path()).unwrap();
    let mut stream = tool.read(LOG, CELL, ReadFrom::Start).await.unwrap();
    let following = tokio::spawn(async move { take(&mut stream, 200).await });
    for n in 0..200 {
        let ticket = log.append(LOG, CELL, record(n, payload(n))).unwrap();
        if n % 3 == 0 {
            ticket.await.unwrap();
        } else {
            drop(ticket);
        }
    }
    within_a_minute(async {
        let seen: Vec<_> =
            following.await.unwrap().into_iter().map(|stored| stored.record.payload.to_vec()).collect();
        assert_eq!(seen, (0..200).map(payload).collect::<Vec<_>>());
    })
    .await;
    assert!(segments(dir.path()).len() > 10);
    assert_eq!(tool.end(LOG, CELL).await, Ok(Some(Position(199))));
    assert_eq!(tool.verify(LOG, CELL), Ok(200));
}

#[tokio::test]
async fn a_tool_reads_a_closed_log_from_anywhere_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let expected = written(dir.path(), 30, SEGMENT_BYTES).await;
    let tool = EmbeddedLog::open_read_only(dir.path()).unwrap();
    assert_eq!((tool.cluster(), tool.cell_count()), ("test", 1));
    assert_eq!(read(&tool).await, expected);
    for n in 0..29 {
        let mut stream = tool.read(LOG, CELL, ReadFrom::After(Position(n))).await.unwrap();
        let stored = stream.next().await.unwrap();
        assert_eq!((stored.position, &stored.record.payload[..]), (Position(n + 1), &payload(n + 1)[..]));
    }
    let ahead = tool.read(LOG, CELL, ReadFrom::After(Position(30))).await.map(|_| ()).unwrap_err();
    assert!(matches!(ahead, LogError::NoSuchPosition { end: Some(Position(29)), .. }), "{ahead}");
    let unknown = tool.read(LOG, Cell(1), ReadFrom::Start).await.map(|_| ()).unwrap_err();
    assert_eq!(unknown, LogError::UnknownPartition { log: LOG, cell: Cell(1) });
    assert!(tool.append(LOG, CELL, record(30, "x")).is_err());
}

#[tokio::test]
async fn a_tool_waits_at_a_frame_that_is_being_written_whatever_part_of_it_is_there() {
    let dir = TempDir::new().unwrap();
    let expected = written(dir.path(), 3, 1 << 20).await;
    let path = segments(dir.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    let tool = EmbeddedLog::open_read_only(dir.path()).unwrap();
    for cut in [1, 4, 20, 41, 60] {
        let cut = whole.len() - cut;
        fs::write(&path, &whole[..cut]).unwrap();
        let mut stream = tool.read(LOG, CELL, ReadFrom::Start).await.unwrap();
        assert_eq!(take(&mut stream, 2).await.len(), 2);
        assert!(poll_once(&mut stream.next()).await.is_none());
        assert_eq!(tool.end(LOG, CELL).await, Ok(Some(Position(1))), "cut at {cut}");
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&whole[cut..]).unwrap();
        within_a_minute(async {
            assert_eq!(stream.next().await.unwrap().record.payload[..], expected[2][..]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_tool_takes_sectors_that_were_never_written_for_the_end() {
    let dir = TempDir::new().unwrap();
    let expected = written(dir.path(), 3, 1 << 20).await;
    let path = &segments(dir.path())[0];
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len_of(path) + 3000).unwrap();
    let tool = EmbeddedLog::open_read_only(dir.path()).unwrap();
    assert_eq!(read(&tool).await, expected);
    let mut stream = tool.read(LOG, CELL, ReadFrom::After(Position(2))).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1), stream.next()).await.is_err());
}

#[tokio::test]
async fn a_tool_names_damage_and_serves_nothing_behind_it() {
    let dir = TempDir::new().unwrap();
    let expected = written(dir.path(), 12, SEGMENT_BYTES).await;
    let path = segments(dir.path())[1].clone();
    let whole = fs::read(&path).unwrap();
    let tool = EmbeddedLog::open_read_only(dir.path()).unwrap();

    let mut flipped = whole.clone();
    flipped[90] ^= 4;
    let damages: [(&str, &[u8]); 2] =
        [("checksum", &flipped), ("this is not the last segment", &whole[..whole.len() - 9])];
    for (reason, bytes) in damages {
        fs::write(&path, bytes).unwrap();
        let mut stream = tool.read(LOG, CELL, ReadFrom::Start).await.unwrap();
        let (served, error) = until_error(&mut stream).await;
        assert!(error.contains(reason), "{error}");
        assert!(served.len() < 12 && expected.starts_with(&served));
        let verified = tool.verify(LOG, CELL).unwrap_err().to_string();
        assert!(verified.contains(reason), "{verified}");
    }
    fs::remove_file(&path).unwrap();
    let mut stream = tool.read(LOG, CELL, ReadFrom::Start).await.unwrap();
    let (_, error) = until_error(&mut stream).await;
    assert!(error.contains("is missing"), "{error}");

    // Once a writer has quarantined the partition, tools say the same.
    let (log, _) = open(dir.path(), SEGMENT_BYTES);
    let quarantined = log.end(LOG, CELL).await.unwrap_err();
    assert_eq!(read_until_error(&tool).await, (vec![], Some(quarantined)));
    let marker = fs::read_to_string(partition_dir(dir.path()).join("QUARANTINED")).unwrap();
    assert!(marker.contains("file: ") && marker.contains("reason: "), "{marker}");
}

/// What a reader serves before it stops, and why it stops.
async fn until_error(stream: &mut Box<dyn RecordStream>) -> (Vec<Vec<u8>>, String) {
    let mut served = Vec::new();
    let mut stopped = None;
    within_a_minute(async {
        while stopped.is_none() {
            match stream.next().await {
                Ok(stored) => served.push(stored.record.payload.to_vec()),
                Err(error) => stopped = Some(error.to_string()),
            }
        }
    })
    .await;
    (served, stopped.unwrap())
}
