//! How long a call takes from the queue to the agent's phone, and what that costs, in a cluster of processes over Apache
//! Kafka on this machine: one broker, three voters, two media nodes, two owners of routing.
//!
//! Callers are sipp, one process a media node, so that each node has half of the calls; they come at a rate, whatever
//! becomes of those before them, and neither speak nor listen. Agents are [`phones`]. What is measured runs from the
//! time that `ContactQueueRequested` bears to the arrival of the INVITE at the phone; in between stand facts of three
//! logs, and the time at which the broker took each of them in, which it stamps itself. Every process has the same clock,
//! that of the machine.

mod cast;
mod hops;
mod message;
mod phones;
mod records;
mod report;
mod usage;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::phones::Line as PhoneLine;
use self::records::Records;
use self::report::{Around, Line};
use self::usage::{Appends, Cpu};
use crate::Failure;
use crate::cluster::Trunkline;
use crate::rig::{self, Broker, Brokers, Rig, Shape};
use crate::sipp::{Scenarios, Sipp, Start};

const CALLER: &str = include_str!("../sipp/bench_caller.xml");

/// One rate.
#[derive(Debug, Clone, Copy)]
struct Case {
    calls_per_s: usize,
    call_count: usize,
    bar: Option<Bar>,
}

/// What a case is to come to, from the fact that queues a contact to the INVITE.
#[derive(Debug, Clone, Copy, serde::Serialize)]
struct Bar {
    p50_us: u64,
    p99_us: u64,
}

impl Case {
    const fn new(calls_per_s: usize, call_count: usize, bar: Option<Bar>) -> Self {
        Self { calls_per_s, call_count, bar }
    }
}

/// What is measured, and of how many agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The way of a call: few agents, a rate at which nobody waits for anybody, and one that is a busy day's.
    Call,
    /// Assignment in a large cell: 2,000 agents, a busy day's rate, and four times that.
    Assign,
}

impl Kind {
    /// Its word, in JSON.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Assign => "assign",
        }
    }

    /// At 50 calls/s about 35 of them are busy at a time, so none is waited for.
    const fn agent_count(self) -> usize {
        match self {
            Self::Call => 200,
            Self::Assign => 2_000,
        }
    }

    const fn cases(self) -> [Case; 2] {
        match self {
            Self::Call => [Case::new(5, 150, None), Case::new(50, 1_000, None)],
            Self::Assign => {
                let bar = Bar { p50_us: 10_000, p99_us: 50_000 };
                [Case::new(50, 2_000, Some(bar)), Case::new(200, 4_000, None)]
            }
        }
    }
}

/// Calls before each case that nobody counts: connections are made, prompts read, and the broker compiles what it does
/// often.
const WARM_UP: Case = Case::new(50, 250, None);
/// How long a caller stays; longer than any call that goes well.
const STAY_MS: u64 = 20_000;
/// How long the last callers may take beyond that to be rid of their calls.
const GONE_WITHIN: Duration = Duration::from_secs(30);
/// How long nothing is done, to see what that costs.
const IDLE: Duration = Duration::from_secs(3);
/// Between two lots of calls, until what they set off is over.
const PAUSE: Duration = Duration::from_secs(1);

/// What a bench is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is measured.
    pub kind: Kind,
    /// The `trunkline` program.
    pub program: PathBuf,
    /// Where the cluster's data and sipp's logs go; emptied first.
    pub dir: PathBuf,
}

/// Measures, writes one line of JSON a case to `out`, and tables to standard error. Ends every process it started, also
/// when it fails or is interrupted.
///
/// # Errors
/// When the cluster does not come up, something cannot be read, more than 1 % of the calls of a case failed, or a bar was missed.
pub async fn run(options: Options, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    tokio::select! {
        biased;
        () = crate::interrupted() => Err(Failure::new("interrupted")),
        done = measured(&options, out) => done,
    }
}

async fn measured(options: &Options, out: &mut (dyn Write + Send)) -> Result<(), Failure> {
    rig::clear(&options.dir)?;
    std::fs::create_dir_all(options.dir.join("data"))?;
    let dir = options.dir.canonicalize()?;
    let trunkline = Trunkline { program: options.program.clone(), data: dir.join("data") };
    let _broker = stamping(&trunkline.data.join("kafka")).await?;
    let cluster = trunkline.start_rig(Shape::default()).await?;
    let rig = Rig::open(&trunkline.data)?;
    say("cluster is up");
    let (kind, agent_count) = (options.kind, options.kind.agent_count());
    let stage = Stage::open(dir, &trunkline, &rig, agent_count).await?;
    say(&format!("{agent_count} agents are ready"));

    let before = Cpu::now(&rig);
    tokio::time::sleep(IDLE).await;
    let idle = Cpu::now(&rig).since(&before, IDLE.as_secs_f64());
    let mut around = Vec::new();
    for case in kind.cases() {
        around.push(stage.play(&rig, case).await?);
    }
    let rung = stage.phones.close()?;
    let records = Records::read(&trunkline.data).await?;
    let machine = report::machine(&trunkline.data);
    let mut failed = Vec::new();
    for (case, around) in kind.cases().into_iter().zip(around) {
        let calls = hops::join(&records, &rung, &prefix(case));
        let line = Line::new(kind, case, &calls, around, &idle, &machine);
        eprint!("{}", line.table());
        writeln!(out, "{}", serde_json::to_string(&line).map_err(Failure::new)?)?;
        if !line.passed() {
            failed.push(case.calls_per_s.to_string());
        }
    }
    let code = cluster.stop().await?;
    if code != 0 {
        say(&format!("a process of the cluster ended with {code}; see {}", trunkline.data.display()));
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => {
            let rates = failed.join(" and ");
            Err(Failure::new(format!("too many calls failed, or took too long, at {rates} calls/s")))
        }
    }
}

