use std::net::UdpSocket;

use super::*;
use crate::wire::rtp::{Header, Packet};
use crate::wire::wav;

const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Fixture {
    plane: MediaPlane,
    events: mpsc::Receiver<PlaneEvent>,
    files: tempfile::TempDir,
}

impl Fixture {
    /// Prompts `short` (5 packets less 10 samples) and `long` (1000 packets), music of 2 packets.
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        for (name, sample_count) in [("short", 790), ("long", 160_000), ("music", 320)] {
            let path = files.path().join(format!("{name}.wav"));
            std::fs::write(path, wav::file_of(&vec![1_000; sample_count])).unwrap();
        }
        let config = Self::config(&files);
        let (plane, events) = MediaPlane::start(&config).unwrap();
        Self { plane, events, files }
    }

    fn config(files: &tempfile::TempDir) -> PlaneConfig {
        PlaneConfig {
            prompt_dir: files.path().to_owned(),
            music_dir: files.path().to_owned(),
            music: vec!["music".to_owned()],
            ..PlaneConfig::default()
        }
    }

    /// A leg and its peer, signalled.
    fn leg(&self, codec: Codec, telephone_event: Option<u8>) -> (LegHandle, Peer) {
        let leg = self.plane.allocate(HOST).unwrap();
        let peer = Peer::new(leg.local, codec);
        let remote = RemoteMedia { telephone_event, ..RemoteMedia::new(peer.address(), codec) };
        self.plane.set_remote(leg.handle, remote).unwrap();
        (leg.handle, peer)
    }

    async fn event(&mut self) -> PlaneEvent {
        let event = tokio::time::timeout(Duration::from_secs(10), self.events.recv());
        event.await.expect("an event").expect("the plane lives")
    }

    async fn play_ended(&mut self) -> (String, u64, PlayEnd) {
        loop {
            if let PlaneEvent::PlayEnded { prompt, played_ms, end, .. } = self.event().await {
                return (prompt, played_ms, end);
            }
        }
    }
}

/// A phone: one socket towards one leg.
struct Peer {
    socket: UdpSocket,
    leg: SocketAddr,
    header: Header,
}

