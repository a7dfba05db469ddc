//! G.711: PCM of voice frequencies, µ-law (PCMU) and A-law (PCMA), as tables computed at compile time from the formulas of
//! ITU-T G.711 (11/88). Samples are 16-bit linear; G.711's 14-bit (µ) and 13-bit (A) values are scaled to that range.

use std::fmt;

/// Samples per second of every codec here.
pub const CLOCK_HZ: u32 = 8_000;
/// Samples, and octets, of one packet of 20 ms.
pub const FRAME_LEN: usize = 160;

/// A codec of a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// µ-law, payload type 0.
    Pcmu,
    /// A-law, payload type 8.
    Pcma,
}

impl Codec {
    /// The static payload type (RFC 3551 §6).
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
        }
    }

    /// The codec of a static payload type, if it is one of ours.
    pub const fn of_payload_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            _ => None,
        }
    }

    /// The encoding name of `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// The octet of silence: the code of sample 0.
    pub const fn silence(self) -> u8 {
        self.encode(0)
    }

    /// One sample's code.
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::Pcmu => encode_ulaw(sample),
            Self::Pcma => encode_alaw(sample),
        }
    }

    /// One code's sample.
    pub const fn decode(self, code: u8) -> i16 {
        match self {
            Self::Pcmu => ULAW[code as usize],
            Self::Pcma => ALAW[code as usize],
        }
    }

    /// The table that turns this codec's codes into those of `to`, by way of the linear sample.
    pub const fn table_to(self, to: Self) -> &'static [u8; 256] {
        match (self, to) {
            (Self::Pcmu, Self::Pcma) => &ULAW_TO_ALAW,
            (Self::Pcma, Self::Pcmu) => &ALAW_TO_ULAW,
            (Self::Pcmu, Self::Pcmu) | (Self::Pcma, Self::Pcma) => &SAME,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// 33 of G.711 table 2, scaled by 4: added before the logarithm so that each segment is twice the one below.
const BIAS: i32 = 132;
/// Above this µ-law is at its end.
const ULAW_CLIP: i32 = 32_635;

const fn encode_ulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { 0x80 } else { 0 };
    let magnitude = (sample as i32).abs();
    let biased = (if magnitude > ULAW_CLIP { ULAW_CLIP } else { magnitude }) + BIAS;
    let segment = 24 - (biased as u32).leading_zeros() as i32; // 132 ..= 255 is segment 0
    let step = (biased >> (segment + 3)) & 0x0f;
    !(sign | (segment << 4) | step) as u8
}

const fn encode_alaw(sample: i16) -> u8 {
    // One's complement of the negative half, so that both halves have the same intervals.
    let (mask, magnitude) =
        if sample >= 0 { (0xd5, sample as i32 >> 3) } else { (0x55, (-(sample as i32) - 1) >> 3) };
    let code = if magnitude < 32 {
        magnitude >> 1
    } else {
        let segment = 27 - (magnitude as u32).leading_zeros() as i32; // 32 ..= 63 is segment 1
        (segment << 4) | ((magnitude >> segment) & 0x0f)
    };
    (code ^ mask) as u8
}

const fn decode_ulaw(code: u8) -> i16 {
    let code = !code as i32;
    let magnitude = ((((code & 0x0f) << 3) + BIAS) << ((code >> 4) & 7)) - BIAS;
    (if code & 0x80 != 0 { -magnitude } else { magnitude }) as i16
}

const fn decode_alaw(code: u8) -> i16 {
    let code = (code ^ 0x55) as i32;
    let step = (code & 0x0f) << 4;
    let magnitude = match (code >> 4) & 7 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    (if code & 0x80 != 0 { magnitude } else { -magnitude }) as i16
}

const ULAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = decode_ulaw(code as u8);
        code += 1;
    }
    table
};

const ALAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = decode_alaw(code as u8);
        code += 1;
    }
    table
};

static ULAW_TO_ALAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = encode_alaw(ULAW[code]);
        code += 1;
    }
    table
};

static ALAW_TO_ULAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = encode_ulaw(ALAW[code]);
        code += 1;
    }
    table
};

