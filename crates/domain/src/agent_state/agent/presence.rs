//! Presence: whether an agent takes contacts, as it said.

use super::{Agent, Moment, choice};
use crate::agent_state::command::{Force, Said};
use crate::agent_state::reply::Rejection;
use crate::agent_state::{FEATURE_LEVEL_STEADINESS, REASON_LOST};
use crate::facts::AgentFact;
use crate::vocabulary::{Millis, Timestamp};

/// Whether an agent takes contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Ready,
    /// It does not.
    NotReady {
        /// Why.
        reason: String,
        /// When it is ready again by itself.
        until: Option<Timestamp>,
        /// Set while the time the operator grants for this reason has not passed.
        limit: Option<PauseLimit>,
    },
}

/// How long a pause may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PauseLimit {
    /// As the directory said when the pause began.
    pub length: Millis,
    /// When that has passed.
    pub passes_at: Timestamp,
}

impl Presence {
    /// Not ready, until it says otherwise.
    pub(super) fn not_ready(reason: String) -> Self {
        Self::NotReady { reason, until: None, limit: None }
    }

    /// When something about it happens by itself.
    pub fn deadline(&self) -> Option<Timestamp> {
        match self {
            Self::Ready => None,
            Self::NotReady { until, limit, .. } => {
                [*until, limit.map(|it| it.passes_at)].into_iter().flatten().min()
            }
        }
    }
}

/// What becomes of an agent once contact and wrap-up are over, instead of ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// It takes no contacts.
    NotReady {
        /// Why.
        reason: String,
        /// How long from then on; zero until said otherwise.
        duration: Millis,
    },
    /// Its session ends, without wrap-up: a supervisor said so, and whoever is sent away writes nothing down.
    SignedOut {
        /// Why.
        reason: String,
    },
}

impl Agent {
    pub(in crate::agent_state) fn go_ready(
        &mut self,
        said: Said,
        moment: &mut Moment<'_>,
    ) -> Result<(), Rejection> {
        self.choose(said, choice::ready(), moment, Self::choose_ready)
    }

    pub(in crate::agent_state) fn go_not_ready(
        &mut self,
        reason: String,
        duration: Millis,
        said: Said,
        moment: &mut Moment<'_>,
    ) -> Result<(), Rejection> {
        let allowed = moment.roster.allows(&reason);
        self.choose(said, choice::not_ready(&reason, duration), moment, |agent, moment| {
            if !allowed {
                return Err(Rejection::UnknownReason);
            }
            agent.choose_not_ready(reason, duration, moment);
            Ok(())
        })
    }

    /// The agent's own word, if it counts.
    fn choose(
        &mut self,
        said: Said,
        digest: u64,
        moment: &mut Moment<'_>,
        choice: impl FnOnce(&mut Self, &mut Moment<'_>) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        if self.heard(&said, digest)? {
            return Ok(());
        }
        if matches!(self.next, Some(Next::SignedOut { .. })) {
            return Err(Rejection::SignOutForced);
        }
        let before = (self.presence.clone(), self.next.clone());
        choice(self, moment)?;
        if let Some(session) = self.session.as_mut().filter(|_| said.sequence > 0) {
            (session.client_sequence, session.choice_digest) = (said.sequence, digest);
        }
        if (&self.presence, &self.next) != (&before.0, &before.1) {
            self.changed(moment);
        }
        Ok(())
    }

    /// Whether the client's command is the last one again. What it sent before that is overtaken: a desktop's retry must
    /// not undo what its person chose since. The last number with another choice is no retry but a client that counts
    /// wrongly, and must hear so.
    pub(super) fn heard(&self, said: &Said, digest: u64) -> Result<bool, Rejection> {
        let session = self.session.as_ref().ok_or(Rejection::NotSignedIn)?;
        if said.session_id.as_ref().is_some_and(|it| *it != session.session_id) {
            return Err(Rejection::WrongSession { session_id: session.session_id.clone() });
        }
        let seen = session.client_sequence;
        match said.sequence {
            0 => Ok(false),
            newer if newer > seen => Ok(false),
            last if last == seen && digest == session.choice_digest => Ok(true),
            _ => Err(Rejection::OutOfOrder { seen }),
        }
    }

    /// The agent changed its presence, now or for later.
    pub(super) fn changed(&mut self, moment: &mut Moment<'_>) {
        if moment.feature_level < FEATURE_LEVEL_STEADINESS {
            return;
        }
        if let Some((change_count, since)) = self.steadiness.note(moment.at) {
            let agent_id = self.agent_id.clone();
            moment.tell(AgentFact::AgentPresenceUnsteady { agent_id, change_count, since });
        }
    }

