use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

const OFFER: &str = "v=0\r\no=alice 1 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

fn local(direction: Direction, codecs: &[Codec]) -> Local<'_> {
    let address = "198.51.100.7:20000".parse().unwrap();
    Local { address, session_id: 7, version: 1, direction, codecs }
}

/// One line: codec, type, event type, address, direction of ours; or the error.
fn agreed(result: Result<Agreed, SdpError>) -> String {
    match result {
        Ok(it) => format!(
            "{} {} {:?} {} {}{}",
            it.codec,
            it.payload_type,
            it.telephone_event,
            it.remote,
            it.direction.as_str(),
            if it.held() { " held" } else { "" }
        ),
        Err(error) => error.to_string(),
    }
}

fn answered(media: &str, codecs: &[Codec]) -> String {
    let body = format!("{OFFER}{}", media.replace('|', "\r\n"));
    agreed(
        parse(body.as_bytes())
            .and_then(|offer| answer(&offer, &local(Direction::SendRecv, codecs)))
            .map(|(_, agreed)| agreed),
    )
}

#[test]
fn an_offer_is_answered_or_refused_for_a_named_reason() {
    let both = &[Codec::Pcmu, Codec::Pcma];
    let line = "session description line 6:";
    for (media, expected) in [
        ("m=audio 4000 RTP/AVP 0 8", "PCMU 0 None 192.0.2.1:4000 sendrecv".to_owned()),
        ("m=audio 4000 RTP/AVP 8 0", "PCMA 8 None 192.0.2.1:4000 sendrecv".to_owned()),
        (
            "m=audio 4000 RTP/AVP 9 18 0 101|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-16",
            "PCMU 0 Some(101) 192.0.2.1:4000 sendrecv".to_owned(),
        ),
        (
            "m=audio 4000 RTP/AVP 97 96|a=rtpmap:97 telephone-event/8000|a=rtpmap:96 pcma/8000/1",
            "PCMA 96 Some(97) 192.0.2.1:4000 sendrecv".to_owned(),
        ),
        (
            "m=audio 4000 RTP/AVP 0 96|a=rtpmap:96 telephone-event/48000",
            "PCMU 0 None 192.0.2.1:4000 sendrecv".to_owned(),
        ),
        ("m=audio 4000 RTP/AVP 0|a=sendonly", "PCMU 0 None 192.0.2.1:4000 recvonly held".to_owned()),
        ("m=audio 4000 RTP/AVP 0|a=inactive", "PCMU 0 None 192.0.2.1:4000 inactive held".to_owned()),
        ("m=audio 4000 RTP/AVP 0|a=recvonly", "PCMU 0 None 192.0.2.1:4000 sendonly".to_owned()),
        ("m=audio 4000 RTP/AVP 0|c=IN IP4 0.0.0.0", "PCMU 0 None 0.0.0.0:4000 sendrecv held".to_owned()),
        ("a=sendonly|m=audio 4000 RTP/AVP 0", "PCMU 0 None 192.0.2.1:4000 recvonly held".to_owned()),
        (
            "m=audio 4000/2 RTP/AVP 0|c=IN IP6 2001:db8::1",
            "PCMU 0 None [2001:db8::1]:4000 sendrecv".to_owned(),
        ),
        (
            "m=video 5000 RTP/AVP 31|m=audio 0 RTP/AVP 0|m=audio 4002 RTP/AVP 0",
            "PCMU 0 None 192.0.2.1:4002 sendrecv".to_owned(),
        ),
        (
            "m=audio 4000 RTP/AVP 0|x=unknown|a=whatever:1|z=0",
            "PCMU 0 None 192.0.2.1:4000 sendrecv".to_owned(),
        ),
        ("", "session description: no audio stream is offered".to_owned()),
        ("m=video 5000 RTP/AVP 31", "session description: no audio stream is offered".to_owned()),
        ("m=audio 4000 RTP/SAVP 0", format!("{line} audio over `RTP/SAVP` is not supported, only RTP/AVP")),
        ("m=audio 4000 RTP/AVP 9 18", format!("{line} none of its codecs is PCMU or PCMA")),
        (
            "m=audio 4000 RTP/AVP 0|a=rtpmap:0 OPUS/48000",
            format!("{line} none of its codecs is PCMU or PCMA"),
        ),
        (
            "m=audio 4000 RTP/AVP 0|c=IN IP4 phone.example.com",
            format!("{line} the audio's address `phone.example.com` is a name"),
        ),
        (
            "m=audio 4000 RTP/AVP 0|c=IN IP4 224.2.1.1/127",
            format!("{line} the audio's address 224.2.1.1 is a group's"),
        ),
        ("m=audio 70000 RTP/AVP 0", format!("{line} m= has no valid port")),
        ("m=audio 4000 RTP/AVP", format!("{line} m= has no formats")),
        ("m=audio", format!("{line} m= needs a kind, a port, a protocol and formats")),
        ("c=IN IP4 2001:db8::1", format!("{line} 2001:db8::1 is not an IP4 address")),
        ("c=somewhere", format!("{line} c= is not `IN IP4 address` or `IN IP6 address`")),
        (
            "m=audio 4000 RTP/AVP 0|a=rtpmap:x",
            "session description line 7: a=rtpmap is not `type name/clock`".to_owned(),
        ),
        (
            "m=audio 4000 RTP/AVP 0|rubbish",
            "session description line 7: it is not of the form `x=…`".to_owned(),
        ),
    ] {
        assert_eq!(answered(media, both), expected, "{media}");
    }
    assert_eq!(answered("m=audio 4000 RTP/AVP 0 8", &[Codec::Pcma]), "PCMA 8 None 192.0.2.1:4000 sendrecv");
    assert_eq!(
        answered("m=audio 4000 RTP/AVP 0", &[Codec::Pcma]),
        "session description line 6: none of its codecs is one of ours"
    );
}