/// Agents who are ready, and what plays callers.
struct Stage {
    dir: PathBuf,
    scenarios: Scenarios,
    servers: Vec<String>,
    phones: PhoneLine,
    /// Holds the port that all audio is sent to; nobody reads it, so the kernel drops it.
    audio: UdpSocket,
}

impl Stage {
    async fn open(
        dir: PathBuf,
        trunkline: &Trunkline,
        rig: &Rig,
        agent_count: usize,
    ) -> Result<Self, Failure> {
        let document = dir.join("operator.yaml");
        std::fs::write(&document, cast::document(agent_count))?;
        trunkline.demand(&["apply", "-f", &document.display().to_string(), "--author", "bench"]).await?;
        let scenarios = Scenarios::write(&dir.join("scenarios"))?;
        std::fs::write(dir.join("scenarios/bench_caller.xml"), CALLER)?;
        let audio = UdpSocket::bind(("127.0.0.1", 0))?;
        let phones = PhoneLine::open(audio.local_addr()?.port())?;
        let voters: Vec<String> = rig.of("agent-state").map(|voter| voter.grpc.clone()).collect();
        cast::sign_in(&voters, phones.local, agent_count).await?;
        Ok(Self { dir, scenarios, servers: rig.sip(), phones, audio })
    }

    /// A warm-up, then the calls of a case, and what they cost.
    async fn play(&self, rig: &Rig, case: Case) -> Result<Around, Failure> {
        self.place(WARM_UP, &format!("warm-up-{}", prefix(case))).await?;
        tokio::time::sleep(PAUSE).await;
        say(&format!("{} calls at {}/s", case.call_count, case.calls_per_s));
        let (cpu, appends) = (Cpu::now(rig), Appends::now(rig).await);
        self.place(case, &prefix(case)).await?;
        let cpu_ms_per_call: BTreeMap<_, _> = Cpu::now(rig).since(&cpu, case.call_count as f64);
        tokio::time::sleep(PAUSE).await;
        let appends = Appends::now(rig).await.since(&appends, case.call_count);
        Ok(Around { cpu_ms_per_call, appends })
    }

    /// Places calls, in turns on each media node, and waits until all callers are gone.
    async fn place(&self, case: Case, prefix: &str) -> Result<(), Failure> {
        let Case { calls_per_s, call_count, .. } = case;
        let nodes = self.servers.len().max(1);
        let between = Duration::from_secs_f64(1.0 / calls_per_s as f64);
        let audio_port = self.audio.local_addr()?.port();
        let mut callers = Vec::new();
        for (nth, server) in self.servers.iter().enumerate() {
            if nth > 0 {
                // Else both would call at the same instant, always.
                tokio::time::sleep(between).await;
            }
            let mut args = Vec::new();
            let mut arg = |name: &str, value: String| args.extend([name.to_owned(), value]);
            arg("-s", cast::DIALLED.to_owned());
            arg("-r", calls_per_s.to_string());
            arg("-rp", (nodes * 1_000).to_string());
            arg("-m", call_count.div_ceil(nodes).to_string());
            // Whatever becomes of the calls before: an open loop.
            arg("-l", call_count.to_string());
            arg("-recv_timeout", STAY_MS.to_string());
            arg("-cid_str", format!("{prefix}{nth}-%u@%s"));
            args.extend(["-key".to_owned(), "audio_port".to_owned(), audio_port.to_string()]);
            let dir = self.dir.join("callers").join(format!("{prefix}{nth}"));
            let start = Start { scenario: "bench_caller", dir, port: None, args, server: Some(server) };
            callers.push(Sipp::start(&self.scenarios, start)?);
        }
        let lasts = between * u32::try_from(call_count).unwrap_or(u32::MAX);
        let within = lasts + Duration::from_millis(STAY_MS) + GONE_WITHIN;
        for mut caller in callers {
            let code = caller.ended(within).await?;
            if code != 0 {
                say(&format!("sipp ended with {code}; see {}", caller.dir.display()));
            }
        }
        Ok(())
    }
}

/// What the Call-IDs of a case begin with.
fn prefix(case: Case) -> String {
    format!("rate-{}-", case.calls_per_s)
}

/// A broker that is ended when the bench is; a cluster that never came to be would leave it running.
struct Held(Broker);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Makes the broker's directory below `dir`, and sets it to stamp what it appends; it is started with the cluster.
async fn stamping(dir: &Path) -> Result<Held, Failure> {
    let broker = Broker { name: "kafka-1".to_owned(), dir: dir.join("1"), address: String::new() };
    let held = Held(broker);
    Brokers::up(dir, 1).await?.down().await?;
    let mut settings = OpenOptions::new().append(true).open(held.0.dir.join("server.properties"))?;
    writeln!(settings, "# Who measures wants the times of the appends.\n{}", records::STAMPS)?;
    Ok(held)
}

/// One line about the bench itself, on standard error, so that standard output holds figures alone.
fn say(line: &str) {
    eprintln!("bench: {line}");
}
