//! What the tests of the log on Kafka share: a broker that is there, or brokers of their own that may be killed.

#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tempfile::TempDir;
use trunkline_domain::vocabulary::LogName;
use trunkline_runtime::event_log::kafka::{TopicShape, create};
use trunkline_runtime::event_log::{KafkaLog, KafkaOptions};

/// One replica each: for a broker alone.
pub const ALONE: TopicShape = TopicShape { replication_factor: 1, min_insync_replicas: 1, retention: None };

/// The broker of the environment, or why there is none.
///
/// # Panics
/// When the environment says that there has to be one.
pub fn broker() -> Result<String, String> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    match variable("TRUNKLINE_KAFKA") {
        broker if !broker.is_empty() => Ok(broker),
        _ if variable("TRUNKLINE_KAFKA_REQUIRED") == "1" => {
            panic!("TRUNKLINE_KAFKA names no broker, and it is required")
        }
        _ => Err("TRUNKLINE_KAFKA names no broker: TRUNKLINE_KAFKA=$(./dev kafka up)".to_owned()),
    }
}

/// A broker, or the end of the test, said loudly.
#[macro_export]
macro_rules! broker_or_return {
    () => {
        match kafka_support::broker() {
            Ok(broker) => broker,
            Err(reason) => return eprintln!("NOT RUN: {reason}"),
        }
    };
}

/// Options with topics nobody else has.
pub fn options(brokers: &str, cells: u32) -> KafkaOptions {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    let nth = COUNT.fetch_add(1, Ordering::Relaxed);
    let topic_prefix = format!("test-{}-{since}-{nth}.", std::process::id());
    KafkaOptions { topic_prefix, ..KafkaOptions::new(brokers, "test", cells) }
}

/// Topics made, and a log on them.
pub async fn open(options: &KafkaOptions, shape: &TopicShape) -> KafkaLog {
    let findings = create(options, shape).await.unwrap();
    assert_eq!(findings, []);
    KafkaLog::open(options.clone()).await.unwrap()
}

pub fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

/// Removes the topics of a test; what does not go stays.
pub async fn remove_topics(options: &KafkaOptions) {
    let mut topics: Vec<_> = LogName::ALL.into_iter().map(|log| options.topic(log)).collect();
    topics.push(options.identity_topic());
    let names: Vec<_> = topics.iter().map(String::as_str).collect();
    let soon = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
    let _ = admin(&options.brokers).delete_topics(&names, &soon).await;
}

/// Brokers of one test, in a directory that goes away with them.
pub struct Brokers {
    pub addresses: String,
    dir: TempDir,
}

impl Brokers {
    /// One or three that serve.
    pub fn up(count: u32) -> Self {
        let dir = TempDir::new().unwrap();
        let addresses = dev(&["up", "--brokers", &count.to_string()], dir.path());
        Self { addresses, dir }
    }

    /// Starts those that do not run.
    pub fn revive(&self) {
        dev(&["up"], self.dir.path());
    }

    /// The broker with this address.
    fn node(&self, port: i32) -> PathBuf {
        let nth = self.addresses.split(',').position(|address| address.ends_with(&format!(":{port}")));
        self.dir.path().join((nth.unwrap() + 1).to_string())
    }

    /// Sends a signal to the broker that listens at this port; when that is to stop, waits until it has.
    pub fn signal(&self, port: i32, signal: &str) {
        let pid = std::fs::read_to_string(self.node(port).join("pid")).unwrap();
        assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
        while signal == "-STOP" && !stopped(pid.trim()) {
            std::thread::yield_now();
        }
    }

    /// The port of the only broker.
    pub fn port(&self) -> i32 {
        self.addresses.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    pub fn down(&self) {
        dev(&["down"], self.dir.path());
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        self.down();
    }
}

/// Whether every thread of a process stands still (proc(5)).
fn stopped(pid: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let mut stats = threads.flatten().filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
    stats.all(|stat| stat.rsplit_once(')').unwrap().1.trim_start().starts_with('T'))
}

/// Runs `./dev kafka`; its last line.
fn dev(arguments: &[&str], dir: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(root.join("dev"));
    command.arg("kafka").args(arguments).arg("--dir").arg(dir);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().last().unwrap_or_default().to_owned()
}
