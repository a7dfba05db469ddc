//! Rows of the agents fold.

use std::collections::BTreeMap;

use prost::Message;
use trunkline_domain::reporting::{Account, Activity, Engagement, Presence, Session, Timesheet, WrapUp};
use trunkline_domain::vocabulary::{Channel, Millis, Timestamp};

use super::RowError;

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
    #[prost(string, repeated, tag = "5")]
    devices: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    contact_time: Vec<BookedRow>,
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
    #[prost(string, tag = "4")]
    channel: String,
    #[prost(uint64, tag = "5")]
    place: u64,
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
    #[prost(string, optional, tag = "5")]
    channel: Option<String>,
}

fn channel(word: &str) -> Result<Channel, RowError> {
    Channel::ALL.into_iter().find(|it| it.as_str() == word).ok_or(RowError::Field("channel"))
}

fn booked(accounts: &BTreeMap<Account, Millis>) -> Vec<BookedRow> {
    let row = |(account, ms): (&Account, &Millis)| BookedRow {
        activity: account.activity.as_str().to_owned(),
        reason: account.reason.clone(),
        company_id: account.company_id.as_ref().map(ToString::to_string),
        ms: ms.0,
        channel: account.channel.map(|it| it.to_string()),
    };
    accounts.iter().map(row).collect()
}

fn accounts(rows: Vec<BookedRow>) -> Result<BTreeMap<Account, Millis>, RowError> {
    let account = |it: BookedRow| {
        let company_id = it.company_id.map(|it| it.parse()).transpose()?;
        let channel = it.channel.as_deref().map(channel).transpose()?;
        let account = Account { activity: activity(&it.activity)?, reason: it.reason, channel, company_id };
        Ok((account, Millis(it.ms)))
    };
    rows.into_iter().map(account).collect()
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
                    channel: it.channel.to_string(),
                    place: it.place,
                })
                .collect(),
        });
        Self {
            sequence: it.sequence,
            session,
            booked: booked(&it.booked),
            contact_time: booked(&it.contact_time),
            ended_sessions_ms: it.ended_sessions_ms.0,
            devices: it.devices.iter().map(ToString::to_string).collect(),
        }
    }
}

impl TryFrom<SheetRow> for Timesheet {
    type Error = RowError;

    fn try_from(row: SheetRow) -> Result<Self, RowError> {
        Ok(Self {
            sequence: row.sequence,
            session: row.session.map(Session::try_from).transpose()?,
            booked: accounts(row.booked)?,
            contact_time: accounts(row.contact_time)?,
            ended_sessions_ms: Millis(row.ended_sessions_ms),
            devices: row.devices.iter().map(|it| it.parse()).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<SessionRow> for Session {
    type Error = RowError;

    fn try_from(row: SessionRow) -> Result<Self, RowError> {
        let mut engagements = BTreeMap::new();
        for it in row.engagements {
            let engagement = Engagement {
                activity: activity(&it.activity)?,
                channel: channel(&it.channel)?,
                place: it.place,
                company_id: it.company_id.parse()?,
            };
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
