//! The voters of agent-state by themselves: no other service, no broker.
//!
//! Each has an event log of its own in its data directory. Nobody reads it but whoever checks: whichever voter leads
//! publishes its outbox there, so the facts of the cluster are those of all voters' logs together. What was published twice,
//! by a leader that died before it could say so and by the next one, has the same event id in both.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::join_all;
use rustix::process::Signal;
use serde_json::Value;
use trunkline_domain::facts::{AgentFact, Recorded};
use trunkline_domain::vocabulary::Cell;
use trunkline_runtime::event_log::ReadFrom;
use trunkline_runtime::event_log::settings::log_settings;
use trunkline_runtime::facts::FactReader;

use super::layout::{Ports, own_settings};
use super::{Process, State};
use crate::Failure;
use crate::cluster::Trunkline;
use crate::http::text;

/// How long all voters may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long one may take to drain.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// How long the outbox may take to be empty, and the voters to be at one index, once nobody asks for anything.
const QUIET_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two looks at them.
const LOOK: Duration = Duration::from_millis(50);

/// Where a voter runs.
#[derive(Debug, Clone)]
pub struct Place {
    /// The address it answers at.
    pub host: String,
    /// What stands before its program, see [`Process::wrap`].
    pub wrap: Vec<String>,
    /// Settings of its own.
    pub settings: Vec<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self { host: "127.0.0.1".to_owned(), wrap: Vec::new(), settings: Vec::new() }
    }
}

/// Voters of one cluster, on this machine. What still runs is ended the hard way when this is dropped.
#[derive(Debug)]
pub struct Voters {
    /// The command line, on the directory above all of theirs.
    pub trunkline: Trunkline,
    /// One each, as `voter-1`.
    pub processes: Vec<Process>,
}

impl Voters {
    /// Makes so many of them in an empty directory, starts them, and waits until all are ready.
    ///
    /// # Errors
    /// When one does not come up; the message says why, and where its log is.
    pub async fn start(dir: &Path, program: &Path, count: usize) -> Result<Self, Failure> {
        Self::start_at(dir, program, vec![Place::default(); count], &[]).await
    }

    /// As [`Voters::start`], each at a place of its own, all with these settings.
    ///
    /// # Errors
    /// As of [`Voters::start`].
    pub async fn start_at(
        dir: &Path,
        program: &Path,
        places: Vec<Place>,
        settings: &[&str],
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let config = dir.join("trunkline.toml");
        std::fs::write(&config, "[log]\nkind = \"embedded\"\n")?;
        let mut ports = Ports::new();
        let mut processes = Vec::new();
        for (number, Place { host, wrap, settings }) in (1..).zip(places) {
            processes.push(Process {
                name: format!("voter-{number}"),
                service: "agent-state".to_owned(),
                data: dir.join(format!("voter-{number}")),
                config: config.clone(),
                grpc: ports.address_of(&host)?,
                http: String::new(),
                sip: String::new(),
                ops: ports.address_of(&host)?,
                settings,
                wrap,
            });
        }
        let addresses: Vec<_> = processes.iter().map(|process| process.grpc.clone()).collect();
        for process in &mut processes {
            let own = std::mem::take(&mut process.settings);
            process.settings = own_settings(process, &addresses);
            process.settings.extend(own);
            process.settings.extend(settings.iter().map(|it| (*it).to_owned()));
        }
        let trunkline = Trunkline { program: program.canonicalize()?, data: dir };
        // From here on what was started is ended again, whatever fails.
        let voters = Self { trunkline, processes };
        for process in &voters.processes {
            process.start(voters.program())?;
        }
        voters.ready().await?;
        Ok(voters)
    }

    /// The `trunkline` program.
    pub fn program(&self) -> &Path {
        &self.trunkline.program
    }

    /// Where they answer gRPC.
    pub fn addresses(&self) -> Vec<String> {
        self.processes.iter().map(|process| process.grpc.clone()).collect()
    }

    /// Waits until every voter is ready.
    ///
    /// # Errors
    /// When one ends, or is not ready in time.
    pub async fn ready(&self) -> Result<(), Failure> {
        let waits = self.processes.iter().map(|process| process.ready(READY_WITHIN));
        join_all(waits).await.into_iter().collect()
    }

    /// Which of them leads, as they say themselves; `None` while nobody does.
    pub async fn leader(&self) -> Option<&Process> {
        for process in &self.processes {
            if process.metric("trunkline_agent_state_raft_leads").await == Some(1.0) {
                return Some(process);
            }
        }
        None
    }

