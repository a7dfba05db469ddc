//! The door: requests become commands, replies become responses, rejections become statuses. Nothing wrong gets past it.

use std::collections::BTreeMap;

use prost::Message;
use tonic::Status;
use trunkline_domain::agent_state::{
    Action, Command, Device, Done, FEATURE_LEVEL, Force, QueuePolicy, Rejection, Roster, Said, Wish,
    WishAnswer,
};
use trunkline_domain::vocabulary::{
    AgentId, Cell, Channels, ChannelsError, Epoch, IdError, Millis, Timestamp,
};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::logged_command::Action as Logged;
use trunkline_proto::convert::{channel, read_channel_rules, release_outcome, wrap_up_mode};
use trunkline_proto::directory::v1::{ChannelRule, NotReadyReason};
use trunkline_runtime::grpc::{Refusal, RejectionKind, refuse, status_of};
use trunkline_runtime::lease::tell_holder;

/// The longest reason taken, in bytes.
const REASON_LEN_MAX: usize = 200;
/// The longest resource name and address taken, in bytes.
const NAME_LEN_MAX: usize = 128;
/// The longest code of a wrap-up taken, in bytes.
const CODE_LEN_MAX: usize = 64;
/// The longest SIP URI taken, in bytes.
const URI_LEN_MAX: usize = 1024;
/// The longest time span taken, in ms: a year.
const SPAN_MAX: i64 = 366 * 24 * 3600 * 1000;

/// A request or a logged command that is not one.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The bytes are no batch of commands.
    #[error("bytes are no batch of commands")]
    Undecodable(#[from] prost::DecodeError),
    /// A command without an action, or with one this program does not know.
    #[error("command has no action that is known here")]
    NoAction,
    /// An id is not one.
    #[error("{field}: {source}")]
    Id {
        /// Where.
        field: &'static str,
        /// Why.
        source: IdError,
    },
    /// A field is outside its bounds.
    #[error("{field} {problem}")]
    Field {
        /// Where.
        field: &'static str,
        /// Why.
        problem: &'static str,
    },
    /// What an agent serves cannot be.
    #[error("agents.channels of {agent_id}: {source}")]
    Channels {
        /// Whose.
        agent_id: AgentId,
        /// Why.
        source: ChannelsError,
    },
}

impl From<DoorError> for Status {
    fn from(error: DoorError) -> Self {
        status_of(RejectionKind::InvalidArgument, "INVALID_ARGUMENT", error.to_string())
    }
}

/// The commands of an entry's payload.
///
/// # Errors
/// When one of them cannot be read: it was logged by a newer program.
pub fn commands(batch: &[u8]) -> Result<Vec<Command>, DoorError> {
    api::LoggedBatch::decode(batch)?.commands.into_iter().map(command).collect()
}

/// One command. The leader calls it before proposing, every replica before applying.
///
/// # Errors
/// When a field is missing, malformed or out of bounds.
pub fn command(logged: api::LoggedCommand) -> Result<Command, DoorError> {
    let api::LoggedCommand { proposed_at_ms, traceparent, action } = logged;
    let (command_id, action) = read(action.ok_or(DoorError::NoAction)?)?;
    let command_id = id(&command_id, "command_id")?;
    Ok(Command { command_id, proposed_at: Timestamp(proposed_at_ms), traceparent, action })
}

