//! One client: it puts calls to the group, reads answers back, and writes down when.

use std::time::{Duration, Instant};

use tonic::Status;
use trunkline_loadtest::Failure;
use trunkline_proto::agent_state::v1 as api;
use trunkline_runtime::agent_state_client::{AgentStateClient, undecided};
use trunkline_runtime::grpc::reason_of;
use trunkline_runtime::lease::LEASE_HELD;
use trunkline_runtime::mint::Mint;

use crate::history::{Fate, Index, Operation};
use crate::model::{Activity, AgentCall, Call, Ending, Key, LeaseCall, Mark, Op, Reason, Reply, Seen};

/// How long one call is tried. Shorter than a failover, so that some end without an answer.
const CALL_TIME_MAX: Duration = Duration::from_millis(500);
/// So often the same command is sent again, at most, by a client that wants to know what became of it.
const ASKED_COUNT_MAX: u32 = 3;
/// Wishes at one Raft index, by which tokens are made: see `trunkline_domain::agent_state::token`.
const TOKENS_AT_INDEX: u64 = 1024;
/// How long leases are asked for, in ms: the longest there is.
pub const TTL_MS: i64 = 300_000;
/// The media node of all offers.
pub const NODE: &str = "nod_linear-media";
/// The queue and the company of all offers.
pub const QUEUE: &str = "que_linear";
const COMPANY: &str = "cmp_linear";

/// The names of a history on the wire. No two histories on one group share any.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The number of the history.
    pub history: u32,
}

impl Names {
    /// An agent.
    pub fn agent(self, number: u32) -> String {
        format!("agt_l{}-{number}", self.history)
    }

    fn marked(self, prefix: &str, mark: Mark) -> String {
        format!("{prefix}l{}-{}", self.history, mark.0)
    }

    /// The mark in a name; a name that is not of this history is an answer that nobody can have asked for.
    fn mark(self, prefix: &str, text: &str) -> Result<Mark, Failure> {
        let own = format!("{prefix}l{}-", self.history);
        let mark = text.strip_prefix(&own).and_then(|mark| mark.parse().ok());
        mark.map(Mark).ok_or_else(|| Failure::new(format!("`{text}` is no name of history {}", self.history)))
    }

    fn holder(self, client: u32) -> String {
        format!("nod_l{}-{client}", self.history)
    }

    fn resource(self, number: u32) -> String {
        format!("linear/l{}-{number}", self.history)
    }
}

/// What all clients of a history have in common.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Names.
    pub names: Names,
    /// How many agents there are.
    pub agents: u32,
    /// The epoch of the lease of the routing partition.
    pub routing_epoch: u64,
    /// The epoch of the lease of the media node.
    pub media_epoch: u64,
    /// When all offers end, as Unix time: behind the history.
    pub expires_at_ms: i64,
    /// What times are counted from.
    pub began: Instant,
}

/// A client with connections of its own.
pub struct Client {
    number: u32,
    setting: Setting,
    /// Follows the leader from whoever led last.
    group: AgentStateClient,
    /// Each begins at one voter, whether or not it leads: a deposed leader is asked too.
    voters: Vec<AgentStateClient>,
}

/// How an operation is put.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Which voter is asked first; that which led last when `None`.
    pub first: Option<usize>,
    /// Whether a command that nobody answered is sent again, with the same command id.
    pub insists: bool,
}

/// Why there is no answer.
enum Silence {
    /// The command may have taken effect.
    Undecided,
    /// The answer makes no sense, or the request was wrong: nothing to judge.
    Odd(Failure),
}

type Answer = Result<(Reply, Option<Index>), Silence>;

impl Client {
    /// Client `number` of a group that answers at these addresses.
    pub fn new(number: u32, addresses: &[String], setting: Setting, seed: u64) -> Self {
        let to = |addresses: &[String]| {
            AgentStateClient::new(addresses, Mint::seeded(seed)).with_time_max(CALL_TIME_MAX)
        };
        let voters = addresses.iter().map(|address| to(std::slice::from_ref(address))).collect();
        Self { number, setting, group: to(addresses), voters }
    }

