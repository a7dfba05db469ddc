//! Rows of the contacts fold.

use prost::Message;
use trunkline_domain::facts::FlowOutReason;
use trunkline_domain::reporting::{ContactEnd, ContactRecord, Conversation, Visit, VisitEnd, VisitOutcome};
use trunkline_domain::vocabulary::{ContactEndCause, Party, PhoneNumber, Timestamp};

use super::RowError;

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
