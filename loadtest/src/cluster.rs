//! The cluster under test: one `trunkline dev` as a child, and the command line beside it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::Failure;

/// How long the cluster may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

/// The addresses it announces.
#[derive(Debug, Clone, Deserialize)]
pub struct Addresses {
    /// REST and the page.
    pub http: String,
    /// SIP, UDP and TCP.
    pub sip: String,
    /// Health and metrics.
    #[serde(default)]
    pub ops: String,
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
        let addresses: Addresses =
            serde_json::from_str(&line).map_err(|_| failed("did not announce its addresses"))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Cluster { addresses, child })
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
    child: Child,
}

impl Cluster {
    /// Lets it drain and end; gives its exit code.
    ///
    /// # Errors
    /// When it does not end in time (it is then ended the hard way).
    pub async fn stop(mut self) -> Result<i32, Failure> {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            // It may have ended by itself; the wait below tells.
            let _ = kill_process(pid, Signal::TERM);
        }
        match tokio::time::timeout(STOPPED_WITHIN, self.child.wait()).await {
            Ok(status) => Ok(status?.code().unwrap_or(-1)),
            Err(_) => {
                self.child.kill().await?;
                Err(Failure::new("the cluster did not end within 30 s of SIGTERM"))
            }
        }
    }

    /// Resolves when it has ended by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self) -> Result<i32, Failure> {
        Ok(self.child.wait().await?.code().unwrap_or(-1))
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
