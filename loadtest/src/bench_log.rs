//! What an append to the embedded log costs, beside a bare loop of write and fdatasync on the same disk.
//!
//! Ours: so many tasks, each appends 256 bytes and waits until they are durable. The peer: one loop that writes the
//! same bytes of as many records at once and syncs once, which is the best that group commit could do. Both are measured
//! in turns, round by round, so that a disk that changes its mood changes it for both; the medians of the rounds are given.

pub mod kafka;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use serde::Serialize;
use trunkline_domain::vocabulary::{Cell, Epoch, LogName};
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, LogError, OpenError, Record, SharedLog};

const PAYLOAD_LEN: usize = 256;
const IN_FLIGHT: [usize; 3] = [1, 8, 64];
/// Odd, so that there is a median.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(700);

/// Why a bench came to no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The operating system refused.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// The log could not be opened.
    #[error("could not open the log")]
    Open(#[from] OpenError),
    /// The log on Kafka could not be opened.
    #[error("could not open the log")]
    OpenKafka(#[from] trunkline_runtime::event_log::KafkaOpenError),
    /// The plain producer failed.
    #[error("could not produce beside the log")]
    Produce(#[from] rdkafka::error::KafkaError),
    /// The log refused an append.
    #[error("could not append to the log")]
    Append(#[from] LogError),
    /// A task of the bench ended before its time.
    #[error("could not finish a round")]
    Task(#[from] tokio::task::JoinError),
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    bench: &'static str,
    case: String,
    ours: Figures,
    peer: Peer<'a>,
    ratio: Ratio,
    rounds: usize,
    payload_bytes: usize,
    build: &'static str,
    machine: &'a str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Peer<'a> {
    pub name: String,
    pub version: &'a str,
    #[serde(flatten)]
    pub figures: Figures,
}

/// Of one round, or the median over all.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figures {
    pub per_s: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
}

/// Ours by the peer's.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    per_s: f64,
    p50: f64,
    p99: f64,
}

impl Ratio {
    pub(crate) fn new(ours: Figures, peers: Figures) -> Self {
        Self {
            per_s: ratio(ours.per_s, peers.per_s),
            p50: ratio(ours.p50_us, peers.p50_us),
            p99: ratio(ours.p99_us, peers.p99_us),
        }
    }
}

/// Measures in a fresh directory below `dir`, and writes one line of JSON a figure to `out`.
///
/// # Errors
/// When the disk or the log refuses.
pub async fn run(dir: &Path, out: &mut (dyn Write + Send)) -> Result<(), BenchError> {
    fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    let dir = tempfile::tempdir_in(dir).map_err(io_error("create a directory in", dir))?;
    let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(dir.path().join("log"), "bench", 1))?;
    let log: SharedLog = Arc::new(log);
    let bare_path = dir.path().join("bare");
    let bare = File::create(&bare_path).map_err(io_error("create", &bare_path))?;

    // A round of each that nobody counts: files grow their first blocks, threads are born.
    let mut epoch = 0;
    let (mut ours, mut peers) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    for round in 0..=ROUNDS {
        for (nth, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            epoch += 1;
            let our = appends(&log, Epoch(epoch), in_flight).await?;
            let peer = syncs(bare.try_clone().map_err(io_error("reopen", &bare_path))?, in_flight)
                .await?
                .map_err(io_error("write", &bare_path))?;
            if round > 0 {
                ours[nth].push(our);
                peers[nth].push(peer);
            }
        }
    }
    let (machine, kernel) = (machine(dir.path()), kernel());
    for ((in_flight, ours), peers) in IN_FLIGHT.into_iter().zip(ours).zip(peers) {
        let (ours, figures) = (medians(&ours), medians(&peers));
        let name = match in_flight {
            1 => "write+fdatasync loop".to_owned(),
            _ => format!("write+fdatasync loop, {in_flight} records a sync"),
        };
        let peer = Peer { name, version: &kernel, figures };
        print(out, format!("embedded/in_flight={in_flight}"), ours, peer, &machine)
            .map_err(io_error("write a figure beside", dir.path()))?;
    }
    Ok(())
}

/// One line of JSON.
fn print(
    out: &mut (dyn Write + Send),
    case: String,
    ours: Figures,
    peer: Peer<'_>,
    machine: &str,
) -> io::Result<()> {
    let line = Line {
        bench: "log",
        case,
        ours,
        ratio: Ratio::new(ours, peer.figures),
        peer,
        rounds: ROUNDS,
        payload_bytes: PAYLOAD_LEN,
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        machine,
    };
    writeln!(out, "{}", serde_json::to_string(&line).map_err(io::Error::from)?)
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BenchError {
    move |source| BenchError::Io { action, path: path.to_owned(), source }
}

/// One round of ours: `in_flight` tasks in closed loops.
async fn appends(log: &SharedLog, epoch: Epoch, in_flight: usize) -> Result<Figures, BenchError> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|task| {
            let log = log.clone();
            tokio::spawn(async move {
                let mut latencies = histogram();
                for sequence in 0.. {
                    let begun = Instant::now();
                    if begun - started > ROUND {
                        break;
                    }
                    let record = Record {
                        lane: format!("bench/{task}"),
                        epoch,
                        sequence,
                        headers: Vec::new(),
                        payload: Bytes::from_static(&[7; PAYLOAD_LEN]),
                    };
                    log.append(LogName::Contacts, Cell(0), record)?.await?;
                    latencies.saturating_record(micros(begun.elapsed()));
                }
                Ok::<_, LogError>(latencies)
            })
        })
        .collect();
    let mut all = histogram();
    for task in tasks {
        // The histograms have the same bounds.
        let _ = all.add(task.await??);
    }
    Ok(figures(&all, all.len(), started.elapsed()))
}

/// One round of the peer: `records` at once, one sync.
async fn syncs(mut file: File, records: usize) -> Result<io::Result<Figures>, BenchError> {
    let round = tokio::task::spawn_blocking(move || {
        let bytes = vec![7; PAYLOAD_LEN * records];
        let started = Instant::now();
        let mut latencies = histogram();
        while started.elapsed() < ROUND {
            let begun = Instant::now();
            file.write_all(&bytes)?;
            file.sync_data()?;
            latencies.saturating_record(micros(begun.elapsed()));
        }
        Ok(figures(&latencies, latencies.len() * records as u64, started.elapsed()))
    });
    Ok(round.await?)
}

/// From 1 µs to 100 s, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 100_000_000, 3)
        .expect("the bounds are in order and the digits at most five")
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn figures(latencies: &Histogram<u64>, records: u64, elapsed: Duration) -> Figures {
    Figures {
        per_s: (records as f64 / elapsed.as_secs_f64()) as u64,
        p50_us: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99),
        max_us: latencies.max(),
    }
}

