//! A good history breaks no promise, and for each promise a planted violation is found: by that check, and only where
//! it was planted.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod pen;

use pen::*;
use trunkline_chaos::invariants::contacts_end_once::live;
use trunkline_chaos::{History, INVARIANTS, check_all};
use trunkline_domain::facts::{AgentFact, BillingFact, ContactFact, DequeueReason, RoutingFact, UsageUnit};
use trunkline_domain::vocabulary::{
    ContactEndCause, Currency, Epoch, EventId, LogName, Millis, Position, SessionId, Timestamp,
};

/// Two agents; contact 1 is missed by agent 1 and answered by agent 2, contact 2 waits behind it, contact 3 leaves,
/// contact 4 is live.
fn good() -> Pen {
    let mut pen = Pen::default();
    pen.define();
    pen.sign_in(0, 1);
    pen.arrive(10_000, 1);
    pen.arrive(12_000, 2);
    pen.offer(12_500, 1, 1, 1);
    pen.arrive(20_000, 3);
    pen.unanswered(32_500, 1, 1, 1);
    // Agent 1 has missed contact 1 and gets the next one.
    pen.offer(33_000, 2, 2, 1);
    pen.sign_in(34_000, 2);
    pen.offer(34_500, 1, 3, 2);
    pen.answer(38_000, 2, 2, 1);
    pen.answer(39_000, 1, 3, 2);
    pen.contacts(40_000, vec![abandoned(3), ended(3, ContactEndCause::Abandoned)]);
    let (contact_id, queue_id) = (contact(3), queue());
    let reason = DequeueReason::Abandoned;
    pen.routing(40_000, vec![RoutingFact::ContactDequeued { contact_id, queue_id, visit: 1, reason }]);
    pen.hang_up(69_000, 2, 2, 1);
    pen.hang_up(80_100, 1, 3, 2);
    pen.arrive(100_000, 4);
    pen
}

fn billed() -> Pen {
    let mut pen = good();
    pen.bill();
    pen
}

#[test]
fn a_good_history_breaks_no_promise() {
    let pen = billed();
    assert_eq!(check_all(&pen.history), []);
    assert_eq!(live(&pen.history), [contact(4)]);
    assert_eq!(pen.history.billing.len(), 4);
    assert_eq!(check_all(&History::default()), []);
}

/// Plants one violation in a good history; exactly the named invariants find something.
#[track_caller]
fn check(names: &[&str], plant: impl FnOnce(&mut Pen)) {
    let mut pen = billed();
    plant(&mut pen);
    let found = check_all(&pen.history);
    let mut by: Vec<&str> = found.iter().map(|it| it.invariant).collect();
    by.dedup();
    assert_eq!(by, names, "{}", found.iter().map(|it| format!("\n{it}")).collect::<String>());
}

#[test]
fn an_agent_held_twice_is_found() {
    check(&["one_reservation_per_agent"], |pen| {
        pen.agents(110_000, vec![reserved(4, 8, 1, 130_000)]);
        pen.agents(110_001, vec![reserved(5, 9, 1, 130_000)]);
    });
}

#[test]
fn a_contact_offered_twice_is_found() {
    check(&["one_offer_per_contact"], |pen| {
        pen.routing(110_000, vec![offer_made(4, 8, 1)]);
        pen.routing(110_001, vec![offer_made(4, 9, 2)]);
    });
}

#[test]
fn a_contact_accepted_twice_is_found() {
    check(&["one_offer_per_contact"], |pen| {
        pen.agents(110_000, vec![reserved(4, 8, 1, 130_000)]);
        pen.agents(110_000, vec![reserved(4, 9, 2, 130_000)]);
        pen.agents(110_001, vec![accepted(4, 8, 1)]);
        pen.agents(110_002, vec![accepted(4, 9, 2)]);
    });
}

