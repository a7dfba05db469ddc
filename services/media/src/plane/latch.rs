//! From where a leg's audio is taken, and to where it is sent: symmetric RTP (RFC 4961) without RTP bleed (RFC 7362 §5).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// So many valid packets in a row from one unsignalled source latch to it.
pub const STRANGER_COUNT: u32 = 3;

/// The rule, per leg:
///
/// 1. Signalling names an address. Until a latch, audio is sent there.
/// 2. The first valid packet from exactly that address latches and locks: whatever else sends to the port is dropped.
/// 3. While nothing is latched and the window since signalling is open, another source latches and locks once it has sent
///    [`STRANGER_COUNT`] valid packets in a row (one SSRC, sequence rising by one to three), as a peer behind a NAT does.
///    The packets before are dropped.
/// 4. Once the window is closed, only the signalled address can latch.
/// 5. Only signalling unlocks: another address than the one before starts again at 1. The same address changes nothing.
///
/// A valid packet is RTP with a negotiated payload type; the caller checks that first.
#[derive(Debug, Clone)]
pub struct Latch {
    signalled: Option<SocketAddr>,
    latched: Option<SocketAddr>,
    window: Duration,
    window_ends: Option<Instant>,
    stranger: Option<Stranger>,
}

#[derive(Debug, Clone, Copy)]
struct Stranger {
    source: SocketAddr,
    ssrc: u32,
    sequence: u16,
    count: u32,
}

/// What to do with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the peer's; the source was known.
    Accept,
    /// It is the peer's; the source was settled by this packet.
    Latched,
    /// It is not the peer's, or not yet known to be.
    Drop,
}

impl Latch {
    /// Nothing signalled: everything is dropped.
    pub fn new(window: Duration) -> Self {
        Self { signalled: None, latched: None, window, window_ends: None, stranger: None }
    }

    /// Signalling named the peer's address; unspecified or port 0 means it has none for now.
    pub fn signal(&mut self, now: Instant, address: SocketAddr) {
        let address = Some(address).filter(|a| !a.ip().is_unspecified() && a.port() != 0);
        if address != self.signalled {
            let window_ends = address.and_then(|_| now.checked_add(self.window));
            *self = Self { signalled: address, window_ends, ..Self::new(self.window) };
        }
    }

    /// Judges one valid packet.
    pub fn judge(&mut self, now: Instant, source: SocketAddr, ssrc: u32, sequence: u16) -> Verdict {
        let Some(signalled) = self.signalled else { return Verdict::Drop };
        if let Some(latched) = self.latched {
            return if source == latched { Verdict::Accept } else { Verdict::Drop };
        }
        if source == signalled {
            return self.lock(source);
        }
        if self.window_ends.is_none_or(|end| now >= end) {
            return Verdict::Drop;
        }
        let count = match self.stranger {
            Some(known)
                if known.source == source
                    && known.ssrc == ssrc
                    && (1..=3).contains(&sequence.wrapping_sub(known.sequence)) =>
            {
                known.count + 1
            }
            _ => 1,
        };
        if count >= STRANGER_COUNT {
            return self.lock(source);
        }
        self.stranger = Some(Stranger { source, ssrc, sequence, count });
        Verdict::Drop
    }

    fn lock(&mut self, source: SocketAddr) -> Verdict {
        self.latched = Some(source);
        self.stranger = None;
        Verdict::Latched
    }

    /// Where to send now; `None` before signalling.
    pub fn target(&self) -> Option<SocketAddr> {
        self.latched.or(self.signalled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps: `S1 0` packet from the signalled address with sequence 1 at 0 s, `X…`/`Y…` from others; `signal A|B|-`.
    #[track_caller]
    fn check(steps: &str, expected: &str) {
        let start = Instant::now();
        let address = |name: char| -> SocketAddr {
            let port = match name {
                'S' | 'A' => 4_000,
                'B' => 4_002,
                'X' => 5_000,
                'Y' => 6_000,
                _ => return "0.0.0.0:9".parse().unwrap(),
            };
            SocketAddr::from(([192, 0, 2, 1], port))
        };
        let mut latch = Latch::new(Duration::from_secs(10));
        let mut got = Vec::new();
        for step in steps.split(',').map(str::trim) {
            if let Some(name) = step.strip_prefix("signal ") {
                latch.signal(start, address(name.chars().next().unwrap()));
                continue;
            }
            let (packet, second) = step.split_once('@').unwrap();
            let now = start + Duration::from_secs(second.parse().unwrap());
            let source = address(packet.chars().next().unwrap());
            got.push(match latch.judge(now, source, 1, packet[1..].parse().unwrap()) {
                Verdict::Accept => 'a',
                Verdict::Latched => 'L',
                Verdict::Drop => '.',
            });
        }
        assert_eq!(got.into_iter().collect::<String>(), expected, "{steps}");
    }

    #[test]
    fn nothing_is_heard_before_signalling() {
        check("S1@0, S2@0, X1@0, X2@0, X3@0", ".....");
    }

    #[test]
    fn the_signalled_address_latches_with_its_first_packet_and_locks_others_out() {
        check("signal A, S1@0, S2@0, X3@0, X4@0, X5@0, X6@0, S3@0", "La....a");
    }

    #[test]
    fn a_stranger_latches_with_the_third_packet_in_a_row_while_the_window_is_open() {
        check("signal A, X1@0, X2@0, X3@0, X4@0, S1@0", "..La.");
        check("signal A, X65534@0, X65535@0, X0@0", "..L");
        check("signal A, X1@0, Y1@0, X2@0, Y2@0, X3@0, Y3@0", "......");
        check("signal A, X1@0, X1@0, X1@0, X9@0, X10@0, X11@0", ".....L");
    }

    #[test]
    fn the_signalled_address_wins_over_a_stranger_who_is_being_counted() {
        check("signal A, X1@0, X2@0, S1@0, X3@0, S2@0", "..L.a");
    }

    #[test]
    fn after_the_window_only_the_signalled_address_latches() {
        check("signal A, X1@9, X2@9, X3@10, X4@10, S1@99, S2@99", "....La");
    }

    #[test]
    fn only_another_signalled_address_unlocks() {
        check("signal A, S1@0, signal A, X1@0, X2@0, X3@0, S2@0", "L...a");
        check("signal A, S1@0, signal B, S2@0, B1@0, S3@0", "L.L.");
        check("signal A, S1@0, signal -, S2@0, X1@0, X2@0, X3@0", "L....");
    }
}
