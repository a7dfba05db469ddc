//! Real callers in a queue with a plan: what they need becomes less, they are told why they wait, they overflow, and whatever
//! is decided about them counts.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use serde_json::{Value, json};
use support::cluster::{Cluster, facts, field, int, list, text, told, trunkline, verify};
use support::operator::{ALPHA, Answer, DOCUMENT, at_work};
use support::{hold, sipp, until};
use tempfile::TempDir;

/// The tests' operator, where Alpha's first queue wants the best, then the good, and then sends its callers on.
fn document() -> String {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let queue = "        name: Alpha\n        required_skills: [skl_voice]\n";
    let plan = "        name: Alpha\n        required_skills: [skl_voice >= 8]\n        steps:\n\
                \x20         - { after: 2s, required_skills: [skl_voice >= 5], priority: -1 }\n\
                \x20         - { after: 5s, overflow: que_alpha-long }\n";
    let agent = "name: One, skills: [skl_voice]";
    assert_eq!((document.matches(queue).count(), document.matches(agent).count()), (1, 1), "{DOCUMENT}");
    document.replace(queue, plan).replace(agent, "name: One, skills: [skl_voice 3]")
}

/// The facts of a log about a contact, by name.
fn of(data: &std::path::Path, log: &str, contact_id: &str, name: &str) -> Result<Vec<Value>, String> {
    let facts = facts(data, log)?;
    Ok(facts
        .into_iter()
        .filter(|fact| text(fact, "name") == name && text(fact, "stream") == contact_id)
        .collect())
}

fn waiting(data: &std::path::Path, nth: usize) -> String {
    until("a contact in a queue", || {
        let queued: Vec<Value> = facts(data, "routing")?
            .into_iter()
            .filter(|fact| text(fact, "name") == "ContactQueued")
            .collect();
        let contact = queued.get(nth).map(|fact| text(fact, "stream").to_owned());
        contact.ok_or_else(|| format!("{} are queued", queued.len()))
    })
}

#[test]
fn a_caller_whom_nobody_can_serve_is_told_why_overflows_and_is_served_there() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cluster = Cluster::with_operator(&data, &[]);
    let planned = dir.path().join("planned.yaml");
    std::fs::write(&planned, document()).unwrap();
    let applied = trunkline(&["apply", "-f", &planned.display().to_string(), "--data", &cluster.data()]);
    assert_eq!(applied.status.code(), Some(0), "{:?}", told(&applied));
    let _phone = at_work(&cluster, dir.path(), "agt_1", &[Answer::Talk]);

    let mut caller = sipp::call(dir.path(), cluster.sip(), "+4917139200001", ALPHA, 14_000);
    let contact_id = waiting(&data, 0);
    let explained = cluster.get(&format!("/v1/contacts/{contact_id}/explain")).unwrap();
    assert_eq!(text(&explained, "queueId"), "que_alpha");
    assert_eq!(text(&explained, "reason"), "nobody_signed_in", "{explained}");
    assert!(
        list(&explained, "releases")
            .iter()
            .any(|it| it.to_string().contains("one of 7 who can serve it signs in"))
    );
    let not = &list(&explained, "candidates")[0];
    assert_eq!((text(not, "agentId"), text(not, "reason")), ("agt_1", "lacks a skill"));
    let said = trunkline(&["queues", "--explain", &contact_id, "--data", &cluster.data()]);
    let (code, out, _) = told(&said);
    assert_eq!(code, Some(0), "{said:?}");
    assert!(out.contains("waits in que_alpha for") && out.contains("not agt_1: lacks a skill"), "{out}");
    let (code, out, _) = told(&trunkline(&["queues", "--once", "--data", &cluster.data()]));
    assert!(code == Some(0) && out.contains("que_alpha-long") && out.contains("1 wait in 3 queues"), "{out}");

    until("the conversation in the other queue", || {
        let connected = of(&data, "contacts", &contact_id, "ContactConnected")?;
        hold(connected.len() == 1 && connected[0].to_string().contains("que_alpha-long"), connected)
    });
    let steps = of(&data, "routing", &contact_id, "StepBegan").unwrap();
    assert_eq!(steps.len(), 2, "{steps:?}");
    assert_eq!(of(&data, "routing", &contact_id, "ContactDequeued").unwrap().len(), 2);
    let code = told(&trunkline(&["queues", "--explain", &contact_id, "--data", &cluster.data()])).0;
    assert_eq!(code, Some(1), "who talks does not wait");
    caller.ends_well();
    until("the report of both queues", || {
        let cells = cluster.get("/v1/companies/cmp_alpha/intervals?fromMs=0&toMs=9007199254740991")?;
        let of = |queue: &str, name: &str| -> i64 {
            let cells = list(&cells, "cells").iter().filter(|cell| text(cell, "queueId") == queue);
            cells.map(|cell| int(cell, name)).sum()
        };
        let counts = [
            of("que_alpha", "enteredCount"),
            of("que_alpha", "flowedOutCount"),
            of("que_alpha-long", "enteredCount"),
            of("que_alpha-long", "answeredCount"),
        ];
        hold(counts == [1; 4], (counts, &cells))
    });
    cluster.stop();
    verify(&data);
}

