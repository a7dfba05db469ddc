//! The sending side of a leg: one unbroken RTP stream of its own, whatever feeds it.

use std::time::Instant;

use crate::wire::g711::{CLOCK_HZ, FRAME_LEN};
use crate::wire::rtp::Header;

/// RFC 3550 A.1: a larger step forward is a restarted source.
const MAX_DROPOUT: i32 = 3_000;
/// RFC 3550 A.1: a larger step back is a restarted source.
const MAX_MISORDER: i32 = 100;

/// Sequence, timestamp and SSRC of what a leg sends.
///
/// Played packets count on by one and 20 ms. Relayed packets keep their distances (so loss and reordering stay visible to
/// the receiver), shifted so that the first one follows what was sent before: one more in sequence, as much later in
/// timestamp as time has passed.
pub(super) struct Outlet {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    sent_at: Option<Instant>,
    feed: Feed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    None,
    Player(u64),
    Source { ssrc: u32, sequence_shift: u16, timestamp_shift: u32, last_sequence: u16 },
}

/// The header fields of a packet to send.
pub(super) struct Stamp {
    pub(super) ssrc: u32,
    pub(super) sequence: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
}

impl Outlet {
    /// The three must be random (RFC 3550 §5.1).
    pub(super) fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self { ssrc, sequence, timestamp, sent_at: None, feed: Feed::None }
    }

    /// Stamps the next packet of the play with this serial.
    pub(super) fn played(&mut self, now: Instant, serial: u64) -> Stamp {
        let first = self.feed != Feed::Player(serial);
        self.timestamp =
            if first { self.next_timestamp(now) } else { self.timestamp.wrapping_add(FRAME_LEN as u32) };
        self.sequence = self.sequence.wrapping_add(1);
        self.feed = Feed::Player(serial);
        self.sent_at = Some(now);
        self.stamp(self.sequence, self.timestamp, first)
    }

    /// Stamps a packet of the other leg.
    pub(super) fn relayed(&mut self, now: Instant, header: &Header) -> Stamp {
        if let Feed::Source { ssrc, sequence_shift, timestamp_shift, last_sequence } = &mut self.feed
            && *ssrc == header.ssrc
        {
            let step = i32::from(header.sequence.wrapping_sub(*last_sequence) as i16);
            if (-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
                let sequence = header.sequence.wrapping_add(*sequence_shift);
                let timestamp = header.timestamp.wrapping_add(*timestamp_shift);
                if step > 0 {
                    *last_sequence = header.sequence;
                    (self.sequence, self.timestamp, self.sent_at) = (sequence, timestamp, Some(now));
                }
                return self.stamp(sequence, timestamp, header.marker);
            }
        }
        self.timestamp = self.next_timestamp(now);
        self.sequence = self.sequence.wrapping_add(1);
        self.sent_at = Some(now);
        self.feed = Feed::Source {
            ssrc: header.ssrc,
            sequence_shift: self.sequence.wrapping_sub(header.sequence),
            timestamp_shift: self.timestamp.wrapping_sub(header.timestamp),
            last_sequence: header.sequence,
        };
        self.stamp(self.sequence, self.timestamp, true)
    }

    /// The timestamp of a new feed's first packet: later than the last by the time passed, at least one header.
    fn next_timestamp(&self, now: Instant) -> u32 {
        let passed = self.sent_at.map_or(0, |at| now.saturating_duration_since(at).as_millis());
        let samples = (passed * u128::from(CLOCK_HZ / 1_000)) as u32; // wraps like a timestamp does
        self.timestamp.wrapping_add(samples.max(FRAME_LEN as u32))
    }

    fn stamp(&self, sequence: u16, timestamp: u32, marker: bool) -> Stamp {
        Stamp { ssrc: self.ssrc, sequence, timestamp, marker }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn packet(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
        Header { marker: false, payload_type: 0, sequence, timestamp, ssrc }
    }

    fn fields(stamp: &Stamp) -> (u32, u16, u32, bool) {
        (stamp.ssrc, stamp.sequence, stamp.timestamp, stamp.marker)
    }

    #[test]
    fn one_stream_goes_on_through_prompts_and_sources() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut outlet = Outlet::new(9, u16::MAX - 1, 1_000);
        let got = [
            outlet.played(at(0), 1), // a prompt
            outlet.played(at(20), 1),
            outlet.played(at(100), 2),                        // music, 80 ms later
            outlet.relayed(at(120), &packet(77, 500, 9_000)), // a source
            outlet.relayed(at(140), &packet(77, 501, 9_160)),
            outlet.relayed(at(180), &packet(77, 503, 9_480)), // 502 comes late
            outlet.relayed(at(181), &packet(77, 502, 9_320)),
            outlet.relayed(at(200), &packet(78, 7, 5)), // another source
            outlet.relayed(at(220), &packet(78, 30_000, 5)), // which starts again
        ];
        let expected = [
            (9, u16::MAX, 1_160, true),
            (9, 0, 1_320, false),
            (9, 1, 1_960, true),
            (9, 2, 2_120, true),
            (9, 3, 2_280, false),
            (9, 5, 2_600, false),
            (9, 4, 2_440, false),
            (9, 6, 2_760, true),
            (9, 7, 2_920, true),
        ];
        assert_eq!(got.iter().map(fields).collect::<Vec<_>>(), expected);
    }
}