    /// A supervisor decides. A live contact is never cut: what would end it takes effect after it.
    pub(in crate::agent_state) fn force(
        &mut self,
        force: Force,
        author: String,
        reason: String,
        moment: &mut Moment<'_>,
    ) -> Result<(), Rejection> {
        if self.session.is_none() {
            return Err(Rejection::NotSignedIn);
        }
        match &force {
            Force::Ready => self.present()?,
            Force::NotReady { reason, .. } if !moment.roster.allows(reason) => {
                return Err(Rejection::UnknownReason);
            }
            Force::NotReady { .. } | Force::SignedOut => {}
        }
        let (not_ready_reason, duration_ms) = match &force {
            Force::NotReady { reason, duration } => (reason.clone(), *duration),
            Force::Ready | Force::SignedOut => (String::new(), Millis::ZERO),
        };
        moment.tell(AgentFact::AgentForced {
            agent_id: self.agent_id.clone(),
            presence: force.presence(),
            author,
            reason: reason.clone(),
            not_ready_reason,
            duration_ms,
        });
        match force {
            Force::Ready => {
                self.choose_ready(moment)?;
                self.end_open_wrap_ups(moment);
            }
            Force::NotReady { reason, duration } => {
                self.choose_not_ready(reason, duration, moment);
                self.end_open_wrap_ups(moment);
            }
            Force::SignedOut if self.talking() => {
                self.next = Some(Next::SignedOut { reason });
                self.drop_all_but_talk(moment);
            }
            Force::SignedOut => drop(self.sign_out(reason, false, moment)?),
        }
        Ok(())
    }

    fn choose_ready(&mut self, moment: &mut Moment<'_>) -> Result<(), Rejection> {
        self.present()?;
        self.next = None;
        self.missed_count = 0;
        self.become_ready(moment);
        Ok(())
    }

    /// Nobody is ready whose desktop is gone, not by a supervisor's word either: the contact would meet an empty chair.
    fn present(&self) -> Result<(), Rejection> {
        if self.lost() { Err(Rejection::SessionLost) } else { Ok(()) }
    }

    fn choose_not_ready(&mut self, reason: String, duration: Millis, moment: &mut Moment<'_>) {
        if self.busy() {
            self.next = Some(Next::NotReady { reason, duration });
        } else {
            self.become_not_ready(reason, duration, moment);
        }
    }

    /// One contact or wrap-up is over: once nothing else goes on, what was asked for meanwhile takes effect.
    pub(super) fn become_next(&mut self, moment: &mut Moment<'_>) {
        if self.busy() {
            return;
        }
        match self.next.take() {
            Some(Next::NotReady { reason, duration }) => self.become_not_ready(reason, duration, moment),
            Some(Next::SignedOut { reason }) => {
                // There is a session: without one there is nothing that could be next.
                let _ = self.sign_out(reason, false, moment);
            }
            None => {}
        }
    }

    pub(super) fn become_ready(&mut self, moment: &mut Moment<'_>) {
        if self.presence != Presence::Ready {
            self.presence = Presence::Ready;
            moment.tell(AgentFact::AgentBecameReady { agent_id: self.agent_id.clone() });
        }
    }

    pub(super) fn become_not_ready(&mut self, reason: String, duration: Millis, moment: &mut Moment<'_>) {
        let until = (duration > Millis::ZERO).then_some(moment.at + duration);
        let limit = match &self.presence {
            // Saying the same word again buys no more time.
            Presence::NotReady { reason: before, limit, .. } if *before == reason => *limit,
            _ => moment
                .roster
                .limit(&reason)
                .map(|length| PauseLimit { length, passes_at: moment.at + length }),
        };
        let wanted = Presence::NotReady { reason: reason.clone(), until, limit };
        if self.presence != wanted {
            self.presence = wanted;
            let agent_id = self.agent_id.clone();
            moment.tell(AgentFact::AgentBecameNotReady { agent_id, reason, until });
        }
    }

    /// A pause ends, or has lasted as long as it may.
    pub(super) fn expire_presence(&mut self, moment: &mut Moment<'_>) {
        let Presence::NotReady { reason, until, limit } = &mut self.presence else { return };
        if *until == Some(moment.at) {
            return match self.lost() {
                true => self.become_not_ready(REASON_LOST.to_owned(), Millis::ZERO, moment),
                false => self.become_ready(moment),
            };
        }
        if let Some(PauseLimit { length, .. }) = limit.take() {
            let (agent_id, reason) = (self.agent_id.clone(), reason.clone());
            moment.tell(AgentFact::PauseLimitExceeded { agent_id, reason, limit_ms: length });
        }
    }
}
