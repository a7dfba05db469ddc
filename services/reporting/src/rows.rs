//! The rows of the store: what the folds hold, as protobuf messages behind a version and a checksum.
//!
//! A row that does not read back exactly is an error; the store is then rebuilt from the logs, never patched.

use std::collections::BTreeMap;

use prost::Message;
use trunkline_domain::facts::FlowOutReason;
use trunkline_domain::reporting::{
    Account, Activity, ContactEnd, ContactRecord, Conversation, Definitions, Engagement, Presence, Session,
    Threshold, Timesheet, Visit, VisitEnd, VisitOutcome, WrapUp,
};
use trunkline_domain::vocabulary::{ContactEndCause, Epoch, IdError, Millis, Party, PhoneNumber, Timestamp};
use trunkline_runtime::event_log::{FenceState, LaneState};

/// The version of every row. A store of another version is rebuilt.
pub const VERSION: u8 = 1;

/// Version and checksum in front of every row, in bytes.
const HEADER_LEN: usize = 5;

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// Written by another version of this program.
    #[error("row of version {0}, this program reads {VERSION}")]
    Version(u8),
    /// Too short, or its checksum is another.
    #[error("row is damaged")]
    Damaged,
    /// Not the message it should be.
    #[error("row is no such message")]
    Message(#[from] prost::DecodeError),
    /// An id in it is none.
    #[error("row holds a bad id")]
    Id(#[from] IdError),
    /// Something else in it is not what it should be.
    #[error("row holds a bad {0}")]
    Field(&'static str),
}

/// A row as stored: version, CRC-32C of the rest, the message.
pub fn seal(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let mut row = Vec::with_capacity(HEADER_LEN + body.len());
    row.push(VERSION);
    row.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
    row.extend_from_slice(&body);
    row
}

/// The message of a stored row.
///
/// # Errors
/// When it is of another version or not what was written.
pub fn unseal<M: Message + Default>(row: &[u8]) -> Result<M, RowError> {
    let (header, body) = row.split_at_checked(HEADER_LEN).ok_or(RowError::Damaged)?;
    let (version, checksum) = header.split_first().ok_or(RowError::Damaged)?;
    if *version != VERSION {
        return Err(RowError::Version(*version));
    }
    if checksum != crc32c::crc32c(body).to_le_bytes() {
        return Err(RowError::Damaged);
    }
    Ok(M::decode(body)?)
}

/// A [`ContactRecord`].
#[derive(Clone, PartialEq, Message)]
pub struct ContactRow {
    #[prost(string, tag = "1")]
    contact_id: String,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    #[prost(string, optional, tag = "3")]
    company_id: Option<String>,
    #[prost(string, optional, tag = "4")]
    caller: Option<String>,
    #[prost(string, optional, tag = "5")]
    dialled: Option<String>,
    #[prost(string, tag = "6")]
    sip_call_id: String,
    #[prost(int64, tag = "7")]
    arrived_at: i64,
    #[prost(message, repeated, tag = "8")]
    visits: Vec<VisitRow>,
    #[prost(string, repeated, tag = "9")]
    offers: Vec<String>,
    #[prost(message, repeated, tag = "10")]
    conversations: Vec<ConversationRow>,
    #[prost(message, optional, tag = "11")]
    end: Option<EndRow>,
}

#[derive(Clone, PartialEq, Message)]
struct VisitRow {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(string, tag = "2")]
    company_id: String,
    #[prost(string, tag = "3")]
    queue_id: String,
    #[prost(int64, tag = "4")]
    entered_at: i64,
    #[prost(int64, optional, tag = "5")]
    ended_at: Option<i64>,
    /// `answered`, `abandoned`, or the word of a flow-out reason.
    #[prost(string, tag = "6")]
    outcome: String,
    #[prost(string, tag = "7")]
    offer_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ConversationRow {
    #[prost(string, tag = "1")]
    offer_id: String,
    #[prost(string, tag = "2")]
    agent_id: String,
    #[prost(int64, tag = "3")]
    connected_at: i64,
    #[prost(int64, optional, tag = "4")]
    disconnected_at: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct EndRow {
    #[prost(int64, tag = "1")]
    at: i64,
    #[prost(string, tag = "2")]
    cause: String,
    #[prost(string, tag = "3")]
    by: String,
    #[prost(uint32, optional, tag = "4")]
    sip_status: Option<u32>,
}

/// The word of a party, in rows and answers.
pub fn party_word(party: Party) -> &'static str {
    match party {
        Party::Caller => "caller",
        Party::Agent => "agent",
        Party::System => "system",
    }
}

impl From<&ContactRecord> for ContactRow {
    fn from(it: &ContactRecord) -> Self {
        let number = |it: &Option<PhoneNumber>| it.as_ref().map(|it| it.reveal().to_owned());
        let visit = |it: &Visit| {
            let (outcome, offer_id) = match it.end.as_ref().map(|end| &end.outcome) {
                None => ("", String::new()),
                Some(VisitOutcome::Answered(offer_id)) => ("answered", offer_id.to_string()),
                Some(VisitOutcome::Abandoned) => ("abandoned", String::new()),
                Some(VisitOutcome::FlowedOut(reason)) => (reason.as_str(), String::new()),
            };
            VisitRow {
                number: it.number,
                company_id: it.company_id.to_string(),
                queue_id: it.queue_id.to_string(),
                entered_at: it.entered_at.0,
                ended_at: it.end.as_ref().map(|end| end.at.0),
                outcome: outcome.to_owned(),
                offer_id,
            }
        };
        let conversation = |it: &Conversation| ConversationRow {
            offer_id: it.offer_id.to_string(),
            agent_id: it.agent_id.to_string(),
            connected_at: it.connected_at.0,
            disconnected_at: it.disconnected_at.map(|at| at.0),
        };
        Self {
            contact_id: it.contact_id.to_string(),
            sequence: it.sequence,
            company_id: it.company_id.as_ref().map(ToString::to_string),
            caller: number(&it.caller),
            dialled: number(&it.dialled),
            sip_call_id: it.sip_call_id.clone(),
            arrived_at: it.arrived_at.0,
            visits: it.visits.iter().map(visit).collect(),
            offers: it.offers.iter().map(ToString::to_string).collect(),
            conversations: it.conversations.iter().map(conversation).collect(),
            end: it.end.as_ref().map(|end| EndRow {
                at: end.at.0,
                cause: end.cause.as_str().to_owned(),
                by: party_word(end.by).to_owned(),
                sip_status: end.sip_status.map(u32::from),
            }),
        }
    }
}

impl TryFrom<ContactRow> for ContactRecord {
    type Error = RowError;

    fn try_from(row: ContactRow) -> Result<Self, RowError> {
        let number = |it: Option<String>| {
            it.map(|it| PhoneNumber::parse(&it)).transpose().map_err(|_| RowError::Field("number"))
        };
        Ok(Self {
            contact_id: row.contact_id.parse()?,
            sequence: row.sequence,
            company_id: row.company_id.map(|it| it.parse()).transpose()?,
            caller: number(row.caller)?,
            dialled: number(row.dialled)?,
            sip_call_id: row.sip_call_id,
            arrived_at: Timestamp(row.arrived_at),
            visits: row.visits.into_iter().map(Visit::try_from).collect::<Result<_, _>>()?,
            offers: row.offers.iter().map(|it| it.parse()).collect::<Result<_, _>>()?,
            conversations: row
                .conversations
                .into_iter()
                .map(Conversation::try_from)
                .collect::<Result<_, _>>()?,
            end: row.end.map(ContactEnd::try_from).transpose()?,
        })
    }
}

impl TryFrom<VisitRow> for Visit {
    type Error = RowError;

    fn try_from(row: VisitRow) -> Result<Self, RowError> {
        let outcome = || match row.outcome.as_str() {
            "answered" => Ok(VisitOutcome::Answered(row.offer_id.parse()?)),
            "abandoned" => Ok(VisitOutcome::Abandoned),
            word => {
                let reason = FlowOutReason::ALL.into_iter().find(|it| it.as_str() == word);
                reason.map(VisitOutcome::FlowedOut).ok_or(RowError::Field("outcome"))
            }
        };
        let end = match row.ended_at {
            Some(at) => Some(VisitEnd { at: Timestamp(at), outcome: outcome()? }),
            None => None,
        };
        Ok(Self {
            number: row.number,
            company_id: row.company_id.parse()?,
            queue_id: row.queue_id.parse()?,
            entered_at: Timestamp(row.entered_at),
            end,
        })
    }
}

impl TryFrom<ConversationRow> for Conversation {
    type Error = RowError;

    fn try_from(row: ConversationRow) -> Result<Self, RowError> {
        Ok(Self {
            offer_id: row.offer_id.parse()?,
            agent_id: row.agent_id.parse()?,
            connected_at: Timestamp(row.connected_at),
            disconnected_at: row.disconnected_at.map(Timestamp),
        })
    }
}

impl TryFrom<EndRow> for ContactEnd {
    type Error = RowError;

    fn try_from(row: EndRow) -> Result<Self, RowError> {
        let cause = ContactEndCause::ALL.into_iter().find(|it| it.as_str() == row.cause);
        let by =
            [Party::Caller, Party::Agent, Party::System].into_iter().find(|it| party_word(*it) == row.by);
        let sip_status = row.sip_status.map(u16::try_from).transpose();
        Ok(Self {
            at: Timestamp(row.at),
            cause: cause.ok_or(RowError::Field("cause"))?,
            by: by.ok_or(RowError::Field("party"))?,
            sip_status: sip_status.map_err(|_| RowError::Field("SIP status"))?,
        })
    }
}

/// A [`Timesheet`].
#[derive(Clone, PartialEq, Message)]
pub struct SheetRow {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(message, optional, tag = "2")]
    session: Option<SessionRow>,
    #[prost(message, repeated, tag = "3")]
    booked: Vec<BookedRow>,
    #[prost(int64, tag = "4")]
    ended_sessions_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct SessionRow {
    #[prost(string, tag = "1")]
    session_id: String,
    #[prost(int64, tag = "2")]
    began_at: i64,
    #[prost(int64, tag = "3")]
    booked_until: i64,
    /// Absent when ready.
    #[prost(string, optional, tag = "4")]
    not_ready_reason: Option<String>,
    #[prost(message, repeated, tag = "5")]
    engagements: Vec<EngagementRow>,
}

#[derive(Clone, PartialEq, Message)]
struct EngagementRow {
    #[prost(string, tag = "1")]
    offer_id: String,
    #[prost(string, tag = "2")]
    activity: String,
    #[prost(string, tag = "3")]
    company_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct BookedRow {
    #[prost(string, tag = "1")]
    activity: String,
    #[prost(string, tag = "2")]
    reason: String,
    #[prost(string, optional, tag = "3")]
    company_id: Option<String>,
    #[prost(int64, tag = "4")]
    ms: i64,
}

fn activity(word: &str) -> Result<Activity, RowError> {
    Activity::ALL.into_iter().find(|it| it.as_str() == word).ok_or(RowError::Field("activity"))
}

impl From<&Timesheet> for SheetRow {
    fn from(it: &Timesheet) -> Self {
        let session = it.session.as_ref().map(|session| SessionRow {
            session_id: session.session_id.to_string(),
            began_at: session.began_at.0,
            booked_until: session.booked_until.0,
            not_ready_reason: match &session.presence {
                Presence::Ready => None,
                Presence::NotReady(reason) => Some(reason.clone()),
            },
            engagements: session
                .engagements
                .iter()
                .map(|(offer_id, it)| EngagementRow {
                    offer_id: offer_id.to_string(),
                    activity: it.activity.as_str().to_owned(),
                    company_id: it.company_id.to_string(),
                })
                .collect(),
        });
        let booked = it.booked.iter().map(|(account, ms)| BookedRow {
            activity: account.activity.as_str().to_owned(),
            reason: account.reason.clone(),
            company_id: account.company_id.as_ref().map(ToString::to_string),
            ms: ms.0,
        });
        Self {
            sequence: it.sequence,
            session,
            booked: booked.collect(),
            ended_sessions_ms: it.ended_sessions_ms.0,
        }
    }
}

impl TryFrom<SheetRow> for Timesheet {
    type Error = RowError;

    fn try_from(row: SheetRow) -> Result<Self, RowError> {
        let mut booked = BTreeMap::new();
        for it in row.booked {
            let company_id = it.company_id.map(|it| it.parse()).transpose()?;
            let account = Account { activity: activity(&it.activity)?, reason: it.reason, company_id };
            booked.insert(account, Millis(it.ms));
        }
        Ok(Self {
            sequence: row.sequence,
            session: row.session.map(Session::try_from).transpose()?,
            booked,
            ended_sessions_ms: Millis(row.ended_sessions_ms),
        })
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = RowError;

    fn try_from(row: SessionRow) -> Result<Self, RowError> {
        let mut engagements = BTreeMap::new();
        for it in row.engagements {
            let engagement =
                Engagement { activity: activity(&it.activity)?, company_id: it.company_id.parse()? };
            engagements.insert(it.offer_id.parse()?, engagement);
        }
        Ok(Self {
            session_id: row.session_id.parse()?,
            began_at: Timestamp(row.began_at),
            booked_until: Timestamp(row.booked_until),
            presence: row.not_ready_reason.map_or(Presence::Ready, Presence::NotReady),
            engagements,
        })
    }
}

/// A [`WrapUp`].
#[derive(Clone, PartialEq, Message)]
pub struct WrapUpRow {
    #[prost(int64, tag = "1")]
    started_at: i64,
    #[prost(int64, optional, tag = "2")]
    ended_at: Option<i64>,
}

impl From<WrapUp> for WrapUpRow {
    fn from(it: WrapUp) -> Self {
        Self { started_at: it.started_at.0, ended_at: it.ended_at.map(|at| at.0) }
    }
}

impl From<WrapUpRow> for WrapUp {
    fn from(row: WrapUpRow) -> Self {
        Self { started_at: Timestamp(row.started_at), ended_at: row.ended_at.map(Timestamp) }
    }
}

/// [`Definitions`].
#[derive(Clone, PartialEq, Message)]
pub struct DefinitionsRow {
    #[prost(uint64, tag = "1")]
    sequence: u64,
    #[prost(int64, tag = "2")]
    revision_effective_at: i64,
    #[prost(message, repeated, tag = "3")]
    thresholds: Vec<ThresholdRow>,
}

#[derive(Clone, PartialEq, Message)]
struct ThresholdRow {
    #[prost(string, tag = "1")]
    company_id: String,
    #[prost(int64, tag = "2")]
    effective_at: i64,
    #[prost(int64, tag = "3")]
    threshold_ms: i64,
}

impl From<&Definitions> for DefinitionsRow {
    fn from(it: &Definitions) -> Self {
        let all =
            it.thresholds.iter().flat_map(|(company_id, them)| them.iter().map(move |it| (company_id, it)));
        let thresholds = all.map(|(company_id, it)| ThresholdRow {
            company_id: company_id.to_string(),
            effective_at: it.effective_at.0,
            threshold_ms: it.threshold_ms.0,
        });
        Self {
            sequence: it.sequence,
            revision_effective_at: it.revision_effective_at.0,
            thresholds: thresholds.collect(),
        }
    }
}

impl TryFrom<DefinitionsRow> for Definitions {
    type Error = RowError;

    fn try_from(row: DefinitionsRow) -> Result<Self, RowError> {
        let mut definitions = Self {
            sequence: row.sequence,
            revision_effective_at: Timestamp(row.revision_effective_at),
            ..Self::default()
        };
        for it in row.thresholds {
            let threshold =
                Threshold { effective_at: Timestamp(it.effective_at), threshold_ms: Millis(it.threshold_ms) };
            definitions.thresholds.entry(it.company_id.parse()?).or_default().push(threshold);
        }
        Ok(definitions)
    }
}

/// How far one partition was folded, and what the reader knew there.
#[derive(Clone, PartialEq, Message)]
pub struct WatermarkRow {
    /// The last record read.
    #[prost(uint64, tag = "1")]
    pub position: u64,
    /// When the newest fact happened; absent before the first.
    #[prost(int64, optional, tag = "2")]
    pub newest_at: Option<i64>,
    /// Facts folded.
    #[prost(uint64, tag = "3")]
    pub fact_count: u64,
    #[prost(message, repeated, tag = "4")]
    lanes: Vec<LaneRow>,
}

#[derive(Clone, PartialEq, Message)]
struct LaneRow {
    #[prost(string, tag = "1")]
    lane: String,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(uint64, tag = "3")]
    sequence: u64,
}

impl WatermarkRow {
    /// A row with the lanes of a reader.
    pub fn new(position: u64, newest_at: Option<Timestamp>, fact_count: u64, fence: &FenceState) -> Self {
        let lanes = fence.lanes().map(|(lane, it)| LaneRow {
            lane: lane.to_owned(),
            epoch: it.epoch.0,
            sequence: it.sequence,
        });
        Self { position, newest_at: newest_at.map(|at| at.0), fact_count, lanes: lanes.collect() }
    }

    /// The lanes it holds.
    pub fn fence(&self) -> FenceState {
        FenceState::from_lanes(
            self.lanes
                .iter()
                .map(|it| (it.lane.clone(), LaneState { epoch: Epoch(it.epoch), sequence: it.sequence })),
        )
    }
}

/// Where one record of a contact's story stands.
#[derive(Clone, PartialEq, Message)]
pub struct StoryRow {
    /// The record to read from; absent for the beginning of the partition.
    #[prost(uint64, optional, tag = "1")]
    pub after: Option<u64>,
}
