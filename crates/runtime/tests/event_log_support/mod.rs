//! What the tests of the embedded log share.

#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_runtime::event_log::contract::{CELL, LOG};
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, EventLog, LogError, OpenReport, ReadFrom};

/// One cell, segments of `segment_bytes`.
pub fn options(dir: &Path, segment_bytes: u64) -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes, ..EmbeddedOptions::new(dir, "test", 1) }
}

pub fn open(dir: &Path, segment_bytes: u64) -> (EmbeddedLog, OpenReport) {
    EmbeddedLog::open(options(dir, segment_bytes)).unwrap()
}

/// The directory of the usual partition.
pub fn partition_dir(dir: &Path) -> PathBuf {
    dir.join(LOG.as_str()).join(CELL.to_string())
}

/// The segments of the usual partition, in order.
pub fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(partition_dir(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

pub fn len_of(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// A payload that tells which record it is, of changing length, with zeros in it.
pub fn payload(n: u64) -> Vec<u8> {
    let mut payload = format!("record {n} ").into_bytes();
    payload.resize(payload.len() + (n as usize * 37) % 90, 0);
    payload
}

/// Payloads from the start until the end or an error.
pub async fn read_until_error(log: &dyn EventLog) -> (Vec<Vec<u8>>, Option<LogError>) {
    let mut read = Vec::new();
    let (end, stream) = (log.end(LOG, CELL).await, log.read(LOG, CELL, ReadFrom::Start).await);
    let (end, mut stream) = match (end, stream) {
        (Ok(end), Ok(stream)) => (end, stream),
        (Err(error), _) | (_, Err(error)) => return (read, Some(error)),
    };
    let mut last = None;
    while last < end {
        match stream.next().await {
            Ok(stored) => {
                last = Some(stored.position);
                read.push(stored.record.payload.to_vec());
            }
            Err(error) => return (read, Some(error)),
        }
    }
    (read, None)
}

/// Payloads from the start to the end.
pub async fn read(log: &dyn EventLog) -> Vec<Vec<u8>> {
    let (read, error) = read_until_error(log).await;
    assert_eq!(error, None);
    read
}

/// A partition nobody damages.
pub const OTHER: (LogName, Cell) = (LogName::Agents, Cell(0));
