//! Rounds of the voters of agent-state alone: three processes or more, sixteen clients that reserve and release agents, and one
//! [deed](deeds::Deed) that is done to the voters again and again. What clients were told is held against the facts afterwards.

mod deeds;
mod flood;
mod judge;
mod load;
mod netns;
mod sites;
mod stage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use trunkline_loadtest::Failure;
use trunkline_loadtest::floor::Floor;
use trunkline_loadtest::rig::{Alone, Voters};
use trunkline_proto::agent_state::v1::{AgentActivity, ListAgentsRequest};

use self::deeds::Deed;
use self::judge::{Fact, Failed, judge};
use self::load::{CLIENT_COUNT, Chance, Deal, Load, RECOVERED_WITHIN};
use self::stage::{Blow, Stage};

/// One kind of round.
#[derive(Debug)]
pub struct Round {
    pub name: &'static str,
    pub what: &'static str,
    /// How often it is done, unless said otherwise.
    pub times: usize,
    /// Whether `./dev test` runs it.
    pub short: bool,
    /// Until a new reservation succeeds, in µs: of 99 in 100 blows, and of all.
    bar: Bar,
    deed: Deed,
}

/// How soon a new reservation must succeed, in µs.
#[derive(Debug, Clone, Copy)]
struct Bar {
    p99_us: u64,
    max_us: u64,
}

/// What the failover of one leader may take.
const FAILOVER: Bar = Bar { p99_us: 2_000_000, max_us: 10_000_000 };
/// What it may take where a majority is away for a while, by the deed itself.
const AWAY: Bar = Bar { p99_us: 10_000_000, max_us: 20_000_000 };

/// Every kind there is.
pub const ROUNDS: &[Round] = &[
    Round {
        name: "raft-kill-leader",
        what: "kill -9 the voter that leads, under reservations",
        times: 50,
        short: true,
        bar: FAILOVER,
        deed: Deed::KillLeader,
    },
    Round {
        name: "raft-pause-leader",
        what: "SIGSTOP the voter that leads, for a second to a minute",
        times: 10,
        short: false,
        bar: FAILOVER,
        deed: Deed::PauseLeader,
    },
    Round {
        name: "raft-pause-follower",
        what: "SIGSTOP a voter that follows, for a second to a minute",
        times: 10,
        short: false,
        bar: FAILOVER,
        deed: Deed::PauseFollower,
    },
    Round {
        name: "raft-restart-storm",
        what: "kill -9 nine times in a row, whoever, and start again at once",
        times: 10,
        short: false,
        bar: AWAY,
        deed: Deed::RestartStorm,
    },
    Round {
        name: "raft-jump-clock",
        what: "the clock of a running voter jumps an hour ahead or back (libfaketime)",
        times: 10,
        short: false,
        bar: AWAY,
        deed: Deed::JumpClock,
    },
    Round {
        name: "raft-empty-voter",
        what: "a voter loses its disk; a new one takes its place by a snapshot",
        times: 10,
        short: false,
        bar: FAILOVER,
        deed: Deed::EmptyVoter,
    },
    Round {
        name: "raft-partition",
        what: "the network between voters is cut, in one direction or both (network namespaces)",
        times: 15,
        short: false,
        bar: AWAY,
        deed: Deed::Partition,
    },
    Round {
        name: "raft-lose-site",
        what: "a site of three, with two of five voters or one, is cut off from the others (network namespaces)",
        times: 12,
        short: false,
        bar: FAILOVER,
        deed: Deed::LoseSite,
    },
    Round {
        name: "raft-fill-disk",
        what: "the disk under a voter is full",
        times: 6,
        short: false,
        bar: AWAY,
        deed: Deed::FillDisk,
    },
    Round {
        name: "raft-flood",
        what: "twice the rate the voters reach, for --span seconds, with a snapshot every 50 entries",
        times: 1,
        short: false,
        bar: AWAY,
        deed: Deed::Flood,
    },
];

impl Round {
    /// Whether it needs networks or disks of its own.
    pub fn needs_namespaces(&self) -> bool {
        self.deed.needs_namespaces()
    }

    /// With fewer voters it makes no sense.
    pub fn voter_count_min(&self) -> usize {
        self.deed.voter_count_min()
    }
}

/// How a round is played.
pub struct Options {
    pub round: &'static Round,
    pub program: PathBuf,
    /// Where data and logs go; emptied first.
    pub dir: PathBuf,
    /// How often its deed is done.
    pub times: usize,
    pub seed: u64,
    /// How long a pause or a partition lasts at most.
    pub span_max: Duration,
    pub voter_count: usize,
}

/// What is said of the round.
pub struct Outcome {
    /// Promises that did not hold, with what was found.
    pub failed: Failed,
    pub seconds: u64,
    /// Reservations that clients asked for.
    pub asked_count: usize,
    line: Value,
}

impl Outcome {
    /// One line of JSON.
    pub fn json(&self) -> &Value {
        &self.line
    }
}

