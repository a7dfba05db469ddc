use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::facts::{
    Agent, AgentFact, BillingFact, Company, ContactFact, Contract, DefinitionKind, DirectoryFact, LogFact,
    Meta, Operator, Outcome, Recorded, ReleaseOutcome, UsageUnit,
};
use crate::kernel::Projection;
use crate::vocabulary::{
    AgentId, Cell, Channel, CompanyId, ContactEndCause, ContactId, ContractId, Currency, Epoch, EventId,
    ItemId, LegId, Millis, Money, NodeId, OfferId, OperatorId, Party, QueueId, SessionId, Timestamp,
};

const DAY: i64 = 86_400_000;

fn company() -> CompanyId {
    CompanyId::from_name("aurora").unwrap()
}

fn agent() -> AgentId {
    AgentId::from_name("anna").unwrap()
}

fn eur(text: &str) -> Money {
    Money::parse(Currency::parse("EUR").unwrap(), text).unwrap()
}

#[derive(Default)]
struct Pen(BTreeMap<String, u64>);

impl Pen {
    fn write<F: LogFact>(&mut self, at: i64, fact: F) -> Recorded<F> {
        let stream = fact.stream();
        let sequence = self.0.entry(stream.clone()).or_default();
        *sequence += 1;
        let meta = Meta {
            event_id: EventId::from_name(&format!("{}-{sequence}", stream.replace('_', "-"))).unwrap(),
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

    fn outcome<F: LogFact>(&mut self, at: i64, facts: impl IntoIterator<Item = F>) -> Outcome<F> {
        let facts = facts.into_iter().map(|fact| self.write(at, fact)).collect();
        Outcome { epoch: Epoch(1), consumed: vec![], facts }
    }
}

fn contract(unit: UsageUnit, price: &str, per_secs: i64, increments: (i64, i64), minimum: &str) -> Contract {
    Contract {
        contract_id: ContractId::from_name("aurora").unwrap(),
        company_id: company(),
        version: 1,
        effective_at: Timestamp(0),
        currency: Currency::parse("EUR").unwrap(),
        unit,
        price: eur(price),
        price_per_ms: Millis::from_secs(per_secs),
        first_increment_ms: Millis(increments.0),
        increment_ms: Millis(increments.1),
        monthly_minimum: eur(minimum),
    }
}

fn directory(contracts: impl IntoIterator<Item = (i64, Contract)>) -> Terms {
    let mut pen = Pen::default();
    let mut terms = Terms::default();
    let mut say = |at: i64, fact: DirectoryFact| terms.fold(&pen.write(at, fact));
    let revision = |effective_at: i64| DirectoryFact::RevisionApplied {
        revision: 1,
        author: "test".into(),
        effective_at: Timestamp(effective_at),
        source_sha256: String::new(),
    };
    say(0, revision(0));
    say(
        0,
        DirectoryFact::OperatorDefined(Operator {
            operator_id: OperatorId::from_name("op").unwrap(),
            name: "Op".into(),
            time_zone: "Europe/Berlin".into(),
            not_ready_reasons: vec![],
        }),
    );
    say(
        0,
        DirectoryFact::CompanyDefined(Company {
            company_id: company(),
            name: "Aurora".into(),
            cell: Cell(0),
            service_level_threshold_ms: Millis(20_000),
        }),
    );
    say(
        0,
        DirectoryFact::AgentDefined(Agent {
            agent_id: agent(),
            name: "Anna".into(),
            cell: Cell(0),
            site_id: None,
            skills: vec![],
            sip_user: "anna".into(),
            sip_ha1_md5: String::new(),
            sip_ha1_sha256: String::new(),
            team_company_id: Some(company()),
            channels: Vec::new(),
        }),
    );
    for (at, contract) in contracts {
        say(at, revision(at));
        say(at, DirectoryFact::ContractDefined(contract));
    }
    terms
}

fn offer(n: u32) -> OfferId {
    OfferId::from_name(&format!("o{n}")).unwrap()
}

fn contact(n: u32) -> ContactId {
    ContactId::from_name(&format!("c{n}")).unwrap()
}

fn connected(n: u32) -> ContactFact {
    ContactFact::ContactConnected {
        contact_id: contact(n),
        company_id: company(),
        queue_id: QueueId::from_name("q").unwrap(),
        visit: 1,
        offer_id: offer(n),
        agent_id: agent(),
        leg_id: LegId::from_name("l").unwrap(),
        waited_ms: Millis(0),
    }
}

fn disconnected(n: u32) -> ContactFact {
    ContactFact::ContactDisconnected {
        contact_id: contact(n),
        company_id: company(),
        queue_id: QueueId::from_name("q").unwrap(),
        offer_id: offer(n),
        agent_id: agent(),
        talked_ms: Millis(0),
        by: Party::Caller,
    }
}

fn ended(n: u32) -> ContactFact {
    ContactFact::ContactEnded {
        contact_id: contact(n),
        company_id: Some(company()),
        cause: ContactEndCause::MediaLost,
        by: Party::System,
        sip_status: None,
        rtp_received_count: 0,
        rtp_sent_count: 0,
    }
}

fn signed_in() -> AgentFact {
    AgentFact::AgentSignedIn {
        agent_id: agent(),
        session_id: SessionId::from_name("s1").unwrap(),
        site_id: None,
    }
}

fn signed_out() -> AgentFact {
    AgentFact::AgentSignedOut {
        agent_id: agent(),
        session_id: SessionId::from_name("s1").unwrap(),
        reason: "".into(),
    }
}

fn reserved(n: u32) -> AgentFact {
    AgentFact::AgentReserved {
        agent_id: agent(),
        offer_id: offer(n),
        contact_id: contact(n),
        company_id: company(),
        queue_id: QueueId::from_name("q").unwrap(),
        token: 1,
        node_id: NodeId::from_name("n").unwrap(),
        routing_epoch: Epoch(1),
        expires_at: Timestamp(0),
        channel: Channel::Voice,
    }
}

fn accepted(n: u32) -> AgentFact {
    AgentFact::ReservationAccepted { agent_id: agent(), offer_id: offer(n), contact_id: contact(n), token: 1 }
}

fn unconfirmed(n: u32) -> AgentFact {
    AgentFact::ReservationUnconfirmed {
        agent_id: agent(),
        offer_id: offer(n),
        contact_id: contact(n),
        token: 1,
        resolves_at: Timestamp(0),
    }
}

fn released(n: u32, outcome: ReleaseOutcome) -> AgentFact {
    AgentFact::ReservationReleased {
        agent_id: agent(),
        offer_id: offer(n),
        contact_id: contact(n),
        token: 1,
        outcome,
    }
}

fn wrapping_up(n: u32) -> AgentFact {
    AgentFact::WrapUpStarted {
        agent_id: agent(),
        offer_id: offer(n),
        contact_id: contact(n),
        company_id: company(),
        queue_id: QueueId::from_name("q").unwrap(),
        ends_at: Some(Timestamp(1)),
        channel: Channel::Voice,
    }
}

fn wrapped_up(n: u32) -> AgentFact {
    AgentFact::WrapUpEnded {
        agent_id: agent(),
        offer_id: offer(n),
        contact_id: contact(n),
        finished_by_agent: true,
        wrap_up_code: String::new(),
    }
}

/// What billing does with work, without a log: rate what the ledger does not know, and fold it.
fn charge(terms: &Terms, work: impl IntoIterator<Item = Work>) -> Ledger {
    let mut pen = Pen::default();
    let mut ledger = Ledger::default();
    for work in work {
        if !ledger.contains(&work.item_id)
            && let Some(fact) = rate(terms, &work)
        {
            ledger.fold(&pen.write(work.ended_at.0, fact));
        }
    }
    ledger
}

fn invoice(terms: &Terms, ledger: &Ledger, month: &str) -> Invoice {
    let month = Month::parse(month).unwrap();
    let items = ledger.items_in(&company(), month, terms.time_zone()).unwrap();
    running_invoice(terms, items, &company(), month).unwrap()
}

/// Conversations of these lengths in milliseconds, all in January 1970.
fn calls(terms: &Terms, lengths: impl IntoIterator<Item = i64>) -> Ledger {
    let mut pen = Pen::default();
    let mut talks = Talks::default();
    let mut work = Vec::new();
    for (n, ms) in (1..).zip(lengths) {
        talks.fold(&pen.write(DAY, connected(n)));
        work.extend(talks.fold(&pen.write(DAY + ms, disconnected(n))));
        talks.fold(&pen.write(DAY + ms, ended(n)));
    }
    charge(terms, work)
}

fn repeat(mix: &[(usize, i64)]) -> Vec<i64> {
    mix.iter().flat_map(|(count, secs)| std::iter::repeat_n(*secs * 1000, *count)).collect()
}

#[test]
fn lines_of_calls_come_out_as_published() {
    let month = repeat(&[(400, 61), (300, 85), (200, 30), (100, 5)]);
    let s = |first: i64, next: i64| (first * 1000, next * 1000);
    // (calls, price, per seconds, first and next increment in ms, amount in micro-units)
    type Case = (Vec<i64>, &'static str, i64, (i64, i64), i64);
    let cases: [Case; 10] = [
        (month.clone(), "12", 60, (1, 1), 11_280_000_000),
        (month.clone(), "12", 60, s(6, 6), 12_000_000_000),
        (month.clone(), "12", 60, s(30, 6), 12_480_000_000),
        (month.clone(), "12", 60, s(60, 1), 13_580_000_000),
        (month.clone(), "12", 60, s(60, 6), 14_280_000_000),
        (month.clone(), "12", 60, s(20, 20), 14_400_000_000),
        (month, "12", 60, s(60, 60), 20_400_000_000),
        // 1000 × 20 s at 0.10 a minute: 33.33 by the line, 30.00 if every call were rounded to cents.
        (repeat(&[(1000, 20)]), "0.10", 60, s(1, 1), 33_330_000),
        (repeat(&[(1000, 60)]), "0.125", 60, s(60, 60), 125_000_000),
        (repeat(&[(1, 60)]), "0.125", 60, s(60, 60), 130_000),
    ];
    for (secs, price, per_secs, increments, amount_micros) in cases {
        let count = secs.len() as u64;
        let terms = directory([(0, contract(UsageUnit::TalkTime, price, per_secs, increments, "0"))]);
        let invoice = invoice(&terms, &calls(&terms, secs), "1970-01");
        assert_eq!(invoice.lines.len(), 1);
        let line = &invoice.lines[0];
        assert_eq!((line.item_count, line.amount_micros), (count, amount_micros), "{price} {increments:?}");
        assert_eq!(invoice.total_micros, amount_micros);
    }
}

#[test]
fn an_item_costs_what_the_published_example_of_30_6_says() {
    for (secs, price_micros) in [(32, 3_600), (57, 6_000), (75, 7_800)] {
        let billed_ms = billed(Millis::from_secs(secs), Millis::from_secs(30), Millis::from_secs(6));
        let exact = amount(eur("0.006"), Millis::from_secs(60), billed_ms).unwrap();
        assert_eq!((exact.numerator(), exact.denominator()), (price_micros, 1), "{secs} s");
    }
}

#[test]
fn a_month_is_charged_up_to_its_minimum_and_no_further() {
    let terms = directory([(0, contract(UsageUnit::TalkTime, "10", 1, (1, 1), "25000"))]);
    for (usage_cents, rest_cents) in
        [(1_824_037, 675_963), (2_000_000, 500_000), (3_100_000, 0), (2_500_000, 0)]
    {
        // One millisecond of talk costs one cent.
        let invoice = invoice(&terms, &calls(&terms, [usage_cents]), "1970-01");
        assert_eq!(invoice.lines[0].amount_micros, usage_cents * CENT);
        let minimum = invoice.lines.iter().find(|it| it.line_id == "ctr_aurora/1/monthly_minimum");
        assert_eq!(minimum.map_or(0, |it| it.amount_micros), rest_cents * CENT);
        assert_eq!(invoice.total_micros, (usage_cents + rest_cents) * CENT);
    }
    let unused = invoice(&terms, &Ledger::default(), "1970-02");
    assert_eq!((unused.lines.len(), unused.total_micros), (1, 2_500_000 * CENT));
}

#[test]
fn work_is_talk_hold_and_wrap_up_and_never_ringing() {
    use ReleaseOutcome::{Completed, MediaLost, Unanswered};
    // (facts by instant, measured ms and number of causes; None for no work)
    type Case = (&'static str, Vec<(i64, Vec<AgentFact>)>, Option<(i64, usize)>);
    let cases: [Case; 6] = [
        (
            "answered, no wrap-up",
            vec![(0, vec![reserved(1)]), (5, vec![accepted(1)]), (65, vec![released(1, Completed)])],
            Some((60, 2)),
        ),
        (
            "answered, wrap-up",
            vec![
                (0, vec![reserved(1)]),
                (5, vec![accepted(1)]),
                (65, vec![released(1, Completed), wrapping_up(1)]),
                (95, vec![wrapped_up(1)]),
            ],
            Some((90, 2)),
        ),
        ("not answered", vec![(0, vec![reserved(1)]), (20, vec![released(1, Unanswered)])], None),
        (
            "node lost",
            vec![
                (0, vec![reserved(1)]),
                (5, vec![accepted(1)]),
                (25, vec![unconfirmed(1)]),
                (45, vec![released(1, MediaLost)]),
            ],
            Some((20, 2)),
        ),
        (
            "node back in time",
            vec![
                (0, vec![reserved(1)]),
                (5, vec![accepted(1)]),
                (25, vec![unconfirmed(1)]),
                (45, vec![released(1, Completed)]),
            ],
            Some((40, 2)),
        ),
        (
            "signed out in wrap-up",
            vec![
                (0, vec![reserved(1)]),
                (5, vec![accepted(1)]),
                (65, vec![released(1, Completed), wrapping_up(1)]),
                (70, vec![signed_out()]),
            ],
            Some((65, 2)),
        ),
    ];
    for (name, story, expected) in cases {
        let mut pen = Pen::default();
        let mut engagements = Engagements::default();
        let mut work = Vec::new();
        for (at, facts) in story {
            work.extend(engagements.fold(&pen.outcome(at, facts)));
        }
        let work = work.into_iter().find(|it| it.unit == UsageUnit::WorkTime);
        assert_eq!(work.map(|it| (it.measured.unwrap().0, it.causes.len())), expected, "{name}");
    }
}

#[test]
fn a_session_is_charged_to_the_company_of_the_team_once_it_ends() {
    let terms = directory([(0, contract(UsageUnit::SignedInTime, "21.50", 3600, (60_000, 60_000), "0"))]);
    let mut pen = Pen::default();
    let mut engagements = Engagements::default();
    let mut work = engagements.fold(&pen.outcome(DAY, [signed_in()]));
    assert!(work.is_empty());
    work.extend(engagements.fold(&pen.outcome(DAY + 8 * 3_600_000, [signed_out()])));
    let ledger = charge(&terms, work);
    let item = ledger.items().next().unwrap();
    assert_eq!((item.item_id.as_str(), item.measured_ms), ("itm_s-s1", Millis(8 * 3_600_000)));
    assert_eq!(invoice(&terms, &ledger, "1970-01").total_micros, 172_000_000);
    assert_eq!(invoice(&terms, &ledger, "1970-02").lines, []);
}

#[test]
fn facts_that_contradict_each_other_are_said_and_not_charged() {
    let talk = directory([(0, contract(UsageUnit::TalkTime, "1", 60, (1, 1), "0"))]);
    let mut pen = Pen::default();
    let mut talks = Talks::default();
    let never_began = talks.fold(&pen.write(DAY, disconnected(1)));
    talks.fold(&pen.write(DAY, connected(2)));
    let backwards = talks.fold(&pen.write(DAY - 1, disconnected(2)));
    let ledger = charge(&talk, never_began.into_iter().chain(backwards));
    let reasons: Vec<_> = ledger.unrated().iter().map(|(id, it)| (id.as_str(), it.reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            ("itm_t-o1", "the conversation ended without having begun"),
            ("itm_t-o2", "the work ended before it began")
        ]
    );
    assert_eq!((ledger.item_count(), invoice(&talk, &ledger, "1970-01").total_micros), (0, 0));

    let time = directory([(0, contract(UsageUnit::SignedInTime, "1", 60, (1, 1), "0"))]);
    let mut engagements = Engagements::default();
    let ledger = charge(&time, engagements.fold(&pen.outcome(DAY, [signed_out()])));
    assert_eq!(ledger.unrated().values().next().unwrap().reason, "the session ended without having begun");
}

#[test]
fn work_is_priced_by_the_version_in_force_and_known_when_it_ended_or_not_at_all() {
    let versioned = |version: u32, effective_days: i64, price: &str| Contract {
        version,
        effective_at: Timestamp(effective_days * DAY),
        ..contract(UsageUnit::TalkTime, price, 60, (60_000, 60_000), "0")
    };
    // Version 1 from day 2, known from day 0; version 2 from day 5, but signed on day 7.
    let terms = directory([(0, versioned(1, 2, "1")), (7 * DAY, versioned(2, 5, "2"))]);
    let priced_at = |at: i64| {
        let mut pen = Pen::default();
        let mut talks = Talks::default();
        talks.fold(&pen.write(at - 60_000, connected(1)));
        let ledger = charge(&terms, talks.fold(&pen.write(at, disconnected(1))));
        ledger.items().next().map(|it| (it.contract_version, it.price))
    };
    let cases = [
        (2 * DAY - 1, None),
        (2 * DAY, Some((1, eur("1")))),
        (6 * DAY, Some((1, eur("1")))),
        (7 * DAY, Some((2, eur("2")))),
    ];
    for (at, expected) in cases {
        assert_eq!(priced_at(at), expected, "{at}");
    }
}

#[test]
fn a_retired_contract_prices_nothing_from_then_on() {
    let mut terms = directory([(0, contract(UsageUnit::TalkTime, "1", 60, (1, 1), "0"))]);
    let mut pen = Pen([("directory".to_owned(), 100)].into());
    let revision = DirectoryFact::RevisionApplied {
        revision: 9,
        author: "test".into(),
        effective_at: Timestamp(DAY),
        source_sha256: String::new(),
    };
    terms.fold(&pen.write(DAY, revision));
    let retired =
        DirectoryFact::DefinitionRetired { kind: DefinitionKind::Contract, key: "ctr_aurora".into() };
    terms.fold(&pen.write(DAY, retired));
    assert!(terms.contract_at(&company(), UsageUnit::TalkTime, Timestamp(DAY - 1)).is_some());
    assert!(terms.contract_at(&company(), UsageUnit::TalkTime, Timestamp(DAY)).is_none());
}

#[test]
fn a_month_in_two_currencies_has_no_total() {
    let terms = directory([(0, contract(UsageUnit::TalkTime, "1", 60, (1, 1), "0"))]);
    let ledger = calls(&terms, [60_000]);
    let item = ledger.items().next().unwrap();
    let dollars = Money { currency: Currency::parse("USD").unwrap(), ..item.price };
    let other = Item { item_id: ItemId::from_name("x").unwrap(), price: dollars, ..item.clone() };
    let month = Month::parse("1970-01").unwrap();
    let refused = running_invoice(&terms, [item, &other], &company(), month).unwrap_err();
    assert!(matches!(refused, InvoiceError::MixedCurrencies(..)));
    let stranger = CompanyId::from_name("nobody").unwrap();
    assert_eq!(running_invoice(&terms, [], &stranger, month), Err(InvoiceError::UnknownCompany));
}

/// Another order of the same facts: each stream keeps its own, some facts come twice.
fn reorder<T: Clone>(streams: Vec<Vec<T>>, choices: &[(u8, bool)]) -> Vec<T> {
    let mut streams: Vec<VecDeque<T>> =
        streams.into_iter().map(VecDeque::from).filter(|it| !it.is_empty()).collect();
    let mut choices = choices.iter().cycle();
    let mut out: Vec<T> = Vec::new();
    while !streams.is_empty() {
        let (choice, again) = choices.next().copied().unwrap_or_default();
        let index = usize::from(choice) % streams.len();
        out.extend(streams[index].pop_front());
        if again {
            out.push(out[usize::from(choice) % out.len()].clone());
        }
        streams.retain(|it| !it.is_empty());
    }
    out
}

proptest! {
    #[test]
    fn repeated_and_reordered_facts_give_the_same_invoice(
        stories in proptest::collection::vec((0_u8..4, 0_i64..100_000), 1..12),
        choices in proptest::collection::vec((any::<u8>(), any::<bool>()), 1..40),
    ) {
        let terms = directory([(0, contract(UsageUnit::TalkTime, "0.37", 60, (30_000, 6_000), "3"))]);
        let mut pen = Pen::default();
        let mut streams = Vec::new();
        for (n, (kind, ms)) in (1..).zip(stories) {
            let (begin, end) = (DAY + i64::from(n), DAY + i64::from(n) + ms);
            streams.push(match kind {
                0 => vec![pen.write(begin, connected(n)), pen.write(end, disconnected(n)), pen.write(end, ended(n))],
                1 => vec![pen.write(begin, connected(n)), pen.write(end, ended(n))],
                2 => vec![pen.write(end, disconnected(n)), pen.write(end, ended(n))],
                _ => vec![pen.write(end, ended(n))],
            });
        }
        let bill = |facts: &[Recorded<ContactFact>]| {
            let mut talks = Talks::default();
            let work: Vec<Work> = facts.iter().flat_map(|it| talks.fold(it)).collect();
            let ledger = charge(&terms, work);
            (invoice(&terms, &ledger, "1970-01"), ledger.state_hash())
        };
        let in_order = bill(&streams.concat());
        prop_assert_eq!(in_order, bill(&reorder(streams, &choices)));
    }
}

#[test]
fn a_fact_of_billing_counts_once_however_often_it_comes() {
    let terms = directory([(0, contract(UsageUnit::TalkTime, "1", 60, (1, 1), "0"))]);
    let mut pen = Pen::default();
    let mut talks = Talks::default();
    talks.fold(&pen.write(DAY, connected(1)));
    let work = talks.fold(&pen.write(DAY + 60_000, disconnected(1)));
    let fact: BillingFact = rate(&terms, &work[0]).unwrap();
    let recorded = pen.write(DAY, fact);
    let mut once = Ledger::default();
    once.fold(&recorded);
    let mut twice = once.clone();
    twice.fold(&recorded);
    assert_eq!(once.state_hash(), twice.state_hash());
    assert_eq!(twice.next_sequence(company().as_str()), 2);
}
