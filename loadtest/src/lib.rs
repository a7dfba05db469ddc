//! Callers and agents played by sipp; the recount; the benches; the cluster as processes on one machine.

pub mod bench_call;
pub mod bench_log;
pub mod bench_raft;
pub mod checks;
pub mod cluster;
pub mod ear;
pub mod facts;
pub mod floor;
pub mod http;
#[cfg(test)]
mod pair_tests;
pub mod plan;
pub mod print;
pub mod recount;
pub mod rig;
pub mod run;
pub mod sabotage;
pub mod sipp;
pub mod stage;

/// Why a run could not be carried through, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    /// From anything that says what is wrong.
    pub fn new(what: impl std::fmt::Display) -> Self {
        Self(what.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error)
    }
}

impl From<http::RestError> for Failure {
    fn from(error: http::RestError) -> Self {
        Self::new(error)
    }
}

/// Ctrl-C or SIGTERM. Whatever runs is dropped, and with it every process.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

/// Processors, memory and the file system under `dir`, as `2 × AMD EPYC 7B13, 23 GiB, ext4`.
pub fn machine(dir: &std::path::Path) -> String {
    bench_log::machine(dir)
}
