//! Session descriptions (RFC 8866) and the offer/answer model (RFC 3264), for one stream of G.711 with telephone-event.
//!
//! What is not needed is read over and never sent on: an answer or offer of ours is made from nothing but our own values
//! and the media lines that must be mirrored (RFC 3264 §6), so no attribute of one leg reaches another.

mod model;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

pub use model::{Direction, Host, Media, SdpError, Session, parse};

use super::Codec;

/// The payload type telephone-event (RFC 4733) has in our offers.
pub const TELEPHONE_EVENT: u8 = 101;

/// What we put into a description of ours.
#[derive(Debug, Clone, Copy)]
pub struct Local<'a> {
    /// Where we receive.
    pub address: SocketAddr,
    /// The session's number in `o=`; the same for all descriptions of one dialog.
    pub session_id: u64,
    /// The description's number in `o=`; one more each time a description of the dialog differs from the one before.
    pub version: u64,
    /// What we want of the stream.
    pub direction: Direction,
    /// What we speak, best first. Not empty.
    pub codecs: &'a [Codec],
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Where the peer receives; unspecified (`0.0.0.0`) when it is on hold the old way (RFC 3264 §8.4).
    pub remote: SocketAddr,
    /// The codec, both ways.
    pub codec: Codec,
    /// Its payload type towards the peer.
    pub payload_type: u8,
    /// Telephone-event's payload type towards the peer, when it has it.
    pub telephone_event: Option<u8>,
    /// What we may do: send, receive.
    pub direction: Direction,
}

impl Agreed {
    /// Whether the peer has put us on hold: it does not want our audio.
    pub fn held(&self) -> bool {
        !self.direction.sends() || self.remote.ip().is_unspecified()
    }
}

/// The audio stream of a peer's description, as far as we can serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audio {
    /// Which media line it is, from 0.
    pub index: usize,
    /// Where the peer receives.
    pub address: SocketAddr,
    /// The codecs we know, with the peer's payload types, in the peer's order. Not empty.
    pub codecs: Vec<(Codec, u8)>,
    /// Telephone-event's payload type.
    pub telephone_event: Option<u8>,
    /// As the peer means it.
    pub direction: Direction,
}

impl Audio {
    /// The first audio stream over RTP/AVP with a codec of ours, an address and a port.
    ///
    /// # Errors
    /// When there is none; the reason is about the last stream that was looked at.
    pub fn of(session: &Session) -> Result<Self, SdpError> {
        let mut refused = SdpError::new(0, "no audio stream is offered");
        for (index, media) in session.media.iter().enumerate() {
            if media.kind == "audio" && media.port != 0 {
                match Self::of_media(session, index, media) {
                    Ok(audio) => return Ok(audio),
                    Err(error) => refused = error,
                }
            }
        }
        Err(refused)
    }

    fn of_media(session: &Session, index: usize, media: &Media) -> Result<Self, SdpError> {
        let refuse = |reason: String| Err(SdpError { line: media.line, reason });
        if media.protocol != "RTP/AVP" {
            return refuse(format!("audio over `{}` is not supported, only RTP/AVP", media.protocol));
        }
        let ip = match media.connection.as_ref().or(session.connection.as_ref()) {
            Some(Host::Ip(ip)) if !ip.is_multicast() => *ip,
            Some(Host::Ip(ip)) => return refuse(format!("the audio's address {ip} is a group's")),
            Some(Host::Name(name)) => return refuse(format!("the audio's address `{name}` is a name")),
            None => return refuse("the audio has no c= line".to_owned()),
        };
        let codecs: Vec<(Codec, u8)> =
            media.formats.iter().filter_map(|format| codec_of(media, format)).collect();
        if codecs.is_empty() {
            return refuse("none of its codecs is PCMU or PCMA".to_owned());
        }
        let telephone_event = media.formats.iter().find_map(|format| {
            let payload_type = payload_type(format)?;
            let (name, clock) = media.encodings.get(&payload_type)?;
            (name.eq_ignore_ascii_case("telephone-event") && *clock == 8_000).then_some(payload_type)
        });
        Ok(Self {
            index,
            address: SocketAddr::new(ip, media.port),
            codecs,
            telephone_event,
            direction: media.direction.unwrap_or(session.direction),
        })
    }
}

