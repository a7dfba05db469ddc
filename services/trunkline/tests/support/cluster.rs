//! `trunkline dev` as a process of its own, and what is asked of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::{DEADLINE, hold, until};

/// The binary under test.
pub const TRUNKLINE: &str = env!("CARGO_BIN_EXE_trunkline");

/// Runs the binary to its end.
pub fn trunkline(args: &[&str]) -> Output {
    Command::new(TRUNKLINE).args(args).env("TRUNKLINE_AUTHOR", "test").output().expect("the binary runs")
}

/// Exit code, standard output and standard error of an ended process.
pub fn told(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The first of four ports that were free for UDP and TCP a moment ago. They are below the range the system gives out on
/// its own, so that nobody else is given them before they are used.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const BLOCKS: u32 = 5_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..BLOCKS {
        let block = std::process::id().wrapping_mul(37).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (FIRST + block % BLOCKS * 4) as u16;
        let free = |port| {
            UdpSocket::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok()
        };
        if (port..port + 4).all(free) {
            return port;
        }
    }
    panic!("no free ports");
}

/// A running cluster. Killed when dropped.
pub struct Cluster {
    pub data: PathBuf,
    /// The line it printed when it was ready.
    pub addresses: Value,
    child: Child,
    stderr: PathBuf,
}

/// A process that has not said that it is ready.
pub struct Starting {
    child: Child,
    data: PathBuf,
    stderr: PathBuf,
    lines: mpsc::Receiver<String>,
}

impl Cluster {
    /// Starts one and waits until it is ready.
    #[track_caller]
    pub fn start(data: &Path, args: &[&str]) -> Self {
        Starting::new(data, args).ready()
    }

    /// Starts one, with the tests' operator applied.
    #[track_caller]
    pub fn with_operator(data: &Path, args: &[&str]) -> Self {
        let cluster = Self::start(data, args);
        cluster.apply_operator();
        cluster
    }

    /// Applies the tests' operator and waits until the gateway knows its keys.
    #[track_caller]
    pub fn apply_operator(&self) {
        let applied = trunkline(&["apply", "-f", super::operator::DOCUMENT, "--data", &self.data()]);
        assert_eq!(applied.status.code(), Some(0), "{:?}", told(&applied));
        until("the operator's agents", || {
            let agents = self.agents()?;
            hold(agents.len() == super::operator::AGENTS.len(), agents)
        });
    }

    pub fn data(&self) -> String {
        self.data.display().to_string()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn address(&self, name: &str) -> SocketAddr {
        self.addresses[name].as_str().and_then(|text| text.parse().ok()).expect("an address")
    }

    pub fn http(&self) -> SocketAddr {
        self.address("http")
    }

    pub fn sip(&self) -> SocketAddr {
        self.address("sip")
    }

    pub fn ops(&self) -> SocketAddr {
        self.address("ops")
    }

    /// `GET` with the operator's key; anything but 200 is an error.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        match ask(self.http(), "GET", path, super::operator::OPERATOR_KEY, None)? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("{path}: {status} {body}")),
        }
    }

    /// `POST` with the operator's key; anything but 200 is an error.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        match ask(self.http(), "POST", path, super::operator::OPERATOR_KEY, Some(body))? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("{path}: {status} {body}")),
        }
    }

    /// What each agent does now, by id.
    pub fn agents(&self) -> Result<BTreeMap<String, String>, String> {
        let listed = self.get("/v1/agents")?;
        let agents = list(&listed, "agents").iter();
        Ok(agents
            .map(|it| {
                let activity = text(it, "activity").trim_start_matches("AGENT_ACTIVITY_").to_lowercase();
                (text(it, "agent_id").to_owned(), activity)
            })
            .collect())
    }

    /// Every contact's record, of all companies of the tests' operator.
    pub fn contacts(&self) -> Result<Vec<Value>, String> {
        let mut all = Vec::new();
        for company in super::operator::COMPANIES {
            let listed = self.get(&format!("/v1/companies/{company}/contacts?page_size=500"))?;
            all.extend(list(&listed, "contacts").iter().cloned());
        }
        Ok(all)
    }

    /// State hashes as the services say: reporting, billing.
    pub fn state_hashes(&self) -> Result<[String; 2], String> {
        let reporting = self.get("/v1/reporting/state")?;
        let billing = self.get("/v1/billing/state")?;
        Ok([text(&reporting, "state_hash").to_owned(), text(&billing, "state_hash").to_owned()])
    }

    /// Waits until reporting and billing say what a replay of the logs says; gives the hashes.
    #[track_caller]
    pub fn equals_replay(&self) -> [String; 2] {
        until("the services' state as replayed", || {
            let (before, replayed, after) = (self.state_hashes()?, replay(&self.data)?, self.state_hashes()?);
            hold(before == replayed && replayed == after, (&before, &replayed, &after))?;
            Ok(after)
        })
    }

    /// What `/readyz` says: its status and its body.
    pub fn readiness(&self) -> Result<(u16, Value), String> {
        ask(self.ops(), "GET", "/readyz", "", None)
    }

    /// What it logged so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Nothing unexpected was logged so far.
    #[track_caller]
    pub fn quiet(&self) {
        let logged = self.logged();
        let loud: Vec<&str> =
            logged.lines().filter(|line| line.contains(" WARN ") || line.contains(" ERROR ")).collect();
        assert!(loud.is_empty(), "{loud:#?}");
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// SIGTERM; it must drain and end well.
    #[track_caller]
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("the process is ours");
        let status = until("the end of the drain", || {
            self.child.try_wait().expect("the process is ours").ok_or_else(|| self.logged_end())
        });
        assert_eq!(status.code(), Some(0), "{}", self.logged_end());
    }

    fn logged_end(&self) -> String {
        end_of(&self.logged())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the cluster's log ends:\n{}", self.logged_end());
        }
    }
}

