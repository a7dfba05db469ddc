//! Where each voter of agent-state stands, and whether equal indexes are equal states.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use trunkline_agent_state::raft::{Identity, Member, Role, Told, cause, identify};
use trunkline_domain::agent_state::clocks::ahead;
use trunkline_domain::vocabulary::Millis;
use trunkline_runtime::clock::Clock;

use crate::{Failure, table};

/// How long a voter may take to say where it stands.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// How long it may take when it walks over its whole state.
const HASH_TIME_MAX: Duration = Duration::from_secs(10);
/// How often voters are asked for their states, until a majority was seen at one index.
const ROUND_COUNT_MAX: usize = 40;
/// So often they are asked until all that answer were seen at one index.
const ROUND_COUNT_ALL: usize = 10;
/// The pause between two rounds: while commands come in, voters are rarely at one index at one instant.
const PAUSE: Duration = Duration::from_millis(25);

/// What one voter told.
struct Voter {
    address: String,
    /// Or why there is no answer.
    told: Result<(u64, Told), String>,
}

/// What all of them told.
pub(super) struct Status {
    voters: Vec<Voter>,
    /// Who belongs to the cluster, as the one that knows best told; nobody when none did.
    members: Vec<Member>,
    /// The index at which most voters were seen, when that is a majority.
    compared_at: Option<u64>,
    /// Sentences about voters that differ at one index.
    differences: Vec<String>,
}

impl Status {
    pub(super) async fn ask(cluster: &str, named: &[String]) -> Self {
        let (clock, mut addresses) = (Clock::system(), named.to_vec());
        // Without the hash first: the walk over the state would look like a way to the voter and back.
        let mut voters = ask_all(cluster, named, false, ANSWER_TIME_MAX, &clock).await;
        // Settings are older than the last change of the members.
        let members = members(&voters);
        addresses.extend(members.iter().map(|it| it.address.clone()).filter(|it| !named.contains(it)));
        voters.extend(ask_all(cluster, &addresses[named.len()..], false, ANSWER_TIME_MAX, &clock).await);
        let majority = voting_count(&members, voters.len()) / 2 + 1;
        let offsets: Vec<_> =
            voters.iter().map(|it| it.told.as_ref().ok().map(|(_, told)| told.offset)).collect();
        let answering = offsets.iter().flatten().count();
        let mut seen = Seen::default();
        for round in 0..ROUND_COUNT_MAX {
            let enough = if round < ROUND_COUNT_ALL { answering } else { majority };
            if seen.most().is_some_and(|(_, count)| count >= enough) {
                break;
            }
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            for (place, it) in
                ask_all(cluster, &addresses, true, HASH_TIME_MAX, &clock).await.into_iter().enumerate()
            {
                if let Ok((_, told)) = &it.told {
                    seen.note(place, told);
                    voters[place] = it;
                }
            }
        }
        let compared_at = seen.most().filter(|(_, count)| *count >= majority).map(|(index, _)| index);
        for (place, (voter, offset)) in voters.iter_mut().zip(offsets).enumerate() {
            let Ok((_, told)) = &mut voter.told else { continue };
            told.offset = offset.unwrap_or(told.offset);
            if let Some((index, hash)) = compared_at.and_then(|index| Some((index, seen.at(index, place)?))) {
                (told.applied_index, told.state_hash) = (index, hash);
            }
        }
        Self { differences: seen.differences(&addresses), voters, members, compared_at }
    }

    /// Whether a replica votes, as far as anybody told.
    fn votes(&self, node_id: u64) -> bool {
        self.members.is_empty() || self.members.iter().any(|it| it.node_id == node_id && it.voting)
    }

