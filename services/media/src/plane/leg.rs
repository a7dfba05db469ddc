//! One leg: its two sockets, its peer, what it hears and what it counts.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;

use super::latch::{Latch, Verdict};
use super::player::Player;
use super::relay::{Outlet, Stamp};
use super::{LegHandle, PlaneEvent, PlayEnd, RemoteMedia};
use crate::wire::Codec;
use crate::wire::rtp::{HEADER_LEN, Header, PACKET_LEN_MAX, Packet};
use crate::wire::sdp::TELEPHONE_EVENT;

/// A leg's counts. Bytes are of payloads, without headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LegStats {
    /// Packets of the peer that were taken in.
    pub rtp_received_count: u64,
    /// Packets sent to the peer.
    pub rtp_sent_count: u64,
    /// Payload bytes taken in.
    pub received_bytes: u64,
    /// Payload bytes sent.
    pub sent_bytes: u64,
    /// Packets of the peer that never came: expected less received (RFC 3550 A.3), never below 0 here.
    pub lost_count: u64,
    /// Datagrams on the RTP port that are no RTP.
    pub invalid_count: u64,
    /// Packets with a payload type that was not agreed.
    pub other_payload_count: u64,
    /// Packets from a source that is not the peer, or not yet known to be.
    pub other_source_count: u64,
    /// Packets of the peer that could not be sent on: telephone-event to a leg without it.
    pub unmapped_count: u64,
    /// Packets the system would not send.
    pub send_failed_count: u64,
    /// Datagrams on the RTCP port.
    pub rtcp_received_count: u64,
}

/// Expected against received, over the sources a peer had (RFC 3550 A.1, A.3).
#[derive(Default)]
struct Tally {
    source: Option<Run>,
    lost_before: u64,
}

struct Run {
    ssrc: u32,
    first: u16,
    /// How far the highest sequence is above the first.
    span: u64,
    received: u64,
}

impl Tally {
    fn count(&mut self, ssrc: u32, sequence: u16) {
        if let Some(run) = &mut self.source
            && run.ssrc == ssrc
        {
            let highest = run.first.wrapping_add(run.span as u16);
            let step = sequence.wrapping_sub(highest);
            if step <= 3_000 {
                run.span += u64::from(step);
                run.received += 1;
                return;
            }
            if step >= u16::MAX - 100 {
                run.received += 1;
                return;
            }
        }
        self.lost_before = self.lost();
        self.source = Some(Run { ssrc, first: sequence, span: 0, received: 1 });
    }

    fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, |run| (run.span + 1).saturating_sub(run.received))
    }
}

/// What a received packet carries.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Audio(Codec),
    Event,
}

/// A packet that lies in a buffer: what it is, and where its payload is.
#[derive(Clone, Copy)]
pub(super) struct Inbound {
    header: Header,
    content: Content,
    payload_start: usize,
    payload_end: usize,
}

/// What came of one read.
pub(super) enum Received {
    /// A packet of the peer; the source's address when this packet settled it.
    Packet(Inbound, Option<SocketAddr>),
    /// Something that was dropped and counted.
    Dropped,
    /// Nothing more to read now.
    Nothing,
}

pub(super) struct Leg {
    pub(super) handle: LegHandle,
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    pub(super) bridged: Option<LegHandle>,
    player: Option<Player>,
    remote: Option<RemoteMedia>,
    latch: Latch,
    outlet: Outlet,
    tally: Tally,
    stats: LegStats,
}