#[test]
fn what_is_decided_about_who_waits_counts_at_once() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cluster = Cluster::with_operator(&data, &[]);
    let mut first = sipp::call(dir.path(), cluster.sip(), "+4917139200001", ALPHA, 12_000);
    let one = waiting(&data, 0);
    let mut second = sipp::call(dir.path(), cluster.sip(), "+4917139200002", ALPHA, 12_000);
    let two = waiting(&data, 1);
    let place = |contact_id: &str| -> Result<i64, String> {
        Ok(int(&cluster.get(&format!("/v1/contacts/{contact_id}/explain"))?, "place"))
    };
    assert_eq!((place(&one), place(&two)), (Ok(1), Ok(2)));
    let signed = |more: Value| {
        let mut body = json!({ "author": "ada", "reason": "a storm" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    cluster.post(&format!("/v1/contacts/{two}:reprioritise"), &signed(json!({ "priority": -5 }))).unwrap();
    assert_eq!((place(&one), place(&two)), (Ok(2), Ok(1)));
    let refused = cluster.post(&format!("/v1/contacts/{two}:reprioritise"), &json!({ "priority": -5 }));
    assert!(refused.as_ref().is_err_and(|why| why.contains("NOT_SIGNED")), "{refused:?}");

    // The queue as it is defined from now on counts for who waits when somebody says so.
    let planned = dir.path().join("planned.yaml");
    std::fs::write(&planned, document()).unwrap();
    let applied = trunkline(&["apply", "-f", &planned.display().to_string(), "--data", &cluster.data()]);
    assert_eq!(applied.status.code(), Some(0), "{:?}", told(&applied));
    let replanned = cluster.post("/v1/queues/que_alpha:replan", &signed(json!({}))).unwrap();
    assert_eq!(int(&replanned, "contactCount"), 2);
    let explained = cluster.get(&format!("/v1/contacts/{two}/explain")).unwrap();
    let needs = field(&explained, "requiredSkills").to_string();
    assert!(needs.contains("skl_voice >= 8") || needs.contains("skl_voice >= 5"), "{explained}");

    cluster
        .post(&format!("/v1/contacts/{one}:move"), &signed(json!({ "queueId": "que_alpha-long" })))
        .unwrap();
    until("the contact in the other queue", || {
        let requested = of(&data, "contacts", &one, "ContactQueueRequested")?;
        hold(requested.len() == 2 && requested[1].to_string().contains("que_alpha-long"), requested)
    });
    let replanned = of(&data, "routing", &two, "ContactReplanned").unwrap();
    assert_eq!(replanned.len(), 2, "{replanned:?}");
    first.ends_well();
    second.ends_well();
    cluster.stop();
    verify(&data);
}