    /// What a replica is; not the role it sees itself in when it does not belong to the cluster.
    fn role(&self, node_id: u64, told: &Told) -> &'static str {
        match self.members.is_empty() || self.members.iter().any(|it| it.node_id == node_id) {
            true => name(told.role),
            false => "no member",
        }
    }

    /// The member that should answer at an address and whose own answer there is none of.
    fn missing_at(&self, address: &str) -> Option<u64> {
        let answers = |node_id| self.voters.iter().any(|it| it.told.as_ref().is_ok_and(|it| it.0 == node_id));
        self.members.iter().find(|it| it.address == address && !answers(it.node_id)).map(|it| it.node_id)
    }

    /// The feature levels of those that answered.
    fn levels(&self) -> BTreeSet<u32> {
        self.voters.iter().filter_map(|it| Some(it.told.as_ref().ok()?.1.feature_level)).collect()
    }

    /// How many vote at each site; `None` unless all that vote tell theirs.
    fn sites(&self) -> Option<BTreeMap<&str, usize>> {
        let mut sites = BTreeMap::new();
        let told = self.voters.iter().filter_map(|it| it.told.as_ref().ok());
        for (_, told) in told.filter(|(node_id, told)| self.votes(*node_id) && !told.site.is_empty()) {
            *sites.entry(told.site.as_str()).or_default() += 1;
        }
        (sites.values().sum::<usize>() == voting_count(&self.members, self.voters.len())).then_some(sites)
    }

    /// The site with the most voters, when those elsewhere are no majority.
    fn needed<'a>(&self, sites: &BTreeMap<&'a str, usize>) -> Option<(&'a str, usize)> {
        let all: usize = sites.values().sum();
        let largest = sites.iter().max_by_key(|(_, count)| **count).map(|(site, count)| (*site, *count));
        largest.filter(|(_, count)| (all - count) * 2 <= all)
    }

    /// How far a voter's clock is ahead of the median of all that answered, in ms, by the rule that voters judge themselves by.
    fn clock_offset(&self, of: &Told) -> Option<Millis> {
        let told: Vec<_> = self.voters.iter().filter_map(|it| it.told.as_ref().ok()).collect();
        let mut offsets: Vec<_> = told.iter().map(|(_, told)| told.offset - of.offset).collect();
        // Its own is counted by the rule.
        offsets.swap_remove(offsets.iter().position(|it| *it == Millis::ZERO)?);
        ahead(&offsets, told.len())
    }

    /// Who leads by what a majority knows; a sentence when there is nobody.
    fn leader(&self) -> Result<&str, String> {
        let count = voting_count(&self.members, self.voters.len());
        let mut named = BTreeMap::<(u64, u64), usize>::new();
        let told = || self.voters.iter().filter_map(|it| Some((&it.address, it.told.as_ref().ok()?)));
        let told = || told().filter(|(_, (node_id, _))| self.votes(*node_id));
        for (_, (_, told)) in told() {
            if let Some(leader) = told.leader {
                *named.entry((told.term, leader)).or_default() += 1;
            }
        }
        let known = named.into_iter().find(|(_, voices)| voices * 2 > count);
        let Some(((term, leader), voices)) = known else {
            let answered = told().count();
            return Err(format!("no leader is known to a majority: {answered} of {count} voters answered"));
        };
        let leads = |told: &Told| told.term == term && told.role == Role::Leader;
        let found = told().find(|(_, (node_id, told))| *node_id == leader && leads(told));
        found.map(|(address, _)| address.as_str()).ok_or_else(|| {
            format!("{voices} of {count} voters follow {leader}, which does not say that it leads")
        })
    }

    /// # Errors
    /// When voters differ, or there is no leader.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if let Some(difference) = self.differences.first() {
            return Err(Failure::world(format!("replicas are not equal: {difference}")));
        }
        self.leader().map(drop).map_err(Failure::world)
    }

    pub(super) fn text(&self) -> String {
        let mut head = vec![
            "address",
            "node id",
            "role",
            "term",
            "applied index",
            "clock offset, ms",
            "level",
            "state hash",
        ];
        let sited =
            self.voters.iter().any(|it| it.told.as_ref().is_ok_and(|(_, told)| !told.site.is_empty()));
        if sited {
            head.push("site");
        }
        let mut rows = Vec::new();
        let mut remarks = String::new();
        for voter in &self.voters {
            let mut row = vec![voter.address.clone()];
            match &voter.told {
                Ok((node_id, told)) => {
                    row.extend([
                        node_id.to_string(),
                        self.role(*node_id, told).to_owned(),
                        told.term.to_string(),
                        told.applied_index.to_string(),
                        self.clock_offset(told).map_or(String::new(), |it| it.0.to_string()),
                        told.feature_level.to_string(),
                        told.state_hash.clone(),
                    ]);
                    row.extend(sited.then(|| told.site.clone()));
                    if let Some(missing) = self.missing_at(&voter.address) {
                        remarks.push_str(&replaced(&voter.address, missing, *node_id));
                    }
                }
                Err(why) => {
                    let missing = self.missing_at(&voter.address).map(|it| it.to_string());
                    row.extend([missing.unwrap_or_default(), UNREACHABLE.to_owned()]);
                    remarks.push_str(&format!("{}: {why}\n", voter.address));
                }
            }
            rows.push(row);
        }
        for difference in &self.differences {
            remarks.push_str(&format!("{difference}\n"));
        }
        let levels = self.levels();
        if levels.len() > 1 {
            let levels = levels.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            remarks.push_str(&format!(
                "voters of different feature levels ({levels}) are not compared: their programs keep other states\n"
            ));
        }
        if let Some((site, count)) = self.sites().and_then(|sites| self.needed(&sites)) {
            let all = voting_count(&self.members, self.voters.len());
            remarks.push_str(&format!(
                "without site {site}, where {count} of {all} voters run, no quorum is left\n"
            ));
        }
        if self.compared_at.is_none() {
            remarks.push_str("states were not compared: no majority was seen at one index\n");
        }
        table::render(&head, &rows) + &remarks
    }

    pub(super) fn json(&self) -> serde_json::Value {
        let voters = self.voters.iter().map(|voter| match &voter.told {
            Ok((node_id, told)) => serde_json::json!({
                "address": voter.address,
                // A number of JSON is too small for it.
                "node_id": node_id.to_string(),
                "role": self.role(*node_id, told),
                "voting": self.votes(*node_id),
                "term": told.term,
                "applied_index": told.applied_index,
                "clock_offset_ms": self.clock_offset(told).map(|it| it.0),
                "feature_level": told.feature_level,
                "state_hash": told.state_hash,
                "site": told.site,
            }),
            Err(why) => serde_json::json!({
                "address": voter.address,
                "node_id": self.missing_at(&voter.address).map(|it| it.to_string()),
                "role": UNREACHABLE,
                "reason": why,
            }),
        });
        let members = self.members.iter().map(|it| {
            serde_json::json!({"node_id": it.node_id.to_string(), "address": it.address, "voting": it.voting})
        });
        let sites = self.sites();
        let outlives = sites.as_ref().map(|sites| self.needed(sites).is_none());
        serde_json::json!({
            "leader": self.leader().ok(),
            "compared_at_index": self.compared_at,
            "differences": self.differences,
            "voters": voters.collect::<Vec<_>>(),
            "members": members.collect::<Vec<_>>(),
            "sites": sites,
            "outlives_any_site": outlives,
        })
    }
}