fn payload_type(format: &str) -> Option<u8> {
    format.parse().ok().filter(|payload_type| *payload_type < 128)
}

fn codec_of(media: &Media, format: &str) -> Option<(Codec, u8)> {
    let payload_type = payload_type(format)?;
    let codec = match media.encodings.get(&payload_type) {
        Some((name, 8_000)) => {
            [Codec::Pcmu, Codec::Pcma].into_iter().find(|codec| name.eq_ignore_ascii_case(codec.name()))?
        }
        Some(_) => return None,
        None => Codec::of_payload_type(payload_type)?,
    };
    Some((codec, payload_type))
}

/// An offer of ours.
pub fn offer(local: &Local<'_>) -> String {
    let mut text = head(local);
    let codecs: Vec<(Codec, u8)> = local.codecs.iter().map(|codec| (*codec, codec.payload_type())).collect();
    write_audio(&mut text, local.address.port(), &codecs, Some(TELEPHONE_EVENT), local.direction);
    text
}

/// Our answer to a peer's offer: one codec, the first of the peer's that we speak; every other stream refused.
///
/// # Errors
/// When no stream of the offer can be served (the SIP answer is 488).
pub fn answer(offer: &Session, local: &Local<'_>) -> Result<(String, Agreed), SdpError> {
    let audio = Audio::of(offer)?;
    let chosen = audio.codecs.iter().find(|(codec, _)| local.codecs.contains(codec));
    let Some((codec, payload_type)) = chosen.copied() else {
        let line = offer.media.get(audio.index).map_or(0, |media| media.line);
        return Err(SdpError::new(line, "none of its codecs is one of ours"));
    };
    let direction = local.direction.and(audio.direction.reversed());
    let mut text = head(local);
    for (index, media) in offer.media.iter().enumerate() {
        if index == audio.index {
            write_audio(
                &mut text,
                local.address.port(),
                &[(codec, payload_type)],
                audio.telephone_event,
                direction,
            );
        } else {
            let _ = write!(text, "m={} 0 {} {}\r\n", media.kind, media.protocol, media.formats.join(" "));
        }
    }
    let telephone_event = audio.telephone_event;
    Ok((text, Agreed { remote: audio.address, codec, payload_type, telephone_event, direction }))
}

/// What a peer's answer to an offer of ours agreed to.
///
/// # Errors
/// When the peer refused the stream or answered with a codec that was not offered.
pub fn accept(answer: &Session, local: &Local<'_>) -> Result<Agreed, SdpError> {
    let audio = Audio::of(answer)?;
    let chosen = audio.codecs.iter().find(|(codec, _)| local.codecs.contains(codec));
    let Some((codec, payload_type)) = chosen.copied() else {
        let line = answer.media.get(audio.index).map_or(0, |media| media.line);
        return Err(SdpError::new(line, "the answer has no codec of the offer"));
    };
    Ok(Agreed {
        remote: audio.address,
        codec,
        payload_type,
        telephone_event: audio.telephone_event,
        direction: local.direction.and(audio.direction.reversed()),
    })
}

fn head(local: &Local<'_>) -> String {
    let (family, ip) = match local.address.ip() {
        IpAddr::V4(ip) => ("IP4", ip.to_string()),
        IpAddr::V6(ip) => ("IP6", ip.to_string()),
    };
    let Local { session_id, version, .. } = local;
    format!("v=0\r\no=- {session_id} {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n")
}

fn write_audio(
    text: &mut String,
    port: u16,
    codecs: &[(Codec, u8)],
    telephone_event: Option<u8>,
    direction: Direction,
) {
    // Writing into a String cannot fail.
    let _ = write!(text, "m=audio {port} RTP/AVP");
    for payload_type in codecs.iter().map(|(_, payload_type)| *payload_type).chain(telephone_event) {
        let _ = write!(text, " {payload_type}");
    }
    text.push_str("\r\n");
    for (codec, payload_type) in codecs {
        let _ = write!(text, "a=rtpmap:{payload_type} {codec}/8000\r\n");
    }
    if let Some(payload_type) = telephone_event {
        let _ = write!(text, "a=rtpmap:{payload_type} telephone-event/8000\r\n");
        let _ = write!(text, "a=fmtp:{payload_type} 0-15\r\n");
    }
    let _ = write!(text, "a=ptime:20\r\na={}\r\n", direction.as_str());
}
