//! The answers.

use tonic::{Request, Response, Status};
use trunkline_domain::reporting::{ContactRecord, INTERVAL, IntervalCell as Cell, Timesheet};
use trunkline_domain::vocabulary::{CompanyId, ContactId, IdError, LogName, PhoneNumber, Timestamp};
use trunkline_proto::reporting::v1::reporting_service_server::ReportingService;
use trunkline_proto::reporting::v1::{
    self as api, GetContactRequest, GetContactResponse, GetLiveBoardRequest, GetLiveBoardResponse,
    GetReportingStateRequest, GetReportingStateResponse, IntervalCell, ListContactsRequest,
    ListContactsResponse, ListIntervalsRequest, ListIntervalsResponse, ListTimesheetsRequest,
    ListTimesheetsResponse, TimesheetLine,
};
use trunkline_runtime::error_chain;
use trunkline_runtime::event_log::SharedLog;
use trunkline_runtime::grpc::{RejectionKind, status_of};

use crate::book::Book;
use crate::follow::SharedBook;
use crate::rows::party_word;
use crate::story;

/// Contact records on a page when nothing is said, and at most.
const PAGE_SIZE_DEFAULT: usize = 100;
const PAGE_SIZE_MAX: usize = 1_000;
/// Interval cells in one answer, at most: a queue's for 100 days. Who asks for more is told to narrow the range.
const CELL_COUNT_MAX: usize = 9_600;

/// Answers from the book.
pub struct Reports {
    book: SharedBook,
    log: SharedLog,
}

impl Reports {
    /// Answers from `book`, and from `log` for the stories.
    pub fn new(book: SharedBook, log: SharedLog) -> Self {
        Self { book, log }
    }
}

fn bad_id(error: &IdError) -> Status {
    status_of(RejectionKind::InvalidArgument, "MALFORMED_ID", error.to_string())
}

fn company_of(text: &str) -> Result<CompanyId, Status> {
    CompanyId::parse(text).map_err(|error| bad_id(&error))
}

/// A company that nobody defined and a contact of somebody else are the same to whoever asks: not there.
fn known_company(book: &Book, text: &str) -> Result<CompanyId, Status> {
    let company_id = company_of(text)?;
    if book.reporting.definitions.thresholds.contains_key(&company_id) {
        Ok(company_id)
    } else {
        Err(status_of(RejectionKind::NotFound, "UNKNOWN_COMPANY", "no such company"))
    }
}

fn no_such_contact() -> Status {
    status_of(RejectionKind::NotFound, "UNKNOWN_CONTACT", "no such contact")
}

#[tonic::async_trait]
impl ReportingService for Reports {
    async fn list_intervals(
        &self,
        request: Request<ListIntervalsRequest>,
    ) -> Result<Response<ListIntervalsResponse>, Status> {
        let request = request.into_inner();
        let book = self.book.lock();
        let company_id = known_company(&book, &request.company_id)?;
        let from = if request.from_ms == 0 { i64::MIN } else { request.from_ms };
        let to = if request.to_ms == 0 { i64::MAX } else { request.to_ms };
        let cells = book.reporting.interval_cells(&company_id, Timestamp(from), Timestamp(to));
        if cells.len() > CELL_COUNT_MAX {
            let message = format!("{} cells are more than {CELL_COUNT_MAX}: narrow the range", cells.len());
            return Err(status_of(RejectionKind::InvalidArgument, "TOO_MANY_CELLS", message));
        }
        let watermarks = watermarks(&book).filter(|it| it.log == LogName::Contacts.as_str()).collect();
        let cells = cells.iter().map(cell_answer).collect();
        Ok(Response::new(ListIntervalsResponse { cells, watermarks }))
    }

    async fn list_contacts(
        &self,
        request: Request<ListContactsRequest>,
    ) -> Result<Response<ListContactsResponse>, Status> {
        let request = request.into_inner();
        let page_size = match request.page_size as usize {
            0 => PAGE_SIZE_DEFAULT,
            size => size.min(PAGE_SIZE_MAX),
        };
        let before = read_token(&request.page_token)?;
        let book = self.book.lock();
        let company_id = known_company(&book, &request.company_id)?;
        let mut records = book.reporting.contacts.newest_first(&company_id, before).peekable();
        let page: Vec<&ContactRecord> = records.by_ref().take(page_size).collect();
        let more = records.peek().is_some();
        let last = page.last().filter(|_| more);
        let next_page_token =
            last.map_or_else(String::new, |it| format!("{}.{}", it.arrived_at.0, it.contact_id));
        let contacts = page.into_iter().map(record_answer).collect();
        Ok(Response::new(ListContactsResponse { contacts, next_page_token }))
    }

    async fn get_contact(
        &self,
        request: Request<GetContactRequest>,
    ) -> Result<Response<GetContactResponse>, Status> {
        let request = request.into_inner();
        let company_id = company_of(&request.company_id)?;
        let contact_id = ContactId::parse(&request.contact_id).map_err(|error| bad_id(&error))?;
        let (contact, interval_from_ms, chapters) = {
            let book = self.book.lock();
            let record = book.reporting.contacts.get(&contact_id);
            let record = record.filter(|it| it.company_id.as_ref() == Some(&company_id));
            let record = record.ok_or_else(no_such_contact)?;
            let first_visit = record.visits.first();
            let interval = first_visit.map_or(0, |it| it.entered_at.floor_to(INTERVAL).0);
            let chapters = book.stories.get(&contact_id).cloned().unwrap_or_default();
            (record_answer(record), interval, chapters)
        };
        let facts = story::tell(&self.log, &contact_id, chapters).await.map_err(|error| {
            tracing::error!(%contact_id, error = error_chain(&error), "story cannot be read");
            status_of(RejectionKind::Unavailable, "LOG_UNREADABLE", "the facts cannot be read now")
        })?;
        Ok(Response::new(GetContactResponse { contact: Some(contact), facts, interval_from_ms }))
    }

