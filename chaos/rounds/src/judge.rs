//! What must hold after every round.

use std::time::Instant;

use serde_json::{Value, json};
use trunkline_loadtest::Failure;
use trunkline_loadtest::facts::{Contact, History};
use trunkline_loadtest::http::text;
use trunkline_loadtest::stage::caught_up;

use crate::faults::{Deed, Fault, Whom};
use crate::scene::Scene;
use crate::wave::Call;

/// The longest silence in a call that nobody killed, from the fault on, in ms. Both cores start brokers and sipp plays forty
/// parties meanwhile; what is harmed by a fault is silent until its end.
const SILENCE_MS_MAX: i64 = 1_500;
/// How long a cell may be without an owner, in ms.
const TAKE_OVER_MS_MAX: i64 = 3_000;

/// How things stood before the round.
pub struct Before {
    /// Contacts in the log.
    contact_count: usize,
    /// `PartitionTaken` facts in the log.
    taken_count: usize,
}

/// What the round brought home.
pub struct Told {
    pub fault: &'static Fault,
    /// The names of those who were hit.
    pub named: Vec<String>,
    /// Unix times, in ms.
    pub hit_at: i64,
    pub healed_at: i64,
    /// When the fault came.
    pub up_count: usize,
    pub talking_count: usize,
    pub calls: Vec<Call>,
    /// What did not come back.
    pub troubles: Vec<String>,
}

/// The head of the table: calls placed, calls up when the fault came, the longest silence from then on in a call
/// that it could not harm.
pub const HEAD: &str = "round                        seconds  calls     up  silence ms  verdict";

/// What is said of a round.
pub struct Outcome {
    told: Told,
    seconds: u64,
    /// Promises that did not hold, with what was found.
    failed: Vec<(&'static str, String)>,
    figures: Value,
}

impl Outcome {
    /// One line of JSON.
    pub fn json(&self) -> Value {
        let failed: Vec<_> =
            self.failed.iter().map(|(promise, found)| json!({"promise": promise, "found": found})).collect();
        json!({
            "round": self.told.fault.name, "pass": self.failed.is_empty(), "seconds": self.seconds,
            "hit": self.told.named, "calls_up": self.told.up_count, "talking": self.told.talking_count,
            "calls": self.told.calls.len(), "figures": self.figures, "failed": failed,
        })
    }

    /// Whether every promise held.
    pub fn passed(&self) -> bool {
        self.failed.is_empty()
    }

