//! A call's way from the queue to the phone, hop by hop, out of the facts of three logs and the INVITE that arrived.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;
use trunkline_domain::facts::{AgentFact, ContactFact, RoutingFact};

use super::phones::Rung;
use super::records::Records;

/// The hops, in order: a name, and from what to what. They touch, so their means add up to that of the whole.
pub(super) const HOPS: [(&str, &str); 7] = [
    ("contacts_append", "media decides ContactQueueRequested -> the broker has it"),
    ("routing_read", "-> routing has read it and decides ContactQueued"),
    ("queued_append", "-> the broker has ContactQueued"),
    ("reserve_ask", "-> acknowledged, asked: agent-state's leader proposes"),
    ("raft_commit", "-> Raft commits, routing hears and decides OfferMade"),
    ("offer_append", "-> the broker has OfferMade"),
    ("offer_ask", "-> acknowledged, media is told: INVITE at the phone"),
];

/// The first offer of a call that was carried out: Unix times in µs at the ends of the hops. All but the last are of
/// whole ms, cut off: so a hop is right within 1 ms either way and on average, and the whole 0 to 1 ms too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way([i64; HOPS.len() + 1]);

impl Way {
    /// From the fact that queued the contact to the INVITE at the phone, in µs.
    pub fn whole(&self) -> i64 {
        self.0[HOPS.len()] - self.0[0]
    }

    /// One hop, in µs; below zero by up to 1 ms where two clocks' ms are cut off.
    pub fn hop(&self, nth: usize) -> i64 {
        self.0[nth + 1] - self.0[nth]
    }

    /// Unix time of the fact that queued the contact, in µs.
    pub fn began_at(&self) -> i64 {
        self.0[0]
    }
}

/// What became of the calls of a case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// Contacts that arrived.
    pub arrived_count: usize,
    /// Of them, those that an agent spoke with.
    pub answered_count: usize,
    /// Of them, those that were offered more than once.
    pub offered_again_count: usize,
    /// The ways of first offers, by contact.
    pub ways: Vec<Way>,
    /// From the phone's answer to its ACK, in µs: agent-state accepts, caller and agent hear each other.
    pub bridgings: Vec<i64>,
}

#[derive(Default)]
struct Story {
    connected: bool,
    offer_count: usize,
    offer_id: String,
    marks: [Option<i64>; HOPS.len() + 1],
    bridging: Option<i64>,
}

/// Joins facts and phones of the calls whose Call-ID begins with `prefix`.
pub(super) fn join(records: &Records, rung: &[Rung], prefix: &str) -> Calls {
    let mut stories = BTreeMap::<String, Story>::new();
    let us = |ms: i64| Some(ms * 1_000);
    for taken in &records.contacts {
        let contact_id = taken.fact.contact_id().to_string();
        if let ContactFact::ContactArrived { sip_call_id, .. } = &taken.fact
            && sip_call_id.starts_with(prefix)
        {
            stories.insert(contact_id, Story::default());
            continue;
        }
        let Some(story) = stories.get_mut(&contact_id) else { continue };
        match &taken.fact {
            ContactFact::ContactQueueRequested { visit: 1, .. } => {
                (story.marks[0], story.marks[1]) = (us(taken.decided_at), us(taken.logged_at));
            }
            ContactFact::ContactConnected { .. } => story.connected = true,
            _ => {}
        }
    }
    for taken in &records.routing {
        match &taken.fact {
            RoutingFact::ContactQueued { contact_id, visit: 1, .. } => {
                if let Some(story) = stories.get_mut(contact_id.as_str()) {
                    (story.marks[2], story.marks[3]) = (us(taken.decided_at), us(taken.logged_at));
                }
            }
            RoutingFact::OfferMade { contact_id, offer_id, .. } => {
                let Some(story) = stories.get_mut(contact_id.as_str()) else { continue };
                story.offer_count += 1;
                if story.offer_count == 1 {
                    story.offer_id = offer_id.to_string();
                    (story.marks[5], story.marks[6]) = (us(taken.decided_at), us(taken.logged_at));
                }
            }
            _ => {}
        }
    }
    for taken in &records.agents {
        if let AgentFact::AgentReserved { contact_id, offer_id, .. } = &taken.fact
            && let Some(story) = stories.get_mut(contact_id.as_str())
            && story.offer_id == offer_id.as_str()
        {
            story.marks[4] = us(taken.decided_at);
        }
    }
    for phone in rung {
        if let Some(story) = stories.get_mut(&phone.contact_id)
            && story.offer_id == phone.offer_id
        {
            story.marks[7] = Some(phone.invited_at);
            story.bridging = (phone.acked_at > 0).then(|| phone.acked_at - phone.answered_at);
        }
    }
    let mut calls = Calls { arrived_count: stories.len(), ..Calls::default() };
    for story in stories.into_values() {
        calls.answered_count += usize::from(story.connected);
        calls.offered_again_count += usize::from(story.offer_count > 1);
        let mut marks = [0; HOPS.len() + 1];
        if marks.iter_mut().zip(story.marks).all(|(mark, at)| at.map(|at| *mark = at).is_some()) {
            calls.ways.push(Way(marks));
            calls.bridgings.extend(story.bridging);
        }
    }
    calls
}