    /// Waits until everything decided is published, which nobody adds to any more.
    ///
    /// # Errors
    /// When nobody leads, or it takes too long.
    pub async fn published(&self) -> Result<(), Failure> {
        let until = Instant::now() + QUIET_WITHIN;
        loop {
            let lag = match self.leader().await {
                Some(leader) => leader.metric("trunkline_agent_state_outbox_lag").await,
                None => None,
            };
            match lag {
                Some(0.0) => return Ok(()),
                lag if Instant::now() > until => {
                    return Err(Failure::new(format!(
                        "the outbox is not empty after {} s: {lag:?} entries behind",
                        QUIET_WITHIN.as_secs()
                    )));
                }
                _ => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Waits until all voters are at one index; gives it with the digest of the state that all of them have there.
    ///
    /// # Errors
    /// When voters differ at one index, one does not answer, or they do not come together.
    pub async fn agree(&self) -> Result<(u64, String), Failure> {
        let (until, voters) = (Instant::now() + QUIET_WITHIN, self.addresses().join(","));
        loop {
            let output = self.trunkline.run(&["raft", "status", "--json", "--voters", &voters]).await?;
            let status: Value = serde_json::from_str(&output.stdout).unwrap_or_default();
            if let Some(agreed) = agreed(&status, self.processes.len()) {
                return Ok(agreed);
            }
            let differs = status["differences"].as_array().is_some_and(|found| !found.is_empty());
            if differs || Instant::now() > until {
                let said = output.stderr.trim();
                return Err(Failure::new(format!("voters are not at one state: {said} {status}")));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Every fact that any voter has published, voter by voter, in the order in which it did.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub async fn facts(&self, mut take: impl FnMut(Recorded<AgentFact>)) -> Result<(), Failure> {
        for process in &self.processes {
            let settings = log_settings(&process.data, None, &[]).map_err(Failure::new)?;
            let log = settings.open_to_read(&process.data).await.map_err(Failure::new)?;
            for cell in (0..log.cell_count()).map(Cell) {
                let reader = FactReader::<AgentFact>::open(&log, cell, ReadFrom::Start).await;
                let mut reader = reader.map_err(Failure::new)?;
                let whole = reader.fold_to_end(|it| it.outcome.facts.into_iter().for_each(&mut take));
                whole.await.map_err(Failure::new)?;
            }
        }
        Ok(())
    }

    /// CPU time that all of them have used, in ms.
    pub fn cpu_ms(&self) -> u64 {
        self.processes.iter().filter_map(Process::cpu_ms).sum()
    }

    /// How each of them is, in words: for whoever has to find out what went wrong.
    pub async fn told(&self) -> String {
        let states = self.processes.iter().map(async |process| {
            let state = process.state().await;
            let words = if state == State::Down { process.last_words() } else { String::new() };
            format!("{} is {state} {words}", process.name)
        });
        join_all(states).await.join("; ")
    }

    /// Lets all of them drain and end.
    ///
    /// # Errors
    /// When one does not end in time, or says that something is wrong.
    pub async fn stop(&self) -> Result<(), Failure> {
        let stops = self.processes.iter().map(|process| process.stop(STOPPED_WITHIN));
        for (process, code) in self.processes.iter().zip(join_all(stops).await) {
            match code? {
                Some(0) => {}
                Some(code) => {
                    let words = process.last_words();
                    return Err(Failure::new(format!("{} ended with {code}: {words}", process.name)));
                }
                None => return Err(Failure::new(format!("{} did not end in time", process.name))),
            }
        }
        Ok(())
    }
}

impl Drop for Voters {
    fn drop(&mut self) {
        for process in &self.processes {
            // What does not run need not be ended.
            let _ = process.signal(Signal::KILL);
        }
    }
}

/// The index and the state of so many voters, when all of them have the same.
fn agreed(status: &Value, count: usize) -> Option<(u64, String)> {
    let index = status["compared_at_index"].as_u64()?;
    let voters = status["voters"].as_array()?;
    let hash = text(voters.first()?, "state_hash").to_owned();
    let same = |it: &&Value| it["applied_index"].as_u64() == Some(index) && text(it, "state_hash") == hash;
    (voters.len() == count && !hash.is_empty() && voters.iter().filter(same).count() == count)
        .then_some((index, hash))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn voters_agree_when_each_has_the_same_state_at_one_index() {
        let status = |rows: &[(u64, &str)]| {
            let voters: Vec<_> = rows
                .iter()
                .map(|(index, hash)| json!({"applied_index": index, "state_hash": hash}))
                .collect();
            json!({"compared_at_index": 9, "voters": voters})
        };
        for (rows, expected) in [
            ([(9, "a"), (9, "a"), (9, "a")], Some((9, "a".to_owned()))),
            ([(9, "a"), (9, "b"), (9, "a")], None),
            ([(9, "a"), (9, "a"), (8, "a")], None),
            ([(9, ""), (9, ""), (9, "")], None),
        ] {
            assert_eq!(agreed(&status(&rows), 3), expected, "{rows:?}");
        }
        let silent = json!({"compared_at_index": 9, "voters": [{"role": "unreachable"}]});
        assert_eq!(agreed(&silent, 3), None);
    }
}
