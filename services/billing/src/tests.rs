use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tonic::{Code, Request};
use trunkline_domain::facts::{
    Agent, AgentFact, BillingFact, Company, ContactFact, Contract, DirectoryFact, Meta, Operator, Outcome,
    Recorded, ReleaseOutcome, UsageUnit,
};
use trunkline_domain::vocabulary::{
    AgentId, Cell, Channel, CompanyId, ContactEndCause, ContactId, ContractId, Currency, Epoch, EventId,
    LegId, Millis, Money, NodeId, OfferId, OperatorId, Party, QueueId, SessionId, Timestamp,
};
use trunkline_proto::billing::v1::billing_service_server::BillingService;
use trunkline_proto::billing::v1::{GetRunningInvoiceRequest, ListRatedItemsRequest};
use trunkline_proto::convert::WireFact;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, LogError, ReadFrom, SharedLog};
use trunkline_runtime::facts::{FactReader, FactWriter};
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{Endpoints, Platform};
use trunkline_runtime::telemetry::Telemetry;

use crate::owner::own;
use crate::service::Bills;
use crate::view::SharedView;

/// 2026-01-01T09:00:00Z.
const START: i64 = 1_767_258_000_000;

fn company(unit: UsageUnit) -> CompanyId {
    CompanyId::from_name(&unit.as_str().replace('_', "-")).unwrap()
}

fn contact(n: u32) -> ContactId {
    ContactId::from_name(&format!("c{n}")).unwrap()
}

fn offer(n: u32) -> OfferId {
    OfferId::from_name(&format!("o{n}")).unwrap()
}

fn agent() -> AgentId {
    AgentId::from_name("anna").unwrap()
}

fn queue() -> QueueId {
    QueueId::from_name("orders").unwrap()
}

/// Writes one log under one epoch.
struct Scribe<F> {
    writer: FactWriter<F>,
    sequences: BTreeMap<String, u64>,
}

impl<F: WireFact> Scribe<F> {
    async fn open(log: &SharedLog, lane: &str) -> Self {
        let (writer, _) = FactWriter::open(log, Cell(0), lane, Epoch(1)).await.unwrap();
        Self { writer, sequences: BTreeMap::new() }
    }

    async fn write(&mut self, at: i64, facts: impl IntoIterator<Item = F>) {
        let facts = facts.into_iter().map(|fact| self.recorded(at, fact)).collect();
        let outcome = Outcome { epoch: self.writer.epoch(), consumed: vec![], facts };
        self.writer.append(&outcome).unwrap().await.unwrap();
    }

    fn recorded(&mut self, at: i64, fact: F) -> Recorded<F> {
        let stream = fact.stream();
        let sequence = self.sequences.entry(stream.clone()).or_default();
        *sequence += 1;
        let name = format!("{}-{}-{sequence}", F::LOG, stream.replace(['_', ':', '/'], "-"));
        let meta = Meta {
            event_id: EventId::from_name(&name).unwrap(),
            cell: Cell(0),
            stream,
            sequence: *sequence,
            occurred_at: Timestamp(START + at),
            recorded_at: Timestamp(START + at),
            correlation_id: fact.contact().cloned(),
            causation_id: None,
            traceparent: String::new(),
        };
        Recorded { meta, fact }
    }
}

/// A world with one company for each unit, one agent in the team of the one that pays by signed-in time.
struct World {
    platform: Platform,
    directory: Scribe<DirectoryFact>,
    contacts: Scribe<ContactFact>,
    agents: Scribe<AgentFact>,
}

fn contract(unit: UsageUnit, price: &str, per_secs: i64, increment_secs: i64, minimum: &str) -> Contract {
    let currency = Currency::parse("EUR").unwrap();
    Contract {
        contract_id: ContractId::from_name(&unit.as_str().replace('_', "-")).unwrap(),
        company_id: company(unit),
        version: 1,
        effective_at: Timestamp(0),
        currency,
        unit,
        price: Money::parse(currency, price).unwrap(),
        price_per_ms: Millis::from_secs(per_secs),
        first_increment_ms: Millis::from_secs(increment_secs),
        increment_ms: Millis::from_secs(increment_secs),
        monthly_minimum: Money::parse(currency, minimum).unwrap(),
    }
}