fn read(action: Logged) -> Result<(String, Action), DoorError> {
    Ok(match action {
        Logged::SignIn(it) => {
            let site_id = if_said(&it.site_id, "site_id")?;
            let session_id = id(&it.session_id, "session_id")?;
            let (agent_id, lease) = (id(&it.agent_id, "agent_id")?, span(it.lease_ms, "lease_ms")?);
            (it.command_id, Action::SignIn { agent_id, session_id, site_id, lease })
        }
        Logged::KeepSession(it) => {
            let (agent_id, session_id) = (id(&it.agent_id, "agent_id")?, id(&it.session_id, "session_id")?);
            (it.command_id, Action::KeepSession { agent_id, session_id })
        }
        Logged::SignOut(it) => {
            let reason = text(it.reason, "reason", REASON_LEN_MAX)?;
            let agent_id = id(&it.agent_id, "agent_id")?;
            let said = said(&it.session_id, it.client_sequence)?;
            (it.command_id, Action::SignOut { agent_id, reason, said })
        }
        Logged::GoReady(it) => {
            let agent_id = id(&it.agent_id, "agent_id")?;
            let said = said(&it.session_id, it.client_sequence)?;
            (it.command_id, Action::GoReady { agent_id, said })
        }
        Logged::GoNotReady(it) => {
            let agent_id = id(&it.agent_id, "agent_id")?;
            let reason = required(it.reason, "reason", REASON_LEN_MAX)?;
            let duration = span(it.duration_ms, "duration_ms")?;
            let said = said(&it.session_id, it.client_sequence)?;
            (it.command_id, Action::GoNotReady { agent_id, reason, duration, said })
        }
        Logged::ForcePresence(it) => (it.command_id.clone(), force(it)?),
        Logged::RequestWrapUp(it) => {
            let (agent_id, offer_id) = (id(&it.agent_id, "agent_id")?, if_said(&it.offer_id, "offer_id")?);
            (it.command_id, Action::RequestWrapUp { agent_id, offer_id })
        }
        Logged::FinishWrapUp(it) => {
            let (agent_id, offer_id) = (id(&it.agent_id, "agent_id")?, if_said(&it.offer_id, "offer_id")?);
            let code = text(it.wrap_up_code, "wrap_up_code", CODE_LEN_MAX)?.trim().to_owned();
            (it.command_id, Action::FinishWrapUp { agent_id, offer_id, code })
        }
        Logged::ExtendWrapUp(it) => {
            let (agent_id, offer_id) = (id(&it.agent_id, "agent_id")?, if_said(&it.offer_id, "offer_id")?);
            let span = span(it.by_ms, "by_ms")?;
            if span == Millis::ZERO {
                return Err(DoorError::Field { field: "by_ms", problem: "is missing" });
            }
            (it.command_id, Action::ExtendWrapUp { agent_id, offer_id, span })
        }
        Logged::RegisterDevice(it) => {
            let device = Device {
                contact_uri: required(it.contact_uri, "contact_uri", URI_LEN_MAX)?,
                node_id: id(&it.node_id, "node_id")?,
                expires_at: Timestamp(it.expires_at_ms),
            };
            let agent_id = id(&it.agent_id, "agent_id")?;
            let device_id = id(&it.device_id, "device_id")?;
            (it.command_id, Action::RegisterDevice { agent_id, device_id, device })
        }
        Logged::UnregisterDevice(it) => {
            let agent_id = id(&it.agent_id, "agent_id")?;
            let device_id = id(&it.device_id, "device_id")?;
            let reason = text(it.reason, "reason", REASON_LEN_MAX)?;
            (it.command_id, Action::UnregisterDevice { agent_id, device_id, reason })
        }
        Logged::DefineRoster(it) => {
            let (mut agents, mut served) = (BTreeMap::new(), BTreeMap::new());
            for agent in it.agents {
                let agent_id: AgentId = id(&agent.agent_id, "agents.agent_id")?;
                if !agent.channels.is_empty() {
                    served.insert(agent_id.clone(), channels(&agent_id, agent.channels)?);
                }
                agents.insert(agent_id, Cell(agent.cell));
            }
            let mut queues = BTreeMap::new();
            for queue in it.queues {
                queues.insert(id(&queue.queue_id, "queues.queue_id")?, policy(queue)?);
            }
            let mut reasons = BTreeMap::new();
            for NotReadyReason { reason, limit_ms } in it.reasons {
                let limit = span(limit_ms, "reasons.limit_ms")?;
                reasons.insert(required(reason, "reasons.reason", REASON_LEN_MAX)?, limit);
            }
            let roster =
                Roster { revision: it.directory_revision, agents, queues, reasons, channels: served };
            (it.command_id, Action::DefineRoster(roster))
        }
        Logged::ReserveAgents(it) => {
            let wishes = it.wishes.into_iter().map(wish).collect::<Result<_, _>>()?;
            let (cell, routing_epoch) = (Cell(it.cell), Epoch(it.routing_epoch));
            (it.command_id, Action::ReserveAgents { cell, routing_epoch, wishes })
        }
        Logged::AcceptReservation(it) => {
            let action = Action::AcceptReservation {
                agent_id: id(&it.agent_id, "agent_id")?,
                offer_id: id(&it.offer_id, "offer_id")?,
                token: it.token,
                node_id: id(&it.node_id, "node_id")?,
                media_epoch: Epoch(it.media_epoch),
            };
            (it.command_id, action)
        }
        Logged::ReleaseReservation(it) => {
            let outcome = release_outcome(it.outcome)
                .map_err(|_| DoorError::Field { field: "outcome", problem: "is not a known outcome" })?;
            let action = Action::ReleaseReservation {
                agent_id: id(&it.agent_id, "agent_id")?,
                offer_id: id(&it.offer_id, "offer_id")?,
                token: it.token,
                outcome,
                node_id: id(&it.node_id, "node_id")?,
                epoch: Epoch(it.epoch),
            };
            (it.command_id, action)
        }
        Logged::AcquireLease(it) => {
            let resource = resource(it.resource)?;
            let holder = id(&it.holder, "holder")?;
            let address = text(it.address, "address", NAME_LEN_MAX)?;
            (it.command_id, Action::AcquireLease { resource, holder, ttl: Millis(it.ttl_ms), address })
        }
        Logged::RenewLease(it) => {
            let (resource, holder) = (resource(it.resource)?, id(&it.holder, "holder")?);
            let (epoch, ttl) = (Epoch(it.epoch), Millis(it.ttl_ms));
            (it.command_id, Action::RenewLease { resource, holder, epoch, ttl })
        }
        Logged::ReleaseLease(it) => {
            let (resource, holder) = (resource(it.resource)?, id(&it.holder, "holder")?);
            (it.command_id, Action::ReleaseLease { resource, holder, epoch: Epoch(it.epoch) })
        }
        Logged::DeadlineTick(it) => (it.command_id, Action::Expire),
        Logged::OutboxAdvance(it) => {
            (it.command_id, Action::AdvancePublished { through: it.published_raft_index, term: it.term })
        }
        Logged::FeatureLevelRaise(it) => match it.feature_level {
            level @ 0..=FEATURE_LEVEL => (it.command_id, Action::RaiseFeatureLevel { level }),
            _ => return Err(DoorError::Field { field: "feature_level", problem: "is not known here" }),
        },
    })
}