    /// Makes one call, and gives it as it goes into the history: a read is an operation on each agent. `name` is what no
    /// other call of the history has.
    ///
    /// # Errors
    /// When the answer makes no sense.
    pub async fn perform(
        &self,
        key: Key,
        call: Call,
        name: Mark,
        manner: Manner,
    ) -> Result<Vec<Op>, Failure> {
        let via = manner.first.and_then(|voter| self.voters.get(voter)).unwrap_or(&self.group);
        let called_at = self.now();
        if call == Call::Agent(AgentCall::Read) {
            return self.read(via, called_at).await;
        }
        let command_id = self.setting.names.marked("cmd_", name);
        let mut asked_count = 0;
        let (fate, index) = loop {
            asked_count += 1;
            match self.send(via, key, call, command_id.clone()).await {
                Ok((reply, index)) => break (Fate::Ok { reply, returned_at: self.now() }, index),
                Err(Silence::Odd(failure)) => return Err(failure),
                Err(Silence::Undecided) if manner.insists && asked_count < ASKED_COUNT_MAX => {}
                Err(Silence::Undecided) => break (Fate::Unknown, None),
            }
        };
        Ok(vec![Operation { client: self.number, key, call, called_at, fate, index }])
    }

    fn now(&self) -> u64 {
        u64::try_from(self.setting.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// A read that nobody answered had no effect.
    async fn read(&self, via: &AgentStateClient, called_at: u64) -> Result<Vec<Op>, Failure> {
        let call = Call::Agent(AgentCall::Read);
        let operation = |agent, fate, index| Operation {
            client: self.number,
            key: Key::Agent(agent),
            call,
            called_at,
            fate,
            index,
        };
        let listed = match via.list_agents(api::ListAgentsRequest::default()).await {
            Ok(listed) => listed,
            Err(status) if undecided(&status) => return Ok(vec![operation(0, Fate::Fail, None)]),
            Err(status) => return Err(odd("list_agents", &status)),
        };
        let returned_at = self.now();
        let mut operations = Vec::new();
        for agent in 0..self.setting.agents {
            let name = self.setting.names.agent(agent);
            let view = listed.agents.iter().find(|view| view.agent_id == name);
            // The roster that has them was acknowledged before the history began.
            let view = view.ok_or_else(|| Failure::new(format!("{name} is missing in a read")))?;
            let reply = Reply::Seen(self.seen(view)?);
            let index = Some(Index::Through(listed.raft_index));
            operations.push(operation(agent, Fate::Ok { reply, returned_at }, index));
        }
        Ok(operations)
    }

    fn seen(&self, view: &api::AgentView) -> Result<Seen, Failure> {
        let names = self.setting.names;
        let activity = match view.activity() {
            api::AgentActivity::SignedOut => Activity::SignedOut,
            api::AgentActivity::NotReady => Activity::NotReady,
            api::AgentActivity::Ready => Activity::Ready,
            api::AgentActivity::Reserved => Activity::Reserved,
            api::AgentActivity::Talking => Activity::Talking,
            api::AgentActivity::WrapUp => Activity::WrapUp,
            api::AgentActivity::Unspecified => return Err(Failure::new("an agent does nothing known")),
        };
        let reason = match view.reason.as_str() {
            "" => None,
            "signed in" => Some(Reason::SignedIn),
            "missed offers" => Some(Reason::Missed),
            said => Some(Reason::Said(names.mark("", said)?)),
        };
        let mark = |prefix, text: &str| match text {
            "" => Ok(None),
            text => names.mark(prefix, text).map(Some),
        };
        let (session, contact) = (mark("ses_", &view.session_id)?, mark("ctc_", &view.contact_id)?);
        Ok(Seen { activity, reason, session, contact })
    }

    async fn send(&self, via: &AgentStateClient, key: Key, call: Call, command_id: String) -> Answer {
        match (key, call) {
            (Key::Agent(agent), Call::Agent(call)) => self.send_of_agent(via, agent, call, command_id).await,
            (Key::Lease(lease), Call::Lease(call)) => self.send_of_lease(via, lease, call, command_id).await,
            (Key::Agent(_), Call::Lease(_)) | (Key::Lease(_), Call::Agent(_)) => {
                Err(Silence::Odd(Failure::new(format!("{call:?} is not about {key}"))))
            }
        }
    }

    async fn send_of_agent(
        &self,
        via: &AgentStateClient,
        agent: u32,
        call: AgentCall,
        command_id: String,
    ) -> Answer {
        let names = self.setting.names;
        let agent_id = names.agent(agent);
        match call {
            AgentCall::SignIn { session } => {
                let session_id = names.marked("ses_", session);
                let request = api::SignInRequest { command_id, agent_id, session_id, ..Default::default() };
                self.session(via.sign_in(request).await.map(|it| it.session_id))
            }
            AgentCall::SignOut => {
                let reason = "linear".to_owned();
                let request = api::SignOutRequest { command_id, agent_id, reason, ..Default::default() };
                self.session(via.sign_out(request).await.map(|it| it.session_id))
            }
            AgentCall::GoReady => {
                let request = api::GoReadyRequest { command_id, agent_id, ..Default::default() };
                self.done(via.go_ready(request).await)
            }
            AgentCall::GoNotReady { reason } => {
                let reason = names.marked("", reason);
                let request = api::GoNotReadyRequest { command_id, agent_id, reason, ..Default::default() };
                self.done(via.go_not_ready(request).await)
            }
            AgentCall::FinishWrapUp => {
                let request = api::FinishWrapUpRequest { command_id, agent_id, ..Default::default() };
                self.done(via.finish_wrap_up(request).await)
            }
            AgentCall::Reserve { offer } => {
                let request = api::ReserveAgentsRequest {
                    command_id,
                    cell: 0,
                    routing_epoch: self.setting.routing_epoch,
                    wishes: vec![self.wish(agent_id, offer)],
                };
                let answered = via.reserve_agents(request).await.map_err(|status| self.refusal(&status));
                match answered {
                    Ok(it) => granted(it.answers),
                    Err(refusal) => refusal,
                }
            }
            AgentCall::Accept { offer, token } => {
                let request = api::AcceptReservationRequest {
                    command_id,
                    agent_id,
                    offer_id: names.marked("ofr_", offer),
                    token,
                    node_id: NODE.to_owned(),
                    media_epoch: self.setting.media_epoch,
                };
                self.done(via.accept_reservation(request).await)
            }
            AgentCall::Release { offer, token, ending } => {
                let rescinded = ending == Ending::Rescinded;
                let (routing, media) = (self.setting.routing_epoch, self.setting.media_epoch);
                let request = api::ReleaseReservationRequest {
                    command_id,
                    agent_id,
                    offer_id: names.marked("ofr_", offer),
                    token,
                    outcome: outcome(ending).into(),
                    node_id: NODE.to_owned(),
                    epoch: if rescinded { routing } else { media },
                };
                match via.release_reservation(request).await {
                    Ok(it) => Ok((Reply::Released(it.released), None)),
                    Err(status) => self.refusal(&status),
                }
            }
            AgentCall::Read => Err(Silence::Odd(Failure::new("a read is no command"))),
        }
    }

    async fn send_of_lease(
        &self,
        via: &AgentStateClient,
        lease: u32,
        call: LeaseCall,
        command_id: String,
    ) -> Answer {
        let (resource, holder) = (self.setting.names.resource(lease), self.setting.names.holder(self.number));
        match call {
            LeaseCall::Acquire => {
                let address = String::new();
                let request =
                    api::AcquireLeaseRequest { command_id, resource, holder, ttl_ms: TTL_MS, address };
                match via.acquire_lease(request).await {
                    Ok(it) => Ok((Reply::Epoch(it.epoch), Some(Index::Entry(it.epoch)))),
                    Err(status) => self.refusal(&status),
                }
            }
            LeaseCall::Renew { epoch } => {
                let request = api::RenewLeaseRequest { command_id, resource, holder, epoch, ttl_ms: TTL_MS };
                self.done(via.renew_lease(request).await)
            }
            LeaseCall::Release { epoch } => {
                let request = api::ReleaseLeaseRequest { command_id, resource, holder, epoch };
                self.done(via.release_lease(request).await)
            }
        }
    }

    fn wish(&self, agent_id: String, offer: Mark) -> api::ReservationWish {
        let names = self.setting.names;
        api::ReservationWish {
            offer_id: names.marked("ofr_", offer),
            agent_id,
            contact_id: names.marked("ctc_", offer),
            company_id: COMPANY.to_owned(),
            queue_id: QUEUE.to_owned(),
            node_id: NODE.to_owned(),
            expires_at_ms: self.setting.expires_at_ms,
            ring_many: false,
            channel: 0,
        }
    }

    fn session(&self, answered: Result<String, Status>) -> Answer {
        match answered {
            Ok(session) => match self.setting.names.mark("ses_", &session) {
                Ok(mark) => Ok((Reply::Session(mark), None)),
                Err(failure) => Err(Silence::Odd(failure)),
            },
            Err(status) => self.refusal(&status),
        }
    }

    fn done<R>(&self, answered: Result<R, Status>) -> Answer {
        match answered {
            Ok(_) => Ok((Reply::Done, None)),
            Err(status) => self.refusal(&status),
        }
    }

    /// A refusal of the machine is an answer; anything else is none.
    fn refusal(&self, status: &Status) -> Answer {
        if undecided(status) {
            return Err(Silence::Undecided);
        }
        match reason_of(status) {
            Some(LEASE_HELD) => {
                // "lease is held by nod_l3-5": the metadata that says so is for `runtime::lease` alone.
                let own = format!("lease is held by nod_l{}-", self.setting.names.history);
                let holder = status.message().strip_prefix(&own).and_then(|client| client.parse().ok());
                let holder = holder.ok_or_else(|| Silence::Odd(odd("acquire_lease", status)))?;
                Ok((Reply::HeldBy(holder), None))
            }
            // The door's, which no call here may run into.
            Some("INVALID_ARGUMENT" | "UNKNOWN_CELL") | None => Err(Silence::Odd(odd("a command", status))),
            Some(reason) => Ok((Reply::Refused(reason.to_owned()), None)),
        }
    }
}

fn granted(answers: Vec<api::ReservationAnswer>) -> Answer {
    match answers.as_slice() {
        [api::ReservationAnswer { token, refusal, .. }] if refusal.is_empty() => {
            Ok((Reply::Token(*token), Some(Index::Entry(token / TOKENS_AT_INDEX))))
        }
        [api::ReservationAnswer { refusal, .. }] => Ok((Reply::Refused(refusal.clone()), None)),
        answers => Err(Silence::Odd(Failure::new(format!("one wish, and {} answers", answers.len())))),
    }
}

fn outcome(ending: Ending) -> api::ReservationOutcome {
    match ending {
        Ending::Completed => api::ReservationOutcome::Completed,
        Ending::Declined => api::ReservationOutcome::Declined,
        Ending::Unanswered => api::ReservationOutcome::Unanswered,
        Ending::CallerGone => api::ReservationOutcome::CallerGone,
        Ending::Rescinded => api::ReservationOutcome::Rescinded,
        Ending::MediaLost => api::ReservationOutcome::MediaLost,
    }
}

fn odd(what: &str, status: &Status) -> Failure {
    Failure::new(format!("{what} was answered {:?}: {}", status.code(), status.message()))
}
