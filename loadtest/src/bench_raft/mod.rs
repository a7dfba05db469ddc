//! What a reservation costs, beside a compare-and-swap of etcd on the same machine and disk.
//!
//! Ours: three voters as processes, each with its write-ahead log and its disk's `fdatasync`. So many tasks, each with an
//! agent of its own, in closed loops: `ReserveAgents` with one wish, then `ReleaseReservation`. The peer: three members of
//! etcd with its defaults, as many tasks, each with a key of its own: a transaction that puts a value if the key was not
//! written since, then another. So either makes two entries durable at a majority a turn; etcd's transactions have as many
//! bytes as our commands. `per_s` is turns a second; the times are of the first half of a turn alone, the reservation, from
//! before the call until its answer.
//!
//! Clients speak to the leader over one connection, in both cases. Both groups run all the time and are measured in turns,
//! round by round, so that a disk that changes its mood changes it for both; the medians of the rounds are given, and the
//! largest of the largest. What ours does besides is not left out: it publishes a fact for each command in an event log,
//! which in this bench is the embedded one of the voter that leads, on the same disk, with its own `fdatasync`; no broker
//! runs. Its outbox is empty before etcd has its turn.

mod crowd;
mod etcd;
mod seats;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use self::etcd::Etcd;
use self::seats::{Agent, Key, Seat, Sizes};
use crate::Failure;
use crate::bench_log::{Figures, Peer, Ratio, figures, histogram, machine, medians, micros};
use crate::floor::Floor;
use crate::rig::{Alone, Voters};

const IN_FLIGHT: [usize; 3] = [1, 16, 128];
const VOTER_COUNT: usize = 3;
/// Odd, so that there is a median.
const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// etcd writes to its database behind its answers, every 100 ms: that belongs to its own round.
const AFTERMATH: Duration = Duration::from_millis(250);

/// What a bench is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `trunkline` program.
    pub program: PathBuf,
    /// The `etcd` program.
    pub etcd: PathBuf,
    /// Where both keep their data; emptied first.
    pub dir: PathBuf,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    bench: &'static str,
    case: String,
    ours: Figures,
    peer: Peer<'a>,
    ratio: Ratio,
    /// At least the peer's throughput, and at most its p99.
    pass: bool,
    measured: &'static str,
    /// Of the second half of a turn: times alone.
    release: Halves,
    /// CPU time of all three processes, in ms a thousand turns.
    cpu_ms_per_1000: BTreeMap<&'static str, u64>,
    rounds: usize,
    entry_bytes: Sizes,
    log: &'static str,
    build: &'static str,
    machine: &'a str,
}

#[derive(Debug, Serialize)]
struct Halves {
    ours_p50_us: u64,
    ours_p99_us: u64,
    peer_p50_us: u64,
    peer_p99_us: u64,
}

/// One round of one of them.
#[derive(Debug, Clone, Copy)]
struct Round {
    reserve: Figures,
    release: Figures,
    turns: u64,
    cpu_ms: u64,
}

/// Measures, and writes one line of JSON a case to `out`. Ends every process it started, also when it fails or is
/// interrupted. Gives whether every figure stands beside the peer's.
///
/// # Errors
/// When one of the groups does not come up, or refuses.
pub async fn run(options: Options, out: &mut (dyn Write + Send)) -> Result<bool, Failure> {
    tokio::select! {
        biased;
        () = crate::interrupted() => Err(Failure::new("interrupted")),
        done = measured(&options, out) => done,
    }
}

async fn measured(options: &Options, out: &mut (dyn Write + Send)) -> Result<bool, Failure> {
    let _alone = Alone::in_dir(&options.dir)?;
    if options.dir.exists() {
        std::fs::remove_dir_all(&options.dir)?;
    }
    std::fs::create_dir_all(&options.dir)?;
    let dir = options.dir.canonicalize()?;
    let voters = Voters::start(&dir.join("voters"), &options.program, VOTER_COUNT).await?;
    let etcd = Etcd::start(&dir.join("etcd"), &options.etcd).await?;
    let version = etcd.version().await?;
    let seats = IN_FLIGHT.into_iter().max().unwrap_or(1);
    let floor = Floor::open(&voters.addresses(), seats).await?;
    let sizes = Sizes::of(&floor);
    eprintln!("bench: {VOTER_COUNT} voters and etcd {version} are up, {seats} agents are ready");
    let (ours, peers) = tokio::select! {
        biased;
        failure = floor.keep() => return Err(failure),
        rounds = rounds(&voters, &floor, &etcd, sizes) => rounds?,
    };
    let machine = machine(&dir);
    let mut passed = true;
    for ((in_flight, ours), peers) in IN_FLIGHT.into_iter().zip(ours).zip(peers) {
        let line = line(in_flight, &ours, &peers, &version, sizes, &machine);
        passed &= line.pass;
        writeln!(out, "{}", serde_json::to_string(&line).map_err(Failure::new)?)?;
    }
    voters.stop().await?;
    drop(etcd);
    passed &= crowd::measured(&dir.join("crowd"), &options.program, &machine, out).await?;
    Ok(passed)
}

/// All rounds of both, by case.
type Rounds = [Vec<Round>; IN_FLIGHT.len()];

