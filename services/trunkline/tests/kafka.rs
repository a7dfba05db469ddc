//! A process on Apache Kafka: what it says when the brokers or the topics are not as they must be. Each case has a broker
//! of its own, which may be stopped.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::path::{Path, PathBuf};

use support::cluster::{Cluster, Starting, told, trunkline};
use support::{hold, until};
use tempfile::TempDir;
use trunkline_loadtest::rig::Brokers;

/// One broker, in a directory that goes away with it.
struct Kafka {
    brokers: Brokers,
    runtime: tokio::runtime::Runtime,
    dir: TempDir,
}

impl Kafka {
    fn up() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let dir = TempDir::new().unwrap();
        let brokers = runtime.block_on(Brokers::up(&dir.path().join("kafka"), 1)).unwrap();
        Self { brokers, runtime, dir }
    }

    fn again(&self) {
        self.runtime.block_on(Brokers::up(&self.brokers.dir, 1)).unwrap();
    }

    fn down(&self) {
        self.runtime.block_on(self.brokers.down()).unwrap();
    }

    /// A data directory whose settings name this broker and a cluster.
    fn data(&self, name: &str, cluster: &str, more: &str) -> PathBuf {
        let data = self.dir.path().join(name);
        std::fs::create_dir_all(&data).unwrap();
        let brokers = self.brokers.addresses();
        let settings =
            format!("[log]\nkind = \"kafka\"\nbrokers = \"{brokers}\"\ncluster = \"{cluster}\"\n{more}\n");
        std::fs::write(data.join("trunkline.toml"), settings).unwrap();
        data
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(self.brokers.down());
    }
}

/// `trunkline topics …` on a data directory.
fn topics(action: &str, data: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let data = data.display().to_string();
    told(&trunkline(&[&["topics", action, "--replicas", "1", "--data", &data], more].concat()))
}

/// A process that must end by itself: its exit code, and the last line it logged.
fn refused(data: &Path, more: &[&str]) -> (Option<i32>, String) {
    let mut starting = Starting::new(data, more);
    let code = until("the refusal", || starting.ended().ok_or_else(|| starting.logged()));
    (code, starting.logged().lines().last().unwrap_or_default().to_owned())
}

#[test]
fn topics_that_are_missing_too_few_or_anothers_are_refused_in_words() {
    let kafka = Kafka::up();
    let ours = kafka.data("ours", "cls_ours", "");
    // Nothing was made yet.
    let (code, _, stderr) = topics("check", &ours, &[]);
    assert!(code == Some(1) && stderr.contains("trunkline.directory is missing"), "{stderr}");
    let (code, said) = refused(&ours, &[]);
    assert!(
        code == Some(1) && said.contains("are not as they must be") && said.contains("is missing"),
        "{said}"
    );

    let (code, stdout, stderr) = topics("create", &ours, &[]);
    assert!(code == Some(0) && stdout.contains("belong to cluster cls_ours"), "{stdout}{stderr}");
    let (code, stdout, _) = topics("check", &ours, &[]);
    assert!(code == Some(0) && !stdout.contains("wrong"), "{stdout}");

    // More cells than the topics have partitions.
    let (code, said) = refused(&ours, &["--set", "log.cells=4"]);
    assert!(code == Some(1) && said.contains("has 1 partitions, fewer than the 4"), "{said}");

    // A second cluster on the same topics, and one that calls itself otherwise.
    let theirs = kafka.data("theirs", "cls_theirs", "");
    let (code, _, stderr) = topics("create", &theirs, &[]);
    assert!(
        code == Some(1) && stderr.contains("belong to cluster cls_ours, this is cluster cls_theirs"),
        "{stderr}"
    );
    let (code, said) = refused(&theirs, &[]);
    assert!(code == Some(1) && said.contains("belong to cluster cls_ours"), "{said}");

    // Without a name nobody may write.
    let nameless = kafka.data("nameless", "", "");
    let (code, said) = refused(&nameless, &[]);
    assert!(code == Some(64) && said.contains("log.cluster"), "{said}");

    // What is right serves, says where it is, and can be read beside.
    let cluster = Cluster::with_operator(&ours, &[]);
    let read = trunkline(&["verify", "--data", &ours.display().to_string()]);
    assert_eq!(read.status.code(), Some(0), "{:?}", told(&read));
    cluster.stop();
}

#[test]
fn a_broker_that_is_absent_is_waited_for_and_one_that_goes_is_named() {
    let kafka = Kafka::up();
    let data = kafka.data("data", "cls_late", "answer_ms_max = 2000");
    assert_eq!(topics("create", &data, &[]).0, Some(0));
    kafka.down();
    let ops = support::cluster::free_port();
    let listen = format!("127.0.0.1:{ops}");
    let mut starting = Starting::new(&data, &["--ops", &listen]);
    let readiness = || support::cluster::ask(listen.parse().unwrap(), "GET", "/readyz", "", None);
    until("that it says what it waits for", || {
        let (status, body) = readiness()?;
        let said = body.to_string();
        hold(status == 503 && said.contains("waits for the event log: no kafka broker of"), said)
    });
    assert_eq!(starting.ended(), None, "{}", starting.logged());
    kafka.again();
    let cluster = starting.ready();
    cluster.apply_operator();

    // It dies later: said, with a reason; and everything goes on when it is back.
    kafka.down();
    until("that it says what is missing", || {
        let (status, body) = cluster.readiness()?;
        let said = body.to_string();
        let why = said.contains("no kafka broker answers") || said.contains("has taken nothing for");
        hold(status == 503 && why, said)
    });
    kafka.again();
    until("that it is as before", || {
        let (status, body) = cluster.readiness()?;
        hold(status == 200, body)
    });
    let agents = cluster.agents().unwrap();
    assert_eq!(agents.len(), support::operator::AGENTS.len());
    cluster.stop();
}
