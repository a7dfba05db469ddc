//! A cluster as an operator runs it, on one machine: a process a service, over Apache Kafka, each with a directory, a log
//! file and ports of its own. What is started here outlives the program that started it; the directory tells the next
//! one what runs and how to start it again.
//!
//! ```text
//! DIR/trunkline.toml     what all processes have in common: the log, and who answers where
//! DIR/rig.json           the processes, and how each is started
//! DIR/endpoints.json     where the cluster answers, for `trunkline … --data DIR`
//! DIR/kafka/N/           a broker
//! DIR/<process>/         its data directory, with `trunkline.log`, `pid`, and `endpoints.json` while it runs
//! ```

mod alone;
mod brokers;
mod layout;
mod process;
mod voters;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::alone::Alone;
pub use self::brokers::{Broker, Brokers};
pub(crate) use self::layout::Ports;
pub(crate) use self::process::cpu_ms;
pub use self::process::{Process, State};
pub use self::voters::{Place, Voters};

use crate::Failure;
use crate::http::Rest;

/// The name of the file that describes a rig.
const FILE: &str = "rig.json";
/// How long all processes may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long one may take to drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(40);

/// How large a rig is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Voters of agent-state.
    pub voters: usize,
    /// Brokers of Kafka: 1 or 3.
    pub brokers: usize,
    /// Media nodes.
    pub media: usize,
    /// Owners of routing, all but one of which stand by.
    pub routing: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { voters: 3, brokers: 1, media: 2, routing: 2 }
    }
}

/// The processes of a cluster on this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rig {
    /// Its directory, absolute.
    pub dir: PathBuf,
    /// The `trunkline` program.
    pub program: PathBuf,
    /// How large it is.
    pub shape: Shape,
    /// In the order in which they are started: what others stand on first.
    pub processes: Vec<Process>,
    /// The brokers.
    pub brokers: Brokers,
}

/// Empties the directory that holds a rig in `data`, for another one.
///
/// # Errors
/// When a process of that rig runs: without its directory nobody would find it again.
pub fn clear(dir: &Path) -> Result<(), Failure> {
    if let Ok(rig) = Rig::open(&dir.join("data"))
        && let Some((process, pid)) = rig.processes.iter().find_map(|it| Some((&it.name, it.pid()?)))
    {
        let dir = dir.display();
        return Err(Failure::new(format!("{dir} is in use: {process} of its cluster runs as process {pid}")));
    }
    if dir.exists() {
        std::fs::remove_dir_all(dir)?;
    }
    Ok(())
}

