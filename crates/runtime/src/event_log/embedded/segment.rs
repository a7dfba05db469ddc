//! The files of one partition: names, headers, and what is found in them at a start.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use trunkline_domain::vocabulary::{Cell, LogName};

use super::disk::Disk;
use super::frame::{self, HEADER_LEN};

/// Of the header at the start of a segment, in bytes.
pub const SEGMENT_HEADER_LEN: u64 = 32;
const MAGIC: &[u8; 8] = b"TRKLOG01";
/// One entry of a segment's index stands for about this many bytes.
const INDEX_EVERY: u64 = 64 * 1024;

/// What is known of a segment in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The position of its first record.
    pub base: u64,
    /// How much of it holds durable frames, its header included, in bytes.
    pub end: u64,
    /// Some of its records: position and offset, ascending.
    index: Vec<(u64, u64)>,
}

impl Segment {
    /// A segment without records.
    pub fn new(base: u64) -> Self {
        Self { base, end: SEGMENT_HEADER_LEN, index: Vec::new() }
    }

    /// Takes a frame into account that ends at `end`.
    pub fn extend(&mut self, position: u64, offset: u64, end: u64) {
        if self.index.last().is_none_or(|(_, last)| offset - last >= INDEX_EVERY) {
            self.index.push((position, offset));
        }
        self.end = end;
    }

    /// A record at or before `position`, and its offset.
    pub fn before(&self, position: u64) -> (u64, u64) {
        let at = self.index.partition_point(|(indexed, _)| *indexed <= position);
        at.checked_sub(1).map_or((self.base, SEGMENT_HEADER_LEN), |at| self.index[at])
    }
}

/// The file of the segment that starts with position `base`.
pub fn path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.seg"))
}

/// The first bytes of a segment. They differ by log, cell and base, so that no file passes for another.
pub fn header(log: LogName, cell: Cell, base: u64) -> [u8; SEGMENT_HEADER_LEN as usize] {
    let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..16].copy_from_slice(&base.to_le_bytes());
    let number = LogName::ALL.iter().position(|each| *each == log).unwrap_or(LogName::ALL.len());
    bytes[16..20].copy_from_slice(&(number as u32).to_le_bytes());
    bytes[20..24].copy_from_slice(&cell.0.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Creates the segment that starts with position `base`, durably: its header and its name.
pub fn create(disk: &Disk, dir: &Path, log: LogName, cell: Cell, base: u64) -> io::Result<File> {
    let file = disk.create(&path(dir, base))?;
    disk.write(&file, &header(log, cell, base), 0)?;
    disk.sync(&file)?;
    disk.sync_dir(dir)?;
    Ok(file)
}

/// Stored bytes that are not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Which file, as a path below the partition.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What does not fit.
    pub reason: String,
}

/// The unfinished end of the last segment, as a crash leaves it. Nothing in it was ever acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// Which file.
    pub file: String,
    /// Where it begins.
    pub offset: u64,
    /// How much there is of it, in bytes.
    pub len: u64,
    /// How it was recognised.
    pub reason: &'static str,
}

/// What a partition's directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Survey {
    /// In order; the last one is written on.
    pub segments: Vec<Segment>,
    /// The position the next record gets.
    pub next: u64,
    /// The end of the last segment that was cut, or must be.
    pub torn: Option<TornTail>,
    /// From where on the last segment may never have been synced, in bytes.
    pub unsynced_from: u64,
}

/// Why a directory could not be surveyed.
#[derive(Debug)]
pub enum SurveyError {
    /// It holds damage.
    Damaged(Damage),
    /// It could not be read.
    Io(io::Error),
}

impl From<io::Error> for SurveyError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The bases of the segments in a directory, ascending.
pub fn list(dir: &Path) -> Result<Vec<u64>, SurveyError> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let Some(stem) = name.strip_suffix(".seg") else { continue };
        match stem.parse::<u64>() {
            Ok(base) if stem.len() == 20 => bases.push(base),
            _ => return Err(damaged(name.clone(), 0, "the name is not that of a segment")),
        }
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Reads every segment whole and checks every frame. Changes nothing.
pub fn survey(dir: &Path, log: LogName, cell: Cell) -> Result<Survey, SurveyError> {
    let bases = list(dir)?;
    let mut found = Survey::default();
    for (at, base) in bases.iter().enumerate() {
        let name = format!("{base:020}.seg");
        if *base != found.next {
            let reason = format!("the segment that starts with position {} is missing", found.next);
            return Err(damaged(name, 0, reason));
        }
        let raw = fs::read(path(dir, *base))?;
        let last = at + 1 == bases.len();
        let scan = scan(&raw, log, cell, *base);
        found.next = scan.next;
        found.segments.push(scan.segment);
        found.unsynced_from = scan.unsynced_from;
        match scan.stop {
            Stop::End => {}
            Stop::Torn { offset, reason } if last => {
                let len = raw.len() as u64 - offset;
                found.torn = Some(TornTail { file: name, offset, len, reason });
            }
            Stop::Torn { offset, reason } => {
                return Err(damaged(name, offset, format!("{reason}, and this is not the last segment")));
            }
            Stop::Damaged { offset, reason } => return Err(damaged(name, offset, reason)),
        }
    }
    Ok(found)
}

