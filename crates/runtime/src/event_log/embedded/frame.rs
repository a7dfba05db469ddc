//! One record on disk.
//!
//! ```text
//! header, 40 bytes                              body
//! ┌────────┬────────┬──────────┬───────┬──────────┬─────────┬─────┐┌──────┬─────────┬─────────┬─────┬─────┐
//! │length  │synced  │position  │epoch  │sequence  │reserved │crc  ││lane  │headers  │payload  │pad  │crc  │
//! │u32     │u32     │u64       │u64    │u64       │u32 = 0  │u32  ││      │         │         │     │u32  │
//! └────────┴────────┴──────────┴───────┴──────────┴─────────┴─────┘└──────┴─────────┴─────────┴─────┴─────┘
//! ```
//! Little-endian. `length` is that of lane, headers and payload; frames are padded to 8 bytes. `synced` is the length
//! of the segment that was known durable when the frame was written. The header's checksum covers the header, so that a
//! flipped bit in `length` cannot pass for a frame that runs past the end of the file; the body's covers the header's
//! checksum, the body and the padding.
//!
//! **Whitening.** Every 8-byte word is XORed with a number made from its segment and offset. A frame starts and ends on
//! 8 bytes, so no part of a written frame that shares a sector reads as zeros (chance 2⁻⁶⁴ a word), and one flipped bit
//! cannot make it so: a zero sector is one that was never written. Bytes moved to another offset or segment never parse.

use bytes::Bytes;
use trunkline_domain::vocabulary::{Epoch, Position};

use crate::event_log::{Record, Stored};

/// Of a frame's header, in bytes.
pub const HEADER_LEN: usize = 40;
/// What a disk writes whole or not at all, in bytes.
const SECTOR_LEN: u64 = 512;
/// Frames start at multiples of this, in bytes.
const ALIGNMENT: usize = 8;

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Of lane, headers and payload, in bytes.
    pub body_len: u32,
    /// How much of the segment was durable when this was written, in bytes.
    pub synced: u32,
    /// Where the record stands in its partition.
    pub position: u64,
    epoch: u64,
    sequence: u64,
    crc: u32,
}

impl Header {
    /// Of the whole frame, in bytes.
    pub fn frame_len(&self) -> usize {
        frame_len(self.body_len as usize)
    }
}

/// Of the frame of a record, in bytes.
pub fn frame_len_of(record: &Record) -> usize {
    frame_len(body_len(record))
}

fn frame_len(body_len: usize) -> usize {
    (HEADER_LEN + body_len + 4).next_multiple_of(ALIGNMENT)
}

fn body_len(record: &Record) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
    8 + record.lane.len() + headers + record.payload.len()
}

/// Appends the frame of a record to `out`, whose first byte will stand at `out_offset` of segment `base`.
pub fn encode(out: &mut Vec<u8>, record: &Record, position: u64, synced: u32, base: u64, out_offset: u64) {
    let start = out.len();
    out.extend_from_slice(&(body_len(record) as u32).to_le_bytes());
    out.extend_from_slice(&synced.to_le_bytes());
    out.extend_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&record.epoch.0.to_le_bytes());
    out.extend_from_slice(&record.sequence.to_le_bytes());
    out.extend_from_slice(&0_u32.to_le_bytes());
    let header_crc = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&header_crc.to_le_bytes());

    text(out, &record.lane);
    out.extend_from_slice(&(record.headers.len() as u32).to_le_bytes());
    for (name, value) in &record.headers {
        text(out, name);
        text(out, value);
    }
    out.extend_from_slice(&record.payload);
    let end = start + frame_len(body_len(record));
    out.resize(end - 4, 0);
    let body_crc = crc32c::crc32c_append(header_crc, &out[start + HEADER_LEN..]);
    out.extend_from_slice(&body_crc.to_le_bytes());
    whiten(base, out_offset + start as u64, &mut out[start..]);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u32).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// XORs the bytes at `offset` of segment `base`, a multiple of 8, with their key; twice is nothing.
pub fn whiten(base: u64, offset: u64, bytes: &mut [u8]) {
    debug_assert_eq!(offset % ALIGNMENT as u64, 0, "whitening starts at a word");
    let (words, rest) = bytes.as_chunks_mut::<ALIGNMENT>();
    let mut at = offset;
    for word in words {
        *word = (u64::from_le_bytes(*word) ^ key(base, at)).to_le_bytes();
        at += ALIGNMENT as u64;
    }
    for (byte, key) in rest.iter_mut().zip(key(base, at).to_le_bytes()) {
        *byte ^= key;
    }
}

