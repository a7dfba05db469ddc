//! Rounds of the voters of agent-state alone: three processes, sixteen clients that reserve and release agents, and the
//! voter that leads is killed, again and again.
//!
//! Three of four stay dead until another leads and a reservation has succeeded, as one does whose machine is gone. The
//! fourth comes back by itself, after a time that the seed decides, between at once and a second and a half: before, during
//! or after the election of the next. One that is back before the others have missed it goes on as leader in its old term,
//! and no election is held. The next kill waits until all three are ready.

mod judge;
mod load;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::process::Signal;
use serde_json::{Value, json};
use trunkline_loadtest::Failure;
use trunkline_loadtest::floor::Floor;
use trunkline_loadtest::rig::{Process, Voters};
use trunkline_proto::agent_state::v1::{AgentActivity, ListAgentsRequest};

use self::judge::{Fact, Failed, judge};
use self::load::{AGENT_COUNT, CLIENT_COUNT, Chance, Deal, Load, RECOVERED_WITHIN};

/// The one round there is, and what happens in it.
pub const NAME: &str = "raft-kill-leader";
pub const WHAT: &str = "kill -9 the voter that leads, --kills times, under reservations; voters alone";

const VOTER_COUNT: usize = 3;
/// One in so many is back by itself, and the longest it takes to come back, in µs.
const BACK_ONE_IN: u64 = 4;
const BACK_US_MAX: u64 = 1_500_000;
/// How long all is well before the next kill, in µs: at least, and by how much more at most.
const WELL_US_MIN: u64 = 200_000;
const WELL_US_MORE: u64 = 500_000;
/// How long an election may take that nobody disturbs.
const LEADER_WITHIN: Duration = Duration::from_secs(30);
/// Until a new reservation succeeds, in µs: of 99 in 100 kills, and of all.
const RECOVERED_P99_US_MAX: u64 = 2_000_000;
const RECOVERED_US_MAX: u64 = 10_000_000;

