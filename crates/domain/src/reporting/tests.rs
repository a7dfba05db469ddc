use proptest::prelude::*;

use super::*;
use crate::facts::{
    AgentFact, Company, ContactFact, DirectoryFact, FlowOutReason, LogFact, Meta, Recorded, ReleaseOutcome,
};
use crate::kernel::Projection;
use crate::vocabulary::{
    AgentId, Cell, Channel, ContactEndCause, ContactId, DeviceId, Epoch, EventId, LegId, Millis, NodeId,
    OfferId, Party, PhoneNumber, QueueId, SessionId,
};

fn company() -> CompanyId {
    CompanyId::from_name("aurora").unwrap()
}

fn queue() -> QueueId {
    QueueId::from_name("orders").unwrap()
}

fn contact(n: u8) -> ContactId {
    ContactId::from_name(&format!("c{n}")).unwrap()
}

fn offer(n: u8) -> OfferId {
    OfferId::from_name(&format!("o{n}")).unwrap()
}

fn agent(n: u8) -> AgentId {
    AgentId::from_name(&format!("a{n}")).unwrap()
}

/// Gives facts their sequence within their stream.
#[derive(Default)]
struct Pen(std::collections::BTreeMap<String, u64>);

impl Pen {
    fn write<F: LogFact>(&mut self, at: i64, fact: F) -> Recorded<F> {
        let stream = fact.stream();
        let sequence = self.0.entry(stream.clone()).or_default();
        *sequence += 1;
        let meta = Meta {
            event_id: EventId::from_name(&format!("{}-{sequence}", stream.replace(['_', ':', '/'], "-")))
                .unwrap(),
            cell: Cell(0),
            stream,
            sequence: *sequence,
            occurred_at: Timestamp(at),
            recorded_at: Timestamp(at),
            correlation_id: fact.contact().cloned(),
            causation_id: None,
            traceparent: String::new(),
        };
        Recorded { meta, fact }
    }
}

fn arrived(n: u8) -> ContactFact {
    ContactFact::ContactArrived {
        contact_id: contact(n),
        company_id: Some(company()),
        caller: Some(PhoneNumber::parse(&format!("+4930123{n:03}")).unwrap()),
        dialled: Some(PhoneNumber::parse("+4930555000").unwrap()),
        node_id: NodeId::from_name("n").unwrap(),
        sip_call_id: format!("call-{n}"),
        flow_id: None,
        directory_revision: 1,
    }
}

fn queued(n: u8, visit: u32, at: i64) -> ContactFact {
    ContactFact::ContactQueueRequested {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        visit,
        priority: 0,
        enqueued_at: Timestamp(at),
        required_skills: vec![],
        node_id: NodeId::from_name("n").unwrap(),
    }
}

fn connected(n: u8, visit: u32, o: u8) -> ContactFact {
    ContactFact::ContactConnected {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        visit,
        offer_id: offer(o),
        agent_id: agent(0),
        leg_id: LegId::from_name("l").unwrap(),
        waited_ms: Millis(0),
    }
}

fn disconnected(n: u8, o: u8) -> ContactFact {
    ContactFact::ContactDisconnected {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        offer_id: offer(o),
        agent_id: agent(0),
        talked_ms: Millis(0),
        by: Party::Caller,
    }
}

fn abandoned(n: u8, visit: u32) -> ContactFact {
    ContactFact::ContactAbandoned {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        visit,
        waited_ms: Millis(0),
    }
}

fn flowed_out(n: u8, visit: u32) -> ContactFact {
    ContactFact::ContactFlowedOut {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        visit,
        waited_ms: Millis(0),
        reason: FlowOutReason::WaitedTooLong,
    }
}

fn ended(n: u8, cause: ContactEndCause) -> ContactFact {
    ContactFact::ContactEnded {
        contact_id: contact(n),
        company_id: Some(company()),
        cause,
        by: Party::Caller,
        sip_status: None,
        rtp_received_count: 0,
        rtp_sent_count: 0,
    }
}