    /// Its row of the table under [`HEAD`].
    pub fn row(&self) -> String {
        let failed: Vec<String> =
            self.failed.iter().map(|(promise, found)| format!("{promise}: {found}")).collect();
        let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
        let (name, calls, gap) = (self.told.fault.name, self.told.calls.len(), &self.figures["gap_ms_max"]);
        let row = format!(
            "{name:<28} {:>7} {calls:>6} {:>6} {gap:>11} {verdict:>8}  {}",
            self.seconds,
            self.told.up_count,
            failed.join("; ")
        );
        row.trim_end().to_owned()
    }
}

/// What has to be known of the time before.
///
/// # Errors
/// When the logs cannot be read.
pub async fn before(scene: &Scene) -> Result<Before, Failure> {
    let history = History::read(&scene.rig.dir).await?;
    let taken_count = takings(scene).await?.len();
    Ok(Before { contact_count: history.contacts.len(), taken_count })
}

/// Unix times, in ms, at which the cell got an owner.
async fn takings(scene: &Scene) -> Result<Vec<i64>, Failure> {
    let tail = scene.trunkline.demand(&["tail", "routing", "--json", "--name", "PartitionTaken"]).await?;
    let facts = tail.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(facts.filter_map(|fact| fact["occurred_at_ms"].as_i64()).collect())
}

/// Looks at everything.
///
/// # Errors
/// When the logs cannot be read or replayed.
pub async fn judge(scene: &Scene, before: &Before, told: Told, began: Instant) -> Result<Outcome, Failure> {
    let mut failed: Vec<(&'static str, String)> = Vec::new();
    let mut check = |promise: &'static str, found: Vec<String>| {
        if !found.is_empty() {
            failed.push((promise, found.join("; ")));
        }
    };
    check("everything is as before", told.troubles.clone());
    let sides = caught_up(&scene.operator, &scene.trunkline).await?;
    let differing = sides.iter().filter(|(_, live, replayed)| live != replayed || live.is_empty());
    check(
        "live equals replayed",
        differing.map(|(fold, live, replayed)| format!("{fold}: {live} {replayed}")).collect(),
    );

    let history = History::read(&scene.rig.dir).await?;
    let contacts = |call: &Call| -> Vec<&Contact> {
        history.contacts.values().filter(|it| it.sip_call_id.starts_with(&call.call_id_prefix)).collect()
    };
    let hit_node = match (told.fault.whom, told.fault.deed) {
        (Whom::Media, Deed::Kill | Deed::Pause | Deed::WrongClock) => Some(0),
        _ => None,
    };
    // Whether what was done could harm this call.
    let harmed = |call: &Call| {
        hit_node == Some(call.node) && call.placed_at <= told.healed_at + 5_000 && call.over_at >= told.hit_at
    };
    let (mut doubled, mut open, mut wrong, mut left, mut silent) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut gap_ms_max, mut refused_count, mut talk_count, mut served_after) = (0, 0, 0, 0);
    for call in &told.calls {
        let name = &call.call_id_prefix;
        let of_call = contacts(call);
        if of_call.len() > 1 {
            doubled.push(format!("{name} is {} contacts", of_call.len()));
        }
        let Some(contact) = of_call.first() else {
            // What was refused at the door is no contact; what was answered is one.
            match call.final_status() {
                Some(200) => left.push(format!("{name} was answered and is no contact")),
                Some(503) => refused_count += 1,
                status if !harmed(call) => left.push(format!("{name} ended with {status:?}")),
                _ => {}
            }
            continue;
        };
        match contact.ended_count {
            1 => {}
            0 => open.push(format!("{} has not ended", contact.contact_id)),
            count => doubled.push(format!("{} ended {count} times", contact.contact_id)),
        }
        if contact.connected_at > 0 {
            talk_count += 1;
            served_after += usize::from(contact.connected_at > told.healed_at);
        }
        if harmed(call) {
            continue;
        }
        if !matches!(contact.cause.as_str(), "completed" | "abandoned") {
            wrong.push(format!("{} ended as {}", contact.contact_id, contact.cause));
        }
        if call.code != 0 {
            left.push(format!("{name}: sipp ended with {}", call.code));
        }
        let (gap, since) = call.longest_gap(told.hit_at);
        gap_ms_max = gap_ms_max.max(gap);
        if gap > SILENCE_MS_MAX {
            silent.push(format!(
                "{name} heard nothing for {gap} ms, {} ms after the fault",
                since - told.hit_at
            ));
        }
    }
    let new = history.contacts.len() - before.contact_count;
    let expected: usize = told.calls.iter().map(|call| contacts(call).len()).sum();
    if new != expected {
        doubled.push(format!("{new} new contacts of {expected} calls"));
    }
    check("no contact is doubled", doubled);
    check("every contact ended", open);
    check("contacts ended as their callers did", wrong);
    check("every caller was heard and answered", left);
    check("audio goes on", silent);
    check(
        "callers are served after the fault",
        if served_after > 0 { vec![] } else { vec!["none was".into()] },
    );
    check("no agent has two calls at once", overlaps(&history));

    let takings = takings(scene).await?;
    let taken_at = takings.iter().skip(before.taken_count).find(|at| **at >= told.hit_at);
    let take_over_ms = taken_at.map(|at| at - told.hit_at);
    if matches!(told.fault.whom, Whom::RoutingOwner) {
        let late = match take_over_ms {
            Some(ms) if ms <= TAKE_OVER_MS_MAX => vec![],
            Some(ms) => vec![format!("after {ms} ms")],
            None => vec!["never".to_owned()],
        };
        check("the standby takes over within 3 s", late);
    }
    let verified = scene.trunkline.run(&["verify", "--json"]).await?;
    if verified.code != 0 {
        let checks: Value = serde_json::from_str(&verified.stdout).unwrap_or_default();
        let found = checks["checks"].as_array().into_iter().flatten().flat_map(|it| {
            it["violations"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
        });
        let mut found: Vec<String> = found.take(5).collect();
        found.push(text(&checks, "violation_count").to_owned());
        found.push(verified.stderr.trim().to_owned());
        check("trunkline verify finds nothing", found);
    }
    let figures = json!({
        "gap_ms_max": gap_ms_max, "talks": talk_count, "refused_503": refused_count,
        "take_over_ms": take_over_ms,
    });
    Ok(Outcome { told, seconds: began.elapsed().as_secs(), failed, figures })
}

/// Talks of one agent that overlap, by the facts' own times.
fn overlaps(history: &History) -> Vec<String> {
    let mut talks: Vec<(&str, i64, i64, &str)> = history
        .contacts
        .values()
        .filter(|it| it.connected_at > 0)
        .map(|it| {
            (it.agent_id.as_str(), it.connected_at, it.connected_at + it.talked_ms, it.contact_id.as_str())
        })
        .collect();
    talks.sort_unstable();
    talks
        .windows(2)
        .filter(|pair| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2)
        .map(|pair| format!("{} talks to {} and {}", pair[0].0, pair[0].3, pair[1].3))
        .collect()
}
