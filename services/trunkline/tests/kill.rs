//! The whole process is killed while 20 calls are up, and started again.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::cluster::{Cluster, TRUNKLINE, facts, int, list, text, verify};
use support::operator::{AGENTS, ALPHA, ALPHA_LONG, ALPHA_TALKATIVE, Answer, BETA, at_work};
use support::sipp::{Sipp, call};
use support::{hold, until};
use tempfile::TempDir;

/// Where a contact stands, by the names of its facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Greeting,
    Waiting,
    Ringing,
    Talking,
    Over,
}

/// Where each contact stands, by its id.
fn stages(facts: &[Value]) -> BTreeMap<String, Stage> {
    let mut stages = BTreeMap::new();
    for fact in facts {
        let stage = match text(fact, "name") {
            "ContactArrived" => Stage::Greeting,
            "ContactQueueRequested" | "OfferDeclined" | "OfferUnanswered" | "OfferFailed" => Stage::Waiting,
            "OfferAlerting" => Stage::Ringing,
            "ContactConnected" => Stage::Talking,
            "ContactEnded" => Stage::Over,
            _ => continue,
        };
        stages.insert(text(fact, "stream").to_owned(), stage);
    }
    stages
}

fn count(stages: &BTreeMap<String, Stage>, wanted: Stage) -> usize {
    stages.values().filter(|stage| **stage == wanted).count()
}

/// Waits until so many contacts stand somewhere.
#[track_caller]
fn reach(data: &Path, stage: Stage, wanted: usize) {
    until("a stage", || {
        let stages = stages(&facts(data, "contacts")?);
        hold(count(&stages, stage) == wanted, (stage, wanted, &stages))
    });
}

/// Identity of a fact.
fn identity(fact: &Value) -> (String, i64, i64, String) {
    let (log, event) = (text(fact, "log"), text(fact, "event_id"));
    (log.to_owned(), int(fact, "cell"), int(fact, "position"), event.to_owned())
}

/// `trunkline tail --follow` beside the cluster: what a reader has seen.
struct Witness(std::process::Child);

