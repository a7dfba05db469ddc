//! The media plane: RTP between callers, agents, prompts and music.
//!
//! Packets live on dedicated threads (*shards*), one epoll each, one RTP socket per leg; no async runtime is touched per
//! packet. [`MediaPlane`] is the handle the signalling side keeps: cheap to clone, every call returns at once (it queues a
//! command to the leg's shard), and what happens later comes back as a [`PlaneEvent`].
//!
//! # Rules
//! - **A leg's own identity.** What leaves a leg carries that leg's SSRC, sequence and timestamps, whatever its source
//!   (prompt, music, the other leg), so nothing of one leg is seen on another and a receiver hears one unbroken stream.
//! - **Latching** (symmetric RTP, RFC 4961): see [`latch::Latch`]. The signalled address wins with its first valid packet;
//!   another source wins with three valid packets in a row while the window after signalling is open; then it is locked
//!   until signalling names another address.
//! - **Who is heard.** A prompt or music on a leg silences the bridge towards that leg; [`MediaPlane::bridge`] ends both.
//! - **Every play ends once**: exactly one [`PlaneEvent::PlayEnded`] for each accepted [`MediaPlane::play`], also when it is
//!   cut by another play, music, stop, bridge or free.
//! - **RTCP**: the odd port beside each RTP port is bound, read and counted, so that peers meet no closed port; its content
//!   is not used and none is sent.
//! - **Bounds**: commands waiting per shard are at most [`PlaneConfig::command_count_max`]; one more is refused as
//!   [`PlaneError::Busy`]. Events that do not fit the channel wait in the shard, at most one for each play.

pub mod latch;
pub mod leg;
pub mod library;
mod player;
mod ports;
mod relay;
mod shard;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use trunkline_runtime::config::within;

use crate::wire::Codec;
pub use leg::LegStats;
pub use library::{Library, LibraryError};
use ports::Ports;
use shard::{Command, Shard};

/// How the plane is set up.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlaneConfig {
    /// Lowest RTP port, even; 0 for ports of the system's choice.
    pub port_min: u16,
    /// Highest port, RTCP included; ignored when `port_min` is 0.
    pub port_max: u16,
    /// Threads that carry packets, 1 to 64.
    pub shard_count: usize,
    /// Commands that may wait per shard, at least 16.
    pub command_count_max: usize,
    /// Events that may wait for the signalling side before they stay in their shard, at least 16.
    pub event_count_max: usize,
    /// Where prompts are: `NAME.wav` or `NAME.ulaw`-in-WAV below it.
    pub prompt_dir: PathBuf,
    /// Where music is: class `default` is every WAV file in it, another class a subdirectory or one file of that name.
    pub music_dir: PathBuf,
    /// Prompts that must be there at start.
    pub prompts: Vec<String>,
    /// Music classes that must be there at start.
    pub music: Vec<String>,
    /// For how long after signalling another source than the signalled one may latch, in ms.
    pub latch_window_ms: u64,
}

impl Default for PlaneConfig {
    fn default() -> Self {
        Self {
            port_min: 0,
            port_max: 0,
            shard_count: 1,
            command_count_max: 4_096,
            event_count_max: 4_096,
            prompt_dir: PathBuf::from("/usr/share/asterisk/sounds/en"),
            music_dir: PathBuf::from("/usr/share/asterisk/moh"),
            prompts: Vec::new(),
            music: vec!["default".to_owned()],
            latch_window_ms: 10_000,
        }
    }
}

impl PlaneConfig {
    /// Checks the numbers; the files are checked by [`MediaPlane::start`].
    ///
    /// # Errors
    /// One sentence that begins with the wrong setting.
    pub fn check(&self) -> Result<(), String> {
        if self.port_min != 0 && (!self.port_min.is_multiple_of(2) || self.port_max <= self.port_min) {
            let max = self.port_max;
            return Err(format!("port_min: must be even, and below media.plane.port_max, which is {max}"));
        }
        within("shard_count", self.shard_count, 1..=64)?;
        within("command_count_max", self.command_count_max, 16..=1_000_000)?;
        within("event_count_max", self.event_count_max, 16..=1_000_000)?;
        within("latch_window_ms", self.latch_window_ms, 0..=600_000)
    }
}

/// Names one leg of the plane for as long as the process lives; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegHandle {
    shard: u16,
    number: u64,
}

/// A leg that was set up: where it receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegMedia {
    /// Its name.
    pub handle: LegHandle,
    /// The address to put into the session description; even port unless the system chose.
    pub local: SocketAddr,
}

