//! `demo` and `smoke`: the same run, shown or judged.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::Failure;
use crate::checks::{Check, Findings};
use crate::cluster::{Cluster, Trunkline};
use crate::facts::History;
use crate::http::{Rest, RestError};
use crate::plan::{COMPANIES, OPERATOR_KEY};
use crate::print;
use crate::rig::Rig;
use crate::sabotage::sabotage;
use crate::stage::{Evidence, Options, Stage, say};

/// Runs, shows everything, and stays up until Ctrl-C.
///
/// # Errors
/// When the run could not be carried through.
pub async fn demo(options: Options) -> Result<(), Failure> {
    let mut stage = tokio::select! {
        biased;
        () = interrupted() => return Err(Failure::new("interrupted")),
        stage = shown(&options) => stage?,
    };
    tokio::select! {
        code = stage.cluster.ended() => Err(Failure::new(format!("the cluster ended by itself with {}", code?))),
        () = interrupted() => {
            say("stopping");
            stage.cluster.stop().await.map(|_| ())
        }
    }
}

/// Ctrl-C or SIGTERM. Whatever runs is dropped, and with it every child process.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn shown(options: &Options) -> Result<Stage, Failure> {
    let mut stage = Stage::open(options.clone()).await?;
    let mut evidence = stage.place_calls().await?;
    stage.close_up().await?;
    stage.collect(&mut evidence).await?;
    stage.caught_up().await?;
    let history = History::read(&stage.trunkline.data).await?;
    let plan = stage.plan.clone();
    let findings = ask_all(&stage, Findings::new(&plan, &evidence, history, &options.prompt_dir)).await?;
    print::stories(&stage, &findings).await?;
    print::tables(&findings);
    print::urls(&stage);
    Ok(stage)
}

/// Runs, compares every promise with the recount, and prints the verdict as one line of JSON. Gives whether all held.
pub async fn smoke(options: Options) -> bool {
    let (mut checks, mut outcomes) = (Vec::new(), Vec::new());
    let done = tokio::select! {
        biased;
        () = interrupted() => Err(Failure::new("interrupted")),
        done = judged(&options, &mut checks, &mut outcomes) => done,
    };
    if let Err(error) = done {
        checks.push(Check::holds("the run was carried through", "", error, false));
    }
    let failed: Vec<&Check> = checks.iter().filter(|check| !check.ok).collect();
    for check in &failed {
        eprintln!("smoke: {} failed: expected {}, got {}", check.name, check.expected, check.got);
    }
    let pass = failed.is_empty();
    let word = if pass { "pass" } else { "fail" };
    if !pass {
        say(&format!("seed {}; logs are in {}", options.seed, options.dir.display()));
    }
    let mode = if options.rig.is_some() { "kafka" } else { "embedded" };
    println!(
        "{}",
        json!({
            "smoke": word, "mode": mode, "seed": options.seed, "calls": options.call_count,
            "outcomes": outcomes, "checks": checks,
        })
    );
    pass
}

/// Compares what two runs of one seed printed: verdict, and how each call came out. Prints the comparison as one line of
/// JSON, and gives whether they agree.
///
/// # Errors
/// When a file does not end with a verdict, or they are of different plans.
pub fn compare(one: &Path, other: &Path) -> Result<bool, Failure> {
    let (left, right) = (verdict(one)?, verdict(other)?);
    if (&left["seed"], &left["calls"]) != (&right["seed"], &right["calls"]) {
        return Err(Failure::new("the two runs were not of the same seed and as many calls"));
    }
    let mut checks = vec![Check::same("both verdicts", &left["smoke"], &right["smoke"])];
    let outcomes = |of: &Value| of["outcomes"].as_array().cloned().unwrap_or_default();
    for (index, (left, right)) in outcomes(&left).iter().zip(&outcomes(&right)).enumerate() {
        checks.push(Check::same(&format!("call {index} comes out the same"), left, right));
    }
    let pass = checks.len() > 1 && checks.iter().all(|check| check.ok);
    println!(
        "{}",
        json!({"compare": if pass { "pass" } else { "fail" }, "modes": [left["mode"], right["mode"]], "checks": checks})
    );
    Ok(pass)
}

fn verdict(path: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(path)?;
    let last = text.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    last.filter(|it| it["smoke"].is_string())
        .ok_or_else(|| Failure::new(format!("{} does not end with a verdict", path.display())))
}