fn channels(agent_id: &AgentId, rules: Vec<ChannelRule>) -> Result<Channels, DoorError> {
    let unknown = |_| DoorError::Field { field: "agents.channels", problem: "is not a known channel" };
    let rules = read_channel_rules(rules).map_err(unknown)?;
    Channels::new(rules).map_err(|source| DoorError::Channels { agent_id: agent_id.clone(), source })
}

fn policy(queue: api::RosterQueue) -> Result<QueuePolicy, DoorError> {
    let extension = span(queue.wrap_up_extension_ms_max, "queues.wrap_up_extension_ms_max")?;
    Ok(QueuePolicy {
        wrap_up: span(queue.wrap_up_ms, "queues.wrap_up_ms")?,
        miss_count_max: queue.miss_count_max,
        wrap_up_mode: wrap_up_mode(queue.wrap_up_mode)
            .map_err(|_| DoorError::Field { field: "queues.wrap_up_mode", problem: "is not a known mode" })?,
        wrap_up_code_required: queue.wrap_up_code_required,
        wrap_up_extension_max: extension,
        miss_reason: text(queue.miss_reason, "queues.miss_reason", REASON_LEN_MAX)?,
        miss_return: span(queue.miss_return_ms, "queues.miss_return_ms")?,
    })
}

