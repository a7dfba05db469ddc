//! Rating: facts and contracts to rated items, items to invoice lines.
//!
//! Facts become [`Work`] ([`Talks`], [`Engagements`]), work becomes an item under the [`Terms`] that stood when it ended
//! ([`rate`]), items become the [`Ledger`], and a month of it an [`Invoice`] ([`running_invoice`]). Time is rounded per
//! piece of work, money once per line.

mod increments;
mod invoice;
mod ledger;
mod month;
mod rating;
mod terms;
#[cfg(test)]
mod tests;
mod work;

pub use increments::billed;
pub use invoice::{CENT, Invoice, InvoiceError, InvoiceLine, month_at, running_invoice};
pub use ledger::{Item, Ledger, UnratedItem};
pub use month::Month;
pub use rating::{amount, rate};
pub use terms::Terms;
pub use work::{Contradiction, Engagements, Talks, Work};