#[test]
fn a_reservation_that_outlives_its_expiry_is_found() {
    check(&["reservations_expire"], |pen| {
        pen.agents(110_000, vec![reserved(4, 8, 1, 130_000)]);
        pen.agents(130_001, vec![AgentFact::AgentBecameReady { agent_id: agent(2) }]);
    });
    // An accepted one has no deadline any more, until its node is lost.
    check(&["reservations_expire"], |pen| {
        pen.agents(110_000, vec![reserved(4, 8, 1, 130_000)]);
        pen.agents(115_000, vec![accepted(4, 8, 1)]);
        let (agent_id, offer_id, contact_id) = (agent(1), offer(8), contact(4));
        let resolves_at = Timestamp(150_000);
        let lost =
            AgentFact::ReservationUnconfirmed { agent_id, offer_id, contact_id, token: 8, resolves_at };
        pen.agents(140_000, vec![lost]);
        pen.agents(150_001, vec![AgentFact::AgentBecameReady { agent_id: agent(2) }]);
    });
}

#[test]
fn a_contact_that_goes_on_after_its_end_or_begins_without_arrival_is_found() {
    check(&["contacts_end_once"], |pen| pen.contacts(110_000, vec![ended(3, ContactEndCause::Completed)]));
    check(&["contacts_end_once"], |pen| pen.contacts(110_000, vec![ended(9, ContactEndCause::LeftInFlow)]));
}

#[test]
fn a_visit_that_ends_twice_or_never_is_found() {
    check(&["visits_end_once", "reports_recount"], |pen| {
        pen.contacts(110_000, vec![abandoned(4)]);
        pen.contacts(110_001, vec![abandoned(4)]);
    });
    check(&["visits_end_once"], |pen| pen.contacts(110_000, vec![ended(4, ContactEndCause::Completed)]));
    check(&["visits_end_once"], |pen| {
        pen.contacts(110_000, vec![abandoned(4), queue_requested(4, 3, 110_000)]);
    });
}

#[test]
fn somebody_served_before_who_waited_longer_is_found() {
    check(&["served_in_order"], |pen| {
        pen.arrive(110_000, 5);
        pen.agents(120_000, vec![reserved(5, 8, 1, 140_000)]);
        pen.routing(120_000, vec![offer_made(5, 8, 1)]);
    });
    // The same, but the agent has just missed the one who waits longer, or the two were offered in one turn.
    check(&[], |pen| {
        pen.offer(105_000, 4, 7, 1);
        pen.unanswered(107_000, 4, 7, 1);
        pen.arrive(110_000, 5);
        pen.offer(120_000, 5, 8, 1);
    });
    check(&[], |pen| {
        pen.arrive(110_000, 5);
        pen.agents(120_000, vec![reserved(5, 8, 1, 140_000), reserved(4, 9, 2, 140_000)]);
        pen.routing(120_000, vec![offer_made(5, 8, 1), offer_made(4, 9, 2)]);
    });
    // Or its reservation is granted and its offer comes a moment later.
    check(&[], |pen| {
        pen.arrive(110_000, 5);
        pen.agents(120_000, vec![reserved(4, 9, 2, 140_000), reserved(5, 8, 1, 140_000)]);
        pen.routing(120_000, vec![offer_made(5, 8, 1)]);
        pen.routing(120_001, vec![offer_made(4, 9, 2)]);
    });
    // Or its node has just lost its lease by agent-state's clock, which may be up to a second ahead of the owner's.
    for (lapsed_at, names) in [(121_000, &[][..]), (121_001, &["served_in_order"])] {
        check(names, |pen| {
            let lapsed = AgentFact::LeaseLapsed {
                resource: format!("media/{}", node()),
                holder: node(),
                epoch: Epoch(3),
            };
            pen.arrive(110_000, 5);
            pen.agents(120_000, vec![reserved(5, 8, 1, 140_000)]);
            pen.agents(lapsed_at, vec![lapsed]);
            pen.routing(120_000, vec![offer_made(5, 8, 1)]);
        });
    }
    // Long after the miss it is that agent's turn again.
    check(&["served_in_order"], |pen| {
        pen.offer(105_000, 4, 7, 1);
        pen.unanswered(107_000, 4, 7, 1);
        pen.arrive(110_000, 5);
        pen.offer(160_000, 5, 8, 1);
    });
}

