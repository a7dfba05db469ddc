use trunkline_domain::facts::{AgentFact, ForcedPresence, ReleaseOutcome};
use trunkline_domain::vocabulary::{AgentId, Channel, ContactId, Epoch, Millis, OfferId, Timestamp};

use super::{NOON, Sample, id};

pub fn agents() -> Vec<Sample<AgentFact>> {
    let contact_id: ContactId = id("ctc_01jnf9h3zqv7e0w1m2x4k5t6r8");
    let agent_id: AgentId = id("agt_anna");
    let offer_id: OfferId = id("ofr_01jnf9h4aab7c8d9e0f1g2h38x");
    let (contact, agent, offer) = (|| contact_id.clone(), || agent_id.clone(), || offer_id.clone());
    let session = || id("ses_01jnf9gzy0a1b2c3d4e5f6g7h8");
    let at = |ms| Timestamp(NOON.0 + ms);
    vec![
        (
            "",
            AgentFact::AgentSignedIn {
                agent_id: agent(),
                session_id: session(),
                site_id: Some(id("sit_berlin")),
            },
        ),
        ("bare", AgentFact::AgentSignedIn { agent_id: agent(), session_id: session(), site_id: None }),
        (
            "",
            AgentFact::AgentSignedOut {
                agent_id: agent(),
                session_id: session(),
                reason: "end of shift".to_owned(),
            },
        ),
        ("", AgentFact::AgentBecameReady { agent_id: agent() }),
        (
            "",
            AgentFact::AgentBecameNotReady {
                agent_id: agent(),
                reason: "lunch".to_owned(),
                until: Some(at(1_800_000)),
            },
        ),
        (
            "bare",
            AgentFact::AgentBecameNotReady {
                agent_id: agent(),
                reason: "missed_offers".to_owned(),
                until: None,
            },
        ),
        (
            "",
            AgentFact::AgentForced {
                agent_id: agent(),
                presence: ForcedPresence::SignedOut,
                author: "Ines Ortega".to_owned(),
                reason: "left without signing out".to_owned(),
                not_ready_reason: String::new(),
                duration_ms: Millis::ZERO,
            },
        ),
        (
            "away",
            AgentFact::AgentForced {
                agent_id: agent(),
                presence: ForcedPresence::NotReady,
                author: "Ines Ortega".to_owned(),
                reason: "fire drill".to_owned(),
                not_ready_reason: "training".to_owned(),
                duration_ms: Millis(900_000),
            },
        ),
        ("", AgentFact::AgentPresenceUnsteady { agent_id: agent(), change_count: 7, since: at(-18_000) }),
        (
            "",
            AgentFact::PauseLimitExceeded {
                agent_id: agent(),
                reason: "lunch".to_owned(),
                limit_ms: Millis(1_800_000),
            },
        ),
        ("", AgentFact::SessionLost { agent_id: agent(), session_id: session() }),
        (
            "",
            AgentFact::DeviceRegistered {
                agent_id: agent(),
                device_id: id("dev_3f2a9c"),
                contact_uri: "sip:anna@192.0.2.17:5062;transport=udp".to_owned(),
                node_id: id("nod_m1"),
                expires_at: at(300_000),
            },
        ),
        (
            "",
            AgentFact::DeviceUnregistered {
                agent_id: agent(),
                device_id: id("dev_3f2a9c"),
                reason: "expired".to_owned(),
            },
        ),
        (
            "",
            AgentFact::AgentReserved {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                token: 77,
                node_id: id("nod_m1"),
                routing_epoch: Epoch(41),
                expires_at: at(20_100),
                channel: Channel::Voice,
            },
        ),
        (
            "",
            AgentFact::ReservationAccepted {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                token: 77,
            },
        ),
        (
            "",
            AgentFact::ReservationReleased {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                token: 77,
                outcome: ReleaseOutcome::CallerGone,
            },
        ),
        (
            "",
            AgentFact::ReservationUnconfirmed {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                token: 77,
                resolves_at: at(10_000),
            },
        ),
        (
            "",
            AgentFact::WrapUpStarted {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                ends_at: Some(at(30_000)),
                channel: Channel::Voice,
            },
        ),
        (
            "chat",
            AgentFact::AgentReserved {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                token: 77,
                node_id: id("nod_m1"),
                routing_epoch: Epoch(41),
                expires_at: at(20_100),
                channel: Channel::Chat,
            },
        ),
        (
            "email",
            AgentFact::WrapUpStarted {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                ends_at: Some(at(30_000)),
                channel: Channel::Email,
            },
        ),
        (
            "open",
            AgentFact::WrapUpStarted {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                company_id: id("cmp_aurora"),
                queue_id: id("que_aurora"),
                ends_at: None,
                channel: Channel::Voice,
            },
        ),
        (
            "",
            AgentFact::WrapUpExtended {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                ends_at: at(60_000),
            },
        ),
        (
            "",
            AgentFact::WrapUpEnded {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                finished_by_agent: true,
                wrap_up_code: String::new(),
            },
        ),
        (
            "bare",
            AgentFact::WrapUpEnded {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                finished_by_agent: false,
                wrap_up_code: String::new(),
            },
        ),
        (
            "coded",
            AgentFact::WrapUpEnded {
                agent_id: agent(),
                offer_id: offer(),
                contact_id: contact(),
                finished_by_agent: true,
                wrap_up_code: "order changed".to_owned(),
            },
        ),
        (
            "",
            AgentFact::LeaseGranted {
                resource: "routing/0".to_owned(),
                holder: id("nod_r1"),
                epoch: Epoch(41),
                expires_at: at(3_000),
                address: "127.0.0.1:7402".to_owned(),
            },
        ),
        (
            "",
            AgentFact::LeaseLapsed {
                resource: "media/nod_m1".to_owned(),
                holder: id("nod_m1"),
                epoch: Epoch(12),
            },
        ),
        (
            "",
            AgentFact::LeaseReleased {
                resource: "billing/0".to_owned(),
                holder: id("nod_b1"),
                epoch: Epoch(13),
            },
        ),
    ]
}
