//! The answers.

use tonic::{Request, Response, Status};
use trunkline_domain::billing::{self, Invoice, InvoiceError, Item, Month, month_at, running_invoice};
use trunkline_domain::vocabulary::{CompanyId, ContactId, IdError};
use trunkline_proto::billing::v1::billing_service_server::BillingService;
use trunkline_proto::billing::v1::{
    GetBillingStateRequest, GetBillingStateResponse, GetRunningInvoiceRequest, GetRunningInvoiceResponse,
    InvoiceLine, ListRatedItemsRequest, ListRatedItemsResponse, RatedItem,
};
use trunkline_runtime::clock::Clock;
use trunkline_runtime::grpc::{RejectionKind, status_of};

use crate::view::{SharedView, View};

/// Items in one answer, at most. Who asks for more is told to name a line or a contact.
const ITEM_COUNT_MAX: usize = 10_000;

/// Answers from the view.
pub(crate) struct Bills {
    view: SharedView,
    clock: Clock,
}

impl Bills {
    /// Answers from `view`; `clock` says which month is the current one.
    pub fn new(view: SharedView, clock: Clock) -> Self {
        Self { view, clock }
    }

    /// The month asked for, or the current one.
    fn month(&self, view: &View, text: &str) -> Result<Month, Status> {
        if text.is_empty() {
            return month_at(&view.terms, self.clock.now()).map_err(|error| refused(&error));
        }
        let message = || format!("`{text}` is not a month: expected YYYY-MM");
        Month::parse(text)
            .ok_or_else(|| status_of(RejectionKind::InvalidArgument, "MALFORMED_MONTH", message()))
    }
}

fn bad_id(error: &IdError) -> Status {
    status_of(RejectionKind::InvalidArgument, "MALFORMED_ID", error.to_string())
}

fn refused(error: &InvoiceError) -> Status {
    let (kind, reason) = match error {
        InvoiceError::UnknownCompany => (RejectionKind::NotFound, "UNKNOWN_COMPANY"),
        InvoiceError::UnknownZone(_) => (RejectionKind::FailedPrecondition, "UNKNOWN_ZONE"),
        InvoiceError::MixedCurrencies(..) => (RejectionKind::FailedPrecondition, "MIXED_CURRENCIES"),
        InvoiceError::OutOfRange => (RejectionKind::FailedPrecondition, "OUT_OF_RANGE"),
    };
    status_of(kind, reason, error.to_string())
}

/// A number that is not whole is not told.
fn caught_up(view: &View) -> Result<(), Status> {
    match view.behind() {
        None => Ok(()),
        Some((cell, reason)) => {
            let message = format!("billing has not caught up in cell {cell}: {reason}");
            Err(status_of(RejectionKind::Unavailable, "NOT_CAUGHT_UP", message))
        }
    }
}

/// The items of a company in a month.
fn items<'a>(view: &'a View, company_id: &CompanyId, month: Month) -> Result<Vec<&'a Item>, Status> {
    if view.terms.company_name(company_id).is_none() {
        return Err(refused(&InvoiceError::UnknownCompany));
    }
    let zone = view.terms.time_zone();
    let items = view.ledger.items_in(company_id, month, zone);
    items.ok_or_else(|| refused(&InvoiceError::UnknownZone(zone.to_owned())))
}

#[tonic::async_trait]
impl BillingService for Bills {
    async fn get_running_invoice(
        &self,
        request: Request<GetRunningInvoiceRequest>,
    ) -> Result<Response<GetRunningInvoiceResponse>, Status> {
        let request = request.into_inner();
        let company_id = CompanyId::parse(&request.company_id).map_err(|error| bad_id(&error))?;
        let view = self.view.lock();
        caught_up(&view)?;
        let month = self.month(&view, &request.month)?;
        let items = items(&view, &company_id, month)?;
        let invoice = running_invoice(&view.terms, items, &company_id, month);
        Ok(Response::new(invoice_answer(invoice.map_err(|error| refused(&error))?)))
    }

    async fn list_rated_items(
        &self,
        request: Request<ListRatedItemsRequest>,
    ) -> Result<Response<ListRatedItemsResponse>, Status> {
        let request = request.into_inner();
        let company_id = CompanyId::parse(&request.company_id).map_err(|error| bad_id(&error))?;
        let contact_id = match request.contact_id.as_str() {
            "" => None,
            text => Some(ContactId::parse(text).map_err(|error| bad_id(&error))?),
        };
        let view = self.view.lock();
        caught_up(&view)?;
        let month = self.month(&view, &request.month)?;
        let wanted = |item: &&Item| {
            (request.line_id.is_empty() || item.line_id() == request.line_id)
                && (contact_id.is_none() || item.contact_id == contact_id)
        };
        let items: Vec<&Item> = items(&view, &company_id, month)?.into_iter().filter(wanted).collect();
        if items.len() > ITEM_COUNT_MAX {
            let message = format!(
                "{} items are more than {ITEM_COUNT_MAX}: ask for one line or one contact",
                items.len()
            );
            return Err(status_of(RejectionKind::InvalidArgument, "TOO_MANY_ITEMS", message));
        }
        Ok(Response::new(ListRatedItemsResponse { items: items.into_iter().map(item_answer).collect() }))
    }

    async fn get_billing_state(
        &self,
        _: Request<GetBillingStateRequest>,
    ) -> Result<Response<GetBillingStateResponse>, Status> {
        let view = self.view.lock();
        Ok(Response::new(GetBillingStateResponse {
            state_hash: view.ledger.state_hash().to_string(),
            item_count: view.ledger.item_count() as u64,
            unrated_count: view.ledger.unrated().len() as u64,
        }))
    }
}

fn invoice_answer(invoice: Invoice) -> GetRunningInvoiceResponse {
    GetRunningInvoiceResponse {
        company_id: invoice.company_id.to_string(),
        company_name: invoice.company_name,
        month: invoice.month.to_string(),
        currency: invoice.currency.map(|it| it.to_string()).unwrap_or_default(),
        lines: invoice.lines.into_iter().map(line_answer).collect(),
        total_micros: invoice.total_micros,
        items_hash: invoice.items_hash.to_string(),
    }
}

fn line_answer(line: billing::InvoiceLine) -> InvoiceLine {
    InvoiceLine {
        line_id: line.line_id,
        description: line.description,
        item_count: line.item_count,
        measured_ms: line.measured_ms.0,
        billed_ms: line.billed_ms.0,
        price_micros: line.price_micros,
        price_per_ms: line.price_per_ms.0,
        amount_micros: line.amount_micros,
    }
}

fn item_answer(item: &Item) -> RatedItem {
    let amount = item.amount();
    RatedItem {
        item_id: item.item_id.to_string(),
        line_id: item.line_id(),
        contact_id: item.contact_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        agent_id: item.agent_id.as_ref().map(ToString::to_string).unwrap_or_default(),
        measured_ms: item.measured_ms.0,
        billed_ms: item.billed_ms.0,
        occurred_at_ms: item.occurred_at.0,
        cause_event_ids: item.causes.iter().map(ToString::to_string).collect(),
        exact_amount: format!("{}/{}", amount.numerator(), amount.denominator()),
    }
}
