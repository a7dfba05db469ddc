//! A group of voters, each a process of its own: `trunkline serve agent-state`, with a data directory, an embedded log and
//! ports of its own.
//!
//! Each voter publishes what it leads into its own log, which nobody reads here: what clients see does not depend on it.
//! Snapshots are made far more often than usual, so that voters which begin again do so from one.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::join_all;
use rustix::process::Signal;
use trunkline_loadtest::Failure;
use trunkline_loadtest::rig::Process;

/// How many vote.
pub const VOTER_COUNT: usize = 3;
/// Ports are taken from here on: below those the system gives out on its own, above those of a rig.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How long a voter may take to serve.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long one may take to drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// Voters that run. Ended, the hard way, when this is dropped.
#[derive(Debug)]
pub struct Group {
    program: PathBuf,
    voters: Vec<Process>,
}

impl Group {
    /// Starts a new group in `dir`, emptied first, and waits until it serves.
    ///
    /// # Errors
    /// When a voter does not come up; the message names its log.
    pub async fn start(dir: &Path, program: &Path) -> Result<Self, Failure> {
        if dir.exists() {
            std::fs::remove_dir_all(dir)?;
        }
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let config = dir.join("trunkline.toml");
        std::fs::write(&config, "[log]\nkind = \"embedded\"\n")?;
        let mut ports = free_ports();
        let mut address = || {
            let port = ports.next().ok_or_else(|| Failure::new(format!("no port of {PORTS:?} is free")))?;
            Ok::<_, Failure>(format!("127.0.0.1:{port}"))
        };
        let mut voters = Vec::new();
        for number in 1..=VOTER_COUNT {
            let name = format!("agent-state-{number}");
            voters.push(Process {
                data: dir.join(&name),
                config: config.clone(),
                name,
                service: "agent-state".to_owned(),
                grpc: address()?,
                http: String::new(),
                sip: String::new(),
                ops: address()?,
                settings: Vec::new(),
            });
        }
        let peers: Vec<String> = voters.iter().map(|voter| voter.grpc.clone()).collect();
        for voter in &mut voters {
            voter.settings = settings(voter, &peers.join(","));
        }
        let group = Self { program: program.to_owned(), voters };
        for voter in &group.voters {
            voter.start(&group.program)?;
        }
        group.ready().await?;
        Ok(group)
    }

    /// Waits until all voters serve.
    ///
    /// # Errors
    /// When one ends, or does not serve in time.
    pub async fn ready(&self) -> Result<(), Failure> {
        join_all(self.voters.iter().map(|voter| voter.ready(READY_WITHIN))).await.into_iter().collect()
    }

    /// Where the voters answer.
    pub fn addresses(&self) -> Vec<String> {
        self.voters.iter().map(|voter| voter.grpc.clone()).collect()
    }

    /// The voters.
    pub fn voters(&self) -> &[Process] {
        &self.voters
    }

    /// The place of the voter that says it leads, `but` one that is not asked; `None` while none does.
    pub async fn leader(&self, but: Option<usize>) -> Option<usize> {
        for (place, voter) in self.voters.iter().enumerate().filter(|(place, _)| Some(*place) != but) {
            if voter.metric("trunkline_agent_state_raft_leads").await == Some(1.0) {
                return Some(place);
            }
        }
        None
    }

    /// Starts one that does not run.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn begin(&self, place: usize) -> Result<(), Failure> {
        self.voters[place].start(&self.program)
    }

    /// Lets one drain and end.
    ///
    /// # Errors
    /// When it ends otherwise than well.
    pub async fn stop(&self, place: usize) -> Result<(), Failure> {
        let voter = &self.voters[place];
        match voter.stop(STOPPED_WITHIN).await? {
            Some(0) => Ok(()),
            code => Err(Failure::new(format!(
                "{} ended with {code:?}; see {}",
                voter.name,
                voter.log().display()
            ))),
        }
    }

    /// Lets all of them drain and end.
    ///
    /// # Errors
    /// When one ends otherwise than well.
    pub async fn down(self) -> Result<(), Failure> {
        for place in 0..self.voters.len() {
            self.stop(place).await?;
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for voter in &self.voters {
            // What does not run need not be ended.
            if voter.signal(Signal::KILL).is_ok() {
                while voter.pid().is_some() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        }
    }
}

fn settings(voter: &Process, peers: &str) -> Vec<String> {
    vec![
        format!("process.ops_listen={}", voter.ops),
        format!("listen.agent_state={}", voter.grpc),
        format!("agent_state.advertise={}", voter.grpc),
        format!("agent_state.peers={peers}"),
        "agent_state.snapshot_every=500".to_owned(),
        "agent_state.log_keep=300".to_owned(),
        "agent_state.wal_segment_bytes=131072".to_owned(),
    ]
}

/// Begins somewhere else in each process, so that two groups rarely ask for the same.
fn free_ports() -> impl Iterator<Item = u16> {
    let span = PORTS.end - PORTS.start;
    let start = (std::process::id().wrapping_mul(97) % u32::from(span)) as u16;
    let all = (0..span).map(move |nth| PORTS.start + (start + nth) % span);
    all.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}