impl Rig {
    /// Makes a rig in an empty directory: starts the brokers, makes the topics and writes down what is to run. No process
    /// of ours runs yet.
    ///
    /// # Errors
    /// When the directory holds something, a broker does not come up, or the topics cannot be made.
    pub async fn make(dir: &Path, program: &Path, shape: Shape) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        if dir.join(FILE).exists() {
            return Err(Failure::new(format!("{} holds a cluster already", dir.display())));
        }
        let brokers = Brokers::up(&dir.join("kafka"), shape.brokers).await?;
        let rig = layout::lay_out(dir, program.canonicalize()?, shape, brokers)?;
        rig.make_topics().await?;
        std::fs::write(rig.dir.join(FILE), serde_json::to_string_pretty(&rig).map_err(Failure::new)?)?;
        Ok(rig)
    }

    /// The rig that was made in a directory.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(dir: &Path) -> Result<Self, Failure> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::new(format!("{} holds no cluster: {error}", dir.display())))?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::new(format!("could not read {}: {error}", path.display())))
    }

    /// Starts whatever does not run, brokers included, and waits until everything is ready.
    ///
    /// # Errors
    /// When something does not come up; the message says what, why, and where its log is.
    pub async fn up(&self) -> Result<(), Failure> {
        Brokers::up(&self.brokers.dir, self.shape.brokers).await?;
        for process in &self.processes {
            if process.pid().is_none() {
                process.start(&self.program)?;
            }
        }
        self.ready().await?;
        self.announce()
    }

    /// Waits until every process is ready.
    ///
    /// # Errors
    /// When one ends, or is not ready in time.
    pub async fn ready(&self) -> Result<(), Failure> {
        let waits = self.processes.iter().map(|process| process.ready(READY_WITHIN));
        join_all(waits).await.into_iter().collect()
    }

    /// Lets every process drain and end, in the order in which they stand on each other; then the brokers. Gives the exit
    /// codes of processes that were started by this program, by name.
    ///
    /// # Errors
    /// When one does not end in time; it is then ended the hard way, as are those after it.
    pub async fn down(&self) -> Result<BTreeMap<String, i32>, Failure> {
        let mut codes = BTreeMap::new();
        let mut late = Vec::new();
        for process in self.processes.iter().rev() {
            match process.stop(STOPPED_WITHIN).await? {
                Some(code) => drop(codes.insert(process.name.clone(), code)),
                None => late.push(process.name.clone()),
            }
        }
        let _ = std::fs::remove_file(self.dir.join("endpoints.json"));
        self.brokers.down().await?;
        match late.as_slice() {
            [] => Ok(codes),
            late => Err(Failure::new(format!("{} did not end in time", late.join(", ")))),
        }
    }

    /// Ends everything the hard way, brokers included.
    pub fn kill_all(&self) {
        for process in &self.processes {
            // What does not run need not be ended.
            let _ = process.signal(Signal::KILL);
        }
        for broker in &self.brokers.brokers {
            broker.kill();
        }
    }

    /// A process by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn process(&self, name: &str) -> Result<&Process, Failure> {
        self.processes.iter().find(|process| process.name == name).ok_or_else(|| {
            let names: Vec<_> = self.processes.iter().map(|process| process.name.as_str()).collect();
            Failure::new(format!("there is no process {name}; there are {}", names.join(", ")))
        })
    }

    /// The processes that run a service.
    pub fn of<'a>(&'a self, service: &'a str) -> impl Iterator<Item = &'a Process> {
        self.processes.iter().filter(move |process| process.service == service)
    }

    /// Where REST and the page are.
    pub fn http(&self) -> String {
        self.of("gateway").map(|process| process.http.clone()).next().unwrap_or_default()
    }

    /// Where each media node listens for SIP.
    pub fn sip(&self) -> Vec<String> {
        self.of("media").map(|process| process.sip.clone()).collect()
    }

    /// Which voter leads agent-state, as they say themselves; `None` while nobody does.
    pub async fn leader(&self) -> Option<&Process> {
        for process in self.of("agent-state") {
            if process.metric("trunkline_agent_state_raft_leads").await == Some(1.0) {
                return Some(process);
            }
        }
        None
    }

    /// The routing process that owns the cell; `None` while nobody does.
    pub async fn routing_owner(&self) -> Option<&Process> {
        for process in self.of("routing") {
            match process.state().await {
                State::Ready { remarks }
                    if !remarks.iter().any(|(_, words)| words.starts_with("stands by")) =>
                {
                    return Some(process);
                }
                _ => {}
            }
        }
        None
    }

    /// What the operator may ask the gateway.
    pub fn operator(&self, key: &str) -> Rest {
        Rest::new(&self.http(), key)
    }

    /// One line a process: what it is, how it is, where it answers and where its log is.
    pub async fn status(&self) -> Vec<[String; 5]> {
        let mut rows = Vec::new();
        for (broker, pid) in self.brokers.all() {
            let state = pid.map_or("down".to_owned(), |_| "runs".to_owned());
            let pid = pid.map(|pid| pid.to_string()).unwrap_or_default();
            let log = broker.dir.join("start.log").display().to_string();
            rows.push([broker.name.clone(), pid, state, broker.address.clone(), log]);
        }
        for process in &self.processes {
            let pid = process.pid().map(|pid| pid.to_string()).unwrap_or_default();
            let state = process.state().await.to_string();
            rows.push([
                process.name.clone(),
                pid,
                state,
                process.addresses(),
                process.log().display().to_string(),
            ]);
        }
        rows
    }

    /// Writes where the cluster answers, for the command line.
    fn announce(&self) -> Result<(), Failure> {
        let mut grpc = BTreeMap::new();
        for process in &self.processes {
            grpc.entry(process.service.clone()).or_insert_with(|| process.grpc.clone());
        }
        let line: Value = json!({
            "ready": true, "http": self.http(), "sip": self.sip().first(), "ops": "", "grpc": grpc, "pid": 0,
        });
        std::fs::write(self.dir.join("endpoints.json"), line.to_string())?;
        Ok(())
    }

    async fn make_topics(&self) -> Result<(), Failure> {
        let replicas = self.shape.brokers.to_string();
        let args = ["topics", "create", "--replicas", &replicas, "--data"];
        let mut command = tokio::process::Command::new(&self.program);
        command.args(args).arg(&self.dir).stdin(std::process::Stdio::null());
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let output = command.output().await?;
            if output.status.success() {
                return Ok(());
            }
            // A broker that has just come up may not know of the others yet.
            if Instant::now() > deadline {
                let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                return Err(Failure::new(format!("could not make the topics: {said}")));
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}