async fn judged(
    options: &Options,
    checks: &mut Vec<Check>,
    outcomes: &mut Vec<String>,
) -> Result<(), Failure> {
    let mut stage = Stage::open(options.clone()).await?;
    let mut evidence: Evidence = stage.place_calls().await?;
    stage.close_up().await?;
    stage.collect(&mut evidence).await?;
    let digests = stage.caught_up().await?;
    let history = History::read(&stage.trunkline.data).await?;
    let plan = stage.plan.clone();
    let findings = ask_all(&stage, Findings::new(&plan, &evidence, history, &options.prompt_dir)).await?;
    print::tables(&findings);
    checks.extend(findings.checks());
    outcomes.extend(findings.outcomes());
    checks.push(foreign_contact(&stage, &findings).await);
    for (fold, live, replayed) in digests {
        let ok = live == replayed && !live.is_empty();
        checks.push(Check::holds(&format!("{fold} is the same live and replayed"), replayed, live, ok));
    }
    let Stage { cluster, trunkline, .. } = stage;
    checks.push(Check::same("the cluster ends in order", 0, cluster.stop().await?));
    if let Some(shape) = options.rig {
        Cluster::brokers_again(&trunkline.data, shape).await?;
    }
    let verified = trunkline.run(&["verify"]).await?;
    let said = format!("{}{}", verified.stdout, verified.stderr);
    let last = said.lines().last().unwrap_or_default();
    checks.push(Check::holds("trunkline verify finds nothing wrong", "exit 0", last, verified.code == 0));
    if options.rig.is_some() {
        checks.extend(copied(options, &trunkline).await?);
        Rig::open(&trunkline.data)?.brokers.down().await?;
    }
    Ok(())
}

/// Asks the gateway for everything it shows, each company by its own key.
async fn ask_all<'a>(stage: &Stage, mut findings: Findings<'a>) -> Result<Findings<'a>, Failure> {
    let http = &stage.cluster.addresses.http;
    let mut by_company = BTreeMap::new();
    for company in COMPANIES {
        let rest = Rest::new(http, company.key);
        let base = format!("/v1/companies/{}", company.id);
        findings.intervals.insert(company.id, rest.get(&format!("{base}/intervals")).await?);
        findings.invoices.insert(company.id, rest.get(&format!("{base}/invoices/running")).await?);
        by_company.insert(company.id, rest);
    }
    for contact in findings.history.contacts.values() {
        if let Some(rest) = by_company.get(contact.company_id.as_str()) {
            let path = format!("/v1/companies/{}/contacts/{}", contact.company_id, contact.contact_id);
            findings.records.insert(contact.contact_id.clone(), rest.get(&path).await?);
        }
    }
    findings.timesheets = Rest::new(http, OPERATOR_KEY).get("/v1/timesheets").await?;
    Ok(findings)
}

/// The same facts must give the same reports and invoices whichever log keeps them, and whatever a log that doubles records
/// and a zombie that repeats them add: folded over a copy in an embedded log, and over sabotaged topics.
async fn copied(options: &Options, trunkline: &Trunkline) -> Result<[Check; 2], Failure> {
    let (to, worse) = (options.dir.join("copy"), options.dir.join("sabotaged"));
    trunkline.demand(&["export", "--to", &to.display().to_string()]).await?;
    let extra_count = sabotage(&trunkline.data, &worse).await?;
    let copy = Trunkline { program: trunkline.program.clone(), data: to };
    let sabotaged = Trunkline { program: trunkline.program.clone(), data: worse };
    let here = trunkline.demand(&["replay"]).await?;
    let (there, despite) = (copy.demand(&["replay"]).await?, sabotaged.demand(&["replay"]).await?);
    let name = format!("{extra_count} doubled and replayed records move no state hash");
    Ok([
        Check::same("the same facts give the same state hashes over the embedded log", &here, there),
        Check::holds(&name, &here, &despite, here == despite && extra_count > 100),
    ])
}

/// Another company's contact must not be found, whatever path is asked.
async fn foreign_contact(stage: &Stage, findings: &Findings<'_>) -> Check {
    let name = "another company's contact is not found";
    let aurora = findings.history.contacts.values().find(|it| it.company_id == "cmp_aurora");
    let Some(contact) = aurora else { return Check::holds(name, "404", "no contact to ask for", false) };
    let rest = Rest::new(&stage.cluster.addresses.http, "demo-borealis-key");
    let mut got = Vec::new();
    for company in ["cmp_aurora", "cmp_borealis"] {
        let path = format!("/v1/companies/{company}/contacts/{}", contact.contact_id);
        got.push(match rest.get(&path).await {
            Err(RestError::Refused { status, .. }) => status.to_string(),
            Ok(_) => "200".to_owned(),
            Err(error) => error.to_string(),
        });
    }
    Check::same(name, "404, 404", got.join(", "))
}