impl Leg {
    pub(super) fn new(
        handle: LegHandle,
        rtp: UdpSocket,
        rtcp: UdpSocket,
        window: Duration,
        random: [u8; 10],
    ) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = random;
        Self {
            handle,
            rtp,
            rtcp,
            bridged: None,
            player: None,
            remote: None,
            latch: Latch::new(window),
            outlet: Outlet::new(
                u32::from_be_bytes([a, b, c, d]),
                u16::from_be_bytes([e, f]),
                u32::from_be_bytes([g, h, i, j]),
            ),
            tally: Tally::default(),
            stats: LegStats::default(),
        }
    }

    pub(super) fn set_remote(&mut self, now: Instant, remote: RemoteMedia) {
        self.latch.signal(now, remote.address);
        self.remote = Some(remote);
    }

    pub(super) fn stats(&self) -> LegStats {
        LegStats { lost_count: self.tally.lost(), ..self.stats }
    }

    /// Puts a player in place of the one before, whose end is reported as cut.
    pub(super) fn set_player(&mut self, player: Option<Player>, events: &mut VecDeque<PlaneEvent>) {
        let before = std::mem::replace(&mut self.player, player);
        events.extend(before.and_then(|player| player.ended(self.handle, PlayEnd::Cut)));
    }

    /// Sends the player's packets that are due. Gives when to come again.
    pub(super) fn play(
        &mut self,
        now: Instant,
        serial: u64,
        buffer: &mut [u8; PACKET_LEN_MAX],
        events: &mut VecDeque<PlaneEvent>,
    ) -> Option<Instant> {
        let codec = self.remote.map_or(Codec::Pcmu, |remote| remote.codec);
        loop {
            let player = self.player.as_mut().filter(|player| player.serial == serial)?;
            if player.next_at > now {
                return Some(player.next_at);
            }
            let Some(frame) = player.next_frame(now, codec) else {
                let player = self.player.take()?;
                events.extend(player.ended(self.handle, PlayEnd::Finished));
                return None;
            };
            let end = HEADER_LEN + frame.len();
            buffer[HEADER_LEN..end].copy_from_slice(frame);
            let stamp = self.outlet.played(now, serial);
            self.send(stamp, Content::Audio(codec), buffer, HEADER_LEN..end);
        }
    }

    /// Reads and judges one datagram from the RTP port.
    pub(super) fn receive(&mut self, now: Instant, buffer: &mut [u8; PACKET_LEN_MAX]) -> Received {
        let (length, source) = loop {
            match self.rtp.recv_from(buffer) {
                Ok(datagram) => break datagram,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Received::Nothing,
            }
        };
        let Ok(Packet { header, payload, payload_start }) = Packet::parse(&buffer[..length]) else {
            self.stats.invalid_count += 1;
            return Received::Dropped;
        };
        let Some(content) = self.content_of(header.payload_type) else {
            self.stats.other_payload_count += 1;
            return Received::Dropped;
        };
        let settled = match self.latch.judge(now, source, header.ssrc, header.sequence) {
            Verdict::Accept => None,
            Verdict::Latched => Some(source),
            Verdict::Drop => {
                self.stats.other_source_count += 1;
                return Received::Dropped;
            }
        };
        self.tally.count(header.ssrc, header.sequence);
        self.stats.rtp_received_count += 1;
        self.stats.received_bytes += payload.len() as u64;
        let payload_end = payload_start + payload.len();
        Received::Packet(Inbound { header, content, payload_start, payload_end }, settled)
    }

    /// The agreed payload type, either static one of G.711 (both may follow one answer), or telephone-event as the peer
    /// numbers it or as we do.
    fn content_of(&self, payload_type: u8) -> Option<Content> {
        let remote = self.remote?;
        if payload_type == remote.payload_type {
            return Some(Content::Audio(remote.codec));
        }
        if remote
            .telephone_event
            .is_some_and(|event| payload_type == event || payload_type == TELEPHONE_EVENT)
        {
            return Some(Content::Event);
        }
        Codec::of_payload_type(payload_type).map(Content::Audio)
    }

    pub(super) fn drain_rtcp(&mut self, buffer: &mut [u8; PACKET_LEN_MAX]) {
        loop {
            match self.rtcp.recv_from(buffer) {
                Ok(_) => self.stats.rtcp_received_count += 1,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// Sends on what the other leg's peer said: the packet that lies in `buffer`, which is overwritten.
    pub(super) fn relay(&mut self, now: Instant, packet: Inbound, buffer: &mut [u8; PACKET_LEN_MAX]) {
        let Some(remote) = self.remote.filter(|_| self.player.is_none()) else { return };
        if matches!(packet.content, Content::Event) && remote.telephone_event.is_none() {
            self.stats.unmapped_count += 1;
            return;
        }
        let payload = packet.payload_start..packet.payload_end;
        if let Content::Audio(from) = packet.content
            && from != remote.codec
        {
            let table = from.table_to(remote.codec);
            for code in &mut buffer[payload.clone()] {
                *code = table[usize::from(*code)];
            }
        }
        let stamp = self.outlet.relayed(now, &packet.header);
        self.send(stamp, packet.content, buffer, payload);
    }

    /// Writes the header right before the payload and sends both.
    fn send(
        &mut self,
        stamp: Stamp,
        content: Content,
        buffer: &mut [u8; PACKET_LEN_MAX],
        payload: Range<usize>,
    ) {
        let (Some(remote), Some(target)) = (self.remote, self.latch.target()) else { return };
        let payload_type = match content {
            Content::Audio(_) => remote.payload_type,
            Content::Event => remote.telephone_event.unwrap_or(TELEPHONE_EVENT),
        };
        let Stamp { ssrc, sequence, timestamp, marker } = stamp;
        let header = Header { marker, payload_type, sequence, timestamp, ssrc };
        let start = payload.start - HEADER_LEN;
        buffer[start..payload.start].copy_from_slice(&header.to_bytes());
        match self.rtp.send_to(&buffer[start..payload.end], target) {
            Ok(_) => {
                self.stats.rtp_sent_count += 1;
                self.stats.sent_bytes += payload.len() as u64;
            }
            Err(_) => self.stats.send_failed_count += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn lost_is_expected_less_received() {
        for (what, packets, lost) in [
            ("nothing", vec![], 0),
            ("whole", vec![(1, 65_534), (1, 65_535), (1, 0), (1, 1)], 0),
            ("a hole", vec![(1, 10), (1, 13)], 2),
            ("a hole filled late", vec![(1, 10), (1, 13), (1, 11)], 1),
            ("doubled", vec![(1, 10), (1, 10), (1, 11)], 0),
            ("a new source", vec![(1, 10), (1, 12), (2, 500), (2, 502)], 2),
            ("a restarted source", vec![(1, 10), (1, 12), (1, 30_000), (1, 30_002)], 2),
        ] {
            let mut tally = Tally::default();
            for (ssrc, sequence) in packets {
                tally.count(ssrc, sequence);
            }
            assert_eq!(tally.lost(), lost, "{what}");
        }
    }
}
