//! One side of a dialog (RFC 3261 §12): what it takes to make and to judge requests inside it.

use super::fields::{NameAddr, Uri};
use super::message::{Message, Method};
use super::stack::Peer;

/// A dialog, ours as UAS (a caller's) or as UAC (an agent's).
#[derive(Debug, Clone)]
pub struct Dialog {
    /// Its Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag.
    pub remote_tag: String,
    /// Our From value, tag included.
    local: String,
    /// The peer's To value, tag included.
    remote: String,
    /// The peer's Contact URI.
    remote_target: String,
    /// In the order requests take it.
    route_set: Vec<String>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
    /// Where its first message came from or went to.
    pub peer: Peer,
}

impl Dialog {
    /// The dialog a caller's INVITE begins, with our tag; `None` when it names no Contact we could reach.
    pub fn of_caller(invite: &Message, local_tag: &str, peer: Peer) -> Option<Self> {
        Some(Self {
            call_id: invite.call_id().to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: invite.from_tag()?,
            local: format!("{};tag={local_tag}", invite.value("to")?),
            remote: invite.value("from")?.to_owned(),
            remote_target: contact_uri(invite)?,
            route_set: invite.list("record-route"),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq()?.number),
            peer,
        })
    }

    /// The dialog an agent's 2xx establishes; `None` when it has no tag or Contact.
    pub fn of_agent(invite: &Message, response: &Message, peer: Peer) -> Option<Self> {
        let mut route_set = response.list("record-route");
        route_set.reverse();
        Some(Self {
            call_id: invite.call_id().to_owned(),
            local_tag: invite.from_tag()?,
            remote_tag: response.to_tag()?,
            local: invite.value("from")?.to_owned(),
            remote: response.value("to")?.to_owned(),
            remote_target: contact_uri(response)?,
            route_set,
            local_cseq: invite.cseq()?.number,
            remote_cseq: None,
            peer,
        })
    }

    /// The next request inside the dialog.
    pub fn request(&mut self, method: Method) -> Message {
        self.local_cseq += 1;
        self.request_numbered(method, self.local_cseq)
    }

    /// The ACK of a 2xx to our INVITE with that CSeq number (RFC 3261 §13.2.2.4).
    pub fn ack(&self, cseq: u32) -> Message {
        self.request_numbered(Method::Ack, cseq)
    }

    fn request_numbered(&self, method: Method, cseq: u32) -> Message {
        let mut routes = self.route_set.clone();
        let mut uri = self.remote_target.clone();
        // A first hop without `lr` is a strict router: it gets the Request-URI, the target comes last (§12.2.1.1).
        let strict = routes.first().and_then(|first| {
            let hop = NameAddr::parse(first)?.uri;
            Uri::parse(&hop)?.param("lr").is_none().then_some(hop)
        });
        if let Some(hop) = strict {
            routes.remove(0);
            routes.push(format!("<{uri}>"));
            uri = hop;
        }
        let numbered = format!("{cseq} {}", method.as_str());
        let mut request = Message::request(method, uri);
        for route in routes {
            request.push("Route", route);
        }
        request
            .with("Max-Forwards", "70")
            .with("From", &self.local)
            .with("To", &self.remote)
            .with("Call-ID", &self.call_id)
            .with("CSeq", numbered)
    }

    /// The URI whose host a request goes to: the first hop, or the peer itself.
    pub fn next_hop(&self) -> String {
        let first = self.route_set.first().and_then(|first| NameAddr::parse(first));
        first.map_or_else(|| self.remote_target.clone(), |hop| hop.uri)
    }

    /// Judges a request that came inside the dialog, and takes its CSeq and new Contact.
    ///
    /// # Errors
    /// The status to refuse it with: 500 for one that came out of order (RFC 3261 §12.2.2).
    pub fn admit(&mut self, request: &Message) -> Result<(), u16> {
        let number = request.cseq().ok_or(400u16)?.number;
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Err(500);
        }
        self.remote_cseq = Some(number);
        if let (Some(Method::Invite | Method::Update), Some(target)) =
            (request.method(), contact_uri(request))
        {
            self.remote_target = target;
        }
        Ok(())
    }

    /// Whether a message's tags are this dialog's, seen from us as the receiver.
    pub fn matches(&self, request: &Message) -> bool {
        request.call_id() == self.call_id
            && request.to_tag().as_deref() == Some(&self.local_tag)
            && request.from_tag().as_deref() == Some(&self.remote_tag)
    }
}

/// The URI of the first Contact.
fn contact_uri(message: &Message) -> Option<String> {
    let uri = NameAddr::parse(message.list("contact").first()?)?.uri;
    Uri::parse(&uri).is_some().then_some(uri)
}

#[cfg(test)]
mod tests {
    use super::super::stack::Transport;
    use super::*;

    fn invite(more: &str) -> Message {
        let raw = format!(
            "INVITE sip:1@us SIP/2.0\r\nVia: SIP/2.0/UDP p;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=them\r\nTo: <sip:1@us>\r\n\
             Call-ID: c\r\nCSeq: 5 INVITE\r\nContact: <sip:a@10.0.0.1:5070>\r\n{more}\r\n"
        );
        Message::parse(raw.as_bytes()).unwrap()
    }

    fn peer() -> Peer {
        Peer { address: "127.0.0.1:5060".parse().unwrap(), transport: Transport::Udp }
    }

    #[test]
    fn requests_follow_the_recorded_route_and_tags() {
        let more = "Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n";
        let mut dialog = Dialog::of_caller(&invite(more), "us", peer()).unwrap();
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri(), Some("sip:a@10.0.0.1:5070"));
        assert_eq!(bye.list("route"), ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(bye.value("from"), Some("<sip:1@us>;tag=us"));
        assert_eq!(bye.value("to"), Some("<sip:a@b>;tag=them"));
        assert_eq!(bye.value("cseq"), Some("1 BYE"));
        assert_eq!(dialog.next_hop(), "sip:p1;lr");
    }

    #[test]
    fn a_strict_router_gets_the_request_uri() {
        let mut dialog = Dialog::of_caller(&invite("Record-Route: <sip:strict>\r\n"), "us", peer()).unwrap();
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri(), Some("sip:strict"));
        assert_eq!(bye.list("route"), ["<sip:a@10.0.0.1:5070>"]);
    }

    #[test]
    fn a_request_out_of_order_is_refused_and_a_reinvite_moves_the_target() {
        let mut dialog = Dialog::of_caller(&invite(""), "us", peer()).unwrap();
        assert_eq!(dialog.admit(&invite("")), Err(500));
        let mut again = invite("");
        for (name, value) in &mut again.headers {
            match name.as_str() {
                "CSeq" => *value = "6 INVITE".to_owned(),
                "Contact" => *value = "<sip:a@10.9.9.9>".to_owned(),
                "To" => value.push_str(";tag=us"),
                _ => {}
            }
        }
        assert!(dialog.matches(&again));
        assert_eq!(dialog.admit(&again), Ok(()));
        assert_eq!(dialog.request(Method::Bye).uri(), Some("sip:a@10.9.9.9"));
    }
}
