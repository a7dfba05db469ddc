//! docs/ARCHITECTURE.md says where each promise is checked, and where to begin reading. It has to stay true.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

use std::fs;
use std::path::{Path, PathBuf};

use trunkline_chaos::INVARIANTS;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn page() -> String {
    fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap()
}

/// What stands between backticks.
fn quoted(page: &str) -> Vec<&str> {
    page.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// A path from the root, as `crates/…`; names of logs, lanes and files beside a named one are none.
fn path(text: &str) -> bool {
    let folders = ["chaos/", "crates/", "deploy/", "docs/", "loadtest/", "proto/", "services/"];
    folders.iter().any(|folder| text.starts_with(folder)) && !text.contains(['<', '*', ' '])
}

#[test]
fn every_invariant_has_its_promise_on_the_page() {
    let page = page();
    let promises: Vec<&str> =
        page.split("## The promises").nth(1).unwrap().lines().filter(|it| it.starts_with("| ")).collect();
    for invariant in INVARIANTS {
        let name = format!("`{}`", invariant.name);
        assert!(promises.iter().any(|row| row.contains(&name)), "{name} stands for no promise on the page");
    }
}

#[test]
fn every_path_on_the_page_is_there() {
    let page = page();
    let paths: Vec<&str> = quoted(&page).into_iter().filter(|text| path(text)).collect();
    assert!(paths.len() > 20, "{paths:?}");
    let missing: Vec<&&str> = paths.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_is_a_path_is_told_from_what_is_none() {
    assert_eq!(quoted("a `b` c `d/e`\n`f`"), ["b", "d/e", "f"]);
    for (text, expected) in [
        ("chaos/src/lib.rs", true),
        ("media/<node>", false),
        ("services/<name>/src", false),
        ("arrival.rs", false),
        ("src/lib.rs", false),
    ] {
        assert_eq!(path(text), expected, "{text}");
    }
}