fn force(it: api::ForcePresenceRequest) -> Result<Action, DoorError> {
    let presence = it.presence();
    let agent_id = id(&it.agent_id, "agent_id")?;
    let author = required(it.author, "author", NAME_LEN_MAX)?;
    let reason = required(it.reason, "reason", REASON_LEN_MAX)?;
    let duration = span(it.duration_ms, "duration_ms")?;
    let force = match presence {
        api::PresenceWanted::NotReady => Force::NotReady {
            reason: required(it.not_ready_reason, "not_ready_reason", REASON_LEN_MAX)?,
            duration,
        },
        _ if duration > Millis::ZERO || !it.not_ready_reason.is_empty() => {
            return Err(DoorError::Field { field: "presence", problem: "is not NOT_READY" });
        }
        api::PresenceWanted::Ready => Force::Ready,
        api::PresenceWanted::SignedOut => Force::SignedOut,
        api::PresenceWanted::Unspecified => {
            return Err(DoorError::Field { field: "presence", problem: "is not a known presence" });
        }
    };
    Ok(Action::ForcePresence { agent_id, force, author, reason })
}

fn wish(it: api::ReservationWish) -> Result<Wish, DoorError> {
    Ok(Wish {
        offer_id: id(&it.offer_id, "wishes.offer_id")?,
        agent_id: id(&it.agent_id, "wishes.agent_id")?,
        contact_id: id(&it.contact_id, "wishes.contact_id")?,
        company_id: id(&it.company_id, "wishes.company_id")?,
        queue_id: id(&it.queue_id, "wishes.queue_id")?,
        node_id: id(&it.node_id, "wishes.node_id")?,
        expires_at: Timestamp(it.expires_at_ms),
        ring_many: it.ring_many,
        channel: channel(it.channel)
            .map_err(|_| DoorError::Field { field: "wishes.channel", problem: "is not a known channel" })?,
    })
}

/// Which of a client's words a command is. A count means nothing outside its session.
fn said(session_id: &str, sequence: u64) -> Result<Said, DoorError> {
    let session_id = if_said(session_id, "session_id")?;
    if sequence > 0 && session_id.is_none() {
        return Err(DoorError::Field { field: "session_id", problem: "is missing beside client_sequence" });
    }
    Ok(Said { session_id, sequence })
}

fn if_said<T: std::str::FromStr<Err = IdError>>(
    text: &str,
    field: &'static str,
) -> Result<Option<T>, DoorError> {
    if text.is_empty() { Ok(None) } else { id(text, field).map(Some) }
}

fn id<T: std::str::FromStr<Err = IdError>>(text: &str, field: &'static str) -> Result<T, DoorError> {
    text.parse().map_err(|source| DoorError::Id { field, source })
}

fn text(text: String, field: &'static str, len_max: usize) -> Result<String, DoorError> {
    if text.len() <= len_max { Ok(text) } else { Err(DoorError::Field { field, problem: "is too long" }) }
}

fn required(it: String, field: &'static str, len_max: usize) -> Result<String, DoorError> {
    if it.trim().is_empty() {
        return Err(DoorError::Field { field, problem: "is missing" });
    }
    text(it, field, len_max)
}

fn span(ms: i64, field: &'static str) -> Result<Millis, DoorError> {
    match ms {
        0..=SPAN_MAX => Ok(Millis(ms)),
        _ => Err(DoorError::Field { field, problem: "is not between 0 and a year" }),
    }
}

fn resource(it: String) -> Result<String, DoorError> {
    let problem = "must be 1 to 128 printable characters without spaces";
    if it.is_empty() || it.len() > NAME_LEN_MAX || !it.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(DoorError::Field { field: "resource", problem });
    }
    Ok(it)
}

