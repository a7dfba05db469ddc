//! The work-second ledger, from the agents log alone.
//!
//! Every millisecond of a session belongs to exactly one primary activity, the first of this list that applies:
//! talk, ring, wrap-up, paused (with its reason), idle; and the first three to the channel and the company they are for. Of
//! several contacts in the same activity the first channel counts ([`Channel`]), and of one channel the contact that came
//! first: a letter that a call interrupts has no time while the call has it. The sum over
//! the activities of a session is its wall clock, exactly.
//!
//! The second measure is *contact time*: what each contact took by itself, so that three chats at once take three times the
//! wall clock. Contact time over talk time is how many an agent had at once; for one contact at a time both are the same.
//!
//! *Hold* is part of talk here: the agents log knows from the
//! accepted reservation that the agent is with the caller, not whether the caller hears music.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{AgentFact, Recorded};
use crate::kernel::{Projection, StateHasher};
use crate::vocabulary::{AgentId, Channel, CompanyId, DeviceId, Millis, OfferId, SessionId, Timestamp};

/// The reason of the pause between sign-in and the first presence an agent chooses.
pub const SIGNED_IN: &str = "signed in";

/// What an agent does, in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// Accepted a reservation that is not released.
    Talk,
    /// Held for an offer that is not answered.
    Ring,
    /// After-contact work.
    WrapUp,
    /// Not ready, for a reason.
    Paused,
    /// Ready, with nothing to do.
    Idle,
}

impl Activity {
    /// Every activity, in order of precedence.
    pub const ALL: [Activity; 5] = [Self::Talk, Self::Ring, Self::WrapUp, Self::Paused, Self::Idle];

    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Talk => "talk",
            Self::Ring => "ring",
            Self::WrapUp => "wrap_up",
            Self::Paused => "paused",
            Self::Idle => "idle",
        }
    }
}

/// What a span of time is booked on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Account {
    /// The activity.
    pub activity: Activity,
    /// Of a pause; else empty.
    pub reason: String,
    /// How the contact came; `None` for paused and idle.
    pub channel: Option<Channel>,
    /// For whom; `None` for paused and idle.
    pub company_id: Option<CompanyId>,
}

impl Account {
    fn of_nobody(activity: Activity, reason: &str) -> Self {
        Self { activity, reason: reason.to_owned(), channel: None, company_id: None }
    }
}

/// Whether an agent takes contacts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Ready,
    /// It does not, and why.
    NotReady(String),
}

/// An engagement of an agent: one reservation, from its grant to the end of its wrap-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engagement {
    /// Talk, ring or wrap-up.
    pub activity: Activity,
    /// How the contact came.
    pub channel: Channel,
    /// The sequence of the fact of its reservation: who came first.
    pub place: u64,
    /// For whom.
    pub company_id: CompanyId,
}

impl Engagement {
    /// What its own time is booked on.
    pub fn account(&self) -> Account {
        let (channel, company_id) = (Some(self.channel), Some(self.company_id.clone()));
        Account { activity: self.activity, reason: String::new(), channel, company_id }
    }
}

/// A session that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which.
    pub session_id: SessionId,
    /// When it began.
    pub began_at: Timestamp,
    /// Up to when its time is booked.
    pub booked_until: Timestamp,
    /// What the agent chose.
    pub presence: Presence,
    /// What it is engaged in, by offer.
    pub engagements: BTreeMap<OfferId, Engagement>,
}

impl Session {
    /// What the time is booked on now.
    pub fn account(&self) -> Account {
        let engaged = self.engagements.values().min_by_key(|it| (it.activity, it.channel, it.place));
        match (engaged, &self.presence) {
            (Some(it), _) => it.account(),
            (None, Presence::NotReady(reason)) => Account::of_nobody(Activity::Paused, reason),
            (None, Presence::Ready) => Account::of_nobody(Activity::Idle, ""),
        }
    }
}

