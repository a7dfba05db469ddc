//! The brokers of a rig, kept by `./dev kafka`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::process::runs_with;
use crate::Failure;

/// Apache Kafka on loopback.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Brokers {
    /// Where they keep their data.
    pub dir: PathBuf,
    /// In order.
    pub brokers: Vec<Broker>,
}

/// One of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Broker {
    /// Its name within the rig, as `kafka-1`.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
    /// Where it answers.
    pub address: String,
}

impl Brokers {
    /// Starts what does not run, and waits until all of them serve.
    ///
    /// # Errors
    /// When one does not come up.
    pub async fn up(dir: &Path, count: usize) -> Result<Self, Failure> {
        let said = dev(&["kafka", "up", "--brokers", &count.to_string(), "--dir"], dir).await?;
        let addresses = said.lines().last().unwrap_or_default().trim().to_owned();
        let brokers = addresses.split(',').enumerate().map(|(place, address)| Broker {
            name: format!("kafka-{}", place + 1),
            dir: dir.join((place + 1).to_string()),
            address: address.to_owned(),
        });
        let brokers: Vec<_> = brokers.collect();
        if brokers.len() != count {
            return Err(Failure::new(format!("expected {count} brokers, got `{addresses}`")));
        }
        Ok(Self { dir: dir.to_owned(), brokers })
    }

    /// Stops all of them; their data stays.
    ///
    /// # Errors
    /// When they cannot be stopped.
    pub async fn down(&self) -> Result<(), Failure> {
        dev(&["kafka", "down", "--dir"], &self.dir).await.map(drop)
    }

    /// Where they answer, as `HOST:PORT,HOST:PORT`.
    pub fn addresses(&self) -> String {
        self.brokers.iter().map(|broker| broker.address.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Each with its process id, when it runs.
    pub fn all(&self) -> Vec<(&Broker, Option<i32>)> {
        self.brokers.iter().map(|broker| (broker, broker.pid())).collect()
    }

    /// One of them, by name.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn broker(&self, name: &str) -> Result<&Broker, Failure> {
        let found = self.brokers.iter().find(|broker| broker.name == name);
        found.ok_or_else(|| Failure::new(format!("there is no broker {name}")))
    }
}

impl Broker {
    /// Its process id, when it runs.
    pub fn pid(&self) -> Option<i32> {
        let pid: i32 = std::fs::read_to_string(self.dir.join("pid")).ok()?.trim().parse().ok()?;
        let settings = self.dir.join("server.properties").display().to_string();
        runs_with(pid, &settings).then_some(pid)
    }

    /// kill -9, without waiting; one that does not run is left alone.
    pub fn kill(&self) {
        if let Some(pid) = self.pid().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Sends it a signal; with KILL it waits until it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let pid = self.pid().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Failure::new(format!("{} does not run", self.name)))?;
        kill_process(pid, signal)
            .map_err(|error| Failure::new(format!("could not signal {}: {error}", self.name)))?;
        while signal == Signal::KILL && self.pid().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// Runs `./dev` of the repository this program was built from, or the one it runs in.
async fn dev(args: &[&str], dir: &Path) -> Result<String, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let root = if Path::new("dev").is_file() { Path::new(".") } else { root };
    let mut command = Command::new(root.join("dev").canonicalize()?);
    command.args(args).arg(dir).stdin(Stdio::null()).kill_on_drop(true);
    let output =
        command.output().await.map_err(|error| Failure::new(format!("could not run ./dev: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::new(format!("./dev {} failed: {said}", args.join(" "))))
}