fn agent_fact(op: u8, a: u8, o: u8) -> AgentFact {
    let (agent_id, offer_id, contact_id) = (agent(a), offer(o), contact(o));
    let session_id = SessionId::from_name("s").unwrap();
    match op {
        0 => AgentFact::AgentSignedIn { agent_id, session_id, site_id: None },
        1 => AgentFact::AgentSignedOut { agent_id, session_id, reason: "end".into() },
        2 => AgentFact::AgentBecameReady { agent_id },
        3 => AgentFact::AgentBecameNotReady { agent_id, reason: "lunch".into(), until: None },
        4 => AgentFact::AgentReserved {
            agent_id,
            offer_id,
            contact_id,
            company_id: company(),
            queue_id: queue(),
            token: 1,
            node_id: NodeId::from_name("n").unwrap(),
            routing_epoch: Epoch(1),
            expires_at: Timestamp(0),
            channel: Channel::Voice,
        },
        5 => AgentFact::ReservationAccepted { agent_id, offer_id, contact_id, token: 1 },
        6 => AgentFact::ReservationReleased {
            agent_id,
            offer_id,
            contact_id,
            token: 1,
            outcome: ReleaseOutcome::Completed,
        },
        7 => AgentFact::WrapUpStarted {
            agent_id,
            offer_id,
            contact_id,
            company_id: company(),
            queue_id: queue(),
            ends_at: Some(Timestamp(1)),
            channel: Channel::Voice,
        },
        _ => AgentFact::WrapUpEnded {
            agent_id,
            offer_id,
            contact_id,
            finished_by_agent: false,
            wrap_up_code: String::new(),
        },
    }
}

fn contact_fact(op: u8, n: u8, visit: u32, o: u8, at: i64) -> ContactFact {
    match op {
        0 => arrived(n),
        1 | 2 => queued(n, visit, at),
        3 => connected(n, visit, o),
        4 => disconnected(n, o),
        5 => abandoned(n, visit),
        6 => flowed_out(n, visit),
        _ => ended(n, ContactEndCause::MediaLost),
    }
}

fn company_defined(threshold_ms: i64) -> DirectoryFact {
    DirectoryFact::CompanyDefined(Company {
        company_id: company(),
        name: "Aurora".into(),
        cell: Cell(0),
        service_level_threshold_ms: Millis(threshold_ms),
    })
}

fn revision(effective_at: i64) -> DirectoryFact {
    DirectoryFact::RevisionApplied {
        revision: 1,
        author: "test".into(),
        effective_at: Timestamp(effective_at),
        source_sha256: String::new(),
    }
}

fn report(
    contacts: &[(i64, ContactFact)],
    agents: &[(i64, AgentFact)],
    directory: &[(i64, DirectoryFact)],
) -> Reporting {
    let mut pen = Pen::default();
    let mut reporting = Reporting::default();
    for (at, fact) in contacts {
        reporting.contacts.fold(&pen.write(*at, fact.clone()));
    }
    for (at, fact) in agents {
        reporting.agents.fold(&pen.write(*at, fact.clone()));
    }
    for (at, fact) in directory {
        reporting.definitions.fold(&pen.write(*at, fact.clone()));
    }
    reporting
}

fn all_cells(reporting: &Reporting) -> Vec<IntervalCell> {
    reporting.interval_cells(&company(), Timestamp(i64::MIN), Timestamp(i64::MAX))
}

/// 09:59:50 of the research vector, as milliseconds of that day.
const ENTERED: i64 = ((9 * 60 + 59) * 60 + 50) * 1000;

