//! Sessions: sign-in to sign-out, and the desktop's signs of life in between.

use super::{Agent, Moment, Next, Presence};
use crate::agent_state::reply::Rejection;
use crate::agent_state::{REASON_LOST, REASON_SIGNED_IN};
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
    /// How its desktop shows that it is there; `None` when it need not.
    pub lease: Option<SessionLease>,
}

/// The time a session lasts without a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLease {
    /// From each sign.
    pub ttl: Millis,
    /// When it is lost; `None` when it is.
    pub expires_at: Option<Timestamp>,
}

impl Session {
    /// When it is lost unless its desktop is heard of.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.lease.and_then(|lease| lease.expires_at)
    }

    /// Whether nothing was heard of its desktop for too long.
    pub fn lost(&self) -> bool {
        self.lease.is_some_and(|lease| lease.expires_at.is_none())
    }
}

impl Agent {
    /// A session begins; or it is the live one, and its desktop shows that it is there.
    pub(in crate::agent_state) fn sign_in(
        &mut self,
        session_id: SessionId,
        site_id: Option<SiteId>,
        ttl: Millis,
        moment: &mut Moment<'_>,
    ) -> Result<SessionId, Rejection> {
        let leased = |ttl| SessionLease { ttl, expires_at: Some(moment.at + ttl) };
        let lease = (ttl > Millis::ZERO).then(|| leased(ttl));
        match &mut self.session {
            Some(live) if live.session_id == session_id => {
                live.lease = lease.or(live.lease.map(|it| leased(it.ttl)));
                return Ok(session_id);
            }
            Some(live) => return Err(Rejection::AlreadySignedIn { session_id: live.session_id.clone() }),
            None => {}
        }
        self.session = Some(Session {
            session_id: session_id.clone(),
            site_id: site_id.clone(),
            client_sequence: 0,
            lease,
        });
        self.presence = Presence::not_ready(REASON_SIGNED_IN.to_owned());
        self.missed_count = 0;
        let agent_id = self.agent_id.clone();
        moment.tell(AgentFact::AgentSignedIn { agent_id, session_id: session_id.clone(), site_id });
        Ok(session_id)
    }

    /// The desktop is there. After a loss that alone makes nobody ready: a person must be there too, and say so.
    pub(in crate::agent_state) fn keep_session(
        &mut self,
        session_id: &SessionId,
        at: Timestamp,
    ) -> Result<Option<Timestamp>, Rejection> {
        let session = self.session.as_mut().ok_or(Rejection::NotSignedIn)?;
        if session.session_id != *session_id {
            return Err(Rejection::WrongSession { session_id: session.session_id.clone() });
        }
        if let Some(lease) = &mut session.lease {
            lease.expires_at = Some(at + lease.ttl);
        }
        Ok(session.deadline())
    }

    /// Nothing was heard of the desktop for too long. A contact goes on, for the phone may well be there, and the agent
    /// takes none after it; wrap-up that only the agent could end is over, for nobody is there to end it.
    pub(super) fn lose_session(&mut self, moment: &mut Moment<'_>) {
        let Some(session) = &mut self.session else { return };
        if let Some(lease) = &mut session.lease {
            lease.expires_at = None;
        }
        let (agent_id, session_id) = (self.agent_id.clone(), session.session_id.clone());
        moment.tell(AgentFact::SessionLost { agent_id, session_id });
        let (reason, duration) = (REASON_LOST.to_owned(), Millis::ZERO);
        if self.reservation.is_some() || self.wrap_up.is_some() {
            self.next.get_or_insert(Next::NotReady { reason, duration });
            if self.wrap_up.as_ref().is_some_and(|it| it.ends_at.is_none()) {
                self.end_wrap_up(false, String::new(), moment);
            }
        } else if self.presence == Presence::Ready {
            self.become_not_ready(reason, duration, moment);
        }
    }

    /// The lease of a session is put off by a time in which nobody could have been heard.
    pub(in crate::agent_state) fn spare_session(&mut self, by: Millis) {
        let lease = self.session.as_mut().and_then(|session| session.lease.as_mut());
        if let Some(expires_at) = lease.and_then(|lease| lease.expires_at.as_mut()) {
            *expires_at = *expires_at + by;
        }
    }

    /// The agent signs out.
    pub(in crate::agent_state) fn leave(
        &mut self,
        reason: String,
        client_sequence: u64,
        moment: &mut Moment<'_>,
    ) -> Result<SessionId, Rejection> {
        if self.heard(client_sequence)? {
            // A sign-out with this number would have ended the session: it was given to another command.
            return Err(Rejection::OutOfOrder { seen: client_sequence });
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
        if let Some(held) = self.reservation.take() {
            moment.tell(self.released(&held, ReleaseOutcome::SignedOut));
        }
        self.drop_wrap_up(by_agent, String::new(), moment);
        self.next = None;
        self.presence = Presence::not_ready(String::new());
        let (agent_id, session_id) = (self.agent_id.clone(), session.session_id.clone());
        moment.tell(AgentFact::AgentSignedOut { agent_id, session_id, reason });
        Ok(session.session_id)
    }
}
