//! Commands under way: asked again, of whomever may lead, under the same id until somebody answers.

use std::collections::BTreeMap;

use trunkline_domain::agent_state::{Action, Reply};
use trunkline_domain::vocabulary::{CommandId, Millis, Timestamp};

use crate::message::{Address, Message, NotLeader};
use crate::turn::{Effect, Turn};

/// How long an answer is waited for.
const ANSWER_TIME_MAX: (i64, i64) = (350, 700);
/// Before another voter is asked, when nobody is known to lead.
const PAUSE: Millis = Millis(80);

/// The commands of one client.
#[derive(Debug)]
pub(crate) struct Asks {
    name: String,
    count: u64,
    open: BTreeMap<CommandId, Open>,
    guess: Option<u32>,
}

#[derive(Debug)]
struct Open {
    action: Action,
    asked_at: Timestamp,
    again_at: Timestamp,
    give_up_at: Option<Timestamp>,
}

/// An answer and what it was asked.
pub(crate) struct Answered {
    pub(crate) action: Action,
    pub(crate) asked_at: Timestamp,
    pub(crate) reply: Reply,
}

impl Asks {
    pub(crate) fn new(name: String) -> Self {
        Self { name, count: 0, open: BTreeMap::new(), guess: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether something like that is under way.
    pub(crate) fn any(&self, which: impl Fn(&Action) -> bool) -> bool {
        self.open.values().any(|it| which(&it.action))
    }

    /// Forgets what is under way. What was sent may still arrive.
    pub(crate) fn forget(&mut self) {
        self.open.clear();
    }

    /// Forgets those, which nobody waits for any more.
    pub(crate) fn drop_those(&mut self, which: impl Fn(&Action) -> bool) {
        self.open.retain(|_, it| !which(&it.action));
    }

    /// Asks for something; for at most `patience`, for ever when there is none.
    pub(crate) fn ask(&mut self, action: Action, patience: Option<Millis>, turn: &mut Turn<'_>) {
        self.count += 1;
        let command_id = CommandId::from_name(&format!("{}-{}", self.name, self.count))
            .expect("names of clients are letters and digits");
        turn.effects.push(Effect::Issued { command_id: command_id.clone(), action: action.clone() });
        let give_up_at = patience.map(|span| turn.now + span);
        let again_at = turn.now + Millis(turn.chance.between(ANSWER_TIME_MAX.0, ANSWER_TIME_MAX.1));
        self.send(command_id.clone(), action.clone(), turn);
        self.open.insert(command_id, Open { action, asked_at: turn.now, again_at, give_up_at });
    }

    /// Asks again what was not answered.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        self.open.retain(|_, it| it.give_up_at.is_none_or(|at| at > now));
        let mut again = Vec::new();
        for (command_id, it) in &mut self.open {
            if it.again_at <= now {
                it.again_at = now + Millis(turn.chance.between(ANSWER_TIME_MAX.0, ANSWER_TIME_MAX.1));
                again.push((command_id.clone(), it.action.clone()));
            }
        }
        if !again.is_empty() {
            self.guess = None;
        }
        for (command_id, action) in again {
            self.send(command_id, action, turn);
        }
    }

    fn send(&mut self, command_id: CommandId, action: Action, turn: &mut Turn<'_>) {
        let known = self.guess.filter(|it| turn.sight.voters.contains(it));
        let Some(voter) = known.or_else(|| turn.chance.pick(&turn.sight.voters).copied()) else { return };
        self.guess = Some(voter);
        turn.send(Address::Voter(voter), Message::Ask { command_id, action });
    }

    /// Takes an answer; gives it once.
    pub(crate) fn hear(
        &mut self,
        command_id: CommandId,
        answer: Result<Reply, NotLeader>,
        turn: &mut Turn<'_>,
    ) -> Option<Answered> {
        match answer {
            Ok(reply) => {
                let acknowledged =
                    Effect::Acknowledged { command_id: command_id.clone(), reply: reply.clone() };
                turn.effects.push(acknowledged);
                let Open { action, asked_at, .. } = self.open.remove(&command_id)?;
                Some(Answered { action, asked_at, reply })
            }
            Err(NotLeader { leader }) => {
                let open = self.open.get_mut(&command_id)?;
                self.guess = leader;
                open.again_at = turn.now + PAUSE;
                if leader.is_some() {
                    open.again_at =
                        turn.now + Millis(turn.chance.between(ANSWER_TIME_MAX.0, ANSWER_TIME_MAX.1));
                    let action = open.action.clone();
                    self.send(command_id, action, turn);
                }
                None
            }
        }
    }
}