/// Who belongs to the cluster by who knows best: the leader of the highest term, else who is furthest.
fn members(voters: &[Voter]) -> Vec<Member> {
    let told = voters.iter().filter_map(|it| Some(&it.told.as_ref().ok()?.1));
    let told = told.filter(|it| !it.members.is_empty());
    let best = told.max_by_key(|it| (it.role == Role::Leader, it.term, it.applied_index));
    best.map(|it| it.members.clone()).unwrap_or_default()
}

/// How many vote; all that are named when nobody told.
fn voting_count(members: &[Member], named: usize) -> usize {
    match members.iter().filter(|it| it.voting).count() {
        0 => named,
        count => count,
    }
}

fn replaced(address: &str, missing: u64, answers: u64) -> String {
    format!(
        "{missing} should answer at {address}, and {answers} does: \
         `trunkline raft add {address} --replace {missing}` gives it that place\n"
    )
}

const UNREACHABLE: &str = "unreachable";

fn name(role: Role) -> &'static str {
    match role {
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Leader => "leader",
        Role::Learner => "learner",
    }
}

/// Asks all voters at once; answers are in their order.
async fn ask_all(
    cluster: &str,
    addresses: &[String],
    hashed: bool,
    time_max: Duration,
    clock: &Clock,
) -> Vec<Voter> {
    let asked = addresses.iter().map(async |address| {
        let told = match identify(cluster, address, hashed, time_max, || clock.now()).await {
            Ok(Identity { node_id, told: Some(told), .. }) => Ok((node_id, told)),
            Ok(Identity { told: None, .. }) => Err("it is of a version that does not tell".to_owned()),
            Err(status) => Err(cause(&status)),
        };
        Voter { address: address.clone(), told }
    });
    join_all(asked).await
}

/// Which states were seen: feature levels and hashes by index and by place in the list of voters.
#[derive(Default)]
struct Seen(BTreeMap<u64, BTreeMap<usize, (u32, String)>>);

impl Seen {
    fn note(&mut self, place: usize, told: &Told) {
        let state = (told.feature_level, told.state_hash.clone());
        self.0.entry(told.applied_index).or_default().insert(place, state);
    }

    fn at(&self, index: u64, place: usize) -> Option<String> {
        self.0.get(&index)?.get(&place).map(|(_, hash)| hash.clone())
    }

