//! One routing partition and everybody around it: agent-state that grants what is free, a media node that connects at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use trunkline_domain::facts::{
    self, AgentFact, ContactFact, DirectoryFact, LogFact, Meta, Outcome, Recorded, ReleaseOutcome, WrapUpMode,
};
use trunkline_domain::kernel::Engine;
use trunkline_domain::routing::{ExpectedWait, Input, Output, Router, Wish};
use trunkline_domain::vocabulary::{
    self, AgentId, Channel, Clause, CompanyId, ContactEndCause, ContactId, DeviceId, Epoch, EventId, IdError,
    LegId, Millis, NodeId, OfferId, Party, Position, QueueId, QueuePlan, SessionId, SkillId, SkillLevel,
    Timestamp,
};

use crate::day::{Call, Day};

const CELL: vocabulary::Cell = vocabulary::Cell(0);
const EPOCH: Epoch = Epoch(1);

/// A call was answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heard {
    pub at: Timestamp,
    pub call: usize,
    pub agent: usize,
}

/// A conversation under way.
struct Talk {
    queue_id: QueueId,
    offer_id: OfferId,
    agent: usize,
    token: u64,
}

/// The partition.
pub(crate) struct Cell {
    router: Router,
    now: Timestamp,
    company: CompanyId,
    node: NodeId,
    queues: Vec<(QueueId, Vec<Clause>)>,
    agents: Vec<AgentId>,
    agent_places: BTreeMap<AgentId, usize>,
    talks: BTreeMap<usize, Talk>,
    wrap_ups: BTreeMap<usize, OfferId>,
    agents_position: u64,
    contacts_position: u64,
    token: u64,
}

fn id<T>(make: impl Fn(&str) -> Result<T, IdError>, name: &str) -> T {
    make(name).expect("1 to 60 small letters, digits and dashes are an id")
}

/// An id of a thing by its place. Names would do where they are ids, and two names that differ in what no id may hold would
/// be one.
fn numbered<T>(make: impl Fn(&str) -> Result<T, IdError>, place: usize) -> T {
    id(make, &format!("{place:09}"))
}

fn contact_id(call: usize) -> ContactId {
    numbered(ContactId::from_name, call)
}

