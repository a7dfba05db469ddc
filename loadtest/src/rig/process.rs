//! One process of a rig: started, asked, signalled and ended by its id.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Failure;
use crate::http::{get_text, list, text};

/// How a process is started, and where it answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Its name within the rig, as `routing-2`.
    pub name: String,
    /// What it runs.
    pub service: String,
    /// Its data directory.
    pub data: PathBuf,
    /// The file of settings that all have in common.
    pub config: PathBuf,
    /// Where it answers gRPC; empty for the gateway.
    pub grpc: String,
    /// Where it serves REST; empty but for the gateway.
    pub http: String,
    /// Where it listens for SIP; empty but for media.
    pub sip: String,
    /// Metrics and health.
    pub ops: String,
    /// Settings of its own, as `section.key=value`.
    pub settings: Vec<String>,
    /// The words before the program's own, as `ip netns exec NAME`; what they name must become the program, not start it.
    #[serde(default)]
    pub wrap: Vec<String>,
}

/// How a process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It does not run.
    Down,
    /// It runs and does not answer.
    Silent,
    /// It runs, and says why it does not serve: component and reason.
    NotReady {
        /// Component and reason.
        reasons: Vec<(String, String)>,
    },
    /// It serves.
    Ready {
        /// What it wants to be known: component and remark.
        remarks: Vec<(String, String)>,
    },
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |all: &[(String, String)]| {
            all.iter()
                .map(|(component, words)| format!("{component}: {words}"))
                .collect::<Vec<_>>()
                .join("; ")
        };
        match self {
            Self::Down => f.write_str("down"),
            Self::Silent => f.write_str("runs, does not answer"),
            Self::NotReady { reasons } => write!(f, "not ready: {}", said(reasons)),
            Self::Ready { remarks } if remarks.is_empty() => f.write_str("ready"),
            Self::Ready { remarks } => write!(f, "ready ({})", said(remarks)),
        }
    }
}

/// Whether a process runs that was started with this word on its command line: ids are used again.
pub(super) fn runs_with(pid: i32, word: &str) -> bool {
    let Ok(words) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    if words.split(|byte| *byte == 0).any(|it| it == word.as_bytes()) {
        return true;
    }
    // Between fork and the new program's first step there are no words yet. One that dies loses them, the last ones first
    // and the zero behind them, and its first thread ends, before its last one lets go of files and ports.
    let Some(stat) = stat(pid) else { return false };
    let number = |field: usize| stat.get(field).and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
    let dies = number(6) & PF_EXITING != 0 && words.last() != Some(&0);
    let ended = matches!(stat.first().map(String::as_str), None | Some("Z" | "X"));
    (words.is_empty() || dies) && (!ended || number(17) > 1)
}

/// Of a thread that is on its way out (`include/linux/sched.h`).
const PF_EXITING: u64 = 4;

