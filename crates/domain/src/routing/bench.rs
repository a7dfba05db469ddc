//! A router on a bench: logs as lists, outputs as lines.

use super::*;
use crate::facts::*;
use crate::kernel::Engine;
use crate::vocabulary::*;

pub(super) const QUEUE: &str = "aurora";
pub(super) const NODE: &str = "one";

/// One routing partition with the logs it reads, and everything it ever put out.
pub(super) struct Bench {
    pub router: Router,
    pub now: Timestamp,
    pub own: Vec<Outcome<RoutingFact>>,
    pub contacts: Vec<Outcome<ContactFact>>,
    pub agents: Vec<Outcome<AgentFact>>,
    pub directory: Vec<Outcome<DirectoryFact>>,
    pub outputs: Vec<Output>,
    lines: Vec<String>,
}

pub(super) fn contact_id(name: &str) -> ContactId {
    ContactId::from_name(name).unwrap()
}
pub(super) fn agent_id(name: &str) -> AgentId {
    AgentId::from_name(name).unwrap()
}
pub(super) fn offer_id(name: &str) -> OfferId {
    OfferId::from_name(name).unwrap()
}
pub(super) fn node_id(name: &str) -> NodeId {
    NodeId::from_name(name).unwrap()
}
/// Each a clause: `german`, `german >= 5`, `german or not dutch`.
pub(super) fn clauses(names: &[&str]) -> Vec<Clause> {
    let condition = |text: &str| match text.strip_prefix("not ") {
        Some(rest) => format!("not skl_{rest}"),
        None => format!("skl_{text}"),
    };
    let clause = |text: &str| text.split(" or ").map(condition).collect::<Vec<_>>().join(" or ");
    names.iter().map(|text| clause(text).parse().unwrap()).collect()
}
/// Each a skill: `german`, `german 7`.
pub(super) fn skill_levels(names: &[&str]) -> Vec<SkillLevel> {
    names.iter().map(|name| format!("skl_{name}").parse().unwrap()).collect()
}
fn company_id() -> CompanyId {
    CompanyId::from_name("aurora").unwrap()
}

