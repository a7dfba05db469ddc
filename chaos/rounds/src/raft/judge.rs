//! What must hold of reservations, whatever died: what clients were told, held against the facts.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::facts::{AgentFact, Recorded, ReleaseOutcome};
use trunkline_loadtest::floor::agent_number;

use super::load::{Deal, offer_id, offer_number};

/// Findings of one promise that are told; there may be a million.
const TOLD_COUNT_MAX: usize = 5;

/// A fact about an agent, as far as it is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// The Raft index of the command that made it, and its place among the facts made there: its event id says both.
    pub index: u64,
    pub ordinal: u32,
    /// Of which agent.
    pub agent: usize,
    /// Its place in the agent's stream, from 1.
    pub sequence: u64,
    pub what: What,
}

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Reserved {
        offer: u64,
        token: u64,
    },
    Released {
        token: u64,
        outcome: ReleaseOutcome,
    },
    /// Nothing about a reservation.
    Other,
}

impl Fact {
    /// What is judged of a fact; `None` of one about a lease, and of one that is not named as ours are.
    pub fn of(recorded: &Recorded<AgentFact>) -> Option<Self> {
        let agent = agent_number(recorded.fact.agent_id()?.as_str())?;
        let mut place = recorded.meta.event_id.as_str().split('-').skip(1);
        let (index, ordinal) = (place.next()?.parse().ok()?, place.next()?.parse().ok()?);
        let what = match &recorded.fact {
            AgentFact::AgentReserved { offer_id, token, .. } => {
                What::Reserved { offer: offer_number(offer_id.as_str())?, token: *token }
            }
            AgentFact::ReservationReleased { token, outcome, .. } => {
                What::Released { token: *token, outcome: *outcome }
            }
            _ => What::Other,
        };
        Some(Self { index, ordinal, agent, sequence: recorded.meta.sequence, what })
    }
}

