//! An agent at a desk: signs in and out, takes breaks, changes devices, and tries again when nobody answers.

use trunkline_domain::agent_state::{Action, Device, Done, Force, Rejection, Said};
use trunkline_domain::vocabulary::{AgentId, CommandId, DeviceId, Millis, NodeId, SessionId, Timestamp};

use super::Asks;
use crate::message::{Message, NotLeader};
use crate::turn::{Phase, Turn};
use trunkline_domain::agent_state::Reply;

/// How long somebody waits for an answer before doing something else.
const PATIENCE: Millis = Millis(2_500);

/// How long a session lasts without a sign of life.
const SESSION_LEASE: Millis = Millis(4_000);

/// One agent.
#[derive(Debug)]
pub(crate) struct Person {
    agent_id: AgentId,
    asks: Asks,
    /// As far as the desktop knows.
    signed_in: bool,
    session_count: u64,
    /// The live session, as far as the desktop knows, and the number of what it said last in it.
    said: Said,
    next_at: Timestamp,
}

impl Person {
    pub(crate) fn new(agent_id: AgentId, number: u32) -> Self {
        let asks = Asks::new(format!("p{number}"));
        Self {
            agent_id,
            asks,
            signed_in: false,
            session_count: 0,
            said: Said::default(),
            next_at: Timestamp(0),
        }
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if turn.sight.phase == Phase::Quiet {
            return self.asks.forget();
        }
        self.asks.tick(turn);
        if !self.asks.is_empty() || turn.now < self.next_at {
            return;
        }
        let storm = turn.sight.phase == Phase::Storm;
        let action = if storm { self.whim(turn) } else { self.duty(turn) };
        self.next_at = turn.now + if storm { Millis(turn.chance.between(200, 2_200)) } else { Millis(400) };
        // Who gives up does not know whether the command will take effect.
        let patience = (storm && turn.chance.happens(300)).then_some(PATIENCE);
        self.asks.ask(action, patience, turn);
    }

    /// Anything an agent may do; mostly work.
    fn whim(&mut self, turn: &mut Turn<'_>) -> Action {
        let agent_id = self.agent_id.clone();
        if !self.signed_in && turn.chance.happens(850) {
            return self.sign_in();
        }
        match turn.chance.below(124) {
            0..50 => Action::GoReady { agent_id, said: self.says() },
            50..62 => {
                let duration = Millis(*turn.chance.pick(&[0, 400, 1_500, 4_000]).unwrap_or(&0));
                Action::GoNotReady { agent_id, reason: "break".to_owned(), duration, said: self.says() }
            }
            62..66 => Action::FinishWrapUp { agent_id, offer_id: None, code: String::new() },
            72..77 => Action::SignOut { agent_id, reason: "done".to_owned(), said: self.says() },
            77..80 => self.sign_in(),
            80..97 => self.device(turn),
            100..104 => Action::RequestWrapUp { agent_id, offer_id: None },
            66..72 | 104..108 => {
                let span = Millis(turn.chance.between(100, 900));
                Action::ExtendWrapUp { agent_id, offer_id: None, span }
            }
            108..112 => {
                let rest = Force::NotReady { reason: "break".to_owned(), duration: Millis(1_000) };
                let force = match turn.chance.below(3) {
                    0 => Force::Ready,
                    1 => rest,
                    _ => Force::SignedOut,
                };
                Action::ForcePresence {
                    agent_id,
                    force,
                    author: "usr_supervisor".to_owned(),
                    reason: "rush".to_owned(),
                }
            }
            112..124 => self.keep_session(),
            _ => {
                let device_id = DeviceId::from_name("phone-1").expect("letters, a dash and a digit");
                Action::UnregisterDevice { agent_id, device_id, reason: "unplugged".to_owned() }
            }
        }
    }

    /// What makes an agent usable.
    fn duty(&mut self, turn: &mut Turn<'_>) -> Action {
        match turn.chance.below(4) {
            _ if !self.signed_in => self.sign_in(),
            0 => self.device(turn),
            1 => self.keep_session(),
            _ => Action::GoReady { agent_id: self.agent_id.clone(), said: self.says() },
        }
    }

    /// The next of the desktop's words; of a session it does not know it does not count them.
    fn says(&mut self) -> Said {
        if self.said.session_id.is_none() {
            return Said::default();
        }
        self.said.sequence += 1;
        self.said.clone()
    }

    fn keep_session(&mut self) -> Action {
        match self.said.session_id.clone() {
            Some(session_id) => Action::KeepSession { agent_id: self.agent_id.clone(), session_id },
            None => self.sign_in(),
        }
    }

    fn sign_in(&mut self) -> Action {
        self.session_count += 1;
        let name = self.agent_id.as_str().trim_start_matches("agt_");
        let session_id = SessionId::from_name(&format!("{name}-{}", self.session_count))
            .expect("an agent's name and a number");
        // Every other desktop gives signs of life.
        let lease = if self.session_count.is_multiple_of(2) { SESSION_LEASE } else { Millis::ZERO };
        Action::SignIn { agent_id: self.agent_id.clone(), session_id, site_id: None, lease }
    }

    fn device(&self, turn: &mut Turn<'_>) -> Action {
        let number = turn.chance.between(1, 2);
        let device = Device {
            contact_uri: format!("sip:{}@10.0.0.{number}", self.agent_id),
            node_id: NodeId::from_name("m1").expect("a letter and a digit"),
            expires_at: turn.now + Millis(turn.chance.between(1_000, 12_000)),
        };
        let device_id = DeviceId::from_name(&format!("phone-{number}")).expect("letters, a dash and a digit");
        Action::RegisterDevice { agent_id: self.agent_id.clone(), device_id, device }
    }

    pub(crate) fn hear(&mut self, message: Message, turn: &mut Turn<'_>) {
        if let Message::Answer { command_id, answer } = message {
            self.answered(command_id, answer, turn);
        }
    }

    fn answered(&mut self, command_id: CommandId, answer: Result<Reply, NotLeader>, turn: &mut Turn<'_>) {
        let Some(answered) = self.asks.hear(command_id, answer, turn) else { return };
        match (answered.action, answered.reply) {
            (Action::SignIn { .. }, Ok(Done::SignedIn { session_id, client_sequence })) => {
                self.signed_in = true;
                self.said = Said { session_id: Some(session_id), sequence: client_sequence };
            }
            // A desktop that was opened twice, or whose first sign-in it was not told of.
            (_, Err(Rejection::AlreadySignedIn { session_id } | Rejection::WrongSession { session_id })) => {
                self.signed_in = true;
                self.said = Said { session_id: Some(session_id), sequence: 0 };
            }
            (_, Err(Rejection::OutOfOrder { seen })) => self.said.sequence = seen,
            (Action::SignOut { .. }, Ok(_)) | (_, Err(Rejection::NotSignedIn)) => {
                (self.signed_in, self.said) = (false, Said::default());
            }
            _ => {}
        }
    }
}
