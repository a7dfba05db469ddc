//! Where the test data is.
#![allow(dead_code, reason = "each test program uses its part")]

use std::path::PathBuf;

/// A file of the test data; `None`, said aloud, when it is not there. In CI it must be.
pub fn path(name: &str) -> Option<PathBuf> {
    let root = std::env::var("TRUNKLINE_DATA").unwrap_or_else(|_| "../../../shared/data".to_owned());
    let path = PathBuf::from(root).join(name);
    if path.exists() {
        return Some(path);
    }
    let said = format!("test data {} is not there: set TRUNKLINE_DATA", path.display());
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{said}");
    eprintln!("SKIPPED: {said}");
    None
}
