//! Core types as bytes, for the write-ahead log, the rows of the applied state and snapshots.
//!
//! A value is its fields in order, little-endian; texts, lists and maps begin with their length; an enum with its arm's
//! number. [`encode`] puts the version before it. The tables at the end name every field of every type, so a field added
//! in the core does not compile here until somebody has thought about the version: it stands behind those that were
//! there before, under the version it came with, and is its default in older bytes.

use std::collections::{BTreeMap, BTreeSet};

use trunkline_domain::agent_state::{
    Agent, Answer, Device, Done, Holding, Lease, Next, OutboxFact, OutboxKey, PauseLimit, Presence,
    QueuePolicy, Rejection, Reservation, Roster, Session, SessionLease, Slot, Stage, Steadiness, Wish,
    WishAnswer, WrapUp,
};
use trunkline_domain::facts::{AgentFact, Outcome, ReleaseOutcome, WrapUpMode};
use trunkline_domain::vocabulary::{
    AgentId, Cell, Channel, ChannelRule, Channels, CommandId, CompanyId, ContactId, DeviceId, Epoch, Millis,
    NodeId, OfferId, QueueId, SessionId, SiteId, Timestamp,
};
use trunkline_proto::convert::WireFact;

/// The version written. A change of any table below raises it, and older bytes stay readable.
pub const VERSION: u8 = 3;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// They end too early.
    #[error("value ends too early")]
    Short,
    /// They go on behind the value.
    #[error("{0} bytes behind the value")]
    Long(usize),
    /// They were written by a newer program.
    #[error("version {0} is not known")]
    Version(u8),
    /// They are of a state that goes by newer rules.
    #[error("the rules of feature level {0} are not known")]
    FeatureLevel(u32),
    /// A value that cannot be.
    #[error("bad {0}")]
    Bad(&'static str),
}

impl CodecError {
    /// Whether the bytes are sound, and beyond this program: nothing is damaged, and nothing may be set aside.
    pub fn newer(&self) -> bool {
        matches!(self, Self::Version(VERSION..) | Self::FeatureLevel(_))
    }
}

/// The versioned bytes of a value.
pub fn encode(value: &impl Wire) -> Vec<u8> {
    let mut out = vec![VERSION];
    value.put(&mut out);
    out
}

/// The value of versioned bytes.
///
/// # Errors
/// When they are not exactly one value of a known version.
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, CodecError> {
    let (version, bytes) = bytes.split_first().ok_or(CodecError::Short)?;
    if !(1..=VERSION).contains(version) {
        return Err(CodecError::Version(*version));
    }
    let mut input = Input { bytes, version: *version };
    let value = T::get(&mut input)?;
    if input.bytes.is_empty() { Ok(value) } else { Err(CodecError::Long(input.bytes.len())) }
}

/// What is left to read.
pub struct Input<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// Of whoever wrote them.
    pub version: u8,
}

impl Input<'_> {
    /// A value that came with a version; its default in bytes that are older.
    ///
    /// # Errors
    /// When the bytes are not older and hold none.
    pub fn since<T: Wire + Default>(&mut self, version: u8) -> Result<T, CodecError> {
        if self.version < version { Ok(T::default()) } else { T::get(self) }
    }
}

/// A type with a place in the tables.
pub trait Wire: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the value from the front.
    ///
    /// # Errors
    /// When there is none.
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError>;
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], CodecError> {
    let (head, tail) = input.split_at_checked(len).ok_or(CodecError::Short)?;
    *input = tail;
    Ok(head)
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
                let bytes = take(&mut input.bytes, size_of::<Self>())?;
                Ok(Self::from_le_bytes(bytes.try_into().map_err(|_| CodecError::Short)?))
            }
        }
    )*};
}
numbers!(u8, u32, u64, i64);

macro_rules! wrapped {
    ($($name:ident($inner:ty)),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
                <$inner>::get(input).map($name)
            }
        }
    )*};
}
wrapped!(Timestamp(i64), Millis(i64), Cell(u32), Epoch(u64));

