//! A full disk under the log: a real file system of 1 MiB, mounted where nobody else sees it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod event_log_support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use event_log_support::{len_of, open, read, segments};
use tempfile::TempDir;
use trunkline_domain::vocabulary::Epoch;
use trunkline_runtime::event_log::contract::note::{Note, note};
use trunkline_runtime::event_log::contract::{CELL, LOG, record, record_of};
use trunkline_runtime::event_log::{EventLog, LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::{FactReader, FactWriter};

const CHILD: &str = "TRUNKLINE_TEST_FULL_DISK";
const SEGMENT: &str = "TRUNKLINE_TEST_SEGMENT_BYTES";
const DONE: &str = "the full disk did no harm";

fn text(n: u64) -> String {
    format!("{n} {}", "x".repeat(3000 + n as usize * 53 % 900))
}

/// The notes that count.
async fn notes(log: &SharedLog) -> Vec<String> {
    let mut reader = FactReader::<Note>::open(log, CELL, ReadFrom::Start).await.unwrap();
    let mut found = Vec::new();
    let fold = |delivered: trunkline_domain::facts::Delivered<Note>| {
        found.extend(delivered.outcome.facts.into_iter().map(|recorded| recorded.fact.0));
    };
    reader.fold_to_end(fold).await.unwrap();
    found
}

/// Appends in bursts until one fails; gives what was acknowledged before it. What fails may do so before the burst has
/// been handed over: the rest of it is then refused.
async fn fill(writer: &mut FactWriter<Note>, from: u64) -> Vec<String> {
    let (mut acknowledged, mut next) = (Vec::new(), from);
    loop {
        let texts: Vec<_> = (next..next + 7).map(text).collect();
        next += 7;
        let (mut tickets, mut refused) = (Vec::new(), None);
        for text in &texts {
            match writer.append(&note(writer.epoch().0, text)) {
                Ok(ticket) if refused.is_none() => tickets.push(ticket),
                Ok(_) => panic!("taken behind a refused one"),
                Err(error) => refused = Some(error),
            }
        }
        let mut failed = false;
        for (text, ticket) in texts.into_iter().zip(tickets) {
            match ticket.await {
                Ok(_) => {
                    assert!(!failed, "a record behind a failed one was acknowledged");
                    acknowledged.push(text);
                }
                Err(error) => {
                    assert_eq!(error, LogError::DiskFull { log: LOG, cell: CELL });
                    failed = true;
                }
            }
        }
        if let Some(error) = refused {
            assert_eq!(error, LogError::Interrupted { log: LOG, cell: CELL, lane: "a".to_owned() });
            assert!(failed, "refused, and nothing had failed");
        }
        if failed {
            return acknowledged;
        }
    }
}

/// Not a case of its own: what is done on the small disk.
#[tokio::test]
async fn the_child_fills_the_disk() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let dir = Path::new(&dir);
    let segment_bytes = std::env::var(SEGMENT).unwrap().parse().unwrap();
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![1; 300_000]).unwrap();
    let (data, log) = (dir.join("log"), open(&dir.join("log"), segment_bytes).0);
    let log: SharedLog = Arc::new(log);

    let (mut writer, _) = FactWriter::<Note>::open(&log, CELL, "a", Epoch(1)).await.unwrap();
    let mut expected = fill(&mut writer, 0).await;
    assert!(expected.len() > 20, "{} records before the disk was full", expected.len());
    assert!(writer.poisoned());
    let interrupted = LogError::Interrupted { log: LOG, cell: CELL, lane: "a".to_owned() };
    assert_eq!(writer.append(&note(1, "refused")).map(|_| ()), Err(interrupted.clone()));
    assert_eq!(log.append(LOG, CELL, record(900, "refused")).map(|_| ()), Err(interrupted));
    assert_eq!(notes(&log).await, expected, "what was acknowledged is readable on the full disk");

    drop(writer);
    fs::remove_file(&ballast).unwrap();
    let (mut writer, fence) = FactWriter::<Note>::open(&log, CELL, "a", Epoch(2)).await.unwrap();
    let mut own = FactReader::open(&log, CELL, ReadFrom::Start).await.unwrap();
    own.catch_up(&writer, fence, |_| ()).await.unwrap();
    expected.extend(fill(&mut writer, 1000).await);
    assert_eq!(notes(&log).await, expected);

    // The file ends where the last acknowledged record does: nothing half-written is left for the next start.
    drop((own, writer, log));
    let lens: Vec<_> = segments(&data).iter().map(|path| len_of(path)).collect();
    let (log, report) = open(&data, segment_bytes);
    assert_eq!((report.torn().count(), report.quarantined().count()), (0, 0), "{report:?}");
    assert_eq!(segments(&data).iter().map(|path| len_of(path)).collect::<Vec<_>>(), lens);
    assert_eq!(notes(&(Arc::new(log) as SharedLog)).await, expected);
    println!("{DONE}");
}