    async fn list_timesheets(
        &self,
        request: Request<ListTimesheetsRequest>,
    ) -> Result<Response<ListTimesheetsResponse>, Status> {
        let book = self.book.lock();
        let until = match request.into_inner().until_ms {
            0 => book.reporting.agents.newest_at().unwrap_or_default(),
            until_ms => Timestamp(until_ms),
        };
        let mut lines = Vec::new();
        for (agent_id, sheet) in book.reporting.agents.sheets() {
            let Timesheet { mut booked, contact_time, .. } = sheet.until(until);
            // A contact that never came first has contact time alone.
            for account in contact_time.keys() {
                booked.entry(account.clone()).or_default();
            }
            for (account, duration) in booked {
                let contact_time = contact_time.get(&account).copied().unwrap_or_default();
                lines.push(TimesheetLine {
                    agent_id: agent_id.to_string(),
                    activity: account.activity.as_str().to_owned(),
                    reason: account.reason,
                    company_id: account.company_id.map(|it| it.to_string()).unwrap_or_default(),
                    duration_ms: duration.0,
                    channel: account.channel.map(|it| it.to_string()).unwrap_or_default(),
                    contact_time_ms: contact_time.0,
                });
            }
        }
        Ok(Response::new(ListTimesheetsResponse { lines }))
    }

    async fn get_live_board(
        &self,
        request: Request<GetLiveBoardRequest>,
    ) -> Result<Response<GetLiveBoardResponse>, Status> {
        let book = self.book.lock();
        let company_id = known_company(&book, &request.into_inner().company_id)?;
        let board = book.reporting.live_board(&company_id);
        Ok(Response::new(GetLiveBoardResponse {
            live_contact_count: board.live_contact_count,
            waiting_count: board.waiting_count,
            talking_count: board.talking_count,
            longest_waiting_since_ms: board.longest_waiting_since.map_or(0, |at| at.0),
            ready_agent_count: board.ready_agent_count,
            signed_in_agent_count: board.signed_in_agent_count,
        }))
    }

    async fn get_reporting_state(
        &self,
        _: Request<GetReportingStateRequest>,
    ) -> Result<Response<GetReportingStateResponse>, Status> {
        let book = self.book.lock();
        Ok(Response::new(GetReportingStateResponse {
            state_hash: book.reporting.state_hash().to_string(),
            watermarks: watermarks(&book).collect(),
            fact_count: book.fact_count(),
        }))
    }
}

fn watermarks(book: &Book) -> impl Iterator<Item = api::Watermark> {
    book.watermarks.iter().map(|((log, cell), it)| api::Watermark {
        log: log.as_str().to_owned(),
        cell: cell.0,
        position: it.position.0,
        occurred_at_ms: it.newest_at.map_or(0, |at| at.0),
    })
}

fn read_token(token: &str) -> Result<Option<(Timestamp, ContactId)>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts = token.split_once('.');
    let read = parts
        .and_then(|(at, contact_id)| Some((Timestamp(at.parse().ok()?), ContactId::parse(contact_id).ok()?)));
    read.map(Some).ok_or_else(|| {
        let message = "page_token is not one that an answer gave";
        status_of(RejectionKind::InvalidArgument, "MALFORMED_PAGE_TOKEN", message)
    })
}

fn cell_answer(cell: &Cell) -> IntervalCell {
    IntervalCell {
        from_ms: cell.from.0,
        company_id: cell.company_id.to_string(),
        queue_id: cell.queue_id.to_string(),
        entered_count: cell.counts.entered,
        answered_count: cell.counts.answered,
        abandoned_count: cell.counts.abandoned,
        flowed_out_count: cell.counts.flowed_out,
        waiting_count: cell.counts.waiting,
        answered_within_threshold_count: cell.answered_within_threshold,
        abandoned_within_threshold_count: cell.abandoned_within_threshold,
        answered_wait_ms: cell.answered_wait_ms.0,
        abandoned_wait_ms: cell.abandoned_wait_ms.0,
        wait_ms_max: cell.wait_ms_max.0,
        talk_ms: cell.talk_ms.0,
        wrap_up_ms: cell.wrap_up_ms.0,
    }
}

fn record_answer(record: &ContactRecord) -> api::ContactRecord {
    let number = |it: &Option<PhoneNumber>| it.as_ref().map(|it| it.reveal().to_owned()).unwrap_or_default();
    let last_talk = record.conversations.last();
    api::ContactRecord {
        contact_id: record.contact_id.to_string(),
        company_id: record.company_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        caller: number(&record.caller),
        dialled: number(&record.dialled),
        arrived_at_ms: record.arrived_at.0,
        ended_at_ms: record.end.map_or(0, |end| end.at.0),
        cause: record.end.map_or("", |end| end.cause.as_str()).to_owned(),
        ended_by: record.end.map_or("", |end| party_word(end.by)).to_owned(),
        queue_id: record.visits.last().map(|it| it.queue_id.to_string()).unwrap_or_default(),
        agent_id: last_talk.map(|it| it.agent_id.to_string()).unwrap_or_default(),
        waited_ms: record.waited_ms().0,
        talked_ms: record.talked_ms().0,
        offer_count: u32::try_from(record.offers.len()).unwrap_or(u32::MAX),
        sip_call_id: record.sip_call_id.clone(),
        connected_at_ms: record.conversations.first().map_or(0, |it| it.connected_at.0),
        sip_status: record.end.and_then(|end| end.sip_status).map_or(0, u32::from),
    }
}