fn outcome<F: LogFact>(at: Timestamp, position: usize, facts: Vec<F>) -> Outcome<F> {
    let recorded = |(ordinal, fact): (usize, F)| Recorded {
        meta: Meta {
            event_id: EventId::from_name(&format!("{}-{position}-{ordinal}", &F::LOG.as_str()[..1])).unwrap(),
            cell: Cell(0),
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
    Outcome {
        epoch: Epoch(1),
        consumed: Vec::new(),
        facts: facts.into_iter().enumerate().map(recorded).collect(),
    }
}

/// A queue whose offers ring 15 s and come back to who missed them after 30 s.
pub(super) fn queue(name: &str) -> DirectoryFact {
    DirectoryFact::QueueDefined(Queue {
        queue_id: QueueId::from_name(name).unwrap(),
        company_id: company_id(),
        name: name.to_owned(),
        required_skills: Vec::new(),
        priority: 0,
        offer_timeout_ms: Millis::from_secs(15),
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

/// The same, for so many who wait.
pub(super) fn queue_for(name: &str, waiting_count_max: u32) -> DirectoryFact {
    match queue(name) {
        DirectoryFact::QueueDefined(queue) => {
            DirectoryFact::QueueDefined(Queue { waiting_count_max, ..queue })
        }
        other => other,
    }
}

/// The same, with a plan.
pub(super) fn queue_with(name: &str, plan: QueuePlan) -> DirectoryFact {
    match queue(name) {
        DirectoryFact::QueueDefined(queue) => DirectoryFact::QueueDefined(Queue { plan, ..queue }),
        other => other,
    }
}

pub(super) fn agent(name: &str, skills: &[&str]) -> DirectoryFact {
    DirectoryFact::AgentDefined(Agent {
        agent_id: agent_id(name),
        name: name.to_owned(),
        cell: Cell(0),
        site_id: None,
        skills: skill_levels(skills),
        sip_user: name.to_owned(),
        sip_ha1_md5: String::new(),
        sip_ha1_sha256: String::new(),
        team_company_id: None,
        channels: Vec::new(),
    })
}

pub(super) fn requested(name: &str, priority: i32, at: Timestamp, skills: &[&str]) -> ContactFact {
    ContactFact::ContactQueueRequested {
        contact_id: contact_id(name),
        company_id: company_id(),
        queue_id: QueueId::from_name(QUEUE).unwrap(),
        visit: 1,
        priority,
        enqueued_at: at,
        required_skills: clauses(skills),
        node_id: node_id(NODE),
    }
}

/// A contact that comes to a queue of that name.
pub(super) fn to_queue(name: &str, queue: &str, at: Timestamp) -> ContactFact {
    match requested(name, 0, at, &[]) {
        ContactFact::ContactQueueRequested {
            contact_id,
            company_id,
            visit,
            priority,
            enqueued_at,
            required_skills,
            node_id,
            ..
        } => ContactFact::ContactQueueRequested {
            queue_id: QueueId::from_name(queue).unwrap(),
            contact_id,
            company_id,
            visit,
            priority,
            enqueued_at,
            required_skills,
            node_id,
        },
        other => other,
    }
}

/// The same contact, for another visit.
pub(super) fn again(name: &str, visit: u32, queue: &str, at: Timestamp) -> ContactFact {
    match to_queue(name, queue, at) {
        ContactFact::ContactQueueRequested {
            contact_id,
            company_id,
            queue_id,
            priority,
            enqueued_at,
            required_skills,
            node_id,
            ..
        } => ContactFact::ContactQueueRequested {
            contact_id,
            company_id,
            queue_id,
            visit,
            priority,
            enqueued_at,
            required_skills,
            node_id,
        },
        other => other,
    }
}

pub(super) fn overflowed(name: &str) -> ContactFact {
    match flowed_out(name) {
        ContactFact::ContactFlowedOut { contact_id, company_id, queue_id, visit, waited_ms, .. } => {
            let reason = FlowOutReason::Overflowed;
            ContactFact::ContactFlowedOut { contact_id, company_id, queue_id, visit, waited_ms, reason }
        }
        other => other,
    }
}

pub(super) fn abandoned(name: &str) -> ContactFact {
    ContactFact::ContactAbandoned {
        contact_id: contact_id(name),
        company_id: company_id(),
        queue_id: QueueId::from_name(QUEUE).unwrap(),
        visit: 1,
        waited_ms: Millis::ZERO,
    }
}

pub(super) fn flowed_out(name: &str) -> ContactFact {
    ContactFact::ContactFlowedOut {
        contact_id: contact_id(name),
        company_id: company_id(),
        queue_id: QueueId::from_name(QUEUE).unwrap(),
        visit: 1,
        waited_ms: Millis::ZERO,
        reason: FlowOutReason::QueueFull,
    }
}

pub(super) fn connected(name: &str, offer: &str, agent: &str) -> ContactFact {
    ContactFact::ContactConnected {
        contact_id: contact_id(name),
        company_id: company_id(),
        queue_id: QueueId::from_name(QUEUE).unwrap(),
        visit: 1,
        offer_id: offer_id(offer),
        agent_id: agent_id(agent),
        leg_id: LegId::from_name("x").unwrap(),
        waited_ms: Millis::ZERO,
    }
}

pub(super) fn declined(name: &str, offer: &str, agent: &str) -> ContactFact {
    let (contact_id, offer_id, agent_id) = (contact_id(name), offer_id(offer), agent_id(agent));
    ContactFact::OfferDeclined { contact_id, offer_id, agent_id, sip_status: 603 }
}

pub(super) fn unanswered(name: &str, offer: &str, agent: &str) -> ContactFact {
    let (contact_id, offer_id, agent_id) = (contact_id(name), offer_id(offer), agent_id(agent));
    ContactFact::OfferUnanswered { contact_id, offer_id, agent_id, rang_ms: Millis::from_secs(15) }
}

pub(super) fn ended(name: &str) -> ContactFact {
    ContactFact::ContactEnded {
        contact_id: contact_id(name),
        company_id: Some(company_id()),
        cause: ContactEndCause::MediaLost,
        by: Party::System,
        sip_status: None,
        rtp_received_count: 0,
        rtp_sent_count: 0,
    }
}

pub(super) fn registered(name: &str) -> AgentFact {
    AgentFact::DeviceRegistered {
        agent_id: agent_id(name),
        device_id: DeviceId::from_name(name).unwrap(),
        contact_uri: format!("sip:{name}@127.0.0.1"),
        node_id: node_id(NODE),
        expires_at: Timestamp(i64::MAX),
    }
}

pub(super) fn signed_in(name: &str) -> AgentFact {
    AgentFact::AgentSignedIn {
        agent_id: agent_id(name),
        session_id: SessionId::from_name("s").unwrap(),
        site_id: None,
    }
}

pub(super) fn ready(name: &str) -> AgentFact {
    AgentFact::AgentBecameReady { agent_id: agent_id(name) }
}

pub(super) fn not_ready(name: &str) -> AgentFact {
    AgentFact::AgentBecameNotReady { agent_id: agent_id(name), reason: "lunch".to_owned(), until: None }
}

pub(super) fn reserved(name: &str, offer: &str, contact: &str, token: u64, routing_epoch: u64) -> AgentFact {
    AgentFact::AgentReserved {
        agent_id: agent_id(name),
        offer_id: offer_id(offer),
        contact_id: contact_id(contact),
        company_id: company_id(),
        queue_id: QueueId::from_name(QUEUE).unwrap(),
        token,
        node_id: node_id(NODE),
        routing_epoch: Epoch(routing_epoch),
        expires_at: Timestamp(i64::MAX),
        channel: Channel::Voice,
    }
}

pub(super) fn released(
    name: &str,
    offer: &str,
    contact: &str,
    token: u64,
    outcome: ReleaseOutcome,
) -> AgentFact {
    let (contact_id, offer_id, agent_id) = (contact_id(contact), offer_id(offer), agent_id(name));
    AgentFact::ReservationReleased { agent_id, offer_id, contact_id, token, outcome }
}

pub(super) fn accepted(name: &str, offer: &str, contact: &str, token: u64) -> AgentFact {
    let (contact_id, offer_id, agent_id) = (contact_id(contact), offer_id(offer), agent_id(name));
    AgentFact::ReservationAccepted { agent_id, offer_id, contact_id, token }
}

pub(super) fn node_granted(epoch: u64) -> AgentFact {
    AgentFact::LeaseGranted {
        resource: format!("media/nod_{NODE}"),
        holder: node_id(NODE),
        epoch: Epoch(epoch),
        expires_at: Timestamp(i64::MAX),
        address: format!("{NODE}:1"),
    }
}

pub(super) fn node_lapsed(epoch: u64) -> AgentFact {
    AgentFact::LeaseLapsed {
        resource: format!("media/nod_{NODE}"),
        holder: node_id(NODE),
        epoch: Epoch(epoch),
    }
}

impl Bench {
    /// A partition whose logs hold only what is given, taken under `epoch` and caught up, with a media node.
    pub(super) fn new(epoch: u64, definitions: Vec<DirectoryFact>) -> Self {
        let mut bench = Self::empty();
        let begin = DirectoryFact::RevisionApplied {
            revision: 1,
            author: "ada".to_owned(),
            effective_at: Timestamp(0),
            source_sha256: String::new(),
        };
        bench.define(std::iter::once(begin).chain(definitions).collect());
        bench.tell_agents(vec![node_granted(1)]);
        bench.take(epoch);
        bench.lines.clear();
        bench
    }

    fn empty() -> Self {
        Self {
            router: Router::new(Cell(0)),
            now: Timestamp(0),
            own: Vec::new(),
            contacts: Vec::new(),
            agents: Vec::new(),
            directory: Vec::new(),
            outputs: Vec::new(),
            lines: Vec::new(),
        }
    }

    fn take(&mut self, epoch: u64) {
        self.give(Input::Taken { owner: node_id("owner"), epoch: Epoch(epoch) });
        self.give(Input::CaughtUp);
    }

    /// The partition after its owner died and another took it: everything is read again from the logs.
    pub(super) fn restarted(self, epoch: u64) -> Self {
        let mut bench = Self::empty();
        bench.now = self.now;
        for outcome in &self.own {
            bench.router.handle(bench.now, Input::Own(outcome.clone()));
        }
        bench.own = self.own;
        for (index, outcome) in self.directory.iter().enumerate() {
            let position = Position(index as u64);
            bench.give(Input::Directory { position, outcome: outcome.clone() });
        }
        for (index, outcome) in self.agents.iter().enumerate() {
            let position = Position(index as u64);
            bench.give(Input::Agents { cell: Cell(0), position, outcome: outcome.clone() });
        }
        (bench.directory, bench.agents) = (self.directory, self.agents);
        bench.give(Input::Taken { owner: node_id("owner"), epoch: Epoch(epoch) });
        // From the start: what was consumed is known from the own log, and passed over.
        for (index, outcome) in self.contacts.iter().enumerate() {
            let position = Position(index as u64);
            bench.give(Input::Contacts { position, outcome: outcome.clone() });
        }
        bench.contacts = self.contacts;
        bench.give(Input::CaughtUp);
        bench
    }

    pub(super) fn give(&mut self, input: Input) {
        self.router.handle(self.now, input);
        self.take_outputs();
    }

    /// What an order led to.
    pub(super) fn take_outputs(&mut self) {
        while let Some(output) = self.router.poll() {
            self.lines.extend(lines(&output));
            if let Output::Append(outcome) = &output {
                self.own.push(outcome.clone());
            }
            self.outputs.push(output);
        }
    }

    pub(super) fn define(&mut self, facts: Vec<DirectoryFact>) {
        let position = Position(self.directory.len() as u64);
        let outcome = outcome(self.now, self.directory.len(), facts);
        self.directory.push(outcome.clone());
        self.give(Input::Directory { position, outcome });
    }

    pub(super) fn tell_agents(&mut self, facts: Vec<AgentFact>) {
        let position = Position(self.agents.len() as u64);
        let outcome = outcome(self.now, self.agents.len(), facts);
        self.agents.push(outcome.clone());
        self.give(Input::Agents { cell: Cell(0), position, outcome });
    }

    pub(super) fn tell_contacts(&mut self, facts: Vec<ContactFact>) {
        let position = Position(self.contacts.len() as u64);
        let outcome = outcome(self.now, self.contacts.len(), facts);
        self.contacts.push(outcome.clone());
        self.give(Input::Contacts { position, outcome });
    }

    /// Appends to the agents log without telling the router.
    pub(super) fn log_agents(&mut self, facts: Vec<AgentFact>) {
        self.agents.push(outcome(self.now, self.agents.len(), facts));
    }

    /// Appends to the contacts log without telling the router.
    pub(super) fn log_contacts(&mut self, facts: Vec<ContactFact>) {
        self.contacts.push(outcome(self.now, self.contacts.len(), facts));
    }

    /// An agent signs in, has a telephone and becomes ready.
    pub(super) fn comes(&mut self, name: &str) {
        self.tell_agents(vec![signed_in(name), registered(name), ready(name)]);
    }

    /// A contact comes to the queue.
    pub(super) fn queues(&mut self, name: &str, skills: &[&str]) {
        let fact = requested(name, 0, self.now, skills);
        self.tell_contacts(vec![fact]);
    }

    pub(super) fn granted(&mut self, offer: &str, token: u64) {
        self.give(Input::ReservationsAnswered { answers: vec![(offer_id(offer), Ok(token))] });
    }

    pub(super) fn refused(&mut self, offer: &str, code: &str) {
        self.give(Input::ReservationsAnswered { answers: vec![(offer_id(offer), Err(code.to_owned()))] });
    }

    /// Lets time pass, waking the router whenever it wants to be.
    pub(super) fn wait(&mut self, span: Millis) {
        let until = self.now + span;
        while let Some(at) = self.router.next_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.give(Input::Tick);
        }
        self.now = until;
    }

    /// What was put out since this was last asked, one line each.
    pub(super) fn told(&mut self) -> String {
        std::mem::take(&mut self.lines).iter().map(|line| format!("{line}\n")).collect()
    }

    /// The last offer made.
    pub(super) fn last_offer(&self) -> OfferCommand {
        let offer = self.outputs.iter().rev().find_map(|output| match output {
            Output::Offer(command) => Some(command.clone()),
            _ => None,
        });
        offer.unwrap()
    }
}

fn lines(output: &Output) -> Vec<String> {
    match output {
        Output::Append(outcome) if outcome.facts.is_empty() => vec!["consumed".to_owned()],
        Output::Append(outcome) => outcome.facts.iter().map(|fact| fact_line(&fact.fact)).collect(),
        Output::Reserve(wishes) => wishes
            .iter()
            .map(|it| {
                format!(
                    "→ reserve {} for {} until {}: {}",
                    it.agent_id, it.contact_id, it.expires_at.0, it.offer_id
                )
            })
            .collect(),
        Output::Offer(it) => vec![format!("→ offer {} of {} to {}", it.offer_id, it.contact_id, it.agent_id)],
        Output::TurnAway(it) => match &it.to_queue_id {
            None => vec![format!("→ turn away {} at {}", it.contact_id, it.address)],
            Some(queue_id) => vec![format!("→ send {} to {queue_id} at {}", it.contact_id, it.address)],
        },
        Output::Cancel(it) => vec![format!("→ cancel {}", it.offer_id)],
        Output::Release(it) => vec![format!("→ release {} token {}", it.agent_id, it.token)],
    }
}

fn fact_line(fact: &RoutingFact) -> String {
    match fact {
        RoutingFact::ContactQueued { contact_id, place, .. } => format!("queued {contact_id} at {place}"),
        RoutingFact::ContactReplanned {
            contact_id, priority, required_skills, waited_ms, author, ..
        } => {
            let needs: Vec<String> = required_skills.iter().map(ToString::to_string).collect();
            let waited_s = waited_ms.0 / 1_000;
            let needs = needs.join(", ");
            format!(
                "replanned {contact_id} after {waited_s} s by {author}: priority {priority}, needs {needs}"
            )
        }
        RoutingFact::StepBegan { contact_id, step, priority, required_skills, waited_ms, .. } => {
            let needs: Vec<String> = required_skills.iter().map(ToString::to_string).collect();
            let waited_s = waited_ms.0 / 1_000;
            format!(
                "step {step} of {contact_id} after {waited_s} s: priority {priority}, needs {}",
                needs.join(", ")
            )
        }
        RoutingFact::ReservationRefused { agent_id, contact_id, reason, .. } => {
            format!("refused {agent_id} for {contact_id}: {reason}")
        }
        RoutingFact::OfferMade { contact_id, agent_id, round, passed_over, .. } => {
            let over = passed_over.iter().map(|it| format!(", not {} ({})", it.agent_id, it.reason.as_str()));
            format!("offered {contact_id} to {agent_id}, round {round}{}", over.collect::<String>())
        }
        RoutingFact::OfferAccepted { contact_id, agent_id, .. } => {
            format!("accepted {contact_id} by {agent_id}")
        }
        RoutingFact::OfferEnded { offer_id, end, .. } => format!("ended {offer_id} {end:?}"),
        RoutingFact::ContactDequeued { contact_id, reason, .. } => format!("left {contact_id} {reason:?}"),
        RoutingFact::ContactTurnedAway { contact_id, waiting_count, .. } => {
            format!("turned away {contact_id}, {waiting_count} wait")
        }
        RoutingFact::PartitionTaken { epoch, .. } => format!("taken {epoch}"),
    }
}
