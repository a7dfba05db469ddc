//! A disk that fails the log: cut, flipped, full, or written by a later version.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;
use serde_json::Value;
use support::cluster::{Cluster, Starting, ask, facts, free_port, int, list, text, told, trunkline, verify};
use support::operator::{ALPHA, Answer, NOBODY, at_work};
use support::sip::Peer;
use support::sipp::call;
use support::{hold, until};
use tempfile::TempDir;
use trunkline_domain::facts::ContactFact;
use trunkline_domain::vocabulary::{Cell, LogName};
use trunkline_proto::convert::WireFact;
use trunkline_proto::envelope::v1 as wire;
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, EventLog, ReadFrom};

/// A stopped cluster's data, with one call in it; and its state hashes.
fn one_call(dir: &Path) -> (PathBuf, [String; 2]) {
    let data = dir.join("data");
    let cluster = Cluster::with_operator(&data, &[]);
    let _phone = at_work(&cluster, dir, "agt_1", &[Answer::Talk]);
    call(dir, cluster.sip(), "+4917139200001", ALPHA, 2_500).ends_well();
    until("the call's record and its item", || {
        let records = cluster.contacts()?;
        let over = records.iter().any(|it| int(it, "talked_ms") > 0 && int(it, "ended_at_ms") > 0);
        let items = cluster.get("/v1/companies/cmp_alpha/items")?;
        let agents = cluster.agents()?;
        hold(
            over && !list(&items, "items").is_empty() && agents["agt_1"] == "ready",
            (&records, &items, &agents),
        )
    });
    let hashes = cluster.equals_replay();
    cluster.stop();
    (data, hashes)
}

fn segment(data: &Path, log: &str) -> PathBuf {
    data.join("log").join(log).join("0").join(format!("{:020}.seg", 0))
}

fn topics(data: &Path) -> (Option<i32>, BTreeMap<String, String>, String) {
    let (code, stdout, stderr) =
        told(&trunkline(&["topics", "check", "--json", "--data", &data.display().to_string()]));
    let told: Value =
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout} {stderr}"));
    let states =
        list(&told, "logs").iter().map(|it| (text(it, "log").to_owned(), text(it, "state").to_owned()));
    (code, states.collect(), stderr)
}

/// Starts a cluster on damaged data. It may refuse with an error, or run and not be ready; either must say every one
/// of `words` in one line. Gives whether it refused.
#[track_caller]
fn degraded(data: &Path, words: &[&str]) -> bool {
    let ops = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut starting = Starting::new(data, &["--ops", &ops.to_string()]);
    let refused = until("a named state", || {
        if let Some(code) = starting.ended() {
            let logged = starting.logged();
            let said = logged.lines().filter(|line| line.starts_with("trunkline: "));
            let named = said.clone().any(|line| words.iter().all(|word| line.contains(word)));
            assert!(code == Some(1) && named, "{code:?}: {logged}");
            return Ok(true);
        }
        let (status, body) = ask(ops, "GET", "/readyz", "", None)?;
        let reasons: Vec<_> = list(&body, "reasons").iter().map(|it| text(it, "reason").to_owned()).collect();
        let named = reasons.iter().any(|reason| words.iter().all(|word| reason.contains(word)));
        hold(status == 503 && named, (status, &body))?;
        Ok(false)
    });
    starting.kill();
    refused
}

#[test]
fn a_tail_cut_within_a_record_is_cut_back_and_reported_and_nothing_else_is_missing() {
    let dir = TempDir::new().unwrap();
    let (data, hashes) = one_call(dir.path());
    let before = facts(&data, "all").unwrap();
    // A record that was being written when the power failed: nobody had it acknowledged, nobody read it.
    for log in LogName::ALL {
        append(&data, log, |_| {});
    }
    for log in LogName::ALL {
        let path = segment(&data, log.as_str());
        let len = fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len - 5).unwrap();
    }

    let cluster = Cluster::start(&data, &[]);
    let logged = cluster.logged();
    for log in LogName::ALL {
        let reported =
            |line: &str| line.contains("cut off the unfinished end") && line.contains(log.as_str());
        assert!(logged.lines().any(reported), "{log}: {logged}");
    }
    assert_eq!(cluster.equals_replay(), hashes);
    cluster.stop();
    assert_eq!(topics(&data).0, Some(0));
    let after = facts(&data, "all").unwrap();
    assert!(before.iter().all(|fact| after.contains(fact)));
    verify(&data);
}