static SAME: [u8; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = code as u8;
        code += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// G.711 table 2: µ-law output of segment `s`, step `q`, in 14-bit units: `(2q + 33)·2^s − 33`.
    fn ulaw_output(s: i32, q: i32) -> i32 {
        (2 * q + 33) * (1 << s) - 33
    }

    /// G.711 table 1: A-law output of segment `s`, step `q`, in 13-bit units: `2q + 1`, from segment 1 `(2q + 33)·2^(s−1)`.
    fn alaw_output(s: i32, q: i32) -> i32 {
        if s == 0 { 2 * q + 1 } else { (2 * q + 33) * (1 << (s - 1)) }
    }

    #[test]
    fn every_mu_law_code_decodes_to_its_table_value() {
        for code in 0..=255_u8 {
            let character = i32::from(!code); // all bits are inverted on the line
            let value = ulaw_output((character >> 4) & 7, character & 15) * 4;
            let value = if character & 0x80 != 0 { -value } else { value };
            assert_eq!(i32::from(Codec::Pcmu.decode(code)), value, "code {code:#04x}");
        }
    }

    #[test]
    fn every_a_law_code_decodes_to_its_table_value() {
        for code in 0..=255_u8 {
            let character = i32::from(code ^ 0x55); // even bits are inverted on the line
            let value = alaw_output((character >> 4) & 7, character & 15) * 8;
            let value = if character & 0x80 != 0 { value } else { -value };
            assert_eq!(i32::from(Codec::Pcma.decode(code)), value, "code {code:#04x}");
        }
    }

    #[test]
    fn every_sample_gets_the_code_whose_decision_interval_holds_it() {
        for sample in i16::MIN..=i16::MAX {
            let x = i32::from(sample);
            // µ: interval of (s, q) is [(q + 16)·2^(s+1) − 33, (q + 17)·2^(s+1) − 33), in 14-bit units.
            let code = i32::from(!Codec::Pcmu.encode(sample));
            let (s, q) = ((code >> 4) & 7, code & 15);
            let from = ((q + 16) * (1 << (s + 1)) - 33) * 4;
            let to = ((q + 17) * (1 << (s + 1)) - 33) * 4;
            let magnitude = x.abs();
            assert!(from <= magnitude || (s, q) == (0, 0), "µ {sample}");
            assert!(magnitude < to || (s, q) == (7, 15), "µ {sample}");
            assert_eq!(code & 0x80 != 0, x < 0, "µ sign of {sample}");
            // A: interval is [2q, 2q + 2) in segment 0, else [(q + 16)·2^s, (q + 17)·2^s), in 13-bit units.
            let code = i32::from(Codec::Pcma.encode(sample) ^ 0x55);
            let (s, q) = ((code >> 4) & 7, code & 15);
            let (from, to) =
                if s == 0 { (2 * q, 2 * q + 2) } else { ((q + 16) * (1 << s), (q + 17) * (1 << s)) };
            let magnitude = if x < 0 { -x - 1 } else { x };
            assert!(from * 8 <= magnitude && magnitude < to * 8, "A {sample}");
            assert_eq!(code & 0x80 != 0, x >= 0, "A sign of {sample}");
        }
    }

    #[test]
    fn a_code_survives_decoding_and_encoding_but_for_mu_laws_negative_zero() {
        for code in 0..=255_u8 {
            assert_eq!(Codec::Pcma.encode(Codec::Pcma.decode(code)), code);
            let again = Codec::Pcmu.encode(Codec::Pcmu.decode(code));
            assert_eq!(again, if code == 0x7f { 0xff } else { code });
        }
    }

    #[test]
    fn a_table_to_another_codec_goes_by_the_linear_sample() {
        for from in [Codec::Pcmu, Codec::Pcma] {
            for to in [Codec::Pcmu, Codec::Pcma] {
                for code in 0..=255_u8 {
                    let expected = if from == to { code } else { to.encode(from.decode(code)) };
                    assert_eq!(from.table_to(to)[usize::from(code)], expected);
                }
            }
        }
    }

    #[test]
    fn silence_is_the_code_of_zero() {
        assert_eq!((Codec::Pcmu.silence(), Codec::Pcma.silence()), (0xff, 0xd5));
    }
}