/// The finaliser of SplitMix64 over segment and offset.
fn key(base: u64, offset: u64) -> u64 {
    let mut z = base.wrapping_mul(0xA24B_AED4_963E_E407) ^ offset.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The header at the start of `plain` (whitening removed); `None` when its checksum says no.
pub fn header(plain: &[u8; HEADER_LEN]) -> Option<Header> {
    let u32_at = |at: usize| u32::from_le_bytes([plain[at], plain[at + 1], plain[at + 2], plain[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let crc = u32_at(36);
    if crc32c::crc32c(&plain[..36]) != crc {
        return None;
    }
    Some(Header {
        body_len: u32_at(0),
        synced: u32_at(4),
        position: u64_at(8),
        epoch: u64_at(16),
        sequence: u64_at(24),
        crc,
    })
}

/// Whether the body's checksum holds. `plain` is the whole frame, whitening removed.
pub fn body_holds(header: &Header, plain: &[u8]) -> bool {
    let (body, crc) = plain[HEADER_LEN..].split_at(plain.len() - HEADER_LEN - 4);
    crc32c::crc32c_append(header.crc, body).to_le_bytes() == *crc
}

/// The record of a frame whose checksums hold; `None` when its parts do not fit together, which no writer of ours does.
pub fn decode(header: &Header, plain: &[u8]) -> Option<Stored> {
    let mut rest = plain.get(HEADER_LEN..HEADER_LEN + header.body_len as usize)?;
    let lane = take_text(&mut rest)?;
    let header_count = take_u32(&mut rest)?;
    let mut headers = Vec::new();
    for _ in 0..header_count {
        headers.push((take_text(&mut rest)?, take_text(&mut rest)?));
    }
    Some(Stored {
        position: Position(header.position),
        record: Record {
            lane,
            epoch: Epoch(header.epoch),
            sequence: header.sequence,
            headers,
            payload: Bytes::copy_from_slice(rest),
        },
    })
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*number))
}

fn take_text(rest: &mut &[u8]) -> Option<String> {
    let len = take_u32(rest)? as usize;
    let (text, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    String::from_utf8(text.to_vec()).ok()
}

/// Whether a sector's share of `raw`, which stands at `offset` of its file, was never written: it is all zeros.
/// The rule of etcd's write-ahead log, made exact by the whitening.
pub fn has_unwritten_sector(raw: &[u8], offset: u64) -> bool {
    let mut rest = raw;
    let mut at = offset;
    while !rest.is_empty() {
        let share = (SECTOR_LEN - at % SECTOR_LEN).min(rest.len() as u64);
        let (chunk, tail) = rest.split_at(share as usize);
        if chunk.iter().all(|byte| *byte == 0) {
            return true;
        }
        rest = tail;
        at += share;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload_len: usize) -> Record {
        Record {
            lane: "media/nod_a".to_owned(),
            epoch: Epoch(7),
            sequence: 3,
            headers: vec![("traceparent".to_owned(), "00-ab-cd-01".to_owned())],
            payload: vec![0; payload_len].into(),
        }
    }

    #[test]
    fn a_frame_reads_back_as_what_was_written_and_only_in_its_place() {
        for payload_len in [0, 1, 7, 8, 511, 4096] {
            let mut raw = Vec::new();
            encode(&mut raw, &record(payload_len), 41, 32, 9, 4096);
            assert_eq!(raw.len(), frame_len_of(&record(payload_len)));
            let mut plain = raw.clone();
            whiten(9, 4096, &mut plain);
            let header = header(plain.first_chunk().unwrap()).unwrap();
            assert!(body_holds(&header, &plain));
            let stored = decode(&header, &plain).unwrap();
            assert_eq!(stored, Stored { position: Position(41), record: record(payload_len) });

            for (base, offset) in [(9, 4104), (8, 4096)] {
                let mut moved = raw.clone();
                whiten(base, offset, &mut moved);
                assert_eq!(super::header(moved.first_chunk().unwrap()), None);
            }
        }
    }

    #[test]
    fn a_written_payload_of_zeros_never_looks_unwritten_wherever_the_sectors_fall() {
        for offset in (0..1024).step_by(8) {
            let mut raw = Vec::new();
            encode(&mut raw, &record(2000), 0, 0, 0, offset);
            assert!(!has_unwritten_sector(&raw, offset), "at {offset}");
            let from = (512 - offset as usize % 512) % 512;
            raw[from..from + 512].fill(0);
            assert!(has_unwritten_sector(&raw, offset), "at {offset}");
        }
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_seen() {
        let mut raw = Vec::new();
        encode(&mut raw, &record(100), 5, 32, 0, 32);
        for bit in 0..raw.len() * 8 {
            let mut plain = raw.clone();
            plain[bit / 8] ^= 1 << (bit % 8);
            whiten(0, 32, &mut plain);
            let intact =
                header(plain.first_chunk().unwrap()).is_some_and(|header| body_holds(&header, &plain));
            assert!(!intact, "bit {bit}");
        }
    }
}