/// Goes where the deeds of these rounds can be done; the program may begin again for it.
///
/// # Errors
/// When this machine does not let us.
pub fn enter(rounds: &[Options]) -> Result<(), Failure> {
    match rounds.iter().any(|it| it.round.needs_namespaces()) {
        true => netns::enter(),
        false => Ok(()),
    }
}

/// Does the deed so many times, and looks at everything.
///
/// # Errors
/// When the round cannot be begun, or its logs not be read.
pub async fn play(options: &Options) -> Result<Outcome, Failure> {
    let (began, round) = (Instant::now(), options.round);
    let _alone = Alone::in_dir(&options.dir)?;
    if options.dir.exists() {
        std::fs::remove_dir_all(&options.dir)?;
    }
    std::fs::create_dir_all(&options.dir)?;
    let dir = options.dir.canonicalize()?;
    let (places, settings) = round.deed.prepare(&dir, options.voter_count)?;
    let voters = Voters::start_at(&dir, &options.program, places, settings).await?;
    let floor = Floor::open(&voters.addresses(), round.deed.agent_count()).await?;
    eprintln!(
        "chaos: {}: {} voters and {} agents are ready; {CLIENT_COUNT} clients begin",
        round.name,
        options.voter_count,
        round.deed.agent_count()
    );
    let load = Load::start(floor.clone(), options.seed);
    let (chance, span_max) = (Chance(options.seed), options.span_max);
    let mut stage = Stage { voters, load, chance, dir, span_max, notes: Vec::new() };
    let (mut troubles, mut blows) = (Vec::new(), Vec::new());
    let struck = tokio::select! {
        biased;
        failure = floor.keep() => Err(failure),
        struck = strike_all(options, &mut stage, &mut blows) => struck,
    };
    let Stage { voters, load, notes, .. } = stage;
    if let Err(failure) = struck {
        troubles.push(format!("{failure}; {}", voters.told().await));
    }
    let lasted = load.now();
    let (deals, undecided) = load.end().await;
    let mut failed = Failed::new();
    let mut check = |promise, found: Vec<String>| {
        if !found.is_empty() {
            failed.push((promise, found.join("; ")));
        }
    };
    check("it recovers, and everybody comes back", troubles);
    check("every command is decided", undecided);
    check("every agent is free at the end", not_free(&floor, round.deed.agent_count()).await);
    check("everything decided is published", voters.published().await.err().map(words).into_iter().collect());
    let agreed = voters.agree().await;
    check("all voters have one state", agreed.as_ref().err().map(|it| it.to_string()).into_iter().collect());
    let mut facts = Vec::new();
    voters.facts(|recorded| facts.extend(Fact::of(&recorded))).await?;
    let fact_count = facts.len();
    check("voters drain", voters.stop().await.err().map(words).into_iter().collect());
    let recovered = recoveries(&blows, &deals, |_| true);
    check("new reservations succeed in time", late(&recovered, round.bar));
    failed.extend(judge(&deals, facts));

    let (mut terms, mut kinds) = (BTreeMap::<u64, usize>::new(), BTreeMap::new());
    for blow in &blows {
        *terms.entry(blow.terms).or_default() += 1;
        kinds
            .entry(blow.kind)
            .or_insert_with(|| spread(&recoveries(&blows, &deals, |other| other.kind == blow.kind)));
    }
    let granted_count = deals.iter().filter(|deal| deal.granted.is_some()).count();
    let slowest = deals.iter().map(|deal| deal.answered_at - deal.asked_at).max().unwrap_or(0);
    let (seconds, pass) = (began.elapsed().as_secs(), failed.is_empty());
    let reasons: Vec<_> =
        failed.iter().map(|(promise, found)| json!({"promise": promise, "found": found})).collect();
    let line = json!({
        "bench": "raft", "case": format!("{}/times={}", round.name, blows.len()), "round": round.name, "pass": pass,
        "voters": options.voter_count, "ours": spread(&recovered),
        "bar": {"p99_us": round.bar.p99_us, "max_us": round.bar.max_us},
        "measured": "from the blow until the first reservation asked for after it is granted",
        "figures": {
            "blows": blows.len(), "by_kind": kinds, "by_terms": terms,
            "clients": CLIENT_COUNT, "reservations": deals.len(),
            "granted": granted_count, "granted_per_s": granted_count as u64 * 1_000_000 / lasted.max(1),
            "slowest_answer_us": slowest, "facts": fact_count, "notes": notes,
            "state": agreed.ok().map(|(index, hash)| json!({"index": index, "hash": hash})),
        },
        "seconds": seconds, "seed": options.seed, "failed": reasons,
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "machine": trunkline_loadtest::machine(&options.dir),
    });
    Ok(Outcome { failed, seconds, asked_count: deals.len(), line })
}

fn words(failure: Failure) -> String {
    failure.to_string()
}