/// Whether the segment ends with a torn tail that begins at `offset`, if it is the last one.
pub fn torn_at(dir: &Path, log: LogName, cell: Cell, base: u64, offset: u64) -> io::Result<bool> {
    let scan = scan(&fs::read(path(dir, base))?, log, cell, base);
    Ok(matches!(scan.stop, Stop::Torn { offset: torn, .. } if torn == offset))
}

fn damaged(file: String, offset: u64, reason: impl Into<String>) -> SurveyError {
    SurveyError::Damaged(Damage { file, offset, reason: reason.into() })
}

struct Scan {
    segment: Segment,
    next: u64,
    unsynced_from: u64,
    stop: Stop,
}

enum Stop {
    End,
    Torn { offset: u64, reason: &'static str },
    Damaged { offset: u64, reason: String },
}

fn scan(raw: &[u8], log: LogName, cell: Cell, base: u64) -> Scan {
    let mut scan =
        Scan { segment: Segment::new(base), next: base, unsynced_from: SEGMENT_HEADER_LEN, stop: Stop::End };
    let Some((start, _)) = raw.split_at_checked(SEGMENT_HEADER_LEN as usize) else {
        scan.stop = Stop::Torn { offset: 0, reason: "the segment ends inside its header" };
        return scan;
    };
    if start != header(log, cell, base) {
        scan.stop = if raw.iter().all(|byte| *byte == 0) {
            Stop::Torn { offset: 0, reason: "the segment was never written" }
        } else {
            Stop::Damaged { offset: 0, reason: format!("this is not the header of {log}/{cell} at {base}") }
        };
        return scan;
    }
    let mut offset = SEGMENT_HEADER_LEN;
    while offset < raw.len() as u64 {
        match check_frame(raw, base, offset, scan.next) {
            Ok((header, end)) => {
                scan.segment.extend(header.position, offset, end);
                scan.next += 1;
                scan.unsynced_from = u64::from(header.synced);
                offset = end;
            }
            Err(stop) => {
                scan.stop = stop;
                return scan;
            }
        }
    }
    scan
}

/// Checks the frame at `offset` of a whole segment; gives its header and where it ends.
fn check_frame(raw: &[u8], base: u64, offset: u64, expected: u64) -> Result<(frame::Header, u64), Stop> {
    let rest = &raw[offset as usize..];
    let Some(header_raw) = rest.first_chunk::<HEADER_LEN>() else {
        return Err(Stop::Torn { offset, reason: "the file ends inside the header of a frame" });
    };
    let mut plain = *header_raw;
    frame::whiten(base, offset, &mut plain);
    let Some(header) = frame::header(&plain) else {
        return Err(unwritten_or(
            raw,
            base,
            offset,
            expected,
            header_raw,
            "the checksum of a header is wrong",
        ));
    };
    if header.position != expected {
        let reason = format!("expected position {expected}, found {}", header.position);
        return Err(Stop::Damaged { offset, reason });
    }
    let Some(frame_raw) = rest.get(..header.frame_len()) else {
        return Err(Stop::Torn { offset, reason: "the file ends inside a frame" });
    };
    let mut plain = frame_raw.to_vec();
    frame::whiten(base, offset, &mut plain);
    if !frame::body_holds(&header, &plain) {
        return Err(unwritten_or(
            raw,
            base,
            offset,
            expected,
            frame_raw,
            "the checksum of a record is wrong",
        ));
    }
    Ok((header, offset + frame_raw.len() as u64))
}

/// A frame whose checksum is wrong is a torn one when a sector of it was never written, unless a later frame says
/// that everything here had been durable before.
fn unwritten_or(raw: &[u8], base: u64, offset: u64, expected: u64, part: &[u8], reason: &str) -> Stop {
    if !frame::has_unwritten_sector(part, offset) {
        return Stop::Damaged { offset, reason: reason.to_owned() };
    }
    let frames_max = raw.len() as u64 / HEADER_LEN as u64;
    let mut at = offset + 8;
    while let Some(header_raw) = raw.get(at as usize..).and_then(|rest| rest.first_chunk::<HEADER_LEN>()) {
        let mut plain = *header_raw;
        frame::whiten(base, at, &mut plain);
        if let Some(later) = frame::header(&plain) {
            let plausible = later.position > expected && later.position - expected <= frames_max;
            if plausible && u64::from(later.synced) > offset {
                let reason = format!("{reason}: sectors that were durable before byte {at} are gone");
                return Stop::Damaged { offset, reason };
            }
        }
        at += 8;
    }
    Stop::Torn { offset, reason: "a sector of a frame was never written" }
}