impl World {
    async fn new(dir: &Path) -> Self {
        let (log, _) = EmbeddedLog::open(EmbeddedOptions::new(dir.join("log"), "test", 1)).unwrap();
        let log: SharedLog = Arc::new(log);
        let (clock, _) = Clock::manual(Timestamp(START + 3_600_000));
        let mint = Mint::seeded(1);
        let directory = Scribe::open(&log, "directory/0").await;
        let contacts = Scribe::open(&log, "media/nod_n").await;
        let agents = Scribe::open(&log, "agents").await;
        let platform = Platform {
            log,
            clock,
            node_id: mint.node(),
            mint,
            telemetry: Telemetry::off(),
            data_dir: dir.to_owned(),
            health: Health::new(),
            endpoints: Endpoints::default(),
        };
        Self { platform, directory, contacts, agents }
    }

    /// Says who there is, and what they pay.
    async fn define(&mut self, at: i64) {
        let revision = DirectoryFact::RevisionApplied {
            revision: 1,
            author: "test".into(),
            effective_at: Timestamp(START + at),
            source_sha256: String::new(),
        };
        let operator = DirectoryFact::OperatorDefined(Operator {
            operator_id: OperatorId::from_name("op").unwrap(),
            name: "Op".into(),
            time_zone: "Europe/Berlin".into(),
            not_ready_reasons: vec![],
        });
        let companies = UsageUnit::ALL.map(|unit| {
            DirectoryFact::CompanyDefined(Company {
                company_id: company(unit),
                name: unit.as_str().into(),
                cell: Cell(0),
                service_level_threshold_ms: Millis(20_000),
            })
        });
        let anna = DirectoryFact::AgentDefined(Agent {
            agent_id: agent(),
            name: "Anna".into(),
            cell: Cell(0),
            site_id: None,
            skills: vec![],
            sip_user: "anna".into(),
            sip_ha1_md5: String::new(),
            sip_ha1_sha256: String::new(),
            team_company_id: Some(company(UsageUnit::SignedInTime)),
            channels: Vec::new(),
        });
        let contracts = [
            contract(UsageUnit::TalkTime, "0.48", 60, 6, "0"),
            contract(UsageUnit::WorkTime, "0.62", 60, 60, "25"),
            contract(UsageUnit::SignedInTime, "21.50", 3600, 60, "0"),
        ];
        let facts = [revision, operator, anna].into_iter().chain(companies);
        let facts = facts.chain(contracts.map(DirectoryFact::ContractDefined));
        self.directory.write(at, facts).await;
    }

    /// A call of `company`: rings 3 s, talks 31 s, wraps up 20 s.
    async fn call(&mut self, n: u32, at: i64, unit: UsageUnit) {
        let (contact_id, offer_id, agent_id, company_id) = (contact(n), offer(n), agent(), company(unit));
        let reserved = AgentFact::AgentReserved {
            agent_id: agent_id.clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id.clone(),
            company_id: company_id.clone(),
            queue_id: queue(),
            token: 1,
            node_id: NodeId::from_name("n").unwrap(),
            routing_epoch: Epoch(1),
            expires_at: Timestamp(START + at + 20_000),
            channel: Channel::Voice,
        };
        let accepted = AgentFact::ReservationAccepted {
            agent_id: agent_id.clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id.clone(),
            token: 1,
        };
        let connected = ContactFact::ContactConnected {
            contact_id: contact_id.clone(),
            company_id: company_id.clone(),
            queue_id: queue(),
            visit: 1,
            offer_id: offer_id.clone(),
            agent_id: agent_id.clone(),
            leg_id: LegId::from_name("l").unwrap(),
            waited_ms: Millis(3_000),
        };
        let disconnected = ContactFact::ContactDisconnected {
            contact_id: contact_id.clone(),
            company_id: company_id.clone(),
            queue_id: queue(),
            offer_id: offer_id.clone(),
            agent_id: agent_id.clone(),
            talked_ms: Millis(31_000),
            by: Party::Caller,
        };
        let ended = ContactFact::ContactEnded {
            contact_id: contact_id.clone(),
            company_id: Some(company_id.clone()),
            cause: ContactEndCause::Completed,
            by: Party::Caller,
            sip_status: None,
            rtp_received_count: 1,
            rtp_sent_count: 1,
        };
        let released = AgentFact::ReservationReleased {
            agent_id: agent_id.clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id.clone(),
            token: 1,
            outcome: ReleaseOutcome::Completed,
        };
        let wrapping_up = AgentFact::WrapUpStarted {
            agent_id: agent_id.clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id.clone(),
            company_id,
            queue_id: queue(),
            ends_at: Some(Timestamp(START + at + 54_000)),
            channel: Channel::Voice,
        };
        let wrapped_up = AgentFact::WrapUpEnded {
            agent_id,
            offer_id,
            contact_id,
            finished_by_agent: false,
            wrap_up_code: String::new(),
        };
        self.agents.write(at, [reserved]).await;
        self.agents.write(at + 3_000, [accepted]).await;
        self.contacts.write(at + 3_000, [connected]).await;
        self.contacts.write(at + 34_000, [disconnected]).await;
        self.contacts.write(at + 34_000, [ended]).await;
        self.agents.write(at + 34_000, [released, wrapping_up]).await;
        self.agents.write(at + 54_000, [wrapped_up]).await;
    }

