//! What is played to a leg: one prompt once, or music round and round, one packet each 20 ms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::library::Clip;
use super::{LegHandle, PlaneEvent, PlayEnd};
use crate::wire::Codec;

/// Time of one packet.
pub(super) const FRAME: Duration = Duration::from_millis(20);
/// A player that is later than this goes on from now instead of sending what it missed at once.
const CATCH_UP_MAX: Duration = Duration::from_millis(200);

pub(super) struct Player {
    source: Source,
    /// The deadline of the next packet: always the first one's plus whole packets, so that lateness does not add up.
    pub(super) next_at: Instant,
    pub(super) sent_count: u64,
    /// Tells this play from earlier ones on the same leg.
    pub(super) serial: u64,
}

enum Source {
    Prompt { name: String, clip: Arc<Clip>, next: usize },
    Music { clips: Arc<[Arc<Clip>]>, clip: usize, next: usize },
}

impl Player {
    pub(super) fn prompt(now: Instant, serial: u64, name: String, clip: Arc<Clip>) -> Self {
        Self { source: Source::Prompt { name, clip, next: 0 }, next_at: now, sent_count: 0, serial }
    }

    pub(super) fn music(now: Instant, serial: u64, clips: Arc<[Arc<Clip>]>) -> Self {
        Self { source: Source::Music { clips, clip: 0, next: 0 }, next_at: now, sent_count: 0, serial }
    }

    /// The payload of the packet that is due, and moves on; `None` when the prompt is over. Call when `next_at` has come.
    pub(super) fn next_frame(&mut self, now: Instant, codec: Codec) -> Option<&[u8]> {
        if now.saturating_duration_since(self.next_at) > CATCH_UP_MAX {
            self.next_at = now;
        }
        let frame = match &mut self.source {
            Source::Prompt { clip, next, .. } => {
                let frame = clip.frame(codec, *next)?;
                *next += 1;
                frame
            }
            Source::Music { clips, clip, next } => {
                if *next >= clips.get(*clip)?.frame_count() {
                    (*clip, *next) = ((*clip + 1) % clips.len(), 0);
                }
                let frame = clips.get(*clip)?.frame(codec, *next)?;
                *next += 1;
                frame
            }
        };
        self.next_at += FRAME;
        self.sent_count += 1;
        Some(frame)
    }

    /// What to report when it is over; music reports nothing.
    pub(super) fn ended(self, leg: LegHandle, end: PlayEnd) -> Option<PlaneEvent> {
        match self.source {
            Source::Prompt { name, clip, .. } => Some(PlaneEvent::PlayEnded {
                leg,
                prompt: name,
                played_ms: (self.sent_count * FRAME.as_millis() as u64).min(clip.length_ms()),
                end,
            }),
            Source::Music { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(value: i16, frame_count: usize) -> Arc<Clip> {
        Arc::new(Clip::new(&vec![value; frame_count * 160]))
    }

    #[test]
    fn deadlines_do_not_drift_when_packets_are_late() {
        let start = Instant::now();
        let mut player = Player::prompt(start, 1, "p".to_owned(), clip(1, 100));
        for late_ms in [0, 7, 19, 150, 3] {
            let now = player.next_at + Duration::from_millis(late_ms);
            assert!(player.next_frame(now, Codec::Pcmu).is_some());
        }
        assert_eq!(player.next_at, start + FRAME * 5);
    }

    #[test]
    fn after_a_long_stall_the_rest_is_played_from_now() {
        let start = Instant::now();
        let mut player = Player::prompt(start, 1, "p".to_owned(), clip(1, 100));
        let now = start + Duration::from_secs(5);
        assert!(player.next_frame(now, Codec::Pcmu).is_some());
        assert_eq!(player.next_at, now + FRAME);
    }

    #[test]
    fn music_goes_round_over_all_its_clips() {
        let now = Instant::now();
        let mut player = Player::music(now, 1, vec![clip(1_000, 2), clip(-1_000, 1)].into());
        let heard: String = (0..7)
            .map(|_| if player.next_frame(now, Codec::Pcma).unwrap()[0] & 0x80 != 0 { '+' } else { '-' })
            .collect();
        assert_eq!(heard, "++-++-+");
    }
}
