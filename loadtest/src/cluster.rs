//! The cluster under test: one `trunkline dev` as a child, or a rig of processes; and the command line beside it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Failure;
use crate::rig::{Brokers, Rig, Shape};

/// How long the cluster may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// What `trunkline dev` announces.
#[derive(Deserialize)]
struct Announced {
    http: String,
    sip: String,
    ops: String,
}

/// Where a cluster answers.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// REST and the page.
    pub http: String,
    /// SIP, UDP and TCP, of each media node.
    pub sip: Vec<String>,
    /// Health and metrics, of each process.
    pub ops: Vec<String>,
}

impl Addresses {
    /// The media node for the nth caller or phone: each takes its turn.
    pub fn sip_for(&self, number: usize) -> &str {
        self.sip.get(number % self.sip.len().max(1)).map_or("", String::as_str)
    }
}

/// The `trunkline` program and the data directory it works on.
#[derive(Debug, Clone)]
pub struct Trunkline {
    /// The program.
    pub program: PathBuf,
    /// Its data directory.
    pub data: PathBuf,
}

/// What a command printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; -1 when ended by a signal.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Trunkline {
    /// Runs a command on the data directory.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub async fn run(&self, args: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--data").arg(&self.data).stdin(Stdio::null());
        let output = command.output().await.map_err(|error| self.unusable(&error))?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed, and gives what it printed.
    ///
    /// # Errors
    /// When it does not.
    pub async fn demand(&self, args: &[&str]) -> Result<String, Failure> {
        let output = self.run(args).await?;
        if output.code == 0 {
            return Ok(output.stdout);
        }
        let said = output.stderr.trim();
        Err(Failure::new(format!("trunkline {} ended with {}: {said}", args.join(" "), output.code)))
    }

    /// Starts the cluster and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; the message names its log.
    pub async fn start(&self) -> Result<Cluster, Failure> {
        std::fs::create_dir_all(&self.data)?;
        let log = self.data.join("trunkline.log");
        let mut command = Command::new(&self.program);
        command.arg("dev").arg("--data").arg(&self.data);
        command.args(["--http", "127.0.0.1:0", "--sip", "127.0.0.1:0", "--ops", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?);
        // A Ctrl-C at the terminal goes to the whole group; the cluster is stopped by us, in order.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| self.unusable(&error))?;
        let failed = |what: &str| Failure::new(format!("the cluster {what}; see {}", log.display()));
        let stdout = child.stdout.take().ok_or_else(|| failed("has no output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = tokio::time::timeout(READY_WITHIN, lines.next_line()).await;
        let line = line.map_err(|_| failed("did not become ready within 60 s"))??;
        let line = line.ok_or_else(|| failed("ended before it was ready"))?;
        let Announced { http, sip, ops } =
            serde_json::from_str(&line).map_err(|_| failed("did not announce its addresses"))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Cluster { addresses: Addresses { http, sip: vec![sip], ops: vec![ops] }, kind: Kind::One(child) })
    }

    /// Makes a rig of processes in the data directory, starts it and waits until all of it is ready.
    ///
    /// # Errors
    /// When something does not come up; the message names its log.
    pub async fn start_rig(&self, shape: Shape) -> Result<Cluster, Failure> {
        let rig = Rig::make(&self.data, &self.program, shape).await?;
        let ops = rig.processes.iter().map(|process| process.ops.clone()).collect();
        let addresses = Addresses { http: rig.http(), sip: rig.sip(), ops };
        let cluster = Cluster { addresses, kind: Kind::Rig(rig) };
        if let Kind::Rig(rig) = &cluster.kind {
            rig.up().await?;
        }
        Ok(cluster)
    }

    fn unusable(&self, error: &std::io::Error) -> Failure {
        Failure::new(format!("could not run {}: {error}", self.program.display()))
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Where it answers.
    pub addresses: Addresses,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    One(Child),
    Rig(Rig),
    /// Stopped in order.
    Ended,
}

impl Cluster {
    /// Lets it drain and end; gives its exit code, of several processes the first that is not 0.
    ///
    /// # Errors
    /// When it does not end in time (it is then ended the hard way).
    pub async fn stop(mut self) -> Result<i32, Failure> {
        match std::mem::replace(&mut self.kind, Kind::Ended) {
            Kind::One(mut child) => {
                if let Some(pid) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
                    // It may have ended by itself; the wait below tells.
                    let _ = kill_process(pid, Signal::TERM);
                }
                match tokio::time::timeout(STOPPED_WITHIN, child.wait()).await {
                    Ok(status) => Ok(status?.code().unwrap_or(-1)),
                    Err(_) => {
                        child.kill().await?;
                        Err(Failure::new("the cluster did not end within 30 s of SIGTERM"))
                    }
                }
            }
            Kind::Rig(rig) => {
                let codes = rig.down().await?;
                Ok(codes.into_values().find(|code| *code != 0).unwrap_or(0))
            }
            Kind::Ended => Ok(0),
        }
    }

    /// Brings back what a rig needs to be read after it was stopped: its brokers.
    ///
    /// # Errors
    /// When they do not come up.
    pub async fn brokers_again(data: &Path, shape: Shape) -> Result<Brokers, Failure> {
        Brokers::up(&data.canonicalize()?.join("kafka"), shape.brokers).await
    }

    /// Resolves when it, or one of its processes, has ended by itself; gives the exit code where it is known.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self) -> Result<i32, Failure> {
        match &mut self.kind {
            Kind::One(child) => Ok(child.wait().await?.code().unwrap_or(-1)),
            Kind::Rig(rig) => loop {
                if rig.processes.iter().any(|process| process.pid().is_none()) {
                    return Ok(-1);
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            },
            Kind::Ended => Ok(0),
        }
    }
}

impl Drop for Cluster {
    /// A rig outlives its program on purpose; that of a run that was given up must not.
    fn drop(&mut self) {
        if let Kind::Rig(rig) = &self.kind {
            rig.kill_all();
        }
    }
}

/// The `trunkline` program beside this one, where cargo puts both.
///
/// # Errors
/// When it is not there.
pub fn beside_us() -> Result<PathBuf, Failure> {
    let here = std::env::current_exe()?;
    let program = here.parent().unwrap_or(Path::new(".")).join("trunkline");
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::new(format!("there is no {}; build it with cargo build -p trunkline", program.display())))
}
