//! A full disk under one of three voters: a real file system of a few MiB, mounted where nobody else sees it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::mpsc;

use common::*;
use tempfile::TempDir;
use trunkline_agent_state::AgentStateError;
use trunkline_agent_state::raft::types::{Entry, LeaderId, LogId, Proposed};
use trunkline_agent_state::store::wal::Wal;
use trunkline_agent_state::store::wal::frame::Record;
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::error_chain;

/// The directory in which the child works, which voter's disk is small, and how many bytes are left on it.
const CHILD: &str = "TRUNKLINE_TEST_FULL_DISK";
const PLACE: &str = "TRUNKLINE_TEST_PLACE";
const LEFT: &str = "TRUNKLINE_TEST_BYTES_LEFT";
const DONE: &str = "the full disk did no harm";

fn number(name: &str) -> usize {
    std::env::var(name).unwrap().parse().unwrap()
}

/// Tells of a break until `done`, and that every time was acknowledged; gives the last reason.
async fn keep_busy(group: &Group, from: usize, done: impl Fn() -> bool) -> String {
    for count in from..from + 20_000 {
        let reason = format!("{count:0>190}");
        let break_ = api::GoNotReadyRequest {
            agent_id: "agt_anna".to_owned(),
            reason: reason.clone(),
            ..Default::default()
        };
        group.client.go_not_ready(break_).await.unwrap();
        if done() {
            return reason;
        }
    }
    panic!("20,000 commands did not do it");
}

/// What a voter says that could not go on.
async fn last_words(group: &mut Group, place: usize) -> String {
    let replica = group.replicas[place].take().unwrap();
    let error = replica.task.await.unwrap().unwrap_err();
    assert!(!matches!(error, AgentStateError::Stopped(_)), "in openraft's words: {error}");
    error_chain(&error)
}

async fn reason_kept(group: &Group) -> String {
    let agents = group.client.list_agents(api::ListAgentsRequest::default()).await.unwrap().agents;
    agents.into_iter().find(|it| it.agent_id == "agt_anna").unwrap().reason
}

/// Not a case of its own: what is done where one disk is small.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_child_fills_the_disk_of_one() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (place, left) = (number(PLACE), number(LEFT));
    let mut group = Group::start(Path::new(&dir), 1_000).await;
    // Who is first in the list forms the cluster and leads it.
    assert_eq!(group.leader().await, 0);
    group.client.define_roster(roster(1)).await.unwrap();
    group.client.sign_in(sign_in("agt_anna")).await.unwrap();

    let ballast = group.data(place).join("ballast");
    fill(&ballast, left);
    let busy = keep_busy(&group, 0, || group.replica(place).task.is_finished()).await;
    let said = last_words(&mut group, place).await;
    let file = group.data(place).join("agent-state");
    assert!(said.starts_with("could not ") && said.contains(file.to_str().unwrap()), "{said}");
    assert!(said.ends_with("No space left on device (os error 28)"), "{said}");
    assert_eq!(reason_kept(&group).await, busy, "what was acknowledged is kept");

    // Without room it does not start, and takes nothing for damage.
    fill(&ballast, 0);
    group.restart(place, 1_000);
    let said = last_words(&mut group, place).await;
    assert!(said.ends_with("No space left on device (os error 28)"), "{said}");
    let names = fs::read_dir(&file).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("quarantine")).count(), 0);

    fs::remove_file(&ballast).unwrap();
    group.restart(place, 1_000);
    group.ready().await;
    let busy = keep_busy(&group, 30_000, || true).await;
    assert_eq!(reason_kept(&group).await, busy);
    group.agree().await;
    group.stop_all().await;
    println!("{DONE}");
}

