//! One call is one trace, from the INVITE to the invoice item, through all services.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

#[path = "support/collector.rs"]
mod collector;
mod support;

use std::collections::BTreeMap;

use collector::{Collector, Span};
use support::cluster::Cluster;
use support::operator::{ALPHA, Answer, at_work};
use support::{hold, sipp, until};
use tempfile::TempDir;
use trunkline_runtime::telemetry::names::span;

/// Each is the parent of the next or an earlier ancestor; with the service it is told by.
const CHAIN: [(&str, &str); 11] = [
    (span::CONTACT, "media"),
    (span::INVITE, "media"),
    (span::FLOW, "media"),
    (span::QUEUE, "routing"),
    (span::RESERVE, "routing"),
    (span::OFFER, "routing"),
    (span::ALERT, "media"),
    (span::ACCEPT, "media"),
    (span::BRIDGE, "media"),
    (span::HANG_UP, "media"),
    (span::REPORT_CELL, "reporting"),
];

/// The names of a span and of its ancestors, from the root.
fn path(spans: &BTreeMap<String, Span>, of: &Span) -> Vec<String> {
    let mut path = vec![of.name.clone()];
    let mut at = of;
    while let Some(parent) = spans.get(&at.parent) {
        assert!(path.len() < 50, "a circle: {path:?}");
        path.insert(0, parent.name.clone());
        at = parent;
    }
    path
}

/// Whether `chain` is a subsequence of `path` that begins where it begins.
fn leads(path: &[String], chain: &[&str]) -> bool {
    let mut rest = path.iter();
    path.first().map(String::as_str) == chain.first().copied()
        && chain.iter().all(|wanted| rest.any(|name| name == wanted))
}

#[test]
fn one_call_is_one_trace_from_its_invite_to_its_report_cell_and_its_invoice_item() {
    let dir = TempDir::new().unwrap();
    let collector = Collector::default();
    let endpoint = format!("telemetry.otlp_endpoint={}", collector.serve());
    let cluster = Cluster::with_operator(&dir.path().join("data"), &["--set", &endpoint]);
    let _phone = at_work(&cluster, dir.path(), "agt_1", &[Answer::Talk]);

    sipp::call(dir.path(), cluster.sip(), "+4917139200001", ALPHA, 3_000).ends_well();

    let names: Vec<&str> = CHAIN.iter().map(|(name, _)| *name).collect();
    let mut rated = names.clone();
    *rated.last_mut().unwrap() = span::RATE;
    // The exporters send what has ended every few seconds.
    let spans = until("the whole chain", || {
        let spans: BTreeMap<String, Span> =
            collector.spans().into_iter().map(|span| (span.id.clone(), span)).collect();
        for chain in [&names, &rated] {
            let last = *chain.last().unwrap();
            let paths: Vec<_> =
                spans.values().filter(|it| it.name == last).map(|it| path(&spans, it)).collect();
            let all: Vec<&str> = spans.values().map(|it| it.name.as_str()).collect();
            hold(paths.iter().any(|path| leads(path, chain)), (last, &paths, all))?;
        }
        Ok(spans)
    });

    let contacts: Vec<&Span> = spans.values().filter(|it| it.name == span::CONTACT).collect();
    assert_eq!(contacts.len(), 1, "{contacts:?}");
    assert_eq!(contacts[0].parent, "", "the contact is the root");
    for (name, service) in CHAIN.into_iter().chain([(span::RATE, "billing")]) {
        for it in spans.values().filter(|it| it.name == name) {
            assert_eq!((it.service.as_str(), &it.trace), (service, &contacts[0].trace), "{it:?}");
        }
    }
    cluster.quiet();
    cluster.stop();
}