impl Witness {
    fn start(data: &Path, into: &Path) -> Self {
        let child = Command::new(TRUNKLINE)
            .args(["tail", "all", "--json", "--follow", "--data", &data.display().to_string()])
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(into).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn killed_with_20_calls_up_the_cluster_ends_each_once_frees_everybody_and_forgets_nothing() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cluster = Cluster::with_operator(&data, &[]);
    let seen = dir.path().join("seen.jsonl");
    let witness = Witness::start(&data, &seen);

    // Seven talk, the eighth lets its first call ring; one of the seven is then in its wrap-up.
    let mut phones = Vec::new();
    for agent_id in &AGENTS[..7] {
        phones.push(at_work(&cluster, dir.path(), agent_id, &[Answer::Talk]));
    }
    let sip = cluster.sip();
    let mut callers: Vec<Sipp> = Vec::new();
    let place = |callers: &mut Vec<Sipp>, dialled: &str, stay_ms: u64| {
        let caller = format!("+49171392000{:02}", callers.len());
        callers.push(call(dir.path(), sip, &caller, dialled, stay_ms));
    };
    for _ in 0..6 {
        place(&mut callers, BETA, 300_000);
    }
    reach(&data, Stage::Talking, 6);
    place(&mut callers, ALPHA_LONG, 3_000);
    callers.last_mut().unwrap().ends_well();
    phones.push(at_work(&cluster, dir.path(), AGENTS[7], &[Answer::Ring, Answer::Talk]));
    place(&mut callers, ALPHA_LONG, 300_000);
    reach(&data, Stage::Ringing, 1);
    for number in 0..10 {
        place(&mut callers, if number % 2 == 0 { ALPHA } else { BETA }, 300_000);
    }
    reach(&data, Stage::Waiting, 10);
    for _ in 0..3 {
        place(&mut callers, ALPHA_TALKATIVE, 300_000);
    }
    reach(&data, Stage::Greeting, 3);

    let before = facts(&data, "contacts").unwrap();
    let stood = stages(&before);
    let live: BTreeSet<&String> =
        stood.iter().filter(|(_, stage)| **stage != Stage::Over).map(|(contact_id, _)| contact_id).collect();
    let busy: BTreeMap<String, String> = cluster.agents().unwrap();
    cluster.kill();
    let tally = [Stage::Greeting, Stage::Waiting, Stage::Ringing, Stage::Talking].map(|it| count(&stood, it));
    assert_eq!((live.len(), tally), (20, [3, 10, 1, 6]), "{stood:?}");
    assert!(busy.values().any(|activity| activity == "wrap_up"), "{busy:?}");
    drop((witness, callers));

    let sip = sip.to_string();
    let cluster = Cluster::start(&data, &["--sip", &sip]);
    let records = until("the end of every contact", || {
        let records = cluster.contacts()?;
        let open: Vec<_> = records.iter().filter(|it| int(it, "ended_at_ms") == 0).collect();
        hold(records.len() == stood.len() && open.is_empty(), open)?;
        Ok(records)
    });
    for record in &records {
        let (contact_id, cause) = (text(record, "contact_id").to_owned(), text(record, "cause"));
        let expected = if live.contains(&contact_id) { "media_lost" } else { "completed" };
        assert_eq!(cause, expected, "{record}");
    }
    until("that nobody is stuck", || {
        let agents = cluster.agents()?;
        let free = agents.values().all(|activity| activity == "ready" || activity == "not_ready");
        hold(free && agents.len() == AGENTS.len(), agents)
    });

    // Everybody can work again: as many calls at once as there are agents, each answered by another.
    for agent_id in AGENTS {
        if cluster.agents().unwrap()[agent_id] == "not_ready" {
            support::operator::go_ready(&cluster, agent_id);
        }
    }
    let mut callers = Vec::new();
    for number in 0..AGENTS.len() {
        let caller = format!("+49171392001{number:02}");
        callers.push(call(dir.path(), cluster.sip(), &caller, BETA, 12_000));
    }
    until("every agent talking", || {
        let agents = cluster.agents()?;
        hold(agents.values().all(|activity| activity == "talking"), agents)
    });
    callers.iter_mut().for_each(Sipp::ends_well);
    until("the records of the new calls", || {
        let records = cluster.contacts()?;
        let new: Vec<_> =
            records.iter().filter(|it| !stood.contains_key(text(it, "contact_id"))).cloned().collect();
        let agents: BTreeSet<&str> = new.iter().map(|it| text(it, "agent_id")).collect();
        let completed = new.iter().all(|it| text(it, "cause") == "completed");
        hold(new.len() == AGENTS.len() && completed && agents.len() == AGENTS.len(), &new)
    });
    until("that wrap-up is over", || {
        let agents = cluster.agents()?;
        hold(agents.values().all(|activity| activity == "ready"), agents)
    });

    let seen_count = nothing_forgotten(&data, &seen);
    assert!(seen_count > before.len(), "{seen_count} of {}", before.len());

    let hashes = cluster.equals_replay();
    cluster.stop();
    assert_eq!(support::cluster::replay(&data).unwrap(), hashes);
    verify(&data);
}

/// Nothing the witness saw is missing, moved or changed, and no contact ended twice. Gives how much was seen.
#[track_caller]
fn nothing_forgotten(data: &Path, seen: &Path) -> usize {
    let after: BTreeMap<_, Value> =
        facts(data, "all").unwrap().into_iter().map(|fact| (identity(&fact), fact)).collect();
    let mut seen_count = 0;
    // The last line may be cut: the witness was killed, too.
    for line in std::fs::read_to_string(seen).unwrap().lines() {
        let Ok(fact) = serde_json::from_str::<Value>(line) else { continue };
        assert_eq!(after.get(&identity(&fact)), Some(&fact));
        seen_count += 1;
    }
    let mut ends = BTreeMap::<&str, u32>::new();
    for fact in after.values().filter(|fact| text(fact, "name") == "ContactEnded") {
        *ends.entry(text(fact, "stream")).or_default() += 1;
    }
    assert!(ends.values().all(|count| *count == 1), "{ends:?}");
    seen_count
}

#[test]
fn killed_again_and_again_amid_short_calls_the_cluster_still_ends_each_once_and_bills_what_was_talked() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let seen = dir.path().join("seen.jsonl");
    let mut cluster = Cluster::with_operator(&data, &[]);
    let sip = cluster.sip();
    let witness = Witness::start(&data, &seen);
    let plans: [&[Answer]; 3] =
        [&[Answer::Talk], &[Answer::Decline, Answer::Talk], &[Answer::Talk, Answer::Ring]];
    let _phones: Vec<_> = AGENTS[..3]
        .iter()
        .zip(plans)
        .map(|(agent_id, plan)| at_work(&cluster, dir.path(), agent_id, plan))
        .collect();
    let mut callers: Vec<Sipp> = Vec::new();
    for more in [30, 55, 80, 105] {
        let begun = facts(&data, "all").unwrap().len();
        for number in 0..9 {
            let caller = format!("+49171392003{:02}", callers.len());
            let dialled = if number % 2 == 0 { ALPHA } else { BETA };
            callers.push(call(dir.path(), sip, &caller, dialled, 1_800 + 400 * number));
        }
        // A moment of its own each round: so many facts after its beginning.
        until("enough facts", || {
            let count = facts(&data, "all")?.len();
            hold(count >= begun + more, (count, begun, more))
        });
        cluster.kill();
        cluster = Cluster::start(&data, &["--sip", &sip.to_string()]);
    }
    drop(callers);
    let records = until("the end of every contact, and of all work", || {
        let records = cluster.contacts()?;
        let agents = cluster.agents()?;
        let idle = agents.values().all(|activity| activity == "ready" || activity == "signed_out");
        hold(idle && records.iter().all(|it| int(it, "ended_at_ms") > 0), (&records, &agents))?;
        Ok(records)
    });
    let causes: BTreeSet<&str> = records.iter().map(|it| text(it, "cause")).collect();
    assert!(causes.contains("completed") && causes.contains("media_lost"), "{causes:?}");
    let hashes = cluster.equals_replay();
    // What is billed by talk time is what was talked, to the millisecond.
    let items = cluster.get("/v1/companies/cmp_alpha/items").unwrap();
    let billed: i64 = list(&items, "items").iter().map(|it| int(it, "measured_ms")).sum();
    let alphas = records.iter().filter(|it| text(it, "company_id") == "cmp_alpha");
    assert_eq!(billed, alphas.map(|it| int(it, "talked_ms")).sum::<i64>());
    cluster.stop();
    drop(witness);
    assert!(nothing_forgotten(&data, &seen) > 300);
    assert_eq!(support::cluster::replay(&data).unwrap(), hashes);
    verify(&data);
}