/// Of every figure by itself; the largest of the largest.
pub(crate) fn medians(rounds: &[Figures]) -> Figures {
    let median = |figure: fn(&Figures) -> u64| {
        let mut values: Vec<u64> = rounds.iter().map(figure).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    Figures {
        per_s: median(|round| round.per_s),
        p50_us: median(|round| round.p50_us),
        p99_us: median(|round| round.p99_us),
        max_us: rounds.iter().map(|round| round.max_us).max().unwrap_or(0),
    }
}

/// To two digits behind the point.
fn ratio(ours: u64, peer: u64) -> f64 {
    (ours as f64 / peer.max(1) as f64 * 100.0).round() / 100.0
}

fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("kernel {}", release.trim())
}

/// Processors, memory and the file system under `dir`, as `2 × AMD EPYC 7B13, 23 GiB, ext4`.
pub(crate) fn machine(dir: &Path) -> String {
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
    format!("{processors} × {model}, {memory} GiB, {}", file_system(dir))
}

/// The type of the file system that holds `dir`: that of the longest mount point above it.
fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mut holding: Vec<_> = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            Some((words.next()?, words.next()?))
        })
        .filter(|(point, _)| dir.starts_with(point))
        .collect();
    holding.sort_by_key(|(point, _)| point.len());
    holding.last().map_or_else(|| "unknown file system".to_owned(), |(_, kind)| (*kind).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_of_each_figure_by_itself_and_the_maximum_is_of_all() {
        let round = |per_s, p50_us, p99_us, max_us| Figures { per_s, p50_us, p99_us, max_us };
        let median = medians(&[round(3, 10, 9, 100), round(1, 30, 7, 900), round(2, 20, 8, 200)]);
        assert_eq!((median.per_s, median.p50_us, median.p99_us, median.max_us), (2, 20, 8, 900));
    }

    #[test]
    fn the_file_system_is_that_of_the_nearest_mount_point() {
        assert_eq!(file_system(Path::new("/proc/self")), "proc");
    }
}
