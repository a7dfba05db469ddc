//! What a case came to: one line of JSON for programs, a table for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::hops::{Calls, HOPS, Spread, Way, spread};
use super::usage::Appended;
use super::{Bar, Case, Kind};

/// More than this part of the calls failed: then the bench did.
const FAILED_SHARE_MAX: f64 = 0.01;

/// A case as a line of JSON.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    bench: &'static str,
    case: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bar: Option<Bar>,
    ours: Ours,
    /// Calls placed.
    calls: usize,
    /// Of them, those no agent spoke with.
    failed: usize,
    /// Of them, those that were offered more than once; of these only the first offer counts.
    offered_again: usize,
    /// Calls whose way is known from end to end: what the figures are of.
    measured: usize,
    hops: Vec<Hop>,
    answer_to_ack: Spread,
    appends: Vec<Appended>,
    cpu_ms_per_call: BTreeMap<String, f64>,
    cpu_ms_per_s_idle: &'a BTreeMap<String, f64>,
    build: &'static str,
    machine: &'a str,
    pass: bool,
}

/// From the fact that queued the contact to the INVITE at the agent's phone.
#[derive(Debug, Serialize)]
struct Ours {
    per_s: f64,
    #[serde(flatten)]
    spread: Spread,
}

#[derive(Debug, Serialize)]
struct Hop {
    hop: &'static str,
    #[serde(skip)]
    words: &'static str,
    #[serde(flatten)]
    spread: Spread,
}

/// What was measured around a case.
#[derive(Debug)]
pub(super) struct Around {
    /// CPU time by service, in ms a call.
    pub cpu_ms_per_call: BTreeMap<String, f64>,
    /// Appends by service and log.
    pub appends: Vec<Appended>,
}

impl<'a> Line<'a> {
    /// Of the calls of a case.
    pub fn new(
        kind: Kind,
        case: Case,
        calls: &Calls,
        around: Around,
        idle: &'a BTreeMap<String, f64>,
        machine: &'a str,
    ) -> Self {
        let failed = case.call_count.saturating_sub(calls.answered_count);
        let hop = |(nth, (hop, words))| Hop {
            hop,
            words,
            spread: spread(calls.ways.iter().map(|way| way.hop(nth))),
        };
        let whole = spread(calls.ways.iter().map(Way::whole));
        let slow = case.bar.is_some_and(|bar| whole.p50_us > bar.p50_us || whole.p99_us > bar.p99_us);
        Self {
            bench: kind.as_str(),
            case: format!("kafka/voters=3/agents={}/calls_per_s={}", kind.agent_count(), case.calls_per_s),
            bar: case.bar,
            ours: Ours { per_s: rate(&calls.ways), spread: whole },
            calls: case.call_count,
            failed,
            offered_again: calls.offered_again_count,
            measured: calls.ways.len(),
            hops: HOPS.into_iter().enumerate().map(hop).collect(),
            answer_to_ack: spread(calls.bridgings.iter().copied()),
            appends: around.appends,
            cpu_ms_per_call: around.cpu_ms_per_call,
            cpu_ms_per_s_idle: idle,
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            machine,
            pass: failed as f64 <= case.call_count as f64 * FAILED_SHARE_MAX && !slow,
        }
    }

    /// Whether few enough calls failed, and fast enough.
    pub fn passed(&self) -> bool {
        self.pass
    }

    /// In words, for whoever has to find out where the time goes.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let whole = self.ours.spread;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\n{}: {} calls, {} failed, {} offered again, {} measured at {}/s, {} build",
            self.case,
            self.calls,
            self.failed,
            self.offered_again,
            self.measured,
            self.ours.per_s,
            self.build
        );
        let _ =
            writeln!(text, "{:<74}{:>8}{:>8}{:>8}{:>8}{:>7}", "in ms", "mean", "p50", "p99", "max", "share");
        let mut row = |name: &str, spread: Spread, share: Option<i64>| {
            let ms = |us: f64| format!("{:.2}", us / 1_000.0);
            let share = share.map(|share| format!("{share} %")).unwrap_or_default();
            let [mean, p50] = [ms(spread.mean_us as f64), ms(spread.p50_us as f64)];
            let [p99, max] = [ms(spread.p99_us as f64), ms(spread.max_us as f64)];
            let _ = writeln!(text, "{name:<74}{mean:>8}{p50:>8}{p99:>8}{max:>8}{share:>7}");
        };
        for hop in &self.hops {
            row(
                &format!("{:<17}{}", hop.hop, hop.words),
                hop.spread,
                Some(hop.spread.mean_us * 100 / whole.mean_us.max(1)),
            );
        }
        row("queued to INVITE at the phone", whole, Some(100));
        row("beyond: the phone answers, agent-state accepts, ACK at the phone", self.answer_to_ack, None);
        let _ =
            writeln!(text, "facts and the broker have whole ms: a hop is right within 1 ms, its mean better");
        let _ = writeln!(
            text,
            "\n{:<16}{:<12}{:>16}{:>24}",
            "service", "log", "records/call", "mean append in ms"
        );
        for it in &self.appends {
            let ms = format!("{:.2}", it.mean_us as f64 / 1_000.0);
            let _ = writeln!(text, "{:<16}{:<12}{:>16}{ms:>24}", it.service, it.log, it.per_call);
        }
        let _ = writeln!(text, "\n{:<16}{:>16}{:>24}", "service", "CPU ms/call", "CPU ms/s when idle");
        for (service, ms) in &self.cpu_ms_per_call {
            let idle = self.cpu_ms_per_s_idle.get(service).copied().unwrap_or(0.0);
            let _ = writeln!(text, "{service:<16}{ms:>16.2}{idle:>24.2}");
        }
        text
    }
}

/// Calls queued a second, to one digit behind the point.
fn rate(ways: &[Way]) -> f64 {
    let began = ways.iter().map(Way::began_at);
    let (Some(first), Some(last)) = (began.clone().min(), began.max()) else { return 0.0 };
    let seconds = (last - first).max(1) as f64 / 1e6;
    ((ways.len() - 1) as f64 / seconds * 10.0).round() / 10.0
}

/// Processors, memory and the file system under `dir`, in the words of `bench log`.
pub(super) fn machine(dir: &Path) -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok())
        .map_or(0, |kib| kib >> 20);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let holding = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let holding = holding.filter(|(point, _)| dir.starts_with(point)).max_by_key(|(point, _)| point.len());
    let kind = holding.map_or("unknown file system", |(_, kind)| kind);
    format!("{processors} × {model}, {memory} GiB, {kind}")
}
