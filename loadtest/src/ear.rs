//! A caller's mouth and ear: one socket that speaks a tone of its own and keeps what it hears.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Samples of a packet: 20 ms at 8 kHz.
const FRAME_LEN: usize = 160;
const HEADER_LEN: usize = 12;

/// What was heard.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Packets, with the Unix time of their arrival in ms and their payload type and payload.
    pub packets: Vec<(i64, u8, Vec<u8>)>,
    /// Packets said.
    pub said_count: u64,
}

/// A caller's audio; speaks from the first packet heard on, to where that came from.
pub struct Ear {
    /// Where it listens.
    pub port: u16,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Ear {
    /// Opens a socket and begins to listen.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn open(tone_hz: u32) -> std::io::Result<Self> {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
        let port = socket.local_addr()?.port();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = tokio::spawn(converse(socket, tone_hz, heard.clone()));
        Ok(Self { port, heard, task })
    }

    /// How many packets were heard so far.
    pub fn heard_count(&self) -> usize {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).packets.len()
    }

    /// Ends it and gives what was heard.
    pub fn close(self) -> Heard {
        self.task.abort();
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn converse(socket: UdpSocket, tone_hz: u32, heard: Arc<Mutex<Heard>>) {
    let mut buffer = [0; 2_048];
    let mut peer: Option<SocketAddr> = None;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut count = 0_u32;
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                let Ok((length, source)) = received else { continue };
                let Some(packet) = buffer.get(..length).filter(|it| it.len() > HEADER_LEN && it[0] >> 6 == 2) else {
                    continue;
                };
                if peer.is_none() {
                    peer = Some(source);
                    ticks.reset();
                }
                let entry = (unix_ms(), packet[1] & 0x7f, packet[HEADER_LEN..].to_vec());
                heard.lock().unwrap_or_else(PoisonError::into_inner).packets.push(entry);
            }
            _ = ticks.tick() => {
                let Some(peer) = peer else { continue };
                let packet = tone_packet(tone_hz, count);
                count += 1;
                if socket.send_to(&packet, peer).await.is_ok() {
                    heard.lock().unwrap_or_else(PoisonError::into_inner).said_count += 1;
                }
            }
        }
    }
}

/// The Unix time, in ms.
pub fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// One µ-law packet of a continuous tone.
fn tone_packet(tone_hz: u32, count: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER_LEN + FRAME_LEN);
    packet.extend_from_slice(&[0x80, if count == 0 { 0x80 } else { 0 }]);
    packet.extend_from_slice(&(count as u16).to_be_bytes());
    packet.extend_from_slice(&count.wrapping_mul(FRAME_LEN as u32).to_be_bytes());
    packet.extend_from_slice(&tone_hz.wrapping_mul(2_654_435_761).to_be_bytes());
    for index in 0..FRAME_LEN as u32 {
        // A whole number of periods in each packet, for tones that are multiples of 50 Hz.
        let phase = f64::from(tone_hz) * f64::from(index) / 8_000.0 * std::f64::consts::TAU;
        packet.push(ulaw((phase.sin() * 8_000.0) as i16));
    }
    packet
}

fn ulaw(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(32_635) + 132;
    let segment = 24 - magnitude.leading_zeros() as i32;
    let code = segment << 4 | (magnitude >> (segment + 3)) & 0x0f;
    !(code as u8 | if sample < 0 { 0x80 } else { 0 })
}

fn of_ulaw(code: u8) -> f64 {
    let code = i32::from(!code);
    let magnitude = ((((code & 0x0f) << 3) + 132) << ((code >> 4) & 7)) - 132;
    f64::from(if code & 0x80 != 0 { -magnitude } else { magnitude })
}

/// How much of a µ-law packet is one tone, 0 to 1: the power at the frequency (Goertzel) over the whole power.
pub fn tone_share(payload: &[u8], tone_hz: u32) -> f64 {
    let coefficient = 2.0 * (f64::from(tone_hz) / 8_000.0 * std::f64::consts::TAU).cos();
    let (mut before, mut last, mut power) = (0.0, 0.0, 0.0);
    for code in payload {
        let sample = of_ulaw(*code);
        power += sample * sample;
        let next = sample + coefficient * last - before;
        (before, last) = (last, next);
    }
    if power < 1.0 {
        return 0.0;
    }
    let at_tone = last * last + before * before - coefficient * last * before;
    at_tone * 2.0 / (power * payload.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_recognised_and_told_from_all_others() {
        for tone_hz in (400..2_400).step_by(50) {
            let packet = tone_packet(tone_hz, 3);
            for other_hz in (400..2_400).step_by(50) {
                let share = tone_share(&packet[HEADER_LEN..], other_hz);
                assert_eq!(share > 0.9, other_hz == tone_hz, "{tone_hz} as {other_hz}: {share}");
                assert!(other_hz == tone_hz || share < 0.1, "{tone_hz} as {other_hz}: {share}");
            }
        }
        assert_eq!(tone_share(&[0xff; 160], 400), 0.0);
    }

    #[tokio::test]
    async fn an_ear_answers_whom_it_hears_and_keeps_what_it_heard() {
        let ear = Ear::open(400).await.unwrap();
        let peer = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
        peer.send_to(b"no audio", ("127.0.0.1", ear.port)).await.unwrap();
        peer.send_to(&tone_packet(650, 0), ("127.0.0.1", ear.port)).await.unwrap();
        let mut buffer = [0; 2_048];
        let (length, _) = tokio::time::timeout(Duration::from_secs(10), peer.recv_from(&mut buffer))
            .await
            .unwrap()
            .unwrap();
        assert!(tone_share(&buffer[HEADER_LEN..length], 400) > 0.9);
        let heard = ear.close();
        assert_eq!(heard.packets.len(), 1);
        assert!(tone_share(&heard.packets[0].2, 650) > 0.9 && heard.said_count >= 1);
    }
}
