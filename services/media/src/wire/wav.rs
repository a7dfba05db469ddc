//! WAV files (RIFF, Multimedia Programming Interface 1.0): the prompts' and the music's container.

use super::Codec;
use super::g711::CLOCK_HZ;

/// Why a file cannot be played.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    /// Not RIFF, or not WAVE.
    #[error("not a WAV file")]
    NotWav,
    /// A chunk says it is longer than the file.
    #[error("cut within its `{0}` chunk")]
    Cut(String),
    /// No format or no data before the end.
    #[error("it has no `{0}` chunk")]
    Missing(&'static str),
    /// Not what we play.
    #[error("it is {0}; wanted is PCM of 16 bits, µ-law or A-law, mono, 8000 Hz")]
    Unsupported(String),
}

/// Reads a file to 16-bit linear samples at 8 kHz.
///
/// Accepts format tags 1 (PCM, 16 bits), 6 (A-law), 7 (µ-law) and 0xFFFE (extensible, of one of these); mono; 8000 Hz.
///
/// # Errors
/// When it is not a WAV file, is cut, or has another format.
pub fn samples(file: &[u8]) -> Result<Vec<i16>, WavError> {
    let riff = file.first_chunk::<12>().ok_or(WavError::NotWav)?;
    if &riff[..4] != b"RIFF" || &riff[8..] != b"WAVE" {
        return Err(WavError::NotWav);
    }
    let mut rest = &file[12..];
    let mut format = None;
    while let Some((head, body)) = rest.split_first_chunk::<8>() {
        let name = &head[..4];
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let chunk =
            body.get(..length).ok_or_else(|| WavError::Cut(String::from_utf8_lossy(name).into_owned()))?;
        match name {
            b"fmt " => format = Some(Format::parse(chunk)?),
            b"data" => return Ok(format.ok_or(WavError::Missing("fmt "))?.decode(chunk)),
            _ => {}
        }
        // Chunks are padded to even lengths; the last pad octet may be absent.
        rest = body.get(length + length % 2..).unwrap_or(&[]);
    }
    Err(WavError::Missing(if format.is_none() { "fmt " } else { "data" }))
}

#[derive(Clone, Copy)]
enum Format {
    Pcm16,
    G711(Codec),
}

impl Format {
    fn parse(chunk: &[u8]) -> Result<Self, WavError> {
        let cut = || WavError::Cut("fmt ".to_owned());
        let field =
            |at: usize| chunk.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]])).ok_or_else(cut);
        let rate = chunk.get(4..8).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).ok_or_else(cut)?;
        let (channels, bits) = (field(2)?, field(14)?);
        let tag = match field(0)? {
            0xfffe => field(24)?, // the sub-format's GUID begins with the plain tag
            tag => tag,
        };
        if channels != 1 || rate != CLOCK_HZ {
            return Err(WavError::Unsupported(format!("of {channels} channels at {rate} Hz")));
        }
        match (tag, bits) {
            (1, 16) => Ok(Self::Pcm16),
            (6, 8) => Ok(Self::G711(Codec::Pcma)),
            (7, 8) => Ok(Self::G711(Codec::Pcmu)),
            (tag, bits) => Err(WavError::Unsupported(format!("format {tag} with {bits} bits"))),
        }
    }

    fn decode(self, data: &[u8]) -> Vec<i16> {
        match self {
            Self::Pcm16 => data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect(),
            Self::G711(codec) => data.iter().map(|code| codec.decode(*code)).collect(),
        }
    }
}

/// A WAV file of these samples, as 16-bit PCM at 8 kHz mono. For tests and the load generator's audio.
pub fn file_of(samples: &[i16]) -> Vec<u8> {
    let data_len = (samples.len() * 2) as u32;
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + data_len).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16_u32.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&1_u16.to_le_bytes());
    file.extend_from_slice(&CLOCK_HZ.to_le_bytes());
    file.extend_from_slice(&(CLOCK_HZ * 2).to_le_bytes());
    file.extend_from_slice(&2_u16.to_le_bytes());
    file.extend_from_slice(&16_u16.to_le_bytes());
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data_len.to_le_bytes());
    for sample in samples {
        file.extend_from_slice(&sample.to_le_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(tag: u16, channels: u16, rate: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        file.extend_from_slice(&tag.to_le_bytes());
        file.extend_from_slice(&channels.to_le_bytes());
        file.extend_from_slice(&rate.to_le_bytes());
        file.extend_from_slice(&[0; 6]);
        file.extend_from_slice(&bits.to_le_bytes());
        file.extend_from_slice(b"data");
        file.extend_from_slice(&(data.len() as u32).to_le_bytes());
        file.extend_from_slice(data);
        file
    }

    #[test]
    fn a_file_is_read_or_refused_for_a_named_reason() {
        let cut = || file(1, 1, 8_000, 16, &[0; 8]);
        for (what, file, expected) in [
            ("PCM", file(1, 1, 8_000, 16, &[1, 0, 0xff, 0xff]), Ok(vec![1, -1])),
            ("µ-law", file(7, 1, 8_000, 8, &[0xff, 0x00]), Ok(vec![0, -32_124])),
            ("A-law", file(6, 1, 8_000, 8, &[0xd5]), Ok(vec![8])),
            ("no samples", file(1, 1, 8_000, 16, &[]), Ok(vec![])),
            ("empty", vec![], Err("not a WAV file")),
            ("text", b"once upon a time".to_vec(), Err("not a WAV file")),
            ("cut data", cut()[..58].to_vec(), Err("cut within its `data` chunk")),
            ("no data", cut()[..50].to_vec(), Err("it has no `data` chunk")),
            ("no format", b"RIFF\0\0\0\0WAVEdata\0\0\0\0".to_vec(), Err("it has no `fmt ` chunk")),
            (
                "stereo",
                file(1, 2, 8_000, 16, &[]),
                Err(
                    "it is of 2 channels at 8000 Hz; wanted is PCM of 16 bits, µ-law or A-law, mono, 8000 Hz",
                ),
            ),
            (
                "44.1 kHz",
                file(1, 1, 44_100, 16, &[]),
                Err(
                    "it is of 1 channels at 44100 Hz; wanted is PCM of 16 bits, µ-law or A-law, mono, 8000 Hz",
                ),
            ),
            (
                "GSM",
                file(49, 1, 8_000, 0, &[]),
                Err("it is format 49 with 0 bits; wanted is PCM of 16 bits, µ-law or A-law, mono, 8000 Hz"),
            ),
        ] {
            let got = samples(&file).map_err(|error| error.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..120), wav: bool) {
            if wav && bytes.len() >= 12 {
                bytes[..4].copy_from_slice(b"RIFF");
                bytes[8..12].copy_from_slice(b"WAVE");
            }
            let _ = samples(&bytes);
        }

        #[test]
        fn what_is_written_is_read_back(audio in proptest::collection::vec(any::<i16>(), 0..300)) {
            prop_assert_eq!(samples(&file_of(&audio)).unwrap(), audio);
        }
    }
}