#[test]
fn a_visit_counts_in_the_interval_of_its_entry_with_its_talk_and_wrap_up() {
    let answered = ENTERED + 25_000;
    let hung_up = answered + 2_025_000;
    let reporting = report(
        &[
            (ENTERED - 1, arrived(1)),
            (ENTERED, queued(1, 1, ENTERED)),
            (answered, connected(1, 1, 1)),
            (hung_up, disconnected(1, 1)),
            (hung_up, ended(1, ContactEndCause::Completed)),
        ],
        &[(0, agent_fact(0, 0, 1)), (hung_up, agent_fact(7, 0, 1)), (hung_up + 60_000, agent_fact(8, 0, 1))],
        &[(0, revision(0)), (0, company_defined(20_000))],
    );
    let cells = all_cells(&reporting);
    assert_eq!(cells.len(), 1);
    let cell = &cells[0];
    assert_eq!(cell.from, Timestamp((9 * 60 + 45) * 60 * 1000));
    assert_eq!((cell.counts.entered, cell.counts.answered, cell.answered_within_threshold), (1, 1, 0));
    assert_eq!((cell.answered_wait_ms, cell.wait_ms_max), (Millis(25_000), Millis(25_000)));
    assert_eq!((cell.talk_ms, cell.wrap_up_ms), (Millis(2_025_000), Millis(60_000)));
    let record = reporting.contacts.get(&contact(1)).unwrap();
    assert_eq!((record.waited_ms(), record.talked_ms()), (Millis(25_000), Millis(2_025_000)));
}

#[test]
fn a_wait_of_exactly_the_threshold_in_force_at_entry_is_within_it() {
    let story = |entered: i64, waited: i64| {
        let contacts = [
            (entered, arrived(1)),
            (entered, queued(1, 1, entered)),
            (entered + waited, connected(1, 1, 1)),
            (entered, arrived(2)),
            (entered, queued(2, 1, entered)),
            (entered + waited, abandoned(2, 1)),
        ];
        let directory = [
            (0, revision(10_000)),
            (0, company_defined(5_000)),
            (0, revision(20_000)),
            (0, company_defined(8_000)),
        ];
        let cell = all_cells(&report(&contacts, &[], &directory)).remove(0);
        (cell.answered_within_threshold, cell.abandoned_within_threshold)
    };
    // (entry, wait, within): before the first definition the first one counts.
    let cases = [
        (0, 5_000, 1),
        (0, 5_001, 0),
        (15_000, 5_000, 1),
        (15_000, 5_001, 0),
        (20_000, 8_000, 1),
        (20_000, 8_001, 0),
    ];
    for (entered, waited, within) in cases {
        assert_eq!(story(entered, waited), (within, within), "entered {entered}, waited {waited}");
    }
}

#[test]
fn a_contact_that_ends_while_it_waits_or_talks_leaves_nothing_open() {
    let cases = [
        (ContactEndCause::Abandoned, VisitOutcome::Abandoned),
        (ContactEndCause::MediaLost, VisitOutcome::FlowedOut(FlowOutReason::MediaLost)),
        (ContactEndCause::Drained, VisitOutcome::FlowedOut(FlowOutReason::Drained)),
    ];
    for (cause, outcome) in cases {
        let reporting = report(&[(0, arrived(1)), (5, queued(1, 1, 5)), (30, ended(1, cause))], &[], &[]);
        let record = reporting.contacts.get(&contact(1)).unwrap();
        assert_eq!(record.visits[0].end, Some(VisitEnd { at: Timestamp(30), outcome }));
        assert_eq!(all_cells(&reporting)[0].counts.waiting, 0);
    }
    let talking = [
        (0, arrived(1)),
        (5, queued(1, 1, 5)),
        (9, connected(1, 1, 1)),
        (30, ended(1, ContactEndCause::MediaLost)),
    ];
    let reporting = report(&talking, &[], &[]);
    assert_eq!(reporting.contacts.get(&contact(1)).unwrap().talked_ms(), Millis(21));
    assert_eq!(reporting.live_board(&company()), LiveBoard::default());
}

