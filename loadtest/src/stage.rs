//! A run: the cluster, the phones, the callers, until everything is quiet again.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Failure;
use crate::cluster::{Cluster, Trunkline};
use crate::ear::{Ear, Heard, unix_ms};
use crate::facts::History;
use crate::http::{Rest, text};
use crate::plan::{AGENTS, Intent, OPERATOR_KEY, Plan, PlannedCall, prompt_ms};
use crate::recount::{AgentLog, CallerLog};
use crate::rig::{self, Shape};
use crate::sipp::{self, Scenarios, Sipp, Start};

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `trunkline` program.
    pub program: PathBuf,
    /// Where the cluster's data and sipp's logs go; emptied first.
    pub dir: PathBuf,
    /// The document to apply.
    pub document: PathBuf,
    /// Where the prompts are.
    pub prompt_dir: PathBuf,
    /// What decides who does what, and when.
    pub seed: u64,
    /// How many calls.
    pub call_count: usize,
    /// The processes of the cluster; one process over an embedded log when absent.
    pub rig: Option<Shape>,
}

/// A run that has a cluster with signed-in agents.
#[derive(Debug)]
pub struct Stage {
    /// The plan.
    pub plan: Plan,
    /// The program, on the run's data directory.
    pub trunkline: Trunkline,
    /// The cluster.
    pub cluster: Cluster,
    /// The operator's view.
    pub operator: Rest,
    scenarios: Scenarios,
    phones: Vec<Sipp>,
    signed_in_at: Vec<i64>,
    signed_out_at: Vec<i64>,
    options: Options,
}

/// What sipp and the callers' ears brought home.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// By the plan's order.
    pub callers: Vec<CallerLog>,
    /// By the plan's order; empty for calls that were refused.
    pub heard: Vec<Heard>,
    /// By agent.
    pub agents: Vec<AgentLog>,
    /// By agent: Unix time, in ms, right after sign-in and right after sign-out.
    pub sessions: Vec<(i64, i64)>,
}

impl Stage {
    /// Starts the cluster, applies the document, lets the phones register, and gets the agents ready.
    ///
    /// # Errors
    /// When any of it fails; the message says what, and where to look.
    pub async fn open(options: Options) -> Result<Self, Failure> {
        let greeting_ms = |prompt: &str| prompt_ms(&options.prompt_dir, prompt);
        let plan = Plan::new(options.seed, options.call_count, greeting_ms);
        rig::clear(&options.dir)?;
        std::fs::create_dir_all(&options.dir)?;
        let scenarios = Scenarios::write(&options.dir.canonicalize()?.join("scenarios"))?;
        let trunkline = Trunkline { program: options.program.clone(), data: options.dir.join("data") };
        let cluster = match options.rig {
            None => trunkline.start().await?,
            Some(shape) => trunkline.start_rig(shape).await?,
        };
        let sip = cluster.addresses.sip.join(" and ");
        say(&format!("cluster ready: http {}, sip {sip}", cluster.addresses.http));
        let document = options.document.display().to_string();
        let applied = trunkline.demand(&["apply", "-f", &document, "--author", "demo"]).await?;
        say(applied.lines().last().unwrap_or_default());
        let operator = Rest::new(&cluster.addresses.http, OPERATOR_KEY);
        let mut stage = Self {
            plan,
            trunkline,
            cluster,
            operator,
            scenarios,
            phones: Vec::new(),
            signed_in_at: Vec::new(),
            signed_out_at: Vec::new(),
            options,
        };
        for agent in 0..AGENTS.len() {
            let server = stage.cluster.addresses.sip_for(agent).to_owned();
            let (dir, csv) = (stage.options.dir.join("phones"), stage.plan.csv(agent));
            stage.phones.push(phone(&stage.scenarios, &dir, agent, &csv, &server).await?);
        }
        for agent in AGENTS {
            agent_does(&stage.operator, agent.id, "signIn", json!({"siteId": ""})).await?;
            stage.signed_in_at.push(unix_ms());
            agent_does(&stage.operator, agent.id, "goReady", json!({})).await?;
        }
        say(&format!("{} phones registered, agents signed in and ready", AGENTS.len()));
        Ok(stage)
    }