impl Process {
    /// Starts it. What it logs is put behind what it logged before.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn start(&self, program: &Path) -> Result<(), Failure> {
        self.start_with(&[], program)
    }

    /// Starts it with further settings, for this life alone.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn start_with(&self, more: &[&str], program: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.data)?;
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut words = self.wrap.iter().map(OsStr::new).chain([program.as_os_str()]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command.arg("serve").arg(&self.service).arg("--data").arg(&self.data);
        command.arg("--config").arg(&self.config);
        for setting in self.settings.iter().map(String::as_str).chain(more.iter().copied()) {
            command.arg("--set").arg(setting);
        }
        command.stdin(Stdio::null()).stdout(File::create(self.data.join("out"))?).stderr(log);
        // A Ctrl-C at the terminal goes to the whole group; a process of the rig is ended by who wants it ended.
        command.process_group(0);
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("could not run {}: {error}", program.display())))?;
        std::fs::write(self.data.join("pid"), child.id().to_string())?;
        Ok(())
    }

    /// Its process id, when it runs.
    pub fn pid(&self) -> Option<i32> {
        let pid: i32 = std::fs::read_to_string(self.data.join("pid")).ok()?.trim().parse().ok()?;
        // A child of ours that has ended stays until somebody asks.
        let of = Pid::from_raw(pid)?;
        let _ = waitpid(Some(of), WaitOptions::NOHANG);
        runs_with(pid, &self.data.display().to_string()).then_some(pid)
    }

    /// Where it logs.
    pub fn log(&self) -> PathBuf {
        self.data.join("trunkline.log")
    }

    /// Everything it answers on, in words.
    pub fn addresses(&self) -> String {
        let all = [("http", &self.http), ("sip", &self.sip), ("grpc", &self.grpc), ("ops", &self.ops)];
        let all = all.into_iter().filter(|(_, address)| !address.is_empty());
        all.map(|(what, address)| format!("{what} {address}")).collect::<Vec<_>>().join(" ")
    }

    /// How it is now.
    pub async fn state(&self) -> State {
        if self.pid().is_none() {
            return State::Down;
        }
        let Ok((_, body)) = get_text(&self.ops, "/readyz", Duration::from_secs(2)).await else {
            return State::Silent;
        };
        let Ok(body) = serde_json::from_str::<Value>(&body) else { return State::Silent };
        let said = |what: &str, word: &str| -> Vec<(String, String)> {
            let all = list(&body, what).iter();
            all.map(|it| (text(it, "component").to_owned(), text(it, word).to_owned())).collect()
        };
        match body["ready"].as_bool() {
            Some(true) => State::Ready { remarks: said("remarks", "remark") },
            _ => State::NotReady { reasons: said("reasons", "reason") },
        }
    }

    /// One number of its metrics, without labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let (_, body) = get_text(&self.ops, "/metrics", Duration::from_secs(2)).await.ok()?;
        let line = body.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub async fn ready(&self, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        loop {
            let state = self.state().await;
            let failed = |what: String| {
                Err(Failure::new(format!("{} {what}; see {}", self.name, self.log().display())))
            };
            match state {
                State::Ready { .. } => return Ok(()),
                State::Down => return failed(format!("ended: {}", self.last_words())),
                state if Instant::now() > deadline => {
                    return failed(format!("is not ready after {} s: {state}", within.as_secs()));
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// The last line of its log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read(self.log()).unwrap_or_default();
        String::from_utf8_lossy(&log).lines().last().unwrap_or_default().to_owned()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let failed = || {
            let (name, log, words) = (&self.name, self.log(), self.last_words());
            Failure::new(format!("{name} does not run; the last line of {} is: {words}", log.display()))
        };
        let pid = self.pid().and_then(Pid::from_raw).ok_or_else(failed)?;
        kill_process(pid, signal)
            .map_err(|error| Failure::new(format!("could not signal {}: {error}", self.name)))
    }

    /// kill -9, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&self) -> Result<(), Failure> {
        self.signal(Signal::KILL)?;
        self.gone().await;
        Ok(())
    }

    /// Waits until it is gone.
    pub async fn gone(&self) {
        while self.pid().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGTERM, and waits for its end. Gives its exit code, 0 when another program started it or it did not run, and
    /// `None` when it had to be ended the hard way.
    ///
    /// # Errors
    /// When it cannot be signalled.
    pub async fn stop(&self, within: Duration) -> Result<Option<i32>, Failure> {
        let Some(pid) = self.pid().and_then(Pid::from_raw) else { return Ok(Some(0)) };
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + within;
        loop {
            // Not our child: then its entry in /proc tells.
            match waitpid(Some(pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => return Ok(Some(status.exit_status().unwrap_or(-1))),
                Ok(None) => {}
                Err(_) if self.pid().is_none() => return Ok(Some(0)),
                Err(_) => {}
            }
            if Instant::now() > deadline {
                self.kill().await?;
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// CPU time it has used, user and system, in ms.
    pub fn cpu_ms(&self) -> Option<u64> {
        cpu_ms(self.pid()?)
    }

    /// The most memory that it has had at a time, resident, in KiB.
    pub fn memory_kib_max(&self) -> Option<u64> {
        memory_kib_max(self.pid()?)
    }
}

/// The most memory that a process has had at a time, resident, in KiB (`VmHWM`, proc(5)); `None` when it does not run.
pub(crate) fn memory_kib_max(pid: impl fmt::Display) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// CPU time that a process has used, user and system, in ms; `None` when it does not run.
pub(crate) fn cpu_ms(pid: impl fmt::Display) -> Option<u64> {
    let fields = stat(pid)?;
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(ticks * 10)
}

/// Fields of `/proc/PID/stat` from the third on, the first behind the name in parentheses: state is at 0, flags at 6,
/// utime at 11, stime at 12, both in ticks of 10 ms, num_threads at 17 (proc(5)); `None` when there is no such process.
fn stat(pid: impl fmt::Display) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    const CHILD: &str = "TRUNKLINE_TEST_HELD_PORT";
    const CASE: &str = "rig::process::tests::the_child_holds_a_port";

    /// Not a case of its own: what is killed. Its memory is what takes a while to give back.
    #[test]
    fn the_child_holds_a_port() {
        if std::env::var_os(CHILD).is_none() {
            return;
        }
        let memory = std::hint::black_box(vec![1_u8; 200 << 20]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("\nport {}", listener.local_addr().unwrap().port());
        // With so many threads the first is not the last to end.
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| std::thread::sleep(Duration::from_secs(memory.len() as u64)));
            }
        });
    }

    #[test]
    fn a_killed_process_runs_until_it_has_let_go_of_its_port() {
        for _ in 0..5 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", CASE, "--nocapture"])
                .env(CHILD, "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let pid = i32::try_from(child.id()).unwrap();
            let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
            let port = said.find_map(|line| line.strip_prefix("port ")?.parse::<u16>().ok()).unwrap();
            assert!(runs_with(pid, CASE));
            child.kill().unwrap();
            while runs_with(pid, CASE) {
                std::thread::yield_now();
            }
            let free = TcpListener::bind(("127.0.0.1", port)).map(drop);
            child.wait().unwrap();
            free.unwrap();
        }
    }
}
