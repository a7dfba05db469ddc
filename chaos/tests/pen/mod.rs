//! Writes histories.

use std::collections::BTreeMap;

use trunkline_chaos::History;
use trunkline_domain::billing::{Engagements, Talks, Terms, Work, rate};
use trunkline_domain::facts::{
    AgentFact, Company, ContactFact, Contract, Delivered, DequeueReason, DirectoryFact, LogFact, Meta,
    OfferEnd, Operator, Outcome, Queue, Recorded, ReleaseOutcome, RoutingFact, UsageUnit, WrapUpMode,
};
use trunkline_domain::kernel::Projection;
use trunkline_domain::vocabulary::{
    AgentId, Cell, Channel, CompanyId, ContactEndCause, ContactId, ContractId, Currency, Epoch, EventId,
    InputPosition, LegId, LogName, Millis, Money, NodeId, OfferId, OperatorId, Party, Position, QueueId,
    QueuePlan, SessionId, Timestamp,
};

pub const CELL: Cell = Cell(0);

pub fn company() -> CompanyId {
    CompanyId::from_name("aurora").unwrap()
}
pub fn contact(n: u32) -> ContactId {
    ContactId::from_name(&format!("c{n}")).unwrap()
}
pub fn offer(n: u32) -> OfferId {
    OfferId::from_name(&format!("o{n}")).unwrap()
}
pub fn agent(n: u32) -> AgentId {
    AgentId::from_name(&format!("a{n}")).unwrap()
}
pub fn queue() -> QueueId {
    QueueId::from_name("orders").unwrap()
}
pub fn node() -> NodeId {
    NodeId::from_name("n").unwrap()
}

/// Writes histories.
#[derive(Default)]
pub struct Pen {
    pub history: History,
    pub sequences: BTreeMap<(LogName, String), u64>,
    pub positions: BTreeMap<LogName, u64>,
}

impl Pen {
    pub fn record<F: LogFact>(&mut self, at: i64, facts: Vec<F>) -> (Cell, Delivered<F>) {
        let position = self.positions.entry(F::LOG).or_default();
        *position += 1;
        let position = Position(*position);
        let facts = facts.into_iter().map(|fact| self.write(at, fact)).collect();
        let outcome = Outcome { epoch: Epoch(5), consumed: vec![], facts };
        (CELL, Delivered { position, lane: format!("{}/0", F::LOG), outcome })
    }