impl Peer {
    fn new(leg: SocketAddr, codec: Codec) -> Self {
        let socket = UdpSocket::bind((HOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let header = Header {
            marker: false,
            payload_type: codec.payload_type(),
            sequence: 65_530,
            timestamp: u32::MAX - 300,
            ssrc: 0x0101_0101,
        };
        Self { socket, leg, header }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn say(&mut self, payload: &[u8]) {
        self.say_as(self.header.payload_type, payload);
    }

    fn say_as(&mut self, payload_type: u8, payload: &[u8]) {
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(160);
        let header = Header { payload_type, ..self.header };
        self.send(&[&header.to_bytes()[..], payload].concat());
    }

    fn send(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.leg).unwrap();
    }

    fn hear(&self) -> (Header, Vec<u8>) {
        let mut buffer = [0; 2_000];
        let (length, source) = self.socket.recv_from(&mut buffer).expect("a packet");
        assert_eq!(source, self.leg);
        let packet = Packet::parse(&buffer[..length]).unwrap();
        (packet.header, packet.payload.to_vec())
    }
}

#[tokio::test]
async fn two_peers_hear_each_other_exactly_whatever_their_codecs() {
    for (left, right) in [(Codec::Pcmu, Codec::Pcma), (Codec::Pcma, Codec::Pcmu), (Codec::Pcmu, Codec::Pcmu)]
    {
        let fixture = Fixture::new();
        let (a, mut peer_a) = fixture.leg(left, None);
        let (b, mut peer_b) = fixture.leg(right, None);
        fixture.plane.bridge(a, b).unwrap();
        fixture.plane.stats(b).await.unwrap(); // commands are performed in order: the bridge stands
        let said: Vec<Vec<u8>> =
            (0..20_u8).map(|n| (0..160).map(|i: u8| i.wrapping_mul(7).wrapping_add(n)).collect()).collect();
        let (ear_a, ear_b) = (peer_a.socket.try_clone().unwrap(), peer_b.socket.try_clone().unwrap());
        for (from, to, speaker, listener) in
            [(left, right, &mut peer_a, ear_b), (right, left, &mut peer_b, ear_a)]
        {
            let mut before: Option<Header> = None;
            for payload in &said {
                speaker.say(payload);
                let mut buffer = [0; 2_000];
                let (length, _) = listener.recv_from(&mut buffer).expect("a packet");
                let heard = Packet::parse(&buffer[..length]).unwrap();
                let expected: Vec<u8> = payload
                    .iter()
                    .map(|code| if from == to { *code } else { to.encode(from.decode(*code)) })
                    .collect();
                assert_eq!(heard.payload, expected, "{left} to {right}");
                assert_eq!(heard.header.payload_type, to.payload_type());
                assert_ne!(heard.header.ssrc, speaker.header.ssrc);
                if let Some(before) = before.replace(heard.header) {
                    assert_eq!(heard.header.sequence, before.sequence.wrapping_add(1));
                    assert_eq!(heard.header.timestamp, before.timestamp.wrapping_add(160));
                    assert_eq!(heard.header.ssrc, before.ssrc);
                }
            }
        }
        let stats = fixture.plane.free(a).await.unwrap();
        assert_eq!((stats.rtp_received_count, stats.rtp_sent_count, stats.lost_count), (20, 20, 0));
        assert_eq!((stats.received_bytes, stats.sent_bytes), (3_200, 3_200));
    }
}

#[tokio::test]
async fn a_prompt_is_one_marked_run_of_20_ms_packets_and_ends_once() {
    let mut fixture = Fixture::new();
    let (leg, peer) = fixture.leg(Codec::Pcma, None);
    fixture.plane.play(leg, "short").unwrap();
    let heard: Vec<(Header, Vec<u8>)> = (0..5).map(|_| peer.hear()).collect();
    for (index, (header, payload)) in heard.iter().enumerate() {
        assert_eq!(header.marker, index == 0);
        assert_eq!(header.sequence, heard[0].0.sequence.wrapping_add(index as u16));
        assert_eq!(header.timestamp, heard[0].0.timestamp.wrapping_add(160 * index as u32));
        let silence_from = if index == 4 { 150 } else { 160 };
        assert!(payload[..silence_from].iter().all(|code| *code == Codec::Pcma.encode(1_000)));
        assert!(payload[silence_from..].iter().all(|code| *code == Codec::Pcma.silence()));
    }
    assert_eq!(fixture.play_ended().await, ("short".to_owned(), 98, PlayEnd::Finished));
    assert_eq!(fixture.plane.stats(leg).await.unwrap().rtp_sent_count, 5);
}

#[tokio::test]
async fn whatever_takes_a_prompts_place_cuts_it_and_says_so_once() {
    let mut fixture = Fixture::new();
    for take_place in ["play", "music", "stop", "bridge", "free"] {
        let (a, peer_a) = fixture.leg(Codec::Pcmu, None);
        let (b, _peer_b) = fixture.leg(Codec::Pcmu, None);
        fixture.plane.play(a, "long").unwrap();
        peer_a.hear();
        match take_place {
            "play" => fixture.plane.play(a, "short").unwrap(),
            "music" => fixture.plane.music(a, "music").unwrap(),
            "stop" => fixture.plane.stop(a).unwrap(),
            "bridge" => fixture.plane.bridge(a, b).unwrap(),
            _ => drop(fixture.plane.free(a).await.unwrap()),
        }
        let (prompt, played_ms, end) = fixture.play_ended().await;
        assert_eq!((prompt.as_str(), end), ("long", PlayEnd::Cut), "{take_place}");
        assert!((20..20_000).contains(&played_ms) && played_ms.is_multiple_of(20), "{played_ms}");
        if take_place == "play" {
            assert_eq!(fixture.play_ended().await.2, PlayEnd::Finished);
        }
    }
    assert!(fixture.events.try_recv().is_err());
}

#[tokio::test]
async fn music_goes_round_and_a_prompt_silences_the_bridge_towards_its_leg() {
    let mut fixture = Fixture::new();
    let (a, mut peer_a) = fixture.leg(Codec::Pcmu, None);
    let (b, mut peer_b) = fixture.leg(Codec::Pcmu, None);
    fixture.plane.music(a, "music").unwrap();
    let first = peer_a.hear().0;
    for count in 1..6 {
        assert_eq!(peer_a.hear().0.timestamp, first.timestamp.wrapping_add(160 * count));
    }
    fixture.plane.bridge(a, b).unwrap();
    fixture.plane.play(a, "short").unwrap();
    fixture.plane.stats(a).await.unwrap();
    peer_b.say(&[1; 160]);
    peer_a.say(&[2; 160]);
    assert_eq!(peer_b.hear().1, [2; 160]); // the other way stays open
    assert_eq!(fixture.play_ended().await.2, PlayEnd::Finished);
    peer_b.say(&[3; 160]);
    let heard =
        std::iter::repeat_with(|| peer_a.hear().1).find(|payload| payload[0] != Codec::Pcmu.encode(1_000));
    let heard = heard.filter(|payload| payload[0] != Codec::Pcmu.silence());
    assert_eq!(heard, Some(vec![3; 160]));
}

#[tokio::test]
async fn digits_keep_their_bytes_and_take_the_listeners_payload_type() {
    let fixture = Fixture::new();
    let (a, mut peer_a) = fixture.leg(Codec::Pcmu, Some(101));
    let (b, mut peer_b) = fixture.leg(Codec::Pcma, Some(97));
    let (c, mut peer_c) = fixture.leg(Codec::Pcma, None);
    fixture.plane.bridge(a, b).unwrap();
    fixture.plane.stats(a).await.unwrap();
    peer_a.say_as(101, &[5, 0x8a, 3, 0x20]);
    let (header, payload) = peer_b.hear();
    assert_eq!((header.payload_type, payload.as_slice()), (97, &[5, 0x8a, 3, 0x20][..]));
    peer_b.say_as(101, &[6, 0x8a, 3, 0x20]); // numbered as we offered it
    assert_eq!(peer_a.hear().0.payload_type, 101);
    fixture.plane.bridge(a, c).unwrap();
    fixture.plane.stats(a).await.unwrap();
    peer_a.say_as(101, &[7, 0x8a, 3, 0x20]);
    peer_a.say(&[9; 160]);
    assert_eq!(peer_c.hear().0.payload_type, 8);
    peer_c.say(&[9; 160]);
    peer_a.hear();
    assert_eq!(fixture.plane.free(c).await.unwrap().unmapped_count, 1);
}

#[tokio::test]
async fn what_is_no_audio_of_the_peer_is_dropped_and_counted() {
    let fixture = Fixture::new();
    let (a, mut peer_a) = fixture.leg(Codec::Pcmu, None);
    let (b, peer_b) = fixture.leg(Codec::Pcmu, None);
    fixture.plane.bridge(a, b).unwrap();
    fixture.plane.stats(a).await.unwrap();
    peer_a.say(&[1; 160]);
    peer_a.send(&[]);
    peer_a.send(b"GET / HTTP/1.1\r\n\r\n");
    peer_a.send(&[0x80, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    peer_a.say_as(9, &[2; 160]);
    let mut stranger = Peer::new(peer_a.leg, Codec::Pcmu);
    for _ in 0..10 {
        stranger.say(&[3; 160]);
    }
    let stats = loop {
        let stats = fixture.plane.stats(a).await.unwrap();
        if stats.other_source_count == 10 {
            break stats;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((stats.rtp_received_count, stats.invalid_count, stats.other_payload_count), (1, 3, 1));
    assert_eq!(peer_b.hear().1, [1; 160]);
    assert_eq!(fixture.plane.free(b).await.unwrap().rtp_sent_count, 1);
}

#[tokio::test]
async fn audio_goes_to_where_the_peer_really_is_once_it_is_settled() {
    let mut fixture = Fixture::new();
    let leg = fixture.plane.allocate(HOST).unwrap();
    let mut behind_nat = Peer::new(leg.local, Codec::Pcmu);
    let signalled = UdpSocket::bind((HOST, 0)).unwrap();
    let remote = RemoteMedia::new(signalled.local_addr().unwrap(), Codec::Pcmu);
    fixture.plane.set_remote(leg.handle, remote).unwrap();
    fixture.plane.stats(leg.handle).await.unwrap();
    for _ in 0..latch::STRANGER_COUNT {
        behind_nat.say(&[1; 160]);
    }
    let source = behind_nat.address();
    assert_eq!(fixture.event().await, PlaneEvent::Latched { leg: leg.handle, source });
    fixture.plane.play(leg.handle, "short").unwrap();
    assert_eq!(behind_nat.hear().1.len(), 160);
}

#[tokio::test]
async fn a_freed_leg_is_unknown_and_its_ports_are_closed() {
    let fixture = Fixture::new();
    let host = IpAddr::from([127, 83, 71, 12]); // where no other test takes the ports that became free
    let leg = fixture.plane.allocate(host).unwrap();
    assert_eq!(leg.local.port() % 2, 0);
    let rtcp = SocketAddr::new(host, leg.local.port() + 1);
    assert!(UdpSocket::bind(leg.local).is_err() && UdpSocket::bind(rtcp).is_err());
    fixture.plane.free(leg.handle).await.unwrap();
    drop((UdpSocket::bind(leg.local).unwrap(), UdpSocket::bind(rtcp).unwrap()));
    assert!(matches!(fixture.plane.free(leg.handle).await, Err(PlaneError::UnknownLeg)));
    assert!(matches!(fixture.plane.stats(leg.handle).await, Err(PlaneError::UnknownLeg)));
}

#[tokio::test]
async fn a_range_that_is_used_up_is_a_named_outcome_and_a_free_makes_room() {
    // An address of the loopback net that nothing else uses, so that every port on it is ours.
    let host = IpAddr::from([127, 83, 71, 11]);
    let files = Fixture::new().files;
    let config =
        PlaneConfig { port_min: 30_000, port_max: 30_003, music: Vec::new(), ..Fixture::config(&files) };
    let (plane, _events) = MediaPlane::start(&config).unwrap();
    let (first, second) = (plane.allocate(host).unwrap(), plane.allocate(host).unwrap());
    assert_eq!((first.local.port(), second.local.port()), (30_000, 30_002));
    let error = plane.allocate(host).unwrap_err().to_string();
    assert_eq!(error, "no free pair of media ports on 127.83.71.11 within 30000-30003");
    plane.free(first.handle).await.unwrap();
    assert_eq!(plane.allocate(host).unwrap().local.port(), 30_000);
}

#[tokio::test]
async fn legs_are_bridged_on_one_shard_only() {
    let files = Fixture::new().files;
    let (plane, _events) =
        MediaPlane::start(&PlaneConfig { shard_count: 2, ..Fixture::config(&files) }).unwrap();
    let (a, b) = (plane.allocate(HOST).unwrap().handle, plane.allocate(HOST).unwrap().handle);
    assert!(matches!(plane.bridge(a, b), Err(PlaneError::DifferentShards)));
    let beside = plane.allocate_beside(a, HOST).unwrap().handle;
    plane.bridge(a, beside).unwrap();
}

#[test]
fn a_start_without_its_files_or_with_bad_numbers_fails_with_the_name() {
    let files = Fixture::new().files;
    for (change, expected) in [
        (
            PlaneConfig { prompts: vec!["hello".to_owned()], ..Fixture::config(&files) },
            "could not read prompt `hello` at DIR/hello.wav",
        ),
        (
            PlaneConfig { music: vec!["jazz".to_owned()], ..Fixture::config(&files) },
            "could not read music `jazz` at DIR/jazz.wav",
        ),
        (
            PlaneConfig { port_min: 4_001, port_max: 5_000, ..Fixture::config(&files) },
            "port_min: must be even, and below media.plane.port_max, which is 5000",
        ),
        (PlaneConfig { shard_count: 0, ..Fixture::config(&files) }, "shard_count: expected 1 to 64"),
        (
            PlaneConfig { event_count_max: 1, ..Fixture::config(&files) },
            "event_count_max: expected 16 to 1000000",
        ),
    ] {
        let error = MediaPlane::start(&change).err().expect("refused").to_string();
        assert_eq!(error.replace(files.path().to_str().unwrap(), "DIR"), expected);
    }
}
