//! The few words of SIP that an agent's phone understands and says (RFC 3261).

use std::fmt::Write as _;

/// A message as it came, in the parts that an answer needs.
#[derive(Debug)]
pub(super) struct Message<'a> {
    start: &'a str,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Message<'a> {
    /// Reads a datagram; `None` when it is no SIP. A header is one line: nobody here folds them.
    pub fn parse(datagram: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let head = text.split_once("\r\n\r\n").map_or(text, |(head, _)| head);
        let mut lines = head.split("\r\n");
        let start = lines.next().filter(|line| line.contains("SIP/2.0"))?;
        let headers =
            lines.filter_map(|line| line.split_once(':').map(|(name, value)| (name.trim(), value.trim())));
        Some(Self { start, headers: headers.collect() })
    }

    /// The method of a request; `None` for a response.
    pub fn method(&self) -> Option<&'a str> {
        self.start.split(' ').next().filter(|word| *word != "SIP/2.0")
    }

    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The method that a response answers: the second word of CSeq.
    pub fn answered(&self) -> Option<&'a str> {
        self.header("cseq")?.split_whitespace().nth(1)
    }

    /// Where the peer wants the requests of the dialog: the URI of Contact.
    pub fn target(&self) -> Option<&'a str> {
        let contact = self.header("contact")?;
        let inside = contact.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        Some(inside.map_or(contact, |(uri, _)| uri))
    }

    /// A response to this request, with what RFC 3261 §8.2.6.2 copies; `tag` is ours, for a To that has none.
    pub fn response(&self, status: &str, tag: &str, extra: &str, body: &str) -> String {
        let mut text = format!("SIP/2.0 {status}\r\n");
        for (name, value) in &self.headers {
            let copied =
                ["via", "from", "to", "call-id", "cseq"].iter().any(|it| it.eq_ignore_ascii_case(name));
            let untagged = name.eq_ignore_ascii_case("to") && !value.contains(";tag=");
            match (copied, untagged) {
                (false, _) => {}
                // Writing to a String cannot fail.
                (true, true) => drop(write!(text, "{name}: {value};tag={tag}\r\n")),
                (true, false) => drop(write!(text, "{name}: {value}\r\n")),
            }
        }
        let _ = write!(text, "{extra}Content-Length: {}\r\n\r\n{body}", body.len());
        text
    }

    /// The BYE of whom this INVITE called, from `local`.
    pub fn bye(&self, tag: &str, local: &str) -> Option<String> {
        let (from, to, call_id) = (self.header("from")?, self.header("to")?, self.header("call-id")?);
        Some(format!(
            "BYE {} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{tag}bye;rport\r\nMax-Forwards: 70\r\n\
             From: {to};tag={tag}\r\nTo: {from}\r\nCall-ID: {call_id}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            self.target()?
        ))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const INVITE: &str = "INVITE sip:u7@127.0.0.1:9 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5;branch=z9hG4bKa;rport\r\n\
        From: \"Q\" <sip:+49@127.0.0.1:5>;tag=m\r\nTo: <sip:u7@127.0.0.1:9>\r\nCall-ID: c1\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:127.0.0.1:5;transport=udp>\r\nX-Trunkline-Offer: ofr_r0-1-1\r\nContent-Length: 2\r\n\r\nv=";

    #[test]
    fn a_response_copies_what_it_must_and_tags_the_to() {
        let invite = Message::parse(INVITE.as_bytes()).unwrap();
        assert_eq!(
            (invite.method(), invite.header("x-trunkline-offer")),
            (Some("INVITE"), Some("ofr_r0-1-1"))
        );
        let ringing = invite.response("180 Ringing", "p1", "Contact: <sip:u@b>\r\n", "");
        expect![[r#"
            SIP/2.0 180 Ringing
            Via: SIP/2.0/UDP 127.0.0.1:5;branch=z9hG4bKa;rport
            From: "Q" <sip:+49@127.0.0.1:5>;tag=m
            To: <sip:u7@127.0.0.1:9>;tag=p1
            Call-ID: c1
            CSeq: 1 INVITE
            Contact: <sip:u@b>
            Content-Length: 0

        "#]]
        .assert_eq(&ringing.replace("\r\n", "\n"));
        let read = Message::parse(ringing.as_bytes()).unwrap();
        assert_eq!((read.method(), read.answered()), (None, Some("INVITE")));
        // A To that has its tag keeps it.
        assert!(read.response("200 OK", "other", "", "").contains("To: <sip:u7@127.0.0.1:9>;tag=p1\r\n"));
    }

    #[test]
    fn the_bye_of_whom_was_called_turns_the_dialog_around() {
        let invite = Message::parse(INVITE.as_bytes()).unwrap();
        expect![[r#"
            BYE sip:127.0.0.1:5;transport=udp SIP/2.0
            Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKp1bye;rport
            Max-Forwards: 70
            From: <sip:u7@127.0.0.1:9>;tag=p1
            To: "Q" <sip:+49@127.0.0.1:5>;tag=m
            Call-ID: c1
            CSeq: 1 BYE
            Content-Length: 0

        "#]]
        .assert_eq(&invite.bye("p1", "127.0.0.1:9").unwrap().replace("\r\n", "\n"));
    }

    #[test]
    fn what_is_no_sip_is_not_read() {
        for datagram in [&b"\r\n\r\n"[..], b"", b"\xff\xfe", b"GET / HTTP/1.1\r\n\r\n"] {
            assert!(Message::parse(datagram).is_none(), "{datagram:?}");
        }
    }
}