async fn strike_all(options: &Options, stage: &mut Stage, blows: &mut Vec<Blow>) -> Result<(), Failure> {
    for nth in 1..=options.times {
        let blow = options.round.deed.strike(stage).await;
        let blow = blow.map_err(|failure| Failure::new(format!("blow {nth}: {failure}")))?;
        blows.push(blow);
        if nth % 10 == 0 {
            eprintln!("chaos: {}: {nth} of {}", options.round.name, options.times);
        }
    }
    Ok(())
}

/// Agents who are not as they were before the load.
async fn not_free(floor: &Floor, count: usize) -> Vec<String> {
    match floor.client().list_agents(ListAgentsRequest::default()).await {
        Ok(listed) if listed.agents.len() == count => {
            let held = listed.agents.iter().filter(|agent| agent.activity() != AgentActivity::Ready);
            held.map(|agent| format!("{} is {}", agent.agent_id, agent.activity().as_str_name())).collect()
        }
        Ok(listed) => vec![format!("{} agents of {count}", listed.agents.len())],
        Err(status) => vec![status.to_string()],
    }
}

/// For each blow of these, the µs until the first reservation that was asked for after it was granted. A blow that nothing
/// came after counts as long as was waited.
fn recoveries(blows: &[Blow], deals: &[Deal], of: impl Fn(&Blow) -> bool) -> Histogram<u64> {
    let granted = deals.iter().filter(|deal| deal.granted.is_some());
    let mut granted: Vec<_> = granted.map(|deal| (deal.asked_at, deal.answered_at)).collect();
    granted.sort_unstable();
    // Of each, the earliest answer from there on.
    let mut earliest = u64::MAX;
    for (_, answered_at) in granted.iter_mut().rev() {
        earliest = earliest.min(*answered_at);
        *answered_at = earliest;
    }
    let mut recovered = Histogram::new_with_bounds(1, 100_000_000, 3)
        .expect("the bounds are in order and the digits at most five");
    let longest = u64::try_from(RECOVERED_WITHIN.as_micros()).unwrap_or(u64::MAX);
    for blow in blows.iter().filter(|blow| of(blow)) {
        let after = granted.partition_point(|(asked_at, _)| *asked_at < blow.at);
        let took = granted.get(after).map_or(longest, |(_, answered_at)| answered_at - blow.at);
        recovered.saturating_record(took);
    }
    recovered
}

fn spread(recovered: &Histogram<u64>) -> Value {
    let at = |quantile| recovered.value_at_quantile(quantile);
    json!({"count": recovered.len(), "p50_us": at(0.5), "p99_us": at(0.99), "max_us": recovered.max()})
}

fn late(recovered: &Histogram<u64>, bar: Bar) -> Vec<String> {
    let bars = [("p99", recovered.value_at_quantile(0.99), bar.p99_us), ("max", recovered.max(), bar.max_us)];
    let late = bars.into_iter().filter(|(_, took, bar)| took > bar);
    late.map(|(what, took, bar)| format!("{what} is {} ms, at most {} ms", took / 1_000, bar / 1_000))
        .collect()
}

/// Where a round keeps its data, beside that of the others.
pub fn dir(of_all: &Path, round: &Round) -> PathBuf {
    let mut name = of_all.file_name().unwrap_or_default().to_owned();
    name.push("-");
    name.push(round.name);
    of_all.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::load::Granted;
    use super::*;

    #[test]
    fn what_was_asked_for_before_a_blow_is_no_recovery_however_late_it_is_answered() {
        let granted = Some(Granted { token: 1, released_at: 0, released: true });
        let deal =
            |asked_at, answered_at, granted| Deal { offer: 0, agent: 0, asked_at, answered_at, granted };
        let deals = [
            deal(10, 20, granted),
            deal(90, 900, granted),
            deal(150, 800, None),
            deal(300, 1_100, granted),
            deal(400, 1_000, granted),
            deal(2_100, 2_150, granted),
        ];
        let blow = |at| Blow { at, kind: "stays dead", terms: 1 };
        let recovered = recoveries(&[blow(100), blow(2_000)], &deals, |_| true);
        assert_eq!((recovered.min(), recovered.max()), (150, 900));
        assert_eq!(recoveries(&[blow(9_000)], &deals, |_| true).max() / 1_000_000, 60);
        assert_eq!(recoveries(&[blow(100)], &deals, |blow| blow.kind == "comes back").len(), 0);
    }

    #[test]
    fn a_round_is_late_by_its_slowest_and_by_its_slowest_in_a_hundred() {
        let of = |values: &[u64]| {
            let mut all = Histogram::new_with_bounds(1, 100_000_000, 3).unwrap();
            values.iter().for_each(|value| all.saturating_record(*value));
            late(&all, FAILOVER)
        };
        assert!(of(&[1_900_000; 10]).is_empty());
        assert_eq!(of(&[2_500_000; 10]).len(), 1);
        let mut values = [1_000_000; 1_000];
        values[0] = 12_000_000;
        assert_eq!(of(&values).len(), 1);
    }
}