    /// The index at which most voters were seen, the latest of those, and how many.
    fn most(&self) -> Option<(u64, usize)> {
        self.0.iter().map(|(index, seen)| (*index, seen.len())).max_by_key(|(index, count)| (*count, *index))
    }

    fn differences(&self, addresses: &[String]) -> Vec<String> {
        let mut sentences = Vec::new();
        for (index, seen) in &self.0 {
            // The first of each level, whose program keeps the same state as the others of its level do.
            let mut firsts = BTreeMap::new();
            for (place, (level, hash)) in seen {
                let (first, expected) = firsts.entry(level).or_insert((place, hash));
                if hash != *expected {
                    let (first, other) = (&addresses[**first], &addresses[*place]);
                    sentences.push(format!(
                        "at index {index} {first} has state {expected} and {other} has {hash}"
                    ));
                }
            }
        }
        sentences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Voters as they told: id, role, term, leader, index, hash, offset of the clock; `None` for no answer.
    type Row = Option<(u64, Role, u64, Option<u64>, u64, &'static str, i64)>;

    fn status(rows: &[Row]) -> Status {
        let addresses: Vec<_> = (0..rows.len()).map(|place| format!("v:{place}")).collect();
        let mut seen = Seen::default();
        let mut voters = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let told = row.ok_or("refused".to_owned());
            let told = told.map(|(id, role, term, leader, applied_index, hash, offset)| {
                let (offset, state_hash) = (Millis(offset), hash.to_owned());
                let members = Vec::new();
                (
                    id,
                    Told {
                        offset,
                        term,
                        role,
                        leader,
                        silent: None,
                        log_end: (0, 0),
                        applied_index,
                        state_hash,
                        members,
                        feature_level: 0,
                        site: String::new(),
                    },
                )
            });
            if let Ok((_, told)) = &told {
                seen.note(place, told);
            }
            voters.push(Voter { address: addresses[place].clone(), told });
        }
        let compared_at = seen.most().filter(|(_, count)| count * 2 > rows.len()).map(|(index, _)| index);
        Status { differences: seen.differences(&addresses), voters, members: Vec::new(), compared_at }
    }

    const F: Role = Role::Follower;
    const L: Role = Role::Leader;

    #[test]
    fn a_group_is_well_when_a_majority_follows_who_says_it_leads_and_equal_indexes_are_equal_states() {
        for (why, rows, verdict) in [
            (
                "all well",
                [
                    Some((7, L, 2, Some(7), 9, "a", 0)),
                    Some((8, F, 2, Some(7), 9, "a", 0)),
                    Some((9, F, 2, Some(7), 9, "a", 0)),
                ],
                Ok(()),
            ),
            (
                "one is down, one is behind",
                [Some((7, L, 2, Some(7), 9, "a", 0)), Some((8, F, 2, Some(7), 8, "b", 0)), None],
                Ok(()),
            ),
            (
                "the leader is down and the others do not know yet",
                [None, Some((8, F, 2, Some(7), 9, "a", 0)), Some((9, F, 2, Some(7), 9, "a", 0))],
                Err("2 of 3 voters follow 7, which does not say that it leads"),
            ),
            (
                "one is left, which believes that it leads",
                [Some((7, L, 2, Some(7), 9, "a", 0)), None, None],
                Err("no leader is known to a majority: 1 of 3 voters answered"),
            ),
            (
                "an election",
                [
                    Some((7, Role::Candidate, 3, None, 9, "a", 0)),
                    Some((8, F, 3, None, 9, "a", 0)),
                    Some((9, F, 2, Some(7), 9, "a", 0)),
                ],
                Err("no leader is known to a majority: 3 of 3 voters answered"),
            ),
            (
                "a replica that went its own way",
                [
                    Some((7, L, 2, Some(7), 9, "a", 0)),
                    Some((8, F, 2, Some(7), 9, "b", 0)),
                    Some((9, F, 2, Some(7), 9, "a", 0)),
                ],
                Err("replicas are not equal: at index 9 v:0 has state a and v:1 has b"),
            ),
        ] {
            let found = status(&rows).verdict().map_err(|failure| failure.message);
            assert_eq!(found, verdict.map_err(str::to_owned), "{why}");
        }
    }

    #[test]
    fn the_table_shows_who_does_not_answer_and_whose_clock_differs() {
        let shown = status(&[
            Some((7, L, 2, Some(7), 9, "a", 40)),
            Some((8, F, 2, Some(7), 9, "a", 3_600_040)),
            Some((9, F, 2, Some(7), 9, "a", 41)),
        ]);
        assert_eq!(
            shown.text(),
            "address  node id  role      term  applied index  clock offset, ms  level  state hash\n\
             v:0            7  leader       2              9  -1                    0  a\n\
             v:1            8  follower     2              9           3599999      0  a\n\
             v:2            9  follower     2              9                 0      0  a\n"
        );
        let mut mixed = status(&[
            Some((7, L, 2, Some(7), 9, "a", 0)),
            Some((8, F, 2, Some(7), 9, "b", 0)),
            Some((9, F, 2, Some(7), 9, "c", 0)),
        ]);
        assert_eq!(mixed.differences.len(), 2);
        let mut seen = Seen::default();
        for (place, voter) in mixed.voters.iter_mut().enumerate() {
            let (_, told) = voter.told.as_mut().unwrap();
            told.feature_level = u32::from(place > 0);
            seen.note(place, told);
        }
        let addresses = ["v:0", "v:1", "v:2"].map(str::to_owned);
        mixed.differences = seen.differences(&addresses);
        assert_eq!(mixed.differences, ["at index 9 v:1 has state b and v:2 has c"]);
        let remark =
            "voters of different feature levels (0, 1) are not compared: their programs keep other states\n";
        assert!(mixed.text().ends_with(remark), "{}", mixed.text());
        let text = status(&[Some((7, L, 2, Some(7), 9, "a", 0)), None, None]).text();
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "v:1               unreachable",
                "v:2               unreachable",
                "v:1: refused",
                "v:2: refused",
                "states were not compared: no majority was seen at one index"
            ]
        );
    }

    #[test]
    fn it_says_which_site_takes_the_quorum_with_it() {
        let five = [(7, L), (8, F), (9, F), (10, F), (11, F)];
        let rows = five.map(|(id, role)| Some((id, role, 2, Some(7), 9, "a", 0)));
        for (sites, needed) in [
            (["north", "north", "south", "south", "west"], None),
            (["north", "north", "north", "south", "west"], Some(("north", 3))),
            (["north", "north", "south", "south", "south"], Some(("south", 3))),
        ] {
            let mut shown = status(&rows);
            for (voter, site) in shown.voters.iter_mut().zip(sites) {
                voter.told.as_mut().unwrap().1.site = site.to_owned();
            }
            let counts = shown.sites().unwrap();
            assert_eq!(shown.needed(&counts), needed, "{sites:?}");
            assert_eq!(shown.json()["outlives_any_site"], needed.is_none());
            let (text, lines) = (shown.text(), shown.text().lines().count());
            assert!(text.lines().next().unwrap().ends_with("site"), "{text}");
            assert_eq!(lines, if needed.is_some() { 7 } else { 6 }, "{text}");
            if let Some((site, count)) = needed {
                let remark =
                    format!("without site {site}, where {count} of 5 voters run, no quorum is left\n");
                assert!(text.ends_with(&remark), "{text}");
            }
            // One that says nothing: nothing is known of all.
            shown.voters[4].told.as_mut().unwrap().1.site.clear();
            assert_eq!((shown.sites(), &shown.json()["outlives_any_site"]), (None, &serde_json::Value::Null));
        }
    }

    #[test]
    fn who_belongs_to_the_cluster_is_what_the_leader_says_and_counts() {
        let mut shown = status(&[
            Some((7, L, 2, Some(7), 9, "a", 0)),
            Some((12, Role::Learner, 0, None, 0, "-", 0)),
            Some((8, F, 2, Some(7), 9, "a", 0)),
            None,
        ]);
        let member = |node_id, place, voting| Member { node_id, address: format!("v:{place}"), voting };
        shown.members =
            vec![member(7, 0, true), member(8, 2, true), member(9, 1, true), member(10, 3, false)];
        let text = shown.text();
        let rows: Vec<Vec<_>> = text
            .lines()
            .skip(1)
            .map(|line| line.split("  ").map(str::trim).filter(|it| !it.is_empty()).collect())
            .collect();
        assert_eq!(rows[0][1..3], ["7", "leader"]);
        assert_eq!(rows[1][1..3], ["12", "no member"]);
        assert_eq!(rows[3][1..], ["10", "unreachable"]);
        let remark =
            "9 should answer at v:1, and 12 does: `trunkline raft add v:1 --replace 9` gives it that place";
        assert!(text.contains(remark), "{text}");
        // Two of three voters; of five named ones they would be no majority.
        assert_eq!(shown.leader(), Ok("v:0"));
    }
}