/// The timesheet of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timesheet {
    /// The sequence of the last fact folded; what is not higher was heard before.
    pub sequence: u64,
    /// The session that is open.
    pub session: Option<Session>,
    /// Time booked, of all sessions.
    pub booked: BTreeMap<Account, Millis>,
    /// Contact time: what each contact took by itself, of all sessions.
    pub contact_time: BTreeMap<Account, Millis>,
    /// Wall clock of the sessions that ended.
    pub ended_sessions_ms: Millis,
    /// The devices it can be called at.
    pub devices: BTreeSet<DeviceId>,
}

impl Timesheet {
    /// Books the time of the open session up to `at`; an `at` before what is booked books nothing.
    fn book_until(&mut self, at: Timestamp) {
        let Some(session) = &mut self.session else { return };
        let span = at.since(session.booked_until);
        if span > Millis::ZERO {
            let total = self.booked.entry(session.account()).or_default();
            *total = *total + span;
            for engagement in session.engagements.values() {
                let total = self.contact_time.entry(engagement.account()).or_default();
                *total = *total + span;
            }
            session.booked_until = at;
        }
    }

    fn end_session(&mut self) {
        if let Some(session) = self.session.take() {
            let wall_clock = session.booked_until.since(session.began_at);
            self.ended_sessions_ms = self.ended_sessions_ms + wall_clock;
            let booked: Millis = self.booked.values().copied().sum();
            assert_eq!(booked, self.ended_sessions_ms, "every millisecond of a session is booked once");
        }
    }

    /// Wall clock of all sessions, the open one up to `until`.
    pub fn signed_in_ms(&self, until: Timestamp) -> Millis {
        let open = self.session.as_ref();
        self.ended_sessions_ms + open.map_or(Millis::ZERO, |it| until.max(it.booked_until).since(it.began_at))
    }

    /// Time by account, the open session up to `until`.
    pub fn booked_until(&self, until: Timestamp) -> BTreeMap<Account, Millis> {
        self.until(until).booked
    }

    /// The sheet as of an instant, the open session up to it.
    #[must_use]
    pub fn until(&self, until: Timestamp) -> Self {
        let mut sheet = self.clone();
        sheet.book_until(until);
        sheet
    }
}

/// After-contact work under one offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapUp {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it goes on.
    pub ended_at: Option<Timestamp>,
}

/// The fold of the agents log: every agent's timesheet, and its wrap-ups by offer.
///
/// A fact whose sequence is not higher than the last one of its agent was heard before and changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Agents {
    sheets: BTreeMap<AgentId, Timesheet>,
    // By agent first: an agent's facts alone decide about it, whatever others did under the same offer.
    wrap_ups: BTreeMap<(AgentId, OfferId), WrapUp>,
    newest_at: Option<Timestamp>,
}

impl Projection for Agents {
    type Event = Recorded<AgentFact>;

    fn fold(&mut self, event: &Self::Event) {
        let at = event.meta.occurred_at;
        self.newest_at = self.newest_at.max(Some(at));
        let Some(agent_id) = event.fact.agent_id() else { return };
        let sheet = self.sheets.entry(agent_id.clone()).or_default();
        if event.meta.sequence <= sheet.sequence {
            return;
        }
        sheet.sequence = event.meta.sequence;
        sheet.book_until(at);
        match &event.fact {
            AgentFact::WrapUpStarted { offer_id, .. } => {
                let wrap_up = WrapUp { started_at: at, ended_at: None };
                self.wrap_ups.insert((agent_id.clone(), offer_id.clone()), wrap_up);
            }
            AgentFact::WrapUpEnded { offer_id, .. } => {
                if let Some(wrap_up) = self.wrap_ups.get_mut(&(agent_id.clone(), offer_id.clone())) {
                    wrap_up.ended_at = Some(at);
                }
            }
            _ => {}
        }
        turn(sheet, &event.fact, at);
    }
}

