//! Why a contact still waits, and what would release it.

use super::book::Waiting;
use super::engine::{Router, Timer};
use super::expected::ExpectedWait;
use super::pools::Nearness;
use super::propose::passed_over;
use super::turn::Missed;
use crate::facts::PassedOver;
use crate::vocabulary::{AgentId, Clause, ContactId, OfferId, QueueId, SkillId, Timestamp};

/// What is known of a contact that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'a> {
    /// Who waits.
    pub waiting: &'a Waiting,
    /// Its place in its queue, from 1.
    pub place: u32,
    /// What keeps it.
    pub why: Why,
    /// The agents who can serve it.
    pub staffing: Staffing,
    /// The nearest of everybody, and why each is not offered it; at most five.
    pub candidates: Vec<PassedOver>,
    /// The skills it needs that nobody of the directory has at any level.
    pub nobody_has: Vec<SkillId>,
    /// When something of its plan changes next, and what it needs and where it goes from then on.
    pub next_step: Option<NextStep>,
    /// How long it will still wait in its queue; `None` while nothing can be said.
    pub expected: Option<ExpectedWait>,
}

/// What keeps a contact waiting. The first that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It is offered: an agent's telephone rings.
    Offered {
        /// By this offer.
        offer_id: OfferId,
        /// To whom.
        agent_id: AgentId,
        /// Until when.
        until: Timestamp,
    },
    /// Agent-state is asked for somebody.
    Asked,
    /// Its plan sends it to another queue; its media node has not done so yet.
    Leaves {
        /// Where.
        to: QueueId,
    },
    /// Its media node has no lease.
    NodeLost,
    /// The last attempt failed; it is tried again.
    KeptBack {
        /// From when on.
        until: Timestamp,
    },
    /// Nobody of the directory can do what it needs.
    NobodyCan,
    /// Nobody of those who can serve it is signed in.
    NobodySignedIn,
    /// Nobody of those takes contacts.
    NobodyReady,
    /// All of those who take contacts have one, or after-contact work.
    AllBusy,
    /// Those who are free cannot be called.
    NoDevice,
    /// Those who are free missed it a moment ago.
    Missed {
        /// When the first of them may be offered it again.
        until: Timestamp,
    },
}

/// How many agents of a directory can serve a contact, by how near they are to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Staffing {
    /// Of the directory, signed in or not.
    pub able: u32,
    /// Could be offered it now.
    pub available: u32,
    /// Free, but cannot be called.
    pub no_device: u32,
    /// Have a contact, after-contact work, or an offer.
    pub busy: u32,
    /// Signed in and not ready.
    pub not_ready: u32,
}

/// What comes next in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextStep {
    /// When.
    pub at: Timestamp,
    /// What it needs from then on.
    pub required_skills: Vec<Clause>,
    /// Its priority from then on.
    pub priority: i32,
    /// Where it goes.
    pub overflow_queue_id: Option<QueueId>,
}

impl Router {
    /// Why a contact still waits; `None` when it does not.
    pub fn explain(&self, contact_id: &ContactId) -> Option<Explanation<'_>> {
        let waiting = self.book.waiting(contact_id)?;
        let missed = Missed { book: &self.book, directory: &self.directory, now: self.now };
        let staffing = self.staffing(waiting);
        let place = self.book.place(&waiting.queue_id, &waiting.rank(contact_id));
        Some(Explanation {
            waiting,
            place,
            why: self.why(contact_id, waiting, &staffing, &missed),
            staffing,
            candidates: passed_over(&self.pools, waiting, None, &missed),
            nobody_has: self.pools.unheard_of(&waiting.want).into_iter().cloned().collect(),
            next_step: next_step(waiting),
            expected: self.book.pace(&waiting.queue_id).and_then(|pace| pace.expected(place)),
        })
    }

    /// How long a contact will still wait in its queue; `None` when it does not wait, is offered, or nothing can be said.
    pub fn expected_wait(&self, contact_id: &ContactId) -> Option<ExpectedWait> {
        let waiting = self.book.waiting(contact_id).filter(|it| it.offer.is_none())?;
        let pace = self.book.pace(&waiting.queue_id)?;
        pace.expected(self.book.place(&waiting.queue_id, &waiting.rank(contact_id)))
    }

    fn staffing(&self, waiting: &Waiting) -> Staffing {
        let counts = self.pools.staffing(&waiting.want);
        let count = |nearness| counts.get(&nearness).copied().unwrap_or(0);
        Staffing {
            able: self.pools.able_count(&waiting.want),
            available: count(Nearness::Available),
            no_device: count(Nearness::NoDevice),
            busy: count(Nearness::Busy),
            not_ready: count(Nearness::NotReady),
        }
    }

    fn why(
        &self,
        contact_id: &ContactId,
        waiting: &Waiting,
        staffing: &Staffing,
        missed: &Missed<'_>,
    ) -> Why {
        if let Some((offer_id, offer)) =
            waiting.offer.as_ref().and_then(|id| Some((id, self.book.offer(id)?)))
        {
            let (offer_id, agent_id) = (offer_id.clone(), offer.agent_id.clone());
            return Why::Offered { offer_id, agent_id, until: offer.expires_at };
        }
        if self.pending.about_contact(contact_id) {
            return Why::Asked;
        }
        if let Some(to) = waiting.leaves_for() {
            return Why::Leaves { to: to.clone() };
        }
        if self.nodes.address(&waiting.node_id).is_none() {
            return Why::NodeLost;
        }
        if let Some(until) = self.timers.get(&Timer::ContactKeptBack(contact_id.clone())) {
            return Why::KeptBack { until };
        }
        let Staffing { able, available, no_device, busy, not_ready } = *staffing;
        let until = waiting.missed.keys().filter_map(|agent_id| missed.until(waiting, agent_id)).min();
        match until {
            _ if able == 0 => Why::NobodyCan,
            Some(until) if available > 0 => Why::Missed { until },
            _ if available + no_device + busy + not_ready == 0 => Why::NobodySignedIn,
            _ if no_device > 0 && busy == 0 => Why::NoDevice,
            _ if busy == 0 => Why::NobodyReady,
            _ => Why::AllBusy,
        }
    }
}

