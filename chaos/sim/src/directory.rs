//! The directory: says who may sign in, and now and then that somebody may not.

use std::collections::BTreeMap;

use trunkline_domain::agent_state::{Action, QueuePolicy, Roster};
use trunkline_domain::facts::{Agent, DirectoryFact, LogFact, Meta, Outcome, Queue, Recorded, WrapUpMode};
use trunkline_domain::vocabulary::{
    Ageing, AgentId, Cell, Channel, ChannelRule, Channels, CompanyId, Epoch, EventId, Millis, QueueId,
    QueuePlan, Step,
};

use crate::agenda::BEGINNING;
use crate::clients::Asks;
use crate::message::Message;
use crate::turn::{Phase, Turn};

/// Between two looks at whether the roster should change, in ticks of clients: one in so many.
const CHANGES: u32 = 6;

/// What it says, and whether agent-state was told.
#[derive(Debug)]
pub(crate) struct Directory {
    agents: Vec<(AgentId, Cell)>,
    asks: Asks,
    roster: Roster,
    told: u64,
}

impl Directory {
    pub(crate) fn new(agents: Vec<(AgentId, Cell)>, asks: Asks) -> Self {
        let mut directory = Self { agents, asks, roster: Roster::default(), told: 0 };
        directory.complete();
        directory
    }

    /// Everybody may sign in.
    pub(crate) fn complete(&mut self) {
        let main = QueueId::from_name("main").expect("letters");
        let policy = QueuePolicy {
            wrap_up: Millis(1_200),
            miss_count_max: 3,
            wrap_up_extension_max: Millis(1_500),
            miss_return: Millis(2_500),
            ..QueuePolicy::default()
        };
        self.roster = Roster {
            revision: self.roster.revision + 1,
            agents: self.agents.iter().cloned().collect(),
            queues: BTreeMap::from([(main, policy)]),
            reasons: BTreeMap::new(),
            channels: self.agents.iter().map(|(agent_id, _)| (agent_id.clone(), served(agent_id))).collect(),
        };
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if turn.sight.phase == Phase::Storm && turn.chance.happens(CHANGES) {
            if self.roster.agents.len() < self.agents.len() {
                self.complete();
            } else if let Some((agent_id, _)) = turn.chance.pick(&self.agents) {
                self.roster.agents.remove(agent_id);
                self.roster.revision += 1;
            }
        }
        self.asks.tick(turn);
        if self.told < self.roster.revision && self.asks.is_empty() {
            self.asks.ask(Action::DefineRoster(self.roster.clone()), None, turn);
        }
    }

    pub(crate) fn hear(&mut self, message: Message, turn: &mut Turn<'_>) {
        let Message::Answer { command_id, answer } = message else { return };
        if let Some(answered) = self.asks.hear(command_id, answer, turn)
            && let (Action::DefineRoster(roster), Ok(_)) = (answered.action, answered.reply)
        {
            self.told = self.told.max(roster.revision);
        }
    }
}

/// What an agent serves at once: every other one has calls alone, the rest also two chats that a call may interrupt, and a
/// letter that both may.
pub(crate) fn served(agent_id: &AgentId) -> Channels {
    use Channel::{Chat, Email, Voice};
    let last = agent_id.as_str().bytes().last().unwrap_or_default();
    let rule = |channel, capacity, by: &[Channel]| ChannelRule {
        channel,
        capacity,
        interrupted_by: by.iter().copied().collect(),
    };
    let rules = [rule(Voice, 1, &[]), rule(Chat, 2, &[Voice]), rule(Email, 1, &[Voice, Chat])];
    let some = rules.into_iter().take(if last.is_multiple_of(2) { 3 } else { 1 });
    Channels::new(some).expect("each channel once, within its bounds")
}

/// What the directory log says, once and for all: a queue, another that it overflows into, and every agent.
pub(crate) fn definitions(agents: &[(AgentId, Cell)]) -> Outcome<DirectoryFact> {
    let step = |after_ms| Step { after_ms: Millis(after_ms), ..Step::default() };
    // Who waits long comes sooner, and at last goes where nobody ages.
    let ageing = QueuePlan {
        ageing: Some(Ageing { every_ms: Millis(2_000), by: 1, most: 4 }),
        steps: vec![
            Step { priority: Some(-5), ..step(3_000) },
            Step { overflow_queue_id: QueueId::from_name("rest").ok(), ..step(6_000) },
        ],
        ..QueuePlan::default()
    };
    let queue = |name: &str, plan| {
        DirectoryFact::QueueDefined(Queue {
            queue_id: QueueId::from_name(name).expect("letters"),
            company_id: CompanyId::from_name("acme").expect("letters"),
            name: name.to_owned(),
            required_skills: Vec::new(),
            priority: 0,
            offer_timeout_ms: Millis(3_000),
            wrap_up_ms: Millis(1_200),
            wait_ms_max: Millis(20_000),
            waiting_count_max: 5,
            miss_count_max: 3,
            wrap_up_mode: WrapUpMode::default(),
            wrap_up_code_required: false,
            wrap_up_extension_ms_max: Millis(1_500),
            miss_reason: String::new(),
            miss_return_ms: Millis(2_500),
            plan,
            reoffer_after_ms: Millis(1_500),
        })
    };
    let agent = |(agent_id, cell): &(AgentId, Cell)| {
        DirectoryFact::AgentDefined(Agent {
            agent_id: agent_id.clone(),
            name: agent_id.to_string(),
            cell: *cell,
            site_id: None,
            skills: Vec::new(),
            sip_user: agent_id.to_string(),
            sip_ha1_md5: String::new(),
            sip_ha1_sha256: String::new(),
            team_company_id: None,
            channels: Vec::new(),
        })
    };
    let queues = [queue("main", ageing), queue("rest", QueuePlan::default())];
    let facts = queues.into_iter().chain(agents.iter().map(agent));
    let recorded = facts.zip(1..).map(|(fact, sequence)| Recorded {
        meta: Meta {
            event_id: EventId::from_name(&format!("d{sequence}")).expect("a letter and a number"),
            cell: Cell(0),
            stream: fact.stream(),
            sequence: 1,
            occurred_at: BEGINNING,
            recorded_at: BEGINNING,
            correlation_id: None,
            causation_id: None,
            traceparent: String::new(),
        },
        fact,
    });
    Outcome { epoch: Epoch(1), consumed: Vec::new(), facts: recorded.collect() }
}
