//! What is on the wire beside SIP: session descriptions, RTP packets, G.711 samples, WAV files. Pure; no sockets, no clocks.

pub mod g711;
pub mod rtp;
pub mod sdp;
pub mod wav;

pub use g711::Codec;