fn next_step(waiting: &Waiting) -> Option<NextStep> {
    let after = waiting.plan.next_change_after(waiting.step_at_ms)?;
    let (required, priority) = &waiting.came_with;
    let state = waiting.plan.at(required, *priority, after);
    Some(NextStep {
        at: waiting.queued_at + after,
        required_skills: state.required_skills,
        priority: state.priority,
        overflow_queue_id: state.overflow_queue_id,
    })
}

impl Why {
    /// The word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Offered { .. } => "offered",
            Self::Asked => "asked",
            Self::Leaves { .. } => "leaves",
            Self::NodeLost => "node_lost",
            Self::KeptBack { .. } => "kept_back",
            Self::NobodyCan => "nobody_can",
            Self::NobodySignedIn => "nobody_signed_in",
            Self::NobodyReady => "nobody_ready",
            Self::AllBusy => "all_busy",
            Self::NoDevice => "no_device",
            Self::Missed { .. } => "missed",
        }
    }
}

impl Explanation<'_> {
    /// What would release the contact, each a sentence.
    pub fn releases(&self) -> Vec<String> {
        let needs = |clauses: &[Clause]| match clauses {
            [] => "no skill".to_owned(),
            some => some.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "),
        };
        let Staffing { able, available: _, no_device, busy, not_ready } = self.staffing;
        let away = able.saturating_sub(self.staffing.available + no_device + busy + not_ready);
        let mut releases = match &self.why {
            Why::Offered { agent_id, until, .. } => vec![format!("{agent_id} answers, until {until}")],
            Why::Asked => vec!["agent-state grants a reservation".to_owned()],
            Why::Leaves { to } => vec![format!("its media node sends it to {to}")],
            Why::NodeLost => vec!["its media node holds a lease again".to_owned()],
            Why::KeptBack { until } => vec![format!("it is tried again at {until}")],
            Why::Missed { until } => vec![format!("who missed it may be offered it again at {until}")],
            Why::NobodyCan => {
                vec![format!("somebody is defined who has {}", needs(&self.waiting.want.required))]
            }
            Why::NobodySignedIn | Why::NobodyReady | Why::AllBusy | Why::NoDevice => Vec::new(),
        };
        let of = |count: u32, deed: &str| (count > 0).then(|| format!("one of {count} {deed}"));
        if !matches!(self.why, Why::Offered { .. } | Why::Asked | Why::Leaves { .. } | Why::NodeLost) {
            releases.extend(of(busy, "who can serve it becomes free"));
            releases.extend(of(not_ready, "who can serve it becomes ready"));
            releases.extend(of(no_device, "who can serve it has a telephone again"));
            releases.extend(of(away, "who can serve it signs in"));
        }
        if let Some(next) = &self.next_step {
            releases.push(match &next.overflow_queue_id {
                Some(queue_id) => format!("it goes to {queue_id} at {}", next.at),
                None if next.required_skills == self.waiting.want.required => {
                    format!("its priority becomes {} at {}", next.priority, next.at)
                }
                None => format!("it needs {} from {} on", needs(&next.required_skills), next.at),
            });
        }
        releases
    }
}
