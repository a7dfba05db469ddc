//! What an operator can set about a media node.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use trunkline_runtime::config::within;

use crate::plane::PlaneConfig;

/// The settings of a media node.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MediaConfig {
    /// Where SIP is listened for, UDP and TCP on the same port.
    pub sip_listen: SocketAddr,
    /// The address peers are told, in Via, Contact and session descriptions; that of `sip_listen` when absent.
    pub advertised_ip: Option<IpAddr>,
    /// The address audio is received on; that of `sip_listen` when absent.
    pub rtp_ip: Option<IpAddr>,
    /// Ports, prompts and music.
    pub plane: PlaneConfig,
    /// Networks that callers may come from, as `10.1.0.0/16`. Everybody else's INVITE is refused with 403.
    pub trunks: Vec<String>,
    /// How long a caller hears ringing before the answer, in ms; 0 to answer at once.
    pub ring_ms: i64,
    /// A contact whose caller sends no audio for this long ends, in ms; 0 for never.
    pub media_timeout_ms: u64,
    /// Contacts at the same time; one more is refused with 503.
    pub contact_count_max: usize,
    /// SIP transactions at the same time; one more is refused with 503.
    pub transaction_count_max: usize,
    /// TCP connections at the same time.
    pub connection_count_max: usize,
    /// The shortest registration, in s; a shorter one is refused with 423.
    pub register_expires_s_min: u32,
    /// The longest registration, in s; a longer one is shortened.
    pub register_expires_s_max: u32,
    /// A registration that names no time, in s.
    pub register_expires_s_default: u32,
    /// How long contacts may go on after a shutdown has begun, in ms.
    pub drain_ms: u64,
    /// How long the node's lease lasts without renewal, in ms.
    pub lease_ttl_ms: i64,
    /// How long facts wait for the event log before they are spooled on this node's disk, in ms.
    pub spool_after_ms: u64,
    /// What may wait on this node's disk for the event log, in bytes; from four fifths of it on new calls are refused with
    /// 503. 0 for no spool: then calls wait for the log, and all of them end when it fails.
    pub spool_bytes_max: u64,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            sip_listen: SocketAddr::from(([127, 0, 0, 1], 5060)),
            advertised_ip: None,
            rtp_ip: None,
            plane: PlaneConfig::default(),
            trunks: vec!["127.0.0.0/8".to_owned(), "::1/128".to_owned()],
            ring_ms: 0,
            media_timeout_ms: 0,
            contact_count_max: 2_000,
            transaction_count_max: 20_000,
            connection_count_max: 2_000,
            register_expires_s_min: 10,
            register_expires_s_max: 3_600,
            register_expires_s_default: 300,
            drain_ms: 3_000,
            lease_ttl_ms: 3_000,
            spool_after_ms: 500,
            spool_bytes_max: 64 << 20,
        }
    }
}

impl MediaConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// One sentence that begins with the wrong setting.
    pub fn check(&self) -> Result<(), String> {
        self.plane.check().map_err(|reason| format!("plane.{reason}"))?;
        self.networks()?;
        let (min, max) = (self.register_expires_s_min, self.register_expires_s_max);
        within("register_expires_s_min", min, 1..=86_400)?;
        within("register_expires_s_max", max, 1..=604_800)?;
        let default = self.register_expires_s_default;
        // When the default is nobody's wish, the bound is to blame.
        if default == Self::default().register_expires_s_default && !(min..=max).contains(&default) {
            let (key, bound) = if default < min { ("min", "at most") } else { ("max", "at least") };
            let other = "media.register_expires_s_default, which is";
            return Err(format!("register_expires_s_{key}: expected {bound} {other} {default}"));
        }
        within("register_expires_s_default", default, min..=max)?;
        within("contact_count_max", self.contact_count_max, 1..=1_000_000)?;
        within("transaction_count_max", self.transaction_count_max, 1..=10_000_000)?;
        within("connection_count_max", self.connection_count_max, 0..=1_000_000)?;
        within("ring_ms", self.ring_ms, 0..=600_000)?;
        within("media_timeout_ms", self.media_timeout_ms, 0..=86_400_000)?;
        within("drain_ms", self.drain_ms, 0..=86_400_000)?;
        within("lease_ttl_ms", self.lease_ttl_ms, 300..=60_000)?;
        within("spool_after_ms", self.spool_after_ms, 10..=60_000)?;
        within("spool_bytes_max", self.spool_bytes_max, 0..=1 << 40)?;
        if self.sip_listen.ip().is_unspecified() && (self.advertised_ip.is_none() || self.rtp_ip.is_none()) {
            let reason = "names no address that a peer could use: set media.advertised_ip and media.rtp_ip";
            return Err(format!("sip_listen: {reason}"));
        }
        Ok(())
    }

    /// The networks of `trunks`.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn networks(&self) -> Result<Vec<Network>, String> {
        self.trunks.iter().map(|text| Network::parse(text)).collect()
    }
}

