//! A cell as its logs tell of it: agents with skills, queues that need some, contacts that come and go.
//!
//! There is no agent-state, no media node and no log: this plays all of them, and gives the router what it would read.

use trunkline_domain::facts::{
    Agent, AgentFact, ContactFact, DirectoryFact, LogFact, Meta, Outcome, Queue, Recorded, ReleaseOutcome,
    WrapUpMode,
};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{Input, Router};
use trunkline_domain::vocabulary::{
    AgentId, Cell, Channel, Clause, CompanyId, ContactEndCause, ContactId, DeviceId, Epoch, EventId, IdError,
    LegId, Millis, NodeId, OfferId, Party, Position, QueueId, QueuePlan, SessionId, SkillId, SkillLevel,
    Timestamp,
};

/// How large a cell is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub agents: usize,
    pub waiting: usize,
    pub skills: usize,
    pub queues: usize,
}

/// Skills of an agent.
const SKILLS_OF_AGENT: usize = 5;
const CELL: Cell = Cell(0);
const EPOCH: Epoch = Epoch(7);

/// Numbers that are a function of a seed (SplitMix64).
pub struct Dice(pub u64);

impl Dice {
    /// From 0 to `bound`, without it.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound.max(1)
    }
}

/// The logs, as far as they were written, and who is in them.
pub struct Logs {
    pub now: Timestamp,
    pub agents: Vec<AgentId>,
    company: CompanyId,
    node: NodeId,
    queues: Vec<(QueueId, Vec<Clause>)>,
    positions: [u64; 3],
    contact_count: u64,
    token: u64,
}

/// A contact that talks.
#[derive(Debug, Clone)]
pub struct Talk {
    pub contact: ContactId,
    pub queue: QueueId,
    pub agent: AgentId,
    pub offer: OfferId,
    pub token: u64,
}

fn id<T>(made: Result<T, IdError>) -> T {
    made.expect("letters and digits are an id")
}

fn outcome<F: LogFact>(at: Timestamp, position: u64, facts: Vec<F>) -> Outcome<F> {
    let recorded = |(ordinal, fact): (usize, F)| Recorded {
        meta: Meta {
            event_id: id(EventId::from_name(&format!("{position}-{ordinal}"))),
            cell: CELL,
            stream: fact.stream(),
            sequence: 1,
            occurred_at: at,
            recorded_at: at,
            correlation_id: fact.contact().cloned(),
            causation_id: None,
            traceparent: String::new(),
        },
        fact,
    };
    let facts = facts.into_iter().enumerate().map(recorded).collect();
    Outcome { epoch: Epoch(1), consumed: Vec::new(), facts }
}

impl Logs {
    /// A router that owns a cell of this size, every agent of which is ready and nobody waits.
    pub fn begin(size: Size, dice: &mut Dice) -> (Router, Self) {
        let skills: Vec<SkillId> =
            (0..size.skills).map(|nth| id(SkillId::from_name(&format!("{nth:03}")))).collect();
        let mut some = |count: usize| {
            let mut chosen: Vec<SkillId> = Vec::new();
            while chosen.len() < count.min(skills.len()) {
                let skill = &skills[dice.below(skills.len())];
                if !chosen.contains(skill) {
                    chosen.push(skill.clone());
                }
            }
            chosen
        };
        let queues = (0..size.queues)
            .map(|nth| {
                (
                    id(QueueId::from_name(&format!("{nth:04}"))),
                    some(1 + nth % 2).into_iter().map(Clause::has).collect(),
                )
            })
            .collect();
        let agents: Vec<AgentId> =
            (0..size.agents).map(|nth| id(AgentId::from_name(&format!("{nth:08}")))).collect();
        let mut logs = Self {
            now: Timestamp(1_800_000_000_000),
            agents,
            company: id(CompanyId::from_name("one")),
            node: id(NodeId::from_name("one")),
            queues,
            positions: [0; 3],
            contact_count: 0,
            token: 0,
        };
        let mut facts = vec![DirectoryFact::RevisionApplied {
            revision: 1,
            author: "bench".to_owned(),
            effective_at: Timestamp(0),
            source_sha256: String::new(),
        }];
        facts.extend(logs.queues.iter().map(|(queue_id, required)| logs.queue(queue_id, required)));
        for agent_id in &logs.agents {
            facts.push(DirectoryFact::AgentDefined(Agent {
                agent_id: agent_id.clone(),
                name: String::new(),
                cell: CELL,
                site_id: None,
                skills: some(SKILLS_OF_AGENT).into_iter().map(SkillLevel::whole).collect(),
                sip_user: agent_id.to_string(),
                sip_ha1_md5: String::new(),
                sip_ha1_sha256: String::new(),
                team_company_id: None,
                channels: Vec::new(),
            }));
        }
        let mut router = Router::new(CELL);
        let defined = Input::Directory { position: Position(0), outcome: outcome(logs.now, 0, facts) };
        router.handle(logs.now, defined);
        let lease = logs.agents_record(vec![AgentFact::LeaseGranted {
            resource: format!("media/{}", logs.node),
            holder: logs.node.clone(),
            epoch: Epoch(3),
            expires_at: Timestamp(i64::MAX),
            address: "127.0.0.1:1".to_owned(),
        }]);
        router.handle(logs.now, lease);
        for nth in 0..logs.agents.len() {
            // One after the other, so that one is idle longer than the next.
            logs.now = logs.now + Millis(1);
            let input = logs.comes(nth);
            router.handle(logs.now, input);
        }
        router.handle(logs.now, Input::Taken { owner: logs.node.clone(), epoch: EPOCH });
        router.handle(logs.now, Input::CaughtUp);
        (router, logs)
    }

