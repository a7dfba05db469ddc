//! The commands beside `dev`.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::collections::BTreeSet;

use serde_json::Value;
use support::cluster::{Cluster, facts, list, text, told, trunkline, verify};
use support::operator::DOCUMENT;
use tempfile::TempDir;

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, stderr) = told(&trunkline(&["completions", shell]));
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{shell}");
        for command in ["apply", "tail", "replay", "replay-day", "topics", "verify", "contact"] {
            assert!(stdout.contains(command), "{shell} does not know {command}");
        }
    }
}

#[test]
fn topics_are_created_once_with_their_cells_and_checked() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data").display().to_string();
    let topics = |args: &[&str]| told(&trunkline(&[&["topics", "--json", "--data", &data], args].concat()));
    let (code, _, stderr) = topics(&["check"]);
    assert_eq!(code, Some(64), "{stderr}");
    assert!(stderr.contains("holds no logs"), "{stderr}");

    for args in [&["create", "--cells", "2"][..], &["create", "--cells", "2"], &["check"]] {
        let (code, stdout, stderr) = topics(args);
        assert_eq!(code, Some(0), "{args:?}: {stderr}");
        let told: Value = serde_json::from_str(&stdout).unwrap();
        let partitions: BTreeSet<(&str, &str)> =
            list(&told, "logs").iter().map(|it| (text(it, "log"), text(it, "cell"))).collect();
        assert_eq!(partitions.len(), 10, "{told}");
        assert!(list(&told, "logs").iter().all(|it| text(it, "state") == "good"), "{told}");
    }
    let (code, _, stderr) = topics(&["create", "--cells", "1"]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("has 2 cells, which cannot become 1"), "{stderr}");
    let (code, _, stderr) = topics(&["create", "--cells", "0"]);
    assert_eq!((code, stderr.as_str()), (Some(64), "trunkline: cells: a log has 1 to 1,024 cells\n"));
    let (code, _, stderr) = topics(&["create", "--cells", "1025"]);
    assert_eq!((code, stderr.as_str()), (Some(64), "trunkline: cells: a log has 1 to 1,024 cells\n"));
    let (code, stdout, _) = topics(&["create", "--cells", "3"]);
    assert_eq!((code, stdout.matches("good").count()), (Some(0), 15), "cells may be added");
}

#[test]
fn a_wrong_word_on_the_command_line_is_wrong_usage_and_help_is_not() {
    for wrong in [&["bogus"][..], &["dev", "--bogus"], &["completions", "tcsh"], &["apply"], &[]] {
        let (code, stdout, stderr) = told(&trunkline(wrong));
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{wrong:?}: {stderr}");
        assert!(
            stderr.contains("Usage: trunkline") || stderr.contains("try '--help'"),
            "{wrong:?}: {stderr}"
        );
    }
    let (code, stdout, stderr) = told(&trunkline(&["topics", "--help"]));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("Usage: trunkline topics"), "{stdout}");
}

#[test]
fn what_is_not_there_is_said_in_one_sentence() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().display().to_string();
    let made = trunkline(&["topics", "create", "--data", &data]);
    assert_eq!(made.status.code(), Some(0), "{:?}", told(&made));
    for (args, code, sentence) in [
        (&["contact", "ctc_nobody", "--json"][..], 1, "there is no contact ctc_nobody in "),
        (&["contact", "nonsense"], 64, "nonsense"),
        (
            &["tail", "gossip"],
            64,
            "there is no log `gossip`; there are directory, contacts, routing, agents, billing",
        ),
        (&["apply", "-f", "/nowhere.yaml"], 64, "could not read /nowhere.yaml"),
        (&["apply", "-f", DOCUMENT], 64, "is `trunkline dev --data "),
        (
            &["apply", "-f", DOCUMENT, "--server", "127.0.0.1:1"],
            1,
            "could not ask directory at 127.0.0.1:1: ",
        ),
        (
            &["apply", "-f", DOCUMENT, "--effective-at", "tomorrow"],
            64,
            "`tomorrow` is not an RFC 3339 instant",
        ),
    ] {
        let (got, stdout, stderr) = told(&trunkline(&[args, &["--data", &data]].concat()));
        assert_eq!((got, stdout.as_str()), (Some(code), ""), "{args:?}: {stderr}");
        assert!(stderr.starts_with("trunkline: ") && stderr.contains(sentence), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn a_document_applied_twice_changes_nothing_and_the_log_tells_it_by_filter() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cluster = Cluster::start(&data, &[]);
    let apply = |more: &[&str]| {
        let (code, stdout, stderr) = told(&trunkline(
            &[&["apply", "--json", "-f", DOCUMENT, "--data", &cluster.data()], more].concat(),
        ));
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str::<Value>(&stdout).unwrap()
    };
    let plan = apply(&["--dry-run"]);
    assert_eq!(text(&plan, "result"), "plan");
    assert!(list(&plan, "changes").len() > 20, "{plan}");
    assert_eq!(facts(&data, "directory").unwrap(), Vec::<Value>::new(), "a plan writes nothing");

    let applied = apply(&[]);
    assert_eq!(text(&applied, "result"), "applied");
    let written = facts(&data, "directory").unwrap();
    assert!(written.len() >= list(&plan, "changes").len(), "{} facts", written.len());

    let again = apply(&[]);
    assert_eq!((text(&again, "result"), &again["revision"]), ("nothing", &applied["revision"]));
    assert_eq!(list(&again, "changes").len(), 0);
    assert_eq!(facts(&data, "directory").unwrap(), written);

    let tail = |args: &[&str]| {
        let output = trunkline(&[&["tail", "--json", "--data", &cluster.data()], args].concat());
        let (code, stdout, stderr) = told(&output);
        assert_eq!(code, Some(0), "{stderr}");
        let lines = stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|it| (text(&it, "log").to_owned(), text(&it, "name").to_owned())).collect::<Vec<_>>()
    };
    let queue = ("directory".to_owned(), "QueueDefined".to_owned());
    assert_eq!(tail(&["--name", "QueueDefined"]), vec![queue.clone(); 3]);
    assert_eq!(tail(&["directory", "--name", "QueueDefined", "--cell", "0"]), vec![queue; 3]);
    assert_eq!(tail(&["agents", "--name", "QueueDefined"]), []);
    assert_eq!(tail(&["directory", "--cell", "7"]), []);
    assert_eq!(tail(&["--contact", "ctc_nobody"]), []);
    assert!(tail(&["agents"]).iter().all(|(log, _)| log == "agents"));
    assert!(tail(&["all"]).len() > written.len());

    let (_, prose, _) = told(&trunkline(&["tail", "directory", "--data", &cluster.data()]));
    assert_eq!(prose.lines().count(), written.len());
    assert!(!prose.contains("test-2001"), "no password in prose");
    cluster.quiet();
    cluster.stop();
    assert!(!data.join("endpoints.json").exists(), "nobody answers there any more");
    verify(&data);
}