    async fn session(&mut self, n: u32, at: i64, minutes: i64) {
        let session_id = SessionId::from_name(&format!("s{n}")).unwrap();
        let signed_in =
            AgentFact::AgentSignedIn { agent_id: agent(), session_id: session_id.clone(), site_id: None };
        let signed_out = AgentFact::AgentSignedOut { agent_id: agent(), session_id, reason: "end".into() };
        self.agents.write(at, [signed_in]).await;
        self.agents.write(at + minutes * 60_000, [signed_out]).await;
    }

    fn own(&self, epoch: u64) -> Owned {
        let view = SharedView::new(self.platform.health.component("billing"), 1);
        let (platform, shared) = (self.platform.clone(), view.clone());
        let task =
            tokio::spawn(async move { own(&platform, Cell(0), Epoch(epoch), &shared).await.unwrap_err() });
        Owned { view, task }
    }

    /// Every fact of the billing log that counts.
    async fn billed(&self) -> Vec<Recorded<BillingFact>> {
        let mut facts = Vec::new();
        let mut reader = FactReader::open(&self.platform.log, Cell(0), ReadFrom::Start).await.unwrap();
        reader
            .fold_to_end(|it: trunkline_domain::facts::Delivered<_>| facts.extend(it.outcome.facts))
            .await
            .unwrap();
        facts
    }

    /// Checks that every item is in the log once and that its stream has no gap; returns the items.
    async fn items_once(&self) -> BTreeSet<String> {
        let mut items = BTreeSet::new();
        let mut sequences: BTreeMap<String, u64> = BTreeMap::new();
        for it in self.billed().await {
            let BillingFact::UsageRated { item_id, .. } = &it.fact else { panic!("{it:?}") };
            assert!(items.insert(item_id.to_string()), "{item_id} twice");
            let sequence = sequences.entry(it.meta.stream.clone()).or_default();
            *sequence += 1;
            assert_eq!(it.meta.sequence, *sequence, "{}", it.meta.stream);
        }
        items
    }
}

/// An owner at work.
struct Owned {
    view: SharedView,
    task: JoinHandle<LogError>,
}