/// Which cells a command's facts would go to, beyond those of agents already known: the door refuses what no log has.
pub fn highest_cell(action: &Action) -> Cell {
    match action {
        Action::DefineRoster(roster) => roster.agents.values().copied().max().unwrap_or_default(),
        Action::AcquireLease { resource, .. } => trunkline_domain::agent_state::cell_of_resource(resource),
        _ => Cell(0),
    }
}

/// The answers to wishes.
pub fn answers(answers: Vec<WishAnswer>) -> Vec<api::ReservationAnswer> {
    let answer = |it: WishAnswer| match it.granted {
        Ok(token) => {
            api::ReservationAnswer { offer_id: it.offer_id.to_string(), token, refusal: String::new() }
        }
        Err(why) => api::ReservationAnswer {
            offer_id: it.offer_id.to_string(),
            token: 0,
            refusal: why.code().to_owned(),
        },
    };
    answers.into_iter().map(answer).collect()
}

/// A reply that does not belong to the action: a bug, told as one.
pub fn unexpected(done: &Done) -> Status {
    tracing::error!(?done, "reply does not belong to the command");
    Status::internal("reply does not belong to the command")
}

/// The status of a rejection at `now`; that of a lease which somebody has says who, and for how long yet.
pub fn rejected(rejection: &Rejection, now: Timestamp) -> Status {
    let mut status = refuse(&Refused(rejection));
    if let Rejection::LeaseHeld { holder, expires_at } = rejection {
        tell_holder(&mut status, holder, expires_at.since(now));
    }
    status
}

struct Refused<'a>(&'a Rejection);

impl std::fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Refusal for Refused<'_> {
    fn kind(&self) -> RejectionKind {
        match self.0 {
            Rejection::UnknownAgent { .. } | Rejection::UnknownQueue => RejectionKind::NotFound,
            Rejection::DeadlinePassed
            | Rejection::DeadlineTooFar
            | Rejection::TooManyWishes
            | Rejection::UnknownReason
            | Rejection::OutcomeReserved { .. }
            | Rejection::TtlOutOfBounds
            | Rejection::CommandIdReused => RejectionKind::InvalidArgument,
            Rejection::AlreadySignedIn { .. } => RejectionKind::AlreadyExists,
            Rejection::StaleEpoch { .. } | Rejection::LeaseHeld { .. } => RejectionKind::Conflict,
            Rejection::TooManyDevices
            | Rejection::TooManyLeases
            | Rejection::RingFull
            | Rejection::OutboxFull => RejectionKind::ResourceExhausted,
            Rejection::NotSignedIn
            | Rejection::WrongSession { .. }
            | Rejection::WrongOffer { .. }
            | Rejection::SessionLost
            | Rejection::OutOfOrder { .. }
            | Rejection::SignOutForced
            | Rejection::NotReady
            | Rejection::AlreadyReserved { .. }
            | Rejection::ChannelNotServed { .. }
            | Rejection::ChannelFull { .. }
            | Rejection::BusyElsewhere { .. }
            | Rejection::WhichOffer
            | Rejection::InWrapUp
            | Rejection::NotInWrapUp
            | Rejection::NotTalking
            | Rejection::WrapUpForced
            | Rejection::WrapUpCodeRequired
            | Rejection::WrapUpOpenEnded
            | Rejection::WrapUpExtensionTooLong { .. }
            | Rejection::Unreachable
            | Rejection::WrongCell
            | Rejection::ContactReserved { .. }
            | Rejection::NoSuchReservation
            | Rejection::WrongNode
            | Rejection::Unconfirmed
            | Rejection::AlreadyAccepted
            | Rejection::NotAccepted => RejectionKind::FailedPrecondition,
        }
    }

    fn reason(&self) -> &'static str {
        self.0.code()
    }
}