fn child(program: &str, first: &[&str], script: &str, dir: &Path, segment_bytes: u64) -> Output {
    Command::new(program)
        .args(first)
        .args(["sh", "-c", script])
        .env(CHILD, dir)
        .env(SEGMENT, segment_bytes.to_string())
        .env("TRUNKLINE_TEST_EXE", std::env::current_exe().unwrap())
        .output()
        .unwrap_or_else(|error| panic!("could not run {program}: {error}"))
}

#[test]
fn a_full_disk_fails_what_was_under_way_harms_nothing_acknowledged_and_ends_when_there_is_room() {
    const MOUNT: &str = "mount -t tmpfs -o size=1m tmpfs \"$TRUNKLINE_TEST_FULL_DISK\"";
    let unshare = [&["-m"][..], &["-r", "-m"]].into_iter().find(|flags| {
        let dir = TempDir::new().unwrap();
        Command::new("unshare")
            .args(*flags)
            .args(["sh", "-c", MOUNT])
            .env(CHILD, dir.path())
            .output()
            .is_ok_and(|output| output.status.success())
    });
    let Some(flags) = unshare else {
        eprintln!("NO FILE SYSTEM CAN BE MOUNTED HERE: a limit on the size of a file plays the full disk");
        return limited_file_size();
    };
    let script =
        format!("{MOUNT} && exec \"$TRUNKLINE_TEST_EXE\" --exact the_child_fills_the_disk --nocapture");
    // One segment for everything, and segments so small that the disk is full at the birth of one.
    for segment_bytes in [64 << 20, 30_000, 5_000] {
        let dir = TempDir::new().unwrap();
        let output = child("unshare", flags, &script, dir.path(), segment_bytes);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains(DONE), "segments of {segment_bytes}: {output:?}");
    }
}

#[tokio::test]
async fn what_is_queued_behind_a_failed_write_fails_with_it_and_the_lanes_begin_again() {
    let dir = TempDir::new().unwrap();
    let (log, _) = open(dir.path(), 64 << 20);
    log.append(LOG, CELL, record(0, "kept")).unwrap().await.unwrap();
    let faults = log.faults(LOG, CELL);
    faults.stall();
    let mut tickets = vec![log.append(LOG, CELL, record(1, "in the write")).unwrap()];
    faults.wait_until_held();
    tickets.extend((2..5).map(|n| log.append(LOG, CELL, record(n, "behind it")).unwrap()));
    let other_lane = log.append(LOG, CELL, record_of("b", 1, 0, "behind it")).unwrap();
    faults.fail_write(50, rustix::io::Errno::NOSPC);
    faults.resume();
    tickets.push(other_lane);
    for ticket in tickets {
        assert_eq!(ticket.await, Err(LogError::DiskFull { log: LOG, cell: CELL }));
    }
    for (lane, sequence) in [("a", 5), ("b", 1)] {
        let refused = log.append(LOG, CELL, record_of(lane, 1, sequence, "a gap")).map(|_| ());
        assert!(matches!(refused, Err(LogError::Interrupted { .. })), "{refused:?}");
    }
    for (lane, epoch) in [("a", 2), ("b", 2), ("c", 1)] {
        log.append(LOG, CELL, record_of(lane, epoch, 0, lane)).unwrap().await.unwrap();
    }
    assert_eq!(read(&log).await, [&b"kept"[..], b"a", b"b", b"c"]);
    assert_eq!(log.append(LOG, CELL, record_of("a", 2, 1, "goes on")).unwrap().await.map(|at| at.0), Ok(4));
}

/// Where nothing may be mounted: a limit on the size of a file instead. Weaker: no room can be made again.
fn limited_file_size() {
    let script = "trap '' XFSZ; ulimit -f 600; \
                  exec \"$TRUNKLINE_TEST_EXE\" --exact the_child_meets_the_limit --nocapture";
    let dir = TempDir::new().unwrap();
    let output = child("env", &[], script, dir.path(), 64 << 20);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(DONE), "{output:?}");
}

/// Not a case of its own: what is done under a limit on the size of a file.
#[tokio::test]
async fn the_child_meets_the_limit() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let data = Path::new(&dir).join("log");
    let log: SharedLog = Arc::new(open(&data, 64 << 20).0);
    let (mut writer, _) = FactWriter::<Note>::open(&log, CELL, "a", Epoch(1)).await.unwrap();
    let expected = fill(&mut writer, 0).await;
    assert!(expected.len() > 20 && writer.poisoned());
    assert_eq!(notes(&log).await, expected);
    drop((writer, log));
    let (log, report) = open(&data, 64 << 20);
    assert_eq!((report.torn().count(), report.quarantined().count()), (0, 0), "{report:?}");
    assert_eq!(notes(&(Arc::new(log) as SharedLog)).await, expected);
    println!("{DONE}");
}

#[test]
fn a_limit_on_the_size_of_a_file_is_a_full_disk_too() {
    limited_file_size();
}
