//! A shard: one thread, one epoll, many legs.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};
use tokio::sync::{mpsc, oneshot};

use super::leg::{Leg, LegStats, Received};
use super::library::Clip;
use super::player::Player;
use super::ports::Sockets;
use super::{LegHandle, PlaneError, PlaneEvent, RemoteMedia};
use crate::wire::rtp::PACKET_LEN_MAX;

const WAKE: Token = Token(0);
/// So many packets are read from one leg before the others have their turn.
const READ_COUNT_MAX: usize = 64;
/// How long events that found the channel full wait before they are offered again.
const EVENT_RETRY: Duration = Duration::from_millis(5);

/// What a shard is told. Commands about a leg that is not there do nothing, or answer `None`.
pub(super) enum Command {
    Add { leg: LegHandle, sockets: Sockets },
    SetRemote { leg: LegHandle, remote: RemoteMedia },
    Play { leg: LegHandle, prompt: String, clip: Arc<Clip> },
    Music { leg: LegHandle, clips: Arc<[Arc<Clip>]> },
    Stop { leg: LegHandle },
    Bridge { a: LegHandle, b: LegHandle },
    Unbridge { leg: LegHandle },
    Free { leg: LegHandle, reply: oneshot::Sender<Option<LegStats>> },
    Stats { leg: LegHandle, reply: oneshot::Sender<Option<LegStats>> },
}

/// The handle of a shard. Dropping it ends the thread and closes all ports.
pub(super) struct Shard {
    sender: Option<SyncSender<Command>>,
    waker: Arc<Waker>,
    command_count_max: usize,
    thread: Option<JoinHandle<()>>,
}

impl Shard {
    pub(super) fn start(
        index: usize,
        command_count_max: usize,
        latch_window: Duration,
        events: mpsc::Sender<PlaneEvent>,
    ) -> Result<Self, PlaneError> {
        let system = |attempt| move |source| PlaneError::System { attempt, source };
        let poll = Poll::new().map_err(system("open the media poller"))?;
        let waker = Waker::new(poll.registry(), WAKE).map_err(system("open the media waker"))?;
        let (sender, commands) = sync_channel(command_count_max);
        let worker = Worker {
            poll,
            commands,
            events,
            latch_window,
            legs: HashMap::new(),
            due: BinaryHeap::new(),
            unread: Vec::new(),
            waiting: VecDeque::new(),
            next_serial: 0,
            buffer: [0; PACKET_LEN_MAX],
        };
        let thread = std::thread::Builder::new()
            .name(format!("media-{index}"))
            .spawn(move || worker.run())
            .map_err(system("start a media thread"))?;
        Ok(Self { sender: Some(sender), waker: Arc::new(waker), command_count_max, thread: Some(thread) })
    }

    pub(super) fn send(&self, command: Command) -> Result<(), PlaneError> {
        let sender = self.sender.as_ref().ok_or(PlaneError::Ended)?;
        sender.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => PlaneError::Busy(self.command_count_max),
            TrySendError::Disconnected(_) => PlaneError::Ended,
        })?;
        self.waker.wake().map_err(|source| PlaneError::System { attempt: "wake a media thread", source })
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.sender = None;
        if self.waker.wake().is_ok()
            && let Some(thread) = self.thread.take()
        {
            // A panic of the thread was already printed; there is nothing to save here.
            let _ = thread.join();
        }
    }
}

struct Worker {
    poll: Poll,
    commands: Receiver<Command>,
    events: mpsc::Sender<PlaneEvent>,
    latch_window: Duration,
    legs: HashMap<u64, Leg>,
    /// When which leg's player is due; entries of players that are gone are skipped by their serial.
    due: BinaryHeap<Reverse<(Instant, u64, u64)>>,
    /// Legs that had more to read than their turn allowed.
    unread: Vec<u64>,
    /// Events that found the channel full, in order.
    waiting: VecDeque<PlaneEvent>,
    next_serial: u64,
    buffer: [u8; PACKET_LEN_MAX],
}

