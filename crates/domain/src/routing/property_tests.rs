//! Whatever happens, in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::agents::AgentView;
use super::bench::{agent_id, contact_id, node_id, skill_ids};
use super::book::Waiting;
use super::matching::{Candidate, Match, Seeker, match_turn};
use super::sim::World;
use crate::facts::{Recorded, RoutingFact};
use crate::vocabulary::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_partition_keeps_its_promises_whatever_happens(script in prop::collection::vec(any::<(u8, u8)>(), 0..250)) {
        let mut world = World::new();
        for (action, whom) in script {
            world.step(action, whom);
        }
        let (live, replayed) = world.replayed_hash();
        prop_assert_eq!(live, replayed, "a replay is equal to what was lived");
        world.settle();
        let (live, replayed) = world.replayed_hash();
        prop_assert_eq!(live, replayed);
        one_life_per_visit(&world.own())?;
    }

    #[test]
    fn the_clever_match_is_the_naive_one(
        agents in prop::collection::vec((0_u8..8, 0_i64..4, any::<bool>()), 0..8),
        contacts in prop::collection::vec((0_u8..8, prop::collection::vec((0_usize..8, 0_i64..60_000), 0..3)), 0..12),
    ) {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let skills = |mask: u8| -> Vec<SkillId> {
            let all = [(1, "x"), (2, "y"), (4, "z")];
            skill_ids(&all.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>())
        };
        let ids: Vec<AgentId> = names.iter().map(|name| agent_id(name)).collect();
        let views: Vec<(AgentView, Vec<SkillId>)> = agents
            .iter()
            .map(|(mask, idle_since, ready)| {
                let view = AgentView {
                    signed_in: true,
                    ready: *ready,
                    idle_since: Timestamp(*idle_since),
                    ..AgentView::default()
                };
                (view, skills(*mask))
            })
            .collect();
        let candidates: Vec<Candidate<'_>> = views
            .iter()
            .zip(&ids)
            .map(|((view, skills), agent_id)| Candidate {
                agent_id,
                view,
                skills,
                known: true,
                kept_back: false,
                reachable: true,
            })
            .collect();
        let waiting: Vec<(ContactId, Waiting)> = contacts
            .iter()
            .zip(names)
            .map(|((mask, missed), name)| {
                let missed: BTreeMap<_, _> = missed
                    .iter()
                    .map(|(agent, at)| (ids[*agent].clone(), (OfferId::from_name("o").unwrap(), Timestamp(*at))))
                    .collect();
                (contact_id(name), Waiting::for_tests(skills(*mask), missed, node_id("one")))
            })
            .collect();
        let seekers: Vec<Seeker<'_>> = waiting
            .iter()
            .map(|(contact_id, waiting)| Seeker { contact_id, waiting, reoffer_after: Millis(30_000) })
            .collect();
        let now = Timestamp(60_000);
        prop_assert_eq!(match_turn(&seekers, &candidates, now).matches, naive(&seekers, &candidates, now));
    }
}

/// Every contact in turn looks at every agent.
fn naive(seekers: &[Seeker<'_>], candidates: &[Candidate<'_>], now: Timestamp) -> Vec<Match> {
    let mut matches: Vec<Match> = Vec::new();
    for (seeker, it) in seekers.iter().enumerate() {
        let best = (0..candidates.len())
            .filter(|index| candidates[*index].available())
            .filter(|index| matches.iter().all(|pair| pair.candidate != *index))
            .filter(|index| {
                it.waiting.required_skills.iter().all(|id| candidates[*index].skills.contains(id))
            })
            .filter(|index| {
                let missed = it.waiting.missed.get(candidates[*index].agent_id);
                missed.is_none_or(|(_, at)| *at + it.reoffer_after <= now)
            })
            .min_by_key(|index| (candidates[*index].view.idle_since, candidates[*index].agent_id));
        matches.extend(best.map(|candidate| Match { seeker, candidate }));
    }
    matches
}

/// In the log: a contact is queued, offered one after the other, and leaves once; its stream has no gap.
fn one_life_per_visit(facts: &[Recorded<RoutingFact>]) -> Result<(), TestCaseError> {
    #[derive(Default)]
    struct Life {
        sequence: u64,
        waits: bool,
        turned_away: bool,
        left: bool,
        offer: Option<OfferId>,
        round: u32,
    }
    let mut lives: BTreeMap<ContactId, Life> = BTreeMap::new();
    let mut serving: BTreeMap<AgentId, OfferId> = BTreeMap::new();
    let mut waiting = 0;
    let mut events = std::collections::BTreeSet::new();
    for recorded in facts {
        prop_assert!(events.insert(recorded.meta.event_id.clone()), "{} twice", recorded.meta.event_id);
        let Some(contact_id) = recorded.meta.correlation_id.clone() else { continue };
        let life = lives.entry(contact_id).or_default();
        prop_assert_eq!(recorded.meta.sequence, life.sequence + 1);
        let waited = life.waits;
        life.sequence += 1;
        match &recorded.fact {
            RoutingFact::ContactQueued { .. } => {
                prop_assert!(!life.waits && !life.turned_away && !life.left);
                life.waits = true;
            }
            RoutingFact::ContactTurnedAway { waiting_count, .. } => {
                prop_assert!(!life.waits && !life.turned_away && !life.left);
                prop_assert_eq!(*waiting_count, waiting);
                life.turned_away = true;
            }
            RoutingFact::OfferMade { offer_id, agent_id, round, .. } => {
                prop_assert!(life.waits && life.offer.is_none());
                prop_assert_eq!(*round, life.round + 1);
                prop_assert_eq!(serving.insert(agent_id.clone(), offer_id.clone()), None);
                (life.offer, life.round) = (Some(offer_id.clone()), *round);
            }
            RoutingFact::OfferAccepted { offer_id, agent_id, .. }
            | RoutingFact::OfferEnded { offer_id, agent_id, .. } => {
                prop_assert_eq!(life.offer.take(), Some(offer_id.clone()));
                prop_assert_eq!(serving.remove(agent_id), Some(offer_id.clone()));
            }
            RoutingFact::ContactDequeued { .. } => {
                prop_assert!((life.waits || life.turned_away) && life.offer.is_none());
                (life.waits, life.left) = (false, true);
            }
            RoutingFact::ReservationRefused { .. } => prop_assert!(life.waits),
            RoutingFact::PartitionTaken { .. } => {}
        }
        waiting = waiting + u32::from(life.waits) - u32::from(waited);
    }
    prop_assert!(lives.values().all(|life| life.left), "everybody left");
    Ok(())
}