#[test]
fn a_forgotten_fact_and_a_repeated_one_are_found() {
    check(&["streams_have_no_gaps"], |pen| {
        // What a prompt of contact 4 said is lost; the fact after it is there.
        pen.sequences.insert((LogName::Contacts, contact(4).to_string()), 3);
        let (contact_id, prompt) = (contact(4), "music".to_owned());
        pen.contacts(110_000, vec![ContactFact::PromptStarted { contact_id, prompt }]);
    });
    check(&["streams_have_no_gaps"], |pen| {
        let again = pen.history.routing.last().unwrap().1.outcome.facts.clone();
        pen.routing(110_000, vec![]);
        pen.history.routing.last_mut().unwrap().1.outcome.facts = again;
    });
}

#[test]
fn a_record_of_a_superseded_owner_is_found() {
    check(&["stale_epochs_are_void"], |pen| {
        pen.history.contacts.last_mut().unwrap().1.outcome.epoch = Epoch(4);
    });
    check(&["stale_epochs_are_void"], |pen| {
        pen.history.agents.last_mut().unwrap().1.position = Position(1);
        pen.history.billing.iter_mut().for_each(|(_, it)| it.outcome.consumed.clear());
    });
}

#[test]
fn time_that_is_booked_for_no_session_is_found() {
    check(&["work_seconds_add_up"], |pen| {
        // The clock goes back: the sheet books nothing for it, the session by its ends is shorter.
        let session_id = SessionId::from_name("s1").unwrap();
        let out = AgentFact::AgentSignedOut { agent_id: agent(1), session_id, reason: String::new() };
        pen.agents(50_000, vec![out]);
    });
}

/// Changes the first item of a unit.
fn tamper(
    pen: &mut Pen,
    wanted: UsageUnit,
    change: impl FnOnce(&mut Millis, &mut Millis, &mut Vec<EventId>),
) {
    let facts = pen.history.billing.iter_mut().flat_map(|(_, it)| &mut it.outcome.facts);
    for it in facts {
        if let BillingFact::UsageRated { unit, measured_ms, billed_ms, causes, .. } = &mut it.fact
            && *unit == wanted
        {
            return change(measured_ms, billed_ms, causes);
        }
    }
    panic!("no item of {wanted:?}");
}

#[test]
fn an_item_that_bills_other_time_than_was_measured_is_found() {
    for unit in [UsageUnit::TalkTime, UsageUnit::WorkTime] {
        // One millisecond more measured, within the same increment.
        check(&["billed_as_measured"], |pen| tamper(pen, unit, |measured, _, _| measured.0 -= 1));
        check(&["billed_as_measured"], |pen| tamper(pen, unit, |_, billed, _| billed.0 += 6_000));
        check(&["billed_as_measured"], |pen| {
            tamper(pen, unit, |_, _, causes| causes[0] = EventId::from_name("nowhere").unwrap());
        });
    }
}

#[test]
fn work_left_out_or_billed_twice_is_found() {
    check(&["billed_as_measured"], |pen| {
        pen.history.billing.pop();
    });
    check(&["billed_as_measured"], |pen| {
        let again = pen.history.billing[0].1.outcome.facts[0].fact.clone();
        let record = pen.record(120_000, vec![again]);
        pen.history.billing.push(record);
    });
}

#[test]
fn overlapping_items_of_one_agent_are_found() {
    check(&["billed_as_measured"], |pen| {
        for (_, record) in &mut pen.history.billing {
            for it in &mut record.outcome.facts {
                if let BillingFact::UsageRated { agent_id, .. } = &mut it.fact {
                    *agent_id = Some(agent(1));
                }
            }
        }
    });
}

#[test]
fn a_month_whose_items_do_not_make_an_invoice_is_found() {
    check(&["billed_as_measured", "lines_sum_their_items"], |pen| {
        let facts = pen.history.billing.iter_mut().flat_map(|(_, it)| &mut it.outcome.facts);
        if let Some(BillingFact::UsageRated { price, .. }) = facts.map(|it| &mut it.fact).next() {
            price.currency = Currency::parse("USD").unwrap();
        }
    });
}

#[test]
fn every_invariant_is_named_after_its_file_and_has_a_planted_violation() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/invariants");
    let mut files: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|it| it.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|it| it != "mod")
        .collect();
    files.sort();
    let mut names: Vec<&str> = INVARIANTS.iter().map(|it| it.name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
    let tests = include_str!("planted.rs");
    for name in names {
        assert!(tests.contains(&format!("\"{name}\"")), "{name} is planted nowhere");
    }
}
