//! Machine-readable reasons are part of the contract: every one in the sources has the one form.

#![allow(clippy::unwrap_used, reason = "a test may unwrap")]

use std::fs;
use std::path::{Path, PathBuf};

use trunkline_runtime::grpc::well_formed;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
}

/// The text literals that stand right behind a kind of rejection, as in `status_of(RejectionKind::Conflict, "STALE_BASE", …)`.
fn reasons(text: &str) -> Vec<String> {
    let behind_kind = |part: &str| {
        let (kind, rest) = part.split_once(',')?;
        let literal = rest.trim_start().strip_prefix('"')?;
        let named = !kind.is_empty() && kind.bytes().all(|it| it.is_ascii_alphanumeric());
        named.then(|| literal.split('"').next().unwrap_or_default().to_owned())
    };
    text.split("RejectionKind::").skip(1).filter_map(behind_kind).collect()
}

#[test]
fn every_reason_in_the_services_is_upper_snake_case() {
    let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services");
    let mut files = Vec::new();
    for service in fs::read_dir(services).unwrap() {
        sources(&service.unwrap().path().join("src"), &mut files);
    }
    let mut count = 0;
    for file in files {
        for reason in reasons(&fs::read_to_string(&file).unwrap()) {
            assert!(well_formed(&reason), "{}: `{reason}`", file.display());
            count += 1;
        }
    }
    assert!(count >= 30, "only {count} reasons were found: the form in which they stand has changed");
}

#[test]
fn a_reason_of_another_form_would_be_found() {
    let text =
        "refuse(RejectionKind::NotFound,\n    \"unknown_company\", message); RejectionKind::Conflict => 1,";
    assert_eq!(reasons(text), ["unknown_company"]);
    assert!(!well_formed("unknown_company"));
}