#[test]
fn a_bit_flipped_in_the_middle_of_a_log_is_named_with_file_and_offset_and_the_other_logs_can_be_read() {
    let dir = TempDir::new().unwrap();
    let (data, _) = one_call(dir.path());
    let before = facts(&data, "contacts").unwrap();
    let path = segment(&data, "contacts");
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let (middle, mut byte) = (file.metadata().unwrap().len() / 2, [0]);
    let flip = |byte: &mut [u8; 1]| {
        file.read_exact_at(byte, middle).unwrap();
        byte[0] ^= 0x10;
        file.write_all_at(byte, middle).unwrap();
    };
    flip(&mut byte);

    let name = format!("contacts/0/{:020}.seg", 0);
    let check = |when: &str| {
        let (code, states, stderr) = topics(&data);
        assert_eq!(code, Some(1), "{when}: {states:?}");
        for (log, state) in states {
            let named = state.contains(&name) && state.contains("checksum");
            assert_eq!(named, log == "contacts", "{when}: {log}: {state}");
            assert_eq!(state == "good", log != "contacts", "{when}: {log}: {state}");
        }
        assert!(stderr.contains(&name), "{when}: {stderr}");
    };
    check("untouched");
    degraded(&data, &[&name]);
    check("behind a start");
    for log in ["directory", "routing", "agents", "billing"] {
        assert!(facts(&data, log).is_ok(), "{log}");
    }
    assert!(facts(&data, "contacts").is_err());

    // A person puts the byte right and takes the marker away: everything is there.
    flip(&mut byte);
    fs::remove_file(path.with_file_name("QUARANTINED")).unwrap();
    assert_eq!(facts(&data, "contacts").unwrap(), before);
    let cluster = Cluster::start(&data, &[]);
    cluster.equals_replay();
    cluster.stop();
    verify(&data);
}

#[test]
fn a_fact_of_a_later_schema_stops_every_reader_with_its_position_and_is_never_skipped() {
    let dir = TempDir::new().unwrap();
    let (data, _) = one_call(dir.path());
    let before = facts(&data, "contacts").unwrap();
    let later = ContactFact::SCHEMA_VERSION + 1;
    let position = append(&data, LogName::Contacts, |outcome| outcome.schema_version = later);

    let data_text = data.display().to_string();
    for args in
        [&["replay"][..], &["tail", "contacts"], &["verify"], &["contact", text(&before[0], "stream")]]
    {
        let (code, stdout, stderr) = told(&trunkline(&[args, &["--data", &data_text]].concat()));
        assert_eq!(code, Some(1), "{args:?}: {stdout}");
        assert!(
            stderr.contains("schema version") && stderr.contains(&position.to_string()),
            "{args:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
    assert!(facts(&data, "agents").is_ok());
    degraded(&data, &["schema version", &position.to_string()]);
}

/// Appends one more record: the last outcome's payload once more, changed, in the last record's lane. Gives its position.
fn append(data: &Path, log_name: LogName, change: impl FnOnce(&mut wire::Outcome)) -> u64 {
    let dir = data.join("log");
    let cluster = EmbeddedLog::cluster_of(&dir).unwrap().unwrap();
    let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(&dir, cluster, 1)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let end = log.end(log_name, Cell(0)).await.unwrap().unwrap();
        let mut stream = log.read(log_name, Cell(0), ReadFrom::Start).await.unwrap();
        let (mut outcome, mut record) = (wire::Outcome::default(), None);
        while record.as_ref().is_none_or(|(position, _)| *position < end) {
            let stored = stream.next().await.unwrap();
            if !stored.record.payload.is_empty() {
                outcome = wire::Outcome::decode(&stored.record.payload[..]).unwrap();
            }
            record = Some((stored.position, stored.record));
        }
        let (_, mut record) = record.unwrap();
        change(&mut outcome);
        record.sequence += 1;
        record.payload = outcome.encode_to_vec().into();
        log.append(log_name, Cell(0), record).unwrap().await.unwrap().0
    })
}

