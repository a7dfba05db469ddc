//! What is rebuildable is deleted, and comes back the same from the logs.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::cluster::{Cluster, int, list, text, verify};
use support::operator::{ALPHA, Answer, BETA, COMPANIES, at_work};
use support::sipp::{Sipp, call};
use support::{hold, until};
use tempfile::TempDir;

/// Every directory of sled below `dir`, and every directory of snapshots.
fn rebuildable(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|it| it.is_dir()) {
        let sled = entry.join("conf").is_file() && entry.join("db").is_file();
        if sled || entry.file_name().is_some_and(|name| name == "snapshots") {
            found.push(entry);
        } else {
            found.extend(rebuildable(&entry));
        }
    }
    found
}

/// Everything told to people that does not depend on the time of asking.
fn told(cluster: &Cluster, until_ms: i64) -> Result<Value, String> {
    let mut all = vec![cluster.get(&format!("/v1/timesheets?until_ms={until_ms}"))?];
    for company in COMPANIES {
        let intervals = cluster.get(&format!("/v1/companies/{company}/intervals"))?;
        all.push(json!(list(&intervals, "cells")));
        all.push(cluster.get(&format!("/v1/companies/{company}/contacts?page_size=100"))?);
        all.push(cluster.get(&format!("/v1/companies/{company}/invoices/running"))?);
        all.push(cluster.get(&format!("/v1/companies/{company}/items"))?);
    }
    let agents = cluster.get("/v1/agents")?;
    all.push(json!(list(&agents, "agents")));
    Ok(json!(all))
}

#[test]
fn without_its_databases_and_snapshots_the_cluster_comes_back_with_the_same_state() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cluster = Cluster::with_operator(&data, &["--set", "agent_state.snapshot_every=20"]);
    let phones = [
        at_work(&cluster, dir.path(), "agt_1", &[Answer::Talk]),
        at_work(&cluster, dir.path(), "agt_2", &[Answer::Decline, Answer::Talk]),
    ];
    let mut callers: Vec<Sipp> = Vec::new();
    for (number, dialled) in [ALPHA, BETA, ALPHA, BETA].into_iter().enumerate() {
        let caller = format!("+49171392002{number:02}");
        callers.push(call(dir.path(), cluster.sip(), &caller, dialled, 4_000));
    }
    callers.iter_mut().for_each(Sipp::ends_well);
    let ended_at_ms = until("the records, and the end of all work", || {
        let records = cluster.contacts()?;
        let ended = records.iter().filter(|it| int(it, "ended_at_ms") > 0).count();
        let agents = cluster.agents()?;
        let idle = agents.values().all(|activity| activity == "ready" || activity == "signed_out");
        hold(ended == 4 && idle, (&records, &agents))?;
        Ok(records.iter().map(|it| int(it, "ended_at_ms")).max().unwrap_or(0))
    });
    let answered = cluster.contacts().unwrap().iter().filter(|it| int(it, "talked_ms") > 0).count();
    assert!(answered >= 2, "{answered}");
    let before = (cluster.equals_replay(), told(&cluster, ended_at_ms).unwrap());
    drop(phones);
    cluster.quiet();
    cluster.stop();
    verify(&data);

    let deleted = rebuildable(&data);
    let sled_count = deleted.iter().filter(|path| !path.ends_with("snapshots")).count();
    assert!(sled_count >= 2 && deleted.iter().any(|path| path.ends_with("snapshots")), "{deleted:?}");
    deleted.iter().for_each(|path| std::fs::remove_dir_all(path).unwrap());

    let cluster = Cluster::start(&data, &[]);
    let after = (cluster.equals_replay(), told(&cluster, ended_at_ms).unwrap());
    assert_eq!(after.0, before.0);
    for (after, before) in after.1.as_array().unwrap().iter().zip(before.1.as_array().unwrap()) {
        assert_eq!(after, before);
    }
    assert!(rebuildable(&data).len() >= sled_count, "they are there again");
    let agents = cluster.get("/v1/agents").unwrap();
    let devices = list(&agents, "agents").iter().filter(|it| !text(it, "device_uri").is_empty()).count();
    assert_eq!(devices, 2, "registered phones are remembered: {agents}");
    cluster.quiet();
    cluster.stop();
}
