//! RTP packets (RFC 3550 §5.1): read with every length checked, written with a fixed header.

/// Octets of a header without contributing sources or extension.
pub const HEADER_LEN: usize = 12;
/// The longest datagram looked at; anything longer is cut by the socket and then fails its checks or is not audio.
pub const PACKET_LEN_MAX: usize = 1_500;

/// The fields of a header that a relay needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// First packet of a talk spurt (audio) or of an event (telephone-event).
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Rises by one a packet, wraps.
    pub sequence: u16,
    /// Sampling instant of the first octet, in clock units, wraps.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
}

/// A packet that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Its header's fields.
    pub header: Header,
    /// The payload without padding. Not empty.
    pub payload: &'a [u8],
    /// Where the payload begins in the datagram; at least [`HEADER_LEN`].
    pub payload_start: usize,
}

/// Why a datagram is not an RTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Shorter than its header says.
    #[error("too short")]
    Short,
    /// Not version 2.
    #[error("not version 2")]
    Version,
    /// The second octet is one of RTCP's packet types (RFC 5761 §4).
    #[error("RTCP on the RTP port")]
    Rtcp,
    /// The padding is longer than the packet, or zero.
    #[error("bad padding")]
    Padding,
    /// Nothing in it.
    #[error("no payload")]
    Empty,
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// When it is not a whole RTP packet of version 2 with a payload.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        let header: &[u8; HEADER_LEN] = datagram.first_chunk().ok_or(RtpError::Short)?;
        if header[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        if (192..=223).contains(&header[1]) {
            return Err(RtpError::Rtcp);
        }
        let mut start = HEADER_LEN + usize::from(header[0] & 0x0f) * 4;
        if header[0] & 0x10 != 0 {
            // RFC 3550 §5.3.1: 16 bits of profile, then the number of 32-bit words that follow.
            let length = datagram.get(start + 2..start + 4).ok_or(RtpError::Short)?;
            start += 4 + usize::from(u16::from_be_bytes([length[0], length[1]])) * 4;
        }
        let mut payload = datagram.get(start..).ok_or(RtpError::Short)?;
        if header[0] & 0x20 != 0 {
            let count = usize::from(*payload.last().ok_or(RtpError::Padding)?);
            if count == 0 || count > payload.len() {
                return Err(RtpError::Padding);
            }
            payload = &payload[..payload.len() - count];
        }
        if payload.is_empty() {
            return Err(RtpError::Empty);
        }
        let header = Header {
            marker: header[1] & 0x80 != 0,
            payload_type: header[1] & 0x7f,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        };
        Ok(Self { header, payload, payload_start: start })
    }
}

impl Header {
    /// The header as on the wire: version 2, without padding, sources or extension.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0] = 0x80;
        bytes[1] = self.payload_type & 0x7f | if self.marker { 0x80 } else { 0 };
        bytes[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(hex: &str) -> Result<(bool, u8, u16, usize), RtpError> {
        let bytes: Vec<u8> =
            hex.split_whitespace().map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
        Packet::parse(&bytes).map(|packet| {
            let Header { marker, payload_type, sequence, .. } = packet.header;
            (marker, payload_type, sequence, packet.payload.len())
        })
    }

    #[test]
    fn a_datagram_is_read_or_refused_for_a_named_reason() {
        let head = "00 07 00 00 00 a0 00 00 00 01";
        for (what, hex, expected) in [
            ("plain", format!("80 00 {head} ff ff"), Ok((false, 0, 7, 2))),
            ("marker", format!("80 88 {head} d5"), Ok((true, 8, 7, 1))),
            ("one source", format!("81 00 {head} 00 00 00 09 ff"), Ok((false, 0, 7, 1))),
            ("extension", format!("90 00 {head} be de 00 01 00 00 00 00 ff"), Ok((false, 0, 7, 1))),
            ("padding", format!("a0 00 {head} ff ff 00 02"), Ok((false, 0, 7, 2))),
            ("empty datagram", String::new(), Err(RtpError::Short)),
            ("cut header", "80 00 00 07".to_owned(), Err(RtpError::Short)),
            ("cut sources", format!("8f 00 {head} ff"), Err(RtpError::Short)),
            ("cut extension", format!("90 00 {head} be de 00 05 ff"), Err(RtpError::Short)),
            ("version 1", format!("40 00 {head} ff"), Err(RtpError::Version)),
            ("STUN", format!("00 01 {head} ff"), Err(RtpError::Version)),
            ("RTCP SR", format!("80 c8 {head} ff"), Err(RtpError::Rtcp)),
            ("padding zero", format!("a0 00 {head} ff 00"), Err(RtpError::Padding)),
            ("padding too long", format!("a0 00 {head} ff 09"), Err(RtpError::Padding)),
            ("only padding", format!("a0 00 {head} 00 02"), Err(RtpError::Empty)),
            ("no payload", format!("80 00 {head}"), Err(RtpError::Empty)),
        ] {
            assert_eq!(parsed(&hex), expected, "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_datagram_makes_the_reader_panic(datagram in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Packet::parse(&datagram);
        }

        #[test]
        fn what_is_written_is_read_back(
            marker: bool, payload_type in 0_u8..64, sequence: u16, timestamp: u32, ssrc: u32,
            payload in proptest::collection::vec(any::<u8>(), 1..400),
        ) {
            let header = Header { marker, payload_type, sequence, timestamp, ssrc };
            let datagram = [&header.to_bytes()[..], &payload].concat();
            let expected = Packet { header, payload: &payload, payload_start: HEADER_LEN };
            prop_assert_eq!(Packet::parse(&datagram).unwrap(), expected);
        }
    }
}
