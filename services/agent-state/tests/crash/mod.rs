//! A disk that forgets what was not synced, histories of a replica on it, and what must be there after a crash.
#![allow(dead_code, clippy::unwrap_used, reason = "tests")]

pub mod commands;
pub mod dice;
pub mod disk;
pub mod history;
pub mod oracle;
pub mod platter;