#[test]
fn a_description_must_begin_with_its_version_and_name_its_origin() {
    for (body, expected) in [
        ("", "session description: it is empty"),
        ("\r\n\r\n", "session description: it is empty"),
        ("v=1\r\n", "session description line 1: a description begins with `v=0`"),
        ("o=- 1 1 IN IP4 a\r\n", "session description line 1: a description begins with `v=0`"),
        ("v=0\r\ns=-\r\n", "session description: it has no o= line"),
        ("v=0\no=1 1\n", "session description line 2: o= needs six fields"),
    ] {
        assert_eq!(parse(body.as_bytes()).unwrap_err().to_string(), expected, "{body:?}");
    }
}

#[test]
fn an_answer_mirrors_the_media_lines_and_holds_nothing_else_of_the_offer() {
    let body = format!(
        "{OFFER}a=tool:secret\r\nm=video 5000 RTP/AVP 31 32\r\na=rtpmap:31 H261/90000\r\nm=audio 4000 RTP/AVP 8 0 97\r\n\
         a=rtpmap:97 telephone-event/8000\r\na=candidate:1 1 UDP 1 192.0.2.99 1 typ host\r\n"
    );
    let (text, _) =
        answer(&parse(body.as_bytes()).unwrap(), &local(Direction::SendRecv, &[Codec::Pcmu, Codec::Pcma]))
            .unwrap();
    expect_test::expect![[r"
        v=0
        o=- 7 1 IN IP4 198.51.100.7
        s=-
        c=IN IP4 198.51.100.7
        t=0 0
        m=video 0 RTP/AVP 31 32
        m=audio 20000 RTP/AVP 8 97
        a=rtpmap:8 PCMA/8000
        a=rtpmap:97 telephone-event/8000
        a=fmtp:97 0-15
        a=ptime:20
        a=sendrecv
    "]]
    .assert_eq(&text.replace("\r\n", "\n"));
}

#[test]
fn our_offer_and_a_peers_answer_agree() {
    let ours = local(Direction::SendRecv, &[Codec::Pcma, Codec::Pcmu]);
    let text = offer(&ours);
    expect_test::expect![[r"
        v=0
        o=- 7 1 IN IP4 198.51.100.7
        s=-
        c=IN IP4 198.51.100.7
        t=0 0
        m=audio 20000 RTP/AVP 8 0 101
        a=rtpmap:8 PCMA/8000
        a=rtpmap:0 PCMU/8000
        a=rtpmap:101 telephone-event/8000
        a=fmtp:101 0-15
        a=ptime:20
        a=sendrecv
    "]]
    .assert_eq(&text.replace("\r\n", "\n"));
    for (media, expected) in [
        ("m=audio 4000 RTP/AVP 0", "PCMU 0 None 192.0.2.1:4000 sendrecv"),
        (
            "m=audio 4000 RTP/AVP 8 101|a=rtpmap:101 telephone-event/8000",
            "PCMA 8 Some(101) 192.0.2.1:4000 sendrecv",
        ),
        ("m=audio 4000 RTP/AVP 0|a=recvonly", "PCMU 0 None 192.0.2.1:4000 sendonly"),
        ("m=audio 0 RTP/AVP 0", "session description: no audio stream is offered"),
    ] {
        let body = format!("{OFFER}{}", media.replace('|', "\r\n"));
        assert_eq!(agreed(accept(&parse(body.as_bytes()).unwrap(), &ours)), expected, "{media}");
    }
}

#[test]
fn a_hold_is_answered_by_its_mirror_and_the_retrieve_by_both_ways() {
    let codecs = &[Codec::Pcmu];
    for (offered, ours, answered) in [
        ("sendrecv", Direction::SendRecv, "sendrecv"),
        ("sendonly", Direction::SendRecv, "recvonly"),
        ("recvonly", Direction::SendRecv, "sendonly"),
        ("inactive", Direction::SendRecv, "inactive"),
        ("sendrecv", Direction::SendOnly, "sendonly"),
        ("sendonly", Direction::SendOnly, "inactive"),
        ("recvonly", Direction::SendOnly, "sendonly"),
        ("sendrecv", Direction::Inactive, "inactive"),
    ] {
        let body = format!("{OFFER}m=audio 4000 RTP/AVP 0\r\na={offered}\r\n");
        let (text, _) = answer(&parse(body.as_bytes()).unwrap(), &local(ours, codecs)).unwrap();
        assert!(text.ends_with(&format!("a={answered}\r\n")), "{offered} with {ours:?}: {text}");
    }
}

/// Descriptions out of real messages: where a body begins, none may panic, and these must be usable.
#[test]
fn bodies_of_collected_messages_are_read_or_refused() {
    let data = std::env::var("TRUNKLINE_DATA").unwrap_or_else(|_| "../../../shared/data".to_owned());
    let messages = PathBuf::from(data).join("sip-messages");
    let (mut served, mut refused) = (0, 0);
    for directory in ["rfc4475", "kamailio", "pjsip-seeds/fuzz-sdp", "pjsip-seeds/fuzz-sip"] {
        let Ok(entries) = std::fs::read_dir(messages.join(directory)) else { continue };
        for entry in entries {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let Some(start) = bytes.windows(4).position(|window| window == b"v=0\r" || window == b"v=0\n")
            else {
                continue;
            };
            match parse(&bytes[start..]).and_then(|session| Audio::of(&session)) {
                Ok(_) => served += 1,
                Err(_) => refused += 1,
            }
        }
    }
    if messages.is_dir() {
        assert!(served >= 10 && refused >= 3, "{served} served, {refused} refused");
    }
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse(&body);
    }

    #[test]
    fn no_mixture_of_lines_makes_reader_or_answer_panic(
        lines in proptest::collection::vec(
            prop_oneof![
                "[a-z]=[ -~]{0,30}",
                "m=(audio|video) [0-9]{1,6} RTP/AVP( [0-9]{1,3}){0,4}",
                "c=IN IP[46] [0-9.:a-f]{1,20}",
                "a=rtpmap:[0-9]{1,3} (PCMU|telephone-event|x)/[0-9]{1,5}",
                "a=(sendonly|recvonly|inactive|sendrecv)",
            ],
            0..12,
        )
    ) {
        let body = format!("{OFFER}{}\r\n", lines.join("\r\n"));
        if let Ok(session) = parse(body.as_bytes()) {
            let ours = local(Direction::SendRecv, &[Codec::Pcmu, Codec::Pcma]);
            if let Ok((text, agreed)) = answer(&session, &ours) {
                let again = parse(text.as_bytes()).unwrap();
                prop_assert_eq!(again.media.len(), session.media.len());
                prop_assert_eq!(Audio::of(&again).unwrap().codecs, vec![(agreed.codec, agreed.payload_type)]);
            }
            let _ = accept(&session, &ours);
        }
    }
}