#[test]
fn a_full_disk_under_the_log_is_spooled_for_then_refuses_new_calls_forgets_nothing_and_passes() {
    const MOUNT: &str = "mount -t tmpfs -o size=4m tmpfs \"$SMALL_DISK\"";
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    fs::create_dir_all(data.join("log")).unwrap();
    let small_disk = data.join("log");
    let unshare = [&["-m"][..], &["-r", "-m"]].into_iter().find(|flags| {
        let mut command = Command::new("unshare");
        let tried = command.args(*flags).args(["sh", "-c", MOUNT]).env("SMALL_DISK", &small_disk).output();
        tried.is_ok_and(|output| output.status.success())
    });
    let Some(flags) = unshare else {
        eprintln!("NO FILE SYSTEM CAN BE MOUNTED HERE: A FULL DISK UNDER THE LOG IS NOT TESTED");
        return;
    };
    let mut command = Command::new("unshare");
    command
        .args(flags)
        .args(["sh", "-c", &format!("{MOUNT} && exec \"$0\" \"$@\""), support::cluster::TRUNKLINE])
        .args(Starting::arguments(&data, &["--set", "media.spool_bytes_max=60000"]))
        .env("SMALL_DISK", &small_disk);
    let cluster = Starting::spawn(command, &data).ready();
    // The mount is seen by the cluster alone; this is its view.
    let inside = PathBuf::from(format!("/proc/{}/root{}", cluster.pid(), data.display()));
    let applied =
        trunkline(&["apply", "-f", support::operator::DOCUMENT, "--data", &inside.display().to_string()]);
    assert_eq!(applied.status.code(), Some(0), "{:?}", told(&applied));
    until("the operator's agents", || {
        let agents = cluster.agents()?;
        hold(agents.len() == 8, agents)
    });
    let _phone = at_work(&cluster, dir.path(), "agt_1", &[Answer::Talk]);
    call(dir.path(), cluster.sip(), "+4917139200001", ALPHA, 2_500).ends_well();
    let talked = |wanted: usize| {
        until("the call's record", || {
            let records = cluster.contacts()?;
            let over = |it: &&Value| int(it, "talked_ms") > 0 && int(it, "ended_at_ms") > 0;
            hold(records.iter().filter(over).count() == wanted, &records)
        });
        until("that the agent is ready again", || {
            let agents = cluster.agents()?;
            hold(agents["agt_1"] == "ready", agents)
        });
    };
    talked(1);

    let ballast = inside.join("log").join("ballast");
    let file = fs::File::create(&ballast).unwrap();
    let (mut at, mut chunk) = (0, 1 << 16);
    while chunk > 0 {
        match file.write_at(&vec![1; chunk], at) {
            Ok(0) | Err(_) => chunk /= 2,
            Ok(written) => at += written as u64,
        }
    }
    drop(file);
    let before = facts(&inside, "all").unwrap();
    // What fits into the last page is still taken: calls of an unknown number fill it and have no other consequence.
    let mut peer = Peer::new(cluster.sip());
    let remarks = until("that facts are spooled on the other disk, and calls taken", || {
        let status = peer.invite(NOBODY)?;
        let (ready, body) = cluster.readiness()?;
        hold(
            status == 404 && ready == 200 && body.to_string().contains("spools its facts"),
            (status, ready, &body),
        )?;
        Ok(body)
    });
    println!("{remarks}");
    let reasons = until("that calls are refused and readiness says why", || {
        let status = peer.invite(NOBODY)?;
        let (ready, body) = cluster.readiness()?;
        hold(status == 503 && ready == 503 && body.to_string().contains("is full"), (status, ready, &body))?;
        Ok(body)
    });
    println!("{reasons}");
    let now = facts(&inside, "all").unwrap();
    assert!(before.iter().all(|fact| now.contains(fact)), "what was acknowledged is there");

    fs::remove_file(&ballast).unwrap();
    until("that it is ready again", || {
        let (status, body) = cluster.readiness()?;
        hold(status == 200, body)
    });
    assert_eq!(Peer::new(cluster.sip()).options(), Ok(200));
    call(dir.path(), cluster.sip(), "+4917139200002", ALPHA, 2_500).ends_well();
    talked(2);
    let after = facts(&inside, "all").unwrap();
    assert!(before.iter().all(|fact| after.contains(fact)), "what was acknowledged is there");
    let output = trunkline(&["verify", "--data", &inside.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{:?}", told(&output));
    cluster.stop();
}