macro_rules! ids {
    ($($name:ident),*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                put_bytes(self.as_str().as_bytes(), out);
            }
            fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
                let text = std::str::from_utf8(get_bytes(&mut input.bytes)?);
                text.ok().and_then(|text| $name::parse(text).ok()).ok_or(CodecError::Bad(stringify!($name)))
            }
        }
    )*};
}
ids!(AgentId, CommandId, CompanyId, ContactId, DeviceId, NodeId, OfferId, QueueId, SessionId, SiteId);

/// Appends bytes with their length.
pub fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    (bytes.len() as u32).put(out);
    out.extend_from_slice(bytes);
}

/// Takes bytes with their length.
///
/// # Errors
/// When there are fewer.
pub fn get_bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], CodecError> {
    let (len, rest) = input.split_first_chunk().ok_or(CodecError::Short)?;
    *input = rest;
    take(input, u32::from_le_bytes(*len) as usize)
}

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        match u8::get(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Bad("bool")),
        }
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        String::from_utf8(get_bytes(&mut input.bytes)?.to_vec()).map_err(|_| CodecError::Bad("text"))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        bool::get(input)?.then(|| T::get(input)).transpose()
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_ok().put(out);
        match self {
            Ok(value) => value.put(out),
            Err(value) => value.put(out),
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        if bool::get(input)? { T::get(input).map(Ok) } else { E::get(input).map(Err) }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        Ok((A::get(input)?, B::get(input)?))
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        self.iter().for_each(|value| value.put(out));
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        (0..u32::get(input)?).map(|_| T::get(input)).collect()
    }
}

impl<K: Wire + Ord, V: Wire> Wire for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        (0..u32::get(input)?).map(|_| <(K, V)>::get(input)).collect()
    }
}

impl<T: Wire + Ord> Wire for BTreeSet<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        self.iter().for_each(|value| value.put(out));
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        (0..u32::get(input)?).map(|_| T::get(input)).collect()
    }
}

/// Its rules; what could not be said is not read.
impl Wire for Channels {
    fn put(&self, out: &mut Vec<u8>) {
        self.rules().cloned().collect::<Vec<ChannelRule>>().put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        Channels::new(Vec::<ChannelRule>::get(input)?).map_err(|_| CodecError::Bad("channels"))
    }
}

/// A fact that waits is kept as it will stand in the agents log.
impl Wire for OutboxFact {
    fn put(&self, out: &mut Vec<u8>) {
        let key = OutboxKey { index: 0, ordinal: 0 };
        let facts = vec![self.recorded(key, self.occurred_at)];
        let outcome = Outcome { epoch: Epoch(0), consumed: Vec::new(), facts };
        put_bytes(&AgentFact::encode_outcome(&outcome), out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let bad = || CodecError::Bad("fact");
        let mut outcome = AgentFact::decode_outcome(get_bytes(&mut input.bytes)?).map_err(|_| bad())?;
        let recorded = outcome.facts.pop().ok_or_else(bad)?;
        Ok(Self {
            cell: recorded.meta.cell,
            sequence: recorded.meta.sequence,
            occurred_at: recorded.meta.occurred_at,
            traceparent: recorded.meta.traceparent,
            fact: recorded.fact,
        })
    }
}

/// In version 1 an agent could only become not ready, and the arm was not said.
impl Wire for Next {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::NotReady { reason, duration } => {
                1u8.put(out);
                reason.put(out);
                duration.put(out);
            }
            Self::SignedOut { reason } => {
                2u8.put(out);
                reason.put(out);
            }
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        let arm = if input.version < 2 { 1 } else { u8::get(input)? };
        match arm {
            1 => Ok(Self::NotReady { reason: Wire::get(input)?, duration: Wire::get(input)? }),
            2 => Ok(Self::SignedOut { reason: Wire::get(input)? }),
            _ => Err(CodecError::Bad("Next")),
        }
    }
}

