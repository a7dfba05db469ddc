//! Every fact has frozen bytes in `golden/<log>/`: they decode to the same core value for ever, and the same core
//! value encodes to the same bytes.
//!
//! `UPDATE_GOLDEN=1` writes files that are missing. No file is ever written again: a fact whose bytes change is a new
//! fact, or the schema version of its log goes up and the old bytes stay readable.

#![allow(clippy::unwrap_used, reason = "a test may unwrap, also in what its cases share")]

mod samples;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use prost::Message;
use prost_reflect::DescriptorPool;
use samples::{Sample, all, outcome};
use trunkline_domain::facts::{AnyFact, Outcome};
use trunkline_domain::vocabulary::{Epoch, InputPosition};
use trunkline_proto::convert::{WireFact, decode_any};
use trunkline_proto::envelope::v1::OutcomeHeader;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// What the fact says, for the reviewer, then the bytes of the whole outcome as hex, 32 a line.
fn page<F: WireFact>(sample: &Sample<F>, bytes: &[u8]) -> String {
    let (log, version) = (F::LOG, OutcomeHeader::decode(bytes).unwrap().schema_version);
    let mut page = format!("# {}, log {log}, schema version {version}\n", sample.1.name());
    for line in format!("{:#?}", sample.1).lines() {
        writeln!(page, "# {line}").unwrap();
    }
    for row in bytes.chunks(32) {
        writeln!(page, "{}", hex::encode(row)).unwrap();
    }
    page
}

fn bytes_of(page: &str) -> Vec<u8> {
    let digits: String = page.lines().filter(|line| !line.starts_with('#')).map(str::trim).collect();
    hex::decode(digits).expect("a golden file holds comments and hex")
}

#[track_caller]
fn check<F: WireFact>(samples: Vec<Sample<F>>) {
    let folder = golden().join(F::LOG.as_str());
    let mut names = BTreeSet::new();
    for sample in &samples {
        let (variant, fact) = sample;
        let name = match *variant {
            "" => fact.name().to_owned(),
            variant => format!("{}.{variant}", fact.name()),
        };
        let path = folder.join(format!("{name}.txt"));
        let encoded = F::encode_outcome(&outcome(sample));
        if std::env::var_os("UPDATE_GOLDEN").is_some() && !path.exists() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, page(sample, &encoded)).unwrap();
        }
        let page = fs::read_to_string(&path).unwrap_or_else(|_| {
            panic!("{name} of log {} has no frozen bytes: run with UPDATE_GOLDEN=1", F::LOG)
        });
        let frozen = bytes_of(&page);
        assert_eq!(F::decode_outcome(&frozen).unwrap(), outcome(sample), "{name} decodes to something else");
        assert_eq!(hex::encode(&encoded), hex::encode(&frozen), "{name} encodes to other bytes");
        assert!(names.insert(format!("{name}.txt")), "two samples are called {name}");
    }
    let files: BTreeSet<String> =
        fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, names, "files in golden/{} and samples are the same set", F::LOG);
}

#[test]
fn directory_facts_keep_their_bytes() {
    check(samples::directory());
}

#[test]
fn contact_facts_keep_their_bytes() {
    check(samples::contacts());
}

#[test]
fn routing_facts_keep_their_bytes() {
    check(samples::routing());
}

#[test]
fn agent_facts_keep_their_bytes() {
    check(samples::agents());
}

#[test]
fn billing_facts_keep_their_bytes() {
    check(samples::billing());
}

/// The conversions match exhaustively, so the arms of the schema are the arms of the core enums.
#[test]
fn every_fact_of_the_schema_has_a_sample() {
    let pool = DescriptorPool::decode(trunkline_proto::DESCRIPTOR).unwrap();
    let sampled: BTreeSet<String> = all().iter().map(|(name, ..)| (*name).to_owned()).collect();
    let logs = ["directory.v1.DirectoryFact", "contacts.v1.ContactFact", "routing.v1.RoutingFact"];
    let more = ["agents.v1.AgentFact", "billing.v1.BillingFact"];
    let mut declared = BTreeSet::new();
    for log in logs.into_iter().chain(more) {
        let message = pool.get_message_by_name(&format!("trunkline.{log}")).unwrap();
        for arm in message.oneofs().next().unwrap().fields() {
            declared.insert(arm.kind().as_message().unwrap().name().to_owned());
        }
    }
    assert_eq!(declared, sampled);
}

#[test]
fn a_record_of_any_log_reads_the_same_as_through_its_own_type() {
    fn same<F: WireFact>(samples: Vec<Sample<F>>, arm: fn(F) -> AnyFact) {
        for sample in &samples {
            let read = decode_any(F::LOG, &F::encode_outcome(&outcome(sample))).unwrap();
            let expected = outcome(sample);
            assert_eq!((read.epoch, read.consumed), (expected.epoch, expected.consumed));
            assert_eq!(read.facts.len(), 1);
            assert_eq!(read.facts[0].meta, expected.facts[0].meta);
            assert_eq!(read.facts[0].fact, arm(sample.1.clone()));
        }
    }
    same(samples::directory(), AnyFact::Directory);
    same(samples::contacts(), AnyFact::Contacts);
    same(samples::routing(), AnyFact::Routing);
    same(samples::agents(), AnyFact::Agents);
    same(samples::billing(), AnyFact::Billing);
}

#[test]
fn an_outcome_may_hold_many_facts_or_only_what_it_consumed() {
    let facts: Vec<_> = samples::routing().iter().flat_map(|it| outcome(it).facts).collect();
    let many = Outcome { epoch: Epoch(u64::MAX), consumed: vec![], facts };
    let read = WireFact::decode_outcome(&WireFact::encode_outcome(&many));
    assert_eq!(read.as_ref(), Ok(&many));

    let consumed: Vec<InputPosition> = outcome(&samples::routing()[0]).consumed;
    let none: Outcome<trunkline_domain::facts::RoutingFact> =
        Outcome { epoch: Epoch(1), consumed, facts: vec![] };
    assert_eq!(WireFact::decode_outcome(&WireFact::encode_outcome(&none)).as_ref(), Ok(&none));
}
