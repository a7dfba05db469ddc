//! What is not a record of ours is refused whole, and the refusal names the field.

#![allow(clippy::unwrap_used, reason = "a test may unwrap, also in what its cases share")]

mod samples;

use prost::Message;
use samples::{contacts, outcome, routing};
use trunkline_domain::facts::{
    AgentFact, ContactFact, DefinitionKind, DequeueReason, DirectoryFact, FlowOutReason, LogFact, OfferEnd,
    OfferFailure, PassedOverReason, ReleaseOutcome, RoutingFact, UsageUnit,
};
use trunkline_domain::vocabulary::{ContactEndCause, LogName};
use trunkline_proto::agent_state::v1::ReservationOutcome;
use trunkline_proto::contacts::v1::contact_fact::Fact as ContactArm;
use trunkline_proto::convert::{DecodeError, WireFact, decode_any, release_outcome};
use trunkline_proto::envelope::v1::{Outcome, OutcomeHeader, fact::Body};
use trunkline_proto::routing::v1::routing_fact::Fact as RoutingArm;

/// The record of one sample, to spoil.
fn record<F: WireFact>(samples: Vec<samples::Sample<F>>, name: &str) -> Outcome {
    let sample = samples.into_iter().find(|(_, fact)| fact.name() == name).unwrap();
    Outcome::decode(F::encode_outcome(&outcome(&sample))).unwrap()
}

fn refusal<F: WireFact>(record: &Outcome) -> String {
    F::decode_outcome(&record.encode_to_vec()).unwrap_err().to_string()
}

/// Spoils the wire form of one contact fact.
fn contact(name: &str, spoil: impl FnOnce(&mut ContactArm)) -> String {
    let mut record = record(contacts(), name);
    match record.facts[0].body.as_mut() {
        Some(Body::Contacts(body)) => spoil(body.fact.as_mut().unwrap()),
        other => panic!("{other:?}"),
    }
    refusal::<ContactFact>(&record)
}

#[test]
fn a_future_schema_is_refused_before_anything_is_read() {
    let mut record = record(contacts(), "ContactArrived");
    record.schema_version = ContactFact::SCHEMA_VERSION + 1;
    record.facts[0].meta = None;
    let mut bytes = record.encode_to_vec();
    // Field 9 of the future: a length-delimited text this program has never heard of.
    bytes.extend([0x4a, 0x02, b'h', b'i']);
    let refused = ContactFact::decode_outcome(&bytes).unwrap_err();
    assert_eq!(refused, DecodeError::FutureSchema { log: LogName::Contacts, found: 3, known: 2 });
    assert_eq!(
        refused.to_string(),
        "record of log contacts has schema version 3, this program knows up to 2"
    );
}

/// So that readers of the version before go on reading what they understand.
#[test]
fn a_record_bears_the_lowest_version_that_says_what_it_holds() {
    let version = |bytes: &[u8]| OutcomeHeader::decode(bytes).unwrap().schema_version;
    for sample in samples::agents() {
        let expected = match sample.0 {
            "open" => 2,
            "chat" | "email" => 3,
            _ => 1,
        };
        let bytes = AgentFact::encode_outcome(&samples::outcome(&sample));
        assert_eq!(version(&bytes), expected, "{} {}", sample.1.name(), sample.0);
    }
    fn seen<F: WireFact>(samples: Vec<samples::Sample<F>>) -> Vec<String> {
        let raised = samples.iter().filter_map(|sample| {
            let bytes = F::encode_outcome(&samples::outcome(sample));
            let version = OutcomeHeader::decode(&bytes[..]).unwrap().schema_version;
            (version > 1).then(|| format!("{} {} {version}", sample.1.name(), sample.0))
        });
        raised.collect()
    }
    assert_eq!(
        seen(samples::directory()),
        [
            "QueueDefined asked 2",
            "QueueDefined planned 4",
            "AgentDefined levels 4",
            "AgentDefined channels 3"
        ]
    );
    assert_eq!(
        seen(samples::contacts()),
        ["ContactQueueRequested levels 2", "ContactFlowedOut overflowed 2"]
    );
    assert_eq!(
        seen(samples::routing()),
        ["ContactQueued planned 2", "StepBegan  2", "ContactReplanned  2", "OfferMade selected 2"]
    );
}

#[test]
fn bytes_that_are_no_record_are_refused() {
    for (bytes, refused) in [
        (&b""[..], "Outcome.log is missing"),
        (&[0x08, 0x01][..], "Outcome.log is missing"),
        (&[0x10, 0x02][..], "Outcome.schema_version is missing"),
        (&[0x08, 0x01, 0x10, 0x63][..], "Outcome.log has the unknown value 99"),
        (&[0x08, 0x01, 0x10, 0x03][..], "expected a record of log contacts, found one of routing"),
        (&[0x08, 0x01, 0x10, 0x02, 0x2a, 0x05, 0x01][..], "could not parse OutcomeHeader"),
        (&[0x08, 0x01, 0x10, 0x02, 0x2a, 0x01, 0xff][..], "could not parse Outcome"),
        (&[0xff; 12][..], "could not parse OutcomeHeader"),
    ] {
        assert_eq!(ContactFact::decode_outcome(bytes).unwrap_err().to_string(), refused, "{bytes:02x?}");
        assert_eq!(decode_any(LogName::Contacts, bytes).unwrap_err().to_string(), refused);
    }
}