/// How long something took, in µs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Spread {
    pub mean_us: i64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p999_us: u64,
    pub max_us: u64,
}

/// The spread of times in µs, to three digits; what is below zero counts as zero, but not in the mean.
pub(super) fn spread(times: impl Iterator<Item = i64>) -> Spread {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 100_000_000, 3)
        .expect("the bounds are in order and the digits at most five");
    let (mut sum, mut count) = (0, 0);
    for time in times {
        (sum, count) = (sum + time, count + 1);
        histogram.saturating_record(u64::try_from(time).unwrap_or(0));
    }
    Spread {
        mean_us: sum / count.max(1),
        p50_us: histogram.value_at_quantile(0.5),
        p99_us: histogram.value_at_quantile(0.99),
        p999_us: histogram.value_at_quantile(0.999),
        max_us: histogram.max(),
    }
}

#[cfg(test)]
mod tests {
    use trunkline_domain::vocabulary::{Channel, Epoch, Party, PhoneNumber, QueuePlan, Timestamp};

    use super::super::records::Taken;
    use super::*;

    fn taken<F>(decided_at: i64, logged_at: i64, fact: F) -> Taken<F> {
        Taken { fact, decided_at, logged_at }
    }

    /// A contact that waited from 10 ms on; its Call-ID is `a-…` or `b-…`.
    fn contact(records: &mut Records, name: &str, sip_call_id: &str) {
        let contact_id = format!("ctc_{name}").parse().unwrap();
        let arrived = ContactFact::ContactArrived {
            contact_id,
            company_id: None,
            caller: None,
            dialled: PhoneNumber::parse("+493012345").ok(),
            node_id: "nod_a".parse().unwrap(),
            sip_call_id: sip_call_id.to_owned(),
            flow_id: None,
            directory_revision: 1,
        };
        let requested = ContactFact::ContactQueueRequested {
            contact_id: arrived.contact_id().clone(),
            company_id: "cmp_a".parse().unwrap(),
            queue_id: "que_a".parse().unwrap(),
            visit: 1,
            priority: 0,
            enqueued_at: Timestamp(10),
            required_skills: Vec::new(),
            node_id: "nod_a".parse().unwrap(),
        };
        let queued = RoutingFact::ContactQueued {
            contact_id: arrived.contact_id().clone(),
            company_id: "cmp_a".parse().unwrap(),
            queue_id: "que_a".parse().unwrap(),
            visit: 1,
            priority: 0,
            enqueued_at: Timestamp(10),
            required_skills: Vec::new(),
            node_id: "nod_a".parse().unwrap(),
            place: 1,
            plan: QueuePlan::default(),
        };
        records.contacts.extend([taken(1, 2, arrived), taken(10, 11, requested)]);
        records.routing.push(taken(13, 14, queued));
    }