    /// Places the calls of the plan and waits until every caller has ended.
    ///
    /// # Errors
    /// When a caller cannot be started.
    pub async fn place_calls(&mut self) -> Result<Evidence, Failure> {
        let last_ms = self.plan.calls.last().map_or(0, |call| call.at_ms);
        say(&format!(
            "placing {} calls over {} s, seed {}",
            self.plan.calls.len(),
            last_ms / 1_000,
            self.plan.seed
        ));
        let mut callers = JoinSet::new();
        for call in self.plan.calls.clone() {
            let scenarios = self.scenarios.clone();
            let server = self.cluster.addresses.sip_for(call.index).to_owned();
            let dir = self.options.dir.join("callers").join(format!("{:02}", call.index));
            callers.spawn(async move { caller(&scenarios, &server, dir, call).await });
        }
        let mut evidence = Evidence {
            callers: vec![CallerLog::default(); self.plan.calls.len()],
            heard: vec![Heard::default(); self.plan.calls.len()],
            ..Evidence::default()
        };
        while let Some(joined) = callers.join_next().await {
            let (index, log, heard) = joined.map_err(Failure::new)??;
            (evidence.callers[index], evidence.heard[index]) = (log, heard);
        }
        Ok(evidence)
    }

    /// Waits until every contact has ended and no agent works; then signs the agents out.
    ///
    /// # Errors
    /// When an agent cannot be signed out. Not becoming quiet is no error here: the checks will say what is missing.
    pub async fn close_up(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(40);
        while Instant::now() < deadline {
            let history = History::read(&self.trunkline.data).await?;
            let ended = history.contacts.values().filter(|it| it.ended_count > 0).count();
            let agents = self.operator.get("/v1/agents").await.map_err(Failure::new)?;
            let busy = crate::http::list(&agents, "agents").iter().any(|agent| {
                ["RESERVED", "TALKING", "WRAP_UP"].iter().any(|it| text(agent, "activity").ends_with(it))
            });
            if ended >= self.plan.calls.len() && ended == history.contacts.len() && !busy {
                break;
            }
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        for agent in AGENTS {
            agent_does(&self.operator, agent.id, "signOut", json!({"reason": "end of shift"})).await?;
            self.signed_out_at.push(unix_ms());
        }
        say("all contacts ended, agents signed out");
        Ok(())
    }

    /// Ends the phones and reads their logs.
    ///
    /// # Errors
    /// When a phone cannot be ended.
    pub async fn collect(&mut self, evidence: &mut Evidence) -> Result<(), Failure> {
        let mut phones = JoinSet::new();
        for (agent, phone) in self.phones.drain(..).enumerate() {
            phones.spawn(async move {
                let dir = phone.dir.clone();
                phone.finish().await.map(|(code, echo_count)| (agent, dir, code, echo_count))
            });
        }
        evidence.agents = vec![AgentLog::default(); AGENTS.len()];
        while let Some(joined) = phones.join_next().await {
            let (agent, dir, code, echo_count) = joined.map_err(Failure::new)??;
            let callers = sipp::callers(&read(&dir.join("messages.txt")));
            let messages = sipp::timeline(&read(&dir.join("timeline.txt")));
            evidence.agents[agent] = AgentLog { code, messages, callers, echo_count };
        }
        evidence.sessions =
            self.signed_in_at.iter().copied().zip(self.signed_out_at.iter().copied()).collect();
        Ok(())
    }

    /// As [`caught_up`], of this run.
    ///
    /// # Errors
    /// When the logs cannot be replayed.
    pub async fn caught_up(&self) -> Result<Vec<(&'static str, String, String)>, Failure> {
        caught_up(&self.operator, &self.trunkline).await
    }
}

/// Waits until reporting and billing have taken in all that is in the logs: their live digests equal a replay's.
/// Gives both sides as `(fold, live, replayed)`, equal or not.
///
/// # Errors
/// When the logs cannot be replayed.
pub async fn caught_up(
    operator: &Rest,
    trunkline: &Trunkline,
) -> Result<Vec<(&'static str, String, String)>, Failure> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reporting = operator.get("/v1/reporting/state").await.unwrap_or_default();
        let billing = operator.get("/v1/billing/state").await.unwrap_or_default();
        let replay = trunkline.demand(&["replay", "--json"]).await?;
        let replay: Value = serde_json::from_str(&replay).map_err(Failure::new)?;
        let replayed = |fold: &str| {
            let folds = crate::http::list(&replay, "folds");
            let found = folds.iter().find(|it| text(it, "fold") == fold);
            found.map(|it| text(it, "state_hash")).unwrap_or_default().to_owned()
        };
        let sides = vec![
            ("reporting", text(&reporting, "state_hash").to_owned(), replayed("reporting")),
            ("billing", text(&billing, "state_hash").to_owned(), replayed("billing")),
        ];
        let equal = sides.iter().all(|(_, live, replayed)| live == replayed && !live.is_empty());
        if equal || Instant::now() > deadline {
            return Ok(sides);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Starts an agent's phone in a directory of its own under `dir`, and registers it. `csv` is what it does with each call,
/// as `agent.xml` reads it.
///
/// # Errors
/// When it cannot be started, or the registrar does not take it.
pub async fn phone(
    scenarios: &Scenarios,
    dir: &Path,
    agent: usize,
    csv: &str,
    server: &str,
) -> Result<Sipp, Failure> {
    let cast = AGENTS[agent];
    let dir = dir.join(cast.sip_user);
    std::fs::create_dir_all(&dir)?;
    std::fs::write(dir.join("plan.csv"), csv)?;
    let audio_port = sipp::free_port(4)?;
    let (codec, payload_type) = cast.codec;
    let args = [
        "-inf plan.csv -rtp_echo -mp",
        &audio_port.to_string(),
        "-key payload_type",
        &payload_type.to_string(),
        "-key codec",
        codec,
        "-trace_screen -screen_file screens.txt",
    ];
    let args = args.join(" ").split(' ').map(str::to_owned).collect();
    let start = Start { scenario: "agent", dir: dir.clone(), port: None, args, server: None };
    let phone = Sipp::start(scenarios, start)?;
    sipp::listening(phone.port).await?;
    // The directory's agents reach the registrar a moment after the document was applied.
    for attempt in 1.. {
        let (user, password, phone_port) =
            (cast.sip_user, format!("demo-{}", cast.sip_user), phone.port.to_string());
        let args = ["-s", user, "-au", user, "-ap", &password, "-key", "phone_port", &phone_port, "-m", "1"];
        let args = args.iter().chain(&["-key", "expires", "3600"]).map(|arg| (*arg).to_owned()).collect();
        let dir = dir.join(format!("register-{attempt}"));
        let mut register = Sipp::start(
            scenarios,
            Start { scenario: "register", dir, port: None, args, server: Some(server) },
        )?;
        match register.ended(Duration::from_secs(12)).await? {
            0 => return Ok(phone),
            code if attempt == 20 => {
                let log = register.dir.display();
                return Err(Failure::new(format!("phone {user} could not register ({code}); see {log}")));
            }
            _ => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
    Err(Failure::new("unreachable: the loop above returns"))
}

/// One command to agent-state, tried until the roster has reached it.
///
/// # Errors
/// When it is refused for too long.
pub async fn agent_does(operator: &Rest, agent_id: &str, verb: &str, body: Value) -> Result<Value, Failure> {
    let path = format!("/v1/agents/{agent_id}:{verb}");
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        match operator.post(&path, &body).await {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() > deadline => return Err(Failure::new(error)),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// One caller, from its appointed time to its end.
async fn caller(
    scenarios: &Scenarios,
    server: &str,
    dir: PathBuf,
    call: PlannedCall,
) -> Result<(usize, CallerLog, Heard), Failure> {
    tokio::time::sleep(Duration::from_millis(call.at_ms)).await;
    let refused = matches!(call.intent, Intent::Blocked | Intent::Unknown);
    let ear = Ear::open(call.tone_hz).await?;
    let args = [
        ("-s", call.dialled.number.to_owned()),
        ("-m", "1".to_owned()),
        ("-recv_timeout", call.stay_ms.to_string()),
        ("-cid_str", format!("call-{:02}-%u@%s", call.index)),
    ];
    let keys = [("caller", call.caller.clone()), ("audio_port", ear.port.to_string())];
    let args = args
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .chain(keys.into_iter().flat_map(|(name, value)| ["-key".to_owned(), name.to_owned(), value]))
        .collect();
    let scenario = if refused { "refused" } else { "caller" };
    let mut sipp = Sipp::start(scenarios, Start { scenario, dir, port: None, args, server: Some(server) })?;
    let code = sipp.ended(Duration::from_millis(call.stay_ms + 30_000)).await?;
    let messages = sipp::timeline(&read(&sipp.dir.join("timeline.txt")));
    Ok((call.index, CallerLog { code, messages }, ear.close()))
}

fn read(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// One line about the run itself, on standard error, so that standard output holds results alone.
pub fn say(line: &str) {
    eprintln!("demo: {line}");
}