#[test]
fn the_live_board_counts_who_waits_who_talks_and_who_is_ready_and_can_be_called() {
    let device_id = DeviceId::from_name("phone").unwrap();
    let phone = AgentFact::DeviceRegistered {
        agent_id: agent(0),
        device_id: device_id.clone(),
        contact_uri: "sip:phone@1".into(),
        node_id: NodeId::from_name("n").unwrap(),
        expires_at: Timestamp(1_000),
    };
    let gone = AgentFact::DeviceUnregistered { agent_id: agent(0), device_id, reason: "expired".into() };
    let reporting = report(
        &[
            (0, arrived(1)),
            (5, queued(1, 1, 5)),
            (1, arrived(2)),
            (3, queued(2, 1, 3)),
            (2, arrived(3)),
            (3, queued(3, 1, 3)),
            (9, connected(3, 1, 1)),
        ],
        &[
            (0, agent_fact(0, 0, 0)),
            (1, agent_fact(2, 0, 0)),
            (1, phone.clone()),
            (0, agent_fact(0, 1, 0)),
            (1, agent_fact(2, 1, 0)),
        ],
        &[],
    );
    let expected = LiveBoard {
        live_contact_count: 3,
        waiting_count: 2,
        talking_count: 1,
        longest_waiting_since: Some(Timestamp(3)),
        ready_agent_count: 1,
        signed_in_agent_count: 2,
    };
    assert_eq!(reporting.live_board(&company()), expected);
    let ready = [(0, agent_fact(0, 0, 0)), (1, agent_fact(2, 0, 0)), (1, phone), (2, gone)];
    assert_eq!(report(&[], &ready, &[]).live_board(&company()).ready_agent_count, 0);
}

#[test]
fn records_come_newest_first_and_a_page_goes_on_where_the_last_one_ended() {
    let reporting =
        report(&[(10, arrived(1)), (30, arrived(2)), (20, arrived(3)), (20, arrived(4))], &[], &[]);
    let order = |before| -> Vec<String> {
        reporting.contacts.newest_first(&company(), before).map(|it| it.contact_id.to_string()).collect()
    };
    assert_eq!(order(None), ["ctc_c2", "ctc_c4", "ctc_c3", "ctc_c1"]);
    assert_eq!(order(Some((Timestamp(20), contact(4)))), ["ctc_c3", "ctc_c1"]);
    assert_eq!(reporting.contacts.newest_first(&CompanyId::from_name("other").unwrap(), None).count(), 0);
}

#[test]
fn a_session_is_booked_on_the_first_activity_that_applies() {
    let facts = [
        (0, agent_fact(0, 0, 1)),   // signed in: paused
        (10, agent_fact(2, 0, 1)),  // ready: idle
        (30, agent_fact(4, 0, 1)),  // reserved: ring
        (35, agent_fact(5, 0, 1)),  // accepted: talk
        (40, agent_fact(3, 0, 1)),  // lunch, after this contact: still talk
        (95, agent_fact(6, 0, 1)),  // released …
        (95, agent_fact(7, 0, 1)),  // … into wrap-up
        (115, agent_fact(8, 0, 1)), // over: paused for lunch
        (215, agent_fact(1, 0, 1)), // signed out
    ];
    let reporting = report(&[], &facts, &[]);
    let sheet = &reporting.agents.sheets()[&agent(0)];
    let lines: Vec<String> = sheet
        .booked
        .iter()
        .map(|(it, ms)| {
            let company = it.company_id.as_ref().map_or("-", CompanyId::as_str);
            format!("{} {} {} {}", it.activity.as_str(), it.reason, company, ms.0)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "talk  cmp_aurora 60",
            "ring  cmp_aurora 5",
            "wrap_up  cmp_aurora 20",
            "paused lunch - 100",
            "paused signed in - 10",
            "idle  - 20"
        ]
    );
    assert_eq!(sheet.ended_sessions_ms, Millis(215));
}

/// Puts the streams of several logs together in another order that keeps each stream's own, and repeats some facts.
fn interleave<F: LogFact>(facts: &[Recorded<F>], choices: &[(u8, bool)]) -> Vec<Recorded<F>> {
    let mut streams: std::collections::BTreeMap<String, std::collections::VecDeque<Recorded<F>>> =
        Default::default();
    for fact in facts {
        streams.entry(fact.meta.stream.clone()).or_default().push_back(fact.clone());
    }
    let mut out: Vec<Recorded<F>> = Vec::new();
    let mut choices = choices.iter().cycle();
    while !streams.is_empty() {
        let (choice, repeat) = choices.next().copied().unwrap_or((0, false));
        let key = streams.keys().nth(usize::from(choice) % streams.len()).unwrap().clone();
        let rest = streams.get_mut(&key).unwrap();
        out.push(rest.pop_front().unwrap());
        if rest.is_empty() {
            streams.remove(&key);
        }
        if repeat {
            let again = out[usize::from(choice) % out.len()].clone();
            out.push(again);
        }
    }
    out
}