/// How the round is played.
pub struct Options {
    pub program: PathBuf,
    /// Where data and logs go; emptied first.
    pub dir: PathBuf,
    pub kill_count: usize,
    pub seed: u64,
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

/// One kill.
struct Kill {
    /// µs since the load began.
    killed_at: u64,
    /// Whether it came back by itself, whatever the others did; else it stayed dead until another led.
    back: bool,
    /// Terms that passed until somebody led: 1 when the first election found a leader, 0 when the old one goes on.
    terms: u64,
}

/// Kills the leader so many times, and looks at everything.
///
/// # Errors
/// When the round cannot be carried through: nobody leads, a voter does not come back.
pub async fn kill_leader(options: &Options) -> Result<Outcome, Failure> {
    let began = Instant::now();
    if options.dir.exists() {
        std::fs::remove_dir_all(&options.dir)?;
    }
    let voters = Voters::start(&options.dir, &options.program, VOTER_COUNT).await?;
    let floor = Floor::open(&voters.addresses(), AGENT_COUNT).await?;
    eprintln!(
        "chaos: {NAME}: {VOTER_COUNT} voters and {AGENT_COUNT} agents are ready; {CLIENT_COUNT} clients begin"
    );
    let load = Load::start(floor.clone(), options.seed);
    let mut troubles = Vec::new();
    let mut kills = Vec::new();
    tokio::select! {
        biased;
        failure = floor.keep() => troubles.push(failure.to_string()),
        killed = kill_all(options, &voters, &load, &mut kills) => if let Err(failure) = killed {
            troubles.push(format!("{failure}; {}", voters.told().await));
        },
    }
    let lasted = load.now();
    let (deals, undecided) = load.end().await;
    let mut failed = Failed::new();
    let mut check = |promise, found: Vec<String>| {
        if !found.is_empty() {
            failed.push((promise, found.join("; ")));
        }
    };
    check("a leader is found, and a voter comes back", troubles);
    check("every command is decided", undecided);
    check("every agent is free at the end", not_free(&floor).await);
    check("everything decided is published", voters.published().await.err().map(words).into_iter().collect());
    let agreed = voters.agree().await;
    check("all voters have one state", agreed.as_ref().err().map(|it| it.to_string()).into_iter().collect());
    let mut facts = Vec::new();
    voters.facts(|recorded| facts.extend(Fact::of(&recorded))).await?;
    let fact_count = facts.len();
    check("voters drain", voters.stop().await.err().map(words).into_iter().collect());
    let recovered = recoveries(&kills, &deals, |_| true);
    check("new reservations succeed in time", late(&recovered));
    failed.extend(judge(&deals, facts));

    let mut terms = BTreeMap::<u64, usize>::new();
    for kill in &kills {
        *terms.entry(kill.terms).or_default() += 1;
    }
    let granted_count = deals.iter().filter(|deal| deal.granted.is_some()).count();
    let slowest = deals.iter().map(|deal| deal.answered_at - deal.asked_at).max().unwrap_or(0);
    let (seconds, pass) = (began.elapsed().as_secs(), failed.is_empty());
    let reasons: Vec<_> =
        failed.iter().map(|(promise, found)| json!({"promise": promise, "found": found})).collect();
    let line = json!({
        "bench": "raft", "case": format!("kill-leader/kills={}", kills.len()), "round": NAME, "pass": pass,
        "ours": spread(&recovered),
        "bar": {"p99_us": RECOVERED_P99_US_MAX, "max_us": RECOVERED_US_MAX},
        "measured": "from kill -9 of the leader until the first reservation asked for after it is granted",
        "figures": {
            "kills": kills.len(), "kills_by_terms": terms,
            "stays_dead": spread(&recoveries(&kills, &deals, |kill| !kill.back)),
            "comes_back": spread(&recoveries(&kills, &deals, |kill| kill.back)), "clients": CLIENT_COUNT, "reservations": deals.len(),
            "granted": granted_count, "granted_per_s": granted_count as u64 * 1_000_000 / lasted.max(1),
            "slowest_answer_us": slowest, "facts": fact_count,
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

async fn kill_all(
    options: &Options,
    voters: &Voters,
    load: &Arc<Load>,
    kills: &mut Vec<Kill>,
) -> Result<(), Failure> {
    let mut chance = Chance(options.seed);
    for nth in 1..=options.kill_count {
        tokio::time::sleep(Duration::from_micros(WELL_US_MIN + chance.below(WELL_US_MORE))).await;
        let leader = leader(voters).await?;
        let term = term(leader).await;
        let back = chance.below(BACK_ONE_IN) == 0;
        let back_after = Duration::from_micros(chance.below(BACK_US_MAX));
        let killed_at = load.now();
        leader.signal(Signal::KILL)?;
        let restart = async {
            leader.gone().await;
            tokio::time::sleep(back_after).await;
            leader.start(voters.program())
        };
        let granted_at = if back {
            let (granted_at, started) = tokio::join!(load.probe(), restart);
            started?;
            granted_at?
        } else {
            let granted_at = load.probe().await?;
            leader.gone().await;
            leader.start(voters.program())?;
            granted_at
        };
        let Some(granted_at) = granted_at else {
            kills.push(Kill { killed_at, back, terms: 0 });
            let within = RECOVERED_WITHIN.as_secs();
            return Err(Failure::new(format!("no reservation succeeded for {within} s after kill {nth}")));
        };
        voters.ready().await?;
        let terms = self::term(self::leader(voters).await?).await.saturating_sub(term);
        kills.push(Kill { killed_at, back, terms });
        if nth % 10 == 0 || granted_at - killed_at > RECOVERED_P99_US_MAX {
            let (name, ms) = (&leader.name, (granted_at - killed_at) / 1_000);
            eprintln!("chaos: kill {nth}: {name}; a new reservation after {ms} ms, {terms} terms later");
        }
    }
    Ok(())
}

async fn leader(voters: &Voters) -> Result<&Process, Failure> {
    let until = Instant::now() + LEADER_WITHIN;
    loop {
        if let Some(leader) = voters.leader().await {
            return Ok(leader);
        }
        if Instant::now() > until {
            return Err(Failure::new(format!("nobody leads for {} s", LEADER_WITHIN.as_secs())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn term(voter: &Process) -> u64 {
    voter.metric("trunkline_agent_state_raft_term").await.unwrap_or(0.0) as u64
}

/// Agents who are not as they were before the load.
async fn not_free(floor: &Floor) -> Vec<String> {
    match floor.client().list_agents(ListAgentsRequest {}).await {
        Ok(listed) if listed.agents.len() == AGENT_COUNT => {
            let held = listed.agents.iter().filter(|agent| agent.activity() != AgentActivity::Ready);
            held.map(|agent| format!("{} is {}", agent.agent_id, agent.activity().as_str_name())).collect()
        }
        Ok(listed) => vec![format!("{} agents of {AGENT_COUNT}", listed.agents.len())],
        Err(status) => vec![status.to_string()],
    }
}

/// For each kill of these, the µs until the first reservation that was asked for after it was granted. A kill that nothing
/// came after counts as long as was waited.
fn recoveries(kills: &[Kill], deals: &[Deal], of: fn(&Kill) -> bool) -> Histogram<u64> {
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
    for kill in kills.iter().filter(|kill| of(kill)) {
        let after = granted.partition_point(|(asked_at, _)| *asked_at < kill.killed_at);
        let took = granted.get(after).map_or(longest, |(_, answered_at)| answered_at - kill.killed_at);
        recovered.saturating_record(took);
    }
    recovered
}

fn spread(recovered: &Histogram<u64>) -> Value {
    let at = |quantile| recovered.value_at_quantile(quantile);
    json!({"count": recovered.len(), "p50_us": at(0.5), "p99_us": at(0.99), "max_us": recovered.max()})
}

fn late(recovered: &Histogram<u64>) -> Vec<String> {
    let bars = [
        ("p99", recovered.value_at_quantile(0.99), RECOVERED_P99_US_MAX),
        ("max", recovered.max(), RECOVERED_US_MAX),
    ];
    let late = bars.into_iter().filter(|(_, took, bar)| took > bar);
    late.map(|(what, took, bar)| format!("{what} is {} ms, at most {} ms", took / 1_000, bar / 1_000))
        .collect()
}

/// Where the round keeps its data, beside that of the others.
pub fn dir(of_all: &Path) -> PathBuf {
    let mut name = of_all.file_name().unwrap_or_default().to_owned();
    name.push("-raft");
    of_all.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::load::Granted;
    use super::*;

    #[test]
    fn what_was_asked_for_before_a_kill_is_no_recovery_however_late_it_is_answered() {
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
        let kill = |killed_at| Kill { killed_at, back: false, terms: 1 };
        let recovered = recoveries(&[kill(100), kill(2_000)], &deals, |_| true);
        assert_eq!((recovered.min(), recovered.max()), (150, 900));
        assert_eq!(recoveries(&[kill(9_000)], &deals, |_| true).max() / 1_000_000, 60);
        assert_eq!(recoveries(&[kill(100)], &deals, |kill| kill.back).len(), 0);
    }

    #[test]
    fn a_round_is_late_by_its_slowest_and_by_its_slowest_in_a_hundred() {
        let of = |values: &[u64]| {
            let mut all = Histogram::new_with_bounds(1, 100_000_000, 3).unwrap();
            values.iter().for_each(|value| all.saturating_record(*value));
            late(&all)
        };
        assert!(of(&[1_900_000; 10]).is_empty());
        assert_eq!(of(&[2_500_000; 10]).len(), 1);
        let mut values = [1_000_000; 1_000];
        values[0] = 12_000_000;
        assert_eq!(of(&values).len(), 1);
    }
}
