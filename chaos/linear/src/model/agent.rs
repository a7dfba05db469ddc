//! An agent: session, presence, at most one reservation, wrap-up.

use serde::{Deserialize, Serialize};

use super::{Answer, Mark, Reply, refused};

/// So many offers missed in a row make an agent not ready; the workload's queue says so.
pub const MISS_COUNT_MAX: u32 = 2;

/// What may be asked about an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentCall {
    /// Begins a session.
    SignIn {
        /// Of this name.
        session: Mark,
    },
    /// Ends it.
    SignOut,
    /// Takes contacts.
    GoReady,
    /// Takes none.
    GoNotReady {
        /// For this reason.
        reason: Mark,
    },
    /// Holds the agent for an offer; asked again, for the same one.
    Reserve {
        /// Which.
        offer: Mark,
    },
    /// The agent answered.
    Accept {
        /// Which offer.
        offer: Mark,
        /// Its token.
        token: u64,
    },
    /// The reservation is over.
    Release {
        /// Which offer.
        offer: Mark,
        /// Its token.
        token: u64,
        /// How it ended.
        ending: Ending,
    },
    /// After-contact work is over.
    FinishWrapUp,
    /// A linearizable read.
    Read,
}

/// How a reservation may be ended by those who asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the outcomes of the lexicon")]
pub enum Ending {
    Completed,
    Declined,
    Unanswered,
    CallerGone,
    Rescinded,
    MediaLost,
}

/// What an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words of the lexicon")]
pub enum Activity {
    SignedOut,
    NotReady,
    Ready,
    Reserved,
    Talking,
    WrapUp,
}

/// Why an agent is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It has just signed in.
    SignedIn,
    /// It missed too many offers.
    Missed,
    /// It said so.
    Said(Mark),
}

/// An agent as a read has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// What it does.
    pub activity: Activity,
    /// Why it is not ready.
    pub reason: Option<Reason>,
    /// Its session.
    pub session: Option<Mark>,
    /// The offer of its contact, reserved, talking or in wrap-up.
    pub contact: Option<Mark>,
}

/// The state of an agent; signed out and never seen at first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Agent {
    session: Option<Mark>,
    /// Ready, unless there is a reason.
    not_ready: Option<Reason>,
    /// What becomes of it behind contact and wrap-up.
    next: Option<Reason>,
    held: Option<Held>,
    wrap_up: Option<Mark>,
    missed_count: u32,
    /// The highest token that was told.
    highest: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Held {
    offer: Mark,
    /// `None` while nobody was told.
    token: Option<u64>,
    accepted: bool,
}

impl Agent {
    pub(super) fn step(&self, call: &AgentCall, reply: Option<&Reply>) -> Option<Self> {
        let (mut after, answer) = self.answer(call);
        match (answer, reply) {
            (_, None) => Some(after),
            // Tokens grow, as the places in the log that they are made of.
            (Answer::NewToken | Answer::HiddenToken, Some(Reply::Token(token))) if *token > self.highest => {
                after.highest = *token;
                if let Some(held) = &mut after.held {
                    held.token = Some(*token);
                }
                Some(after)
            }
            (Answer::Just(expected), Some(reply)) if expected == *reply => Some(after),
            _ => None,
        }
    }

    /// The state afterwards, where a new token is one that nobody was told, and what would be answered.
    pub(super) fn answer(&self, call: &AgentCall) -> (Self, Answer) {
        let mut after = self.clone();
        let answer = match *call {
            AgentCall::SignIn { session } => after.sign_in(session),
            AgentCall::Read => Answer::Just(Reply::Seen(self.seen())),
            AgentCall::Reserve { offer } => after.reserve(offer),
            AgentCall::Accept { offer, token } => after.accept(offer, token),
            AgentCall::Release { offer, token, ending } => after.release(offer, token, ending),
            _ if self.session.is_none() => refused("NOT_SIGNED_IN"),
            AgentCall::SignOut => after.sign_out(),
            AgentCall::GoReady => after.go_ready(),
            AgentCall::GoNotReady { reason } => after.go_not_ready(Reason::Said(reason)),
            AgentCall::FinishWrapUp => after.finish_wrap_up(),
        };
        (after, answer)
    }