/// Where a leg's peer is and what it understands, out of its session description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteMedia {
    /// Signalled address. Nothing is sent while the address is unspecified (`0.0.0.0`) or the port is 0.
    pub address: SocketAddr,
    /// The agreed codec.
    pub codec: Codec,
    /// The payload type of the agreed codec, as the peer numbers it.
    pub payload_type: u8,
    /// The payload type of telephone-event (RFC 4733), when agreed.
    pub telephone_event: Option<u8>,
}

impl RemoteMedia {
    /// A peer that uses the codec's static payload type and no telephone-event.
    pub fn new(address: SocketAddr, codec: Codec) -> Self {
        Self { address, codec, payload_type: codec.payload_type(), telephone_event: None }
    }
}

/// What the plane tells the signalling side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaneEvent {
    /// A prompt is over.
    PlayEnded {
        /// On which leg.
        leg: LegHandle,
        /// Its name, as given to [`MediaPlane::play`].
        prompt: String,
        /// How much of it was sent, in whole packets of 20 ms, never more than its length.
        played_ms: u64,
        /// Whether it reached its end.
        end: PlayEnd,
    },
    /// The peer's address is settled: audio from it is heard from now on.
    Latched {
        /// Which leg.
        leg: LegHandle,
        /// From where it sends, and to where we send.
        source: SocketAddr,
    },
}

/// How a prompt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayEnd {
    /// All of it was sent.
    Finished,
    /// Something else took its place, or the leg was stopped or freed.
    Cut,
}

/// Why the plane could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// A prompt or music file is missing or not readable.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The shard's command queue is full. Nothing was done.
    #[error("the media shard has {0} commands waiting and takes no more")]
    Busy(usize),
    /// The shard's thread is gone. Nothing was done.
    #[error("the media shard has ended")]
    Ended,
    /// The leg was freed, or never was.
    #[error("no such leg")]
    UnknownLeg,
    /// Legs can be bridged only when they were allocated beside each other.
    #[error("the two legs are on different shards")]
    DifferentShards,
    /// No pair of ports is free.
    #[error("no free pair of media ports on {ip} within {min}-{max}")]
    NoPort {
        /// Where.
        ip: IpAddr,
        /// The range's start; 0 for the system's choice.
        min: u16,
        /// The range's end.
        max: u16,
    },
    /// The system refused.
    #[error("could not {attempt}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
}

/// The handle of the plane. The threads end, and all ports close, when its last clone is dropped.
#[derive(Clone)]
pub struct MediaPlane(Arc<Inner>);

struct Inner {
    shards: Vec<Shard>,
    ports: Ports,
    library: Library,
    next_leg: AtomicU64,
}