/// Not a case of its own: a write-ahead log where the disk is small.
#[test]
fn the_child_fills_the_disk_of_a_log() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let disk = Path::new(&dir).join("replica-0");
    let (log, ballast) = (disk.join("wal"), disk.join("ballast"));
    let wal = Wal::open(&log, 16 << 10).unwrap();
    fill(&ballast, number(LEFT));
    let entry = |index: u64| {
        let log_id = LogId::new(LeaderId { term: 1, node_id: 1 }, index);
        let payload = openraft::EntryPayload::Normal(Proposed(vec![index as u8; 700]));
        Record::Entry(Entry { log_id, payload })
    };
    let durable = |index| {
        let (told, durable) = mpsc::channel();
        wal.write(vec![entry(index)], true, Box::new(move |result| told.send(result).unwrap())).unwrap();
        durable.recv().unwrap()
    };
    let acknowledged = (0..20_000).take_while(|index| durable(*index).is_ok()).count() as u64;
    assert!(wal.failure().seen().is_some());
    // Room alone changes nothing: what the failed write left behind is not known before the next start.
    fs::remove_file(&ballast).unwrap();
    assert!(durable(acknowledged + 1).is_err());
    drop(wal);
    let wal = Wal::open(&log, 16 << 10).unwrap();
    assert_eq!(wal.memory().head.next_index, acknowledged);
    println!("{DONE}");
}

/// Makes a file so large that `left` bytes are free beside it.
fn fill(ballast: &Path, left: usize) {
    let mut file = fs::File::create(ballast).unwrap();
    let mut len = 0_u64;
    while file.write_all(&[1; 4_096]).is_ok() {
        len += 4_096;
    }
    file.set_len(len.saturating_sub(left as u64)).unwrap();
}

/// Mounts the small disk.
const MOUNT: &str =
    "mount -t tmpfs -o size=8m tmpfs \"$TRUNKLINE_TEST_FULL_DISK/replica-$TRUNKLINE_TEST_PLACE\"";

fn child(flags: &[&str], script: &str, dir: &Path, place: usize, left: usize) -> Output {
    fs::create_dir_all(dir.join(format!("replica-{place}"))).unwrap();
    Command::new("unshare")
        .args(flags)
        .args(["sh", "-c", script])
        .env(CHILD, dir)
        .env(PLACE, place.to_string())
        .env(LEFT, left.to_string())
        .env("TRUNKLINE_TEST_EXE", std::env::current_exe().unwrap())
        .output()
        .unwrap_or_else(|error| panic!("could not run unshare: {error}"))
}

/// The flags with which a file system can be mounted here, if it can.
fn unshare() -> Option<&'static [&'static str]> {
    let found = [&["-m"][..], &["-r", "-m"]].into_iter().find(|flags| {
        let dir = TempDir::new().unwrap();
        child(flags, MOUNT, dir.path(), 0, 0).status.success()
    });
    if found.is_none() {
        eprintln!("NO FILE SYSTEM CAN BE MOUNTED HERE: a full disk under a voter is not tried");
    }
    found
}

/// Runs one of the children on a small disk.
#[track_caller]
fn harmless(flags: &[&str], test: &str, place: usize, left: usize) {
    let dir = TempDir::new().unwrap();
    let script = format!("{MOUNT} && exec \"$TRUNKLINE_TEST_EXE\" --exact {test} --nocapture");
    let output = child(flags, &script, dir.path(), place, left);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(DONE), "voter {place}, {left} left: {output:?}");
}

#[test]
fn a_voter_whose_disk_is_full_says_so_and_ends_and_catches_up_when_there_is_room() {
    let Some(flags) = unshare() else { return };
    // The leader and a follower; the write-ahead log is full first, or the state database.
    for (place, left) in [(0, 0), (0, 60_000), (1, 0), (1, 200_000)] {
        harmless(flags, "the_child_fills_the_disk_of_one", place, left);
    }
}

/// The group forgives one voter that lies, so the log is tried by itself too.
#[test]
fn what_a_full_disk_did_not_take_is_not_acknowledged_by_the_log() {
    let Some(flags) = unshare() else { return };
    for left in [0, 10_000, 50_000] {
        harmless(flags, "the_child_fills_the_disk_of_a_log", 0, left);
    }
}
