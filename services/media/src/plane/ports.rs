//! Pairs of UDP ports: RTP on the even one, RTCP on the next (RFC 3550 §11).

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use super::PlaneError;

/// How many pairs of the system's choice are tried before giving up.
const EPHEMERAL_ATTEMPT_COUNT_MAX: usize = 64;

/// A leg's two sockets, not blocking.
pub(super) struct Sockets {
    pub(super) rtp: UdpSocket,
    pub(super) rtcp: UdpSocket,
    /// Of the RTP socket.
    pub(super) local: SocketAddr,
}

/// The range that pairs come from, used round and round so that a port rests before it is used again.
pub(super) struct Ports {
    min: u16,
    max: u16,
    next: AtomicU32,
}

impl Ports {
    pub(super) fn new(min: u16, max: u16) -> Self {
        Self { min, max, next: AtomicU32::new(0) }
    }

    pub(super) fn bind(&self, ip: IpAddr) -> Result<Sockets, PlaneError> {
        let none_free = || PlaneError::NoPort { ip, min: self.min, max: self.max };
        if self.min == 0 {
            return self.bind_ephemeral(ip)?.ok_or_else(none_free);
        }
        let pair_count = (u32::from(self.max) - u32::from(self.min)).div_ceil(2);
        for _ in 0..pair_count {
            let index = self.next.fetch_add(1, Ordering::Relaxed) % pair_count;
            let port = self.min + (index * 2) as u16;
            if let (Some(rtp), Some(rtcp)) = (open(ip, port)?, open(ip, port + 1)?) {
                return Sockets::new(rtp, rtcp);
            }
        }
        Err(none_free())
    }

    /// Lets the system choose until it chooses an even port whose neighbour is free. What does not fit is kept until the
    /// end, so that the same port is not chosen twice.
    fn bind_ephemeral(&self, ip: IpAddr) -> Result<Option<Sockets>, PlaneError> {
        let mut unfit = Vec::new();
        for _ in 0..EPHEMERAL_ATTEMPT_COUNT_MAX {
            let Some(first) = open(ip, 0)? else { return Ok(None) };
            let port = first.local_addr().map_err(|source| system("read a media port", source))?.port();
            if port % 2 == 0
                && let Some(rtcp) = open(ip, port + 1)?
            {
                return Sockets::new(first, rtcp).map(Some);
            }
            unfit.push(first);
        }
        Ok(None)
    }
}

impl Sockets {
    fn new(rtp: UdpSocket, rtcp: UdpSocket) -> Result<Self, PlaneError> {
        let prepared = rtp.set_nonblocking(true).and_then(|()| rtcp.set_nonblocking(true));
        prepared.map_err(|source| system("prepare a media port", source))?;
        let local = rtp.local_addr().map_err(|source| system("read a media port", source))?;
        Ok(Self { rtp, rtcp, local })
    }
}

/// `None` when the port is taken.
fn open(ip: IpAddr, port: u16) -> Result<Option<UdpSocket>, PlaneError> {
    match UdpSocket::bind((ip, port)) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
        Err(source) => Err(system("open a media port", source)),
    }
}

fn system(attempt: &'static str, source: std::io::Error) -> PlaneError {
    PlaneError::System { attempt, source }
}