    pub fn write<F: LogFact>(&mut self, at: i64, fact: F) -> Recorded<F> {
        let stream = fact.stream();
        let sequence = self.sequences.entry((F::LOG, stream.clone())).or_default();
        *sequence += 1;
        let name = format!("{}-{}-{sequence}", F::LOG, stream.replace(['_', ':', '/'], "-"));
        let meta = Meta {
            event_id: EventId::from_name(&name).unwrap(),
            cell: CELL,
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

    pub fn directory(&mut self, at: i64, facts: Vec<DirectoryFact>) {
        let record = self.record(at, facts);
        self.history.directory.push(record);
    }
    pub fn contacts(&mut self, at: i64, facts: Vec<ContactFact>) {
        let record = self.record(at, facts);
        self.history.contacts.push(record);
    }
    pub fn routing(&mut self, at: i64, facts: Vec<RoutingFact>) {
        let record = self.record(at, facts);
        self.history.routing.push(record);
    }
    pub fn agents(&mut self, at: i64, facts: Vec<AgentFact>) {
        let record = self.record(at, facts);
        self.history.agents.push(record);
    }

    pub fn define(&mut self) {
        let currency = Currency::parse("EUR").unwrap();
        let contract = |unit: UsageUnit, name: &str| {
            DirectoryFact::ContractDefined(Contract {
                contract_id: ContractId::from_name(name).unwrap(),
                company_id: company(),
                version: 1,
                effective_at: Timestamp(0),
                currency,
                unit,
                price: Money::parse(currency, "0.48").unwrap(),
                price_per_ms: Millis(60_000),
                first_increment_ms: Millis(6_000),
                increment_ms: Millis(6_000),
                monthly_minimum: Money::zero(currency),
            })
        };
        let facts = vec![
            DirectoryFact::RevisionApplied {
                revision: 1,
                author: "test".into(),
                effective_at: Timestamp(0),
                source_sha256: String::new(),
            },
            DirectoryFact::OperatorDefined(Operator {
                operator_id: OperatorId::from_name("op").unwrap(),
                name: "Op".into(),
                time_zone: "Europe/Berlin".into(),
                not_ready_reasons: vec![],
            }),
            DirectoryFact::CompanyDefined(Company {
                company_id: company(),
                name: "Aurora".into(),
                cell: CELL,
                service_level_threshold_ms: Millis(20_000),
            }),
            DirectoryFact::QueueDefined(Queue {
                queue_id: queue(),
                company_id: company(),
                name: "Orders".into(),
                required_skills: vec![],
                priority: 10,
                offer_timeout_ms: Millis(20_000),
                wrap_up_ms: Millis(10_000),
                wait_ms_max: Millis(0),
                waiting_count_max: 0,
                miss_count_max: 3,
                reoffer_after_ms: Millis(30_000),
                wrap_up_mode: WrapUpMode::Timed,
                wrap_up_code_required: false,
                wrap_up_extension_ms_max: Millis::ZERO,
                miss_reason: String::new(),
                miss_return_ms: Millis::ZERO,
                plan: QueuePlan::default(),
            }),
            contract(UsageUnit::TalkTime, "talk"),
            contract(UsageUnit::WorkTime, "work"),
        ];
        self.directory(0, facts);
    }

    pub fn sign_in(&mut self, at: i64, n: u32) {
        let session_id = SessionId::from_name(&format!("s{n}")).unwrap();
        self.agents(at, vec![AgentFact::AgentSignedIn { agent_id: agent(n), session_id, site_id: None }]);
        self.agents(at, vec![AgentFact::AgentBecameReady { agent_id: agent(n) }]);
    }

    pub fn arrive(&mut self, at: i64, n: u32) {
        self.contacts(at, vec![arrived(n), queue_requested(n, 1, at)]);
        self.routing(at, vec![queued(n, at)]);
    }

    pub fn offer(&mut self, at: i64, c: u32, o: u32, a: u32) {
        self.agents(at, vec![reserved(c, o, a, at + 20_000)]);
        self.routing(at, vec![offer_made(c, o, a)]);
    }

    pub fn unanswered(&mut self, at: i64, c: u32, o: u32, a: u32) {
        self.agents(at, vec![released(c, o, a, ReleaseOutcome::Unanswered)]);
        let (contact_id, offer_id, agent_id) = (contact(c), offer(o), agent(a));
        self.routing(
            at,
            vec![RoutingFact::OfferEnded { contact_id, offer_id, agent_id, end: OfferEnd::Unanswered }],
        );
    }

    pub fn answer(&mut self, at: i64, c: u32, o: u32, a: u32) {
        self.agents(at, vec![accepted(c, o, a)]);
        self.contacts(at, vec![connected(c, o, a)]);
        let (contact_id, offer_id, agent_id) = (contact(c), offer(o), agent(a));
        let dequeued = RoutingFact::ContactDequeued {
            contact_id: contact(c),
            queue_id: queue(),
            visit: 1,
            reason: DequeueReason::Answered,
        };
        self.routing(at, vec![RoutingFact::OfferAccepted { contact_id, offer_id, agent_id }, dequeued]);
    }

    pub fn hang_up(&mut self, at: i64, c: u32, o: u32, a: u32) {
        self.contacts(at, vec![disconnected(c, o, a), ended(c, ContactEndCause::Completed)]);
        self.agents(at, vec![released(c, o, a, ReleaseOutcome::Completed), wrapping_up(c, o, a)]);
        let (contact_id, offer_id, agent_id) = (contact(c), offer(o), agent(a));
        self.agents(
            at + 10_000,
            vec![AgentFact::WrapUpEnded {
                agent_id,
                offer_id,
                contact_id,
                finished_by_agent: false,
                wrap_up_code: String::new(),
            }],
        );
    }

    /// Prices what the logs hold, as billing does.
    pub fn bill(&mut self) {
        let mut terms = Terms::default();
        for (_, record) in &self.history.directory {
            record.outcome.facts.iter().for_each(|it| terms.fold(it));
        }
        let (mut talks, mut engagements) = (Talks::default(), Engagements::default());
        let mut work: Vec<Work> = Vec::new();
        for (_, record) in &self.history.contacts {
            work.extend(record.outcome.facts.iter().flat_map(|it| talks.fold(it)));
        }
        for (_, record) in &self.history.agents {
            work.extend(engagements.fold(&record.outcome));
        }
        let consumed = [LogName::Contacts, LogName::Agents].map(|log| InputPosition {
            log,
            cell: CELL,
            position: Position(self.positions[&log]),
        });
        for work in work {
            let mut record = self.record(work.ended_at.0, vec![rate(&terms, &work).unwrap()]);
            record.1.outcome.consumed = consumed.to_vec();
            self.history.billing.push(record);
        }
    }
}

pub fn arrived(n: u32) -> ContactFact {
    ContactFact::ContactArrived {
        contact_id: contact(n),
        company_id: Some(company()),
        caller: None,
        dialled: None,
        node_id: node(),
        sip_call_id: String::new(),
        flow_id: None,
        directory_revision: 1,
    }
}
pub fn queue_requested(n: u32, visit: u32, at: i64) -> ContactFact {
    ContactFact::ContactQueueRequested {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        visit,
        priority: 10,
        enqueued_at: Timestamp(at),
        required_skills: vec![],
        node_id: node(),
    }
}
pub fn connected(c: u32, o: u32, a: u32) -> ContactFact {
    ContactFact::ContactConnected {
        contact_id: contact(c),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        offer_id: offer(o),
        agent_id: agent(a),
        leg_id: LegId::from_name("l").unwrap(),
        waited_ms: Millis(0),
    }
}
pub fn disconnected(c: u32, o: u32, a: u32) -> ContactFact {
    ContactFact::ContactDisconnected {
        contact_id: contact(c),
        company_id: company(),
        queue_id: queue(),
        offer_id: offer(o),
        agent_id: agent(a),
        talked_ms: Millis(0),
        by: Party::Caller,
    }
}
pub fn abandoned(n: u32) -> ContactFact {
    let (contact_id, company_id, queue_id) = (contact(n), company(), queue());
    ContactFact::ContactAbandoned { contact_id, company_id, queue_id, visit: 1, waited_ms: Millis(0) }
}
pub fn ended(n: u32, cause: ContactEndCause) -> ContactFact {
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
pub fn queued(n: u32, at: i64) -> RoutingFact {
    RoutingFact::ContactQueued {
        contact_id: contact(n),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        priority: 10,
        enqueued_at: Timestamp(at),
        required_skills: vec![],
        node_id: node(),
        place: 1,
        plan: QueuePlan::default(),
    }
}
pub fn offer_made(c: u32, o: u32, a: u32) -> RoutingFact {
    RoutingFact::OfferMade {
        contact_id: contact(c),
        company_id: company(),
        queue_id: queue(),
        visit: 1,
        offer_id: offer(o),
        agent_id: agent(a),
        token: u64::from(o),
        node_id: node(),
        expires_at: Timestamp(0),
        round: 1,
        passed_over: vec![],
    }
}
pub fn reserved(c: u32, o: u32, a: u32, expires_at: i64) -> AgentFact {
    AgentFact::AgentReserved {
        agent_id: agent(a),
        offer_id: offer(o),
        contact_id: contact(c),
        company_id: company(),
        queue_id: queue(),
        token: u64::from(o),
        node_id: node(),
        routing_epoch: Epoch(5),
        expires_at: Timestamp(expires_at),
        channel: Channel::Voice,
    }
}
pub fn accepted(c: u32, o: u32, a: u32) -> AgentFact {
    let (agent_id, offer_id, contact_id) = (agent(a), offer(o), contact(c));
    AgentFact::ReservationAccepted { agent_id, offer_id, contact_id, token: u64::from(o) }
}
pub fn released(c: u32, o: u32, a: u32, outcome: ReleaseOutcome) -> AgentFact {
    let (agent_id, offer_id, contact_id) = (agent(a), offer(o), contact(c));
    AgentFact::ReservationReleased { agent_id, offer_id, contact_id, token: u64::from(o), outcome }
}
pub fn wrapping_up(c: u32, o: u32, a: u32) -> AgentFact {
    AgentFact::WrapUpStarted {
        agent_id: agent(a),
        offer_id: offer(o),
        contact_id: contact(c),
        company_id: company(),
        queue_id: queue(),
        ends_at: Some(Timestamp(1)),
        channel: Channel::Voice,
    }
}