impl MediaPlane {
    /// Checks the configuration and its files, and starts the threads.
    ///
    /// # Errors
    /// When a number is out of bounds, a named prompt or music class is not there, or a thread cannot be started.
    pub fn start(config: &PlaneConfig) -> Result<(Self, mpsc::Receiver<PlaneEvent>), PlaneError> {
        config.check().map_err(PlaneError::Config)?;
        let library = Library::open(&config.prompt_dir, &config.music_dir);
        for name in &config.prompts {
            library.prompt(name)?;
        }
        for class in &config.music {
            library.music(class)?;
        }
        let (events, receiver) = mpsc::channel(config.event_count_max);
        let latch_window = Duration::from_millis(config.latch_window_ms);
        let shards = (0..config.shard_count)
            .map(|index| Shard::start(index, config.command_count_max, latch_window, events.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let inner = Inner {
            shards,
            ports: Ports::new(config.port_min, config.port_max),
            library,
            next_leg: AtomicU64::new(1),
        };
        Ok((Self(Arc::new(inner)), receiver))
    }

    /// Opens a leg's ports on `ip`. It hears nobody and sends nothing until [`MediaPlane::set_remote`].
    ///
    /// # Errors
    /// When no port pair is free or the shard is busy.
    pub fn allocate(&self, ip: IpAddr) -> Result<LegMedia, PlaneError> {
        let number = self.0.next_leg.fetch_add(1, Ordering::Relaxed);
        let shard = (number as usize) % self.0.shards.len();
        self.allocate_on(shard, number, ip)
    }

    /// Opens a leg on the same shard as another one, so that the two can be bridged.
    ///
    /// # Errors
    /// When no port pair is free or the shard is busy.
    pub fn allocate_beside(&self, other: LegHandle, ip: IpAddr) -> Result<LegMedia, PlaneError> {
        let number = self.0.next_leg.fetch_add(1, Ordering::Relaxed);
        self.allocate_on(usize::from(other.shard), number, ip)
    }

    fn allocate_on(&self, shard: usize, number: u64, ip: IpAddr) -> Result<LegMedia, PlaneError> {
        let sockets = self.0.ports.bind(ip)?;
        let local = sockets.local;
        let handle = LegHandle { shard: shard as u16, number };
        self.send(handle, Command::Add { leg: handle, sockets })?;
        Ok(LegMedia { handle, local })
    }

    /// Says where the leg's peer is and what it understands. With another address than before, latching begins anew.
    ///
    /// # Errors
    /// When the shard is busy.
    pub fn set_remote(&self, leg: LegHandle, remote: RemoteMedia) -> Result<(), PlaneError> {
        self.send(leg, Command::SetRemote { leg, remote })
    }

    /// Plays a prompt to the leg, once, from its beginning, in place of what it hears now. It ends with one
    /// [`PlaneEvent::PlayEnded`]. The file is read by the caller's thread the first time it is asked for.
    ///
    /// # Errors
    /// When there is no such prompt or the shard is busy.
    pub fn play(&self, leg: LegHandle, prompt: &str) -> Result<(), PlaneError> {
        let clip = self.0.library.prompt(prompt)?;
        self.send(leg, Command::Play { leg, prompt: prompt.to_owned(), clip })
    }

    /// Plays a music class to the leg, round and round, in place of what it hears now.
    ///
    /// # Errors
    /// When there is no such class or the shard is busy.
    pub fn music(&self, leg: LegHandle, class: &str) -> Result<(), PlaneError> {
        let clips = self.0.library.music(class)?;
        self.send(leg, Command::Music { leg, clips })
    }

    /// Ends the leg's prompt or music, if any.
    ///
    /// # Errors
    /// When the shard is busy.
    pub fn stop(&self, leg: LegHandle) -> Result<(), PlaneError> {
        self.send(leg, Command::Stop { leg })
    }

    /// Lets two legs hear each other; ends prompts, music and earlier bridges of both.
    ///
    /// # Errors
    /// When they are on different shards or the shard is busy.
    pub fn bridge(&self, a: LegHandle, b: LegHandle) -> Result<(), PlaneError> {
        if a.shard != b.shard {
            return Err(PlaneError::DifferentShards);
        }
        self.send(a, Command::Bridge { a, b })
    }

    /// Parts the leg from the one it is bridged with, if any.
    ///
    /// # Errors
    /// When the shard is busy.
    pub fn unbridge(&self, leg: LegHandle) -> Result<(), PlaneError> {
        self.send(leg, Command::Unbridge { leg })
    }

    /// Ends whatever the leg does, closes its ports, and gives its final counts. When it returns, the ports are closed.
    ///
    /// A full command queue is waited for (1 s at most), so that no leg is left behind.
    ///
    /// # Errors
    /// When there is no such leg, the shard has ended, or its queue stayed full.
    pub async fn free(&self, leg: LegHandle) -> Result<LegStats, PlaneError> {
        self.ask(leg, |reply| Command::Free { leg, reply }).await
    }

    /// The leg's counts so far.
    ///
    /// # Errors
    /// When there is no such leg, the shard has ended, or its queue stayed full.
    pub async fn stats(&self, leg: LegHandle) -> Result<LegStats, PlaneError> {
        self.ask(leg, |reply| Command::Stats { leg, reply }).await
    }

    /// Reads a prompt now, so that a later play needs no disk.
    ///
    /// # Errors
    /// When there is no such prompt; the error names the file.
    pub fn check_prompt(&self, name: &str) -> Result<(), PlaneError> {
        Ok(self.0.library.prompt(name).map(drop)?)
    }

    /// Reads a music class now, so that a later start needs no disk.
    ///
    /// # Errors
    /// When there is no such class; the error names the directory.
    pub fn check_music(&self, class: &str) -> Result<(), PlaneError> {
        Ok(self.0.library.music(class).map(drop)?)
    }

    fn send(&self, leg: LegHandle, command: Command) -> Result<(), PlaneError> {
        self.0.shards.get(usize::from(leg.shard)).ok_or(PlaneError::UnknownLeg)?.send(command)
    }

    async fn ask(
        &self,
        leg: LegHandle,
        command: impl Fn(oneshot::Sender<Option<LegStats>>) -> Command,
    ) -> Result<LegStats, PlaneError> {
        let mut attempt = 0;
        loop {
            let (reply, answer) = oneshot::channel();
            match self.send(leg, command(reply)) {
                Ok(()) => return answer.await.map_err(|_| PlaneError::Ended)?.ok_or(PlaneError::UnknownLeg),
                Err(PlaneError::Busy(_)) if attempt < 1_000 => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