impl Wire for Slot {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Held(held) => {
                1u8.put(out);
                held.put(out);
            }
            Self::WrapUp(wrap_up) => {
                2u8.put(out);
                wrap_up.put(out);
            }
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        match u8::get(input)? {
            1 => Wire::get(input).map(Self::Held),
            2 => Wire::get(input).map(Self::WrapUp),
            _ => Err(CodecError::Bad("Slot")),
        }
    }
}

/// Before version 3 there was at most one reservation and at most one wrap-up.
impl Wire for Agent {
    fn put(&self, out: &mut Vec<u8>) {
        let Self {
            agent_id,
            cell,
            session,
            presence,
            next,
            slots,
            devices,
            missed_count,
            since,
            sequence,
            steadiness,
        } = self;
        agent_id.put(out);
        cell.put(out);
        session.put(out);
        presence.put(out);
        next.put(out);
        slots.put(out);
        devices.put(out);
        missed_count.put(out);
        since.put(out);
        sequence.put(out);
        steadiness.put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            agent_id: Wire::get(input)?,
            cell: Wire::get(input)?,
            session: Wire::get(input)?,
            presence: Wire::get(input)?,
            next: Wire::get(input)?,
            slots: if input.version < 3 {
                let held = Option::<Reservation>::get(input)?.map(Slot::Held);
                let wrap_up = Option::<WrapUp>::get(input)?.map(Slot::WrapUp);
                held.into_iter().chain(wrap_up).collect()
            } else {
                Wire::get(input)?
            },
            devices: Wire::get(input)?,
            missed_count: Wire::get(input)?,
            since: Wire::get(input)?,
            sequence: Wire::get(input)?,
            steadiness: input.since(2)?,
        })
    }
}

/// In version 1 there was always an end.
impl Wire for WrapUp {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { offer_id, contact_id, company_id, queue_id, channel, ends_at, extended, traceparent } =
            self;
        offer_id.put(out);
        contact_id.put(out);
        company_id.put(out);
        queue_id.put(out);
        ends_at.put(out);
        traceparent.put(out);
        extended.put(out);
        channel.put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
        Ok(Self {
            offer_id: Wire::get(input)?,
            contact_id: Wire::get(input)?,
            company_id: Wire::get(input)?,
            queue_id: Wire::get(input)?,
            ends_at: if input.version < 2 { Some(Wire::get(input)?) } else { Wire::get(input)? },
            traceparent: Wire::get(input)?,
            extended: input.since(2)?,
            channel: input.since(3)?,
        })
    }
}

/// `Name { fields; version: fields that came with it }`.
macro_rules! records {
    ($($name:ident { $($field:ident),* $(; $version:literal: $($later:ident),*)* })*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field,)* $($($later,)*)* } = self;
                $($field.put(out);)*
                $($($later.put(out);)*)*
            }
            fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
                Ok(Self {
                    $($field: Wire::get(input)?,)*
                    $($($later: input.since($version)?,)*)*
                })
            }
        }
    )*};
}

/// `Name { number Arm { fields; version: fields that came with it } }`.
macro_rules! choices {
    ($($name:ident { $(
        $number:literal $arm:ident { $($field:ident),* $(; $version:literal: $($later:ident),*)* }
    )* })*) => {$(
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {$(
                    Self::$arm { $($field,)* $($($later,)*)* } => {
                        let number: u8 = $number;
                        number.put(out);
                        $($field.put(out);)*
                        $($($later.put(out);)*)*
                    }
                )*}
            }
            fn get(input: &mut Input<'_>) -> Result<Self, CodecError> {
                match u8::get(input)? {
                    $($number => Ok(Self::$arm {
                        $($field: Wire::get(input)?,)*
                        $($($later: input.since($version)?,)*)*
                    }),)*
                    _ => Err(CodecError::Bad(stringify!($name))),
                }
            }
        }
    )*};
}