    fn queue(&self, queue_id: &QueueId, required: &[Clause]) -> DirectoryFact {
        DirectoryFact::QueueDefined(Queue {
            queue_id: queue_id.clone(),
            company_id: self.company.clone(),
            name: String::new(),
            required_skills: required.to_vec(),
            priority: 0,
            offer_timeout_ms: Millis::from_secs(20),
            wrap_up_ms: Millis::ZERO,
            wait_ms_max: Millis::ZERO,
            waiting_count_max: 0,
            miss_count_max: 0,
            reoffer_after_ms: Millis::from_secs(30),
            wrap_up_mode: WrapUpMode::Timed,
            wrap_up_code_required: false,
            wrap_up_extension_ms_max: Millis::ZERO,
            miss_reason: String::new(),
            miss_return_ms: Millis::ZERO,
            plan: QueuePlan::default(),
        })
    }

    fn position(&mut self, log: usize) -> u64 {
        self.positions[log] += 1;
        self.positions[log]
    }

    fn agents_record(&mut self, facts: Vec<AgentFact>) -> Input {
        let position = self.position(0);
        let outcome = outcome(self.now, position, facts);
        Input::Agents { cell: CELL, position: Position(position), outcome }
    }

    fn contacts_record(&mut self, fact: ContactFact) -> Input {
        let position = self.position(1);
        let outcome = outcome(self.now, position, vec![fact]);
        Input::Contacts { position: Position(position), outcome }
    }

    /// An agent signs in, has a telephone and becomes ready.
    fn comes(&mut self, nth: usize) -> Input {
        let agent_id = self.agents[nth].clone();
        self.agents_record(vec![
            AgentFact::AgentSignedIn {
                agent_id: agent_id.clone(),
                session_id: id(SessionId::from_name("one")),
                site_id: None,
            },
            AgentFact::DeviceRegistered {
                agent_id: agent_id.clone(),
                device_id: id(DeviceId::from_name("one")),
                contact_uri: "sip:a@127.0.0.1".to_owned(),
                node_id: self.node.clone(),
                expires_at: self.now + Millis::from_secs(360_000),
            },
            AgentFact::AgentBecameReady { agent_id },
        ])
    }

    /// A contact comes to some queue.
    pub fn arrives(&mut self, dice: &mut Dice) -> Input {
        self.contact_count += 1;
        let (queue_id, required_skills) = self.queues[dice.below(self.queues.len())].clone();
        let fact = ContactFact::ContactQueueRequested {
            contact_id: id(ContactId::from_name(&format!("{:010}", self.contact_count))),
            company_id: self.company.clone(),
            queue_id,
            visit: 1,
            priority: 0,
            enqueued_at: self.now,
            required_skills,
            node_id: self.node.clone(),
        };
        self.contacts_record(fact)
    }

    /// Agent-state grants a reservation, and says so in its log.
    pub fn grants(
        &mut self,
        contact: ContactId,
        queue: QueueId,
        agent: AgentId,
        offer: OfferId,
    ) -> (Talk, Input) {
        self.token += 1;
        let talk = Talk { contact, queue, agent, offer, token: self.token };
        let fact = AgentFact::AgentReserved {
            agent_id: talk.agent.clone(),
            offer_id: talk.offer.clone(),
            contact_id: talk.contact.clone(),
            company_id: self.company.clone(),
            queue_id: talk.queue.clone(),
            token: talk.token,
            node_id: self.node.clone(),
            routing_epoch: EPOCH,
            expires_at: Timestamp(i64::MAX),
            channel: Channel::Voice,
        };
        let input = self.agents_record(vec![fact]);
        (talk, input)
    }

    /// The agent answers: agent-state's word, and the media node's.
    pub fn answers(&mut self, talk: &Talk) -> [Input; 2] {
        let accepted = AgentFact::ReservationAccepted {
            agent_id: talk.agent.clone(),
            offer_id: talk.offer.clone(),
            contact_id: talk.contact.clone(),
            token: talk.token,
        };
        let connected = ContactFact::ContactConnected {
            contact_id: talk.contact.clone(),
            company_id: self.company.clone(),
            queue_id: talk.queue.clone(),
            visit: 1,
            offer_id: talk.offer.clone(),
            agent_id: talk.agent.clone(),
            leg_id: id(LegId::from_name("one")),
            waited_ms: Millis::ZERO,
        };
        [self.agents_record(vec![accepted]), self.contacts_record(connected)]
    }

    /// A conversation ends: the media node's word, and agent-state's, after which the agent is free.
    pub fn ends(&mut self, talk: &Talk) -> [Input; 2] {
        let ended = ContactFact::ContactEnded {
            contact_id: talk.contact.clone(),
            company_id: Some(self.company.clone()),
            cause: ContactEndCause::Completed,
            by: Party::Caller,
            sip_status: None,
            rtp_received_count: 0,
            rtp_sent_count: 0,
        };
        let released = AgentFact::ReservationReleased {
            agent_id: talk.agent.clone(),
            offer_id: talk.offer.clone(),
            contact_id: talk.contact.clone(),
            token: talk.token,
            outcome: ReleaseOutcome::Completed,
        };
        [self.contacts_record(ended), self.agents_record(vec![released])]
    }
}
