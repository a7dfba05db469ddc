//! Sessions: sign-in to sign-out, and the desktop's signs of life in between.

use super::{Activity, Agent, Moment, Next, Presence, Slot, choice};
use crate::agent_state::command::Said;
use crate::agent_state::reply::Rejection;
use crate::agent_state::{LOST_SESSION_LEN_MAX, REASON_LOST, REASON_SIGNED_IN};
use crate::facts::{AgentFact, ReleaseOutcome};
use crate::vocabulary::{Millis, SessionId, SiteId, Timestamp};

/// One sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub session_id: SessionId,
    /// Where.
    pub site_id: Option<SiteId>,
    /// The highest number its client gave a command; zero when it does not count.
    pub client_sequence: u64,
    /// What was chosen under that number; zero when nothing was.
    pub choice_digest: u64,
    /// How its desktop shows that it is there; `None` when it need not.
    pub lease: Option<SessionLease>,
}

/// The time a session lasts without a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLease {
    /// From each sign.
    pub ttl: Millis,
    /// When it is lost; of a lost one, when it ends.
    pub expires_at: Timestamp,
    /// Whether nothing was heard of its desktop for too long.
    pub lost: bool,
}

impl SessionLease {
    fn from(at: Timestamp, ttl: Millis) -> Self {
        Self { ttl, expires_at: at + ttl, lost: false }
    }
}

impl Session {
    /// When something becomes of it unless its desktop is heard of.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.lease.map(|lease| lease.expires_at)
    }

    /// Whether nothing was heard of its desktop for too long.
    pub fn lost(&self) -> bool {
        self.lease.is_some_and(|lease| lease.lost)
    }
}

impl Agent {
    /// Another session is to begin: a lost one in which nothing goes on stands in nobody's way, for its desktop may have been
    /// replaced.
    pub(in crate::agent_state) fn make_way(&mut self, for_session: &SessionId, moment: &mut Moment<'_>) {
        let other = self.session.as_ref().is_some_and(|live| live.session_id != *for_session);
        if other && self.lost() && !self.busy() {
            // There is a session: it is lost.
            let _ = self.sign_out(REASON_LOST.to_owned(), false, moment);
        }
    }

    /// A session begins; or it is the live one, and its desktop shows that it is there.
    ///
    /// Gives the live session, and the highest number its client gave a command.
    pub(in crate::agent_state) fn sign_in(
        &mut self,
        session_id: SessionId,
        site_id: Option<SiteId>,
        ttl: Millis,
        moment: &mut Moment<'_>,
    ) -> Result<(SessionId, u64), Rejection> {
        let lease = (ttl > Millis::ZERO).then(|| SessionLease::from(moment.at, ttl));
        match &mut self.session {
            Some(live) if live.session_id == session_id => {
                live.lease = lease.or(live.lease.map(|it| SessionLease::from(moment.at, it.ttl)));
                return Ok((session_id, live.client_sequence));
            }
            Some(live) => return Err(Rejection::AlreadySignedIn { session_id: live.session_id.clone() }),
            None => {}
        }
        self.session = Some(Session {
            session_id: session_id.clone(),
            site_id: site_id.clone(),
            client_sequence: 0,
            choice_digest: 0,
            lease,
        });
        self.presence = Presence::not_ready(REASON_SIGNED_IN.to_owned());
        self.missed_count = 0;
        let agent_id = self.agent_id.clone();
        moment.tell(AgentFact::AgentSignedIn { agent_id, session_id: session_id.clone(), site_id });
        Ok((session_id, 0))
    }

    /// The desktop is there. After a loss that alone makes nobody ready: a person must be there too, and say so.
    pub(in crate::agent_state) fn keep_session(
        &mut self,
        session_id: &SessionId,
        moment: &mut Moment<'_>,
    ) -> Result<Option<Timestamp>, Rejection> {
        moment.unseen = !self.lost();
        let session = self.session.as_mut().ok_or(Rejection::NotSignedIn)?;
        if session.session_id != *session_id {
            return Err(Rejection::WrongSession { session_id: session.session_id.clone() });
        }
        session.lease = session.lease.map(|it| SessionLease::from(moment.at, it.ttl));
        Ok(session.deadline())
    }