records! {
    Session { session_id, site_id; 2: client_sequence, choice_digest, lease }
    SessionLease { ttl, expires_at, lost }
    Steadiness { changed_at, told }
    Reservation { wish, token, cell, routing_epoch, stage, unconfirmed_until, traceparent; 2: wrap_up_requested }
    Wish { offer_id, agent_id, contact_id, company_id, queue_id, node_id, expires_at; 2: ring_many; 3: channel }
    Device { contact_uri, node_id, expires_at }
    Lease { holding, renewed_at, previous_renewed_at, sequence }
    Holding { holder, epoch, expires_at, address }
    Roster { revision, agents, queues; 2: reasons; 3: channels }
    PauseLimit { length, passes_at }
    QueuePolicy {
        wrap_up, miss_count_max;
        2: wrap_up_mode, wrap_up_code_required, wrap_up_extension_max, miss_reason, miss_return
    }
    ChannelRule { channel, capacity, interrupted_by }
    Answer { index, kind, reply }
    WishAnswer { offer_id, granted }
    OutboxKey { index, ordinal }
}

choices! {
    Presence { 1 Ready {} 2 NotReady { reason, until; 2: limit } }
    Channel { 1 Voice {} 2 Chat {} 3 Email {} 4 Task {} }
    Stage { 1 Offered {} 2 Accepted {} }
    WrapUpMode { 1 Timed {} 2 None {} 3 TimedForced {} 4 Mandatory {} 5 OnRequest {} }
    ReleaseOutcome {
        1 Completed {} 2 Declined {} 3 Unanswered {} 4 CallerGone {} 5 Rescinded {} 6 Expired {} 7 Failed {}
        8 MediaLost {} 9 SignedOut {}
    }
    Done {
        1 SignedIn { session_id; 2: client_sequence }
        2 SignedOut { session_id }
        3 Ready {}
        4 NotReady {}
        5 WrapUpFinished {}
        6 DeviceKnown {}
        7 DeviceForgotten {}
        8 RosterDefined {}
        9 Reserved { answers }
        10 Accepted {}
        11 Released { released }
        12 LeaseAcquired { epoch, expires_at, previous_renewed_at }
        13 LeaseRenewed { expires_at }
        14 LeaseReleased {}
        15 Expired {}
        16 Advanced {}
        17 FeatureLevelRaised {}
        18 Forced {}
        19 WrapUpRequested {}
        20 WrapUpExtended { ends_at }
        21 SessionKept { expires_at }
    }
    Rejection {
        1 UnknownAgent { agent_id }
        2 UnknownQueue {}
        3 NotSignedIn {}
        4 AlreadySignedIn { session_id }
        5 NotReady {}
        6 AlreadyReserved { offer_id }
        7 InWrapUp {}
        8 NotInWrapUp {}
        9 WrongCell {}
        10 ContactReserved { offer_id }
        11 DeadlinePassed {}
        12 DeadlineTooFar {}
        13 TooManyWishes {}
        14 TooManyDevices {}
        15 StaleEpoch { resource, current }
        16 NoSuchReservation {}
        17 WrongNode {}
        18 Unconfirmed {}
        19 AlreadyAccepted {}
        20 NotAccepted {}
        21 OutcomeReserved { outcome }
        22 LeaseHeld { holder, expires_at }
        23 TtlOutOfBounds {}
        24 TooManyLeases {}
        25 CommandIdReused {}
        26 OutboxFull {}
        27 Unreachable {}
        28 SignOutForced {}
        29 OutOfOrder { seen }
        30 NotTalking {}
        31 WrapUpForced {}
        32 WrapUpCodeRequired {}
        33 WrapUpOpenEnded {}
        34 WrapUpExtensionTooLong { left }
        35 UnknownReason {}
        36 WrongSession { session_id }
        37 SessionLost {}
        38 WrongOffer { offer_id }
        39 RingFull {}
        40 ChannelNotServed { channel }
        41 ChannelFull { channel, capacity }
        42 BusyElsewhere { channel }
        43 WhichOffer {}
    }
}
