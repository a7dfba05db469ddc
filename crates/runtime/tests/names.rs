//! What telemetry/names.rs names is emitted somewhere: a name that nobody uses promises a number nobody will see.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("telemetry/names.rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

/// The constants of a source with names, as `names::X`, `span::X` or `attribute::X`.
fn constants(source: &str) -> Vec<String> {
    let mut module = "names";
    let mut found = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("pub mod ") {
            module = rest.trim_end_matches(" {");
        }
        let metric = line.split_once(" \"trunkline.").map(|(name, _)| name);
        let constant = line.strip_prefix("pub const ").and_then(|rest| rest.split_once(": &str = "));
        let name = constant.map(|(name, _)| name).or(metric).filter(|name| {
            name.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_')
        });
        found.extend(name.map(|name| format!("{module}::{name}")));
    }
    found
}

fn used(constant: &str, text: &str) -> bool {
    let whole = |rest: &str| !rest.starts_with(|it: char| it.is_ascii_alphanumeric() || it == '_');
    text.match_indices(constant).any(|(at, _)| whole(&text[at + constant.len()..]))
}

#[test]
fn every_name_of_a_metric_a_span_and_an_attribute_is_used() {
    let mut text = String::new();
    for folder in ["crates/runtime/src", "services"] {
        sources(&root().join(folder), &mut text);
    }
    let names = constants(&fs::read_to_string(root().join("crates/runtime/src/telemetry/names.rs")).unwrap());
    assert!(names.len() > 50, "only {} names were found: {names:?}", names.len());
    let unused: Vec<&String> = names.iter().filter(|name| !used(name, &text)).collect();
    assert!(unused.is_empty(), "emitted by nobody: {unused:?}");
}

#[test]
fn a_name_that_nobody_uses_would_be_found() {
    let source =
        "metrics! {\n    A \"trunkline.a\" \"A.\";\n}\npub mod span {\n    pub const B: &str = \"b\";\n}";
    assert_eq!(constants(source), ["names::A", "span::B"]);
    assert!(used("names::A", "x(names::A)"));
    assert!(!used("names::A", "names::AB"));
}