    /// Nothing was heard of the desktop for too long: the session is lost, and later it is over. It is not over while the
    /// agent is held, for the phone may well be there.
    pub(super) fn expire_session(&mut self, moment: &mut Moment<'_>) {
        let held = self.held().next().is_some();
        let Some(lease) = self.session.as_mut().and_then(|session| session.lease.as_mut()) else { return };
        lease.expires_at = moment.at + LOST_SESSION_LEN_MAX;
        if !lease.lost {
            lease.lost = true;
            self.lose_session(moment);
        } else if !held {
            // There is a session: its lease has just been seen.
            let _ = self.sign_out(REASON_LOST.to_owned(), false, moment);
        }
    }

    /// A contact goes on, and the agent takes none after it; wrap-up that only the agent could end is over, for nobody is
    /// there to end it. A pause goes on, and no longer ends by itself: time alone makes nobody ready who may be gone.
    fn lose_session(&mut self, moment: &mut Moment<'_>) {
        let Some(session) = &self.session else { return };
        let (agent_id, session_id) = (self.agent_id.clone(), session.session_id.clone());
        moment.tell(AgentFact::SessionLost { agent_id, session_id });
        let lost = Next::NotReady { reason: REASON_LOST.to_owned(), duration: Millis::ZERO };
        if self.busy() {
            if let Next::NotReady { duration, .. } = self.next.get_or_insert(lost) {
                *duration = Millis::ZERO;
            }
            self.end_open_wrap_ups(moment);
            return;
        }
        let reason = match &self.presence {
            Presence::Ready => REASON_LOST.to_owned(),
            Presence::NotReady { reason, .. } => reason.clone(),
        };
        self.become_not_ready(reason, Millis::ZERO, moment);
    }

    /// The deadline of a session is put off by a time in which nobody could have been heard.
    pub(in crate::agent_state) fn spare_session(&mut self, by: Millis, moment: &mut Moment<'_>) {
        moment.unseen = true;
        if let Some(lease) = self.session.as_mut().and_then(|session| session.lease.as_mut()) {
            lease.expires_at = lease.expires_at + by;
        }
    }

    /// The agent signs out.
    pub(in crate::agent_state) fn leave(
        &mut self,
        reason: String,
        said: Said,
        moment: &mut Moment<'_>,
    ) -> Result<SessionId, Rejection> {
        if self.heard(&said, choice::signed_out(&reason))? {
            // A sign-out with this number would have ended the session: it was given to another command.
            return Err(Rejection::OutOfOrder { seen: said.sequence });
        }
        let session_id = self.sign_out(reason, true, moment)?;
        self.changed(moment);
        Ok(session_id)
    }

    pub(in crate::agent_state) fn sign_out(
        &mut self,
        reason: String,
        by_agent: bool,
        moment: &mut Moment<'_>,
    ) -> Result<SessionId, Rejection> {
        let session = self.session.take().ok_or(Rejection::NotSignedIn)?;
        self.drop_slots(|_| true, by_agent, moment);
        self.next = None;
        self.presence = Presence::not_ready(String::new());
        let (agent_id, session_id) = (self.agent_id.clone(), session.session_id.clone());
        moment.tell(AgentFact::AgentSignedOut { agent_id, session_id, reason });
        Ok(session.session_id)
    }
    /// A supervisor signed the agent out, who still talks: what rings and what is wrapped up is over.
    pub(super) fn drop_all_but_talk(&mut self, moment: &mut Moment<'_>) {
        self.drop_slots(|slot| slot.activity() != Activity::Talking, false, moment);
    }

    fn drop_slots(&mut self, which: impl Fn(&Slot) -> bool, by_agent: bool, moment: &mut Moment<'_>) {
        let (over, on): (Vec<Slot>, Vec<Slot>) = std::mem::take(&mut self.slots).into_iter().partition(which);
        self.slots = on;
        for slot in over {
            moment.tell(match slot {
                Slot::Held(held) => self.released(&held, ReleaseOutcome::SignedOut),
                Slot::WrapUp(wrap_up) => self.wrapped_up(wrap_up, by_agent, String::new()),
            });
        }
    }
}