#[test]
fn an_envelope_with_a_hole_is_refused() {
    let spoilt = |spoil: fn(&mut Outcome)| {
        let mut it = record(contacts(), "ContactArrived");
        spoil(&mut it);
        refusal::<ContactFact>(&it)
    };
    assert_eq!(spoilt(|it| it.facts[0].meta = None), "Fact.meta is missing");
    assert_eq!(spoilt(|it| it.facts[0].body = None), "Fact.body holds no known arm");
    assert_eq!(spoilt(|it| it.consumed[0].log = 0), "InputPosition.log is missing");
    assert_eq!(spoilt(|it| it.facts[0].meta.as_mut().unwrap().event_id.clear()), "Meta.event_id is missing");
    assert_eq!(
        spoilt(|it| it.facts[0].meta.as_mut().unwrap().causation_id = "ctc_x".into()),
        "Meta.causation_id is not a valid id"
    );
    assert_eq!(
        spoilt(|it| it.facts[0].body = record(routing(), "OfferMade").facts[0].body.clone()),
        "expected a record of log contacts, found one of routing"
    );
    assert_eq!(
        spoilt(|it| match it.facts[0].body.as_mut() {
            Some(Body::Contacts(body)) => body.fact = None,
            other => panic!("{other:?}"),
        }),
        "ContactFact.fact holds no known arm"
    );
}

/// As a reader of today meets a fact of tomorrow that came without a new schema version.
#[test]
fn an_arm_this_program_does_not_know_is_refused() {
    let mut bytes = Outcome { facts: vec![], ..record(contacts(), "ContactArrived") }.encode_to_vec();
    let meta = record(contacts(), "ContactArrived").facts[0].meta.clone().unwrap().encode_to_vec();
    // ContactFact, field 900, empty message; in Fact as field 3, beside its meta.
    let body = [0xa2, 0x38, 0x00];
    let mut fact = vec![0x0a, u8::try_from(meta.len()).unwrap_or_else(|_| panic!("one length byte"))];
    if meta.len() > 127 {
        fact = vec![0x0a, (meta.len() & 0x7f) as u8 | 0x80, (meta.len() >> 7) as u8];
    }
    fact.extend(meta);
    fact.extend([0x1a, body.len() as u8]);
    fact.extend(body);
    bytes.extend([0x2a, (fact.len() & 0x7f) as u8 | 0x80, (fact.len() >> 7) as u8]);
    bytes.extend(fact);
    let refused = ContactFact::decode_outcome(&bytes).unwrap_err();
    assert_eq!(refused, DecodeError::UnknownArm { field: "ContactFact.fact" });
}

#[test]
fn a_spoilt_field_is_named() {
    macro_rules! spoil {
        ($arm:ident, $field:ident = $value:expr) => {
            contact(stringify!($arm), |fact| match fact {
                ContactArm::$arm(it) => it.$field = $value,
                other => panic!("{other:?}"),
            })
        };
    }
    for (refused, expected) in [
        (spoil!(ContactArrived, contact_id = String::new()), "ContactArrived.contact_id is missing"),
        (spoil!(ContactArrived, contact_id = "agt_a".into()), "ContactArrived.contact_id is not a valid id"),
        (spoil!(ContactArrived, company_id = "cmp_A".into()), "ContactArrived.company_id is not a valid id"),
        (spoil!(ContactArrived, caller = "0151".into()), "ContactArrived.caller is not a telephone number"),
        (spoil!(LegAnswered, party = 0), "LegAnswered.party is missing"),
        (spoil!(LegAnswered, party = 77), "LegAnswered.party has the unknown value 77"),
        (spoil!(OfferDeclined, sip_status = 70_000), "OfferDeclined.sip_status is out of range: 70000"),
        (spoil!(ContactEnded, sip_status = Some(65_536)), "ContactEnded.sip_status is out of range: 65536"),
        (spoil!(ContactEnded, cause = 0), "ContactEnded.cause is missing"),
        (
            spoil!(ContactQueueRequested, required_skills = vec!["skl_a".into(), String::new()]),
            "ContactQueueRequested.required_skills is missing",
        ),
    ] {
        assert_eq!(refused, expected);
    }
}