proptest! {
    #[test]
    fn the_time_booked_is_the_wall_clock_of_the_sessions(
        ops in proptest::collection::vec((0_u8..9, 0_u8..2, 0_u8..3, 0_i64..5_000), 1..60),
        later in 0_i64..10_000,
    ) {
        let mut now = 0;
        let mut wall_clock = [0_i64; 2];
        let mut since: [Option<i64>; 2] = [None, None];
        let mut facts = Vec::new();
        for (op, a, o, step) in ops {
            now += step;
            facts.push((now, agent_fact(op, a, o)));
            let slot = usize::from(a);
            if op <= 1 {
                wall_clock[slot] += since[slot].map_or(0, |it| now - it);
                since[slot] = (op == 0).then_some(now);
            }
        }
        let until = now + later;
        let reporting = report(&[], &facts, &[]);
        for (a, since) in since.iter().enumerate() {
            let Some(sheet) = reporting.agents.sheets().get(&agent(a as u8)) else { continue };
            let expected = wall_clock[a] + since.map_or(0, |it| until - it);
            let booked: Millis = sheet.booked_until(Timestamp(until)).values().copied().sum();
            prop_assert_eq!(booked, Millis(expected));
            prop_assert_eq!(sheet.signed_in_ms(Timestamp(until)), Millis(expected));
        }
    }

    #[test]
    fn repeated_facts_and_another_interleaving_give_the_same_state(
        contact_ops in proptest::collection::vec((0_u8..8, 0_u8..4, 1_u32..3, 0_u8..4, 0_i64..600_000), 1..50),
        agent_ops in proptest::collection::vec((0_u8..9, 0_u8..3, 0_u8..3, 0_i64..5_000), 1..50),
        choices in proptest::collection::vec((any::<u8>(), any::<bool>()), 1..40),
    ) {
        let mut pen = Pen::default();
        let mut now = 0;
        let mut contacts = Vec::new();
        for (op, n, visit, o, step) in contact_ops {
            now += step;
            contacts.push(pen.write(now, contact_fact(op, n, visit, o, now)));
        }
        now = 0;
        let mut agents = Vec::new();
        for (op, a, o, step) in agent_ops {
            now += step;
            agents.push(pen.write(now, agent_fact(op, a, o)));
        }
        let mut left = Reporting::default();
        contacts.iter().for_each(|it| left.contacts.fold(it));
        agents.iter().for_each(|it| left.agents.fold(it));
        let mut right = Reporting::default();
        interleave(&agents, &choices).iter().for_each(|it| right.agents.fold(it));
        interleave(&contacts, &choices).iter().for_each(|it| right.contacts.fold(it));
        prop_assert_eq!(left.state_hash(), right.state_hash());

        let mut restored = Contacts::default();
        left.contacts.records().for_each(|it| restored.restore(it.clone()));
        restored.restore_newest_at(left.contacts.newest_at());
        for (name, conversations) in left.contacts.records().map(|it| (&it.contact_id, &it.conversations)) {
            prop_assert_eq!(restored.get(name).map(|it| &it.conversations), Some(conversations));
        }
        let hash = |contacts: &Contacts| {
            let mut hasher = StateHasher::new();
            contacts.hash_into(&mut hasher);
            hasher.finish()
        };
        prop_assert_eq!(hash(&restored), hash(&left.contacts));
        for cell in all_cells(&left) {
            let visits = left.contacts.records().flat_map(|it| &it.visits);
            let here: Vec<_> = visits.filter(|it| it.entered_at.floor_to(INTERVAL) == cell.from).collect();
            prop_assert_eq!(cell.counts.entered, here.len() as u64);
            prop_assert_eq!(cell.counts.waiting, here.iter().filter(|it| it.end.is_none()).count() as u64);
            prop_assert!(cell.counts.law_holds());
        }
    }
}
