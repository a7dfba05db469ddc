//! Whatever happens, in whatever order.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::sim::World;
use crate::facts::{Recorded, RoutingFact};
use crate::vocabulary::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_partition_keeps_its_promises_whatever_happens(
        which in any::<u8>(),
        script in prop::collection::vec(any::<(u8, u8)>(), 0..250),
    ) {
        let mut world = World::new(which);
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
        step: u32,
        stepped: Millis,
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
            RoutingFact::StepBegan { step, waited_ms, .. } => {
                prop_assert!(life.waits && life.step <= *step && life.stepped < *waited_ms);
                (life.step, life.stepped) = (*step, *waited_ms);
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
            RoutingFact::ReservationRefused { .. } | RoutingFact::ContactReplanned { .. } => {
                prop_assert!(life.waits);
            }
            RoutingFact::PartitionTaken { .. } => {}
        }
        waiting = waiting + u32::from(life.waits) - u32::from(waited);
    }
    prop_assert!(lives.values().all(|life| life.left), "everybody left");
    Ok(())
}