impl Worker {
    fn run(mut self) {
        let mut ready = Events::with_capacity(1_024);
        loop {
            match self.poll.poll(&mut ready, self.timeout()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "media thread ends");
                    return;
                }
            }
            let now = Instant::now();
            for number in std::mem::take(&mut self.unread) {
                self.read(now, number);
            }
            for event in &ready {
                match event.token() {
                    WAKE => {
                        if !self.take_commands(now) {
                            return;
                        }
                    }
                    Token(token) if token % 2 == 0 => self.read(now, (token / 2) as u64),
                    Token(token) => {
                        if let Some(leg) = self.legs.get_mut(&((token / 2) as u64)) {
                            leg.drain_rtcp(&mut self.buffer);
                        }
                    }
                }
            }
            self.play_due();
            self.publish();
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if !self.unread.is_empty() {
            return Some(Duration::ZERO);
        }
        let play = self.due.peek().map(|Reverse((at, ..))| at.saturating_duration_since(Instant::now()));
        let retry = (!self.waiting.is_empty()).then_some(EVENT_RETRY);
        play.into_iter().chain(retry).min()
    }

    /// False when every handle is gone.
    fn take_commands(&mut self, now: Instant) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(command) => self.perform(now, command),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn perform(&mut self, now: Instant, command: Command) {
        match command {
            Command::Add { leg, sockets } => self.add(leg, sockets),
            Command::SetRemote { leg, remote } => {
                if let Some(leg) = self.legs.get_mut(&leg.number) {
                    leg.set_remote(now, remote);
                }
            }
            Command::Play { leg, prompt, clip } => {
                self.set_player(now, leg, |serial| Player::prompt(now, serial, prompt, clip));
            }
            Command::Music { leg, clips } => {
                self.set_player(now, leg, |serial| Player::music(now, serial, clips));
            }
            Command::Stop { leg } => self.silence(leg),
            Command::Bridge { a, b } => self.bridge(a, b),
            Command::Unbridge { leg } => self.unbridge(leg),
            Command::Free { leg, reply } => {
                let stats = self.free(leg);
                // Who asked may be gone; the leg is freed all the same.
                let _ = reply.send(stats);
            }
            Command::Stats { leg, reply } => {
                let _ = reply.send(self.legs.get(&leg.number).map(Leg::stats));
            }
        }
    }

    fn add(&mut self, handle: LegHandle, sockets: Sockets) {
        let (mut rtp, mut rtcp) = (UdpSocket::from_std(sockets.rtp), UdpSocket::from_std(sockets.rtcp));
        let token = handle.number as usize * 2;
        let registry = self.poll.registry();
        let registered = registry
            .register(&mut rtp, Token(token), Interest::READABLE)
            .and_then(|()| registry.register(&mut rtcp, Token(token + 1), Interest::READABLE));
        let mut random = [0; 10];
        let filled = getrandom::fill(&mut random);
        match (registered, filled) {
            (Ok(()), Ok(())) => {
                self.legs.insert(handle.number, Leg::new(handle, rtp, rtcp, self.latch_window, random));
            }
            // Out of epoll watches or of random bytes: the leg stays unknown, and its free says so.
            (registered, filled) => tracing::error!(?registered, ?filled, "media leg refused by the system"),
        }
    }

    fn set_player(&mut self, now: Instant, leg: LegHandle, player: impl FnOnce(u64) -> Player) {
        let Some(leg) = self.legs.get_mut(&leg.number) else { return };
        self.next_serial += 1;
        leg.set_player(Some(player(self.next_serial)), &mut self.waiting);
        self.due.push(Reverse((now, leg.handle.number, self.next_serial)));
    }

    fn silence(&mut self, leg: LegHandle) {
        if let Some(leg) = self.legs.get_mut(&leg.number) {
            leg.set_player(None, &mut self.waiting);
        }
    }

    fn bridge(&mut self, a: LegHandle, b: LegHandle) {
        if a == b || !self.legs.contains_key(&a.number) || !self.legs.contains_key(&b.number) {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            self.unbridge(one);
            self.silence(one);
            if let Some(leg) = self.legs.get_mut(&one.number) {
                leg.bridged = Some(other);
            }
        }
    }

    fn unbridge(&mut self, leg: LegHandle) {
        let other = self.legs.get_mut(&leg.number).and_then(|leg| leg.bridged.take());
        if let Some(other) = other.and_then(|other| self.legs.get_mut(&other.number)) {
            other.bridged = None;
        }
    }

    fn free(&mut self, leg: LegHandle) -> Option<LegStats> {
        self.unbridge(leg);
        self.silence(leg);
        let leg = self.legs.remove(&leg.number)?;
        Some(leg.stats())
    }

    /// Reads a leg's packets and sends them on to the leg it is bridged with.
    fn read(&mut self, now: Instant, number: u64) {
        for _ in 0..READ_COUNT_MAX {
            let Some(leg) = self.legs.get_mut(&number) else { return };
            match leg.receive(now, &mut self.buffer) {
                Received::Nothing => return,
                Received::Dropped => {}
                Received::Packet(packet, settled) => {
                    let bridged = leg.bridged;
                    if let Some(source) = settled {
                        self.waiting.push_back(PlaneEvent::Latched { leg: leg.handle, source });
                    }
                    if let Some(other) = bridged.and_then(|other| self.legs.get_mut(&other.number)) {
                        other.relay(now, packet, &mut self.buffer);
                    }
                }
            }
        }
        self.unread.push(number);
    }

    fn play_due(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, number, serial))) = self.due.peek().copied() {
            if at > now {
                return;
            }
            self.due.pop();
            if let Some(leg) = self.legs.get_mut(&number)
                && let Some(next_at) = leg.play(now, serial, &mut self.buffer, &mut self.waiting)
            {
                self.due.push(Reverse((next_at, number, serial)));
            }
        }
    }

    fn publish(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
                // Nobody listens any more: the signalling side is on its way down.
                Err(mpsc::error::TrySendError::Closed(_)) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_command_queue_refuses_and_does_not_block() {
        let poll = Poll::new().unwrap();
        let (sender, commands) = sync_channel(2);
        let waker = Arc::new(Waker::new(poll.registry(), WAKE).unwrap());
        let shard = Shard { sender: Some(sender), waker, command_count_max: 2, thread: None };
        let stop = || Command::Stop { leg: LegHandle { shard: 0, number: 1 } };
        assert!(shard.send(stop()).is_ok() && shard.send(stop()).is_ok());
        assert!(matches!(shard.send(stop()), Err(PlaneError::Busy(2))));
        drop(commands);
        assert!(matches!(shard.send(stop()), Err(PlaneError::Ended)));
    }
}