/// Promises that did not hold, with what was found.
pub type Failed = Vec<(&'static str, String)>;

/// Holds the journal of the clients against the facts of all logs together.
pub fn judge(deals: &[Deal], mut facts: Vec<Fact>) -> Failed {
    // What two leaders published has two copies, which are equal.
    facts.sort_unstable();
    facts.dedup();
    let facts = Facts::new(&facts);
    let mut failed = Failed::new();
    let mut check = |promise, found: Vec<String>| {
        if let Some(words) = words(&found) {
            failed.push((promise, words));
        }
    };
    check("one place in the raft log has one fact", facts.forked.clone());
    check("no fact is missing", facts.missing.clone());
    check("no agent has two reservations at once", facts.doubled.clone());
    check("no command takes effect twice", facts.repeated.clone());
    check("no acknowledged reservation is lost", facts.lost_reservations(deals));
    check("no acknowledged release is lost", facts.lost_releases(deals));
    check("what was refused did not happen", facts.refused_and_done(deals));
    check("no two clients hold one agent", held_twice(deals));
    failed
}

/// The first findings, and how many there are.
fn words(found: &[String]) -> Option<String> {
    let told = found.iter().take(TOLD_COUNT_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    match found.len() {
        0 => None,
        count if count > TOLD_COUNT_MAX => Some(format!("{told}; {count} altogether")),
        _ => Some(told),
    }
}

/// The facts put together, with what is wrong with them by themselves.
#[derive(Debug, Default)]
struct Facts {
    /// Token and agent by offer.
    reserved: BTreeMap<u64, (u64, usize)>,
    /// How it ended, by token.
    released: BTreeMap<u64, ReleaseOutcome>,
    forked: Vec<String>,
    missing: Vec<String>,
    doubled: Vec<String>,
    repeated: Vec<String>,
}

impl Facts {
    /// Of facts in the order of the Raft log.
    fn new(facts: &[Fact]) -> Self {
        let mut it = Self::default();
        let mut last: Option<(u64, u32)> = None;
        let (mut sequences, mut live) = (BTreeMap::<usize, u64>::new(), BTreeMap::<usize, u64>::new());
        for Fact { index, ordinal, agent, sequence, what } in facts.iter().copied() {
            if last == Some((index, ordinal)) {
                it.forked.push(format!("{index}-{ordinal} has two"));
                continue;
            }
            last = Some((index, ordinal));
            let behind = sequences.insert(agent, sequence).unwrap_or(0);
            if sequence != behind + 1 {
                it.missing.push(format!("agt_{agent} has fact {sequence} behind {behind}"));
            }
            match what {
                What::Reserved { offer, token } => {
                    if let Some(held) = live.insert(agent, token) {
                        it.doubled.push(format!("agt_{agent} is given to {token} and has {held}"));
                    }
                    if it.reserved.insert(offer, (token, agent)).is_some() {
                        it.repeated.push(format!("{} is reserved twice", offer_id(offer)));
                    }
                }
                What::Released { token, outcome } => {
                    if live.remove(&agent) != Some(token) {
                        it.doubled.push(format!("agt_{agent} is released of {token}, which it has not"));
                    }
                    if it.released.insert(token, outcome).is_some() {
                        it.repeated.push(format!("{token} is released twice"));
                    }
                }
                What::Other => {}
            }
        }
        it
    }

    fn lost_reservations(&self, deals: &[Deal]) -> Vec<String> {
        let granted = deals.iter().filter_map(|deal| Some((deal, deal.granted?.token)));
        let lost =
            granted.filter(|(deal, token)| self.reserved.get(&deal.offer) != Some(&(*token, deal.agent)));
        lost.map(|(deal, token)| format!("{} of agt_{} with {token}", offer_id(deal.offer), deal.agent))
            .collect()
    }

    fn lost_releases(&self, deals: &[Deal]) -> Vec<String> {
        let mut lost = Vec::new();
        for deal in deals {
            let Some(granted) = deal.granted else { continue };
            // One that had ended before would have run out; no offer here does, however long a failover takes.
            let outcome = self.released.get(&granted.token);
            if !granted.released || outcome != Some(&ReleaseOutcome::CallerGone) {
                let (id, ended) = (offer_id(deal.offer), granted.released);
                lost.push(format!("{id}: the client was told {ended}, the fact says {outcome:?}"));
            }
        }
        lost
    }

    fn refused_and_done(&self, deals: &[Deal]) -> Vec<String> {
        let refused = deals.iter().filter(|deal| deal.granted.is_none());
        let refused: BTreeSet<u64> = refused.map(|deal| deal.offer).collect();
        refused.into_iter().filter(|offer| self.reserved.contains_key(offer)).map(offer_id).collect()
    }
}

/// Agents that one client held, from the answer to its reservation until it asked for the release, when another was given
/// the same.
fn held_twice(deals: &[Deal]) -> Vec<String> {
    let held =
        deals.iter().filter_map(|it| Some((it.agent, it.answered_at, it.granted?.released_at, it.offer)));
    let mut held: Vec<_> = held.collect();
    held.sort_unstable();
    held.windows(2)
        .filter(|pair| pair[0].0 == pair[1].0 && pair[1].1 < pair[0].2)
        .map(|pair| format!("agt_{} by {} and {}", pair[0].0, offer_id(pair[0].3), offer_id(pair[1].3)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::load::Granted;

    const GONE: ReleaseOutcome = ReleaseOutcome::CallerGone;

    fn fact(index: u64, agent: usize, sequence: u64, what: What) -> Fact {
        Fact { index, ordinal: 0, agent, sequence, what }
    }

    fn reserved(index: u64, sequence: u64, offer: u64) -> Fact {
        fact(index, 7, sequence, What::Reserved { offer, token: index })
    }

    fn released(index: u64, sequence: u64, token: u64) -> Fact {
        fact(index, 7, sequence, What::Released { token, outcome: GONE })
    }

    fn granted(offer: u64, token: u64, from: u64, to: u64) -> Deal {
        let granted = Some(Granted { token, released_at: to, released: true });
        Deal { offer, agent: 7, asked_at: from - 1, answered_at: from, granted }
    }

    fn refused(offer: u64) -> Deal {
        Deal { offer, agent: 7, asked_at: 1, answered_at: 2, granted: None }
    }

    #[track_caller]
    fn check(deals: &[Deal], facts: &[Fact], broken: &[&str]) {
        let failed = judge(deals, facts.to_vec());
        let promises: Vec<_> = failed.iter().map(|(promise, _)| *promise).collect();
        assert_eq!(promises, broken, "{failed:?}");
    }

    /// Two reservations of one agent, one after the other, and one that was refused.
    fn good() -> (Vec<Deal>, Vec<Fact>) {
        let deals = vec![granted(1, 10, 100, 200), granted(2, 12, 300, 400), refused(3)];
        let facts = vec![reserved(10, 1, 1), released(11, 2, 10), reserved(12, 3, 2), released(13, 4, 12)];
        (deals, facts)
    }

    #[test]
    fn a_history_in_which_all_is_well_is_clean_also_when_two_leaders_published_a_part_of_it() {
        let (deals, mut facts) = good();
        check(&deals, &facts, &[]);
        facts.extend_from_within(1..3);
        check(&deals, &facts, &[]);
    }

    #[test]
    fn what_was_acknowledged_and_is_no_fact_is_found() {
        let (deals, facts) = good();
        // The last reservation, which nothing comes after.
        check(
            &deals,
            &facts[..2],
            &["no acknowledged reservation is lost", "no acknowledged release is lost"],
        );
        check(&deals, &facts[..3], &["no acknowledged release is lost"]);
        check(
            &deals,
            &[facts[0], facts[1], facts[3]],
            &[
                "no fact is missing",
                "no agent has two reservations at once",
                "no acknowledged reservation is lost",
            ],
        );
    }

    #[test]
    fn a_release_that_the_deadline_did_is_found() {
        let (deals, mut facts) = good();
        facts[3].what = What::Released { token: 12, outcome: ReleaseOutcome::Expired };
        check(&deals, &facts, &["no acknowledged release is lost"]);
    }

    #[test]
    fn an_agent_with_two_reservations_is_found() {
        let (mut deals, mut facts) = good();
        (facts[1], facts[2]) = (reserved(11, 2, 2), released(12, 3, 10));
        deals[1] = granted(2, 11, 300, 400);
        facts[3] = released(13, 4, 11);
        check(&deals, &facts, &["no agent has two reservations at once"]);
    }

    #[test]
    fn two_clients_that_hold_one_agent_are_found() {
        let (mut deals, facts) = good();
        deals[1] = granted(2, 12, 150, 400);
        check(&deals, &facts, &["no two clients hold one agent"]);
    }

    #[test]
    fn a_command_that_took_effect_twice_is_found() {
        let (deals, mut facts) = good();
        facts.extend([reserved(14, 5, 2), released(15, 6, 14)]);
        check(&deals, &facts, &["no command takes effect twice", "no acknowledged reservation is lost"]);
    }

    #[test]
    fn what_was_refused_and_happened_is_found() {
        let (deals, mut facts) = good();
        facts.extend([reserved(14, 5, 3), released(15, 6, 14)]);
        check(&deals, &facts, &["what was refused did not happen"]);
    }

    #[test]
    fn two_leaders_that_published_different_facts_at_one_place_are_found() {
        let (deals, mut facts) = good();
        facts.push(fact(12, 7, 3, What::Other));
        let failed = judge(&deals, facts);
        assert_eq!(
            failed.first().map(|(promise, _)| *promise),
            Some("one place in the raft log has one fact")
        );
    }
}