/// Two members, of whom one is paused while a caller waits; ten seconds apart, three calls of a minute.
const QUEUE_LOG: &str = "\
1000|CLI|sales|SIP/anna|ADDMEMBER|
1000|CLI|sales|SIP/bert|ADDMEMBER|
1005|CLI|sales|SIP/bert|PAUSE|lunch
1010|c1|sales|NONE|ENTERQUEUE||1555|1
1010|c1|sales|SIP/anna|CONNECT|0|x|0
1020|c2|sales|NONE|ENTERQUEUE||1556|1
1040|c2|sales|NONE|ABANDON|1|1|20
1070|c1|sales|SIP/anna|COMPLETECALLER|0|60|1
1080|c3|sales|NONE|ENTERQUEUE||1557|1
1080|c3|sales|SIP/anna|CONNECT|0|x|0
1140|c3|sales|SIP/anna|COMPLETECALLER|0|60|1
";

#[test]
fn a_day_is_replayed_as_it_went_and_with_another_strategy() {
    let dir = TempDir::new().unwrap();
    let (log, what_if) = (dir.path().join("queue_log"), dir.path().join("what-if.yaml"));
    std::fs::write(&log, QUEUE_LOG).unwrap();
    std::fs::write(&what_if, "more_agents: 1\n").unwrap();
    let (log, what_if) = (log.display().to_string(), what_if.display().to_string());
    let replay = |args: &[&str]| told(&trunkline(&[&["replay-day", &log], args].concat()));

    let (code, stdout, stderr) = replay(&["--what-if", &what_if, "--json", "--intervals"]);
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [interval, all] = &lines[..] else { panic!("{stdout}") };
    assert_eq!((text(interval, "interval"), text(all, "interval")), ("700101 00:00", "all"));
    let counts =
        |run: &str| ["offered", "answered", "abandoned"].map(|what| all["runs"][run][what].as_u64().unwrap());
    assert_eq!(counts("log"), [3, 2, 1]);
    assert_eq!(counts("replay"), [3, 2, 1], "as it went");
    assert_eq!(counts("what-if"), [3, 3, 0], "nobody waits for a second agent");
    let (code, stdout, _) = replay(&[]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("assumed: members are there as the log says"), "{stdout}");

    std::fs::write(&what_if, "more_agent: 1\n").unwrap();
    let (code, _, stderr) = replay(&["--what-if", &what_if]);
    assert!(code == Some(64) && stderr.contains("more_agent"), "{stderr}");
    std::fs::write(&log, QUEUE_LOG.replace("|0|60|1", "|0|long|1")).unwrap();
    let (code, _, stderr) = replay(&[]);
    assert!(
        code == Some(1) && stderr.ends_with("line 8: calltime: expected seconds, found `long`\n"),
        "{stderr}"
    );
    let (code, _, stderr) = told(&trunkline(&["replay-day", "nowhere"]));
    assert!(code == Some(1) && stderr.contains("nowhere"), "{stderr}");
}