/// What a fact changes about the activity from now on.
fn turn(sheet: &mut Timesheet, fact: &AgentFact, at: Timestamp) {
    match fact {
        AgentFact::AgentSignedIn { session_id, .. } => {
            sheet.end_session();
            sheet.session = Some(Session {
                session_id: session_id.clone(),
                began_at: at,
                booked_until: at,
                presence: Presence::NotReady(SIGNED_IN.to_owned()),
                engagements: BTreeMap::new(),
            });
        }
        AgentFact::AgentSignedOut { .. } => sheet.end_session(),
        AgentFact::DeviceRegistered { device_id, .. } => drop(sheet.devices.insert(device_id.clone())),
        AgentFact::DeviceUnregistered { device_id, .. } => drop(sheet.devices.remove(device_id)),
        _ => {
            if let Some(session) = &mut sheet.session {
                turn_session(session, fact, sheet.sequence);
            }
        }
    }
}

fn turn_session(session: &mut Session, fact: &AgentFact, sequence: u64) {
    let engagements = &mut session.engagements;
    match fact {
        AgentFact::AgentBecameReady { .. } => session.presence = Presence::Ready,
        AgentFact::AgentBecameNotReady { reason, .. } => {
            session.presence = Presence::NotReady(reason.clone());
        }
        AgentFact::AgentReserved { offer_id, company_id, channel, .. } => {
            let (activity, company_id) = (Activity::Ring, company_id.clone());
            let engagement = Engagement { activity, channel: *channel, place: sequence, company_id };
            engagements.insert(offer_id.clone(), engagement);
        }
        AgentFact::ReservationAccepted { offer_id, .. } => {
            if let Some(engagement) = engagements.get_mut(offer_id) {
                engagement.activity = Activity::Talk;
            }
        }
        AgentFact::WrapUpStarted { offer_id, company_id, channel, .. } => {
            let (activity, company_id) = (Activity::WrapUp, company_id.clone());
            let engagement = Engagement { activity, channel: *channel, place: sequence, company_id };
            engagements.insert(offer_id.clone(), engagement);
        }
        AgentFact::ReservationReleased { offer_id, .. } | AgentFact::WrapUpEnded { offer_id, .. } => {
            engagements.remove(offer_id);
        }
        _ => {}
    }
}

impl Agents {
    /// Every agent's timesheet, by agent.
    pub fn sheets(&self) -> &BTreeMap<AgentId, Timesheet> {
        &self.sheets
    }

    /// The wrap-up of an agent under an offer.
    pub fn wrap_up(&self, agent_id: &AgentId, offer_id: &OfferId) -> Option<WrapUp> {
        self.wrap_ups.get(&(agent_id.clone(), offer_id.clone())).copied()
    }

    /// How long the wrap-up of an agent under an offer took; `None` when there was none or it goes on.
    pub fn wrap_up_ms(&self, agent_id: &AgentId, offer_id: &OfferId) -> Option<Millis> {
        let wrap_up = self.wrap_up(agent_id, offer_id)?;
        wrap_up.ended_at.map(|at| at.since(wrap_up.started_at))
    }

    /// When the newest fact happened.
    pub fn newest_at(&self) -> Option<Timestamp> {
        self.newest_at
    }

    /// Puts a stored timesheet back.
    pub fn restore_sheet(&mut self, agent_id: AgentId, sheet: Timesheet) {
        self.sheets.insert(agent_id, sheet);
    }

    /// Puts a stored wrap-up back.
    pub fn restore_wrap_up(&mut self, agent_id: AgentId, offer_id: OfferId, wrap_up: WrapUp) {
        self.wrap_ups.insert((agent_id, offer_id), wrap_up);
    }

    /// Puts back when the newest fact happened.
    pub fn restore_newest_at(&mut self, at: Option<Timestamp>) {
        self.newest_at = self.newest_at.max(at);
    }

    /// Adds the state to a digest. How far the log was folded is no part of it: facts about no agent, as those of
    /// leases, change nothing.
    pub fn hash_into(&self, hasher: &mut StateHasher) {
        hasher.text("agents").debug(&self.sheets).debug(&self.wrap_ups);
    }
}
