//! What the voters need for a large floor: memory, the time of a snapshot, the time of a restart.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::stream::{self, TryStreamExt};
use serde::Serialize;

use super::VOTER_COUNT;
use crate::Failure;
use crate::floor::{Floor, Offer, decided, token};
use crate::rig::{Place, Voters};

const AGENT_COUNT: usize = 10_000;
const RESERVATION_COUNT: usize = 2_000;
/// Reservations asked for at the same time.
const AT_ONCE: usize = 64;
/// So few that snapshots are made while the floor fills, each of a larger state.
const SETTINGS: &[&str] = &["agent_state.snapshot_every=1000"];
/// How long a voter may take to be ready again before it counts as never.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// What may be needed.
#[derive(Debug, Clone, Copy, Serialize)]
struct Needs {
    /// The most resident memory of any voter at any time, in MiB.
    memory_mib: u64,
    /// The slowest of the last snapshots, from the state until its file is durable, in ms.
    snapshot_ms: u64,
    /// The slowest restart after kill -9, from the start of the process until it is ready, in ms.
    restart_ms: u64,
}

const BAR: Needs = Needs { memory_mib: 512, snapshot_ms: 1_000, restart_ms: 3_000 };

impl Needs {
    fn within(self, bar: Self) -> bool {
        self.memory_mib <= bar.memory_mib
            && self.snapshot_ms <= bar.snapshot_ms
            && self.restart_ms <= bar.restart_ms
    }
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    bench: &'static str,
    case: String,
    ours: Needs,
    bar: Needs,
    pass: bool,
    /// The largest snapshot file, in bytes.
    snapshot_bytes: u64,
    build: &'static str,
    machine: &'a str,
}

/// Fills a floor, and writes one line of JSON to `out`; gives whether the bar is met.
///
/// # Errors
/// When the voters do not come up, refuse, or differ after their restarts.
pub(super) async fn measured(
    dir: &Path,
    program: &Path,
    machine: &str,
    out: &mut (dyn Write + Send),
) -> Result<bool, Failure> {
    let places = vec![Place::default(); VOTER_COUNT];
    let voters = Voters::start_at(dir, program, places, SETTINGS).await?;
    let floor = Floor::open(&voters.addresses(), AGENT_COUNT).await?;
    eprintln!("bench: {AGENT_COUNT} agents are signed in and ready");
    let offers = stream::iter((0..RESERVATION_COUNT).map(Ok::<_, Failure>));
    offers.try_for_each_concurrent(AT_ONCE, |agent| reserve(&floor, agent)).await?;
    voters.published().await?;
    let (mut needs, mut snapshot_bytes) = (Needs { memory_mib: 0, snapshot_ms: 0, restart_ms: 0 }, 0);
    for voter in &voters.processes {
        let failed = |what: &str| Failure::new(format!("{} does not tell its {what}", voter.name));
        let memory_kib = voter.memory_kib_max().ok_or_else(|| failed("memory"))?;
        let snapshot_ms = voter.metric("trunkline_agent_state_snapshot_ms").await;
        let snapshot_ms = snapshot_ms.ok_or_else(|| failed("snapshot"))? as u64;
        needs.memory_mib = needs.memory_mib.max(memory_kib.div_ceil(1 << 10));
        needs.snapshot_ms = needs.snapshot_ms.max(snapshot_ms);
        snapshot_bytes = snapshot_bytes.max(largest(&voter.data.join("agent-state").join("snapshots"))?);
    }
    if snapshot_bytes == 0 {
        return Err(Failure::new("no snapshot was made"));
    }
    let before = voters.agree().await?;
    for voter in &voters.processes {
        voter.kill().await?;
        let begun = Instant::now();
        voter.start(voters.program())?;
        voter.ready(READY_WITHIN).await?;
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        needs.restart_ms = needs.restart_ms.max(took);
        voters.ready().await?;
    }
    for voter in &voters.processes {
        let memory_kib = voter.memory_kib_max().unwrap_or_default();
        needs.memory_mib = needs.memory_mib.max(memory_kib.div_ceil(1 << 10));
    }
    let after = voters.agree().await?;
    eprintln!(
        "bench: state {} at {} before the restarts, {} at {} after",
        before.1, before.0, after.1, after.0
    );
    let line = Line {
        bench: "raft",
        case: format!("crowd/agents={AGENT_COUNT},reservations={RESERVATION_COUNT}"),
        ours: needs,
        bar: BAR,
        pass: needs.within(BAR),
        snapshot_bytes,
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        machine,
    };
    writeln!(out, "{}", serde_json::to_string(&line).map_err(Failure::new)?)?;
    voters.stop().await?;
    Ok(line.pass)
}

async fn reserve(floor: &Floor, agent: usize) -> Result<(), Failure> {
    let offer = Offer { agent, name: format!("crowd-{agent}") };
    let request = floor.reserve(&offer);
    let answer = decided(|| floor.client().reserve_agents(request.clone())).await?;
    match token(&answer) {
        Some(_) => Ok(()),
        None => Err(Failure::new(format!("agent {agent} was not reserved: {answer:?}"))),
    }
}

/// The size of the largest file in a directory, in bytes.
fn largest(dir: &Path) -> Result<u64, Failure> {
    let mut largest = 0;
    for entry in fs::read_dir(dir)? {
        largest = largest.max(entry?.metadata()?.len());
    }
    Ok(largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_has_to_be_within_the_bar() {
        let needs = |memory_mib, snapshot_ms, restart_ms| Needs { memory_mib, snapshot_ms, restart_ms };
        for (needs, within) in [
            (needs(512, 1_000, 3_000), true),
            (needs(513, 0, 0), false),
            (needs(0, 1_001, 0), false),
            (needs(0, 0, 3_001), false),
        ] {
            assert_eq!(needs.within(BAR), within, "{needs:?}");
        }
    }
}