/// A range of addresses, as `10.1.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    ip: IpAddr,
    bits: u32,
}

impl Network {
    /// Reads `address/bits`, or one address.
    ///
    /// # Errors
    /// One sentence that quotes the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("trunks: `{text}` is no network of the form 10.1.0.0/16");
        let (ip, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let ip: IpAddr = ip.trim().parse().map_err(|_| wrong())?;
        let bits_max = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(bits_max), |bits| bits.trim().parse().map_err(|_| wrong()))?;
        if bits > bits_max {
            return Err(wrong());
        }
        Ok(Self { ip, bits })
    }

    /// Whether an address is in it.
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        match (self.ip, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                u32::from(net) & mask == u32::from(ip) & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                u128::from(net) & mask == u128::from(ip) & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, ip, inside) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.4", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("10.1.0.0/16", "::ffff:10.1.0.1", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "10.1.0.1", false),
        ] {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), inside, "{network:?} {ip}");
        }
        for bad in ["", "10.1", "10.1.0.0/33", "10.1.0.0/x", "host/8"] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_defaults_are_right_and_nonsense_is_named() {
        assert_eq!(MediaConfig::default().check(), Ok(()));
        let open = MediaConfig { sip_listen: "0.0.0.0:5060".parse().unwrap(), ..MediaConfig::default() };
        let strange = MediaConfig { trunks: vec!["host/8".to_owned()], ..MediaConfig::default() };
        let plane = PlaneConfig { shard_count: 0, ..PlaneConfig::default() };
        for (wrong, begins) in [
            (open, "sip_listen: names no address"),
            (strange, "trunks: `host/8` is no network"),
            (MediaConfig { plane, ..MediaConfig::default() }, "plane.shard_count: expected 1 to 64"),
            (
                MediaConfig { register_expires_s_default: 5, ..MediaConfig::default() },
                "register_expires_s_default: expected 10 to 3600",
            ),
            (
                MediaConfig { register_expires_s_min: 500, ..MediaConfig::default() },
                "register_expires_s_min: expected at most media.register_expires_s_default, which is 300",
            ),
            (
                MediaConfig { register_expires_s_max: 200, ..MediaConfig::default() },
                "register_expires_s_max: expected at least media.register_expires_s_default, which is 300",
            ),
            (MediaConfig { ring_ms: -1, ..MediaConfig::default() }, "ring_ms: expected 0 to"),
            (MediaConfig { lease_ttl_ms: 1, ..MediaConfig::default() }, "lease_ttl_ms: expected 300 to"),
            (
                MediaConfig { spool_after_ms: 9, ..MediaConfig::default() },
                "spool_after_ms: expected 10 to 60000",
            ),
            (
                MediaConfig { spool_bytes_max: u64::MAX, ..MediaConfig::default() },
                "spool_bytes_max: expected 0 to 1099511627776",
            ),
        ] {
            let sentence = wrong.check().unwrap_err();
            assert!(sentence.starts_with(begins), "{sentence}");
        }
    }
}