#[test]
fn a_refused_number_is_not_repeated() {
    let mut record = record(samples::directory(), "BlocklistEntryDefined");
    let text = "4915112345678";
    match record.facts[0].body.as_mut() {
        Some(Body::Directory(body)) => match body.fact.as_mut() {
            Some(trunkline_proto::directory::v1::directory_fact::Fact::BlocklistEntryDefined(it)) => {
                it.blocklist_entry.as_mut().unwrap().number = text.to_owned();
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    let refused = DirectoryFact::decode_outcome(&record.encode_to_vec()).unwrap_err();
    assert_eq!(refused.to_string(), "BlocklistEntry.number is not a telephone number");
    assert!(!format!("{refused:?}").contains(text));
}

#[test]
fn a_failure_stands_beside_a_failed_offer_and_nowhere_else() {
    let ended = |kind, failure| {
        let mut record = record(routing(), "OfferEnded");
        match record.facts[0].body.as_mut() {
            Some(Body::Routing(body)) => match body.fact.as_mut() {
                Some(RoutingArm::OfferEnded(it)) => {
                    it.end = Some(trunkline_proto::routing::v1::OfferEnd { kind, failure });
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
        match RoutingFact::decode_outcome(&record.encode_to_vec()) {
            Ok(read) => match &read.facts[0].fact {
                RoutingFact::OfferEnded { end, .. } => Ok(*end),
                other => panic!("{other:?}"),
            },
            Err(refused) => Err(refused.to_string()),
        }
    };
    for (number, end) in [OfferEnd::Declined, OfferEnd::Unanswered, OfferEnd::Withdrawn, OfferEnd::Lapsed]
        .into_iter()
        .enumerate()
    {
        assert_eq!(ended(number as i32 + 1, 0), Ok(end));
    }
    for (number, failure) in OfferFailure::ALL.into_iter().enumerate() {
        assert_eq!(ended(5, number as i32 + 1), Ok(OfferEnd::Failed(failure)));
    }
    assert_eq!(ended(5, 0), Err("OfferEnd.failure is missing".to_owned()));
    assert_eq!(ended(1, 2), Err("OfferEnd.failure has the unknown value 2".to_owned()));
    assert_eq!(ended(0, 0), Err("OfferEnd.kind is missing".to_owned()));
    assert_eq!(ended(9, 0), Err("OfferEnd.kind has the unknown value 9".to_owned()));
}

/// Every value of every enum that facts use, through a fact and back.
#[test]
fn every_value_of_every_enum_comes_back() {
    fn round<F: WireFact>(name: &str, samples: Vec<samples::Sample<F>>, set: impl FnOnce(&mut F)) {
        let mut sample = samples.into_iter().find(|(_, fact)| fact.name() == name).unwrap();
        set(&mut sample.1);
        let given = outcome(&sample);
        assert_eq!(F::decode_outcome(&F::encode_outcome(&given)), Ok(given));
    }
    macro_rules! set {
        ($log:ident, $enum:ident :: $arm:ident . $field:ident, $values:expr) => {
            for value in $values {
                round(stringify!($arm), samples::$log(), |fact| match fact {
                    trunkline_domain::facts::$enum::$arm { $field, .. } => *$field = value,
                    other => panic!("{other:?}"),
                });
            }
        };
    }
    set!(contacts, ContactFact::ContactEnded.cause, ContactEndCause::ALL);
    set!(contacts, ContactFact::OfferFailed.reason, OfferFailure::ALL);
    set!(contacts, ContactFact::ContactFlowedOut.reason, FlowOutReason::ALL);
    set!(routing, RoutingFact::ContactDequeued.reason, DequeueReason::ALL);
    set!(agents, AgentFact::ReservationReleased.outcome, ReleaseOutcome::ALL);
    set!(billing, BillingFact::UsageRated.unit, UsageUnit::ALL);
    set!(directory, DirectoryFact::DefinitionRetired.kind, DefinitionKind::ALL);
    for reason in PassedOverReason::ALL {
        round("OfferMade", samples::routing(), |fact| match fact {
            RoutingFact::OfferMade { passed_over, .. } => passed_over[0].reason = reason,
            other => panic!("{other:?}"),
        });
    }
}

#[test]
fn the_outcome_in_a_release_command_is_the_one_in_the_fact() {
    for outcome in ReleaseOutcome::ALL {
        assert_eq!(release_outcome(ReservationOutcome::from(outcome) as i32), Ok(outcome));
    }
    assert!(release_outcome(0).is_err());
    assert!(release_outcome(10).is_err());
}

#[test]
fn cutting_or_flipping_a_record_anywhere_never_panics() {
    for sample in contacts() {
        let bytes = ContactFact::encode_outcome(&outcome(&sample));
        for end in 0..bytes.len() {
            let _ = ContactFact::decode_outcome(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << bit;
                let _ = ContactFact::decode_outcome(&flipped);
            }
        }
        assert_eq!(sample.1.stream(), outcome(&sample).facts[0].meta.stream);
    }
}