    fn sign_in(&mut self, session: Mark) -> Answer {
        if self.session.is_some_and(|live| live != session) {
            return refused("ALREADY_SIGNED_IN");
        }
        if self.session.is_none() {
            self.session = Some(session);
            self.not_ready = Some(Reason::SignedIn);
            self.missed_count = 0;
        }
        Answer::Just(Reply::Session(session))
    }

    fn sign_out(&mut self) -> Answer {
        let session = self.session.take();
        (self.held, self.wrap_up, self.next, self.not_ready) = (None, None, None, None);
        session.map_or_else(|| refused("NOT_SIGNED_IN"), |session| Answer::Just(Reply::Session(session)))
    }

    fn go_ready(&mut self) -> Answer {
        (self.next, self.not_ready, self.missed_count) = (None, None, 0);
        Answer::Just(Reply::Done)
    }

    fn go_not_ready(&mut self, reason: Reason) -> Answer {
        let place = if self.busy() { &mut self.next } else { &mut self.not_ready };
        *place = Some(reason);
        Answer::Just(Reply::Done)
    }

    fn reserve(&mut self, offer: Mark) -> Answer {
        match &self.held {
            Some(Held { offer: held, token, .. }) if *held == offer => {
                return token.map_or(Answer::HiddenToken, |token| Answer::Just(Reply::Token(token)));
            }
            Some(_) => return refused("ALREADY_RESERVED"),
            None => {}
        }
        match (self.session, self.wrap_up, self.not_ready) {
            (None, ..) => refused("NOT_SIGNED_IN"),
            (_, Some(_), _) => refused("IN_WRAP_UP"),
            (.., Some(_)) => refused("NOT_READY"),
            _ => {
                self.held = Some(Held { offer, token: None, accepted: false });
                Answer::NewToken
            }
        }
    }

    fn accept(&mut self, offer: Mark, token: u64) -> Answer {
        match &mut self.held {
            Some(held) if held.offer == offer && held.token == Some(token) => {
                if !held.accepted {
                    held.accepted = true;
                    self.missed_count = 0;
                }
                Answer::Just(Reply::Done)
            }
            _ => refused("NO_SUCH_RESERVATION"),
        }
    }

    fn release(&mut self, offer: Mark, token: u64, ending: Ending) -> Answer {
        let live = |held: &&Held| held.offer == offer && held.token == Some(token);
        let Some(accepted) = self.held.as_ref().filter(live).map(|held| held.accepted) else {
            return Answer::Just(Reply::Released(false));
        };
        match (accepted, ending) {
            (true, Ending::Rescinded) => return refused("ALREADY_ACCEPTED"),
            (false, Ending::Completed) => return refused("NOT_ACCEPTED"),
            (true, Ending::Completed | Ending::MediaLost) => {
                self.held = None;
                self.wrap_up = Some(offer);
                return Answer::Just(Reply::Released(true));
            }
            (false, Ending::Declined | Ending::Unanswered) => {
                self.missed_count += 1;
                if self.missed_count >= MISS_COUNT_MAX {
                    self.missed_count = 0;
                    self.next.get_or_insert(Reason::Missed);
                }
            }
            _ => {}
        }
        self.held = None;
        self.become_next();
        Answer::Just(Reply::Released(true))
    }

    fn finish_wrap_up(&mut self) -> Answer {
        if self.wrap_up.take().is_none() {
            return refused("NOT_IN_WRAP_UP");
        }
        self.become_next();
        Answer::Just(Reply::Done)
    }

    fn become_next(&mut self) {
        if let Some(next) = self.next.take() {
            self.not_ready = Some(next);
        }
    }

    fn busy(&self) -> bool {
        self.held.is_some() || self.wrap_up.is_some()
    }

    fn seen(&self) -> Seen {
        let activity = match (self.session, &self.held, self.wrap_up, self.not_ready) {
            (None, ..) => Activity::SignedOut,
            (_, Some(Held { accepted: false, .. }), ..) => Activity::Reserved,
            (_, Some(Held { accepted: true, .. }), ..) => Activity::Talking,
            (_, _, Some(_), _) => Activity::WrapUp,
            (.., None) => Activity::Ready,
            (.., Some(_)) => Activity::NotReady,
        };
        let contact = self.held.as_ref().map(|held| held.offer).or(self.wrap_up);
        Seen { activity, reason: self.not_ready, session: self.session, contact }
    }
}
