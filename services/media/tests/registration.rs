//! Phones register: digest good, bad, stale and replayed; bindings listed, refreshed and taken back.

#![allow(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod support;

use md5::{Digest as _, Md5};
use support::ua::Ua;
use support::*;
use trunkline_domain::facts::AgentFact;
use trunkline_domain::vocabulary::Cell;
use trunkline_media::sip::fields::split_list;
use trunkline_media::sip::message::{Message, Method};
use trunkline_runtime::event_log::ReadFrom;
use trunkline_runtime::facts::FactReader;

struct Phone {
    ua: Ua,
    cseq: u32,
}

fn hash(sha256: bool, text: &str) -> String {
    if sha256 { hex::encode(sha2::Sha256::digest(text)) } else { hex::encode(Md5::digest(text)) }
}

fn challenge_param(challenge: &str, name: &str) -> String {
    let rest = challenge.strip_prefix("Digest ").unwrap();
    let prefix = format!("{name}=");
    let part = split_list(rest).into_iter().find_map(|part| part.strip_prefix(&prefix).map(str::to_owned));
    part.unwrap_or_default().trim_matches('"').to_owned()
}

/// The value of Authorization that answers a challenge.
fn credentials(challenge: &str, user: &str, password: &str, nc: u32) -> String {
    let sha256 = challenge_param(challenge, "algorithm") == "SHA-256";
    let nonce = challenge_param(challenge, "nonce");
    let ha1 = hash(sha256, &format!("{user}:trunkline:{password}"));
    let ha2 = hash(sha256, "REGISTER:sip:trunkline");
    let response = hash(sha256, &format!("{ha1}:{nonce}:{nc:08x}:abc:auth:{ha2}"));
    let algorithm = if sha256 { "SHA-256" } else { "MD5" };
    format!(
        "Digest username=\"{user}\", realm=\"trunkline\", nonce=\"{nonce}\", uri=\"sip:trunkline\", \
         response=\"{response}\", algorithm={algorithm}, cnonce=\"abc\", qop=auth, nc={nc:08x}"
    )
}

impl Phone {
    async fn register(&mut self, more: &[(&str, &str)]) -> Message {
        self.cseq += 1;
        let mut request = Message::request(Method::Register, "sip:trunkline")
            .with("Via", self.ua.via())
            .with("From", "<sip:anna@trunkline>;tag=phone")
            .with("To", "<sip:anna@trunkline>")
            .with("Call-ID", "registration")
            .with("CSeq", format!("{} REGISTER", self.cseq));
        for (name, value) in more {
            request.push(name, *value);
        }
        self.ua.send(&request).await;
        self.ua.answer(Method::Register).await
    }

    async fn challenges(&mut self) -> Vec<String> {
        let answer = self.register(&[]).await;
        assert_eq!(answer.status(), Some(401));
        answer.values("www-authenticate").map(str::to_owned).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_phone_registers_with_either_hash_and_with_nothing_else() {
    let world = World::new().await;
    let node = world.start(world.config()).await;
    let mut phone = Phone { ua: Ua::new(node.sip).await, cseq: 0 };
    let contact = format!("<sip:anna@{}>", phone.ua.address);
    let challenges = phone.challenges().await;
    assert_eq!(challenges.len(), 2, "MD5 and SHA-256: {challenges:?}");
    for challenge in &challenges {
        let good = credentials(challenge, "anna", ANNA_PASSWORD, 1);
        let bad = credentials(challenge, "anna", "guess", 1);
        let other = credentials(challenge, "berta", ANNA_PASSWORD, 1);
        for wrong in [bad.as_str(), other.as_str(), "Basic YTpi", "Digest nonsense"] {
            let answer = phone.register(&[("Authorization", wrong), ("Contact", &contact)]).await;
            assert_eq!(answer.status(), Some(403), "{wrong}");
        }
        // Both challenges have one nonce: the count goes on.
        let fresh = phone.challenges().await;
        let same =
            fresh.iter().find(|c| challenge_param(c, "algorithm") == challenge_param(challenge, "algorithm"));
        let good = if challenge == &challenges[0] {
            good
        } else {
            credentials(same.unwrap(), "anna", ANNA_PASSWORD, 1)
        };
        let answer =
            phone.register(&[("Authorization", &good), ("Contact", &contact), ("Expires", "60")]).await;
        assert_eq!(answer.status(), Some(200));
        assert_eq!(answer.list("contact"), [format!("{contact};expires=60")]);
        let replayed = phone.register(&[("Authorization", &good), ("Contact", &contact)]).await;
        assert_eq!(replayed.status(), Some(401));
        assert!(replayed.value("www-authenticate").unwrap().contains("stale=true"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_are_bounded_listed_and_taken_back() {
    let world = World::new().await;
    let node = world.start(world.config()).await;
    let mut phone = Phone { ua: Ua::new(node.sip).await, cseq: 0 };
    let contact = format!("<sip:anna@{}>", phone.ua.address);
    let challenge = phone.challenges().await.remove(0);
    let mut count = 0;
    let mut auth = || {
        count += 1;
        credentials(&challenge, "anna", ANNA_PASSWORD, count)
    };
    let brief = phone.register(&[("Authorization", &auth()), ("Contact", &contact), ("Expires", "5")]).await;
    assert_eq!((brief.status(), brief.value("min-expires")), (Some(423), Some("10")));
    let long =
        phone.register(&[("Authorization", &auth()), ("Contact", &contact), ("Expires", "999999")]).await;
    assert_eq!(long.list("contact"), [format!("{contact};expires=3600")]);
    for nonsense in ["*", "<mailto:x@y>", "<sip:>"] {
        let answer = phone.register(&[("Authorization", &auth()), ("Contact", nonsense)]).await;
        assert_eq!(answer.status(), Some(400), "{nonsense}");
    }
    let clear = phone.register(&[("Authorization", &auth()), ("Contact", &contact), ("Expires", "0")]).await;
    assert_eq!((clear.status(), clear.list("contact").len()), (Some(200), 0));

    let mut agents = FactReader::<AgentFact>::open(&world.log, Cell(0), ReadFrom::Start).await.unwrap();
    let mut told = Vec::new();
    let read = async {
        while told.len() < 2 {
            told.extend(agents.next().await.unwrap().outcome.facts.into_iter().map(|f| f.fact));
        }
    };
    tokio::time::timeout(PATIENCE, read).await.unwrap();
    let uri = format!("sip:anna@{}", phone.ua.address);
    assert!(matches!(&told[0], AgentFact::DeviceRegistered { contact_uri, .. } if *contact_uri == uri));
    assert!(matches!(&told[1], AgentFact::DeviceUnregistered { .. }));
}