impl Starting {
    /// Starts `trunkline dev`, on free ports where `args` name none.
    #[track_caller]
    pub fn new(data: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(TRUNKLINE);
        command.args(Self::arguments(data, args));
        Self::spawn(command, data)
    }

    /// The arguments of [`Starting::new`].
    pub fn arguments(data: &Path, args: &[&str]) -> Vec<String> {
        let mut all = vec!["dev".to_owned(), "--data".to_owned(), data.display().to_string()];
        all.extend(args.iter().map(ToString::to_string));
        for flag in ["--http", "--sip", "--ops"].into_iter().filter(|flag| !args.contains(flag)) {
            all.extend([flag.to_owned(), "127.0.0.1:0".to_owned()]);
        }
        all
    }

    /// Runs a command that ends in `trunkline dev`.
    #[track_caller]
    pub fn spawn(mut command: Command, data: &Path) -> Self {
        let stderr = PathBuf::from(format!("{}.{}.stderr", data.display(), free_port()));
        let log = File::create(&stderr).expect("a file for the log");
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().expect("the binary runs");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, data: data.to_owned(), stderr, lines }
    }

    /// Waits for the line.
    #[track_caller]
    pub fn ready(mut self) -> Cluster {
        let Ok(line) = self.lines.recv_timeout(DEADLINE) else {
            let _ = self.child.kill();
            let status = self.child.wait();
            panic!("not ready: {status:?}\n{}", end_of(&self.logged()));
        };
        let addresses: Value = serde_json::from_str(&line).expect("the first line is JSON");
        assert_eq!(addresses["ready"], true, "{line}");
        Cluster { data: self.data, addresses, child: self.child, stderr: self.stderr }
    }

    /// Its exit code, when it has ended.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("the process is ours").map(|status| status.code())
    }

    /// What it logged so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Ends it, whatever it does.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// State hashes of a replay of the logs: reporting, billing.
pub fn replay(data: &Path) -> Result<[String; 2], String> {
    let output = trunkline(&["replay", "--json", "--data", &data.display().to_string()]);
    let (code, stdout, stderr) = told(&output);
    hold(code == Some(0), (code, &stderr))?;
    let value: Value = serde_json::from_str(&stdout).map_err(|error| format!("{error}: {stdout}"))?;
    let hash = |name: &str| {
        let fold = list(&value, "folds").iter().find(|fold| text(fold, "fold") == name);
        fold.map(|fold| text(fold, "state_hash").to_owned()).ok_or(format!("no fold {name} in {value}"))
    };
    Ok([hash("reporting")?, hash("billing")?])
}

/// Every fact of some logs, as `trunkline tail --json` prints them.
pub fn facts(data: &Path, log: &str) -> Result<Vec<Value>, String> {
    let output = trunkline(&["tail", log, "--json", "--data", &data.display().to_string()]);
    let (code, stdout, stderr) = told(&output);
    hold(code == Some(0), (code, &stderr))?;
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}")))
        .collect()
}

/// Every promise holds over the logs.
#[track_caller]
pub fn verify(data: &Path) {
    let output = trunkline(&["verify", "--json", "--data", &data.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{:?}", told(&output));
}

/// One HTTP request; status and JSON, or null where the body is none.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    key: &str,
    body: Option<&Value>,
) -> Result<(u16, Value), String> {
    let failed = |error: std::io::Error| format!("{method} {path}: {error}");
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(15))).map_err(failed)?;
    let body = body.map(Value::to_string).unwrap_or_default();
    let authorization =
        if key.is_empty() { String::new() } else { format!("Authorization: Bearer {key}\r\n") };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\n{authorization}Accept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(format!("{method} {path}: {answer:?}"))?;
    let status =
        head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(format!("no status: {head}"))?;
    let body =
        if head.to_lowercase().contains("transfer-encoding: chunked") { dechunk(body) } else { body.into() };
    Ok((status, serde_json::from_str(&body).unwrap_or(Value::Null)))
}

fn dechunk(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&tail[..size]);
        rest = &tail[size + 2..];
    }
    whole
}

/// A field by its proto name; JSON may have it in lowerCamelCase.
pub fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let mut camel = String::new();
    for (index, word) in name.split('_').enumerate() {
        let (first, rest) = word.split_at(1);
        camel.push_str(&if index == 0 { first.to_owned() } else { first.to_uppercase() });
        camel.push_str(rest);
    }
    value.get(name).or_else(|| value.get(camel)).unwrap_or(&Value::Null)
}

/// A text; absent ones are empty.
pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    field(value, name).as_str().unwrap_or_default()
}

/// A list; absent ones are empty.
pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    field(value, name).as_array().map_or(&[], Vec::as_slice)
}

/// A whole number; 64-bit ones are texts in proto's JSON, absent ones are zero.
pub fn int(value: &Value, name: &str) -> i64 {
    let value = field(value, name);
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}