async fn rounds(
    voters: &Voters,
    floor: &Floor,
    etcd: &Etcd,
    sizes: Sizes,
) -> Result<(Rounds, Rounds), Failure> {
    let (mut ours, mut peers) = (Rounds::default(), Rounds::default());
    // The first round of each is not counted: connections are made, files grow their first blocks.
    for round in 0..=ROUNDS {
        for (nth, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            // Offers and keys are used once.
            let series = round * IN_FLIGHT.len() + nth;
            for turn in 0..2 {
                // Who comes first takes turns too.
                let measured = if (round + turn) % 2 == 0 {
                    let agents = (0..in_flight).map(|number| Agent::new(floor, number, series));
                    let before = voters.cpu_ms();
                    let measured = turns(agents.collect()).await?;
                    voters.published().await?;
                    (&mut ours, Round { cpu_ms: voters.cpu_ms() - before, ..measured })
                } else {
                    let leader = etcd.leader().await?;
                    let number = |number| Key::new(&leader, number, series, sizes);
                    let before = etcd.cpu_ms();
                    let measured = turns((0..in_flight).map(number).collect()).await?;
                    tokio::time::sleep(AFTERMATH).await;
                    (&mut peers, Round { cpu_ms: etcd.cpu_ms() - before, ..measured })
                };
                let (rounds, measured) = measured;
                if round > 0 {
                    rounds[nth].push(measured);
                }
            }
        }
        eprintln!("bench: round {round} of {ROUNDS} is over");
    }
    Ok((ours, peers))
}

/// One round: a task a seat, each in a closed loop of turns.
async fn turns<S: Seat>(seats: Vec<S>) -> Result<Round, Failure> {
    let started = Instant::now();
    let tasks: Vec<_> = seats
        .into_iter()
        .map(|mut seat| {
            tokio::spawn(async move {
                let (mut reserve, mut release) = (histogram(), histogram());
                while started.elapsed() < ROUND {
                    let begun = Instant::now();
                    seat.reserve().await?;
                    let reserved = Instant::now();
                    seat.release().await?;
                    reserve.saturating_record(micros(reserved - begun));
                    release.saturating_record(micros(reserved.elapsed()));
                }
                Ok::<_, Failure>((reserve, release))
            })
        })
        .collect();
    let (mut reserve, mut release): (Histogram<u64>, Histogram<u64>) = (histogram(), histogram());
    for task in tasks {
        let (of_reserve, of_release) = task.await.map_err(Failure::new)??;
        // The histograms have the same bounds.
        let _ = (reserve.add(of_reserve), release.add(of_release));
    }
    let (turns, elapsed) = (reserve.len(), started.elapsed());
    Ok(Round {
        reserve: figures(&reserve, turns, elapsed),
        release: figures(&release, turns, elapsed),
        turns,
        cpu_ms: 0,
    })
}

fn line<'a>(
    in_flight: usize,
    ours: &[Round],
    peers: &[Round],
    version: &'a str,
    sizes: Sizes,
    machine: &'a str,
) -> Line<'a> {
    let medians_of =
        |rounds: &[Round], of: fn(&Round) -> Figures| medians(&rounds.iter().map(of).collect::<Vec<_>>());
    let (reserve, release) = (|round: &Round| round.reserve, |round: &Round| round.release);
    let (our, peer) = (medians_of(ours, reserve), medians_of(peers, reserve));
    let (our_release, peer_release) = (medians_of(ours, release), medians_of(peers, release));
    let cpu = |rounds: &[Round]| {
        let turns: u64 = rounds.iter().map(|round| round.turns).sum();
        rounds.iter().map(|round| round.cpu_ms).sum::<u64>() * 1_000 / turns.max(1)
    };
    Line {
        bench: "raft",
        case: format!("reserve/in_flight={in_flight}"),
        ours: our,
        ratio: Ratio::new(our, peer),
        pass: our.per_s >= peer.per_s && our.p99_us <= peer.p99_us,
        peer: Peer { name: "etcd".to_owned(), version, figures: peer },
        measured: "per_s: reservations, each with its release; times: the reservation alone",
        release: Halves {
            ours_p50_us: our_release.p50_us,
            ours_p99_us: our_release.p99_us,
            peer_p50_us: peer_release.p50_us,
            peer_p99_us: peer_release.p99_us,
        },
        cpu_ms_per_1000: BTreeMap::from([("ours", cpu(ours)), ("etcd", cpu(peers))]),
        rounds: ROUNDS,
        entry_bytes: sizes,
        log: "embedded, in the leader",
        build: if cfg!(debug_assertions) { "debug" } else { "release" },
        machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_passes_with_at_least_the_peers_throughput_and_at_most_its_p99() {
        let sizes = Sizes { reserve: 1, release: 1 };
        let round = |per_s, p99_us| {
            let figures = Figures { per_s, p50_us: 1, p99_us, max_us: 9 };
            Round { reserve: figures, release: figures, turns: per_s, cpu_ms: 5 }
        };
        for (ours, peers, pass) in [
            (round(100, 10), round(100, 10), true),
            (round(101, 9), round(100, 10), true),
            (round(99, 9), round(100, 10), false),
            (round(101, 11), round(100, 10), false),
        ] {
            assert_eq!(line(16, &[ours], &[peers], "3", sizes, "").pass, pass);
        }
    }
}
