//! What the whole-process tests share: a cluster as a process, phones and callers played by sipp, a collector of spans.
//!
//! Nothing here sleeps and hopes: [`until`] asks again and again until an answer holds, and says what it last saw.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod cluster;
pub mod operator;
pub mod sip;
pub mod sipp;

use std::time::{Duration, Instant};

/// The longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until the answer is `Ok`, at most [`DEADLINE`]; an `Err` says what is still missing.
#[track_caller]
pub fn until<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    match within(DEADLINE, ask) {
        Ok(answer) => answer,
        Err(missing) => panic!("{what} did not come within {DEADLINE:?}: {missing}"),
    }
}

/// As [`until`], with a limit of its own and without a verdict.
pub fn within<T>(limit: Duration, mut ask: impl FnMut() -> Result<T, String>) -> Result<T, String> {
    let begun = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(missing) if begun.elapsed() > limit => return Err(missing),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// `Ok` when it holds, else what was seen.
pub fn hold(holds: bool, seen: impl std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{seen:?}")) }
}