    /// An offer to an agent, reserved, made and perhaps at the phone, at 15, 18, 19 and 20.5 ms, all `later` ms later.
    fn offer(records: &mut Records, rung: &mut Vec<Rung>, name: &str, offer: &str, later: i64) {
        let reserved = AgentFact::AgentReserved {
            agent_id: "agt_a".parse().unwrap(),
            offer_id: offer.parse().unwrap(),
            contact_id: format!("ctc_{name}").parse().unwrap(),
            company_id: "cmp_a".parse().unwrap(),
            queue_id: "que_a".parse().unwrap(),
            token: 1,
            node_id: "nod_a".parse().unwrap(),
            routing_epoch: Epoch(1),
            expires_at: Timestamp(99),
            channel: Channel::Voice,
        };
        let made = RoutingFact::OfferMade {
            contact_id: format!("ctc_{name}").parse().unwrap(),
            company_id: "cmp_a".parse().unwrap(),
            queue_id: "que_a".parse().unwrap(),
            visit: 1,
            offer_id: offer.parse().unwrap(),
            agent_id: "agt_a".parse().unwrap(),
            token: 1,
            node_id: "nod_a".parse().unwrap(),
            expires_at: Timestamp(99),
            round: 1,
            passed_over: Vec::new(),
        };
        records.agents.push(taken(15 + later, 30 + later, reserved));
        records.routing.push(taken(18 + later, 19 + later, made));
        rung.push(Rung {
            contact_id: format!("ctc_{name}"),
            offer_id: offer.to_owned(),
            invited_at: 20_500 + later * 1_000,
            answered_at: 200_000,
            acked_at: 205_000,
        });
    }

    fn connected(records: &mut Records, name: &str) {
        let fact = ContactFact::LegAnswered {
            contact_id: format!("ctc_{name}").parse().unwrap(),
            leg_id: "leg_a".parse().unwrap(),
            party: Party::Agent,
            agent_id: None,
        };
        let connected = ContactFact::ContactConnected {
            contact_id: fact.contact_id().clone(),
            company_id: "cmp_a".parse().unwrap(),
            queue_id: "que_a".parse().unwrap(),
            visit: 1,
            offer_id: "ofr_1".parse().unwrap(),
            agent_id: "agt_a".parse().unwrap(),
            leg_id: "leg_a".parse().unwrap(),
            waited_ms: trunkline_domain::vocabulary::Millis(1),
        };
        records.contacts.extend([taken(40, 41, fact), taken(42, 43, connected)]);
    }

    #[test]
    fn a_way_is_of_the_first_offer_and_its_hops_add_up() {
        let (mut records, mut rung) = (Records::default(), Vec::new());
        contact(&mut records, "one", "a-1");
        offer(&mut records, &mut rung, "one", "ofr_1", 0);
        offer(&mut records, &mut rung, "one", "ofr_2", 100);
        connected(&mut records, "one");
        let calls = join(&records, &rung, "a-");
        assert_eq!((calls.arrived_count, calls.answered_count, calls.offered_again_count), (1, 1, 1));
        let [way] = calls.ways[..] else { panic!("{calls:?}") };
        let hops: Vec<i64> = (0..HOPS.len()).map(|nth| way.hop(nth)).collect();
        assert_eq!(hops, [1_000, 2_000, 1_000, 1_000, 3_000, 1_000, 1_500]);
        assert_eq!((way.whole(), way.began_at()), (10_500, 10_000));
        assert_eq!(calls.bridgings, [5_000]);
    }

    #[test]
    fn only_the_calls_of_the_case_count_and_only_whole_ways() {
        let (mut records, mut rung) = (Records::default(), Vec::new());
        // Of another case; never offered; offered, and its phone never rang.
        contact(&mut records, "other", "b-1");
        offer(&mut records, &mut rung, "other", "ofr_1", 0);
        contact(&mut records, "waits", "a-1");
        contact(&mut records, "silent", "a-2");
        offer(&mut records, &mut Vec::new(), "silent", "ofr_2", 0);
        let calls = join(&records, &rung, "a-");
        assert_eq!(calls, Calls { arrived_count: 2, ..Calls::default() });
    }

    #[test]
    fn a_spread_keeps_what_is_below_zero_in_the_mean_alone() {
        let spread = spread([-500, 500, 1_000, 3_000].into_iter());
        assert_eq!((spread.mean_us, spread.p50_us), (1_000, 500));
        // To three digits.
        assert!((2_995..=3_005).contains(&spread.max_us) && spread.p99_us == spread.max_us);
    }
}