fn outcome<F: LogFact>(at: Timestamp, position: u64, facts: Vec<F>) -> Outcome<F> {
    let recorded = |(ordinal, fact): (usize, F)| Recorded {
        meta: Meta {
            event_id: id(EventId::from_name, &format!("{position}-{ordinal}")),
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
    Outcome { epoch: EPOCH, consumed: Vec::new(), facts }
}

impl Cell {
    /// With the queues and agents of a day, nobody of whom is there.
    pub(crate) fn new(day: &Day, now: Timestamp) -> Self {
        let named = day.queues.iter().map(|it| &it.skills).chain(day.agents.iter().map(|it| &it.skills));
        let named: BTreeSet<&String> = named.flatten().collect();
        let named: BTreeMap<&String, SkillId> =
            named.into_iter().zip(0..).map(|(name, nth)| (name, numbered(SkillId::from_name, nth))).collect();
        let skills = |names: &[String]| -> Vec<SkillId> {
            names.iter().filter_map(|name| named.get(name).cloned()).collect()
        };
        let needs = |names: &[String]| skills(names).into_iter().map(Clause::has).collect();
        let queues = day.queues.iter().enumerate();
        let queues = queues.map(|(nth, it)| (numbered(QueueId::from_name, nth), needs(&it.skills)));
        let agents: Vec<AgentId> =
            (0..day.agents.len()).map(|nth| numbered(AgentId::from_name, nth)).collect();
        let mut cell = Self {
            router: Router::new(CELL),
            now,
            company: id(CompanyId::from_name, "replayed"),
            node: id(NodeId::from_name, "replayed"),
            queues: queues.collect(),
            agent_places: agents.iter().cloned().zip(0..).collect(),
            agents,
            talks: BTreeMap::new(),
            wrap_ups: BTreeMap::new(),
            agents_position: 0,
            contacts_position: 0,
            token: 0,
        };
        let mut definitions = vec![DirectoryFact::RevisionApplied {
            revision: 1,
            author: "replay".to_owned(),
            effective_at: Timestamp(i64::MIN),
            source_sha256: String::new(),
        }];
        definitions
            .extend(cell.queues.iter().map(|(queue_id, skills)| cell.queue(queue_id, skills, &day.plan)));
        for (agent_id, agent) in cell.agents.iter().zip(&day.agents) {
            definitions.push(DirectoryFact::AgentDefined(facts::Agent {
                agent_id: agent_id.clone(),
                name: agent.name.clone(),
                cell: CELL,
                site_id: None,
                skills: skills(&agent.skills).into_iter().map(SkillLevel::whole).collect(),
                sip_user: agent_id.to_string(),
                sip_ha1_md5: String::new(),
                sip_ha1_sha256: String::new(),
                team_company_id: None,
                channels: Vec::new(),
            }));
        }
        let outcome = outcome(now, 0, definitions);
        let mut heard = Vec::new();
        cell.give(Input::Directory { position: Position(0), outcome }, &mut heard);
        let lease = AgentFact::LeaseGranted {
            resource: format!("media/{}", cell.node),
            holder: cell.node.clone(),
            epoch: EPOCH,
            expires_at: Timestamp(i64::MAX),
            address: "replayed:1".to_owned(),
        };
        cell.tell_agents(vec![lease], &mut heard);
        let owner = cell.node.clone();
        cell.give(Input::Taken { owner, epoch: EPOCH }, &mut heard);
        cell.give(Input::CaughtUp, &mut heard);
        cell
    }

    fn queue(&self, queue_id: &QueueId, skills: &[Clause], plan: &QueuePlan) -> DirectoryFact {
        DirectoryFact::QueueDefined(facts::Queue {
            queue_id: queue_id.clone(),
            company_id: self.company.clone(),
            name: queue_id.to_string(),
            required_skills: skills.to_vec(),
            priority: 0,
            offer_timeout_ms: Millis::from_secs(20),
            wrap_up_ms: Millis::ZERO,
            wait_ms_max: Millis::ZERO,
            waiting_count_max: 0,
            miss_count_max: 0,
            reoffer_after_ms: Millis::from_secs(30),
            wrap_up_mode: WrapUpMode::None,
            wrap_up_code_required: false,
            wrap_up_extension_ms_max: Millis::ZERO,
            miss_reason: String::new(),
            miss_return_ms: Millis::ZERO,
            plan: plan.clone(),
        })
    }

    /// When routing wants to be woken, if nothing happens before.
    pub(crate) fn next_timeout(&self) -> Option<Timestamp> {
        self.router.next_timeout()
    }

    /// Time has passed.
    pub(crate) fn passes(&mut self, at: Timestamp, heard: &mut Vec<Heard>) {
        self.now = self.now.max(at);
        self.give(Input::Tick, heard);
    }

    /// An agent signs in and is ready.
    pub(crate) fn begins(&mut self, at: Timestamp, agent: usize, heard: &mut Vec<Heard>) {
        self.now = at;
        let agent_id = self.agents[agent].clone();
        let facts = vec![
            AgentFact::AgentSignedIn {
                agent_id: agent_id.clone(),
                session_id: id(SessionId::from_name, &at.0.to_string()),
                site_id: None,
            },
            AgentFact::DeviceRegistered {
                agent_id: agent_id.clone(),
                device_id: id(DeviceId::from_name, "replayed"),
                contact_uri: String::new(),
                node_id: self.node.clone(),
                expires_at: Timestamp(i64::MAX),
            },
            AgentFact::AgentBecameReady { agent_id },
        ];
        self.tell_agents(facts, heard);
    }

    /// An agent takes no more contacts.
    pub(crate) fn leaves(&mut self, at: Timestamp, agent: usize, heard: &mut Vec<Heard>) {
        self.now = at;
        let agent_id = self.agents[agent].clone();
        let fact = AgentFact::AgentBecameNotReady { agent_id, reason: "shift over".to_owned(), until: None };
        self.tell_agents(vec![fact], heard);
    }

    /// A call comes to its queue.
    pub(crate) fn comes(&mut self, at: Timestamp, call: usize, it: &Call, heard: &mut Vec<Heard>) {
        self.now = at;
        let (queue_id, required_skills) = self.queues[it.queue].clone();
        let fact = ContactFact::ContactQueueRequested {
            contact_id: contact_id(call),
            company_id: self.company.clone(),
            queue_id,
            visit: 1,
            priority: it.priority,
            enqueued_at: at - it.head_start,
            required_skills,
            node_id: self.node.clone(),
        };
        self.tell_contacts(vec![fact], heard);
    }

    /// How long a call that waits is expected to.
    pub(crate) fn expected(&self, call: usize) -> Option<ExpectedWait> {
        self.router.expected_wait(&contact_id(call))
    }

    /// A caller gives up.
    pub(crate) fn gives_up(&mut self, at: Timestamp, call: usize, heard: &mut Vec<Heard>) {
        self.now = at;
        let ended = self.ended(call, ContactEndCause::Abandoned);
        self.tell_contacts(vec![ended], heard);
    }

    /// A conversation ends. Its agent is free, or after its wrap-up; then the agent is given.
    pub(crate) fn hangs(
        &mut self,
        at: Timestamp,
        call: usize,
        wrap_up: Millis,
        heard: &mut Vec<Heard>,
    ) -> Option<usize> {
        self.now = at;
        let Talk { queue_id, offer_id, agent, token } = self.talks.remove(&call)?;
        let ended = self.ended(call, ContactEndCause::Completed);
        self.tell_contacts(vec![ended], heard);
        let released = AgentFact::ReservationReleased {
            agent_id: self.agents[agent].clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id(call),
            token,
            outcome: ReleaseOutcome::Completed,
        };
        if wrap_up == Millis::ZERO {
            self.tell_agents(vec![released], heard);
            return None;
        }
        let started = AgentFact::WrapUpStarted {
            agent_id: self.agents[agent].clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id(call),
            company_id: self.company.clone(),
            queue_id,
            ends_at: Some(at + wrap_up),
            channel: Channel::Voice,
        };
        self.tell_agents(vec![started, released], heard);
        self.wrap_ups.insert(call, offer_id);
        Some(agent)
    }

    /// A wrap-up is over.
    pub(crate) fn free(&mut self, at: Timestamp, agent: usize, call: usize, heard: &mut Vec<Heard>) {
        self.now = at;
        let Some(offer_id) = self.wrap_ups.remove(&call) else { return };
        let ended = AgentFact::WrapUpEnded {
            agent_id: self.agents[agent].clone(),
            offer_id,
            contact_id: contact_id(call),
            finished_by_agent: false,
            wrap_up_code: String::new(),
        };
        self.tell_agents(vec![ended], heard);
    }

    fn ended(&self, call: usize, cause: ContactEndCause) -> ContactFact {
        ContactFact::ContactEnded {
            contact_id: contact_id(call),
            company_id: Some(self.company.clone()),
            cause,
            by: Party::Caller,
            sip_status: None,
            rtp_received_count: 0,
            rtp_sent_count: 0,
        }
    }

    fn tell_agents(&mut self, facts: Vec<AgentFact>, heard: &mut Vec<Heard>) {
        let input = self.agents_record(facts);
        self.give(input, heard);
    }

    fn agents_record(&mut self, facts: Vec<AgentFact>) -> Input {
        self.agents_position += 1;
        let position = Position(self.agents_position);
        Input::Agents { cell: CELL, position, outcome: outcome(self.now, position.0, facts) }
    }

    fn tell_contacts(&mut self, facts: Vec<ContactFact>, heard: &mut Vec<Heard>) {
        let input = self.contacts_record(facts);
        self.give(input, heard);
    }

    fn contacts_record(&mut self, facts: Vec<ContactFact>) -> Input {
        self.contacts_position += 1;
        let position = Position(self.contacts_position);
        Input::Contacts { position, outcome: outcome(self.now, position.0, facts) }
    }

    /// Gives routing an input, and does at once whatever comes of it.
    fn give(&mut self, input: Input, heard: &mut Vec<Heard>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.router.handle(self.now, input);
            while let Some(output) = self.router.poll() {
                match output {
                    Output::Reserve(wishes) => inputs.extend(self.grant(wishes)),
                    Output::Offer(offer) => {
                        let (contact_id, offer_id) = (offer.contact_id, offer.offer_id);
                        inputs.extend(self.connect(contact_id, offer_id, offer.agent_id, offer.token, heard));
                    }
                    // Nothing here is lost or late, so there is nothing to take back.
                    Output::Append(_) | Output::Cancel(_) | Output::Release(_) | Output::TurnAway(_) => {}
                }
            }
        }
    }

    /// Agent-state grants all: whoever is asked for is free, or routing would not ask.
    fn grant(&mut self, wishes: Vec<Wish>) -> Vec<Input> {
        let mut answers = Vec::new();
        let mut reserved = Vec::new();
        for wish in wishes {
            self.token += 1;
            answers.push((wish.offer_id.clone(), Ok(self.token)));
            reserved.push(AgentFact::AgentReserved {
                agent_id: wish.agent_id,
                offer_id: wish.offer_id,
                contact_id: wish.contact_id,
                company_id: wish.company_id,
                queue_id: wish.queue_id,
                token: self.token,
                node_id: wish.node_id,
                routing_epoch: EPOCH,
                expires_at: wish.expires_at,
                channel: Channel::Voice,
            });
        }
        vec![self.agents_record(reserved), Input::ReservationsAnswered { answers }]
    }

    /// The agent answers as soon as it is called.
    fn connect(
        &mut self,
        contact_id: ContactId,
        offer_id: OfferId,
        agent_id: AgentId,
        token: u64,
        heard: &mut Vec<Heard>,
    ) -> Vec<Input> {
        let call = contact_id.as_str().rsplit('_').next().and_then(|name| name.parse().ok());
        let (Some(call), Some(agent)) = (call, self.agent_places.get(&agent_id).copied()) else {
            return Vec::new();
        };
        let queue_id = self.router.book().waiting(&contact_id).map(|waiting| waiting.queue_id.clone());
        let Some(queue_id) = queue_id else { return Vec::new() };
        let talk = Talk { queue_id: queue_id.clone(), offer_id: offer_id.clone(), agent, token };
        self.talks.insert(call, talk);
        heard.push(Heard { at: self.now, call, agent });
        let accepted = AgentFact::ReservationAccepted {
            agent_id: agent_id.clone(),
            offer_id: offer_id.clone(),
            contact_id: contact_id.clone(),
            token,
        };
        let connected = ContactFact::ContactConnected {
            contact_id,
            company_id: self.company.clone(),
            queue_id,
            visit: 1,
            offer_id,
            agent_id,
            leg_id: id(LegId::from_name, "replayed"),
            waited_ms: Millis::ZERO,
        };
        vec![self.agents_record(vec![accepted]), self.contacts_record(vec![connected])]
    }
}