impl Owned {
    async fn until_items(&self, count: usize) {
        while self.view.lock().behind().is_some() || self.view.lock().ledger.item_count() < count {
            assert!(!self.task.is_finished());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(self.view.lock().ledger.item_count(), count);
    }

    fn hash(&self) -> String {
        self.view.lock().ledger.state_hash().to_string()
    }

    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn ask(company_id: &CompanyId, month: &str) -> Request<GetRunningInvoiceRequest> {
    Request::new(GetRunningInvoiceRequest { company_id: company_id.to_string(), month: month.into() })
}

#[tokio::test]
async fn each_company_pays_for_its_unit_and_every_line_leads_to_its_items_and_facts() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    world.define(-1_000).await;
    let owned = world.own(1);
    world.session(1, 0, 90).await;
    world.call(1, 10_000, UsageUnit::TalkTime).await;
    world.call(2, 100_000, UsageUnit::TalkTime).await;
    world.call(3, 200_000, UsageUnit::WorkTime).await;
    owned.until_items(4).await;

    let bills = Bills::new(owned.view.clone(), world.platform.clock.clone());
    // 31 s in steps of 6 s are 36 s; talk 31 s + wrap-up 20 s in steps of 60 s are 60 s; 90 minutes.
    let expected = [
        (UsageUnit::TalkTime, vec![("ctr_talk-time/1/talk_time", 2, 62_000, 72_000, 580_000)]),
        (
            UsageUnit::WorkTime,
            vec![
                ("ctr_work-time/1/work_time", 1, 51_000, 60_000, 620_000),
                ("ctr_work-time/1/monthly_minimum", 0, 0, 0, 24_380_000),
            ],
        ),
        (
            UsageUnit::SignedInTime,
            vec![("ctr_signed-in-time/1/signed_in_time", 1, 5_400_000, 5_400_000, 32_250_000)],
        ),
    ];
    for (unit, lines) in expected {
        let invoice = bills.get_running_invoice(ask(&company(unit), "")).await.unwrap().into_inner();
        let got: Vec<_> = invoice
            .lines
            .iter()
            .map(|it| (it.line_id.as_str(), it.item_count, it.measured_ms, it.billed_ms, it.amount_micros))
            .collect();
        assert_eq!(got, lines);
        assert_eq!(invoice.total_micros, lines.iter().map(|it| it.4).sum::<i64>());
        assert_eq!((invoice.month.as_str(), invoice.currency.as_str()), ("2026-01", "EUR"));
    }
    let request = ListRatedItemsRequest {
        company_id: company(UsageUnit::TalkTime).to_string(),
        month: "2026-01".into(),
        line_id: "ctr_talk-time/1/talk_time".into(),
        contact_id: contact(2).to_string(),
    };
    let items = bills.list_rated_items(Request::new(request)).await.unwrap().into_inner().items;
    assert_eq!(items.len(), 1);
    assert_eq!((items[0].item_id.as_str(), items[0].exact_amount.as_str()), ("itm_t-o2", "288000/1"));
    assert_eq!(items[0].cause_event_ids, ["evt_contacts-ctc-c2-1", "evt_contacts-ctc-c2-2"]);
    let none = bills.get_running_invoice(ask(&company(UsageUnit::TalkTime), "2025-12")).await.unwrap();
    assert_eq!((none.get_ref().lines.len(), none.get_ref().total_micros), (0, 0));
    owned.kill().await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    world.define(-1_000).await;
    let view = SharedView::new(world.platform.health.component("billing"), 1);
    let early = Bills::new(view, world.platform.clock.clone());
    let talk = company(UsageUnit::TalkTime);
    assert_eq!(early.get_running_invoice(ask(&talk, "")).await.unwrap_err().code(), Code::Unavailable);
    assert!(!world.platform.health.ready());

    let owned = world.own(1);
    owned.until_items(0).await;
    assert!(world.platform.health.ready());
    let bills = Bills::new(owned.view.clone(), world.platform.clock.clone());
    let stranger = CompanyId::from_name("nobody").unwrap();
    let cases = [(&stranger, "2026-01", Code::NotFound), (&talk, "January", Code::InvalidArgument)];
    for (company_id, month, code) in cases {
        assert_eq!(
            bills.get_running_invoice(ask(company_id, month)).await.unwrap_err().code(),
            code,
            "{month}"
        );
    }
    owned.kill().await;
}

#[tokio::test]
async fn an_owner_killed_at_any_moment_leaves_every_item_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    world.define(-1_000).await;
    let mut at = 0;
    for round in 1..=20_u32 {
        let owned = world.own(u64::from(round));
        for n in 0..3 {
            at += 60_000;
            world.call(round * 10 + n, at, UsageUnit::ALL[(n % 2) as usize]).await;
            // Every round is cut somewhere else: while it folds, prices, or waits for the log.
            for _ in 0..(round * 7 + n * 3) % 23 {
                tokio::task::yield_now().await;
            }
        }
        owned.kill().await;
    }
    let owned = world.own(100);
    owned.until_items(60).await;
    assert_eq!(world.items_once().await.len(), 60);
    let hash = owned.hash();
    owned.kill().await;
    let again = world.own(101);
    again.until_items(60).await;
    assert_eq!(again.hash(), hash);
    again.kill().await;
}

#[tokio::test]
async fn a_superseded_owner_prices_nothing_that_counts_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    world.define(-1_000).await;
    let old = world.own(1);
    world.call(1, 0, UsageUnit::TalkTime).await;
    old.until_items(1).await;
    let new = world.own(2);
    new.until_items(1).await;
    world.call(2, 100_000, UsageUnit::TalkTime).await;
    new.until_items(2).await;
    let ended = old.task.await.unwrap();
    assert!(matches!(ended, LogError::Fenced { .. }), "{ended}");
    assert_eq!(world.items_once().await.len(), 2);
    new.kill().await;
}

#[tokio::test]
async fn a_contract_prices_what_ended_after_it_was_known_however_late_billing_reads() {
    let dir = tempfile::tempdir().unwrap();
    let mut world = World::new(dir.path()).await;
    world.call(1, 0, UsageUnit::TalkTime).await;
    world.define(60_000).await;
    world.call(2, 100_000, UsageUnit::TalkTime).await;
    let owned = world.own(1);
    owned.until_items(1).await;
    assert_eq!(world.items_once().await, BTreeSet::from(["itm_t-o2".to_owned()]));
    owned.kill().await;
}
